"""The claims of the automatic loop: a row a profile, from figures/<profile>/metrics/ (`lib.claims`)."""

from __future__ import annotations

from pathlib import Path

from lib import runs
from lib.benchmark_claims import GRID
from lib.intervals import ROUNDING

LOOPS = ("embedded", "visdrone-val", GRID, "paper")  # profiles whose loops are told
GAINED = 0.05  # recall that a weak class is to gain


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
            told = [", ".join(weak), *others[:1], _loop_control(reports)]
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


def _loop_control(reports: list[dict]) -> str:
    """What the control, trained on without new images, changes of the classes that were weak: mean changes.

    Empty where a report of older code has none.
    """
    changes: dict[str, list[float]] = {}
    for report in reports:
        found = report["test"]
        if "control" not in found:
            return ""
        for name in report["weak"] if report["accepted"] is not None else ():
            before, control = (found[when]["target"][name]["recall"] for when in ("before", "control"))
            changes.setdefault(name, []).append(100 * (control - before))
    means = (f"{name} {sum(values) / len(values):+.1f}" for name, values in changes.items())
    return f"the control: {', '.join(means)}"
