# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m trainer evaluate` with one run and with several."""

import dataclasses
import json
import os
from pathlib import Path

import pytest

from backend.errors import LwaeError
from backend.lwae_file import load_model
from backend.symmetry import mirror_map
from tests.toy import toy_model
from tests.trainer.faces import toy_dataset
from trainer.cli import main
from trainer.datasets.dataset import load_dataset, split_faces, write_dataset
from trainer.evaluation.evaluate_runs import difference_between, evaluate_runs, run_names, write_results
from trainer.evaluation.metrics import ROWS
from trainer.mirror import symmetric_mean
from trainer.run import create_run, open_run
from trainer.training import train
from trainer.weights.weights_file import save_weights

COUNT = 60
LOCAL = {"code_size": 5, "hidden": 8, "coefficients": 4, "borders": 2, "epochs": 1, "batch_size": 16}
PAPER = {"latent": 5, "filters": [4, 4], "epochs": 1, "batch_size": 16}


def write(path, parts, vertices=None, **facts):
    """A data set folder of toy faces with the local weights of so many bands."""
    dataset = toy_dataset(toy_model(residuals=False))
    vertices = dataset.vertices[:COUNT] if vertices is None else vertices
    facts = {"name": "toy", "licence": "CC0", "provenance": "test", "seed": 0} | facts
    write_dataset(path, iter([vertices]), len(vertices), facts.pop("template", dataset.template), **facts)
    weights = toy_model(parts=parts).weights
    save_weights(path, weights, ["top", "middle", "bottom"][:parts])
    (path / "weights.json").write_text(json.dumps({"command": f"python -m trainer weights DATA --parts {parts}"}))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two local runs that differ in their seed, one with other options, and a paper run with other parts."""
    folder = tmp_path_factory.mktemp("evaluate")
    three, two = write(folder / "three", 3), write(folder / "two", 2)
    for name, data, preset, options in (
        ("local0", three, "local", LOCAL),
        ("local1", three, "local", LOCAL | {"seed": 1}),
        ("wider", three, "local", LOCAL | {"hidden": 9}),
        ("paper", two, "paper", PAPER),
    ):
        assert train(create_run(folder / name, data, preset, options))
    return folder


def test_one_table_of_several_runs(folder, capsys):
    paths = [folder / name for name in ("local0", "paper", "local1")]
    out = folder / "all.json"
    assert main(["evaluate", "--seeds", *map(str, paths), "--out", str(out)]) == 0
    text = capsys.readouterr().out
    results = json.loads(out.read_text())
    assert results == json.loads((folder / "local0" / "metrics.json").read_text())
    assert not (folder / "paper" / "metrics.json").exists()

    seeds, paper, *baselines = results["models"]
    assert (seeds, paper) == ("local0 (local), 2 seeds", "paper (paper)")
    assert [run["seed"] for run in results["runs"][seeds]] == [0, 1] and len(results["runs"][paper]) == 1
    assert {name.rpartition(", for ")[2] for name in baselines} == {"local0", "paper"}
    # The toy faces span 12 dimensions.
    assert [name for name in baselines if "PCA" in name] == [
        *("PCA-12, for local0", "region PCA, for local0"),
        *("PCA-12, for paper", "PCA-10, for paper", "region PCA, for paper"),
    ]
    models = results["models"]
    assert (models[paper]["regions"], models["region PCA, for paper"]["regions"]) == ("own", "own")
    assert len(models[paper]["parts"]) == len(models["PCA-10, for paper"]["parts"]) == 2
    assert models["region PCA, for local0"]["code_size"] == 15 and models["region PCA, for paper"]["code_size"] == 10
    assert all(name in text.splitlines()[2] for name in models)
    every = ["against_pca", "against_closed_form", "against_own_closed_form", "against_unlearned"]
    for name, base, groups in ((seeds, "local0", every), (paper, "paper", every[:3])):
        assert [group for group in results["comparisons"][name] if group != "metrics"] == groups
        for group in groups:
            for cell in results["comparisons"][name][group].values():
                assert cell["against"].endswith(f", for {base}") and cell["low"] <= cell["value"] <= cell["high"]
            assert sum(line.startswith(f"{name} over ") for line in text.splitlines()) == len(groups)
    one = models[seeds]["metrics"]["reconstruction"]
    assert results["summary"]["reconstruction"] == one["runs"][0] != one["value"]

    assert main(["export", str(folder / "local0"), "--out", str(folder / "local0.lwae")]) == 0
    assert load_model(folder / "local0.lwae").header["metrics"] == results["summary"]


def test_one_run_is_called_by_its_folder_and_no_baseline_by_a_run(folder):
    results = evaluate_runs([folder / "paper"])
    assert list(results["models"])[:4] == ["paper (paper)", "PCA-12", "PCA-10", "region PCA"]
    missing = {name for name in ROWS if name.startswith(("network_", "fitted_")) or name == "told_fitted"}
    assert set(results["summary"]) == set(ROWS) - missing and results["epochs"] == 1


def test_runs_of_other_options_are_no_seeds(folder):
    with pytest.raises(LwaeError, match="No two .* seed alone"):
        evaluate_runs([folder / "local0", folder / "wider"], merge_seeds=True)


def test_closed_forms_are_those_of_a_runs_own_noise_and_mirroring(folder, tmp_path, monkeypatch):
    model, names = toy_model(), []
    faces = load_dataset(folder / "three").vertices
    mean = faces[split_faces(COUNT, 0)[0]].mean(axis=0)
    image = mirror_map(model.mean, model.polygon_sizes, model.polygon_vertices)
    data = write(tmp_path / "upright", 3, faces + symmetric_mean(mean, image) - mean)
    for own in ({}, {"seed": 1}, {"sigma_n": 0.07}, {"mirror": False}):
        names.append(str(len(names)))
        options = LOCAL | {"allocation": "equal"} | own
        assert train(create_run(tmp_path / names[-1], data, "local", options))
    families = []
    path = "trainer.evaluation.evaluate_runs"
    monkeypatch.setattr(f"{path}.find_family", lambda model, trained, bed, suffix: families.append((trained, suffix)))
    monkeypatch.setattr(f"{path}.evaluate", lambda *_: {"models": {"0": {"metrics": {}}}})
    evaluate_runs([tmp_path / name for name in names])
    assert [suffix for _, suffix in families] == [", for 0", ", for 2", ", for 3"] and len(families[0][0]) == 2


def test_a_run_behind_a_symbolic_link(folder, tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    try:
        os.symlink(tmp_path / "deep" / "er", tmp_path / "link", target_is_directory=True)
    except OSError:
        pytest.skip("no symbolic links here")
    create_run(tmp_path / "link" / "run", folder / "two", "paper", PAPER)
    for path in (tmp_path / "link" / "run", tmp_path / "deep" / "er" / "run"):
        run = open_run(path)
        assert len(run.dataset.vertices) == COUNT and not Path(run.config["dataset"]).is_absolute()


def test_the_same_faces_in_two_folders_are_the_same(folder, tmp_path):
    dataset = toy_dataset(toy_model(residuals=False))
    faces = dataset.vertices[:COUNT]
    one = faces.copy()
    one[COUNT - 1, 5, 2] += 0.001
    flipped = dataclasses.replace(dataset.template, polygon_vertices=dataset.template.polygon_vertices[::-1])
    first = load_dataset(folder / "three")
    assert difference_between(first, load_dataset(folder / "two")) is None
    for name, what, options in (
        ("moved", "vertices", {"vertices": one}),
        ("split", "splits", {"seed": 1}),
        ("fewer", "splits", {"vertices": faces[:-1]}),
        ("polygons", "template meshes", {"template": flipped}),
    ):
        other = write(tmp_path / name, 2, **options)
        assert difference_between(first, load_dataset(other)) == what
    assert train(create_run(tmp_path / "run", tmp_path / "moved", "paper", PAPER))
    with pytest.raises(LwaeError, match="run cannot stand beside .*local0: the vertices of their data sets differ"):
        evaluate_runs([folder / "local0", tmp_path / "run"])
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_data_of_another_mesh_is_noticed(tmp_path):
    write(tmp_path / "data", 2)
    train(create_run(tmp_path / "run", tmp_path / "data", "paper", PAPER))
    (tmp_path / "data").rename(tmp_path / "old")
    template = toy_dataset(toy_model(residuals=False)).template
    flipped = dataclasses.replace(template, polygon_vertices=template.polygon_vertices[::-1])
    write(tmp_path / "data", 2, template=flipped)
    with pytest.raises(LwaeError, match="holds another mesh"):
        evaluate_runs([tmp_path / "run"])


def test_a_run_that_diverged_is_named(folder, monkeypatch):
    def diverged(codes):
        raise LwaeError("The codes are not finite.")

    monkeypatch.setattr("trainer.evaluation.closed_forms.fit_prior", diverged)
    with pytest.raises(LwaeError, match="paper cannot be evaluated. The codes are not finite"):
        evaluate_runs([folder / "paper"])


def test_names_are_as_long_as_needed():
    assert run_names([Path("runs/a"), Path("runs/b/")]) == ["a", "b"]
    assert run_names([Path("x/run"), Path("y/run"), Path("z")]) == ["x/run", "y/run", f"{Path.cwd().name}/z"]
    with pytest.raises(LwaeError, match="named twice"):
        run_names([Path("a"), Path("b"), Path("../" + Path.cwd().name + "/a")])


def test_what_cannot_be_written_is_said_before_anything_is_measured(folder, capsys, monkeypatch):
    monkeypatch.setattr("trainer.evaluation.evaluate_runs.evaluate_runs", None)
    for out in (folder / "nowhere" / "x.json", folder):
        assert main(["evaluate", str(folder / "local0"), "--out", str(out)]) == 1
        assert "cannot be written" in capsys.readouterr().err


def test_a_run_that_cannot_be_written_to_keeps_no_results_from_elsewhere(tmp_path):
    (tmp_path / "run" / "metrics.json").mkdir(parents=True)  # root may write to what is read-only
    with pytest.raises(LwaeError, match="Cannot write .*metrics.json"):
        write_results({"a": 1}, tmp_path / "run", tmp_path / "all.json")
    assert json.loads((tmp_path / "all.json").read_text()) == {"a": 1}


def test_a_table_is_printed_even_if_it_cannot_be_kept(folder, capsys, monkeypatch):
    def refuse(*_):
        raise LwaeError("no space")

    monkeypatch.setattr("trainer.evaluation.evaluate_runs.write_results", refuse)
    assert main(["evaluate", str(folder / "paper")]) == 1
    captured = capsys.readouterr()
    assert "reconstruction, mean" in captured.out and "no space" in captured.err
