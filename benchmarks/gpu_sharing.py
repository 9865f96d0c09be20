"""What does one GPU give to many trainings at once? `python -m benchmarks.gpu_sharing PROFILE`

From the clocks of the runs of PROFILE (runs/<profile>/) whose notebooks were run on a GPU, side by side: how
many classifiers (notebook 02) were trained at once and how many images a second each of them got, whole
notebooks with their start-up, and how long the notebooks of all runs took together. Where images come at
several resolutions each counts once. Numbers go to figures/benchmarks/gpu_sharing_PROFILE.json.
"""

from __future__ import annotations

import argparse

from benchmarks import FOLDER
from benchmarks.bench_report import spread
from lib import runs, settings
from lib.provenance import covered
from lib.published import TRAINING
from lib.runs import InputError, command_line

_, *ON_GPU = TRAINING  # the first prepares data
CLASSIFIER = ON_GPU[0]


def clocks(profile: str) -> dict[str, dict[str, dict]]:
    """Notebook -> run -> what its timing JSON holds, of runs on a GPU; InputError where there is none."""
    settings.known_profile(profile)
    folder = settings.ROOT / "runs" / profile
    found: dict[str, dict[str, dict]] = {}
    for name in ON_GPU:
        for path in sorted(folder.glob(f"seed*/timing/{name}.json")):
            timing = runs.read_json(path)
            if timing.get("clock") and timing.get("machine", {}).get("gpu"):  # by hand: no clock
                found.setdefault(name, {})[path.parts[-3]] = timing
    if CLASSIFIER not in found:
        raise InputError(folder, "no classifier that was trained on a GPU", "runs that were, side by side")
    cards = {timing["machine"]["gpu"] for told in found.values() for timing in told.values()}
    if len(cards) > 1:
        raise InputError(folder, f"runs of {' and '.join(sorted(cards))}", "runs of one kind of GPU")
    return found


def took(timing: dict) -> float:
    """Seconds of one notebook, by its clock."""
    begin, end = timing["clock"]
    return end - begin


def busy(timings: list[dict]) -> float:
    """Seconds in which at least one was at work."""
    return covered([one["clock"] for one in timings])


def at_once(timings: list[dict]) -> float:
    """How many were at work at a time, on the average of these seconds."""
    return sum(map(took, timings)) / busy(timings)


def measured(profile: str) -> dict:
    """Numbers ready for JSON."""
    found = clocks(profile)
    trained, images = found[CLASSIFIER], {}
    for name in trained:
        file = settings.ROOT / "runs" / profile / name / "metrics" / "classifier.json"
        made = runs.read_json(runs.require(file, f"make reproduce PROFILE={profile}"))
        images[name] = made["steps"] * made["batch_size"]
    seconds = {name: took(timing) for name, timing in trained.items()}
    everything = [timing for told in found.values() for timing in told.values()]
    return {
        "profile": profile, "machine": next(iter(trained.values()))["machine"],
        "classifier": {
            "trainings": len(trained), "at_once": at_once(list(trained.values())),
            "images": spread(list(images.values())),
            "seconds": spread(list(seconds.values())),
            "images_per_second_each": spread([images[name] / seconds[name] for name in trained]),
            "images_per_second": sum(images.values()) / busy(list(trained.values())),
        },
        "notebooks": {name: spread(list(map(took, told.values()))) for name, told in found.items()},
        "all": {"notebooks": len(everything), "at_once": at_once(everything), "seconds": busy(everything)},
    }  # fmt: skip


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Command line; exit code 2 and one line on stderr where something is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_sharing", description=__doc__.splitlines()[0]
    )
    parser.add_argument("profile")
    profile = parser.parse_args(arguments).profile
    found = measured(profile)
    target = FOLDER / f"gpu_sharing_{profile}.json"
    runs.write_json(target, found)
    one = found["classifier"]
    print(f"{found['machine']['gpu']}: {one['trainings']} classifiers, {one['at_once']:.1f} at once, "
          f"{one['images_per_second_each']['median']:,.0f} images/s each, "
          f"{one['images_per_second']:,.0f} in all; {found['all']['notebooks']} notebooks in "
          f"{found['all']['seconds']:,.0f} s, {found['all']['at_once']:.1f} at once")  # fmt: skip
    print(target)


if __name__ == "__main__":
    raise SystemExit(main())
