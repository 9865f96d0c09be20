"""Overlapping frames of a flight, corrected in colour and stitched into a panorama (section 2 of the paper).

The ground counts as a plane, so a homography places each frame, straight-down or oblique. SIFT keypoints are
matched between frames, pairs are verified, all homographies are adjusted together against one fixed reference
frame, colours are brought to those of the reference (`lib.flight_colour`), and each piece of ground is taken
from one frame along seams that avoid what moved, blended in frequency bands. Frames that do not join are
named with the reason.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from lib.blending import blend
from lib.flight_colour import correct_flight, seen
from lib.matching import describe, shift
from lib.pictures import PICTURES, read_upright
from lib.placing import outline, place_frames, reason, residuals
from lib.runs import InputError


@dataclass(frozen=True)
class Panorama:
    """Frames of a flight in one picture.

    image: RGB uint8 (H, W, 3), zeros where nothing was seen; covered: bool (H, W). places: frame name ->
    homography (3, 3) float64, frame pixels -> panorama pixels (x right, y down, centres on whole numbers);
    that of the reference moves by whole pixels. colours: frame name -> (gain (3,), gamma (3,)) as applied,
    corrected = 255 * gain * (v / 255) ** gamma. left_out: frame name -> why it did not join; empty unless
    `partial` was asked. error_px: median distance between matched points after the adjustment, panorama
    pixels.
    """

    image: np.ndarray
    covered: np.ndarray
    places: dict[str, np.ndarray]
    colours: dict[str, tuple[np.ndarray, np.ndarray]]
    left_out: dict[str, str]
    reference: str
    error_px: float

    @classmethod
    def finished(cls, image: np.ndarray, covered: np.ndarray, name: str = "") -> Panorama:
        """One picture, RGB uint8 (H, W, 3), that nothing has to be joined with, as a flight of one frame."""
        return cls(image, covered, {name: np.eye(3)}, {name: (np.ones(3), np.ones(3))}, {}, name, 0.0)


def read_flight(folder: str | os.PathLike) -> dict[str, np.ndarray]:
    """File name -> RGB uint8 (height, width, 3), sorted by name, upright as the EXIF orientation says, black
    where transparent.

    InputError: no such folder, fewer than two images in it, or a file that is corrupt or cut short, or a link
    to nothing (it is named).
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(folder, "no such folder", "a folder of frames")
    paths = sorted(path for path in folder.iterdir()
                   if path.suffix.lower() in PICTURES and not path.is_dir() and not path.name.startswith("."))
    if len(paths) < 2:
        found = f"one image ({paths[0].name})" if paths else "no images"
        raise InputError(folder, found, f"two overlapping frames at least ({', '.join(PICTURES)})")
    return {path.name: read_seen(path) for path in paths}


def read_seen(path: str | os.PathLike) -> np.ndarray:
    """A picture as `lib.pictures.read_upright`, black where it is transparent: mapping programs write any
    colour there."""
    picture = read_upright(path)
    with Image.open(path) as image:
        if "A" not in image.getbands():
            return picture
        alpha = np.asarray(ImageOps.exif_transpose(image).getchannel("A"))
    return picture * (alpha > 127)[..., None]


def stitch(
    frames: Mapping[str, np.ndarray],
    reference: str | None = None,
    partial: bool = False,
    max_megapixels: float = 400,
    flight: str | os.PathLike = "flight",
) -> Panorama:
    """Place, correct and blend the frames of a flight; see `Panorama`.

    frames: name -> RGB uint8 (H, W, 3), of any sizes, two at least; exactly black areas at a frame's border
    count as not seen. reference: the frame whose pixel grid and colours the panorama keeps (None: the most
    central one). partial: leave out what does not join instead of failing; the group of the reference is
    stitched, or the largest. The same input gives the same bytes, however many threads there are. Memory
    grows with the panorama, about 30 bytes a pixel, not with frames times panorama. flight: where it is from,
    for errors.

    InputError: fewer than two frames, or two that join; a frame that is no RGB uint8 or an unknown reference;
    frames that do not join, each with the reason (too few features, no overlap found, implausible geometry);
    a panorama of more than `max_megapixels`, which a view towards the horizon would make.
    """
    frames = dict(frames)
    if len(frames) < 2:
        only = f"only {next(iter(frames))}" if frames else "no frames"
        raise InputError(flight, only, "two overlapping frames at least")
    for name, frame in frames.items():
        kind, shape = getattr(frame, "dtype", type(frame).__name__), getattr(frame, "shape", ())
        if kind != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
            raise InputError(name, f"{kind} {shape}", "RGB uint8 (height, width, 3)")
    if reference is not None and reference not in frames:
        raise InputError(reference, "no such frame", f"one of {', '.join(list(frames)[:5])}, ...")
    cv2.setRNGSeed(0)
    names = sorted(frames)
    visible = {name: seen(frames[name]) for name in names}
    features = [describe(frames[name], visible[name]) for name in names]
    wanted = None if reference is None else names.index(reference)
    places, chosen, pairs, failures = place_frames(features, wanted)
    left_out = {names[k]: reason(k, features, names, pairs, failures, chosen)
                for k in range(len(names)) if k not in places}
    outlines = {k: outline(place, features[k].size) for k, place in places.items()}
    for k in [k for k, corners in outlines.items() if corners is None]:
        left_out[names[k]] = "implausible geometry: seen from the reference it reaches towards the horizon"
        del outlines[k], places[k]
    said = "; ".join(f"{name}: {why}" for name, why in sorted(left_out.items()))
    if len(places) < 2:
        raise InputError(flight, f"frames that do not join: {said}", "two overlapping frames at least")
    if left_out and not partial:
        expected = "overlapping frames (partial leaves these out: make panorama PARTIAL=1)"
        raise InputError(flight, f"frames that do not join: {said}", expected)
    corners = np.concatenate(list(outlines.values()))
    low = np.floor(corners.min(axis=0) + 0.5)
    width, height = (int(n) for n in np.ceil(corners.max(axis=0) - 0.5) - low + 1)
    if width * height > max_megapixels * 1e6:
        largest = max(outlines, key=lambda k: cv2.contourArea(np.float32(outlines[k])))
        raise InputError(flight, f"a panorama of {width} x {height} pixels (largest: {names[largest]})",
                         f"{max_megapixels:g} megapixels at most")
    error = np.concatenate([residuals(places, i, j, pair) for (i, j), pair in sorted(pairs.items())
                            if i in places and j in places])
    placed = {names[k]: shift(*-low) @ places[k] for k in sorted(places)}
    colours = correct_flight(frames, placed, names[chosen])
    image, covered = blend(frames, visible, placed, colours, names[chosen], (width, height))
    return Panorama(image, covered, placed, colours, left_out, names[chosen], float(np.median(error)))
