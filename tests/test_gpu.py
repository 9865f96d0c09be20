"""Training on a GPU: the steps of a CUDA graph are those of plain PyTorch, the same bytes each time."""

import dataclasses

import numpy as np
import pytest
import torch

from lib.acceleration import choose_path
from lib.autoencoding import Objective, reconstruct, train_vae
from lib.batches import Schedule
from lib.models import build_classifier, build_vae
from lib.training import predict, train_classifier
from lib.weights import between
from tests.test_training import interrupt, same

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
RESOLUTIONS = (16, 32)  # two graphs


@pytest.fixture(scope="module")
def images():
    random = np.random.default_rng(0)
    labels = np.arange(96) % 6
    pictures = random.integers(0, 256, (96, 32, 32, 3), np.uint8) // 2 + (20 * labels)[:, None, None, None]
    return pictures.astype(np.uint8), labels


def path(graphs=True, precision="bfloat16"):
    return dataclasses.replace(choose_path("cuda", precision, compiler="off"), graphs=graphs)


def run_classifier(images, steps=16, checkpoint=None, seed=5, on=None, schedule=Schedule):
    torch.manual_seed(seed)
    model = build_classifier()
    history = train_classifier(
        model, *images, schedule(steps, 16, 1e-3, seed), path=on or path(), resolutions=RESOLUTIONS,
        checkpoint=checkpoint, log_every=2,
    )  # fmt: skip
    return model, history


def run_vae(images, steps=16, seed=5, on=None):
    torch.manual_seed(seed)
    vae = build_vae()
    body = {name: tensor.clone() for name, tensor in vae.encoder.body.state_dict().items()}
    states = []

    def watch():
        found = vae.encoder.body.state_dict()
        states.append(all(torch.equal(found[name].cpu(), tensor) for name, tensor in body.items()))
        return {}

    history = train_vae(
        vae, images[0], Schedule(steps, 16, 1e-3, seed), path=on or path(), objective=Objective(detail=1.0),
        heldout=images[0][:8], measure_every=4, freeze_steps=8, watch=watch,
    )  # fmt: skip
    return vae, history, states


def losses(history):
    return np.array([row["loss"] for row in history if "loss" in row])


@pytest.mark.parametrize("run", [run_classifier, run_vae])
def test_a_graph_takes_the_steps_of_plain_pytorch(images, run):
    graphed, plain = (run(images, on=path(graphs, "float32")) for graphs in (True, False))
    assert losses(graphed[1]) == pytest.approx(losses(plain[1]), rel=2e-3)
    assert losses(graphed[1])[-1] < losses(graphed[1])[0] or run is run_vae
    for one, other in zip(graphed[0].buffers(), plain[0].buffers(), strict=True):
        assert torch.allclose(one.float(), other.float(), rtol=2e-2, atol=2e-2)  # running statistics


@pytest.mark.parametrize("run", [run_classifier, run_vae])
def test_same_seed_same_bytes(images, run):
    one, two = run(images), run(images)
    assert same(one[0], two[0]) and one[1] == two[1]


def test_a_frozen_body_is_frozen_in_a_graph_too(images):
    assert run_vae(images)[2] == [True, True, False, False]


def test_an_interrupted_training_ends_with_the_same_bytes(images, tmp_path, monkeypatch):
    """Within the first steps of a resolution, which are not replayed, and after them."""
    whole = run_classifier(images)
    for at in (5, 9, 13):
        checkpoint = tmp_path / f"{at}.pt"
        interrupt(run_classifier, images, checkpoint, monkeypatch, at, 16)
        resumed = run_classifier(images, checkpoint=checkpoint)
        assert same(whole[0], resumed[0]) and whole[1] == resumed[1]


class Strict(Schedule):
    """Within a pass over the data, whatever waits for the GPU is an error."""

    def batches(self, count, device, draw):
        batch = super().batches(count, device, draw)

        def strict(step):
            torch.cuda.set_sync_debug_mode("default")
            found = batch(step)  # at the start of a pass it copies that pass to the device
            torch.cuda.set_sync_debug_mode("error" if step < self.steps - 1 else "default")
            return found

        return strict


@pytest.mark.parametrize("graphs", [True, False])
def test_nothing_waits_for_the_gpu_within_a_pass(images, graphs):
    try:
        run_classifier(images, on=path(graphs), schedule=Strict)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_networks_answer_as_on_the_cpu(images):
    cpu = choose_path("cpu", "float32", compiler="off")
    model, vae = run_classifier(images)[0], run_vae(images)[0]
    gpu = path(precision="float32")
    answers = [predict(where.place(model), images[0], where) for where in (gpu, cpu)]
    assert np.abs(answers[0] - answers[1]).max() < 1e-2
    made = [reconstruct(where.place(vae), images[0], where).astype(int) for where in (gpu, cpu)]
    assert np.abs(made[0] - made[1]).max() <= 3


def test_a_classifier_that_was_just_read_is_asked_on_the_gpu(images):
    """As notebook 08 does, which has the weights before on the CPU and those after on the GPU."""
    model, found = build_classifier(), []
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found.append(predict(model, images[0], path()))
    # more steps at each resolution than run before one is recorded
    train_classifier(model, *images, Schedule(12, 16, 1e-3, 0), path=path(), resolutions=RESOLUTIONS)
    after = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for share in (0.0, 0.5, 1.0):
        model.load_state_dict(between(before, after, share))
        found.append(predict(model, images[0], path()))
    assert np.array_equal(found[0], found[1])
    assert len({array.tobytes() for array in found}) == 3


def test_the_path_says_what_it_does():
    found = choose_path("auto")
    assert found.device == "cuda" and found.graphs and "CUDA graphs" in found.describe()
    assert not choose_path("auto", compiler="off").graphs
