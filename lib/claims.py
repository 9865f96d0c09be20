"""The tables of claims, written from the committed numbers: `python -m lib.claims`.

README.md: what must agree to the unit (claim, command, time, the paper's number and ours), and Table 2 in
short. figures/README.md: every claim, then Table 2 of each profile of TABLES by split, with what it is from,
how to get it and how long that took. No result is typed by hand, so none can disagree with `figures/`; some
times are.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from lib import run_plan, runs, settings
from lib.arm_claims import arm_tables
from lib.arms import ARMS, label_of
from lib.benchmark_claims import GRID, PYTHON, measured_rows
from lib.division import N_WINTER
from lib.evaluation import NONCARS
from lib.loop_claims import loop_tables
from lib.measurements import winter_of
from lib.models import build_classifier, build_vae, count_parameters
from lib.report import machine_text
from lib.runs import InputError
from lib.table2 import (
    PAPER_N_SYNTHETIC,
    arms_of,
    markdown_table,
    paper_arms,
    paper_numbers,
    seeds_text,
    table2_lines,
    table2_settings,
)
from lib.visdrone import PAPER_MEDIAN_WIDTH, PAPER_TABLE1, SETS

START, END = "<!-- claims -->", "<!-- /claims -->"
TABLES = (GRID, "visdrone-val", "embedded-grid", "embedded", "paper")  # profiles whose tables are shown
SHOWN = (  # of more arms
    "none", "continued", "winter", "oversampled", "vae_decoder", "vae_transfer", "vae_recoloured",
)  # fmt: skip
HEADLINE = (GRID, "embedded-grid", "embedded")  # profiles that stand beside the paper in the README
SHORTLY = (  # of Table 2 for the README: title, metric, protocol, arms
    ("Winter cars known, tested on those that the generator learnt from (as in the paper)",
     "winter_car_recall", "paper", SHOWN),
    ("Winter cars known, from recordings new to the generator", "winter_car_recall", "heldout", SHOWN),
    ("Snow-covered other objects called car", NONCARS, None, SHOWN),
    ("Summer cars known", "car_recall", None, SHOWN),
    ("Overall accuracy, six classes, summer", "accuracy", None, ("none", "vae_transfer")),
)  # fmt: skip
HEAD = ["claim", "command", "time, 2 cores", "paper", "ours"]


def exact_rows(figures: Path) -> list[list[str]]:
    """What must agree to the unit: Table 1 from the annotation files, the parameter counts."""
    rows = []
    file = figures / "annotations" / "table1.json"
    if file.exists():
        table = runs.read_json(file)
        ours = " / ".join(f"{table[part]:,}" for part in PAPER_TABLE1) + f"; {table['median_width']:g} px"
        paper = " / ".join(f"{n:,}" for n in PAPER_TABLE1.values()) + f"; {PAPER_MEDIAN_WIDTH} px"
        command, time = f"`{PYTHON} -m lib.visdrone data/visdrone`", "seconds, after `make data`"
        rows.append(["Table 1: train / valid / test; median width", command, time, paper, ours])
    for name, model, paper in (
        ("classifier", build_classifier(), "801,980 / 797,980 / 12"),
        ("autoencoder", build_vae(), "2,243,960 / 2,235,960 / 24"),
    ):
        count = count_parameters(model)
        ours = f"{count.total:,} / {count.trainable:,} / {count.convolutions}"
        command = f"`{PYTHON} -m lib.models`"
        rows.append([f"{name}: parameters / trainable / convolutions", command, "seconds", paper, ours])
    return rows


def _paper(metric: str, protocol: str | None) -> str:
    """The paper's numbers, before and after, in one cell."""
    known = [number for number in paper_numbers(metric, protocol) if number != "–"]
    return " → ".join(known) or "–"


def _planned(profile: str) -> list[str]:
    """The runs that a profile asks for now; none of one that is gone."""
    return run_plan.plan(profile) if profile in settings.profile_names() else []


class Published(NamedTuple):
    """What a committed profile is, to stand above or beside its numbers."""

    profile: str
    summary: pd.DataFrame  # of table2_summary.json
    frames: str
    command: str
    time: str
    machine: str
    runs: list[str]  # that were collected


def read_published(folder: Path) -> Published:
    """Read what `make publish` wrote of a profile."""
    summary = pd.DataFrame(runs.read_json(folder / "table2_summary.json"))
    about, origin, times = (
        runs.read_json(folder / f"{name}.json") for name in ("evaluation", "provenance", "timing")
    )
    seconds = times["on_the_clock"] or times["total"]  # the sum of the notebooks, where they were run by hand
    command = settings.make_command("reproduce", folder.name)
    where = machine_text(origin["machine"])
    return Published(
        folder.name, summary, about["frames_text"], command, f"{seconds / 60:.0f} min", where, about["runs"]
    )


def headline(figures: Path) -> str:
    """The README's tables: what must agree to the unit, then Table 2 in short, the paper's beside ours.

    A row an arm; a column a profile of HEADLINE that is there.
    """
    exact = markdown_table([HEAD, *exact_rows(figures)])
    profiles = [read_published(figures / name) for name in _published(figures, HEADLINE)]
    if not profiles:
        return exact
    places = [table2_settings(one.summary)[0] for one in profiles]  # by object, where that was run
    winters = [winter_of(one.summary, "winter_car_recall") for one in profiles]
    head = ["%, [95 % interval]", "paper", *(f"`{one.profile}`" for one in profiles)]
    numbers = (f"{n_winter:,}, {n_synthetic:,}" for _, n_winter, n_synthetic in places)
    rows = [
        ["frames", f"VisDrone-DET, {sum(SETS.values()):,} frames", *(one.frames for one in profiles)],
        ["winter; split by", "photographed; object",
         *(f"{winter}; {place[0]}" for winter, place in zip(winters, places, strict=True))],
        ["winter cars, new cars", f"{N_WINTER:,}, {PAPER_N_SYNTHETIC:,}", *numbers],
        ["new cars that *after* sees", "–", *(_seen(figures, one.profile) for one in profiles)],
        ["seeds", "one", *map(seeds_text, (one.summary for one in profiles), places)],
    ]
    for title, metric, protocol, arms in SHORTLY:
        rows.append([f"**{title}**", *[""] * (len(head) - 1)])
        cells = [_cells(one.summary, place, metric, protocol, arms)
                 for one, place in zip(profiles, places, strict=True)]  # fmt: skip
        paper = dict(zip(paper_arms(SHOWN), paper_numbers(metric, protocol), strict=True))
        for arm, *ours in zip(arms, *cells, strict=True):
            rows.append([label_of(arm), paper.get(arm, "–"), *ours])
    rows.append(
        ["command, time", "–", *(f"`{one.command}`, {one.time} on {one.machine}" for one in profiles)]
    )
    return f"{exact}\n\n{markdown_table([head, *rows])}"


def _seen(figures: Path, profile: str) -> str:
    """How many different new cars a retraining sees, where that was counted."""
    file = figures / "benchmarks" / f"seen_{profile}.json"
    arms = runs.read_json(file)["arms"] if file.exists() else {}
    return f"{arms['vae_transfer']['seen']['cars']:,.0f}" if "vae_transfer" in arms else "–"


def _published(figures: Path, profiles: Sequence[str]) -> list[str]:
    """Those of the profiles that have a committed Table 2."""
    return [name for name in profiles if (figures / name / "table2_summary.json").exists()]


def _cells(
    summary: pd.DataFrame,
    setting: tuple[str, int, int],
    metric: str,
    protocol: str | None,
    arms: Sequence[str],
) -> list[str]:
    """One line of Table 2, an arm a cell; dashes where it was not measured."""
    lines = table2_lines(summary, setting, arms)
    return next((cells for _, *which, cells in lines if which == [metric, protocol]), ["–"] * len(arms))


def profile_tables(folder: Path) -> list[str]:
    """Table 2 of one profile, one for each split: a line on what it is, then a row for each measure."""
    profile, one = folder.name, read_published(folder)
    summary, winter = one.summary, winter_of(one.summary, "winter_car_recall")
    every, places = arms_of(summary), table2_settings(summary)
    arms = [arm for arm in every if arm in SHOWN] if len(every) > len(SHOWN) else every
    number, planned = len(one.runs), _planned(profile)
    made = "one run" if number == 1 else f"all {number} runs"
    made = f"{number} of its {len(planned)} runs" if set(planned) - set(one.runs) else made
    made += f", {each}" if (each := arm_time(folder, one.runs)) else ""
    tables = []
    for setting in places:
        seeds = seeds_text(summary, setting)
        numbers = f"{setting[1]:,} winter cars, {setting[2]:,} new ones"
        title = (f"**Profile `{profile}`, split by {setting[0]}: {one.frames}; {winter}, {numbers}; percent, "
                 f"{seeds}; `{one.command}`, {one.time} on {one.machine} for {made}**")  # fmt: skip
        head = ["measure", "paper", *map(label_of, arms)]
        rows = [
            [line, _paper(metric, protocol), *cells]
            for line, metric, protocol, cells in table2_lines(summary, setting, arms)
        ]
        tables.append(f"{title}\n\n{markdown_table([head, *rows])}")
    if len(arms) < len(every):
        drawn = ", ".join(f"[by {split}]({profile}/table2_{split}.png)" for split, *_ in places)
        tables.append(f"All {len(every)} arms: [`table2.md`]({profile}/table2.md); as a figure: {drawn}.")
    return tables


def arm_time(folder: Path, run_names: Sequence[str]) -> str:
    """How long a retraining takes, such as "an arm 160 s"; nothing where that is not known.

    The mean over runs of notebook 05's time through the arms that it trains: a part of a retraining is none.
    """
    seconds = runs.read_json(folder / "timing.json")["seconds"].get("05_retraining", {})
    found = []
    for run in run_names:
        file = folder / "metrics" / run / "retraining.json"
        if run in seconds and file.exists():
            trained = [arm for arm in runs.read_json(file)["arms"] if not ARMS[arm].of]
            found.append(seconds[run] / len(trained))
    if not found:
        return ""
    mean = sum(found) / len(found)
    return f"an arm {mean:.{0 if mean >= 10 else 1}f} s"


def arms_table() -> str:
    """Every arm: what tables and figures call it, what code and files do, what it is retrained with."""
    head = ["in tables", "in code", "retrained with, beside the summer's training part"]
    return markdown_table([head, *([arm.label, f"`{name}`", arm.about] for name, arm in ARMS.items())])


def table(figures: Path) -> str:
    """Every table as Markdown, for the page in `figures`: arms first, single claims last."""
    profiles = [table for name in _published(figures, TABLES) for table in profile_tables(figures / name)]
    tables = [arms_table(), *arm_tables(figures), *profiles, *loop_tables(figures)]
    return "\n\n".join([*tables, markdown_table([HEAD, *exact_rows(figures), *measured_rows(figures)])])


def write(root: Path | None = None) -> None:
    """Put the tables between the two marks in README.md and figures/README.md of a checkout.

    InputError if the marks are not there; then neither file changes.
    """
    root = root or settings.ROOT
    pages = {root / "README.md": headline, root / "figures" / "README.md": table}
    written = {}
    for page, tables in pages.items():
        text = page.read_text(encoding="utf-8") if page.exists() else ""
        head, start, rest = text.partition(START)
        _, end, tail = rest.partition(END)
        if not (start and end) or text.count(START) != 1 or text.count(END) != 1:
            raise InputError(page, "no place for the claims", f"{START} and {END} after it, once each")
        written[page] = f"{head}{START}\n{tables(root / 'figures')}\n{END}{tail}"
    for page, text in written.items():
        runs.write_text(page, text)


@runs.command_line
def main(arguments: list[str] | None = None) -> None:
    """Command line; it takes nothing, so whoever asks for help changes no page."""
    argparse.ArgumentParser(prog="python -m lib.claims", description=__doc__).parse_args(arguments)
    write()


if __name__ == "__main__":
    sys.exit(main())
