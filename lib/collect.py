"""All runs of a profile in one tidy table: `summary/table2.csv`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from lib import evaluation, runs
from lib.settings import ROOT, Run, parse_run
from lib.testsets import PROTOCOLS, read_answers


def _command(profile: str, name: str) -> str:
    """What makes the files of a run."""
    return Run(profile, *parse_run(name), "06_evaluation").command()


def run_rows(profile: str, name: str) -> pd.DataFrame:
    """Every measurement of one run, from the answers that notebooks 02 and 05 kept."""
    split, seed = parse_run(name)
    folder = ROOT / "runs" / profile / name
    command = _command(profile, name)
    about = runs.read_json(runs.require(folder / "metrics/data.json", command))
    made = runs.read_json(runs.require(folder / "metrics/retraining.json", command))
    if "arms" not in made:
        raise runs.InputError(folder / "metrics/retraining.json", "no arms", f"a run of this code: {command}")
    tables = []
    for arm in ["none", *made["arms"]]:
        found = read_answers(runs.require(folder / f"answers/{arm}.npz", command))
        n_synthetic = 0 if arm in evaluation.ARMS_WITHOUT_SAMPLES else made["n_synthetic"]
        tables.append(
            evaluation.predictions_to_rows(
                arm,
                split,
                about["n_winter"]["taken"],
                n_synthetic,
                seed,
                found["summer"],
                {protocol: found[key] for protocol, key in PROTOCOLS.items()},
                found["winter_noncars"],
                about["winter"],
                noncars=evaluation.noncars_winter(about),
            )
        )
    return pd.concat(tables, ignore_index=True)


def collect(profile: str, names: list[str]) -> pd.DataFrame:
    """The tidy table over all runs, in the order of `names`; see `evaluation.COLUMNS`."""
    if not names:
        raise runs.InputError("runs", "none", "at least one run, such as seed0")
    return pd.concat([run_rows(profile, name) for name in names], ignore_index=True)


def over_runs(profile: str, names: list[str], file: str, *keys: str) -> list:
    """One value of a metrics file for every run, for example ("generation", "sharpness_ratio").

    Raises MissingStep for a file that is not there; without keys, the whole content.
    """
    found = []
    for name in names:
        path = ROOT / "runs" / profile / name / "metrics" / f"{file}.json"
        value = runs.read_json(runs.require(path, _command(profile, name)))
        for key in keys:
            value = value[key]
        found.append(value)
    return found


def summary_folder(profile: str) -> Path:
    """Where the summary over all runs lies."""
    return ROOT / "runs" / profile / "summary"


def leak(summary: pd.DataFrame) -> pd.DataFrame:
    """Winter-car recall by protocol, and paper minus held-out, for each split, arm and winter."""
    recall = summary[summary["metric"] == "winter_car_recall"]
    setting = ["split", "arm", "winter"]
    wide = recall.pivot_table(index=setting, columns="protocol", values="mean").reset_index()
    wide["paper_minus_heldout"] = wide["paper"] - wide["heldout"]
    wide.columns.name = None
    return wide
