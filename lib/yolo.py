"""Label files in YOLO format: class number, centre and size as shares of the frame.

The Nordic Vehicle Dataset (Mokayed et al., arXiv 2304.14466, the paper's reference 4) and
most labelling tools use it.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

import yaml

from lib.runs import InputError

_NAME_FILES = ("classes.txt", "obj.names", "data.yaml", "data.yml", "dataset.yaml")
_CLASS_ID = re.compile(r"[0-9]{1,4}")


def _text(path: str | os.PathLike) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(path, error.strerror or str(error), "a readable text file") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InputError(path, f"byte 0x{error.object[error.start]:02x}", "UTF-8 text", line) from None


def names_file(folder: str | os.PathLike) -> Path | None:
    """The file of class names of a YOLO data set: in the folder, else in its parent, else None."""
    places = (Path(folder), Path(folder).resolve().parent)
    return next((file for place in places for name in _NAME_FILES if (file := place / name).is_file()), None)


def class_names(folder: str | os.PathLike) -> list[str]:
    """The class names of a YOLO data set by class number, from classes.txt, obj.names or data.yaml.

    InputError if there is none (`names_file`) or it is malformed.
    """
    path = names_file(folder)
    if path is None:
        raise InputError(folder, "no class names", "classes.txt or data.yaml there (or names given)")
    text = _text(path)
    if path.suffix not in (".yaml", ".yml"):
        names = [line.strip() for line in text.rstrip().splitlines()]  # a blank line is a number too
        if not names:
            raise InputError(path, "no name", "one class a line, from 0")
        return names
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # the second: a date that is none
        mark = getattr(error, "problem_mark", None)
        raise InputError(path, "no YAML", "a list `names:`", mark.line + 1 if mark else None) from None
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[k] for k in range(len(names))]
    if not isinstance(names, list) or not names:
        raise InputError(path, "no list of names", "`names:` with one name a class, from 0")
    return [str(name) for name in names]


def read_yolo(
    path: str | os.PathLike, classes: int, frame_size: tuple[int, int]
) -> list[tuple[int, int, int, int, int, int]]:
    """Read a YOLO label file: rows (line, x, y, width, height, class number) in whole pixels of the frame.

    A row is `class x y width height`, centre and size as shares (0..1) of frame_size (width,
    height). Edges are rounded to the nearest pixel and cut at the frame. Raises InputError (file,
    line, found, expected): commas, other than 5 numbers, values outside 0..1, a class number >= `classes`.
    """
    rows = []
    for number, text in enumerate(_text(path).splitlines(), 1):
        fields = text.split()
        if not fields:
            continue
        if "," in text:
            expected = "5 numbers with points, spaces between them (commas: winter_boxes: visdrone)"
            raise InputError(path, f"commas in {text[:40]!r}", expected, number)
        if len(fields) != 5:
            raise InputError(path, f"{len(fields)} fields", "5: class x y width height", number)
        if not _CLASS_ID.fullmatch(fields[0]) or int(fields[0]) >= classes:
            raise InputError(path, f"class {fields[0][:20]!r}", f"a class number 0..{classes - 1}", number)
        shares = []
        for value in fields[1:]:
            try:
                share = float(value)
            except ValueError:
                share = math.nan
            if not 0 <= share <= 1:  # also catches nan
                raise InputError(path, repr(value[:20]), "a share of the frame, 0..1", number)
            shares.append(share)
        edges = []
        for centre, length, side in zip(shares[:2], shares[2:], frame_size, strict=True):
            ends = (math.floor((centre + sign * length / 2) * side + 0.5) for sign in (-1, 1))
            edges.append([min(max(end, 0), side) for end in ends])
        (left, right), (top, bottom) = edges
        rows.append((number, left, top, right - left, bottom - top, int(fields[0])))
    return rows
