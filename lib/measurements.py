"""The tidy table of all measurements, `table2.csv`: one row a measure, arm, protocol, seed and setting.

Rows of one classifier (`predictions_to_rows`), the check that every table must pass, and its reader.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from lib.arms import ARMS_WITHOUT_SAMPLES
from lib.evaluation import (
    EQUAL_SHARE,
    NONCARS,
    RECALLS,
    SIMULATED,
    Answers,
    summer_measures,
    winter_measures,
)
from lib.intervals import DRAWS, Measure
from lib.run_names import SPLITS
from lib.runs import InputError

PROTOCOLS = ("paper", "heldout")
COLUMNS = (
    "arm", "protocol", "split", "n_winter", "n_synthetic", "seed", "metric",
    "value", "low", "high", "numerator", "denominator", "winter",
)  # fmt: skip
GROUP = ["arm", "protocol", "split", "n_winter", "n_synthetic", "winter", "metric"]
METRICS = (
    "winter_car_recall", EQUAL_SHARE, NONCARS, "car_recall", "car_precision",
    "noncar_called_car", "accuracy", *RECALLS,
)  # fmt: skip


def winter_of(rows: pd.DataFrame, metric: str) -> str:
    """The winter that a metric of a table or summary was measured in."""
    return " and ".join(sorted(set(rows.loc[rows["metric"] == metric, "winter"])))


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
