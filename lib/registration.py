"""A second picture of a place laid onto the first: one homography, then local shifts for what is not flat.

Keypoints, matching and verification are those of `lib.matching`. Scale and rotation may differ; so may the
season, for which a second description of the pictures, their edges, is tried where the first finds too
little.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree

from lib import matching
from lib.runs import InputError

MEGAPIXELS = 4.0  # at which edges are looked for; keypoints at that of `lib.matching`
FIRST, LEAST = 9, 24  # agreeing matches at first, and once they are looked for where they should be
SHARE = 0.35  # of the matches found there that must agree; by chance it is a quarter
REACH = (4.0, 24.0, 8.0)  # pixels: of agreement at first, of the looking then
CELLS = 24  # of the local shifts along the longer side
BEND = 0.03  # of the longer side: how far ground may lie from the plane's picture


@dataclass(frozen=True)
class Registration:
    """matrix: homography (3, 3) from the second picture's pixels to the first's; bend: float32 (rows,
    columns, 2), where the ground shown at the middle of each cell of the first, laid over it evenly, lies
    beside the homography's place, pixels of the first; matches: how many agree; error_px: their median
    distance after both, pixels of the first."""

    matrix: np.ndarray
    bend: np.ndarray
    matches: int
    error_px: float

    def magnification(self, shape: tuple[int, ...]) -> float:
        """Lengths in the first picture by lengths in the second, in the middle of the second (height,
        width)."""
        middle = np.array([[shape[1] / 2, shape[0] / 2]])
        return float(np.abs(matching.magnification(self.matrix, middle))[0])

    def between(self, first_up: np.ndarray, second_up: np.ndarray) -> Registration:
        """The same between resized pictures; each matrix (3, 3) leads from resized to whole pixels."""
        matrix = np.linalg.inv(first_up) @ self.matrix @ second_up
        bend = self.bend / np.float32([first_up[0, 0], first_up[1, 1]])
        return replace(self, matrix=matrix / matrix[2, 2], bend=bend)

    def boxes(self, boxes: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Where boxes (n, 4) of the second picture lie in the first, whose shape is (height, width, ...):
        the upright boxes around their corners. A box begins at the edge of its first pixel, half a pixel
        before that pixel's centre."""
        if not len(boxes):
            return np.empty((0, 4))
        x, y, w, h = np.asarray(boxes, float).T
        x, y = x - 0.5, y - 0.5
        corners = np.stack([np.stack([x, y], 1), np.stack([x + w, y], 1), np.stack([x + w, y + h], 1),
                            np.stack([x, y + h], 1)], axis=1)
        there = matching.project(self.matrix, corners.reshape(-1, 2)).reshape(-1, 4, 2)
        low, high = there.min(axis=1), there.max(axis=1)
        middle = (low + high) / 2
        off = _sample(self.bend, middle, shape)
        off = _sample(self.bend, middle - off, shape)
        return np.concatenate([low - off + 0.5, high - low], axis=1)

    def sources(self, points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Points (n, 2) of the second picture that lie at points (n, 2) of the first, whose shape is
        (height, width, ...)."""
        there = np.asarray(points, float) + _sample(self.bend, points, shape)
        return matching.project(np.linalg.inv(self.matrix), there)


def _edges(picture: np.ndarray) -> np.ndarray:
    """Where edges are, whichever side is lighter: kerbs and roofs keep theirs when snow has fallen."""
    grey = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (0, 0), 1.2).astype(np.float32)
    size = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    local = np.sqrt(cv2.blur(size**2, (65, 65)))
    edges = np.clip(size / (2.5 * local + 8), 0, 1) * 255
    return np.repeat(edges.astype(np.uint8)[..., None], 3, axis=2)


def shrunk(picture: np.ndarray, seen: np.ndarray | None, scale: float):
    """Picture and mask at `scale` (at most 1), and the matrix (3, 3) from their pixels to those of the
    whole."""
    height, width = picture.shape[:2]
    seen = np.ones((height, width), bool) if seen is None else seen
    if scale >= 1:
        return picture, seen, np.eye(3)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    seen = cv2.resize(seen.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA) > 254
    return picture, seen, matching.zoom(width / size[0], height / size[1])


def _matching_scale(picture: np.ndarray) -> float:
    return float(np.sqrt(MEGAPIXELS * 1e6 / (picture.shape[0] * picture.shape[1])))


def register(first: np.ndarray, second: np.ndarray, first_seen=None, second_seen=None) -> Registration:
    """Homography of `second` onto `first`, both RGB uint8 (H, W, 3) of any sizes, scales and rotations.

    first_seen, second_seen: bool (H, W), where the picture shows anything (None: everywhere). InputError
    where fewer matches agree than two views of one place have: another place, or one that changed beyond
    recognition.
    """
    cv2.setRNGSeed(0)
    one, one_seen, one_up = shrunk(first, first_seen, _matching_scale(first))
    two, two_seen, two_up = shrunk(second, second_seen, _matching_scale(second))
    described = [[matching.describe(how(picture), seen) for how in (np.asarray, _edges)]
                 for picture, seen in ((two, two_seen), (one, one_seen))]
    pairs = list(zip(*described, strict=True))
    source, target = _points(pairs, [matching.match(a, b, None, ratio=0.88) for a, b in pairs])
    matrix, agree = _agreeing(source, target, REACH[0])
    found = f"{agree.sum()} of {len(source)} matches agree"
    good = agree.sum() >= FIRST and _plausible(matrix, two.shape)
    for reach in REACH[1:] if good else ():
        source, target = _points(pairs, [matching.guided(a, b, matrix, reach) for a, b in pairs])
        better, agree = _agreeing(source, target, 3.0)
        found = f"{agree.sum()} of {len(source)} matches agree"
        good = agree.sum() >= LEAST and _plausible(better, two.shape)
        if not good:
            break
        matrix = better
    if not good or agree.sum() < SHARE * len(source):
        asked = f"the same place: {LEAST} matches that agree, and {100 * SHARE:.0f} % of those tried there"
        raise InputError("second flight", f"no ground in common with the first ({found})", asked)
    source, target = _consistent(pairs, matrix)
    bend = _bend(matching.project(matrix, source), target, one.shape[:2])
    off = np.hypot(*(matching.project(matrix, source) - _sample(bend, target, one.shape[:2]) - target).T)
    whole = one_up @ matrix @ np.linalg.inv(two_up)
    unit = np.array([one_up[0, 0], one_up[1, 1]])
    return Registration(whole / whole[2, 2], (bend * unit).astype(np.float32), len(source),
                        float(np.median(off) * unit[0]))


def _points(pairs, matches) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 2) of the second and of the first picture that matches of all descriptions name."""
    both = list(zip(pairs, matches, strict=True))
    return tuple(np.concatenate([pair[k].points[found[:, k]] for pair, found in both]) for k in (0, 1))


def _agreeing(source, target, reach: float) -> tuple[np.ndarray | None, np.ndarray]:
    """The homography that most of the matches agree on (MAGSAC++, Barath et al. 2020), and which do."""
    if len(source) < 8:
        return None, np.zeros(len(source), bool)
    how = {"maxIters": 20000, "confidence": 0.9999}
    matrix, agree = cv2.findHomography(source, target, cv2.USAC_MAGSAC, reach, **how)
    if matrix is None or not np.isfinite(matrix).all():
        return None, np.zeros(len(source), bool)
    return matrix / matrix[2, 2], agree.ravel() > 0


def _plausible(matrix, second: tuple[int, ...]) -> bool:
    """Whether the second picture, of this shape, lies on the first without folding, at a fifth to five times
    its size."""
    corners = np.array([[0, 0], [second[1], 0], [second[1], second[0]], [0, second[0]]], float)
    sizes = matching.magnification(matrix, np.vstack([corners, corners.mean(axis=0)]))
    return bool(sizes.min() > 0.2 and sizes.max() < 5 and sizes.max() < 4 * sizes.min())


def _consistent(described, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points of both pictures that match near the homography's place and are off it as their neighbours
    are."""
    found = [matching.guided(a, b, matrix, BEND * max(b.size)) for a, b in described]
    source, target = _points(described, found)
    off = matching.project(matrix, source) - target
    count = min(13, len(target))
    _, near = cKDTree(target).query(target, count)
    keep = np.hypot(*(off - np.median(off[near], axis=1)).T) < 3
    return source[keep], target[keep]


def _bend(there: np.ndarray, target: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Mean of the matches' offsets around the middle of each cell; zero where there are none."""
    side = max(shape) / CELLS
    rows, columns = (max(1, round(n / side)) for n in shape)
    middles = ((np.arange(count) + 0.5) * n / count for count, n in ((rows, shape[0]), (columns, shape[1])))
    y, x = np.meshgrid(*middles, indexing="ij")
    away = np.hypot(x[..., None] - target[:, 0], y[..., None] - target[:, 1]) / side
    weight = np.exp(-(away**2) / 2) + 1e-4 * np.exp(-(away**2) / 72)
    total = weight.sum(axis=-1, keepdims=True)
    return weight @ (there - target) / (total + 1e-2)


def _sample(bend: np.ndarray, points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The shifts (n, 2) at points (x, y), between the middles of cells evenly."""
    rows, columns = bend.shape[:2]
    x = (points[:, 0] + 0.5) * columns / shape[1] - 0.5
    y = (points[:, 1] + 0.5) * rows / shape[0] - 0.5
    return np.stack([map_coordinates(bend[..., k], (y, x), order=1, mode="nearest") for k in (0, 1)], axis=1)


def common_ground(
    registration: Registration, first_seen: np.ndarray, second_seen: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Whether the first picture, and whether both show anything, bool (count, count) each, at the middles of
    as many cells of the first; first_seen, second_seen: masks, bool (H, W), of the two pictures."""
    rows, columns = (((np.arange(count) + 0.5) * side / count).astype(int) for side in first_seen.shape)
    points = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)
    there = np.round(registration.sources(points, first_seen.shape)).astype(int)
    both = ((there >= 0) & (there < second_seen.shape[::-1])).all(axis=1)
    both[both] = second_seen[there[both, 1], there[both, 0]]
    here = first_seen[np.ix_(rows, columns)]
    return here, here & both.reshape(count, count)


def lay(
    second: np.ndarray,
    second_seen: np.ndarray,
    registration: Registration,
    shape: tuple[int, int],
    window: tuple[slice, slice] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The second picture over a window (rows, columns) of the first, whose shape is (H, W): RGB uint8, and
    bool where it shows anything."""
    rows, columns = window or (slice(0, shape[0]), slice(0, shape[1]))
    x, y = np.meshgrid(np.arange(columns.start, columns.stop), np.arange(rows.start, rows.stop))
    there = registration.sources(np.column_stack([x.ravel(), y.ravel()]), shape).astype(np.float32)
    there = there.reshape(*x.shape, 2)
    low = np.floor(there.min(axis=(0, 1))).astype(int) - 2
    high = np.ceil(there.max(axis=(0, 1))).astype(int) + 3
    low, high = np.maximum(low, 0), np.minimum(high, second.shape[1::-1])
    if (high <= low).any():
        return np.zeros((*x.shape, 3), np.uint8), np.zeros(x.shape, bool)
    part = slice(low[1], high[1]), slice(low[0], high[0])
    there -= low.astype(np.float32)
    picture = cv2.remap(second[part], there, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.remap(second_seen[part].astype(np.uint8) * 255, there, None, cv2.INTER_LINEAR)
    return picture, mask > 254
