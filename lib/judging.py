"""Networks that judge images: an independent classifier for a set of them, a critic for a single one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from lib import image_quality
from lib.acceleration import ComputePath
from lib.batches import Schedule, torch_seed
from lib.models import IMAGE_SIZE, build_classifier
from lib.training import predict, train_classifier


def _fresh(seed: int, number: int, **numbers) -> nn.Module:
    """A network of the template from an initialisation of its own, by both numbers."""
    torch.manual_seed(torch_seed(seed, number))
    return build_classifier(**numbers)


def _steps(passes: float, images: int, batch_size: int) -> int:
    return max(1, int(passes * images / batch_size))


def train_judge(
    images: np.ndarray,
    labels: np.ndarray,
    width: int,
    passes: float,
    batch_size: int,
    rate: float,
    seed: int,
    path: ComputePath,
) -> nn.Module:
    """A narrower classifier from its own initialisation, to judge generated images by.

    It sees small images for half of its steps, as the classifier does for most of them.
    """
    judge = _fresh(seed, 1_000_003, width=width)
    steps = _steps(passes, len(images), batch_size)
    schedule = Schedule(steps, batch_size, rate, seed + 1_000_003)
    train_classifier(
        judge, images, labels, schedule, path=path, resolutions=(IMAGE_SIZE // 2, IMAGE_SIZE), title="judge"
    )
    return judge


def train_critic(
    cars: np.ndarray,
    others: np.ndarray,
    examples: int,
    width: int,
    passes: float,
    batch_size: int,
    rate: float,
    seed: int,
    path: ComputePath,
) -> nn.Module:
    """A network of the template that tells how a crop was spoilt, and how much (`image_quality.spoilage`).

    cars: real crops uint8 (n, 32, 32, 3) that are spoilt for it; others: of other classes, to hide them
    behind.
    """
    made, labels = image_quality.spoilt_examples(cars, others, examples, seed)
    critic = _fresh(seed, 1_000_033, width=width, classes=image_quality.CRITIC_CLASSES)
    schedule = Schedule(_steps(passes, len(made), batch_size), batch_size, rate, seed)
    train_classifier(critic, made, labels, schedule, path=path, title="critic")
    return critic


def intactness(critic: nn.Module, path: ComputePath) -> Callable[[np.ndarray], np.ndarray]:
    """The score of single images that a critic gives: images uint8 (n, 32, 32, 3) -> float (n,), -6 to 0.

    Minus how spoilt it finds each (`image_quality.spoilage`): 0 is intact.
    """
    return lambda images: -image_quality.spoilage(predict(critic, images, path))
