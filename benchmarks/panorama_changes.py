"""Are vehicles that came, left or moved found between two moments? A part of `benchmarks.panorama`.

Frames of one place at different moments with YOLO boxes. A change is a labelled vehicle of one moment that
no vehicle of the other covers. `lib.changes` finds things; two usual comparisons of registered pictures,
absolute difference and structural similarity, get the same pairs, the same registration and the threshold
that suits them best.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from lib.changes import Region, assigned, detect, overlap
from lib.pictures import pictures_below, read_upright
from lib.registration import Registration, lay, register
from lib.runs import InputError, progress, read_json
from lib.visdrone import image_size
from lib.yolo import class_names, read_yolo

MATCHED = 0.3  # intersection over union of a region and the vehicle that it is
COVERED = 0.3  # of a vehicle and one of the other moment that has its place: no change
REPLACED = 0.45  # of two regions, one of each moment: something took the place of something
BORDER = 0.5  # vehicles' widths from the border of what both moments show within which nothing counts
IGNORED = Path(__file__).with_name("panorama_ignored.json")
THRESHOLDS = {
    "absolute_difference": np.arange(10, 110, 10) / 255,
    "structural_similarity": np.arange(0.2, 0.95, 0.075),
}
OTHERS = re.compile(r"person|people|pedestrian|human|animal|ignored|tree|building", re.IGNORECASE)
NONE = np.empty((0, 4))


@lru_cache(maxsize=8)
def picture(path: Path) -> np.ndarray:
    """RGB uint8 (H, W, 3) of an image file, upright; InputError: corrupt. The last few are kept."""
    return read_upright(path)


@dataclass(frozen=True)
class Moment:
    """A labelled frame, which stays on disk until it is needed: folders may be large.

    name: relative to the folder measured; scene: frames with the same are taken for one place; shape: height,
    width; boxes (n, 4): x, y, width, height of the labelled vehicles, pixels; classes: their n names; others:
    boxes of what is labelled and no vehicle; ignored: vehicles seen by eye that the labels lack.
    """

    name: str
    path: Path
    scene: tuple
    shape: tuple[int, int]
    boxes: np.ndarray
    classes: list[str]
    others: np.ndarray = field(default_factory=NONE.copy)
    ignored: np.ndarray = field(default_factory=NONE.copy)

    @property
    def place(self) -> str:
        """What its scene is called: folder and size."""
        height, width = self.shape
        return f"{self.path.parent.name}, {width} x {height}"

    @property
    def frame(self) -> np.ndarray:
        """RGB uint8 (H, W, 3), upright; InputError: a corrupt image."""
        return picture(self.path)


@dataclass(frozen=True)
class Pair:
    """Two moments, the second registered onto the first.

    vehicle_px: width of a usual vehicle, pixels of the first; all boxes too: changes (box, seen "first" or
    "second", class); both (n, 4): vehicles that each moment has at one place, as the first shows them;
    unlabelled: seen -> boxes (n, 4) at which a region is no error.
    """

    first: Moment
    second: Moment
    registration: Registration
    vehicle_px: float
    changes: list[tuple[np.ndarray, str, str]]
    both: np.ndarray
    unlabelled: dict[str, np.ndarray]


def frames_of(folder: Path) -> dict[str, Path]:
    """Name relative to the folder -> path of each image in it and below, numbers in names in their order.

    InputError: no such folder, no image. Hidden files and folders do not count.
    """
    found = {below.as_posix(): path for below, path in pictures_below(folder, "a folder of frames").items()}

    def order(name):
        return [int(part) if part.isdigit() else part for part in re.split(r"([0-9]+)", name)]

    return {name: found[name] for name in sorted(found, key=order)}


def evenly(things: list, most: int | None) -> list:
    """At most so many of them, evenly chosen, the first and the last among them; None: all."""
    if not most or len(things) <= most:
        return list(things)
    return [things[i] for i in np.unique(np.linspace(0, len(things) - 1, most).round().astype(int))]


def _label_file(path: Path) -> Path | None:
    """NAME.txt beside the frame, or below `labels` where the frame is below `images`."""
    places = [path.with_suffix(".txt")]
    parts = list(path.parts)
    if "images" in parts[:-1]:
        at = len(parts) - 1 - parts[::-1].index("images")
        places.append(Path(*parts[:at], "labels", *parts[at + 1:]).with_suffix(".txt"))
    return next((place for place in places if place.is_file()), None)


def _boxes(rows) -> np.ndarray:
    return np.array(list(rows), float).reshape(-1, 4)


def _names(place: Path, top: Path) -> list[str]:
    """Class names of the folder of a frame, or of the nearest one above, up to the parent of `top`."""
    try:
        return class_names(place)
    except InputError as error:
        if place == top or error.found != "no class names":
            raise
        return _names(place.parent, top)


def read_moments(folder: Path, ignored: dict | None = None) -> tuple[list[Moment], list[str]]:
    """The labelled frames of a folder, and why some with labels were left out.

    ignored: name of a frame's file -> boxes (n, 4) of vehicles without label (None: those of
    panorama_ignored.json). InputError: no images, no class names, no frame with labels.
    """
    ignored = read_json(IGNORED) if ignored is None else ignored
    moments, left_out, names = [], [], {}
    for name, path in frames_of(folder).items():
        labels = _label_file(path)
        if labels is None:
            continue
        if path.parent not in names:
            names[path.parent] = _names(path.parent, folder)
        known = names[path.parent]
        try:
            width, height = image_size(path, upright=True)
            rows = [row for row in read_yolo(labels, len(known), (width, height)) if row[3] and row[4]]
        except InputError as error:
            left_out.append(str(error))
            continue
        vehicle = [row for row in rows if not OTHERS.search(known[row[5]])]
        others = [row for row in rows if OTHERS.search(known[row[5]])]
        moments.append(Moment(
            name, path, (path.parent, width, height), (height, width), _boxes(row[1:5] for row in vehicle),
            [known[row[5]] for row in vehicle], _boxes(row[1:5] for row in others),
            _boxes(ignored.get(path.name, [])),
        ))  # fmt: skip
    if not moments and not left_out:
        _names(folder, folder)
        raise InputError(folder, "no frame with labels", "NAME.txt in YOLO format beside the frames")
    return moments, left_out


def pair_of(one: Moment, two: Moment, registration: Registration, vehicle_px: float) -> Pair:
    """The pair with its changes."""
    there, unseen = (registration.boxes(boxes, one.shape) for boxes in (two.boxes, two.ignored))
    sides = ((one.boxes, "first", one.classes, np.concatenate([there, unseen])),
             (there, "second", two.classes, np.concatenate([one.boxes, one.ignored])))  # fmt: skip
    changes = []
    for boxes, seen, classes, other in sides:
        alone = overlap(boxes, other).max(axis=1, initial=0) < COVERED
        changes += [(box, seen, name) for box, name, free in zip(boxes, classes, alone, strict=True) if free]
    both = one.boxes[overlap(one.boxes, there).max(axis=1, initial=0) >= COVERED]
    others = registration.boxes(two.others, one.shape)
    unlabelled = {"first": np.concatenate([one.ignored, one.others]),
                  "second": np.concatenate([unseen, others])}  # fmt: skip
    return Pair(one, two, registration, vehicle_px, changes, both, unlabelled)


def pairs_of(moments: list[Moment], most: int | None = None) -> tuple[list[Pair], list[str]]:
    """Pairs a quarter and a half of the sequence apart, and those left out, with the reason.

    Frames of other sizes, or of other folders, are other scenes. `most`: so many pairs, evenly chosen. A
    usual vehicle is as wide as the median short side of the scene's boxes.
    """
    scenes: dict[tuple, list[Moment]] = {}
    for moment in moments:
        scenes.setdefault(moment.scene, []).append(moment)
    chosen, pairs, left_out = [], [], []
    for scene in scenes.values():
        n = len(scene)
        if not sum(len(moment.boxes) for moment in scene):
            left_out.append(f"{scene[0].name} and {n - 1} like it: no labelled vehicle")
            continue
        if n < 2:
            left_out.append(f"{scene[0].name}: no second labelled frame of its size")
        apart = sorted({max(1, n // 4), max(1, n // 2)})
        chosen += [(scene, i, i + step) for step in apart for i in range(n - step)]
    for scene, i, j in progress(evenly(chosen, most), desc="registering"):
        one, two = scene[i], scene[j]
        sides = np.concatenate([moment.boxes[:, 2:].min(axis=1) for moment in scene])
        try:
            registration = register(one.frame, two.frame)
        except InputError as error:
            left_out.append(f"{one.name}, {two.name}: {error}")
            continue
        pairs.append(pair_of(one, two, registration, float(np.median(sides))))
    return pairs, left_out


def _counts(pair: Pair, boxes: np.ndarray) -> np.ndarray:
    """Which boxes lie, with a margin, within the first frame and, laid back, within the second.

    The corners are laid back one by one: where the camera has turned, the upright box around the second
    frame holds ground that it does not show.
    """
    boxes = _boxes(boxes)
    if not len(boxes):
        return np.zeros(0, bool)
    margin = BORDER * pair.vehicle_px
    low, high = boxes[:, :2] - margin, boxes[:, :2] + boxes[:, 2:] + margin
    inside = (low >= 0).all(axis=1) & (high <= pair.first.shape[::-1]).all(axis=1)
    turned = [np.stack([x[:, 0], y[:, 1]], axis=1) for x in (low, high) for y in (low, high)]
    back = pair.registration.sources(np.concatenate(turned) - 0.5, pair.first.shape).reshape(4, -1, 2) + 0.5
    return inside & ((back >= 0) & (back <= pair.second.shape[::-1])).all(axis=(0, 2))


def assign(pair: Pair, regions: list[Region], either: bool = False) -> dict:
    """Regions and changes that count, and which region is which change.

    Gives `changes`, `regions`, and `hits`, index pairs (region, change) of these two lists.

    either: a region may be of either moment, for comparisons that do not tell which. A vehicle that another
    takes the place of is no change by the truth used here, nor is it counted: a region at a place where both
    moments have a vehicle, if one of the other moment lies over it, or with `either`. Nor do regions count
    at what is labelled and no vehicle, or at vehicles without label that were seen by eye.
    """
    counting = _counts(pair, [box for box, *_ in pair.changes])
    changes = [change for change, keep in zip(pair.changes, counting, strict=True) if keep]
    counting = _counts(pair, [region.box for region in regions])
    regions = [region for region, keep in zip(regions, counting, strict=True) if keep]
    boxes = _boxes(region.box for region in regions)
    seen = np.array([region.seen for region in regions], dtype=object)
    shared = overlap(boxes, _boxes(change[0] for change in changes))
    if not either:
        shared = shared * (seen[:, None] == np.array([change[1] for change in changes], dtype=object)[None])
    matched = dict(assigned(shared, MATCHED))
    excused = overlap(boxes, pair.both).max(axis=1, initial=0) >= MATCHED
    if not either:
        excused &= (overlap(boxes, boxes) * (seen[:, None] != seen[None]) > REPLACED).any(axis=1)
    for moment, there in pair.unlabelled.items():
        excused |= (overlap(boxes, there).max(axis=1, initial=0) >= MATCHED) & (either | (seen == moment))
    kept = [k for k in range(len(regions)) if k in matched or not excused[k]]
    hits = [(at, matched[k]) for at, k in enumerate(kept) if k in matched]
    return {"changes": changes, "regions": [regions[k] for k in kept], "hits": hits}


def figures(results: list[dict]) -> dict[str, float | int | None]:
    """Numbers, recall, precision and F1 (0..1, None of nothing) over what `assign` gave for each pair."""
    changes, regions, hits = (sum(len(r[key]) for r in results) for key in ("changes", "regions", "hits"))

    def share(part, whole):
        return round(part / whole, 4) if whole else None

    return {"changes": changes, "regions": regions, "found": hits, "recall": share(hits, changes),
            "precision": share(hits, regions), "f1": share(2 * hits, changes + regions)}  # fmt: skip


def _usual(pair: Pair) -> dict[str, list[list[Region]]]:
    """Regions of each usual comparison at each of its thresholds.

    Grey pictures, the second with the first's mean and contrast; difference; opened and closed; parts of
    half to forty vehicles' areas.
    """
    from skimage.metrics import structural_similarity  # only here: it takes a second

    first = cv2.cvtColor(pair.first.frame, cv2.COLOR_RGB2GRAY)
    laid, both = lay(pair.second.frame, np.ones(pair.second.shape, bool), pair.registration, first.shape)
    if not both.any() or min(first.shape) < 11:
        return {how: [[] for _ in values] for how, values in THRESHOLDS.items()}
    second = cv2.cvtColor(laid, cv2.COLOR_RGB2GRAY).astype(np.float32)
    spread = first[both].std() / max(second[both].std(), 1)
    second = np.clip((second - second[both].mean()) * spread + first[both].mean(), 0, 255).astype(np.uint8)
    sides = (max(1, round(part * pair.vehicle_px)) | 1 for part in (0.1, 0.3))
    small, large = (np.ones((side, side), np.uint8) for side in sides)
    found: dict[str, list[list[Region]]] = {how: [] for how in THRESHOLDS}
    for how, thresholds in THRESHOLDS.items():
        if how == "absolute_difference":
            apart = cv2.absdiff(*(cv2.GaussianBlur(x, (5, 5), 0) for x in (first, second))) / 255
        else:  # 0 alike .. 1 unrelated and beyond
            apart = 1 - structural_similarity(first, second, full=True, data_range=255, win_size=11)[1]
        apart[~both] = 0
        for threshold in thresholds:
            mask = cv2.morphologyEx((apart > threshold).astype(np.uint8), cv2.MORPH_OPEN, small)
            _, _, stats, _ = cv2.connectedComponentsWithStats(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, large))
            area = stats[1:, 4] / pair.vehicle_px**2
            parts = stats[1:][(area > 0.5) & (area < 40)]
            found[how].append([Region(tuple(float(n) for n in row[:4]), "first", 1.0) for row in parts])
    return found


def _scores(results: list[tuple[Pair, dict]], usual: dict[str, list[list[dict]]]) -> dict:
    """Figures of `lib.changes` over what `assign` gave, and of each usual comparison at the threshold with
    the best F1 on these very pairs, which is said; `usual`: name -> for each threshold what `assign` gave."""
    found = {"pairs": len(results), **figures([result for _, result in results])}
    for how, kept in usual.items():
        entries = [figures(part) | {"threshold": round(float(threshold), 3)}
                   for part, threshold in zip(kept, THRESHOLDS[how], strict=True)]  # fmt: skip
        found[how] = max(entries, key=lambda entry: entry["f1"] or 0)
    return found


def measure(pairs: list[Pair]) -> tuple[dict, list[tuple[Pair, dict]], list[str]]:
    """Counts, recall, precision and F1 of `lib.changes` and of the usual comparisons; what `assign` gave for
    each pair; pairs that could not be compared, with the reason.

    `scenes`: the same of each scene by itself, the usual comparisons each with the threshold that is best
    there; `without_ignored`: the figures if no vehicle without label had been seen by eye.
    """
    results, bare, left_out = [], [], []
    usual = {how: [[] for _ in values] for how, values in THRESHOLDS.items()}
    for pair in progress(pairs, desc="comparing moments"):
        try:
            regions = detect(pair.first.frame, pair.second.frame, pair.registration, pair.vehicle_px)
        except InputError as error:
            left_out.append(f"{pair.first.name}, {pair.second.name}: {error}")
            continue
        results.append((pair, assign(pair, regions)))
        for how, found in _usual(pair).items():
            for kept, parts in zip(usual[how], found, strict=True):
                kept.append(assign(pair, parts, either=True))
        moments = (replace(moment, ignored=NONE) for moment in (pair.first, pair.second))
        bare.append(assign(pair_of(*moments, pair.registration, pair.vehicle_px), regions))
    scenes: dict[str, list[int]] = {}
    for k, (pair, _) in enumerate(results):
        scenes.setdefault(pair.first.place, []).append(k)
    found = _scores(results, usual) | {"without_ignored": figures(bare), "scenes": {
        name: _scores([results[k] for k in own],
                      {how: [[part[k] for k in own] for part in kept] for how, kept in usual.items()})
        for name, own in scenes.items()
    }}  # fmt: skip
    return found, results, left_out
