"""Does the fast path cost accuracy? `python -m benchmarks.fast_path PROFILE [--seeds 0 1 2] [--passes 3]`

The profile's classifier is trained twice a seed, from the same first weights on the same batches: on the path
that this machine gets by itself, and on the reference, float32 in the usual memory format without a compiler.
Both are tested on the test part by object. The division of each seed must be there: notebook 01 of PROFILE
makes it (`make reproduce PROFILE=...`). Writes figures/benchmarks/fast_path.json. On two cores 3 passes over
the validation frames take about a quarter of an hour.
"""

from __future__ import annotations

import argparse
import math
import sys
import time

import torch

from benchmarks import FOLDER
from lib import data, runs, settings
from lib.acceleration import ComputePath, choose_path
from lib.batches import Schedule
from lib.division import Division
from lib.intervals import over_seeds
from lib.machine import processor
from lib.models import build_classifier
from lib.settings import Run
from lib.testsets import part_set
from lib.training import predict, train_classifier

TARGET = FOLDER / "fast_path.json"
NOTEBOOK = "02_classifier_training"
REFERENCE = {"precision": "float32", "memory_format": "contiguous", "compiler": "off"}


def accuracy(run: Run, path: ComputePath, passes: float) -> tuple[float, float]:
    """Share of the test part that a classifier trained for this run knows; seconds of its training."""
    division = Division.read(run.need("division.npz"))
    store, _ = data.open_stores(run, runs.read_json(run.need("metrics/data.json"))["winter"])
    train, test = (part_set(store, division, part) for part in ("train", "test"))
    chosen = settings.values(run.profile, NOTEBOOK)
    batch_size, resolutions = chosen["batch_size"], chosen["resolutions"]
    torch.manual_seed(run.seed)
    model = build_classifier()
    schedule = Schedule(max(1, int(passes * len(train) / batch_size)), batch_size, chosen["rate"], run.seed)
    print(path.describe(schedule.images_compiled_for(resolutions)), flush=True)
    started = time.perf_counter()
    train_classifier(model, train.images, train.labels, schedule, path=path, resolutions=resolutions)
    seconds = time.perf_counter() - started
    return float((predict(model, test.images, path).argmax(1) == test.labels).mean()), seconds


def compare(profile: str, seeds: list[int], passes: float) -> dict:
    """Both paths over the seeds: accuracies, their differences with Student's 95 % interval, seconds."""
    paths = {"fast": choose_path(), "reference": choose_path(**REFERENCE)}
    found = {name: {"accuracy": [], "seconds": [], "path": path.describe()} for name, path in paths.items()}
    for seed in seeds:
        for name, path in paths.items():
            value, seconds = accuracy(Run(profile, "object", seed, NOTEBOOK), path, passes)
            found[name]["accuracy"].append(value)
            found[name]["seconds"].append(round(seconds, 1))
            print(f"seed {seed}, {name}: {100 * value:.2f} % right, {seconds:.0f} s", flush=True)
    differences = [f - r for f, r in zip(*(found[name]["accuracy"] for name in paths), strict=True)]
    mean, _, low, high = over_seeds(differences)
    interval = {} if math.isnan(low) else {"low": low, "high": high}  # one seed, or seeds that all agree
    return found | {
        "profile": profile,
        "seeds": seeds,
        "passes": passes,
        "difference": {"mean": mean} | interval,
        "processor": processor(),
    }


@runs.command_line
def main(arguments: list[str] | None = None) -> None:
    """Command line; 2 and one line where a run is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("profile")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--passes", type=float, default=3.0)
    options = parser.parse_args(arguments)
    result = compare(options.profile, options.seeds, options.passes)
    runs.write_json(TARGET, result)
    print({name: round(100 * value, 2) for name, value in result["difference"].items()}, "points")


if __name__ == "__main__":
    sys.exit(main())
