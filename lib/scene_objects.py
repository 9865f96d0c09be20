"""The bodies that stand in a drawn drone scene: the mesh kit, and the vehicles on four wheels.

A body is a small mesh of convex faces in metres: x to the right, y forward, z up, standing on z = 0.
Sizes follow ordinary vehicles and people; colours follow their shares in traffic. Nothing is copied
from photographs, so drawn crops carry no licence of a data set.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MATT, PAINT, GLASS, LIGHT = 0, 1, 2, 3  # how a face answers to light

PAINTS = (  # share, colour: what drives on the road
    (0.31, (0.90, 0.90, 0.89)), (0.19, (0.07, 0.07, 0.08)), (0.16, (0.62, 0.64, 0.66)),
          (0.12, (0.33, 0.34, 0.36)),
    (0.07, (0.60, 0.07, 0.09)), (0.06, (0.11, 0.20, 0.45)), (0.03, (0.85, 0.66, 0.12)),
          (0.04, (0.42, 0.32, 0.24)),
    (0.02, (0.12, 0.33, 0.22)),
)
LIVERIES = ((0.80, 0.30, 0.42), (0.75, 0.10, 0.12), (0.25, 0.55, 0.22), (0.20, 0.42, 0.72),
            (0.92, 0.92, 0.90),
            (0.86, 0.70, 0.20), (0.45, 0.47, 0.50), (0.55, 0.80, 0.25), (0.88, 0.45, 0.60))
CARGO = ((0.88, 0.88, 0.86), (0.18, 0.32, 0.62), (0.60, 0.13, 0.12), (0.45, 0.46, 0.46), (0.16, 0.42, 0.30),
         (0.80, 0.52, 0.18), (0.30, 0.26, 0.22), (0.75, 0.72, 0.65))
BRIGHT = ((0.85, 0.20, 0.55), (0.65, 0.25, 0.70), (0.80, 0.12, 0.15), (0.20, 0.45, 0.80), (0.90, 0.75, 0.20))
GLASS_COLOUR, RUBBER = (0.10, 0.12, 0.14), (0.05, 0.05, 0.055)


@dataclass
class Mesh:
    """Faces of a body: `points` (n, 3) metres, face i = points[starts[i]:starts[i + 1]].

    Outward `normals` (m, 3), `colours` (m, 3) in [0, 1], `kinds` (m,) of MATT, PAINT, GLASS, LIGHT;
    `length`, `width`, `height` in metres.
    """

    points: np.ndarray
    starts: np.ndarray
    normals: np.ndarray
    colours: np.ndarray
    kinds: np.ndarray
    length: float
    width: float
    height: float


class Builder:
    """Collects faces from below to above: that order is the painting order for a camera in the air."""

    def __init__(self):
        self.faces, self.colours, self.kinds = [], [], []

    def face(self, points, colour, kind=MATT):
        self.faces.append(np.asarray(points, float))
        self.colours.append(colour)
        self.kinds.append(kind)

    def prism(self, bottom, top, colour, kind=MATT, lid=None, lid_kind=None):
        """Walls between two outlines (k, 3), counter-clockwise from above, and the lid; returns the walls."""
        count = len(bottom)
        walls = [np.array([bottom[i], bottom[(i + 1) % count], top[(i + 1) % count],
                           top[i]]) for i in range(count)]
        for wall in walls:
            self.face(wall, colour, kind)
        self.face(top, colour if lid is None else lid, kind if lid_kind is None else lid_kind)
        return walls

    def on(self, wall, left, right, low, high, colour, kind=MATT):
        """A patch on a four-cornered wall; the borders are fractions of it."""
        a, b, c, d = wall

        def at(u, v):
            return (1 - v) * ((1 - u) * a + u * b) + v * ((1 - u) * d + u * c)

        self.face([at(left, low), at(right, low), at(right, high), at(left, high)], colour, kind)

    def wheels(self, width, axles, radius):
        for side in (-1, 1):
            for y in axles:
                for size, colour in ((radius, RUBBER), (0.55 * radius, (0.45, 0.45, 0.46))):
                    turn = np.arange(8) * np.pi / 4 * side
                    x = np.full(8, side * (width / 2 + 0.02))
                    self.face(np.stack([x, y + size * np.cos(turn), radius + size * np.sin(turn)], 1), colour)

    def done(self) -> Mesh:
        points = np.concatenate(self.faces)
        starts = np.cumsum([0] + [len(face) for face in self.faces])
        first, second, third = (points[starts[:-1] + i] for i in range(3))
        normals = np.cross(second - first, third - first)
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
        span = np.ptp(points, axis=0)
        return Mesh(points, starts, normals, np.array(self.colours, float), np.array(self.kinds), span[1],
                    span[0],
                    points[:, 2].max())


def rectangle(width, rear, front, z, corner=0.0):
    """Outline at height z, counter-clockwise from the rear left; `corner` metres are cut off its corners."""
    x = width / 2
    if corner <= 0:
        return np.array([(-x, rear, z), (x, rear, z), (x, front, z), (-x, front, z)])
    c = corner
    plan = [(-x + c, rear), (x - c, rear), (x, rear + c), (x, front - c), (x - c, front), (-x + c, front),
            (-x, front - c),
            (-x, rear + c)]
    return np.array([(px, py, z) for px, py in plan])


def pick(rng, table):
    """One colour of a table, as an array (3,)."""
    return np.array(table[rng.integers(len(table))])


def paint(rng):
    """A car's colour, by share, with some spread (dust, age)."""
    shares = np.array([share for share, _ in PAINTS])
    colour = np.array(PAINTS[rng.choice(len(PAINTS), p=shares / shares.sum())][1])
    return np.clip(colour * rng.uniform(0.85, 1.08) + rng.normal(0, 0.015, 3), 0.03, 0.97)


def car(rng, box=False) -> Mesh:
    """Saloon, hatchback or off-roader; `box=True` a van (VisDrone category 5)."""
    build, colour = Builder(), paint(rng)
    shape = "van" if box else rng.choice(["saloon", "hatch", "suv"], p=[0.5, 0.22, 0.28])
    length, width, height = {"saloon": (4.65, 1.80, 1.46), "hatch": (4.1, 1.74, 1.5), "suv": (4.6, 1.87, 1.7),
                             "van": (4.7, 1.75, 1.95)}[shape]
    length, width, height = (length, width, height) * rng.uniform((0.94, 0.97, 0.97), (1.07, 1.04, 1.04))
    front, rear, belt = length / 2, -length / 2, 0.60 * height
    skirt = rectangle(width * 0.97, rear + 0.04, front - 0.04, 0.2, 0.3)
    middle = rectangle(width, rear, front, 0.36 * height, 0.32)
    upper = rectangle(width * 0.93, rear + 0.08, front - 0.1, belt, 0.3)
    upper[3:7, 2] -= np.array([0.05, 0.17, 0.17, 0.05]) * (0.5 if box else 1)  # the bonnet falls to the front
    if shape == "saloon":
        upper[[0, 1], 2] -= 0.06
    under = build.prism(skirt, middle, colour * 0.8, PAINT)
    build.wheels(width, (rear + 0.85, front - 0.85), 0.33)
    sides = build.prism(middle, upper, colour, PAINT, lid=colour)
    build.on(under[0], 0.0, 1.0, 0.0, 0.45, (0.10, 0.10, 0.10))
    build.on(under[4], 0.12, 0.88, 0.1, 0.75, (0.08, 0.08, 0.09))
    build.on(sides[4], 0.25, 0.75, 0.2, 0.7, (0.12, 0.12, 0.13) if rng.random() < 0.7 else colour * 0.7)
    plate = [(0.1, 0.25, 0.7), (0.85, 0.85, 0.85), (0.9, 0.75, 0.1)][rng.choice(3, p=[0.6, 0.3, 0.1])]
    build.on(under[4], 0.38, 0.62, 0.5, 0.85, plate)
    build.on(under[0], 0.36, 0.64, 0.5, 0.95, plate)
    lamps_on = rng.random() < 0.15
    for wall, red in ((sides[0], True), (sides[4], False)):
        lamp = (0.62, 0.06, 0.05) if red else (0.86, 0.88, 0.90)
        for left in (0.0, 0.72):
            build.on(wall, left, left + 0.28, 0.15, 0.9, lamp, LIGHT if lamps_on else PAINT)
    for wall in (sides[1], sides[7], sides[3], sides[5]):  # lamps run round the corners
        rear_lamp = wall is sides[1] or wall is sides[7]
        build.on(wall, 0.2, 0.8, 0.3, 0.9, (0.55, 0.08, 0.06) if rear_lamp else (0.8, 0.82, 0.84))
    back, ahead, slope, rake = {"saloon": (rear + 0.55, front - 1.15, 0.62, 0.80),
                                "hatch": (rear + 0.12, front - 0.95, 0.30, 0.75),
                                "suv": (rear + 0.12, front - 1.15, 0.25, 0.68),
                                "van": (rear + 0.06, front - 0.55, 0.10, 0.55)}[shape]
    low = rectangle(width * 0.91, back, ahead, belt - 0.02)
    roof = rectangle(width * 0.72, back + slope, ahead - rake, height)
    roof_colour = np.array((0.06, 0.06, 0.07)) if rng.random() < 0.06 else np.clip(colour * 1.04, 0, 1)
    walls = build.prism(low, roof, colour * 0.9, PAINT, lid=roof_colour)
    build.on(walls[0], 0.06, 0.94, 0.1, 0.9, GLASS_COLOUR, GLASS)
    build.on(walls[2], 0.04, 0.96, 0.03, 0.93, GLASS_COLOUR, GLASS)
    thirds, halves = ((0.08, 0.33), (0.37, 0.63), (0.67, 0.92)), ((0.12, 0.48), (0.53, 0.9))
    panes = thirds if shape in ("suv", "van") else halves
    for wall in (walls[1], walls[3]):
        for left, right in panes:
            build.on(wall, left, right, 0.15, 0.88, GLASS_COLOUR, GLASS)
    if rng.random() < 0.25 and not box:
        build.on(roof, 0.15, 0.85, 0.5, 0.85, (0.05, 0.05, 0.06), GLASS)
    elif rng.random() < 0.06:
        sign = rectangle(0.45, -0.1, 0.12, height + 0.14)
        build.prism(rectangle(0.5, -0.12, 0.14, height), sign, (0.85, 0.8, 0.3))
    for side in (-1, 1):  # mirrors
        x = side * width * 0.5
        build.prism(rectangle(0.2, ahead - 0.5, ahead - 0.32, belt - 0.02) + [x, 0, 0],
                    rectangle(0.2, ahead - 0.5, ahead - 0.32, belt + 0.12) + [x, 0, 0], colour * 0.9, PAINT)
    return build.done()


def bus(rng) -> Mesh:
    """City bus or coach: long, glass all round, hatches and a cooling unit on the roof."""
    build, colour = Builder(), pick(rng, LIVERIES) * rng.uniform(0.85, 1.05)
    second = pick(rng, LIVERIES) if rng.random() < 0.4 else colour * 0.8
    length, width, height = rng.choice([7.5, 9.5, 11.0, 12.0]), 2.5, rng.uniform(2.9, 3.4)
    front, rear = length / 2, -length / 2
    skirt = build.prism(rectangle(width, rear, front, 0.3), rectangle(width, rear, front, 1.15), second,
                        PAINT)
    build.wheels(width, (rear + 2.2, front - 2.4), 0.48)
    body = build.prism(rectangle(width, rear, front, 1.15), rectangle(width * 0.96, rear + 0.05, front - 0.1,
                                                                      height - 0.25), colour, PAINT)
    roof_colour = np.array((0.86, 0.86, 0.85)) if rng.random() < 0.4 else colour
    build.prism(rectangle(width * 0.96, rear + 0.05, front - 0.1, height - 0.25),
                rectangle(width * 0.84, rear + 0.2, front - 0.3, height), roof_colour * 0.95, PAINT,
                lid=roof_colour)
    for wall in (body[1], body[3]):
        panes = int(length / 1.4)
        for k in range(panes):
            build.on(wall, (k + 0.06) / panes, (k + 0.94) / panes, 0.16, 0.84, GLASS_COLOUR, GLASS)
    build.on(body[0], 0.1, 0.9, 0.35, 0.85, GLASS_COLOUR, GLASS)
    build.on(body[2], 0.03, 0.97, 0.02, 0.82, GLASS_COLOUR, GLASS)
    build.on(body[2], 0.25, 0.75, 0.85, 0.98, (0.85, 0.45, 0.1), LIGHT)
    for wall, lamp in ((skirt[0], (0.6, 0.08, 0.06)), (skirt[2], (0.85, 0.87, 0.88))):
        for left in (0.05, 0.78):
            build.on(wall, left, left + 0.17, 0.35, 0.7, lamp, PAINT)
        build.on(wall, 0.2, 0.8, 0.0, 0.25, (0.12, 0.12, 0.12))
    unit = rear + length * rng.uniform(0.2, 0.6)
    build.prism(rectangle(1.7, unit, unit + 2.4, height), rectangle(1.5, unit + 0.2, unit + 2.2,
                                                                    height + 0.28), roof_colour * 0.8)
    for share in (0.15, 0.85):
        hatch = rear + length * share
        build.prism(rectangle(0.8, hatch - 0.4, hatch + 0.4, height),
                    rectangle(0.75, hatch - 0.36, hatch + 0.36, height + 0.08),
                    roof_colour * 0.7)
    return build.done()


def truck(rng) -> Mesh:
    """Cab and load: closed box, open bed (empty or full), canvas, or tank; light and heavy."""
    build, cab, load = Builder(), pick(rng, CARGO), pick(rng, CARGO)
    heavy = rng.random() < 0.4
    length, height = rng.uniform((8.0, 3.2), (14.0, 3.9)) if heavy else rng.uniform((5.2, 2.3), (6.8, 3.0))
    width = 2.5 if heavy else 2.0
    front, rear, nose = length / 2, -length / 2, 2.0 if heavy else 1.55
    cab_height = 3.0 if heavy else 2.15
    build.prism(rectangle(width * 0.8, rear, front, 0.45), rectangle(width * 0.8, rear, front, 0.85),
                (0.13, 0.13, 0.14))
    build.wheels(width, (rear + 0.8, rear + 2.0, front - 1.0) if heavy else (rear + 1.0, front - 0.8),
                 0.48 if heavy else 0.38)
    kind = rng.choice(["box", "bed", "full", "canvas", "tank"], p=[0.38, 0.2, 0.2, 0.14, 0.08])
    end = front - nose - 0.15

    def bed():
        deck = 1.55 if heavy else 1.25
        floor = rectangle(width, rear, end, deck)
        build.prism(rectangle(width, rear, end, 0.85), floor, load, PAINT, lid=load * 0.45 + 0.06)
        if kind == "full":
            for _ in range(rng.integers(3, 9)):
                x, y = rng.uniform(-0.3, 0.3) * width, rng.uniform(rear + 0.6, end - 0.6)
                size, tall = rng.uniform(0.5, 1.3), rng.uniform(0.2, 1.1)
                heap = rectangle(size, -size / 2, size / 2, deck) + [x, y, 0]
                build.prism(heap, heap * [0.9, 1, 1] + [0, 0, tall], pick(rng, CARGO) * rng.uniform(0.5, 1.1))

    def closed():
        bottom, top = rectangle(width, rear, end, 0.85), rectangle(width, rear, end, height)
        if kind == "tank":
            top = rectangle(width * 0.55, rear + 0.1, end - 0.1, height * 0.85)
        walls = build.prism(bottom, top, load, PAINT, lid=np.clip(load * 1.06, 0, 1))
        for wall in (walls[1], walls[3]):  # ribs, a name on the side
            for k in range(1, 6):
                build.on(wall, k / 6 - 0.01, k / 6 + 0.01, 0, 1, load * 0.75)
            if rng.random() < 0.5:
                build.on(wall, 0.2, 0.8, 0.4, 0.7, pick(rng, LIVERIES))
        build.on(walls[0], 0.49, 0.51, 0, 1, load * 0.6)
        if kind == "canvas":
            for k in range(5):
                build.on(top, 0, 1, k / 5 + 0.02, k / 5 + 0.09, load * 0.8)

    def cabin():
        low = build.prism(rectangle(width * 0.96, front - nose, front, 0.5),
                          rectangle(width * 0.96, front - nose, front, cab_height * 0.55),
                          cab, PAINT)
        high = build.prism(rectangle(width * 0.96, front - nose, front, cab_height * 0.55),
                           rectangle(width * 0.86, front - nose + 0.1, front - 0.3, cab_height), cab, PAINT)
        build.on(high[2], 0.05, 0.95, 0.05, 0.8, GLASS_COLOUR, GLASS)
        for wall in (high[1], high[3]):
            build.on(wall, 0.25, 0.85, 0.1, 0.8, GLASS_COLOUR, GLASS)
        build.on(low[2], 0.15, 0.85, 0.2, 0.6, (0.12, 0.12, 0.12))
        for left in (0.02, 0.83):
            build.on(low[2], left, left + 0.15, 0.15, 0.45, (0.85, 0.86, 0.86), PAINT)

    cabin()
    (bed if kind in ("bed", "full") else closed)()
    return build.done()
