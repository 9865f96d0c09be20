"""Table 2 as a person reads it: its lines, its cells in percent, beside the paper's numbers, as Markdown.

What is measured stands in `lib.evaluation`, what is compared in `lib.gains` and `lib.comparison`; here
nothing is computed but percent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from lib.arms import ARMS, ARMS_WITHOUT_SAMPLES, BEFORE, CONTROL, label_of
from lib.evaluation import EQUAL_SHARE, NONCARS, noncars_winter
from lib.runs import InputError

PAPER_TABLE2 = {  # percent, (before, after); section 5 and Table 2; None: the paper gives no number
    ("car_recall", None): (96.1, 96.1),
    ("winter_car_recall", "paper"): (71.2, 92.4),
    ("accuracy", None): (92.2, None),
}
PAPER_N_SYNTHETIC = 10_000  # section 5: cars that the paper's generator made
LINES = (  # of Table 2: metric, protocol (None: both have the same), title
    ("car_recall", None, "Summer cars: recall"),
    ("winter_car_recall", "heldout", "Winter cars ({winter}): recall, held out"),
    (EQUAL_SHARE, "heldout", "Winter cars ({winter}): recall at the control's share of false cars, held out"),
    ("winter_car_recall", "paper", "Winter cars ({winter}): recall, protocol paper (leaky)"),
    ("car_precision", None, "Summer cars: precision"),
    ("noncar_called_car", None, "Non-cars called car, summer"),
    (NONCARS, None, "Non-cars called car, winter ({winter})"),
    ("accuracy", None, "Overall accuracy, six classes"),
)
SHORT = {  # what moved, as the head of a column of differences
    "winter_car_recall": "winter cars", EQUAL_SHARE: "at equal share", NONCARS: "winter non-cars",
    "noncar_called_car": "summer non-cars", "car_recall": "summer cars",
}  # fmt: skip


def points(value: float | None) -> str:
    """A difference of shares in percent points with its sign; a dash where there is none."""
    return "–" if value is None or pd.isna(value) else f"{100 * value:+.1f}"


def titles(about: Mapping) -> dict[str, str]:
    """What each metric of LINES that needs no other arm is called in a run (held out); `about` is its
    metrics/data.json.
    """
    return {metric: title.format(winter=noncars_winter(about) if metric == NONCARS else about["winter"])
            for metric, protocol, title in LINES if protocol != "paper" and metric != EQUAL_SHARE}


def arms_of(summary: pd.DataFrame) -> list[str]:
    """Arms of a summary in the order of Table 2, then others by name."""
    found = set(summary["arm"])
    return [arm for arm in ARMS if arm in found] + sorted(found - ARMS.keys())


def table2_settings(summary: pd.DataFrame) -> list[tuple[str, int, int]]:
    """(split, n_winter, n_synthetic) of the Table 2 of each split: where most arms were measured, then by
    most seeds, then the larger numbers. What other numbers give is a curve (`arm_figures.curves`).
    """
    with_samples = summary[~summary["arm"].isin(ARMS_WITHOUT_SAMPLES)]
    chosen = with_samples if len(with_samples) else summary
    numbers = ["split", "n_winter", "n_synthetic"]
    counts = chosen.groupby(numbers).agg(arms=("arm", "nunique"), seeds=("n_seeds", "max")).reset_index()
    order = ["split", "arms", "seeds", "n_winter", "n_synthetic"]
    counts = counts.sort_values(order, ascending=[True, False, False, False, False])
    first = counts.drop_duplicates("split")
    return [(row.split, int(row.n_winter), int(row.n_synthetic)) for row in first.itertuples()]


def main_part(rows: pd.DataFrame, settings: Sequence[tuple[str, int, int]]) -> pd.DataFrame:
    """The rows of a summary or another table that are of these settings (`table2_settings`)."""
    parts = []
    for split, n_winter, n_synthetic in settings:
        right = (rows["n_winter"] == n_winter) & rows["n_synthetic"].isin([0, n_synthetic])
        alone = rows["arm"].isin([BEFORE, CONTROL])  # winter crops do not concern them
        parts.append(rows[(rows["split"] == split) & (right | alone)])
    return pd.concat(parts, ignore_index=True)


def varied(
    table: pd.DataFrame, number: str, settings: Sequence[tuple[str, int, int]]
) -> dict[str, pd.DataFrame]:
    """Split -> the measurements where n_winter or n_synthetic varies and the other is that of Table 2.

    Only splits with more than one value, arms that were measured at more than one, and the seeds that all
    values have: else the seeds and not the number would make a difference.
    """
    found = {}
    for split, n_winter, n_synthetic in settings:
        other = "n_synthetic" if number == "n_winter" else "n_winter"
        fixed = [0, n_synthetic] if number == "n_winter" else [n_winter]
        baseline = table["arm"].isin([BEFORE, CONTROL])
        part = table[(table["split"] == split) & (table[other].isin(fixed) | baseline)]
        counts = part.groupby("arm")[number].nunique()
        arms = set(counts[counts > 1].index)
        if arms:
            moving = part[part["arm"].isin(arms)]
            seeds = set.intersection(*(set(rows["seed"]) for _, rows in moving.groupby(["arm", number])))
            found[split] = part[part["arm"].isin(arms | {BEFORE, CONTROL}) & part["seed"].isin(seeds)]
    return {split: part for split, part in found.items() if len(part)}


def _cell(rows: pd.DataFrame, arm: str, n_winter: int, n_synthetic: int, seeds: int) -> str:
    """'71.2 [68.0, 74.3]' in percent, or a dash; a baseline's only row may have another n_winter.

    Of fewer than `seeds` seeds, the cell says so.
    """
    rows = rows[rows["arm"] == arm]
    without = arm in ARMS_WITHOUT_SAMPLES
    chosen = rows[(rows["n_winter"] == n_winter) & (without | (rows["n_synthetic"] == n_synthetic))]
    if arm in (BEFORE, CONTROL) and not len(chosen) and len(rows) == 1:
        chosen = rows
    if len(chosen) != 1:
        return "–"
    row = chosen.iloc[0]
    own = int(row["n_seeds"])
    few = "" if own >= seeds else f" ({counted(own)})"
    return f"{100 * row['mean']:.1f} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]{few}"


def table2_lines(summary: pd.DataFrame, setting: tuple[str, int, int],
                 arms: Sequence[str]) -> list[tuple[str, str, str | None, list[str]]]:
    """Table 2 of one setting: (title, metric, protocol, one cell an arm) by LINES, a line for each winter."""
    split, *numbers = setting
    at_split, seeds = summary[summary["split"] == split], _seeds(summary, setting)
    lines = []
    for metric, protocol, title in LINES:
        # what is the same in both protocols: take either
        at = protocol or ("heldout" if "heldout" in set(at_split["protocol"]) else "paper")
        rows = at_split[(at_split["metric"] == metric) & (at_split["protocol"] == at)]
        if metric == EQUAL_SHARE and not len(rows):  # of numbers that older code wrote
            continue
        for winter in sorted(set(rows["winter"])) or ["not measured"]:
            cells = [_cell(rows[rows["winter"] == winter], arm, *numbers, seeds) for arm in arms]
            lines.append((title.format(winter=winter), metric, protocol, cells))
    return lines


def _seeds(summary: pd.DataFrame, setting: tuple[str, int, int]) -> int:
    """The most seeds of a cell of a Table 2."""
    return int(main_part(summary, [setting])["n_seeds"].max())


def seeds_text(summary: pd.DataFrame, setting: tuple[str, int, int]) -> str:
    """What the intervals of a Table 2 are."""
    seeds = _seeds(summary, setting)
    if seeds > 1:
        return f"means of {counted(seeds)}, 95 % intervals over seeds"
    return "one seed, 95 % intervals within it"


def paper_arms(arms: Sequence[str]) -> tuple[str, str]:
    """Which arms the paper's numbers before and after are of: its new cars, or ours where those are not."""
    return BEFORE, "vae_decoder" if "vae_decoder" in arms else "vae_transfer"


def paper_numbers(metric: str, protocol: str | None, paper: Mapping = PAPER_TABLE2) -> list[str]:
    """The paper's numbers before and after, in percent; a dash where it gives none."""
    return [f"{x:.1f}" if x is not None else "–" for x in paper.get((metric, protocol), (None, None))]


def counted(seeds: int) -> str:
    """A number of seeds in words."""
    return f"{seeds} seed{'s' if seeds > 1 else ''}"


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Markdown from rows of cells, the first of them the head."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (rows[0], ["---"] * len(rows[0]), *rows[1:]))


def titled(title: str, command: str, time: str, rows: Sequence[Sequence[str]]) -> str:
    """`markdown_table` below a title, the command that gives its numbers and how long that takes."""
    return f"**{title}; `{command}`, {time}**\n\n{markdown_table(rows)}"


def table2_markdown(summary: pd.DataFrame, arms: Sequence[str] | None = None, frames: str = "",
                    paper: Mapping = PAPER_TABLE2) -> str:
    """Table 2 beside the paper's, as Markdown, in percent: one for each split, arms as columns.

    `arms`: all of the summary unless given; `frames`: what the data are, such as "VisDrone-DET,
    val 456 of 548 frames". Raises InputError for an arm without rows.
    """
    known = arms_of(summary)
    arms = known if arms is None else list(arms)
    if missing := [arm for arm in arms if arm not in known]:
        raise InputError("table 2", f"no rows of arm {', '.join(missing)}", f"some of {', '.join(known)}")
    ours = [f"{ARMS[arm].label} ({arm})" if arm in ARMS else arm for arm in arms]
    head = ["", "paper before", "paper after", *ours]
    parts = []
    for setting in table2_settings(summary[summary["arm"].isin(arms)]):
        split, n_winter, n_synthetic = setting
        data = f"{frames}; " if frames else ""
        parts.append(f"Split by {split}; {data}{n_winter} winter cars, {n_synthetic} synthetic; percent; "
                     f"{seeds_text(summary, setting)}.\n")  # fmt: skip
        rows = [[title, *paper_numbers(metric, protocol, paper), *cells]
                for title, metric, protocol, cells in table2_lines(summary, setting, arms)]  # fmt: skip
        parts += [markdown_table([head, *rows]), ""]
    return "\n".join(parts)


def verdict_table(verdicts: Sequence[Mapping]) -> pd.DataFrame:
    """Entries of `gains.verdict` as words, a row each: differences in percent points."""
    rows = []
    for entry in verdicts:
        row = {key: label_of(entry[key]) for key in ("split", "arm", "protocol", "against")}
        row[SHORT["winter_car_recall"]] = points(entry["gain"])
        gap = entry["closed_gap"]
        row["of the way to 100 %"] = "–" if gap is None else f"{100 * gap:.0f} %"
        guards = entry["guards"]
        row |= {word: points(guards[metric]["moved"]) for metric, word in SHORT.items() if metric in guards}
        better = {True: "yes", False: "no", None: "–"}[entry["better"]]
        better += " (gain may be none)" if entry["better"] and entry.get("clear") is False else ""
        rows.append(row | {"better": better})
    return pd.DataFrame(rows)


def paired_table(paired: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Rows of `comparison.against` as words: a row an arm and what it is compared with, a column a metric.

    A cell: percent points with the interval over seeds and, below, p adjusted by Holm; of one seed the
    difference alone. Of
    objects from two winters, as a user's own pictures and drawn snow, it is the larger difference.
    """
    names = [SHORT[metric] for metric in metrics]
    rows: dict[tuple, dict] = {}
    largest: dict[tuple, float] = {}
    for item in paired[paired["metric"].isin(metrics)].to_dict("records"):
        key = {name: label_of(item[name]) for name in ("split", "arm", "against")}
        row = rows.setdefault(tuple(key.values()), key | {"pairs": 0} | dict.fromkeys(names, "–"))
        slot = (*key.values(), item["metric"])
        if item["gain"] < largest.get(slot, item["gain"]):
            continue
        largest[slot], cell = item["gain"], points(item["gain"])
        if not pd.isna(item["low"]):
            cell += f" [{points(item['low'])}, {points(item['high'])}]"
            cell += "" if pd.isna(item["p_holm"]) else f"\np {item['p_holm']:.2g}"
        row |= {SHORT[item["metric"]]: cell, "pairs": max(row["pairs"], item["pairs"])}
    return pd.DataFrame(rows.values(), columns=["split", "arm", "against", "pairs", *names])
