"""How much of a thing each pixel of two registered pictures shows that the other picture does not.

Two ways, as two moments of one season and two seasons have little in common. By colour: colours of the
second picture are brought to those of the first place by place; each pixel is compared with what the other
picture shows nearby, after dense optical flow has undone the parallax of what stands off the ground; the
ground is filled in under what differs; what stands out from it is evidence. By structure, where snow has
changed all colours: what stands out from its own surroundings, where its edges have none beside them in the
other picture.
"""

from __future__ import annotations

import cv2
import numpy as np

SHIFT = 0.1  # of a vehicle's width by which edges may be off
PARALLAX = 0.5  # of a vehicle's width by which what stands off the ground may be off
AROUND = 8  # vehicles' widths over which colours are brought together
NOISE, SURE = 4.0, 30.0  # grey values of a change that says little, and of one that says all
DARK = 0.6  # what a darker pixel counts of a lighter one: it may be shadow
COLOUR = 1.5  # what a step of colour counts of one of lightness
USUAL = 1.4  # of what is usual around: trees and facades differ everywhere
SEASON = 10.0  # grey values by which the pictures differ in the median after equalising: another season

Evidence = tuple[np.ndarray, np.ndarray]  # grey values, and share of own edges, -1..1; float32 (H, W) each


def lab(picture: np.ndarray) -> np.ndarray:
    """RGB uint8 (H, W, 3) as float32: lightness and two axes of colour, 0..255 each."""
    return cv2.cvtColor(picture, cv2.COLOR_RGB2LAB).astype(np.float32)


def local_mean(values: np.ndarray, weight: np.ndarray, reach: int) -> np.ndarray:
    """Weighted mean of (H, W) or (H, W, 3) over a square of `reach` pixels."""
    box = (reach, reach)
    total = cv2.blur(weight, box)
    if values.ndim == 3:
        weight, total = weight[..., None], total[..., None]
    return cv2.blur(values * weight, box) / np.maximum(total, 1e-3)


def equalise(first: np.ndarray, second: np.ndarray, seen: np.ndarray, reach: int) -> np.ndarray:
    """The second picture (Lab) with the first's local mean, and its local contrast of lightness.

    What differs then counts less, and all is done again. seen: bool (H, W), where both show anything.
    """
    weight, out = seen.astype(np.float32), second
    for _ in range(3):
        mean_a, mean_b = local_mean(first, weight, reach), local_mean(second, weight, reach)
        spread_a = local_mean((first[..., 0] - mean_a[..., 0]) ** 2, weight, reach)
        spread_b = local_mean((second[..., 0] - mean_b[..., 0]) ** 2, weight, reach)
        gain = np.clip(np.sqrt((spread_a + 9) / (spread_b + 9)), 0.6, 1.6)
        out = second - mean_b
        out[..., 0] *= gain
        out += mean_a
        off = np.linalg.norm(out - first, axis=2)
        weight = seen / (1 + (off / 12) ** 2).astype(np.float32)
    return out


def other_season(first: np.ndarray, second: np.ndarray, seen: np.ndarray, size: float) -> bool:
    """Whether two registered pictures, RGB uint8, differ nearly everywhere whatever is done to their
    colours."""
    a, b = lab(first), lab(second)
    b = equalise(a, b, seen, int(AROUND * size) | 1)
    return bool(np.median(np.linalg.norm(a - b, axis=2)[seen]) > SEASON)


def outside(value: np.ndarray, other: np.ndarray, reach: int) -> np.ndarray:
    """How far (H, W) each pixel of `value` lies outside of what `other` shows within `reach` pixels."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2)
    low, high = cv2.erode(other, kernel), cv2.dilate(other, kernel)
    off = np.maximum(np.maximum(low - value, value - high), 0)
    off[..., 1:] *= COLOUR
    return np.sqrt((off**2).sum(axis=2))


def _far(own: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """How far (H, W) a picture is from the ground; shadows count less."""
    far = own - ground
    far[..., 0] = np.where(far[..., 0] < 0, DARK * far[..., 0], far[..., 0])
    far[..., 1:] *= COLOUR
    return np.linalg.norm(far, axis=2)


def _wide_blur(values: np.ndarray, reach: float) -> np.ndarray:
    """Gaussian blur of a large standard deviation, in pixels, at a size at which it is small."""
    shrink = max(1, int(reach / 4))
    size = tuple(max(1, n // shrink) for n in values.shape[1::-1])
    small = cv2.resize(values, size, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), reach / shrink)
    return cv2.resize(small, values.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def _remapped(picture: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The picture taken at each pixel plus its offset (x, y)."""
    height, width = offsets.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    x, y = x + offsets[..., 0], y + offsets[..., 1]
    return cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _shifts(first, second, seen, limit: float, reaches: tuple[float, ...]) -> list[np.ndarray]:
    """Where in the second each pixel of the first lies, offsets (H, W, 2): dense optical flow (DIS, Kroeger
    et al. 2016), averaged over each of `reaches` pixels where it makes the pictures agree, at most `limit`
    pixels."""
    a, b = (np.clip(x[..., 0], 0, 255).astype(np.uint8) for x in (first, second))
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(a, b, None)
    off = np.abs(_remapped(second, flow) - first).sum(axis=2)
    texture = cv2.blur(np.abs(cv2.Laplacian(a, cv2.CV_32F)), (5, 5))
    weight = (seen & (np.abs(flow).max(axis=2) <= limit)) * texture / (1 + (off / 15) ** 2)
    weight = weight.astype(np.float32)
    flow *= weight[..., None]
    found = []
    for reach in reaches:  # where nothing near says anything, what lies farther does
        total = _wide_blur(weight, reach) + 0.05 * _wide_blur(weight, 4 * reach)
        mean = _wide_blur(flow, reach) + 0.05 * _wide_blur(flow, 4 * reach)
        found.append(np.clip(mean / np.maximum(total, 1e-3)[..., None], -limit, limit))
    return found


def _ground(first, second, change, reach: int) -> np.ndarray:
    """The ground (H, W, 3) under what differs, from around it: push-pull interpolation of both pictures'
    mean."""
    same = np.exp(-((change / NOISE / 2) ** 2)).astype(np.float32)
    same *= cv2.erode((change < SURE / 2).astype(np.float32), np.ones((2 * reach + 1,) * 2, np.uint8))
    same += 1e-6
    levels = [((first + second) / 2 * same[..., None], same)]
    while min(levels[-1][1].shape) > 4:
        levels.append(tuple(cv2.pyrDown(part) for part in levels[-1]))
    ground = levels[-1][0] / levels[-1][1][..., None]
    for value, weight in reversed(levels[:-1]):
        up = cv2.pyrUp(ground, dstsize=weight.shape[::-1])
        share = np.clip(weight / 0.25, 0, 1)[..., None]
        ground = up * (1 - share) + value / np.maximum(weight, 1e-6)[..., None] * share
    return ground


def _steepness(picture: np.ndarray) -> np.ndarray:
    """Gradient (H, W) over the three channels, grey values a pixel."""
    along = [cv2.Sobel(picture, cv2.CV_32F, *axis, scale=0.125) for axis in ((1, 0), (0, 1))]
    return np.sqrt((along[0] ** 2 + along[1] ** 2).sum(axis=2))


def _own_edges(own: np.ndarray, other: np.ndarray, reach: int, floor: float) -> np.ndarray:
    """-1..1 (H, W): how much steeper a picture is than the other anywhere within `reach` pixels."""
    own = cv2.dilate(own, np.ones((3, 3)))
    other = cv2.dilate(other, np.ones((2 * reach + 3,) * 2))
    return (own - other) / (own + other + floor)


def by_colour(first: np.ndarray, second: np.ndarray, seen: np.ndarray, size: float) -> list[Evidence]:
    """Evidence of either time of two moments of one season.

    first, second: RGB uint8 (H, W, 3), registered; seen: bool, where both show anything; size: pixels across
    a usual vehicle.
    """
    around, reach = int(AROUND * size) | 1, max(1, round(SHIFT * size))

    def soft(picture):
        return cv2.GaussianBlur(picture, (0, 0), 0.05 * size)

    a, b = lab(first), lab(second)
    b = equalise(a, b, seen, around)
    ours = soft(a)
    here = off = None
    for shift in _shifts(a, b, seen, PARALLAX * size, (3 * size, 0.7 * size)):
        moved = equalise(a, _remapped(b, shift), seen, around)
        theirs = soft(moved)
        apart = np.maximum(outside(ours, theirs, reach), outside(theirs, ours, reach))
        if here is None:
            here, off = moved, apart
        else:  # the better explanation of each place counts
            better = cv2.blur(apart, (5, 5)) < cv2.blur(off, (5, 5))
            here, off = np.where(better[..., None], moved, here), np.where(better, apart, off)
    off[~seen] = 0
    ground = _ground(a, here, off, max(1, round(0.2 * size)))
    far = [np.minimum(_far(own, ground), 2 * off) for own in (a, here)]
    total = far[0] + far[1] + 1e-3
    steep = [_steepness(soft(own)) for own in (a, here)]
    found = []
    for k in (0, 1):
        shown = np.sqrt(off * far[k]) * np.clip(1.6 * far[k] / total, 0, 1)
        shown[~seen] = 0
        usual = local_mean(np.minimum(shown, 12), seen.astype(np.float32), int(4 * size) | 1)
        shown = np.maximum(shown - USUAL * usual, 0)
        found.append((shown.astype(np.float32), _own_edges(steep[k], steep[1 - k], reach, 2.0)))
    return found


def by_structure(first: np.ndarray, second: np.ndarray, seen: np.ndarray, size: float) -> list[Evidence]:
    """Evidence of either time of two seasons; arguments as `by_colour`."""
    reach, weight = max(1, round(SHIFT * size)), seen.astype(np.float32)
    far, steep = [], []
    for picture in (first, second):
        own = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)
        wide = min(255, int(3 * size) | 1)
        around = np.stack([cv2.medianBlur(own[..., k], wide) for k in range(3)], axis=-1)
        own = own.astype(np.float32)
        apart = _far(own, around.astype(np.float32))
        usual = local_mean(np.minimum(apart, 25), weight, int(5 * size) | 1)
        far.append(np.maximum(apart - usual, 0) * (20 / (10 + usual)))
        slope = _steepness(cv2.GaussianBlur(own, (0, 0), 0.07 * size))
        usual = local_mean(np.minimum(slope, 30) ** 2, weight, int(AROUND * size) | 1)
        steep.append(slope / (np.sqrt(usual) + 1))
    found = []
    for k in (0, 1):
        edges = _own_edges(steep[k], steep[1 - k], reach, 0.5)
        weight = steep[k] ** 2
        new = cv2.GaussianBlur(np.maximum(edges, 0) * weight, (0, 0), 0.45 * size)
        new /= cv2.GaussianBlur(weight, (0, 0), 0.45 * size) + 0.05
        shown = far[k] * np.clip(2 * new, 0, 1)
        shown[~seen] = 0
        found.append((shown.astype(np.float32), edges))
    return found
