# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest

from backend.numpy_decoder import NumpyDecoder
from tests.toy import toy_model
from tests.trainer.test_evaluate import toy_dataset
from trainer.evaluation.realism_curve import AMOUNTS, PART_HELD, format_curve, realism_curve
from trainer.evaluation.regions import find_regions
from trainer.evaluation.testbed import TestBed
from trainer.latent import fit_latent


@pytest.fixture(scope="module")
def rows():
    dataset = toy_dataset(toy_model(residuals=False))
    model = fit_latent(toy_model(residuals=False), dataset)
    return realism_curve(NumpyDecoder(model), TestBed.of(dataset, 0), find_regions(model))


def test_every_kind_way_and_amount_is_there(rows):
    assert len(rows) == (2 * 2 + 1) * len(AMOUNTS)
    assert all(0 <= row["told"] <= 100 and np.isfinite(row["transfer"]) for row in rows)
    assert all((row["moved"] == 0) == (row["amount"] == 0) for row in rows)
    assert len(format_curve(rows).splitlines()) == len(rows) + 1


def test_both_ways_start_from_the_mix_itself_and_harmonise_keeps_more(rows):
    for kind in ("K donors", "one part"):
        plain, ours = ([r for r in rows if r["kind"] == kind and r["way"] == way] for way in ("mm^2", "harmonise"))
        assert plain[0] | {"way": ""} == ours[0] | {"way": ""} and plain[0]["transfer"] > 0.8
        assert ours[-1]["transfer"] > plain[-1]["transfer"]
        assert plain[-1]["transfer"] < plain[0]["transfer"]


def test_a_held_part_stays_at_the_price_of_the_rest(rows):
    held, ours = ([r for r in rows if r["kind"] == "one part" and r["way"] == way] for way in (PART_HELD, "harmonise"))
    assert held[-1]["transfer"] > 0.95 * held[0]["transfer"] > ours[-1]["transfer"]
    assert held[-1]["moved"] > ours[-1]["moved"]
