"""VisDrone-DET as distributed: annotation rows, the six classes of the paper, Table 1.

A set is a folder `VisDrone2019-DET-<set>` with `images/<frame>.jpg` and
`annotations/<frame>.txt`. An annotation row has eight whole numbers:
x, y, width, height (pixels), score, category, truncation, occlusion
(Zhu et al., arXiv 2001.06303). The first `_` field of a frame's name is its sequence.

`python -m lib.visdrone FOLDER` prints Table 1 for any folder with such sets.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from lib.runs import InputError, command_line, progress, write_json

CLASSES = ("bus", "car", "ignored region", "motorcycle", "pedestrian", "truck")  # index = label; section 4
CAR = CLASSES.index("car")
CATEGORIES = {9: 0, 4: 1, 0: 2, 10: 3, 1: 4, 6: 5}  # VisDrone category -> label; nothing is merged
KNOWN_CATEGORIES = range(12)  # 2 people, 3 bicycle, 5 van, 7 and 8 tricycles, 11 others: known, left out
SETS = {"train": 6471, "val": 548, "test-dev": 1610}  # frames in the official sets
OFFICIAL = "VisDrone2019-DET-{}"
ORIENTATION = 0x0112  # of EXIF
MINIMUM_SIDE = 5  # pixels; with it the counts are the paper's
PAPER_TABLE1 = {"train": 290_207, "valid": 36_273, "test": 36_282}
PAPER_MEDIAN_WIDTH = 26

_FIELD = re.compile(r"-?[0-9]{1,7}")  # longer numbers are no pixels, and would overflow a table
_PLAIN = re.compile(r"(?:(?:-?[0-9]{1,7},){7}-?[0-9]{1,7}\n)+")  # a file without any irregular row
_LABELS = np.array([CATEGORIES.get(category, -1) for category in KNOWN_CATEGORIES])
_COLUMNS = ("set", "frame", "sequence", "line", "x", "y", "width", "height", "label")


@dataclass
class Objects:
    """The kept objects of a folder.

    table: one row an object, ordered by set, frame, line; columns set, frame (file stem),
        sequence, line (1-based, in the annotation file), x, y, width, height (pixels, as
        annotated, so possibly over the frame's edge), label (index into CLASSES).
    drops: reason -> number of rows left out.   frames: set -> frames found.
    """

    table: pd.DataFrame
    drops: dict[str, int]
    frames: dict[str, int]
    folder: Path
    rows: str = "strict"

    def image_path(self, set_name: str, frame: str) -> Path:
        """The image file of a frame."""
        return self.folder / OFFICIAL.format(set_name) / "images" / f"{frame}.jpg"

    def frames_text(self) -> str:
        """For example "train 6471 of 6471 frames, val 456 of 548 frames"."""
        return ", ".join(f"{name} {count} of {SETS[name]} frames" for name, count in self.frames.items())


def data_folder() -> Path | None:
    """The folder of real data: environment variable DRONE_DATA, else `../shared/data` beside the repository.

    None where neither is there. Raises InputError if DRONE_DATA names no folder.
    """
    named = os.environ.get("DRONE_DATA")
    if named:
        if not Path(named).is_dir():
            raise InputError("DRONE_DATA", repr(named), "the path of an existing folder")
        return Path(named)
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    return beside if beside.is_dir() else None


def visdrone_folder(data: Path | None = None, sets: Sequence[str] = tuple(SETS)) -> Path | None:
    """Where one of `sets` lies at least: `visdrone` under the data folder, or the data folder; else None."""
    data = data or data_folder()
    for folder in (data / "visdrone", data) if data else ():
        if any((folder / OFFICIAL.format(name)).is_dir() for name in sets):
            return folder
    return None


def sets_folder(sets: Sequence[str], downloads: Path) -> tuple[Path, bool]:
    """The folder that `sets` are read from, and whether it is the user's own, to which nothing is added.

    The user's (`visdrone_folder`) if it holds one of them at least, else `downloads`.
    """
    own = visdrone_folder(sets=sets)
    return (own or downloads), own is not None


def read_annotation(
    path: str | os.PathLike,
    rows: str = "strict",
    minimum_side: int = MINIMUM_SIDE,
    frame_size: tuple[int, int] | None = None,
) -> tuple[list[tuple[int, int, int, int, int, int]], Counter]:
    """Read one annotation file: kept rows (line, x, y, width, height, label) and drops by reason.

    rows="strict" drops rows that have not exactly eight fields (the paper's reading);
    "tolerant" accepts one trailing comma, which one official file has on all its rows.
    Dropped and counted: "fields", "zero size", "category left out", "side under 5 px".
    Blank lines, spaces around numbers, Windows line ends and a byte order mark are harmless.
    frame_size (width, height) in pixels, where known, also finds boxes beyond the right and lower edges.
    Raises InputError (file, line, found, expected): no whole number, a negative size, a box
    wholly outside the frame, a category outside 0..11, no UTF-8 text, an unreadable file.
    """
    if rows not in ("strict", "tolerant"):
        raise InputError("rows", repr(rows), '"strict" or "tolerant"')
    lines, numbers, others, fault = _numbers(path, _text(path), rows)
    x, y, width, height, _, category, _, _ = numbers.T
    empty = (width == 0) | (height == 0)  # three official rows
    outside = (x + width <= 0) | (y + height <= 0)
    if frame_size:
        outside |= (x >= frame_size[0]) | (y >= frame_size[1])
    known = (category >= KNOWN_CATEGORIES.start) & (category < KNOWN_CATEGORIES.stop)
    faulty = (width < 0) | (height < 0) | ~known | (outside & ~empty)
    if faulty.any():
        first = int(faulty.argmax())
        raise _row_fault(path, int(lines[first]), numbers[first].tolist(), frame_size)
    if fault:
        raise fault
    label = _LABELS[category]
    left_out, small = label < 0, np.minimum(width, height) < minimum_side
    kept = ~(empty | left_out | small)
    drops = Counter({"fields": others, "zero size": int(empty.sum())})
    drops["category left out"] = int((left_out & ~empty).sum())
    drops[f"side under {minimum_side} px"] = int((small & ~left_out & ~empty).sum())
    table = np.column_stack([lines, x, y, width, height, label])[kept]
    return list(map(tuple, table.tolist())), +drops


def _row_fault(path, line: int, values: list[int], frame_size: tuple[int, int] | None) -> InputError:
    """What is wrong with a row of whole numbers."""
    x, y, width, height, _, category, _, _ = values
    if width < 0 or height < 0:
        return InputError(path, f"a box of {width} x {height} pixels", "no negative size", line)
    if category not in KNOWN_CATEGORIES:
        return InputError(path, f"category {category}", "a VisDrone category, 0 to 11", line)
    size = f" of {frame_size[0]} x {frame_size[1]}" if frame_size else ""
    found = f"a box wholly outside the frame (x {x}, y {y}, {width} x {height})"
    return InputError(path, found, f"a box that meets the frame{size}", line)


def _text(path: str | os.PathLike) -> str:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(path, error.strerror or str(error), "a readable annotation file") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(path, f"byte 0x{content[error.start]:02x}", "plain text", line) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _numbers(path, text: str, rows: str) -> tuple[np.ndarray, np.ndarray, int, InputError | None]:
    """Rows of eight whole numbers: their lines (n,), their values (n, 8); how many rows have another
    number of fields; and what is wrong with the first row that is no row at all, where reading ends.
    """
    plain = text if text.endswith("\n") else text + "\n"
    if _PLAIN.fullmatch(plain):  # nearly every file: read at once
        found = np.fromstring(plain.replace("\n", ","), np.int64, sep=",").reshape(-1, 8)
        return np.arange(1, len(found) + 1), found, 0, None
    lines, found, others, fault = [], [], 0, None
    for line, row in enumerate(text.split("\n"), 1):
        try:
            values = _whole_numbers(path, line, row, rows)
        except InputError as error:
            fault = error
            break
        if values is not None:
            lines.append(line)
            found.append(values)
        elif row.strip():
            others += 1
    return np.array(lines, np.int64), np.array(found, np.int64).reshape(-1, 8), others, fault


def _whole_numbers(path, line: int, text: str, rows: str) -> list[int] | None:
    """The eight numbers of a row; None for a blank line or a row with another number of fields."""
    if not text.strip():
        return None
    fields = [field.strip() for field in text.split(",")]
    exact = len(fields) == 8
    for field in fields:
        if not _FIELD.fullmatch(field) and (field or exact):
            found = repr(field[:40]) if field else f"an empty field in {text.strip()[:60]!r}"
            raise InputError(path, found, "a whole number of at most 7 digits", line)
    if exact or (rows == "tolerant" and len(fields) == 9 and not fields[8] and all(fields[:8])):
        return [int(field) for field in fields[:8]]
    return None


def image_size(path: str | os.PathLike, upright: bool = False) -> tuple[int, int]:
    """(width, height) in pixels from an image file's header; InputError if it is no image.

    `upright`: of the picture turned as its EXIF tag says.
    """
    try:
        with Image.open(path) as image:
            told = image.format != "PNG" or "exif" in image.info  # a PNG without would be decoded to look
            lying = upright and told and image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
            return image.size[::-1] if lying else image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = str(error).replace(str(path), "").strip(" '") or type(error).__name__
        raise InputError(path, f"no readable image ({reason})", "an image") from None


def _stems(folder: Path, suffix: str) -> list[str]:
    """Sorted stems of the files with this suffix; hidden files (also ._x of macOS archives) are no data."""
    return sorted(p.stem for p in folder.iterdir() if p.suffix == suffix and not p.name.startswith("."))


def _frames_of_set(folder: Path, images: bool) -> list[str]:
    if not (folder / "annotations").is_dir():
        deeper = folder / folder.name  # an archive that was unpacked into a folder of its name
        there = f"; they lie in {deeper}" if (deeper / "annotations").is_dir() else ""
        raise InputError(folder, "no folder annotations" + there, "the folders annotations and images")
    frames = _stems(folder / "annotations", ".txt")
    if not frames:
        raise InputError(folder / "annotations", "no .txt file", "one annotation file a frame")
    if images:
        if not (folder / "images").is_dir():
            raise InputError(folder, "no folder images", "the folders annotations and images")
        pictures = _stems(folder / "images", ".jpg")
        if not pictures:
            others = {path.suffix for path in (folder / "images").iterdir() if path.stem == frames[0]}
            if others:
                found = f"frames that end in {min(others)}"
                raise InputError(folder / "images", found, "in .jpg, as the set is distributed")
        annotated, pictured = set(frames), set(pictures)
        for frame in pictures:
            if frame not in annotated:
                raise InputError(folder / "images" / f"{frame}.jpg", "a frame without annotation",
                                 f"annotations/{frame}.txt")
        for frame in frames:
            if frame not in pictured:
                raise InputError(folder / "annotations" / f"{frame}.txt", "an annotation without frame",
                                 f"images/{frame}.jpg")
    return frames


def check_sets(sets: Sequence[str]) -> None:
    """InputError for none of VisDrone's sets, or one that it does not have."""
    for name in sets or ["nothing"]:
        if name not in SETS:
            raise InputError("sets", repr(name), "one of " + ", ".join(SETS))


def read_objects(
    folder: str | os.PathLike, rows: str = "strict", minimum_side: int = MINIMUM_SIDE, images: bool = True,
    sets: Sequence[str] = tuple(SETS),
) -> Objects:  # fmt: skip
    """Read each of `sets` found in `folder`; a folder with fewer sets or frames is read and counted.

    With images=True each annotation needs its image and the reverse, and boxes are checked
    against the frame's size; with images=False annotation files alone are enough.
    Raises InputError as `read_annotation` does, and for a missing folder, a folder without
    any set, an empty set, or a frame without its other half.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(folder, "no such folder", "a folder with " + " or ".join(map(OFFICIAL.format, SETS)))
    check_sets(sets)
    present = [name for name in SETS if name in sets and (folder / OFFICIAL.format(name)).is_dir()]
    if not present:
        raise InputError(folder, "no set", "a folder named " + " or ".join(map(OFFICIAL.format, sets)))
    names, boxes, drops, frames = [], [np.empty((0, 6), np.int32)], Counter(), {}
    for set_name in present:
        base = folder / OFFICIAL.format(set_name)
        stems = _frames_of_set(base, images)
        frames[set_name] = len(stems)
        for frame in progress(stems, desc=f"annotations of {set_name}"):
            size = _size_if_known(base / "images" / f"{frame}.jpg", images)
            kept, dropped = read_annotation(base / "annotations" / f"{frame}.txt", rows, minimum_side, size)
            drops.update(dropped)
            names.append((set_name, frame, frame.split("_")[0]))
            boxes.append(np.array(kept, np.int32).reshape(-1, 6))
    counts = [len(numbers) for numbers in boxes[1:]]
    columns = {
        name: np.repeat(np.array([row[k] for row in names], object), counts)
        for k, name in enumerate(_COLUMNS[:3])
    }
    numbers = np.concatenate(boxes)
    columns |= {name: numbers[:, k] for k, name in enumerate(_COLUMNS[3:])}
    table = pd.DataFrame(columns, columns=list(_COLUMNS))
    return Objects(table, dict(sorted(drops.items())), frames, folder, rows)


def _size_if_known(path: Path, needed: bool) -> tuple[int, int] | None:
    if needed:
        return image_size(path)
    try:  # annotations alone are asked for: an image that happens to lie there may help, not hinder
        return image_size(path)
    except InputError:
        return None


def split_counts(n: int) -> tuple[int, int, int]:
    """(train, valid, test) of n objects: floor(0.8 n), floor(0.1 n), rest; whole numbers, no rounding."""
    train, valid = n * 8 // 10, n // 10
    return train, valid, n - train - valid


def table1(objects: Objects) -> dict:
    """Table 1: objects per subset, split class by class; with class counts, median width, drops, frames.

    Keys: train, valid, test, total; classes {name: {train, valid, test, total}};
    median_width (pixels, None without objects); drops; frames {set: {found, expected}}; rows.
    """
    classes = {}
    for label, name in enumerate(CLASSES):
        n = int((objects.table["label"] == label).sum())
        classes[name] = dict(zip(PAPER_TABLE1, split_counts(n), strict=True)) | {"total": n}
    sums = {part: sum(counts[part] for counts in classes.values()) for part in (*PAPER_TABLE1, "total")}
    return sums | {
        "classes": classes,
        "median_width": float(objects.table["width"].median()) if len(objects.table) else None,
        "drops": dict(objects.drops),
        "frames": {name: {"found": n, "expected": SETS[name]} for name, n in objects.frames.items()},
        "rows": objects.rows,
    }


def table1_text(result: dict) -> str:
    """Table 1 as text, the paper's numbers beside ours; result["source"] "scenes": of drawn frames."""
    counts = result["frames"].items()
    frames = ", ".join(f"{name} {c['found']} of {c['expected']} frames" for name, c in counts)
    if result.get("source") == "scenes":  # how many the official sets have says nothing about them
        frames = f"{sum(c['found'] for _, c in counts)} drawn frames"
    out = [f"Table 1 ({frames}; {result['rows']} rows)", f"{'subset':<16}{'ours':>10}{'paper':>10}"]
    paper = PAPER_TABLE1 | {"total": sum(PAPER_TABLE1.values())}
    out += [f"{part:<16}{result[part]:>10,}{paper[part]:>10,}" for part in paper]
    out += ["", f"{'class':<16}" + "".join(f"{part:>10}" for part in paper)]
    for name, counts in result["classes"].items():
        out.append(f"{name:<16}" + "".join(f"{counts[part]:>10,}" for part in paper))
    width = "none" if result["median_width"] is None else f"{result['median_width']:g}"
    out += ["", f"median width {width} pixels (paper: {PAPER_MEDIAN_WIDTH})"]
    dropped = ", ".join(f"{reason}: {count:,}" for reason, count in result["drops"].items())
    return "\n".join(out + [f"rows dropped: {dropped or 'none'}"])


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Command line; exit code 2 and one line on stderr for bad input."""
    parser = argparse.ArgumentParser(prog="python -m lib.visdrone", description="Table 1 from annotations.")
    parser.add_argument("folder", help="holds " + ", ".join(map(OFFICIAL.format, SETS)) + " (one is enough)")
    parser.add_argument("--rows", choices=("strict", "tolerant"), default="strict",
                        help="strict: as the paper; tolerant: accept a trailing comma")
    parser.add_argument("--json", metavar="FILE", help="also write the numbers here")
    options = parser.parse_args(arguments)
    result = table1(read_objects(options.folder, options.rows, images=False))
    if options.json:
        write_json(options.json, result)
    print(table1_text(result))


if __name__ == "__main__":
    sys.exit(main())
