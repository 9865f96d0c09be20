"""Numerical stability: which of several initialisations the main training starts from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from lib.acceleration import ComputePath
from lib.batches import Schedule, torch_seed
from lib.training import train_classifier


def stabilise(
    build: Callable[[], nn.Module],
    images: np.ndarray,
    labels: np.ndarray,
    *,
    seed: int,
    path: ComputePath,
    candidates: int = 3,
    steps: int = 12,
    rate: float = 1e-4,
    batch_size: int = 64,
) -> tuple[nn.Module, dict]:
    """Numerical stability before the main training (paper, section 5, and its reference 11).

    Draws several initialisations, gives each the same short warm-up at a low rate on
    the same batches, and keeps the steadiest: the one whose loss falls with the least
    spread around its own straight line, among those whose loss fell at all. Returns the
    warmed-up network and a report with every candidate's losses.
    """
    report, networks = [], []
    rows = np.random.default_rng(seed).permutation(len(images))[: steps * batch_size]
    for number in range(candidates):
        torch.manual_seed(torch_seed(seed, number))
        model = build()
        history = train_classifier(
            model,
            images[rows],
            labels[rows],
            Schedule(steps, batch_size, rate, seed),
            path=path,
            log_every=1,
            title="warm-up",
        )
        losses = np.array([row["loss"] for row in history])
        slope, start = np.polyfit(np.arange(len(losses)), losses, 1)
        spread = float(np.std(losses - slope * np.arange(len(losses)) - start))
        report.append(
            {"candidate": number, "losses": losses.tolist(), "slope": float(slope), "spread": spread}
        )
        networks.append(model)
    falling = [r for r in report if r["slope"] < 0] or report
    kept = min(falling, key=lambda r: (r["spread"], r["candidate"]))["candidate"]
    return networks[kept], {"kept": kept, "rate": rate, "steps": steps, "candidates": report}
