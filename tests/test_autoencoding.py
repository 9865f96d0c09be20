"""The autoencoder's objective and training."""

import math

import numpy as np
import pytest
import torch

from lib import autoencoding
from lib.acceleration import ComputePath
from lib.autoencoding import (
    Objective,
    decode,
    divergence,
    elbo,
    encode,
    high_pass,
    reconstruct,
    train_vae,
)
from lib.batches import Schedule
from lib.models import build_classifier, build_vae

CPU = ComputePath("cpu", "float32", True, False, 1)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def images():
    """64 images: a bright box somewhere on a dark ground."""
    random = np.random.default_rng(1)
    pictures = np.full((64, 32, 32, 3), 40, np.uint8)
    for picture in pictures:
        x, y = random.integers(4, 14, 2)
        picture[y : y + 14, x : x + 14] = random.integers(150, 255, 3)
    return pictures


def small(latent_dim=6):
    torch.manual_seed(0)
    return build_vae(groups=2, width=8, compression=0.5, latent_dim=latent_dim)


def train(images, objective=None, steps=6, **more):
    vae = small()
    history = train_vae(
        vae, images, Schedule(steps, 16, 1e-2, 0), path=CPU, objective=objective or Objective(), **more
    )
    return vae, history


# Divergence and sharpness


def test_divergence_of_the_prior_is_zero():
    assert torch.equal(divergence(torch.zeros(3, 5), torch.zeros(3, 5)), torch.zeros(3, 5))


def test_divergence_is_torch_s():
    mu, log_variance = torch.randn(8, 5), torch.randn(8, 5)
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(mu, (log_variance / 2).exp()), normal(0.0, 1.0))
    torch.testing.assert_close(divergence(mu, log_variance), expected, rtol=1e-4, atol=1e-6)
    assert (divergence(mu, log_variance) >= 0).all()


def test_high_pass_takes_flat_parts_away():
    flat = torch.full((1, 3, 32, 32), 0.7)
    assert high_pass(flat).abs().max() < 1e-6  # at the border too
    edge = flat.clone()
    edge[..., 16:] = 0.1
    assert high_pass(edge)[..., 15:17].abs().min() > 0.1 and high_pass(edge)[..., :14].abs().max() < 1e-6


# Training


def test_training_reduces_the_error(images):
    vae = small()
    before = elbo(vae, images, CPU)["squared_error"]
    history = train_vae(
        vae, images, Schedule(30, 16, 2e-2, 0), path=CPU, objective=Objective(), heldout=images[:16],
        measure_every=15,
    )  # fmt: skip
    after = elbo(vae, images, CPU)["squared_error"]
    assert after < 0.5 * before
    steps = [row["step"] for row in history if "heldout_elbo" in row]
    assert steps == [15, 30]
    assert all(math.isfinite(value) for row in history for value in row.values())
    assert not any("kl_per_dimension" in key for row in history for key in row)
    assert {"loss", "squared_error", "kl"} <= set(history[-2])


@pytest.mark.parametrize(
    "objective",
    [Objective(beta=0.0), Objective(beta=5.0), Objective(detail=2.0), Objective(features=1.0, detail=0.5),
     Objective(warm=0.0), Objective(warm=1.0), Objective(calibrated=True)],
)  # fmt: skip
def test_options_run(images, objective):
    classifier = build_classifier(groups=2, width=8, compression=0.5)
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    _, history = train(images, objective, classifier=classifier)
    assert math.isfinite(history[-1]["loss"])
    assert all(torch.equal(v, before[k]) for k, v in classifier.state_dict().items())  # only looked at
    assert all(p.requires_grad for p in classifier.parameters())


def test_each_weight_matters(images):
    classifier = build_classifier(groups=2, width=8, compression=0.5)
    ends = [
        train(images, objective, classifier=classifier)[1][-1]["loss"]
        for objective in (Objective(), Objective(detail=1.0), Objective(features=1.0), Objective(beta=1.0))
    ]
    assert len(set(ends)) == 4 and min(ends) == ends[0]


def test_the_weight_on_edges_is_of_what_is_missed(images, monkeypatch):
    """Not of the edges of what is made, which it would flatten."""
    given = []
    monkeypatch.setattr(autoencoding, "high_pass", lambda missed: given.append(missed) or high_pass(missed))
    (row,) = train(images, Objective(detail=2.0, beta=0.0), steps=1)[1]
    (missed,) = given
    assert missed.square().sum((1, 2, 3)).mean().item() == pytest.approx(row["squared_error"], rel=1e-5)
    edges = high_pass(missed).square().sum((1, 2, 3)).mean().item()
    assert row["loss"] == pytest.approx(row["squared_error"] + 2 * edges, rel=1e-5)


@pytest.mark.parametrize("warm", [0.0, 1.0, 4.0])
def test_beta_grows_over_the_warm_up(images, warm):
    (row,) = train(images, Objective(beta=5.0, warm=warm), steps=1)[1]  # the first of `warm` steps
    beta = 5 / max(1, warm)
    assert row["loss"] == pytest.approx(row["squared_error"] + beta * row["kl"], rel=1e-5)


def test_a_calibrated_beta_is_twice_the_variance_that_suits_the_batch(images):
    calibrated, history = train(images, Objective(calibrated=True, warm=0.0), steps=1)
    beta = 2 * history[0]["squared_error"] / 3072
    expected = history[0]["squared_error"] + beta * history[0]["kl"]
    assert history[0]["loss"] == pytest.approx(expected, rel=1e-5)
    same, _ = train(images, Objective(beta=beta, warm=0.0), steps=1)
    other, _ = train(images, Objective(beta=10 * beta, warm=0.0), steps=1)

    def distance(vae):
        pairs = zip(vae.parameters(), calibrated.parameters(), strict=True)
        return max((one - two).detach().abs().max().item() for one, two in pairs)

    assert distance(same) < 0.1 * distance(other)


def test_features_need_a_classifier(images):
    with pytest.raises(ValueError, match="found a weight but no classifier, expected one"):
        train(images, Objective(features=1.0))


def test_a_large_beta_brings_the_posteriors_to_the_prior(images):
    kl = [elbo(train(images, Objective(beta=beta), steps=15)[0], images, CPU)["kl"] for beta in (0.0, 50.0)]
    assert kl[1] < 0.5 * kl[0]


def test_frozen_body_keeps_its_weights(images):
    vae, start = small(), small().encoder.body
    train_vae(vae, images, Schedule(4, 16, 1e-2, 0), path=CPU, objective=Objective(), freeze_steps=4)
    for (name, one), two in zip(vae.encoder.body.named_parameters(), start.parameters(), strict=True):
        assert torch.equal(one, two), name
    for (name, one), two in zip(vae.encoder.body.named_buffers(), start.buffers(), strict=True):
        assert torch.equal(one, two), name
    assert not torch.equal(vae.encoder.mu.weight, small().encoder.mu.weight)
    thawed, _ = train(images, freeze_steps=2)
    assert not torch.equal(thawed.encoder.body.stem.weight, start.stem.weight)


# Measuring


def test_patience_ends_a_training_that_no_longer_gains(images):
    """Trained on noise alone it cannot gain on squares for long; the best that was measured is kept."""
    noise = np.random.default_rng(1).integers(0, 256, (24, 32, 32, 3), np.uint8)
    vae = small()
    history = train_vae(vae, noise, Schedule(400, 8, 2e-2, 0), path=CPU, objective=Objective(),
                        heldout=images, measure_every=5, patience=3)  # fmt: skip
    measured = {row["step"]: row["heldout_elbo"] for row in history if "heldout_elbo" in row}
    best = max(measured, key=measured.get)
    assert max(measured) == best + 15 < 400
    assert elbo(vae, images, CPU)["elbo"] == pytest.approx(measured[best], abs=1e-3)


def test_elbo_is_finite_and_adds_up(images):
    vae = small()
    found = elbo(vae, images, CPU)
    assert set(found) == {"squared_error", "kl", "elbo", "active_units", "kl_per_dimension"}
    assert len(found["kl_per_dimension"]) == 6 and 0 <= found["active_units"] <= 6
    assert sum(found["kl_per_dimension"]) == pytest.approx(found["kl"], rel=1e-5)
    assert all(math.isfinite(found[name]) for name in ("squared_error", "kl", "elbo"))
    likelihood = -0.5 * 3072 * (math.log(2 * math.pi * found["squared_error"] / 3072) + 1)
    assert found["elbo"] == pytest.approx(likelihood - found["kl"])
    assert elbo(vae, images, CPU) == found
    assert elbo(vae, images, CPU, seed=1) != found
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal((64, 6), np.float32))
    with torch.no_grad():
        made, mu, log_variance = vae.eval()(x, noise)
    assert found["kl"] == pytest.approx(divergence(mu, log_variance).sum(1).mean().item(), rel=1e-4)
    squares = (made - x).square().sum((1, 2, 3)).mean().item()
    assert found["squared_error"] == pytest.approx(squares, rel=0.01)


def test_encode_decode_reconstruct(images):
    vae = small()
    mu, sigma = encode(vae, images, CPU)
    assert mu.shape == sigma.shape == (64, 6) and mu.dtype == sigma.dtype == np.float32
    with torch.no_grad():  # a standard deviation, no variance: equation 1 draws with it
        log_variance = vae.encoder(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255)[1]
    np.testing.assert_allclose(sigma, (0.5 * log_variance).exp().numpy(), rtol=1e-4)
    made = decode(vae, mu, CPU)
    assert made.shape == images.shape and made.dtype == np.uint8
    assert np.array_equal(made, reconstruct(vae, images, CPU))
    x = torch.from_numpy(images[:5]).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        expected = vae(x, torch.zeros(5, 6))[0].permute(0, 2, 3, 1).numpy() * 255
    assert np.abs(made[:5] - expected).max() <= 0.51
    assert decode(vae, mu[:0], CPU).shape == (0, 32, 32, 3)


def test_an_autoencoder_can_be_trained_after_it_was_asked(images):
    vae = small()
    before = reconstruct(vae, images, CPU)
    train_vae(vae, images, Schedule(2, 8, 1e-2, 0), path=CPU, objective=Objective())
    assert not np.array_equal(reconstruct(vae, images, CPU), before)
