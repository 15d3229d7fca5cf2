# SPDX-License-Identifier: GPL-3.0-or-later
"""The training step as a GPU runs it: fixed places in memory, a recorded graph, faces on the device, rare looks.

All but the recording itself runs on the CPU here; `beside` and `record` are replaced by what they do, a call.
"""

import os
import signal

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from backend.errors import LwaeError
from backend.network import PaperNetwork
from backend.torch_decoder import torch_network
from tests.toy import toy_model
from tests.trainer.test_training import FULL, SMALL, data, parameters  # noqa: F401 (a fixture)
from trainer import cuda_graph, face_store, training
from trainer.distributed import ALONE
from trainer.face_store import FaceStore
from trainer.local_preset import DEFAULTS
from trainer.losses import Bending, Losses, loss_terms, loss_weights
from trainer.mesh.topology import polygon_edges
from trainer.optimiser import load_optimiser_state, make_optimiser, optimiser_state, set_rate
from trainer.precision import matrix_products, require_precision
from trainer.run import create_run, open_run
from trainer.step import Step

PRESETS = [("local", SMALL["local"] | {"leakage": 0.1}), ("paper", SMALL["paper"]), ("paper", FULL)]
NAMES = ["local", "paper", "variational"]
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU with CUDA")


@pytest.fixture
def like_a_gpu(monkeypatch):
    """The CPU trains as a GPU would: the step recorded, the learning rate a tensor, a look each four steps."""

    def optimiser(network, config, capturable):
        made = make_optimiser(network, config)
        if not isinstance(made, torch.optim.SGD):
            for group in made.param_groups:
                group["lr"], group["foreach"] = torch.tensor(group["lr"], dtype=torch.float64), False
        return made

    monkeypatch.setattr(training, "_can_be_recorded", lambda *_: True)
    monkeypatch.setattr(training, "make_optimiser", optimiser)
    monkeypatch.setitem(training.STEPS_BETWEEN_LOOKS, "cpu", 4)
    monkeypatch.setattr(face_store, "fits", lambda *_: True)
    monkeypatch.setattr(cuda_graph, "beside", lambda function, device: function())
    monkeypatch.setattr(cuda_graph, "record", lambda function, device: function)


def assert_equal_runs(one, other):
    for name, tensor in parameters(one).items():
        assert torch.equal(tensor, parameters(other)[name]), name
    assert one.read_checkpoint()["history"] == other.read_checkpoint()["history"]


def ingredients(run, device="cpu", capturable=False):
    """Network, losses, weights and optimiser of a run's start."""
    torch.manual_seed(0)
    model, config = run.start_model(), run.config
    network = torch_network(model).to(device).train()
    weights = loss_weights(config)
    outside = torch.as_tensor(model.weights < 0.1, device=device)
    edges = polygon_edges(model.polygon_sizes, model.polygon_vertices)
    bending = Bending(run.dataset.vertices, run.dataset.train, model.mean, edges).to(device)
    options = config, model.code_sizes, outside, bending
    optimiser = make_optimiser(network, config, capturable)
    return network, Losses(network, ALONE, *options), weights, optimiser, options


@pytest.mark.parametrize("preset, options", PRESETS, ids=NAMES)
def test_a_step_is_what_its_formula_says(preset, options, data, tmp_path):  # noqa: F811
    run = create_run(tmp_path / "run", data, preset, options)
    dataset = run.dataset
    batches = [dataset.train[start : start + 8] for start in (0, 8, 16)]

    network, losses, weights, optimiser, _ = ingredients(run)
    store = FaceStore(dataset.vertices, dataset.train, "cpu")
    step = Step(losses, weights, optimiser, torch.empty(8, dataset.vertex_count, 3))
    place = step.faces.data_ptr()
    for batch in batches:
        store.load(batch, step.faces)
        set_rate(optimiser, 0.01)
        step()
    assert step.faces.data_ptr() == place

    other, _, _, optimiser, rest = ingredients(run)
    sums = dict.fromkeys(weights, 0.0)
    for batch in batches:
        optimiser.param_groups[0]["lr"] = 0.01
        terms = loss_terms(other, torch.from_numpy(dataset.vertices[batch]), *rest)
        loss = sum(weights[name] * term for name, term in terms.items())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        sums = {name: total + float(terms[name].detach()) for name, total in sums.items()}
    assert step.sums.tolist() == list(sums.values())
    start = torch_network(run.start_model()).state_dict()
    changed = 0
    for name, tensor in other.state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name]), name
        changed += not torch.equal(tensor, start[name])
    assert changed > 4


class Places(TorchDispatchMode):
    """Which kinds of devices hold the tensors of all operations, and the operations that are not on `meta`."""

    def __init__(self):
        super().__init__()
        self.elsewhere: set[str] = set()
        self.count = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        self.count += 1
        tensors = [leaf for leaf in tree_leaves((arguments, options, result)) if isinstance(leaf, torch.Tensor)]
        if any(tensor.device.type != "meta" for tensor in tensors):
            self.elsewhere.add(str(function))
        return result


@pytest.mark.parametrize("preset", ["local", "paper"])
def test_a_step_neither_looks_at_numbers_nor_brings_any(preset):
    """On `meta` there are none: what would wait for a GPU cannot run there, what would be copied to it is seen."""
    model = toy_model()
    edges = polygon_edges(model.polygon_sizes, model.polygon_vertices)
    faces = model.mean + np.random.default_rng(0).normal(size=(10, *model.mean.shape)).astype(np.float32)
    bending = Bending(faces, np.arange(10), model.mean, edges).to("meta")
    outside = torch.ones(model.weights.shape, dtype=torch.bool, device="meta")
    if preset == "local":
        network, sizes, config = torch_network(model, dropout=0.2), model.code_sizes, DEFAULTS | {"leakage": 0.1}
        assert network.shift is not None
    else:
        network, config = paper_network(model), {"cycle": 1.0, "seam": 0.1} | FULL
        sizes = [network.config["latent"]] * model.part_count
    network.to("meta").train()
    weights = loss_weights(config)
    assert weights.keys() >= {"reconstruction", "cycle", "seam", "leakage"}
    with Places() as places:
        batch = torch.empty(8, *model.mean.shape, device="meta")
        terms = loss_terms(network, batch, config, sizes, outside, bending)
        sum(weights[name] * terms[name] for name in weights).backward()
    assert places.count > 100 and not places.elsewhere


def paper_network(model) -> PaperNetwork:
    from benchmarks.paper_scale import untrained_paper_network

    return untrained_paper_network(model, **{name: FULL[name] for name in ("latent", "filters", "variational")})


@pytest.mark.parametrize("preset, options", PRESETS, ids=NAMES)
def test_training_as_on_a_gpu_equals_plain_training(preset, options, data, tmp_path, request):  # noqa: F811
    plain = create_run(tmp_path / "plain", data, preset, options)
    assert training.train(plain)
    request.getfixturevalue("like_a_gpu")
    other = create_run(tmp_path / "other", data, preset, options)
    assert training.train(other)
    assert_equal_runs(plain, other)


def test_a_signal_is_answered_at_once_and_resuming_is_exact(data, tmp_path, like_a_gpu, monkeypatch):  # noqa: F811
    whole = create_run(tmp_path / "whole", data, "paper", SMALL["paper"])
    assert training.train(whole)
    parts = create_run(tmp_path / "parts", data, "paper", SMALL["paper"])
    schedule, steps = training.schedule, []

    def stop_in_the_second_step(progress):
        steps.append(progress)
        if len(steps) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return schedule(progress)

    monkeypatch.setattr(training, "schedule", stop_in_the_second_step)
    assert not training.train(parts)
    saved = parts.read_checkpoint()
    assert saved["batch"] == len(steps) == 2 and all(total > 0 for total in saved["sums"])
    assert training.train(open_run(parts.path))
    assert_equal_runs(whole, parts)


def test_a_divergence_is_told_with_its_epoch(data, tmp_path, like_a_gpu, monkeypatch):  # noqa: F811
    run = create_run(tmp_path / "run", data, "paper", SMALL["paper"])
    monkeypatch.setattr(training, "schedule", lambda progress: 1e30 if progress > 0.6 else 1.0)
    with pytest.raises(LwaeError, match="diverged in epoch 2"):
        training.train(run)
    saved = run.read_checkpoint()
    assert saved["epoch"] == 1 and all(torch.isfinite(tensor).all() for tensor in saved["network"].values())


def test_recording_comes_after_warm_up_and_every_call_works_once(monkeypatch):
    done, kinds = [], []
    monkeypatch.setattr(cuda_graph, "beside", lambda function, device: (kinds.append("beside"), function()))
    monkeypatch.setattr(cuda_graph, "record", lambda function, device: lambda: (kinds.append("replay"), function()))
    graphed = cuda_graph.Graphed(lambda: done.append(1), "cpu")
    for count in range(1, 7):
        graphed()
        assert len(done) == count
    assert kinds == ["beside"] * cuda_graph.WARM_UPS + ["replay"] * 3


def test_what_cannot_be_recorded_goes_on_with_one_sentence(data, tmp_path, like_a_gpu, monkeypatch, caplog):  # noqa: F811
    plain = create_run(tmp_path / "plain", data, "paper", SMALL["paper"])
    assert training.train(plain)

    def failing(function, device):
        try:
            raise RuntimeError("an operation waits for the host\nand more")
        finally:
            raise RuntimeError("the recording has ended")  # as PyTorch's own context manager does

    monkeypatch.setattr(cuda_graph, "record", failing)
    other = create_run(tmp_path / "other", data, "paper", SMALL["paper"])
    assert training.train(other)
    assert_equal_runs(plain, other)
    said = [record.message for record in caplog.records if "step by step" in record.message]
    assert len(said) == 1 and said[0].endswith("an operation waits for the host")


def test_what_is_not_recorded_says_so(caplog):
    caplog.set_level("INFO")
    adamw, sgd = {"optimiser": "adamw"}, {"optimiser": "sgd"}
    assert not training._can_be_recorded(adamw, "cpu", ALONE) and not caplog.records
    assert training._can_be_recorded(adamw, "cuda", ALONE) and not caplog.records
    assert not training._can_be_recorded(sgd, "cuda:0", ALONE)
    assert not training._can_be_recorded(adamw, "cuda:0", training.Team(0, 2))
    assert [record.message.split()[0] for record in caplog.records] == ["optimiser=sgd", "Several"]


def test_faces_stay_on_a_gpu_that_has_twice_the_room(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 9999))
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    assert face_store.fits(500, cuda) and not face_store.fits(501, cuda) and not face_store.fits(1, cpu)
    vertices = np.random.default_rng(0).normal(size=(200, 4, 3)).astype(np.float32)
    train = np.random.default_rng(1).permutation(200)[:150]
    stores = [FaceStore(vertices, train, "cpu", resident=resident) for resident in (True, False)]
    assert [store.resident for store in stores] == [True, False] and not FaceStore(vertices, train, "cpu").resident
    batch = torch.empty(7, 4, 3)
    for store in stores:
        store.load(train[70:77], batch.zero_())
        np.testing.assert_array_equal(batch.numpy(), vertices[train[70:77]])


def test_an_optimisers_state_changes_devices():
    config = {"learning_rate": 0.5, "weight_decay": 0.1}
    network = torch.nn.Linear(3, 2)
    plain, recordable = make_optimiser(network, config), make_optimiser(network, config, capturable=True)
    network(torch.randn(4, 3)).sum().backward()
    plain.step()
    set_rate(plain, 0.25)
    rate = recordable.param_groups[0]["lr"]
    assert isinstance(rate, torch.Tensor)
    load_optimiser_state(recordable, optimiser_state(plain))
    assert recordable.param_groups[0]["capturable"] and float(recordable.param_groups[0]["lr"]) == 0.5
    set_rate(recordable, 0.125)
    saved = optimiser_state(recordable)
    assert saved["param_groups"][0]["lr"] == 0.125 and type(saved["param_groups"][0]["lr"]) is float
    again = make_optimiser(network, config)
    load_optimiser_state(again, saved)
    assert again.param_groups[0]["capturable"] is False and again.param_groups[0]["lr"] == 0.5
    for one, other in zip(plain.state.values(), again.state.values(), strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
    again.step()


def test_tf32_is_for_training_on_a_gpu_alone():
    products = torch.backends.cuda.matmul
    assert not products.allow_tf32
    with pytest.raises(ZeroDivisionError), matrix_products("tf32"):
        assert products.allow_tf32
        1 / 0  # noqa: B018
    assert not products.allow_tf32
    require_precision("tf32", "cuda:1")
    require_precision("float32", "cpu")
    for precision, device in (("tf32", "cpu"), ("bf16", "cuda")):
        with pytest.raises(LwaeError, match=precision):
            require_precision(precision, device)


@needs_cuda
@pytest.mark.parametrize("preset", ["local", "paper"])
def test_a_recorded_training_equals_a_plain_one(preset, data, tmp_path, caplog):  # noqa: F811
    options = SMALL[preset] | {"epochs": 4}
    runs = [create_run(tmp_path / name, data, preset, options) for name in ("plain", "recorded")]
    for run, graph in zip(runs, (False, True), strict=True):
        assert training.train(run, "cuda", graph=graph)
    assert "step by step" not in caplog.text
    for one, other in zip(*(run.read_checkpoint()["history"] for run in runs), strict=True):
        assert other == pytest.approx(one, rel=1e-3)
    for name, tensor in parameters(runs[0]).items():
        torch.testing.assert_close(parameters(runs[1])[name], tensor, atol=1e-3, rtol=1e-2, msg=lambda m, n=name: n + m)


@needs_cuda
def test_replays_draw_anew_and_a_failed_recording_leaves_the_generator():
    drawn = torch.zeros(4, device="cuda")
    torch.manual_seed(0)
    expected = [torch.rand(4, device="cuda") for _ in range(6)]
    torch.manual_seed(0)
    graphed = cuda_graph.Graphed(lambda: drawn.copy_(torch.rand(4, device="cuda")), "cuda")
    for numbers in expected:
        graphed()
        assert torch.equal(drawn, numbers)
    torch.manual_seed(0)
    waiting = cuda_graph.Graphed(lambda: drawn.copy_(torch.rand(4, device="cuda") + drawn.sum().item() * 0), "cuda")
    for numbers in expected:
        waiting()
        assert torch.equal(drawn, numbers)
