"""Compare a run with the committed numbers: `python -m lib.verify PROFILE` (make verify).

Table 1 must be equal, unless the data are others: a user's VisDrone may hold more frames than
the committed run's. On the machine and versions that made the committed numbers Table 2 must
be equal too: a run is deterministic there. Elsewhere sums are taken in another order, a
training takes another path, and each measure may differ by as much as TOLERANCE says.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pandas as pd

from lib import runs, settings
from lib.measurements import read_table2
from lib.provenance import need, profile_folder
from lib.published import Published, folder_of
from lib.report import aligned, frames_text
from lib.runs import InputError, command_line

RUN = ["split", "seed", "n_winter", "n_synthetic"]  # of one run (n_synthetic is 0 in some of its rows)
KEYS = ["arm", "protocol", *RUN, "winter", "metric"]
EXACT = ["value", "low", "high", "numerator", "denominator"]  # of a measurement, on one and the same machine
# Points (hundredths) that a measure of one seed may differ by on another machine. Trainings that differ only
# in rounding differ like those of two seeds: this is two to three standard deviations over seeds of most arms
# (figures/visdrone-val-grid, ten seeds; of drawn scenes less), more for winter cars, which drawn scenes move
# most (13 points for the classifier before). So one of many measurements may be beyond it by chance.
TOLERANCE = {
    "accuracy": 2.0,  # thousands of objects, six classes
    "car_recall": 2.0,  # the largest classes
    "car_precision": 4.0,
    "noncar_called_car": 3.5,
    "winter_car_recall": 14.0,
    "winter_car_recall_equal_share": 14.0,
    "winter_noncar_called_car": 12.0,  # arms without counterexamples move most
}
SLACK = 1e-7  # of points: 92 % is not further than 2 points from 90 %
OTHER_TOLERANCE = 20.0  # recall of one class: buses and trucks are a few dozen objects
SAME = (  # what must be equal for a run to be equal bit by bit: (part of provenance.json, keys)
    ("machine", ("processor", "instructions", "gpu", "system", "torch", "numpy")),
    ("path", ("device", "precision", "channels_last", "compiler", "graphs", "threads")),
)


def other_machine(ours: dict[str, Any], committed: dict[str, Any]) -> list[str]:
    """In what two provenance files differ, of the things that change the last digits of a sum."""
    found = []
    for part, keys in SAME:
        for key in keys:
            here, there = (told.get(part, {}).get(key) for told in (ours, committed))
            if here != there or (key == "instructions" and there is None):  # a name alone proves nothing
                found.append(f"{key}: {_said(here)}, committed with {_said(there)}")
    return found


def _said(value: Any) -> str:
    return " ".join(value) or "unknown" if isinstance(value, list) else str(value)


def other_data(ours: dict[str, Any], committed: dict[str, Any]) -> str | None:
    """One line if two provenance files are of other data, by their fingerprints; None if of the same."""
    here, there = (origin["data"] for origin in (ours, committed))
    if all(here.get(key) == there.get(key) for key in ("fingerprint", "winter_fingerprint")):
        return None
    return (f"Other data than the committed run's: {frames_text(here)}, {here['winter']}; "
            f"committed with {frames_text(there)}, {there['winter']}.")  # fmt: skip


def compare_table1(ours: dict[str, Any], committed: dict[str, Any]) -> list[str]:
    """Entries of Table 1 that are not equal, as lines."""
    keys = [key for key in sorted(ours.keys() | committed.keys()) if ours.get(key) != committed.get(key)]
    return [f"Table 1, {key}: {ours.get(key)}, committed {committed.get(key)}" for key in keys]


def compare_table2(ours: pd.DataFrame, committed: pd.DataFrame, same_machine: bool) -> pd.DataFrame:
    """Measurements that differ, of the runs that both tables have.

    Columns: KEYS, ours, committed (NaN: not there), points (difference in hundredths), tolerance, beyond
    (bool). On the same machine counts and intervals must be equal too. attrs["compared"] is the number of
    measurements compared, attrs["new"] the metrics that the committed table, of older code, does not know,
    and the arms that it has not of a run; attrs["left"] the arms of which both have rows, but with other
    numbers of winter crops or new cars: they are not compared.
    """
    all_ours, common = ours, _rows(ours, RUN) & _rows(committed, RUN)
    new = sorted(set(ours["metric"]) - set(committed["metric"]))
    ours = _among(ours[~ours["metric"].isin(new)], RUN, common)
    known = _among(ours, [*RUN, "arm"], _rows(committed, [*RUN, "arm"]))
    new += [f"arm {arm}" for arm in sorted(set(ours["arm"].drop(known.index)))]
    tables = [_among(table, RUN, common)[[*KEYS, *EXACT]] for table in (known, committed)]
    both = tables[0].merge(tables[1], on=KEYS, how="outer", suffixes=("_ours", "_committed"))
    asked = EXACT if same_machine else EXACT[:1]
    unequal = np.any([both[f"{name}_ours"] != both[f"{name}_committed"] for name in asked], axis=0)
    both = both.rename(columns={"value_ours": "ours", "value_committed": "committed"})
    both["points"] = 100 * (both["ours"] - both["committed"])
    limits = both["metric"].map(lambda name: TOLERANCE.get(name, OTHER_TOLERANCE))
    both["tolerance"] = 0.0 if same_machine else limits
    both["beyond"] = ~(both["points"].abs() <= both["tolerance"] + SLACK)  # a missing one is beyond
    both["beyond"] |= unequal & same_machine
    found = both.loc[unequal, [*KEYS, "ours", "committed", "points", "tolerance", "beyond"]]
    found = found.reset_index(drop=True)
    compared = _rows(both, ["arm", "split", "seed"])
    left = _among(committed, ["arm", "split", "seed"], _rows(all_ours, ["arm", "split", "seed"]) - compared)
    found.attrs |= {"compared": len(both), "new": new, "left": sorted(set(left["arm"]))}
    return found


def _rows(table: pd.DataFrame, columns: list[str]) -> set[tuple]:
    return set(table[columns].itertuples(index=False, name=None))


def _among(table: pd.DataFrame, columns: list[str], known: set[tuple]) -> pd.DataFrame:
    rows = table[columns].itertuples(index=False, name=None)
    return table[np.array([row in known for row in rows], bool)]


def without(table: pd.DataFrame, others: Published) -> pd.DataFrame:
    """A summary's rows without those that it took from committed runs, which would agree with themselves."""
    if not others.names:
        return table
    taken = pd.concat([others.rows(name) for name in others.names])
    known = pd.MultiIndex.from_frame(taken[KEYS])
    return table[~pd.MultiIndex.from_frame(table[KEYS]).isin(known)].reset_index(drop=True)


def differing(differences: pd.DataFrame) -> str:
    """The rows of `compare_table2` as lines in columns, those beyond their tolerance first."""
    rows = [["", "this run", "committed", "points", "tolerance", ""]]
    worst = differences.sort_values(["beyond", *KEYS], ascending=[False] + [True] * len(KEYS))
    for row in worst.to_dict("records"):
        name = f"{row['metric']}, {row['arm']}, {row['protocol']}, {row['split']}, seed {row['seed']}"
        values = ["–" if pd.isna(row[key]) else f"{100 * row[key]:.2f} %" for key in ("ours", "committed")]
        points = "–" if pd.isna(row["points"]) else f"{row['points']:+.2f}"
        rows.append([name, *values, points, f"{row['tolerance']:g}", "BEYOND" if row["beyond"] else "within"])
    return aligned(rows)


def outcome(differences: pd.DataFrame, title: str = "") -> tuple[list[str], bool]:
    """What `compare_table2` found, as lines that begin with a title, and whether nothing is beyond."""
    compared, beyond = differences.attrs["compared"], int(differences["beyond"].sum())
    lines = [f"{title}{compared} measurements, {compared - len(differences)} equal, "
             f"{len(differences) - beyond} within tolerance, {beyond} beyond."]  # fmt: skip
    if left := differences.attrs["left"]:
        lines.append(f"With other numbers than in the committed table, so not compared: {', '.join(left)}.")
    if new := differences.attrs["new"]:
        lines.append(f"Not in the committed table, so not compared: {', '.join(new)}.")
    if len(differences):
        lines.append(differing(differences))
    return lines, not beyond and not left


def told(text: str, agreed: bool) -> int:
    """Print what a comparison found; its exit status."""
    print(text)
    return 0 if agreed else 1


def reasons_text(reasons: list[str]) -> list[str]:
    """Why a comparison has a tolerance, as lines; `reasons` of `other_machine`, one at least."""
    return ["Another machine or other versions, so Table 2 has a tolerance:", *(f"  {r}" for r in reasons)]


def verify(profile: str) -> tuple[str, bool]:
    """What differs, as text, and whether all of it is within tolerance.

    InputError for an unknown profile or a file that is missing.
    """
    settings.known_profile(profile)
    run, kept = profile_folder(profile) / "summary", folder_of(profile)
    for name in ("table1.json", "table2.csv", "provenance.json"):
        runs.require(run / name, f"make reproduce PROFILE={profile}")
        runs.require(kept / name, f"make publish PROFILE={profile}")
    origin = [runs.read_json(folder / "provenance.json") for folder in (run, kept)]
    tables = [read_table2(folder / "table2.csv") for folder in (run, kept)]
    taken = need(profile, "summary/evaluation.json")
    tables[0] = without(tables[0], Published(profile, tuple(taken["published"])))
    seeds = [sorted(int(seed) for seed in set(table["seed"])) for table in tables]
    if not _rows(tables[0], RUN) & _rows(tables[1], RUN):
        expected = f"at least one of the committed runs, of seeds {seeds[1]}"
        raise InputError(run / "table2.csv", f"none of them, but seeds {seeds[0]}", expected)
    reasons, other = other_machine(*origin), other_data(*origin)
    first = compare_table1(*(runs.read_json(folder / "table1.json") for folder in (run, kept)))
    second = compare_table2(*tables, same_machine=not reasons and not other)
    lines = [f"Profile {profile}; seeds of this run {seeds[0]}, committed {seeds[1]}"]
    # drawn scenes are ours: their files may differ with the machine, what Table 1 counts may not
    must_agree = not other or all(found["data"]["source"] == "scenes" for found in origin)
    if other:
        lines.append(f"{other} Table 2 has a tolerance" + ("." if must_agree else ", Table 1 is only shown."))
    if reasons:
        lines += reasons_text(reasons)
    elif not other:
        lines += ["The machine and versions of the committed numbers: everything must be equal."]
    lines += first or ["Table 1 is equal."]
    found, agreed = outcome(second, "Table 2: ")
    return "\n".join([*lines, *found]), (not first or not must_agree) and agreed


@command_line
def main(arguments: list[str]) -> int:
    """0: equal or within tolerance; 1: not; 2: a file is missing or faulty, said in one line."""
    if len(arguments) != 1:
        print("usage: python -m lib.verify PROFILE", file=sys.stderr)
        return 2
    return told(*verify(arguments[0]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
