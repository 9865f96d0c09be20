"""Refresh what is committed from a run: `python -m lib.publish PROFILE [--loop]` (make publish).

figures/<profile>/ gets the summary's tables and figures, the metrics of every run and the
figures of the first one. A figure that shows imagery has a name that starts with
`images_` and is published only for drawn scenes in the embedded profile: pictures of a
real data set never leave runs/. The embedded profile also writes its executed notebooks
back to notebooks/, cleaned, so that publishing twice changes nothing. `--loop`: only what the automatic loop
(notebook 08) left, which needs no table; runs that are not here keep what is committed of them.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nbformat

from lib import claims, runs, settings
from lib.evaluation import SIMULATED
from lib.provenance import need, profile_folder
from lib.published import TRAINING, folder_of, ordered
from lib.run_names import OPTIONAL
from lib.run_plan import SUMMARY_OUTPUTS
from lib.runs import InputError, command_line

EMBEDDED = "embedded"  # the profile of the notebooks' defaults, whose outputs they are committed with
TABLES = (*(name for name in SUMMARY_OUTPUTS if "/" not in name), "timing.json", "provenance.json")
LOOP, LOOP_TIME = "weak_classes.json", "weak_classes_timing.json"  # of notebook 08; how long it took
LOOP_FIGURES = ("weak_classes.png", "ensemble_search.png", "images_ensemble.png")
LARGEST_NOTEBOOK = 1_500_000  # bytes; more, and a code host does not show it
OURS = (".json", ".csv", ".md", ".png")  # what this writes, and what it may delete, under figures/<profile>/
ABSOLUTE = re.compile(r"(?<![\w./:<~\\-])/(?:[\w.\-]+/)+[\w.\-]+")  # at least two folders deep
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def check_paths(text: str, where: str | Path) -> None:
    """InputError if a text that is to be committed names a place of this machine."""
    for number, line in enumerate(text.splitlines(), 1):
        found = ABSOLUTE.search(line)
        if found or str(settings.ROOT) in line:
            place = found[0] if found else str(settings.ROOT)
            raise InputError(where, f"the absolute path {place}", "paths relative to the repository", number)


# Numbers and figures ------------------------------------------------------------------------------------


def published_files(profile: str) -> dict[str, Path]:
    """Name under figures/<profile>/ -> the file of the run. InputError if a file is missing."""
    found = need(profile, "summary/evaluation.json")
    kept = set(found["published"])  # whose files are not here: what is committed of them stays
    first = next(run for run in found["runs"] if run not in kept)
    drawn = _drawn(profile, first)
    folder = profile_folder(profile)
    command = f"make reproduce PROFILE={profile}"
    files = {name: runs.require(folder / "summary" / name, command) for name in TABLES}
    for run in found["runs"]:
        place = folder_of(profile) / "metrics" / run if run in kept else folder / run / "metrics"
        for path in sorted(place.glob("*.json")):
            files[f"metrics/{run}/{path.name}"] = path
    _check_order(folder, [run for run in found["runs"] if run not in kept], command)
    for part in (first, "summary"):
        for path in sorted((folder / part / "figures").glob("*.png")):
            if path.name.startswith("images_") and not drawn:
                continue
            if path.name in files:
                raise InputError(path, "a second figure of this name", "one name for each figure")
            files[path.name] = path
    return files | loop_files(profile)


def _loops(profile: str) -> list[str]:
    """The runs that are here with what notebook 08 left."""
    return ordered(path.parts[-3] for path in profile_folder(profile).glob(f"*/metrics/{LOOP}"))


def loop_files(profile: str) -> dict[str, Path]:
    """What notebook 08 left, by name: each run's numbers, and the figures of the first run that is here.

    What is committed of other runs stays.
    """
    folder, committed, here = profile_folder(profile), folder_of(profile), _loops(profile)
    for run in here:
        loop, classifier = folder / run / "metrics" / LOOP, folder / run / "classifier.safetensors"
        if classifier.exists() and classifier.stat().st_mtime > loop.stat().st_mtime:
            found = f"older than {run}/classifier.safetensors"
            raise InputError(loop, found, f"make improve PROFILE={profile}")
    files = {f"metrics/{path.parent.name}/{path.name}": path
             for name in (LOOP, LOOP_TIME) for path in committed.glob(f"metrics/*/{name}")
             if name == LOOP or path.parent.name not in here}  # fmt: skip
    files |= {f"metrics/{run}/{LOOP}": folder / run / "metrics" / LOOP for run in here}
    times = {run: folder / run / "timing/08_weak_classes.json" for run in here}
    files |= {f"metrics/{run}/{LOOP_TIME}": path for run, path in times.items() if path.exists()}
    place = folder / here[0] / "figures" if here else committed
    shown = not here or _drawn(profile, here[0])
    names = [name for name in LOOP_FIGURES if shown or not name.startswith("images_")]
    return files | {name: place / name for name in names if (place / name).exists()}


def _drawn(profile: str, run: str) -> bool:
    """Whether a run's figures with imagery may be published."""
    data = need(profile, f"{run}/metrics/data.json")
    return profile == EMBEDDED and data["source"] == "scenes" and data["winter"] == SIMULATED


def _check_order(folder: Path, run_names: list[str], command: str) -> None:
    """InputError where a run was trained again after the tables were made: its metrics are not of them."""
    tables = folder / "summary/notebooks/06_evaluation.ipynb"
    books = [folder / run / "notebooks" / f"{name}.ipynb" for run in run_names for name in TRAINING]
    made = tables.stat().st_mtime if tables.exists() else math.inf  # by hand: nothing to compare
    newer = [path for path in books if path.exists() and path.stat().st_mtime > made]
    if newer:
        raise InputError(tables, f"tables older than {newer[0].relative_to(folder).as_posix()}", command)


def write_files(files: dict[str, Path], target: Path) -> int:
    """Copy files to their names under `target`; how many were not there or were others."""
    for path in files.values():
        if path.suffix != ".png":
            check_paths(path.read_text(encoding="utf-8"), path)
    written = 0
    for name, path in files.items():
        content = path.read_bytes()
        if not (target / name).is_file() or (target / name).read_bytes() != content:
            with runs.atomic_path(target / name) as temporary:
                temporary.write_bytes(content)
            written += 1
    return written


def write_loop(files: dict[str, Path], target: Path) -> tuple[int, int]:
    """Copy what `loop_files` named; figures of an earlier loop that are not among them go."""
    written = write_files(files, target)
    old = [target / name for name in LOOP_FIGURES if name not in files and (target / name).exists()]
    for path in old:
        path.unlink()
    return written, len(old)


def publish_files(files: dict[str, Path], target: Path) -> tuple[int, int]:
    """Make `target` hold exactly these files (and others of kinds that are not ours); (written, deleted)."""
    written, deleted = write_files(files, target), 0
    for path in sorted(target.rglob("*")):
        name = path.relative_to(target).as_posix()
        if path.is_file() and path.suffix in OURS and name not in files and path.name != "README.md":
            path.unlink()
            deleted += 1
    for folder in sorted((path for path in target.rglob("*") if path.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()
    return written, deleted


# Notebooks ----------------------------------------------------------------------------------------------


def _clean_text(text: str) -> str:
    text = text.replace(f"{settings.ROOT}{os.sep}", "").replace(str(settings.ROOT), ".")
    text = re.sub(r"\bat 0x[0-9a-f]{6,}", "at 0x0", text)  # addresses differ from run to run
    for mark in dict.fromkeys(re.findall(r'id="T_([0-9a-f]+)"', text)):  # so do the names of pandas' tables
        stable = hashlib.sha256(text.replace(f"T_{mark}", "T_").encode()).hexdigest()[:5]
        text = text.replace(f"T_{mark}", f"T_{stable}")
    return text


def _clean_value(value: Any) -> Any:
    if isinstance(value, str):
        return _clean_text(value)
    if isinstance(value, list):
        return [_clean_value(item) for item in value]
    return {k: _clean_value(v) for k, v in value.items()} if isinstance(value, dict) else value


def clean_outputs(outputs: list, where: str) -> list:
    """Outputs of a cell without noise: no warnings, widgets, times, addresses or absolute paths."""
    cleaned = []
    for output in outputs:
        if output.output_type == "error":
            raise InputError(where, f"an error in a cell ({output.ename})", "a notebook that ran to its end")
        if output.output_type == "stream" and output.name == "stderr":
            continue
        output = nbformat.from_dict(dict(output))
        if output.output_type == "stream":
            output.text = _clean_text(output.text)
        else:
            kept = {k: v for k, v in output.data.items() if "widget" not in k}
            output.data = {k: v if k.startswith("image/png") else _clean_value(v) for k, v in kept.items()}
            output.metadata = {}
        cleaned.append(output)
    return cleaned


def clean_notebook(source: Path, executed: Path) -> str:
    """The notebook as it is in `source`, with the outputs of `executed`, as text.

    Only tags stay of the cells' metadata; the cell that papermill put in is left out.
    Raises InputError if the code has changed since it was executed, if an output names an
    absolute path, or if the text is over LARGEST_NOTEBOOK bytes.
    """
    book = nbformat.read(source, as_version=4)
    done = [cell for cell in nbformat.read(executed, as_version=4).cells
            if "injected-parameters" not in cell.metadata.get("tags", [])]  # fmt: skip
    ours = [cell.source for cell in book.cells if cell.cell_type == "code"]
    theirs = [cell for cell in done if cell.cell_type == "code"]
    if ours != [cell.source for cell in theirs]:
        raise InputError(executed, f"other code than in {source.name}", "the same; run make reproduce again")
    outputs = iter(theirs)
    for number, cell in enumerate(book.cells):
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        cell.setdefault("id", f"{source.stem[:2]}-{number:02d}")
        if cell.cell_type == "code":
            cell.outputs = clean_outputs(next(outputs).outputs, f"{executed.name}, cell {number}")
    count = 0
    for cell in book.cells:
        if cell.cell_type == "code":
            count += 1
            cell.execution_count = count
            for output in cell.outputs:
                if output.output_type == "execute_result":
                    output.execution_count = count
    book.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    book.nbformat, book.nbformat_minor = 4, 5
    nbformat.validate(book)
    text = nbformat.writes(book, version=4).rstrip("\n") + "\n"
    check_paths(re.sub(r'"image/png": "[^"]*"', '"image/png": ""', text), source)
    if len(text.encode()) > LARGEST_NOTEBOOK:
        limit = f"at most {LARGEST_NOTEBOOK:,} bytes"
        raise InputError(source, f"{len(text.encode()):,} bytes with its outputs", limit)
    return text


def clean_notebooks(profile: str, first: str, names: Iterable[str]) -> dict[Path, str]:
    """Notebooks of the repository -> their new texts; an optional one that was not run stays as it is."""
    texts = {}
    for name in names:
        places = [profile_folder(profile) / run / "notebooks" / f"{name}.ipynb" for run in (first, "summary")]
        place = next((path for path in places if path.exists()), places[0])
        if name in OPTIONAL and not place.exists():
            continue
        runs.require(place, f"make reproduce PROFILE={profile}")
        texts[settings.NOTEBOOKS / f"{name}.ipynb"] = clean_notebook(
            settings.NOTEBOOKS / f"{name}.ipynb", place
        )
    return texts


@command_line
def main(arguments: list[str]) -> int:
    """Check everything, then write; 0, or 2 with one line (bad input: nothing written; a disk's error)."""
    if not arguments or arguments[1:] not in ([], ["--loop"]):
        print("usage: python -m lib.publish PROFILE [--loop]", file=sys.stderr)
        return 2
    profile, loop = arguments[0], len(arguments) > 1
    settings.known_profile(profile)
    if loop:
        if not (found := _loops(profile)):
            missing = profile_folder(profile) / "seed0/metrics" / LOOP
            raise runs.MissingStep(missing, f"make improve PROFILE={profile}")
        files, write = loop_files(profile), write_loop
    else:
        found = need(profile, "summary/evaluation.json")["runs"]
        files, write = published_files(profile), publish_files
    names = OPTIONAL if loop else settings.notebook_names()
    texts = clean_notebooks(profile, found[0], names) if profile == EMBEDDED else {}
    written, deleted = write(files, folder_of(profile))
    renewed = 0
    for path, text in texts.items():
        if path.read_text(encoding="utf-8") != text:
            runs.write_text(path, text)
            renewed += 1
    claims.write()
    print(f"figures/{profile}: {len(files)} files, {written} renewed, {deleted} deleted")
    print(f"notebooks: {renewed} of {len(texts)} renewed" if texts else "notebooks: only by PROFILE=embedded")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
