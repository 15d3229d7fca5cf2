# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole evaluation on a toy: faces that a toy model made, and that model, better and worse."""

import copy
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from backend.errors import LwaeError
from backend.numpy_decoder import NumpyDecoder
from tests.toy import toy_model
from trainer.datasets.dataset import Dataset, Template
from trainer.evaluation.baselines import GlobalPCA, fit_pca
from trainer.evaluation.evaluate import _ratio, code_size, evaluate, linear_part
from trainer.evaluation.metrics import ROWS
from trainer.evaluation.mixing import mix_codes
from trainer.evaluation.table import format_table

TRAIN, TEST = 150, 40


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
    # One underlying vector moves all parts, so that parts of one face belong together.
    rng = np.random.default_rng(1)
    link = rng.normal(size=(6, model.code_size)) / np.sqrt(6)
    codes = rng.normal(size=(TRAIN + TEST, 6)) @ link + 0.05 * rng.normal(
        size=(TRAIN + TEST, model.code_size)
    )
    vertices = NumpyDecoder(model).decode(codes.astype(np.float32))
    model.prior = type(model.prior)(np.zeros(model.code_size, np.float32), link.T.astype(np.float32), 0.05**2)
    template = Template(model.polygon_sizes, model.polygon_vertices, model.uv, model.polygon_material)
    order = np.arange(TRAIN + TEST)
    return Dataset(
        Path("toy"),
        "toy",
        "CC0-1.0",
        "",
        vertices,
        template,
        order[:TRAIN],
        order[TRAIN:],
        [],
        np.zeros((0, 0)),
    )


@pytest.fixture(scope="module")
def results(model, dataset):
    decoder = NumpyDecoder(model)
    models = {"trained": decoder, "rough": Noisy(decoder, 0.5), "twin": NumpyDecoder(model)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.evaluation.evaluate.SCORES", 6)
        return evaluate(models, dataset, trained="trained", closed_forms=["rough", "twin"], resamples=200)


def value(results, model, key):
    return results["models"][model]["metrics"][key]["value"]


def test_every_metric_is_there_and_json_able(results):
    again = json.loads(json.dumps(results, allow_nan=False))
    for facts in again["models"].values():
        assert set(facts["metrics"]) == set(ROWS) - {"network_real", "network_mixed"}
        assert (
            len(facts["responsiveness_parts"])
            == len(facts["leak_parts"])
            == len(facts["region_coverage"])
            == 3
        )
        for cell in facts["metrics"].values():
            assert "low" not in cell or cell["low"] <= cell["high"]


def test_the_model_that_made_the_faces_is_good(results):
    assert value(results, "trained", "reconstruction") < 0.1
    assert value(results, "trained", "swap_cycle") < 0.1
    assert value(results, "trained", "responsiveness") > 0.8
    assert value(results, "trained", "own_region") == value(results, "trained", "matched_parts") == 3
    assert value(results, "trained", "told_samples") < 75


def test_a_global_code_reconstructs_but_cannot_hold_mixes(results):
    small = results["small_pca"]
    assert small == "PCA-6" and results["models"][small]["code_size"] == 6
    assert value(results, small, "reconstruction") < 0.5 < 1 < value(results, small, "reencoding")
    assert value(results, small, "swap_cycle") > 1
    assert results["against_pca"]["trained"]["swap_cycle"]["high"] < 0.1


def test_equal_models_are_within_the_best_closed_form_is_chosen(results):
    comparison = results["comparison"]["metrics"]
    assert {entry["verdict"] for entry in comparison.values()} == {"within"}
    assert {entry["against_interval"] for entry in comparison.values()} == {"within"}
    assert comparison["reconstruction"]["against"] == comparison["seam_rms"]["against"] == "twin"


def test_a_rough_model_is_worse_where_it_is(model, dataset):
    models = {"rough": Noisy(NumpyDecoder(model), 0.5), "start": NumpyDecoder(model)}
    results = evaluate(models, dataset, trained="rough", closed_forms=["start"], resamples=100)
    comparison = results["comparison"]["metrics"]
    for key in ("reconstruction", "swap_cycle", "seam_rms"):
        assert comparison[key]["verdict"] == comparison[key]["against_interval"] == "worse"
    assert comparison["responsiveness"]["verdict"] == "within"  # A constant error moves with no code.


def test_the_seed_decides_the_mixes(model, dataset):
    decoder = {"toy": NumpyDecoder(model)}
    first, again, other = (evaluate(decoder, dataset, seed, resamples=20) for seed in (0, 0, 1))
    assert first == again
    assert value(other, "toy", "reencoding") != value(first, "toy", "reencoding")
    assert value(other, "toy", "reconstruction") == value(first, "toy", "reconstruction")


def test_other_parts_have_their_own_regions_and_what_the_network_adds_is_measured(model, dataset):
    other = toy_model(parts=2, residuals=True)
    decoder = NumpyDecoder(other)
    assert linear_part(NumpyDecoder(model)) is None
    codes = other.prior.sample(np.random.default_rng(0), 3)
    added = decoder.decode(codes) - linear_part(decoder).decode(codes)
    assert np.abs(added).max() > 0.01
    results = evaluate({"three": NumpyDecoder(model), "two": decoder}, dataset, resamples=50)
    assert [results["models"][name]["regions"] for name in ("three", "two")] == ["shared", "own"]
    assert value(results, "two", "matched_parts") == 2
    assert value(results, "two", "network_real") > 0.01 and value(results, "two", "network_mixed") > 0.01


def test_the_table_says_everything(results):
    text = format_table(results)
    lines = text.splitlines()
    assert all(any(line.startswith(row.label) for line in lines) for row in ROWS.values())
    assert "total code size" in text and "12" in next(
        line for line in lines if line.startswith("total code size")
    )
    assert "trained against the best closed form" in text and text.isascii()
    assert next(line for line in lines if line.startswith("size of what the network adds")).split()[-1] == "-"


def test_wrong_arguments_get_a_sentence(model, dataset):
    decoder = NumpyDecoder(model)
    with pytest.raises(LwaeError, match="no model"):
        evaluate({}, dataset)
    with pytest.raises(LwaeError, match="'best' is not among"):
        evaluate({"a": decoder}, dataset, trained="a", closed_forms=["best"])
    smaller = copy.copy(dataset)
    smaller.vertices = dataset.vertices[:, :100]
    with pytest.raises(LwaeError, match="100"):
        evaluate({"a": decoder}, smaller)


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
        results = evaluate({"trained": NumpyDecoder(model)}, few(12, test), resamples=50)
        assert f"{test} test and 12 training faces" in format_table(results)
    with pytest.raises(LwaeError, match="1 test face, too few"):
        evaluate({"trained": NumpyDecoder(model)}, few(11, 1))


@pytest.mark.filterwarnings("error")
def test_nothing_is_measured_in_units_of_zero():
    assert _ratio(0.5, 0.0, np.ones(9), np.zeros(9)) == {"value": None}
    assert _ratio(1.0, 2.0, np.ones(9), np.full(9, 4.0)) == {"value": 0.5, "low": 0.25, "high": 0.25}
