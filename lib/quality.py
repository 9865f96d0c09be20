"""Quality of a set of generated images, beside what the real set gives against itself.

The distances are computed on the features of a classifier that the caller names, never
on Inception's: "classifier-feature Frechet distance" and "classifier-feature kernel
distance" are not FID and KID and cannot be compared with published ones. Choose a
classifier that the generator was not started from.

The paper (section 6) judges its images as a set and gives no number; these are the
numbers. torchmetrics needs torch-fidelity only for Inception features, which nothing
here asks for.
"""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import torch
from pandas.io.formats.style import Styler

SIDE = 32
CHUNK = 1024  # images at once: bounds the memory of every function here
NEIGHBOURS = 5  # k of precision, recall, density, coverage
PRDC_LIMIT = 4000  # images a set there: prdc holds whole distance matrices, about 0.4 GB for 4000
KERNEL_SUBSETS = 50
KERNEL_SUBSET_SIZE = 500  # at most; half of the smaller set if that is less
COPY_RMS = 8.0  # grey levels (0..255): nearer than this to a training image, an image is a copy
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # Rec. 601
FEWEST = 6  # images a set


def check_images(images: np.ndarray, name: str = "images", fewest: int = 1) -> np.ndarray:
    """The array if it is uint8 (N, height, width, 3) with N >= fewest, else ValueError."""
    images = images if isinstance(images, np.ndarray) else np.asarray(images)
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
        found = f"found shape {images.shape}, type {images.dtype}"
        raise ValueError(f"{name}: {found}, expected uint8 (N, {SIDE}, {SIDE}, 3)")
    if len(images) < fewest:
        raise ValueError(f"{name}: found {len(images)} images, expected at least {fewest}")
    return images


def extract(images: np.ndarray, features: Callable, name: str = "images") -> np.ndarray:
    """Features float64 (N, d) of uint8 images, computed CHUNK images at a time.

    `features`: uint8 (n, 32, 32, 3) -> float (n, d), array or tensor. ValueError if it
    returns another number of rows, no matrix, or numbers that are not finite.
    """
    check_images(images, name)
    parts = []
    for start in range(0, len(images), CHUNK):
        block = np.ascontiguousarray(images[start : start + CHUNK])
        found = features(block)
        found = found.detach().cpu().numpy() if isinstance(found, torch.Tensor) else np.asarray(found)
        if found.ndim != 2 or len(found) != len(block):
            raise ValueError(f"{name}: found features of shape {found.shape}, expected ({len(block)}, d)")
        if not np.isfinite(found).all():
            raise ValueError(f"{name}: found features that are not finite, expected finite numbers")
        parts.append(found.astype(np.float64))
    return np.concatenate(parts)


class _Given(torch.nn.Module):
    """What torchmetrics calls a feature network, for features that are already computed."""

    def __init__(self, num_features: int):
        super().__init__()
        self.num_features = num_features

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features


def frechet_distance(generated: np.ndarray, real: np.ndarray) -> float:
    """Classifier-feature Frechet distance of two feature sets (n, d), (m, d); 0 for equal sets.

    |mu1 - mu2|^2 + trace(S1 + S2 - 2 (S1 S2)^(1/2)) (Heusel et al. 2017, on other features).
    Biased upwards for small sets: compare only distances of equally large sets.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(feature=_Given(real.shape[1]), normalize=False)
    for array, is_real in ((real, True), (generated, False)):
        metric.update(torch.from_numpy(np.ascontiguousarray(array, np.float64)), real=is_real)
    return max(0.0, float(metric.compute()))  # rounding can leave -1e-12


def kernel_distance(generated: np.ndarray, real: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Classifier-feature kernel distance of two feature sets: mean and sd over random subsets.

    Unbiased squared maximum mean discrepancy with the cubic kernel (x.y / d + 1)^3
    (Binkowski et al. 2018, on other features), so about 0, also below, for sets of one
    distribution. The subsets depend on `seed` alone; torch's own generator is left as it was.
    """
    from torchmetrics.image.kid import KernelInceptionDistance

    size = min(KERNEL_SUBSET_SIZE, max(2, min(len(generated), len(real)) // 2))
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore", UserWarning)  # that it keeps all features: they are here anyway
        torch.manual_seed(seed)
        network = _Given(real.shape[1])
        metric = KernelInceptionDistance(feature=network, subsets=KERNEL_SUBSETS, subset_size=size)
        for array, is_real in ((real, True), (generated, False)):
            metric.update(torch.from_numpy(np.ascontiguousarray(array, np.float64)), real=is_real)
        mean, sd = metric.compute()
    return float(mean), float(sd)


def manifold_measures(generated: np.ndarray, real: np.ndarray, seed: int = 0) -> dict[str, float]:
    """Precision, recall, density and coverage of generated features (prdc; Naeem et al. 2020), and k.

    precision: share of generated images within the real set's neighbourhoods; recall: the
    reverse; density: how deep within (can pass 1); coverage: share of real neighbourhoods
    that hold a generated image. Both sets are drawn down by `seed` to one size, at most
    PRDC_LIMIT, since all four depend on the sizes. k = 5, less for fewer than 7 images.
    """
    from prdc import compute_prdc

    size = min(len(generated), len(real), PRDC_LIMIT)
    k = min(NEIGHBOURS, size - 2)
    if k < 1:
        raise ValueError(f"found {size} images, expected at least 3")
    # the same draw for both where they are equally large: a set against itself stays itself
    chosen = [np.sort(np.random.default_rng([seed, 1]).permutation(len(a))[:size]) for a in (real, generated)]
    with contextlib.redirect_stdout(io.StringIO()):  # prdc prints the sizes
        found = compute_prdc(real[chosen[0]].astype(np.float32), generated[chosen[1]].astype(np.float32), k)
    return {name: float(value) for name, value in found.items()} | {"k": k}


def sharpness(images: np.ndarray) -> np.ndarray:
    """Variance of the Laplacian of the luma, one number an image (N,), in squared grey levels.

    Luma 0.299 R + 0.587 G + 0.114 B of the uint8 values 0..255; kernel
    [[0, 1, 0], [1, -4, 1], [0, 1, 0]] on the pixels that have all four neighbours, so no
    border is made up. A constant image has 0. Noise is "sharp" too: read it with the distances.
    """
    check_images(images)
    found = np.empty(len(images))
    for start in range(0, len(images), CHUNK):
        y = images[start : start + CHUNK].astype(np.float32) @ LUMA
        laplacian = y[:, :-2, 1:-1] + y[:, 2:, 1:-1] + y[:, 1:-1, :-2] + y[:, 1:-1, 2:] - 4 * y[:, 1:-1, 1:-1]
        found[start : start + CHUNK] = laplacian.var(axis=(1, 2), dtype=np.float64)
    return found


def nearest(images: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each image the nearest of `reference`: index (N,) int64, distance (N,) float64.

    Distance: root mean square over all values of a picture, in grey levels 0..255; exact,
    0 for a copy. The choice uses 32-bit products, so candidates within about 0.1 grey
    level of each other may stand in for each other. Memory: CHUNK x CHUNK.
    """
    check_images(images), check_images(reference, "reference")
    if images.shape[1:] != reference.shape[1:]:
        expected = f"expected the reference's {reference.shape[1:]}"
        raise ValueError(f"found images of shape {images.shape[1:]}, {expected}")
    best, index = np.full(len(images), np.iinfo(np.int64).max), np.zeros(len(images), np.int64)
    values = math.prod(images.shape[1:])

    def flat(block):  # centred: smaller numbers, less rounding
        return block.reshape(len(block), values).astype(np.float32) - 128

    for start in range(0, len(images), CHUNK):
        mine = images[start : start + CHUNK]
        own, rows = flat(mine), slice(start, start + len(mine))
        for begin in range(0, len(reference), CHUNK):
            other = reference[begin : begin + CHUNK]
            theirs = flat(other)
            # |b|^2 - 2 a.b: the image's own |a|^2 does not change which is nearest
            choice = ((theirs * theirs).sum(axis=1) - 2 * own @ theirs.T).argmin(axis=1)
            gap = (mine.astype(np.int32) - other[choice].astype(np.int32)).reshape(len(mine), values)
            squared = (gap * gap).sum(axis=1, dtype=np.int64)
            nearer = squared < best[rows]
            best[rows] = np.where(nearer, squared, best[rows])
            index[rows] = np.where(nearer, choice + begin, index[rows])
    return index, np.sqrt(best / values)


def copy_share(distances: np.ndarray, threshold: float = COPY_RMS) -> float:
    """The share of images whose nearest training image (see `nearest`) is at most `threshold` away."""
    distances = np.asarray(distances)
    if distances.size == 0:
        raise ValueError("found no distances, expected at least one")
    return float((distances <= threshold).mean())


def _compare(images, found, real_images, real_found, seed) -> dict[str, float | int]:
    kernel, spread = kernel_distance(found, real_found, seed)
    _, distances = nearest(images, real_images)
    return {
        "n_generated": len(found),
        "n_real": len(real_found),
        "classifier_feature_frechet_distance": frechet_distance(found, real_found),
        "classifier_feature_kernel_distance": kernel,
        "classifier_feature_kernel_distance_sd": spread,
        **manifold_measures(found, real_found, seed),
        "sharpness_ratio": _ratio(sharpness(images).mean(), sharpness(real_images).mean()),
        "nearest_rms_median": float(np.median(distances)),
        "copy_share": copy_share(distances),
    }


def _ratio(top: float, bottom: float) -> float:
    if bottom <= 0:
        raise ValueError("real images: found no sharpness at all, expected pictures that are not constant")
    return float(top / bottom)


def set_quality(generated: np.ndarray, real: np.ndarray, features: Callable[[np.ndarray], np.ndarray],
                seed: int = 0, features_of: str = "classifier") -> dict:
    """Every measure of a generated set against a real one, ready for JSON (no NaN).

    generated, real: uint8 (N, 32, 32, 3), (M, 32, 32, 3), at least 6 each. `features` as in
    `extract`; `features_of` says whose they are. Keys:
      all         generated against all real images
      floor       one random half of the real images against the other: what no generator can be asked to beat
      equal_size  as many generated images as the floor has, against the same half: the row to read beside the
                  floor, since these measures depend on the sizes
    and of both sets the mean sharpness. Halves are drawn by object: neighbours from one
    sequence can fall on both sides, which makes the floor hard to reach.
    """
    check_images(generated, "generated images", FEWEST), check_images(real, "real images", FEWEST)
    found, truth = extract(generated, features, "generated images"), extract(real, features, "real images")
    if found.shape[1] != truth.shape[1]:
        raise ValueError(f"found {found.shape[1]} features, expected {truth.shape[1]} as of the real images")
    generator = np.random.default_rng([seed, 2])
    order = generator.permutation(len(real))
    size = min(len(real) // 2, len(generated))
    half, other = np.sort(order[:size]), np.sort(order[len(real) - size :])
    drawn = np.sort(generator.permutation(len(generated))[:size])
    return {
        "features_of": features_of,
        "seed": int(seed),
        "sharpness_generated": float(sharpness(generated).mean()),
        "sharpness_real": float(sharpness(real).mean()),
        "all": _compare(generated, found, real, truth, seed),
        "equal_size": _compare(generated[drawn], found[drawn], real[half], truth[half], seed),
        "floor": _compare(real[other], truth[other], real[half], truth[half], seed),
    }


def set_table(rows: Mapping[str, Mapping]) -> Styler:
    """Measures of image sets (parts of `set_quality`) by name as a table, a column a set, three digits."""
    table = pd.DataFrame({name: {key: value for key, value in row.items() if isinstance(value, float)}
                          for name, row in rows.items()})  # fmt: skip
    plain = {name: name.replace("_", " ") for name in (*table.index, *table.columns)}
    return table.rename(index=plain, columns=plain).style.format("{:.3g}").set_uuid("set-quality")
