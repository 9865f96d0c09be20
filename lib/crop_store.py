"""The crop store: a folder of crops in memory-mapped arrays, and a row of a table for each.

`crops.npy` uint8 (N, 32, 32, 3) RGB; `crops.csv`, whose row i describes crop i; with
simulated snow `winter.npy`, whose row i is the same object under snow; and `store.json`,
written last, so a folder with it is complete. `lib.crops` writes it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock

from lib.runs import InputError, read_array, read_json

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
