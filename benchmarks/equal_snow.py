"""Is there the class in the snow? `python -m benchmarks.equal_snow RUN`

Drawn snow holds less on persons and motorcycles than on cars, by class (`lib.snow.HOLD`), as it does
outdoors: who walks carries little. So "white on top means car" is partly true in simulated winter, and a
classifier that learns it calls fewer of the others car than it would of others as white as the cars. Here the
held-out winter non-cars of RUN are cut a second time, with the same random numbers but as much snow as a car
would carry, and every classifier of the run is asked about both. RUN is a run's folder, such as
runs/embedded/seed0, with simulated winter and notebooks 01 to 05 run. Numbers go to
figures/benchmarks/equal_snow_PROFILE_RUN.json.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from lib import data, runs, settings
from lib.acceleration import choose_path
from lib.arms import ARMS, weights_file
from lib.crops import cut_boxes
from lib.division import Division
from lib.evaluation import SIMULATED
from lib.intervals import share
from lib.settings import DATA, Run
from lib.snow import HOLD, snow
from lib.training import answer
from lib.visdrone import CAR, CLASSES
from lib.weights import load_classifier

FOLDER = settings.ROOT / "figures" / "benchmarks"


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


def measured(run: Run) -> dict:
    """Called car as measured and with a car's snow, of all and of each class, ready for JSON."""
    own, as_car, labels, sequences = cut_twice(run)
    path = choose_path(compiler="off")
    arms, classes = {}, sorted(set(labels))
    for arm in ARMS:
        file = run.folder / weights_file(arm)
        if not file.exists():
            continue
        model = load_classifier(file)[0]
        called = {"measured": answer(model, own, path).argmax(1) == CAR,
                  "as_on_cars": answer(model, as_car, path).argmax(1) == CAR}  # fmt: skip
        arms[arm] = {name: share(found, labels != CAR, sequences)._asdict() | {
            "by_class": {CLASSES[k]: share(found, labels == k, sequences)._asdict() for k in classes}
        } for name, found in called.items()}  # fmt: skip
    if not arms:
        raise runs.InputError(run.folder, "no classifier", run.command())
    hold = {CLASSES[k]: HOLD[k] for k in classes}
    return {"run": f"{run.profile}/{run.name}", "winter": SIMULATED, "objects": len(labels), "hold": hold,
            "path_line": path.describe(), "arms": arms}  # fmt: skip


@runs.command_line
def main(arguments: list[str] | None = None) -> None:
    """Command line; 2 and one line where something that the run needs is missing."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.equal_snow", description=__doc__.splitlines()[0]
    )
    parser.add_argument("run", type=Path, help="such as runs/embedded/seed0")
    run = Run.at(parser.parse_args(arguments).run, "equal_snow")
    found = measured(run)
    runs.write_json(FOLDER / f"equal_snow_{run.profile}_{run.name}.json", found)
    print(f"{found['objects']} winter non-cars, called car, %: as measured -> with as much snow as a car")
    for arm, entry in found["arms"].items():
        told = " -> ".join(f"{100 * entry[name]['value']:.1f}" for name in ("measured", "as_on_cars"))
        print(f"  {ARMS[arm].label}: {told}")


if __name__ == "__main__":
    raise SystemExit(main())
