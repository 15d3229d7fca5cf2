# SPDX-License-Identifier: GPL-3.0-or-later
"""What the figures say, against the same numbers found another way."""

import dataclasses

import numpy as np
import pytest

from tests.toy import toy_model
from trainer.datasets.dataset import load_dataset
from trainer.evaluation.hausdorff import hausdorff_distance
from trainer.latent import fit_latent
from trainer.report import interpolation, planes, reconstructions
from trainer.report.subject import Subject
from trainer.report.views import BEHIND, BESIDE, view_of_part

pytestmark = pytest.mark.usefixtures("small_pictures")


@pytest.fixture(scope="module")
def subject(data):
    dataset = load_dataset(data)
    return Subject(fit_latent(toy_model(residuals=False), dataset), dataset)


def texts(plate):
    return [text.get_text() for text in plate.figure.texts]


def test_steps_start_at_the_reconstruction_and_end_with_the_sources_part(subject):
    found = texts(interpolation.interpolation_plate(subject))
    distances = [text for text in found if text.endswith(" mm")]
    faces = [int(text.split()[1]) for text in found if text.startswith("face ")]
    assert len(distances) == 15 and len(faces) == 6 and len(set(faces[::2])) == 1
    row = {face: i for i, face in enumerate(subject.dataset.test)}
    target, triangles = row[faces[0]], subject.studio.triangles
    for part, source in enumerate(row[face] for face in faces[1::2]):
        code = subject.codes[target].copy()
        for step in (0, 4):
            if step:
                code[subject.model.part_slice(part)] = subject.codes[source, subject.model.part_slice(part)]
            apart = hausdorff_distance(subject.decode(code[None])[0], subject.test[target], triangles)
            assert float(distances[5 * part + step].split()[0]) == pytest.approx(apart, abs=0.006)


def test_the_worst_come_first(subject):
    errors = np.linalg.norm(subject.decode(subject.codes) - subject.test, axis=2).mean(axis=1)
    found = [text for text in texts(reconstructions.reconstructions_plate(subject)) if text.startswith("face ")]
    assert found == [f"face {subject.dataset.test[i]}" for i in np.argsort(-errors)[:6]]


def test_areas_and_containment_in_the_pca_plane(subject):
    train = subject.dataset.vertices[subject.dataset.train].reshape(len(subject.dataset.train), -1)
    axes = np.linalg.svd(train - train.mean(axis=0), full_matrices=False)[2][:2]
    codes = np.concatenate([subject.combinations(part).reshape(-1, subject.model.code_size) for part in range(3)])
    made = subject.decode(codes).reshape(len(codes), -1) @ axes.T
    real = {"train": train @ axes.T, "test": subject.test.reshape(len(subject.test), -1) @ axes.T}
    areas = {name: np.sqrt(np.linalg.det(np.cov(points.T))) for name, points in real.items()}
    area = np.sqrt(np.linalg.det(np.cov(made.T)))
    plate = planes.planes_plate(subject)
    line = dict(zip(plate.table[0], plate.table[1], strict=True))
    assert line["made faces"] == "part combinations"
    whiten = np.linalg.inv(np.linalg.cholesky(np.cov(made.T)))
    turn = np.linspace(0, 2 * np.pi, 500)
    for name, points in real.items():
        half_axes = np.sqrt(5.9915) * np.linalg.cholesky(np.cov(points.T))
        border = points.mean(axis=0) + np.stack([np.cos(turn), np.sin(turn)], axis=1) @ half_axes.T
        within = ((whiten @ (border - made.mean(axis=0)).T) ** 2).sum(axis=0).max() <= 5.9915
        assert line[f"ellipse contains that of {name}"] == ("yes" if within else "no")
        assert float(line[f"area / {name}'s"]) == pytest.approx(area / areas[name], abs=0.006)
    inside = (((whiten @ (real["train"] - made.mean(axis=0)).T) ** 2).sum(axis=0) < 5.9915).mean()
    assert line["training faces inside"] == f"{100 * inside:.0f} %"
    unit = np.sqrt(subject.dataset.vertex_count)
    x = np.sort(np.abs(plate.figure.axes[0].collections[0].get_offsets()[:, 0]))
    np.testing.assert_allclose(
        x, np.sort(np.abs(real["train"][:, 0] - real["train"][:, 0].mean())) / unit, rtol=1e-2, atol=1e-3
    )


def test_parts_at_the_back_are_seen_from_behind(subject):
    back = (subject.model.mean[:, 1] > 40).astype(np.float32)
    turned = dataclasses.replace(subject, model=dataclasses.replace(subject.model, weights=np.stack([back, 1 - back])))
    assert view_of_part(turned, 0) == BEHIND and view_of_part(turned, 1) == BESIDE
