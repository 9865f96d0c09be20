"""Known answers for the measures of a set of images."""

import json

import numpy as np
import pytest
import torch
from scipy import ndimage

from lib import quality as qu


def pictures(n: int, seed: int = 0) -> np.ndarray:
    """n textured pictures that differ: smooth noise, uint8 (n, 32, 32, 3)."""
    noise = np.random.default_rng(seed).normal(size=(n, 32, 32, 3))
    smooth = ndimage.gaussian_filter(noise, (0, 1, 1, 0))
    return np.clip(128 + 120 * smooth / smooth.std() / 2, 0, 255).astype(np.uint8)


def blurred(images: np.ndarray) -> np.ndarray:
    return ndimage.gaussian_filter(images.astype(float), (0, 1.5, 1.5, 0)).round().astype(np.uint8)


def pooled(images: np.ndarray) -> np.ndarray:
    """A stand-in for a classifier's features: means and contrasts of 8 x 8 blocks, (n, 32)."""
    blocks = images.astype(np.float32).mean(axis=3).reshape(len(images), 4, 8, 4, 8) / 255
    means, contrasts = blocks.mean(axis=(2, 4)), blocks.std(axis=(2, 4))
    return np.concatenate([means.reshape(-1, 16), contrasts.reshape(-1, 16)], axis=1)


def test_frechet_distance_of_known_moments():
    points = np.random.default_rng(0).normal(size=(500, 3))
    assert qu.frechet_distance(points, points) == pytest.approx(0, abs=1e-6)
    assert qu.frechet_distance(points + [3, 0, 4], points) == pytest.approx(25, abs=1e-6)
    # scaled by 2: mean and covariance differ by |mu|^2 + trace(S) (2 - 1)^2
    centred = points - points.mean(axis=0)
    expected = np.trace(np.cov(centred.T))
    assert qu.frechet_distance(2 * centred, centred) == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_of_flat_features():
    # fewer images than features, most of them constant: singular covariances
    flat = np.c_[np.random.default_rng(0).normal(size=(20, 2)), np.zeros((20, 40))]
    assert qu.frechet_distance(flat, flat) == pytest.approx(0, abs=1e-4)
    assert np.isfinite(qu.frechet_distance(flat + 1, flat))


def test_kernel_distance():
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(800, 8)), generator.normal(size=(800, 8))
    same, _ = qu.kernel_distance(a, b)
    apart, _ = qu.kernel_distance(a + 1, b)
    assert abs(same) < 0.05 < 0.5 < apart
    assert qu.kernel_distance(a, b) == qu.kernel_distance(a, b) != qu.kernel_distance(a, b, seed=1)


def test_kernel_distance_leaves_torch_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    qu.kernel_distance(np.eye(8), np.eye(8))
    assert torch.equal(torch.rand(3), expected)


def test_manifold_measures_of_known_sets(capsys):
    points = np.random.default_rng(0).normal(size=(300, 6))
    same = qu.manifold_measures(points, points)
    assert (same["precision"], same["recall"], same["coverage"], same["k"]) == (1, 1, 1, 5)
    far = qu.manifold_measures(points + 100, points)
    assert (far["precision"], far["recall"], far["density"], far["coverage"]) == (0, 0, 0, 0)
    one_mode = qu.manifold_measures(np.tile(points[:1], (300, 1)) + 1e-3, points)
    assert one_mode["precision"] == 1 and one_mode["recall"] < 0.05 and one_mode["coverage"] < 0.1
    assert capsys.readouterr().out == ""  # prdc prints; a notebook's output should not show it


def test_manifold_measures_of_few_images():
    assert qu.manifold_measures(np.eye(4), np.eye(4))["k"] == 2
    with pytest.raises(ValueError, match="at least 3"):
        qu.manifold_measures(np.eye(2), np.eye(2))


def test_sharpness_is_the_variance_of_the_laplacian():
    images = pictures(5)
    kernel = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    for image, found in zip(images, qu.sharpness(images), strict=True):
        luma = image @ np.array([0.299, 0.587, 0.114])
        assert found == pytest.approx(ndimage.convolve(luma, kernel)[1:-1, 1:-1].var(), rel=1e-4)


def test_sharpness_orders_images():
    images = pictures(20)
    assert (qu.sharpness(blurred(images)) < 0.5 * qu.sharpness(images)).all()
    flat = np.full((2, 32, 32, 3), 77, np.uint8)
    ramp = np.broadcast_to(np.arange(32, dtype=np.uint8)[:, None, None] * 3, (1, 32, 32, 3))
    assert qu.sharpness(flat) == pytest.approx([0, 0], abs=1e-6)
    assert qu.sharpness(np.ascontiguousarray(ramp)) == pytest.approx([0], abs=1e-6)  # a slope is not an edge


def test_nearest_finds_planted_copies(monkeypatch):
    monkeypatch.setattr(qu, "CHUNK", 16)  # several chunks on both sides
    reference, images = pictures(70), pictures(40, seed=1)
    images[[3, 20, 39]] = reference[[65, 0, 17]]
    images[5] = np.clip(reference[33].astype(int) + 2, 0, 255)
    index, distance = qu.nearest(images, reference)
    assert index[[3, 20, 39, 5]].tolist() == [65, 0, 17, 33]
    assert (distance[[3, 20, 39]] == 0).all() and 1 < distance[5] <= 2
    plain = np.sqrt(((images[:, None].astype(float) - reference[None]) ** 2).mean(axis=(2, 3, 4)))
    assert np.array_equal(index, plain.argmin(axis=1)) and distance == pytest.approx(plain.min(axis=1))
    assert qu.copy_share(distance) == 4 / 40 and qu.copy_share(distance, threshold=0) == 3 / 40


def test_nearest_takes_the_first_of_equals():
    reference = np.repeat(pictures(1), 3, axis=0)
    assert qu.nearest(reference[:1], reference)[0].tolist() == [0]


def test_set_quality_orders_sets():
    real, more = pictures(300), pictures(300, seed=1)
    good = qu.set_quality(more, real, pooled, features_of="block means")
    bad = qu.set_quality(blurred(more), real, pooled)
    name = "classifier_feature_frechet_distance"
    assert good["equal_size"][name] < 3 * good["floor"][name] < bad["equal_size"][name]
    assert good["all"]["sharpness_ratio"] == pytest.approx(1, abs=0.1) and bad["all"]["sharpness_ratio"] < 0.5
    assert bad["all"]["precision"] < good["all"]["precision"]
    assert good["all"]["copy_share"] == 0 and good["features_of"] == "block means"
    assert good["floor"]["n_generated"] == good["equal_size"]["n_generated"] == 150
    assert good == qu.set_quality(more, real, pooled, features_of="block means")  # same seed, same numbers
    json.dumps(good, allow_nan=False)
    assert not any(word in json.dumps(good).lower() for word in ("fid", "kid", "inception"))


def test_set_quality_of_the_set_itself():
    real = pictures(100)
    found = qu.set_quality(real, real, pooled)["all"]
    assert found["classifier_feature_frechet_distance"] == pytest.approx(0, abs=1e-6)
    assert (found["precision"], found["recall"], found["coverage"]) == (1, 1, 1)
    assert found["sharpness_ratio"] == 1 and found["copy_share"] == 1 and found["nearest_rms_median"] == 0


def test_set_quality_of_tiny_sets_and_tensors():
    found = qu.set_quality(pictures(6), pictures(9, seed=1), lambda x: torch.from_numpy(pooled(x)))
    assert found["equal_size"]["k"] == 2 and found["floor"]["n_real"] == 4
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("generated, real, features, message", [
    (pictures(9)[:0], pictures(9), pooled, "generated images: found 0 images, expected at least 6"),
    (pictures(9), pictures(3), pooled, "real images: found 3 images"),
    (pictures(9) / 255, pictures(9), pooled, "generated images: found shape .* type float64, expected uint8"),
    (pictures(9)[..., 0], pictures(9), pooled, "expected uint8"),
    (pictures(9), pictures(9), lambda x: pooled(x)[:3], r"features of shape \(3, 32\), expected \(9, d\)"),
    (pictures(9), pictures(9), lambda x: pooled(x) * np.nan, "not finite"),
    (pictures(9), np.full((9, 32, 32, 3), 5, np.uint8), pooled, "no sharpness"),
])  # fmt: skip
def test_bad_input_is_refused(generated, real, features, message):
    with pytest.raises(ValueError, match=message):
        qu.set_quality(generated, real, features)


def test_no_distances_no_share():
    with pytest.raises(ValueError, match="at least one"):
        qu.copy_share(np.array([]))


def test_works_without_torch_fidelity(monkeypatch):
    """torchmetrics wants it for Inception features alone."""
    from torchmetrics.image import fid, kid

    for module in (fid, kid):
        monkeypatch.setattr(module, "_TORCH_FIDELITY_AVAILABLE", False)
    with pytest.raises(ModuleNotFoundError, match="[Ff]idelity"):
        fid.FrechetInceptionDistance(feature=64)  # what the flag is for
    points = np.random.default_rng(0).normal(size=(30, 4))
    assert qu.frechet_distance(points, points) == pytest.approx(0, abs=1e-9)
    assert np.isfinite(qu.kernel_distance(points, points + 1)).all()


def test_the_table_of_sets_has_a_column_a_set_and_three_digits():
    sets = {"equal_size": {"recall": 0.96012, "nearest_rms_median": 30.25}, "floor": {"recall": 1.0}}
    sets["floor"]["seed"] = 0
    text = qu.set_table(sets).to_html()
    assert text == qu.set_table(sets).to_html(), "the same each time: notebooks are compared"
    for shown in (">equal size<", ">floor<", ">recall<", ">nearest rms median<", ">0.96<", ">30.2<", ">1<"):
        assert shown in text
    assert ">seed<" not in text, "a number of the run, not a measure"
