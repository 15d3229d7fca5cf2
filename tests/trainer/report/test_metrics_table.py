# SPDX-License-Identifier: GPL-3.0-or-later
import pytest

from trainer.report.metrics_table import NONE, metrics_rows


def test_known_rows_first_and_unknown_ones_last():
    models = {
        "trained": {
            "code_size": 512,
            "metrics": {
                "hausdorff_new": {"value": 12.345},
                "leak": {"value": 0.01234, "low": 0.01, "high": 0.02},
                "reconstruction": {"value": 0.5, "low": 0.4, "high": 0.6, "runs": 3},
                "matched_parts": {"value": 8},
            },
        },
        "another run": {"metrics": {"leak": {"value": None}}, "extra": [1, 2]},
    }
    rows = metrics_rows({"models": models, "summary": {}, "more": 1})
    assert rows[0] == ["", "unit", "trained", "another run"]
    assert rows[1] == ["total code size", "numbers", "512", NONE]
    assert rows[2] == ["reconstruction, mean", "mm", "0.500 [0.400, 0.600]", NONE]
    assert rows[3] == ["leak, mean over parts", "", "0.012 [0.010, 0.020]", NONE]
    assert rows[4][2:] == ["8", NONE]
    assert rows[5] == ["hausdorff new", "", "12.3", NONE]


@pytest.mark.parametrize("results", [[], {}, {"models": {}}, {"models": {"a": {}}}, {"models": {"a": {"metrics": 1}}}])
def test_something_else_raises_what_the_caller_expects(results):
    with pytest.raises((KeyError, TypeError, AttributeError, ValueError)):
        metrics_rows(results)
