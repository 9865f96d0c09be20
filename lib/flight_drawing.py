"""The frames of a flight over a drawn place (`lib.flights`): its cameras, its season, its snow."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import cv2
import numpy as np

from lib import scenes
from lib.crops import CORE, cut_patch
from lib.flight_scene import CROWNS, DRESS, FLIGHT, PHOTO, ROOFS, Scene, turned
from lib.scene_drawing import FINE, SHIFT, Drawing, whole_box
from lib.snow import DIRT, GROUND_KEEP, SLUSH, SNOW, snow
from lib.visdrone import CATEGORIES

LENS = 3.0  # focal length in frame widths: from 200 m up, what stands leans little
WHOLE = 0.93  # share of a body that must be seen to count as shown wholly (a lamp post may cross it)


class Flight(scenes.Sequence):
    """The frames of one flight over a `Scene`; number 0 in summer, 1 in winter."""

    def __init__(self, scene: Scene, number: int):
        rng = np.random.default_rng([scene.seed, FLIGHT, number])
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
        rng, solids = np.random.default_rng([self.seed, ROOFS]), []
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
        rng, count = np.random.default_rng([self.seed, CROWNS]), len(self.place.trees)
        if self.flight:
            return [_twigs(rng) for _ in range(count)]
        return [look for _ in range(0, count, 4) for look in scenes.tree_crowns(rng, np.pi / 2, self.sun)]

    @cached_property
    def driven(self):
        """Ploughed ways and wheel tracks, each a list of lines: points (n, 2) and width, metres."""
        rng, ploughed, wheels = np.random.default_rng([self.seed, ROOFS, 1]), [], []
        steps = np.arange(-110.0, 170.0, 4.0)

        def way(x, y, heading, along, width, shift=0.0, wander=0.12):
            """One that wanders a little from side to side; its wheel tracks too."""
            waves = rng.uniform((15, 0), (45, 2 * np.pi), (3, 2))
            aside = shift + wander * np.sin(along[:, None] / waves[:, 0] * 2 * np.pi + waves[:, 1]).sum(1)
            if width:
                ploughed.append((turned(x, y, heading, np.column_stack([0 * along + shift, along])), width))
            for side in (-0.78, 0.78):
                wheels.append((turned(x, y, heading, np.column_stack([aside + side, along])), 0.42))

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
        drawing = Overhead(self, k, snowy=bool(self.flight))
        drawing.ground()
        drawing.stand()
        noise = [self.seed, PHOTO, self.flight, k]
        picture = drawing.photograph(np.random.default_rng(noise))
        if self.flight:
            bare = Overhead(self, k, snowy=False)  # what lib.snow expects to see
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
            if inside > 0.999 and seen[body] >= WHOLE * drawn and (box := whole_box(low, high, size)):
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
            rng = np.random.default_rng([self.seed, DRESS, index])  # alike in all frames that show it
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


class Overhead(Drawing):
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
