"""How much of a retraining is worth keeping? `python -m benchmarks.in_part RUN`

Each arm that RUN's notebook 05 retrained and that can be taken in part (`lib.arms`) is measured at shares
of the way from the classifier before it, in weights (Wortsman et al. 2022, arXiv 2109.01903). The share
is chosen as notebook 05 does, on the validation part alone; the test part says what it was worth, with
intervals over recordings, beside the control and the classifier before. RUN is a run's folder, such as
runs/visdrone-val/seed0. Numbers and a figure go to figures/benchmarks/in_part.json and .png.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.figure import Figure
from torch import nn

from lib import data, evaluation, figures, runs, settings
from lib.acceleration import ComputePath, choose_path
from lib.arms import ARMS, weights_file
from lib.division import Division
from lib.evaluation import CONTROL
from lib.retraining import share_to_keep
from lib.run_names import parse_run
from lib.settings import ROOT, Run
from lib.testsets import WINTER, ImageSet, answers_of, measure, test_sets
from lib.weights import between, load_classifier

TARGET = ROOT / "figures" / "benchmarks" / "in_part.json"
SHARES = settings.values("embedded", "05_retraining")["shares"]
SHOWN = ("winter_car_recall", "winter_noncar_called_car", "car_recall", "noncar_called_car", "accuracy")


def measured(model: nn.Module, sets: dict[str, ImageSet], path: ComputePath) -> dict[str, dict]:
    """{"valid": measure -> value, "test": measure -> value, low and high}, of a classifier as it is."""
    answers = answers_of(model, sets, path)
    cars, noncars = (answers[name] for name in WINTER["test"])
    test = evaluation.summer_measures(answers["summer"]) | evaluation.winter_measures(cars, noncars)
    return {
        "valid": {name: value for name, value in measure(answers, "valid").items() if name in SHOWN},
        "test": {name: {key: float(getattr(test[name], key)) for key in ("value", "low", "high")}
                 for name in SHOWN},
    }  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Command line; 2 and one line where a run is missing or has no arm to take in part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="such as runs/visdrone-val/seed0, with notebooks 01 to 05 run")
    options = parser.parse_args(arguments)
    try:
        run = Run.named(options.run.resolve().parent.name, parse_run(options.run.name), "in_part")
        found = compared(run, choose_path())
        runs.write_json(TARGET, found)
        figures.style()
        figures.save(way_figure(found), TARGET.with_suffix(".png"))
    except (runs.InputError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    for arm, one in found["arms"].items():
        print(line(arm, one), flush=True)
    return 0


def compared(run: Run, path: ComputePath) -> dict:
    """Every arm of a run at every share; InputError where it has none."""
    about = runs.read_json(run.need("metrics/data.json"))
    retrained = runs.read_json(run.need("metrics/retraining.json"))
    store, own = data.open_stores(run, about["winter"])
    sets = test_sets(store, Division.read(run.need("division.npz")), own)
    sets = {name: images for name, images in sets.items() if name != "winter_paper"}
    chosen = [name for name in retrained["arms"] if any(arm.of == name for arm in ARMS.values())]
    if not chosen:
        raise runs.InputError(run.path("metrics/retraining.json"), "no arm that can be taken in part",
                              ", ".join(arm.of for arm in ARMS.values() if arm.of))  # fmt: skip
    model, _ = load_classifier(run.need("classifier.safetensors"))
    path.place(model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = {
        "run": f"{run.profile}/{run.name}", "winter": about["winter"], "precision": path.precision,
        "n_winter": retrained["n_winter"], "n_synthetic": retrained["n_synthetic"],
        "n": {name: len(images) for name, images in sets.items()}, "before": measured(model, sets, path),
    }  # fmt: skip
    arms = {}
    for arm in [CONTROL, *chosen]:
        after = load_classifier(run.need(weights_file(arm)))[0].state_dict()
        shares = {}
        for share in [1.0] if arm == CONTROL else SHARES:
            model.load_state_dict(between(before, after, share))
            shares[share] = measured(model, sets, path)
        arms[arm] = shares
    found["control"] = arms.pop(CONTROL)[1.0]
    found["arms"] = {
        arm: {"kept": share_to_keep({share: one["valid"] for share, one in shares.items()},
                                    found["control"]["valid"]),
              "shares": {str(share): one for share, one in shares.items()}}
        for arm, shares in arms.items()
    }  # fmt: skip
    return found


def way_figure(found: dict) -> Figure:
    """Each arm's way from the classifier before, on the test part."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), sharey=True)
    panels = {
        "winter_noncar_called_car": "winter non-cars called car, %", "car_recall": "summer cars known, %",
    }  # fmt: skip
    for axis, (across, label) in zip(axes, panels.items(), strict=True):

        def place(one: dict, across: str = across) -> tuple[float, float]:
            return tuple(100 * one["test"][name]["value"] for name in (across, "winter_car_recall"))

        for (arm, one), colour in zip(found["arms"].items(), sns.color_palette("colorblind"), strict=False):
            way = [place(found["before"]), *(place(part) for part in one["shares"].values())]
            axis.plot(*zip(*way, strict=True), "o-", color=colour, markersize=3, label=ARMS[arm].label)
            chosen = place(one["shares"][str(one["kept"])])
            axis.plot(*chosen, "o", color=colour, markersize=9, fillstyle="none")
        axis.plot(*place(found["before"]), "s", color="black", markersize=6, label=ARMS["none"].label)
        axis.plot(*place(found["control"]), "X", color="black", markersize=7, label=ARMS["continued"].label)
        axis.set(xlabel=label)
    axes[0].set_ylabel(f"winter cars known, %\n({found['winter']})")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    title = "Retraining in part, test part (circles: the share that the validation part chose)"
    figure.suptitle(title, fontsize=11)
    return figure


def line(arm: str, one: dict) -> str:
    """One arm for a person to read: whole, then in part, on the test part."""
    parts = []
    for share in (1.0, one["kept"]):
        test = one["shares"][str(share)]["test"]
        told = ", ".join(f"{name} {100 * test[name]['value']:.1f}" for name in SHOWN)
        parts.append(f"{share:.0%} of the way: {told}")
    return f"{ARMS[arm].label}: " + "; ".join(parts)


if __name__ == "__main__":
    raise SystemExit(main())
