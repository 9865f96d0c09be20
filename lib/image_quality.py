"""Quality of a single image. The paper (section 6) says that no such measure exists; here are some.

intactness   minus how spoilt a critic finds it (`spoilage`); the critic, a network of the template that
             had no part in generating, learned it on real images that were spoilt on purpose
realism      how near it lies to the real images, measured in their own spacing
distance     to the nearest training image (`lib.quality.nearest`): a copy is no new example

`validate` shows whether a score means something: real images that are spoilt step by step must
lose it step by step. Intactness does, for every degradation, where the critic saw enough examples (with
3,000 hardly for occlusion; `benchmarks/image_score.py`); realism, even on the critic's features, does not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from scipy.stats import rankdata

from lib.runs import InputError

NEIGHBOURS = 3  # k of the realism score, as in its reference
CHUNK = 1024  # images whose distances are in memory at once
STRENGTHS = 6  # of each degradation, beside none
KEPT_SHARE = 1 / 3  # of the new cars that selection by score keeps


class Manifold(NamedTuple):
    """Real images as a set of balls in a feature space; make it with `manifold`."""

    mean: np.ndarray  # (d,) of the features
    basis: np.ndarray  # (d, r): whitens, and leaves out what hardly varies
    centres: np.ndarray  # (m, r), whitened
    radii: np.ndarray  # (m,): distance to the k-th nearest real image


def _squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    found = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T
    return np.maximum(found, 0)


def _white(features: np.ndarray, space: Manifold) -> np.ndarray:
    return (np.asarray(features, np.float64) - space.mean) @ space.basis


def manifold(features: np.ndarray, kept: float = 0.99, k: int = NEIGHBOURS) -> Manifold:
    """The manifold of real images from their features, float (n, d), n > 2 k.

    Features are whitened on the directions that hold `kept` of their variance, so that no unit of a
    network counts more for being large. Of the balls, those with radii over the median are left out,
    as the reference does: where real images are sparse, a ball would swallow everything
    (Kynkaanniemi et al., arXiv 1904.06991, section 4). Raises ValueError for too few images.
    """
    features = np.asarray(features, np.float64)
    if features.ndim != 2 or len(features) <= 2 * k:
        raise ValueError(f"features: found shape {features.shape}, expected more than {2 * k} rows")
    mean = features.mean(0)
    values, vectors = np.linalg.eigh(np.cov(features.T))
    order = np.argsort(values)[::-1]
    share = np.cumsum(values[order]) / values.sum()
    chosen = order[: int(np.searchsorted(share, kept)) + 1]
    chosen = chosen[values[chosen] > 1e-10 * values.max()]  # rounding alone varies no less
    basis = vectors[:, chosen] / np.sqrt(values[chosen])
    centres = (features - mean) @ basis
    radii = np.empty(len(centres))
    for start in range(0, len(centres), CHUNK):
        squared = _squared_distances(centres[start : start + CHUNK], centres)
        radii[start : start + CHUNK] = np.sqrt(np.partition(squared, k, axis=1)[:, k])  # 0 is itself
    small = radii <= np.median(radii)
    return Manifold(mean, basis, centres[small], radii[small])


def realism(features: np.ndarray, real: Manifold) -> np.ndarray:
    """Realism of images from their features (n, d): float64 (n,), over 1 within the manifold.

    max over real images of (radius of its ball) / (distance to it), Kynkaanniemi et al., equation 2.
    """
    found, points = np.empty(len(features)), _white(features, real)
    for start in range(0, len(points), CHUNK):
        squared = _squared_distances(points[start : start + CHUNK], real.centres)
        with np.errstate(divide="ignore"):
            found[start : start + CHUNK] = (real.radii / np.sqrt(squared)).max(1)
    return found


# Degradations: images uint8 (n, 32, 32, 3), a strength from 0 (none) to STRENGTHS, another image for
# each, a generator of random numbers that is the same for every strength.


def _blur(images, strength, others, random):
    sigma = 0.35 * strength
    return np.stack([cv2.GaussianBlur(image, (0, 0), sigma) for image in images]) if strength else images


def _noise(images, strength, others, random):
    return images + 6.0 * strength * random.standard_normal(images.shape, np.float32)


def _occlusion(images, strength, others, random):
    """A square of another image's pixels; it grows around a point of its own in each image."""
    side, (height, width) = 3 * strength, images.shape[1:3]
    made = images.copy()
    for k, place in enumerate(random.uniform(0, 1, (len(images), 2))):
        top, left = int(place[0] * (height - side)), int(place[1] * (width - side))
        made[k, top : top + side, left : left + side] = others[k, top : top + side, left : left + side]
    return made


def _mixing(images, strength, others, random):
    share = 0.09 * strength
    return (1 - share) * images + share * others


DEGRADATIONS: dict[str, Callable] = {
    "blur": _blur,
    "noise": _noise,
    "occlusion": _occlusion,
    "mixing": _mixing,
}


CRITIC_CLASSES = 1 + len(DEGRADATIONS) * STRENGTHS


def degrade(images: np.ndarray, kind: str, strength: int, others: np.ndarray, seed: int = 0) -> np.ndarray:
    """Images spoilt on purpose, uint8 (n, 32, 32, 3).

    kind: "blur" (Gaussian, 0.35 px a step), "noise" (6 grey levels a step), "occlusion" (a square of
    3 px a step, up to 32 % of the area), "mixing" (9 % a step of another image). strength 0..6; 0
    gives the images themselves. `others` uint8 (m, 32, 32, 3), of other classes: each image takes one.
    Raises KeyError for another kind, ValueError for another strength.
    """
    if not 0 <= strength <= STRENGTHS:
        raise ValueError(f"strength: found {strength}, expected 0 to {STRENGTHS}")
    random = np.random.default_rng([seed, list(DEGRADATIONS).index(kind)])
    partner = others[random.integers(0, len(others), len(images))]
    made = DEGRADATIONS[kind](images, strength, partner, random)
    return np.asarray(made).round().clip(0, 255).astype(np.uint8)


def rank_correlations(scores: np.ndarray) -> np.ndarray:
    """Spearman's correlation of each image's scores (n, strengths) with the strength: float64 (n,)."""
    ranks = rankdata(scores, axis=1)
    ranks -= ranks.mean(1, keepdims=True)
    steps = np.arange(scores.shape[1]) - (scores.shape[1] - 1) / 2
    spread = np.sqrt((ranks**2).sum(1) * (steps**2).sum())
    return np.divide(ranks @ steps, spread, out=np.zeros(len(ranks)), where=spread > 0)


def validate(
    images: np.ndarray, others: np.ndarray, score: Callable[[np.ndarray], np.ndarray], seed: int = 0
) -> dict[str, dict]:
    """Does a score fall as real images are spoilt? Images uint8 (n, 32, 32, 3), `others` of other classes.

    By degradation: rank_correlation (mean over images of the correlation within each image over the unspoilt
    image and the six strengths, -1: the score falls with every step) and medians (of the score, by strength,
    none first). InputError for no image.
    """
    if not len(images) or not len(others):
        raise InputError("validation of a score", f"{len(images)} images, {len(others)} of other classes",
                         "at least one of each")  # fmt: skip
    found = {}
    for kind in DEGRADATIONS:
        scores = np.stack(
            [score(degrade(images, kind, strength, others, seed)) for strength in range(STRENGTHS + 1)], 1
        )
        found[kind] = {
            "rank_correlation": float(rank_correlations(scores).mean()),
            "medians": np.median(scores, 0).tolist(),
        }
    return found


def spoilt_examples(
    images: np.ndarray, others: np.ndarray, count: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """About `count` images to train a critic on, uint8 (n, 32, 32, 3), and labels int (n,), in equal numbers:
    0 intact, then one label for each degradation and strength (CRITIC_CLASSES in all).
    """
    random = np.random.default_rng([seed, 8])
    cells = [(kind, strength) for kind in DEGRADATIONS for strength in range(1, STRENGTHS + 1)]
    cells = [(next(iter(DEGRADATIONS)), 0), *cells]
    each = max(1, count // len(cells))
    made = [
        degrade(images[random.integers(0, len(images), each)], *cell, others, seed=seed * len(cells) + number)
        for number, cell in enumerate(cells)
    ]
    return np.concatenate(made), np.repeat(np.arange(len(cells)), each)


def spoilage(probabilities: np.ndarray) -> np.ndarray:
    """How spoilt a critic finds images, float (n,), 0 (intact) to 6: its expectation of the strength.

    probabilities: (n, CRITIC_CLASSES), of a network trained on `spoilt_examples`.
    """
    strengths = np.concatenate([[0], np.tile(np.arange(1, STRENGTHS + 1), len(DEGRADATIONS))])
    return np.asarray(probabilities, np.float64) @ strengths
