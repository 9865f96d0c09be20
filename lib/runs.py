"""Where a run keeps its files, and how they are written: whole or not at all.

Every writer goes through `atomic_path`: the content gets a temporary name beside
the target and is renamed when complete, so a killed process or a full disk never
leaves a half-written file under the final name.
"""

from __future__ import annotations

import contextlib
import copy
import errno
import functools
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

SETTLED = 2.0  # seconds: the coarsest time of a file system
ROWS_AT_ONCE = 2000  # of a table, as text: pandas would make 100,000 values at a time


class InputError(ValueError):
    """Bad input, said in one line: where, what was found, what was expected."""

    def __init__(self, where: str | os.PathLike, found: str, expected: str, line: int | None = None):
        place = f"{where}:{line}" if line is not None else f"{where}"
        super().__init__(f"{place}: found {found}, expected {expected}")
        self.where, self.line, self.found, self.expected = str(where), line, found, expected

    def __reduce__(self):  # the default gives the message alone: an error of a worker would not arrive
        return type(self), (self.where, self.found, self.expected, self.line)


class MissingStep(InputError):
    """A file that an earlier notebook writes is not there."""

    def __init__(self, path: str | os.PathLike, command: str):
        super().__init__(path, "no such file", f"the output of an earlier step; make it with: {command}")
        self.command = command

    def __reduce__(self):
        return type(self), (self.where, self.command)


class WriteError(InputError, OSError):
    """A file that cannot be written; `errno` as the system gave it.

    An OSError, as callers expect of a disk, and an InputError, so that a command ends with one line.
    """

    def __init__(self, path: str | os.PathLike, error: OSError):
        reason = error.strerror or " ".join(str(error).split())
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            super().__init__(path, f"a full disk ({reason})", "room for it")
        else:
            super().__init__(path, reason, "a file that can be written")
        self.errno, self.strerror = error.errno, reason

    def __str__(self) -> str:
        return self.args[0]  # OSError's own would leave out the file

    def __reduce__(self):
        return type(self), (self.where, OSError(self.errno, self.strerror))


STOPPED = 130  # exit status of an interrupted command


def command_line(main: Callable[..., int | None]) -> Callable[..., int]:
    """Make a function a command: its status (None: 0), or one line on standard error and 2 for bad input,
    STOPPED after an interrupt. SIGTERM is one too: what a command began, it ends."""

    @functools.wraps(main)
    def command(*arguments: Any) -> int:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            return main(*arguments) or 0
        except (InputError, OSError) as error:
            print(" ".join(str(error).split()), file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
            return STOPPED

    return command


_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
_FULL = 1 << 16  # bytes; with less free than this, a failed write is the disk's fault


@contextlib.contextmanager
def naming(path: str | os.PathLike) -> Iterator[None]:
    """Raise a disk's error that names no file, as one of an open file does, as WriteError of `path`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK or error.filename is not None or isinstance(error, WriteError):
            raise
        raise WriteError(path, error) from None


def _write_error(path: Path, temporary: Path, error: BaseException) -> WriteError | None:
    """What to raise instead of an error while `path` is written; None if it is no matter of the disk."""
    if isinstance(error, InputError) or not isinstance(error, (OSError, RuntimeError)):
        return None
    if getattr(error, "filename", None) not in (None, str(temporary), temporary):
        return None
    if getattr(error, "errno", None) is None:  # PyTorch and NumPy say that they wrote too little, not why
        with contextlib.suppress(OSError):  # of a folder that is gone
            if shutil.disk_usage(path.parent).free < _FULL:
                error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return WriteError(path, error) if isinstance(error, OSError) else None


def files_below(folder: str | os.PathLike, what: str, needed: Sequence[str] = ()) -> dict[Path, Path]:
    """Path relative to the folder -> file, in the order of their paths; links to folders are followed.

    Hidden ones are no data: macOS puts a `._x.jpg` beside the x.jpg that it copies. InputError: no such
    folder (`what` says what it should be), a folder that cannot be read, a broken link that ends in one of
    `needed`.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(folder, "no such folder", what)

    def unreadable(error: OSError) -> None:
        raise InputError(error.filename or folder, error.strerror or str(error), "a folder that can be read")

    found, seen = {}, set()
    for place, folders, names in os.walk(folder, onerror=unreadable, followlinks=True):
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in seen:  # a link back up
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(place) / name
            if name.startswith("."):
                continue
            if path.is_file():
                found[path.relative_to(folder)] = path
            elif path.suffix.lower() in needed:
                raise InputError(path, "a link to nothing", "a file that is there")
    return {below: found[below] for below in sorted(found, key=Path.as_posix)}


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path in the target's folder; rename it to `path` on success.

    On any exception (a full disk, an interrupt) the temporary file is removed, an
    older file under `path` stays as it was, and the exception goes on; one of the disk
    as WriteError, which names `path`. The file is flushed to disk before the rename.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name}.", suffix=".part" + path.suffix
        )
    except OSError as error:
        raise WriteError(path, error) from None
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp makes files private; results are not
        os.replace(temporary, path)
    except BaseException as error:
        instead = _write_error(path, temporary, error)  # before room is made again
        temporary.unlink(missing_ok=True)
        if instead is None:
            raise
        raise instead from None


def write_text(path: str | os.PathLike, text: str) -> Path:
    """Write `text` as UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(path)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return value.as_posix()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def write_json(path: str | os.PathLike, value: Any) -> Path:
    """Write `value` as JSON with a stable order of keys; NaN is an error (ValueError)."""
    text = json.dumps(value, indent=1, sort_keys=True, default=_plain, allow_nan=False)
    return write_text(path, text + "\n")


def read_json(path: str | os.PathLike) -> Any:
    """Read JSON; InputError names file and line if it is none."""
    text = Path(path).read_text(encoding="utf-8")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            path, repr(error.doc[error.pos : error.pos + 20]), f"JSON ({error.msg})", error.lineno
        ) from None


def kept_until_changed(read: Callable[..., Any]) -> Callable[[str | os.PathLike], Any]:
    """A reader of one file that reads it again only when it has changed; every caller gets a copy.

    Of a file that was written less than SETTLED seconds ago nothing is kept: its time may not yet tell a
    second change from the first.
    """
    kept: dict[Path, tuple[tuple[int, ...], Any]] = {}

    @functools.wraps(read)
    def reader(path: str | os.PathLike) -> Any:
        key = Path(path).absolute()
        try:
            about = key.stat()
        except OSError:  # the reader says it in its own words
            return read(path)
        stamp = (about.st_mtime_ns, about.st_size, about.st_ino)
        if key in kept and kept[key][0] == stamp:
            return copy.deepcopy(kept[key][1])
        found = read(path)
        if time.time() - about.st_mtime >= SETTLED:
            kept[key] = stamp, copy.deepcopy(found)
        return found

    return reader


def read_notebook(path: str | os.PathLike) -> dict[str, Any]:
    """A notebook of format 4 with the source of each cell as one text; InputError if it is none.

    Plain JSON: every notebook is read several times in a run, and importing nbformat alone takes seconds.
    """
    book = read_json(path)
    number = book.get("nbformat") if isinstance(book, dict) else None
    cells = book.get("cells") if number == 4 else None
    if not isinstance(cells, list) or not all(
        isinstance(cell, dict) and {"source", "metadata"} <= set(cell) for cell in cells
    ):
        found = "no notebook" if number is None else f"format {number}" if number != 4 else "no such cells"
        raise InputError(path, found, "a notebook of format 4, its cells with source and metadata")
    for cell in cells:
        cell["source"] = "".join(cell["source"])
    return book


def write_array(path: str | os.PathLike, array: np.ndarray) -> Path:
    """Write an array as .npy."""
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.save(file, array, allow_pickle=False)
    return Path(path)


def read_array(path: str | os.PathLike, mmap: bool = False) -> np.ndarray:
    """Read a .npy array, memory-mapped on request; InputError if it is none or cut short."""
    try:
        return np.load(path, mmap_mode="r" if mmap else None, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InputError(path, str(error), "a complete .npy array") from None


def write_table(path: str | os.PathLike, table) -> Path:
    """Write a pandas table as CSV with Unix line ends and no index."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n", chunksize=ROWS_AT_ONCE)
    return Path(path)


def write_weights(path: str | os.PathLike, tensors: dict, metadata: dict[str, str] | None = None) -> Path:
    """Write a dict of tensors as safetensors, made contiguous, on the CPU."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        try:
            save_file(plain, temporary, metadata=metadata)
        except SafetensorError as error:  # the number of a disk's error is in its text alone
            number = re.search(r"os error (\d+)", str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1]))) from None
    return Path(path)


def read_weights(path: str | os.PathLike) -> dict:
    """Read safetensors; InputError if the file is none."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise InputError(path, str(error), "a complete safetensors file") from None


def require(path: str | os.PathLike, command: str) -> Path:
    """Return `path` if it exists; otherwise MissingStep names the command that makes it."""
    if not Path(path).exists():
        raise MissingStep(path, command)
    return Path(path)


def progress(iterable, total: int | None = None, desc: str = ""):
    """tqdm on a terminal; silent under papermill, nbval and in logs."""
    from tqdm import tqdm

    return tqdm(iterable, total=total, desc=desc, disable=not sys.stderr.isatty(), leave=False)
