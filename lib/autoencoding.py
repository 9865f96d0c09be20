"""The variational autoencoder VAENN: its objective, its training, its reconstructions.

The evidence lower bound of Kingma & Welling (arXiv 1312.6114): reconstruction summed
over the 3,072 values of an image, averaged over the batch, Kullback-Leibler divergence
summed over the latent dimensions, its weight `beta` explicit. Beta is twice the
variance of a Gaussian decoder, so a small beta is a sharp decoder.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.acceleration import ComputePath
from lib.batches import Schedule, augment, draw_augmentation, generator, image_batch, on_device
from lib.models import VAE
from lib.training import EVALUATION_BATCH, EarlyStopping, fit


class Objective(NamedTuple):
    """What the autoencoder minimises, each weight explicit.

    squared error + detail * squared error of what a 3x3 blur removes
    + features * squared error of the classifier's own features (deep feature
    consistency, Hou et al., arXiv 1610.00291; the paper's reference 9)
    + beta * KL; beta grows from 0 to its value in the first `warm` share of the steps.
    calibrated: that value is twice the variance that suits the batch best, squared error / 3,072, so
    beta falls as the decoder learns (optimal sigma-VAE, Rybkin et al., arXiv 2006.13202); `beta` is unused.
    """

    beta: float = 0.02
    detail: float = 0.0
    features: float = 0.0
    warm: float = 0.1
    calibrated: bool = False

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Objective:
        """The objective that parameters of notebook 03 ask for; the rest of them is ignored."""
        return cls(**{name: parameters[name] for name in ("beta", "detail", "features", "calibrated")})


def divergence(mu: Tensor, log_variance: Tensor) -> Tensor:
    """KL of N(mu, sigma^2) from N(0, 1) in nats, per image and dimension (N, latent_dim)."""
    return 0.5 * (mu.square() + log_variance.exp() - 1 - log_variance)


def high_pass(images: Tensor) -> Tensor:
    """What a 3x3 mean takes away: edges and texture (N, 3, H, W) -> same shape."""
    return images - F.avg_pool2d(images, 3, 1, 1, count_include_pad=False)


def train_vae(
    vae: VAE,
    images: np.ndarray,
    schedule: Schedule,
    *,
    path: ComputePath,
    objective: Objective,
    classifier: nn.Module | None = None,
    heldout: np.ndarray | None = None,
    measure_every: int = 0,
    watch: Callable[[], Mapping[str, float]] | None = None,
    freeze_steps: int = 0,
    patience: int = 0,
    checkpoint: Path | None = None,
    title: str = "VAE",
) -> list[dict]:
    """Train in place on uint8 images (N, 32, 32, 3), mirrored left-right at random.

    `classifier` gives the features of the objective, if they weigh anything. `heldout`
    images are measured (`elbo`) every `measure_every` steps; `watch` gives further measures to go with it.
    `freeze_steps`: the encoder's body keeps the transferred weights so long. `patience`: the training
    ends when the held-out ELBO has not gained for so many measurements, and the best weights are kept (0: all
    steps, the last weights). Returns the history.
    """
    path.place(vae)
    data = on_device(images, path)
    if objective.features and classifier is None:
        raise ValueError(
            "objective.features: found a weight but no classifier, expected one to take features from"
        )
    body = path.place(classifier).body.eval().requires_grad_(False) if objective.features else None
    latent = vae.encoder.mu.out_features

    def forward(batch: Tensor, epsilon: Tensor, beta: Tensor):
        x = image_batch(batch)
        with path.autocast():
            made, mu, log_variance = vae(x, epsilon)
        made = made.float()
        squared = (made - x).square().sum((1, 2, 3)).mean()
        kl = divergence(mu.float(), log_variance.float()).sum(1).mean()
        if objective.calibrated:
            beta = beta * (2 * squared.detach() / x[0].numel())
        loss = squared + beta * kl
        if objective.detail:
            loss = loss + objective.detail * high_pass(made - x).square().sum((1, 2, 3)).mean()
        if body is not None:
            with path.autocast():
                distance = F.mse_loss(body(made).float(), body(x).float())
            loss = loss + objective.features * distance * x[0].numel()
        return loss, squared, kl

    forward = path.compile(forward, schedule.images_compiled_for())

    def draw(step: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
        random = generator(schedule.seed, 3, step)
        flip, _ = draw_augmentation(size, random)
        full = 1.0 if objective.calibrated else objective.beta
        beta = full * min(1.0, (step + 1) / max(1.0, objective.warm * schedule.steps))
        return flip, torch.randn(size, latent, generator=random), torch.tensor(beta)

    batches = schedule.batches(len(data), path.device, draw)

    def frozen(step: int) -> bool:
        if step < freeze_steps:  # weights and running statistics
            vae.encoder.body.eval()
        vae.encoder.body.requires_grad_(step >= freeze_steps)
        return step < freeze_steps

    def batch_loss(_, rows: Tensor, flip: Tensor, epsilon: Tensor, beta: Tensor):
        loss, squared, kl = forward(augment(data.index_select(0, rows), flip), epsilon, beta)
        return loss, {"squared_error": squared.detach(), "kl": kl.detach()}

    def after(step: int) -> dict:
        found = elbo(vae, heldout, path)
        measured = {f"heldout_{name}": value for name, value in found.items() if name != "kl_per_dimension"}
        return measured | dict(watch() if watch else {})

    seen = body.state_dict().values() if body is not None else ()
    chosen_by = (heldout,) if patience and heldout is not None else ()
    history = fit(
        vae,
        batches,
        batch_loss,
        schedule,
        path=path,
        phases=frozen,
        checkpoint=checkpoint,
        settings=(images, objective, freeze_steps, path, *chosen_by, *(t.cpu().numpy() for t in seen)),
        title=title,
        after=after if heldout is not None else None,
        after_every=measure_every,
        stopping=EarlyStopping("heldout_elbo", patience) if patience else None,
    )
    if body is not None:
        classifier.requires_grad_(True)
    return history


@torch.inference_mode()
def encode(vae: VAE, images: np.ndarray, path: ComputePath) -> tuple[np.ndarray, np.ndarray]:
    """mu and sigma of the posteriors, float32 (N, latent_dim) each, of uint8 images (N, 32, 32, 3)."""
    path.place(vae).eval()
    found = []
    for start in range(0, len(images), EVALUATION_BATCH):
        block = on_device(images[start : start + EVALUATION_BATCH], path)
        with path.autocast():
            mu, log_variance = vae.encoder(image_batch(block))
        found.append((mu.float().cpu().numpy(), torch.exp(0.5 * log_variance.float()).cpu().numpy()))
    return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])


@torch.inference_mode()
def decode(vae: VAE, codes: np.ndarray, path: ComputePath) -> np.ndarray:
    """Images uint8 (N, 32, 32, 3) from codes float (N, latent_dim): the decoder's means, rounded."""
    path.place(vae).eval()
    found = np.empty((len(codes), 32, 32, 3), np.uint8)
    for start in range(0, len(codes), EVALUATION_BATCH):
        block = on_device(np.asarray(codes[start : start + EVALUATION_BATCH], np.float32), path)
        with path.autocast():
            made = vae.decoder(block).float()
        found[start : start + len(block)] = (
            (made * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        )
    return found


def elbo(vae: VAE, images: np.ndarray, path: ComputePath, seed: int = 0) -> dict:
    """Evidence lower bound of images, with one z an image drawn by `seed`.

    nats per image, for a Gaussian decoder whose variance is the one that suits these
    images best (sigma-VAE, Rybkin et al., arXiv 2006.13202): squared_error (sum over
    3,072 values in [0, 1]), kl (nats), elbo (nats), active_units (dimensions with a
    mean KL over 0.01 nats), kl_per_dimension.
    """
    mu, sigma = encode(vae, images, path)
    noise = np.random.default_rng(seed).standard_normal(mu.shape, np.float32)
    made = decode(vae, mu + sigma * noise, path).astype(np.float32)
    squared = float(((made - images) / 255.0).__pow__(2).sum((1, 2, 3)).mean())
    values = images[0].size
    kl = divergence(torch.from_numpy(mu), 2 * torch.from_numpy(sigma).log()).mean(0).numpy()
    likelihood = -0.5 * values * (math.log(2 * math.pi * squared / values) + 1)
    return {
        "squared_error": squared,
        "kl": float(kl.sum()),
        "elbo": likelihood - float(kl.sum()),
        "active_units": int((kl > 0.01).sum()),
        "kl_per_dimension": kl.tolist(),
    }


def reconstruct(vae: VAE, images: np.ndarray, path: ComputePath) -> np.ndarray:
    """Decoded posterior means of uint8 images (N, 32, 32, 3)."""
    return decode(vae, encode(vae, images, path)[0], path)
