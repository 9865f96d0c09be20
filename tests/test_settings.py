"""Parameters: what a notebook declares, what a profile gives, and what is refused."""

import ast

import nbformat
import pytest

from lib import run_plan, settings
from lib.run_names import RunName
from lib.runs import InputError, MissingStep
from lib.settings import check, check_profile, declared, read_parameters, start

KNOWN = {"profile": ("str", "x"), "steps": ("int", 3), "rate": ("float", 0.1), "fast": ("bool", True),
         "sets": ("list", [])}  # fmt: skip


@pytest.fixture
def profile(repository):
    """profile(file=text) writes parameter files of the profile `mine`."""

    def write(**files):
        folder = repository / "params" / "mine"
        folder.mkdir(exist_ok=True)
        for name, text in files.items():
            names = {"training": "02_classifier_training"}
            (folder / f"{names.get(name, name)}.yaml").write_text(text, encoding="utf-8")
        return folder

    return write


# What the repository itself declares


@pytest.mark.parametrize("notebook", settings.notebook_names())
def test_every_notebook_declares_typed_parameters_with_comments(notebook):
    found = declared(notebook)
    assert found["profile"] == ("str", "embedded")
    cells = nbformat.read(settings.NOTEBOOKS / f"{notebook}.ipynb", as_version=4).cells
    (cell,) = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    lines = cell.source.strip().splitlines()
    assert len(lines) == len(found) and all("  # " in line for line in lines)
    check({name: default for name, (_, default) in found.items()}, found, notebook)


@pytest.mark.parametrize("name", settings.profile_names())
def test_every_profile_is_sound(name):
    assert all(seeds for seeds in check_profile(name).values())


def test_embedded_is_the_notebooks_defaults():
    assert not (settings.ROOT / "params" / "embedded").exists()
    assert check_profile("embedded") == {"object": [0]}


# Bad input


def test_declared_refuses_other_cells(repository):
    for source, match in (("steps = 3", "steps = 3"), ("steps: dict = {}", "steps: dict"), (None, "0 cells")):
        cells = [nbformat.v4.new_code_cell(source, metadata={"tags": ["parameters"]})] if source else []
        path = repository / "notebooks" / "03_x.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
        with pytest.raises(InputError, match=match):
            declared(path)
    with pytest.raises(InputError, match="no such notebook"):
        declared("99_none")


@pytest.mark.parametrize("values", [
    {"steps": 1.5}, {"steps": "3"}, {"steps": True}, {"rate": "fast"},
    {"rate": False}, {"fast": 1}, {"sets": "val"}, {"profile": 3},
])  # fmt: skip
def test_wrong_type(values):
    with pytest.raises(InputError, match=f"{next(iter(values))} = .*a value of type") as caught:
        check(values, KNOWN, "file.yaml", {next(iter(values)): 7})
    assert str(caught.value).startswith("file.yaml:7: ")


def test_a_whole_number_is_a_float_too():
    check({"rate": 1, "steps": 2, "fast": False, "sets": ["val"], "profile": "a"}, KNOWN, "file.yaml")


def test_unknown_parameter_names_file_line_and_the_known_ones(profile):
    folder = profile(training="profile: mine\nsteps: 4\nstep: 5\n")
    with pytest.raises(InputError) as caught:
        check_profile("mine")
    place = folder / "02_classifier_training.yaml"
    assert str(caught.value).startswith(
        f"{place}:3: found unknown parameter 'step', expected one of profile, "
    )


@pytest.mark.parametrize("text, line", [
    ("profile: mine\nsteps: few\n", 2),
    ("\nprofile: mine\nsteps: 4\nsteps: 5\n", 4),
    ("profile: mine\nsteps: [1\n", 3),
])  # fmt: skip
def test_bad_lines_are_named(profile, text, line):
    profile(training=text)
    with pytest.raises(InputError) as caught:
        check_profile("mine")
    assert caught.value.line == line


def test_other_faults_of_a_profile(profile):
    folder = profile(training="profile: other\n")
    with pytest.raises(InputError, match="expected profile: mine"):
        check_profile("mine")
    profile(training="- 1\n- 2\n")
    with pytest.raises(InputError, match="name: value"):
        check_profile("mine")
    profile(training="profile: mine\n", stray="steps: 3\n")
    with pytest.raises(InputError, match="a file that no notebook reads"):
        check_profile("mine")
    assert folder.exists()


def test_unknown_profile(profile):
    profile()
    with pytest.raises(InputError, match="found 'yours', expected one of embedded, mine"):
        check_profile("yours")


@pytest.mark.parametrize("text", ["object: 3", "object: []", "object: [a]", "object: [-1]", "object: [true]",
                                  "class: [0]"])  # fmt: skip
def test_bad_runs(profile, text):
    profile(profile=text + "\n")
    with pytest.raises(InputError, match=r"profile.yaml:1: .*expected object or sequence: \[seeds\]"):
        check_profile("mine")


def test_runs_of_a_profile(profile):
    profile(profile="object: [0, 1, 2]\nsequence: [0]\n", training="")
    with pytest.raises(InputError, match="expected profile: mine"):  # an empty file does not name its profile
        check_profile("mine")
    profile(training="profile: mine\n")
    assert check_profile("mine") == {"object": [0, 1, 2], "sequence": [0]}
    assert [str(RunName(s, k)) for s, seeds in check_profile("mine").items() for k in seeds] == [
        "seed0", "seed1", "seed2", "seed0-sequence"]  # fmt: skip


def test_read_parameters(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("# words\nsteps: 3\n\nrate: 1.0e-3\nsets: [val]\n", encoding="utf-8")
    assert read_parameters(path) == (
        {"steps": 3, "rate": 1e-3, "sets": ["val"]},
        {"steps": 2, "rate": 4, "sets": 5},
    )
    path.write_text("", encoding="utf-8")
    assert read_parameters(path) == ({}, {})


# The first call of a notebook


def test_start_checks_what_was_injected(repository):
    given = {"profile": "embedded", "seed": 2, "winter_folder": "", "steps": 3, "In": [], "_x": 1}
    run = start("02_classifier_training", given)
    assert run.folder == repository / "runs" / "embedded" / "seed2"
    with pytest.raises(InputError, match="unknown parameter 'stepps'"):
        start("02_classifier_training", given | {"stepps": 3})
    with pytest.raises(InputError, match="steps = 'few'"):
        start("02_classifier_training", given | {"steps": "few"})


def test_the_first_cell_can_be_run_again(repository):
    names = {"profile": "embedded", "seed": 2, "steps": 3, "winter_folder": ""}
    with pytest.raises(InputError, match="unknown parameter 'stepz'"):
        start("02_classifier_training", {**names, "stepz": 3})
    names["run"] = start("02_classifier_training", names)
    # what later cells assign: modules, functions, classes, arrays, plain values
    exec("import numpy as np\nfrom pathlib import PurePath\nimages = np.zeros(3)\ntable1 = {'a': 1}\n"
         "count = 3\ndef smooth(x): return x", names)  # fmt: skip
    names["steps"] = 5
    assert start("02_classifier_training", names).folder == repository / "runs" / "embedded" / "seed2"
    names["steps"] = "few"
    with pytest.raises(InputError, match="steps = 'few'"):
        start("02_classifier_training", names)


@pytest.mark.parametrize("notebook", settings.notebook_names())
def test_no_notebook_gives_a_parameter_another_value(notebook):
    """Else the first cell, run again, would take that for the reader's choice."""
    known, assigned = declared(notebook), set()
    for cell in nbformat.read(settings.NOTEBOOKS / f"{notebook}.ipynb", as_version=4).cells:
        if cell.cell_type == "code" and "parameters" not in cell.metadata.get("tags", []):
            nodes = list(ast.walk(ast.parse(cell.source)))
            assigned |= {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
            assigned |= {n.asname or n.name for n in nodes if isinstance(n, ast.alias)}
    assert not assigned & known.keys()


def test_the_command_for_a_run_that_no_profile_lists(repository, profile):
    profile(profile="object: [0]\n", training="profile: mine\n")
    asked = {"profile": "mine", "seed": 5, "steps": 1}
    run = settings.Run("mine", "sequence", 5, "02_classifier_training")
    with pytest.raises(MissingStep) as caught:
        run.need("division.npz")
    assert str(caught.value).endswith("make reproduce PROFILE=mine SEEDS=5 SPLITS=sequence")
    with pytest.raises(MissingStep, match="make reproduce PROFILE=mine SEEDS=5$"):
        start("02_classifier_training", asked).need("division.npz")
    profile(profile="object: [0]\nsequence: [1]\n")
    with pytest.raises(MissingStep, match="make reproduce PROFILE=mine SEEDS=5$"):
        run.need("division.npz")
    with pytest.raises(MissingStep, match="make reproduce PROFILE=mine$"):
        settings.Run("mine", "object", None, "06_evaluation").need("table1.json")


def test_a_missing_file_of_an_earlier_notebook_names_the_command(repository):
    run = start("02_classifier_training", {"profile": "mine", "seed": 4, "steps": 1})
    with pytest.raises(InputError, match="make reproduce PROFILE=mine SEEDS=4"):
        run.need("division.npz")


def test_a_profile_s_results_are_by_its_files(profile):
    """A notebook that is opened with a profile's name has still the defaults of the embedded one."""
    profile(training="profile: mine\nsteps: 9\nwinter_folder: /here\n", profile="object: [0]\n")
    given = {"profile": "mine", "seed": 0, "steps": 9, "winter_folder": "/there"}
    assert start("02_classifier_training", given).profile == "mine"
    told = "training.yaml:2: found steps = 9, but 3 in notebooks/02_classifier_training.ipynb, expected the s"
    with pytest.raises(InputError, match=told):
        start("02_classifier_training", given | {"steps": 3})
    assert start("02_classifier_training", {"profile": "embedded", "seed": 0, "steps": 3})  # it has no file


def test_another_number_makes_a_run_of_its_own(profile, repository):
    """Of a notebook by hand too: what a reader tries never overwrites the profile's results."""
    profile(training="profile: mine\n", profile="object: [0]\n")
    for name, line in (("03_vae_transfer", "n_winter: int = 0"), ("05_retraining", "n_winter: int = 0")):
        book = nbformat.read(repository / "notebooks/02_classifier_training.ipynb", as_version=4)
        book.cells[1].source += f"\n{line}\nn_synthetic: int = 600"
        nbformat.write(book, repository / f"notebooks/{name}.ipynb")
    given = {"profile": "mine", "seed": 2, "n_winter": 0, "n_synthetic": 600}
    assert start("03_vae_transfer", given).folder.name == "seed2"
    assert start("03_vae_transfer", given | {"n_winter": 50}).folder.name == "seed2-winter50"
    assert start("03_vae_transfer", given | {"n_synthetic": 9}).folder.name == "seed2"  # it concerns 05 alone
    run = start("05_retraining", given | {"n_winter": 50, "n_synthetic": 9})
    assert run.folder.name == "seed2-winter50-synthetic9"
    assert run.numbers == {"n_winter": 50, "n_synthetic": 9}
    some = "seed2-winter50"
    for file, folder, command in (
        ("division.npz", "seed2", "make reproduce PROFILE=mine SEEDS=2"),
        ("answers/none.npz", "seed2", "make reproduce PROFILE=mine SEEDS=2"),
        ("vae_car.safetensors", some, f"lib.stages 03_vae_transfer mine {some}"),
        ("recoloured.npy", some, f"lib.stages 04_generation mine {some}"),
        ("answers/winter.npz", f"{some}-synthetic9", f"lib.stages 05_retraining mine {some}-synthetic9"),
    ):
        place = repository / "runs/mine" / folder / file
        with pytest.raises(MissingStep, match=f"{command}$"):
            run.need(file)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
        assert run.need(file) == place
    with pytest.raises(MissingStep):
        run.need("answers/winter.npz", without=True)  # of the run that it starts from


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("seed: 7", "_training.yaml:2: found seed in a parameter file, expected SEEDS, SPLITS or"),
        ("split: sequence", "found split in a parameter file"),
        ("rate: 1e-3", "a value of type float; YAML wants a point in it, as 1.0e-3"),
        ("compiler: off", "a value of type str; YAML takes on, off, yes and no for truth values"),
    ],
)
def test_what_a_parameter_file_cannot_say(tmp_path, monkeypatch, line, told):
    folder = tmp_path / "params" / "mine"
    folder.mkdir(parents=True)
    (folder / "02_classifier_training.yaml").write_text(f"profile: mine\n{line}\n")
    monkeypatch.setattr(settings, "ROOT", tmp_path)
    with pytest.raises(InputError, match=told):
        check_profile("mine")


@pytest.mark.parametrize(
    ("notebook", "line", "told"),
    [
        ("05_retraining", "n_synthetic: 50000", "yaml:2: found n_synthetic: 50000 in notebook 05, expected"),
        ("04_generation", "n_synthetic: 10", "yaml:2: found n_synthetic: 600 in notebook 05, expected at"),
        ("02_classifier_training", "batch_size: 0", "yaml:2: found batch_size: 0, expected a number from 1"),
        ("05_retraining", "shares: [2.0]", "shares: found .2.0., expected shares of a retraining"),
        ("01_data_preparation", "n_winter: 0", "found n_winter: 0, expected a number from 1"),
    ],
)
def test_numbers_that_a_late_notebook_would_refuse(tmp_path, monkeypatch, notebook, line, told):
    folder = tmp_path / "params" / "mine"
    folder.mkdir(parents=True)
    (folder / f"{notebook}.yaml").write_text(f"profile: mine\n{line}\n")
    monkeypatch.setattr(settings, "ROOT", tmp_path)
    with pytest.raises(InputError, match=told):
        run_plan.plan("mine")


def test_a_run_by_its_folder(repository):
    folder = repository / "runs/embedded/seed2-sequence"
    run = settings.Run.at(folder, "06_evaluation")
    assert (run.profile, str(run.name), run.folder) == ("embedded", "seed2-sequence", folder)
    with pytest.raises(InputError, match="another.*found no run of this checkout, expected a folder below"):
        settings.Run.at(repository / "another" / "embedded" / "seed2", "06_evaluation")


@pytest.mark.parametrize("file, text, told", [
    ("profile", "object: [0]\n1: [2]\n", "profile.yaml: found 1: [2], expected object or sequence"),
    ("profile", "no: [2]\n", "profile.yaml: found False: [2], expected object or sequence"),
    ("training", "steps: 3\nprofile: other\n", "training.yaml:2: found profile: other, expected profile: mi"),
    ("training", "steps: 3\n", "training.yaml: found no profile, expected profile: mine"),
    ("training", "\tsteps: 3\n", r"training.yaml:1: found character '\t' that cannot start any token, exp"),
    ("training", "profile: '\0'\n", "training.yaml: found unacceptable character #x0000: special char"),
])  # fmt: skip
def test_faults_of_a_profile_are_one_line(profile, file, text, told):
    profile(**{file: text})
    with pytest.raises(InputError) as caught:
        check_profile("mine")
    assert told in str(caught.value) and "\n" not in str(caught.value)
