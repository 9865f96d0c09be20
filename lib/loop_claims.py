"""What the automatic loop did, a table a profile, from figures/<profile>/metrics/ (`lib.claims`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lib import runs
from lib.intervals import ROUNDING
from lib.report import machine_text
from lib.run_names import parse_run
from lib.run_plan import plan
from lib.runs import InputError
from lib.settings import make_command
from lib.table2 import counted, titled
from lib.visdrone import CAR, CLASSES

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
        rule = reports[first]["rule"]
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
        if not tables:  # said once
            title += (f". *Weak*: on the validation part known over {100 * rule['gap']:.0f} points worse in "
                      "winter than in summer; *kept*: no class loses more there than "
                      f"{100 * rule['tolerance']:.0f} points or one object, whichever is more (a class of "
                      f"under {rule['fewest']} objects: more than chance explains); *control*, *crops "
                      "repeated*: as many steps and the same share without new images, or with the winter "
                      "crops instead")  # fmt: skip
        command = _command(profile, list(reports))
        rows = [["class (objects)", *WAYS.values()], *_changes(found)]
        time = _time(figures / profile, list(reports))
        tables.append(titled(title, command, time, rows))
        if len(found) > 1:
            title = (f"The same by seed, profile `{profile}`: the loop / the crops repeated (objects); a "
                     "dash: not weak in that seed (cars are told in all)")  # fmt: skip
            tables.append(titled(title, command, time, _by_seed(reports)))
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


def _change(report: dict, way: str, domain: str, name: str) -> float:
    """Points of a class's recall on the test part; none where the loop kept nothing."""
    if not report["accepted"]:
        return 0.0
    before, found = (report["test"][when][domain][name]["recall"] for when in ("before", way))
    return 100 * (found - before)


def _changes(reports: list[dict]) -> list[list[str]]:
    """Rows of weak classes in winter, of cars there, and of the one of all others that lost most.

    Means over the seeds in which the class was weak (others: that have it), and the objects of these. A seed
    that keeps nothing changes nothing, nor does what it would be compared with.
    """
    ways = WAYS if any(report["accepted"] for report in reports) else ("after",)

    def row(of: Sequence[dict], domain: str, name: str, weak: str = "", after: str = "") -> list[str]:
        objects = f"{sum(report['test']['before'][domain][name]['n'] for report in of):,}"
        seeds = f", {weak}in {len(of)} of {counted(len(reports))}" if len(reports) > 1 else ""
        means = (sum(_change(report, way, domain, name) for report in of) / len(of) for way in ways)
        told = [f"{mean:+.1f}" for mean in means]
        return [f"{name} {SEASON[domain]} ({objects}{seeds}){after}", *told, *["–"] * (len(WAYS) - len(ways))]

    rows = [row([report for report in reports if name in report["weak"]], "target", name, "weak ")
            for name in _weak(reports)]  # fmt: skip
    others: dict[tuple[str, str], list[dict]] = {}
    for report in reports:
        for domain, has in report["test"]["before"].items():
            for name in has.keys() - (set(report["weak"]) if domain == "target" else set()):
                others.setdefault((domain, name), []).append(report)
    if len(ways) > 1:
        lost = {key: sum(_change(report, "after", *key) for report in of) / len(of)
                for key, of in others.items()}  # fmt: skip
        most = min(lost, key=lambda key: (lost[key], key), default=None)
        for key in {("target", CLASSES[CAR]): None, most: None}:
            if key in others:
                after = ", of the others the one that lost most" if key == most else ""
                rows.append(row(others[key], *key, after=after))
    return rows


def _weak(reports: list[dict]) -> list[str]:
    """Classes that are weak in some seed."""
    return list(dict.fromkeys(name for report in reports for name in report["weak"]))


def _by_seed(reports: Mapping[str, dict]) -> list[list[str]]:
    """A row a seed: what was kept, then the change of each weak class and of cars under snow."""
    names = list(dict.fromkeys([*_weak(list(reports.values())), CLASSES[CAR]]))
    rows = [["seed, share kept", *(f"{name} under snow" for name in names)]]
    for run, report in reports.items():
        of = report["test"]["before"].get("target", {})
        cells = []
        for name in names:
            told = name in of and name in (*report["weak"], CLASSES[CAR])
            both = (f"{_change(report, way, 'target', name):+.1f}" for way in ("after", "repeated"))
            cells.append(f"{' / '.join(both)} ({of[name]['n']})" if told else "–")
        share = report["accepted"]["share"] if report["accepted"] else 0
        rows.append([f"{run}, {share:.3g}", *cells])
    return rows
