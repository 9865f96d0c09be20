"""Two flights over one place: each a panorama, the second laid over the first, what changed (the paper's
section 2).

The chain before the classifier: frames are corrected and stitched (`lib.stitching`), the panoramas registered
(`lib.registration`) and compared (`lib.changes`); `lib.anomalies` classifies what was found.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from lib import changes
from lib.crops import SIZE, resize
from lib.flight_colour import seen
from lib.georeference import Georeference, from_frames
from lib.pictures import PICTURES
from lib.registration import Registration, common_ground, lay, register
from lib.runs import InputError
from lib.stitching import Panorama, read_flight, read_seen, stitch
from lib.visdrone import image_size

MEGAPIXELS = 400  # of a panorama, at most


def results_folder(place: str) -> str:
    """Where a run keeps what changed at a place of one's own, by its name; "" for the drawn flights.

    What lies below `places` is a person's own and is never published. InputError: no plain name.
    """
    if not place:
        return "panorama"
    if place.startswith(".") or Path(place).name != place:
        raise InputError("place", repr(place), "a plain name, without folders")
    return f"places/{place}"


@dataclass(frozen=True)
class Flight:
    """A flight's panorama. facts: what was done to make it, title -> text; georeference: None without GPS."""

    panorama: Panorama
    facts: dict[str, str]
    georeference: Georeference | None


def open_flight(source: str | os.PathLike, reference: str | None = None, partial: bool = False) -> Flight:
    """A folder of overlapping frames, stitched, or one image file, a finished panorama (black or
    transparent borders: not seen).

    reference: name of the frame that layout and colours follow (None: the most central one); partial: leave
    out frames that do not join, which `facts` names then. InputError: neither folder nor image, a corrupt
    image, one frame alone, frames that do not join (each with its reason), more than MEGAPIXELS.
    """
    if not os.fspath(source):  # as a path it would be the folder that one is in
        raise InputError("flight", "nothing", "a folder of frames, or one panorama")
    source = Path(source).expanduser()
    if source.is_dir():
        frames = read_flight(source)
        panorama = stitch(frames, reference, partial, max_megapixels=MEGAPIXELS, flight=source)
        sizes = {name: frame.shape[1::-1] for name, frame in frames.items()}
        facts = {"frames": f"{len(panorama.places)} of {len(frames)} joined",
                 "median error between frames": f"{panorama.error_px:.2f} px"}
        if panorama.left_out:
            facts["left out"] = "; ".join(f"{name}: {why}" for name, why in panorama.left_out.items())
        return Flight(panorama, facts | _size(panorama), from_frames(panorama.places, sizes, source))
    if not source.exists() or source.suffix.lower() not in PICTURES:
        ends = f"a file that ends in {source.suffix!r}"
        found = ends if source.exists() else "no such file or folder"
        raise InputError(source, found, f"a folder of frames, or one panorama ({', '.join(PICTURES)})")
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # Pillow would call a large one corrupt
    try:
        width, height = image_size(source, upright=True)
        if width * height > MEGAPIXELS * 1e6:
            found = f"{width} x {height} pixels"
            raise InputError(source, found, f"{MEGAPIXELS} megapixels at most")
        image = read_seen(source)
    finally:
        Image.MAX_IMAGE_PIXELS = limit
    shown = seen(image)
    if not shown.any():
        raise InputError(source, "nothing but black", "a panorama")
    panorama = Panorama.finished(image, shown, source.name)
    return Flight(panorama, {"frames": "one, a finished panorama"} | _size(panorama), None)


def _size(panorama: Panorama) -> dict[str, str]:
    height, width = panorama.image.shape[:2]
    return {"size": f"{width:,} × {height:,} px ({width * height / 1e6:.1f} megapixels), "
                    f"{100 * panorama.covered.mean():.0f} % of it seen"}


@dataclass(frozen=True)
class Comparison:
    """What changed between two panoramas: `lib.changes.Region`s in pixels of the first."""

    first: Panorama
    second: Panorama
    registration: Registration
    regions: list[changes.Region]

    @cached_property
    def second_over_first(self) -> np.ndarray:
        """The second panorama in the first's pixels, RGB uint8 (H, W, 3), black where it shows nothing."""
        height, width = self.first.image.shape[:2]
        out = np.zeros((height, width, 3), np.uint8)
        for top in range(0, height, changes.TILE):
            for left in range(0, width, changes.TILE):
                window = (slice(top, min(height, top + changes.TILE)),
                          slice(left, min(width, left + changes.TILE)))  # fmt: skip
                picture, shown = self._second(window)
                out[window] = picture * shown[..., None]
        return out

    def _second(self, window: tuple[slice, slice]) -> tuple[np.ndarray, np.ndarray]:
        """The second panorama over a window of the first, and where it shows anything."""
        shape = self.first.image.shape[:2]
        return lay(self.second.image, self.second.covered, self.registration, shape, window)

    def shared(self) -> float:
        """Share of the first panorama's ground that the second shows too, on a grid of points."""
        here, both = common_ground(self.registration, self.first.covered, self.second.covered, 60)
        return float(both.sum() / max(here.sum(), 1))

    def crops(self) -> np.ndarray:
        """Each region as the classifier sees objects, uint8 (n, 32, 32, 3), from the panorama that shows
        it."""
        found = [self._crop(region) for region in self.regions]
        return np.stack(found) if found else np.empty((0, SIZE, SIZE, 3), np.uint8)

    def _crop(self, region: changes.Region) -> np.ndarray:
        height, width = self.first.image.shape[:2]
        x, y, w, h = region.box
        left, top = max(x, 0.0), max(y, 0.0)
        right, bottom = min(x + w, float(width)), min(y + h, float(height))
        window = slice(int(top), int(np.ceil(bottom))), slice(int(left), int(np.ceil(right)))
        if region.seen == "first":
            picture = self.first.image[window]
        else:
            picture, _ = self._second(window)
        box = left - window[1].start, top - window[0].start, right - window[1].start, bottom - window[0].start
        return resize(picture, SIZE, box)


def compare(first: Panorama, second: Panorama, vehicle_px: float, least: float = changes.LEAST) -> Comparison:
    """Register the second panorama onto the first and find what one of them shows alone.

    vehicle_px: how many pixels of the first panorama a usual vehicle is wide; least: smallest score of a
    region, 0..1. InputError: two places, no ground in common, a vehicle_px that is too small (`register`,
    `detect`).
    """
    registration = register(first.image, second.image, first.covered, second.covered)
    regions = changes.detect(
        first.image, second.image, registration, vehicle_px, least, first.covered, second.covered
    )
    return Comparison(first, second, registration, regions)
