"""Accuracy with intervals, and the paper's Table 2 in a form that can be believed.

The "accuracy for the class Cars" of the paper (section 5, Table 2) is the recall of
cars, and a classifier that calls everything a car has 100 %. So a row here never
comes alone: precision, non-cars called car (in summer, and under the same snow) and
the overall accuracy go with it. All measures are shares in [0, 1].
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from lib.arms import ARMS
from lib.arms import BEFORE as BEFORE  # offered here too
from lib.arms import CONTROL as CONTROL
from lib.intervals import DRAWS, ROUNDING, Measure, bootstrap_at_share, over_seeds, ratio_over_seeds, share
from lib.intervals import bootstrap_by_sequence as bootstrap_by_sequence  # offered here too
from lib.intervals import wilson as wilson
from lib.runs import InputError
from lib.visdrone import CLASSES

CAR = CLASSES.index("car")
PROTOCOLS = ("paper", "heldout")
SPLITS = ("object", "sequence")
ARMS_WITHOUT_SAMPLES = tuple(name for name, arm in ARMS.items() if not arm.samples)  # n_synthetic is 0
SIMULATED = "simulated winter"  # the label of every number that drawn snow made
NONCARS = "winter_noncar_called_car"  # may be of another winter than the cars, see `noncars_winter`
COLUMNS = (
    "arm", "protocol", "split", "n_winter", "n_synthetic", "seed", "metric",
    "value", "low", "high", "numerator", "denominator", "winter",
)  # fmt: skip
GROUP = ["arm", "protocol", "split", "n_winter", "n_synthetic", "winter", "metric"]
RECALLS = tuple("recall_" + name.replace(" ", "_") for name in CLASSES)
EQUAL_SHARE = "winter_car_recall_equal_share"  # with as many winter non-cars called car as the control has
METRICS = (
    "winter_car_recall", EQUAL_SHARE, "winter_noncar_called_car", "car_recall", "car_precision",
    "noncar_called_car", "accuracy", *RECALLS,
)  # fmt: skip
# how far an arm may move and still count as better: at most 2 points up, at most 1 point down
LIMITS = {"winter_noncar_called_car": 0.02, "noncar_called_car": 0.02, "car_recall": -0.01}


class Answers(NamedTuple):
    """A classifier's answers on one test set, n objects."""

    labels: np.ndarray  # (n,) int, 0..5
    predictions: np.ndarray  # (n,) int, 0..5
    sequences: np.ndarray | None  # (n,) str, the recording that an object is from
    car: np.ndarray | None = None  # (n,) float, the probability of the class car, where it is known


def answers(labels, predictions, sequences=None, name: str = "test set") -> Answers:
    """Check one test set. `predictions`: labels (n,) or class probabilities (n, 6).

    Raises InputError if it is empty, of unequal lengths, or holds other labels than 0..5.
    """
    labels, predictions, car = np.asarray(labels), np.asarray(predictions), None
    if labels.ndim != 1 or len(labels) == 0:
        raise InputError(name, f"labels of shape {labels.shape}", "at least one object, shape (n,)")
    if predictions.ndim == 2 and predictions.shape[1] == len(CLASSES):
        if not np.isfinite(predictions).all():
            raise InputError(name, "probabilities that are not finite", "numbers in [0, 1]")
        car, predictions = predictions[:, CAR], predictions.argmax(axis=1)
    for what, array in (("labels", labels), ("predictions", predictions)):
        if array.shape != labels.shape or not np.issubdtype(array.dtype, np.integer):
            raise InputError(name, f"{what} of shape {array.shape}, type {array.dtype}",
                             f"{len(labels)} integers or, for predictions, ({len(labels)}, {len(CLASSES)})")
        if array.min() < 0 or array.max() >= len(CLASSES):
            raise InputError(name, f"{what} {array.min()}..{array.max()}", f"0..{len(CLASSES) - 1}")
    if sequences is not None:
        sequences = np.asarray(sequences).astype(str)
        if sequences.shape != labels.shape:
            raise InputError(name, f"sequences of shape {sequences.shape}", f"{len(labels)} names")
    return Answers(labels.astype(np.int64), predictions.astype(np.int64), sequences, car)


def summer_measures(summer: Answers, draws: int = DRAWS, seed: int = 0) -> dict[str, Measure]:
    """Accuracy, cars' recall and precision, non-cars called car, recall of each class that occurs."""
    labels, said, sequences, _ = summer
    car, called = labels == CAR, said == CAR
    if not car.any() or car.all():
        raise InputError("summer test set", f"{int(car.sum())} cars of {len(car)}", "cars and non-cars")
    pairs = {
        "car_recall": (called, car),
        "car_precision": (car, called),
        "noncar_called_car": (called, ~car),
        "accuracy": (said == labels, np.ones(len(labels), bool)),
    }
    pairs |= {name: (said == k, labels == k) for k, name in enumerate(RECALLS) if (labels == k).any()}
    return {name: share(hits, of, sequences, draws, seed) for name, (hits, of) in pairs.items()}


def recall_at_share(cars, noncars, called: int, sequences=None, noncar_sequences=None, draws: int = DRAWS,
                    seed: int = 0) -> Measure:
    """Recall of cars where as many as `called` of the non-cars, fewer where they tie, count as cars.

    cars, noncars: probabilities of the class car, (n,) and (m,), of cars and of other objects. An object
    counts as a car if its probability is higher than that of the (called + 1)-th non-car. The interval is
    that of both sets drawn anew by recording, the threshold with them; Wilson's for none or all of the cars.
    Raises InputError for a number that is not in 0..m, or no non-car.
    """
    cars, noncars = np.asarray(cars, float), np.asarray(noncars, float)
    if not len(noncars) or not 0 <= called <= len(noncars):
        raise InputError("non-cars called car", f"{called} of {len(noncars)}", "a number of them, from 1")
    threshold = -np.inf if called == len(noncars) else np.sort(noncars)[::-1][called]
    found = share(cars > threshold, np.ones(len(cars), bool))
    if found.numerator in (0, found.denominator):
        return found
    part = called / len(noncars)
    low, high = bootstrap_at_share(cars, noncars, part, sequences, noncar_sequences, draws, seed)
    return found._replace(low=low, high=high)


def winter_measures(cars: Answers, noncars: Answers, draws: int = DRAWS, seed: int = 0,
                    called: int | None = None) -> dict[str, Measure]:
    """Recall of winter cars, and the share of snow-covered non-cars that are called car.

    With `called`, EQUAL_SHARE too: the recall at that number of non-cars called car, whatever the
    threshold; it needs answers with probabilities.
    """
    if (cars.labels != CAR).any():
        raise InputError("winter cars", f"{int((cars.labels != CAR).sum())} other objects", "cars only")
    if (noncars.labels == CAR).any():
        raise InputError("winter non-cars", f"{int((noncars.labels == CAR).sum())} cars", "none")
    everything = {"winter_car_recall": cars, "winter_noncar_called_car": noncars}
    found = {
        name: share(said == CAR, np.ones(len(said), bool), sequences, draws, seed)
        for name, (_, said, sequences, _) in everything.items()
    }
    if called is not None:
        found[EQUAL_SHARE] = recall_at_share(
            cars.car, noncars.car, called, cars.sequences, noncars.sequences, draws, seed
        )
    return found


def noncars_winter(about: Mapping) -> str:
    """Where a run's winter non-cars are from; `about` is its metrics/data.json.

    A user's own winter pictures may hold cars alone: then drawn snow serves for the other classes.
    """
    return about["winter"] if about["noncar_source"] == "own" else SIMULATED


def winter_text(about: Mapping) -> str:
    """The winter of all classes of a run in words; `about` as in `noncars_winter`."""
    others = noncars_winter(about)
    return others if others == about["winter"] else f"{about['winter']} (cars), {others} (others)"


def winter_of(rows: pd.DataFrame, metric: str) -> str:
    """The winter that a metric of a table or summary was measured in."""
    return " and ".join(sorted(set(rows.loc[rows["metric"] == metric, "winter"])))


def confusion_matrix(labels, predictions) -> pd.DataFrame:
    """Counts (6, 6), named by class: a row is the true class, a column the answer."""
    checked = answers(labels, predictions)
    counts = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
    np.add.at(counts, (checked.labels, checked.predictions), 1)
    truth, called = pd.Index(CLASSES, name="class"), pd.Index(CLASSES, name="called")
    return pd.DataFrame(counts, index=truth, columns=called)


def table2_rows(arm: str, protocol: str, split: str, n_winter: int, n_synthetic: int, seed: int,
                metrics: Mapping[str, Measure], winter: str = SIMULATED,
                noncars: str | None = None) -> pd.DataFrame:
    """One arm's measures as rows of the tidy table (COLUMNS).

    `winter`: where the winter crops are from; `noncars`: the same of those of the other classes,
    if they are from somewhere else.
    """
    rows = [(arm, protocol, split, n_winter, n_synthetic, seed, name, *measure,
             noncars if noncars and name == NONCARS else winter)
            for name, measure in metrics.items()]
    return check_table2(pd.DataFrame(rows, columns=COLUMNS), f"arm {arm}")


def predictions_to_rows(arm: str, split: str, n_winter: int, n_synthetic: int, seed: int, summer: Answers,
                        winter_cars: Mapping[str, Answers], winter_noncars: Answers,
                        winter: str = SIMULATED, draws: int = DRAWS, noncars: str | None = None,
                        called: int | None = None) -> pd.DataFrame:
    """Everything that Table 2 says of one classifier: one row a measure and protocol.

    `winter_cars`: protocol -> answers. The summer test set and the winter non-cars are the
    same in both protocols, so their measures are repeated: each protocol's rows are complete.
    `winter`, `noncars` as in `table2_rows`. `called`: how many of the winter non-cars the control calls
    car, for the recall at an equal share.
    """
    shared = summer_measures(summer, draws, seed)
    return pd.concat(
        [table2_rows(arm, protocol, split, n_winter, n_synthetic, seed,
                     winter_measures(cars, winter_noncars, draws, seed, called) | shared, winter, noncars)
         for protocol, cars in winter_cars.items()], ignore_index=True,
    )  # fmt: skip


def _fault(row: Mapping) -> tuple[str, str] | None:
    """What is wrong with one row (found, expected), or None."""
    for column, allowed in (("protocol", PROTOCOLS), ("split", SPLITS), ("metric", METRICS)):
        if row[column] not in allowed:
            return f"{column} {row[column]!r}", " or ".join(allowed)
    if not re.fullmatch(r"[a-z][a-z0-9_]*", str(row["arm"])):
        return f"arm {row['arm']!r}", "a name of small letters, digits and _"
    if not str(row["winter"]).strip():
        return "no winter source", "'simulated winter' or the source's name"
    for column in ("n_winter", "n_synthetic", "seed", "numerator", "denominator"):
        if row[column] < 0:
            return f"{column} {row[column]}", "0 or more"
    if (row["arm"] in ARMS_WITHOUT_SAMPLES) != (row["n_synthetic"] == 0):
        wanted = f"0 for {', '.join(ARMS_WITHOUT_SAMPLES)}, and only there"
        return f"n_synthetic {row['n_synthetic']} for arm {row['arm']}", wanted
    for column in ("value", "low", "high"):
        if not 0 <= row[column] <= 1:  # NaN too
            return f"{column} {row[column]}", "a share in [0, 1]"
    if row["low"] > row["high"]:
        return f"interval {row['low']}..{row['high']}", "low <= high"
    if abs(row["value"] * row["denominator"] - row["numerator"]) > 1e-6 * max(1, row["denominator"]):
        return f"value {row['value']}", f"{row['numerator']} / {row['denominator']}"
    return None


def check_table2(table: pd.DataFrame, where: str | Path = "table 2", lines=None) -> pd.DataFrame:
    """Return the table if its columns and values are right; InputError names the first wrong row.

    `lines`: the rows' line numbers in the file; without, row i is line i + 2 (a CSV with a header).
    """
    if tuple(table.columns) != COLUMNS:
        raise InputError(where, f"columns {','.join(map(str, table.columns))}", ",".join(COLUMNS), 1)
    if len(table) == 0:
        raise InputError(where, "no rows", "at least one measurement")
    lines = range(2, len(table) + 2) if lines is None else lines
    seen: dict[tuple, int] = {}
    for line, row in zip(lines, table.to_dict("records"), strict=True):
        if fault := _fault(row):
            raise InputError(where, *fault, line)
        first = seen.setdefault(tuple(row[name] for name in (*GROUP, "seed")), line)
        if first != line:
            raise InputError(where, f"the measurement of line {first} again", "each measurement once", line)
    return table


def read_table2(path: str | Path) -> pd.DataFrame:
    """Read a tidy table as `lib.runs.write_table` writes it; InputError names file and line of a fault."""
    kinds = dict.fromkeys(("n_winter", "n_synthetic", "seed", "numerator", "denominator"), int)
    kinds |= dict.fromkeys(("value", "low", "high"), float)
    rows, lines = [], []
    with open(path, encoding="utf-8", newline="") as file:
        reader = csv.reader(file)  # not pandas: an arm is called "none", which must stay a word
        header = next(reader, [])
        if tuple(header) != COLUMNS:
            raise InputError(path, f"columns {','.join(header)}", ",".join(COLUMNS), 1)
        for fields in reader:
            if len(fields) != len(COLUMNS):
                raise InputError(path, f"{len(fields)} fields", f"{len(COLUMNS)}", reader.line_num)
            try:
                rows.append([kinds.get(k, str)(field) for k, field in zip(COLUMNS, fields, strict=True)])
            except ValueError as error:
                raise InputError(path, f"{error}", "a number", reader.line_num) from None
            lines.append(reader.line_num)
    return check_table2(pd.DataFrame(rows, columns=COLUMNS), path, lines)


def _per_seed(table: pd.DataFrame, arm: str) -> dict[tuple, dict[int, float]]:
    """(protocol, split, winter, metric, seed) -> {n_winter: value} of one arm."""
    found: dict[tuple, dict[int, float]] = {}
    for row in table[table["arm"] == arm].to_dict("records"):
        key = (row["protocol"], row["split"], row["winter"], row["metric"], row["seed"])
        found.setdefault(key, {})[row["n_winter"]] = row["value"]
    return found


def _partner(values: dict[int, float], n_winter: int, protocol: str) -> float | None:
    """The baseline's value at the same n_winter, or its only one, as a baseline needs no winter crops.

    Not under protocol `paper`: there fewer winter crops are other test objects.
    """
    alone = len(values) == 1 and protocol != "paper"
    return values.get(n_winter, next(iter(values.values())) if alone else None)


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds: one row for each arm, protocol, split, n_winter, n_synthetic, winter and metric.

    Columns: mean, sd (NaN for one seed), n_seeds, low, high (Student's t over seeds, cut to
    [0, 1]; one seed, or seeds without any spread: the widest interval within a seed);
    difference_* : paired by seed with `continued` (mean, low, high, number of pairs); change_* : the same
    with `none`; closed_gap_* (winter_car_recall only): the part of the distance from the control's recall
    to 1 that the arm closes. Arms measured at several sample counts never share a row.
    """
    check_table2(table)
    baselines = {"difference": _per_seed(table, CONTROL), "change": _per_seed(table, BEFORE)}
    rows = []
    for key, group in table.groupby(GROUP, sort=True):
        arm, protocol, split, n_winter, _, winter, metric = key
        group = group.sort_values("seed")
        mean, sd, low, high = over_seeds(group["value"])
        if np.isnan(low):
            low, high = group["low"].min(), group["high"].max()
        row = dict(zip(GROUP, key, strict=True)) | {
            "mean": mean, "sd": sd, "n_seeds": len(group), "low": max(0.0, low), "high": min(1.0, high)}
        for name, baseline in baselines.items():
            own, other = [], []
            for seed, value in zip(group["seed"], group["value"], strict=True):
                there = baseline.get((protocol, split, winter, metric, seed), {})
                partner = _partner(there, n_winter, protocol)
                if partner is not None:
                    own.append(value)
                    other.append(partner)
            gain = np.subtract(own, other)
            average, _, lower, upper = over_seeds(gain) if own else (np.nan,) * 4
            row |= {name: average, f"{name}_low": lower, f"{name}_high": upper, f"{name}_pairs": len(own)}
            if name == "difference":
                gap = metric == "winter_car_recall" and arm != CONTROL
                closed = ratio_over_seeds(gain, 1 - np.array(other)) if gap else (np.nan,) * 3
                row |= dict(zip(("closed_gap", "closed_gap_low", "closed_gap_high"), closed, strict=True))
        rows.append(row)
    return pd.DataFrame(rows)


def records(frame: pd.DataFrame) -> list[dict]:
    """A table as a list for JSON: NaN (no such number) becomes null."""
    return [{k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in row.items()}
            for row in frame.to_dict("records")]


def within(moved: float, limit: float) -> bool:
    """Whether a measure that moved so far keeps to its limit of LIMITS: no more up, or no more down."""
    # a hair of slack: 0.12 - 0.10 is 0.01999... or 0.02000...1 by rounding alone
    return bool(moved * np.sign(limit) <= abs(limit) + ROUNDING)


def verdict(summary: pd.DataFrame, against: str = CONTROL) -> list[dict]:
    """Does an arm count as better? One entry for each arm and setting but the baselines, ready for JSON.

    `better` needs a higher mean winter_car_recall than `against` ("continued": the gain that
    training alone does not give, or "none") and all three guards of LIMITS. Numbers are paired
    differences; `clear`: the interval over seeds excludes 0 (None for fewer than two seeds).
    Entries without a partner in `against` have better = None. `winter` and `winter_noncars` say
    where the crops are from; of non-cars from two places (it may depend on the seed) the one that
    moved further counts. Raises InputError for winter cars from two places.
    """
    name = {CONTROL: "difference", BEFORE: "change"}[against]
    setting = [column for column in GROUP if column not in ("metric", "winter")]
    entries = []
    for key, group in summary[~summary["arm"].isin([CONTROL, BEFORE])].groupby(setting, sort=True):
        row: dict[str, list[dict]] = {}
        for item in records(group):
            row.setdefault(item["metric"], []).append(item)
        if len(row.get("winter_car_recall", [])) > 1:
            sources = winter_of(group, "winter_car_recall")
            raise InputError("summary", f"winter cars of {sources}", "one source")
        gain = row.get("winter_car_recall", [{}])[0]
        guards = {}
        for metric, limit in LIMITS.items():
            every = [item[name] for item in row.get(metric, [])]
            moved = None if not every or None in every else max(every, key=lambda x: x * np.sign(limit))
            kept = None if moved is None else within(moved, limit)
            guards[metric] = {"moved": moved, "limit": limit, "kept": kept}
        low, moved = gain.get(f"{name}_low"), gain.get(name)
        known = moved is not None and all(guard["kept"] is not None for guard in guards.values())
        entries.append(dict(zip(setting, key, strict=True)) | {
            "winter": winter_of(group, "winter_car_recall"), "winter_noncars": winter_of(group, NONCARS),
            "against": against, "pairs": gain.get(f"{name}_pairs", 0), "gain": moved,
            "gain_low": low, "gain_high": gain.get(f"{name}_high"), "clear": None if low is None else low > 0,
            "guards": guards, "closed_gap": gain.get("closed_gap"),
            "better": moved > ROUNDING and all(guard["kept"] for guard in guards.values()) if known else None,
        })  # fmt: skip
    return entries
