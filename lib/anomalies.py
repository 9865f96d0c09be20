"""What changed between two panoramas, classified: what appeared, disappeared, moved or was replaced, and as
what.

The last stage of the paper's chain (section 2). Each region gets the class that the run's classifier gives
it, before and after retraining, or "unsure".
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from lib.acceleration import ComputePath
from lib.changes import Region, assigned, overlap
from lib.georeference import Georeference
from lib.runs import InputError
from lib.training import answer
from lib.visdrone import CLASSES

UNSURE = "unsure"
BLOCK = 100  # crops that a classifier sees at a time: beside large panoramas there is little room
REPLACED = 0.3  # intersection over union of a thing of each time: one took the place of the other
UNLIKE = 1.4  # distance, size and colour together: not one thing
ALIKE = 1.5  # sides of one thing seen twice differ by this factor at most
TOLD = {"first": "disappeared", "second": "appeared"}


def labels_of(shares: np.ndarray, least: float) -> tuple[list[str], np.ndarray]:
    """Names and probabilities (n,) of the likeliest classes of (n, 6) shares; "unsure" below `least`."""
    best = shares.argmax(axis=1)
    probability = shares[np.arange(len(shares)), best]
    return [CLASSES[k] if p >= least else UNSURE for k, p in zip(best, probability, strict=True)], probability


def replaced(regions: list[Region]) -> list[tuple[int, int]]:
    """Index pairs of regions, one of each time, that lie over each other: something stands where something
    stood."""
    one, two = ([k for k, region in enumerate(regions) if region.seen == seen] for seen in TOLD)
    shared = overlap([regions[k].box for k in one], [regions[k].box for k in two])
    return [(one[r], two[c]) for r, c in assigned(shared, REPLACED)]


def colours_of(crops: np.ndarray) -> np.ndarray:
    """Mean colour (n, 3), Lab, of the middle of crops uint8 (n, 32, 32, 3)."""
    middles = crops[:, 8:24, 8:24].reshape(-1, 16, 3)
    if not len(middles):
        return np.empty((0, 3))
    return cv2.cvtColor(middles, cv2.COLOR_RGB2LAB).reshape(len(crops), -1, 3).mean(axis=1)


def moved(regions: list[Region], shares: np.ndarray, within_px: float, but: set[int], colours=None):
    """Index pairs of regions that may be one thing at two places: where it was, where it is.

    Same class, sides alike, at most `within_px` apart; the nearest and likest first (an assignment over all).
    colours (n, 3), if given, count by what they differ over the candidates' median, as snow changes them all.
    It is a guess: a picture cannot tell one grey car from the next. but: indices that are spoken for.
    shares: class probabilities (n, 6).
    """
    one, two = ([k for k, region in enumerate(regions) if region.seen == seen and k not in but]
                for seen in TOLD)  # fmt: skip
    if not one or not two:
        return []
    boxes = np.array([region.box for region in regions])
    middle, side = boxes[:, :2] + boxes[:, 2:] / 2, np.sqrt(boxes[:, 2] * boxes[:, 3])
    away = np.hypot(*(middle[one][:, None] - middle[two]).transpose(2, 0, 1)) / within_px
    size = np.abs(np.log(side[one][:, None] / side[two])) / np.log(ALIKE)
    best = shares.argmax(axis=1)
    cost = away + 0.5 * size
    if colours is not None:
        apart = np.linalg.norm(colours[one][:, None] - colours[two], axis=2)
        cost += 0.5 * np.minimum(apart / max(float(np.median(apart)), 5.0), 2)
    cost[(away > 1) | (size > 1) | (best[one][:, None] != best[two]) | (cost > UNLIKE)] = 9.0
    rows, columns = linear_sum_assignment(cost)
    return [(one[r], two[c]) for r, c in zip(rows, columns, strict=True) if cost[r, c] < 9]


def answers(models: dict[str, Any], crops: np.ndarray, path: ComputePath) -> dict[str, np.ndarray]:
    """Class probabilities (n, 6) that each classifier gives crops uint8 (n, 32, 32, 3), which may be none."""
    if not len(crops):
        return {name: np.empty((0, len(CLASSES))) for name in models}
    found = {}
    for name, model in models.items():
        path.place(model)
        blocks = (crops[start : start + BLOCK] for start in range(0, len(crops), BLOCK))
        found[name] = np.concatenate([answer(model, block, path) for block in blocks]).astype(float)
    return found


def tabulate(
    regions: list[Region],
    before: np.ndarray,
    after: np.ndarray,
    unsure: float = 0.5,
    moved_within: float = 0.0,
    georeference: Georeference | None = None,
    colours: np.ndarray | None = None,
) -> pd.DataFrame:
    """The table of `lib.anomaly_table`, best score first.

    before, after: class probabilities (n, 6) of the regions, by the classifiers before and after
    retraining; unsure: probability below which a label is "unsure", 0..1; moved_within: farthest distance,
    pixels of the first panorama, of a thing that moved (0: none is looked for); colours: see `moved`. Where
    something took another's place, one row tells it, that of the second time. InputError: not one answer a
    region, a threshold outside 0..1.
    """
    for shares in (before, after):
        if len(shares) != len(regions):
            raise InputError("answers", f"{len(shares)}", f"one for each of {len(regions)} regions")
    if not 0 <= unsure <= 1:
        raise InputError("unsure", str(unsure), "a probability, 0..1")
    if not regions:
        return pd.DataFrame()
    (names_before, sure_before), (names, sure) = labels_of(before, unsure), labels_of(after, unsure)
    pairs = replaced(regions)
    spoken = {k for pair in pairs for k in pair}
    partners = {} if moved_within <= 0 else dict(moved(regions, after, moved_within, spoken, colours))
    partners |= {j: i for i, j in partners.items()}
    old, new = {i for i, _ in pairs}, {j for _, j in pairs}
    order = [k for k in sorted(range(len(regions)), key=lambda k: (-regions[k].score, k)) if k not in old]
    number = {k: n for n, k in enumerate(order, 1)}
    rows = []
    for k in order:
        region, (x, y, width, height) = regions[k], regions[k].box
        change = "changed" if k in new else "moved" if k in partners else TOLD[region.seen]
        rows.append({
            "id": number[k], "change": change, "x": x, "y": y, "width": width, "height": height,
            "score": region.score, "label": names[k], "probability": float(sure[k]),
            "label_before": names_before[k], "probability_before": float(sure_before[k]),
            "seen": region.seen, "partner": number[partners[k]] if k in partners else pd.NA,
        })  # fmt: skip
    table = pd.DataFrame(rows)
    table["partner"] = table["partner"].astype("Int64")
    middle = table[["x", "y"]].to_numpy() + table[["width", "height"]].to_numpy() / 2
    place = np.full((len(table), 2), np.nan) if georeference is None else georeference.to_world(middle)
    table["longitude"], table["latitude"] = place.T
    return table
