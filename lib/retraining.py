"""What each arm of Table 2 adds to VisDrone's training part.

Start, steps and schedule are equal between arms, so one that is given more sees less of the summer
(`benchmarks/seen.py` counts it).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from lib.arms import ARMS
from lib.batches import torch_seed
from lib.gains import LIMITS, within
from lib.runs import InputError
from lib.visdrone import CAR, CLASSES

SMALLEST_AREA = 0.7  # of a crop that classic augmentation keeps: a car stays a car
ASPECTS = (0.85, 1.18)  # of the part that it keeps
JITTER = 0.2  # of brightness, contrast and saturation


class Material(NamedTuple):
    """What the arms take from; images uint8 (n, 32, 32, 3)."""

    winter: np.ndarray  # W, the winter cars
    synthetic: np.ndarray  # the new cars
    scratch: np.ndarray | None  # those of the autoencoder that started from nothing
    selected: np.ndarray | None  # the best of all new cars
    recoloured: np.ndarray  # other classes in the colours of new cars
    recoloured_labels: np.ndarray  # int (n,)
    recoloured_winter: np.ndarray | None  # the same objects in the colours of W, without a generator
    reconstruct: Callable[[np.ndarray], np.ndarray]  # by the autoencoder that made the new cars
    decoded: Callable[[int], np.ndarray]  # so many cars of equation 1 alone, without the residual
    seed: int


def repeated(images: np.ndarray, count: int) -> np.ndarray:
    """`count` images: all of them in turn, again and again."""
    return images[np.arange(count) % len(images)]


def classic(images: np.ndarray, count: int, seed: int) -> np.ndarray:
    """`count` variants of images, uint8 (count, 32, 32, 3), each with its own part, mirror image and colours.

    The augmentations of torchvision v2 that people use for pictures of this size.
    """
    from torchvision.transforms import v2  # only here: it takes seconds

    change = v2.Compose(
        [
            v2.RandomResizedCrop(images.shape[1:3], (SMALLEST_AREA, 1.0), ASPECTS, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(JITTER, JITTER, JITTER),
        ]
    )
    given = torch.from_numpy(repeated(images, count)).permute(0, 3, 1, 2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed(seed, 11))
        made = torch.stack([change(image) for image in given])
    return np.ascontiguousarray(made.permute(0, 2, 3, 1).numpy())


def training_set(
    arm: str, images: np.ndarray, labels: np.ndarray, material: Material
) -> tuple[np.ndarray, np.ndarray]:
    """What an arm is retrained on: images uint8 (n, 32, 32, 3) and labels int (n,).

    VisDrone's training part and what the arm adds; for `vae_only` without VisDrone's cars, so that what a
    car is has to be learned from the new ones (classification accuracy score, Ravuri & Vinyals,
    arXiv 1905.10887).
    """
    kept = labels != CAR if arm == "vae_only" else slice(None)
    parts = [(images[kept], labels[kept]), *additions(arm, material)]
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


def forget_car(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A classifier's weights without what its last layer knows of cars: the start of `vae_only`.

    The row of the class becomes the mean of the other rows, so nothing looks more like a car than like
    anything else. The features before it stay, as for every arm.
    """
    others = [k for k in range(len(CLASSES)) if k != CAR]
    fresh = dict(state)
    for name in ("output.weight", "output.bias"):
        fresh[name] = state[name].clone()
        fresh[name][CAR] = state[name][others].mean(0)
    return fresh


def additions(arm: str, material: Material) -> list[tuple[np.ndarray, np.ndarray]]:
    """(images, labels) that an arm adds: as many cars as there are new ones, except for the control, which
    adds nothing, `winter`, which adds W, and `winter_and_vae`, which adds both. KeyError for another arm.
    """
    winter, count = material.winter, len(material.synthetic)
    made = {
        "continued": lambda: [],
        "winter": lambda: [winter],
        "oversampled": lambda: [repeated(winter, count)],
        "classic": lambda: [classic(winter, count, material.seed)],
        "oversampled_recoloured": lambda: [repeated(winter, count)],
        "reconstructions": lambda: [repeated(material.reconstruct(winter[:count]), count)],
        "vae_decoder": lambda: [material.decoded(count)],
        "vae_scratch": lambda: [material.scratch],
        "vae_transfer": lambda: [material.synthetic],
        "vae_selected": lambda: [material.selected],
        "vae_only": lambda: [material.synthetic],
        "winter_and_vae": lambda: [winter, material.synthetic],
        "vae_recoloured": lambda: [material.synthetic],
    }
    assert set(made) == {name for name, one in ARMS.items() if not one.of} - {"none"}
    found = [(images, np.full(len(images), CAR)) for images in made[arm]()]
    others = {"vae_recoloured": material.recoloured, "oversampled_recoloured": material.recoloured_winter}
    if arm in others:
        found.append((others[arm], material.recoloured_labels))
    return found


class Kept(NamedTuple):
    """How much of a retraining is kept."""

    share: float  # of the way from the classifier before to the retrained one, in weights; 0: nothing is kept
    within_limits: bool  # whether it keeps to LIMITS beside the control, on the validation part


def share_to_keep(measured: Mapping[float, Mapping[str, float]], control: Mapping[str, float]) -> Kept:
    """How much of a retraining is kept, from validation measures alone.

    measured: share of the way from the classifier before to the retrained one, above 0 and at most 1, in
    weights (Wortsman et al. 2022, arXiv 2109.01903) -> measures of `testsets.measure`; control: its own. Of
    the shares that keep to LIMITS beside the control, the one with the highest recall of winter cars, the
    smaller of equals; where none does, 0: the classifier before stays. Raises InputError as `check_shares`.
    """
    check_shares(list(measured))

    def kept(values: Mapping[str, float]) -> bool:
        return all(within(values[name] - control[name], limit) for name, limit in LIMITS.items())

    allowed = [share for share in sorted(measured) if kept(measured[share])]
    if not allowed:
        return Kept(0.0, False)
    return Kept(max(allowed, key=lambda share: measured[share]["winter_car_recall"]), True)


def check_shares(shares: Sequence[float]) -> None:
    """InputError for shares of a retraining that are none, or not above 0 and at most 1."""
    if not shares or not all(0 < share <= 1 for share in shares):
        raise InputError("shares", f"{list(shares)}", "shares of a retraining above 0, at most 1")
