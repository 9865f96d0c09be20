"""The table of what changed between two panoramas, and the same for other programs: CSV and GeoJSON.

A pandas DataFrame with COLUMNS, one row per region that changed: id int from 1; change one of CHANGES; x, y
(top left corner, y down), width, height in pixels of the first panorama; score 0..1; label a class name or
"unsure", probability 0..1, by the classifier after retraining; label_before, probability_before by the one
before; seen "first" or "second", the panorama that shows the thing (a changed one stands in both); partner
the id of the other row of a moved thing, or <NA>; longitude, latitude degrees WGS84 or NaN. Bad tables raise
InputError.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib import runs
from lib.georeference import Georeference
from lib.runs import InputError, write_json

COLUMNS = (
    "id", "change", "x", "y", "width", "height", "score", "label", "probability", "label_before",
    "probability_before", "seen", "partner", "longitude", "latitude",
)  # fmt: skip
CHANGES = ("appeared", "disappeared", "moved", "changed")
SIDES = {"first": "First time", "second": "Second time"}
DECIMALS = dict.fromkeys(("x", "y", "width", "height"), 2) | dict.fromkeys(("longitude", "latitude"), 7)


def checked(table: pd.DataFrame) -> pd.DataFrame:
    """The table with COLUMNS in order and no other; InputError if columns or values are not as said above."""
    missing = [name for name in COLUMNS if name not in table.columns]
    if len(table) == 0:
        return table.reindex(columns=list(COLUMNS))
    if missing:
        raise InputError("table of changes", f"no column {', '.join(missing)}", "every column of COLUMNS")
    for name, known in (("change", CHANGES), ("seen", SIDES)):
        strange = set(table[name]) - set(known)
        if strange:
            raise InputError("table of changes", f"{name} {strange.pop()!r}", f"one of {', '.join(known)}")
    boxes = table[["x", "y", "width", "height"]].to_numpy(float)
    if not np.isfinite(boxes).all() or (boxes[:, 2:] <= 0).any():
        raise InputError("table of changes", "a box that is none", "finite x, y and width, height above 0")
    if table["id"].duplicated().any():
        raise InputError("table of changes", "an id twice", "an id of its own for every row")
    return table[list(COLUMNS)]


def _plain(value: Any) -> Any:
    """A cell as JSON knows it; None for NaN, infinity, <NA> and None."""
    value = value.item() if isinstance(value, np.generic) else value
    unknown = value is None or value is pd.NA or (isinstance(value, float) and not math.isfinite(value))
    return None if unknown else value


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    rows = [{k: _plain(v) for k, v in row.items()} for row in checked(table).to_dict("records")]
    for row in rows:
        for name in ("id", "partner"):  # a column with gaps may have become float
            row[name] = None if row[name] is None else int(row[name])
    return rows


def things(table: pd.DataFrame) -> list[dict[str, Any]]:
    """One entry per thing, the highest score first: its row and `boxes`, where it was and where it is.

    A moved thing has two rows and one entry, that of the row with the higher score.
    """
    rows = sorted(records(table), key=lambda row: (-(row["score"] or 0), row["id"]))
    by_id = {row["id"]: row for row in rows}
    found, told = [], set()
    for row in rows:
        other = by_id.get(row["partner"], row)
        if row["id"] not in told:
            told |= {row["id"], other["id"]}
            old, new = (other, row) if row["seen"] == "second" else (row, other)
            boxes = [[r["x"], r["y"], r["width"], r["height"]] for r in (old, new)]
            found.append(row | {"boxes": boxes, "rows": [row["id"], other["id"]]})
    return found


def counts(table: pd.DataFrame) -> dict[str, int]:
    """Number of things by change, in the order of CHANGES; a moved thing counts once."""
    found = [thing["change"] for thing in things(table)]
    return {change: found.count(change) for change in CHANGES}


def summary(table: pd.DataFrame) -> str:
    """For example "3 changes: 2 appeared, 1 moved"."""
    found = counts(table)
    n = sum(found.values())
    if n == 0:
        return "Nothing changed between the two times."
    parts = ", ".join(f"{count:,} {change}" for change, count in found.items() if count)
    return f"{n:,} {'change' if n == 1 else 'changes'}: {parts}"


def class_text(row: dict[str, Any]) -> str:
    """The class, for example "car"; "truck → car" if the classifier said truck before it was retrained."""
    now, before = (row[name] or "unsure" for name in ("label", "label_before"))
    return now if row["label_before"] is None or before == now else f"{before} → {now}"


# Files for other programs -------------------------------------------------------------------------------


def write_table(path: str | os.PathLike, table: pd.DataFrame) -> Path:
    """Write the table as CSV: empty cells for the unknown, pixels to 0.01, degrees to 1e-7, else 1e-4."""
    frame = checked(table).astype({"id": "Int64", "partner": "Int64"})
    for name in frame.select_dtypes("float"):
        frame[name] = frame[name].round(DECIMALS.get(name, 4))
    return runs.write_table(path, frame)


def write_geojson(
    path: str | os.PathLike, table: pd.DataFrame, georeference: Georeference | None = None
) -> Path:
    """Write the boxes as a FeatureCollection of polygons, every column a property (null: unknown).

    With a georeference positions are longitude, latitude, WGS84, rings closed, counterclockwise (RFC 7946);
    a box across the date line stays in one piece, its longitudes beyond 180. Without one they are panorama
    pixels, as the member `coordinate_space` says.
    """
    features = []
    for row in records(table):
        x, y, width, height = (row[name] for name in ("x", "y", "width", "height"))
        ring = np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height), (x, y)], float)
        if georeference is None:
            ring = ring.round(2)
        else:
            ring = georeference.to_world(ring)
            ring[:, 0] = ring[0, 0] + (ring[:, 0] - ring[0, 0] + 180) % 360 - 180
            ring = ring[::-1].round(8)  # y points down: a similarity turns the ring round
        geometry = {"type": "Polygon", "coordinates": [ring.tolist()]}
        features.append({"type": "Feature", "id": row["id"], "geometry": geometry, "properties": row})
    collection = {"type": "FeatureCollection", "features": features}
    if georeference is None:
        collection["coordinate_space"] = (
            "pixels of the first panorama, x to the right, y down, 0, 0 at its top left corner; no degrees"
        )
    else:
        collection["georeference"] = {
            "metres_per_pixel": georeference.metres_per_pixel, "north_degrees": georeference.north_degrees,
            "residual_m": _plain(georeference.residual_m), "positions": georeference.points,
        }  # fmt: skip
    return write_json(path, collection)
