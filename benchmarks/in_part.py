"""How much of a retraining is worth keeping? `python -m benchmarks.in_part RUN`

The arms of RUN's notebook 05 that are taken in part (`lib.arms`; `arms` in a parameter file) beside the
whole ones, the control and the classifier before, on the test part with intervals over recordings. How
much was kept, notebook 05 chose on the validation part. RUN is a run's folder, such as runs/visdrone-
val/seed0, with notebooks 01 to 05 run. Numbers and a figure go to figures/benchmarks/in_part.json and
.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.figure import Figure

from benchmarks import FOLDER
from lib import figures, runs
from lib.arms import ARMS, BEFORE, CONTROL
from lib.evaluation import NONCARS
from lib.settings import Run
from lib.testsets import measures, read_answers

TARGET = FOLDER / "in_part.json"
SHOWN = ("winter_car_recall", NONCARS, "car_recall", "noncar_called_car", "accuracy")
PANELS = {NONCARS: "winter non-cars called car, %", "car_recall": "summer cars known, %"}


def measured(run: Run, arm: str) -> dict[str, dict[str, float]]:
    """Each measure of an arm on the test part, held out: value, low and high."""
    file = run.need(f"answers/{arm}.npz", without=arm in (BEFORE, CONTROL))  # a variant has none of its own
    found = measures(read_answers(file))
    keys = ("value", "low", "high")
    return {name: {key: float(getattr(found[name], key)) for key in keys} for name in SHOWN}


def compared(run: Run) -> dict:
    """Every arm of a run that is taken in part; InputError where it has none."""
    file = run.need("metrics/retraining.json")
    retrained = runs.read_json(file)
    if not retrained["kept"]:
        expected = ", ".join(name for name, arm in ARMS.items() if arm.of)
        raise runs.InputError(file, "no arm in part", f"one of {expected} among the arms")
    wholes = {ARMS[arm].of: kept for arm, kept in retrained["kept"].items()}
    return {
        "run": f"{run.profile}/{run.name}", "winter": runs.read_json(run.need("metrics/data.json"))["winter"],
        "path_line": retrained["path_line"], "n_winter": retrained["n_winter"],
        "n_synthetic": retrained["n_synthetic"], "before": measured(run, BEFORE),
        "control": measured(run, CONTROL),
        "arms": {arm: kept | {"whole": measured(run, arm), "part": measured(run, f"{arm}_part")}
                 for arm, kept in wholes.items()},
    }  # fmt: skip


def way_figure(found: dict) -> Figure:
    """Each arm's way from the classifier before (square) to what was kept (ring) and the whole (point)."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 4.6), sharey=True)
    for axis, (across, label) in zip(axes, PANELS.items(), strict=True):

        def place(measures: dict, across: str = across) -> tuple[float, float]:
            return tuple(100 * measures[name]["value"] for name in (across, "winter_car_recall"))

        arms = [arm for arm in ARMS if arm in found["arms"]]
        for arm, colour in zip(arms, sns.color_palette("colorblind"), strict=False):
            one = found["arms"][arm]
            name = f"{ARMS[arm].label}; ring: {one['share']:.0%} of it"
            way = [place(one["whole"]), place(one["part"]), place(found["before"])]
            axis.plot(*zip(*way, strict=True), "-", color=colour, linewidth=1)
            axis.plot(*way[0], "o", color=colour, markersize=5, label=name)
            axis.plot(*way[1], "o", color=colour, markersize=9, fillstyle="none")
        axis.plot(*place(found["before"]), "s", color="black", markersize=6, label=ARMS[BEFORE].label)
        axis.plot(*place(found["control"]), "X", color="black", markersize=7, label=ARMS[CONTROL].label)
        axis.set(xlabel=label)
    axes[0].set_ylabel(f"winter cars known, %\n({found['winter']})")
    figures.names_below(figure, axes[0])
    figure.suptitle("Retrained wholly and in part, test part, one seed", fontsize=11)
    return figure


def line(arm: str, one: dict) -> str:
    """One arm for a person to read: whole, then in part, on the test part."""
    told = [
        f"{share:.0%} of it: " + ", ".join(f"{name} {100 * one[key][name]['value']:.1f}" for name in SHOWN)
        for key, share in (("whole", 1.0), ("part", one["share"]))
    ]
    return f"{ARMS[arm].label}: " + "; ".join(told)


@runs.command_line
def main(arguments: list[str] | None = None) -> None:
    """Command line; 2 and one line where a run is missing or has no arm in part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="such as runs/visdrone-val/seed0, with arms in part")
    options = parser.parse_args(arguments)
    run = Run.at(options.run, "in_part")
    found = compared(run)
    runs.write_json(TARGET, found)
    figures.style()
    figures.save(way_figure(found), TARGET.with_suffix(".png"))
    for arm, one in found["arms"].items():
        print(line(arm, one), flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
