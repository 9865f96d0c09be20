"""Embedded drone scenes: frames and annotations in VisDrone-DET's own format, drawn by code.

They stand in for VisDrone-DET (Zhu et al., the paper's reference 10) on a machine without data, so that the
whole method runs anywhere. Each sequence has one place, camera height and tilt, sun, weather and sensor; its
frames share the place while the camera drifts and the traffic moves. `benchmarks/scene_realism.py` measures
how far a classifier trained on them alone gets on real crops.
"""

from __future__ import annotations

import multiprocessing
import os
import zlib
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import NormalDist

import cv2
import numpy as np

from lib import scene_people as people
from lib import scene_places as places
from lib.runs import InputError, atomic_path, progress, read_json, write_json, write_text
from lib.scene_drawing import Drawing

OFFICIAL = "VisDrone2019-DET-{}"
PARTS = (("train", 0.7), ("val", 0.1), ("test-dev", 0.2))
FIRST_SEQUENCE = 9100001  # VisDrone's own names stay below 10,000 or begin with 99999


class Camera:
    """A pinhole camera in the air: world metres to pixels of a frame `size` (width, height)."""

    def __init__(self, target, distance, tilt, yaw, roll, focal, size):
        forward = np.array([-np.sin(yaw) * np.cos(tilt), np.cos(yaw) * np.cos(tilt), -np.sin(tilt)])
        right = np.array([np.cos(yaw), np.sin(yaw), 0.0])
        down = np.cross(forward, right)
        turn = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
        right, down = turn @ np.stack([right, down])
        self.axes, self.focal, self.size = np.stack([right, down, forward]), focal, size
        self.centre = np.array([target[0], target[1], 0.0]) - forward * distance

    def view(self, points):
        """Camera coordinates (right, down, ahead) in metres of world points (n, 3)."""
        return (points - self.centre) @ self.axes.T

    def project(self, points):
        """Pixels (n, 2) and distance ahead (n,) of world points (n, 3)."""
        seen = self.view(points)
        ahead = np.maximum(seen[:, 2], 0.1)
        return seen[:, :2] / ahead[:, None] * self.focal + np.array(self.size) / 2, seen[:, 2]

    def ground(self, corners):
        """Pixels of a convex ground polygon (k, 2) cut to a little more than the view; None if outside."""
        seen = self.view(np.column_stack([corners, np.zeros(len(corners))]))
        x, y = np.array(self.size) / 2 / self.focal * 1.1
        for plane in ((0, 0, 1), (1, 0, x), (-1, 0, x), (0, 1, y), (0, -1, y)):
            side = seen @ np.array(plane) - (1.0 if plane == (0, 0, 1) else 0.0)
            if (side < 0).all():
                return None
            if (side < 0).any():
                after, other = np.roll(seen, -1, 0), np.roll(side, -1)
                cut = (side >= 0) != (other >= 0)
                share = side / np.where(cut, side - other, 1.0)
                crossing = seen + (after - seen) * share[:, None]
                pairs = np.stack([seen, crossing], 1).reshape(-1, 3)
                seen = pairs[np.stack([side >= 0, cut], 1).ravel()]
        return seen[:, :2] / seen[:, 2:] * self.focal + np.array(self.size) / 2

    def homography(self):
        """3 x 3 matrix from ground metres (x, y, 1) to pixels."""
        lens = np.array([[self.focal, 0, self.size[0] / 2], [0, self.focal, self.size[1] / 2], [0, 0, 1.0]])
        return lens @ self.axes @ np.column_stack([np.eye(3)[:, :2], -self.centre])

    def rays(self):
        """Distance in metres from the camera to the ground in each pixel (height, width), at most 600."""
        x = (np.arange(self.size[0]) + 0.5 - self.size[0] / 2) / self.focal
        y = (np.arange(self.size[1]) + 0.5 - self.size[1] / 2) / self.focal
        fall = -(self.axes[0, 2] * x[None] + self.axes[1, 2] * y[:, None] + self.axes[2, 2])
        return np.minimum(self.centre[2] / np.maximum(fall, 1e-3), 600.0).astype(np.float32)


def texture_tile(rng, side=512, slope=1.0):
    """Seamless noise (side, side), mean 0, deviation 1: the many sizes of dirt and wear on any ground."""
    waves = np.fft.rfft2(rng.standard_normal((side, side)))
    far = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]) * side
    waves *= np.maximum(far, 1.5) ** -slope
    tile = np.fft.irfft2(waves, s=(side, side))
    return ((tile - tile.mean()) / tile.std()).astype(np.float32)


def tree_crowns(rng, camera_tilt, sun):
    """Four tree crowns seen from the camera: colour uint8 (160, 160, 3), cover float32 (160, 160)."""
    looks = []
    up = np.array([np.cos(camera_tilt), np.sin(camera_tilt)])
    for _ in range(4):
        green = np.array([(0.20, 0.33, 0.11), (0.27, 0.38, 0.14), (0.16, 0.27, 0.13),
                          (0.36, 0.34, 0.13)][rng.choice(4, p=[0.4, 0.3, 0.2, 0.1])])
        green = green * rng.uniform(0.8, 1.3)
        colour, cover = np.zeros((160, 160, 3), np.uint8), np.zeros((160, 160), np.uint8)
        leaves = rng.normal(size=(650, 3))
        leaves *= (rng.random(650) ** 0.25 / np.linalg.norm(leaves, axis=1))[:, None]
        lobes = rng.normal(size=(6, 3))
        leaves *= 0.7 + 0.3 * np.max(leaves @ lobes.T / np.linalg.norm(lobes, axis=1), axis=1, keepdims=True)
        depth = leaves @ np.array([0, -up[0], up[1]])
        for x, y, z in leaves[np.argsort(depth)]:
            light = 0.42 + 0.35 * z + 0.45 * max(0.0, np.array([x, y, z]) @ sun) + rng.normal(0, 0.2)
            at = (int(80 + 66 * x), int(80 - 66 * (z * up[0] + y * up[1])))
            radius = int(rng.integers(2, 8))
            cv2.circle(colour, at, radius, (np.clip(green * max(light, 0.15) * 1.5, 0, 1) * 255).tolist(), -1)
            cv2.circle(cover, at, radius, 255, -1)
        looks.append((colour, cover.astype(np.float32) / 255))
    return looks


class Sequence:
    """One place under one sky before one camera; `draw(k)` gives frame k from the arguments alone."""

    def __init__(self, seed, number, kind, scale, quota, frames, size):
        rng = np.random.default_rng([seed, number])
        self.seed, self.number, self.size, self.frames = seed, number, size, frames
        self.place = places.make_place(kind, rng)
        down = rng.random() < 0.18  # straight down, or slanting as most of VisDrone
        tilt = np.radians(rng.uniform(72, 90) if down else rng.uniform(26, 52))
        across = rng.random() < 0.42
        yaw = np.pi / 2 * rng.choice([-1, 1]) if across else np.pi * rng.integers(2)
        yaw += rng.normal(0, 0.8 if down else 0.35)
        focal = size[0] * rng.uniform(0.72, 1.0)
        centre = {"square": 14.0, "parking": 3.0}.get(kind, 0.0)
        target = np.array([centre + rng.normal(0, 4), rng.uniform(-5, 25)])
        drift, spin, roll = rng.normal(0, 1.6, 2), rng.normal(0, 0.02), rng.normal(0, 0.02)
        self.cameras = [Camera(target + drift * k, focal / scale, tilt, yaw + spin * k, roll, focal,
                               size) for k in range(frames)]
        self._sky(rng)
        self.noise = [texture_tile(rng), texture_tile(rng, slope=0.55)]
        self.crowns = tree_crowns(rng, tilt, self.sun)
        self.items, self.regions, self.blanks = [], 0, []
        self._fill(rng, quota)

    def _sky(self, rng):
        """Sun, weather, lens and sensor of the flight."""
        self.night = rng.random() < 0.07
        high, around = np.radians(rng.uniform(18, 70)), rng.uniform(0, 2 * np.pi)
        self.sun = np.array([np.cos(high) * np.cos(around), np.cos(high) * np.sin(around), np.sin(high)])
        self.clear = 0.0 if self.night else float(rng.choice([0.0, rng.uniform(0.15, 0.5),
                                                              rng.uniform(0.6, 1.0)], p=[0.25, 0.25, 0.5]))
        self.haze = np.array((0.72, 0.75, 0.78)) * rng.uniform(0.85, 1.1) * (0.25 if self.night else 1)
        self.clearness = rng.choice([150.0, 400.0, 1200.0])
        self.gain, self.contrast = rng.uniform(0.85, 1.3), rng.uniform(0.95, 1.4)
        self.cast = 1 + rng.normal(0, 0.02, 3)
        if self.night:
            self.gain = rng.uniform(0.38, 0.6)
            self.cast = np.array([1.25, 0.95, 0.75] if rng.random() < 0.7 else [0.8, 0.95, 1.2])
        self.saturation, self.veil = rng.uniform(0.55, 1.15), rng.choice([0, rng.uniform(0.03, 0.22)],
                                                                         p=[0.6, 0.4])
        self.blur = rng.uniform(0.0, 0.9)
        self.sharpening = rng.choice([0.0, rng.uniform(0.4, 1.6)], p=[0.35, 0.65])
        self.grain = rng.uniform(1.5, 5.0) * (2.0 if self.night else 1)
        self.quality = int(rng.integers(50, 93))
        self.trail = (rng.uniform(0, 3.0), rng.uniform(0, 180)) if rng.random() < 0.2 else (0.0, 0.0)

    def _seen(self, x, y, rng, least):
        """Is this spot in some frame, and near enough to be worth annotating?"""
        camera = self.cameras[rng.integers(len(self.cameras))]
        pixel, ahead = camera.project(np.array([[x, y, 0.5]]))
        inside = (pixel[0] > (-8, -5)).all() and (pixel[0] < np.array(self.size) + (8, 15)).all()
        if not inside or ahead[0] < 2:
            return False
        return rng.random() < (camera.focal / ahead[0] / least) ** 2

    def _fill(self, rng, quota):
        """Put bodies where they belong, none inside another, until the quota of each kind stands."""
        moments = np.unique([0, self.frames // 2, self.frames - 1])  # nobody drives through anybody
        taken = [np.array([(s.x, s.y, 0.45 * min(s.mesh.length,
                                                 s.mesh.width)) for s in self.place.solids]) for _ in moments]
        least = {"pedestrian": 19.0, "motorcycle": 15.0}
        order = (4, 3, 0, 5, 2, 1, 6)  # long vehicles first, while there is room
        for kind, wanted in ((places.KINDS[i], quota[i]) for i in order):
            count = int(wanted) + (rng.random() < wanted % 1)
            for _ in range(count):
                if kind == "ignored region":
                    any(self._crowd(rng) for _ in range(120))
                    continue
                category, mesh = places.body(kind, rng)
                where = {5: "car", 6: "truck", 9: "bus"}.get(category, kind)
                for _ in range(120):
                    x, y, heading, speed = places.spot(self.place, where, rng)
                    if not self._seen(x, y, rng, least.get(kind, 7.0)):
                        continue
                    reach = np.arange(-mesh.length / 2 + mesh.width / 2, mesh.length / 2,
                                      max(mesh.width, 0.5))
                    reach = reach if len(reach) else np.zeros(1)
                    rounds = []
                    for moment in moments:
                        along = reach + speed * moment
                        rounds.append(np.column_stack([x - np.sin(heading) * along,
                                                       y + np.cos(heading) * along,
                                                       np.full(len(along), mesh.width / 2 + 0.1)]))
                    if any(touch(new, old) for new, old in zip(rounds, taken, strict=True)):
                        continue
                    taken = [np.concatenate([old, new]) for old, new in zip(taken, rounds, strict=True)]
                    self.items.append(places.Item(category, mesh, x, y, heading, speed))
                    break

    def _crowd(self, rng) -> bool:
        """An ignored region: parked motorcycles, a crowd, traffic or furniture that nobody labels."""
        kind = rng.choice(["motorcycle", "pedestrian", "mixed", "car"], p=[0.4, 0.3, 0.2, 0.1])
        x, y, heading, _ = places.spot(self.place, "car" if kind == "car" else "pedestrian", rng)
        if not self._seen(x, y, rng, 6.0):
            return False
        if rng.random() < 0.12:  # leaves, walls, far ground: regions with nothing to name
            self.blanks.append((x + rng.normal(0, 6), y + rng.normal(0, 6), *rng.uniform(0.8, 5.0, 2)))
            return True
        self.regions += 1
        length, width = rng.uniform(2.5, 9), rng.uniform(1.0, 3.0)
        for _ in range(int(rng.integers(5, 15))):
            along, side = rng.uniform(-length / 2, length / 2), rng.uniform(-width / 2, width / 2)
            if kind == "car":
                along, side = along * 3, side * 3
            what = rng.choice(["motorcycle", "pedestrian", "other"]) if kind == "mixed" else kind
            mesh = people.motorcycle(rng, rider=rng.random() < 0.2) if what == "motorcycle" else (
                places.block(rng) if what == "other" else places.body(what, rng)[1])
            turned = heading + rng.normal(0, 0.15) + (np.pi / 2 if what == "motorcycle" else 0)
            self.items.append(places.Item(0, mesh, x - np.sin(heading) * along + np.cos(heading) * side,
                                          y + np.cos(heading) * along + np.sin(heading) * side, turned, 0.0,
                                          self.regions))
        return True

    def draw(self, k: int) -> tuple[np.ndarray, list[tuple]]:
        """Frame k: RGB uint8 (height, width, 3) and its annotation rows of 8 numbers."""
        drawing = Drawing(self, k)
        drawing.ground()
        drawing.stand()
        rng = np.random.default_rng([self.seed, self.number, k, 1])
        return drawing.photograph(rng), drawing.annotate(rng)


def touch(one, two) -> bool:
    """Do any two rounds (x, y, radius) of the sets (n, 3) and (m, 3) overlap?"""
    apart = np.hypot(one[:, None, 0] - two[None, :, 0], one[:, None, 1] - two[None, :, 1])
    return bool((apart < one[:, None, 2] + two[None, :, 2]).any())


def jpeg(picture: np.ndarray, quality: int) -> bytes:
    """A picture, RGB uint8 (height, width, 3), as a JPEG file of this quality, 0..100."""
    done, code = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise RuntimeError(f"the JPEG encoder refused a picture of shape {picture.shape}")
    return code.tobytes()


def checksum(*names: str) -> int:
    """Of the source code of modules in `lib`: drawings of other code are drawn again."""
    home = Path(__file__).parent
    return zlib.crc32(b"".join((home / f"{name}.py").read_bytes().replace(b"\r\n", b"\n") for name in names))


def in_processes(task, jobs: list, workers: int | None, desc: str) -> list:
    """task(job) of each job, in their order, in so many processes (None: one a processor)."""
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    if workers == 1:
        return [task(job) for job in progress(jobs, desc=desc)]
    # spawned, not forked: the caller may hold threads
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(progress(pool.map(task, jobs), total=len(jobs), desc=desc))


def _draw_sequence(job) -> Counter:
    """Draw and write the frames of one sequence; counts of rows by category."""
    folder, part, seed, number, kind, scale, quota, frames, size = job
    cv2.setNumThreads(1)
    sequence, counts = Sequence(seed, number, kind, scale, quota, frames, tuple(size)), Counter()
    for k in range(frames):
        picture, rows = sequence.draw(k)
        stem = f"{FIRST_SEQUENCE + number}_{k * 100:05d}_d_{k + 1:07d}"
        home = Path(folder) / OFFICIAL.format(part)
        with atomic_path(home / "images" / f"{stem}.jpg") as temporary:
            temporary.write_bytes(jpeg(picture, sequence.quality))
        text = "".join(",".join(map(str, row)) + "\n" for row in rows)
        write_text(home / "annotations" / f"{stem}.txt", text)
        counts.update(row[5] for row in rows)
    return counts


def _parts(sequences, rng):
    """Set of each sequence, by share, at least one a set where there are three or more."""
    sizes = [max(1 if sequences >= len(PARTS) else 0, round(share * sequences)) for _, share in PARTS]
    sizes[0] = sequences - sizes[1] - sizes[2]
    names = [name for (name, _), count in zip(PARTS, sizes, strict=True) for _ in range(count)]
    return [names[i] for i in rng.permutation(sequences)]


def _clear(folder: Path):
    """Remove an older drawing; refuse a folder that holds anything else under VisDrone's names."""
    old = []
    for part, _ in PARTS:
        for path in sorted((folder / OFFICIAL.format(part)).rglob("*")):
            if path.is_file():
                if not path.name.lstrip(".").startswith("91000"):
                    raise InputError(path, "a file that is no drawn frame",
                                     "an empty folder or older drawn scenes")
                old.append(path)
    (folder / "scenes.json").unlink(missing_ok=True)
    for path in old:
        path.unlink()


def draw_scenes(folder, seed=0, sequences=30, frames_per_sequence=6, size=(960, 540), workers=None,
                objects_per_frame=78.0) -> Path:
    """Draw frames and annotations into `folder`, in the layout and 8-column format of VisDrone-DET.

    `size` is (width, height) in pixels; `objects_per_frame` about how many bodies stand in a frame; `workers`
    processes draw (default: one a processor), which does not change the result: same arguments, same bytes.
    `scenes.json` (parameters, counts by category) is written last; if it is there with the same parameters
    and code, the folder is returned as it is, otherwise everything is drawn again. Returns the folder.
    Raises InputError for wrong numbers and for a folder that holds other frames.
    """
    folder = Path(folder)
    for name, value, least in (("sequences", sequences, 1), ("frames_per_sequence", frames_per_sequence, 1),
                               ("width", size[0], 64), ("height", size[1], 64), ("seed", seed, 0)):
        if not isinstance(value, (int, np.integer)) or value < least:
            raise InputError(f"draw_scenes {name}", repr(value), f"a whole number of at least {least}")
    code = checksum("scenes", "scene_places", "scene_objects", "scene_people", "scene_drawing")
    parameters = {"seed": int(seed), "sequences": int(sequences),
                  "frames_per_sequence": int(frames_per_sequence),
                  "size": [int(side) for side in size], "objects_per_frame": float(objects_per_frame),
                  "code": code}
    done = folder / "scenes.json"
    if done.exists() and read_json(done).get("parameters") == parameters:
        return folder
    _clear(folder)
    rng = np.random.default_rng([seed, 2**20])
    steps = NormalDist(np.log(13.3), 0.5)  # pixels a metre at the middle of a frame 960 wide
    scales = [np.exp(steps.inv_cdf((i + 0.5) / sequences)) for i in rng.permutation(sequences)]
    scales = np.array(scales) * size[0] / 960
    kinds, quotas = places.plan(sequences, float(objects_per_frame), scales, rng)
    parts = _parts(sequences, rng)
    jobs = [(str(folder), parts[i], int(seed), i, kinds[i], float(scales[i]), quotas[i].tolist(),
             frames_per_sequence,
             parameters["size"]) for i in range(sequences)]
    total = sum(in_processes(_draw_sequence, jobs, workers, "drawing scenes"), Counter())
    write_json(done, {"parameters": parameters, "rows": {str(c): total[c] for c in sorted(total)},
                      "frames": {part: parts.count(part) * frames_per_sequence for part, _ in PARTS}})
    return folder
