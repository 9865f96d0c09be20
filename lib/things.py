"""Things in a picture of evidence: its most box-like parts of a plausible size.

A tree of thresholds, as in maximally stable regions (Matas et al. 2002): parts at a high threshold lie within
those at a lower one. Each part is judged as a vehicle; the choice that is worth most over the whole tree is
kept, so touching vehicles stay apart. Then parts are joined that make a better thing together.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from lib.evidence import NOISE, SURE

LEVELS = np.geomspace(1.5 * NOISE, 4 * SURE, 14)  # thresholds, grey values
JOIN = 0.15  # of a vehicle's width: half of the widest gap within one thing
LARGEST = (40, 12)  # areas of a squared width, and widths along a side, of what is judged at all
USUAL = (1.4, 3.2)  # lengths by widths of most vehicles seen from above, of cars to long vans
HEAVY = (1.4, 2.8, 7.5)  # of buses and lorries: their width by a car's; their lengths by widths
STRONG = 20.0  # grey values of a thing that stands out


@dataclass(eq=False)
class Part:
    """A connected part above a threshold: its window of the picture and its mask there."""

    window: tuple[slice, slice]
    mask: np.ndarray
    quality: float = 0.0  # as a vehicle, 0..1
    value: float = 0.0  # quality by area
    best: float = 0.0  # the most that it, or a choice of the parts within it, is worth
    within: list[int] = field(default_factory=list)

    def box(self) -> tuple[int, int, int, int]:
        rows, columns = np.flatnonzero(self.mask.any(axis=1)), np.flatnonzero(self.mask.any(axis=0))
        return (self.window[1].start + int(columns[0]), self.window[0].start + int(rows[0]),
                int(columns[-1] - columns[0]) + 1, int(rows[-1] - rows[0]) + 1)  # fmt: skip


def likely_sides(short: float, long: float, size: float) -> float:
    """How plausible a vehicle with these sides is, 0..1: about `size` wide and USUAL times as long, or as
    HEAVY ones are."""
    wide, ratio = np.log(short / size), long / short
    width = np.exp(-((wide / (0.3 if wide < 0 else 0.4)) ** 2) / 2)
    off = (USUAL[0] - ratio) / 0.4 if ratio < USUAL[0] else max(0.0, ratio - USUAL[1])
    usual = width * np.exp(-(off**2) / 2)
    wide = (wide - np.log(HEAVY[0])) / 0.12
    off = (HEAVY[1] - ratio) / 0.4 if ratio < HEAVY[1] else max(0.0, ratio - HEAVY[2])
    return float(max(usual, np.exp(-(wide**2 + off**2) / 2)))


def _grown(mask: np.ndarray, pixels: int) -> np.ndarray:
    return cv2.dilate(mask, np.ones((3, 3), np.uint8), iterations=pixels)


def _judge(part: Part, shown: np.ndarray, edges: np.ndarray, size: float) -> None:
    """Set quality and value: is it a filled rectangle, of a vehicle's sides, stronger than what surrounds
    it, with edges of its own?"""
    shown, edges = shown[part.window], edges[part.window]
    outlines, _ = cv2.findContours(part.mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    _, sides, _ = cv2.minAreaRect(cv2.convexHull(np.concatenate(outlines)))
    short, long = sorted(side + 1 for side in sides)
    filled = np.zeros_like(part.mask)
    cv2.drawContours(filled, outlines, -1, 1, cv2.FILLED)
    area = int(filled.sum())
    ring = _grown(filled, max(2, round(0.25 * size))) - _grown(filled, max(1, round(0.08 * size)))
    band = _grown(filled, 1) - cv2.erode(filled, np.ones((3, 3), np.uint8))
    inside = float(shown[filled > 0].mean())
    around = float(shown[ring > 0].mean()) if ring.any() else 0.0
    contrast = max(0.0, inside - 1.5 * around) / (inside + NOISE)
    rectangle = min(1.0, area / (short * long) / 0.85)
    own = float(np.clip(0.5 + edges[band > 0].mean(), 0, 1))
    strength = inside / (inside + STRONG)
    part.quality = rectangle**4 * likely_sides(short, long, size) * contrast * own * strength
    part.value = part.quality * area


def _tree(shown: np.ndarray, edges: np.ndarray, size: float) -> tuple[list[Part], list[int]]:
    """All parts, those at lower thresholds first, and which of them are at the lowest."""
    parts: list[Part] = []
    lowest: list[int] = []
    height, width = shown.shape
    margin = max(2, round(0.25 * size)) + 1
    before = None
    for level in LEVELS:
        above = (shown >= level).astype(np.uint8)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(above, connectivity=4)
        index = np.full(count, -1)
        for i in np.flatnonzero(stats[:, 4] >= 0.2 * size**2):
            if i == 0:  # what is below the threshold
                continue
            x, y, w, h, area = (int(n) for n in stats[i])
            window = (slice(max(0, y - margin), min(height, y + h + margin)),
                      slice(max(0, x - margin), min(width, x + w + margin)))  # fmt: skip
            part = Part(window, (labels[window] == i).astype(np.uint8))
            if area < LARGEST[0] * size**2 and max(w, h) < LARGEST[1] * size:
                _judge(part, shown, edges, size)
            index[i] = len(parts)
            if before is None:
                lowest.append(len(parts))
            else:
                row, column = divmod(int(part.mask.argmax()), part.mask.shape[1])
                parts[before[1][before[0][window][row, column]]].within.append(len(parts))
            parts.append(part)
        before = labels, index
        if count == 1:
            break
    for part in reversed(parts):
        part.best = max(part.value, sum(parts[k].best for k in part.within))
    return parts, lowest


def _together(one: Part, two: Part, shown: np.ndarray, edges: np.ndarray, size: float) -> Part | None:
    """Two parts and what lies between them as one; None if they are too far apart."""
    margin = max(2, round(0.25 * size)) + 1
    window = tuple(
        slice(max(0, min(a.start, b.start) - margin), min(n, max(a.stop, b.stop) + margin))
        for a, b, n in zip(one.window, two.window, shown.shape, strict=True)
    )
    mask = np.zeros([side.stop - side.start for side in window], np.uint8)
    for part in (one, two):
        mask[tuple(slice(a.start - b.start, a.stop - b.start)
                   for a, b in zip(part.window, window, strict=True))] |= part.mask  # fmt: skip
    gap = max(1, round(JOIN * size))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * gap + 1,) * 2)
    closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, kernel)
    if cv2.connectedComponents(closed, connectivity=4)[0] != 2:
        return None
    both = Part(window, closed)
    _judge(both, shown, edges, size)
    between = (closed > 0) & (mask == 0)
    if between.any():  # a joint shows something, the ground between two vehicles nothing
        filled = float(shown[window][between].mean() / shown[window][mask > 0].mean())
        both.value *= 1 + np.clip(2 * filled - 0.4, 0, 0.8)
    return both


def _joined(parts: list[Part], shown: np.ndarray, edges: np.ndarray, size: float) -> list[Part]:
    """Parts put together where that is worth more: a car whose windscreen looks like asphalt, a bus with
    its joint."""
    parts = [part for part in parts if part.quality > 0.01]
    reach, tried = 2 * JOIN * size, {}
    while True:
        low = np.array([[side.start for side in part.window] for part in parts]).reshape(-1, 2)
        high = np.array([[side.stop for side in part.window] for part in parts]).reshape(-1, 2)
        near = ((low[:, None] - reach < high) & (low - reach < high[:, None])).all(axis=2)
        best, most = None, 0.0
        for i, j in np.argwhere(np.triu(near, 1)):
            one, two = parts[i], parts[j]
            if (one, two) not in tried:
                tried[one, two] = _together(one, two, shown, edges, size)
            both = tried[one, two]
            if both is not None and both.value - one.value - two.value > most:
                best, most = (i, j, both), both.value - one.value - two.value
        if best is None:
            return parts
        parts = [part for k, part in enumerate(parts) if k not in best[:2]] + [best[2]]


def find_things(shown: np.ndarray, edges: np.ndarray, size: float, least: float):
    """Boxes (x, y, width, height), pixels, and scores of the things in the evidence (`lib.evidence`),
    float32 (H, W).

    size: pixels across a usual vehicle. Scores are 0..1, the square root of the quality; those below `least`
    are left out.
    """
    parts, waiting = _tree(shown, edges, size)
    chosen = []
    while waiting:
        part = parts[waiting.pop()]
        if part.value > 0 and part.value >= part.best:
            chosen.append(part)
        else:
            waiting += part.within
    found = ((part.box(), float(np.sqrt(part.quality))) for part in _joined(chosen, shown, edges, size))
    return [(box, score) for box, score in found if score >= least]
