"""Is there the class in the snow? `python -m benchmarks.equal_snow RUN [RUN ...]`

Drawn snow holds less on persons and motorcycles than on cars, by class (`lib.snow.HOLD`), as it does
outdoors: who walks carries little. So "white on top means car" is partly true in simulated winter, and a
classifier that learns it calls fewer of the others car than it would of others as white as the cars. Here the
held-out winter non-cars of RUN are cut a second time, with the same random numbers but as much snow as a car
would carry, and every classifier of the run is asked about both. RUN is a run's folder, such as
runs/embedded/seed0, with simulated winter and notebooks 01 to 05 run; of several, all of one profile, the
means and their intervals over seeds are told. Numbers go to figures/benchmarks/equal_snow_PROFILE.json.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from benchmarks import FOLDER
from lib import data, runs, settings
from lib.acceleration import choose_path
from lib.arms import ARMS, CONTROL, weights_file
from lib.comparison import known, mcnemar, paired_test
from lib.crops import cut_boxes
from lib.division import Division
from lib.evaluation import SIMULATED, Answers, answers
from lib.intervals import over_seeds, share
from lib.settings import DATA, Run
from lib.snow import HOLD, snow
from lib.training import answer
from lib.visdrone import CAR, CLASSES
from lib.weights import load_classifier

SNOWS = ("measured", "as_on_cars")  # as its class holds it; as much as on a car
Called = dict[str, dict[str, Answers]]  # of a run: arm -> snow of SNOWS -> answers about its winter non-cars


def cut_twice(run: Run) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Held-out winter non-cars as measured and with a car's snow, uint8 (n, 32, 32, 3); labels, recordings.

    InputError: the run's winter is not simulated, or the frames are no longer those that it was cut from.
    """
    about = run.need("metrics/data.json")
    if (found := runs.read_json(about)["winter"]) != SIMULATED:
        raise runs.InputError(about, f"winter: {found!r}", SIMULATED)
    store, _ = data.open_stores(run, SIMULATED)
    given = settings.values(run.profile, DATA)
    names = ("source", "sets", "sequences", "frames_per_sequence", "rows", "minimum_side")
    objects = data.find_objects(run, folder=given["data_folder"], **{name: given[name] for name in names})
    rows = np.sort(Division.read(run.need("division.npz")).winter_test_noncars)
    table = store.table.iloc[rows]
    cut = []
    with tempfile.TemporaryDirectory() as folder:
        for name, told in (("own", table), ("car", table.assign(label=CAR))):
            again = cut_boxes(told, objects.image_path, Path(folder) / name, snow=snow,
                              snow_seed=store.info["snow_seed"])  # fmt: skip
            cut.append(np.array(again.winter))
    if not np.array_equal(cut[0], store.winter[rows]):
        raise runs.InputError(store.folder, "other pixels than these frames give", run.stage(DATA))
    return *cut, table["label"].to_numpy(), table["sequence"].to_numpy()


def called(run: Run) -> Called:
    """Ask every classifier of a run about both cuts; InputError if there is none."""
    *cuts, labels, sequences = cut_twice(run)
    path = choose_path(compiler="off")
    found: Called = {}
    for arm in ARMS:
        file = run.folder / weights_file(arm)
        if file.exists():
            model = load_classifier(file)[0]
            found[arm] = {which: answers(labels, answer(model, images, path), sequences)
                          for which, images in zip(SNOWS, cuts, strict=True)}  # fmt: skip
    if not found:
        raise runs.InputError(run.folder, "no classifier", run.command())
    return found


def _share(asked: Answers, label: int | None = None) -> float | None:
    """Share called car, of all or of a class; None of no object."""
    of = np.ones(len(asked.labels), bool) if label is None else asked.labels == label
    return float((asked.predictions[of] == CAR).mean()) if of.any() else None


def _mean(found: list[Answers]) -> dict[str, float | None]:
    """Share called car with its interval: within the only run, else over seeds."""
    if len(found) == 1:
        (one,) = found
        mean, low, high, *_ = share(one.predictions == CAR, one.labels != CAR, one.sequences)
    else:
        mean, _, low, high = over_seeds([_share(one) for one in found])
    return {"value": mean, "low": known(low), "high": known(high)}


def _over_control(found: list[Answers], control: list[Answers]) -> dict[str, float | None]:
    """What an arm calls car beyond the control, paired by object or, of several runs, by seed."""
    compared = [mcnemar(usual, one, car_or_not=True) for usual, one in zip(control, found, strict=True)]
    gains = [one["difference"] for one in compared]
    interval = compared[0] if len(compared) == 1 else paired_test(gains)
    return {"value": float(np.mean(gains)), "low": interval["low"], "high": interval["high"]}


def _by_class(found: list[Answers]) -> dict[str, float]:
    """Class -> share called car, the mean of the runs that have it."""
    told = {}
    for label, name in enumerate(CLASSES):
        values = [value for one in found if (value := _share(one, label)) is not None]
        told |= {name: float(np.mean(values))} if values else {}
    return told


def measured(asked: list[Run]) -> dict:
    """Called car as measured and with a car's snow, of all and of each class, ready for JSON.

    Of the arms that every run has. Raises InputError for runs of several profiles or splits, one twice,
    a variant, and what `called` and `cut_twice` raise.
    """
    first, *others = asked
    for run in others:
        if (run.profile, run.split) != (first.profile, first.split):
            raise runs.InputError(run.folder, f"a run of {run.profile}, by {run.split}",
                                  f"runs of {first.profile}, by {first.split}")  # fmt: skip
    for run in asked:
        if run.numbers:
            raise runs.InputError(run.folder, "a variant", "runs with their profile's numbers")
        if [other.folder for other in asked].count(run.folder) > 1:
            raise runs.InputError(run.folder, "twice", "every run once")
    found = [called(run) for run in runs.progress(asked, desc="runs")]
    common = [arm for arm in ARMS if all(arm in one for one in found)]
    arms: dict[str, dict] = {arm: {} for arm in common}
    for arm in common:
        for which in SNOWS:
            told = [one[arm][which] for one in found]
            arms[arm][which] = _mean(told) | {"by_class": _by_class(told)}
            if arm != CONTROL and CONTROL in common:
                control = [one[CONTROL][which] for one in found]
                arms[arm][which]["over_control"] = _over_control(told, control)
    objects = [len(next(iter(one.values()))[SNOWS[0]].labels) for one in found]
    return {"profile": first.profile, "runs": [str(run.name) for run in asked], "winter": SIMULATED,
            "objects": objects, "hold": dict(zip(CLASSES, HOLD, strict=True)),
            "path_line": choose_path(compiler="off").describe(), "arms": arms}  # fmt: skip


def text(found: dict) -> str:
    """What `measured` found, a line an arm."""
    objects = " + ".join(f"{count:,}" for count in found["objects"])
    lines = [f"{objects} winter non-cars, called car, %: as measured -> with as much snow as a car"]
    for arm, entry in found["arms"].items():
        told = " -> ".join(f"{100 * entry[which]['value']:.1f}" for which in SNOWS)
        over = [entry[which]["over_control"] for which in SNOWS if "over_control" in entry[which]]
        if over:
            told += "; over the control, points: " + " -> ".join(f"{100 * one['value']:+.1f}" for one in over)
        lines.append(f"  {ARMS[arm].label}: {told}")
    return "\n".join(lines)


@runs.command_line
def main(arguments: list[str] | None = None) -> None:
    """Command line; 2 and one line where something that the runs need is missing."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.equal_snow", description=__doc__.splitlines()[0]
    )
    parser.add_argument("runs", type=Path, nargs="+", help="such as runs/embedded/seed0")
    asked = [Run.at(folder, "equal_snow") for folder in parser.parse_args(arguments).runs]
    found = measured(asked)
    runs.write_json(FOLDER / f"equal_snow_{found['profile']}.json", found)
    print(text(found))


if __name__ == "__main__":
    raise SystemExit(main())
