"""A run's crops for other programs: `python -m lib.export RUN FOLDER`, RUN as runs/embedded/seed0.

FOLDER gets a folder a part and in each a folder a class, of PNG files (torchvision's ImageFolder layout):
`train`, `valid`, `test` (summer, of the classifier), `winter_train` (the cars that the autoencoder learns
from), `winter_valid`, `winter_test` (held out, all classes) and, where notebook 04 has run, `new` (what the
autoencoder drew). A number and the recording make a file's name.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from lib import data, runs
from lib.arms import samples_file
from lib.division import PARTS, Division
from lib.runs import InputError, command_line, progress
from lib.settings import Run
from lib.testsets import WINTER, ImageSet, part_set, test_sets, winter_cars
from lib.visdrone import CAR, CLASSES


def parts_of(run: Run) -> dict[str, list[ImageSet]]:
    """A run's sets of crops by the part's name; MissingStep, with the command, before notebook 01."""
    division = Division.read(run.need("division.npz"))
    store, own = data.open_stores(run, runs.read_json(run.need("metrics/data.json"))["winter"])
    sets = test_sets(store, division, own)
    found = {part: [part_set(store, division, part)] for part in PARTS}
    found["winter_train"] = [winter_cars(store, division, own)]
    found |= {f"winter_{part}": [sets[name] for name in names] for part, names in WINTER.items()}
    if run.path(samples_file("transferred")).exists():
        new = runs.read_array(run.path(samples_file("transferred")))
        found["new"] = [ImageSet(new, np.full(len(new), CAR), np.full(len(new), "new"))]
    return found


def write_folders(parts: Mapping[str, list[ImageSet]], folder: str | os.PathLike) -> dict[str, int]:
    """Write `folder/<part>/<class>/<number>_<recording>.png`; returns how many of each part.

    Raises InputError for a folder that holds something; on an error (a full disk) nothing appears.
    """
    folder = Path(folder).resolve()  # of a link what it leads to: the link itself is no folder to replace
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(folder, "files", "a new or empty folder")
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    counts = {}
    try:
        part.mkdir(parents=True)
        for name, sets in parts.items():
            rows = [row for s in sets for row in zip(s.images, s.labels, s.sequences, strict=True)]
            for k, (image, label, sequence) in enumerate(progress(rows, total=len(rows), desc=name)):
                target = part / name / CLASSES[label] / f"{k:06d}_{sequence}.png".replace("/", "-")
                target.parent.mkdir(parents=True, exist_ok=True)
                with runs.naming(target):
                    Image.fromarray(image).save(target)
            counts[name] = len(rows)
        if folder.exists():
            folder.rmdir()
        os.replace(part, folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return counts


@command_line
def main(arguments: list[str] | None = None) -> None:
    """0, or 2 with one line on bad input."""
    parser = argparse.ArgumentParser(prog="python -m lib.export", description="A run's crops as PNG files.")
    parser.add_argument("run", type=Path, help="such as runs/embedded/seed0, after notebook 01")
    parser.add_argument("folder", type=Path, help="new or empty")
    given = parser.parse_args(arguments)
    counts = write_folders(parts_of(Run.at(given.run, "export")), given.folder)
    print("\n".join(f"{name:<14}{count:>8,}" for name, count in counts.items()))
    print(given.folder)


if __name__ == "__main__":
    sys.exit(main())
