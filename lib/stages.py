"""One notebook of one run, headless with papermill: `python -m lib.stages NOTEBOOK PROFILE RUN...`.

The Snakefile runs this for every notebook of every run of a profile (`plan`); when a notebook
must run again, `lib.dependencies` says.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
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
from lib.arms import ARMS, CONTROL, SAMPLED, check_arms, check_starts, samples_file, vae_file, weights_file
from lib.dependencies import READS, data_hashes, is_summary, keep_state, run_folder, states
from lib.run_names import OUTPUTS, SPLITS, RunName, parse_run
from lib.runs import InputError
from lib.settings import DATA

SUMMARY_OUTPUTS = (  # of the notebook over all runs
    "table1.json", "table2.csv", "table2_summary.json", "table2.md", "evaluation.json", "leak.csv",
    "paired.csv", "closed_distance.csv", "validation.csv", "baselines_validation.csv", "mcnemar.json",
    "timing/06_evaluation.json", "notebooks/06_evaluation.ipynb",
)  # fmt: skip
STOPPED = 130  # exit status of an interrupted command


def parse_seeds(text: Any) -> list[int] | None:
    """Seeds from numbers separated by spaces or commas; None for nothing; InputError for anything else."""
    if text is None or str(text).strip() == "":
        return None
    words = str(text).replace(",", " ").split()
    # bool is an int in Python, and Snakemake turns "true" into one
    if isinstance(text, bool) or not all(re.fullmatch(r"\d{1,9}", word) for word in words):
        raise InputError("SEEDS", repr(str(text)), 'whole numbers from 0 up, such as SEEDS="0 1 2"')
    return list(dict.fromkeys(int(word) for word in words))


def parse_splits(text: Any) -> list[str] | None:
    """Splits from words separated by spaces or commas; None for nothing; InputError for anything else."""
    words = str("" if text is None else text).replace(",", " ").split()
    for word in words:
        if word not in SPLITS:
            raise InputError("SPLITS", repr(str(text)), " or ".join([*SPLITS, "both"]))
    return list(dict.fromkeys(words)) or None


def plan(profile: str, seeds: Any = None, splits: Any = None) -> list[str]:
    """Names of a profile's runs, variants last, all its parameter files checked.

    `seeds` replace those of each split, `splits` the profile's own; a split that the profile does not
    have gets seed 0. Both choose among the variants that the profile lists. Raises InputError for
    whatever `settings.check_profile`, `parse_seeds` or `parse_splits` do not accept.
    """
    own, given, chosen = settings.check_profile(profile), parse_seeds(seeds), parse_splits(splits)
    for name in settings.notebook_names():
        settings.declared(name)
    base = [RunName(split, seed) for split in chosen or own for seed in given or own.get(split, [0])]
    more = [name for name in settings.variants(profile) if RunName(name.split, name.seed) in base]
    return [str(name) for name in base + more]


def _given(profile: str, notebook: str) -> tuple[Path | None, dict[str, Any], dict[str, int]]:
    """A profile's parameter file of a notebook, what it gives, and the line of each."""
    file = settings.parameter_file(profile, notebook)
    return (file, *settings.read_parameters(file)) if file else (None, {}, {})


def arms(profile: str, run: RunName | None = None) -> list[str]:
    """The arms that a profile retrains, or one of its runs; InputError for a list that `check_arms` or the
    starts of notebook 03 do not allow.
    """
    notebook = "05_retraining"
    file, given, lines = _given(profile, notebook)
    where, line = (file, lines.get("arms")) if "arms" in given else (f"notebooks/{notebook}.ipynb", None)
    asked, numbers = settings.values(profile, notebook, run)["arms"], run.numbers() if run else {}
    own = bool(run) and "arms" in settings.overrides(profile, notebook, run)
    if own:
        where, line = settings.ROOT / "params" / profile / "profile.yaml", None
    chosen = check_arms(asked, where, line, numbers)
    if own and len(chosen) < len(asked):
        left = ", ".join(name for name in asked if name not in chosen)
        raise InputError(where, f"{left} in {run}", f"arms that {' and '.join(numbers)} concerns", line)
    drawn = run.maker("04_generation") if run else None
    if "vae_selected" in chosen and not settings.values(profile, "04_generation", drawn)["critic_examples"]:
        raise InputError(where, "arm 'vae_selected'", "critic_examples in notebook 04, for its score", line)
    if "vae_scratch" in chosen and "scratch" not in starts(profile, run):
        raise InputError(where, "arm 'vae_scratch'", "'scratch' among the starts of notebook 03", line)
    return chosen


def able(profile: str, notebook: str, run_name: str) -> bool:
    """Whether a run has the classifier that a notebook with a parameter `arm` asks for.

    InputError if a parameter file asks for one that the run does not train; a notebook whose default is not
    trained is left out.
    """
    arm = settings.values(profile, notebook).get("arm")
    trained = arms(profile, parse_run(run_name))
    if arm is None or arm in trained:
        return True
    file, given, lines = _given(profile, notebook)
    if "arm" in given:
        expected = f"one that the profile trains: {', '.join(trained)}"
        raise InputError(file, f"arm {arm!r}", expected, lines["arm"])
    return False


def starts(profile: str, run: RunName | None = None) -> list[str]:
    """The starts of the autoencoders of a profile, or of one of its runs; InputError as `check_starts`."""
    notebook = "03_vae_transfer"
    file, given, lines = _given(profile, notebook)
    chosen = settings.values(profile, notebook, run and run.maker(notebook))["starts"]
    where = file if "starts" in given else f"notebooks/{notebook}.ipynb"
    return check_starts(chosen, where, lines.get("starts"))


def outputs(profile: str, notebook: str, run: RunName) -> list[str]:
    """Every file that a notebook leaves in a run's folder, but for figures."""
    made = [name for name in OUTPUTS[notebook] if "*" not in name]
    if notebook == "03_vae_transfer":
        made += map(vae_file, starts(profile, run))
    if notebook == "04_generation":
        made += [samples_file(start) for start in starts(profile, run) if start in SAMPLED]
        made += ["intactness.npy"] if settings.values(profile, notebook, run)["critic_examples"] else []
    if notebook == "05_retraining":
        chosen = arms(profile, run)
        made += [*map(weights_file, chosen), *(f"answers/{arm}.npz" for arm in chosen)]
    return [*made, f"timing/{notebook}.json", f"notebooks/{notebook}.ipynb"]


def inputs(profile: str, notebook: str, run: RunName) -> list[str]:
    """Files, relative to runs/<profile>, that a notebook needs: its state, and what earlier ones left."""
    found = [f"{run}/state/{notebook}.json"]
    if notebook != DATA:
        found.append(f"{run.maker(DATA)}/state/stores.json")
    for earlier in READS[notebook]:
        maker = run.maker(earlier)
        found += [
            f"{maker}/{name}" for name in outputs(profile, earlier, maker)
            if not name.startswith(("metrics/", "timing/", "notebooks/", "answers/", "judge", "state/"))
        ]  # fmt: skip
    if notebook == "05_retraining" and run.numbers() and any(ARMS[arm].of for arm in arms(profile, run)):
        found.append(f"{run.maker(DATA)}/answers/{CONTROL}.npz")  # a variant trains no control of its own
    return found


def alike(profile: str, run_names: list[str]) -> list[list[str]]:
    """Runs grouped by what they leave: one rule of the workflow serves those that leave the same files."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for text in run_names:
        run = parse_run(text)
        made = [[notebook, *outputs(profile, notebook, run)] for notebook in OUTPUTS if run.repeats(notebook)]
        groups.setdefault(tuple(sum(made, [])), []).append(text)
    return list(groups.values())


def _write_stores(profile: str, folder: Path, run_names: list[str]) -> None:
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


def _watch(words: list[str], log: Path) -> int:
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
    status = _watch(words, log)
    if status and _never_started(part, log):  # two kernels that start at once may choose the same port
        status = _watch(words, log)
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
            _write_stores(profile, folder, run_names)
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
        if not is_summary(notebook) and not parse_run(run_names[0]).repeats(notebook):
            own = parse_run(run_names[0]).maker(notebook)  # its files are not this variant's to write
            raise InputError("run", f"{run_names[0]} for notebook {notebook}", str(own))
        with _alone(run_folder(profile, notebook, run_names)):
            if not is_summary(notebook):
                own = str(parse_run(run_names[0]).maker(DATA))  # a variant takes the data of the run without
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
