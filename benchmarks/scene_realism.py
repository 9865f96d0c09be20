"""How real are the drawn scenes? A classifier trained on drawn crops alone, tested on real validation crops.

    python -m benchmarks.scene_realism [--steps 400] [--seed 0]

Needs the real frames of VisDrone2019-DET-val (DRONE_DATA); real crops are only ever tested on. Also states
how hard the drawn crops are by themselves: accuracy on a fifth of them, split by object. Writes
figures/benchmarks/scene_realism.json.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks import FOLDER
from lib.acceleration import choose_path
from lib.batches import Schedule
from lib.crops import cut_crops
from lib.models import build_classifier
from lib.runs import InputError, command_line, write_json
from lib.scenes import draw_scenes
from lib.training import predict, train_classifier
from lib.visdrone import CAR, CLASSES, SETS, read_objects, visdrone_folder

TARGET = FOLDER / "scene_realism.json"
BATCH, RATE = 128, 3e-3
REAL = ("val",)  # of VisDrone's sets
AIMS = {"car_called_car": "at least 0.60", "noncar_called_car": "at most 0.30",
        "drawn_accuracy": "0.88 to 0.95"}


def crops(folder: Path, store: Path, sets: Sequence[str] = tuple(SETS)) -> tuple[np.ndarray, np.ndarray]:
    """Crops uint8 (N, 32, 32, 3) and labels int (N,) of a folder in VisDrone's layout."""
    store = cut_crops(read_objects(folder, sets=sets), store)
    return np.asarray(store.images), store.table["label"].to_numpy(np.int64)


def scores(labels: np.ndarray, called: np.ndarray) -> dict:
    """Share of cars and of non-cars called car, accuracy, recall and count per class."""
    present = [k for k in range(len(CLASSES)) if (labels == k).any()]
    return {
        "car_called_car": float((called[labels == CAR] == CAR).mean()),
        "noncar_called_car": float((called[labels != CAR] == CAR).mean()),
        "accuracy": float((called == labels).mean()),
        "recall": {CLASSES[k]: float((called[labels == k] == k).mean()) for k in present},
        "counts": {CLASSES[k]: int((labels == k).sum()) for k in present},
    }


def measure(real_folder: Path, steps: int, seed: int) -> dict:
    """Draw, cut, train on four fifths of the drawn crops, test on the fifth and on the real crops."""
    path = choose_path()
    with tempfile.TemporaryDirectory() as scratch:
        start = time.perf_counter()
        folder = draw_scenes(Path(scratch) / "drawn", seed=seed)
        seconds = time.perf_counter() - start
        images, labels = crops(folder, Path(scratch) / "drawn_store")
        real_images, real_labels = crops(real_folder, Path(scratch) / "real_store", REAL)
        order = np.random.default_rng(seed).permutation(len(labels))
        test, train = np.split(order, [len(order) // 5])
        torch.manual_seed(seed)
        model = build_classifier()
        train_classifier(model, images[train], labels[train], Schedule(steps, BATCH, RATE, seed), path=path)
        model.eval()
        real = scores(real_labels, predict(model, real_images, path).argmax(1))
        drawn = scores(labels[test], predict(model, images[test], path).argmax(1))
    budget = {"steps": steps, "batch_size": BATCH, "peak_rate": RATE, "seed": seed, "drawn_crops": len(train),
              "passes": round(steps * BATCH / len(train), 2)}
    return real | {"drawn": drawn, "training_budget": budget, "drawing_seconds": round(seconds, 1),
                   "aims": AIMS,
                   "computed_on": path.describe()}


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Command line; 2 and one line where there are no real frames."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=400, help="optimiser steps of 128 drawn crops")
    parser.add_argument("--seed", type=int, default=0, help="of the drawing and the training")
    parser.add_argument("--output", type=Path, default=TARGET, help="where the numbers go")
    options = parser.parse_args(arguments)
    real = visdrone_folder(sets=REAL)
    if real is None:
        raise InputError("DRONE_DATA", "no real frames", "a folder with VisDrone2019-DET-val")
    result = measure(real, options.steps, options.seed)
    write_json(options.output, result)
    print(f"drawn crops, held out: {result['drawn']['accuracy']:.1%} right")
    print(f"real cars called car: {result['car_called_car']:.1%}")
    print(f"real non-cars called car: {result['noncar_called_car']:.1%}")
    print(options.output)


if __name__ == "__main__":
    raise SystemExit(main())
