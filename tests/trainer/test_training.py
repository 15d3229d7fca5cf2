# SPDX-License-Identifier: GPL-3.0-or-later
import dataclasses
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from backend.errors import LwaeError
from backend.lwae_file import load_model, save_model
from backend.numpy_decoder import NumpyDecoder
from tests.toy import sphere, toy_model
from trainer import local_preset, training
from trainer.cli import main
from trainer.datasets.dataset import Template, write_dataset
from trainer.datasets.dataset import load_dataset as open_dataset
from trainer.evaluation.testbed import TestBed
from trainer.export import export_run, rebuild_commands
from trainer.face_store import FaceStore
from trainer.local_preset import usual_epochs
from trainer.mirror import mirror_images
from trainer.run import create_run, open_run
from trainer.weights.weights_file import save_weights

ROOT = Path(__file__).parents[2]
SMALL = {
    "local": {"code_size": 6, "hidden": 8, "coefficients": 4, "borders": 2, "epochs": 3, "batch_size": 8, "cycle": 0.5},
    "paper": {"latent": 8, "filters": [4, 4], "epochs": 2, "batch_size": 8, "cycle": 0.5},
}
FULL = SMALL["paper"] | {"variational": True, "partition": 0.1, "leakage": 0.1, "optimiser": "sgd"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """60 faces: smooth bumps of a sphere, with a bent relation that no linear basis of 6 can hold."""
    path = tmp_path_factory.mktemp("data") / "bumps"
    vertices, sizes, corners = sphere()
    rng = np.random.default_rng(0)
    a = rng.normal(size=(60, 4))
    waves = np.stack([np.sin((i + 1) * vertices[:, i % 3] / 60) for i in range(4)])
    bent = np.stack([np.cos(3 * vertices[:, i % 3] / 40 + i) for i in range(4)])
    motion = 3 * a @ waves + np.abs(a) @ bent
    faces = (vertices + motion[:, :, None] * vertices / 100).astype(np.float32)
    template = Template(sizes, corners, np.zeros((0, 2)), np.zeros(len(sizes), np.uint8))
    write_dataset(path, iter([faces]), 60, template, name="bumps", licence="CC0", provenance="test", seed=0)
    save_weights(path, toy_model().weights, ["top", "middle", "bottom"])
    (path / "weights.json").write_text(json.dumps({"command": "python -m trainer weights DATA --parts 3"}))
    return path


def test_fewer_faces_take_as_many_steps_in_more_epochs(data, tmp_path, monkeypatch):
    assert [usual_epochs(faces, 64) for faces in (2, 67, 499, 534, 1780, 5000)] == [40, 40, 40, 135, 40, 40]
    assert usual_epochs(534, 1000) == 1080
    monkeypatch.setattr(local_preset, "ENOUGH_FACES", 50)
    run = create_run(tmp_path / "usual", data, "local", {"code_size": 6, "batch_size": 8})
    assert run.config["epochs"] == -(-1080 // (len(run.dataset.train) // 8))
    assert f"epochs={run.config['epochs']}" in rebuild_commands(run)[2]
    assert create_run(tmp_path / "said", data, "local", {"code_size": 6, "epochs": 7}).config["epochs"] == 7


def parameters(run):
    return run.read_checkpoint()["network"]


@pytest.mark.parametrize("preset, options", [*SMALL.items(), ("paper", FULL)], ids=["local", "paper", "variational"])
def test_resume_equals_uninterrupted(preset, options, data, tmp_path, monkeypatch):
    whole = create_run(tmp_path / "whole", data, preset, options)
    assert training.train(whole)

    parts = create_run(tmp_path / "parts", data, preset, options)
    rounds, schedule, steps = 0, training.schedule, []

    def stop_after_three_steps(progress):
        steps.append(progress)
        if len(steps) % 3 == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return schedule(progress)

    monkeypatch.setattr(training, "schedule", stop_after_three_steps)
    while not training.train(open_run(parts.path)):
        rounds += 1
    assert rounds >= 2
    for name, value in parameters(whole).items():
        assert torch.equal(value, parameters(parts)[name]), name
    assert whole.read_checkpoint()["history"] == parts.read_checkpoint()["history"]


@pytest.mark.parametrize("preset, options", [*SMALL.items(), ("paper", FULL)], ids=["local", "paper", "variational"])
def test_held_out_faces_change_nothing(preset, options, data, tmp_path):
    """Neither the statistics, nor the choice of an epoch, nor the prior and the controls see a test face."""
    shutil.copytree(data, tmp_path / "data")
    vertices = np.load(tmp_path / "data" / "vertices.npy")
    vertices[open_dataset(data).test] = np.nan
    np.save(tmp_path / "data" / "vertices.npy", vertices)
    runs = [create_run(tmp_path / f"run{i}", path, preset, options) for i, path in enumerate((data, tmp_path / "data"))]
    for run in runs:
        assert training.train(run)
    saved, again = (run.read_checkpoint() for run in runs)
    assert saved["epoch"] == options["epochs"] and saved["history"] == again["history"]
    models = [run.start_model() for run in runs] + [run.trained_model() for run in runs]
    for one, other in zip(models[::2], models[1::2], strict=True):
        assert one.network.keys() == other.network.keys()
        for name, array in one.network.items():
            np.testing.assert_array_equal(array, other.network[name], err_msg=name)
        np.testing.assert_array_equal(one.prior.factors, other.prior.factors)
        for control, same in zip(one.controls, other.controls, strict=True):
            np.testing.assert_array_equal(control.direction, same.direction)
    assert any((models[0].network[name] != models[2].network[name]).any() for name in models[0].network)


def test_the_faces_are_in_memory_once_when_a_run_starts(tmp_path):
    """With room for the rows of one part beside them; large data sets are as large as memory allows."""
    vertices, sizes, corners = sphere(48, 96)
    heights = np.linspace(90, -90, 8)
    weights = np.exp(-(((vertices[:, 2] - heights[:, None]) / 20) ** 2)) ** 4
    weights[weights < 0.01 * weights.sum(axis=0)] = 0
    faces = np.random.default_rng(0).normal(size=(400, 1, 3)) + vertices * (1 + 0.1 * weights.T @ np.ones((8, 3)))
    faces = faces.astype(np.float32)
    template = Template(sizes, corners, np.zeros((0, 2)), np.zeros(len(sizes), np.uint8))
    write_dataset(tmp_path / "data", iter([faces]), 400, template, name="x", licence="x", provenance="x", seed=0)
    save_weights(tmp_path / "data", weights / weights.sum(axis=0), [f"band {k}" for k in range(8)])
    tracemalloc.start()
    try:
        create_run(tmp_path / "run", tmp_path / "data", "local", SMALL["local"])
        assert tracemalloc.get_traced_memory()[1] < 2.1 * faces.nbytes
    finally:
        tracemalloc.stop()


def test_training_improves_on_the_closed_form(data, tmp_path):
    run = create_run(tmp_path / "run", data, "local", SMALL["local"] | {"epochs": 60, "dropout": 0.0})
    training.train(run)
    dataset = run.dataset
    faces = dataset.vertices[dataset.train]
    start, trained = run.start_model(), run.trained_model()
    errors = [np.abs(d.decode(d.encode(faces)) - faces).mean() for d in map(NumpyDecoder, (start, trained))]
    assert errors[1] < 0.9 * errors[0]


def test_the_residual_starts_at_zero(data, tmp_path):
    model = create_run(tmp_path / "run", data, "local", SMALL["local"]).start_model()
    codes = model.prior.sample(np.random.default_rng(0), 4)
    linear = NumpyDecoder(model).decode(codes)
    model.header["network"]["residuals"] = []
    np.testing.assert_array_equal(NumpyDecoder(model).decode(codes), linear)


@pytest.mark.parametrize("preset", ["local", "paper"])
def test_export_is_a_complete_model(preset, data, tmp_path):
    run = create_run(tmp_path / "run", data, preset, SMALL[preset] | {"epochs": 1})
    training.train(run)
    with pytest.raises(LwaeError, match="^'a.nb' is no name"):
        export_run(run.path, tmp_path / "model.lwae", "a\nb")
    assert not (tmp_path / "model.lwae").exists()
    export_run(run.path, tmp_path / "model.lwae", "bumpy")
    model = load_model(tmp_path / "model.lwae")
    assert model.name == "bumpy" and model.part_names == ["top", "middle", "bottom"]
    rebuild = model.header["rebuild"].splitlines()
    assert rebuild[-1].endswith("--name bumpy")
    assert rebuild[1] == "python -m trainer weights DATA --parts 3"
    assert f"train DATA --preset {preset} --out RUN --set" in rebuild[2] and "--set epochs=1" in rebuild[2]
    assert model.header["training"]["epochs"] == 1 and model.header["licence"] == "CC0"
    decoder = NumpyDecoder(model)
    samples = decoder.decode(model.prior.sample(np.random.default_rng(0), 8))
    assert np.isfinite(samples).all() and {control.part for control in model.controls} == {0, 1, 2}


def test_the_two_halves_of_a_batch_meet_at_random(data, tmp_path, monkeypatch):
    batches, load = [], FaceStore.load

    def loaded(self, chosen, into, turned):
        load(self, chosen, into, turned)
        faces = np.where(turned[:, None, None], mirror_images(vertices[chosen], self._image), vertices[chosen])
        np.testing.assert_array_equal(into.numpy(), faces)
        batches.append(chosen)

    monkeypatch.setattr(FaceStore, "load", loaded)
    run = create_run(tmp_path / "run", data, "local", SMALL["local"])
    vertices = run.dataset.vertices
    training.train(run)
    first, second = np.array(batches).reshape(len(batches), 2, -1).transpose(1, 0, 2)
    assert 0.3 < np.mean(first < second) < 0.7


def test_metrics_of_another_epoch_stay_behind(data, tmp_path, caplog):
    run = create_run(tmp_path / "run", data, "local", SMALL["local"] | {"epochs": 1})
    training.train(run)
    for epochs in (1, 2):
        (run.path / "metrics.json").write_text(json.dumps({"summary": {"leak": 0.5}, "epochs": epochs}))
        header = export_run(run.path, tmp_path / "model.lwae").header
        assert ("metrics" in header) == ("without metrics" not in caplog.text) == (epochs == 1)
    assert f"run `python -m trainer evaluate {run.path}` and export again" in caplog.text


def test_sigterm_leaves_a_checkpoint_and_resume_finishes(data, tmp_path):
    command = [sys.executable, "-m", "trainer", "train"]
    run = tmp_path / "run"
    options = ["--out", str(run), "--epochs", "40000", "--set", "code_size=6", "--set", "hidden=8"]
    process = subprocess.Popen([*command, str(data), *options], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert any("Training" in line for line in process.stderr)  # and reads no further
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "--resume" in errors
    config = json.loads((run / "config.json").read_text())
    config["epochs"] = open_run(run).read_checkpoint()["epoch"] + 1
    (run / "config.json").write_text(json.dumps(config))
    finished = subprocess.run([*command, "--resume", str(run)], cwd=ROOT, timeout=120, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr


def test_every_way_to_say_resume(data, tmp_path, capsys):
    run = str(tmp_path / "run")
    options = ["--epochs", "1", "--set", "code_size=6", "--set", "hidden=8"]
    assert main(["train", str(data), "--out", run, "--resume", *options]) == 0  # not started yet
    before = open_run(tmp_path / "run").checkpoint.read_bytes()
    for command in (["--resume", run], [str(data), "--out", run, "--resume"], ["--out", run, "--resume", *options]):
        assert main(["train", *command]) == 0
    assert open_run(tmp_path / "run").checkpoint.read_bytes() == before
    assert main(["train", "--resume", run, "--epochs", "2"]) == 1
    shutil.copytree(data, tmp_path / "copy")
    assert main(["train", str(tmp_path / "copy"), "--out", run, "--resume"]) == 1
    assert main(["train", "--resume", str(tmp_path / "none")]) == 1
    assert main(["train", str(data), "--out", run]) == 1
    errors = capsys.readouterr().err
    assert "cannot change" in errors and "is not a run" in errors and "exists already" in errors
    assert f"was started with the data set {os.path.realpath(data)}, which" in errors


def test_parts_that_the_coarsest_mesh_misses_are_named(data, tmp_path, caplog):
    create_run(tmp_path / "run", data, "paper", SMALL["paper"])
    assert not caplog.records
    spot = np.zeros_like(toy_model().weights)
    spot[0], spot[1, 100], spot[0, 100] = 1, 1, 0
    shutil.copytree(data, tmp_path / "data")
    save_weights(tmp_path / "data", spot[:2], ["head", "spot"])
    create_run(tmp_path / "spotted", tmp_path / "data", "paper", SMALL["paper"])
    assert "too few for spot:" in caplog.text


@pytest.mark.parametrize("term, measure", [("partition", "partition"), ("leakage", "leakage")])
def test_optional_losses_do_what_they_say(term, measure, data, tmp_path):
    ends = []
    for weight in (1e-9, 3.0):  # the first one only measures
        options = SMALL["paper"] | {"epochs": 12, "cycle": 0.0, "learning_rate": 1e-2, term: weight}
        run = create_run(tmp_path / f"{weight}", data, "paper", options)
        training.train(run)
        ends.append(run.read_checkpoint()["history"][-1][measure])
    assert ends[1] < 0.7 * ends[0]


def test_leakage_loss_for_the_local_preset(data, tmp_path):
    run = create_run(tmp_path / "run", data, "local", SMALL["local"] | {"leakage": 0.1})
    training.train(run)
    assert run.read_checkpoint()["history"][-1].keys() == {"reconstruction", "cycle", "seam", "leakage"}


def test_learning_rates_and_optimisers():
    config = {"epochs": 10, "learning_rate": 0.5, "weight_decay": 0.1}
    cosine = [training.learning_rate_factor(config, step, batches=4) for step in range(40)]
    assert cosine[0] < 0.1 and max(cosine) > 0.99 and cosine[-1] < 0.01
    decay = config | {"schedule": "exponential"}
    assert training.learning_rate_factor(decay, 3, batches=4) == 1
    assert training.learning_rate_factor(decay, 4, batches=4) == 0.99
    assert training.learning_rate_factor(decay, 39, batches=4) == 0.99**9
    network = torch.nn.Linear(2, 2)
    sgd, adam = (training.make_optimiser(network, config | {"optimiser": name}) for name in ("sgd", "adamw"))
    assert isinstance(sgd, torch.optim.SGD) and isinstance(adam, torch.optim.AdamW)
    assert sgd.defaults["momentum"] == 0.9
    assert all(o.defaults["lr"] == 0.5 and o.defaults["weight_decay"] == 0.1 for o in (sgd, adam))


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_the_generator_of_the_device_continues_too(kind, monkeypatch):
    generators = {f"{kind}": torch.Generator().manual_seed(5)}
    module = getattr(torch, kind)
    monkeypatch.setattr(module, "get_rng_state", lambda *_: generators[kind].get_state())
    monkeypatch.setattr(module, "set_rng_state", lambda state, *_: generators[kind].set_state(state))

    def draw():
        return torch.rand(3), torch.rand(3, generator=generators[kind])

    saved = training.random_states(kind)
    before = draw()
    training.set_random_states(saved, kind)
    for first, again in zip(before, draw(), strict=True):
        assert torch.equal(first, again)
    training.set_random_states(training.random_states("cpu"), kind)  # a checkpoint of another device
    assert len(training.random_states("cpu")) == 1


def test_the_variational_flag(data, tmp_path, capsys):
    options = [f"--set={name}={json.dumps(value)}" for name, value in SMALL["paper"].items()]
    run = str(tmp_path / "run")
    assert main(["train", str(data), "--preset", "paper", "--variational", "--out", run, *options]) == 0
    opened = open_run(tmp_path / "run")
    assert opened.config["variational"] and opened.start_model().header["network"]["variational"]
    assert opened.read_checkpoint()["history"][-1]["kl"] > 0
    model, dataset = opened.trained_model(), opened.dataset
    codes = NumpyDecoder(model).encode(dataset.vertices[dataset.train])
    np.testing.assert_allclose(model.prior.mean, codes.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(model.prior.covariance, np.cov(codes.T), atol=2e-3 * codes.var(axis=0).max())
    assert main(["train", "--resume", run, "--variational"]) == 0
    assert main(["train", str(data), "--variational", "--out", str(tmp_path / "other")]) == 1
    assert "local has no option variational" in capsys.readouterr().err
    export_run(tmp_path / "run", tmp_path / "model.lwae")
    assert "--set variational=true" in load_model(tmp_path / "model.lwae").header["rebuild"]


def test_a_run_from_before_an_option_existed(data, tmp_path):
    run = create_run(tmp_path / "run", data, "paper", SMALL["paper"])
    config = json.loads((run.path / "config.json").read_text())
    newer = {"variational", "fc_activation", "optimiser", "schedule", "normalised_loss", "partition", "leakage", "kl"}
    (run.path / "config.json").write_text(json.dumps({key: config[key] for key in config.keys() - newer}))
    assert open_run(run.path).config == config
    assert training.train(open_run(run.path))


def test_a_run_older_than_borders_and_seams_goes_on_without_them(data, tmp_path):
    run = create_run(tmp_path / "run", data, "local", SMALL["local"])
    newer = {"allocation", "border_strength", "seam"}
    old = {key: value for key, value in run.config.items() if key not in newer}
    (run.path / "config.json").write_text(json.dumps(old))
    opened = open_run(run.path)
    assert {key: opened.config[key] for key in newer} == {"allocation": "equal", "border_strength": 0.0, "seam": 0.0}
    assert training.train(opened)
    assert "seam" not in opened.read_checkpoint()["history"][-1]


OPTIONS = ("code_size=0", "code_size=abc", "batch_size=1", "dropout=2", "epochs=null", "learning_rate=-1", "seed=-1")
OPTIONS += ("seed=99999999999999999999", f"epochs=1{400 * '0'}", f"cycle=1{400 * '0'}", f"epochs=1{5000 * '0'}")
PAPER_OPTIONS = ("optimiser=adam", "schedule=1", "variational=1", "kl=-1", "kl=0.1", "partition=no", "filters=4,4")


CANNOT = [f"--set {option}" for option in OPTIONS]
CANNOT += [f"--set {option} --preset paper" for option in PAPER_OPTIONS] + ["--device nowhere"]
CANNOT += ["--precision tf32", "--precision bf16 --device cpu"]


@pytest.mark.parametrize("assignment", CANNOT)
def test_options_that_cannot_be_leave_no_run(assignment, data, tmp_path, capsys):
    assert main(["train", str(data), "--out", str(tmp_path / "run"), *assignment.split()]) == 1
    said = capsys.readouterr().err
    assert assignment.split()[1].split("=")[0] in said and len(said) < 1000
    assert not list(tmp_path.iterdir())


def test_damaged_folders_get_a_sentence(data, tmp_path):
    copy, run = tmp_path / "data", tmp_path / "run"
    shutil.copytree(data, copy)
    training.train(create_run(run, copy, "local", SMALL["local"] | {"epochs": 1}))

    def damaged(path, content, words, do):
        before = path.read_bytes()
        path.write_bytes(content(before))
        with pytest.raises(LwaeError, match=words):
            do()
        path.write_bytes(before)

    def start():
        create_run(tmp_path / "other", copy, "local", {})

    def finish():
        export_run(run, tmp_path / "model.lwae")

    def flipped(content):
        middle = len(content) // 2
        return content[:middle] + bytes(255 - byte for byte in content[middle : middle + 40]) + content[middle + 40 :]

    (run / "metrics.json").write_text('{"summary": {}}')
    damaged(copy / "weights.npz", lambda content: content[:-100], "weights.npz is damaged", start)
    damaged(copy / "weights.npz", flipped, "weights.npz is damaged", start)
    (copy / "weights.json").write_text("[]")
    finish()  # The run knows how its weights were made; an older one does not.
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({key: config[key] for key in config if key != "weights_command"}))
    with pytest.raises(LwaeError, match="weights.json is missing or damaged"):
        finish()
    (run / "config.json").write_text(json.dumps(config))
    for wrong in (b"5", b'"a\\u0000b"', b'"\\ud800"'):
        damaged(run / "config.json", lambda b, wrong=wrong: b.replace(b'"../data"', wrong), "is not a run", finish)
    damaged(run / "metrics.json", lambda _: b"{", "metrics.json is damaged", finish)
    damaged(run / "config.json", lambda _: b"{}", "is not a run", finish)
    damaged(run / "checkpoint.pt", flipped, "checkpoint.pt is damaged", finish)
    finish()
    save_weights(copy, np.ones((1, 7)), ["all"])
    with pytest.raises(LwaeError, match="another mesh"):
        start()
    copy.rename(tmp_path / "moved")
    with pytest.raises(LwaeError, match="data, the data set of .*run, is gone"):
        finish()
    assert not (tmp_path / "other").exists()


def test_a_run_keeps_to_its_faces_and_files(data, tmp_path):
    """Whatever else lies where its data set and its checkpoint were."""
    copy, run = tmp_path / "data", tmp_path / "run"
    shutil.copytree(data, copy)
    small = SMALL["local"] | {"epochs": 1}
    training.train(create_run(run, copy, "local", small))
    facts, whole = json.loads((copy / "dataset.json").read_text()), np.load(copy / "vertices.npy")

    def refused(words):
        for use in (lambda: export_run(run, tmp_path / "model.lwae"), lambda: training.train(open_run(run))):
            with pytest.raises(LwaeError, match=words):
                use()
        assert not (tmp_path / "model.lwae").exists()

    def say(**changes):
        (copy / "dataset.json").write_text(json.dumps(facts | changes))

    say(train=facts["test"], test=facts["train"])
    refused("other faces or another split")
    say(train=[999, *facts["train"][1:]])
    refused("is incomplete|is damaged")
    say()
    np.save(copy / "vertices.npy", 1.01 * whole)
    refused("other faces or another split")
    np.save(copy / "vertices.npy", whole[:, :, :2])
    refused("is incomplete|is damaged")
    np.save(copy / "vertices.npy", whole[:, :-1])
    refused("is incomplete|is damaged")
    np.save(copy / "vertices.npy", whole + np.float32(1e-4))  # as another machine's
    export_run(run, tmp_path / "model.lwae")
    (tmp_path / "model.lwae").unlink()

    other = create_run(tmp_path / "other", data, "local", small | {"code_size": 5})
    training.train(other)
    (run / "checkpoint.pt").write_bytes(other.checkpoint.read_bytes())
    refused("belongs to another run")
    torch.save({"a": 1}, run / "checkpoint.pt")
    refused("is damaged")
    whole = other.read_checkpoint()
    sums, histories = ([None] * 3, ["a"] * 3, [[1]], [10**400]), ([1], ["a"], [{"a": "x"}], [{"a": 1.0}, {"b": 1.0}])
    for wrong in (
        *({"epoch": "1"}, {"batch": -1}, {"sums": 5}, {"history": None}, {"network": []}, {"random": None}),
        *({"sums": wrong} for wrong in sums),
        *({"history": wrong} for wrong in histories),
    ):
        torch.save(whole | wrong, run / "checkpoint.pt")
        refused("is damaged")
    for stream in (b".", b"\x80\x02a.", b"\x80\x02J", b"\x80\x02}]Ns."):  # pickles that end too early
        with zipfile.ZipFile(run / "checkpoint.pt", "w") as archive:
            for name, content in (("data.pkl", stream), ("version", b"3\n"), ("byteorder", b"little")):
                archive.writestr(f"a/{name}", content)
        refused("is damaged")
    optimiser = whole["optimiser"]
    before_the_first = {key: state | {"step": torch.tensor(-1.0)} for key, state in optimiser["state"].items()}
    for wrong in ({}, optimiser | {"state": None}, optimiser | {"state": before_the_first}):
        torch.save(whole | {"optimiser": wrong, "epoch": 0}, other.checkpoint)
        with pytest.raises(LwaeError, match="is damaged"):
            training.train(other)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e38, -2e5])
def test_faces_that_are_no_faces_start_no_run(data, tmp_path, wrong):
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    faces = np.load(copy / "vertices.npy")
    faces[json.loads((copy / "dataset.json").read_text())["train"][3], 7] = wrong
    np.save(copy / "vertices.npy", faces)
    with pytest.raises(LwaeError, match="data are NaN or infinite, or reach farther than 100 m"):
        create_run(tmp_path / "run", copy, "local", SMALL["local"])
    assert not (tmp_path / "run").exists()


def test_test_faces_that_are_no_faces_are_told(data):
    dataset = open_dataset(data)
    vertices = np.array(dataset.vertices)
    vertices[dataset.test[1], 3] = 1e38
    bed = TestBed.of(dataclasses.replace(dataset, vertices=vertices), 0)
    with pytest.raises(LwaeError, match="bumps are NaN or infinite, or reach farther"):
        _ = bed.test


@pytest.mark.parametrize("preset", ["local", "paper"])
@pytest.mark.parametrize("name", ["uv", "uv_shape", "polygon_material", "materials", "part_names", "control"])
def test_data_that_make_no_model_start_no_run(data, tmp_path, name, preset):
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    file = "weights.npz" if name in ("part_names", "control") else "template.npz"
    with np.load(copy / file) as loaded:
        arrays = dict(loaded)
    if name == "uv":
        arrays["uv"] = np.full((len(arrays["polygon_vertices"]), 2), np.nan, np.float32)
    elif name == "uv_shape":
        arrays["uv"] = np.zeros((5, 2), np.float32)
    elif name == "polygon_material":
        arrays[name] += 1
    elif name == "materials":
        arrays["polygon_material"] = arrays["polygon_material"][:-1]
    else:
        arrays["part_names"] = np.array(["top", "a,b" if name == "part_names" else "a\nb", "bottom"])
    np.savez(copy / file, **arrays)
    with pytest.raises(LwaeError, match="data makes no model that can be used: "):
        create_run(tmp_path / "run", copy, preset, SMALL[preset])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["mean", "std", "decoder/0/bias", "decoder/fc/weight"])
def test_arrays_of_the_paper_network_that_give_no_faces_are_refused(data, tmp_path, name):
    model = create_run(tmp_path / "run", data, "paper", SMALL["paper"]).start_model()
    model.network[name] = np.full_like(model.network[name], 1e38)
    save_model(model, tmp_path / "model.lwae")
    with pytest.raises(LwaeError, match="not finite, or reach farther"):
        load_model(tmp_path / "model.lwae")


def test_a_network_that_blew_up_is_not_exported(data, tmp_path):
    one_step = {"epochs": 1, "batch_size": 60, "learning_rate": 1e30}
    run = create_run(tmp_path / "run", data, "local", SMALL["local"] | one_step)
    training.train(run)
    with pytest.raises(LwaeError, match="smaller learning_rate"):
        export_run(run.path, tmp_path / "model.lwae")


def test_a_last_step_that_blows_up_keeps_no_checkpoint(data, tmp_path):
    run = create_run(tmp_path / "run", data, "local", SMALL["local"] | {"epochs": 1, "batch_size": 60, "seam": 1e300})
    with pytest.raises(LwaeError, match="diverged in epoch 1"):
        training.train(run)
    assert not run.checkpoint.exists()


@pytest.mark.parametrize("wrong", ["zero", "negative", "sum", "text", "names"])
def test_weights_that_are_none_start_no_run(data, tmp_path, wrong):
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    with np.load(copy / "weights.npz") as arrays:
        weights, names = arrays["weights"], arrays["part_names"]
    if wrong == "zero":
        weights[0], weights[1] = 0, weights[0] + weights[1]
    elif wrong == "negative":
        weights[0, 0], weights[1, 0] = -1, 2
    elif wrong == "sum":
        weights[:] = 0.9 * weights
    elif wrong == "text":
        weights = weights.astype(str)
    else:
        names[:] = names[0]
    np.savez(copy / "weights.npz", weights=weights, part_names=names)
    with pytest.raises(LwaeError, match="weights.npz is damaged .*run `python -m trainer weights"):
        create_run(tmp_path / "run", copy, "local", SMALL["local"])


def test_rebuild_commands_survive_a_shell(data, tmp_path):
    run = create_run(tmp_path / "run", data, "paper", SMALL["paper"])
    words = shlex.split(rebuild_commands(run)[2])
    assert "filters=[4,4]" in words


def test_no_room_for_a_checkpoint_leaves_the_last_one(data, tmp_path):
    resource = pytest.importorskip("resource")
    run = create_run(tmp_path / "run", data, "local", SMALL["local"])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(LwaeError, match="Cannot write .*checkpoint.pt"):
            training.train(run)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert {file.name for file in run.path.iterdir()} == {"config.json", "start.lwae"}
    assert training.train(run)


def test_training_stops_when_it_diverges(data, tmp_path, monkeypatch):
    run = create_run(tmp_path / "run", data, "local", SMALL["local"])
    monkeypatch.setattr(training, "schedule", lambda progress: 1e30)
    with pytest.raises(LwaeError, match="diverged in epoch 1"):
        training.train(run)


@pytest.mark.parametrize("place", ["trainer.export.export_run", "trainer.cli._joined_axes"])
def test_ctrl_c_outside_training(monkeypatch, capsys, tmp_path, place):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(place, interrupted)
    assert main(["export", str(tmp_path), "--out", "model.lwae"]) == 130
    assert capsys.readouterr().err == "stopped\n"


def test_codes_that_no_model_holds_leave_no_run(data, tmp_path, monkeypatch):
    monkeypatch.setattr("trainer.run.MAX_CODE", 3)
    for preset in ("local", "paper"):
        with pytest.raises(LwaeError, match="smaller code_size or latent"):
            create_run(tmp_path / "run", data, preset, SMALL[preset])
    assert not (tmp_path / "run").exists()


def test_bad_input_gets_a_sentence(data, tmp_path, capsys):
    run = create_run(tmp_path / "run", data, "local", SMALL["local"])
    with pytest.raises(LwaeError, match="exists already"):
        create_run(tmp_path / "run", data, "local", {})
    with pytest.raises(LwaeError, match="no option colour"):
        create_run(tmp_path / "other", data, "local", {"colour": 1})
    with pytest.raises(LwaeError, match="not a data set"):
        create_run(tmp_path / "other", tmp_path, "local", {})
    with pytest.raises(LwaeError, match="no checkpoint yet"):
        export_run(run.path, tmp_path / "model.lwae")
    (tmp_path / "run" / "checkpoint.pt").write_bytes(b"damaged")
    with pytest.raises(LwaeError, match="damaged"):
        training.train(open_run(run.path))
    assert main(["evaluate", str(tmp_path / "nothing")]) == 1
    assert main(["train", str(data)]) == 1
    errors = capsys.readouterr().err
    assert "is not a run" in errors and "--out" in errors
    with pytest.raises(SystemExit) as stop:
        main(["weights", str(data), "--parts", "none"])
    assert stop.value.code == 2
