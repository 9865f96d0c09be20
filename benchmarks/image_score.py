"""Does the quality of a single image mean anything? `python -m benchmarks.image_score RUN [--images N]`

A critic, a network of the template that the generator has nothing to do with, learns on the run's training
crops how and how much a crop was spoilt. Two scores come of it: intactness, minus the strength that it
expects, and realism on its features (`lib.image_quality`). Real held-out cars are then spoilt step by step:
a score must fall step by step, for each degradation by itself. RUN is a run's folder, such as
runs/visdrone-val/seed0. Writes figures/benchmarks/image_score.json.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from benchmarks import FOLDER
from lib import data, image_quality, judging, runs
from lib.acceleration import choose_path
from lib.division import Division
from lib.settings import Run
from lib.testsets import part_set, test_sets, winter_cars
from lib.training import embed
from lib.visdrone import CAR

TARGET = FOLDER / "image_score.json"
WIDTH, BATCH, RATE = 32, 64, 2e-3


def measure(run: Run, examples: int, passes: float, images: int) -> dict:
    """Train the critic, and validate both scores on held-out cars."""
    division = Division.read(run.need("division.npz"))
    store, own = data.open_stores(run, runs.read_json(run.need("metrics/data.json"))["winter"])
    train, sets = part_set(store, division, "train"), test_sets(store, division, own)
    winter, path = winter_cars(store, division, own).images, choose_path()
    cars = np.concatenate([winter, train.images[train.labels == CAR]])
    others, started = train.images[train.labels != CAR], time.perf_counter()
    critic = judging.train_critic(cars, others, examples, WIDTH, passes, BATCH, RATE, run.seed, path)
    seconds = time.perf_counter() - started
    space = image_quality.manifold(embed(critic, winter, path))
    scores = {
        "realism": lambda x: image_quality.realism(embed(critic, x, path), space),
        "intactness": judging.intactness(critic, path),
    }
    heldout = {
        "winter": (sets["valid_winter_cars"].images, sets["valid_winter_noncars"].images),
        "summer": tuple(
            sets["valid_summer"].images[(sets["valid_summer"].labels == CAR) == car] for car in (True, False)
        ),
    }
    found = {"run": f"{run.profile}/{run.name}", "examples": examples, "passes": passes,
             "seconds": round(seconds, 1), "width": WIDTH}  # fmt: skip
    for season, (real, others) in heldout.items():
        real = real[:images]
        found[season] = {"images": len(real)} | {
            name: image_quality.validate(real, others, score, run.seed) for name, score in scores.items()
        }
        for name in scores:
            shown = {kind: round(v["rank_correlation"], 3) for kind, v in found[season][name].items()}
            print(f"{season}, {len(real)} held-out cars, {name}: {shown}", flush=True)
    return found


@runs.command_line
def main(arguments: list[str] | None = None) -> None:
    """Command line; 2 and one line where a run is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="such as runs/visdrone-val/seed0")
    parser.add_argument("--examples", type=int, default=20_000)
    parser.add_argument("--passes", type=float, default=4.0)
    parser.add_argument("--images", type=int, default=300, help="held-out cars of each season")
    options = parser.parse_args(arguments)
    place = Run.at(options.run, "image_score")
    runs.write_json(TARGET, measure(place, options.examples, options.passes, options.images))


if __name__ == "__main__":
    raise SystemExit(main())
