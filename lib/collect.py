"""All runs of a profile in one tidy table: `summary/table2.csv`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from lib import comparison, evaluation, measurements, runs
from lib.arms import ARMS_WITHOUT_SAMPLES
from lib.published import NONE, Published
from lib.run_names import parse_run
from lib.settings import Run
from lib.testsets import PROTOCOLS, WINTER, measure, read_answers

NOTEBOOK = "06_evaluation"


def _run(profile: str, name: str) -> Run:
    """A run, seen from the notebook that collects."""
    return Run.named(profile, parse_run(name), NOTEBOOK)


def _metrics(profile: str, name: str, file: str, published: Published) -> Any:
    """The content of a run's metrics/<file>.json."""
    if name in published:
        return published.metrics(name, file)
    return runs.read_json(_run(profile, name).need(f"metrics/{file}.json"))


def run_rows(profile: str, name: str) -> pd.DataFrame:
    """Every measurement of one run, from the answers that notebooks 02 and 05 kept.

    A variant has no rows of the classifier before: those of the run that it starts from are the same.
    """
    run = _run(profile, name)
    about = runs.read_json(run.need("metrics/data.json"))
    made = runs.read_json(run.need("metrics/retraining.json"))
    for key in ("arms", "n_winter"):
        if key not in made:
            expected = f"a run of this code: {run.command()}"
            raise runs.InputError(run.path("metrics/retraining.json"), f"no {key}", expected)
    control = read_answers(run.need("answers/continued.npz", without=True))["winter_noncars"]
    called = int((control.predictions == evaluation.CAR).sum())
    tables = []
    for arm in [*([] if run.numbers else ["none"]), *made["arms"]]:
        found = read_answers(run.need(f"answers/{arm}.npz"))
        n_synthetic = 0 if arm in ARMS_WITHOUT_SAMPLES else made["n_synthetic"]
        tables.append(
            measurements.predictions_to_rows(
                arm,
                run.split,
                made["n_winter"],
                n_synthetic,
                run.seed,
                found["summer"],
                {protocol: found[key] for protocol, key in PROTOCOLS.items()},
                found["winter_noncars"],
                about["winter"],
                noncars=evaluation.noncars_winter(about),
                called=called,
            )
        )
    return pd.concat(tables, ignore_index=True)


def collect(profile: str, names: list[str], published: Published = NONE) -> pd.DataFrame:
    """The tidy table over all runs, in the order of `names`; see `measurements.COLUMNS`.

    Runs that are in `published` are read from the committed numbers, here and below.
    """
    if not names:
        raise runs.InputError("runs", "none", "at least one run, such as seed0")
    tables = [published.rows(n) if n in published else run_rows(profile, n) for n in names]
    return pd.concat(tables, ignore_index=True)


def validation(
    profile: str, names: list[str], published: Published = NONE
) -> dict[tuple[str, int, int], dict[str, dict[str, float]]]:
    """(split, n_winter, seed) -> arm -> measures on the validation part, for choosing a baseline.

    Runs that have no validation winter cars of their own (a short flight) are left out.
    """
    found: dict[tuple[str, int, int], dict[str, dict[str, float]]] = {}
    for name in names:
        run = _run(profile, name)
        made = _metrics(profile, name, "retraining", published)
        if name in published:
            measures = published.validation(name)
        else:
            answers = {arm: read_answers(run.need(f"answers/{arm}.npz")) for arm in made["arms"]}
            own = {arm: told for arm, told in answers.items() if set(WINTER["valid"]) <= told.keys()}
            measures = {arm: measure(told, "valid") for arm, told in own.items()}
        for arm, values in measures.items():
            found.setdefault((run.split, made["n_winter"], run.seed), {}).setdefault(arm, values)
    return found


def validation_rows(found: dict[tuple[str, int, int], dict[str, dict[str, float]]]) -> pd.DataFrame:
    """`validation` as a table, a row a measure: split, n_winter, seed, arm, metric, value."""
    rows = [
        {"split": split, "n_winter": n_winter, "seed": seed, "arm": arm, "metric": metric, "value": value}
        for (split, n_winter, seed), arms in found.items()
        for arm, values in arms.items()
        for metric, value in values.items()
    ]
    return pd.DataFrame(rows, columns=["split", "n_winter", "seed", "arm", "metric", "value"])


def same_objects(
    profile: str, names: list[str], bars: dict[tuple[str, int], str], published: Published = NONE
) -> list[dict]:
    """McNemar's test of every arm against the control and the bar (`comparison.bar`), within each run.

    Rows: run, arm, against, set (winter_heldout, winter_noncars, summer), only_first (right by the arm
    alone), only_second, p, difference, low, high (`comparison.mcnemar`).
    """
    rows = []
    for name in names:
        if name in published:
            rows += published.same_objects(name)
            continue
        run = _run(profile, name)
        made = runs.read_json(run.need("metrics/retraining.json"))
        read = {arm: read_answers(run.need(f"answers/{arm}.npz")) for arm in made["arms"]}
        read["continued"] = read_answers(run.need("answers/continued.npz", without=True))
        best = bars.get((run.split, made["n_winter"]))
        if best and best not in read and run.name.n_synthetic is not None:
            # a run with other numbers of new cars: that with the profile's own asked the same objects
            alike = Run.named(profile, run.name._replace(n_synthetic=None), NOTEBOOK)
            if best in runs.read_json(alike.need("metrics/retraining.json"))["arms"]:
                read[best] = read_answers(alike.need(f"answers/{best}.npz"))
        for other in dict.fromkeys(("continued", best)):
            for arm in made["arms"]:
                if other not in read or arm in (other, "continued"):
                    continue
                rows += [
                    {"run": name, "arm": arm, "against": other, "set": key}
                    | comparison.mcnemar(read[arm][key], read[other][key])
                    for key in ("winter_heldout", "winter_noncars", "summer")
                ]
    return rows


def over_runs(profile: str, names: list[str], file: str, *keys: str, published: Published = NONE) -> list:
    """One value of a metrics file for every run, for example ("generation", "sharpness_ratio").

    Raises MissingStep for a file that is not there; without keys, the whole content.
    """
    found = []
    for name in names:
        value = _metrics(profile, name, file, published)
        for key in keys:
            value = value[key]
        found.append(value)
    return found


def fewer_winter_cars(profile: str, names: list[str], published: Published = NONE) -> str:
    """What to add to a caption where runs found fewer winter cars than were asked for; else nothing."""
    found = [_metrics(profile, name, "retraining", published) for name in names]
    taken = [made.get("n_winter_taken", made["n_winter"]) for made in found]
    if all(number >= made["n_winter"] for number, made in zip(taken, found, strict=True)):
        return ""
    low, high = min(taken), max(taken)
    return f", {low:,}{f' to {high:,}' if high > low else ''} winter cars found"


def summary_folder(profile: str) -> Path:
    """Where the summary over all runs lies."""
    return Run(profile, "object", None, NOTEBOOK).folder


def leak(summary: pd.DataFrame) -> pd.DataFrame:
    """Winter-car recall by protocol, and paper minus held-out, for each split, arm and winter."""
    recall = summary[summary["metric"] == "winter_car_recall"]
    setting = ["split", "arm", "winter"]
    wide = recall.pivot_table(index=setting, columns="protocol", values="mean").reset_index()
    wide["paper_minus_heldout"] = wide["paper"] - wide["heldout"]
    wide.columns.name = None
    return wide
