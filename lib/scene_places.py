"""The places of the drawn drone scenes: ground, houses, trees, and who stands where.

World coordinates are metres: the main road runs along y through x = 0, z is up. A place lasts a whole
sequence; from frame to frame vehicles and people move and the camera drifts.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lib import scene_objects as bodies
from lib import scene_people as people

PLACES = ("street", "junction", "street", "parking", "highway", "market", "residential", "junction",
          "street", "square")
# How much of each category a place holds, relative to the other places; the plan below makes the sums right.
HOLDS = {  # car, pedestrian, motorcycle, truck, bus, ignored region, others
    "street": (1.0, 0.9, 1.2, 1.0, 1.2, 1.0, 1.0), "junction": (1.1, 1.1, 1.3, 1.0, 1.3, 1.0, 1.0),
    "parking": (1.7, 0.5, 0.3, 0.8, 0.5, 0.8, 0.8), "highway": (1.3, 0.08, 0.2, 2.2, 1.6, 0.6, 0.6),
    "market": (0.4, 1.8, 2.2, 0.5, 0.2, 1.8, 1.4), "residential": (1.0, 0.6, 0.8, 0.8, 0.1, 1.0, 1.0),
    "square": (0.2, 2.6, 0.4, 0.2, 0.2, 1.0, 1.0),
}
KINDS = ("car", "pedestrian", "motorcycle", "truck", "bus", "ignored region", "other")
SHARES = (0.55, 0.267, 0.1125, 0.0386, 0.0206, 0.0266, 0.09)
# Shares placed, so that those that stay visible come near VisDrone-DET: 51, 28, 11, 4.5, 2.5, 3.4 per cent
REACH = 260.0


@dataclass
class Item:
    """A body at a place: category of VisDrone (None: not annotated), mesh, position, heading, speed, region.

    Heading in radians from +y, counter-clockwise; speed in metres a frame; `region` is the number of the
    ignored region that it fills (None: none).
    """

    category: int | None
    mesh: bodies.Mesh
    x: float
    y: float
    heading: float
    speed: float = 0.0
    region: int | None = None


@dataclass
class Place:
    """Ground polygons (corners (k, 2), colour, roughness), solid things, trees (x, y, z, radius, look)."""

    kind: str
    ground: list = field(default_factory=list)
    base: tuple = ((0.3, 0.35, 0.2), 0.4)
    lanes: list = field(default_factory=list)  # x, y of a point, heading, speed, whether it runs across
    walks: list = field(default_factory=list)  # x0, x1, y0, y1 of areas for people
    bays: list = field(default_factory=list)  # x, y, heading of parking bays
    solids: list = field(default_factory=list)  # Item without category
    trees: list = field(default_factory=list)


def _strip(x0, x1, y0, y1):
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], float)


def _jitter(rng, colour, spread=0.04):
    return np.clip(np.array(colour) * rng.uniform(0.85, 1.15) + rng.normal(0, spread / 3, 3), 0.02, 0.95)


def make_place(kind: str, rng: np.random.Generator) -> Place:
    """Lay out a place of one of `PLACES`; everything random comes from `rng`."""
    place = Place(kind)
    grass = rng.random() < (0.75 if kind in ("highway", "residential") else 0.3)
    place.base = (_jitter(rng, (0.26, 0.33, 0.17) if grass else (0.50, 0.47, 0.42)), 0.5 if grass else 0.22)
    for _ in range(60):  # gardens, yards, bare earth behind the road
        x, y, w, d = rng.uniform(-110, 110), rng.uniform(-90, 170), rng.uniform(5, 30), rng.uniform(5, 30)
        look = ((0.27, 0.35, 0.17), (0.47, 0.43, 0.36), (0.55, 0.54, 0.52),
                (0.40, 0.40, 0.40))[rng.choice(4, p=[0.4, 0.25, 0.2, 0.15])]
        place.ground.append((_strip(x, x + w, y, y + d), _jitter(rng, look), 0.3))
    asphalt = _jitter(rng, (0.40, 0.40, 0.41) if rng.random() < 0.75 else (0.55, 0.53, 0.50), 0.02)
    paving = _jitter(rng, [(0.55, 0.53, 0.51), (0.60, 0.50, 0.46), (0.50, 0.50, 0.52)][rng.integers(3)])
    white = np.array((0.84, 0.84, 0.82)) * rng.uniform(0.8, 1.0)
    yellow = np.array((0.80, 0.66, 0.25))
    lanes = {"highway": (3, 5), "residential": (1, 2), "market": (1, 2)}.get(kind, (1, 4))
    per_side = int(rng.integers(*lanes))
    lane = rng.uniform(3.2, 3.7)
    half = per_side * lane + (1.0 if kind == "highway" else 0.3)
    walk = {"highway": 1.5, "residential": 2.0}.get(kind, rng.uniform(3.5, 8.0))
    centre = -32.0 if kind == "square" else -26.0 if kind == "parking" else 0.0  # the road beside the lot

    def ground(corners, colour, rough=0.1):
        place.ground.append((corners, np.asarray(colour), rough))

    def road(cross: bool):
        turn = (lambda p: p[:, ::-1] * [1, 1]) if cross else (lambda p: p + [centre, 0])
        ground(turn(_strip(-half, half, -REACH, REACH)), asphalt, 0.11)
        for k in range(-per_side, per_side):  # wheel tracks: darker, a little shiny
            ground(turn(_strip(k * lane + 0.6, k * lane + lane - 0.6, -REACH, REACH)), asphalt * 0.95, 0.11)
        keep = half + 3 if kind == "junction" else 0
        for sign in (-1, 1):
            for first, last in ((-REACH, -keep), (keep, REACH)):
                ground(turn(_strip(sign * (half - 0.35), sign * (half - 0.2), first, last)), white)
                for k in range(1, per_side):
                    for y in np.arange(max(first, -90), min(last, 130), 10.0):
                        ground(turn(_strip(sign * k * lane - 0.08, sign * k * lane + 0.08, y, y + 4.5)),
                               white)
                if kind != "highway":
                    ground(turn(_strip(sign * 0.1, sign * 0.25, first, last)),
                           yellow if kind != "residential" else asphalt)
        for k in range(per_side):
            for sign in (-1, 1):
                speed = rng.uniform(0.3, 6.0) if kind in ("street", "highway",
                                                          "junction") else rng.uniform(0.2, 2.0)
                if cross:  # a line along x
                    place.lanes.append((0.0, -sign * (k + 0.5) * lane, -sign * np.pi / 2, speed, True))
                else:
                    place.lanes.append((centre + sign * (k + 0.5) * lane, 0.0, 0.0 if sign > 0 else np.pi,
                                        speed, False))

    for sign in (-1, 1):
        ground(_strip(centre + sign * half, centre + sign * (half + walk), -REACH, REACH), paving, 0.14)
        place.walks.append((centre + sign * (half + 0.3), centre + sign * (half + walk), -REACH, REACH))
    if kind == "junction":
        for sign in (-1, 1):
            ground(_strip(-REACH, REACH, sign * half, sign * (half + walk)), paving, 0.14)
            place.walks.append((-120, 120, sign * (half + 0.3), sign * (half + walk)))
        road(True)
    road(False)
    if kind == "junction":
        ground(_strip(-half, half, -half, half), asphalt * 0.97, 0.12)
    if kind in ("junction", "street", "market"):
        stops = [half + 1.0, -half - 4.5] if kind == "junction" else [rng.uniform(-15, 15)]
        for y in stops:
            for x in np.arange(-half + 0.4, half - 0.5, 1.1):
                ground(_strip(x, x + 0.5, y, y + 3.5), white * 0.95)
                if kind == "junction":
                    ground(_strip(x, x + 0.5, y, y + 3.5)[:, ::-1], white * 0.95)
            place.walks.append((-half, half, y, y + 3.5))
    if kind == "parking":
        lot = (-17.0, 34.0, -34.0, 60.0)
        ground(_strip(*lot), asphalt * rng.uniform(0.85, 1.1), 0.16)
        place.walks.append(lot)
        for row, x in enumerate(np.arange(-13.0, 30.0, 8.2)):
            for y in np.arange(-32.0, 57.0, 2.65):
                if row % 2 == 0:
                    ground(_strip(x - 2.4, x + 2.4, y - 0.06, y + 0.06), white)
                place.bays.append((x + (0 if row % 2 == 0 else 2.0), y + 1.3,
                                   np.pi / 2 * rng.choice([-1, 1])))
    if kind == "square":
        for x in np.arange(-20, 60, 5.0):
            ground(_strip(x, x + 4.9, -45, 75), paving * rng.uniform(0.93, 1.05), 0.12)
        for y in np.arange(-45, 75, 6.0):
            ground(_strip(-20, 60, y, y + 0.25), paving * 0.8, 0.12)
        place.walks += [(-20, 60, -45, 75)] * 8
        turn = np.arange(24) * np.pi / 12
        for radius, colour in ((9.0, paving * 1.15), (7.5, (0.30, 0.38, 0.18)), (4.0, paving * 0.7)):
            ground(np.stack([18 + radius * np.cos(turn), 12 + radius * np.sin(turn)], 1), colour, 0.2)
    if kind == "market":
        place.walks += [(-half, half, -60, 90)] * 2
    for sign in (-1, 1):  # cars along the kerb
        if kind in ("street", "residential", "market") and rng.random() < 0.8:
            for y in np.arange(-100, 140, 6.4):
                place.bays.append((sign * (half - 1.1 if kind == "residential" else half + 1.6), y,
                                   0.0 if sign > 0 else np.pi))
    for _ in range(45):  # repairs, stains, worn places, drain covers, leaves
        x, y, size = centre + rng.normal(0, half + 4), rng.uniform(-50, 80), rng.uniform(0.3, 2.2)
        patch = np.array([(x + size * np.cos(a) * rng.uniform(0.5, 2.5),
                           y + size * np.sin(a)) for a in np.arange(6) * np.pi / 3])
        ground(patch, asphalt * rng.uniform(0.86, 1.1), 0.12)
    _surround(place, rng, centre, half + walk, grass, lane)
    return place


def _surround(place, rng, centre, edge, grass, lane):
    """Houses, trees, lamp posts and furniture beside the road."""
    kind = place.kind
    tall = {"residential": (3.5, 8), "square": (5, 18), "parking": (5, 16)}.get(kind, (6, 20))

    def solid(mesh, x, y, heading):
        place.solids.append(Item(None, mesh, x, y, heading))

    sides = (-1, 1) if kind not in ("square", "parking") else (-1,)
    for sign in sides:
        y = -70.0
        while y < 160 and kind != "highway":
            width, depth = rng.uniform(8, 17), rng.uniform(8, 14)
            gap = rng.uniform(0, 5) if rng.random() < 0.75 else rng.uniform(8, 25)
            blocked = kind == "junction" and abs(y + width / 2) < edge + width / 2 + 1
            if not blocked:
                colour = _jitter(rng, [(0.70, 0.68, 0.64), (0.62, 0.50, 0.42), (0.75, 0.72, 0.60),
                                       (0.55, 0.56, 0.58)][rng.integers(4)])
                solid(house(rng, depth, width, rng.uniform(*tall), colour),
                      centre + sign * (edge + depth / 2 + rng.uniform(0.8, 3)),
                      y + width / 2, 0.0)
            y += width + gap
    looks = rng.uniform(0.7, 1.15)

    def tree(x, y, radius=None):
        radius = rng.uniform(1.3, 3.0) if radius is None else radius
        place.trees.append((x, y, radius * rng.uniform(0.8, 1.6), radius, int(rng.integers(4))))

    if rng.random() < 0.8:
        pitch = rng.uniform(6, 12)
        for sign in (-1, 1):
            for y in np.arange(-60, 150, pitch):
                if rng.random() < 0.75 * looks and not (kind == "junction" and abs(y) < edge + 2):
                    tree(centre + sign * (edge - 1.2 + rng.uniform(-1, 0.8)), y + rng.normal(0, 0.6))
    for _ in range(90 if kind == "highway" else 60 if grass else 30):
        tree(centre + rng.choice([-1, 1]) * (edge + (1 if kind == "highway" else 12) + rng.exponential(14)),
             rng.uniform(-60, 160))
    if kind == "highway":
        for y in np.arange(-60, 150, 3.0):
            tree(centre, y, 0.7)
    if kind in ("square", "parking"):
        for _ in range(14):
            tree(rng.uniform(-18, 60), rng.uniform(-45, 75), rng.uniform(1, 2.2))
    for y in np.arange(-60, 140, rng.uniform(18, 30)):
        for sign in (-1, 1):
            solid(pole(rng), centre + sign * (edge - rng.uniform(0.5, 1.2)), y, 0.0 if sign > 0 else np.pi)
    for _ in range(22):
        solid(block(rng), centre + rng.choice([-1, 1]) * (edge - rng.uniform(-1.5, 1.5)),
              rng.uniform(-50, 110), rng.uniform(0, 6.3))


def house(rng, width, depth, height, colour) -> bodies.Mesh:
    """A block with rows of windows, a shop front and things on its flat or tiled roof."""
    build = bodies.Builder()
    roof = bodies.pick(rng, ((0.55, 0.54, 0.52), (0.42, 0.42, 0.42), (0.52, 0.26, 0.20), (0.28, 0.42, 0.58),
                             (0.66, 0.63, 0.58)))
    outline = bodies.rectangle(width, -depth / 2, depth / 2, 0)
    walls = build.prism(outline, outline + [0, 0, height], colour, lid=roof)
    floors = max(1, int(height / 3.2))
    for wall, span in zip(walls, (width, depth, width, depth), strict=True):
        panes = max(1, int(span / 3.0))
        for level in range(1, floors):
            for k in range(panes):
                build.on(wall, (k + 0.25) / panes, (k + 0.75) / panes, (level + 0.25) / floors,
                         (level + 0.72) / floors,
                         np.array(bodies.GLASS_COLOUR) * rng.uniform(0.8, 2.2), bodies.GLASS)
        for k in range(panes):
            build.on(wall, (k + 0.1) / panes, (k + 0.9) / panes, 0.02, 0.6 / floors, (0.2, 0.2, 0.22),
                     bodies.GLASS)
            if rng.random() < 0.7:
                build.on(wall, (k + 0.04) / panes, (k + 0.96) / panes, 0.65 / floors, 0.95 / floors,
                         bodies.pick(rng, bodies.BRIGHT + bodies.CARGO))
    for _ in range(rng.integers(1, 5)):
        x, y, size = rng.uniform(-0.35, 0.35) * width, rng.uniform(-0.35, 0.35) * depth, rng.uniform(0.8, 2.5)
        unit = bodies.rectangle(size, -size / 2, size / 2, height) + [x, y, 0]
        build.prism(unit, unit + [0, 0, rng.uniform(0.5, 2.0)], roof * rng.uniform(0.7, 1.3))
    return build.done()


def block(rng) -> bodies.Mesh:
    """Street furniture: a kiosk, a skip, a transformer, a stall."""
    build, size = bodies.Builder(), rng.uniform(0.4, 1.2)
    base = bodies.rectangle(size * rng.uniform(0.8, 2.2), -size / 2, size / 2, 0)
    build.prism(base, base * [1, 1, 1] + [0, 0, rng.uniform(0.6, 2.4)],
                bodies.pick(rng, bodies.CARGO) * 0.85, lid=bodies.pick(rng,
                                                                       bodies.CARGO + bodies.BRIGHT) * 0.8)
    return build.done()


def pole(rng) -> bodies.Mesh:
    """A lamp post with an arm over the road (towards -x)."""
    build, tall = bodies.Builder(), rng.uniform(6, 9)
    build.prism(bodies.rectangle(0.2, -0.1, 0.1, 0), bodies.rectangle(0.12, -0.06, 0.06, tall),
                (0.55, 0.56, 0.57))
    arm = bodies.rectangle(2.2, -0.07, 0.07, tall) - [1.0, 0, 0]
    build.prism(arm, arm + [0, 0, 0.12], (0.6, 0.6, 0.6))
    return build.done()


def spot(place: Place, kind: str, rng) -> tuple:
    """A likely x, y, heading and speed for a body of this kind."""
    if kind in ("car", "truck", "bus", "van"):
        share = 0.85 if place.kind == "parking" else 0.35 if kind in ("car", "van") else 0.1
        if place.bays and rng.random() < share:
            x, y, heading = place.bays[rng.integers(len(place.bays))]
            heading += rng.normal(0, 0.03) + np.pi * (rng.random() < 0.1)
            return x + rng.normal(0, 0.15), y + rng.normal(0, 0.1), heading, 0.0
        x, y, heading, speed, across = place.lanes[rng.integers(len(place.lanes))]
        along = rng.uniform(-90, 150)
        x, y = (x + along, y + rng.normal(0, 0.2)) if across else (x + rng.normal(0, 0.2), y + along)
        turning = rng.random() < 0.07
        return x, y, heading + (rng.normal(0, 0.5) if turning else rng.normal(0, 0.03)), speed
    if kind == "motorcycle" and rng.random() < 0.55:
        x, y, heading, speed, across = place.lanes[rng.integers(len(place.lanes))]
        along, side = rng.uniform(-90, 150), rng.normal(0, 1.2)
        x, y = (x + along, y + side) if across else (x + side, y + along)
        return x, y, heading + rng.normal(0, 0.2), speed * rng.uniform(0.5, 0.9)
    x0, x1, y0, y1 = place.walks[rng.integers(len(place.walks))]
    (x0, x1), (y0, y1) = sorted((x0, x1)), sorted((max(y0, -90), min(y1, 150)))
    x, y = rng.uniform(x0, x1), rng.uniform(y0, y1)
    return x, y, rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.9)


def body(kind: str, rng) -> tuple[int, bodies.Mesh]:
    """VisDrone category and mesh for a kind of `KINDS` ("other" and "van" give left-out categories)."""
    if kind == "other":
        kind = rng.choice(["van", "people", "bicycle", "tricycle", "other"], p=[0.42, 0.33, 0.14, 0.08, 0.03])
    makers = {"car": (4, bodies.car), "pedestrian": (1, people.pedestrian),
              "motorcycle": (10, people.motorcycle),
              "truck": (6, bodies.truck), "bus": (9, bodies.bus), "people": (2, people.seated)}
    if kind in makers:
        category, maker = makers[kind]
        return category, maker(rng)
    if kind == "van":
        return 5, bodies.car(rng, box=True)
    if kind == "bicycle":
        return 3, people.motorcycle(rng, bicycle=True)
    return (7, people.motorcycle(rng, rider=True)) if kind == "tricycle" else (11, block(rng))


def plan(sequences: int, per_frame: float, scales: np.ndarray, rng) -> tuple[list[str], np.ndarray]:
    """Kind of place of each sequence, and how many of each of `KINDS` its frames hold (sequences, 7).

    The sums over sequences follow `SHARES`; a wide view (small `scales`, px/m) holds more.
    """
    kinds = [PLACES[i % len(PLACES)] for i in rng.permutation(sequences)]
    weights = np.array([HOLDS[kind] for kind in kinds]) * rng.lognormal(0, 0.35, (sequences, len(KINDS)))
    weights *= (np.asarray(scales) / scales.mean())[:, None] ** np.array((-0.6, 0.2, 0.0, -0.5, -0.5, -0.4,
                                                                          -0.2))
    quotas = per_frame * sequences * np.array(SHARES) * weights / weights.sum(0)
    return kinds, quotas
