"""Placed and corrected frames of a flight blended into one picture, along seams that avoid what moved."""

from __future__ import annotations

import cv2
import numpy as np

from lib.flight_colour import correct, filled
from lib.matching import project, shift, zoom

SEAM_MEGAPIXELS = 0.6  # of the panorama while seams are sought, or
SEAM_SHARE = 0.03  # for each frame, if that is more
NEW = 0.02  # of a frame's area that the panorama must gain from it, or it only fills gaps
BANDS = 4  # of the blending: it reaches over 2 ** BANDS pixels
FINE = 16  # steps of a grey level while bands are added: OpenCV drops fractions in each of them


def _window(place: np.ndarray, size, whole) -> tuple[slice, slice]:
    """Rows and columns of the panorama of `whole` (width, height) that a frame of `size` can reach."""
    box = project(place, np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * size - 0.5)
    low = np.maximum(np.floor(box.min(axis=0)), 0).astype(int)
    high = np.minimum(np.ceil(box.max(axis=0)) + 1, whole).astype(int)
    low = np.minimum(low, high - 1)  # a tiny frame at the very border still gets a pixel
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def _warp(picture, place, window, flags=cv2.INTER_LINEAR, border=cv2.BORDER_CONSTANT):
    rows, columns = window
    matrix = shift(-columns.start, -rows.start) @ place
    size = columns.stop - columns.start, rows.stop - rows.start
    return cv2.warpPerspective(picture, matrix, size, flags=flags, borderMode=border)


def _seams(frames, visible, placed, colours, reference, whole):
    """Index of the frame that each panorama pixel is taken from, int16 (h, w) at reduced size, -1 for none.

    Ground goes to the frame that sees it farthest from its border; where two see it about as well, a graph
    cut puts the seam where both look alike, so around what moved. Clipped pixels lose against unclipped ones.
    """
    pixels = max(SEAM_MEGAPIXELS, SEAM_SHARE * len(placed)) * 1e6
    scale = min(1.0, float(np.sqrt(pixels / (whole[0] * whole[1]))))
    size = tuple(max(1, int(np.ceil(n * scale))) for n in whole)
    windows, pictures, scores = [], [], []
    for name, place in placed.items():
        frame, usable = correct(frames[name], *colours[name]), visible[name]
        rimmed = cv2.copyMakeBorder(usable.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
        inner = cv2.distanceTransform(rimmed, cv2.DIST_L2, 3)[1:-1, 1:-1]
        score = inner / max(float(inner.max()), 1.0) * (2.0 if name == reference else 1.0) + 1e-3
        score[(frames[name] >= 253).any(axis=2)] *= 0.03
        score = np.where(usable, score, 0).astype(np.float32)
        full = np.array(frame.shape[1::-1])
        small = np.maximum(1, np.round(full * scale)).astype(int)
        if scale < 1:
            frame = cv2.resize(frame, small.tolist(), interpolation=cv2.INTER_AREA)
            score = cv2.resize(score, small.tolist(), interpolation=cv2.INTER_AREA)
        matrix = zoom(scale, scale) @ place @ zoom(*(full / small))
        windows.append(_window(matrix, small, size))
        pictures.append(_warp(frame, matrix, windows[-1], border=cv2.BORDER_REPLICATE))
        scores.append(_warp(score, matrix, windows[-1]))
    chosen, best = _needed(scores, windows, size, list(placed).index(reference))
    masks = [((scores[k] > 0) & (scores[k] >= 0.3 * best[windows[k]])).astype(np.uint8) * 255 for k in chosen]
    finder = cv2.detail_GraphCutSeamFinder("COST_COLOR_GRAD")
    masks = finder.find([pictures[k].astype(np.float32) for k in chosen],
                        [(windows[k][1].start, windows[k][0].start) for k in chosen], masks)
    labels = np.full(size[::-1], -1, np.int16)
    for k, mask in zip(chosen, masks, strict=True):
        mask = mask.get() if isinstance(mask, cv2.UMat) else np.asarray(mask)
        labels[windows[k]][mask.reshape(labels[windows[k]].shape) > 0] = k
    return labels


def _needed(scores, windows, size, reference: int) -> tuple[list[int], np.ndarray]:
    """Frames that show NEW of their area first, or twice as well as those before; the best scores, (h, w).

    The reference comes first, then the one that adds most. With all of many frames of one place, the graph
    cuts would take hours.
    """
    best, chosen, rest = np.zeros(size[::-1], np.float32), [], set(range(len(scores)))
    new = {reference: 1.0}
    while new and max(new.values()) >= NEW:
        k = max(sorted(new), key=new.get)
        np.maximum(best[windows[k]], scores[k], out=best[windows[k]])
        chosen.append(k)
        rest.remove(k)
        new = {k: (scores[k] > 2 * best[windows[k]]).sum() / max(1, (scores[k] > 0).sum()) for k in rest}
    return sorted(chosen), best


def blend(frames, visible, placed, colours, reference, whole) -> tuple[np.ndarray, np.ndarray]:
    """Panorama, RGB uint8, and what it covers: seams found at reduced size, blended in frequency bands."""
    rough = _seams(frames, visible, placed, colours, reference, whole)
    rough = cv2.resize(rough, whole, interpolation=cv2.INTER_NEAREST)
    labels = np.full(whole[::-1], -1, np.int16)
    windows = {name: _window(place, frames[name].shape[1::-1], whole) for name, place in placed.items()}
    numbers = {name: k for k, name in enumerate(placed)}
    order = sorted(placed, key=lambda name: name != reference)
    for by_seams in (True, False):  # then what the seams, being rough, gave to a frame that does not see it
        for name in order:
            shows = _warp(visible[name].astype(np.uint8) * 255, placed[name], windows[name]) > 254
            part, wish, k = labels[windows[name]], rough[windows[name]], numbers[name]
            part[shows & (wish == k if by_seams else part < 0)] = k
    covered = labels >= 0
    blender = cv2.detail_MultiBandBlender(0, BANDS, cv2.CV_32F)
    blender.prepare((0, 0, *whole))
    for k, name in enumerate(placed):
        window = windows[name]
        own = labels[window] == k
        rows, columns = np.flatnonzero(own.any(axis=1)), np.flatnonzero(own.any(axis=0))
        if not len(rows):
            continue
        margin = 3 * 2**BANDS  # beyond that the blending does not look
        window = tuple(slice(max(side.start, int(side.start + at[0]) - margin),
                             min(side.stop, int(side.start + at[-1]) + 1 + margin))
                       for side, at in zip(window, (rows, columns), strict=True))
        frame = correct(filled(frames[name], visible[name]), *colours[name])
        picture = _warp(frame, placed[name], window, cv2.INTER_CUBIC, cv2.BORDER_REPLICATE)
        mask = (labels[window] == k).astype(np.uint8) * 255
        blender.feed(picture.astype(np.int16) * FINE, mask, (window[1].start, window[0].start))
    image, _ = blender.blend(None, None)
    image = ((np.clip(image, 0, 255 * FINE) + FINE // 2) // FINE).astype(np.uint8)
    image[~covered] = 0
    return image, covered
