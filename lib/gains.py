"""What the arms come to: means over seeds, gains over the control, and whether an arm counts as better."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from lib.arms import BEFORE, CONTROL
from lib.evaluation import NONCARS
from lib.intervals import ROUNDING, over_seeds, ratio_over_seeds
from lib.measurements import GROUP, check_table2, winter_of
from lib.runs import InputError

# how far an arm may move and still count as better: at most 2 points up, at most 1 point down
LIMITS = {NONCARS: 0.02, "noncar_called_car": 0.02, "car_recall": -0.01}


def counted(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that counted anything: precision of a classifier that never says car is 0 of 0, not 0 %."""
    return table[table["denominator"] > 0]


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
    to 1 that the arm closes. Arms measured at several sample counts never share a row. Measurements of 0 of 0
    are left out, and count as no seed.
    """
    check_table2(table)
    table = counted(table)
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


def verdict(
    summary: pd.DataFrame, against: str = CONTROL, without: Collection[tuple[str, int, str]] = ()
) -> list[dict]:
    """Does an arm count as better? One entry for each arm and setting but the baselines, ready for JSON.

    `better` needs a higher mean winter_car_recall than `against` ("continued": the gain that
    training alone does not give, or "none") and all three guards of LIMITS. Numbers are paired
    differences; `clear`: the interval over seeds excludes 0 (None for fewer than two seeds).
    Entries without a partner in `against` have better = None. `winter` and `winter_noncars` say
    where the crops are from; of non-cars from two places (it may depend on the seed) the one that
    moved further counts. closed_gap is of the way from the control: None against another. `without`: (split,
    n_winter, arm) that are no arm, as nothing was kept of them (`collect.kept_nothing`). Raises InputError
    for winter cars from two places.
    """
    name = {CONTROL: "difference", BEFORE: "change"}[against]
    setting = [column for column in GROUP if column not in ("metric", "winter")]
    entries = []
    for key, group in summary[~summary["arm"].isin([CONTROL, BEFORE])].groupby(setting, sort=True):
        here = dict(zip(setting, key, strict=True))
        if (here["split"], here["n_winter"], here["arm"]) in without:
            continue
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
        entries.append(here | {
            "winter": winter_of(group, "winter_car_recall"), "winter_noncars": winter_of(group, NONCARS),
            "against": against, "pairs": gain.get(f"{name}_pairs", 0), "gain": moved,
            "gain_low": low, "gain_high": gain.get(f"{name}_high"), "clear": None if low is None else low > 0,
            "guards": guards,
            "closed_gap": gain.get("closed_gap") if against == CONTROL else None,
            "better": moved > ROUNDING and all(guard["kept"] for guard in guards.values()) if known else None,
        })  # fmt: skip
    return entries
