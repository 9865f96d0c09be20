"""What a notebook depends on, as hashes: its code, parameters, `lib` modules, data, earlier notebooks.

`write_states` keeps a small file beside each run that is rewritten only when a hash
changes, so that neither a comment nor `make publish`, which refreshes the outputs in
`notebooks/`, makes anything run again: the Snakefile looks at these files.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lib import runs, settings
from lib.run_names import RunName, parse_run
from lib.settings import DATA

LABELS = (".txt", ".yaml", ".yml", ".names")
READS = {  # the notebooks whose files a notebook reads; one that is not here reads all before it
    DATA: (),
    "02_classifier_training": (DATA,),
    "03_vae_transfer": (DATA, "02_classifier_training"),
    "04_generation": (DATA, "02_classifier_training", "03_vae_transfer"),
    "05_retraining": (DATA, "02_classifier_training", "03_vae_transfer", "04_generation"),
    "07_panorama_anomalies": (DATA, "02_classifier_training", "05_retraining"),
    "08_weak_classes": (DATA, "02_classifier_training"),
}
USES = {  # notebooks whose parameters another one takes
    "08_weak_classes": ("03_vae_transfer", "04_generation", "05_retraining"),
}


def is_summary(notebook: str) -> bool:
    """Whether a notebook works over all runs of a profile: it has a parameter `runs_of`."""
    return "runs_of" in settings.declared(notebook)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


@functools.cache
def code_digest(source: str) -> str:
    """Hash of what Python code does: comments, docstrings and layout do not count."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        match getattr(node, "body", None):
            case [ast.Expr(ast.Constant(str()) as docstring), *_]:
                docstring.value = ""
    return _digest(ast.dump(tree))


def notebook_code(path: str | Path) -> str:
    """The code cells of a notebook as one text; lines of IPython's own (%, !, ?) become comments."""
    cells = [c["source"] for c in runs.read_notebook(path)["cells"] if c["cell_type"] == "code"]
    return re.sub(r"^(\s*)([%!?])", r"\1pass  # \2", "\n".join(cells), flags=re.M)


@functools.cache
def imported(source: str) -> frozenset[str]:
    """Names of the `lib` modules that Python code imports, wherever in it the import stands."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[1] for name in node.names if name.name.startswith("lib.")}
        elif isinstance(node, ast.ImportFrom) and node.module == "lib":
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lib."):
            found.add(node.module.split(".")[1])
    return frozenset(found)


def modules(notebook: str) -> list[Path]:
    """Files of `lib` that a notebook imports, directly or through another one."""
    wanted = set(imported(notebook_code(settings.NOTEBOOKS / f"{notebook}.ipynb")))
    found: dict[str, Path] = {}
    while wanted:
        name = wanted.pop()
        path = settings.ROOT / "lib" / f"{name}.py"
        if name not in found and path.exists():
            found[name] = path
            wanted |= imported(path.read_text(encoding="utf-8"))
    return [found[name] for name in sorted(found)]


def _listing(folder: Path, parts: Iterable[str] = ("",)) -> str:
    """Hash of names and sizes of a folder's files, of labels (text) the content too: another data set, or a
    completed or mended one, is noticed. `parts`: the sub-folders that count. Hidden files and downloads under
    way do not.
    """

    def told(name: str, path: Path) -> str:
        text = _digest(path.read_bytes().hex()) if path.suffix.lower() in LABELS else ""
        return f"{name} {path.stat().st_size} {text}"

    if folder.is_file():
        return _digest(told(folder.name, folder))
    found = []
    for part in parts:
        there = runs.files_below(folder / part, "a folder of data") if (folder / part).is_dir() else {}
        found += [
            told((Path(part) / name).as_posix(), path)
            for name, path in there.items() if path.suffix != ".part"
        ]  # fmt: skip
    return _digest(*sorted(found))


def data_hashes(parameters: dict[str, Any]) -> dict[str, str]:
    """Hashes of the folders outside the repository that a notebook reads."""
    names = [name for name in parameters if name.endswith(settings.OUTSIDE) and parameters[name]]
    folders = {name: settings.ROOT / Path(parameters[name]).expanduser() for name in names}
    if "winter_folder" in folders and parameters.get("winter_boxes") == "yolo":
        from lib.yolo import names_file

        if named := names_file(folders["winter_folder"]):  # it may lie beside the folder
            folders["winter_names"] = named
    parts: dict[str, list[str]] = {}
    if parameters.get("source") == "visdrone":
        from lib.download import FOLDER  # only here: pandas takes a second
        from lib.visdrone import OFFICIAL, SETS, sets_folder

        sets = parameters.get("sets", SETS)
        if "data_folder" not in folders:
            folders["data_folder"], _ = sets_folder(sets, settings.ROOT / FOLDER)
        parts["data_folder"] = [OFFICIAL.format(name) for name in sets]
    return {
        name: _listing(folder, parts.get(name, ("",))) for name, folder in folders.items() if folder.exists()
    }


def states(profile: str, run_names: list[str], run: RunName | None = None) -> dict[str, dict[str, Any]]:
    """For each notebook everything that its files depend on, as hashes, ready for JSON.

    The data's own hash counts for the notebooks that read them: what the data preparation makes
    of them is kept in `state/stores.json`, an input of the notebooks after it. `run`: as that run
    sees it, which matters for a variant.
    """
    found: dict[str, dict[str, Any]] = {}
    names = settings.notebook_names()
    for notebook in names:
        found[notebook] = {
            **_code(notebook),
            "parameters": settings.values(profile, notebook, run),
            "uses": {name: settings.values(profile, name, run) for name in USES.get(notebook, ())},
            "runs": run_names if is_summary(notebook) else [],
            "reads": {
                name: _digest(json.dumps(found[name], sort_keys=True))
                for name in READS.get(notebook, names[: names.index(notebook)])
            },
        }
    for notebook in names:
        if is_summary(notebook):
            found[notebook]["published"] = _taken_in(profile, run_names, notebook)
        if notebook == DATA or any(name.endswith("_flight") for name in found[notebook]["parameters"]):
            found[notebook]["data"] = data_hashes(found[notebook]["parameters"])
    return found


def _taken_in(profile: str, run_names: list[str], notebook: str) -> list[str]:
    """Committed runs that a notebook over all runs takes in beside these."""
    if not settings.values(profile, notebook).get("with_published"):
        return []
    from lib.published import elsewhere  # only here: pandas takes a second

    return elsewhere(profile, run_names)


def _code(notebook: str) -> dict[str, Any]:
    """Hashes of a notebook's own code and of the modules that it imports."""
    used = {path.stem: path.read_text(encoding="utf-8") for path in modules(notebook)}
    return {
        "code": code_digest(notebook_code(settings.NOTEBOOKS / f"{notebook}.ipynb")),
        "lib": {name: code_digest(text) for name, text in used.items()},
    }


def run_folder(profile: str, notebook: str, run_names: list[str]) -> Path:
    """Where a notebook's files of a run are: the run's folder, or `summary` for all runs."""
    return settings.ROOT / "runs" / profile / ("summary" if is_summary(notebook) else run_names[0])


def keep_state(path: Path, state: dict[str, Any]) -> None:
    """Write a state; a file that says the same stays untouched."""
    text = json.dumps(state, indent=1, sort_keys=True) + "\n"
    if not (path.exists() and path.read_text(encoding="utf-8") == text):
        runs.write_text(path, text)


def write_states(profile: str, run_names: list[str]) -> None:
    """Write `state/<notebook>.json` into each run's folder; a file that says the same stays untouched."""
    common = states(profile, run_names)
    seen: dict[str, dict[str, Any]] = {}  # by what a variant is given: the same for every seed
    for text in run_names:
        name = parse_run(text)
        given = {notebook: settings.overrides(profile, notebook, name) for notebook in common}
        key = json.dumps(given, sort_keys=True)
        if key not in seen:
            seen[key] = states(profile, run_names, name) if any(given.values()) else common
        for notebook in common:
            state = common[notebook] if is_summary(notebook) else seen[key][notebook]
            if is_summary(notebook) or name.repeats(notebook):
                keep_state(run_folder(profile, notebook, [text]) / "state" / f"{notebook}.json", state)
