# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole evaluation on a toy: faces that a toy model made, and that model, better and worse."""

import dataclasses
import json

import numpy as np
import pytest

from backend.errors import LwaeError
from backend.numpy_decoder import NumpyDecoder
from tests.toy import toy_model
from tests.trainer.faces import TRAIN, toy_dataset
from trainer.evaluation.baselines import GlobalPCA, fit_pca
from trainer.evaluation.evaluate import Family, _ratio, evaluate, find_family
from trainer.evaluation.measure import code_size, reconstruct, swap_cycle, without_network
from trainer.evaluation.metrics import ROWS
from trainer.evaluation.mixing import mix_codes
from trainer.evaluation.table import format_table
from trainer.evaluation.testbed import TestBed

FITTED_ROWS = {"told_fitted", "fitted_transfer", "fitted_moved"}  # of models with linear bases


class Noisy:
    """A decoder with rough errors in all that it decodes."""

    def __init__(self, decoder, size):
        self.model, self.encode = decoder.model, decoder.encode
        self._decoder = decoder
        self._error = size * np.random.default_rng(0).normal(size=decoder.model.mean.shape).astype(np.float32)

    def decode(self, codes):
        return self._decoder.decode(codes) + self._error


@pytest.fixture(scope="module")
def model():
    return toy_model(residuals=False)


@pytest.fixture(scope="module")
def dataset(model):
    return toy_dataset(model)


@pytest.fixture(scope="module")
def bed(dataset):
    return TestBed.of(dataset, seed=0)


def measured(model, bed, columns, closed_forms=(), resamples=50, ranks=()):
    """Columns, one decoder each; those named in `closed_forms` are closed forms that the others stand beside.

    `ranks` are those of global PCA.
    """
    trained = {name: [decoder] for name, decoder in columns.items() if name not in closed_forms}
    baselines = {f"PCA-{rank}": GlobalPCA(bed.pca, rank, model) for rank in ranks}
    names = list(closed_forms)
    baselines |= {name: columns[name] for name in names}
    return evaluate(trained, bed, [Family(model, list(trained), baselines, names, names[-1:], [])], resamples)


@pytest.fixture(scope="module")
def results(model, bed):
    decoder = NumpyDecoder(model)
    columns = {"trained": decoder, "rough": Noisy(decoder, 0.5), "twin": NumpyDecoder(model)}
    return measured(model, bed, columns, ["rough", "twin"], 200, (6, 64))


def value(results, model, key):
    return results["models"][model]["metrics"][key]["value"]


def test_every_metric_is_there_and_json_able(results):
    again = json.loads(json.dumps(results, allow_nan=False))
    for name, facts in again["models"].items():
        missing = FITTED_ROWS if "PCA" in name else set()
        assert set(facts["metrics"]) == set(ROWS) - {"network_real", "network_mixed"} - missing
        assert (
            len(facts["responsiveness_parts"])
            == len(facts["leak_parts"])
            == len(facts["region_coverage"])
            == 3
        )
        for cell in facts["metrics"].values():
            assert "low" not in cell or cell["low"] <= cell["high"]


def test_the_rest_of_a_face_fits_a_part_that_came(results):
    assert value(results, "trained", "fitted_transfer") > 0.8 * value(results, "trained", "responsiveness")
    assert value(results, "trained", "fitted_moved") > 0
    assert value(results, "trained", "told_fitted") <= value(results, "trained", "told_swaps")


def test_the_model_that_made_the_faces_is_good(results):
    assert value(results, "trained", "reconstruction") < 0.1
    assert value(results, "trained", "swap_cycle") < 0.1
    assert value(results, "trained", "responsiveness") > 0.8
    assert value(results, "trained", "own_region") == value(results, "trained", "matched_parts") == 3
    assert value(results, "trained", "told_samples") < 75
    assert value(results, "trained", "nearest_samples") < 70
    assert 0.5 < value(results, "trained", "ellipse_samples") < 1.6
    assert value(results, "trained", "interpolation_evenness") < 1.1


def test_a_global_code_reconstructs_but_cannot_hold_mixes(results):
    small = "PCA-6"
    assert results["models"][small]["code_size"] == 6
    assert value(results, small, "reconstruction") < 0.5 < 1 < value(results, small, "reencoding")
    assert value(results, small, "swap_cycle") > 1
    assert results["comparisons"]["trained"]["against_pca"]["swap_cycle"]["high"] < 0.1


def test_equal_models_are_within_and_the_best_closed_form_is_chosen(model, bed, results):
    comparison = results["comparisons"]["trained"]
    assert {entry["verdict"] for entry in comparison["metrics"].values()} == {"within"}
    assert {entry["against_interval"] for entry in comparison["metrics"].values()} == {"within"}
    for ratios in (comparison["against_closed_form"], comparison["against_own_closed_form"]):
        for cell in ratios.values():
            assert cell == {"against": "twin", "value": 1.0, "low": 1.0, "high": 1.0}


def test_only_ratios_are_against_closed_forms_of_other_weights(model, bed):
    columns = {"trained": NumpyDecoder(model), "other": NumpyDecoder(model), "own": Noisy(NumpyDecoder(model), 0.5)}
    comparison = measured(model, bed, columns, ["other", "own"])["comparisons"]["trained"]
    assert comparison["against_closed_form"]["reconstruction"]["against"] == "other"
    assert comparison["against_own_closed_form"]["reconstruction"]["high"] < 0.2
    assert {entry["against"] for entry in comparison["metrics"].values()} == {"own"}
    assert comparison["metrics"]["reconstruction"]["verdict"] == "better"


def test_a_rough_model_is_worse_where_it_is(model, bed):
    columns = {"rough": Noisy(NumpyDecoder(model), 0.5), "start": NumpyDecoder(model)}
    comparison = measured(model, bed, columns, ["start"], 100)["comparisons"]["rough"]["metrics"]
    for key in ("reconstruction", "swap_cycle", "seam_rms"):
        assert comparison[key]["verdict"] == comparison[key]["against_interval"] == "worse"
    assert comparison["responsiveness"]["verdict"] == "within"  # A constant error moves with no code.


def test_the_seed_decides_the_mixes(model, dataset):
    decoder = {"toy": NumpyDecoder(model)}
    first, again, other = (measured(model, TestBed.of(dataset, seed), decoder, (), 20) for seed in (0, 0, 1))
    assert first == again
    assert value(other, "toy", "seam_rms") != value(first, "toy", "seam_rms")
    assert value(other, "toy", "reconstruction") == value(first, "toy", "reconstruction")


def test_seeds_share_a_column(model, bed):
    """Their mean and each value; the interval is that of the mean, between those of the single ones."""
    fine, rough = NumpyDecoder(model), Noisy(NumpyDecoder(model), 0.5)
    family = [Family(model, ["both", "fine", "rough"], {}, [], [], [])]
    results = evaluate({"both": [fine, rough], "fine": [fine], "rough": [rough]}, bed, family, 50)
    for key in ("reconstruction", "swap_cycle", "told_swaps", "own_region"):
        both, *single = (results["models"][name]["metrics"][key] for name in ("both", "fine", "rough"))
        assert both["runs"] == [cell["value"] for cell in single]
        assert both["value"] == pytest.approx(np.mean(both["runs"]))
        if "low" in both:
            assert single[0]["low"] <= both["low"] <= both["value"] <= both["high"]
    low, high = (format(value, ".3f") for value in results["models"]["both"]["metrics"]["reconstruction"]["runs"])
    text = format_table(results)
    assert f"] {low}..{high}" in text and "then least..most over seeds" in text
    leaks = [np.array(results["models"][name]["leak_parts"]) for name in ("both", "fine", "rough")]
    np.testing.assert_allclose(leaks[0], (leaks[1] + leaks[2]) / 2)


def test_other_parts_have_their_own_regions_and_what_the_network_adds_is_measured(model, bed):
    other = toy_model(parts=2, residuals=True)
    decoder = NumpyDecoder(other)
    assert without_network(model) is None
    codes = other.prior.sample(np.random.default_rng(0), 3)
    added = decoder.decode(codes) - NumpyDecoder(without_network(decoder.model)).decode(codes)
    assert np.abs(added).max() > 0.01
    families = [Family(own, [name], {}, [], [], []) for own, name in ((model, "three"), (other, "two"))]
    results = evaluate({"three": [NumpyDecoder(model)], "two": [decoder]}, bed, families, 50)
    assert [results["models"][name]["regions"] for name in ("three", "two")] == ["shared", "own"]
    assert [len(results["models"][name]["region_coverage"]) for name in ("three", "two")] == [3, 2]
    assert value(results, "two", "matched_parts") == 2
    assert value(results, "two", "network_real") > 0.01 and value(results, "two", "network_mixed") > 0.01


def test_the_table_says_everything(results):
    text = format_table(results)
    lines = text.splitlines()
    assert "too few" not in text
    assert all(any(line.startswith(row.label) for line in lines) for row in ROWS.values())
    assert "total code size" in text and "12" in next(
        line for line in lines if line.startswith("total code size")
    )
    assert "trained against the best closed form of its own weights" in text and text.isascii()
    assert "trained over the best closed form of any weights: reconstruction, mean 1.000 [1.000, 1.000] (twin)" in text
    assert next(line for line in lines if line.startswith("size of what the network adds")).split()[-1] == "-"


def test_all_baselines_of_a_family(model, bed):
    family = find_family(model, ["toy"], bed, ", for toy")
    assert list(family.baselines) == ["PCA-12, for toy", "region PCA, for toy", *family.closed_forms]
    assert set(family.own_closed_forms) <= set(family.closed_forms)
    text = format_table(evaluate({"toy": [NumpyDecoder(model)]}, bed, [family], 20))
    assert "Closed forms for toy" in text and "noise 0.03 mm" in text


def test_each_face_has_its_own_swap_cycle(model, dataset):
    rng = np.random.default_rng(0)
    noise = rng.gamma(1.0, size=(len(dataset.vertices), 1, 1)) * rng.normal(size=dataset.vertices.shape)
    bed = TestBed.of(dataclasses.replace(dataset, vertices=dataset.vertices + noise.astype(np.float32)), 0)
    codes, decoded = reconstruct(NumpyDecoder(model), bed)
    own = np.linalg.norm(decoded - bed.test, axis=2).mean(axis=1)
    cycle = swap_cycle(NumpyDecoder(model), bed, codes).mean(axis=1)
    assert np.corrcoef(own, cycle)[0, 1] > 0.99  # of pairs 0.7


def test_a_code_that_all_parts_look_at_counts_once(model):
    model = dataclasses.replace(model, header={**model.header, "preset": "paper", "network": {"projections": False}})

    class Decoder:
        pass

    decoder = Decoder()
    decoder.model = model
    assert code_size(decoder) == 4
    model.header["network"]["projections"] = True
    assert code_size(decoder) == 12


# Global PCA


def test_pca_is_that_of_the_training_faces(dataset, monkeypatch):
    monkeypatch.setattr("trainer.evaluation.baselines.BLOCK_VERTICES", 50)
    pca = fit_pca(dataset.vertices, dataset.train, 8)
    train = dataset.vertices[dataset.train].astype(np.float64)
    flat = (train - train.mean(axis=0)).reshape(TRAIN, -1)
    singular = np.linalg.svd(flat, compute_uv=False)
    np.testing.assert_allclose(pca.deviations, singular[:8] / np.sqrt(TRAIN), rtol=1e-4)
    np.testing.assert_allclose(pca.axes @ pca.axes.T, np.eye(8), atol=1e-4)
    np.testing.assert_allclose(pca.scores(train, 8).std(axis=0), 1, rtol=1e-3)


def test_a_global_code_composites_reconstructions(model, dataset):
    pca = fit_pca(dataset.vertices, dataset.train, 8)
    decoder = GlobalPCA(pca, 4, model)
    x = dataset.vertices[dataset.test[:3]]
    codes = decoder.encode(x)
    flat = (x - pca.mean).reshape(3, -1)
    plain = (flat @ pca.axes[:4].T @ pca.axes[:4]).reshape(x.shape) + pca.mean
    np.testing.assert_allclose(decoder.decode(codes), plain, atol=1e-3)
    mixed = decoder.decode(mix_codes(decoder.model, codes, np.array([[0, 1, 2]])))[0]
    np.testing.assert_allclose(mixed, np.einsum("kv,kvi->vi", model.weights, plain), atol=1e-3)
    assert code_size(decoder) == 4 and decoder.model.code_size == 12
    again = decoder.encode(mixed[None])
    assert all(np.array_equal(again[:, :4], again[:, decoder.model.part_slice(part)]) for part in (1, 2))


@pytest.mark.filterwarnings("error")
def test_few_faces(model, dataset):
    def few(train, test):
        return dataclasses.replace(dataset, train=dataset.train[:train], test=dataset.test[:test])

    for test in (2, 3):
        columns = {"trained": NumpyDecoder(model), "closed": NumpyDecoder(model)}
        results = measured(model, TestBed.of(few(12, test), 0), columns, ["closed"], ranks=(6,))
        for cell in results["models"]["trained"]["metrics"].values():
            assert np.abs([cell.get("low", 0), cell.get("high", 0)]).max() < 1e3
        json.dumps(results, allow_nan=False)
        assert f"{test} test and 12 training faces" in format_table(results)
        assert f"{test} test faces are too few for intervals and verdicts" in format_table(results)
    with pytest.raises(LwaeError, match="1 test face, too few"):
        TestBed.of(few(11, 1), 0)


@pytest.mark.filterwarnings("error")
def test_nothing_is_measured_in_units_of_zero():
    assert _ratio(0.5, 0.0, np.ones(9), np.zeros(9)) == {"value": None}
    assert _ratio(1.0, 2.0, np.ones(9), np.full(9, 4.0)) == {"value": 0.5, "low": 0.25, "high": 0.25}
