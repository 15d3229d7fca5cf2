# SPDX-License-Identifier: GPL-3.0-or-later
import dataclasses
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from backend.errors import LwaeError
from backend.lwae_file import load_model
from backend.numpy_decoder import NumpyDecoder
from backend.torch_decoder import TorchDecoder, torch_network
from tests.toy import toy_model


@pytest.fixture(scope="module", params=[False, True], ids=["linear", "residuals"])
def model(request):
    return toy_model(residuals=request.param)


@pytest.fixture
def codes(model):
    return model.prior.sample(np.random.default_rng(3), 7)


def test_torch_equals_numpy(model, codes):
    fast, slow = TorchDecoder(model), NumpyDecoder(model)
    faces = slow.decode(codes)
    np.testing.assert_allclose(fast.decode(codes), faces, atol=1e-4)
    np.testing.assert_allclose(fast.encode(faces), slow.encode(faces), atol=1e-4)


def test_no_faces(model):
    for decoder in (TorchDecoder(model), NumpyDecoder(model)):
        none = decoder.decode(np.zeros((0, model.code_size), np.float32))
        assert none.shape == (0, model.vertex_count, 3) and decoder.encode(none).shape == (0, model.code_size)


def test_torch_equals_numpy_with_the_bundled_model():
    model = load_model(Path(__file__).parents[2] / "blender_lwae" / "models" / "default.lwae")
    fast, slow = TorchDecoder(model), NumpyDecoder(model)
    codes = model.prior.sample(np.random.default_rng(0), 4, strength=1.5)
    faces = slow.decode(codes)
    np.testing.assert_allclose(fast.decode(codes), faces, atol=1e-4)
    np.testing.assert_allclose(slow.decode_one(codes[3]), faces[3], atol=1e-4)
    np.testing.assert_allclose(slow.decode(fast.encode(faces)), slow.decode(slow.encode(faces)), atol=1e-4)


def test_decode_is_the_sum_that_the_docstring_states(model, codes):
    still = {**model.header["network"], "border_strength": 0.0}  # moving borders have their own tests
    model = dataclasses.replace(model, header={**model.header, "network": still})
    expected = np.repeat(model.mean[None].astype(np.float64), len(codes), axis=0)
    for k in range(model.part_count):
        basis = model.network[f"part{k}/basis"].astype(np.float64)
        expected[:, model.network[f"part{k}/vertices"]] += np.einsum(
            "bz,znc->bnc", codes[:, model.part_slice(k)].astype(np.float64), basis
        )
    for index, block in enumerate(model.header["network"]["residuals"]):
        a = {n.split("/")[1]: v.astype(np.float64) for n, v in model.network.items() if f"residual{index}/" in n}
        z = np.concatenate([codes[:, model.part_slice(p)] for p in block["parts"]], axis=1).astype(np.float64)
        lifted = z @ a["weight0"].T + a["bias0"]
        c = (lifted / (1 + np.exp(-lifted))) @ a["weight1"].T + a["bias1"] + z @ a["skip"].T
        expected[:, a["vertices"].astype(int)] += np.einsum("bc,cnd->bnd", c, a["basis"])
    np.testing.assert_allclose(NumpyDecoder(model).decode(codes), expected, atol=1e-4)


def test_decode_one_follows_any_path_of_changes(model, codes):
    decoder = NumpyDecoder(model)
    reference = decoder.decode(codes)
    code = codes[0].copy()
    for target in range(1, len(codes)):
        for k in range(model.part_count):
            code[model.part_slice(k)] = codes[target][model.part_slice(k)]
            decoder.decode_one(code)
        np.testing.assert_allclose(decoder.decode_one(codes[target]), reference[target], atol=1e-4)


def test_threads_get_their_own_faces():
    """A render and the window decode at once, each its own drag."""
    model = toy_model(parts=5)
    decoder, wrong = NumpyDecoder(model), []
    step = model.part_slice(1).start

    def drag(seed):
        code = model.prior.sample(np.random.default_rng(seed), 1)[0]
        expected = NumpyDecoder(model)
        for _ in range(300):
            code[step] += 0.01
            try:
                if np.abs(decoder.decode_one(code) - expected.decode(code[None])[0]).max() > 1e-3:
                    wrong.append(seed)
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=drag, args=(seed,)) for seed in range(2)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert not wrong


def test_no_float64_goes_to_devices_without_it(model):
    """MPS has none, and refuses a network with such buffers. Tensors without numbers stand for those on it."""
    assert not any(buffer.dtype == torch.float64 for buffer in torch_network(model).buffers())
    seen = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), options=None):
            result = function(*arguments, **(options or {}))
            seen.extend((one.device.type, one.dtype) for one in tree_leaves(result) if isinstance(one, torch.Tensor))
            return result

    with FakeTensorMode(), Watch():
        network = torch_network(toy_model(residuals=False))  # What border shifts need is not even faked without MPS.
        for module in network.modules():
            for own in (module._parameters, module._buffers):
                own.update({name: tensor.detach().to("mps:0") for name, tensor in own.items()})
        codes = network.encode(torch.empty(2, model.vertex_count, 3, device="mps:0"))
    assert (codes.device.type, codes.dtype) == ("mps", torch.float32)
    assert ("cpu", torch.float64) in seen and ("mps", torch.float64) not in seen


def test_a_part_moves_only_its_own_vertices(model, codes):
    decoder = NumpyDecoder(model)
    for k in range(model.part_count):
        changed = codes[:1].copy()
        changed[:, model.part_slice(k)] += 1
        moved = np.abs(decoder.decode(changed) - decoder.decode(codes[:1]))[0].max(axis=1) > 0
        assert moved.any() and not moved[model.weights[k] == 0].any()


def test_encoding_is_the_joint_map_solution():
    model = toy_model(residuals=False, border_strength=0)
    decoder = NumpyDecoder(model)
    codes = model.prior.sample(np.random.default_rng(1), 4)
    faces = decoder.decode(codes) + np.random.default_rng(2).normal(size=(4, 266, 3)).astype(np.float32)
    identity = np.eye(model.code_size, dtype=np.float32)
    basis = (decoder.decode(identity) - model.mean).reshape(model.code_size, -1).astype(np.float64)
    mass = np.repeat(model.network["mass"], 3)
    gram = (basis * mass) @ basis.T + model.header["network"]["sigma_n"] ** 2 * np.eye(model.code_size)
    expected = np.linalg.solve(gram, (basis * mass) @ (faces - model.mean).reshape(4, -1).T).T
    np.testing.assert_allclose(decoder.encode(faces), expected, atol=1e-3)


def test_encoding_looks_through_the_residual(model):
    decoder = NumpyDecoder(model)
    codes = 0.5 * model.prior.sample(np.random.default_rng(1), 4)
    faces = decoder.decode(codes)
    again = decoder.decode(decoder.encode(faces))
    assert np.abs(again - faces).max() < 0.02 * np.abs(faces - model.mean).max()


@pytest.mark.parametrize("kind", [NumpyDecoder, TorchDecoder])
def test_bad_batches_get_a_sentence(model, kind):
    decoder = kind(model)
    with pytest.raises(LwaeError, match="belong to another model"):
        decoder.decode(np.zeros((2, 5), np.float32))
    with pytest.raises(LwaeError, match="belong to another model"):
        decoder.encode(np.zeros((1, 7, 3), np.float32))
    with pytest.raises(LwaeError, match="NaN"):
        decoder.encode(np.full((1, model.vertex_count, 3), np.nan, np.float32))
    with pytest.raises(LwaeError, match="NaN"):
        NumpyDecoder(model).decode_one(np.full(model.code_size, np.inf, np.float32))


def test_how_many_faces_are_decoded_together_does_not_matter(model, codes, monkeypatch):
    whole = NumpyDecoder(model).decode(codes)
    monkeypatch.setattr("backend.local_network.FLOATS_TOGETHER", 3 * 3 * model.vertex_count)
    monkeypatch.setattr("backend.local_network.MIN_TOGETHER", 1)
    assert NumpyDecoder(model)._network._faces_at_a_time == 3
    np.testing.assert_allclose(NumpyDecoder(model).decode(codes), whole, atol=1e-4)
