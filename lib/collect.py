"""All runs of a profile in one tidy table: `summary/table2.csv`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lib import comparison, evaluation, measurements, runs
from lib.arms import ARMS_WITHOUT_SAMPLES, BEFORE
from lib.published import NONE, VALIDATION, Published
from lib.run_names import parse_run
from lib.settings import Run
from lib.testsets import PROTOCOLS, SUMMER, WINTER, measure, read_answers

NOTEBOOK = "06_evaluation"
LEAK = {"": "gain", "_low": "low", "_high": "high", "_pairs": "pairs"}  # columns of `leak`


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
    control = read_answers(run.need("answers/continued.npz", without=True))
    called = int((control["winter_noncars"].predictions == evaluation.CAR).sum())
    tables = []
    for arm in [*([] if run.numbers else ["none"]), *made["arms"]]:
        file = run.need(f"answers/{arm}.npz")
        found = read_answers(file)
        _same_sets(file, found, control, [] if run.numbers else [PROTOCOLS["paper"]])
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


def _same_sets(file: Path, found: Mapping, control: Mapping, more: Sequence[str]) -> None:
    """InputError if two classifiers were asked about other objects; `more`: sets that variants change."""
    for name in (SUMMER["test"], *WINTER["test"], *more):
        if not evaluation.same_objects(found[name], control[name]):
            expected = f"the {len(control[name].labels)} that the control answered about"
            raise runs.InputError(file, f"{len(found[name].labels)} other objects in {name}", expected)


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


def kept_nothing(profile: str, names: list[str], published: Published = NONE) -> set[tuple[str, int, str]]:
    """(split, n_winter, arm) of the arms in part of which no run kept anything: the classifier before."""
    shares: dict[tuple[str, int, str], list[float]] = {}
    for name in names:
        run, made = _run(profile, name), _metrics(profile, name, "retraining", published)
        for arm, kept in made["kept"].items():
            shares.setdefault((run.split, made["n_winter"], arm), []).append(kept["share"])
    return {key for key, found in shares.items() if not any(found)}


def validation_rows(found: dict[tuple[str, int, int], dict[str, dict[str, float]]]) -> pd.DataFrame:
    """`validation` as a table, a row a measure: split, n_winter, seed, arm, metric, value."""
    rows = [
        {"split": split, "n_winter": n_winter, "seed": seed, "arm": arm, "metric": metric, "value": value}
        for (split, n_winter, seed), arms in found.items()
        for arm, values in arms.items()
        for metric, value in values.items()
    ]
    return pd.DataFrame(rows, columns=VALIDATION)


def same_objects(
    profile: str, names: list[str], bars: dict[tuple[str, int], str], published: Published = NONE
) -> list[dict]:
    """McNemar's test of every arm against the control and the bar (`comparison.bar`), within each run.

    Rows: run, arm, against, set (winter_heldout, winter_noncars: called car or not; summer: the class),
    only_first (right by the arm alone), only_second, p, difference, low, high (`comparison.mcnemar`).
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
                    | comparison.mcnemar(read[arm][key], read[other][key], key != "summer")
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
    taken = [made["n_winter_taken"] for made in found]
    if all(number >= made["n_winter"] for number, made in zip(taken, found, strict=True)):
        return ""
    low, high = min(taken), max(taken)
    return f", {low:,}{f' to {high:,}' if high > low else ''} winter cars found"


def leak(table: pd.DataFrame) -> pd.DataFrame:
    """How much of an arm's gain is there for W alone, the generator's own training cars.

    The two protocols ask about other cars, so even the classifier before, which has seen none of them, knows
    one set better: what an arm's difference exceeds that one's by is the leak, paired by seed. table: tidy
    rows. Columns: split, n_winter, n_synthetic, winter, arm, heldout and paper (means), paper_minus_heldout,
    and of the leak its mean, low, high and pairs (`comparison.paired_test`); None where the classifier before
    was not asked about the same W (a variant).
    """
    recall = table[table["metric"] == "winter_car_recall"]
    where = ["split", "n_winter", "n_synthetic", "winter", "arm"]
    wide = recall.pivot_table(index=[*where, "seed"], columns="protocol", values="value")
    wide = wide.dropna().reset_index()
    wide["difference"] = wide["paper"] - wide["heldout"]
    objects = ["split", "n_winter", "winter", "seed"]
    before = wide[wide["arm"] == BEFORE].set_index(objects)["difference"].rename("before")
    wide = wide.join(before, on=objects)
    rows = []
    for key, part in wide.groupby(where, sort=True):
        paired = part.dropna(subset="before")
        told = comparison.paired_test(paired["difference"] - paired["before"]) if len(paired) else {}
        row = dict(zip(where, key, strict=True)) | part[["heldout", "paper"]].mean().to_dict()
        rows.append(row | {"paper_minus_heldout": part["difference"].mean()}
                    | {f"leak{end}": told.get(name) for end, name in LEAK.items()})  # fmt: skip
    columns = [*where, "heldout", "paper", "paper_minus_heldout", *(f"leak{end}" for end in LEAK)]
    return pd.DataFrame(rows, columns=columns)
