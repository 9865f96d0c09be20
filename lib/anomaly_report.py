"""What a person gets of a comparison of two panoramas: table, GeoJSON, annotated picture, figure, HTML page.

The table is a pandas DataFrame with COLUMNS, one row per region that changed: id int from 1; change one of
COLOURS; x, y (top left corner, y down), width, height in pixels of the first panorama; score 0..1; label a
class name or "unsure", probability 0..1, by the classifier after retraining; label_before, probability_before
by the one before; seen "first" or "second", the panorama that shows the thing (a changed one is drawn in
both); partner the id of the other row of a moved thing, or <NA>; longitude, latitude degrees WGS84 or NaN.
Panoramas are uint8 (height, width, 3), RGB, the second brought to the pixels of the first. Bad tables and
pictures raise InputError.
"""

from __future__ import annotations

import base64
import html
import json
import math
import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.patches import Patch
from PIL import Image, ImageDraw, ImageFont

from lib import runs
from lib.georeference import Georeference
from lib.runs import InputError, write_json, write_text

COLUMNS = (
    "id", "change", "x", "y", "width", "height", "score", "label", "probability", "label_before",
    "probability_before", "seen", "partner", "longitude", "latitude",
)  # fmt: skip
# Okabe and Ito's palette, told apart by the colour-blind as well.
COLOURS = {"appeared": "#D55E00", "disappeared": "#56B4E9", "moved": "#F0E442", "changed": "#CC79A7"}
SIDES = {"first": "First time", "second": "Second time"}
DECIMALS = dict.fromkeys(("x", "y", "width", "height"), 2) | dict.fromkeys(("longitude", "latitude"), 7)
PAGE_WIDTH, PAGE_PIXELS, PAGE_BYTES = 2400, 6e6, 1_700_000  # of one panorama in the page; base64 adds a third
CROP, CROPS = 104, 150  # pixels of a crop in the page, how many things have one there
SHOWN = 8  # things enlarged in the figure
TEMPLATE = Path(__file__).with_suffix(".html")


def checked(table: pd.DataFrame) -> pd.DataFrame:
    """The table with COLUMNS in order and no other; InputError if columns or values are not as said above."""
    missing = [name for name in COLUMNS if name not in table.columns]
    if len(table) == 0:
        return table.reindex(columns=list(COLUMNS))
    if missing:
        raise InputError("table of changes", f"no column {', '.join(missing)}", "every column of COLUMNS")
    for name, known in (("change", COLOURS), ("seen", SIDES)):
        strange = set(table[name]) - set(known)
        if strange:
            raise InputError("table of changes", f"{name} {strange.pop()!r}", f"one of {', '.join(known)}")
    boxes = table[["x", "y", "width", "height"]].to_numpy(float)
    if not np.isfinite(boxes).all() or (boxes[:, 2:] <= 0).any():
        raise InputError("table of changes", "a box that is none", "finite x, y and width, height above 0")
    if table["id"].duplicated().any():
        raise InputError("table of changes", "an id twice", "an id of its own for every row")
    return table[list(COLUMNS)]


def _check_pictures(first: np.ndarray, second: np.ndarray) -> None:
    for name, image in (("first panorama", first), ("second panorama", second)):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise InputError(name, f"{image.dtype} {image.shape}", "uint8 (height, width, 3)")
    if first.shape != second.shape:
        raise InputError("second panorama", f"shape {second.shape}", f"that of the first, {first.shape}")


def _plain(value: Any) -> Any:
    """A cell as JSON knows it; None for NaN, infinity, <NA> and None."""
    value = value.item() if isinstance(value, np.generic) else value
    unknown = value is None or value is pd.NA or (isinstance(value, float) and not math.isfinite(value))
    return None if unknown else value


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    rows = [{k: _plain(v) for k, v in row.items()} for row in checked(table).to_dict("records")]
    for row in rows:
        for name in ("id", "partner"):  # a column with gaps may have become float
            row[name] = None if row[name] is None else int(row[name])
    return rows


def things(table: pd.DataFrame) -> list[dict[str, Any]]:
    """One entry per thing, the highest score first: its row and `boxes`, where it was and where it is.

    A moved thing has two rows and one entry, that of the row with the higher score.
    """
    rows = sorted(_records(table), key=lambda row: (-(row["score"] or 0), row["id"]))
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
    """Number of things by change, in the order of COLOURS; a moved thing counts once."""
    found = [thing["change"] for thing in things(table)]
    return {change: found.count(change) for change in COLOURS}


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
    for row in _records(table):
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


# Pictures -----------------------------------------------------------------------------------------------


def _rgb(colour: str) -> tuple[int, int, int]:
    return tuple(bytes.fromhex(colour[1:]))


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(findfont(FontProperties(family="DejaVu Sans", weight="bold")), size)


def _tag(text: str, colour: str, size: int, room: tuple[int, int]) -> np.ndarray:
    """A label, uint8 (h, w, 3), in a font of `size` pixels, or smaller to fit `room` (height, width)."""
    while True:
        font, pad = _font(size), max(1, size // 5)
        left, _, right, _ = font.getbbox(text)
        ascent, descent = font.getmetrics()
        shape = (ascent + descent + pad, right - left + 2 * pad)
        if size <= 6 or (shape[0] <= room[0] and shape[1] <= room[1]):
            break
        size = max(6, int(size * 0.85))
    tag = Image.new("RGB", shape[::-1], colour)
    ImageDraw.Draw(tag).text((pad - left, pad // 2), text, fill="black", font=font)
    return np.asarray(tag)[: room[0], : room[1]]


def _overlap(spot: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Common area of one rectangle and of (n, 4) others, as x0, y0, x1, y1."""
    sides = np.minimum(spot[2:], others[:, 2:]) - np.maximum(spot[:2], others[:, :2])
    return sides.clip(0).prod(1)


def _spot(
    size: tuple[int, int], own: np.ndarray, taken: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, float]:
    """Where a label of `size` (height, width) goes beside its box `own`, and the share that hides others."""
    (h, w), (x0, y0, x1, y1) = size, own
    best, least = own, np.inf
    corners = [(x, y) for x in (x0, x1 - w) for y in (y0 - h, y1)]  # above and below
    corners += [(x, y) for x in (x1, x0 - w) for y in (y0, y1 - h)]  # right and left
    for corner in corners:
        x, y = np.clip(corner, 0, (shape[1] - w, shape[0] - h))
        spot = np.array([x, y, x + w, y + h])
        hidden = 4 * _overlap(spot, own[None])[0] + _overlap(spot, taken).sum()
        if hidden < least:
            best, least = spot, hidden
    return best, least / (h * w)


def annotate(image: np.ndarray, table: pd.DataFrame, side: str) -> np.ndarray:
    """A copy of a panorama uint8 (height, width, 3) with boxes and labels of one side, "first" or "second".

    Lines and letters grow with the picture. A label stands beside its box, inside of the picture, where it
    hides least of other boxes and labels; in a crowd it is the number alone.
    """
    _check_pictures(image, image)
    if side not in SIDES:
        raise InputError("side", repr(side), "first or second")
    rows = [r for r in _records(table) if r["seen"] == side or r["change"] == "changed"]
    rows.sort(key=lambda row: -(row["score"] or 0))
    picture = image.copy(order="C")
    height, width = image.shape[:2]
    line, size = max(2, round(max(height, width) / 600)), max(12, round(max(height, width) * 0.011))
    boxes = np.array([[r[k] for k in ("x", "y", "width", "height")] for r in rows], float).reshape(-1, 4)
    low = np.floor(boxes[:, :2] - line)  # the line goes round the thing
    high = np.ceil(boxes[:, :2] + boxes[:, 2:] + line)
    boxes = np.clip(np.hstack([low, high]), line // 2, [width - 1 - line // 2, height - 1 - line // 2] * 2)
    boxes = boxes.astype(int)
    for around, own in ((max(2, line // 2), False), (0, True)):  # first all dark rims, which show on snow
        for row, (x0, y0, x1, y1) in zip(rows, boxes, strict=True):
            colour = _rgb(COLOURS[row["change"]]) if own else (0, 0, 0)
            cv2.rectangle(picture, (int(x0), int(y0)), (int(x1), int(y1)), colour, line + around)
    taken = np.vstack([boxes + np.array([-line, -line, line, line]), np.zeros((len(rows), 4), int)])
    for k, row in enumerate(rows):
        text = f"{row['id']} {row['label'] or 'unsure'}"
        for words in (text if len(text) <= 20 else text[:19] + "…", str(row["id"])):
            tag = _tag(words, COLOURS[row["change"]], size, (height, width))
            spot, hidden = _spot(tag.shape[:2], taken[k], np.delete(taken, k, 0), (height, width))
            if hidden < 0.05:
                break
        taken[len(rows) + k] = spot
        picture[spot[1] : spot[3], spot[0] : spot[2]] = tag
    return picture


def _shrunk(image: np.ndarray, scale: float) -> np.ndarray:
    size = [max(1, round(scale * side)) for side in (image.shape[1], image.shape[0])]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image


def _crops(first: np.ndarray, second: np.ndarray, thing: dict[str, Any], size: int) -> np.ndarray:
    """A thing before and after, side by side, framed: uint8 (size, 2 * size + gap, 3).

    A dashed frame marks the place where it is not.
    """
    height, width = first.shape[:2]
    n = math.ceil(max(24, 1.9 * max(max(box[2:]) for box in thing["boxes"])))  # one scale for both
    line, how = max(2, size // 80), cv2.INTER_AREA if n > size else cv2.INTER_CUBIC
    sheet = np.full((size, 2 * size + max(2, size // 32), 3), 255, np.uint8)
    sides = ((first, sheet[:, :size]), (second, sheet[:, -size:]))
    for side, (image, crop), (x, y, w, h) in zip(SIDES, sides, thing["boxes"], strict=True):
        left = round(np.clip(x + w / 2 - n / 2, 0, max(0, width - n)))
        top = round(np.clip(y + h / 2 - n / 2, 0, max(0, height - n)))
        part = image[top : top + n, left : left + n]
        tall, wide = (max(1, round(size * side / n)) for side in part.shape[:2])
        crop[:] = 128  # which stays where the picture is smaller than the crop
        crop[:tall, :wide] = cv2.resize(part, (wide, tall), interpolation=how)
        low = size * (np.array([x, y]) - (left, top)) / n - line
        high = size * (np.array([x + w, y + h]) - (left, top)) / n + line
        there = side == thing["seen"] or thing["change"] in ("moved", "changed")
        at = np.linspace(low, high, 2 if there else 10).round().astype(int).tolist()
        (x0, y0), (x1, y1) = at[0], at[-1]
        spans = []
        for (u, a), (v, b) in zip(at[::2], at[1::2], strict=True):
            spans += [((u, y0), (v, y0)), ((u, y1), (v, y1)), ((x0, a), (x0, b)), ((x1, a), (x1, b))]
        for colour, thick in (((0, 0, 0), line + 2), (_rgb(COLOURS[thing["change"]]), line)):
            for start, end in spans:
                cv2.line(crop, start, end, colour, thick)
    return sheet


def before_after_figure(first: np.ndarray, second: np.ndarray, table: pd.DataFrame) -> Figure:
    """Both panoramas with boxes, the counts, and the SHOWN highest-scored changes enlarged, before and after.

    first, second: uint8 (height, width, 3) of one shape. Wide panoramas stand one above the other, others
    side by side. A dashed frame marks where a thing will be or was.
    """
    _check_pictures(first, second)
    table, best = checked(table), things(table)[:SHOWN]
    height, width = first.shape[:2]
    across = 1 if width > 1.7 * height else 2
    scale = min(1.0, 1500 / across / width, 1500 / height)
    small = table.copy()
    for name, far in zip(("x", "y", "width", "height"), (width, height) * 2, strict=True):
        small[name] = small[name].astype(float) * max(1, round(scale * far)) / far
    rows = -(-len(best) // 4)
    inches = [min(8.5, 12 / across * height / width) * (3 - across) + 0.7] + [1.85 * rows] * bool(rows)
    figure = Figure(figsize=(12, sum(inches)), layout="constrained")
    parts = figure.subfigures(len(inches), 1, height_ratios=inches, squeeze=False)[:, 0]
    axes = parts[0].subplots(3 - across, across, squeeze=False).ravel()
    for axis, (side, title), image in zip(axes, SIDES.items(), (first, second), strict=True):
        axis.imshow(annotate(_shrunk(image, scale), small, side), interpolation="antialiased")
        axis.set_title(title, fontweight="bold", fontsize=11)
        axis.axis("off")
    found = {change: count for change, count in counts(table).items() if count}
    if found:
        handles = [Patch(fc=COLOURS[name], ec="black", label=f"{name} ({n})") for name, n in found.items()]
        parts[0].legend(handles=handles, ncols=4, loc="outside lower center", frameon=False, fontsize=10)
    else:
        parts[0].supxlabel(summary(table), fontsize=11)
    if rows:
        parts[1].suptitle("Highest scores: before | after (dashed: not there)", weight="bold", fontsize=11)
        for axis in parts[1].subplots(rows, 4, squeeze=False).ravel():
            axis.axis("off")
        for axis, thing in zip(parts[1].axes, best, strict=False):
            axis.imshow(_crops(first, second, thing, 192), interpolation="antialiased")
            words = f"{thing['id']} {class_text(thing)}, {thing['change']}"
            axis.set_title(words[:42], fontsize=9, parse_math=False)
    return figure


# The page -----------------------------------------------------------------------------------------------


def _data_uri(image: np.ndarray, most: float = np.inf) -> str:
    """A JPEG as data URI, of at most about `most` bytes before base64 if quality and then size allow."""
    quality = 86
    while True:
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if len(data) <= most or min(image.shape[:2]) < 64:
            return "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii")
        if quality > 60:
            quality -= 13
        else:
            image = _shrunk(image, 0.85)


def write_report(
    path: str | os.PathLike,
    first: np.ndarray,
    second: np.ndarray,
    table: pd.DataFrame,
    title: str,
    facts: dict[str, str],
) -> Path:
    """Write one HTML file that needs no other and no network: a swipe between the two times, and the table.

    first, second: uint8 (height, width, 3) of one shape; facts: label -> text, on top of the page. About 6 MB
    at most. Opened with #7 the page shows row 7 closely; with #selftest it tries itself and puts
    {"passed": bool, "rows": int, "checks": {...}} as JSON into the element of that id.
    """
    _check_pictures(first, second)
    height, width = first.shape[:2]
    scale = min(1.0, PAGE_WIDTH / width, math.sqrt(PAGE_PIXELS / (width * height)))
    rows = sorted(_records(table), key=lambda row: (-(row["score"] or 0), row["id"]))
    best = things(table)[:CROPS]
    crop_of = {number: k for k, thing in enumerate(best) for number in thing["rows"]}
    for row in rows:
        row |= {"text": class_text(row), "label": row["label"] or "unsure", "crop": crop_of.get(row["id"])}
    crops = [_data_uri(_crops(first, second, thing, CROP)) for thing in best]
    data = {"width": width, "height": height, "rows": rows, "crops": crops, "colours": COLOURS}
    found = {
        "title": html.escape(title),
        "summary": html.escape(summary(table)),
        "facts": "".join(
            f"<div><dt>{html.escape(str(label))}</dt><dd>{html.escape(str(text))}</dd></div>"
            for label, text in facts.items()
        ),
        "first": _data_uri(_shrunk(first, scale), PAGE_BYTES),
        "second": _data_uri(_shrunk(second, scale), PAGE_BYTES),
        # no "<" inside of a script element: a class named "</script>" would end it
        "data": json.dumps(data, allow_nan=False).replace("<", "\\u003c"),
    }
    text = TEMPLATE.read_text(encoding="utf-8")
    # in one pass: a title that looks like a placeholder stays a title
    return write_text(path, re.sub(r"\{\{(\w+)\}\}", lambda hit: found[hit[1]], text))
