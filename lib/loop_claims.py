"""What the automatic loop did, a table a profile, from figures/<profile>/metrics/ (`lib.claims`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lib import runs
from lib.intervals import ROUNDING
from lib.report import machine_text
from lib.run_names import parse_run
from lib.run_plan import plan
from lib.runs import InputError
from lib.settings import make_command
from lib.table2 import counted, titled

LOOPS = ("embedded", "visdrone-val", "paper")  # profiles whose loops are told
GAINED = 0.05  # recall that a weak class is to gain
WAYS = {"after": "the loop", "control": "control", "repeated": "crops repeated"}  # of the test part
SEASON = {"source": "in summer", "target": "under snow"}


def loop_tables(figures: Path) -> list[str]:
    """What the automatic loop (notebook 08) did on the test parts, a table a profile, each with its title.

    Raises InputError where the runs of a profile were retrained by different recipes.
    """
    tables = []
    for profile in LOOPS:
        reports = {
            file.parent.name: runs.read_json(file)
            for file in sorted((figures / profile / "metrics").glob("*/weak_classes.json"))
        }
        if not reports:
            continue
        recipes = {run: report["recipe"] for run, report in reports.items()}
        first, *others = recipes
        for run in others:
            if recipes[run] != recipes[first]:
                where = figures / profile / "metrics" / run / "weak_classes.json"
                raise InputError(where, f"recipe {recipes[run]}", f"{recipes[first]}, as {first} has")
        found = list(reports.values())
        kept = sum(report["accepted"] is not None for report in found)
        told = f"something kept in {kept} of {counted(len(found))}"
        if len(found) > 1:
            gained = sum(map(_gained, found))
            told += f", a weak class {100 * GAINED:.0f} points better in {gained}"
        title = f"Automatic loop, profile `{profile}`: {told}; change of recall on the test part, points"
        command = _command(profile, list(reports))
        rows = [["class (objects)", *WAYS.values()], *_changes(found)]
        tables.append(titled(title, command, _time(figures / profile, list(reports)), rows))
    return tables


def _command(profile: str, run_names: Sequence[str]) -> str:
    """What makes these loops: seeds beyond the profile's own have to be named."""
    command = make_command("improve", profile)
    if set(run_names) <= set(plan(profile, "", "")):
        return command
    parts = [(str(name.seed), name.split) for name in map(parse_run, run_names)]
    seeds, splits = (" ".join(dict.fromkeys(part)) for part in zip(*parts, strict=True))
    return f'{command} SEEDS="{seeds}" SPLITS="{splits}"'


def _time(folder: Path, seeds: Sequence[str]) -> str:
    """How long a seed of the loop took and where, of the seeds of which that is known."""
    files = [folder / "metrics" / seed / "weak_classes_timing.json" for seed in seeds]
    told = [runs.read_json(file) for file in files if file.exists()]
    if not told:
        return "not timed"
    seconds, machines = [one["seconds"] for one in told], [one["machine"] for one in told]
    part = f" ({len(told)} of {len(seeds)} timed)" if len(told) < len(seeds) else ""
    if any(machine != machines[0] for machine in machines):
        return f"{min(seconds) / 60:.0f} to {max(seconds) / 60:.0f} min a seed on different machines{part}"
    mean = sum(seconds) / len(seconds)
    long = f"{mean / 60:.0f} min" if mean >= 120 else f"{mean:.0f} s"
    return f"{long} a seed on {machine_text(machines[0])}{part}"


def _gained(report: dict) -> bool:
    """Whether a weak class of enough objects to tell gains GAINED in winter, on the test part."""
    before, after = (report["test"][when].get("target", {}) for when in ("before", "after"))
    return any(
        after[name]["recall"] - before[name]["recall"] > GAINED - ROUNDING
        for name in report["weak"]
        if name in before and before[name]["n"] >= report["rule"]["fewest"]
    )


def _changes(reports: list[dict]) -> list[list[str]]:
    """Rows of weak classes in winter, then the one of all others in either season that lost most.

    Means over the seeds in which the class was weak (others: that have it), and the objects of these. A seed
    that keeps nothing changes nothing, nor does what it would be compared with.
    """

    def change(report: dict, way: str, domain: str, name: str) -> float:
        if not report["accepted"]:
            return 0.0
        before, found = (report["test"][when][domain][name]["recall"] for when in ("before", way))
        return 100 * (found - before)

    def told(of: Sequence[dict], domain: str, name: str, what: str = "") -> str:
        objects = f"{sum(report['test']['before'][domain][name]['n'] for report in of):,}"
        seeds = f", {what}in {len(of)} of {counted(len(reports))}" if len(reports) > 1 else ""
        return f"{name} {SEASON[domain]} ({objects}{seeds})"

    weak = dict.fromkeys(name for report in reports for name in report["weak"])
    ways = WAYS if any(report["accepted"] for report in reports) else ("after",)
    rows = []
    for name in weak:
        of = [report for report in reports if name in report["weak"]]
        sums = [sum(change(report, way, "target", name) for report in of) for way in ways]
        means = [f"{value / len(of):+.1f}" for value in sums]
        rows.append([told(of, "target", name, "weak "), *means, *["–"] * (len(WAYS) - len(ways))])
    losses = {}
    for report in reports:
        for domain, has in report["test"]["before"].items():
            for name in has.keys() - (set(report["weak"]) if domain == "target" else set()):
                losses.setdefault((domain, name), []).append((change(report, "after", domain, name), report))
    if losses and len(ways) > 1:
        means = {key: sum(loss for loss, _ in found) / len(found) for key, found in losses.items()}
        key = min(means, key=lambda key: (means[key], key))
        of = [report for _, report in losses[key]]
        place = f"{told(of, *key)}, of the others the one that lost most"
        rows.append([place, f"{means[key]:+.1f}", *["–"] * (len(WAYS) - 1)])
    return rows
