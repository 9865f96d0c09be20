"""The README's tables of claims, written from the committed numbers: `python -m lib.claims`.

First what must agree to the unit: claim, command, time, the paper's number and ours. Then
Table 2 of each profile and split, with what it is from, how to get it and how long that took.
No result is typed by hand, so none can disagree with `figures/`; some times are.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from lib import run_plan, runs, settings
from lib.arms import label_of
from lib.benchmark_claims import GRID, PYTHON, measured_rows
from lib.intervals import ROUNDING
from lib.measurements import winter_of
from lib.models import build_classifier, build_vae, count_parameters
from lib.report import frames_text
from lib.runs import InputError
from lib.table2 import (
    arms_of,
    markdown_table,
    paper_numbers,
    seeds_text,
    table2_lines,
    table2_settings,
)
from lib.visdrone import PAPER_MEDIAN_WIDTH, PAPER_TABLE1

START, END = "<!-- claims -->", "<!-- /claims -->"
TABLES = ("embedded", "embedded-grid", GRID, "paper")  # profiles whose tables the README shows
LOOPS = ("embedded", "visdrone-val", GRID, "paper")  # ... and whose loops
SHOWN = ("none", "continued", "oversampled", "vae_decoder", "vae_transfer", "vae_recoloured")  # of more arms
GAINED = 0.05  # recall that a weak class is to gain


def exact_rows(figures: Path) -> list[list[str]]:
    """What must agree to the unit: Table 1 from the annotation files, the parameter counts."""
    rows = []
    file = figures / "annotations" / "table1.json"
    if file.exists():
        table = runs.read_json(file)
        ours = " / ".join(f"{table[part]:,}" for part in PAPER_TABLE1) + f"; {table['median_width']:g} px"
        paper = " / ".join(f"{n:,}" for n in PAPER_TABLE1.values()) + f"; {PAPER_MEDIAN_WIDTH} px"
        command = f"`{PYTHON} -m lib.visdrone FOLDER`"
        rows.append(["Table 1: train / valid / test; median width", command, "seconds", paper, ours])
    for name, model, paper in (
        ("classifier", build_classifier(), "801,980 / 797,980 / 12"),
        ("autoencoder", build_vae(), "2,243,960 / 2,235,960 / 24"),
    ):
        count = count_parameters(model)
        ours = f"{count.total:,} / {count.trainable:,} / {count.convolutions}"
        command = f"`{PYTHON} -m lib.models`"
        rows.append([f"{name}: parameters / trainable / convolutions", command, "seconds", paper, ours])
    return rows


def loop_rows(figures: Path) -> list[list[str]]:
    """What the automatic loop (notebook 08) did on the test parts, a row a profile."""
    rows = []
    for profile in LOOPS:
        files = sorted((figures / profile / "metrics").glob("*/weak_classes.json"))
        reports = [runs.read_json(file) for file in files]
        if not reports:
            continue
        kept = sum(report["accepted"] is not None for report in reports)
        ours = f"kept in {kept} of {len(reports)} seeds"
        if len(reports) > 1:
            gained = sum(map(_gained, reports))
            ours += f", a weak class {100 * GAINED:.0f} points better in {gained} of them"
        if kept:
            weak, others = _loop_changes(reports)
            told = [", ".join(weak), *others[:1]]
            ours += "; " + "; ".join(text for text in told if text)
        claim = (f"automatic loop, profile {profile}: change of each weak class's winter recall; then the "
                 "other class that lost most (points on the test part, objects in brackets)")  # fmt: skip
        command = f"`make improve{'' if profile == 'embedded' else f' PROFILE={profile}'}`"
        rows.append([claim, command, _loop_time(figures / profile, len(reports)), "none", ours])
    return rows


def _loop_time(folder: Path, seeds: int) -> str:
    """How long a seed of the loop took: on a GPU by its clock, else as it was on two cores."""
    times, origin = folder / "timing.json", folder / "provenance.json"
    if times.exists() and origin.exists() and (card := runs.read_json(origin)["machine"]["gpu"]):
        if seconds := runs.read_json(times).get("by_stage", {}).get("08_weak_classes"):
            return f"{seconds / seeds:.0f} s a seed on {card}"
    return "60 min a seed without bfloat16"


def _gained(report: dict) -> bool:
    """Whether a weak class of enough objects to tell gains GAINED in winter, on the test part."""
    before, after = (report["test"][when].get("target", {}) for when in ("before", "after"))
    return any(
        after[name]["recall"] - before[name]["recall"] > GAINED - ROUNDING
        for name in report["weak"]
        if name in before and before[name]["n"] >= report["rule"]["fewest"]
    )


def _loop_changes(reports: list[dict]) -> tuple[list[str], list[str]]:
    """Weak classes in winter, and all others in either season with the worst first: mean changes as text.

    A weak class's mean is over the seeds in which it was weak and something was kept; objects are of all.
    """
    changes: dict[tuple[str, str], list[float]] = {}
    objects: dict[tuple[str, str], int] = {}
    weak_in: dict[str, list[float]] = {}
    for report in reports:  # one that keeps nothing changes nothing
        before, after = report["test"]["before"], report["test"]["after"]
        for domain, classes in before.items():
            for name, row in classes.items():
                change = 100 * (after[domain][name]["recall"] - row["recall"])
                changes.setdefault((domain, name), []).append(change)
                objects[domain, name] = objects.get((domain, name), 0) + row["n"]
                if domain == "target" and name in report["weak"] and report["accepted"] is not None:
                    weak_in.setdefault(name, []).append(change)
    changes |= {("target", name): values for name, values in weak_in.items()}
    mean = {key: sum(values) / len(values) for key, values in changes.items()}
    weak = [("target", name) for name in dict.fromkeys(name for r in reports for name in r["weak"])]
    others = sorted(mean.keys() - set(weak), key=lambda key: (mean[key], key))
    season = {"source": "summer", "target": "winter"}
    return (
        [f"{name} {mean[domain, name]:+.1f} ({objects[domain, name]})" for domain, name in weak],
        [f"{name} in {season[domain]} {mean[domain, name]:+.1f} ({objects[domain, name]})"
         for domain, name in others],
    )  # fmt: skip


def _paper(metric: str, protocol: str | None) -> str:
    """The paper's numbers, before and after, in one cell."""
    known = [number for number in paper_numbers(metric, protocol) if number != "–"]
    return " → ".join(known) or "–"


def _planned(profile: str) -> list[str]:
    """The runs that a profile asks for now; none of one that is gone."""
    return run_plan.plan(profile) if profile in settings.profile_names() else []


def profile_tables(folder: Path) -> list[str]:
    """Table 2 of one profile, one for each split: a line on what it is, then a row for each measure."""
    profile = folder.name
    summary = pd.DataFrame(runs.read_json(folder / "table2_summary.json"))
    about = runs.read_json(folder / "evaluation.json")
    origin = runs.read_json(folder / "provenance.json")
    times = runs.read_json(folder / "timing.json")
    # the sum of the notebooks, where they were run by hand or by older code
    minutes = f"{(times.get('on_the_clock') or times['total']) / 60:.0f} min"
    machine = origin["machine"]["gpu"] or f"{origin['machine']['cores']} cores"
    # evaluation.json of an older run does not say it
    frames = about.get("frames_text") or frames_text(origin["data"])
    winter = winter_of(summary, "winter_car_recall")
    command = f"make reproduce{'' if profile == 'embedded' else f' PROFILE={profile}'}"
    every, places = arms_of(summary), table2_settings(summary)
    arms = [arm for arm in every if arm in SHOWN] if len(every) > len(SHOWN) else every
    planned, collected = _planned(profile), about.get("runs", [])
    less = set(planned) - set(collected)
    made = f"{len(collected)} of its {len(planned)} runs" if less and collected else "the runs in its tables"
    tables = []
    for setting in places:
        seeds = seeds_text(summary, setting)
        numbers = f"{setting[1]:,} winter cars, {setting[2]:,} new ones"
        title = (f"**Profile `{profile}`, split by {setting[0]}: {frames}; {winter}, {numbers}; percent, "
                 f"{seeds}; `{command}`, {minutes} on {machine} for {made}**")  # fmt: skip
        head = ["measure", "paper", *map(label_of, arms)]
        rows = [
            [line, _paper(metric, protocol), *cells]
            for line, metric, protocol, cells in table2_lines(summary, setting, arms)
        ]
        tables.append(f"{title}\n\n{markdown_table([head, *rows])}")
    if len(arms) < len(every):
        drawn = ", ".join(f"[by {split}](figures/{profile}/table2_{split}.png)" for split, *_ in places)
        tables.append(f"All {len(every)} arms: [`table2.md`](figures/{profile}/table2.md); as a figure: "
                      f"{drawn}.")  # fmt: skip
    return tables


def table(figures: Path) -> str:
    """All tables as Markdown."""
    head = ["claim", "command", "time, 2 cores", "paper", "ours"]
    tables = [markdown_table([head, *exact_rows(figures), *measured_rows(figures), *loop_rows(figures)])]
    for profile in TABLES:
        if (figures / profile / "table2_summary.json").exists():
            tables += profile_tables(figures / profile)
    return "\n\n".join(tables)


def write(readme: Path | None = None, figures: Path | None = None) -> None:
    """Put the tables between the two marks in the README; InputError if they are not there."""
    readme, figures = readme or settings.ROOT / "README.md", figures or settings.ROOT / "figures"
    text = readme.read_text(encoding="utf-8")
    if text.count(START) != 1 or text.count(END) != 1:
        raise InputError(readme, "no place for the claims", f"{START} and {END}, once each")
    head, rest = text.split(START)
    tail = rest.split(END)[1]
    runs.write_text(readme, f"{head}{START}\n{table(figures)}\n{END}{tail}")


if __name__ == "__main__":
    try:
        write()
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
