"""Are tiles cut from a frame put together again? Part `stitching` of `benchmarks.panorama`.

Each frame is cut into 3 x 3 overlapping tiles, each bent by a random perspective and given its own gains and
gamma; `lib.stitching` puts them together, with the untouched middle tile as reference. Places are compared
with the true homographies and colours with the frame. OpenCV's own Stitcher gets the same tiles in the same
run.
"""

from __future__ import annotations

import time

import cv2
import numpy as np

from lib.runs import InputError, progress
from lib.stitching import Panorama, stitch

OVERLAP, MOVED = 0.3, 0.03  # of a tile's width and height
GAINS, GAMMAS = (0.7, 1.3), (0.8, 1.25)
CENTRE = "tile_11"
PLACED = 5.0  # pixels: a tile whose median error is larger has a place, but not its own
GRID = 9  # points on a side at which a tile's place is compared
SHOWN = 0.5  # of a tile's area that a result must show for the tile to count as placed


def cut_tiles(frame: np.ndarray, seed) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Name -> tile, RGB uint8, and name -> true homography, tile pixels -> frame pixels.

    3 x 3 tiles named tile_<row><column>, next ones 30 % of their width and height over each other. Every
    corner of a tile is moved by up to 3 % of the tile's width and height (uniform), so the tile shows a
    perspective; the grid keeps as much from the frame's border, so tiles are full. Each tile v becomes 255 *
    gain * (v / 255) ** gamma, gains per channel uniform in 0.7..1.3, gamma log-uniform in 0.8..1.25, rounded
    and clipped. The middle tile is copied unchanged: reference of layout and colour. seed: int or sequence,
    as numpy.random.default_rng takes it.
    """
    rng = np.random.default_rng(seed)
    whole = np.array(frame.shape[1::-1])
    size = np.floor(whole / (1 + 2 * (1 - OVERLAP) + 2 * MOVED)).astype(int)
    if (size < 2).any():
        raise InputError("frame", f"{whole[0]} x {whole[1]} pixels", "a frame for 3 x 3 tiles")
    step = np.floor(size * (1 - OVERLAP)).astype(int)
    start = (whole - size - 2 * step) // 2
    tiles, truth = {}, {}
    for row in range(3):
        for column in range(3):
            name, low = f"tile_{row}{column}", start + step * (column, row)
            corners = np.float32([[0, 0], [1, 0], [1, 1], [0, 1]]) * (size - 1)
            moved = corners + low + rng.uniform(-MOVED, MOVED, (4, 2)) * size
            gain, gamma = rng.uniform(*GAINS, 3), np.exp(rng.uniform(*np.log(GAMMAS)))
            if name == CENTRE:
                tiles[name] = frame[low[1]:low[1] + size[1], low[0]:low[0] + size[0]].copy()
                truth[name] = np.array([[1, 0, low[0]], [0, 1, low[1]], [0, 0, 1]], float)
                continue
            truth[name] = cv2.getPerspectiveTransform(np.float32(corners), np.float32(moved))
            how = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
            tile = cv2.warpPerspective(frame, truth[name], size.tolist(), None, how, cv2.BORDER_REPLICATE)
            tiles[name] = np.clip(np.round(255 * gain * (tile / 255) ** gamma), 0, 255).astype(np.uint8)
    return tiles, truth


def _grid(size) -> np.ndarray:
    x, y = (np.linspace(0, n - 1, GRID) for n in size)
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(1, -1, 2)


def reprojection(panorama: Panorama, tiles, truth) -> dict[str, float]:
    """Name of each placed tile -> median over a grid of its points of the distance, in the middle tile's
    pixels, between where the panorama puts the point and where it belongs."""
    to_centre, found = np.linalg.inv(panorama.places[CENTRE]), {}
    for name, place in panorama.places.items():
        grid = _grid(tiles[name].shape[1::-1])
        ours = cv2.perspectiveTransform(grid, to_centre @ place)
        true = cv2.perspectiveTransform(grid, np.linalg.inv(truth[CENTRE]) @ truth[name])
        found[name] = float(np.median(np.linalg.norm(ours - true, axis=-1)))
    return found


def colour_error(picture, shown, to_frame, frame) -> tuple[float, float]:
    """Mean absolute difference (0..255) of a picture to the frame, its homography into the frame given, over
    the pixels that it shows; and the share of the frame that it shows."""
    size = frame.shape[1::-1]
    there = cv2.warpPerspective(shown.astype(np.uint8) * 255, to_frame, size) > 254
    if not there.any():
        return float("nan"), 0.0
    warped = cv2.warpPerspective(picture, to_frame, size, flags=cv2.INTER_CUBIC)
    return float(np.abs(warped.astype(float) - frame)[there].mean()), float(there.mean())


def register(picture, frame) -> tuple[np.ndarray, float] | None:
    """Homography of a result into the frame it should equal, from SIFT matches, and the median distance that
    is left.

    All matches within 20 pixels count, so what one homography cannot undo (bent or badly joined tiles) shows.
    None: too few matches to tell.
    """
    sift = cv2.SIFT_create(4000, 3, 0.01, 12, 1.6, True)
    clahe = cv2.createCLAHE(3.0, (8, 8))
    greys = [clahe.apply(cv2.cvtColor(x, cv2.COLOR_RGB2GRAY)) for x in (picture, frame)]
    a, b = (sift.detectAndCompute(grey, None) for grey in greys)
    if a[1] is None or b[1] is None or min(len(a[0]), len(b[0])) < 20:
        return None
    nearest = cv2.BFMatcher().knnMatch(a[1], b[1], 2)
    matches = [m for m, *n in nearest if n and m.distance < 0.75 * n[0].distance]
    if len(matches) < 20:
        return None
    p = np.array([a[0][m.queryIdx].pt for m in matches])
    q = np.array([b[0][m.trainIdx].pt for m in matches])
    matrix, _ = cv2.findHomography(p, q, cv2.USAC_MAGSAC, 5.0, maxIters=5000, confidence=0.999)
    if matrix is None:
        return None
    away = np.linalg.norm(cv2.perspectiveTransform(p[None], matrix)[0] - q, axis=1)
    return (matrix, float(np.median(away[away < 20]))) if (away < 20).sum() >= 20 else None


def _opencv(tiles, truth, frame, mode) -> dict:
    """One run of OpenCV's Stitcher."""
    stitcher = cv2.Stitcher_create(mode)
    cv2.setRNGSeed(0)
    names, started = list(tiles), time.perf_counter()
    try:
        status, picture = stitcher.stitch([tiles[name] for name in names])
    except cv2.error:
        status, picture = -1, None
    found = {"seconds": time.perf_counter() - started, "success": status == cv2.Stitcher_OK, "placed": 0.0,
             "reprojection_px": None, "colour_error": None, "colour_error_gain": None}
    if not found["success"]:
        return found
    found["placed"] = len(stitcher.component()) / len(tiles)
    registered = register(picture, frame)
    if registered is not None:
        matrix, found["reprojection_px"] = registered
        shown = picture.any(axis=2)
        found["colour_error"], _ = colour_error(picture, shown, matrix, frame)
        size = frame.shape[1::-1]
        there = cv2.warpPerspective(shown.astype(np.uint8) * 255, matrix, size) > 254
        warped = cv2.warpPerspective(picture, matrix, size, flags=cv2.INTER_CUBIC)[there].astype(float)
        gain = frame[there].mean(axis=0) / np.maximum(warped.mean(axis=0), 1)
        found["colour_error_gain"] = float(np.abs(np.clip(warped * gain, 0, 255) - frame[there]).mean())
    return found


def _summary(values, how=np.median):
    values = [value for value in values if value is not None and np.isfinite(value)]
    return round(float(how(values)), 3) if values else None


def measure(frames: dict[str, np.ndarray], seed: int = 0, opencv: bool = True) -> dict:
    """Cut, stitch and compare every frame; plain values for JSON.

    frames, tiles: how many. placed: share of the tiles with a place whose median error is at most 5 pixels.
    reprojection_px: median over frames of the median over all grid points' tiles (`reprojection`);
    reprojection_px_worst: the largest of a single placed tile of any frame. colour_error: mean over frames of
    the mean absolute difference between panorama and untouched frame, 0..255, over the pixels that the
    panorama covers; colour_error_worst: of one frame; covered: share of the frame that those are, mean.
    seconds: median per frame, all of `stitch`. seeds: [seed, number of the frame] from which each frame's
    tiles were cut. registered_px and registered_colour_error: as OpenCV's result is measured. failed: names
    of frames -> why not all of their tiles joined. opencv_stitcher: the same tiles through cv2.Stitcher, in
    the mode that placed more tiles (then: the smaller colour error), both under `modes`. success: share of
    frames with status OK; placed: share of all tiles that it used; it keeps no places, so reprojection_px is
    the distance left when its result is registered onto the frame by one homography (`register`),
    colour_error is taken there, and colour_error_gain after its mean colour was set to the frame's, as it has
    no reference for colour. Means over the frames it succeeded with; reprojection_px and seconds: medians.
    """
    ours, theirs, seeds, failed, tiles_of = [], {"PANORAMA": [], "SCANS": []}, [], {}, 0
    for number, (name, frame) in enumerate(progress(frames.items(), len(frames), "stitching tiles")):
        seeds.append([int(seed), number])
        try:
            tiles, truth = cut_tiles(frame, seeds[-1])
        except InputError as error:
            failed[name] = str(error)
            tiles_of += 9
            continue
        tiles_of += len(tiles)
        started = time.perf_counter()
        try:
            panorama = stitch(tiles, reference=CENTRE, partial=True)
        except InputError as error:
            failed[name] = str(error)
            ours.append({"placed": 0, "seconds": time.perf_counter() - started})
        else:
            seconds = time.perf_counter() - started
            if panorama.left_out:
                failed[name] = "; ".join(f"{tile}: {why}" for tile, why in panorama.left_out.items())
            errors = reprojection(panorama, tiles, truth)
            to_frame = truth[CENTRE] @ np.linalg.inv(panorama.places[CENTRE])
            colour, covered = colour_error(panorama.image, panorama.covered, to_frame, frame)
            entry = {"placed": sum(e <= PLACED for e in errors.values()), "seconds": seconds,
                     "px": float(np.median(list(errors.values()))), "worst": max(errors.values()),
                     "colour": colour, "covered": covered}  # fmt: skip
            registered = register(panorama.image, frame) if opencv else None
            if registered is not None:
                entry["registered_px"] = registered[1]
                there = panorama.image, panorama.covered, registered[0]
                entry["registered_colour"], _ = colour_error(*there, frame)
            ours.append(entry)
        for mode, code in (("PANORAMA", cv2.Stitcher_PANORAMA), ("SCANS", cv2.Stitcher_SCANS)):
            if opencv:
                theirs[mode].append(_opencv(tiles, truth, frame, code))

    def over(key, how=np.median):
        return _summary([entry.get(key) for entry in ours], how)

    found = {
        "frames": len(frames), "tiles": tiles_of,
        "placed": round(sum(entry["placed"] for entry in ours) / max(tiles_of, 1), 4),
        "reprojection_px": over("px"), "reprojection_px_worst": over("worst", np.max),
        "colour_error": over("colour", np.mean), "colour_error_worst": over("colour", np.max),
        "covered": over("covered", np.mean), "seconds": over("seconds"), "seeds": seeds,
        "registered_px": over("registered_px"), "registered_colour_error": over("registered_colour", np.mean),
        "failed": failed,
    }  # fmt: skip
    modes = {}
    for mode, entries in theirs.items():
        if entries:
            modes[mode] = {key: _summary([entry[key] for entry in entries],
                                         np.median if key in ("reprojection_px", "seconds") else np.mean)
                           for key in entries[0]}  # fmt: skip
    if modes:
        best = max(modes, key=lambda mode: (modes[mode]["placed"], -(modes[mode]["colour_error"] or 255)))
        found["opencv_stitcher"] = modes[best] | {"mode": best, "modes": modes}
    return found
