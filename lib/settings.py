"""Parameters of the notebooks: declared once, in the notebooks; checked before anything runs.

Every notebook has one cell tagged `parameters`: typed assignments, one a line, each
with a trailing comment. Those defaults are the embedded profile. Other profiles give
values in `params/<profile>/<notebook>.yaml`; `params/<profile>/profile.yaml` names the
splits and seeds that the profile runs, and runs with other numbers (variants, `lib.run_names`).
"""

from __future__ import annotations

import ast
import contextlib
import itertools
import re
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lib import machine, runs
from lib.run_names import SPLITS, VARIED, WITH_NUMBERS, RunName, made_by, parse_run
from lib.runs import InputError

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
OUTSIDE = ("_folder", "_flight")  # how parameters end that name a place outside the repository
DATA = "01_data_preparation"  # the notebook that all others need
TYPES = {"int": int, "float": float, "str": str, "bool": bool, "list": list}
DEFAULT_RUNS = {"object": [0]}  # of a profile without profile.yaml, as `embedded`
# How runs compute and where their data lie: free within a profile, as no number is meant to depend on it.
FREE = ("device", "precision", "memory_format", "compiler", "data_folder", "winter_folder")


def notebook_names() -> list[str]:
    """Names of the numbered notebooks, in order, without ending."""
    return sorted(path.stem for path in NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


def declared(notebook: str | Path) -> dict[str, tuple[str, Any]]:
    """Type word and default of each parameter, from the cell tagged `parameters`.

    `notebook` is a name of `notebook_names()` or a path. Raises InputError for a
    notebook without such a cell or an untyped parameter.
    """
    path = Path(notebook) if str(notebook).endswith(".ipynb") else NOTEBOOKS / f"{notebook}.ipynb"
    if not path.exists():
        raise InputError(path, "no such notebook", f"one of {', '.join(notebook_names())}")
    return _declared(path)


@runs.kept_until_changed
def _declared(path: Path) -> dict[str, tuple[str, Any]]:
    cells = runs.read_notebook(path)["cells"]
    cells = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    if len(cells) != 1:
        raise InputError(path, f"{len(cells)} cells tagged parameters", "one")
    found = {}
    for node in ast.parse(cells[0]["source"]).body:
        if not (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.annotation, ast.Name)
            and node.annotation.id in TYPES
        ):
            raise InputError(
                path, ast.unparse(node), f"name: type = value, type one of {', '.join(TYPES)}", node.lineno
            )
        found[node.target.id] = (node.annotation.id, ast.literal_eval(node.value))
    return found


def check(
    values: dict[str, Any],
    known: dict[str, tuple[str, Any]],
    where: str | Path,
    lines: dict[str, int] | None = None,
) -> None:
    """Raise InputError for a value whose name is unknown or whose type is another one."""
    for name, value in values.items():
        line = (lines or {}).get(name)
        if name not in known:
            raise InputError(where, f"unknown parameter {name!r}", f"one of {', '.join(known)}", line)
        word = known[name][0]
        fits = isinstance(value, TYPES[word]) or (word == "float" and isinstance(value, int))
        if not fits or (isinstance(value, bool) and word != "bool"):
            expected = f"a value of type {word}"
            if word == "float" and isinstance(value, str) and re.fullmatch(r"[-+]?\d+e[-+]?\d+", value, re.I):
                expected += "; YAML wants a point in it, as 1.0e-3"
            if word == "str" and isinstance(value, bool):
                expected += '; YAML takes on, off, yes and no for truth values: "off" in quotes'
            raise InputError(where, f"{name} = {value!r} ({type(value).__name__})", expected, line)


@runs.kept_until_changed
def read_parameters(path: str | Path) -> tuple[dict[str, Any], dict[str, int]]:
    """Values of a YAML parameter file, and the line of each; InputError for no YAML, no mapping, or
    a name twice."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text)
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # the second: no UTF-8, a date that is none
        mark = getattr(error, "problem_mark", None)
        found = " ".join(str(getattr(error, "problem", None) or error).split()).removeprefix("found ")
        raise InputError(path, found, "YAML", mark.line + 1 if mark else None) from None
    if values is None:
        return {}, {}
    if not isinstance(values, dict):
        raise InputError(path, type(values).__name__, "lines of the form name: value")
    lines = {}
    for key, _ in node.value:
        if key.value in lines:
            raise InputError(
                path, f"{key.value!r} a second time", "each parameter once", key.start_mark.line + 1
            )
        lines[key.value] = key.start_mark.line + 1
    return values, lines


def parameter_file(profile: str, notebook: str) -> Path | None:
    """The file that gives a notebook its values in a profile; None if the defaults hold."""
    path = ROOT / "params" / profile / f"{notebook}.yaml"
    return path if path.exists() else None


def profile_names() -> list[str]:
    """`embedded`, then the folders of `params`."""
    return ["embedded", *sorted(p.name for p in (ROOT / "params").iterdir() if p.is_dir())]


def known_profile(profile: str) -> str:
    """The profile itself; InputError for one that `profile_names` does not have."""
    if profile not in profile_names():
        raise InputError("PROFILE", repr(profile), f"one of {', '.join(profile_names())}")
    return profile


def make_command(target: str, profile: str) -> str:
    """What a person types for a profile: `make reproduce`, `make improve PROFILE=paper`."""
    return f"make {target}" if profile == profile_names()[0] else f"make {target} PROFILE={profile}"


def check_profile(profile: str) -> dict[str, list[int]]:
    """Check every parameter file of a profile; return its runs, split -> seeds, without variants.

    Raises InputError for an unknown profile, file, parameter or a wrong type.
    """
    known_profile(profile)
    plan = dict(DEFAULT_RUNS)
    for path in sorted((ROOT / "params" / profile).glob("[!.]*")):
        if path.suffix != ".yaml" or path.stem not in [*notebook_names(), "profile"]:
            raise InputError(
                path, "a file that no notebook reads", "NAME.yaml with NAME a notebook, or profile.yaml"
            )
        values, lines = read_parameters(path)
        if path.stem == "profile":
            plan = {name: value for name, value in values.items() if name != "variants"}
            for split, seeds in plan.items():
                if split not in SPLITS or not _whole(seeds, 0) or len(set(seeds)) < len(seeds):
                    expected = "object or sequence: [seeds], each once"
                    raise InputError(path, f"{split}: {seeds}", expected, lines.get(split))
            plan = plan or dict(DEFAULT_RUNS)
            listed = variants(profile)
            for name in listed:
                for start in (name.maker(DATA), name.maker("04_generation")):
                    there = name.seed in plan.get(name.split, []) if not start.numbers() else start in listed
                    if start != name and not there:
                        line = lines["variants"]
                        raise InputError(path, f"{name} without {start}", "the run that it starts from", line)
        else:
            check(values, declared(path.stem), path, lines)
            for name in ("seed", "split", "runs_of"):
                if name in values:
                    expected = "SEEDS, SPLITS or profile.yaml"
                    raise InputError(path, f"{name} in a parameter file", expected, lines[name])
            if values.get("profile") != profile:
                found = f"profile: {values['profile']}" if "profile" in values else "no profile"
                raise InputError(path, found, f"profile: {profile}", lines.get("profile"))
    return plan


def _whole(values: Any, least: int) -> bool:
    """Whether `values` is a list of whole numbers from `least` up, not empty."""
    return isinstance(values, list) and bool(values) and all(type(v) is int and v >= least for v in values)


def variants(profile: str) -> dict[RunName, dict[str, Any]]:
    """The variants that profile.yaml lists, and the parameters that each gets over the profile's own.

    `variants:` is a list; an entry names seeds by split, one number or both as lists (n_winter,
    n_synthetic), and perhaps parameters of WITH_NUMBERS. Raises InputError.
    """
    path = ROOT / "params" / profile / "profile.yaml"
    values, lines = read_parameters(path) if path.exists() else ({}, {})
    entries = values.get("variants", [])
    line, wanted = lines.get("variants"), "a list of entries such as {n_winter: [50, 100], object: [0, 1]}"
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(path, f"variants: {entries}", wanted, line)
    found: dict[RunName, dict[str, Any]] = {}
    known: dict[str, tuple[str, Any]] = {}
    for notebook in notebook_names() if entries else ():
        known |= {key: kind for key, kind in declared(notebook).items() if key in WITH_NUMBERS}
    for entry in entries:
        seeds = {name: entry[name] for name in SPLITS if name in entry}
        numbers = {name: entry[name] for name in VARIED if name in entry}
        if not (seeds and numbers and all(_whole(s, 0) for s in seeds.values())
                and all(_whole(n, 1) for n in numbers.values())):  # fmt: skip
            raise InputError(path, f"a variant {entry}", wanted, line)
        given = {name: value for name, value in entry.items() if name not in seeds and name not in numbers}
        check(given, known, path, dict.fromkeys(given, line))
        for name, asked in numbers.items():
            own = values_of_profile(profile, VARIED[name][1]).get(name)
            if own in asked:
                raise InputError(path, f"{name}: {own}", "a number that is not the profile's own", line)
        for split, own in seeds.items():
            for chosen in itertools.product(*numbers.values()):
                for seed in own:
                    name = RunName(split, seed, **dict(zip(numbers, chosen, strict=True)))
                    if name in found:
                        raise InputError(path, f"{name} a second time", "each variant once", line)
                    found[name] = given
    return found


def values(profile: str, notebook: str, run: RunName | None = None) -> dict[str, Any]:
    """Parameters that a notebook gets in a profile: its defaults, then those of the profile's file.

    With `run`, a variant, then those that make it one.
    """
    return values_of_profile(profile, notebook) | (overrides(profile, notebook, run) if run else {})


def values_of_profile(profile: str, notebook: str) -> dict[str, Any]:
    """`values` without a variant's."""
    chosen = {name: default for name, (_, default) in declared(notebook).items()}
    file = parameter_file(profile, notebook)
    return chosen | (read_parameters(file)[0] if file else {})


def overrides(profile: str, notebook: str, run: RunName) -> dict[str, Any]:
    """What a variant's notebook is given over the profile's own values; nothing for other runs."""
    if not run.numbers() or not run.repeats(notebook):
        return {}
    given = variants(profile).get(run, {}) | run.numbers()
    return {name: value for name, value in given.items() if name in declared(notebook)}


@dataclass
class Run:
    """One run's files: `runs/<profile>/seed<k>/`, and what its profile shares beside it."""

    profile: str
    split: str
    seed: int | None  # None: over all runs of the profile
    notebook: str
    numbers: dict[str, int] = field(default_factory=dict)  # of a variant, see `lib.run_names`
    started: float = field(default_factory=time.time)

    @classmethod
    def named(cls, profile: str, name: RunName, notebook: str) -> Run:
        """The run of a profile with this name, seen from a notebook."""
        return cls(profile, name.split, name.seed, notebook, name.numbers())

    @classmethod
    def at(cls, folder: str | Path, notebook: str) -> Run:
        """The run of a folder such as runs/embedded/seed0; InputError for none of this checkout."""
        folder = Path(folder).expanduser().resolve()
        run = cls.named(folder.parent.name, parse_run(folder.name), notebook)
        if run.folder.resolve() != folder:
            raise InputError(folder, "no run of this checkout", f"a folder below {run.shared.parent}")
        return run

    @property
    def name(self) -> RunName:
        """Its name, in parts."""
        return RunName(self.split, self.seed, **self.numbers)

    @property
    def shared(self) -> Path:
        """Folder of what all seeds of a profile share: the crops, the summary."""
        return ROOT / "runs" / self.profile

    @property
    def folder(self) -> Path:
        """This run's own folder; the notebook over all runs writes to `summary`."""
        return self.shared / (str(self.name) if self.seed is not None else "summary")

    def path(self, name: str) -> Path:
        """A file of this run, to write."""
        return self.folder / name

    def need(self, name: str, without: bool = False) -> Path:
        """A file of this run that an earlier notebook wrote; MissingStep names the command that makes it.

        Of a variant, what its numbers do not concern lies in the folder of the run without them;
        `without`: there in any case, as the control.
        """
        owner = self
        if self.numbers:
            maker = self.name.maker(DATA if without else made_by(name, self.notebook))
            owner = Run.named(self.profile, maker, self.notebook)
        path = owner.folder / name
        if not path.exists():
            by_hand = bool(owner.numbers) and owner.name not in variants(self.profile)
            command = owner.stage(made_by(name, self.notebook)) if by_hand else owner.command()
            raise runs.MissingStep(path, command)
        return path

    def command(self) -> str:
        """The command that makes this run's files."""
        if self.seed is None:
            return f"make reproduce PROFILE={self.profile}"
        with contextlib.suppress(InputError):  # of a faulty profile: `make reproduce` says what is wrong
            if self.split not in check_profile(self.profile):
                return f"make reproduce PROFILE={self.profile} SEEDS={self.seed} SPLITS={self.split}"
        return f"make reproduce PROFILE={self.profile} SEEDS={self.seed}"

    def stage(self, notebook: str) -> str:
        """The command that runs one notebook for this run, whatever is there already."""
        return f".venv/bin/python -m lib.stages {notebook} {self.profile} {self.folder.name}"

    def figure(self, name: str) -> Path:
        """Where a figure of this run is saved."""
        return self.folder / "figures" / f"{name}.png"

    def show(self, path: str | Path) -> str:
        """A path as a reader should see it: relative to the repository."""
        return Path(path).resolve().relative_to(ROOT).as_posix()

    def finish(self) -> float:
        """Write how long the notebook took, in seconds, and where, to timing/<notebook>.json; return it.

        What its trainings kept to go on from is removed.
        """
        seconds = round(time.time() - self.started, 1)
        told = {"seconds": seconds, "machine": machine.facts()}
        runs.write_json(self.path(f"timing/{self.notebook}.json"), told)
        shutil.rmtree(self.path("checkpoints"), ignore_errors=True)
        return seconds


def start(notebook: str, names: dict[str, Any]) -> Run:
    """First call of a notebook: check its parameters, seed nothing, open its run.

    `names` is the notebook's globals(): whatever was assigned so far is a parameter,
    so one that papermill injected and the notebook does not declare is an error. When the
    cell is run again (a Run is there), later cells have assigned names of their own: then
    only what is declared counts.
    A number of VARIED that is not the profile's makes the run a variant with a folder of its own.
    Raises InputError for an unknown parameter, a wrong type, an unknown split or a value that is not the one
    of the profile's file; a profile without files has the defaults under a name of its own (as the tests of
    the notebooks use it).
    """
    known = declared(notebook)
    given = {k: v for k, v in names.items() if not k.startswith("_") and k not in _NOT_PARAMETERS}
    again = any(isinstance(value, Run) for value in names.values())
    given = {k: v for k, v in given.items() if (k in known if again else not isinstance(v, type(sys)))}
    check(given, known, f"notebooks/{notebook}.ipynb")
    own = values(given["profile"], notebook)
    numbers = {
        name: given[name]
        for name, (_, first) in VARIED.items()
        if first <= notebook and name in given and given[name] != own[name]
    }
    run = Run(given["profile"], given.get("split", "object"), given.get("seed"), notebook, numbers)
    if run.split not in SPLITS:
        raise InputError(
            f"notebooks/{notebook}.ipynb", f"split = {run.split!r}", f"one of {', '.join(SPLITS)}"
        )
    _check_own(run, given)
    return run


def _check_own(run: Run, given: dict[str, Any]) -> None:
    """What lies in a profile's folder is by the profile's files: a notebook that is opened with another
    profile's name has still the defaults. Two flights of one's own lie apart, with what is asked of them."""
    file = parameter_file(run.profile, run.notebook)
    if file is None or given.get("first_flight"):
        return
    listed, lines = read_parameters(file)
    own = values(run.profile, run.notebook, run.name)
    for name in listed:
        if name in given and given[name] != own[name] and name not in (*FREE, *VARIED):
            found = f"{name} = {own[name]!r}, but {given[name]!r} in notebooks/{run.notebook}.ipynb"
            expected = "the same (papermill -f gives it), or a profile of your own"
            raise InputError(file, found, expected, lines[name])


_NOT_PARAMETERS = {"In", "Out", "get_ipython", "exit", "quit", "open", "Path", "root", "settings", "start"}
