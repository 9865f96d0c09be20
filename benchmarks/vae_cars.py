"""What a run's autoencoder learns from and is measured on, and how: for the benchmarks of autoencoders."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from lib import data, runs, settings
from lib.acceleration import ComputePath, choose_path
from lib.autoencoding import Objective, elbo
from lib.division import Division
from lib.models import VAE, Classifier, build_vae
from lib.settings import Run
from lib.testsets import summer_cars, test_sets, winter_cars
from lib.weights import load_classifier, transfer

DEFAULTS = settings.values("embedded", "03_vae_transfer")  # of notebook 03: steps, batch_size, rate, ...
OBJECTIVE = Objective.of(DEFAULTS)
BATCH, RATE = DEFAULTS["batch_size"], DEFAULTS["rate"]


class Cars(NamedTuple):
    """Crops uint8 (n, 32, 32, 3); the held-out ones are winter cars of the validation part."""

    winter: np.ndarray
    summer: np.ndarray
    heldout: np.ndarray

    @property
    def learnt(self) -> np.ndarray:
        """What notebook 03 trains on: CSCDroneCL, winter cars and VisDrone cars."""
        return np.concatenate([self.winter, self.summer])


def read_cars(run: Run) -> Cars:
    """InputError where notebook 01 has not run."""
    division = Division.read(run.need("division.npz"))
    store, own = data.open_stores(run, runs.read_json(run.need("metrics/data.json"))["winter"])
    return Cars(
        winter_cars(store, division, own).images,
        summer_cars(store, division).images,
        test_sets(store, division, own)["valid_winter_cars"].images,
    )


class Opened(NamedTuple):
    """A run with notebooks 01 to 04, ready to be measured."""

    run: Run
    cars: Cars
    judge: nn.Module
    path: ComputePath


def open_run(folder: Path, name: str) -> Opened:
    """The run of a folder such as runs/visdrone-val/seed0, for a benchmark of this name."""
    run = Run.at(folder, name)
    cars, path = read_cars(run), choose_path()
    return Opened(run, cars, path.place(load_classifier(run.need("judge.safetensors"))[0]), path)


def build(run: Run, latent_dim: int, start: str = "transferred") -> tuple[Classifier, VAE]:
    """The run's classifier, and an autoencoder from one of the starts of notebook 03."""
    classifier, numbers = load_classifier(run.need("classifier.safetensors"))
    torch.manual_seed(run.seed)
    vae = build_vae(numbers["groups"], numbers["width"], numbers["compression"], latent_dim)
    if start != "scratch":
        transfer(classifier, vae, start == "mirrored")
    return classifier, vae


def bound(vae: VAE, images: np.ndarray, path: ComputePath) -> dict[str, float]:
    """`elbo` without what it says of each dimension."""
    return {key: value for key, value in elbo(vae, images, path).items() if key != "kl_per_dimension"}


def read_options(
    purpose: str, names: Iterable[str], arguments: Sequence[str] | None
) -> argparse.Namespace:
    """Command line of a benchmark that measures several autoencoders of a run: run, steps, only."""
    parser = argparse.ArgumentParser(description=purpose)
    parser.add_argument("run", type=Path, help="such as runs/visdrone-val/seed0")
    parser.add_argument("--steps", type=int, default=DEFAULTS["steps"], help="default: notebook 03's")
    parser.add_argument("--only", nargs="+", choices=list(names), default=list(names), metavar="NAME")
    return parser.parse_args(arguments)


def conditions(opened: Opened, steps: int, images: int) -> dict[str, Any]:
    """What must be the same for results to stand beside each other."""
    return {
        "run": f"{opened.run.profile}/{opened.run.name}", "steps": steps, "batch_size": BATCH, "rate": RATE,
        "images": images, "n_heldout": len(opened.cars.heldout), "precision": opened.path.precision,
    }  # fmt: skip


def earlier(target: Path, about: dict[str, Any], key: str) -> dict:
    """What a benchmark has written so far under `key`; nothing where it was measured in another way."""
    kept = runs.read_json(target) if target.exists() else {}
    return kept.get(key, {}) if {name: kept.get(name) for name in about} == about else {}
