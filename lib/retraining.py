"""What each arm of Table 2 adds to VisDrone's training part; all else is equal between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from lib.arms import ARMS
from lib.visdrone import CAR

SMALLEST_AREA = 0.7  # of a crop that classic augmentation keeps: a car stays a car
ASPECTS = (0.85, 1.18)  # of the part that it keeps
JITTER = 0.2  # of brightness, contrast and saturation


class Material(NamedTuple):
    """What the arms take from; images uint8 (n, 32, 32, 3)."""

    winter: np.ndarray  # W, the winter cars
    synthetic: np.ndarray  # the new cars
    recoloured: np.ndarray  # other classes in the colours of new cars
    recoloured_labels: np.ndarray  # int (n,)
    reconstruct: Callable[[np.ndarray], np.ndarray]  # by the autoencoder that made the new cars
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
        torch.manual_seed(int(np.random.SeedSequence([seed, 11]).generate_state(1)[0]))
        made = torch.stack([change(image) for image in given])
    return np.ascontiguousarray(made.permute(0, 2, 3, 1).numpy())


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
        "reconstructions": lambda: [repeated(material.reconstruct(winter[:count]), count)],
        "vae_transfer": lambda: [material.synthetic],
        "winter_and_vae": lambda: [winter, material.synthetic],
        "vae_recoloured": lambda: [material.synthetic],
    }
    assert set(made) == set(ARMS) - {"none"}
    found = [(images, np.full(len(images), CAR)) for images in made[arm]()]
    if arm == "vae_recoloured":
        found.append((material.recoloured, material.recoloured_labels))
    return found
