"""Where the frames of a profile come from: drawn scenes, or VisDrone-DET on this machine."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from lib.crop_store import FILES, CropStore, open_store
from lib.crops import cut_crops
from lib.download import FOLDER, count_files, download
from lib.evaluation import SIMULATED
from lib.runs import InputError, MissingStep, read_json, require
from lib.scenes import draw_scenes
from lib.settings import DATA, ROOT, Run
from lib.snow import snow
from lib.visdrone import CAR, MINIMUM_SIDE, OFFICIAL, SETS, Objects, check_sets, read_objects, sets_folder
from lib.winter import BOXES, open_winter

SOURCES = ("scenes", "visdrone")
WINTER_NAMES = {"simulated": SIMULATED, "crops": "winter crops", "frames": "winter frames"}


def find_objects(
    run: Run,
    source: str,
    folder: str,
    sets: list[str],
    sequences: int,
    frames_per_sequence: int,
    rows: str,
    minimum_side: int,
) -> Objects:
    """Draw the scenes, or find VisDrone-DET, and read every annotation.

    source "scenes" draws into the profile's folder (once). source "visdrone" takes
    `folder` as it is; if that is empty, the folder under DRONE_DATA (or `../shared/data` beside the
    repository) as it is if one of `sets` is there; else `data/visdrone`, where those of `sets` that are
    not there are downloaded, unless DRONE_DATA is set. Raises InputError for another source or set, a named
    folder that does not exist or is not asked for, and faulty annotations; what `download` raises.
    """
    if source not in SOURCES:
        raise InputError("source", repr(source), f"one of {', '.join(SOURCES)}")
    if source == "visdrone":
        check_sets(sets)  # what is wrong with them is no fault of the folder that is looked for next
    if source == "scenes" and folder:
        raise InputError("data_folder", repr(folder), "source: visdrone, or no folder")
    if source == "scenes":
        place = draw_scenes(
            run.shared / "scenes", sequences=sequences, frames_per_sequence=frames_per_sequence
        )
    elif folder:
        place = ROOT / Path(folder).expanduser()
    else:
        place, own = sets_folder(sets, ROOT / FOLDER)
        named = os.environ.get("DRONE_DATA")
        wanted = ", ".join(OFFICIAL.format(name) for name in sets)
        if not own and not all(_complete(place, name) for name in sets):
            if named:
                raise InputError(f"DRONE_DATA={named}", f"none of {wanted}", "one of them, or no DRONE_DATA")
            download(place, sets=sets)
        elif not own and named:
            print(f"DRONE_DATA={named} has none of {wanted}: {place.relative_to(ROOT)} is read")
    objects = read_objects(place, rows, minimum_side, sets=SETS if source == "scenes" else sets)
    if not len(objects.table):
        raise InputError(place, "no object of the six classes", "annotated frames")
    if source == "visdrone" and (absent := [name for name in sets if name not in objects.frames]):
        print(f"not in the data folder, and left out: {', '.join(absent)}")
    return objects


def _complete(place: Path, name: str) -> bool:
    return count_files(place / OFFICIAL.format(name)) == (SETS[name], SETS[name])


def cut(run: Run, objects: Objects) -> CropStore:
    """The profile's crop store: every object, and every object under simulated snow.

    The snow is cut for a user's own winter crops too: held-out non-cars under snow are
    needed by every run, and such sets hold few classes.
    """
    return cut_crops(objects, run.shared / "crops", snow=snow)


def cut_winter(
    run: Run, winter_source: str, folder: str, boxes: str, classes: list[str] | None = None,
    rows: str = "strict", minimum_side: int = MINIMUM_SIDE,
) -> CropStore | None:  # fmt: skip
    """The user's own winter crops as a store; None for simulated winter.

    classes: names of the classes in YOLO label files by number; without them they are read
    from a file beside the frames (`lib.yolo.class_names`). rows, minimum_side: as in `find_objects`.
    Raises InputError: no folder, or one that is not asked for, a class that is no text, no car, and what
    `open_winter` raises.
    """
    if winter_source not in WINTER_NAMES:
        raise InputError("winter_source", repr(winter_source), f"one of {', '.join(WINTER_NAMES)}")
    if winter_source == "simulated":
        if folder:
            raise InputError("winter_folder", repr(folder), "winter_source: crops or frames, or no folder")
        return None
    if not folder:
        raise InputError("winter_folder", "nothing", f"the folder of your winter {winter_source}")
    if boxes not in BOXES:
        raise InputError("winter_boxes", repr(boxes), f"one of {', '.join(BOXES)}")
    if classes and (winter_source, boxes) != ("frames", "yolo"):
        raise InputError("winter_classes", f"{classes}", "winter frames with YOLO boxes, or none")
    for name in classes or []:
        if not isinstance(name, str):  # YAML takes a bare `no` for a truth value
            raise InputError("winter_classes", repr(name), "the name of a class, in quotes")
    place = ROOT / Path(folder).expanduser()
    store = open_winter(
        winter_source, place, run.shared / "winter", boxes=boxes, names=classes, rows=rows,
        minimum_side=minimum_side,
    )  # fmt: skip
    if not (store.table["label"] == CAR).any():
        left = ", ".join(f"{why}: {n}" for why, n in store.info["drops"].items()) or "nothing"
        expected = "pictures of cars; winter_classes names the classes of YOLO boxes"
        raise InputError(place, f"no car (left out: {left})", expected)
    return store


def open_stores(run: Run, winter: str) -> tuple[CropStore, CropStore | None]:
    """What notebook 01 cut: the crop store and, if there is one, the user's winter store.

    Raises MissingStep, with the command that cuts them again, for a store that is not there, and InputError
    for crops that the run's division is not of.
    """
    names = ["crops"] if winter == SIMULATED else ["crops", "winter"]
    for name in names:
        for file in FILES:
            # not `make reproduce`: it looks at the run's files, not at the stores that all runs share
            require(run.shared / name / file, run.stage(DATA))
    stores = [open_store(run.shared / name) for name in names]
    about = {}
    with contextlib.suppress(MissingStep):  # the store alone is asked for
        about = read_json(run.need("metrics/data.json"))
    for store, key in zip(stores, ("fingerprint", "winter_fingerprint"), strict=False):
        cut = store.info.get("fingerprint")
        if about.get(key, cut) != cut:  # another run's notebook 01 cut it anew, with other parameters
            file = store.folder / FILES[0]
            raise InputError(file, "other crops than this run's division is of", run.stage(DATA))
    return stores[0], stores[1] if len(stores) > 1 else None
