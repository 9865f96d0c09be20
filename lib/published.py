"""Runs of a profile whose numbers are committed, while their files are gone or on another machine.

A grid of many seeds may take days and several machines: each publishes what it ran, and the next summary
takes the committed runs in beside its own. All that a summary needs of a run is in figures/<profile>/: its
rows in table2.csv, validation.csv and mcnemar.json, its metrics in metrics/<run>/.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from lib import runs, settings
from lib.arms import ARMS_WITHOUT_SAMPLES, BEFORE
from lib.measurements import read_table2
from lib.run_names import made_by, parse_run
from lib.runs import InputError

TRAINING = (
    "01_data_preparation", "02_classifier_training", "03_vae_transfer", "04_generation", "05_retraining",
)  # fmt: skip
VALIDATION = ("split", "n_winter", "seed", "arm", "metric", "value")  # columns of validation.csv
FREE = (*settings.FREE, "profile", "arms", "starts")  # in these runs of one table may differ


def folder_of(profile: str) -> Path:
    """Where a profile's committed numbers are."""
    return settings.ROOT / "figures" / profile


def elsewhere(profile: str, run_names: Iterable[str]) -> list[str]:
    """The committed runs of a profile that are not among `run_names`; none where nothing is committed."""
    file = folder_of(profile) / "evaluation.json"
    if not file.exists():
        return []
    return [name for name in runs.read_json(file)["runs"] if name not in set(run_names)]


def ordered(run_names: Iterable[str]) -> list[str]:
    """Runs in an order of their own, whichever machine they are from: variants last, by split, by seed."""

    def place(name: str) -> tuple:
        run = parse_run(name)
        return bool(run.numbers()), run.n_winter or 0, run.n_synthetic or 0, run.split, run.seed

    return sorted(run_names, key=place)


@dataclass(frozen=True)
class Published:
    """The committed runs of a profile that a summary takes in; of no run, nothing is read."""

    profile: str
    names: tuple[str, ...] = ()

    def __contains__(self, name: str) -> bool:
        return name in self.names

    @property
    def folder(self) -> Path:
        return folder_of(self.profile)

    @cached_property
    def table(self) -> pd.DataFrame:
        """Every committed measurement of the profile, also of runs that are not among `names`."""
        return read_table2(self.folder / "table2.csv")

    @cached_property
    def _validation(self) -> pd.DataFrame:
        file = self.folder / "validation.csv"
        runs.require(file, f"make publish PROFILE={self.profile}")
        table = pd.read_csv(file, keep_default_na=False)
        if tuple(table.columns) != VALIDATION:
            raise InputError(file, f"columns {','.join(table.columns)}", ",".join(VALIDATION), 1)
        values = pd.to_numeric(table["value"], errors="coerce")
        if not (good := values.between(0, 1)).all():
            line = int(good.to_numpy().argmin()) + 2
            raise InputError(file, f"value {table['value'][line - 2]}", "a share in [0, 1]", line)
        return table.assign(value=values)

    def metrics(self, name: str, file: str) -> Any:
        """The content of a run's metrics/<file>.json; of a variant without one, of the run it starts from."""
        path = runs.require(self._metrics_file(name, file), f"make publish PROFILE={self.profile}")
        return runs.read_json(path)

    def _metrics_file(self, name: str, file: str) -> Path:
        maker = parse_run(name).maker(made_by(f"metrics/{file}.json", TRAINING[-1]))
        return self.folder / "metrics" / str(maker) / f"{file}.json"

    def _own(self, table: pd.DataFrame, name: str) -> tuple[pd.Series, dict[str, Any]]:
        run, made = parse_run(name), self.metrics(name, "retraining")
        for key in ("arms", "n_winter", "n_synthetic"):
            if key not in made:
                found = self._metrics_file(name, "retraining")
                raise InputError(found, f"no {key}", "a run published by this code")
        own = (table["split"] == run.split) & (table["seed"] == run.seed)
        return own & (table["n_winter"] == made["n_winter"]), made

    def rows(self, name: str) -> pd.DataFrame:
        """A run's rows of Table 2, as `collect.run_rows` gives them."""
        own, made = self._own(self.table, name)
        before = [] if parse_run(name).numbers() else [BEFORE]
        number = self.table["arm"].map(lambda arm: 0 if arm in ARMS_WITHOUT_SAMPLES else made["n_synthetic"])
        own &= self.table["arm"].isin([*before, *made["arms"]]) & (self.table["n_synthetic"] == number)
        if not own.any():
            raise InputError(self.folder / "table2.csv", f"no row of {name}", "every run of evaluation.json")
        return self.table[own].reset_index(drop=True)

    def validation(self, name: str) -> dict[str, dict[str, float]]:
        """Arm -> measures on the validation part."""
        own, made = self._own(self._validation, name)
        rows = self._validation[own & self._validation["arm"].isin(made["arms"])]
        found: dict[str, dict[str, float]] = {}
        for row in rows.to_dict("records"):
            found.setdefault(row["arm"], {})[row["metric"]] = row["value"]
        if found and (lacking := [arm for arm in made["arms"] if arm not in found]):
            file = self.folder / "validation.csv"
            raise InputError(file, f"no {', '.join(lacking)} of {name}", "all of its arms")
        return found

    def same_objects(self, name: str) -> list[dict]:
        """A run's rows of `collect.same_objects`, against what they were published against."""
        return [row for row in runs.read_json(self.folder / "mcnemar.json") if row["run"] == name]


NONE = Published("")  # only runs of this machine


def take_in(profile: str, run_names: list[str]) -> Published:
    """The committed runs of a profile beside those of this machine.

    InputError if they are of other data, or trained with other parameters, than the runs here will be.
    """
    found = Published(profile, tuple(elsewhere(profile, run_names)))
    if not found.names:
        return found
    file = found.folder / "provenance.json"
    origin = runs.read_json(file)
    data = (("data", "fingerprint", "crops"), ("winter pictures", "winter_fingerprint", "winter"))
    for what, key, folder in data:
        committed = origin["data"].get(key)  # the second is there for a user's own winter pictures alone
        if committed is None:
            continue
        store = settings.ROOT / "runs" / profile / folder / "store.json"
        ours = runs.read_json(runs.require(store, f"make reproduce PROFILE={profile}"))["fingerprint"]
        if committed != ours:
            raise InputError(file, f"{what} {committed[:12]}", f"those of this machine, {ours[:12]}")
    for notebook in set(TRAINING) & set(origin["parameters"]):
        committed = origin["parameters"][notebook]
        for key, value in settings.values(profile, notebook).items():
            if key in committed and key not in FREE and committed[key] != value:
                wanted = f"{value!r}, as the profile says"
                raise InputError(file, f"{notebook}, {key} = {committed[key]!r}", wanted)
    return found
