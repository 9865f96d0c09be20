"""Drawing one frame of a drone scene: ground, shadows, bodies far to near, then the camera's own faults."""

from __future__ import annotations

import cv2
import numpy as np

from lib.scene_objects import GLASS, LIGHT, PAINT

FINE = 2  # bodies are drawn this many times larger, then averaged
SHIFT = 4  # binary places of a pixel in OpenCV's drawing calls


class Drawing:
    """Frame k of a `lib.scenes.Sequence`, in the making."""

    def __init__(self, sequence, k: int):
        self.sequence, self.k, self.camera = sequence, k, sequence.cameras[k]
        width, height = sequence.size
        self.owner = np.full((height, width), -1, np.int16)  # which body is seen in each pixel
        self.covers = {}  # body: pixels (n, 2) of its outline before anything hides it
        self.boxes = {}
        moved = []
        for index, item in enumerate(sequence.place.solids + sequence.items):
            along = item.speed * k
            x, y = item.x - np.sin(item.heading) * along, item.y + np.cos(item.heading) * along
            pixel, ahead = self.camera.project(np.array([[x, y, item.mesh.height / 2]]))
            largest = max(item.mesh.length, item.mesh.height, item.mesh.width)
            reach = 1.2 * largest * self.camera.focal / max(ahead[0], 1.0)
            inside = (pixel[0] > -reach).all() and (pixel[0] < np.array(sequence.size) + reach).all()
            if ahead[0] > 2 and inside:
                moved.append((index, item, x, y))
        self.moved = moved

    def _shade_of(self, points):
        """Outline of the shadow of world points (n, 3) on the ground, in pixels, or None."""
        sun = self.sequence.sun
        fallen = points[:, :2] - points[:, 2:] * sun[:2] / sun[2]
        seen = self.camera.view(np.column_stack([fallen, np.zeros(len(fallen))]))
        if (seen[:, 2] < 1).any():
            return None
        pixels, _ = self.camera.project(np.column_stack([fallen, np.zeros(len(fallen))]))
        return cv2.convexHull(np.clip(pixels, -9000, 9000).astype(np.float32))[:, 0]

    def _polygon(self, canvas, pixels, colour, scale=1):
        cv2.fillConvexPoly(canvas, np.round((pixels * scale + (scale - 1) / 2) * 2**SHIFT).astype(np.int32),
                           colour, cv2.LINE_AA, SHIFT)

    def ground(self):
        """Ground with roads, marks, roughness, haze and shadows, at twice the frame's size."""
        sequence, camera, place = self.sequence, self.camera, self.sequence.place
        width, height = sequence.size
        colour, rough = place.base
        canvas = np.empty((height, width, 3), np.uint8)
        canvas[:] = (np.asarray(colour) * 255).astype(np.uint8)
        depth = np.full((height, width), int(rough * 255), np.uint8)
        for corners, colour, rough in place.ground:
            pixels = camera.ground(corners)
            if pixels is not None and np.ptp(pixels, axis=0).min() > 0.15:
                self._polygon(canvas, pixels, (np.clip(colour, 0, 1) * 255).tolist())
                self._polygon(depth, pixels, int(rough * 255))
        to_frame = camera.homography()
        texture = 0
        for tile, metres, weight in zip(sequence.noise, (70.0, 9.0), (0.55, 0.45), strict=True):
            step = metres / tile.shape[0]
            texture = texture + weight * cv2.warpPerspective(tile, to_frame @ np.diag([step, step, 1.0]),
                                                             (width, height),
                                                             flags=cv2.INTER_LINEAR,
                                                             borderMode=cv2.BORDER_WRAP)
        distance = camera.rays()
        texture *= np.minimum(1.0, 60.0 / distance)
        picture = canvas * (1 + texture * depth * (1 / 255))[..., None]
        picture *= (1 - self._shadows())[..., None]
        fog = (1 - np.exp(-distance / sequence.clearness))[..., None]
        picture = picture * (1 - fog) + fog * (sequence.haze * 255)
        self.canvas = cv2.resize(np.clip(picture, 0, 255).astype(np.uint8), None, fx=FINE, fy=FINE,
                                 interpolation=cv2.INTER_LINEAR)

    def _shadows(self):
        """Share of light lost (height, width): to houses and trees (they darken bodies), then to bodies."""
        sequence = self.sequence
        cast = np.zeros(self.owner.shape, np.uint8)
        solids = len(sequence.place.solids)
        rng = np.random.default_rng([sequence.seed, sequence.number, 3])
        ring = np.arange(12) * np.pi / 6
        for x, y, z, radius, _ in sequence.place.trees:
            size = radius * rng.uniform(0.75, 1.1, 12)
            crown = np.stack([x + size * np.cos(ring), y + size * np.sin(ring), np.full(12, z + 0.5)], 1)
            outline = self._shade_of(crown)
            if outline is not None:
                self._polygon(cast, outline, 225)
        for index, item, x, y in self.moved:
            if index < solids and item.mesh.height > 2.5:
                outline = self._shade_of(_place(item, x, y, item.mesh.points))
                if outline is not None:
                    self._polygon(cast, outline, 255)
        self.dark = cast.copy()
        touch = np.zeros_like(cast)
        for index, item, x, y in self.moved:
            if index < solids and item.mesh.height > 2.5:
                continue
            points = _place(item, x, y, item.mesh.points)
            outline = self._shade_of(points)
            if outline is not None and sequence.clear > 0:
                self._polygon(cast, outline, 255)
            foot = points * [1, 1, 0]
            pixels, ahead = self.camera.project(foot)
            if ahead.min() > 1:  # even under clouds little light comes below a body
                self._polygon(touch, cv2.convexHull(np.clip(pixels, -9000, 9000).astype(np.float32))[:, 0],
                              255)
        cast = cv2.GaussianBlur(cast, (0, 0), 0.8)
        reach = max(0.8, 0.12 * self.camera.focal / np.linalg.norm(self.camera.centre))
        touch = cv2.GaussianBlur(touch, (0, 0), min(reach * 1.5, 6.0)).astype(np.float32)
        return np.maximum(cast * np.float32(0.62 * sequence.clear / 255), touch * np.float32(0.55 / 255))

    def stand(self):
        """Paint bodies and trees from far to near."""
        sequence, camera = self.sequence, self.camera
        queue = []
        for index, item, x, y in self.moved:
            queue.append((np.hypot(x - camera.centre[0], y - camera.centre[1]) + 0.05 * camera.centre[2], 0,
                          index, item, x, y))
        for number, (x, y, z, radius, look) in enumerate(sequence.place.trees):
            queue.append((np.hypot(x - camera.centre[0], y - camera.centre[1]) - radius, 1, number,
                          (z, radius, look), x, y))
        for _, tree, index, what, x, y in sorted(queue, key=lambda entry: (-entry[0], entry[1], entry[2])):
            if tree:
                self._tree(x, y, *what)
            else:
                self._body(index, what, x, y)

    def _body(self, index, item, x, y):
        sequence, camera, mesh = self.sequence, self.camera, item.mesh
        points = _place(item, x, y, mesh.points)
        pixels, ahead = camera.project(points)
        if ahead.min() < 1.5:
            return
        turn = np.array([[np.cos(item.heading), np.sin(item.heading)],
                         [-np.sin(item.heading), np.cos(item.heading)]])
        normals = np.column_stack([mesh.normals[:, :2] @ turn, mesh.normals[:, 2]])
        away = camera.centre - points[mesh.starts[:-1]]
        facing = (normals * away).sum(1)
        away /= np.linalg.norm(away, axis=1, keepdims=True)
        colours = self._light(mesh, normals, away, self._sunlit(x, y), ahead.mean(),
                              points[mesh.starts[:-1], 2])
        order = np.flatnonzero(facing > 0)
        fixed = np.round((pixels * FINE + (FINE - 1) / 2) * 2**SHIFT).astype(np.int32)
        for face in order:
            cv2.fillConvexPoly(self.canvas, fixed[mesh.starts[face]:mesh.starts[face + 1]],
                               colours[face].tolist(), cv2.LINE_AA, SHIFT)
        hull = cv2.convexHull(pixels.astype(np.float32))[:, 0]
        cv2.fillConvexPoly(self.owner, np.round(hull).astype(np.int32), index)
        if item.category is not None:
            low, high = hull.min(0), hull.max(0)
            frame = np.array(sequence.size)
            inside = np.prod(np.clip(np.minimum(high, frame) - np.maximum(low, 0), 0,
                                     None)) / max(np.prod(high - low), 1e-6)
            self.boxes[index] = (item, low, high, inside, cv2.contourArea(hull))

    def _sunlit(self, x, y):
        """Share of the sun that reaches a body standing at x, y."""
        pixel, _ = self.camera.project(np.array([[x, y, 0.0]]))
        column, row = np.clip(pixel[0].astype(int), 0, np.array(self.sequence.size) - 1)
        return 1 - 0.8 * self.dark[row, column] / 255

    def _light(self, mesh, normals, away, sunlit, distance, heights):
        """Colour 0..255 of each face under sun and sky; paint and glass reflect the sky; haze."""
        sequence = self.sequence
        sun = np.maximum(0, normals @ sequence.sun) * sequence.clear * sunlit
        sky = (0.58 + 0.42 * normals[:, 2]) * (1 - 0.5 * sequence.clear) * np.clip(0.62 + heights, 0.6, 1)
        light = sky + 0.85 * sun + 0.08
        colour = mesh.colours * light[:, None]
        shine = np.array([0, 0.09, 0.26, 0])[mesh.kinds] * (0.3 + 0.7 * np.clip(normals[:, 2], 0, 1))
        shine = shine * (1 + 2.0 * (1 - np.clip((normals * away).sum(1), 0, 1)) ** 3)
        half = away + sequence.sun
        half /= np.linalg.norm(half, axis=1, keepdims=True)
        glossy = np.isin(mesh.kinds, (PAINT, GLASS))
        glint = np.clip((normals * half).sum(1), 0, 1) ** 60 * sequence.clear * sunlit * glossy
        bright = 0.35 if sequence.night else 1.0
        colour += (shine * bright)[:, None] * np.array((0.78, 0.84,
                                                        0.92)) * (0.6 + 0.4 * sunlit) + 0.7 * glint[:, None]
        lit = (mesh.kinds == LIGHT)
        colour[lit] = mesh.colours[lit] * (2.4 if sequence.night else 1.1)
        fog = 1 - np.exp(-distance / sequence.clearness)
        return np.clip((colour * (1 - fog) + sequence.haze * fog) * 255, 0, 255)

    def _tree(self, x, y, z, radius, look):
        sequence, camera = self.sequence, self.camera
        pixel, ahead = camera.project(np.array([[x, y, z + 0.5], [x, y, 0.0]]))
        if ahead.min() < 3:
            return
        side = int(2 * 80 / 66 * radius * camera.focal / ahead[0] * FINE)
        high, wide = self.canvas.shape[:2]
        if side < 3 or side > 1500:
            return
        left, top = (np.round(pixel[0] * FINE) - side // 2).astype(int)
        if left >= wide or top >= high or left + side <= 0 or top + side <= 0:
            return
        root, crown = (np.round(p * FINE).astype(int).tolist() for p in (pixel[1], pixel[0]))
        cv2.line(self.canvas, root, crown, (70, 62, 52), max(1, int(0.22 * camera.focal / ahead[0] * FINE)),
                 cv2.LINE_AA)
        colour, cover = sequence.crowns[look]
        mode = cv2.INTER_AREA if side < colour.shape[0] else cv2.INTER_LINEAR
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, wide), min(top + side, high)
        part = np.s_[y0 - top:y1 - top, x0 - left:x1 - left]
        light = 0.75 + 0.35 * sequence.clear
        fog = 1 - np.exp(-ahead[0] / sequence.clearness)
        paint = cv2.resize(colour, (side, side), interpolation=mode)[part] * np.float32(light * (1 - fog))
        paint += (sequence.haze * fog * 255).astype(np.float32)
        alpha = cv2.resize(cover, (side, side), interpolation=mode)[part][..., None]
        under = self.canvas[y0:y1, x0:x1]
        self.canvas[y0:y1, x0:x1] = np.clip(under * (1 - alpha) + paint * alpha, 0, 255).astype(np.uint8)
        small = alpha[::FINE, ::FINE, 0] > 0.5
        row, column = (y0 + 1) // FINE, (x0 + 1) // FINE
        seen = self.owner[row:row + small.shape[0], column:column + small.shape[1]]
        seen[small[:seen.shape[0], :seen.shape[1]]] = -1

    def photograph(self, rng) -> np.ndarray:
        """The finished canvas through lens and sensor: RGB uint8 (height, width, 3)."""
        sequence = self.sequence
        picture = cv2.resize(self.canvas, sequence.size, interpolation=cv2.INTER_AREA).astype(np.float32)
        if sequence.night:
            picture = self._lamps(picture, rng)
        grey = picture @ np.float32([0.3, 0.59, 0.11])
        picture = grey[..., None] + np.float32(sequence.saturation) * (picture - grey[..., None])
        picture = picture * (sequence.cast * sequence.gain).astype(np.float32)
        middle = np.float32(picture.mean())
        picture = middle + np.float32(sequence.contrast) * (picture - middle)
        picture = picture * np.float32(1 - sequence.veil) + np.float32(sequence.veil * 205)
        picture = cv2.GaussianBlur(picture, (0, 0), sequence.blur)
        length, angle = sequence.trail
        if length > 1:
            kernel = np.zeros((7, 7), np.float32)
            arm = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))]) * length
            cv2.line(kernel, tuple(np.round(3 - arm / 2).astype(int).tolist()),
                     tuple(np.round(3 + arm / 2).astype(int).tolist()), 1.0)
            picture = cv2.filter2D(picture, -1, kernel / kernel.sum())
        height, width = picture.shape[:2]
        fine = rng.standard_normal((height, width), np.float32)
        coarse = cv2.resize(rng.standard_normal((height // 2, width // 2, 3), np.float32), (width, height))
        picture += sequence.grain * (0.7 * fine[..., None] + 0.8 * coarse)
        if sequence.sharpening > 0:
            picture += np.float32(sequence.sharpening) * (picture - cv2.GaussianBlur(picture, (0, 0), 1.2))
        return np.clip(picture, 0, 255).astype(np.uint8)

    def _lamps(self, picture, rng):
        """Street lamps light the ground in pools."""
        pools = np.full(self.owner.shape, 0.45, np.float32)
        for item in self.sequence.place.solids:
            if item.mesh.height > 6 and item.mesh.length < 1:
                pixel, ahead = self.camera.project(np.array([[item.x, item.y, 0.0]]))
                size = 9.0 * self.camera.focal / max(ahead[0], 5)
                if (pixel[0] > -size).all() and (pixel[0] < np.array(self.sequence.size) + size).all():
                    cv2.circle(pools, tuple(np.round(pixel[0]).astype(int).tolist()), max(1, int(size)), 1.3,
                               -1)
        small = cv2.resize(pools, None, fx=0.125, fy=0.125, interpolation=cv2.INTER_AREA)
        return picture * cv2.resize(cv2.GaussianBlur(small, (0, 0), 5), self.sequence.size)[..., None]

    def annotate(self, rng) -> list[tuple]:
        """VisDrone rows: left, top, width, height, score, category, truncation, occlusion."""
        frame, rows, regions = np.array(self.sequence.size), [], {}
        seen = np.bincount((self.owner[self.owner >= 0]).ravel(), minlength=1)
        for index, (item, low, high, inside, area) in self.boxes.items():
            visible = (seen[index] if index < len(seen) else 0) / max(area * inside, 1.0)
            if item.region is not None:
                if visible > 0.1 and inside > 0.3:
                    regions.setdefault(item.region, []).append((low, high))
                continue
            if inside < 0.2 or visible < 0.30:
                continue
            slack = rng.normal(0.02, 0.035, 4) * np.tile(high - low, 2)  # nobody draws boxes to the pixel
            box = whole_box(low - slack[:2], high + slack[2:], frame)
            if box is None or min(box[2:]) < 3:
                continue
            truncation = int(inside < 0.97)
            occlusion = 0 if visible > 0.95 else 1 if visible > 0.5 else 2
            rows.append((*box, int(item.category != 11), item.category, truncation, occlusion))
        for boxes in regions.values():
            lows, highs = np.array(boxes).transpose(1, 0, 2)
            box = whole_box(np.quantile(lows, 0.1, axis=0), np.quantile(highs, 0.9, axis=0), frame)
            if box is not None and min(box[2:]) >= 5:
                rows.append((*box, 0, 0, 0, 0))
        for x, y, wide, tall in self.sequence.blanks:
            pixel, ahead = self.camera.project(np.array([[x, y, 1.0]]))
            half = np.array([wide, tall]) * self.camera.focal / max(ahead[0], 5.0) / 2
            box = whole_box(pixel[0] - half, pixel[0] + half, frame)
            if box is not None and min(box[2:]) >= 5:
                rows.append((*box, 0, 0, 0, 0))
        if rows and rng.random() < 0.05:  # the real files hold some rows of no size
            left, top, _, tall, *rest = rows[rng.integers(len(rows))]
            rows.append((left, top, 0, tall, *rest))
        return rows


def _place(item, x, y, points):
    """Points of a body moved to its place in the world."""
    cos, sin = np.cos(item.heading), np.sin(item.heading)
    return np.column_stack([x + points[:, 0] * cos - points[:, 1] * sin,
                            y + points[:, 0] * sin + points[:, 1] * cos, points[:, 2]])


def whole_box(low, high, frame):
    """Left, top, width, height in whole pixels inside the frame, or None."""
    left, top = np.clip(np.round(low), 0, frame - 1).astype(int)
    right, bottom = np.clip(np.round(high), 0, frame).astype(int)
    if right <= left or bottom <= top:
        return None
    return int(left), int(top), int(right - left), int(bottom - top)
