"""New cars from the autoencoder: which codes to draw, how to decode them.

The paper's equation 1: z = mu + sigma * epsilon. The default draws around the posterior
of a real winter car, each car in turn; `prior` draws z from N(0, 1) instead.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from lib.acceleration import ComputePath
from lib.autoencoding import decode, encode
from lib.models import VAE
from lib.runs import InputError
from lib.visdrone import CAR

LATENTS = ("posterior", "mixed", "prior")
CHUNK = 2000
MOST_STRETCH = 3.0  # of contrast in a colour transfer; more would show noise as texture


class Codes(NamedTuple):
    """Codes float32 (count, latent_dim), and the row of the image that each was drawn around (-1: none)."""

    z: np.ndarray
    base: np.ndarray


def draw_codes(
    mu: np.ndarray, sigma: np.ndarray, count: int, *, latent: str, spread: float, seed: int
) -> Codes:
    """`count` codes from posteriors mu, sigma (n, latent_dim).

    latent "posterior": z = mu + spread * sigma * epsilon around each image in turn (a
    shuffled round). "mixed": the same around a point between two images' means, at a
    share uniform in [0, 0.5] of the way: interpolation of base points (paper, section 2).
    "prior": z = spread * epsilon. Raises ValueError for another word, a negative count
    or spread, or no image to draw around.
    """
    if latent not in LATENTS:
        raise ValueError(f"latent: found {latent!r}, expected one of {', '.join(LATENTS)}")
    if count < 0 or spread < 0:
        raise ValueError(f"count, spread: found {count}, {spread}, expected numbers of at least 0")
    random = np.random.default_rng([seed, 4])
    epsilon = random.standard_normal((count, mu.shape[1]), np.float32)
    if latent == "prior":
        return Codes((spread * epsilon).astype(np.float32), np.full(count, -1))
    if not len(mu):
        raise ValueError("posteriors: found none, expected at least one image to draw around")
    rounds = -(-count // len(mu))
    base = np.concatenate([random.permutation(len(mu)) for _ in range(rounds)] or [np.empty(0, int)])[:count]
    centre, width = mu[base], sigma[base]
    if latent == "mixed":
        other = random.integers(0, len(mu), count)
        share = random.uniform(0, 0.5, (count, 1)).astype(np.float32)
        centre = (1 - share) * centre + share * mu[other]
        width = (1 - share) * width + share * sigma[other]
    return Codes((centre + spread * width * epsilon).astype(np.float32), base)


def generate(
    vae: VAE,
    cars: np.ndarray,
    count: int,
    path: ComputePath,
    *,
    latent: str = "posterior",
    spread: float = 1.0,
    residual: float = 0.0,
    seed: int = 0,
) -> np.ndarray:
    """`count` new images uint8 (count, 32, 32, 3) around the real `cars` uint8 (n, 32, 32, 3).

    A decoder gives the mean of an image's distribution, which is soft; what is missing is its noise.
    `residual` in [0, 1] adds that share of the real one: what the decoder misses of the car that the
    code was drawn around (car - decoded mean of its posterior). 0 is the decoder alone. Raises
    ValueError for another residual, or one with codes from the prior, which have no car.
    """
    if not 0 <= residual <= 1 or (residual and latent == "prior"):
        raise ValueError(f"residual: found {residual} with {latent!r}, expected 0..1, and 0 with 'prior'")
    mu, sigma = encode(vae, cars, path)
    codes = draw_codes(mu, sigma, count, latent=latent, spread=spread, seed=seed)
    made = decode(vae, codes.z, path)
    if not residual:
        return made
    missed = cars.astype(np.int16) - decode(vae, mu, path)
    for start in range(0, count, CHUNK):  # in parts: 10,000 images as floats would be 120 MB
        rows = slice(start, start + CHUNK)
        full = made[rows] + residual * missed[codes.base[rows]]
        made[rows] = full.round().clip(0, 255).astype(np.uint8)
    return made


def first(images: np.ndarray, count: int) -> np.ndarray:
    """The first `count` of the new cars; InputError if there are not as many, or none is asked for."""
    if not 1 <= count <= len(images):
        raise InputError("n_synthetic", count, f"1 to {len(images):,}, the new cars that notebook 04 made")
    return images[:count]


def best(images: np.ndarray, scores: np.ndarray | None, count: int) -> np.ndarray | None:
    """The `count` images with the highest scores (n,), in their order; None without scores; as `first`."""
    if scores is None:
        return None
    chosen = np.argsort(-scores, kind="stable")
    return images[np.sort(first(chosen, count))]


def recolour(
    images: np.ndarray, towards: np.ndarray, *, share: tuple[float, float] = (0.5, 1.0), seed: int = 0
) -> np.ndarray:
    """Images in the colours of others, uint8 (n, 32, 32, 3): colour transfer, shapes stay.

    Each image takes the mean and the standard deviation of lightness and of both colour axes (CIELAB)
    of one of `towards` uint8 (m, 32, 32, 3) drawn at random (Reinhard et al., IEEE CG&A 21(5), 2001, with
    another space of the same kind), mixed with the image itself by a share drawn uniformly from `share`.
    Raises ValueError if there is nothing to take colours from, or `share` is not two numbers in
    [0, 1], the smaller first.
    """
    if not len(towards) or len(share) != 2 or not 0 <= share[0] <= share[1] <= 1:
        raise ValueError(
            f"towards, share: found {len(towards)} images, {share}; "
            "expected one at least, two numbers in [0, 1], the smaller first"
        )
    random = np.random.default_rng([seed, 7])
    chosen = random.integers(0, len(towards), len(images))
    shares = random.uniform(*share, (len(images), 1, 1, 1)).astype(np.float32)
    made = np.empty_like(images)
    for start in range(0, len(images), CHUNK):
        rows = slice(start, start + CHUNK)
        own, other = _space(images[rows], cv2.COLOR_RGB2LAB), _space(towards[chosen[rows]], cv2.COLOR_RGB2LAB)
        mean, sd = own.mean((1, 2), keepdims=True), own.std((1, 2), keepdims=True)
        target = other.mean((1, 2), keepdims=True), other.std((1, 2), keepdims=True)
        stretch = np.minimum(target[1] / (sd + 1e-3), MOST_STRETCH)  # a flat image stays flat
        new = _space((own - mean) * stretch + target[0], cv2.COLOR_LAB2RGB) * 255
        mixed = images[rows] + shares[rows] * (new - images[rows])
        made[rows] = mixed.round().clip(0, 255).astype(np.uint8)
    return made


def counterexamples(
    images: np.ndarray,
    labels: np.ndarray,
    towards: np.ndarray,
    count: int,
    share: tuple[float, float],
    seed: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`count` crops of other classes than car, theirs in the colours of `towards`, and their labels.

    Drawn from images uint8 (n, 32, 32, 3) with labels int (n,); the same crops for a seed, whatever colours
    they take (`recolour`, `share` as there). Of fewer than `count` some come more than once.
    """
    others = np.flatnonzero(labels != CAR)
    rows = np.random.default_rng([seed, 6]).choice(others, count, replace=count > len(others))
    return images[rows], recolour(images[rows], towards, share=share, seed=seed), labels[rows]


def _space(images: np.ndarray, code: int) -> np.ndarray:
    """Images (n, 32, 32, 3), uint8 or float, in another colour space: float32, L* 0..100 or RGB 0..1."""
    scaled = images.astype(np.float32) / 255 if images.dtype == np.uint8 else images
    return cv2.cvtColor(scaled.reshape(-1, images.shape[2], 3), code).reshape(images.shape)


def interpolate(vae: VAE, pairs: np.ndarray, steps: int, path: ComputePath) -> np.ndarray:
    """Ways between cars through the latent space: uint8 (n, 2, 32, 32, 3) -> uint8 (n, steps, 32, 32, 3).

    Straight lines between posterior means, ends included.
    """
    first, last = encode(vae, pairs[:, 0], path)[0], encode(vae, pairs[:, 1], path)[0]
    share = np.linspace(0, 1, steps, dtype=np.float32)[None, :, None]
    codes = (1 - share) * first[:, None] + share * last[:, None]
    return decode(vae, codes.reshape(-1, codes.shape[-1]), path).reshape(len(pairs), steps, *pairs.shape[2:])
