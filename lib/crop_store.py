"""The crop store: a folder of crops in memory-mapped arrays, and a row of a table for each.

`crops.npy` uint8 (N, 32, 32, 3) RGB; `crops.csv`, whose row i describes crop i; with
simulated snow `winter.npy`, whose row i is the same object under snow; and `store.json`,
written last, so a folder with it is complete. `lib.crops` writes it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock
from PIL import Image

from lib.runs import InputError, progress, read_array, read_json
from lib.visdrone import CLASSES

FILES = ("store.json", "crops.npy", "crops.csv")  # of every store


@dataclass
class CropStore:
    """An open crop store: images uint8 (N, size, size, 3), memory-mapped; winter the same or None."""

    folder: Path
    images: np.ndarray
    winter: np.ndarray | None
    table: pd.DataFrame
    info: dict

    def __len__(self) -> int:
        return len(self.table)


def open_store(folder: str | os.PathLike) -> CropStore:
    """Open a crop store; InputError if it is missing, incomplete, or its files disagree.

    Waits while another process cuts it anew; what is open stays as it was.
    """
    if not Path(folder).is_dir():
        raise InputError(Path(folder) / FILES[0], "no such file", "a complete crop store")
    try:
        with FileLock(Path(folder) / ".lock"):
            return open_store_unlocked(folder)
    except PermissionError:  # a store that may only be read is not cut anew either
        return open_store_unlocked(folder)


def open_store_unlocked(folder: str | os.PathLike) -> CropStore:
    """`open_store` for a caller that holds the folder's lock."""
    folder = Path(folder)
    for name in FILES:
        if not (folder / name).is_file():
            raise InputError(folder / name, "no such file", "a complete crop store")
    info = read_json(folder / "store.json")
    if not isinstance(info, dict) or not all(isinstance(info.get(key), int) for key in ("crops", "size")):
        raise InputError(folder / "store.json", "no counts", "the description of a crop store")
    kinds = dict.fromkeys(("set", "frame", "sequence"), str)
    kinds |= dict.fromkeys(("line", "x", "y", "width", "height", "label"), np.int32)  # as they were cut
    try:
        table = pd.read_csv(folder / "crops.csv", dtype=kinds, keep_default_na=False)
    except (ValueError, OverflowError) as error:  # pandas' own errors of reading are ValueErrors
        reason = " ".join(str(error).split())
        raise InputError(folder / "crops.csv", f"no table ({reason})", "a row of numbers a crop") from None
    if len(table) != info["crops"]:
        raise InputError(folder / "crops.csv", f"{len(table)} rows", f"{info['crops']} as in store.json")
    arrays = {}
    for name in ["crops.npy"] + (["winter.npy"] if info.get("snow") else []):
        arrays[name] = read_array(folder / name, mmap=info["crops"] > 0)  # an empty file cannot be mapped
        expected = (info["crops"], info["size"], info["size"], 3)
        if arrays[name].shape != expected or arrays[name].dtype != np.uint8:
            raise InputError(folder / name, f"{arrays[name].dtype} {arrays[name].shape}", f"uint8 {expected}")
    return CropStore(folder, arrays["crops.npy"], arrays.get("winter.npy"), table, info)


def export_imagefolder(
    store: CropStore, folder: str | os.PathLike, indices: Iterable[int] | None = None, winter: bool = False
) -> int:
    """Write crops as PNG in torchvision's ImageFolder layout: `folder/<class>/<crop and object>.png`.

    Only classes that occur get a folder. Returns the number of files. The target must not
    exist or be empty; on an error (a full disk) it does not appear.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(folder, "files", "a new or empty folder")
    images = store.winter if winter else store.images
    if images is None:
        raise InputError(store.folder, "no winter.npy", "a store cut with snow")
    rows = range(len(store)) if indices is None else [int(i) for i in indices]
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        for i in progress(rows, desc="exporting"):
            row = store.table.iloc[i]
            name = f"{i:06d}_{row['set']}_{row['frame']}_{row['line']}.png".replace("/", "-")
            target = part / CLASSES[row["label"]] / name
            target.parent.mkdir(exist_ok=True)
            Image.fromarray(images[i]).save(target)
        if folder.exists():
            folder.rmdir()
        os.replace(part, folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return len(rows)
