"""One notebook of one run, headless with papermill: `python -m lib.stages NOTEBOOK PROFILE RUN...`.

The Snakefile runs this for every notebook of every run of a profile (`lib.run_plan`); when a notebook
must run again, `lib.dependencies` says.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lib import runs, settings
from lib.dependencies import data_hashes, is_summary, keep_state, run_folder, states
from lib.run_names import parse_run
from lib.runs import STOPPED, InputError
from lib.settings import DATA


def _write_stores(profile: str, folder: Path) -> None:
    """After the data preparation: keep what the crop stores hold now, and which data it may have fetched."""
    shared = settings.ROOT / "runs" / profile
    stores = {name: shared / name / "store.json" for name in ("crops", "winter")}
    found = {name: runs.read_json(path) for name, path in stores.items() if path.exists()}
    runs.write_json(folder / "state" / "stores.json", found)
    path = folder / "state" / f"{DATA}.json"
    if path.exists():  # the rest of it stays what the notebook ran with, whatever was edited since
        times, old = path.stat(), runs.read_json(path)
        keep_state(path, old | {"data": data_hashes(old["parameters"])})
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def _outdated(path: Path, ran_with: dict[str, Any]) -> bool:
    """Whether a state was written anew, by another call, while the notebook ran with an older one."""
    if not path.exists():
        return False
    kept = runs.read_json(path)
    return any(kept.get(key) != value for key, value in ran_with.items() if key != "data")


def command(profile: str, notebook: str, run_names: list[str], output: Path) -> list[str]:
    """The papermill command of a notebook, to be run in the repository's root."""
    file = settings.parameter_file(profile, notebook)
    words = [sys.executable, "-m", "papermill", f"notebooks/{notebook}.ipynb"]
    words += [os.path.relpath(output, settings.ROOT), "--no-progress-bar", "--cwd", ".", "-k", "python3"]
    words += ["-f", os.path.relpath(file, settings.ROOT)] if file else []
    words += ["-r", "profile", profile]
    if is_summary(notebook):
        return [*words, "-y", json.dumps({"runs_of": run_names})]
    run = parse_run(run_names[0])
    more = settings.overrides(profile, notebook, run)
    words += ["-r", "split", run.split, "-p", "seed", str(run.seed)]
    return [*words, "-y", json.dumps(more)] if more else words


def failure(notebook: Path, stderr: str) -> str:
    """The error that stopped a notebook, in one line."""
    with contextlib.suppress(Exception):
        for cell in reversed(runs.read_notebook(notebook)["cells"]):
            for output in cell.get("outputs", []):
                if output["output_type"] == "error":
                    lines = [line.strip() for line in output["evalue"].splitlines() if line.strip()]
                    return f"{output['ename']}: {lines[-1]}" if lines else output["ename"]
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return lines[-1] if lines else "papermill stopped without a word"


def _never_started(notebook: Path, log: Path) -> bool:
    """Whether papermill failed because the notebook's kernel did not come up."""
    with contextlib.suppress(Exception):
        cells = runs.read_notebook(notebook)["cells"]
        if any(cell.get("execution_count") or cell.get("outputs") for cell in cells):
            return False
    text = log.read_text(encoding="utf-8", errors="replace")
    return any(words in text for words in ("Address already in use", "Kernel died", "Kernel didn't respond"))


def watch(words: list[str], log: Path) -> int:
    """Run a command to its end; stop it when this process is told to stop or loses its parent."""
    environment = os.environ | {"PYTHONPATH": str(settings.ROOT)}
    environment.setdefault("JUPYTER_PREFER_ENV_PATH", "1")
    parent = os.getppid()
    with open(log, "wb") as file:
        child = subprocess.Popen(words, cwd=settings.ROOT, env=environment, stdout=file, stderr=file)
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return child.wait(timeout=1)
                if os.getppid() != parent:  # the workflow was killed; a rerun must not meet this one
                    raise KeyboardInterrupt
        finally:
            if child.poll() is None:
                child.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(timeout=10)
                child.kill()


def run_papermill(words: list[str], notebook: Path, log: Path) -> int:
    """Run a papermill command that writes `notebook`; returns its exit status."""
    status = watch(words, log)
    if status and _never_started(notebook, log):  # two kernels that start at once may choose the same port
        status = watch(words, log)
    return status


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")  # text and line end in one piece: several stages write to one terminal
    sys.stderr.flush()


def _state(profile: str, notebook: str, run_names: list[str]) -> dict[str, Any]:
    return states(profile, run_names, None if is_summary(notebook) else parse_run(run_names[0]))[notebook]


def execute(profile: str, notebook: str, run_names: list[str]) -> int:
    """Run a notebook into its run's folder; returns an exit status. Prints a line as it starts and ends.

    The executed notebook gets its name when it is complete; one that failed is kept as
    NAME.failed.ipynb. Checkpoints of an interrupted stage stay for the next attempt, unless
    something that the stage depends on has changed.
    """
    folder = run_folder(profile, notebook, run_names)
    target = folder / "notebooks" / f"{notebook}.ipynb"
    part, failed = (target.with_name(f"{notebook}.{word}.ipynb") for word in ("part", "failed"))
    log, checkpoints = target.with_suffix(".log"), folder / "checkpoints"
    target.parent.mkdir(parents=True, exist_ok=True)
    now = {"notebook": notebook, "state": _state(profile, notebook, run_names)}
    mark = checkpoints / "stage.json"
    marked = None
    with contextlib.suppress(OSError, ValueError):  # none, or half-written
        marked = json.loads(mark.read_text(encoding="utf-8"))
    if checkpoints.exists() and marked != now:
        shutil.rmtree(checkpoints)
    runs.write_json(mark, now)
    title = f"{notebook} {folder.name}"
    _say(f"{title} ...")
    began = time.time()
    words = command(profile, notebook, run_names, part)
    status = run_papermill(words, part, log)
    ended = time.time()
    seconds = ended - began
    if status == 0:
        timing = folder / "timing" / f"{notebook}.json"
        own = runs.read_json(timing) if timing.exists() else {}
        runs.write_json(timing, own | {"clock": [round(began, 1), round(ended, 1)]})
        os.replace(part, target)
        failed.unlink(missing_ok=True)
        log.unlink(missing_ok=True)
        if notebook == DATA:
            _write_stores(profile, folder)
        shutil.rmtree(checkpoints, ignore_errors=True)
        kept = folder / "state" / f"{notebook}.json"
        if _outdated(kept, now["state"]):
            os.utime(kept)  # newer than what this notebook left: the next call runs it again
        _say(f"{title} ... {seconds:.0f} s")
        return 0
    reason = failure(part, log.read_text(encoding="utf-8", errors="replace"))
    where = log
    if part.exists():
        os.replace(part, failed)
        where = failed
    _say(f"{title} failed after {seconds:.0f} s: {reason}\nSee {where.relative_to(settings.ROOT).as_posix()}")
    return 1


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other notebook works in this folder: a run's own, or the one that the runs share."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _say(f"waiting: another notebook is at work in {folder.relative_to(settings.ROOT).as_posix()}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def main(arguments: list[str]) -> int:
    """`python -m lib.stages NOTEBOOK PROFILE RUN...`: 0, 1 (it failed), 2 (bad arguments), 130 (stopped)."""
    if len(arguments) < 3:
        _say("usage: python -m lib.stages NOTEBOOK PROFILE RUN...")
        return 2
    notebook, profile, *run_names = arguments
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    shared = settings.ROOT / "runs" / profile
    try:
        settings.known_profile(profile)
        run = None if is_summary(notebook) else parse_run(run_names[0])
        if run and not run.repeats(notebook):  # its files are not this variant's to write
            raise InputError("run", f"{run} for notebook {notebook}", str(run.maker(notebook)))
        with _alone(run_folder(profile, notebook, run_names)):
            if run:
                own = str(run.maker(DATA))  # a variant takes the data of the run without
                with _alone(shared):
                    # for another notebook too if the shared crops were deleted by hand
                    there = (shared / "crops" / "store.json").exists()
                    status = execute(profile, DATA, [own]) if notebook == DATA or not there else 0
                if status or notebook == DATA:
                    return status
            return execute(profile, notebook, run_names)
    except OSError as error:  # a full disk, no permission
        _say(f"{notebook} failed: {' '.join(str(error).split())}")
        return 1
    except InputError as error:
        _say(str(error))
        return 2
    except KeyboardInterrupt:
        _say(f"{notebook} interrupted; the next run goes on from here")
        return STOPPED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
