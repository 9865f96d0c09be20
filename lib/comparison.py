"""Arms against each other: at equal shares of false cars, paired over seeds, on the same test objects.

Table 2 alone cannot rank arms: a classifier that says "car" more often has the higher recall. So recalls
are also read at one share of winter non-cars called car, the control's; differences are paired by seed
and tested; and the best arm without a generator, the bar to beat, is chosen on the validation part.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.special import bdtr, stdtr

from lib.arms import ARMS_WITHOUT_SAMPLES, BEFORE, CONTROL
from lib.evaluation import CAR, NONCARS, Answers, same_objects
from lib.gains import counted
from lib.intervals import RESAMPLED, ROUNDING, over_seeds, ratio_of_means, ratio_over_seeds, standard_error
from lib.runs import InputError

GOAL = "winter"  # the winter crops as they are: how far a generator comes on the way there
YOUDEN = "winter_youden"  # recall minus false cars, in winter (Youden 1950): saying "car" more gains nothing
PAIRED = (  # columns of `against`
    "split", "protocol", "n_winter", "n_synthetic", "winter", "metric", "arm", "against",
    "gain", "low", "high", "p", "p_holm", "pairs",
)  # fmt: skip


def known(value: float) -> float | None:
    """None for NaN, as an end of an interval that nothing tells: JSON has no such number."""
    return None if np.isnan(value) else value


def mcnemar(first: Answers, second: Answers, car_or_not: bool = False) -> dict[str, float | int]:
    """McNemar's exact test of two classifiers on the same objects (McNemar 1947; binomial, two-sided).

    An answer is right if it names the class, or, for `car_or_not`, if it says "car" of cars alone: a
    pedestrian taken for a truck is then no fault.

    Returns only_first and only_second (objects that only one of them gets right) and p; difference,
    low and high: the first's share of right answers minus the second's, with Student's interval over the
    recordings (None where there are none to tell), because p takes objects of one recording for independent,
    which they are not. Raises InputError if the objects are not the same.
    """
    if not same_objects(first, second):
        raise InputError("McNemar's test", "answers about other objects", "the same objects, in one order")
    right = [
        (answers.predictions == CAR) == (answers.labels == CAR) if car_or_not
        else answers.predictions == answers.labels
        for answers in (first, second)
    ]  # fmt: skip
    only = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    total = sum(only)
    p = min(1.0, 2 * float(bdtr(min(only), total, 0.5))) if total else 1.0
    found = {"only_first": only[0], "only_second": only[1], "p": p}
    low = high = np.nan
    if first.sequences is not None:
        index = np.unique(first.sequences, return_inverse=True)[1]
        gains = np.bincount(index, right[0].astype(int) - right[1])
        _, low, high = ratio_of_means(gains, np.bincount(index))
    difference = (only[0] - only[1]) / len(first.labels)
    return found | {"difference": difference, "low": known(low), "high": known(high)}


def paired_test(gains: Sequence[float]) -> dict[str, float | int | None]:
    """Mean of paired differences, one a seed, with the interval of `over_seeds` and p (two-sided).

    All three None for one seed; for seeds with one and the same difference too, as there is no spread to
    judge it by, but that p is 1 where they do not differ at all.
    """
    gains = np.asarray(gains, float)
    mean, sd, low, high = over_seeds(gains)
    if np.isnan(low):
        p = 1.0 if len(gains) > 1 and abs(mean) <= ROUNDING else None
    else:
        p = 2 * float(stdtr(len(gains) - 1, -abs(mean) / standard_error(sd, len(gains), RESAMPLED)))
    return {"gain": mean, "low": known(low), "high": known(high), "p": p, "pairs": len(gains)}


def gain_text(found: Mapping[str, float | int | None]) -> str:
    """A difference of `paired_test` in points, with its interval where it has one: +1.2 [-0.3, +2.7]."""
    gain, low, high = (None if found[key] is None else f"{100 * found[key]:+.1f}"
                       for key in ("gain", "low", "high"))  # fmt: skip
    return gain if low is None else f"{gain} [{low}, {high}]"


def baseline_scores(
    valid: Mapping[tuple, Mapping[str, Mapping[str, float]]], without: Collection[tuple[str, int, str]] = ()
) -> pd.DataFrame:
    """What arms without a generator reach on the validation part, the better first; the bar is the first row.

    valid: (split, n_winter, seed) -> arm -> measures of `testsets.measure(answers, "valid")`. The score is
    the recall of winter cars minus the share of winter non-cars called car (Youden's J): recall alone
    would choose whoever says "car" most. Arms are compared over the seeds that all of them have; InputError
    where these are fewer than two of several, since other arms or seeds would silently make another bar. An
    arm in part chose its share on the same part: its score flatters it a little. `without`: (split, n_winter,
    arm) that are no arm, as nothing was kept of them (`collect.kept_nothing`). Columns: split, n_winter, arm,
    score (mean over seeds), seeds.
    """
    rows = [
        {"split": split, "n_winter": n_winter, "arm": arm, "seed": seed,
         "score": found["winter_car_recall"] - found[NONCARS]}
        for (split, n_winter, seed), arms in valid.items() for arm, found in arms.items()
        if arm in ARMS_WITHOUT_SAMPLES and arm not in (BEFORE, CONTROL)
        and (split, n_winter, arm) not in without
    ]  # fmt: skip
    if not rows:
        return pd.DataFrame(columns=["split", "n_winter", "arm", "score", "seeds"])
    scores = pd.DataFrame(rows)
    by_setting = scores.groupby(["split", "n_winter"])
    arms = by_setting["arm"].transform("nunique")
    shared = scores[scores.groupby(["split", "n_winter", "seed"])["arm"].transform("size") == arms]
    for setting, part in by_setting:
        seeds = part["seed"].nunique()
        kept = part["seed"][part.index.isin(shared.index)].nunique()
        if kept < min(2, seeds):
            per_arm = part.groupby("arm")["seed"].nunique().to_dict()
            where = f"arms without a generator, split by {setting[0]}, {setting[1]} winter crops"
            found = ", ".join(f"{arm} in {count} seeds" for arm, count in per_arm.items())
            raise InputError(where, f"{kept} seeds with all of them ({found})", "two seeds at least")
    grouped = shared.groupby(["split", "n_winter", "arm"])["score"]
    table = grouped.agg(score="mean", seeds="count").reset_index()
    return table.sort_values(["split", "n_winter", "score"], ascending=[True, True, False], ignore_index=True)


def bar(scores: pd.DataFrame) -> dict[tuple[str, int], str]:
    """(split, n_winter) -> the best arm without a generator, from `baseline_scores`."""
    best = scores.drop_duplicates(["split", "n_winter"])
    return {(row.split, int(row.n_winter)): row.arm for row in best.itertuples()}


def against(
    table: pd.DataFrame, bars: Mapping[tuple[str, int], str], without: Collection[tuple[str, int, str]] = ()
) -> pd.DataFrame:
    """Paired differences of every arm from the control and from the best arm without a generator.

    table: tidy rows (`measurements.COLUMNS`); bars: of `bar`. Columns: split, protocol, n_winter,
    n_synthetic, winter, metric, arm, against, gain, low, high, p, p_holm (`holm`, over the arms that are
    compared in one measure and setting, with new cars or without, but those of `without`, as in
    `baseline_scores`), pairs. The control needs no winter crops: its rows of the profile's
    own number serve for every other, but for protocol `paper`, where fewer winter crops are other objects.
    """
    values: dict[tuple, dict[int, dict[int, float]]] = {}  # ..., arm -> n_winter -> seed -> value
    for row in counted(table).to_dict("records"):
        key = (row["split"], row["protocol"], row["winter"], row["metric"], row["arm"], row["n_synthetic"])
        values.setdefault(key, {}).setdefault(row["n_winter"], {})[row["seed"]] = row["value"]
    rows = []
    for (split, protocol, winter, metric, arm, n_synthetic), by_number in values.items():
        for n_winter, own in by_number.items():
            for other in dict.fromkeys((CONTROL, bars.get((split, n_winter)))):
                if other is None or arm in (other, BEFORE, CONTROL):
                    continue
                numbers = values.get((split, protocol, winter, metric, other, 0), {})
                theirs = numbers.get(n_winter, {})
                if other == CONTROL and not theirs and protocol != "paper":  # there W itself is asked
                    theirs = next(iter(numbers.values()), {})
                gains = [own[seed] - theirs[seed] for seed in sorted(own.keys() & theirs.keys())]
                if gains:
                    rows.append({"split": split, "protocol": protocol, "n_winter": n_winter,
                                 "n_synthetic": n_synthetic, "winter": winter, "metric": metric, "arm": arm,
                                 "against": other} | paired_test(gains))  # fmt: skip
    found = pd.DataFrame(rows, columns=PAIRED)
    found["p_holm"] = np.nan
    family = ["split", "protocol", "n_winter", "winter", "metric", "against"]
    none = [key in without for key in zip(found["split"], found["n_winter"], found["arm"], strict=True)]
    counting = found.assign(p=found["p"].where(~np.array(none, bool)))
    for _, part in counting.groupby(family):
        # arms without new cars stand in the table of each number of new cars: they take the larger adjustment
        for count in set(part["n_synthetic"]) - {0} or {0}:
            adjusted = holm(part[part["n_synthetic"].isin([0, count])]["p"])
            found.loc[adjusted.index, "p_holm"] = np.fmax(found.loc[adjusted.index, "p_holm"], adjusted)
    return found


def holm(p: pd.Series) -> pd.Series:
    """p-values adjusted for their number, missing ones left out (Holm 1979, Scand. J. Statist. 6)."""
    known = p.astype(float).dropna().sort_values(kind="stable")
    steps = np.arange(len(known), 0, -1)
    adjusted = np.minimum(1, np.maximum.accumulate(known.to_numpy() * steps))
    return pd.Series(adjusted, known.index).reindex(p.index)


def with_most_samples(cells: Sequence[Mapping]) -> list[Mapping]:
    """Of the cells (`n_synthetic`, `arms`) with winter crops repeated, those with the most new cars."""
    cells = [cell for cell in cells if "oversampled" in cell["arms"]]
    most = max((cell["n_synthetic"] for cell in cells), default=0)
    return [cell for cell in cells if cell["n_synthetic"] == most]


def closed_distance(table: pd.DataFrame, arm: str) -> pd.DataFrame:
    """The share of the distance from the control's winter-car recall to GOAL's that an arm closes.

    The held-out protocol, as the other one asks about other objects where there are fewer winter crops.
    One row for each split, n_winter and n_synthetic: share of the mean distances, with its
    interval over seeds (`ratio_over_seeds`); None where the distance is not above 0, or for one seed.
    """
    recall = table[(table["metric"] == "winter_car_recall") & (table["protocol"] == "heldout")]
    where, numbers = ["split", "seed"], ["split", "n_winter", "n_synthetic"]
    control = recall[recall["arm"] == CONTROL].set_index(where)["value"].rename("control")
    goal = recall[recall["arm"] == GOAL].set_index([*where, "n_winter"])["value"].rename("goal")
    own = recall[recall["arm"] == arm].join(control, on=where).join(goal, on=[*where, "n_winter"])
    rows = []
    for key, part in own.dropna(subset=["control", "goal"]).groupby(numbers):
        found = ratio_over_seeds(part["value"] - part["control"], part["goal"] - part["control"])
        row = dict(zip(numbers, key, strict=True)) | {"arm": arm, "towards": GOAL, "seeds": len(part)}
        rows.append(row | dict(zip(("share", "low", "high"), map(known, found), strict=True)))
    return pd.DataFrame(rows, columns=[*numbers, "arm", "towards", "seeds", "share", "low", "high"])
