"""How a comparison of two drawn flights (`lib.flights`) fares against what was drawn."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pandas as pd

from lib.changes import assigned, overlap
from lib.flights import read_truth
from lib.matching import project
from lib.panorama import Comparison
from lib.stitching import Panorama
from lib.visdrone import CAR, CLASSES

FOUND = 0.3  # intersection over union of a region and the thing that it is
GONE = {"first": ("disappeared", "moved"), "second": ("appeared", "moved")}  # changes that a flight shows


def true_things(folder: str | os.PathLike, comparison: Comparison) -> pd.DataFrame:
    """Everything that changed and that a frame shows wholly, one row for each flight that shows it.

    Columns: id, category (VisDrone's class name), change, seen ("first", "second"), x, y, width, height: its
    box in pixels of the first panorama, the median over the frames that show it.
    """
    shape, rows = comparison.first.image.shape, []
    for thing in read_truth(folder)["objects"]:
        for seen, panorama in (("first", comparison.first), ("second", comparison.second)):
            box = _box(thing[seen], panorama) if thing["change"] in GONE[seen] else None
            if box is None:
                continue
            if seen == "second":
                box = comparison.registration.boxes(box[None], shape)[0]
            rows.append([thing["id"], thing["category"], thing["change"], seen, *box])
    columns = ["id", "category", "change", "seen", "x", "y", "width", "height"]
    return pd.DataFrame(rows, columns=columns)


def _box(frames: dict[str, list[int]], panorama: Panorama) -> np.ndarray | None:
    found = []
    for name, (x, y, width, height) in frames.items():
        if name in panorama.places:
            corners = [[x, y], [x + width, y], [x + width, y + height], [x, y + height]]
            there = project(panorama.places[name], np.array(corners))
            found.append([*there.min(axis=0), *np.ptp(there, axis=0)])
    return np.median(found, axis=0) if found else None


def score(truth: pd.DataFrame, comparison: Comparison, shares: dict[str, np.ndarray]) -> dict[str, Any]:
    """What was found of the vehicles that changed, and what classifiers call the cars among them, for JSON.

    A vehicle that moved is two things to find, one in each flight.
    shares: name of a classifier -> class probabilities (n, classes) of the comparison's regions. A region is
    a thing if their intersection over union is at least FOUND and the same flight shows both. Pedestrians
    count neither as missed nor as false. cars: of the found cars of either flight, how many there are and the
    share that each classifier calls car; others: the same of all other regions, pieces of cars among them.
    """
    regions = comparison.regions
    boxes = np.array([region.box for region in regions]).reshape(-1, 4)
    shared = overlap(boxes, truth[["x", "y", "width", "height"]].to_numpy())
    shared *= np.array([r.seen for r in regions])[:, None] == truth["seen"].to_numpy()[None]
    hits = assigned(shared, FOUND)
    people = truth["category"].to_numpy() == "pedestrian"
    vehicles = [(r, c) for r, c in hits if not people[c]]
    false = len(regions) - len(hits)
    found: dict[str, Any] = {
        "vehicles": int((~people).sum()), "found": len(vehicles), "regions": len(regions),
        "recall": len(vehicles) / max(int((~people).sum()), 1),
        "precision": len(vehicles) / max(len(vehicles) + false, 1), "cars": {}, "others": {},
    }  # fmt: skip
    cars = {r for r, c in vehicles if truth["category"][c] == CLASSES[CAR]}
    for seen in GONE:
        here = {r for r, region in enumerate(regions) if region.seen == seen}
        for kind, rows in (("cars", sorted(here & cars)), ("others", sorted(here - cars))):
            called = {name: float((values[rows].argmax(axis=1) == CAR).mean()) if rows else None
                      for name, values in shares.items()}  # fmt: skip
            found[kind][seen] = {"number": len(rows)} | called
    return found
