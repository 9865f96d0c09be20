"""Moving weights from network to network, and reading them from disk."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from lib.acceleration import ComputePath
from lib.models import build_classifier, build_vae, count_parameters
from lib.runs import InputError
from lib.weights import averaged, load_classifier, load_vae, save_network, transfer

CPU = ComputePath("cpu", "float32", True, False, 1)
NUMBERS = {"groups": 3, "width": 8, "compression": 0.5}


@pytest.fixture
def pair():
    """A classifier whose every tensor is random, and an autoencoder of the same numbers."""
    torch.manual_seed(0)
    classifier, vae = build_classifier(**NUMBERS), build_vae(**NUMBERS, latent_dim=5)
    state = {
        k: torch.rand_like(v) if v.is_floating_point() else v + 7 for k, v in classifier.state_dict().items()
    }
    classifier.load_state_dict(state)
    return classifier, vae


@pytest.mark.parametrize("mirror", [False, True])
def test_each_moved_tensor_equals_its_source(pair, mirror):
    classifier, vae = pair
    before = {name: tensor.clone() for name, tensor in vae.state_dict().items()}
    report = transfer(classifier, vae, mirror)
    source, target = classifier.state_dict(), vae.state_dict()
    moved = {row["to"]: row["from"] for row in report if row["moved"]}
    for to, name in moved.items():
        assert torch.equal(target[to], source[name]), to
        assert to in ("encoder." + name, "decoder." + name)
    for name in target.keys() - moved.keys():
        assert torch.equal(target[name], before[name]), name
    assert {name for name in target if name.startswith("encoder.body.")} <= moved.keys()
    assert not any(name.startswith(("embedding", "output")) for name in moved.values())
    mirrored = {name for name in moved if name.startswith("decoder.")}
    assert all(name.startswith("decoder.body.") for name in mirrored)
    assert bool(mirrored) == mirror


@pytest.mark.parametrize("mirror", [False, True])
def test_every_tensor_is_reported_with_a_reason(pair, mirror):
    classifier, vae = pair
    report = transfer(classifier, vae, mirror)
    assert {row["from"] for row in report if row["from"]} == set(classifier.state_dict())
    assert {row["to"] for row in report if row["to"]} == set(vae.state_dict())
    targets = [row["to"] for row in report if row["to"]]
    assert len(targets) == len(set(targets))
    assert all(row.keys() == {"from", "to", "moved", "why"} and row["why"] for row in report)
    assert all(row["from"] and row["to"] for row in report if row["moved"])
    assert all(bool(row["from"]) != bool(row["to"]) for row in report if not row["moved"])


def test_mirror_moves_every_convolution_and_squeeze_excitation(pair):
    classifier, vae = pair
    moved = {row["to"] for row in transfer(classifier, vae, mirror=True) if row["moved"]}
    expected = {
        f"decoder.body.{name}.{what}"
        for name, module in vae.decoder.body.named_modules()
        for what, _ in module.named_parameters(recurse=False)
        if isinstance(module, (nn.ConvTranspose2d, nn.Linear))
    }
    assert {name for name in moved if name.startswith("decoder.")} == expected
    assert not any("norm" in name for name in moved if name.startswith("decoder."))


def test_mirrored_convolutions_are_adjoint(pair):
    """<conv(x), y> = <x, transposed conv(y)> for every pair of twins."""
    classifier, vae = pair
    transfer(classifier, vae, mirror=True)
    classifier, vae = classifier.double(), vae.double()
    back = dict(vae.decoder.body.named_modules())
    twins = [(m, back[name]) for name, m in classifier.body.named_modules() if isinstance(m, nn.Conv2d)]
    assert len(twins) == 3 * NUMBERS["groups"]
    for convolution, transposed in twins:
        x = torch.randn(2, convolution.in_channels, 8, 8, dtype=torch.float64)
        y = torch.randn(2, convolution.out_channels, 8, 8, dtype=torch.float64)
        there, here = (convolution(x) * y).sum(), (x * transposed(y)).sum()
        assert there.item() == pytest.approx(here.item(), rel=1e-9)


def test_moved_weights_are_a_copy(pair):
    classifier, vae = pair
    transfer(classifier, vae)
    kept = vae.encoder.body.stem.weight.clone()
    with torch.no_grad():
        classifier.body.stem.weight.zero_()
    assert torch.equal(vae.encoder.body.stem.weight, kept)


def test_encoder_sees_what_the_classifier_saw(pair):
    classifier, vae = pair
    transfer(classifier, vae)
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(classifier.eval().body(x), vae.eval().encoder.body(x))


def test_other_widths_are_not_moved_silently():
    vae = build_vae(**NUMBERS)
    report = transfer(build_classifier(**NUMBERS | {"width": 10}), vae)
    body = [row for row in report if row["from"].startswith("body.") and row["from"].endswith("conv2.weight")]
    assert body and not any(row["moved"] for row in body)


# On disk


def test_round_trip(pair, tmp_path):
    classifier, vae = pair
    file = save_network(tmp_path / "weights" / "c.safetensors", classifier, **NUMBERS)
    loaded, numbers = load_classifier(file)
    assert numbers == NUMBERS and not loaded.training
    assert all(torch.equal(v, loaded.state_dict()[k]) for k, v in classifier.state_dict().items())
    file = save_network(tmp_path / "v.safetensors", vae, **NUMBERS, latent_dim=5)
    again = load_vae(file, CPU)
    assert again.encoder.mu.out_features == 5
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in vae.state_dict().items())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["v.safetensors", "weights"]


def test_same_network_same_bytes(pair, tmp_path):
    one = save_network(tmp_path / "1.safetensors", pair[0], **NUMBERS).read_bytes()
    loaded, numbers = load_classifier(tmp_path / "1.safetensors")
    loaded = CPU.place(loaded)  # channels-last in memory, as after training
    assert save_network(tmp_path / "2.safetensors", loaded, **numbers).read_bytes() == one


def test_the_number_of_classes_is_kept(tmp_path):
    file = save_network(
        tmp_path / "c.safetensors", build_classifier(**NUMBERS, classes=3), **NUMBERS, classes=3
    )
    assert load_classifier(file)[0].output.out_features == 3


def test_a_file_without_numbers_is_the_paper_s_network(tmp_path):
    save_file(build_classifier().state_dict(), tmp_path / "c.safetensors")
    model, numbers = load_classifier(tmp_path / "c.safetensors")
    assert (
        numbers == {"groups": 4, "width": 64, "compression": 0.8} and count_parameters(model).total == 801980
    )


def change(tensors, kind):
    if kind == "shape":
        tensors["body.groups.1.conv1.weight"] = torch.zeros(2, 2)
    elif kind == "missing":
        del tensors["body.groups.1.conv1.weight"]
    else:
        tensors["body.groups.1.extra"] = torch.zeros(3)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("shape", ["body.groups.1.conv1.weight", "[2, 2]", "[32, "]),
        ("missing", ["body.groups.1.conv1.weight", "nothing"]),
        ("extra", ["body.groups.1.extra", "[3]", "no such tensor"]),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(pair, tmp_path, kind, words):
    file = save_network(tmp_path / "c.safetensors", pair[0], **NUMBERS)
    tensors = load_file(file)
    change(tensors, kind)
    save_file(tensors, file, metadata={k: str(v) for k, v in NUMBERS.items()})
    with pytest.raises(InputError) as caught:
        load_classifier(file)
    assert all(word in str(caught.value) for word in [str(file), "expected", *words]), caught.value


def test_weights_of_the_other_network_are_refused(pair, tmp_path):
    file = save_network(tmp_path / "v.safetensors", pair[1], **NUMBERS, latent_dim=5)
    with pytest.raises(InputError):
        load_classifier(file)


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_truncated_file_is_refused(pair, tmp_path, keep):
    file = save_network(tmp_path / "c.safetensors", pair[0], **NUMBERS)
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(InputError, match="c.safetensors: found .*, expected a complete safetensors file"):
        load_classifier(file)


def test_the_mean_of_states_and_the_first_ones_counters():
    states = []
    for number in range(3):
        state = build_classifier(**NUMBERS).state_dict()
        states.append({k: torch.full_like(v, 2.0**number if v.is_floating_point() else 5 + number)
                       for k, v in state.items()})  # fmt: skip
    found = averaged(states)
    assert found.keys() == states[0].keys()
    for name, tensor in found.items():
        assert torch.equal(tensor, torch.full_like(tensor, 7 / 3 if tensor.is_floating_point() else 5)), name
    assert not all(tensor.is_floating_point() for tensor in found.values())
    assert all(torch.equal(one, states[1][name]) for name, one in averaged(states[1:2]).items())
    with pytest.raises(InputError, match="trainings to average: found none, expected at least one"):
        averaged([])
