"""From panorama pixels to the world: positions out of EXIF, and a robust similarity through them.

A frame's EXIF says where the drone hung, which is what the frame's centre shows only if the camera looked
straight down. Positions of consumer drones err by metres, so a panorama of a few frames lies no better.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from lib.runs import InputError

GPS_IFD = 0x8825
EQUATOR, ECCENTRICITY2 = 6_378_137.0, 6.694_379_990_14e-3  # WGS84: metres, squared eccentricity
KEPT = 0.7  # share of the points that the robust fit goes by; of five points that is four
TOLERANCE_M = 1.0  # nearer than this to the fit no point is an outlier: GPS is no better
PAIRS = 500  # pairs of points tried at most
HIGHEST = 89.0  # degrees of latitude, beyond which a plane of longitude and latitude is none


def _degrees(value, reference, negative: str, positive: str) -> float:
    """Degrees from EXIF's (degrees, minutes, seconds); NaN where they or the reference make no sense."""
    if isinstance(reference, bytes):
        reference = reference.decode("ascii", "replace")
    reference = str(reference).strip("\0 ").upper()[:1]
    parts = [float(part) for part in (value if isinstance(value, (tuple, list)) else (value,))]
    if reference not in (negative, positive) or not 1 <= len(parts) <= 3:
        return float("nan")
    if min(parts) < 0 or any(part > 60 for part in parts[1:]):  # 60 seconds are what some writers round to
        return float("nan")
    size = sum(part / 60**k for k, part in enumerate(parts))
    return -size if reference == negative else size


def read_gps(path: str | os.PathLike) -> tuple[float, float] | None:
    """(longitude, latitude) of an image in degrees WGS84, east and north positive, from its EXIF.

    None for a file without a position, for malformed EXIF, for what is no image, for a position without its
    N/S/E/W reference, for impossible values (beyond 90 or 180 degrees, minutes over 60) and for exactly
    0, 0, which cameras without a fix write: one bad frame must not end a run. InputError: no such file.
    """
    if not Path(path).is_file():
        raise InputError(path, "no such file", "an image")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's word on damaged EXIF and large images
            with Image.open(path) as image:
                tags = image.getexif().get_ifd(GPS_IFD)
        latitude = _degrees(tags[2], tags[1], "S", "N")
        longitude = _degrees(tags[4], tags[3], "W", "E")
    except Exception:  # a parser of damaged bytes raises nearly anything: struct.error, SyntaxError ...
        return None
    possible = abs(longitude) <= 180 and abs(latitude) <= 90  # False for NaN
    return (longitude, latitude) if possible and (longitude, latitude) != (0, 0) else None


@dataclass(frozen=True)
class Georeference:
    """A similarity from panorama pixels (x right, y down) to a plane of metres (east, north), and to WGS84.

    origin: (longitude, latitude) of the plane's zero, degrees. turn: complex metres per pixel, so that
    east + i north = turn * (x - i y) + shift. residual_m: root mean square distance, metres, of the points
    kept; NaN with two points, which any similarity meets. points: how many were kept. given: of how many.
    """

    origin: tuple[float, float]
    turn: complex
    shift: complex
    residual_m: float
    points: int
    given: int

    @property
    def metres_per_pixel(self) -> float:
        """Ground metres along one panorama pixel."""
        return abs(self.turn)

    @property
    def north_degrees(self) -> float:
        """Which way is north in the panorama: degrees clockwise from up, -180..180."""
        return float(np.degrees(np.angle(self.turn)))

    def to_world(self, points_px: np.ndarray) -> np.ndarray:
        """(n, 2) panorama pixels -> float64 (n, 2) longitude, latitude, degrees; longitudes in -180..180.

        InputError for another shape.
        """
        x, y = _pairs(points_px, "points_px").T
        plane = self.turn * (x - 1j * y) + self.shift
        east, north = _metres_per_degree(self.origin[1])
        longitude = (self.origin[0] + plane.real / east + 180) % 360 - 180
        return np.column_stack([longitude, self.origin[1] + plane.imag / north])

    def to_pixels(self, lonlat: np.ndarray) -> np.ndarray:
        """(n, 2) longitude, latitude, degrees -> float64 (n, 2) panorama pixels; the inverse of `to_world`.

        InputError for another shape.
        """
        longitude, latitude = _pairs(lonlat, "lonlat").T
        east, north = _metres_per_degree(self.origin[1])
        right = (longitude - self.origin[0] + 180) % 360 - 180
        z = (right * east + 1j * (latitude - self.origin[1]) * north - self.shift) / self.turn
        return np.column_stack([z.real, -z.imag])


def _metres_per_degree(latitude: float) -> tuple[float, float]:
    """Metres of a degree of longitude and of latitude on the ellipsoid, at a latitude in degrees."""
    phi = np.radians(latitude)
    bend = 1 - ECCENTRICITY2 * np.sin(phi) ** 2
    east = EQUATOR / np.sqrt(bend) * np.cos(phi)
    north = EQUATOR * (1 - ECCENTRICITY2) / bend**1.5
    return float(np.radians(east)), float(np.radians(north))


def _pairs(points: np.ndarray, name: str) -> np.ndarray:
    """Finite float64 (n, 2), or InputError."""
    array = np.asarray(points, np.float64)
    array = array.reshape(0, 2) if array.size == 0 else array
    if array.ndim != 2 or array.shape[1] != 2:
        raise InputError(name, f"shape {array.shape}", "(n, 2)")
    if not np.isfinite(array).all():
        raise InputError(name, "values that are not finite", "finite numbers")
    return array


def _similarity(z: np.ndarray, w: np.ndarray) -> tuple[complex, complex]:
    """Least squares w = turn * z + shift over complex numbers."""
    away = z - z.mean()
    turn = np.vdot(away, w - w.mean()) / np.vdot(away, away).real
    return complex(turn), complex(w.mean() - turn * z.mean())


def _kept(z: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Which points a robust similarity goes by, bool (n,); all of them below five points.

    Of the similarities through two points each, the one whose KEPT nearest points lie nearest (least
    quantile of squares, Rousseeuw 1984) tells outliers from noise; least squares over the rest refine it.
    """
    n = len(z)
    everyone = np.ones(n, bool)
    if n < 5:
        return everyone
    last = int(np.ceil(KEPT * n)) - 1
    i, j = np.triu_indices(n, 1)
    if len(i) > PAIRS:
        i, j = np.random.default_rng(0).integers(n, size=(2, PAIRS))
    apart = np.abs(z[i] - z[j]) > 1e-9
    if not apart.any():
        return everyone
    i, j = i[apart], j[apart]
    turn = (w[j] - w[i]) / (z[j] - z[i])
    off = np.abs(turn[:, None] * (z - z[i, None]) + w[i, None] - w)
    distance = off[np.partition(off, last, axis=1)[:, last].argmin()]
    for _ in range(5):
        # Of distances in two dimensions (Rayleigh) KEPT lie below 1.55 sigma and 99.8 % below 3.5. Few
        # points lie nearer to their own fit than they should, which the last factor makes up for.
        sigma = np.partition(distance, last)[last] / np.sqrt(-2 * np.log(1 - KEPT))
        kept = distance <= max(TOLERANCE_M, 3.5 * sigma * (1 + 5 / (n - 2)))
        if len(np.unique(z[kept])) < 2:
            return everyone
        turn, shift = _similarity(z[kept], w[kept])
        distance = np.abs(turn * z + shift - w)
    return kept


def fit(points_px: np.ndarray, lonlat: np.ndarray) -> Georeference:
    """The similarity (no mirror image but that y points down) that brings pixels to positions.

    points_px: (n, 2) panorama pixels; lonlat: (n, 2) longitude, latitude, degrees WGS84. n >= 2 distinct
    places in both; from 5 points on outliers (one at least, up to three in ten) are left out. InputError for
    fewer, for impossible positions, within a degree of a pole, and if pixels explain less than half of the
    positions' spread: a drone that hovered says nothing but its own noise about scale and direction.
    """
    pixels, world = _pairs(points_px, "points_px"), _pairs(lonlat, "lonlat")
    if len(pixels) != len(world):
        raise InputError("lonlat", f"{len(world)} positions", f"one for each of {len(pixels)} points")
    for name, array in (("points_px", pixels), ("lonlat", world)):
        distinct = len(np.unique(array, axis=0))
        if distinct < 2:
            raise InputError(name, f"{distinct} distinct point{'s' * (distinct != 1)}", "two at least")
    if (np.abs(world[:, 0]) > 180).any() or (np.abs(world[:, 1]) > HIGHEST).any():
        raise InputError("lonlat", "impossible values", f"longitude in ±180, latitude in ±{HIGHEST:g}")
    turned = (world[:, 0] - world[0, 0] + 180) % 360 - 180  # across the date line as well
    origin = (float((world[0, 0] + np.median(turned) + 180) % 360 - 180), float(np.median(world[:, 1])))
    east, north = _metres_per_degree(origin[1])
    z = pixels[:, 0] - 1j * pixels[:, 1]
    w = (turned - np.median(turned)) * east + 1j * (world[:, 1] - origin[1]) * north
    kept = _kept(z, w)
    turn, shift = _similarity(z[kept], w[kept])
    off = np.abs(turn * z[kept] + shift - w[kept])
    spread = np.abs(w[kept] - w[kept].mean())
    if not (off**2).sum() <= 0.5 * (spread**2).sum() or turn == 0:
        far, wide = np.sqrt((off**2).mean()), np.sqrt((spread**2).mean())
        found = f"positions {far:.3g} m off, spread over {wide:.3g} m"
        raise InputError("lonlat", found, "positions that follow the pixels")
    n = int(kept.sum())
    # A similarity takes four numbers, two points' worth: of n points' squares n - 2 points' worth is left.
    residual = float(np.sqrt((off**2).sum() / (n - 2))) if n > 2 else float("nan")
    return Georeference(origin, turn, shift, residual, n, len(z))


def from_frames(
    places: Mapping[str, np.ndarray], sizes: Mapping[str, tuple[int, int]], folder: str | os.PathLike
) -> Georeference | None:
    """The georeference of a panorama from the positions of its frames' centres.

    places: file name -> 3x3 homography, frame pixels to panorama pixels; sizes: file name -> (width, height)
    of the frame, pixels; folder: where the files are. None where fewer than two frames carry GPS, and where
    what they carry does not fix a similarity (`fit`: a drone that hovered). InputError: a file or size is
    missing, or a homography is none.
    """
    points, positions = [], []
    for name, matrix in places.items():
        position = read_gps(Path(folder) / name)
        if position is None:
            continue
        if name not in sizes:
            raise InputError(name, "no size", "width and height of every frame")
        matrix = np.asarray(matrix, np.float64)
        if matrix.shape != (3, 3):
            raise InputError(name, f"shape {matrix.shape}", "a homography (3, 3)")
        width, height = sizes[name]
        x, y, depth = matrix @ ((width - 1) / 2, (height - 1) / 2, 1)
        if not np.isfinite([x, y, depth]).all() or abs(depth) < 1e-12:
            raise InputError(name, "a centre at infinity", "a homography that keeps the frame together")
        points.append((x / depth, y / depth))
        positions.append(position)
    if len(points) < 2:
        return None
    try:
        return fit(np.array(points), np.array(positions))
    except InputError:
        return None
