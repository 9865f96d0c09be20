"""Cutting objects out of frames, into a crop store (`lib.crop_store`).

Section 4 of the paper: all objects are cut out of each frame; 32 x 32 is its input size
(section 5).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import os
import sys
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock
from PIL import Image

from lib.crop_store import CropStore, open_store_unlocked
from lib.pictures import load_frame
from lib.runs import InputError, atomic_path, progress, write_json, write_table
from lib.visdrone import SETS, Objects

VERSION = 1  # a change of the pixels that this file makes gets a new number, so old stores are cut again
SIZE = 32
PATCH = 96  # what snow sees: the object with half a box around it on each side
CORE = (24, 24, 72, 72)  # the box within the patch: left, top, right, bottom
ROWS_AT_ONCE = 10_000  # of a table that is hashed
PROCESSES_FROM = 4000  # winter crops; below, starting processes costs more than it saves

# Antialiased bilinear (a triangle as wide as the shrinking asks for): each axis is treated by
# itself, so a box that shrinks in one axis and grows in the other, as many pedestrians do, gets
# neither aliasing nor blocks; a pure area filter leaves blocks where it enlarges.
RESAMPLE = Image.Resampling.BILINEAR
# A winter crop is resized a second time, from the patch. With the cubic kernel (antialiased too) it
# keeps 94 % of the summer crop's sharpness (variance of the Laplacian) when no snow falls; with the
# bilinear one 66 %, and blur, not snow, would tell winter from summer.
RESAMPLE_AGAIN = Image.Resampling.BICUBIC


def resize(image: np.ndarray, size: int, box=None, resample=RESAMPLE) -> np.ndarray:
    """Resize uint8 (h, w, 3), or its part `box` (left, top, right, bottom; pixels), to (size, size, 3)."""
    return np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize((size, size), resample, box=box))


def clip_box(box: tuple[int, ...], frame_size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """(x, y, width, height) -> left, top, right, bottom within (width, height); None if nothing is left."""
    x, y, width, height = box
    left, top = max(x, 0), max(y, 0)
    right, bottom = min(x + width, frame_size[0]), min(y + height, frame_size[1])
    return (left, top, right, bottom) if left < right and top < bottom else None


def cut_patch(frame: np.ndarray, corners: tuple[int, int, int, int], size: int = PATCH) -> np.ndarray:
    """The object with half a box of margin on each side, uint8 (size, size, 3); frame edges are repeated."""
    left, top, right, bottom = corners
    width, height = right - left, bottom - top
    mx, my = (width + 1) // 2, (height + 1) // 2  # whole pixels to cut; the exact half is left to the resize
    rows = np.clip(np.arange(top - my, bottom + my), 0, frame.shape[0] - 1)
    columns = np.clip(np.arange(left - mx, right + mx), 0, frame.shape[1] - 1)
    exact = (mx - width / 2, my - height / 2, mx + 1.5 * width, my + 1.5 * height)
    return resize(frame[rows[:, None], columns], size, exact)


def winter_crop(frame, corners, snow: Callable, rng, aspect: float, label: int, size: int) -> np.ndarray:
    """The object under simulated snow, uint8 (size, size, 3)."""
    patch = cut_patch(frame, corners)
    snowy = snow(patch, CORE, rng, aspect=aspect, label=label)
    if not (isinstance(snowy, np.ndarray) and snowy.shape == patch.shape and snowy.dtype == np.uint8):
        raise TypeError(f"snow must return uint8 of shape {patch.shape}")
    left, top, right, bottom = CORE
    return resize(snowy[top:bottom, left:right], size, resample=RESAMPLE_AGAIN)


def object_rng(seed: int, set_name: str, frame: str, line: int) -> np.random.Generator:
    """The random numbers of one object: the same whatever the order or number of workers."""
    return np.random.default_rng([seed, zlib.crc32(f"{set_name}/{frame}/{line}".encode())])


@dataclass
class _Frame:
    path: Path
    set_name: str
    name: str
    rows: np.ndarray  # (n, 6): line, x, y, width, height, label


def _frames(table: pd.DataFrame, image_path: Callable[[str, str], Path]) -> Iterator[_Frame]:
    """Consecutive rows of one frame together: each frame is decoded once."""
    if not len(table):
        return
    columns = [table[name].to_numpy() for name in ("line", "x", "y", "width", "height", "label")]
    sets, names = table["set"].to_numpy(object), table["frame"].to_numpy(object)
    changes = _changes(table)
    for start, stop in zip([0, *changes], [*changes, len(table)], strict=True):
        path = Path(image_path(sets[start], names[start]))
        rows = np.column_stack([column[start:stop] for column in columns])  # never a copy of the whole table
        yield _Frame(path, sets[start], names[start], rows)


def _changes(table: pd.DataFrame) -> np.ndarray:
    """Rows with which another frame begins, without the first."""
    sets, names = table["set"].to_numpy(object), table["frame"].to_numpy(object)
    return np.flatnonzero((sets[1:] != sets[:-1]) | (names[1:] != names[:-1])) + 1


def _cut_frame(frame: _Frame, size: int, snow: Callable | None, snow_seed: int, upright: bool = False):
    """All crops of a frame, uint8 (n, size, size, 3), and their winter or None; InputError as `cut_boxes`."""
    image = load_frame(frame.path, upright)
    count = len(frame.rows)
    # Crops lie in one picture until the end: turning each into an array would take longer than cutting it.
    # And they are cut by Pillow's core: the same pixels as Image.crop and Image.resize, whose new objects
    # would hold the interpreter's lock, and with it the other threads, longer than the cutting takes.
    sheet = Image.new("RGB", (size, count * size))
    winter = np.empty((count, size, size, 3), np.uint8) if snow else None
    pixels = np.asarray(image) if snow else None  # a copy of the frame, which cutting alone does without
    for i, (line, x, y, width, height, label) in enumerate(frame.rows.tolist()):
        corners = clip_box((x, y, width, height), image.size)
        if corners is None:
            found = f"a box wholly outside (annotation line {line}: x {x}, y {y}, {width} x {height})"
            raise InputError(frame.path, found, f"a box in this frame of {image.width} x {image.height}")
        crop = image.im.crop(corners)
        crop = crop.resize((size, size), RESAMPLE, (0, 0, *crop.size))
        sheet.im.paste(crop, (0, i * size, size, (i + 1) * size))
        if snow:
            rng = object_rng(snow_seed, frame.set_name, frame.name, line)
            winter[i] = winter_crop(pixels, corners, snow, rng, width / height, label, size)
    return np.asarray(sheet).reshape(count, size, size, 3), winter


def _in_order(pool: Executor, task: Callable, items: Iterable, ahead: int) -> Iterator:
    """Results in the order of the items, with at most `ahead` waiting: memory stays flat."""
    waiting: deque = deque()
    try:
        for item in items:
            waiting.append(pool.submit(task, item))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def _pool(workers: int, winter_crops: int) -> Executor:
    """Threads for cutting alone, as decoding and resizing release the GIL; processes for much snow.

    Not under a plain script: new processes would run it again from its top.
    """
    main = sys.modules["__main__"]
    script = getattr(main, "__file__", None) and getattr(main, "__spec__", None) is None
    if workers > 1 and winter_crops >= PROCESSES_FROM and not script:
        return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    return ThreadPoolExecutor(workers)


def _snow_name(snow: Callable | None) -> str | None:
    """Identifies the snow: its name, bound arguments and the source of its module."""
    if snow is None:
        return None
    if isinstance(snow, functools.partial):
        return f"{_snow_name(snow.func)} {snow.args!r} {sorted(snow.keywords.items())!r}"
    source = ""
    with contextlib.suppress(OSError, TypeError):
        source = inspect.getsource(inspect.getmodule(snow))
    return f"{snow.__module__}.{snow.__qualname__} {hashlib.sha256(source.encode()).hexdigest()[:16]}"


def fingerprint(table: pd.DataFrame, image_path: Callable[[str, str], Path], parameters: dict) -> str:
    """SHA-256 over parameters, table and each frame's size, first and last 16 KiB (no times, no paths)."""
    digest = hashlib.sha256(repr((VERSION, sorted(parameters.items()))).encode())
    for start in range(0, max(1, len(table)), ROWS_AT_ONCE):  # never all of its text at once
        part = table.iloc[start : start + ROWS_AT_ONCE]
        for name, column in part.items():
            values = "\n".join(map(str, column.tolist()))
            digest.update(f"{name} {len(column)} {len(values)}\n{values}".encode())
    for frame in _frames(table, image_path):
        try:
            with open(frame.path, "rb") as file:
                digest.update(f"{os.fstat(file.fileno()).st_size} ".encode() + file.read(1 << 14))
                file.seek(-min(1 << 14, os.fstat(file.fileno()).st_size), os.SEEK_END)
                digest.update(file.read())
        except OSError as error:
            raise InputError(frame.path, error.strerror or str(error), "a readable frame") from None
    return digest.hexdigest()


def cut_boxes(
    table: pd.DataFrame,
    image_path: Callable[[str, str], Path],
    store_folder: str | os.PathLike,
    info: dict | None = None,
    size: int = SIZE,
    snow: Callable | None = None,
    snow_seed: int = 0,
    workers: int | None = None,
    upright: bool = False,
) -> CropStore:
    """Cut every box of `table` into a store, or open the store if it holds exactly that already.

    table needs the columns set, frame, sequence, line, x, y, width, height, label (others are
    kept), rows of one frame together; image_path(set, frame) gives the frame's file. `info` is
    added to store.json. `snow(patch, box, rng, *, aspect, label)` makes winter.npy: patch uint8
    (96, 96, 3) with the object in `box` = (24, 24, 72, 72), aspect = annotated width / height.
    `upright`: boxes are of frames turned as their EXIF tags say.
    Raises InputError for a missing or corrupt frame or a box outside it, OSError for a full
    disk; then no new store is left behind. Concurrent callers wait for each other.
    """
    folder = Path(store_folder)
    parameters = {"size": size, "snow": _snow_name(snow), "snow_seed": snow_seed if snow else None}
    parameters |= {"upright": True} if upright else {}
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        mark = fingerprint(table, image_path, parameters)
        with contextlib.suppress(InputError):
            store = open_store_unlocked(folder)
            if store.info.get("fingerprint") == mark:
                if any(store.info.get(key) != value for key, value in (info or {}).items()):
                    store.info.update(info)  # the crops are the same, what was left out is not
                    write_json(folder / "store.json", store.info)
                return store
        for leftover in folder.glob(".*.part*"):  # of a killed run; we hold the lock
            leftover.unlink()
        _write_store(table, image_path, folder, size, snow, snow_seed, workers, upright)
        write_json(folder / "store.json", {**(info or {}), **parameters, "version": VERSION,
                                           "crops": len(table), "fingerprint": mark})
        return open_store_unlocked(folder)


def _write_store(table, image_path, folder, size, snow, snow_seed, workers, upright=False) -> None:
    shape = (len(table), size, size, 3)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    workers = workers or os.cpu_count() or 1
    names = ["crops.npy"] + (["winter.npy"] if snow else [])
    task = functools.partial(_cut_frame, size=size, snow=snow, snow_seed=snow_seed, upright=upright)
    total = len(_changes(table)) + min(1, len(table))
    with contextlib.ExitStack() as stack:
        targets = [stack.enter_context(atomic_path(folder / name)) for name in names]
        # Written in order rather than through a memory map, where a full disk would kill the process.
        with contextlib.ExitStack() as files, _pool(workers, len(table) if snow else 0) as pool:
            files = [files.enter_context(open(target, "wb")) for target in targets]
            for file in files:
                np.lib.format.write_array_header_1_0(file, header)
            results = _in_order(pool, task, _frames(table, image_path), 2 * workers)
            for blocks in progress(results, total=total, desc="cutting frames"):
                for file, block in zip(files, blocks, strict=False):
                    file.write(block.tobytes())
        (folder / "store.json").unlink(missing_ok=True)  # from here to the new one there is no store
    if not snow:
        (folder / "winter.npy").unlink(missing_ok=True)
    write_table(folder / "crops.csv", table)


def cut_crops(
    objects: Objects,
    store_folder: str | os.PathLike,
    size: int = SIZE,
    snow: Callable | None = None,
    workers: int | None = None,
    snow_seed: int = 0,
) -> CropStore:
    """Cut all kept VisDrone objects; see `cut_boxes`. store.json also has frames, drops and rows."""
    info = {
        "frames": {name: {"found": n, "expected": SETS[name]} for name, n in objects.frames.items()},
        "drops": dict(objects.drops),
        "rows": objects.rows,
    }
    return cut_boxes(objects.table, objects.image_path, store_folder, info, size, snow, snow_seed, workers)
