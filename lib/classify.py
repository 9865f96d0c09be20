"""Label a folder of crops: `python -m lib.classify WEIGHTS FOLDER [--out labels.csv]`.

WEIGHTS is what notebook 02 or 05 wrote (classifier.safetensors, classifier_retrained.safetensors).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from lib.crops import SIZE, resize
from lib.pictures import pictures_below, read_upright
from lib.runs import InputError, command_line, progress, write_table
from lib.visdrone import CLASSES

BLOCK = 500  # crops in memory at a time


def find_images(folder: str | os.PathLike) -> list[Path]:
    """Image files under a folder, sub-folders included, in the order of their paths; InputError if none."""
    return list(pictures_below(folder, "a folder of crops").values())


def open_classifier(weights: str | os.PathLike):
    """The classifier of a safetensors file; InputError if it is missing or not a classifier's."""
    from lib.weights import load_classifier  # only here: PyTorch takes seconds, a wrong argument should not

    if not Path(weights).is_file():
        raise InputError(weights, "no such file", "a classifier's weights, as notebook 02 writes them")
    try:
        return load_classifier(Path(weights))[0]
    except InputError:
        raise
    except ValueError as error:  # numbers beside the weights that make no network
        raise InputError(weights, str(error), "the numbers of a classifier") from None


def _blocks(images: list[Path]) -> Iterator[np.ndarray]:
    """Crops of 32 x 32, uint8 (n, 32, 32, 3), n <= BLOCK, as lib.crops cuts them."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(images), BLOCK):
            part = images[start : start + BLOCK]
            yield np.stack(list(pool.map(lambda path: resize(read_upright(path), SIZE), part)))


def classify(weights: str | os.PathLike, folder: str | os.PathLike) -> pd.DataFrame:
    """Label every image under a folder; one row an image.

    Columns: file (relative to the folder), label (name of the likeliest class), probability
    (its own, 0..1), then the probability of each class. Any image size is resized to 32 x 32
    with the antialiased filter that the crop store uses. Raises InputError for missing
    weights, weights of another network, a corrupt image, a folder without images.
    """
    images = find_images(folder)
    model = open_classifier(weights)
    from lib.acceleration import choose_path
    from lib.training import answer

    path = choose_path(compiler="off")
    path.place(model)
    blocks = progress(_blocks(images), total=-(-len(images) // BLOCK), desc="labelling")
    shares = np.concatenate([answer(model, block, path) for block in blocks]).astype(np.float64)
    names = (
        list(CLASSES) if shares.shape[1] == len(CLASSES) else [f"class {k}" for k in range(shares.shape[1])]
    )
    best = shares.argmax(1)
    table = pd.DataFrame({
        "file": [path.relative_to(folder).as_posix() for path in images],
        "label": [names[k] for k in best],
        "probability": shares[np.arange(len(best)), best],
    })  # fmt: skip
    return pd.concat([table, pd.DataFrame(shares, columns=names)], axis=1).round(6)


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Write the table as CSV and print the counts; 0, or 2 with one line on bad input."""
    parser = argparse.ArgumentParser(prog="python -m lib.classify", description="Label a folder of crops.")
    parser.add_argument("weights", type=Path, help="classifier.safetensors of a run")
    parser.add_argument("folder", type=Path, help="images of any size, sub-folders included")
    parser.add_argument(
        "--out", type=Path, default=Path("labels.csv"), help="the table (default: %(default)s)"
    )
    given = parser.parse_args(arguments)
    if given.out == parser.get_default("out") and given.out.exists():  # perhaps mended by hand
        raise InputError(given.out, "a file", "none, or --out to say that it may be replaced")
    table = classify(given.weights, given.folder)
    write_table(given.out, table)
    counts = ", ".join(f"{name} {count:,}" for name, count in table["label"].value_counts().items())
    print(f"{len(table):,} images: {counts}\n{given.out}")


if __name__ == "__main__":
    sys.exit(main())
