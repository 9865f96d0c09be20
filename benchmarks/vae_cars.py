"""What a run's autoencoder learns from and is measured on, and how: for the benchmarks of autoencoders."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lib import data, runs, settings
from lib.autoencoding import Objective
from lib.division import Division
from lib.settings import Run
from lib.testsets import summer_cars, test_sets, winter_cars

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
