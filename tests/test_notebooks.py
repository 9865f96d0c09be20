"""The notebooks: how they are written, and that they run with the outputs that are committed with them."""

import ast
import io
import os
import shutil
import subprocess
import sys
import tokenize

import nbformat
import pytest
import yaml

from lib import settings

NAMES = settings.notebook_names()
NEW_CARS = {"n_synthetic": settings.declared("05_retraining")["n_synthetic"][1]}
SMALL = {  # on top of the tiny profile: nbval compares only what does not depend on the budget
    "01_data_preparation": {"sequences": 7, "n_winter": 24, "n_summer": 24},
    "02_classifier_training": {"candidates": 1, "passes": 0.3},
    "03_vae_transfer": {"steps": 8, "batch_size": 8},
    "04_generation": NEW_CARS | {"judge_width": 8, "judge_passes": 0.3},
    "05_retraining": NEW_CARS | {"steps": 3},
    "07_panorama_anomalies": {"drawn_frames": [2, 2], "drawn_vehicles": 12},
    "08_weak_classes": {
        "critic_examples": 50,
        "groups": [["car"]], "per_class": 12, "latent_dims": [4, 8], "search_steps": 2, "steps": 3,
        "orders": 2, "doses": [8], "fewest": 1, "gap": 0.001,
    },
}
PLAIN = {"compiler": "off", "precision": "float32"}  # fastest for so little work
CHECKED = "nbval-check-output"


def read(name):
    return nbformat.read(settings.NOTEBOOKS / f"{name}.ipynb", as_version=4)


def tagged(book, tag):
    return [cell for cell in book.cells if tag in cell.metadata.get("tags", [])]


def code_lines(source) -> list[str]:
    return [line for line in source.splitlines() if line.strip() and not line.strip().startswith("#")]


def test_the_six_notebooks_are_there():
    assert [name[:2] for name in NAMES][:6] == ["01", "02", "03", "04", "05", "06"]


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_typed_and_explained(name):
    known = settings.declared(name)  # typed, or an error
    assert "profile" in known and known["profile"] == ("str", "embedded")
    (cell,) = tagged(read(name), "parameters")
    lines = cell.source.splitlines()
    assert len(lines) == len(known)
    for line, parameter in zip(lines, known, strict=True):
        assert line.startswith(f"{parameter}: "), line
        comments = [
            t for t in tokenize.generate_tokens(io.StringIO(line).readline) if t.type == tokenize.COMMENT
        ]
        assert len(comments) == 1 and len(comments[0].string) > 5, line
    for parameter, (word, value) in known.items():
        assert type(value).__name__ == word, parameter


@pytest.mark.parametrize("name", NAMES)
def test_papermill_reads_the_parameters(name):
    from papermill import inspect_notebook

    found = inspect_notebook(str(settings.NOTEBOOKS / f"{name}.ipynb"))
    assert list(found) == list(settings.declared(name))
    assert all(entry["help"] for entry in found.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_prose_and_short_cells(name):
    cells = read(name).cells
    assert cells[0].cell_type == "markdown" and cells[0].source.startswith("# ")
    prose = [cell for cell in cells if cell.cell_type == "markdown" and len(cell.source) > 1]
    assert len(prose) >= 0.25 * len(cells), f"{len(prose)} of {len(cells)} cells are prose"
    for number, cell in enumerate(cells):
        if cell.cell_type != "code":
            continue
        assert cell.source.strip(), number
        assert len(code_lines(cell.source)) <= 25, number
        tree = ast.parse(cell.source)
        assert not any(isinstance(node, ast.ClassDef) for node in ast.walk(tree)), f"cell {number}: a class"
    assert len({cell.id for cell in cells}) == len(cells)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_starts_and_finishes_as_itself(name):
    calls = {}
    for cell in read(name).cells:
        if cell.cell_type == "code":
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, ast.Call):
                    calls.setdefault(ast.unparse(node.func).split(".")[-1], []).append(node)
    (start,) = calls["start"]
    assert ast.literal_eval(start.args[0]) == name and ast.unparse(start.args[1]) == "globals()"
    assert len(calls["finish"]) == 1


@pytest.mark.parametrize("name", NAMES)
def test_committed_outputs(name):
    """Every cell that nbval compares has its output, and none shows an error."""
    book = read(name)
    for cell in tagged(book, CHECKED):
        assert cell.outputs, f"{name}: cell {cell.id} has no output; make reproduce && make publish"
    for cell in book.cells:
        for output in cell.get("outputs", []):
            assert output.output_type != "error" and output.get("name") != "stderr", cell.id


def test_some_cells_are_compared():
    assert sum(len(tagged(read(name), CHECKED)) for name in NAMES) >= 6


@pytest.mark.parametrize("name", NAMES)
def test_a_tagged_cell_shows_nothing_of_the_budget(name):
    """Its output must be the same in the tiny profile: no cell that prints a duration or a score."""
    for cell in tagged(read(name), CHECKED):
        assert not any(word in cell.source for word in ("finish()", "history", "figures.", "seconds")), (
            cell.id
        )


def test_start_names_an_unknown_or_wrong_parameter():
    values = {name: value for name, (_, value) in settings.declared("05_retraining").items()}
    run = settings.start("05_retraining", values | {"profile": "another", "seed": 3})
    assert run.folder == settings.ROOT / "runs" / "another" / "seed3"
    with pytest.raises(settings.InputError, match="unknown parameter 'stepz'"):
        settings.start("05_retraining", values | {"stepz": 1})
    with pytest.raises(settings.InputError, match="steps = 'many'"):
        settings.start("05_retraining", values | {"steps": "many"})
    with pytest.raises(settings.InputError, match="split = 'half'"):
        settings.start("05_retraining", values | {"split": "half"})


# All of them, run by nbval


@pytest.fixture
def profile():
    """A profile of this process alone, under runs/, which git ignores."""
    name = f"nbval-{os.getpid()}"
    yield name
    shutil.rmtree(settings.ROOT / "runs" / name, ignore_errors=True)


def prepare(name, profile, folder):
    """A copy with a small budget, as papermill makes it, and the outputs that are committed."""
    from papermill import execute_notebook

    known = settings.declared(name)
    file = settings.parameter_file("tiny", name)
    values = yaml.safe_load(file.read_text(encoding="utf-8")) if file else {}
    values |= SMALL.get(name, {}) | {"profile": profile} | {k: v for k, v in PLAIN.items() if k in known}
    source, target = settings.NOTEBOOKS / f"{name}.ipynb", folder / f"{name}.ipynb"
    execute_notebook(str(source), str(target), values, prepare_only=True, progress_bar=False)
    outputs = {cell.id: cell.get("outputs", []) for cell in read(name).cells}
    copy = nbformat.read(target, as_version=4)
    for cell in copy.cells:
        if cell.cell_type == "code":
            cell.outputs = outputs.get(cell.id, [])
    assert len(tagged(copy, "injected-parameters")) == 1
    nbformat.write(copy, target)
    return target


def test_all_notebooks_run_and_print_what_is_committed(profile):
    folder = settings.ROOT / "runs" / profile / "copies"
    folder.mkdir(parents=True)
    missing = [
        f"{name}: {cell.id}" for name in NAMES for cell in tagged(read(name), CHECKED) if not cell.outputs
    ]
    assert not missing, "cells without the output that is to be compared; make reproduce && make publish"
    copies = [prepare(name, profile, folder) for name in NAMES]
    # another configuration than the repository's: none of its options are for notebooks
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "--nbval-lax",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
    ]
    words += ["-c", str(folder / "pytest.ini"), "--rootdir", str(folder), *map(str, copies)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "JUPYTER_PATH"))}
    environment |= {"JUPYTER_PREFER_ENV_PATH": "1", "OMP_NUM_THREADS": "1", "MPLBACKEND": ""}
    environment |= {"PYTHONPATH": str(settings.ROOT)}
    done = subprocess.run(
        words, cwd=settings.ROOT, env=environment, capture_output=True, text=True, timeout=1200
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    cells = sum(
        cell.cell_type == "code" for path in copies for cell in nbformat.read(path, as_version=4).cells
    )
    assert f"{cells} passed" in done.stdout, done.stdout[-2000:]
    summary = settings.ROOT / "runs" / profile / "summary"
    assert (summary / "table2.csv").exists() and (summary / "timing" / "06_evaluation.json").exists()
