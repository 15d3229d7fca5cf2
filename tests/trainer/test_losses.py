# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from backend.torch_decoder import torch_network
from tests.toy import toy_model
from trainer import losses

SIZES = [2, 1, 3]


class Shifted:
    """An autoencoder of 6 vertices, one per code number: x = code in every coordinate; part 0 leaks on vertex 5."""

    std = torch.full((6, 3), 2.0)

    def __init__(self, leak=0.0):
        self.leak = leak

    def decode(self, codes):
        vertices = codes.clone()
        vertices[:, 5] += self.leak * codes[:, 0]
        return vertices[..., None].expand(-1, -1, 3)

    def encode(self, faces):
        return faces[..., 0]


def outside(*regions):
    mask = torch.ones(len(regions), 6, dtype=torch.bool)
    for part, region in enumerate(regions):
        mask[part, region] = False
    return mask


def test_swapping_there_and_back_costs_nothing_when_parts_are_independent():
    codes = torch.randn(9, 6)  # one more than pairs
    network = Shifted()
    assert losses.cycle_loss(network, network.decode(codes), codes, SIZES) == 0
    torch.manual_seed(0)
    leaking = Shifted(leak=1.0)
    assert losses.cycle_loss(leaking, leaking.decode(codes), codes, SIZES) > 0.01


def test_leakage_is_the_mean_change_outside_of_the_region():
    network, codes = Shifted(leak=0.5), torch.randn(4, 6)
    own = [[0, 1], [2], [3, 4, 5]]
    change = 0.5 * (codes[:, 0].roll(1) - codes[:, 0]).abs().mean() / 4  # vertex 5, one of four outside vertices
    seen = set()
    for seed in range(20):
        torch.manual_seed(seed)
        loss = float(losses.leakage_loss(network, codes, network.decode(codes), SIZES, outside(*own)))
        seen.add(round(loss, 6))
    assert seen == {0.0, round(float(change), 6)}
    everywhere = outside(range(6), range(6), range(6))
    assert losses.leakage_loss(network, codes, network.decode(codes), SIZES, everywhere) == 0


def test_a_local_model_does_not_leak_where_its_parts_have_no_weight():
    model = toy_model()
    network = torch_network(model)
    codes = torch.from_numpy(model.prior.sample(np.random.default_rng(0), 4))
    decoded = network.decode(codes)
    apart = torch.from_numpy(model.weights) == 0
    apart[:2] &= apart[0] & apart[1]  # the toy's border block sees parts 0 and 1
    for seed in range(9):
        torch.manual_seed(seed)
        assert losses.leakage_loss(network, codes, decoded, model.code_sizes, apart) == 0
        assert losses.leakage_loss(network, codes, decoded, model.code_sizes, ~apart) > 0


def test_partition_of_the_identity():
    blocks = torch.zeros(3, 6, 6)
    for part, columns in enumerate(((0, 1), (2,), (3, 4, 5))):
        blocks[part, columns, columns] = 1
    assert losses.partition_loss(blocks) == 0
    projections = torch.randn(3, 6, 6)
    expected = np.linalg.norm(projections.numpy().sum(0) - np.eye(6)) ** 2 / 6
    assert float(losses.partition_loss(projections)) == pytest.approx(expected, rel=1e-5)


def test_divergence_from_the_standard_normal():
    mean, log_variance = torch.randn(5, 7), torch.randn(5, 7)
    posterior = Normal(mean, (log_variance / 2).exp())
    expected = kl_divergence(posterior, Normal(0.0, 1.0)).sum(dim=1).mean()
    torch.testing.assert_close(losses.divergence(mean, log_variance), expected)


def test_which_terms_count():
    plain = {"cycle": 0.5, "partition": 0.0, "leakage": 0.0, "kl": 1e-3}
    assert losses.loss_weights(plain) == {"reconstruction": 1.0, "cycle": 0.5}
    every = plain | {"variational": True, "partition": 2.0, "leakage": 3.0, "cycle": 0.0}
    weights = {"reconstruction": 1.0, "cycle": 0.0, "partition": 2.0, "leakage": 3.0, "kl": 1e-3}
    assert losses.loss_weights(every) == weights
    assert losses.loss_weights({"cycle": 0.5, "leakage": 0.1}).keys() == {"reconstruction", "cycle", "leakage"}


def test_a_loss_in_standard_deviations():
    network, faces = Shifted(leak=1.0), torch.randn(4, 6, 3)
    config = {"cycle": 1.0, "normalised_loss": True}
    torch.manual_seed(0)
    normalised = losses.loss_terms(network, faces, config, SIZES)
    torch.manual_seed(0)
    plain = losses.loss_terms(network, faces, {"cycle": 1.0}, SIZES)
    for name, term in plain.items():
        torch.testing.assert_close(normalised[name], term / 2)
