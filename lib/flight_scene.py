"""What stands where in the place of two drawn flights (`lib.flights`), before and after."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from lib import scene_places as places
from lib import scenes
from lib.runs import InputError

CHANGES = {"appeared": 0.22, "moved": 0.22, "disappeared": 0.17, "stayed": 0.39}  # shares of the vehicles
RARE = (("bus", 0.04), ("truck", 0.08))  # shares of the vehicles; the others are cars
KINDS = ("parking", "street", "junction")  # the place of seeds 0, 1, 2, and again
MIDDLE = {"parking": (-4.0, 13.0), "street": (0.0, 30.0), "junction": (0.0, 12.0)}  # of the grid, metres
LAYOUTS = 12  # of the place that are tried until everybody has room
LANES = 4  # of a street at least: one ploughed lane each way shows too little of summer to register winter by
DETAILS = 1 / 14  # repairs, cracks and covers a square metre of hard ground
LOW = 3.5  # metres; taller houses hide the kerb, and their roofs are a second plane that frames agree on
MARGIN = 4.0  # metres from the border of the grid within which no vehicle stands
# Streams of random numbers.
LAYOUT, FLIGHT, CROWNS, ROOFS, DRESS, PHOTO = range(2**21, 2**21 + 6)


@dataclass
class Thing:
    """What may change: class name, how, and its body before and after (None: not there)."""

    category: str
    change: str
    before: places.Item | None
    after: places.Item | None


def turned(x, y, heading, points):
    """Ground points (k, 2), metres to the right and ahead, of one who stands at (x, y) with this heading."""
    aside, ahead = (np.cos(heading), np.sin(heading)), (-np.sin(heading), np.cos(heading))
    return np.array([x, y]) + np.asarray(points, float) @ np.array([aside, ahead])


class Scene:
    """One place and everybody in it at two moments; all from the arguments, those of `draw_flights`."""

    def __init__(self, seed, frames, size, overlap, scale, vehicles):
        self.seed, self.size, self.scale, self.grid = seed, size, scale, frames
        kind, ground = KINDS[seed % len(KINDS)], np.array(size) / scale
        self.step, self.middle = ground * (1 - overlap), np.array(MIDDLE[kind])
        # The road runs along y and a frame is wider than high, so the rows of the grid run along y too.
        self.reach = (ground + self.step * (np.array(frames) - 1))[::-1] / 2
        placed = []
        while not placed or placed[-1] < vehicles:
            if len(placed) == LAYOUTS:
                raise InputError("draw_flights vehicles", str(vehicles), f"at most {max(placed)}: room ends")
            rng = np.random.default_rng([seed, LAYOUT, len(placed)])
            self.place = places.make_place(kind, rng)
            for item in self.place.solids:
                if item.mesh.length > 5 and item.mesh.height > LOW:
                    low = LOW / item.mesh.height
                    item.mesh = replace(item.mesh, points=item.mesh.points * [1, 1, low], height=LOW)
            houses = [item for item in self.place.solids if item.mesh.length > 5]  # none is turned
            near = [tree for tree in self.place.trees
                    if (np.abs(tree[:2] - self.middle) < self.reach + 5).all()
                    and not any(abs(tree[0] - house.x) < house.mesh.width / 2
                                and abs(tree[1] - house.y) < house.mesh.length / 2 for house in houses)]
            self.place.trees = [(x, y, min(z, 2.0), radius, k)  # two of one look would match
                                for k, (x, y, z, radius, _) in enumerate(near)]
            self._mark(rng)
            wide = kind == "parking" or sum(not lane[4] for lane in self.place.lanes) >= LANES
            placed.append(self._populate(rng, vehicles) if wide else 0)
        self.tiles = [scenes.texture_tile(rng, slope=slope) for slope in (1.0, 0.8, 0.55)]

    def _surface(self, low, high):
        """Index of the uppermost ground polygon, 5 cells a metre from `low` to `high` (2,); -1: none."""
        cells = np.full(np.ceil((high - low) * 5).astype(int)[::-1], -1, np.int16)
        for index, (corners, _, _) in enumerate(self.place.ground):
            cv2.fillConvexPoly(cells, np.round((corners - low) * 5).astype(np.int32), index)
        return cells

    def _mark(self, rng):
        """Bays along kerbs; arrows, repairs, sealed cracks, covers: no stretch of road is like the next."""
        place, white = self.place, np.full(3, 0.8)

        def ground(corners, colour):
            place.ground.append((corners, np.clip(colour, 0.02, 0.95), 0.1))

        if place.kind != "parking":
            spans = [np.sort(np.ptp(corners, axis=0)) for corners, _, _ in place.ground]
            road = max(k for k, (short, long) in enumerate(spans) if short > 3 and long >= 2 * places.REACH)
            place.bays, asphalt = [], place.ground[road][1]
            half = max(abs(lane[0]) for lane in place.lanes if not lane[4]) + 2.0
            for across in sorted({lane[4] for lane in place.lanes}):
                for sign in (-1, 1):
                    for along in np.arange(-96.0, 146.0, 6.4):
                        if place.kind == "junction" and abs(along) < half + 9:
                            continue
                        x, y = (along, sign * (half + 1.1)) if across else (sign * (half + 1.1), along)
                        heading = sign * np.pi / 2 if across else np.pi * (sign < 0)
                        ground(turned(x, y, heading, places._strip(-1.2, 1.2, -3.2, 3.2)), asphalt * 0.96)
                        ground(turned(x, y, heading, places._strip(-1.2, 1.2, -3.2, -3.08)), white)
                        place.bays.append((x, y, heading))
        for x, y, heading, _, across in place.lanes:
            for along in np.arange(-90.0, 140.0, 26.0) + rng.uniform(-9, 9, 9):
                at = (x + along, y) if across else (x, y + along)
                ground(turned(*at, heading, places._strip(-0.1, 0.1, -2.0, 0.9)), white)
                ground(turned(*at, heading, [(-0.45, 0.6), (0.45, 0.6), (0.0, 2.2)]), white)
        low, high = self.middle - self.reach - 5, self.middle + self.reach + 5
        surface, count = self._surface(low, high), int(np.prod(high - low) * DETAILS)
        for x, y in rng.uniform(low, high, (count, 2)):
            under = surface[int((y - low[1]) * 5), int((x - low[0]) * 5)]
            _, colour, rough = place.ground[under]
            what, turn = rng.random(), np.pi / 2 * rng.integers(2)
            if under < 0 or rough >= 0.2 or np.mean(colour) > 0.7 or np.ptp(colour) > 0.2:
                continue  # grass, earth, markings
            if what < 0.72:
                wide, long = rng.uniform((0.3, 0.5), (1.1, 2.6))
                shade = rng.choice([rng.uniform(0.66, 0.87), rng.uniform(1.1, 1.25)])
                outline = places._strip(-wide, wide, -long, long)
                if rng.random() < 0.6:  # a stain or hole of any shape
                    outline = cv2.convexHull(np.float32(rng.normal(0, 0.7, (6, 2)) * (wide, long)))[:, 0]
                ground(turned(x, y, turn + rng.normal(0, 0.05), outline), colour * shade)
            elif what < 0.92:
                turn = rng.uniform(0, np.pi)
                for _ in range(rng.integers(2, 5)):
                    long = rng.uniform(0.6, 1.6)
                    ground(turned(x, y, turn, places._strip(-0.06, 0.06, 0, long)), colour * 0.55)
                    x, y = turned(x, y, turn, (0, long))
                    turn += rng.normal(0, 0.6)
            else:
                ring = np.arange(8) * np.pi / 4
                ring = rng.uniform(0.6, 1.1) * np.column_stack([np.cos(ring), np.sin(ring)])
                for radius, shade in ((0.5, 1.25), (0.36, 0.45)):
                    ground((x, y) + radius * ring, colour * shade)

    def _populate(self, rng, count):
        """Put everybody in place; how many vehicles had room."""
        kinds = [name for name, share in RARE for _ in range(round(share * count))]
        kinds += ["car"] * (count - len(kinds))
        changes = [name for name, share in CHANGES.items() for _ in range(round(share * count))]
        changes = (changes + ["stayed"] * count)[:count]
        changes = [changes[i] for i in rng.permutation(count)]
        self.taken = np.array([(s.x, s.y, 0.45 * min(s.mesh.length, s.mesh.width)) for s in self.place.solids]
                              + [(x, y, 0.9 * radius) for x, y, _, radius, _ in self.place.trees])
        self.things = []
        for done, (kind, change) in enumerate(zip(kinds, changes, strict=True)):  # long ones first
            category, mesh = places.body(kind, rng)
            one = self._put(rng, kind, category, mesh, parked=change == "stayed")
            two = self._put(rng, kind, category, mesh, one) if change == "moved" and one else one
            if one is None or two is None:
                return done
            self.things.append(Thing(kind, change, None if change == "appeared" else one,
                                     None if change == "disappeared" else two))
        for k in range(count // 5):  # people walk on: nobody stands in one place for half a year
            walker = self._put(rng, "pedestrian", *places.body("pedestrian", rng))
            if walker is not None:
                change, pair = (("appeared", (None, walker)), ("disappeared", (walker, None)))[k % 2]
                self.things.append(Thing("pedestrian", change, *pair))
        return count

    def _put(self, rng, kind, category, mesh, old=None, parked=False):
        """A place clear of everybody's at either moment, near an `old` one but clear of it; None: not found.

        Nobody takes a place that another left: what a place shows has changed or stayed, never both.
        """
        for attempt in range(600):
            x, y, heading, speed = places.spot(self.place, kind, rng)
            away = np.inf if old is None else np.hypot(x - old.x, y - old.y)
            if (np.abs((x, y) - self.middle) > self.reach - MARGIN - mesh.length / 2).any():
                continue
            if away < mesh.length + 1.5 or (old is not None and attempt < 300 and away > 45):
                continue
            if parked and speed > 0 and attempt < 300:
                continue  # what stays for half a year does not stand in a lane
            along = np.arange(-mesh.length / 2 + mesh.width / 2, mesh.length / 2, max(mesh.width / 2, 0.4))
            along = along if len(along) else np.zeros(1)
            rounds = np.column_stack([turned(x, y, heading, np.column_stack([0 * along, along])),
                                      np.full(len(along), mesh.width / 2 + 0.15)])
            if not scenes.touch(rounds, self.taken):
                self.taken = np.concatenate([self.taken, rounds])
                return places.Item(category, mesh, x, y, heading)
        return None
