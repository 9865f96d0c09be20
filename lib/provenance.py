"""What the numbers of a profile are from: code, versions, machine, data, parameters, and how long it took.

Read from what the notebooks left in the profile's runs; `lib.report` keeps both beside the tables, as
timing.json and provenance.json.
"""

from __future__ import annotations

import hashlib
import math
import subprocess
from pathlib import Path
from typing import Any

from lib import machine, runs, settings
from lib.evaluation import SIMULATED
from lib.published import NONE, TRAINING, Published

EXECUTED = "notebooks/{}.ipynb"  # a notebook as a run left it


def profile_folder(profile: str) -> Path:
    """Folder of a profile's runs."""
    return settings.ROOT / "runs" / profile


def need(profile: str, name: str) -> Any:
    """A JSON file of a profile's runs; MissingStep names the command that makes it."""
    return runs.read_json(runs.require(profile_folder(profile) / name, f"make reproduce PROFILE={profile}"))


def left(profile: str, run_names: list[str], file: str) -> dict[str, dict[str, Path]]:
    """Notebook -> run -> `file`, such as timing/{}.json, of those that are there.

    That of the notebook over all runs stands under `summary`.
    """
    found: dict[str, dict[str, Path]] = {}
    for notebook in settings.notebook_names():
        for run in [*run_names, "summary"]:
            path = profile_folder(profile) / run / file.format(notebook)
            if path.exists():
                found.setdefault(notebook, {})[run] = path
    return found


def timing(profile: str, run_names: list[str], others: Published = NONE) -> dict[str, Any]:
    """Seconds by notebook and run, their sums, and how long all of them took on the clock.

    Runs go side by side, so the clock shows less than the sum. What lies between two starts of `make
    reproduce` does not count, nor does the attempt at a notebook that a kill ended. `on_the_clock` is
    None if a notebook was run by hand. `others`: committed runs, whose times are added as they were said.
    """
    files = left(profile, run_names, "timing/{}.json")
    found = {name: {run: runs.read_json(path) for run, path in own.items()} for name, own in files.items()}
    seconds = {name: {run: one["seconds"] for run, one in own.items()} for name, own in found.items()}
    spans = [one.get("clock") for own in found.values() for one in own.values()]
    clock = None if None in spans else covered(spans)
    if others.names:
        said = runs.read_json(others.folder / "timing.json")
        for notebook, took in said["seconds"].items():
            seconds.setdefault(notebook, {}).update({k: v for k, v in took.items() if k in others})
        all_theirs = set(said["by_run"]) - {"summary"} <= set(others.names)  # else some were run again here
        clock = clock + said["on_the_clock"] if clock and said["on_the_clock"] and all_theirs else None
    by_run: dict[str, float] = {}
    for took in seconds.values():
        for run, value in took.items():
            by_run[run] = round(by_run.get(run, 0) + value, 1)
    sums = {notebook: round(sum(took.values()), 1) for notebook, took in seconds.items()}
    return {
        "seconds": seconds,
        "by_stage": sums,
        "by_run": by_run,
        "total": round(sum(sums.values()), 1),
        "on_the_clock": clock and round(clock, 1),
    }


def covered(spans: list[list[float]]) -> float:
    """Length of the union of intervals [from, to]."""
    length, reached = 0.0, -math.inf
    for start, end in sorted(spans):
        length += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return length


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], cwd=settings.ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def commit() -> dict[str, Any]:
    """The commit of this checkout and whether files differ from it; null outside of a repository."""
    top = _git("rev-parse", "--show-toplevel")
    known = top is not None and Path(top).resolve() == settings.ROOT
    status = _git("status", "--porcelain") if known else None
    return {"commit": _git("rev-parse", "--verify", "HEAD") if known else None,
            "uncommitted_changes": None if status is None else bool(status)}  # fmt: skip


def used_parameters(path: Path) -> dict[str, Any]:
    """Parameters of an executed notebook: its defaults, and over them what papermill put in."""
    values = {name: default for name, (_, default) in settings.declared(path).items()}
    values |= runs.read_notebook(path)["metadata"].get("papermill", {}).get("parameters", {})
    for name in ("seed", "split", "runs_of"):
        values.pop(name, None)
    # a folder of the user's machine is nobody's business: only its name
    return {k: Path(v).name if k.endswith(settings.OUTSIDE) and v else v for k, v in values.items()}


def _origins(others: Published) -> list[dict[str, Any]]:
    """Of committed runs: which of them, from what commit, on what machine, how computed."""
    if not others.names:
        return []
    said = runs.read_json(others.folder / "provenance.json")
    found = [*said.get("others", ()), {key: said[key] for key in ("runs", "commit", "path", "machine")}]
    own = [entry | {"runs": [name for name in entry["runs"] if name in others]} for entry in found]
    return [entry for entry in own if entry["runs"]]


def _trained_on(profile: str, run: str, device: str) -> dict[str, Any]:
    """The machine that trained a run's classifier; older code did not keep it: then this one is meant.

    Only the first run of a table is asked: runs of several machines in one table are told by the first.
    """
    file = profile_folder(profile) / run / "timing" / f"{TRAINING[1]}.json"
    told = runs.read_json(file).get("machine") if file.exists() else None
    found = told or machine.facts()
    return found | {"gpu": (found["gpu"] or "unknown") if device == "cuda" else None}


def provenance(profile: str, run_names: list[str], others: Published = NONE) -> dict[str, Any]:
    """What the numbers of a profile are from; ready for JSON. `others`: committed runs among them."""
    first = run_names[0]
    path = need(profile, f"{first}/metrics/classifier.json")["path"]
    data = need(profile, f"{first}/metrics/data.json")
    store = need(profile, "crops/store.json")
    own = need(profile, "winter/store.json") if data["winter"] != SIMULATED else None
    lock = settings.ROOT / "requirements.txt"
    books = left(profile, run_names, EXECUTED)
    return commit() | {
        "lock_sha256": hashlib.sha256(lock.read_bytes()).hexdigest() if lock.exists() else None,
        "path": path,
        "machine": _trained_on(profile, first, path["device"]),
        "data": {"source": data["source"], "frames": data["frames"], "fingerprint": store["fingerprint"],
                 "crops": store["crops"], "winter": data["winter"],
                 "winter_fingerprint": own and own["fingerprint"]},
        "runs": run_names, "others": _origins(others),
        "parameters": {name: used_parameters(next(iter(found.values()))) for name, found in books.items()},
    }  # fmt: skip


def write_provenance(profile: str, run_names: list[str], others: Published) -> None:
    """Write provenance.json, unless it is newer than every notebook: then it says how those were made."""
    target = profile_folder(profile) / "summary" / "provenance.json"
    books = left(profile, run_names, EXECUTED)
    newest = max(path.stat().st_mtime_ns for own in books.values() for path in own.values())
    if target.exists() and target.stat().st_mtime_ns > newest:
        return
    runs.write_json(target, provenance(profile, run_names, others))
