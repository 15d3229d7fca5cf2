# SPDX-License-Identifier: GPL-3.0-or-later
import json
import os
import re
import shutil
import signal

import numpy as np
import pytest
from matplotlib.image import imread

from backend.errors import LwaeError
from tests.trainer.test_training import SMALL
from trainer import training
from trainer.cli import main
from trainer.datasets.dataset import Template, load_dataset, write_dataset
from trainer.report.page import PIXELS
from trainer.report.report_run import report_run
from trainer.report.subject import Subject
from trainer.run import create_run
from trainer.weights.weights_file import save_weights

pytestmark = pytest.mark.usefixtures("small_pictures")


def images(page):
    found = re.findall(r'<img src="([^"]+)" width="(\d+)" height="(\d+)"', page.read_text(encoding="utf-8"))
    return {name: (int(width), int(height)) for name, width, height in found}


@pytest.fixture
def trained(data, tmp_path):
    run = create_run(tmp_path / "run", data, "local", SMALL["local"] | {"epochs": 1})
    training.train(run)
    return run


@pytest.mark.parametrize("preset", ["local", "paper"])
def test_the_whole_report(preset, data, tmp_path, capsys):
    run = create_run(tmp_path / "run", data, preset, SMALL[preset])
    training.train(run)
    cell = {"value": 0.25, "low": 0.2, "high": 0.3}
    metrics = {"epochs": 7, "models": {"trained": {"code_size": 18, "metrics": {"reconstruction": cell, "new": cell}}}}
    (run.path / "metrics.json").write_text(json.dumps(metrics))
    assert main(["report", str(run.path)]) == 0
    page = run.path / "report" / "index.html"
    assert capsys.readouterr().out.strip() == str(page)
    shown = images(page)
    assert set(shown) | {"index.html"} == {file.name for file in page.parent.iterdir()}
    assert {f"combinations-{part:02d}.png" for part in (1, 2, 3)} < set(shown) and len(shown) == 10
    for name, (width, height) in shown.items():
        pixels = imread(page.parent / name)
        assert pixels.shape[:2] == pytest.approx((height * PIXELS, width * PIXELS), abs=1)
        assert (pixels[:, :, :3] < 0.9).any()
    text = page.read_text()
    epochs = SMALL[preset]["epochs"]
    assert f"<dt>epochs reached</dt><dd>{epochs} of {epochs}</dd>" in text and run.config["git_revision"] in text
    assert "0.250<small>[0.200, 0.300]</small>" in text and f"after 7 epochs, and the figures show {epochs}" in text
    assert "state so far" not in text and str(tmp_path) not in text


def test_the_same_again_and_elsewhere(trained, tmp_path):
    first = report_run(trained.path)
    assert "Not measured yet" in first.read_text()
    before = {file.name: file.read_bytes() for file in first.parent.iterdir()}
    second = report_run(trained.path, tmp_path / "other" / "folder")
    assert {file.name: file.read_bytes() for file in second.parent.iterdir()} == before
    for text in ("{", 100_000 * "["):
        (trained.path / "metrics.json").write_text(text)
        with pytest.raises(LwaeError, match="metrics.json is damaged"):
            report_run(trained.path)
    assert {file.name: file.read_bytes() for file in first.parent.iterdir()} == before


def test_a_run_that_was_stopped_in_its_first_epoch(data, tmp_path, monkeypatch):
    run = create_run(tmp_path / "run", data, "paper", SMALL["paper"])
    with pytest.raises(LwaeError, match="no checkpoint yet"):
        report_run(run.path)
    assert not (run.path / "report").exists()
    schedule = training.schedule

    def stop(progress):
        os.kill(os.getpid(), signal.SIGTERM)
        return schedule(progress)

    monkeypatch.setattr(training, "schedule", stop)
    assert not training.train(run)
    text = report_run(run.path).read_text()
    assert "Trained for 0 of 2 epochs" in text and "No epoch is complete yet" in text and "curves.png" not in text


def test_few_faces_that_differ_in_one_way(data, tmp_path):
    faces = load_dataset(data).vertices[:18]
    line = faces[0] + np.linspace(-1, 1, 18)[:, None, None] * (faces[1] - faces[0])
    template = load_dataset(data).template
    for name, count in (("two", 18), ("one", 12)):
        path = tmp_path / name
        write_dataset(
            path, iter([line[:count]]), count, template, name=name, licence="CC0", provenance="test", seed=0
        )
        shutil.copy(data / "weights.npz", path)
        run = create_run(tmp_path / f"run-{name}", path, "local", SMALL["local"] | {"epochs": 1})
        training.train(run)
        if name == "two":
            assert "area / train" in report_run(run.path).read_text()
        else:
            with pytest.raises(LwaeError, match="1 test face, too few"):
                report_run(run.path)
            assert not (run.path / "report").exists()


def test_one_part_and_another_mesh(data, tmp_path):
    """Two loose triangles of which one is nearly nothing, and a vertex that no polygon uses."""
    rng = np.random.default_rng(0)
    base = np.array([[0, 0, 0], [100, 0, 0], [0, 0, 100], [50, -80, 50], [0, 0, 1e-3], [400, 0, 0]])
    faces = (base + rng.normal(size=(40, 6, 3))).astype(np.float32)
    template = Template(
        np.array([3, 4]), np.array([0, 1, 4, 0, 1, 3, 2]), np.zeros((0, 2)), np.array([0, 1], np.uint8)
    )
    path = tmp_path / "scrap"
    write_dataset(path, iter([faces]), 40, template, name="scrap", licence="", provenance="", seed=0)
    save_weights(path, np.ones((1, 6), np.float32), ["all & <everything> $\\frac$"])
    run = create_run(tmp_path / "run", path, "local", SMALL["local"] | {"epochs": 1})
    training.train(run)
    page = report_run(run.path)
    assert len(images(page)) == 8 and "all &amp; &lt;everything&gt; $\\frac$" in page.read_text()


def test_combinations_change_one_part_and_nothing_else(trained):
    subject = Subject(trained.trained_model(), trained.dataset)
    sources, targets = subject.pairs
    assert not set(sources) & set(targets)
    for part in range(3):
        codes = subject.combinations(part)
        assert codes.shape == (len(targets), len(sources), subject.model.code_size)
        own = np.zeros(codes.shape[2], bool)
        own[subject.model.part_slice(part)] = True
        for i, target in enumerate(targets):
            for j, source in enumerate(sources):
                expected = np.where(own, subject.codes[source], subject.codes[target])
                np.testing.assert_array_equal(codes[i, j], expected)


def test_the_papers_numbers_of_sources_and_targets(trained):
    subject = Subject(trained.trained_model(), trained.dataset)
    for faces, expected in ((2, (1, 1)), (7, (2, 5)), (16, (5, 11)), (220, (5, 11))):
        subject.__dict__.pop("pairs", None)
        subject.bed.test = np.zeros((faces, 1, 3))
        assert tuple(map(len, subject.pairs)) == expected
