"""Two drawn flights over one scene, in summer and under snow, with known changes between them.

They stand in for the paper's flights at different times and seasons where there are none: overlapping frames,
looking down, each with its own brightness and colour cast. Places, bodies and cameras are those of
`lib.scenes`; the vehicles of the second flight wear the snow of `lib.snow`, as the simulated winter crops do.
Roads are ploughed, so that both seasons share what one is registered on the other by: markings, repairs.
"""

from __future__ import annotations

import multiprocessing
import os
import zlib
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

import cv2
import numpy as np

from lib import scene_places as places
from lib import scenes
from lib.crops import CORE, cut_patch
from lib.runs import InputError, atomic_path, progress, read_json, require, write_json
from lib.scene_drawing import FINE, SHIFT, Drawing, _whole
from lib.snow import DIRT, GROUND_KEEP, SLUSH, SNOW, snow
from lib.visdrone import CATEGORIES, CLASSES

FLIGHTS = ("first", "second")  # summer, winter
CHANGES = {"appeared": 0.22, "moved": 0.22, "disappeared": 0.17, "stayed": 0.39}  # shares of the vehicles
RARE = (("bus", 0.04), ("truck", 0.08))  # shares of the vehicles; the others are cars
KINDS = ("parking", "street", "junction")  # the place of seeds 0, 1, 2, and again
MIDDLE = {"parking": (-4.0, 13.0), "street": (0.0, 30.0), "junction": (0.0, 12.0)}  # of the grid, metres
LAYOUTS = 12  # of the place that are tried until everybody has room
LANES = 4  # of a street at least: one ploughed lane each way shows too little of summer to register winter by
DETAILS = 1 / 14  # repairs, cracks and covers a square metre of hard ground
LENS = 3.0  # focal length in frame widths: from 200 m up, what stands leans little
LOW = 3.5  # metres; taller houses hide the kerb, and their roofs are a second plane that frames agree on
MARGIN = 4.0  # metres from the border of the grid within which no vehicle stands
WHOLE = 0.93  # share of a body that must be seen to count as shown wholly (a lamp post may cross it)
_NOTE = b"drawn by lib/flights.py"  # a comment in each JPEG: nobody else's frames are ever removed
_MARK = b"\xff\xfe" + (len(_NOTE) + 2).to_bytes(2, "big") + _NOTE
_LAYOUT, _FLIGHT, _CROWNS, _ROOFS, _DRESS, _PHOTO = range(2**21, 2**21 + 6)  # streams of random numbers


@dataclass
class Thing:
    """What may change: class name, how, and its body before and after (None: not there)."""

    category: str
    change: str
    before: places.Item | None
    after: places.Item | None


def _turned(x, y, heading, points):
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
            rng = np.random.default_rng([seed, _LAYOUT, len(placed)])
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
        self.tiles = [scenes._tile(rng, slope=slope) for slope in (1.0, 0.8, 0.55)]

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
                        ground(_turned(x, y, heading, places._strip(-1.2, 1.2, -3.2, 3.2)), asphalt * 0.96)
                        ground(_turned(x, y, heading, places._strip(-1.2, 1.2, -3.2, -3.08)), white)
                        place.bays.append((x, y, heading))
        for x, y, heading, _, across in place.lanes:
            for along in np.arange(-90.0, 140.0, 26.0) + rng.uniform(-9, 9, 9):
                at = (x + along, y) if across else (x, y + along)
                ground(_turned(*at, heading, places._strip(-0.1, 0.1, -2.0, 0.9)), white)
                ground(_turned(*at, heading, [(-0.45, 0.6), (0.45, 0.6), (0.0, 2.2)]), white)
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
                ground(_turned(x, y, turn + rng.normal(0, 0.05), outline), colour * shade)
            elif what < 0.92:
                turn = rng.uniform(0, np.pi)
                for _ in range(rng.integers(2, 5)):
                    long = rng.uniform(0.6, 1.6)
                    ground(_turned(x, y, turn, places._strip(-0.06, 0.06, 0, long)), colour * 0.55)
                    x, y = _turned(x, y, turn, (0, long))
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
            rounds = np.column_stack([_turned(x, y, heading, np.column_stack([0 * along, along])),
                                      np.full(len(along), mesh.width / 2 + 0.15)])
            if not scenes._touch(rounds, self.taken):
                self.taken = np.concatenate([self.taken, rounds])
                return places.Item(category, mesh, x, y, heading)
        return None


class Flight(scenes.Sequence):
    """The frames of one flight over a `Scene`; number 0 in summer, 1 in winter."""

    def __init__(self, scene: Scene, number: int):
        rng = np.random.default_rng([scene.seed, _FLIGHT, number])
        # `number` stays 0: the drawing takes the outlines of trees from it, the same in both flights.
        self.scene, self.seed, self.number, self.flight = scene, scene.seed, 0, number
        self.size, self.place = scene.size, scene.place
        self._sky(rng)
        self.bodies = {index: item for index, thing in enumerate(scene.things)
                       if (item := (thing.before, thing.after)[number]) is not None}
        self.items = list(self.bodies.values())
        self._fly(rng)
        if number:
            self._whiten()

    def _sky(self, rng):
        winter = bool(self.flight)
        high, around = np.radians(rng.uniform(*((24, 32) if winter else (48, 62)))), rng.uniform(0, 2 * np.pi)
        self.sun = np.array([np.cos(high) * np.cos(around), np.cos(high) * np.sin(around), np.sin(high)])
        self.night, self.clear = False, rng.uniform(*((0.3, 0.45) if winter else (0.7, 0.95)))
        self.haze, self.clearness = np.array((0.72, 0.75, 0.78)), 1200.0 if winter else 2500.0
        # Contrast moves with the mean of a frame; snow would move it too.
        self.gain, self.contrast = (1.0, 1.0) if winter else (1.15, 1.08)
        self.cast, self.saturation, self.veil = np.ones(3), 0.85 if winter else 1.0, 0.0
        self.blur, self.sharpening = rng.uniform(0.4, 0.6), rng.uniform(0.3, 0.6)
        self.grain, self.trail, self.quality = rng.uniform(0.8, 1.4), (0.0, 0.0), 92

    def _fly(self, rng):
        """A camera a frame, in serpentines; where it hangs and how it exposes differs from frame to frame."""
        scene, loose = self.scene, (0.4, 1.0)[self.flight]
        columns, rows = scene.grid
        self.cameras, self.gains, self.gammas = [], [], []
        course = rng.normal(0, np.radians(1.5)) * loose
        height = 1 + rng.uniform(-0.04, 0.04) * self.flight
        for row in range(rows):
            for column in range(columns) if row % 2 == 0 else reversed(range(columns)):
                off = np.array([row - (rows - 1) / 2, column - (columns - 1) / 2]) * scene.step[::-1]
                target = scene.middle + off + rng.normal(0, 0.6, 2) * loose
                lean = np.radians(np.clip(rng.normal(0, 0.8), -1.8, 1.8))
                towards = rng.uniform(0, 2 * np.pi)
                yaw = np.pi / 2 + course + np.radians(np.clip(rng.normal(0, 1.2), -2.5, 2.5)) * loose
                focal = LENS * self.size[0]
                distance = focal / scene.scale * height * (1 + np.clip(rng.normal(0, 0.01), -0.02, 0.02))
                self.cameras.append(scenes.Camera(target, distance, np.pi / 2 - lean, yaw + towards, towards,
                                                  focal, self.size))
                bright = rng.uniform(0.9, 1.1)
                self.gains.append(np.clip(bright * rng.uniform(0.93, 1.07, 3), 0.8, 1.2))
                self.gammas.append(rng.uniform(0.88, 1.14))
        self.frames = len(self.cameras)

    def _whiten(self):
        """Snow on roofs and furniture."""
        rng, solids = np.random.default_rng([self.seed, _ROOFS]), []
        for item in self.place.solids:
            mesh, share = item.mesh, rng.uniform(0.55, 0.85)
            white = (share * np.clip(mesh.normals[:, 2] * 2 - 0.8, 0, 1))[:, None]
            colours = mesh.colours * (1 - white) + np.array(SNOW) * white
            matt = np.where(white[:, 0] > 0.5, 0, mesh.kinds)
            solids.append(replace(item, mesh=replace(mesh, colours=colours, kinds=matt)))
        self.place = replace(self.place, solids=solids)

    @cached_property
    def crowns(self):
        """A crown for each tree: colour uint8 (160, 160, 3), cover float32 (160, 160), 0..1."""
        rng, count = np.random.default_rng([self.seed, _CROWNS]), len(self.place.trees)
        if self.flight:
            return [_twigs(rng) for _ in range(count)]
        return [look for _ in range(0, count, 4) for look in scenes._crowns(rng, np.pi / 2, self.sun)]

    @cached_property
    def driven(self):
        """Ploughed ways and wheel tracks, each a list of lines: points (n, 2) and width, metres."""
        rng, ploughed, wheels = np.random.default_rng([self.seed, _ROOFS, 1]), [], []
        steps = np.arange(-110.0, 170.0, 4.0)

        def way(x, y, heading, along, width, shift=0.0, wander=0.12):
            """One that wanders a little from side to side; its wheel tracks too."""
            waves = rng.uniform((15, 0), (45, 2 * np.pi), (3, 2))
            aside = shift + wander * np.sin(along[:, None] / waves[:, 0] * 2 * np.pi + waves[:, 1]).sum(1)
            if width:
                ploughed.append((_turned(x, y, heading, np.column_stack([0 * along + shift, along])), width))
            for side in (-0.78, 0.78):
                wheels.append((_turned(x, y, heading, np.column_stack([aside + side, along])), 0.42))

        for x, y, _, _, across in self.place.lanes:
            way(x, y, np.pi / 2 if across else 0.0, -steps if across else steps, 3.5)
        rows = sorted({round(x, 3) for x, _, heading in self.place.bays if self.place.kind == "parking"})
        for left, right in zip(rows, rows[1:], strict=False):
            if right - left > 8:  # an aisle between two rows of bays
                aisle = (left + right) / 2
                ploughed.append((np.array([(aisle, -31.0), (aisle, 57.0)]), 5.2))
                for side in (-1.3, 1.3):
                    way(aisle + side, 13.0, 0.0, np.arange(-44.0, 45.0, 4.0), 0)
        for index, item in self.bodies.items():
            if self.scene.things[index].change != "stayed" and item.mesh.length > 2.5:  # came after the snow
                way(item.x, item.y, item.heading, np.arange(-item.mesh.length / 2 - 4, 0.1), 0, wander=0.03)
        return ploughed, wheels

    def draw(self, k: int) -> tuple[np.ndarray, dict[int, list[int]]]:
        """Frame k, RGB uint8 (height, width, 3), and the boxes of whom it shows wholly, by index of thing."""
        drawing = _Overhead(self, k, snowy=bool(self.flight))
        drawing.ground()
        drawing.stand()
        noise = [self.seed, _PHOTO, self.flight, k]
        picture = drawing.photograph(np.random.default_rng(noise))
        if self.flight:
            bare = _Overhead(self, k, snowy=False)  # what lib.snow expects to see
            bare.ground()
            bare.stand()
            picture = self._dress(picture, bare.photograph(np.random.default_rng(noise)), drawing)
        table = np.arange(256, dtype=np.float32)[:, None] / 255
        exposed = np.clip(table ** self.gammas[k] * self.gains[k], 0, 1) * (0.92 if self.flight else 1)
        table = np.round(255 * exposed).astype(np.uint8)[None]
        return cv2.LUT(picture, table), self._boxes(drawing)

    def _numbered(self, drawing):
        """Index of thing, index of body in the drawing, its box there."""
        first = len(self.place.solids)
        for number, index in enumerate(self.bodies):
            if first + number in drawing.boxes:
                yield index, first + number, drawing.boxes[first + number]

    def _boxes(self, drawing):
        found, size = {}, np.array(self.size)
        seen = np.bincount(drawing.owner[drawing.owner >= 0], minlength=len(self.place.solids + self.items))
        for index, body, (_, low, high, inside, area) in self._numbered(drawing):
            drawn = area + 0.8 * (high - low).sum()  # a filled outline holds the pixels of its border too
            if inside > 0.999 and seen[body] >= WHOLE * drawn and (box := _whole(low, high, size)):
                found[index] = list(box)
        return found

    def _dress(self, snowy, bare, drawing):
        """Snow on the bodies: each made a simulated winter crop, its outline of that laid over the frame."""
        picture = snowy.astype(np.float32)
        soft = max(0.6, 0.08 * self.scene.scale)
        for index, body, (item, low, high, _, _) in self._numbered(drawing):
            left, top = np.floor(low).astype(int)
            right, bottom = np.ceil(high).astype(int)
            wide, tall = right - left, bottom - top
            edge = 4  # pixels around the box, for the soft border
            x0, y0 = max(left - edge, 0), max(top - edge, 0)
            x1, y1 = min(right + edge, self.size[0]), min(bottom + edge, self.size[1])
            if min(wide, tall) < 3 or x0 >= x1 or y0 >= y1:
                continue
            rng = np.random.default_rng([self.seed, _DRESS, index])  # alike in all frames that show it
            patch = cut_patch(bare, (left, top, right, bottom))
            patch = snow(patch, CORE, rng, aspect=wide / tall, label=CATEGORIES[item.category])
            per_pixel = (CORE[2] - CORE[0]) / np.array([wide, tall])
            x = (np.arange(x0, x1) + 0.5 - left) * per_pixel[0] + CORE[0] - 0.5
            y = (np.arange(y0, y1) + 0.5 - top) * per_pixel[1] + CORE[1] - 0.5
            dressed = cv2.remap(patch, *np.meshgrid(np.float32(x), np.float32(y)), cv2.INTER_LINEAR)
            own = (drawing.owner[y0:y1, x0:x1] == body).astype(np.float32)
            own = cv2.GaussianBlur(cv2.dilate(own, np.ones((3, 3), np.uint8)), (0, 0), soft)[..., None]
            picture[y0:y1, x0:x1] += own * (dressed - picture[y0:y1, x0:x1])
        return np.clip(picture, 0, 255).astype(np.uint8)


def _twigs(rng):
    """A bare crown that carries snow."""
    colour, cover = np.zeros((160, 160, 3), np.uint8), np.zeros((160, 160), np.uint8)
    colour[:] = (120, 114, 110)

    def branch(start, angle, length, width):
        end = start + length * np.array([np.cos(angle), np.sin(angle)])
        fixed = [tuple(np.round(p * 16).astype(int).tolist()) for p in (start, end, start - 1.2, end - 1.2)]
        cv2.line(cover, *fixed[:2], 255, width, cv2.LINE_AA, 4)
        if width > 1 or rng.random() < 0.6:
            cv2.line(colour, *fixed[2:], (200, 205, 212), max(1, width - 1), cv2.LINE_AA, 4)
        if length > 9:
            for share in rng.uniform(0.35, 1.0, 3):
                branch(start + share * (end - start), angle + rng.normal(0, 0.6),
                       length * rng.uniform(0.45, 0.62), max(1, width - 1))

    for angle in np.arange(9) * 2 * np.pi / 9 + rng.normal(0, 0.2, 9):
        branch(np.array([80.0, 80.0]), angle, rng.uniform(32, 42), 4)
    return colour, cv2.GaussianBlur(cover, (0, 0), 1.2).astype(np.float32) / 255


class _Overhead(Drawing):
    """A frame that looks straight down; with `snowy`, snow on its ground, ploughed off driven ways."""

    def __init__(self, flight, k, snowy):
        super().__init__(flight, k)
        self.snowy = snowy

    def _shadows(self):
        place, moved = self.sequence.place, self.moved
        if self.sequence.flight:
            self.sequence.place = replace(place, trees=[])  # bare crowns cast next to none
        self.moved = [entry for entry in moved if entry[1].mesh.length > 0.3]  # no lamp posts
        lost = super()._shadows()
        self.sequence.place, self.moved = place, moved
        return lost[..., None]

    def _noise(self, *parts):
        """Noise that lies on the ground, the same in all frames, (height, width): a sum of (metres, weight).

        Turned against each other, tiles of different sizes never repeat together: who matches frames would
        take a stretch of grass for another that looks the same.
        """
        total = np.zeros(self.owner.shape, np.float32)
        for tile, (metres, weight) in zip(self.sequence.scene.tiles, parts, strict=True):
            step = metres / tile.shape[0]
            turn, cos, sin = np.eye(3), np.cos(metres), np.sin(metres)
            turn[:2, :2] = step * np.array([(cos, -sin), (sin, cos)])
            total += weight * cv2.warpPerspective(tile, self.camera.homography() @ turn, self.sequence.size,
                                                  flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        return total

    def _ways(self, lines, soft):
        """Share of each pixel that lines (points, width) in metres cover, softened by `soft` metres."""
        canvas, scale = np.zeros(self.owner.shape, np.uint8), self.sequence.scene.scale
        for points, width in lines:
            pixels = cv2.perspectiveTransform(points[None], self.camera.homography())[0]
            cv2.polylines(canvas, [np.round(pixels * 2**SHIFT).astype(np.int32)], False, 255,
                          max(1, round(width * scale)), cv2.LINE_AA, SHIFT)
        return cv2.GaussianBlur(canvas, (0, 0), soft * scale).astype(np.float32) / 255

    def ground(self):
        """The ground of `Drawing`, but with texture that does not repeat, and snow."""
        colour, rough = self.sequence.place.base
        picture = np.empty((*self.owner.shape, 3), np.uint8)
        picture[:] = (np.asarray(colour) * 255).astype(np.uint8)
        depth = np.full(self.owner.shape, int(rough * 255), np.uint8)
        for corners, colour, rough in self.sequence.place.ground:
            pixels = self.camera.ground(corners)
            if pixels is not None and np.ptp(pixels, axis=0).min() > 0.15:
                self._polygon(picture, pixels, (np.clip(colour, 0, 1) * 255).tolist())
                self._polygon(depth, pixels, int(rough * 255))
        depth = np.minimum(depth, 100) / 255  # rougher grass would hold most of the keypoints
        texture = depth * self._noise((71.0, 0.5), (23.3, 0.45), (13.7, 0.45))
        lost = self._shadows()
        picture = picture * np.float32(1 / 255) * (1 + texture[..., None]) * (1 - lost)
        if self.snowy:
            picture = self._snow(picture, lost)
        self.canvas = cv2.resize((np.clip(picture, 0, 1) * 255).astype(np.uint8), None, fx=FINE, fy=FINE,
                                 interpolation=cv2.INTER_LINEAR)

    def _snow(self, bare, lost):
        """Snow over the picture of the ground, 0..1: closed, or what the plough left, worn by wheels."""
        wide = self._noise((61.0, 1.0), (43.0, 0.4), (19.0, 0.0))
        fine = self._noise((67.0, 0.0), (17.3, 0.6), (9.1, 0.7))
        ploughed, wheels = self.sequence.driven
        plough, wheel = self._ways(ploughed, 0.3), self._ways(wheels, 0.09)
        bank = 4 * plough * (1 - plough)  # what the plough left at its sides
        plough = np.clip(3 * (plough - 0.5) + 0.5 + 0.12 * fine, 0, 1)
        worn = np.clip(1.3 * wheel - 0.2 + 0.22 * fine + 0.15 * wide, 0, 1) * np.minimum(1, 3 * wheel)
        closed = np.clip(0.84 + 0.05 * wide + 0.03 * fine + 0.1 * bank, 0, 1 - GROUND_KEEP)
        closed *= 1 - 0.45 * worn
        film = np.clip(0.16 + 0.1 * wide + 0.05 * fine, 0.02, 0.5) * (1 - 0.7 * worn)
        cover = (closed + (film - closed) * plough)[..., None]
        dirt = np.clip(DIRT * (0.35 + 0.4 * wide) + 0.35 * plough + 0.5 * worn + 0.15 * bank, 0, 1)[..., None]
        tone = np.float32(SNOW) * (1 - dirt) + np.float32(SLUSH) * dirt
        tone *= (1 + 0.015 * fine + 0.02 * wide)[..., None]
        tone *= 1 - lost * np.float32([0.85, 0.74, 0.6])  # the sky lights the shade blue
        grey = bare.mean(2)
        kerbs = 0.4 * (grey - cv2.blur(grey, (31, 31)))  # under the snow
        tone *= np.clip(1 + kerbs, 0.85, 1.1)[..., None]
        wet = bare * (1 - 0.12 * plough[..., None])
        return wet + (tone - wet) * cover


@lru_cache(maxsize=1)  # a worker draws several rows
def _scene(arguments):
    return Scene(**dict(arguments))


@lru_cache(maxsize=len(FLIGHTS))
def _flight(arguments, number):
    return Flight(_scene(arguments), number)


def _draw_row(job):
    """Draw and write some frames of one flight: file name of a frame -> boxes by index of thing."""
    folder, arguments, number, numbers = job
    cv2.setNumThreads(1)
    flight, found = _flight(arguments, number), {}
    for k in numbers:
        name = f"{k:03d}.jpg"
        picture, found[name] = flight.draw(k)
        done, code = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, flight.quality])
        if not done:
            raise RuntimeError(f"the JPEG encoder refused frame {k} of the {FLIGHTS[number]} flight")
        code = code.tobytes()
        head = 4 + int.from_bytes(code[4:6], "big")  # of the header that JFIF wants first
        with atomic_path(Path(folder) / FLIGHTS[number] / name) as temporary:
            temporary.write_bytes(code[:head] + _MARK + code[head:])
    return found


def _parameters(path: Path) -> dict:
    """The parameters that a flights.json was drawn with; InputError if it is none of ours."""
    truth = read_json(path)
    parameters = truth.get("parameters") if isinstance(truth, dict) else None
    if not isinstance(parameters, dict) or "code" not in parameters:
        raise InputError(path, "no parameters", "the truth of drawn flights")
    return parameters


def _clear(folder: Path):
    """Remove older flights; refuse a folder that holds anything else, before anything is removed."""
    old = [path for path in sorted(folder.rglob("*")) if not path.is_dir()]
    for path in old:
        within = path.parent.parent == folder and path.parent.name in FLIGHTS
        begun = path.name[0] == "." and path.stem.endswith(".part") and (within or path.parent == folder)
        ours = within and path.suffix == ".jpg"
        if path == folder / "flights.json":
            _parameters(path)
        elif not begun and not (ours and _MARK in path.read_bytes()[:64]):
            raise InputError(path, "a file that is no drawn frame", "an empty folder or older drawn flights")
    (folder / "flights.json").unlink(missing_ok=True)  # first: without it no folder counts as complete
    for path in old:
        path.unlink(missing_ok=True)


def _check(name, value, least, most, whole=True):
    kinds = (int, np.integer) if whole else (int, float, np.integer, np.floating)
    if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
        kind = "a whole number" if whole else "a number"
        limit = f"of at least {least}" if most == np.inf else f"from {least} to {most}"
        raise InputError(f"draw_flights {name}", repr(value), f"{kind} {limit}")


def draw_flights(folder, seed=0, frames=(4, 3), size=(960, 540), overlap=0.45, scale=14.0, vehicles=60,
                 workers=None) -> Path:
    """Draw two flights over one scene, summer in `first`, winter in `second`, and the truth, `flights.json`.

    seed: of everything random; its remainder by 3 chooses car park, street or junction. frames: columns along
    the road and rows of each flight's grid. size: width and height of a frame, pixels. overlap: share of a
    frame's width and height that the next one shows again, 0 to 0.9. scale: pixels a metre of ground, 1 to
    100. vehicles: cars, trucks and buses, about 39 % of which stay; a fifth as many pedestrians join them,
    all of whom appear or disappear. workers: processes, 1 at least (default: one a processor); the same
    arguments give the same bytes, whatever their number.

    The frames are 000.jpg, 001.jpg, ... in flying order, serpentines; `read_truth` describes the truth. It is
    written last: a folder without it is not complete. If it is there with the same arguments and code, the
    folder is returned as it is, otherwise everything is drawn again. Returns the folder.

    InputError: wrong arguments, more vehicles than have room, a folder that holds anything but drawn flights.
    """
    folder = Path(folder)
    for name, pair in (("frames", frames), ("size", size)):
        if not isinstance(pair, (tuple, list, np.ndarray)) or len(pair) != 2:
            raise InputError(f"draw_flights {name}", repr(pair), "two whole numbers")
    for name, value, least in (("seed", seed, 0), ("columns", frames[0], 1), ("rows", frames[1], 1),
                               ("width", size[0], 64), ("height", size[1], 64), ("vehicles", vehicles, 1),
                               ("workers", workers if workers is not None else 1, 1)):
        _check(name, value, least, np.inf)
    _check("overlap", overlap, 0.0, 0.9, whole=False)
    _check("scale", scale, 1.0, 100.0, whole=False)
    if folder.exists() and not folder.is_dir():
        raise InputError(folder, "a file", "a folder to draw into")
    home = Path(__file__).parent
    code = b"".join((home / f"{name}.py").read_bytes().replace(b"\r\n", b"\n") for name in
                    ("flights", "scenes", "scene_places", "scene_objects", "scene_people", "scene_drawing",
                     "snow", "crops"))
    arguments = {"seed": int(seed), "frames": tuple(map(int, frames)), "size": tuple(map(int, size)),
                 "overlap": float(overlap), "scale": float(scale), "vehicles": int(vehicles)}
    parameters = arguments | {"frames": list(arguments["frames"]), "size": list(arguments["size"]),
                              "code": zlib.crc32(code)}
    columns, rows = arguments["frames"]
    done = folder / "flights.json"
    named = [f"{k:03d}.jpg" for k in range(rows * columns)]
    complete = all((folder / flight / name).exists() for flight in FLIGHTS for name in named)
    if complete and done.exists() and _parameters(done) == parameters:
        return folder
    hashable = tuple(arguments.items())
    scene = _scene(hashable)  # before anything is removed: it may have no room for so many
    _clear(folder)
    jobs = [(folder, hashable, number, range(row * columns, (row + 1) * columns))
            for number in range(2) for row in range(rows)]
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    if workers == 1:
        drawn = [_draw_row(job) for job in progress(jobs, desc="drawing flights")]
    else:  # spawned, not forked: the caller may hold threads
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            drawn = list(progress(pool.map(_draw_row, jobs), total=len(jobs), desc="drawing flights"))
    objects = [{"id": index, "category": thing.category, "change": thing.change, "places": {},
                "first": {}, "second": {}} for index, thing in enumerate(scene.things)]
    cameras = {}
    for number, name in enumerate(FLIGHTS):
        for part in drawn[number * rows:(number + 1) * rows]:
            for frame, boxes in part.items():
                for index, box in boxes.items():
                    objects[index][name][frame] = box
        flight = _flight(hashable, number)
        for index, item in flight.bodies.items():
            objects[index]["places"][name] = [item.x, item.y, item.heading, item.mesh.length, item.mesh.width]
        cameras[name] = {frame: {"ground_to_pixels": camera.homography(), "gain": gain, "gamma": gamma}
                         for frame, camera, gain, gamma in
                         zip(named, flight.cameras, flight.gains, flight.gammas, strict=True)}
    write_json(done, {"parameters": parameters, "objects": objects, "frames": cameras})
    return folder


def read_truth(folder) -> dict:
    """What `draw_flights` wrote about the flights in `folder`, checked.

    parameters: the arguments, and a checksum of the code. objects: one dict a thing with its id (from 0, in
    order), category (VisDrone's class name), change (appeared, disappeared, moved, stayed), places ({"first",
    "second"}: x, y, heading, length, width; metres, and radians from +y, counter-clockwise) and, as "first"
    and "second", its boxes: frame name -> [left, top, width, height], whole pixels inside the frame, in all
    frames that show it wholly; these may be none. frames: {"first", "second"}: frame name ->
    ground_to_pixels (3, 3) nested list (homography from metres), gain (3,) RGB and gamma of its exposure.

    MissingStep: no flights.json. InputError: a damaged one, with what is wrong.
    """
    path = require(Path(folder) / "flights.json", "lib.flights.draw_flights(folder)")
    parameters, truth = _parameters(path), read_json(path)

    def demand(right, where, found, expected):
        if not right:
            raise InputError(path, f"{found!r} as {where}", expected)

    size = parameters.get("size")
    demand(isinstance(size, list) and len(size) == 2 and all(type(n) is int for n in size), "size", size,
           "width and height")
    frames, objects = truth.get("frames"), truth.get("objects")
    for flight in FLIGHTS:
        cameras = frames.get(flight) if isinstance(frames, dict) else None
        demand(isinstance(cameras, dict) and cameras, f"frames of the {flight} flight", cameras,
               "frame name: camera")
        for name, camera in cameras.items():
            matrix = camera.get("ground_to_pixels") if isinstance(camera, dict) else None
            try:
                whole = np.isfinite(np.array(matrix, float)).all() and np.shape(matrix) == (3, 3)
            except (TypeError, ValueError):
                whole = False
            demand(whole, f"ground_to_pixels of {flight}/{name}", matrix, "3 x 3 numbers")
    demand(isinstance(objects, list), "objects", objects, "a list")
    for number, thing in enumerate(objects):
        where = f"of object {number}"
        demand(isinstance(thing, dict) and thing.get("id") == number, f"id {where}",
               thing.get("id") if isinstance(thing, dict) else thing, f"{number}")
        for key, known in (("category", CLASSES), ("change", CHANGES)):
            demand(thing.get(key) in list(known), f"{key} {where}", thing.get(key), ", ".join(known))
        for flight in FLIGHTS:
            boxes, absent = thing.get(flight), {"first": "appeared", "second": "disappeared"}[flight]
            named = isinstance(boxes, dict) and set(boxes) <= set(frames[flight])
            demand(named, f"{flight} boxes {where}", boxes, "boxes by names of frames")
            demand(not boxes or thing["change"] != absent, f"{flight} boxes {where}", boxes,
                   f"none: it {absent}")
            for name, box in boxes.items():
                inside = (isinstance(box, list) and len(box) == 4 and all(type(n) is int for n in box)
                          and min(box[:2]) >= 0 and min(box[2:]) > 0
                          and box[0] + box[2] <= size[0] and box[1] + box[3] <= size[1])
                demand(inside, f"box {where} in {flight}/{name}", box,
                       "left, top, width, height inside the frame")
    return truth
