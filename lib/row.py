"""Recompute one row of a Table 2 from scratch: `python -m lib.row PROFILE ARM SEED` (make row).

The repository's sources are copied into runs/<profile>/row/<run>-<arm>/, so nothing that was computed
before is used; there the notebooks run for this one seed and arm (and the control, which the recall at an
equal share needs), on as many threads as the committed run had. Then every measurement of the arm is
compared with figures/<profile>/table2.csv, exactly on the same machine, within a tolerance elsewhere
(`lib.verify`).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import yaml

from lib import runs, settings, verify
from lib.arms import ARMS, BEFORE, CONTROL
from lib.measurements import read_table2
from lib.published import Published
from lib.run_names import SPLITS, RunName
from lib.runs import InputError, MissingStep, command_line
from lib.visdrone import data_folder

SOURCES = ("lib", "notebooks", "params", "figures/benchmarks", "Snakefile")


def copy_sources(target: Path) -> Path:
    """A fresh checkout's sources in `target`, which is emptied first."""
    shutil.rmtree(target, ignore_errors=True)
    for name in SOURCES:
        source = settings.ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        elif source.exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target / name)
    return target


def restrict(checkout: Path, profile: str, arm: str, run: RunName) -> list[str]:
    """Let the profile of a copied checkout train this arm and nothing that it does not need.

    Returns the names of the runs to be made: the variant's too, if `run` is one.
    """
    folder = checkout / "params" / profile
    folder.mkdir(exist_ok=True)
    own, needed = run.numbers(), [name for name in (ARMS[arm].of, arm) if name]
    wanted: dict[str, dict] = {
        "03_vae_transfer": {"starts": ["transferred"] + (["scratch"] if arm == "vae_scratch" else [])},
        "05_retraining": {"arms": [CONTROL] + (needed if arm not in (CONTROL, BEFORE) and not own else [])},
    }
    if arm != "vae_selected":
        wanted["04_generation"] = {"critic_examples": 0}
    own_folders = settings.values_of_profile(profile, settings.DATA)  # relative ones are of the checkout
    own_folders = {k: v for k, v in own_folders.items() if k.endswith(settings.OUTSIDE) and v}
    if own_folders:
        wanted[settings.DATA] = {k: str(settings.ROOT / Path(v).expanduser()) for k, v in own_folders.items()}
    for notebook, values in wanted.items():
        file = folder / f"{notebook}.yaml"
        given = yaml.safe_load(file.read_text(encoding="utf-8")) if file.exists() else {"profile": profile}
        file.write_text(yaml.safe_dump(given | values, sort_keys=False), encoding="utf-8")
    plan: dict = {run.split: [run.seed]}
    if own:
        more = dict(settings.variants(profile).get(run, {}))
        more |= {name: values[name] for values in wanted.values() for name in values if name in more}
        entry = more | {name: [value] for name, value in own.items()}
        entry |= {run.split: [run.seed], "arms": needed}
        plan["variants"] = [entry]
        if run.maker("04_generation").numbers() not in ({}, own):  # it starts from another variant's new cars
            plan["variants"].append({**entry, "n_winter": [run.n_winter]})
            del plan["variants"][-1]["n_synthetic"]
    (folder / "profile.yaml").write_text(yaml.safe_dump(plan, sort_keys=False), encoding="utf-8")
    return list(dict.fromkeys(map(str, (RunName(run.split, run.seed), run.maker("04_generation"), run))))


def plain(profile: str, run: RunName) -> RunName:
    """The run without numbers that the committed run without any has itself: those make no variant."""
    with contextlib.suppress(MissingStep):  # only its variants are committed
        made = Published(profile).metrics(str(RunName(run.split, run.seed)), "retraining")
        own = [name for name, value in run.numbers().items() if value == made.get(name)]
        return run._replace(**dict.fromkeys(own))
    return run


def published(profile: str, arm: str, run: RunName) -> tuple[pd.DataFrame, dict]:
    """The committed measurements of an arm in a run, and what they are from (provenance.json).

    Raises InputError where the committed table has none.
    """
    every = Published(profile)
    for name in ("table2.csv", "provenance.json"):
        runs.require(every.folder / name, f"make publish PROFILE={profile}")
    table = every.table
    rows = _of(table, arm, run)
    if not len(rows):
        there = sorted(set(table.loc[table["arm"] == arm, "seed"]))
        expected = f"one of its rows; of this arm it has seeds {there}" if there else "an arm that it has"
        raise InputError(every.folder / "table2.csv", f"no row of {arm} in {run}", expected)
    if not run.numbers():  # of the numbers of its Table 2, not of a variant
        rows = _of(every.rows(str(run)), arm, run)
    return rows, runs.read_json(every.folder / "provenance.json")


def _of(table: pd.DataFrame, arm: str, run: RunName) -> pd.DataFrame:
    """The rows of an arm in a run; of one that is no variant, those of its variants too."""
    chosen = {"arm": arm, "split": run.split, "seed": run.seed} | run.numbers()
    return table[(table[list(chosen)] == pd.Series(chosen)).all(axis=1)].reset_index(drop=True)


def recompute(profile: str, arm: str, run: RunName, threads: int) -> tuple[pd.DataFrame, dict]:
    """Run the notebooks in a fresh copy: the arm's measurements, and what they are from.

    Raises InputError if a notebook fails. The measurements are also written to row.csv
    beside its run.
    """
    checkout = copy_sources(settings.ROOT / "runs" / profile / "row" / f"{run}-{arm}")
    if (settings.ROOT / "data").exists():  # what was downloaded; or it would be downloaded again
        (checkout / "data").symlink_to(settings.ROOT / "data")
    names = restrict(checkout, profile, arm, run)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SNAKEMAKE")}
    environment |= {"PYTHONPATH": str(checkout)}
    data = data_folder()
    environment |= {"DRONE_DATA": str(data.resolve())} if data else {}
    config = [f"profile={profile}", f"seeds={run.seed}", f"splits={run.split}"]
    cores = threads * len(names)  # the workflow divides its cores among its runs
    words = [sys.executable, "-m", "snakemake", "evaluation", "--cores", str(cores), "--nolock"]
    words += ["--quiet", "host", "progress", "rules", "--rerun-triggers", "mtime", "--config", *config]
    report = [sys.executable, "-m", "lib.report", profile]  # writes provenance.json
    quiet = {"stdout": subprocess.DEVNULL}
    for command, how in ((words, {}), (report, quiet)):
        if subprocess.run(command, cwd=checkout, env=environment, **how).returncode:
            raise InputError(checkout, "notebooks that failed", "a run to its end; see the lines above")
    summary = checkout / "runs" / profile / "summary"
    rows = _of(read_table2(summary / "table2.csv"), arm, run)
    runs.write_table(checkout / "row.csv", rows)
    return rows, runs.read_json(summary / "provenance.json")


def compare(ours: pd.DataFrame, committed: pd.DataFrame, reasons: list[str]) -> tuple[str, bool]:
    """What differs, as text, and whether all of it is within tolerance; `reasons`: why it may differ."""
    if not len(ours):
        return "No measurement of this row was made.", False
    found = verify.compare_table2(ours, committed, same_machine=not reasons)
    if not found.attrs["compared"]:
        return "No measurement of this row is in the committed table.", False
    equal = ["The machine and versions of the committed numbers: all must be equal."]
    told, agreed = verify.outcome(found)
    return "\n".join([*(verify.reasons_text(reasons) if reasons else equal), *told]), agreed


def check(profile: str, arm: str, run: RunName) -> tuple[str, bool]:
    """Recompute a row and compare it with the committed one, as `compare`; InputError for bad input."""
    settings.check_profile(profile)
    if arm not in ARMS:
        raise InputError("ARM", repr(arm), f"one of {', '.join(ARMS)}")
    run = plain(profile, run)
    rows, origin = published(profile, arm, run)
    ours, here = recompute(profile, arm, run, origin["path"]["threads"])
    other = verify.other_data(here, origin)
    return compare(ours, rows, verify.other_machine(here, origin) + ([other] if other else []))


@command_line
def main(arguments: list[str] | None = None) -> int:
    """0: equal or within tolerance; 1: not; 2: bad input, said in one line."""
    parser = argparse.ArgumentParser(prog="python -m lib.row", description=__doc__.splitlines()[0])
    parser.add_argument("profile")
    parser.add_argument("arm", help=", ".join(ARMS))
    parser.add_argument("seed", type=int)
    parser.add_argument("--split", choices=SPLITS, default=SPLITS[0])
    parser.add_argument("--n-winter", type=int, help="of a variant, else as in the profile")
    parser.add_argument("--n-synthetic", type=int, help="of a variant, else as in the profile")
    given = parser.parse_args(arguments)
    run = RunName(given.split, given.seed, given.n_winter, given.n_synthetic)
    return verify.told(*check(given.profile, given.arm, run))


if __name__ == "__main__":
    sys.exit(main())
