"""A user's own winter crops, from two sources behind one interface, `open_winter`.

The paper tests on 811 cars cut from pictures taken in winter (section 4), which are not
public. A user brings winter as a folder of crops ("crops") or as frames with YOLO or
VisDrone boxes ("frames": the Nordic Vehicle Dataset, the paper's reference 4, or an own
flight); without either, summer crops are put under simulated snow (`lib.snow`, when they are cut),
and every number from them is called "simulated winter".

`python -m lib.winter FOLDER` prints what a folder holds before a run relies on it.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from lib.crop_store import CropStore
from lib.crops import cut_boxes
from lib.pictures import PICTURES, unread_pictures
from lib.runs import InputError, command_line, files_below, progress
from lib.visdrone import CAR, CLASSES, MINIMUM_SIDE, image_size, read_annotation
from lib.yolo import class_names, read_yolo

SOURCES = ("crops", "frames")
BOXES = ("yolo", "visdrone")  # kinds of label files
COLUMNS = ("set", "frame", "sequence", "line", "x", "y", "width", "height", "label")
# A data set's own class name -> ours. Other names are left out and counted: nothing is merged.
NAMES = {name: name for name in CLASSES} | {
    "ignored": "ignored region", "motor": "motorcycle", "motorbike": "motorcycle", "person": "pedestrian",
}
NAMES |= {f"{name}s": ours for name, ours in NAMES.items()} | {"buses": "bus", "people": "pedestrian"}
# Classes of other sets that are none of ours: a folder of one is no flight of cars.
_FOREIGN = {"awning tricycle", "background", "bicycle", "negative", "non car", "other", "tricycle", "van"}
_FOREIGN |= {f"{name}s" for name in _FOREIGN}
_NO_LABELS = {"classes.txt", "readme.txt", "license.txt", "train.txt", "val.txt", "valid.txt", "test.txt"}
_BOXES = (".txt", ".xml", ".json")  # files with boxes of pictures, of kinds that are not read too
_FOR_BOXES = ("labels", "annotations")  # folders of these
_NO_FLIGHT = {"images", *_FOR_BOXES, "train", "val", "valid", "test"}  # layout, no flights
_ONE_EACH = "pictures of one object each, or winter_source: frames, with YOLO or VisDrone boxes (.txt)"


@dataclass
class WinterObjects:
    """What a folder of winter pictures holds, before it is cut.

    table: one row an object: set ("winter"), frame (path below the folder, without suffix),
        sequence (flight), line (1-based, in the label file), x, y, width, height (pixels),
        label (index into CLASSES).   paths: frame -> image file.   drops: reason -> rows left out.
    background: frames without any label file, which YOLO takes for frames without objects.
    """

    folder: Path
    source: str
    table: pd.DataFrame
    paths: dict[str, Path]
    drops: Counter = field(default_factory=Counter)
    background: int = 0
    unread: str = ""  # pictures of other kinds

    def image_path(self, _set: str, frame: str) -> Path:
        """The image file of a frame."""
        return self.paths[frame]

    def classes(self) -> dict[str, int]:
        """Class name -> number of objects, for classes that occur."""
        counts = np.bincount(self.table["label"].to_numpy(np.int64), minlength=len(CLASSES))
        return {name: int(n) for name, n in zip(CLASSES, counts, strict=True) if n}

    def flights(self) -> dict[str, int]:
        """Flight (sequence) -> number of objects."""
        return {str(name): int(n) for name, n in self.table["sequence"].value_counts(sort=False).items()}

    def cut(self, store_folder: str | os.PathLike) -> CropStore:
        """Cut all objects into a store; InputError for a corrupt image."""
        info = {
            "source": self.source,
            "frames": {"winter": {"found": len(self.paths), "expected": len(self.paths)}},
            "background": self.background,
            "classes": self.classes(),
            "flights": len(self.flights()),
            "drops": dict(sorted(self.drops.items())),
        }
        return cut_boxes(self.table, self.image_path, store_folder, info, upright=True)

    def text(self) -> str:
        """A summary to print."""
        kind = "crops" if self.source == "crops" else "frames"
        note = f", {self.background} without a label file (taken as background)" if self.background else ""
        out = [f"{self.folder}: {len(self.paths)} {kind}{note}", f"{len(self.table)} objects"]
        out += [f"  {name:<16}{n:>8,}" for name, n in self.classes().items()]
        flights = self.flights()
        out += [f"{len(flights)} flights (sequences)"]
        out += [f"  {name:<32}{n:>8,}" for name, n in list(flights.items())[:20]]
        out += [f"  and {len(flights) - 20} more"] if len(flights) > 20 else []
        out += [f"left out: {reason}: {n:,}" for reason, n in sorted(self.drops.items())]
        out += [f"left out, as they are not read: {self.unread}"] if self.unread else []
        return "\n".join(out + self._lacks())

    def _lacks(self) -> list[str]:
        """What a run would miss, to print."""
        cars = self.table[self.table["label"] == CAR]
        if not len(cars):
            return ["no car: a run needs winter cars"]
        if cars["frame"].nunique() == 1:
            return ["cars of one picture alone: a run needs others to test on"]
        if cars["sequence"].nunique() == 1:  # `lib.division` then divides its frames
            return ["cars of one flight alone: they are learnt and tested on the same recording"]
        return []


def _files(folder: Path) -> list[Path]:
    """All files below, in the order of their paths (`files_below`)."""
    return list(files_below(folder, "a folder of winter pictures", PICTURES).values())


def _pictures(folder: Path, files: list[Path]) -> dict[str, Path]:
    """Path below the folder without suffix -> image file."""
    paths: dict[str, Path] = {}
    for path in files:
        if path.suffix.lower() in PICTURES:
            name = path.relative_to(folder).with_suffix("").as_posix()
            if name in paths:
                raise InputError(path, f"a second picture beside {paths[name].name}", "one picture a name")
            paths[name] = path
    if not paths:
        raise InputError(folder, "no picture", "files that end in " + ", ".join(PICTURES))
    return paths


def _flight(name: str, skip: int | None = None) -> str:
    """The flight of a picture: its folders (but those of a layout, and number `skip`), else the first `_`
    field of its name, else what stands before its number (`DJI-0001`), as loose pictures are one flight.
    """
    *folders, stem = name.split("/")
    kept = [part for k, part in enumerate(folders) if k != skip and part.lower() not in _NO_FLIGHT]
    if kept or "_" in stem:
        return "/".join(kept) or stem.split("_")[0]
    numbered = re.fullmatch(r"(\D*)\d+\D?", stem)
    return (numbered[1].strip(" -.(") if numbered else "") or "flight"


def _class_folder(name: str) -> int | None:
    """Which of a picture's folders is the first that has the name of a class; None without any."""
    *folders, _ = name.split("/")
    return next((k for k, part in enumerate(folders) if _our_label(part) is not None), None)


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", " ").replace("-", " ")


def _our_label(name: str) -> int | None:
    ours = NAMES.get(_plain(name))
    return None if ours is None else CLASSES.index(ours)


def _table(rows: list[tuple]) -> pd.DataFrame:
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(COLUMNS)
    table = {name: list(values) if k < 3 else np.array(values, np.int32)
             for k, (name, values) in enumerate(zip(COLUMNS, columns, strict=True))}
    return pd.DataFrame(table, columns=list(COLUMNS))


def find_crops(folder: str | os.PathLike) -> WinterObjects:
    """List a folder of crops: image files of any size, one object each.

    Either class folders (`car/...`, `bus/...`, as torchvision's ImageFolder, also below others) or, where no
    folder has a class name, all of them cars. Other folders are flights, but for those of a layout (`train`);
    without them the flight is in the file name (`_flight`). Rows are in the order of flight and picture.
    Raises InputError: missing folder, no picture, a picture that cannot be read, one outside of class folders
    where there are some or in one of a class that is none of ours (`_FOREIGN`), files of boxes
    (`_holds_boxes`), as frames with boxes are no crops.
    """
    folder = Path(folder)
    files = _files(folder)
    paths = _pictures(folder, files)
    for path in files:
        if _holds_boxes(path, folder, paths):
            raise InputError(path, "a label file of pictures", _ONE_EACH)
    beside = [folder.parent / name for name in _FOR_BOXES] if folder.name.lower() == "images" else []
    for path in (place / f"{name}{end}" for place in beside for end in _BOXES for name in paths):
        if path.is_file():
            raise InputError(path, "a label file of pictures", _ONE_EACH)
    places = {name: _class_folder(name) for name in paths}
    by_class = any(place is not None for place in places.values())
    for name, path in paths.items() if not by_class else ():
        foreign = next((part for part in name.split("/")[:-1] if _plain(part) in _FOREIGN), None)
        if foreign:
            found = f"the folder {foreign!r}, a class that is left out"
            raise InputError(path, found, "cars alone, or folders named " + ", ".join(CLASSES))
    rows = []
    for name, path in progress(paths.items(), total=len(paths), desc="winter crops"):
        place = places[name]
        if by_class and place is None:
            top = next((part for part in name.split("/")[:-1] if part.lower() not in _NO_FLIGHT), None)
            found = f"the folder {top!r}" if top else "a picture"
            expected = "only folders named " + ", ".join(CLASSES)
            raise InputError(path, f"{found} beside class folders", expected)
        label = _our_label(name.split("/")[place]) if by_class else CAR
        flight = _flight(name, place)
        width, height = image_size(path, upright=True)
        rows.append(("winter", name, flight, 1, 0, 0, width, height, label))
    if by_class:  # else a flight's buses, say, would all come before its cars, and be divided so
        rows.sort(key=lambda row: (row[2], row[1].split("/")[places[row[1]] + 1 :], row[1]))
    return WinterObjects(folder, "crops", _table(rows), paths, unread=unread_pictures(files))


def _beside_picture(path: Path, folder: Path, paths: Mapping[str, Path]) -> bool:
    """Whether a file has a picture of its name beside it."""
    return path.relative_to(folder).with_suffix("").as_posix() in paths


def _holds_boxes(path: Path, folder: Path, paths: Mapping[str, Path]) -> bool:
    """Whether a file is of a kind that may hold boxes, and beside a picture of its name or in `labels/`."""
    placed = any(part.lower() in _FOR_BOXES for part in path.relative_to(folder).parts[:-1])
    return path.suffix.lower() in _BOXES and (placed or _beside_picture(path, folder, paths))


def _may_label(path: Path, folder: Path, paths: Mapping[str, Path]) -> bool:
    """Whether a file may hold boxes: text, with a picture of its name or, if not, not a list or note of the
    data set (classes.txt, README.roboflow.txt).
    """
    if path.suffix.lower() != ".txt":
        return False
    if _beside_picture(path, folder, paths):
        return True
    if path.name.lower() in _NO_LABELS:
        return False
    if path.parent != folder:
        return True
    with open(path, "rb") as file:
        first = file.read(1 << 10).lstrip(b"\xef\xbb\xbf \t\r\n")
    return not first or first[:1] in b"+-.0123456789"


def _label_files(folder: Path, files: list[Path], paths: dict[str, Path]) -> dict[str, Path]:
    """Frame -> label file: beside the picture, in labels/ or annotations/ there, or there for images/."""
    labels = {path.relative_to(folder).with_suffix("").as_posix(): path for path in files
              if _may_label(path, folder, paths)}
    if not labels:
        raise InputError(folder, "no label file", "a .txt file of boxes beside each frame or in labels/")
    fold = str.lower if len({name.lower() for name in labels}) == len(labels) else str  # Images/, Labels/
    spelt = {fold(name): name for name in labels}
    matched = {}
    for name in paths:
        parts = name.split("/")
        places = [name]
        for other in _FOR_BOXES:
            places.append("/".join([*parts[:-1], other, parts[-1]]))
            places += ["/".join([*parts[:k], other, *parts[k + 1 :]])
                       for k, part in enumerate(parts[:-1]) if part.lower() == "images"]  # fmt: skip
        place = next((fold(place) for place in places if fold(place) in spelt), None)
        if place is not None:
            matched[name] = labels.pop(spelt.pop(place))
    for path in labels.values():
        raise InputError(path, "a label file without frame", f"a picture named {path.stem}")
    return matched


def find_frames(
    folder: str | os.PathLike,
    boxes: str = "yolo",
    names: Sequence[str] | None = None,
    minimum_side: int = MINIMUM_SIDE,
    rows: str = "strict",
) -> WinterObjects:
    """List the objects of frames with boxes=`"yolo"` or `"visdrone"` label files.

    Label files lie beside the frames, or in `labels/` (`annotations/`) for frames in `images/`.
    names: class names by number (default: `class_names`); rows: as in `read_annotation`. Classes without a
    partner in NAMES and boxes under `minimum_side` pixels are left out and counted. A frame without label
    file is background for YOLO (counted) and an error for VisDrone. The flight is the frame's folder, else
    the first `_` field of its name (VisDrone: always), else what stands before its number. Raises
    InputError: missing folder, no frame, no label file, a label file without frame, a picture that cannot be
    read, bad rows (see `read_yolo`, `lib.visdrone.read_annotation`).
    """
    if boxes not in BOXES:
        raise InputError("boxes", repr(boxes), f"one of {', '.join(BOXES)}")
    folder = Path(folder)
    files = _files(folder)
    paths = _pictures(folder, files)
    labels = _label_files(folder, files, paths)
    names = [] if boxes == "visdrone" else list(names or class_names(folder))
    ours = [_our_label(name) for name in names]
    spelt = [name.strip().lower() for name in names]
    if {"people", "pedestrian"} <= set(spelt):  # VisDrone's: its "people" sit or lie, and are left out
        ours[spelt.index("people")] = None
    found, drops, background = [], Counter(), 0
    for name, path in progress(paths.items(), total=len(paths), desc="winter frames"):
        size = image_size(path, upright=True)
        if name not in labels:
            if boxes == "visdrone":
                raise InputError(path, "a frame without annotation", f"annotations/{path.stem}.txt")
            background += 1
            continue
        if boxes == "visdrone":
            kept, dropped = read_annotation(labels[name], rows, minimum_side, size)
            drops.update(dropped)
            flight = path.stem.split("_")[0]
        else:
            kept, flight = [], _flight(name)
            for row in read_yolo(labels[name], len(names), size):
                if ours[row[5]] is None:
                    drops[f"class {names[row[5]]}"] += 1
                elif min(row[3:5]) < minimum_side:
                    drops[f"side under {minimum_side} px"] += 1
                else:
                    kept.append((*row[:5], ours[row[5]]))
        found += [("winter", name, flight, *row) for row in kept]
    return WinterObjects(folder, "frames", _table(found), paths, drops, background, unread_pictures(files))


def open_winter(
    source: str,
    folder: str | os.PathLike,
    store_folder: str | os.PathLike,
    *,
    boxes: str = "yolo",
    names: Sequence[str] | None = None,
    rows: str = "strict",
    minimum_side: int = MINIMUM_SIDE,
) -> CropStore:
    """Winter crops as a crop store, whatever their source.

    source "crops" or "frames": `folder` is listed (`find_crops`, `find_frames`) and cut into
    `store_folder`. `images` holds the winter crops, uint8 (N, SIZE, SIZE, 3) RGB, `table` has COLUMNS and
    `info["source"]` names the source. Raises InputError for bad input as the functions named here do.
    """
    if source not in SOURCES:
        raise InputError("source", repr(source), "one of " + ", ".join(SOURCES))
    if source == "crops":
        found = find_crops(folder)
    else:
        found = find_frames(folder, boxes, names, minimum_side, rows)
    return found.cut(store_folder)


def _guess(folder: Path) -> tuple[str, str]:
    """(source, boxes) of a folder: label files make it frames; seven commas in a row VisDrone rows."""
    files = _files(folder)
    stems = {path.stem for path in files if path.suffix.lower() in PICTURES}
    for path in files:
        if path.suffix.lower() == ".txt" and path.stem in stems:
            first = path.read_text(encoding="utf-8", errors="replace").strip()[:200]
            if first:
                return "frames", "visdrone" if first.splitlines()[0].count(",") > 6 else "yolo"
    return "crops", "yolo"


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Command line; exit code 2 and one line on stderr for bad input."""
    about = "What a folder of winter pictures holds."
    parser = argparse.ArgumentParser(prog="python -m lib.winter", description=about)
    parser.add_argument("folder", type=Path, help="crops, or frames with YOLO or VisDrone label files")
    parser.add_argument("--source", choices=SOURCES, help="default: frames if there are label files")
    parser.add_argument("--boxes", choices=BOXES, help="default: VisDrone if rows have seven commas")
    parser.add_argument("--names", help="class names by number: car,truck,... (default: from classes.txt)")
    options = parser.parse_args(arguments)
    source, boxes = _guess(options.folder)
    source, boxes = options.source or source, options.boxes or boxes
    if source == "crops":
        found = find_crops(options.folder)
    else:
        found = find_frames(options.folder, boxes, options.names.split(",") if options.names else None)
    print(f"source {source}" + (f", {boxes} boxes" if source == "frames" else ""))
    print(found.text())


if __name__ == "__main__":
    sys.exit(main())
