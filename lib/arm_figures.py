"""Arms as figures: Table 2, and its measures against the numbers of winter crops and new cars.

Functions draw what they are given and compute nothing that is published, as in `lib.figures`.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lib.arms import ARMS, label_of
from lib.evaluation import EQUAL_SHARE, NONCARS
from lib.figures import GREY, line_look, names_below
from lib.measurements import winter_of
from lib.table2 import paper_arms

FAR, FEW_ARMS = "vae_only", 6  # of many arms one may be so far from the others that these would be one point
LEVEL = {"none": ":", "continued": "--"}  # arms that no number of winter crops or new cars concerns
COLUMNS = 3  # of the names below
PARTS = {"-": "-.", "--": ":"}  # line of a whole arm -> of the same arm in part, in the same colour
NUMBERS = {"n_winter": "winter crops", "n_synthetic": "new cars"}


def table2(
    summary: pd.DataFrame, paper: dict, arms: list[str], split: str, frames: str, table: pd.DataFrame
) -> Figure:
    """Table 2 as points with intervals, an arm a line: recalls of cars above, what they may have cost below.

    `summary`: of one setting (`table2.main_part`); `table`: the measurements behind it, each seed a small
    point; `frames`: what the data are, for example "VisDrone-DET, val 456 of 548 frames".
    """
    winter, noncars = (winter_of(summary, metric) for metric in ("winter_car_recall", NONCARS))
    panels = [
        ("car_recall", "heldout", "summer cars: recall"),
        ("winter_car_recall", "paper", f"{winter}: car recall,\nprotocol paper (those it learnt from)"),
        ("winter_car_recall", "heldout", f"{winter}: car recall,\nheld out"),
        (EQUAL_SHARE, "heldout", "the same at the control's\nshare of false cars"),
        ("noncar_called_car", "heldout", "summer non-cars\ncalled car"),
        (NONCARS, "heldout", f"{noncars}: non-cars\ncalled car"),
        ("car_precision", "heldout", "summer cars:\nprecision"),
        ("accuracy", "heldout", "summer accuracy,\nsix classes"),
    ]
    figure, axes = plt.subplots(2, 4, figsize=(14, 2.2 + 0.58 * len(arms)), sharey=True)
    blue, orange = sns.color_palette("colorblind", 2)
    sampled = [arm in ARMS and ARMS[arm].samples for arm in arms]
    colours = [GREY if a in LEVEL else orange if s else blue for a, s in zip(arms, sampled, strict=True)]
    for axis, (metric, protocol, title) in zip(axes.flat, panels, strict=True):
        known = paper.get((metric, protocol)) or paper.get((metric, None)) or (None, None)
        chosen = (summary["metric"] == metric) & (summary["protocol"] == protocol)
        single = (table["metric"] == metric) & (table["protocol"] == protocol) & (table["split"] == split)
        for k, arm in enumerate(arms):
            for row in summary[chosen & (summary["arm"] == arm)].itertuples():
                own = table[single & (table["arm"] == arm) & (table["n_winter"] == row.n_winter)]
                own = own[own["n_synthetic"] == row.n_synthetic]
                if len(own) > 1:
                    below = [k + 0.27] * len(own)
                    axis.plot(100 * own["value"], below, ".", color=colours[k], markersize=3)
                error = [[100 * (row.mean - row.low)], [100 * (row.high - row.mean)]]
                axis.errorbar(
                    [100 * row.mean], [k], xerr=np.maximum(error, 0), fmt="o", capsize=3, color=colours[k],
                    markersize=5,
                )  # fmt: skip
                axis.annotate(
                    f"{100 * row.mean:.1f}", (100 * row.mean, k), xytext=(0, 4), ha="center",
                    textcoords="offset points", fontsize=7,
                )  # fmt: skip
        for value, arm in zip(known, paper_arms(arms), strict=True):
            if value is not None and arm in arms:
                place = arms.index(arm)
                axis.plot([value] * 2, [place - 0.4, place + 0.4], color=GREY, linestyle="--", linewidth=1.5)
        axis.set(title=title, xlabel="%")
        _limit(axis, summary[chosen & (summary["arm"] != FAR)] if len(arms) > FEW_ARMS else summary[chosen])
        _point_at_hidden(axis, summary[chosen], arms, colours)
    axes[0, 0].set_yticks(range(len(arms)), list(map(label_of, arms)))
    axes[0, 0].set_ylim(len(arms) - 0.45, -0.65)
    words = {blue: "blue: with winter crops", orange: "orange: with a generator", GREY: "grey: with neither"}
    named = ", ".join(word for colour, word in words.items() if colour in colours)
    seeds = int(summary["n_seeds"].max())
    told = f"means of {seeds} seeds (small points), 95 % intervals over them" if seeds > 1 else (
        "one seed, 95 % intervals within it")  # fmt: skip
    figure.suptitle(
        f"Table 2, split by {split}: {frames}\n({told}; {named}; dashes: the paper)", fontsize=11
    )
    return figure


def _limit(axis: Axes, shown: pd.DataFrame) -> None:
    """Limits in percent around rows of a summary."""
    if not len(shown):
        return
    low, high = 100 * shown["low"].min(), 100 * shown["high"].max()
    for line in axis.lines:  # the paper's numbers
        if line.get_linestyle() == "--":
            low, high = min(low, line.get_xdata()[0]), max(high, line.get_xdata()[0])
    pad = 0.1 * (high - low) + 0.5
    axis.set_xlim(max(0, low - pad), min(101, high + pad))


def _point_at_hidden(axis: Axes, rows: pd.DataFrame, arms: list[str], colours: list) -> None:
    """Where a mean lies outside of a panel, an arrow at its edge with the number."""
    low, high = axis.get_xlim()
    for row in rows.itertuples():
        value = 100 * row.mean
        if row.arm in arms and not low <= value <= high:
            left, place = value < low, arms.index(row.arm)
            text = f"\u25c2 {value:.1f}" if left else f"{value:.1f} \u25b8"
            at = {"xy": (0.02 if left else 0.98, place), "xycoords": ("axes fraction", "data")}
            axis.annotate(text, **at, ha="left" if left else "right", va="center", fontsize=8,
                          color=colours[place])  # fmt: skip


def curves(
    summary: pd.DataFrame, table: pd.DataFrame, number: str, panels: dict[str, str], title: str
) -> Figure:
    """Measures of the held-out protocol against n_winter or n_synthetic, a line an arm, each seed a point.

    summary, table: rows where that number varies and all else is equal; the control and the classifier
    before, which it does not concern, are drawn as level lines, an arm in part in the colour of the whole.
    panels: metric -> what it is called.
    """
    arms = [arm for arm in ARMS if arm in set(summary["arm"])]
    size = (3.8 * len(panels), 3.2 + 0.22 * -(-len(arms) // COLUMNS))
    figure, (axes,) = plt.subplots(1, len(panels), figsize=size, squeeze=False)
    wholes = list(dict.fromkeys(ARMS[arm].of or arm for arm in arms if arm not in LEVEL))
    for axis, (metric, label) in zip(axes, panels.items(), strict=True):
        chosen = summary[(summary["metric"] == metric) & (summary["protocol"] == "heldout")]
        single = table[(table["metric"] == metric) & (table["protocol"] == "heldout")]
        for arm in arms:
            rows = chosen[chosen["arm"] == arm].sort_values(number)
            if arm in LEVEL:
                for row in rows.itertuples():
                    axis.axhline(100 * row.mean, color=GREY, linestyle=LEVEL[arm], label=ARMS[arm].label)
                continue
            own = single[single["arm"] == arm]
            look = line_look(wholes.index(ARMS[arm].of or arm))
            if ARMS[arm].of:
                look["linestyle"] = PARTS[look["linestyle"]]
            axis.plot(rows[number], 100 * rows["mean"], "o", **look, markersize=4, label=ARMS[arm].label)
            axis.plot(own[number], 100 * own["value"], ".", color=look["color"], markersize=3, alpha=0.6)
        ticks = sorted(set(chosen.loc[~chosen["arm"].isin(list(LEVEL)), number]))
        axis.set_xscale("log")
        axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks], fontsize=7)
        axis.minorticks_off()
        axis.set(xlabel=NUMBERS[number], ylabel="%", title=label)
    names_below(figure, axes[0], COLUMNS)
    figure.suptitle(title, fontsize=11)
    return figure
