# SPDX-License-Identifier: GPL-3.0-or-later
"""The paper's network: NumPy against PyTorch, and what the paper says about its structure."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("scipy")

from backend.errors import LwaeError  # noqa: E402
from backend.network import PaperNetwork  # noqa: E402
from backend.paper_network import PaperConfig, PaperNumpy, expected_shapes  # noqa: E402
from backend.torch_decoder import TorchDecoder  # noqa: E402
from backend.torch_sparse import use_csr  # noqa: E402
from tests.toy import sphere  # noqa: E402
from trainer import paper_preset  # noqa: E402
from trainer.mesh.topology import triangulate  # noqa: E402

SMALL = {"latent": 6, "order": 3, "filters": [5, 6, 8]}
PARTS = 3
VARIANTS = [
    {},
    {"activation": "relu"},
    {"shared_fc": False},
    {"local_weights": False},
    {"projections": False},
    {"statistics": "scalar"},
    {"fc_activation": True},
    {"variational": True},
    {"order": 1, "filters": [8, 4], "latent": 3},
]


def faces(count: int = 40, seed: int = 0) -> np.ndarray:
    """Smoothly deformed spheres with a diameter of 250 mm and deviations of about 5 mm, float32 [S, N, 3]."""
    rng = np.random.default_rng(seed)
    mean = sphere(radius=125.0)[0]
    waves = np.concatenate([np.sin(mean / 40), np.cos(mean / 60)], axis=1)
    return (mean + 5 * waves @ rng.normal(size=(count, 6, 3))).astype(np.float32)


def hard_weights(vertices: np.ndarray) -> np.ndarray:
    """Every vertex belongs to one horizontal band, [K, N]."""
    band = np.digitize(vertices[:, 2], [-40, 40])
    return np.eye(PARTS, dtype=np.float32)[band].T


def build(seed: int = 0, **options) -> PaperNetwork:
    data, (vertices, sizes, corners) = faces(), sphere()
    config = paper_preset.DEFAULTS | SMALL | options | {"seed": seed}
    weights = hard_weights(vertices)
    return paper_preset.build(data, data.mean(axis=0), triangulate(sizes, corners), weights, config)


def as_model(network: PaperNetwork) -> SimpleNamespace:
    header = json.loads(json.dumps({"network": network.config}))
    return SimpleNamespace(network=network.export_arrays(), header=header)


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_numpy_equals_torch(options):
    network, data = build(**options), faces(3, seed=1)
    twin = PaperNumpy(as_model(network))
    rng = np.random.default_rng(0)
    with torch.no_grad():
        codes = network.encode(torch.from_numpy(data)).numpy()
        random = rng.normal(scale=5, size=codes.shape).astype(np.float32)
        decoded, wild = (network.decode(torch.from_numpy(z)).numpy() for z in (codes, random))
    assert codes.shape == (3, PARTS * network.config["latent"])
    assert decoded.shape == data.shape
    assert (wild - twin.mean).std() > 1, "the comparison needs faces that differ from the mean"
    np.testing.assert_allclose(twin.encode(data), codes, atol=1e-5)
    np.testing.assert_allclose(twin.decode(codes), decoded, atol=1e-4)
    np.testing.assert_allclose(twin.decode(random), wild, atol=1e-4)


def test_decode_one_follows_the_changed_parts():
    twin = PaperNumpy(as_model(build()))
    rng = np.random.default_rng(0)
    code = rng.normal(size=18).astype(np.float32)
    for part in (None, 0, 2, 2, 1):
        if part is not None:
            code[6 * part : 6 * part + 6] = rng.normal(size=6)
        np.testing.assert_allclose(twin.decode_one(code), twin.decode(code[None])[0], atol=1e-4)


def test_faces_of_a_batch_do_not_influence_each_other():
    network = build()
    twin, codes = PaperNumpy(as_model(network)), np.random.default_rng(0).normal(size=(5, 18)).astype("f4")
    np.testing.assert_array_equal(twin.decode(codes)[3:4], twin.decode(codes[3:4]))
    assert twin.decode(codes[:0]).shape == (0, *twin.mean.shape)
    with torch.no_grad():
        whole = network.decode(torch.from_numpy(codes))
        torch.testing.assert_close(whole[3:4], network.decode(torch.from_numpy(codes[3:4])), atol=1e-4, rtol=0)


def test_no_faces():
    network = build()
    facts = {"preset": "paper", "vertex_count": network.mean.shape[0], "code_size": 18}
    decoder = TorchDecoder(SimpleNamespace(**vars(as_model(network)), **facts))
    none = decoder.decode(np.zeros((0, 18), np.float32))
    assert none.shape == (0, *network.mean.shape) and decoder.encode(none).shape == (0, 18)


def test_blocks_of_faces_equal_the_whole_batch(monkeypatch):
    network, data = build(), torch.from_numpy(faces(5, seed=2))
    gradients = []
    for block in (1, 1 << 30):
        monkeypatch.setattr("backend.network.BLOCK_FEATURES", block)
        network.zero_grad()
        (network.decode(network.encode(data)) - data).abs().mean().backward()
        gradients.append([parameter.grad.clone() for parameter in network.parameters()])
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-4)


def test_both_sparse_products_give_the_same_faces_and_gradients():
    network, data = build(order=5), torch.from_numpy(faces(5, seed=2))
    decoded, gradients = [], []
    for csr in (False, True):
        use_csr(network, csr)
        network.zero_grad()
        decoded.append(network.decode(network.encode(data)))
        (decoded[-1] - data).abs().mean().backward()
        gradients.append([parameter.grad.clone() for parameter in network.parameters()])
    torch.testing.assert_close(*decoded, atol=1e-4, rtol=0)
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-4)
    assert all(matrix._rows for matrix in network.laplacians)


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_arrays_make_the_round_trip(options):
    network = build(**options)
    arrays = network.export_arrays()
    other = PaperNetwork.from_arrays(arrays, network.config)
    assert other.config == network.config
    again = other.export_arrays()
    assert again.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(again[name], array)
        assert array.dtype == (np.int32 if name.endswith(("indptr", "indices")) else np.float32)
    config = PaperConfig.from_dict(network.config)
    dense = expected_shapes(config, *(arrays[name].shape[axis] for name, axis in (("mean", 0), ("gate", 1))))
    parameters = sum(np.prod(shape) for name, shape in dense.items() if name not in ("mean", "std", "gate"))
    kept = [parameter for name, parameter in network.named_parameters() if not name.startswith("log_variance")]
    assert parameters == sum(parameter.numel() for parameter in kept)


def test_every_parameter_learns():
    network, data = build(shared_fc=False), torch.from_numpy(faces(4))
    (network.decode(network.encode(data)) - data).abs().mean().backward()
    still = [name for name, parameter in network.named_parameters() if not parameter.grad.abs().max() > 0]
    assert still == []


def test_training_reduces_the_error():
    network, data = build(latent=18, order=6, filters=[16, 16, 32]), torch.from_numpy(faces(16))
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    errors = []
    for _ in range(60):
        error = (network.decode(network.encode(data)) - data).abs().mean()
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
        errors.append(error.item())
    assert errors[-1] < 0.5 * errors[0]


def coarse_features(network: PaperNetwork, codes: torch.Tensor) -> torch.Tensor:
    """What enters the first up matrix, [N_L, B, C]."""
    seen = []
    handle = network.up[-1].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network.decode(codes)
    handle.remove()
    return seen[0]


@pytest.mark.parametrize("part", range(PARTS))
def test_a_part_code_changes_only_its_own_coarse_vertices(part):
    network = build()
    gate = network.gate
    assert torch.equal(gate.sum(dim=0), torch.ones(gate.shape[1]))
    codes = torch.zeros(2, 18)
    codes[1, 6 * part : 6 * part + 6] = 1.0
    features = coarse_features(network, codes)
    changed = (features[:, 0] != features[:, 1]).any(dim=1)
    assert torch.equal(changed, gate[part] > 0)
    assert 0 < changed.sum() < len(changed)


def test_without_local_weights_a_part_code_changes_everything():
    codes = torch.zeros(2, 18)
    codes[1, :6] = 1.0
    features = coarse_features(build(local_weights=False), codes)
    assert (features[:, 0] != features[:, 1]).any(dim=1).all()


def test_projections_have_no_bias_and_the_latent_no_activation():
    network = build()
    assert not network.project(torch.zeros(2, 6)).any()
    z = torch.randn(4, 6)
    torch.testing.assert_close(network.project(-2 * z), -2 * network.project(z))
    torch.testing.assert_close(network.project(z)[:, 6:12], z @ network.projections[1].t())
    latent = network.latent(torch.from_numpy(faces(20)))
    assert (latent < -1.0).any() and (latent > 1.0).any()  # neither ReLU, ELU nor tanh
    unprojected = build(projections=False)
    torch.testing.assert_close(unprojected.project(z), torch.cat([z, z, z], dim=1))


def test_convolutions_run_on_the_levels_of_their_features():
    network, used = build(), []
    for side in ("encoder", "decoder"):
        for layer in getattr(network, side):
            layer.register_forward_pre_hook(
                lambda module, inputs: used.append((len(inputs[0]), inputs[1].shape[0]))
            )
    network.decode(network.encode(torch.from_numpy(faces(1))))
    sizes = [matrix.shape[0] for matrix in network.laplacians]
    assert sizes[0] == len(network.mean) and len(set(sizes)) == 3
    assert used == [(size, size) for size in [*sizes, *sizes[::-1], sizes[0]]]
    assert network.decoder[-1].weight.shape == (3, 5, 3)


def test_up_sampling_keeps_constants():
    network = build()
    for down, up in zip(network.down, network.up, strict=True):
        ones = torch.ones(up.shape[1], 2, 3)
        torch.testing.assert_close(up(ones), torch.ones(up.shape[0], 2, 3))
        torch.testing.assert_close(down(up(ones)), ones)


def test_statistics_come_from_the_given_faces():
    data, network = faces(), build()
    deviation = np.maximum(data.std(axis=0), 0.01 * data.std(axis=0).max())
    np.testing.assert_allclose(network.mean.numpy(), data.mean(axis=0), atol=1e-3)
    np.testing.assert_allclose(network.std.numpy(), deviation, rtol=1e-3)
    scalar = build(statistics="scalar").std.numpy()
    np.testing.assert_allclose(scalar, np.sqrt(data.var(axis=0).mean()), rtol=1e-3)


def test_the_seed_decides_the_start():
    before = torch.get_rng_state()
    first, same, other = build(seed=1), build(seed=1), build(seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.projections, same.projections)
    assert not torch.equal(first.projections, other.projections)


def test_a_variational_encoder_starts_as_the_plain_one_and_exports_the_same_arrays():
    plain, network, data = build(), build(variational=True), torch.from_numpy(faces(4, seed=1))
    arrays, others = plain.export_arrays(), network.export_arrays()
    assert arrays.keys() == others.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(others[name], array)
    mean, log_variance = network.posterior(data)
    torch.testing.assert_close(mean, network.latent(data))
    assert log_variance.shape == mean.shape and not log_variance.any()
    network.train()
    torch.testing.assert_close(network.encode(data), network.project(mean))  # no noise: that is the loss's business
    log_variance.sum().backward()
    assert network.log_variance_fc.weight.grad.any() and network.encoder_fc.weight.grad is None


def test_the_decoders_fully_connected_layer_can_be_activated():
    network = build(fc_activation=True, activation="relu")
    features = coarse_features(network, 3 * torch.randn(2, 18))
    assert features.min() == 0 < features.max()
    assert coarse_features(build(activation="relu"), 3 * torch.randn(2, 18)).min() < 0


def test_the_defaults_are_those_of_the_paper():
    stated = {"latent": 64, "order": 6, "filters": [16, 16, 16, 32], "epochs": 300, "batch_size": 32}
    assert stated.items() <= paper_preset.DEFAULTS.items()
    assert PaperConfig().parts == 4 and paper_preset.DEFAULTS["cycle"] > 0
    network = build(filters=[4, 4])
    sizes = [len(network.mean), *(matrix.shape[0] for matrix in network.down)]
    assert sizes[1:] == [-(-sizes[0] // 4), -(-sizes[0] // 16)]


def test_full_size_parameters():
    """K = 4, Z = 64, filters 16, 16, 16, 32, order 6: counted by hand for 17 coarse vertices."""
    shapes = expected_shapes(PaperConfig(), 4312, 17)
    count = sum(int(np.prod(shape)) for name, shape in shapes.items() if name not in ("mean", "std", "gate"))
    convolutions = 6 * (3 * 16 + 2 * 16 * 16 + 16 * 32) + 80
    convolutions += 6 * (32 * 32 + 32 * 16 + 2 * 16 * 16 + 16 * 3) + 83
    assert count == convolutions + (17 * 32 * 64 + 64) + 4 * 64 * 64 + (64 * 17 * 32 + 17 * 32)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"activation": "tanh"}, "activation"),
        ({"statistics": "none"}, "statistics"),
        ({"filters": []}, "at least 1"),
        ({"order": 0}, "at least 1"),
        ({"colour": 1}, "colour"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(LwaeError, match=message):
        PaperConfig.from_dict(dataclasses.asdict(PaperConfig()) | options)


def test_partition_needs_projections():
    with pytest.raises(LwaeError, match="projections"):
        build(partition=1.0, projections=False)


def test_too_many_levels_are_refused():
    with pytest.raises(LwaeError, match="too small"):
        build(filters=[4, 4, 4, 4, 4, 4])


@pytest.mark.parametrize("name", ["mean", "gate", "projections", "encoder/1/weight", "up/0/data", "down/1/indptr"])
def test_damaged_arrays_are_refused(name):
    model = as_model(build())
    intact = model.network[name]
    model.network[name] = intact[:-1]
    with pytest.raises(LwaeError):
        PaperNumpy(model)
    del model.network[name]
    with pytest.raises(LwaeError, match=name):
        PaperNetwork.from_arrays(model.network, model.header["network"])
    model.network[name] = intact
    PaperNumpy(model)
