"""Workers of `benchmarks.bench` that prepare data: from frames to the first full epoch of batches.

    python -m benchmarks.bench_data ours|recipe|decode|growth [--split-python PYTHON]

"ours" is the library: annotations, the crop store, batches of floats from the set in memory as in a training.
"recipe" is what people do: cut with PIL, save JPEG files in class folders, divide them with split-folders,
read them with ImageFolder and a DataLoader. "decode" opens the same frames with the same decoder and as many
workers as the library cuts with, and does nothing else. "growth" is "ours" with its memory watched. PyTorch
is imported after the cutting, so the peak of the cutting is its own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.bench_protocol import serve
from lib.crops import cut_crops
from lib.visdrone import CATEGORIES, CLASSES, MINIMUM_SIDE, OFFICIAL, read_objects

SET = "val"
BATCH = 128
SPLIT = """
import sys, time, splitfolders
start = time.perf_counter()
splitfolders.ratio(sys.argv[1], output=sys.argv[2], seed=0, ratio=(0.8, 0.1, 0.1))
sys.stdout.write(chr(10) + str(time.perf_counter() - start))
"""


class Stopwatch:
    """Seconds by part; what lies between two parts is not counted."""

    def __init__(self):
        self.parts: dict[str, float] = {}

    def run(self, part: str, function, *arguments):
        start = time.perf_counter()
        found = function(*arguments)
        self.parts[part] = time.perf_counter() - start
        return found

    def answer(self, **more) -> dict:
        return {"seconds": sum(self.parts.values()), "parts": self.parts, **more}


def epoch(images: np.ndarray, labels: np.ndarray) -> int:
    """One pass in batches of floats over a training part, as in `lib.training`; returns its images."""
    import torch

    from lib.batches import Schedule, image_batch

    rows = np.random.default_rng(0).permutation(len(images))[: len(images) * 8 // 10]
    data, target = torch.from_numpy(images[rows]), torch.from_numpy(labels[rows].astype(np.int64))
    schedule, seen = Schedule(len(data) // BATCH, BATCH, 0.0, 0), 0
    for step in range(schedule.steps):
        chosen = schedule.rows(len(data), step)
        batch, truth = image_batch(data.index_select(0, chosen)), target[chosen]
        seen += len(batch) if len(batch) == len(truth) else 0
    return seen


def ours(folder: Path, scratch: Path, cut_done=lambda: None) -> dict:
    """The library's way. `cut_done` is called when the store is written."""
    watch = Stopwatch()
    objects = watch.run("annotations", lambda: read_objects(folder, sets=(SET,)))
    store = watch.run("cutting", lambda: cut_crops(objects, scratch / "store"))
    cut_done()
    import lib.training  # noqa: F401  - not part of the work

    seen = watch.run("epoch", lambda: epoch(store.images, store.table["label"].to_numpy()))
    return watch.answer(crops=len(store), seen=seen)


def cut_to_files(folder: Path, target: Path) -> int:
    """Every object as a JPEG file in the folder of its class; returns their number."""
    base, count = folder / OFFICIAL.format(SET), 0
    for name in CLASSES:
        (target / name).mkdir(parents=True)
    for annotation in sorted((base / "annotations").glob("*.txt")):
        image = Image.open(base / "images" / f"{annotation.stem}.jpg")
        for line, text in enumerate(annotation.read_text().splitlines()):
            fields = text.split(",")
            if len(fields) != 8:
                continue
            x, y, width, height, _, category = map(int, fields[:6])
            if category in CATEGORIES and min(width, height) >= MINIMUM_SIDE:
                crop = image.crop((x, y, x + width, y + height))
                crop.save(target / CLASSES[CATEGORIES[category]] / f"{annotation.stem}_{line}.jpg")
                count += 1
    return count


def first_epoch(folder: Path) -> int:
    """One pass of ImageFolder and DataLoader; returns its images."""
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    steps = transforms.Compose([transforms.Resize((32, 32)), transforms.ToTensor()])
    loader = DataLoader(
        datasets.ImageFolder(str(folder), steps, allow_empty=True), BATCH, shuffle=True, num_workers=2
    )
    return sum(len(images) for images, _ in loader)


def recipe(folder: Path, scratch: Path, split_python: str) -> dict:
    """The usual way; split-folders runs in the environment that has it, and its start is not counted."""
    import torchvision  # noqa: F401  - not part of the work

    watch = Stopwatch()
    count = watch.run("cutting", cut_to_files, folder, scratch / "all")
    command = [split_python, "-c", SPLIT, str(scratch / "all"), str(scratch / "divided")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"split-folders: {(done.stderr.strip().splitlines() or ['no word'])[-1]}")
    watch.parts["splitting"] = float(done.stdout.splitlines()[-1])
    seen = watch.run("epoch", first_epoch, scratch / "divided" / "train")
    return watch.answer(crops=count, seen=seen)


def decode(folder: Path, scratch: Path) -> dict:
    """Decode every frame that has an object, and keep nothing."""
    objects = read_objects(folder, sets=(SET,))
    frames = objects.table[["set", "frame"]].drop_duplicates().itertuples(index=False)
    paths = [objects.image_path(*frame) for frame in frames]

    def load(path) -> None:
        with Image.open(path) as image:
            image.load()

    def all_frames() -> None:
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            for _ in pool.map(load, paths):
                pass

    watch = Stopwatch()
    watch.run("decoding", all_frames)
    return watch.answer(frames=len(paths))


def anonymous_memory(process: int | str = "self") -> int:
    """Anonymous memory in bytes of a process and of its children; 0 where the system does not tell."""
    base = Path("/proc") / str(process)
    try:
        lines = (base / "status").read_text().splitlines()
        found = sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))
        children = [
            child for task in (base / "task").iterdir() for child in (task / "children").read_text().split()
        ]
    except OSError:  # another system, or a child that has just ended
        return 0
    return found + sum(anonymous_memory(child) for child in children)


class Peak:
    """The highest anonymous memory so far, looked at every 5 ms while the context is open."""

    def __enter__(self) -> Peak:
        self.bytes, self._over = anonymous_memory(), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._over.wait(0.005):
            self.bytes = max(self.bytes, anonymous_memory())

    def __exit__(self, *_) -> None:
        self._over.set()
        self._thread.join()


def growth(folder: Path, scratch: Path) -> dict:
    """The library's way with the peaks of memory, in bytes: while cutting, and over all."""
    peaks = {}
    with Peak() as peak:
        found = ours(folder, scratch, lambda: peaks.update(cutting=peak.bytes))
    return found | {"cutting_bytes": peaks["cutting"] or None, "bytes": peak.bytes or None}


def link_frames(frames: list[tuple[Path, Path]], folder: Path, copies: int = 1) -> Path:
    """A set of links to frames (image, annotation), each `copies` times under another name."""
    base = folder / OFFICIAL.format(SET)
    for name in ("images", "annotations"):
        (base / name).mkdir(parents=True)
    for copy in range(copies):
        for image, annotation in frames:
            (base / "images" / f"{image.stem}_{copy}.jpg").symlink_to(image.resolve())
            (base / "annotations" / f"{image.stem}_{copy}.txt").symlink_to(annotation.resolve())
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("variant", choices=("ours", "recipe", "decode", "growth"))
    parser.add_argument("--split-python", default="", help="the Python that has split-folders")
    options = parser.parse_args()
    ways = {
        "ours": ours,
        "recipe": lambda folder, scratch: recipe(folder, scratch, options.split_python),
        "decode": decode,
        "growth": growth,
    }

    def measure(request: dict) -> dict:
        with tempfile.TemporaryDirectory() as scratch:
            return ways[options.variant](Path(request["folder"]), Path(scratch))

    serve(lambda line: line.answer_all({"workers": os.cpu_count()}, measure))


if __name__ == "__main__":
    main()
