"""`make bench`: how fast is this, beside what people would use instead and beside what the machine can give?

    python -m benchmarks.bench [--quick] [--rows 1 2 ...] [--output FILE]

Rows: 1 training steps, 2 data preparation, 3 sampling, scoring and classifying, 4 growth of time and
memory, 5 the embedded profile stage by stage, 6 a GPU where one is at hand (`bench_gpu`). Variants of a row
run in the same minutes, in turn, each in a process of its own (`bench_protocol`). A number is the median
over the repeats, in brackets the least and the most; a ratio is the median of the ratios of measurements
that followed one another. Writes figures/bench.json (with --rows runs/bench.json, so that a part never
replaces the whole) and, beside it, the table as bench.md.
A peer that cannot run here has an empty place with the reason.
--quick: rows 1 to 3, fewer repeats, fewer frames and images.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks import bench_data
from benchmarks.bench_gpu import paper_row, sharing_row
from benchmarks.bench_protocol import ROOT, Worker, WorkerError, torch_worker
from benchmarks.bench_report import KERAS, growth_of, ratios, spread, table, times_as_fast
from benchmarks.bench_torch import convolution_work
from lib import provenance
from lib.machine import processor
from lib.runs import InputError, write_json, write_text
from lib.scenes import draw_scenes
from lib.settings import notebook_names
from lib.visdrone import OFFICIAL, SETS, visdrone_folder

TARGET = ROOT / "figures" / "bench.json"
PART = ROOT / "runs" / "bench.json"  # of some rows only: they do not replace the whole
OTHER_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
NO_OTHER = "not installed: `make bench` sets up .venv-bench, which needs a network"
COMPILED = "ours, compiled too"
NETWORKS = {"classifier": "classifier training step", "vae": "VAE training step"}


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    batch: int = 128
    steps: int = 4  # a measurement
    repeats: int = 7
    keras_jit: Sequence[bool] = (False, True)
    frames: int | None = None  # None: all that there are
    data_repeats: int = 5
    images: int = 10_000
    image_repeats: int = 3
    growth: Sequence[int] = (1, 2, 4)
    growth_repeats: int = 3
    gpu_batch: int = 2048
    gpu_steps: int = 8
    gpu_repeats: int = 5
    compiler: str = "auto"
    small: bool = False  # the smallest matrices; only tests of the driver want that


FULL = Plan()
# Keras without XLA alone: it starts sooner, and was the faster way where it was tried with small batches.
# Not compiled: the compiler alone would take half of the four minutes.
QUICK = Plan(
    steps=1, repeats=3, keras_jit=(False,), frames=120, data_repeats=3, images=250, image_repeats=2,
    gpu_repeats=3, compiler="off",
)  # fmt: skip
FAILURES = (InputError, WorkerError, OSError, RuntimeError, ValueError, KeyError)  # of a row; others go on


def race(commands: dict[str, list[str]], repeats: int, requests: Sequence[dict]) -> dict:
    """Measure variants in turn: {"about", "answers", "missing"}, each by variant.

    All start at once, so that they warm up together; then each request goes to one after the other, `repeats`
    times. answers[name][i] holds the repeats of request i. A variant that fails is missing, with its reason;
    "ours" must not fail.
    """
    about, answers, missing = {}, {}, {}
    with contextlib.ExitStack() as stack:
        workers = {}

        def attempt(name, action):
            try:
                return action()
            except WorkerError as error:
                if name == "ours":
                    raise
                missing[name] = str(error)
                answers.pop(name, None)

        for name, command in commands.items():
            if worker := attempt(name, lambda c=command, n=name: stack.enter_context(Worker(c, n))):
                workers[name] = worker
        for name, worker in workers.items():
            if (found := attempt(name, worker.about)) is not None:
                about[name], answers[name] = found, [[] for _ in requests]
        for _ in range(repeats):
            for number, request in enumerate(requests):
                for name in list(answers):
                    found = attempt(name, lambda n=name, r=request: workers[n].ask(**r))
                    if found is not None:
                        answers[name][number].append(found)
    return {"about": about, "answers": answers, "missing": missing}


def compared(raced: dict, number: int = 0, images: int | None = None) -> dict:
    """Ours and its peers for one request: seconds, images a second where `images` were worked on, ratios."""
    seconds = {name: [a["seconds"] for a in found[number]] for name, found in raced["answers"].items()}

    def entry(name: str) -> dict:
        found = {"seconds": spread(seconds[name])}
        if images:
            found["images_per_second"] = spread([images / s for s in seconds[name]])
        return found | raced["about"][name]

    peers = {
        name: entry(name) | {"times_as_fast": times_as_fast(seconds["ours"], seconds[name])}
        for name in seconds
        if name != "ours"
    }
    missing = {name: {"missing": why} for name, why in raced["missing"].items()}
    return {"ours": entry("ours"), "peers": peers | missing}


def measure_machine(plan: Plan, device: str = "cpu") -> dict:
    """Operations and bytes a second that this machine gives at most, and the type of the numbers."""
    small = ["--small"] if plan.small else []
    raced = race({"ours": torch_worker("machine", "--device", device, *small)}, 3, [{}])
    found = raced["answers"]["ours"][0]
    best = {key: max(answer[key] for answer in found) for key in ("flops", "bytes")}
    return best | raced["about"]["ours"]


def against_limit(network: str, batch: int, seconds: float, machine: dict) -> dict:
    """The least time of the step's convolutions on this machine, and the share of it in the time taken."""
    work = convolution_work(network)
    compute = work.step(batch) / machine["flops"]
    memory = work.step_bytes(batch, machine["bytes_a_value"]) / machine["bytes"]
    limit = max(compute, memory)
    return {
        "flops": work.step(batch),
        "bytes": work.step_bytes(batch, machine["bytes_a_value"]),
        "seconds_of_flops": compute,
        "seconds_of_bytes": memory,
        "images_per_second": batch / limit,
        "share_of_limit": limit / seconds,
    }


def step_row(network: str, plan: Plan, machine: dict, device: str = "cpu") -> dict:
    """Row 1, on a GPU row 6: a training step of one network."""
    batch, steps, repeats = plan.batch, plan.steps, plan.repeats
    if device == "cuda":
        batch, steps, repeats = plan.gpu_batch, plan.gpu_steps, plan.gpu_repeats
    own = ["--network", network, "--batch", str(batch), "--device", device]
    compiler = "graphs" if device == "cuda" else plan.compiler  # on a GPU hardly a training is compiled
    commands = {
        "ours": torch_worker("step", "ours", *own, "--compiler", compiler),
        "eager PyTorch": torch_worker("step", "eager", *own),
    }
    if device == "cuda" and plan.compiler != "off":
        commands[COMPILED] = torch_worker("step", "ours", *own, "--compiler", plan.compiler)
    keras = {KERAS[jit]: jit for jit in plan.keras_jit} if device == "cpu" else {}
    if OTHER_PYTHON.exists():
        words = [str(OTHER_PYTHON), "-m", "benchmarks.keras_networks", network, "--batch", str(batch)]
        commands |= {name: [*words, *(["--jit"] if jit else [])] for name, jit in keras.items()}
    raced = race(commands, repeats, [{"steps": steps}])
    if not OTHER_PYTHON.exists():
        raced["missing"] |= dict.fromkeys(keras, NO_OTHER)
    found = compared(raced, images=batch * steps)
    limit = against_limit(network, batch, found["ours"]["seconds"]["median"] / steps, machine)
    return {
        "row": 6 if device == "cuda" else 1,
        "key": f"{network}_step" + ("_gpu" if device == "cuda" else ""),
        "name": NETWORKS[network] + (", GPU" if device == "cuda" else ""),
        "work": f"batch {batch}: forward, backward, Adam",
        **found,
        "limit": limit,
    }


def find_frames(scratch: Path, few: int | None) -> tuple[list[tuple[Path, Path]], str]:
    """Frames with their annotations, and what they are: real ones, or drawn ones where no real ones are."""
    folder, sets, what = visdrone_folder(), ["val"], "real validation frames of VisDrone-DET"
    if folder is None or not (folder / OFFICIAL.format("val")).is_dir():
        folder = draw_scenes(scratch / "scenes", sequences=30 if few is None else 10)
        sets, what = list(SETS), "drawn scenes (no real validation frames here)"
    found = [
        (folder / OFFICIAL.format(name) / "images" / f"{annotation.stem}.jpg", annotation)
        for name in sets
        for annotation in sorted((folder / OFFICIAL.format(name) / "annotations").glob("*.txt"))
    ]
    if few and len(found) > few:  # evenly over all recordings
        found = [found[i * len(found) // few] for i in range(few)]
    if not found:
        raise InputError(folder, "no annotated frame", "frames to measure with")
    return found, f"{len(found)} {what}"


def data_row(plan: Plan, frames: list, what: str, scratch: Path) -> dict:
    """Row 2: from frames to the first full epoch of batches."""
    worker = [sys.executable, "-m", "benchmarks.bench_data"]
    commands = {"ours": [*worker, "ours"], "decoding alone": [*worker, "decode"]}
    if OTHER_PYTHON.exists():
        commands["usual recipe"] = [*worker, "recipe", "--split-python", str(OTHER_PYTHON)]
    folder = bench_data.link_frames(frames, scratch / "set")
    few = bench_data.link_frames(frames[: max(1, len(frames) // 20)], scratch / "few")
    for image, _ in frames:  # all variants find the frames in the system's cache
        image.read_bytes()
    # the first request only warms up: imports, first calls
    raced = race(commands, plan.data_repeats, [{"folder": str(few)}, {"folder": str(folder)}])
    if not OTHER_PYTHON.exists():
        raced["missing"]["usual recipe"] = NO_OTHER
    answers = {name: found[1] for name, found in raced["answers"].items()}
    crops = {name: a[0]["crops"] for name, a in answers.items() if "crops" in a[0]}
    if len(set(crops.values())) > 1:
        raise RuntimeError(f"data preparation: the variants cut different objects: {crops}")
    found = compared(raced, 1)
    for name, repeats in answers.items():
        entry = found["ours"] if name == "ours" else found["peers"][name]
        entry["parts"] = {p: spread([a["parts"][p] for a in repeats]) for p in repeats[0]["parts"]}
    return {"row": 2, "key": "data", "name": "data preparation",
            "work": f"{what}, {crops['ours']:,} crops, one epoch", **found}  # fmt: skip


def image_rows(plan: Plan) -> list[dict]:
    """Row 3: sampling and scoring images, classifying crops."""
    commands = {
        "ours": torch_worker("inference", "ours", "--compiler", plan.compiler),
        "eager PyTorch": torch_worker("inference", "eager"),
    }
    tasks = {
        "sampling": "encoding 811 cars, decoding codes drawn around them",
        "scoring": "features and all measures of the set",
        "classifying": "six probabilities a crop, asked once",
    }
    requests = [{"task": task, "images": plan.images} for task in tasks]
    raced = race(commands, plan.image_repeats, requests)
    return [
        {"row": 3, "key": task, "name": f"{task} {plan.images:,} images", "work": work}
        | compared(raced, number, plan.images)
        for number, (task, work) in enumerate(tasks.items())
    ]


def growth_row(plan: Plan, frames: list, what: str, scratch: Path) -> dict:
    """Row 4: the same for more frames, each measurement in a new process."""
    found = {factor: [] for factor in plan.growth}
    folders = {f: bench_data.link_frames(frames, scratch / f"times{f}", f) for f in plan.growth}
    for _ in range(plan.growth_repeats):
        for factor, folder in folders.items():
            command = [sys.executable, "-m", "benchmarks.bench_data", "growth"]
            raced = race({"ours": command}, 1, [{"folder": str(folder)}])
            found[factor].append(raced["answers"]["ours"][0][0])
    return {"row": 4, "key": "growth", "name": "growth of data preparation",
            "work": f"{what}, each {', '.join(map(str, plan.growth))} times",
            **growth_of(found, len(frames))}  # fmt: skip


def embedded_row() -> dict:
    """Row 5: what the stages of the last run of the embedded profile took; nothing is run here."""
    stages = provenance.timing("embedded", ["seed0"])["by_stage"]
    missing = [name for name in notebook_names() if name not in stages]
    return {
        "row": 5,
        "key": "embedded",
        "name": "embedded profile",
        "work": "as timed by the last `make reproduce`",
        "stages": stages,
        "total": None if missing else sum(stages.values()),
        "missing": f"not run yet: {', '.join(missing)}; run `make reproduce` first" if missing else None,
    }


def measure(
    plan: Plan,
    wanted: Sequence[int],
    say: Callable[[str], None] = lambda text: None,
    so_far: Callable[[dict], None] = lambda result: None,
) -> dict:
    """All wanted rows. A row that fails is there with its reason ("missing"); the others go on.

    `so_far` gets the result as it is, each time that a row is added.
    """
    begun, gpu = time.perf_counter(), torch.cuda.is_available() and 6 in wanted
    say("the machine's limits")
    limits = measure_machine(plan)
    rows: list[dict] = []
    card: dict = {}  # what the GPU gives at most, once it was measured

    def gpu_row(network: str) -> dict:
        if not card:
            card.update(measure_machine(plan, "cuda"))
        return step_row(network, plan, card, "cuda")

    def keep(number: int, key: str, name: str, make) -> None:
        if number not in wanted:
            return
        say(name)
        try:
            found = make()
        except FAILURES as error:
            found = {"row": number, "key": key, "name": name, "work": "",
                     "missing": " ".join(f"{type(error).__name__}: {error}".split())}  # fmt: skip
            say(f"{name} failed: {found['missing']}")
        rows.extend(found if isinstance(found, list) else [found])
        so_far(result())

    def result() -> dict:
        machine = {
            "processor": processor(),
            "cores": os.cpu_count(),
            "torch": torch.__version__,
            "python": platform.python_version(),
            "gpu": torch.cuda.get_device_name() if gpu else None,
            "gpu_limits": card or None,
            **limits,
        }
        return {
            "machine": machine,
            "rows": list(rows),
            "ratios": ratios(rows),
            "quick": plan == QUICK,
            "seconds": round(time.perf_counter() - begun, 1),
        }

    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        frames = functools.cache(lambda: find_frames(scratch, plan.frames))
        for key, name in NETWORKS.items():
            keep(1, f"{key}_step", name, lambda k=key: step_row(k, plan, limits))
        if gpu:
            for key, name in NETWORKS.items():
                keep(6, f"{key}_step_gpu", f"{name}, GPU", functools.partial(gpu_row, key))
            few = plan.image_repeats
            shared = functools.partial(sharing_row, plan.batch, 10 * plan.gpu_steps, few)
            keep(6, "paper_gpu", "profile `paper`", lambda: paper_row(few))
            keep(6, "sharing_gpu", "several trainings on one GPU", shared)
        keep(2, "data", "data preparation", lambda: data_row(plan, *frames(), scratch))
        keep(3, "images", "sampling, scoring, classifying", lambda: image_rows(plan))
        keep(4, "growth", "growth of data preparation", lambda: growth_row(plan, *frames(), scratch))
        keep(5, "embedded", "embedded profile", embedded_row)
    return result()


def main(arguments: list[str] | None = None) -> int:
    """Command line; exit code 2 and one line on stderr where something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="rows 1 to 3, fewer repeats")
    parser.add_argument("--rows", type=int, nargs="+", choices=range(1, 7), help="only these")
    parser.add_argument(
        "--output",
        type=Path,
        help="the JSON, figures/bench.json or, of some rows, runs/bench.json; the table gets the ending .md",
    )
    options = parser.parse_args(arguments)
    target = options.output or (PART if options.rows else TARGET)
    so_far = target.with_suffix(".so_far.json")  # of a benchmark under way, or of one that was stopped
    plan = QUICK if options.quick else FULL
    if 6 in (options.rows or ()) and not torch.cuda.is_available():
        print("--rows: found 6, expected a GPU that PyTorch can use", file=sys.stderr)
        return 2
    wanted = options.rows or ([1, 2, 3] if options.quick else [1, 2, 3, 4, 5, 6])
    try:
        result = measure(
            plan, wanted, lambda text: print(f"measuring: {text}", file=sys.stderr, flush=True),
            lambda result: write_json(so_far, result),
        )  # fmt: skip
        write_json(target, result)
        write_text(target.with_suffix(".md"), table(result))
    except (InputError, WorkerError, OSError, RuntimeError) as error:
        print(" ".join(f"error: {error}".split()), file=sys.stderr)
        return 2
    so_far.unlink(missing_ok=True)
    print(table(result), end="")
    print(f"{target} and {target.with_suffix('.md').name}, {result['seconds']:,.0f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
