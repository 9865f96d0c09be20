"""Codes and what is decoded from them."""

import numpy as np
import pytest
import torch

from lib.acceleration import ComputePath
from lib.autoencoding import decode, encode, reconstruct
from lib.generation import LATENTS, counterexamples, draw_codes, first, generate, interpolate, recolour
from lib.models import build_vae
from lib.runs import InputError

CPU = ComputePath("cpu", "float32", True, False, 1)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def posteriors():
    """Seven posteriors far apart, so that a code tells what it was drawn around."""
    random = np.random.default_rng(0)
    mu = 100 * np.arange(7, dtype=np.float32)[:, None] + random.normal(size=(7, 4)).astype(np.float32)
    return mu, random.uniform(0.5, 1.5, (7, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(0)
    return build_vae(groups=2, width=8, compression=0.5, latent_dim=4).eval()


@pytest.fixture(scope="module")
def cars():
    return np.random.default_rng(1).integers(0, 256, (6, 32, 32, 3), np.uint8)


@pytest.mark.parametrize("count", [0, 1, 6, 7, 24])
def test_each_base_is_used_in_turn(posteriors, count):
    codes, base = draw_codes(*posteriors, count, latent="posterior", spread=1.0, seed=0)
    assert codes.shape == (count, 4) and codes.dtype == np.float32
    assert base.tolist() == np.rint(codes.mean(1) / 100).astype(int).tolist()  # it says what it drew around
    used = np.bincount(base, minlength=7)
    assert used.max() - used.min() <= 1
    if count == 24:
        assert all(len(set(base[k : k + 7])) == 7 for k in (0, 7, 14))
        assert base[:7].tolist() != list(range(7)) and base[:7].tolist() != base[7:14].tolist()


def test_codes_follow_the_equation(posteriors):
    mu, sigma = posteriors
    codes, base = draw_codes(mu, sigma, 7000, latent="posterior", spread=0.5, seed=2)
    epsilon = (codes - mu[base]) / (0.5 * sigma[base])
    assert abs(epsilon.mean()) < 0.02 and abs(epsilon.std() - 1) < 0.02


@pytest.mark.parametrize("count", [7, 10])
def test_no_spread_gives_the_means(posteriors, count):
    codes, base = draw_codes(*posteriors, count, latent="posterior", spread=0, seed=0)
    assert np.array_equal(codes, posteriors[0][base])
    assert len(np.unique(codes, axis=0)) == 7


def test_prior_ignores_the_posteriors(posteriors):
    mu, sigma = posteriors
    codes, base = draw_codes(mu, sigma, 2000, latent="prior", spread=1.0, seed=0)
    assert (base == -1).all()
    assert np.array_equal(codes, draw_codes(mu + 5, sigma * 2, 2000, latent="prior", spread=1.0, seed=0).z)
    assert abs(codes.mean()) < 0.05 and abs(codes.std() - 1) < 0.05
    assert np.array_equal(draw_codes(mu, sigma, 9, latent="prior", spread=0.0, seed=0).z, np.zeros((9, 4)))
    empty = np.empty((0, 4), np.float32)
    assert draw_codes(empty, empty, 3, latent="prior", spread=1.0, seed=0).z.shape == (3, 4)


def test_mixed_stays_between_two_means(posteriors):
    mu, sigma = posteriors
    codes, base = draw_codes(mu, sigma, 300, latent="mixed", spread=0, seed=0)
    assert codes.min() >= mu.min() - 0.01 and codes.max() <= mu.max() + 0.01
    between = ~np.array([(np.abs(code - mu) < 1e-3).all(1).any() for code in codes])
    assert between.mean() > 0.7
    assert np.abs(codes - mu[base]).max() <= (mu.max() - mu.min()) / 2 + 1  # never over half of the way


@pytest.mark.parametrize("latent", LATENTS)
def test_same_seed_same_bytes(posteriors, latent):
    draws = [
        draw_codes(*posteriors, 20, latent=latent, spread=1.0, seed=seed).z.tobytes() for seed in (3, 3, 4)
    ]
    assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"latent": "posteriors"}, "latent: found 'posteriors', expected one of posterior, mixed, prior"),
        ({"count": -1}, "found -1, 1.0, expected"),
        ({"spread": -0.5}, "found 5, -0.5, expected"),
    ],
)
def test_bad_words_and_numbers(posteriors, change, words):
    values = {"count": 5, "latent": "posterior", "spread": 1.0, "seed": 0} | change
    with pytest.raises(ValueError, match=words):
        draw_codes(*posteriors, values.pop("count"), **values)


def test_nothing_to_draw_around():
    empty = np.empty((0, 4), np.float32)
    with pytest.raises(ValueError, match="posteriors: found none"):
        draw_codes(empty, empty, 3, latent="posterior", spread=1.0, seed=0)


def test_generate(vae, cars):
    made = generate(vae, cars, 13, CPU, seed=1)
    assert made.shape == (13, 32, 32, 3) and made.dtype == np.uint8
    mu, sigma = encode(vae, cars, CPU)
    for how, spread in (({}, 1.0), ({"spread": 3.0}, 3.0)):  # 1: equation 1 of the paper, and the default
        codes = draw_codes(mu, sigma, 13, latent="posterior", spread=spread, seed=1)
        assert np.array_equal(generate(vae, cars, 13, CPU, seed=1, **how), decode(vae, codes.z, CPU))
    assert not np.array_equal(made, generate(vae, cars, 13, CPU, spread=3.0, seed=1))
    assert np.array_equal(made, generate(vae, cars, 13, CPU, seed=1))
    still = generate(vae, cars, 6, CPU, spread=0.0)
    real = reconstruct(vae, cars, CPU)
    assert sorted(image.tobytes() for image in still) == sorted(image.tobytes() for image in real)
    assert generate(vae, cars, 0, CPU).shape == (0, 32, 32, 3)


def test_residual_gives_back_what_the_decoder_misses(vae, cars):
    """At the mean, with the whole of it, a sample is the car that it was drawn around."""
    made = generate(vae, cars, 12, CPU, spread=0.0, residual=1.0)
    assert sorted(image.tobytes() for image in made) == sorted(image.tobytes() for image in [*cars, *cars])
    plain, half = (generate(vae, cars, 12, CPU, residual=share, seed=3) for share in (0.0, 0.5))
    assert not np.array_equal(plain, half) and half.dtype == np.uint8


@pytest.mark.parametrize(
    "more", [{"residual": -0.1}, {"residual": 1.5}, {"residual": 0.5, "latent": "prior"}]
)
def test_bad_residual(vae, cars, more):
    with pytest.raises(ValueError, match="residual: found"):
        generate(vae, cars, 3, CPU, **more)


def test_interpolation_ends_at_the_reconstructions(vae, cars):
    pairs = cars.reshape(3, 2, 32, 32, 3)
    ways = interpolate(vae, pairs, 5, CPU)
    assert ways.shape == (3, 5, 32, 32, 3) and ways.dtype == np.uint8
    for end, column in ((0, 0), (-1, 1)):
        real = reconstruct(vae, pairs[:, column], CPU).astype(int)
        assert np.abs(ways[:, end].astype(int) - real).max() <= 1  # rounding of another batch size
    mu = [encode(vae, pairs[:, column], CPU)[0] for column in (0, 1)]
    assert not np.allclose(*mu)


def test_recolour_gives_the_others_colours_and_keeps_the_shape():
    random = np.random.default_rng(0)
    reds = random.integers(0, 90, (6, 32, 32, 3)).astype(np.uint8)
    reds[..., 0] += 60
    snow = random.integers(190, 231, (1, 32, 32, 1)).repeat(3, 3).astype(np.uint8)  # grey, nearly flat
    kept = reds.copy()
    made = recolour(reds, snow, share=(1.0, 1.0), seed=2)
    assert made.dtype == np.uint8 and made.shape == reds.shape and np.array_equal(reds, kept)
    assert abs(made.mean() - snow.mean()) < 3 and made.std() < 1.3 * snow.std()
    assert np.ptp(made.astype(int), axis=3).mean() < 3 < np.ptp(reds.astype(int), axis=3).mean()  # grey too
    for before, after in zip(reds, made, strict=True):
        assert np.corrcoef(before.mean(2).ravel(), after.mean(2).ravel())[0, 1] > 0.8
    assert np.array_equal(recolour(reds, snow, share=(0.0, 0.0)), reds)
    half = recolour(reds, snow, share=(0.5, 0.5), seed=2).astype(float)
    assert np.abs(half - (reds.astype(float) + made) / 2).max() <= 1


def test_counterexamples_are_of_other_classes_and_the_same_whatever_their_colours(cars):
    labels = np.arange(len(cars)) % 6
    plain, white, of = counterexamples(cars, labels, np.full_like(cars, 240), 40, (1.0, 1.0), 3)
    again, grey, same = counterexamples(cars, labels, np.full_like(cars, 100), 40, (1.0, 1.0), 3)
    assert plain.shape == white.shape == (40, 32, 32, 3) and 1 not in of  # more than there are: repeated
    assert np.array_equal(plain, again) and np.array_equal(of, same) and not np.array_equal(white, grey)
    assert (np.abs(white.mean((1, 2)) - 240) < 2).all() and (np.abs(grey.mean((1, 2)) - 100) < 2).all()
    places = [np.flatnonzero((cars == image).all((1, 2, 3))) for image in plain]
    assert all(labels[place] == label for (place, *_), label in zip(places, of, strict=True))


def test_recolour_stretches_no_noise():
    """An almost flat image beside one full of contrast stays almost flat."""
    random = np.random.default_rng(1)
    flat = random.integers(100, 104, (2, 32, 32, 3)).astype(np.uint8)
    loud = random.integers(0, 256, (1, 32, 32, 3)).astype(np.uint8)
    made = recolour(flat, loud, share=(1.0, 1.0))
    assert made.std((1, 2)).max() < 6 * flat.std((1, 2)).max() < loud.std() / 3


def test_recolour_depends_on_the_seed_alone(cars):
    made = [recolour(cars, cars[::-1], seed=seed).tobytes() for seed in (3, 3, 4)]
    assert made[0] == made[1] != made[2]
    flat = np.full((1, 32, 32, 3), 77, np.uint8)
    assert (np.ptp(recolour(flat, cars, share=(1.0, 1.0)), axis=(1, 2)) == 0).all()  # no texture from nothing


@pytest.mark.parametrize(("count", "share"), [(0, (0.5, 1.0)), (2, (0.5,)), (2, (0.8, 0.2)), (2, (0.5, 1.5))])
def test_recolour_refuses(cars, count, share):
    with pytest.raises(ValueError, match="towards, share: found"):
        recolour(cars, cars[:count], share=share)


def test_first_takes_what_was_asked_or_says_what_there_is():
    images = np.arange(5 * 3072, dtype=np.uint8).reshape(5, 32, 32, 3)
    assert np.array_equal(first(images, 2), images[:2]) and len(first(images, 5)) == 5
    for count in (0, 6):
        with pytest.raises(InputError, match=f"n_synthetic: found {count}, expected 1 to 5"):
            first(images, count)
