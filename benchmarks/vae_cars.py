"""What a run's autoencoder learns from and is measured on, and how: for the benchmarks of autoencoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from lib import data, runs, settings
from lib.acceleration import ComputePath, choose_path
from lib.autoencoding import Objective
from lib.division import Division
from lib.run_names import parse_run
from lib.settings import Run
from lib.testsets import summer_cars, test_sets, winter_cars
from lib.weights import load_classifier

DEFAULTS = settings.values("embedded", "03_vae_transfer")  # of notebook 03: steps, batch_size, rate, ...
OBJECTIVE = Objective.of(DEFAULTS)


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
    run = Run.named(folder.resolve().parent.name, parse_run(folder.name), name)
    cars, path = read_cars(run), choose_path()
    return Opened(run, cars, path.place(load_classifier(run.need("judge.safetensors"))[0]), path)


def earlier(target: Path, about: dict[str, Any], key: str) -> dict:
    """What a benchmark has written so far under `key`; nothing where it was measured in another way."""
    kept = runs.read_json(target) if target.exists() else {}
    return kept.get(key, {}) if {name: kept.get(name) for name in about} == about else {}
