"""VisDrone-DET's labelled sets from a public mirror: `python -m lib.download [FOLDER]` (make data).

Each set is one zip archive, VisDrone2019-DET-<set>.zip. It is fetched into FOLDER as a `.part` file that
a later try goes on with, checked, unpacked into a temporary folder and only then given its final name.
A set that is in FOLDER already, whole or partial, is taken as it is and nothing is fetched for it.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import fcntl
import http.client
import os
import re
import shutil
import ssl
import stat
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from lib.runs import STOPPED, InputError, command_line, naming
from lib.visdrone import OFFICIAL, SETS

BASE = "https://github.com/ultralytics/assets/releases/download/v0.0.0/"
FOLDER = Path("data/visdrone")
CHUNK = 1 << 18  # bytes
RETRIED = {408, 425, 429, 500, 502, 503, 504}  # HTTP answers that may be better next time
# Frames are JPEG, which zip hardly shrinks, and annotations are short numbers, which it shrinks to a fifth:
# an archive that grows more than this is none of the three.
MOST_GROWTH, SPARE = 20, 1 << 20


def count_files(set_folder: Path) -> tuple[int, int]:
    """Return (frames, annotations): the .jpg in images/ and the .txt in annotations/, no hidden files."""
    frames, annotations = (
        sum(1 for path in set_folder.glob(pattern) if not path.name.startswith("."))
        for pattern in ("images/*.jpg", "annotations/*.txt")
    )
    return frames, annotations


def download(
    folder: str | os.PathLike = FOLDER,
    sets: Iterable[str] = tuple(SETS),
    base: str = BASE,
    counts: Mapping[str, int] = SETS,
    tries: int = 5,
    pause: float = 1.0,
    timeout: float = 30.0,
) -> list[Path]:
    """Make sure that the `sets` are in `folder`; return their folders.

    base: address that archive names are appended to.  counts: frames (and annotations) that a downloaded
    set must have.  tries: attempts in a row that may bring nothing new; `pause` seconds before the second
    one, doubled each time.  timeout: seconds without a byte.
    Raises InputError (unknown set, no such archive at the address, archive damaged, hostile or with
    other counts) and OSError (network, disk); nothing half-unpacked stays.
    """
    folder, sets, made = Path(folder).expanduser(), list(sets), []
    for name in sets:
        if name not in counts:
            raise InputError("--sets", repr(name), f"one of {', '.join(counts)}")
    for name in sets:
        target = folder / OFFICIAL.format(name)
        if not _is_there(target, counts[name]):
            folder.mkdir(parents=True, exist_ok=True)
            archive = folder / f"{target.name}.zip"
            own = archive.exists()  # brought by the user, or left by a killed run: not ours to delete
            if not own:
                fetch(base.rstrip("/") + "/" + archive.name, archive, tries, pause, timeout)
            try:
                unpack(archive, target, counts[name])
            except InputError as error:
                if not own and not isinstance(error, OSError):
                    archive.unlink(missing_ok=True)  # whole but wrong: going on with it would not help
                raise
            if not own:
                archive.unlink()
        made.append(target)
    return made


def _is_there(target: Path, expected: int) -> bool:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return False
    frames, annotations = count_files(target) if target.is_dir() else (0, 0)
    if not frames or not annotations:
        found = f"{frames} frames and {annotations} annotations"
        raise InputError(target, found, "images/*.jpg and annotations/*.txt, or no such folder")
    print(f"{target}: used as it is: {frames} of {expected} frames, {annotations} annotations")
    return True


def fetch(url: str, target: Path, tries: int = 5, pause: float = 1.0, timeout: float = 30.0) -> Path:
    """Download `url` to `target`, going on with `target`.part where the server allows it.

    Raises InputError if the server has no such file (or the address is no HTTP one), OSError if the
    connection keeps failing (the .part file stays for the next call) or another process writes it.
    """
    if not url.startswith(("http://", "https://")):
        raise InputError(url, "no web address", "http:// or https://")
    part = target.with_name(target.name + ".part")
    with naming(part), open(part, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise OSError(f"{part}: another process is downloading it") from None
        failed, most, problem = 0, file.tell(), ""
        while True:
            try:
                if _fetch_rest(url, file, timeout):
                    break
                problem = "the connection ended early"
            except urllib.error.HTTPError as error:
                if error.code not in RETRIED:
                    if not file.tell():
                        part.unlink()
                    raise InputError(url, f"HTTP {error.code} {error.reason}", "the set's archive") from None
                problem = f"HTTP {error.code} {error.reason}"
            except urllib.error.URLError as error:
                problem = f"no connection: {error.reason}"
            except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
                problem = f"the connection broke: {error or type(error).__name__}"
            size = file.seek(0, os.SEEK_END)
            # A server that always breaks at the same byte and always starts anew brings nothing new.
            failed, most = (failed + 1, most) if size <= most else (1, size)
            if failed >= tries:
                kept = f"{size} bytes are kept in {part}: run it again to go on" if size else "nothing came"
                if not size:
                    part.unlink()
                raise OSError(f"{url}: {problem}, {tries} times; {kept}")
            print(f"{url}: {problem} at {size} bytes; trying again", file=sys.stderr)
            time.sleep(min(pause * 2 ** (failed - 1), 60))
        os.fsync(file.fileno())
        os.replace(part, target)
    return target


def _fetch_rest(url: str, file, timeout: float) -> bool:
    """One request for the bytes that `file` lacks; whether the file is whole now."""
    have = file.seek(0, os.SEEK_END)
    headers = {"User-Agent": "drone-winter-vae", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:
            raise
        if error.headers.get("Content-Range", "").endswith(f"/{have}"):
            return True  # it was whole already
        file.truncate(0)  # the file there is another one now
        return False
    with answer:
        length = answer.headers.get("Content-Length")
        length = int(length) if length and length.isdigit() else None
        if answer.status == 206:
            place = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
            if not place or int(place[1]) != have:
                file.truncate(0)
                return False
        else:  # no Range support: from the start
            file.truncate(0)
            have = 0
        whole = None if length is None else have + length
        _check_space(Path(file.name).parent, length or 0)
        with _bar(url.rsplit("/", 1)[1], whole, have) as bar:
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
        file.flush()
    size = file.seek(0, os.SEEK_END)
    return whole is None or size == whole


def _bar(what: str, total: int | None, initial: int = 0) -> tqdm:
    return tqdm(
        desc=what,
        total=total,
        initial=initial,
        unit="B",
        unit_scale=True,
        disable=not sys.stderr.isatty(),
        leave=False,
    )


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(errno.ENOSPC, f"{needed / 1e6:.0f} MB needed, {free / 1e6:.0f} MB free", str(folder))


def unpack(archive: Path, target: Path, expected: int) -> None:
    """Unpack a set's archive to `target`, all or nothing.

    Takes archives with the set's folder on top or with images/ and annotations/ on top. Raises InputError
    for a damaged archive, a hostile member (path out of the folder, link, device, encrypted, far larger
    than the archive) and other counts than `expected` frames with one annotation each.
    """
    with contextlib.ExitStack() as stack:
        try:
            bundle = stack.enter_context(zipfile.ZipFile(archive))
        except zipfile.BadZipFile as error:
            found = f"{archive.stat().st_size} bytes that are no zip ({error})"
            raise InputError(archive, found, "a whole zip archive") from None
        members = _members(bundle, archive, expected)
        size = sum(member.file_size for member, _ in members)
        _check_space(archive.parent, size)
        scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part"))
        stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        with naming(target), _bar(f"unpacking {archive.name}", size) as bar:
            for member, path in members:
                _write_member(bundle, member, scratch / path, archive)
                bar.update(member.file_size)
        top = scratch / target.name if (scratch / target.name).is_dir() else scratch
        frames, annotations = count_files(top)
        if (frames, annotations) != (expected, expected):
            raise InputError(archive, f"{frames} frames and {annotations} annotations", f"{expected} of each")
        os.chmod(top, 0o777 & ~_umask())  # the scratch folder is private; data are not
        os.replace(top, target)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _members(bundle: zipfile.ZipFile, archive: Path, expected: int):
    """List the archive's files as (ZipInfo, path) pairs; InputError before anything is written."""
    members, seen = [], set()
    for member in bundle.infolist():
        name, path = member.filename, PurePosixPath(member.filename)
        kind = stat.S_IFMT(member.external_attr >> 16)
        if path.is_absolute() or ".." in path.parts or "\\" in member.orig_filename or ":" in name:
            raise InputError(archive, f"a member named {name!r}", "paths inside the set's folder")
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            found = f"{name!r}, a {'link' if kind == stat.S_IFLNK else 'special file'}"
            raise InputError(archive, found, "plain files")
        if member.flag_bits & 1:
            raise InputError(archive, f"{name!r}, encrypted", "plain files")
        if member.is_dir() or path.parts[:1] == ("__MACOSX",) or path.name in (".DS_Store", "Thumbs.db"):
            continue
        if path in seen:
            raise InputError(archive, f"{name!r} twice", "each file once")
        seen.add(path)
        members.append((member, path))
    if any(parent in seen for path in seen for parent in path.parents):
        raise InputError(archive, "a file with files below it", "files in folders")
    size, limit = sum(member.file_size for member, _ in members), MOST_GROWTH * archive.stat().st_size + SPARE
    if size > limit or len(members) > 4 * expected + 100:
        found = f"{len(members)} files of {size / 1e6:.1f} MB in all"
        raise InputError(archive, found, f"about {2 * expected} files and at most {limit / 1e6:.1f} MB")
    return members


def _write_member(bundle: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path, archive: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with bundle.open(member) as source, open(path, "xb") as file:
            shutil.copyfileobj(source, file, CHUNK)  # checks the sum of the bytes at the end
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(archive, f"{member.filename!r} damaged ({error})", "a whole zip archive") from None


@command_line
def main(arguments: list[str] | None = None) -> int:
    """The command line; 0 if the sets are there, 2 and one line on stderr if not, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.download",
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, help="where the sets go")
    parser.add_argument("--sets", nargs="+", default=list(SETS), metavar="SET", help=f"of {' '.join(SETS)}")
    parser.add_argument("--base", default=BASE, help="address of a mirror")
    parser.add_argument("--tries", type=int, default=5, help="tries in a row without a new byte")
    options = parser.parse_args(arguments)
    try:
        for path in download(options.folder, options.sets, options.base, tries=options.tries):
            frames, annotations = count_files(path)
            print(f"{path}: {frames} frames, {annotations} annotations")
    except KeyboardInterrupt:
        print("stopped; what was downloaded is kept, run it again to go on", file=sys.stderr)
        return STOPPED
    return 0


if __name__ == "__main__":
    sys.exit(main())
