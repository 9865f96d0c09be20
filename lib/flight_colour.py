"""Brightness and colour of the frames of one flight, brought to those of a reference frame.

Model per frame and channel: corrected = gain * v ** gamma with v in 0..1, that is a gain for exposure and
white balance and an exponent for the tone curve. In logarithms it is linear, so the means of log v over
blocks of the ground that two frames share give linear equations, whatever texture a block holds; all overlaps
are solved together. Extends the gain compensation of Brown and Lowe, "Automatic Panoramic Image Stitching
using Invariant Features" (2007).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from lib.matching import shift, zoom

LOW, HIGH = 4, 252  # of 255; darker values carry too coarse a logarithm, brighter ones may be clipped
GAINS, GAMMAS = (0.25, 4.0), (0.4, 2.5)  # beyond lies no camera setting of one flight, only a bad fit
MEGAPIXELS = 4.0  # of samples, of the largest frame
BLOCK = 8  # samples on a side of a block: a residual shift of a pixel moves little across its border
BLOCKS = 2000  # of one overlap that enter; more change nothing but the time
# Standard deviations of the logarithms of gain and gamma, and of a frame's gammas from each other's mean.
PRIOR_GAIN, PRIOR_GAMMA, PRIOR_TONE = 1.0, 0.5, 0.1
NOISE = 0.01  # of a block's difference, in parts of full scale: what the priors are weighed against


@dataclass(frozen=True)
class Blocks:
    """Means of log(v / 255) over blocks of the panorama: those of one frame.

    corner: column and row of its first block; logs float32 (rows, columns, 3); known bool (rows, columns, 3),
    False where the frame does not cover the whole block or the channel is too dark or clipped in it.
    """

    corner: tuple[int, int]
    logs: np.ndarray
    known: np.ndarray


def seen(frame: np.ndarray) -> np.ndarray:
    """Which pixels of an RGB uint8 frame show anything: bool (H, W).

    False in connected areas of exactly (0, 0, 0) that touch the frame's border (what an earlier warp left),
    and within two pixels of these, where interpolation has mixed black in. Black objects inside a frame stay
    seen.
    """
    black = ~frame.any(axis=2)
    rim = np.concatenate([black[0], black[-1], black[:, 0], black[:, -1]])
    if not rim.any():
        return np.ones_like(black)
    areas, _ = ndimage.label(black)
    rim = np.concatenate([areas[0], areas[-1], areas[:, 0], areas[:, -1]])
    sizes = np.bincount(areas.ravel())
    large = [area for area in np.unique(rim) if area and sizes[area] >= 16]  # fewer are dark pixels
    return cv2.dilate(np.isin(areas, large).astype(np.uint8), np.ones((5, 5), np.uint8)) == 0


def filled(frame: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """The frame, what is not seen filled from the nearest seen pixel: black would bleed, and have an edge."""
    if visible.all() or not visible.any():
        return frame
    at = ndimage.distance_transform_edt(~visible, return_distances=False, return_indices=True)
    return frame[at[0], at[1]]


def sample(frame: np.ndarray, visible: np.ndarray, place: np.ndarray, step: float) -> Blocks:
    """Blocks of a frame, RGB uint8, of which `visible`, bool (H, W), is looked at.

    place: homography, frame pixels -> panorama pixels; step: panorama pixels per sample, BLOCK samples to a
    block.
    """
    corners = np.float64([[[0, 0], [1, 0], [1, 1], [0, 1]]]) * frame.shape[1::-1]
    grow = cv2.perspectiveTransform(corners, place)[0] / step
    shrink = np.sqrt(cv2.contourArea(np.float32(grow)) / (frame.shape[0] * frame.shape[1]))
    first = np.floor(grow.min(0) / BLOCK).astype(int)
    count = np.ceil(grow.max(0) / BLOCK).astype(int) - first
    usable = ((frame > LOW) & (frame < HIGH) & visible[..., None]).astype(np.float32)
    logs = np.log(np.maximum(frame, 1) / np.float32(255)).astype(np.float32)
    turn = np.eye(3)
    if shrink < 0.8:  # warping alone would skip pixels
        size = tuple(max(1, round(n * shrink)) for n in frame.shape[1::-1])
        logs, usable = (cv2.resize(x, size, interpolation=cv2.INTER_AREA) for x in (logs, usable))
        turn = zoom(*(np.array(frame.shape[1::-1]) / size))
    into = shift(*(-first * BLOCK)) @ zoom(1 / step, 1 / step) @ place @ turn
    logs, usable = (cv2.warpPerspective(x, into, (count * BLOCK).tolist()) for x in (logs, usable))
    logs, usable = (cv2.resize(x, count.tolist(), interpolation=cv2.INTER_AREA) for x in (logs, usable))
    return Blocks((int(first[0]), int(first[1])), logs, usable > 0.999)


def shared(one: Blocks, two: Blocks) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logarithms (n, 3) and (n, 3) of the blocks that both frames hold; the channels known in both."""
    low = np.maximum(one.corner, two.corner)
    high = np.minimum(*(np.add(b.corner, b.logs.shape[1::-1]) for b in (one, two)))
    if (high <= low).any():
        return np.empty((0, 3)), np.empty((0, 3)), np.empty((0, 3), bool)
    cut = [tuple(slice(low[k] - b.corner[k], high[k] - b.corner[k]) for k in (1, 0)) for b in (one, two)]
    known = one.known[cut[0]] & two.known[cut[1]]
    rows = np.argwhere(known.any(axis=2))
    rows = rows[:: max(1, len(rows) // BLOCKS)]
    at = rows[:, 0], rows[:, 1]
    return one.logs[cut[0]][at].astype(float), two.logs[cut[1]][at].astype(float), known[at]


def relate(one: np.ndarray, two: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, ...]:
    """The line two = a + b * one through logarithms (n, 3) of shared blocks, per channel.

    Returns log b (3,), the mean of each frame on the line (3,), (3,), and how precisely log b and the line's
    height are known (3,), (3,): inverse variances. Both frames are noisy alike (Deming's regression): least
    squares from either side would find too small a slope. Differences count in brightness, not in its
    logarithm, as a picture shows them; blocks that disagree (what moved between the frames) lose their weight
    (Huber's, then Tukey's).
    """
    known = known.astype(float)
    bright = np.exp((one + two) / 2)
    weights = known * bright**2
    for turn in range(10):
        total = np.maximum(weights.sum(axis=0), 1e-12)
        means = np.array([(weights * x).sum(axis=0) for x in (one, two)]) / total
        x, y = one - means[0], two - means[1]
        xx, yy, xy = ((weights * u * v).sum(axis=0) for u, v in ((x, x), (y, y), (x, y)))
        clear = xy > 0.3 * np.sqrt(xx * yy) + 1e-9  # else the ground is too even to show a slope
        slope = np.where(clear, (yy - xx + np.hypot(yy - xx, 2 * xy)) / np.where(clear, 2 * xy, 1), 1.0)
        off = np.abs(y - slope * x) * bright / np.sqrt((1 + slope**2) / 2)
        middle = [np.median(off[known[:, c] > 0, c]) if known[:, c].any() else 0.0 for c in range(3)]
        spread = np.maximum(1.4826 * np.array(middle), 0.004)
        z = off / spread
        robust = 1.5 / np.maximum(z, 1.5) if turn < 4 else np.maximum(0, 1 - (z / 4.7) ** 2) ** 2
        weights = known * robust * bright**2
    scale = np.maximum(NOISE, spread) ** 2
    return np.log(slope), *means, np.where(clear, slope * xy, 0) / scale, total / scale


def _solve(count: int, reference: int, equations, prior: np.ndarray) -> np.ndarray:
    """Values (count, 3), 0 for the reference, from (i, j, differences i - j (3,), their precisions (3,))."""
    matrix, right = np.zeros((count, 3, count, 3)), np.zeros((count, 3))
    c = np.arange(3)
    for i, j, difference, precision in equations:
        for k, other, sign in ((i, j, 1), (j, i, -1)):
            matrix[k, c, k, c] += precision
            matrix[k, c, other, c] -= precision
            right[k] += sign * precision * difference
    for i in range(count):
        matrix[i, :, i, :] += prior
    free = np.flatnonzero(np.arange(count) != reference)
    left = matrix[free][:, :, free].reshape(3 * len(free), 3 * len(free))
    found = np.zeros((count, 3))
    found[free] = np.linalg.solve(left, right[free].ravel()).reshape(-1, 3)
    return found


def solve(blocks: Sequence[Blocks], reference: int) -> tuple[np.ndarray, np.ndarray]:
    """Gains (n, 3) and gammas (n, 3) that make all shared blocks agree; those of the reference are 1.

    Ratios of gammas, then of gains, from the lines of all overlaps (`relate`). (Least squares of the
    corrected values themselves would make the flight paler the more frames there are, as equal frames differ
    least.) Weak priors hold a frame that shares little near gain 1, gamma 1 and its three gammas near each
    other: a tone curve is the camera's.
    """
    n = len(blocks)
    overlaps = [(i, j, *shared(blocks[i], blocks[j])) for i in range(n) for j in range(i + 1, n)]
    lines = [(i, j, *relate(*overlap)) for i, j, *overlap in overlaps if len(overlap[0])]
    tones = np.eye(3) * PRIOR_GAMMA**-2 + (np.eye(3) - 1 / 3) * PRIOR_TONE**-2
    ratios = [(i, j, ratio, known) for i, j, ratio, _, _, known, _ in lines]
    gamma = np.clip(np.exp(_solve(n, reference, ratios, tones)), *GAMMAS)
    heights = [(i, j, gamma[j] * two - gamma[i] * one, known) for i, j, _, one, two, _, known in lines]
    gain = np.exp(_solve(n, reference, heights, np.eye(3) * PRIOR_GAIN**-2))
    # Rounded, so that the order in which threads add cannot reach the picture.
    return np.round(np.clip(gain, *GAINS), 6), np.round(gamma, 6)


def correct(frame: np.ndarray, gain: np.ndarray, gamma: np.ndarray) -> np.ndarray:
    """RGB uint8 of the same shape: 255 * gain * (v / 255) ** gamma, rounded and clipped.

    A clipped channel (v >= 253) is only known to be at least so bright: it takes the mean of the channels
    that are not clipped, or the brightest limit where all are, if that is more; else highlights would turn
    coloured.
    """
    if (gain == 1).all() and (gamma == 1).all():
        return frame
    levels = 255 * np.asarray(gain) * (np.arange(256)[:, None] / 255) ** np.asarray(gamma)
    table = np.clip(np.round(levels), 0, 255).astype(np.uint8)
    out = cv2.LUT(np.ascontiguousarray(frame), table[None])
    clipped = frame >= 253
    rows = np.nonzero(clipped.any(axis=2))
    if len(rows[0]):
        values, lost = out[rows].astype(np.float32), clipped[rows]
        count = (~lost).sum(1)
        mean = np.where(lost, 0, values).sum(1) / np.maximum(count, 1)
        guess = np.where(count > 0, mean, values.max(1))[:, None]
        out[rows] = np.where(lost, np.maximum(values, guess), values).round().astype(np.uint8)
    return out


def correct_flight(
    frames: Mapping[str, np.ndarray],
    places: Mapping[str, np.ndarray],
    reference: str,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Name -> (gain (3,), gamma (3,)) for `correct`, from the overlaps of placed frames.

    frames: RGB uint8; places: name -> homography into common pixels. About MEGAPIXELS of samples are taken
    of the largest frame. The reference gets exactly ones.
    """
    names = list(places)
    step = max(1.0, float(np.sqrt(max(frames[name].shape[0] * frames[name].shape[1] for name in names)
                                  / (MEGAPIXELS * 1e6))))
    blocks = [sample(frames[name], seen(frames[name]), places[name], step) for name in names]
    gains, gammas = solve(blocks, names.index(reference))
    return {name: (gains[i], gammas[i]) for i, name in enumerate(names)}
