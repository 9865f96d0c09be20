"""Row 6 of `benchmarks.bench`: what one GPU gives, to one training, to several at once, to the paper's data.

A training on a GPU is a CUDA graph: recorded once and replayed (`acceleration.GraphedSteps`). At the batch
sizes of the profiles one network leaves much of a large card idle, so several trainings share it, each in a
process of its own, as the Snakefile starts them.
"""

from __future__ import annotations

import contextlib
import time

from benchmarks.bench_protocol import ROOT, Worker, torch_worker
from benchmarks.bench_report import spread
from lib import settings
from lib.arms import ARMS, check_arms
from lib.runs import read_json
from lib.visdrone import PAPER_TABLE1

PAPER_CROPS = PAPER_TABLE1["train"]
TOGETHER = (1, 2, 4, 8)  # trainings at once
TRAINED = ("02_classifier_training", "03_vae_transfer", "05_retraining")


def together(commands: list[list[str]], steps: int, repeats: int) -> list[float]:
    """Seconds that all trainings need for `steps` steps each, side by side; one number a repeat."""
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(Worker(words, f"training {i}")) for i, words in enumerate(commands)]
        for worker in workers:
            worker.about()
        found = []
        for _ in range(repeats):
            start = time.perf_counter()
            for worker in workers:
                worker.begin(steps=steps)
            for worker in workers:
                worker.finish()
            found.append(time.perf_counter() - start)
    return found


def sharing_row(batch: int, steps: int, repeats: int, counts=TOGETHER, device: str = "cuda") -> dict:
    """Images a second of one, two, ... trainings of the classifier that share the card."""
    words = ["--network", "classifier", "--batch", str(batch), "--device", device, "--compiler", "graphs"]
    points = []
    for count in counts:
        seconds = together([torch_worker("step", "ours", *words)] * count, steps, repeats)
        each = spread([batch * steps / s for s in seconds])
        all_of_them = spread([count * batch * steps / s for s in seconds])
        points.append({"trainings": count, "images_per_second_each": each, "images_per_second": all_of_them})
    return {
        "row": 6,
        "key": "sharing_gpu",
        "name": "several trainings on one GPU",
        "work": f"classifier, batch {batch}, each a process",
        "points": points,
    }


def find_crops() -> tuple[str, str]:
    """The largest crop store that is here, and what it holds; no path where there is none."""
    stores = {path: read_json(path)["crops"] for path in sorted(ROOT.glob("runs/*/crops/store.json"))}
    if not stores:
        return "", "random pictures"
    largest = max(stores, key=stores.get)
    return str(largest.with_name("crops.npy")), f"{stores[largest]:,} crops of {largest.parts[-3]}, repeated"


def paper_row(repeats: int, crops: int = PAPER_CROPS, device: str = "cuda") -> dict:
    """Cost of the `paper` profile's trainings: one pass at its full size, and a step of each other training.

    Without the judge that notebook 04 trains to measure with.

    A pass is measured as notebook 02 makes it, all resolutions in their shares. The rest is steps times the
    seconds of one: the autoencoder's, and each retraining's at full resolution (it costs less at others).
    """
    classifier, vae, retraining = (settings.values("paper", name) for name in TRAINED)
    path, what = find_crops()
    words = ["--batch", str(classifier["batch_size"]), "--device", device, "--count", str(crops)]
    sides = ["--resolutions", *map(str, classifier["resolutions"])]
    with Worker(torch_worker("epoch", *words, *sides, "--crops", path), "epoch") as worker:
        passes = [worker.ask(passes=1)["seconds"] for _ in range(repeats)]
    step = {}
    for network, numbers in (("vae", vae), ("classifier", retraining)):
        own = ["--network", network, "--batch", str(numbers["batch_size"]), "--device", device]
        seconds = together([torch_worker("step", "ours", *own, "--compiler", "graphs")], 100, repeats)
        step[network] = spread([value / 100 for value in seconds])
    arms = [arm for arm in check_arms(retraining["arms"], "params/paper") if not ARMS[arm].of]
    extrapolated = {
        "classifier": classifier["passes"] * spread(passes)["median"],
        "autoencoder": len(vae["starts"]) * vae["steps"] * step["vae"]["median"],
        "retraining": len(arms) * retraining["steps"] * step["classifier"]["median"],
    }
    return {
        "row": 6,
        "key": "paper_gpu",
        "name": "profile `paper`, its trainings",
        "work": f"{crops:,} crops ({what}), batch {classifier['batch_size']}",
        "pass": spread(passes),
        "images_per_second": spread([crops / seconds for seconds in passes]),
        "step": step,
        "extrapolated": extrapolated | {"arms": len(arms), "total": sum(extrapolated.values())},
    }
