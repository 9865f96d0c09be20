"""Simulated winter of one object seen from a drone: snow laid over a summer patch.

A stand-in for winter flights (paper, section 4: 811 cars under snow), for machines
that have none. It is not physics: a handful of soft masks decide where snow can
lie, noise decides where it does lie, and light turns overcast and cold.

How strong it is was fixed by eye, beside what photographs of parked and driving
cars after snowfall show from above: a thick white roof, glass and sides that stay
dark, grey-brown wheel tracks, faint bluish shadows. The numbers below are that
judgement, written down once. No classifier was looked at while choosing them and
none may be: a number tuned to an accuracy would make every later result circular.

The weather (first group of constants) is the same for all six classes, so that white
ground is never a sign of one class. Only how snow holds on the object differs
(`HOLD`): persons and motorcycles move and carry a dusting.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

SIDE = 96  # pixels of a patch; the object's box is the central half
# -- weather, the same for every class ------------------------------------------------
SNOW = (0.88, 0.91, 0.94)  # RGB of clean snow under a grey sky: just below white, a little blue
SLUSH = (0.50, 0.48, 0.46)  # RGB of driven snow: grey-brown
LIGHT = (0.84, 1.04)  # late afternoon to bright overcast: factor on the snow's colour
GROUND = (0.75, 1.05)  # share of the ground that snow covers, thin to closed
GROUND_KEEP = 0.08  # what of the ground's own colour still shows through closed snow
RELIEF = 0.10  # brightness swing of trodden, wind-blown snow (multi-octave noise)
DIRT = 0.22  # how grey the dirtiest places away from tracks are, 0 clean to 1 slush
SHADOW = 0.35  # exponent that flattens summer shadows to the faint ones of an overcast sky
RUTS = 0.5  # share of patches with a pair of wheel tracks; persons stand beside roads too
RUT_DEPTH = (0.3, 0.85)  # how far a track turns from snow to slush
CONTRAST = 0.84  # what hazy air leaves of the contrast of all that is not snow
CAST = (0.96, 1.0, 1.05)  # RGB factors of the cold light
FLAKES = 0.6  # share of patches with falling snow; the rest is after the fall
FLAKE_ALPHA = (0.25, 0.8)  # how opaque flakes are: far and out of focus to near
SENSOR = (0.006, 0.022)  # standard deviation of sensor noise in dim light, of 1
# -- the object -----------------------------------------------------------------------
COVER = (0.25, 0.85)  # from half cleared (roof only) to freshly covered (some of the glass and sides too)
GLASS = 0.85  # how strongly dark parts (glass, wheels) stay free: wipers, warmth, slope
SIDE_FREE = 0.8  # how much less the lower part of an oblique view (sides, lights) holds
RAGGED = 0.55  # how far noise moves the border of the snow on the object
SOFT = 0.17  # softness of a border between snow and no snow
CRUST = 0.90  # opacity of the snow on the object
SHAPE = 0.55  # how much of the relief of roof, bonnet and glass the snow on them still shows
DRIFT = 0.5  # share of the object's lower rim that drifts can bury
CONTACT = 0.30  # darkening of the snow right beside the object (sky hidden by it)
# How well snow holds on the object, by label (bus, car, ignored region, motorcycle, pedestrian, truck).
HOLD = (1.0, 1.0, 0.8, 0.5, 0.35, 1.0)

_BANK = 512  # side of a noise tile; a patch is a window of it


def _normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape, dtype=np.float32)


@lru_cache(maxsize=1)
def _bank() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noise for all patches: (blotches, grain, flakes), each (k, 512, 512) float32 in 0..1.

    Blotches and grain are sums of octaves, levelled to a flat histogram, so that the
    share of pixels under a threshold is the threshold.
    """
    rng = np.random.default_rng(20250)

    def octaves(scales: tuple[float, ...], falloff: float) -> np.ndarray:
        total = np.zeros((_BANK, _BANK), np.float32)
        for k, scale in enumerate(scales):
            layer = cv2.GaussianBlur(_normal(rng, _BANK, _BANK), (0, 0), scale)
            total += layer / layer.std() * falloff**k
        ranks = np.empty(_BANK * _BANK, np.float32)
        ranks[np.argsort(total, axis=None, kind="stable")] = np.linspace(0, 1, ranks.size, dtype=np.float32)
        return ranks.reshape(_BANK, _BANK)

    blotches = np.stack([octaves((12.0, 5.0, 2.2), 0.45) for _ in range(4)])
    grain = np.stack([octaves((6.0, 2.5, 1.1), 0.95) for _ in range(4)])
    flakes = []
    for count, size, length in ((900, 1, 1), (500, 1, 4), (260, 2, 1), (160, 2, 7), (60, 3, 5)):
        layer = np.zeros((_BANK, _BANK), np.float32)
        slant = rng.normal(0, 0.25)
        places = rng.uniform(0, _BANK, (count, 2))
        for (x, y), weight in zip(places, rng.uniform(0.4, 1, count), strict=True):
            end = (int(x + slant * length), int(y + length))
            cv2.line(layer, (int(x), int(y)), end, float(weight), size, cv2.LINE_AA)
        flakes.append(cv2.GaussianBlur(layer, (0, 0), 0.5 + 0.3 * size))
    return blotches, grain, np.clip(np.stack(flakes), 0, 1)


@lru_cache(maxsize=1)
def _sensor_bank() -> np.ndarray:
    noise = _normal(np.random.default_rng(20251), 256, 256, 3)
    return (noise + cv2.GaussianBlur(noise, (0, 0), 1.0) * 2).astype(np.float32) / 1.5


def _window(tiles: np.ndarray, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A random window of a random tile, resized to the patch."""
    tile = tiles[rng.integers(len(tiles))]
    top, left = rng.integers(0, _BANK - height), rng.integers(0, _BANK - width)
    window = tile[top : top + height, left : left + width]
    if rng.random() < 0.5:
        window = window[:, ::-1]
    return cv2.resize(window, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)


def _step(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """Smooth 0 to 1 between `low` and `high`."""
    t = np.clip((x - np.float32(low)) * np.float32(1 / (high - low)), 0, 1)
    return t * t * (3 - 2 * t)


@lru_cache(maxsize=8)
def _grids(box: tuple[int, int, int, int]) -> tuple[np.ndarray, ...]:
    """In half sides of the box: coarse (24, 24) x, y and outside weight; full (96, 96) x, y."""
    x0, y0, x1, y1 = box

    def axes(step: int) -> tuple[np.ndarray, np.ndarray]:
        at = (np.arange(SIDE // step, dtype=np.float32) + 0.5) * step
        x = (at - (x0 + x1) / 2) * (2 / (x1 - x0))
        y = (at - (y0 + y1) / 2) * (2 / (y1 - y0))
        return np.broadcast_to(x, (len(at), len(at))).copy(), np.repeat(y[:, None], len(at), axis=1)

    cx, cy = axes(4)
    outside = ((np.abs(cx) > 1) | (np.abs(cy) > 1)).astype(np.float32)
    x, y = axes(1)
    return cx.astype(np.float32), cy.astype(np.float32), outside, x.astype(np.float32), y.astype(np.float32)


def _blend_ground(small: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The ground's colour everywhere (24, 24, 3), spread inwards from where `weight` trusts it."""
    stack = np.dstack([small * weight[..., None], weight])
    stack = cv2.GaussianBlur(stack, (0, 0), 5.0, borderType=cv2.BORDER_REPLICATE)
    return stack[..., :3] / (stack[..., 3:] + 1e-4)


def _unlike(small: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """How unlike the ground a pixel is: colour counts more than light, darker less than brighter (shadow)."""
    delta = small - ground
    light = delta.mean(axis=2)
    colour = delta - light[..., None]
    light = np.where(light < 0, light * np.float32(0.7), light)
    return np.sqrt(light * light + 5.0 * np.einsum("ijk,ijk->ij", colour, colour))


def object_mask(patch: np.ndarray, box: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray, float]:
    """Where the object probably is.

    `patch`: float32 (96, 96, 3), 0..1. Returns (object, ground, direction):
    object float32 (96, 96) in 0..1 (neighbours in the margin count too, weaker), the
    ground's local grey float32 (96, 96) in 0..1, and the angle of the object's long
    axis in radians. Evidence is the difference from the colour of the margin, whose moments
    give an oriented rounded box; without evidence the inset box itself is taken.
    """
    cx, cy, outside, _, _ = _grids(tuple(int(v) for v in box))
    small = cv2.resize(patch, (24, 24), interpolation=cv2.INTER_AREA)
    ground = _blend_ground(small, outside)
    odd = _unlike(small, ground)
    ground = _blend_ground(small, outside * np.exp(-((odd / 0.12) ** 2)) + 1e-3 * outside)
    evidence = _step(_unlike(small, ground), 0.05, 0.22)

    inside = 1 - outside
    weight = inside * (0.08 + evidence)
    total = weight.sum()
    mx, my = (weight * cx).sum() / total, (weight * cy).sum() / total
    dx, dy = cx - mx, cy - my
    xx, yy = (weight * dx * dx).sum() / total, (weight * dy * dy).sum() / total
    xy = (weight * dx * dy).sum() / total
    direction = 0.5 * float(np.arctan2(2 * xy, xx - yy))
    cos, sin = np.cos(direction), np.sin(direction)
    u, v = dx * cos + dy * sin, dy * cos - dx * sin
    # A uniform box of half side a has variance a^2 / 3.
    long = np.sqrt(3 * (weight * u * u).sum() / total) + 0.12
    wide = np.sqrt(3 * (weight * v * v).sum() / total) + 0.12
    oriented = 1 - _step((u / long) ** 4 + (v / wide) ** 4, 0.6, 1.7)
    upright = 1 - _step(cx**4 + cy**4, 0.7, 1.5)
    prior = upright * (0.35 + 0.65 * oriented)
    coarse = np.clip(prior * (0.38 + 0.80 * evidence) + 0.5 * outside * evidence, 0, 1).astype(np.float32)
    mask = _step(cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC), 0.22, 0.62)
    grey = cv2.resize(cv2.cvtColor(ground, cv2.COLOR_RGB2GRAY), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    # A box as long as wide has no axis to be seen: most such views are from ahead or behind.
    return mask, grey, direction if long > 1.25 * wide else float(np.pi / 2)


def snow(
    patch: np.ndarray, box: tuple[int, int, int, int], rng: np.random.Generator, *, aspect: float, label: int
) -> np.ndarray:
    """Lay simulated snow over one object and the ground around it.

    patch: uint8 (96, 96, 3) RGB, the object with margin; left as it is.
    box: (x0, y0, x1, y1) in pixels of the patch, the object's box (24, 24, 72, 72).
    rng: every random choice comes from it, in the same order for every class.
    aspect: width / height of the box before it was squeezed to a square, > 0.
    label: 0..5, index into `lib.visdrone.CLASSES`.

    Returns a new uint8 array (96, 96, 3). The same arguments give the same bytes.
    """
    if patch.shape != (SIDE, SIDE, 3) or patch.dtype != np.uint8:
        raise ValueError(f"patch: found {patch.dtype} {patch.shape}, expected uint8 ({SIDE}, {SIDE}, 3)")
    if not 0 <= label < len(HOLD):
        raise ValueError(f"label: found {label}, expected 0..{len(HOLD) - 1}")
    blotches, grains, flake_tiles = _bank()
    _, _, _, x, y = _grids(tuple(int(v) for v in box))
    # Windows of noise have the shape of the unsqueezed object, so that texture is not squeezed.
    stretch = float(np.clip(aspect, 0.4, 2.5)) ** 0.5
    high, wide = int(SIDE / stretch), int(SIDE * stretch)
    light, cover_ground, cover = rng.uniform(*LIGHT), rng.uniform(*GROUND), rng.uniform(*COVER)
    on_object, on_ground = _window(blotches, rng, high, wide), _window(blotches, rng, high, wide)
    grain = _window(grains, rng, high, wide)
    rut, rut_depth = rng.random() < RUTS, rng.uniform(*RUT_DEPTH)
    rut_at, rut_turn, rut_gap = rng.uniform(-1.5, 1.5), rng.normal(0, 0.12), rng.uniform(0.45, 0.7)
    oblique, falling, opacity = rng.uniform(0.3, 1.0), rng.random() < FLAKES, rng.uniform(*FLAKE_ALPHA)

    picture = patch.astype(np.float32)
    picture *= np.float32(1 / 255)
    mask, ground_grey, direction = object_mask(picture, box)
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    near = cv2.blur(mask, (13, 13))

    # Snow on the ground: faint old shadows, relief, contact darkening beside the object, slush in tracks.
    shade = cv2.pow(np.clip(grey / (ground_grey + 0.05), 0.25, 1.6), SHADOW)
    tone = shade * (1 + 2 * RELIEF * (grain - 0.5)) * (1 - CONTACT * near)
    bare = _step(on_ground, cover_ground - SOFT, cover_ground + SOFT)
    slush = DIRT * on_object
    if rut:
        angle = direction + rut_turn
        across = y * np.float32(np.cos(angle)) - x * np.float32(np.sin(angle)) - np.float32(rut_at)
        track = 1 - np.abs(np.abs(across) - np.float32(rut_gap)) * np.float32(1 / 0.3) + 0.9 * (grain - 0.5)
        slush = np.maximum(slush, np.float32(rut_depth) * _step(track, 0.0, 0.9))

    # Snow on the object: upward faces, not glass, its border moved by noise.
    body = mask * (np.maximum(np.abs(x), np.abs(y)) < 1)
    level = float((grey * body).sum() / (body.sum() + 1e-3))
    smooth = cv2.blur(grey, (5, 5))
    dark = _step((level - smooth) * np.float32(1 / min(0.14, 0.35 * (level + 0.1))), 0.12, 1.0)
    upward = 1 - _step(y, -0.1, 0.9) * np.float32(SIDE_FREE * oblique) - GLASS * dark
    bar = 1.2 - (cover + 0.2) * HOLD[label]
    on_top = CRUST * _step(upward + RAGGED * (on_object - 0.5), bar - SOFT, bar + SOFT)
    around = cv2.blur(grey, (17, 17))
    detail = np.clip(1.03 + SHAPE * (grey - around) / (around + 0.1), 0.6, 1.15) + RELIEF * (grain - 0.5)

    # Drifts: the rim towards the ground, buried here and there.
    rim = 4 * near * (1 - near) * _step(y, -0.2, 0.8)
    drift = rim * _step(DRIFT * cover - on_ground, -SOFT, SOFT)
    solid = np.clip(mask - drift * HOLD[label], 0, 1)

    # How much of each shows: the picture itself, clean snow, slush, flakes. Then one weighted sum.
    through = bare * (1 - GROUND_KEEP) + GROUND_KEEP
    fallen = (1 - solid) * (1 - through) * tone
    own = (1 - solid) * through * 0.9 + solid * (1 - on_top)
    parts = [own, fallen * (1 - slush) + solid * on_top * detail, fallen * slush]
    if falling:
        flakes = _window(flake_tiles, rng, high, wide) * np.float32(opacity)
        parts = [part * (1 - flakes) for part in parts] + [flakes]
    cold = np.asarray(CAST, np.float32)
    haze = 0.5 * light * (1 - CONTRAST) * cold  # what the air adds to all that is not snow
    colours = np.stack([haze, *(light * np.asarray(c, np.float32) for c in (SNOW, SLUSH, (1.0, 1.0, 1.0)))])
    colours = colours[: len(parts)].astype(np.float32)
    out = cv2.transform(cv2.merge(parts), colours.T.copy())
    out += picture * (cold * np.float32(CONTRAST)) * parts[0][..., None]
    sensor = _sensor_bank()
    top, left = rng.integers(0, 256 - SIDE, 2)
    out += sensor[top : top + SIDE, left : left + SIDE] * np.float32(rng.uniform(*SENSOR))
    return cv2.convertScaleAbs(np.maximum(out, 0, out=out), alpha=255.0)
