"""Measure the panorama stage on a folder of frames: `python -m benchmarks.panorama FOLDER [--run RUN]`

FOLDER holds frames of one or more places at different moments, with YOLO boxes (NAME.txt beside each) and
classes.txt in it or its parent. Stitching: frames are cut into bent, recoloured tiles and put together
again, beside OpenCV's Stitcher. Changes: vehicles that came or left between two moments are looked for,
beside absolute difference and structural similarity. Classification: the cars found are shown to the
classifiers of RUN, a run's folder, or its name below runs/. Growth (only with --growth): time and memory from
6 to 96 megapixels. Drawn (only with --drawn): changes and classes at drawn places, in summer and under snow.
The last line printed is one JSON; what cannot be measured is null there, with a reason.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks import panorama_changes, panorama_drawn, panorama_growth, panorama_stitching
from benchmarks.panorama_changes import Pair, evenly, frames_of, pairs_of, read_moments
from lib.arms import ARMS, weights_file
from lib.runs import InputError, command_line, progress, write_json
from lib.settings import ROOT

PARTS = ("stitching", "changes", "classification", "growth", "drawn")
CARS = {"car", "cars", "passenger car", "private car", "sedan", "hatchback", "suv"}  # van, minibus: none
GROWN = 12  # pairs that pictures are laid together from, where no more are registered anyway
NEEDED = {"stitching": ("placed", "reprojection_px", "colour_error", "seconds"),
          "changes": ("pairs", "recall", "precision", "f1"), "classification": ("car_called_car", "cars"),
          "growth": ("exponent", "peak_gb"), "drawn": ("recall", "precision", "winter_cars")}  # fmt: skip


def nothing(part: str, reason: str) -> dict:
    """What a part that could not be measured gives: its main values None, and the reason."""
    return dict.fromkeys(NEEDED[part]) | {"reason": reason}


def stitching(folder: Path, frames: int, seed: int) -> dict:
    """`panorama_stitching.measure` of so many frames, evenly chosen; corrupt ones are under `failed`."""
    opened, failed = {}, {}
    for name, path in evenly(list(frames_of(folder).items()), frames):
        try:
            opened[name] = panorama_changes.picture(path)
        except InputError as error:
            failed[name] = str(error)
    found = panorama_stitching.measure(opened, seed)
    found["failed"] |= failed
    if not found["placed"]:
        why = next(iter(found["failed"].values()), "no tile was placed")
        return found | {"placed": found["placed"] if found["tiles"] else None, "reason": why}
    return found


def changes(pairs: list[Pair], left_out: list[str]) -> tuple[dict, list[tuple[Pair, dict]]]:
    """`panorama_changes.measure`, and what was found in each pair; `left_out`: what was not compared."""
    if not pairs:
        why = left_out[0] if left_out else "no two labelled frames"
        none = dict.fromkeys(("recall", "precision", "f1"))
        usual = {how: none for how in panorama_changes.THRESHOLDS}
        return nothing("changes", why) | usual | {"pairs": 0, "left_out": left_out}, []
    found, results, more = panorama_changes.measure(pairs)
    found["left_out"] = left_out + more
    if not results:
        found["reason"] = more[0]
    elif not found["changes"]:
        found["reason"] = "no labelled vehicle came or left between the moments compared"
    return found, results


def run_folder(run: str) -> Path:
    """A run's folder: the one of that name, or the one below runs/; InputError if there is none."""
    for folder in (Path(run), ROOT / "runs" / run):
        if folder.is_dir():
            return folder
    raise InputError(run, "no such run", "a run's folder, or its name below runs/: PROFILE/seed0")


def car_crops(results: list[tuple[Pair, dict]]) -> np.ndarray:
    """Found vehicles labelled car as the classifier sees them, uint8 (n, 32, 32, 3), cut at their regions
    from the moment that shows them."""
    from lib.panorama import Comparison
    from lib.stitching import Panorama

    found = [np.empty((0, 32, 32, 3), np.uint8)]
    for pair, result in progress(results, desc="cutting crops"):
        regions = [result["regions"][r] for r, c in result["hits"]
                   if result["changes"][c][2].strip().lower() in CARS]  # fmt: skip
        if regions:
            two = [Panorama.finished(moment.frame, np.ones(moment.shape, bool), moment.name)
                   for moment in (pair.first, pair.second)]  # fmt: skip
            found.append(Comparison(*two, pair.registration, regions).crops())
    return np.concatenate(found)


def classification(run: str | None, arm: str, results: list[tuple[Pair, dict]]) -> dict:
    """Share of the cars found that each of a run's classifiers calls car.

    car_called_car: by the one that `arm` retrained; before: by the one before that; arms: by that of every
    arm that the run holds; cars: how many. Values are None, with a reason, where there is nothing to ask.
    """
    from lib.acceleration import choose_path
    from lib.anomalies import answers
    from lib.classify import open_classifier
    from lib.visdrone import CAR, CLASSES

    crops = car_crops(results)
    found = nothing("classification", "") | {"before": None, "arm": arm, "arms": {}, "cars": len(crops)}
    if run is None:
        return found | {"reason": "no run is named (--run)"}
    try:
        folder = run_folder(run)
    except InputError as error:
        return found | {"reason": str(error)}
    if not len(crops):
        labels = sorted({change[2] for pair, _ in results for change in pair.changes})
        why = f"no vehicle found that is labelled car (labels of changes: {', '.join(labels) or 'none'})"
        return found | {"reason": why}
    path, broken = choose_path(compiler="off"), []
    for name in ARMS:
        file = folder / weights_file(name)
        if not file.is_file():
            continue
        try:
            shares = answers({name: open_classifier(file)}, crops, path)[name]
        except InputError as error:
            broken.append(str(error))
            continue
        if shares.shape[1] != len(CLASSES):
            broken.append(f"{file.name}: {shares.shape[1]} classes, not {len(CLASSES)}")
            continue
        found["arms"][name] = round(float((shares.argmax(axis=1) == CAR).mean()), 4)
    found |= {"before": found["arms"].get("none"), "car_called_car": found["arms"].get(arm)}
    if found["car_called_car"] is None:
        return found | {"reason": "; ".join([f"{folder.name} has no {weights_file(arm)} to ask", *broken])}
    del found["reason"]
    return found | ({"broken": broken} if broken else {})


def growth(run: str | None, arm: str, pairs: list[Pair], megapixels: tuple[float, ...]) -> dict:
    """`panorama_growth.measure`, with the run's classifiers where it has them."""
    if not pairs:
        return nothing("growth", "no two moments that could be registered")
    weights = {name: str(file) for name, file in before_and_after(run, arm).items()}
    return panorama_growth.measure(pairs, megapixels, weights)


def before_and_after(run: str | None, arm: str) -> dict[str, Path]:
    """A run's classifiers before and after retraining, those that it has; what it lacks, the reason of
    `classification` says."""
    try:
        folder = None if run is None else run_folder(run)
    except InputError:
        folder = None
    files = {"before": weights_file("none"), "after": weights_file(arm)}
    found = {name: (folder / file).resolve() for name, file in files.items()} if folder else {}
    return {name: file for name, file in found.items() if file.is_file()}


def measure(options: argparse.Namespace) -> dict:
    """All parts that the options ask for; InputError for a folder without frames, labels or classes."""
    found = {}
    labelled = set(options.parts) - {"stitching", "drawn"}
    moments, left_out = read_moments(options.folder) if labelled else ([], [])
    if "stitching" in options.parts:
        _say("stitching")
        found["stitching"] = stitching(options.folder, options.frames, options.seed)
    if "drawn" in options.parts:
        _say("drawing")
        found["drawn"] = panorama_drawn.measure(before_and_after(options.run, options.arm))
    if not labelled:
        return found
    _say("registering")
    most = options.pairs if labelled - {"growth"} else min(options.pairs or GROWN, GROWN)
    pairs, more = pairs_of(moments, most)
    if labelled - {"growth"}:
        _say("comparing")
        found["changes"], results = changes(pairs, left_out + more)
        if "classification" in options.parts:
            _say("classifying")
            found["classification"] = classification(options.run, options.arm, results)
        if "changes" not in options.parts:
            del found["changes"]
    if "growth" in options.parts:
        _say("growing")
        found["growth"] = growth(options.run, options.arm, pairs, tuple(options.megapixels))
    return found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def table(found: dict) -> str:
    """The main values as text, a line each."""
    lines = []
    for part, values in found.items():
        within = {name: entry for name, entry in values.items() if isinstance(entry, dict)}
        entries = {part: values} | {n: e for n, e in within.items() if set(e) & set(NEEDED[part])}
        for name, entry in entries.items():
            keys = (*NEEDED[part], "before", "after", "reason")
            shown = [f"{key} {entry[key]}" for key in keys if key in entry]
            lines.append(f"{name:22} " + ", ".join(shown))
    for entry in found.get("growth", {}).get("sizes", ()):
        lines.append("  " + ", ".join(f"{key} {value}" for key, value in entry.items()))
    return "\n".join(lines)


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Command line: a table, then one line of JSON; 2 and one line for a folder that cannot be measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="frames with YOLO boxes")
    parser.add_argument("--run", help="a run's folder, or its name below runs/, such as visdrone-val/seed0")
    parser.add_argument("--arm", default="vae_transfer", choices=[arm for arm in ARMS if arm != "none"],
                        help="whose classifier is the retrained one (default: %(default)s)")  # fmt: skip
    parser.add_argument("--frames", type=int, default=24, help="that are stitched (default: %(default)s)")
    parser.add_argument("--pairs", type=int, help="that are compared, evenly chosen (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of the tiles (default: %(default)s)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS[:3]))
    parser.add_argument("--growth", action="store_true", help="time and memory over size too")
    parser.add_argument("--drawn", action="store_true", help="drawn places in two seasons too")
    parser.add_argument("--megapixels", type=float, nargs="+", default=list(panorama_growth.MEGAPIXELS),
                        help="sizes of --growth (default: %(default)s)")  # fmt: skip
    parser.add_argument("--out", type=Path, help="the JSON as a file too")
    options = parser.parse_args(arguments)
    asked = set(options.parts) | {name for name in ("growth", "drawn") if getattr(options, name)}
    options.parts = [part for part in PARTS if part in asked]
    for name in ("frames", "pairs"):
        if (getattr(options, name) or 1) < 1:
            parser.error(f"--{name}: found {getattr(options, name)}, expected 1 or more")
    if min(options.megapixels) <= 0:
        parser.error("--megapixels: expected more than 0")
    start = time.perf_counter()
    found = {"folder": options.folder.resolve().name} | measure(options)
    found["seconds"] = round(time.perf_counter() - start, 1)
    if options.out:
        write_json(options.out, found)
    print(table({part: values for part, values in found.items() if part in PARTS}))
    print(json.dumps(found, allow_nan=False))


if __name__ == "__main__":
    sys.exit(main())
