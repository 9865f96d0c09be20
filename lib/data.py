"""Where the frames of a profile come from: drawn scenes, or VisDrone-DET on this machine."""

from __future__ import annotations

from pathlib import Path

from lib.crops import CropStore, cut_crops, open_store
from lib.download import download
from lib.runs import InputError
from lib.scenes import draw_scenes
from lib.settings import ROOT, Run
from lib.snow import snow
from lib.visdrone import SETS, Objects, read_objects, visdrone_folder
from lib.winter import open_winter

SOURCES = ("scenes", "visdrone")
WINTER_NAMES = {"simulated": "simulated winter", "crops": "winter crops", "frames": "winter frames"}


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
    `folder`; if that is empty the folder under DRONE_DATA, then `data/visdrone`, and
    downloads `sets` there if nothing is found anywhere. Raises InputError for another
    source, a named folder that does not exist, and faulty annotations.
    """
    if source not in SOURCES:
        raise InputError("source", repr(source), f"one of {', '.join(SOURCES)}")
    if source == "scenes":
        place = draw_scenes(
            run.shared / "scenes", sequences=sequences, frames_per_sequence=frames_per_sequence
        )
    elif folder:
        place = ROOT / Path(folder).expanduser()
    else:
        place = visdrone_folder() or ROOT / "data" / "visdrone"
        if not place.is_dir():
            download(place, sets=sets)
    return read_objects(place, rows, minimum_side, sets=SETS if source == "scenes" else sets)


def cut(run: Run, objects: Objects, winter_source: str) -> CropStore:
    """The profile's crop store: every object, and every object under simulated snow.

    The snow is cut for a user's own winter crops too: held-out non-cars under snow are
    needed by every run, and such sets hold few classes.
    """
    if winter_source not in WINTER_NAMES:
        raise InputError("winter_source", repr(winter_source), f"one of {', '.join(WINTER_NAMES)}")
    return cut_crops(objects, run.shared / "crops", snow=snow)


def cut_winter(run: Run, winter_source: str, folder: str, boxes: str) -> CropStore | None:
    """The user's own winter crops as a store; None for simulated winter."""
    if winter_source == "simulated":
        return None
    if not folder:
        raise InputError("winter_folder", "nothing", f"the folder of your winter {winter_source}")
    return open_winter(winter_source, ROOT / Path(folder).expanduser(), run.shared / "winter", boxes=boxes)


def open_stores(run: Run, winter: str) -> tuple[CropStore, CropStore | None]:
    """What notebook 01 cut: the crop store and, if there is one, the user's winter store."""
    own = None if winter == WINTER_NAMES["simulated"] else open_store(run.shared / "winter")
    return open_store(run.shared / "crops"), own
