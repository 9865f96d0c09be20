"""What did the arms come to over all seeds? `python -m benchmarks.arms_over_seeds PROFILE`

Every run of PROFILE (runs/<profile>/) split by object that notebook 05 has finished, variants included: the
values that it wrote on the test part (metrics/retraining.json), their means with intervals over seeds, and
differences paired by seed: against the control, against the classifier before, and of each arm with a
generator against the same arm without one (TWINS). It needs no answers, so it counts runs whose files were
left on another machine; Table 2 has what only answers tell (recall at an equal share, intervals within a
seed). Where notebook 06 has run, its validation measures choose the best arms. Numbers and a figure go to
figures/benchmarks/arms_over_seeds_PROFILE.json and .png.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from benchmarks import FOLDER
from lib import figures, runs, settings
from lib.arms import ARMS, BEFORE, CONTROL
from lib.comparison import YOUDEN, closed_distance, known, paired_test, with_most_samples
from lib.evaluation import NONCARS
from lib.gains import records
from lib.intervals import over_seeds
from lib.run_names import parse_run

RECALL, SUMMER = "winter_car_recall", "car_recall"
# By notebook 05, held out: protocol `paper` asks about other objects where there are fewer winter crops.
TOLD = (RECALL, NONCARS, SUMMER, "noncar_called_car", "accuracy")
PANELS = 3  # of the figure, side by side
NUMBERS = ("steps", "batch_size", "n_recoloured")  # must be the same in all runs
MEASURES = (*TOLD, YOUDEN)
TWINS = {  # with a generator -> the same without one
    "vae_transfer": "oversampled",
    "vae_transfer_part": "oversampled_part",
    "vae_recoloured": "oversampled_recoloured",
    "vae_recoloured_part": "oversampled_recoloured_part",
}
Cell = dict[int, dict[str, dict[str, float]]]  # seed -> arm -> measure -> value
# (n_winter, n_synthetic, arm in part) -> seed -> how much of it the validation part let stay, 0: nothing
Kept = dict[tuple[int, int, str], dict[str, float]]


def collected(profile: str) -> tuple[dict[tuple[int, int], Cell], dict, Kept]:
    """(n_winter, n_synthetic) -> the values of each seed and arm; what all runs have in common: `numbers`,
    and `paths`, the ways of computing that trainings took; and `Kept`.

    A variant is given its seed's classifier before and its control. InputError where no run is finished, for
    a run of code that did not write these values, and for runs of other NUMBERS than the first.
    """
    settings.known_profile(profile)
    folder = settings.ROOT / "runs" / profile
    found: dict[tuple[int, int], Cell] = {}
    files = {parse_run(path.parts[-3]): path for path in folder.glob("seed*/metrics/retraining.json")}
    files = {name: path for name, path in files.items() if name.split == "object"}
    if not files:
        raise runs.InputError(folder, "no run by object", f"make reproduce PROFILE={profile}")
    lines, shared, numbers, kept = [], {}, {}, {}
    for name in sorted(files, key=lambda name: (bool(name.numbers()), name.seed, str(name))):
        made = runs.read_json(files[name])
        needed = ("test", "n_winter", "n_synthetic", "path_line", "kept", *NUMBERS)
        missing = [key for key in needed if key not in made]
        missing += [m for told in made.get("test", {}).values() for m in TOLD if m not in told]
        if missing:
            raise runs.InputError(files[name], f"no {missing[0]}", f"a run of this code: {profile}/{name}")
        own = {key: made[key] for key in NUMBERS}
        if own != (numbers := numbers or own):
            raise runs.InputError(files[name], f"{own}", f"{numbers}, as in the runs before it")
        values = {arm: {m: told[m] for m in TOLD} for arm, told in made["test"].items()}
        values = {arm: told | {YOUDEN: told[RECALL] - told[NONCARS]} for arm, told in values.items()}
        if not name.numbers():
            shared[name.seed] = {arm: values[arm] for arm in (BEFORE, CONTROL)}
        elif name.seed not in shared:
            expected = f"{name._replace(n_winter=None, n_synthetic=None)}, for its control"
            raise runs.InputError(files[name], "a variant alone", expected)
        lines.append(made["path_line"])
        cell = found.setdefault((made["n_winter"], made["n_synthetic"]), {})
        cell[name.seed] = values | shared[name.seed]
        for arm, one in made["kept"].items():
            share = one["share"] if one["within_limits"] else 0.0
            kept.setdefault((made["n_winter"], made["n_synthetic"], arm), {})[str(name.seed)] = share
    return found, {"numbers": numbers, "paths": list(dict.fromkeys(lines))}, kept


def _seeds(cell: Cell, *arms: str) -> list[int]:
    return sorted(seed for seed, values in cell.items() if all(arm in values for arm in arms))


def _values(cell: Cell, arm: str, measure: str, seeds: list[int]) -> np.ndarray:
    return np.array([cell[seed][arm][measure] for seed in seeds])


def compared(cell: Cell, arm: str, other: str) -> dict[str, dict]:
    """Each measure's difference, arm minus other, paired by seed."""
    seeds = _seeds(cell, arm, other)
    return {m: paired_test(_values(cell, arm, m, seeds) - _values(cell, other, m, seeds)) for m in MEASURES}


def recalls(found: dict[tuple[int, int], Cell]) -> pd.DataFrame:
    """Recall of winter cars as rows of Table 2; the control, which all cells of a seed share, once."""
    table = pd.DataFrame([
        {"split": "object", "protocol": "heldout", "metric": RECALL, "n_winter": n_winter,
         "n_synthetic": n_synthetic, "arm": arm, "seed": seed, "value": told[RECALL]}
        for (n_winter, n_synthetic), cell in found.items()
        for seed, values in cell.items() for arm, told in values.items()
    ])  # fmt: skip
    return table[(table["arm"] != CONTROL) | ~table.duplicated(["arm", "seed"])]


def arm_entry(cell: Cell, arm: str) -> dict:
    """An arm's values by seed, their means, and what it is compared with."""
    seeds = _seeds(cell, arm)
    entry: dict = {"seeds": seeds, "values": {}, "mean": {}}
    for measure in MEASURES:
        values = _values(cell, arm, measure, seeds)
        mean, _, low, high = over_seeds(values)
        entry["values"][measure] = values.tolist()
        entry["mean"][measure] = {"mean": mean, "low": known(low), "high": known(high)}
    others = [CONTROL, BEFORE] + ([TWINS[arm]] if arm in TWINS else [])
    entry["against"] = {other: compared(cell, arm, other) for other in others
                        if other != arm and _seeds(cell, arm, other)}  # fmt: skip
    return entry


def validated(profile: str) -> dict[tuple[int, int, str], float]:
    """(n_winter, seed, arm) -> YOUDEN on the validation part, split by object, as notebook 06 wrote it.

    Empty where it has not been run. Of several numbers of samples it has Table 2's alone.
    """
    file = settings.ROOT / "runs" / profile / "summary" / "validation.csv"
    if not file.exists():
        return {}
    table = pd.read_csv(file)
    table = table[(table["split"] == "object") & table["metric"].isin([RECALL, NONCARS])]
    values = table.pivot_table(index=["n_winter", "seed", "arm"], columns="metric", values="value").dropna()
    return (values[RECALL] - values[NONCARS]).to_dict()


def best(cell: Cell, entries: Mapping[str, dict], valid: Mapping[tuple[int, str], float]) -> dict | None:
    """The best arm with a generator beside the best without, by YOUDEN, and their difference.

    Ranked over the seeds that all of them have, None of fewer than two: by `valid` ((seed, arm) -> YOUDEN on
    the validation part) where it has them all, else on the test part, which flatters both. An arm that is
    compared with nothing, as nothing of it was kept, is none.
    """
    arms = [arm for arm in entries if arm not in (BEFORE, CONTROL) and entries[arm]["against"]]
    sides = [[arm for arm in arms if ARMS[arm].samples is samples] for samples in (True, False)]
    seeds = _seeds(cell, *arms)
    if not all(sides) or len(seeds) < 2:
        return None
    validation = all((seed, arm) in valid for seed in seeds for arm in arms)
    scores = {arm: float(np.mean([valid[seed, arm] for seed in seeds]) if validation
                         else _values(cell, arm, YOUDEN, seeds).mean()) for arm in arms}  # fmt: skip
    ours, bar = (max(arms, key=scores.__getitem__) for arms in sides)
    return {"with": ours, "without": bar, "chosen_on": "validation" if validation else "test",
            "difference": compared(cell, ours, bar)}  # fmt: skip


def summary(profile: str) -> dict:
    """Everything, ready for JSON."""
    found, common, kept = collected(profile)
    cells, table, valid = [], recalls(found), validated(profile)
    closed = pd.concat([closed_distance(table, arm) for arm in ARMS if ARMS[arm].samples])
    for (n_winter, n_synthetic), cell in sorted(found.items(), reverse=True):
        arms = [arm for arm in ARMS if _seeds(cell, arm)]
        entries = {arm: arm_entry(cell, arm) for arm in arms}
        for arm in (arm for arm in arms if ARMS[arm].of):
            shares = entries[arm]["kept"] = kept.get((n_winter, n_synthetic, arm))
            if shares and not any(shares.values()):
                entries[arm]["against"] = {}  # it is the classifier before
        here = closed[(closed["n_winter"] == n_winter) & (closed["n_synthetic"] == n_synthetic)]
        told = {row.pop("arm"): row for row in records(here[["arm", "share", "low", "high", "seeds"]])}
        for arm in (arm for arm in arms if ARMS[arm].samples):
            entries[arm]["closed"] = told.get(arm)  # none without the winter crops alone
        scores = {(seed, arm): value for (number, seed, arm), value in valid.items() if number == n_winter}
        own = {"n_winter": n_winter, "n_synthetic": n_synthetic, "best": best(cell, entries, scores)}
        cells.append(own | {"arms": entries})
    about = {"profile": profile, "split": "object", "part": "test, held out"} | common
    return about | {"twins": TWINS, "cells": cells, "autoencoders": starts(profile)}


def starts(profile: str) -> dict:
    """Held-out ELBO in nats of each start of the autoencoder, by seed, where the run has more than one.

    `difference`: transferred minus scratch, paired by seed.
    """
    told: dict[str, dict[int, float]] = {}
    for path in (settings.ROOT / "runs" / profile).glob("seed*/metrics/vae.json"):
        name = parse_run(path.parts[-3])
        measured = runs.read_json(path)["starts"]
        if name.split == "object" and not name.numbers() and len(measured) > 1:
            for start, parts in measured.items():
                told.setdefault(start, {})[name.seed] = parts["heldout"]["elbo"]
    both = sorted(told.get("transferred", {}).keys() & told.get("scratch", {}).keys())
    gains = [told["transferred"][seed] - told["scratch"][seed] for seed in both]
    found = {start: {"seeds": sorted(one), "elbo": [one[k] for k in sorted(one)]}
             for start, one in told.items()}  # fmt: skip
    return {"heldout_elbo": found, "difference": paired_test(gains) if gains else None}


def _place(entry: Mapping) -> tuple[np.ndarray, np.ndarray]:
    """Points against the control, across and up: the gain, and how far its interval goes to either side."""
    rows = [entry["against"][CONTROL][measure] for measure in (NONCARS, RECALL)]
    gain = 100 * np.array([row["gain"] for row in rows])
    reach = 100 * np.array([row["gain"] - row["low"] if row["low"] is not None else 0.0 for row in rows])
    return gain, reach


def _seed_count(cell: Mapping) -> int:
    """Of how many seeds a cell is."""
    return len(cell["arms"]["oversampled"]["seeds"])


def trade_figure(found: dict) -> Figure:
    """What an arm gains in winter cars and pays in winter non-cars, for each number of winter crops.

    Filled: with a generator; hollow: the same arm without one. Numbers of winter crops with fewer seeds than
    others are left out. InputError without such an arm.
    """
    cells = with_most_samples(found["cells"])
    if not cells:
        raise runs.InputError(found["profile"], "no arm 'oversampled'", "one to compare the new cars with")
    seeds = max(map(_seed_count, cells))
    # Intervals of few seeds would hide all beside them.
    cells = [cell for cell in cells if _seed_count(cell) == seeds]
    lines, columns = -(-len(cells) // PANELS), min(len(cells), PANELS)
    size = (3.2 + 3 * columns, 1.5 + 3.4 * lines)
    figure, axes = plt.subplots(lines, columns, figsize=size, sharex=True, sharey=True, squeeze=False)
    for axis in axes.flat[len(cells) :]:
        axis.remove()
    looks = [*TWINS.items(), ("winter",), ("classic",), ("vae_decoder",)]  # arms of the same shape and colour
    colours = [*sns.color_palette("colorblind", len(looks) - 1), "black"]  # the last: the paper's
    for axis, cell in zip(axes.flat, cells, strict=False):
        for alike, shape, colour in zip(looks, "osD^XvP", colours, strict=True):
            for name in alike:
                if CONTROL not in cell["arms"].get(name, {}).get("against", {}):
                    continue
                (x, y), (across, up) = _place(cell["arms"][name])
                fill = "full" if ARMS[name].samples else "none"
                axis.errorbar(x, y, yerr=up, xerr=across, fmt=shape, color=colour, fillstyle=fill,
                              markersize=7, elinewidth=0.8, label=ARMS[name].label)  # fmt: skip
        axis.axhline(0, color="grey", linewidth=0.8)
        axis.axvline(0, color="grey", linewidth=0.8)
        axis.set(title=f"{cell['n_winter']} winter crops, {seeds} seeds")
    for axis in axes[-1]:
        axis.set_xlabel("winter non-cars called car,\npoints against the control")
    for axis in axes[:, 0]:
        axis.set_ylabel("winter cars known,\npoints against the control")
    figures.names_below(figure, axes[0, 0])
    title = f"What winter pictures buy and cost ({found['profile']}, test part, held out; 95 % over seeds)"
    kinds = "filled: new cars of the autoencoder; hollow: the winter crops themselves"
    figure.suptitle(f"{title}\n{kinds}", fontsize=11)
    return figure


def line(arm: str, entry: Mapping) -> str:
    """One arm for a person to read."""
    told = ", ".join(f"{name} {100 * entry['mean'][name]['mean']:.1f}" for name in MEASURES[:3])
    return f"  {ARMS[arm].label} ({len(entry['seeds'])} seeds): {told}"


@runs.command_line
def main(arguments: list[str] | None = None) -> None:
    """Command line; 2 and one line where no run is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("profile", help="such as visdrone-val-grid, with notebook 05 run for some seeds")
    options = parser.parse_args(arguments)
    found = summary(options.profile)
    figures.style()
    drawn, target = trade_figure(found), FOLDER / f"arms_over_seeds_{options.profile}.json"
    runs.write_json(target, found)
    figures.save(drawn, target.with_suffix(".png"))
    for cell in found["cells"]:
        print(f"{cell['n_winter']} winter crops, {cell['n_synthetic']} new cars")
        for arm, entry in cell["arms"].items():
            print(line(arm, entry))


if __name__ == "__main__":
    raise SystemExit(main())
