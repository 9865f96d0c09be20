"""Weights: from one network into the other (the transfer), and from disk into a network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from lib import runs
from lib.acceleration import ComputePath
from lib.models import LATENT_DIM, VAE, Classifier, build_classifier, build_vae
from lib.visdrone import CLASSES

NUMBERS = {
    "groups": (int, 4),
    "width": (int, 64),
    "compression": (float, 0.8),
}  # of the template, as metadata


def transfer(classifier: nn.Module, vae: nn.Module, mirror: bool = False) -> list[dict]:
    """Move the classifier's weights into the autoencoder's encoder (paper, section 5).

    The body moves tensor by tensor. With `mirror` its convolutions and squeeze-and-
    excitation weights move into the decoder's mirror image too: a transposed
    convolution holds the weight of its twin in the same shape, so it starts as the
    twin's adjoint. Returns one row a tensor of both networks: name, where it went,
    or why it did not move.
    """
    source, target = classifier.state_dict(), vae.state_dict()
    report, moved = [], {}
    for name, tensor in source.items():
        twin = f"encoder.{name}"
        if twin in target and target[twin].shape == tensor.shape:
            moved[twin] = tensor
            report.append({"from": name, "to": twin, "moved": True, "why": "same place in the template"})
        else:
            report.append(
                {"from": name, "to": "", "moved": False, "why": "classification head: the encoder has none"}
            )
        if mirror and (twin := f"decoder.{name}") in target and ".norm" not in name:
            if target[twin].shape == tensor.shape:
                moved[twin] = tensor
                report.append(
                    {"from": name, "to": twin, "moved": True, "why": "mirrored: adjoint of its twin"}
                )
    target.update({k: v.clone() for k, v in moved.items()})
    vae.load_state_dict(target)
    for name in target:
        if name not in moved:
            head = not name.startswith(("encoder.body", "decoder.body"))
            why = (
                "head: only the autoencoder has it" if head else "decoder: starts from its own initialisation"
            )
            report.append({"from": "", "to": name, "moved": False, "why": why})
    return report


def between(before: Mapping[str, Tensor], after: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """State at a share, 0..1, of the way from one state of a network to another of the same network.

    Running statistics go the same way; counters are those after. (Wortsman et al. 2022, arXiv 2109.01903.)
    On the device of `after`.
    """
    return {
        name: torch.lerp(before[name].to(new.device), new, share) if new.is_floating_point() else new.clone()
        for name, new in after.items()
    }


def averaged(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Mean of states of one network, trained from the same weights in different orders.

    What each training lost by chance is lost less in the mean. Running statistics are averaged too; counters
    are the first's. (Wortsman et al. 2022, arXiv 2203.05482.) Raises InputError for no state.
    """
    if not states:
        raise runs.InputError("trainings to average", "none", "at least one")
    return {
        name: torch.stack([state[name] for state in states]).mean(0) if one.is_floating_point() else one
        for name, one in states[0].items()
    }


def _read(file: Path, build) -> tuple[nn.Module, dict]:
    """A network from safetensors, built from the numbers in their metadata."""
    weights = runs.read_weights(file)
    with safe_open(file, "pt") as handle:
        metadata = handle.metadata() or {}
    metadata |= json.loads(metadata.get("numbers", "{}"))
    numbers = {name: kind(metadata.get(name, default)) for name, (kind, default) in NUMBERS.items()}
    model = build(numbers, metadata)
    expected = model.state_dict()
    for name in sorted(expected.keys() | weights.keys()):
        found = list(weights[name].shape) if name in weights else "nothing"
        wanted = list(expected[name].shape) if name in expected else "no such tensor"
        if found != wanted:
            raise runs.InputError(file, f"{name}: {found}", f"{wanted}, as the template with {numbers} has")
    model.load_state_dict(weights)
    return model.eval(), numbers


def load_classifier(file: Path) -> tuple[Classifier, dict]:
    """A classifier that notebook 02 or 05 wrote, and its numbers (groups, width, compression).

    Raises InputError naming the first tensor that does not fit.
    """

    def build(numbers, metadata):
        return build_classifier(**numbers, classes=int(metadata.get("classes", len(CLASSES))))

    return _read(file, build)


def load_vae(file: Path, path: ComputePath) -> VAE:
    """An autoencoder that notebook 03 wrote, on the device of `path`; InputError as `load_classifier`."""

    def build(numbers, metadata):
        return build_vae(**numbers, latent_dim=int(metadata.get("latent_dim", LATENT_DIM)))

    return path.place(_read(file, build)[0])


def save_network(file: Path, model: nn.Module, **numbers) -> Path:
    """Write a network's weights with its numbers (groups, width, ...) beside them."""
    # as one entry: safetensors writes several in a random order, and same numbers must be same bytes
    return runs.write_weights(file, model.state_dict(), {"numbers": json.dumps(numbers, sort_keys=True)})
