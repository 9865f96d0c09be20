"""One page of what changed between two panoramas: a swipe between the two times, and the table.

Panoramas are uint8 (height, width, 3), RGB, the second brought to the pixels of the first; tables those of
`lib.anomaly_table`. Bad ones raise InputError.
"""

from __future__ import annotations

import base64
import html
import json
import math
import os
import re
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from lib.anomaly_pictures import COLOURS, before_after, check_pictures, shrunk
from lib.anomaly_table import class_text, records, summary, things
from lib.runs import write_text

PAGE_WIDTH, PAGE_PIXELS, PAGE_BYTES = 2400, 6e6, 1_700_000  # of one panorama in the page; base64 adds a third
CROP, CROPS = 104, 150  # pixels of a crop in the page, how many things have one there
TEMPLATE = Path(__file__).with_suffix(".html")


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
            image = shrunk(image, 0.85)


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
    check_pictures(first, second)
    height, width = first.shape[:2]
    scale = min(1.0, PAGE_WIDTH / width, math.sqrt(PAGE_PIXELS / (width * height)))
    rows = sorted(records(table), key=lambda row: (-(row["score"] or 0), row["id"]))
    best = things(table)[:CROPS]
    crop_of = {number: k for k, thing in enumerate(best) for number in thing["rows"]}
    for row in rows:
        row |= {"text": class_text(row), "label": row["label"] or "unsure", "crop": crop_of.get(row["id"])}
    crops = [_data_uri(before_after(first, second, thing, CROP)) for thing in best]
    data = {"width": width, "height": height, "rows": rows, "crops": crops, "colours": COLOURS}
    found = {
        "title": html.escape(title),
        "summary": html.escape(summary(table)),
        "facts": "".join(
            f"<div><dt>{html.escape(str(label))}</dt><dd>{html.escape(str(text))}</dd></div>"
            for label, text in facts.items()
        ),
        "first": _data_uri(shrunk(first, scale), PAGE_BYTES),
        "second": _data_uri(shrunk(second, scale), PAGE_BYTES),
        # no "<" inside of a script element: a class named "</script>" would end it
        "data": json.dumps(data, allow_nan=False).replace("<", "\\u003c"),
    }
    text = TEMPLATE.read_text(encoding="utf-8")
    # in one pass: a title that looks like a placeholder stays a title
    return write_text(path, re.sub(r"\{\{(\w+)\}\}", lambda hit: found[hit[1]], text))
