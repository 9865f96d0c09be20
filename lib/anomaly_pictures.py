"""What changed between two panoramas, drawn: boxes with labels, single things before and after, the figure.

Panoramas are uint8 (height, width, 3), RGB, the second brought to the pixels of the first; tables those of
`lib.anomaly_table`. Other pictures raise InputError.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.patches import Patch
from PIL import Image, ImageDraw, ImageFont

from lib.anomaly_table import SIDES, checked, class_text, counts, records, summary, things
from lib.runs import InputError

# Okabe and Ito's palette, told apart by the colour-blind as well.
COLOURS = {"appeared": "#D55E00", "disappeared": "#56B4E9", "moved": "#F0E442", "changed": "#CC79A7"}
SHOWN = 8  # things enlarged in the figure


def check_pictures(first: np.ndarray, second: np.ndarray) -> None:
    """InputError unless both are uint8 (height, width, 3), and alike."""
    for name, image in (("first panorama", first), ("second panorama", second)):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise InputError(name, f"{image.dtype} {image.shape}", "uint8 (height, width, 3)")
    if first.shape != second.shape:
        raise InputError("second panorama", f"shape {second.shape}", f"that of the first, {first.shape}")


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
    hides least of other boxes and labels; in a crowd it is the number alone. That of a moved thing names the
    number that it has on the other side, too.
    """
    check_pictures(image, image)
    if side not in SIDES:
        raise InputError("side", repr(side), "first or second")
    rows = [r for r in records(table) if r["seen"] == side or r["change"] == "changed"]
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
        number = _number(row)
        text = f"{number} {row['label'] or 'unsure'}"
        for words in (text if len(text) <= 20 else text[:19] + "…", number):
            tag = _tag(words, COLOURS[row["change"]], size, (height, width))
            spot, hidden = _spot(tag.shape[:2], taken[k], np.delete(taken, k, 0), (height, width))
            if hidden < 0.05:
                break
        taken[len(rows) + k] = spot
        picture[spot[1] : spot[3], spot[0] : spot[2]] = tag
    return picture


def _number(row: Mapping) -> str:
    """Of a row's label: "5"; of a moved thing "23→2" where it was, "2←23" where it is."""
    if row["change"] != "moved":
        return str(row["id"])
    return f"{row['id']}{'→' if row['seen'] == 'first' else '←'}{row['partner']}"


def shrunk(image: np.ndarray, scale: float) -> np.ndarray:
    size = [max(1, round(scale * side)) for side in (image.shape[1], image.shape[0])]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image


def before_after(first: np.ndarray, second: np.ndarray, thing: dict[str, Any], size: int) -> np.ndarray:
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
    check_pictures(first, second)
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
        axis.imshow(annotate(shrunk(image, scale), small, side), interpolation="antialiased")
        axis.set_title(title, fontweight="bold", fontsize=11)
        axis.axis("off")
    found = {change: count for change, count in counts(table).items() if count}
    if found:
        handles = [Patch(fc=COLOURS[name], ec="black", label=f"{name} ({n})") for name, n in found.items()]
        parts[0].legend(handles=handles, ncols=4, loc="outside lower center", frameon=False, fontsize=10)
    else:
        parts[0].supxlabel(summary(table), fontsize=11)
    if rows:
        titles = [f"{thing['id']} {class_text(thing)}, {thing['change']}"[:42] for thing in best]
        said = "Highest scores: before | after (dashed: not there)"
        if any("→" in title for title in titles):  # else it reads as what took the place of what
            said += "; class → class: before → after retraining"
        parts[1].suptitle(said, weight="bold", fontsize=11)
        for axis in parts[1].subplots(rows, 4, squeeze=False).ravel():
            axis.axis("off")
        for axis, thing, title in zip(parts[1].axes, best, titles, strict=False):
            axis.imshow(before_after(first, second, thing, 192), interpolation="antialiased")
            axis.set_title(title, fontsize=9, parse_math=False)
    return figure
