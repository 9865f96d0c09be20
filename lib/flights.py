"""Two drawn flights over one scene, in summer and under snow, with known changes between them.

They stand in for the paper's flights at different times and seasons where there are none: overlapping frames,
looking down, each with its own brightness and colour cast. Places, bodies and cameras are those of
`lib.scenes`; the vehicles of the second flight wear the snow of `lib.snow`, as the simulated winter crops do.
Roads are ploughed, so that both seasons share what one is registered on the other by: markings, repairs.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from lib import scenes
from lib.flight_drawing import Flight
from lib.flight_scene import CHANGES, Scene
from lib.runs import InputError, atomic_path, read_json, require, write_json
from lib.visdrone import CLASSES

FLIGHTS = ("first", "second")  # summer, winter
_NOTE = b"drawn by lib/flights.py"  # a comment in each JPEG: nobody else's frames are ever removed
_MARK = b"\xff\xfe" + (len(_NOTE) + 2).to_bytes(2, "big") + _NOTE


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
        code = scenes.jpeg(picture, flight.quality)
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
    code = scenes.checksum("flights", "flight_scene", "flight_drawing", "scenes", "scene_places",
                           "scene_objects", "scene_people", "scene_drawing", "snow", "crops")  # fmt: skip
    arguments = {"seed": int(seed), "frames": tuple(map(int, frames)), "size": tuple(map(int, size)),
                 "overlap": float(overlap), "scale": float(scale), "vehicles": int(vehicles)}
    parameters = arguments | {"frames": list(arguments["frames"]), "size": list(arguments["size"]),
                              "code": code}
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
    drawn = scenes.in_processes(_draw_row, jobs, workers, "drawing flights")
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
