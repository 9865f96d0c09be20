"""What changed between two pictures of one place: things that one of them shows and the other does not.

The comparison sees its two moments only, no model of the background. Pictures of any size are compared tile
by tile, at the size at which a vehicle is WORKING pixels wide.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

from lib.evidence import by_colour, by_structure, other_season
from lib.flight_colour import filled
from lib.registration import Registration, common_ground, lay, shrunk
from lib.runs import InputError, progress
from lib.things import find_things

WORKING = 18.0  # pixels across a vehicle at which pictures are compared; larger ones are shrunk to it
SMALLEST = 6.0  # pixels across a vehicle that still shows
LEAST = 0.28  # score of a region that counts
TRACE = 0.6  # of the score of a thing: what overlaps it at the other time with less is its absence
TILE = 1536  # pixels of the working size that are compared at a time
MARGIN = 10  # vehicles' widths around a tile that it sees too
SLACK = 3  # pixels outside of a tile of a thing's middle: its box may differ between two tiles
JUDGED = 1e6  # pixels of the working size at which the season is judged
GRID = 64  # points along a side that tell where both pictures show ground


@dataclass(frozen=True)
class Region:
    """A thing seen in one of two pictures only.

    box: x, y, width, height in pixels of the first picture; seen: "first" or "second"; score: 0..1, how much
    it stands out and how much its outline is a vehicle's.
    """

    box: tuple[float, float, float, float]
    seen: str
    score: float


def way_of(first, second, registration, size, first_seen=None, second_seen=None) -> Callable:
    """`by_colour` or `by_structure` of `lib.evidence`, for pictures at working size, with masks or None as in
    `detect`; judged at the square of JUDGED pixels that shows most of what both show."""
    height, width = first.shape[:2]
    first_seen, second_seen = (np.ones(picture.shape[:2], bool) if mask is None else mask
                               for picture, mask in ((first, first_seen), (second, second_seen)))  # fmt: skip
    _, both = common_ground(registration, first_seen, second_seen, GRID)
    if not both.any():
        raise InputError("second flight", "no ground that the first shows too", "flights that overlap")
    side = round(np.sqrt(JUDGED))
    reach = tuple(max(1, min(GRID, round(GRID * side / n))) for n in (width, height))
    share = cv2.blur(both.astype(np.float32), reach, borderType=cv2.BORDER_CONSTANT)
    middle = np.unravel_index(share.argmax(), share.shape)
    starts = [max(0, min(int((k + 0.5) * n / GRID) - side // 2, n - side))
              for k, n in zip(middle, (height, width), strict=True)]  # fmt: skip
    window = tuple(slice(start, min(start + side, n))
                   for start, n in zip(starts, (height, width), strict=True))  # fmt: skip
    laid, shown = lay(second, second_seen, registration, (height, width), window)
    return by_structure if other_season(first[window], laid, shown & first_seen[window], size) else by_colour


def overlap(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Intersection over union (n, m) of boxes (n, 4) and (m, 4): x, y, width, height."""
    one, two = (np.asarray(boxes, float).reshape(-1, 4) for boxes in (one, two))
    low = np.maximum(one[:, None, :2], two[None, :, :2])
    high = np.minimum((one[:, :2] + one[:, 2:])[:, None], (two[:, :2] + two[:, 2:])[None])
    shared = np.prod(np.maximum(high - low, 0), axis=2)
    return shared / (np.prod(one[:, 2:], axis=1)[:, None] + np.prod(two[:, 2:], axis=1) - shared)


def assigned(shared: np.ndarray, least: float) -> list[tuple[int, int]]:
    """Index pairs (row, column) of overlaps (n, m) of at least `least`, each row and column once at most."""
    rows, columns = linear_sum_assignment(-np.where(shared >= least, shared, 0))
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return [(row, column) for row, column in pairs if shared[row, column] >= least]


def _once(regions: list[Region]) -> list[Region]:
    """The best of regions that overlap: tiles find the same thing twice, and where a thing stood, its
    absence leaves a weak trace at the other time. Two strong ones at both times are both kept: something
    took its place."""
    if not regions:
        return []
    order = sorted(regions, key=lambda r: (-r.score, r.box, r.seen))
    boxes = np.array([region.box for region in order])
    middles, reach = boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:].max()  # farther apart none overlap
    near = cKDTree(middles).query_ball_point(middles, reach, p=np.inf)
    kept = np.zeros(len(order), bool)
    for k, region in enumerate(order):
        better = [j for j in near[k] if kept[j]]
        shared = overlap([region.box], boxes[better])[0]
        kept[k] = not any(
            share > 0.3 and (order[j].seen == region.seen or region.score < TRACE * order[j].score)
            for j, share in zip(better, shared, strict=True)
        )
    found = (region for region, keep in zip(order, kept, strict=True) if keep)
    return sorted(found, key=lambda r: (r.box[1], r.box[0], r.seen))


def detect(
    first: np.ndarray,
    second: np.ndarray,
    registration: Registration,
    vehicle_px: float,
    least: float = LEAST,
    first_seen: np.ndarray | None = None,
    second_seen: np.ndarray | None = None,
) -> list[Region]:
    """Things that one of two pictures of a place shows and the other does not, from top to bottom.

    first, second: RGB uint8 (H, W, 3); registration: of the second onto the first; vehicle_px: how many
    pixels of the first a usual vehicle is wide (1.8 m divided by the ground sampling distance), at least 6;
    least: smallest score of a region; first_seen, second_seen: bool (H, W), None for everywhere. Tiles of a
    bounded size are compared one by one: memory beyond the pictures and their shrunken copies does not grow
    with them. InputError: a vehicle_px below 6 or beyond the first's shorter side, or pictures without ground
    in common.
    """
    if not vehicle_px >= SMALLEST:
        raise InputError("vehicle_px", str(vehicle_px), f"{SMALLEST:g} pixels or more; less does not show")
    if vehicle_px > min(first.shape[:2]):
        room = f"what the first panorama, {first.shape[1]} x {first.shape[0]} pixels, has room for"
        raise InputError("vehicle_px", str(vehicle_px), room)
    shrink = min(1.0, WORKING / vehicle_px)
    one, one_seen, one_up = shrunk(first, first_seen, shrink)
    two, two_seen, two_up = shrunk(second, second_seen, shrink * registration.magnification(second.shape))
    small = registration.between(one_up, two_up)
    size, margin = vehicle_px * shrink, int(MARGIN * vehicle_px * shrink)
    height, width = one.shape[:2]
    across, down = one_up[0, 0], one_up[1, 1]  # the shrunken sides are whole: not quite 1 / shrink
    way = way_of(one, two, small, size, one_seen, two_seen)
    found = []
    corners = [(top, left) for top in range(0, height, TILE) for left in range(0, width, TILE)]
    for top, left in progress(corners, desc="comparing"):
        window = (slice(max(0, top - margin), min(height, top + TILE + margin)),
                  slice(max(0, left - margin), min(width, left + TILE + margin)))
        laid, there = lay(two, two_seen, small, one.shape[:2], window)
        here = one_seen[window]
        both = here & there
        if not both[top - window[0].start:, left - window[1].start:][:TILE, :TILE].any():
            continue
        ours = filled(one[window], here)
        theirs = filled(laid, there)
        for seen, evidence in zip(("first", "second"), way(ours, theirs, both, size), strict=True):
            for (x, y, w, h), score in find_things(*evidence, size, least):
                x, y = x + window[1].start, y + window[0].start
                middle = x + w / 2 - left, y + h / 2 - top
                if min(middle) >= -SLACK and max(middle) < TILE + SLACK:
                    box = (float(x * across), float(y * down), float(w * across), float(h * down))
                    found.append(Region(box, seen, score))
    return _once(found)
