"""The workflow: which notebooks run, in which order, after which change; bad input ends it at once."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import nbformat
import pytest

from lib import dependencies, run_plan, runs, settings, stages
from lib.run_names import OUTPUTS, SPLITS, RunName, made_by, parse_run
from lib.runs import InputError

ROOT = Path(__file__).parent.parent
ORDER = ["data_preparation", "classifier_training", "vae_transfer", "generation", "retraining", "evaluation"]


@pytest.fixture
def checkout(tmp_path):
    """A copy of the workflow in a path with a space, with a profile `mine` of two splits."""
    root = (tmp_path / "a checkout").resolve()
    for name in ("lib", "notebooks", "params"):
        shutil.copytree(
            ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
        )
    shutil.copy(ROOT / "Snakefile", root)
    mine = root / "params" / "mine"
    mine.mkdir()
    (mine / "profile.yaml").write_text("object: [0, 1]\nsequence: [3]\n")
    (mine / "02_classifier_training.yaml").write_text("profile: mine\npasses: 1\n")
    odd = root / "params" / "odd"
    odd.mkdir()
    (odd / "05_retraining.yaml").write_text("profile: odd\narms: [continued, winer]\n")
    return root


def dry_run(root, *words):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SNAKEMAKE")}
    environment |= {"PYTHONPATH": str(root), "XDG_CACHE_HOME": str(root / ".cache")}
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--cores",
        "all",
        "--nolock",
        "--rerun-incomplete",
        "-n",
        *words,
    ]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)


def jobs(done):
    """(rule, run) of the jobs of a dry run, in its order."""
    assert done.returncode == 0, done.stderr
    text = done.stdout + done.stderr
    found = []
    for block in re.split(r"^(?:local)?rule (?=\w+:)", text, flags=re.M)[1:]:
        run = re.search(r"wildcards: run=(\S+)", block)
        found.append((block.split(":")[0], run[1] if run else ""))
    return [job for job in found if job[0] != "all"]


def finish(root, profile, names):
    """Make every file that the workflow would make, as if it had run."""
    for name in names:
        run = parse_run(name)
        for notebook in OUTPUTS:
            if run.repeats(notebook):
                for file in run_plan.outputs(profile, notebook, run):
                    path = root / "runs" / profile / name / file
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(notebook)
    for file in run_plan.SUMMARY_OUTPUTS:
        path = root / "runs" / profile / "summary" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("summary")
    time.sleep(0.01)


# Dry runs, each of some seconds: few


def test_every_run_of_a_profile_in_order(checkout):
    found = jobs(dry_run(checkout, "--config", "profile=mine", "seeds="))
    alone = ("panorama_anomalies", "seed0")  # of the first run alone; Table 2 does not wait for it
    assert found.count(alone) == 1 and [job for job in found if job != alone][-1] == ("evaluation", "")
    for run, more in (("seed0", [alone[0]]), ("seed1", []), ("seed3-sequence", [])):
        assert [rule for rule, name in found if name == run] == ORDER[:-1] + more
    assert len(found) == 17


def test_threads_are_shared_among_the_runs(checkout):
    text = dry_run(checkout, "--cores", "8", "--config", "profile=mine", "seeds=").stdout
    found = dict(re.findall(r"^rule (\w+):.*?threads: (\d+)", text, flags=re.M | re.S))
    assert found["classifier_training"] == found["retraining"] == "2"  # three runs
    assert found["data_preparation"] == found["evaluation"] == "8"
    text = dry_run(checkout, "--cores", "8", "--config", "profile=mine", "seeds=7").stdout
    assert re.search(r"^rule retraining:.*?threads: 4", text, flags=re.M | re.S)  # two: one a split


def test_only_what_a_change_touches_runs_again(checkout, monkeypatch):
    monkeypatch.setattr(settings, "ROOT", checkout)
    monkeypatch.setattr(settings, "NOTEBOOKS", checkout / "notebooks")
    dependencies.write_states("embedded", ["seed0"])
    finish(checkout, "embedded", ["seed0"])
    # as after `make publish`: other outputs, and a comment in lib
    book = checkout / "notebooks" / "04_generation.ipynb"
    content = nbformat.read(book, as_version=4)
    code = [cell for cell in content.cells if cell.cell_type == "code"]
    code[-1].outputs = [nbformat.v4.new_output("stream", name="stdout", text="12 s\n")]
    nbformat.write(content, book)
    for path in (checkout / "lib").glob("*.py"):
        path.write_text(path.read_text(encoding="utf-8") + "\n# a comment\n", encoding="utf-8")
    assert jobs(dry_run(checkout)) == []
    # other code in notebook 04
    code[-1].source += "\nprint(1)"
    nbformat.write(content, book)
    first, *others = [rule for rule, _ in jobs(dry_run(checkout))]
    assert first == "generation" and others[0] == "retraining"
    again = ["retraining", "evaluation", "panorama_anomalies"]  # the last two in any order
    assert sorted(others) == sorted(again)
    # one output is lost
    finish(checkout, "embedded", ["seed0"])
    (checkout / "runs/embedded/seed0/answers/continued.npz").unlink()
    assert sorted(rule for rule, _ in jobs(dry_run(checkout))) == sorted(again)
    # what notebook 07 is made of is not what Table 2 is made of
    finish(checkout, "embedded", ["seed0"])
    path = checkout / "lib" / "registration.py"
    path.write_text(path.read_text(encoding="utf-8") + "\nMORE = 1\n", encoding="utf-8")
    assert [rule for rule, _ in jobs(dry_run(checkout))] == ["panorama_anomalies"]


def test_without_the_arm_of_notebook_07_it_is_left_out(checkout):
    file = checkout / "params" / "mine" / "05_retraining.yaml"
    file.write_text("profile: mine\narms: [continued, winter]\n")
    words = ("--config", "profile=mine", "seeds=0", "splits=object")
    assert [rule for rule, _ in jobs(dry_run(checkout, *words))] == ORDER  # and Table 2 is made
    (file.parent / "07_panorama_anomalies.yaml").write_text("profile: mine\narm: vae_transfr\n")
    done = dry_run(checkout, *words)
    assert done.returncode
    assert "07_panorama_anomalies.yaml:2: found arm 'vae_transfr', expected" in done.stderr


def test_a_profile_with_variants(checkout, monkeypatch):
    monkeypatch.setattr(settings, "ROOT", checkout)
    monkeypatch.setattr(settings, "NOTEBOOKS", checkout / "notebooks")
    folder = checkout / "params" / "many"
    folder.mkdir()
    profile = folder / "profile.yaml"
    profile.write_text(
        "object: [0, 1]\nsequence: [0]\nvariants:\n"
        "- {n_winter: [50], object: [0, 1], arms: [winter, vae_transfer]}\n"
        "- {n_synthetic: [100, 300], object: [0], arms: [vae_transfer]}\n"
    )
    names = ["seed0", "seed1", "seed0-sequence", "seed0-winter50", "seed1-winter50", "seed0-synthetic100",
             "seed0-synthetic300"]  # fmt: skip
    assert run_plan.plan("many") == names
    assert run_plan.plan("many", 1, "object") == ["seed1", "seed1-winter50"]
    found = jobs(dry_run(checkout, "--config", "profile=many", "seeds="))
    of = {name: [rule.rsplit("_", 1)[0] if rule[-1].isdigit() else rule for rule, run in found if run == name]
          for name in names}  # fmt: skip
    assert of["seed1"] == ORDER[:-1] and of["seed1-winter50"] == ORDER[2:-1]
    assert of["seed0-synthetic100"] == ["retraining"]
    dependencies.write_states("many", names)
    finish(checkout, "many", names)
    assert jobs(dry_run(checkout, "--config", "profile=many", "seeds=")) == []
    # another arm of a variant: only its retraining, and the tables
    profile.write_text(profile.read_text().replace("[winter, vae_transfer]", "[winter]"))
    found = [(rule.rsplit("_", 1)[0] if rule[-1].isdigit() else rule, run)
             for rule, run in jobs(dry_run(checkout, "--config", "profile=many", "seeds="))]  # fmt: skip
    assert sorted(found) == [("evaluation", ""), ("retraining", "seed0-winter50"),
                             ("retraining", "seed1-winter50")]  # fmt: skip
    control = "seed0/answers/continued.npz"  # of the run that it starts from; read by arms in part alone
    for arms, needed in (("[winter]", False), ("[winter, winter_part]", True)):
        (folder / "05_retraining.yaml").write_text("profile: many\narms: [continued, winter, winter_part]\n")
        profile.write_text(f"object: [0]\nvariants:\n- {{n_winter: [50], object: [0], arms: {arms}}}\n")
        inputs = [run_plan.inputs("many", "05_retraining", parse_run(run)) for run in ("seed0", names[3])]
        assert (control in inputs[1]) == needed and control not in inputs[0]
    (folder / "05_retraining.yaml").unlink()
    profile.write_text("object: [0]\nvariants:\n- {n_winter: [50], object: [0], arms: [winter]}\n")
    words = stages.command("many", "05_retraining", ["seed0-winter50"], checkout / "x.ipynb")
    assert json.loads(words[words.index("-y") + 1]) == {"n_winter": 50, "arms": ["winter"]}
    assert "-y" not in stages.command("many", "05_retraining", ["seed0"], checkout / "x.ipynb")


@pytest.mark.parametrize("entry, message", [
    ("3", "found variants: 3, expected a list"),
    ("[{n_winter: [50]}]", "found a variant {'n_winter': [50]}, expected a list of entries such as"),
    ("[{n_winter: [0], object: [0]}]", "found a variant "),
    ("[{object: [0], steps: 3}]", "found a variant "),
    ("[{n_winter: [50], object: [0], stepz: 3}]", "found unknown parameter 'stepz'"),
    ("[{n_winter: [50], object: [0], arms: winter}]", "found arms = 'winter' (str), expected a value of"),
    ("[{n_winter: [50, 50], object: [0]}]", "found seed0-winter50 a second time, expected each variant"),
    ("[{n_winter: [50], object: [0], steps: 3}]", "found unknown parameter 'steps'"),  # the arms' own too
    ("[{n_synthetic: [600], object: [0]}]", "found n_synthetic: 600, expected a number that is not the"),
    ("[{n_winter: [50], object: [7]}]", "found seed7-winter50 without seed7, expected the run that it st"),
    ("[{n_winter: [50], sequence: [0]}]", "found seed0-sequence-winter50 without seed0-sequence, expected"),
    ("[{n_winter: [50], n_synthetic: [9], object: [0]}]",
     "found seed0-winter50-synthetic9 without seed0-winter50, expected the run that it starts from"),
])  # fmt: skip
def test_variants_that_cannot_be(checkout, monkeypatch, entry, message):
    monkeypatch.setattr(settings, "ROOT", checkout)
    monkeypatch.setattr(settings, "NOTEBOOKS", checkout / "notebooks")
    (checkout / "params/mine/profile.yaml").write_text(f"object: [0]\nvariants: {entry}\n")
    with pytest.raises(InputError) as caught:
        run_plan.plan("mine")
    assert f"profile.yaml:2: {message}" in str(caught.value)


def test_a_variant_has_only_the_arms_that_its_numbers_concern(checkout, monkeypatch):
    monkeypatch.setattr(settings, "ROOT", checkout)
    monkeypatch.setattr(settings, "NOTEBOOKS", checkout / "notebooks")
    folder = checkout / "params/mine"
    profile = folder / "profile.yaml"
    (folder / "05_retraining.yaml").write_text("profile: mine\narms: [continued, winter, vae_transfer]\n")
    profile.write_text("variants:\n- {n_winter: [50], object: [0]}\n- {n_synthetic: [9], object: [0]}\n")
    assert run_plan.plan("mine") == ["seed0", "seed0-winter50", "seed0-synthetic9"]  # the default's seed
    assert run_plan.arms("mine", RunName("object", 0, 50)) == ["winter", "vae_transfer"]
    assert run_plan.arms("mine", RunName("object", 0, None, 9)) == ["vae_transfer"]
    profile.write_text("variants:\n- {n_synthetic: [9], object: [0], arms: [winter, vae_transfer]}\n")
    with pytest.raises(InputError, match="found winter in seed0-synthetic9, expected arms that n_synth"):
        run_plan.alike("mine", run_plan.plan("mine"))


def test_a_notebook_is_not_run_for_a_variant_that_it_does_not_concern(repository, capsys):
    for notebook, run, own in (("02_classifier_training", "seed0-winter50", "seed0"),
                               ("02_classifier_training", "seed1-synthetic9", "seed1")):  # fmt: skip
        assert stages.main([notebook, "embedded", run]) == 2
        said = capsys.readouterr().err
        assert said == f"run: found {run} for notebook {notebook}, expected {own}\n"


@pytest.mark.parametrize("notebook, line, message", [
    ("03_vae_transfer", "starts: [scratch]", "found starts scratch, expected each start once, and trans"),
    ("03_vae_transfer", "starts: [transferred, x]", "found start 'x', expected one of transferred, mirrored"),
    ("05_retraining", "arms: [continued, vae_scratch]", "found arm 'vae_scratch', expected 'scratch' among"),
    ("05_retraining", "arms: [continued, vae_selected]", "found arm 'vae_selected', expected critic_exam"),
])  # fmt: skip
def test_arms_that_lack_what_they_use(checkout, monkeypatch, notebook, line, message):
    monkeypatch.setattr(settings, "ROOT", checkout)
    monkeypatch.setattr(settings, "NOTEBOOKS", checkout / "notebooks")
    (checkout / "params/mine" / f"{notebook}.yaml").write_text(f"profile: mine\n{line}\n")
    with pytest.raises(InputError) as caught:
        run_plan.alike("mine", run_plan.plan("mine"))
    assert f"{notebook}.yaml:2: {message}" in str(caught.value)


@pytest.mark.parametrize("config, message", [
    ("seed=3", "found 'seed', expected profile, seeds or splits"),
    ("profile=mine", "02_classifier_training.yaml:3: found unknown parameter 'pases'"),
    ("profile=odd", "odd/05_retraining.yaml:2: found arm 'winer', expected one of continued, winter, "),
])  # fmt: skip
def test_bad_input_is_one_line_before_anything_runs(checkout, config, message):
    with open(checkout / "params/mine/02_classifier_training.yaml", "a") as file:
        file.write("pases: 2\n")
    done = dry_run(checkout, "--config", config)
    assert done.returncode == 2
    assert message in done.stderr and done.stderr.count("\n") == 1 and not done.stdout
    assert not (checkout / "runs").exists()


# What the workflow asks of lib.run_plan


@pytest.mark.parametrize("text, seeds", [
    ("", None), (None, None), (" ", None), (0, [0]), ("3", [3]), ("1 2", [1, 2]), ("2,1", [2, 1]),
    ("1, 2,  2", [1, 2]),
])  # fmt: skip
def test_seeds(text, seeds):
    assert run_plan.parse_seeds(text) == seeds


@pytest.mark.parametrize(
    "text", ["a", "1.5", 1.5, "-1", "1;2", True, "1e3", "0x1", "12345678901", {"1": "2"}]
)
def test_bad_seeds(text):
    with pytest.raises(InputError, match="^SEEDS: found "):
        run_plan.parse_seeds(text)


def test_plan(repository):
    mine = repository / "params" / "mine"
    mine.mkdir()
    (mine / "profile.yaml").write_text("object: [0, 1]\nsequence: [3]\n")
    assert run_plan.plan("embedded") == ["seed0"]
    assert run_plan.plan("mine") == ["seed0", "seed1", "seed3-sequence"]
    assert run_plan.plan("mine", splits="object") == ["seed0", "seed1"]
    assert run_plan.plan("mine", 7, "sequence, object") == ["seed7-sequence", "seed7"]
    assert run_plan.plan("embedded", splits="sequence") == ["seed0-sequence"]
    for word in ("time", "both"):
        told = f"^SPLITS: found '{word}', expected object or sequence, or both: SPLITS=\"object sequence\"$"
        with pytest.raises(InputError, match=told):
            run_plan.plan("mine", splits=word)
    assert run_plan.plan("mine", "7, 8") == ["seed7", "seed8", "seed7-sequence", "seed8-sequence"]
    with pytest.raises(InputError, match="^PROFILE: found 'nowhere', expected one of embedded, mine$"):
        run_plan.plan("nowhere")
    with pytest.raises(InputError, match="^SEEDS: found 'x', expected whole numbers"):
        run_plan.plan("mine", "x")


def test_names_of_runs():
    for split in SPLITS:
        for numbers in ((None, None), (50, None), (None, 3000), (25, 10000)):
            name = RunName(split, 12, *numbers)
            assert parse_run(str(name)) == name
    assert str(RunName("sequence", 3, 50, 3000)) == "seed3-sequence-winter50-synthetic3000"
    for name in ("seed", "seed1-class", "run1", "seed-1", "seed1-winter", "seed1-synthetic5-winter5",
                 "seed1-winter5-sequence", "seed1-winter05"):  # fmt: skip
        with pytest.raises(InputError, match="^run: found "):
            parse_run(name)


def test_a_variant_repeats_only_what_its_numbers_concern():
    name = RunName("object", 0, 50, 3000)
    assert [str(name.maker(notebook)) for notebook in OUTPUTS] == [
        "seed0", "seed0", "seed0-winter50", "seed0-winter50", "seed0-winter50-synthetic3000",
        "seed0", "seed0"]  # fmt: skip
    assert [notebook[:2] for notebook in OUTPUTS if name.repeats(notebook)] == ["05"]
    assert [n[:2] for n in OUTPUTS if RunName("object", 0, 50).repeats(n)] == ["03", "04", "05"]
    assert all(RunName("object", 0).repeats(notebook) for notebook in OUTPUTS)
    for file, notebook in (("division.npz", "01"), ("answers/none.npz", "02"), ("answers/winter.npz", "05"),
                           ("classifier.safetensors", "02"), ("classifier_retrained.safetensors", "05"),
                           ("vae_car.safetensors", "03"), ("synthetic_scratch.npy", "04"),
                           ("figures/x.png", "06")):  # fmt: skip
        assert made_by(file, "06")[:2] == notebook


def test_modules_are_found_through_one_another(repository):
    (repository / "lib").mkdir()
    texts = {
        "a": "from lib.b import x", "b": "def f():\n    from lib import c, d", "c": "import lib.e as e",
        "d": "", "e": "import numpy", "f": "from lib import a",
    }  # fmt: skip
    for name, text in texts.items():
        (repository / "lib" / f"{name}.py").write_text(text)
    path = repository / "notebooks" / "02_classifier_training.ipynb"
    book = nbformat.read(path, as_version=4)
    book.cells[-1].source = "%matplotlib inline\nif True:\n    !ls\nfrom lib import a"
    nbformat.write(book, path)
    assert [file.stem for file in dependencies.modules("02_classifier_training")] == ["a", "b", "c", "d", "e"]


def test_words_do_not_count_but_code_does():
    code = 'def f(x):\n    """Words."""\n    return x + 1\n'
    same = (
        '"""Head."""\n\n\ndef f( x ):\n    """Other words."""\n    # more\n    return (x +\n            1)\n'
    )
    assert dependencies.code_digest('"""."""\n' + code) == dependencies.code_digest(same)
    assert dependencies.code_digest(code) != dependencies.code_digest(code.replace("1", "2"))


def test_every_notebook_reads_earlier_ones_only():
    names = settings.notebook_names()
    assert names[0] == dependencies.DATA
    for name, read in dependencies.READS.items():
        assert name in names and all(other < name for other in read)


def test_the_command_is_papermills(repository):
    (repository / "params/mine").mkdir()
    (repository / "params/mine/02_classifier_training.yaml").write_text("profile: mine\n")
    output = repository / "runs/mine/seed4-sequence/notebooks/x.ipynb"
    words = stages.command("mine", "02_classifier_training", ["seed4-sequence"], output)
    text = " ".join(words)
    assert words[:3] == [sys.executable, "-m", "papermill"] and str(repository) not in text
    assert "-f params/mine/02_classifier_training.yaml" in text
    assert "-r profile mine" in text and "-r split sequence -p seed 4" in text
    words = stages.command("mine", "06_evaluation", ["seed0", "seed1"], output)
    assert json.loads(words[words.index("-y") + 1]) == {"runs_of": ["seed0", "seed1"]} and "-f" not in words


def _with(monkeypatch, status, outputs=()):
    """Let a notebook end at once, with this status and these outputs."""
    seen = []

    def watch(words, log):
        log.write_text("some lines\nthe last line\n")
        seen.append([p.name for p in (log.parent.parent / "checkpoints").iterdir()])
        if outputs is not None:
            cell = nbformat.v4.new_code_cell("1", outputs=list(outputs))
            nbformat.write(nbformat.v4.new_notebook(cells=[cell]), log.with_name(f"{log.stem}.part.ipynb"))
        return status

    monkeypatch.setattr(stages, "watch", watch)
    return seen


def test_a_notebook_gets_its_name_when_it_is_complete(repository, monkeypatch, capfd):
    _with(monkeypatch, 0)
    assert stages.main(["02_classifier_training", "embedded", "seed0"]) == 0  # no crops: 01 runs before it
    folder = repository / "runs/embedded/seed0"
    assert sorted(p.name for p in (folder / "notebooks").iterdir()) == [
        "01_data_preparation.ipynb", "02_classifier_training.ipynb"]  # fmt: skip
    assert (folder / "state/stores.json").exists() and not (folder / "checkpoints").exists()
    lines = capfd.readouterr().err.splitlines()
    assert lines[2] == "02_classifier_training seed0 ..." and re.fullmatch(
        r"02_\w+ seed0 \.\.\. \d+ s", lines[3]
    )


def test_the_clock_is_kept_beside_the_notebook_s_own_seconds(repository, monkeypatch):
    _with(monkeypatch, 0)
    timing = repository / "runs/embedded/seed0/timing/01_data_preparation.json"
    runs.write_json(timing, {"seconds": 2.5})
    before = time.time()
    assert stages.main(["01_data_preparation", "embedded", "seed0"]) == 0
    found = runs.read_json(timing)
    began, ended = found["clock"]
    assert found["seconds"] == 2.5 and before - 0.1 <= began <= ended <= time.time() + 0.1


@pytest.mark.parametrize(("words", "outputs", "attempts"), [
    ("zmq.error.ZMQError: Address already in use", (), 2),
    ("DeadKernelError: Kernel died", (), 2),
    ("KeyError: 'x'", (), 1),  # a fault of the notebook's own
    ("DeadKernelError: Kernel died", [nbformat.v4.new_output("stream", text="1")], 1),  # at work already
])  # fmt: skip
def test_a_kernel_that_does_not_come_up_gets_a_second_chance(
    repository, monkeypatch, words, outputs, attempts
):
    (repository / "runs/embedded/crops").mkdir(parents=True)
    (repository / "runs/embedded/crops/store.json").write_text("{}")
    seen = []

    def watch(command, log):
        seen.append(command)
        log.write_text(words)
        cell = nbformat.v4.new_code_cell("1", outputs=list(outputs))
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), log.with_name(f"{log.stem}.part.ipynb"))
        return 1 if len(seen) == 1 else 0

    monkeypatch.setattr(stages, "watch", watch)
    status = stages.main(["02_classifier_training", "embedded", "seed0"])
    assert len(seen) == attempts and status == (0 if attempts == 2 else 1)


def test_runs_go_side_by_side_but_not_a_run_with_itself(repository, monkeypatch, capfd):
    """Notebooks of two runs at once, two notebooks of one run in turn, notebook 01 one at a time."""
    shared = repository / "runs/embedded"
    (shared / "crops").mkdir(parents=True)
    (shared / "crops/store.json").write_text("{}")
    begun, ended, go = [], [], threading.Event()

    def execute(profile, notebook, names):
        begun.append((notebook[:2], names[0]))
        assert go.wait(30)
        ended.append((notebook[:2], names[0]))
        return 0

    monkeypatch.setattr(stages, "execute", execute)
    monkeypatch.setattr(stages.signal, "signal", lambda *_: None)  # of the main thread alone

    def start(notebook, run):
        threading.Thread(target=stages.main, args=([notebook, "embedded", run],), daemon=True).start()

    said = ""

    def until(condition):
        nonlocal said
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, (begun, ended, said)
            time.sleep(0.05)
            said += capfd.readouterr().err

    start("02_classifier_training", "seed0")
    start("02_classifier_training", "seed1")
    until(lambda: len(begun) == 2)
    assert set(begun) == {("02", "seed0"), ("02", "seed1")}  # side by side
    start("01_data_preparation", "seed2")
    until(lambda: len(begun) == 3)
    start("02_classifier_training", "seed0")
    start("01_data_preparation", "seed3")
    until(lambda: said.count("waiting") == 2)
    assert "waiting: another notebook is at work in runs/embedded/seed0\n" in said
    assert "waiting: another notebook is at work in runs/embedded\n" in said
    assert begun[2:] == [("01", "seed2")] and not ended
    go.set()
    until(lambda: len(ended) == 5)
    assert {("01", "seed3"), ("02", "seed0")} == set(begun[3:])


def test_a_notebook_that_is_not_there_is_one_line(repository, capfd):
    assert stages.main(["99_nothing", "embedded", "seed0"]) == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1 and "99_nothing.ipynb: found no such notebook, expected one of 01_" in error


def test_a_failure_is_one_line_and_keeps_the_notebook(repository, monkeypatch, capfd):
    error = nbformat.v4.new_output(
        "error", ename="InputError", evalue="a.txt:3: found x, expected y", traceback=[]
    )
    _with(monkeypatch, 1, [error])
    assert stages.main(["01_data_preparation", "embedded", "seed0"]) == 1
    text = capfd.readouterr().err
    assert "failed after 0 s: InputError: a.txt:3: found x, expected y\n" in text
    assert "See runs/embedded/seed0/notebooks/01_data_preparation.failed.ipynb" in text
    assert not (repository / "runs/embedded/seed0/notebooks/01_data_preparation.ipynb").exists()
    _with(monkeypatch, 1, None)
    stages.main(["01_data_preparation", "embedded", "seed1"])
    text = capfd.readouterr().err
    assert "the last line" in text and "01_data_preparation.log" in text


def test_a_full_disk_is_one_line(repository, monkeypatch, capfd):
    def full(path, temporary):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert stages.main(["01_data_preparation", "embedded", "seed0"]) == 1
    error = capfd.readouterr().err
    assert error.count("\n") == 1 and "01_data_preparation failed: " in error
    assert "stage.json: found a full disk (No space left on device), expected room for it" in error
    assert [p for p in repository.rglob("*.part*")] == []


def test_a_folder_that_cannot_be_made_is_one_line(repository, capfd):
    (repository / "runs").write_text("a file in its place")
    assert stages.main(["01_data_preparation", "embedded", "seed0"]) == 1
    error = capfd.readouterr().err
    assert error.count("\n") == 1 and "runs" in error


def test_what_was_edited_while_a_notebook_ran_is_not_taken_for_done(repository, monkeypatch):
    """The state of a notebook that ran says what it ran with, or is newer than what the notebook left."""
    folder, name = repository / "runs/embedded/seed0", "01_data_preparation"
    state, book = folder / f"state/{name}.json", repository / f"notebooks/{name}.ipynb"
    dependencies.write_states("embedded", ["seed0"])
    first = runs.read_json(state)["code"]

    def edit(words, log, call=False):
        content = nbformat.read(book, as_version=4)
        content.cells[-1].source += "\nprint(2)"
        nbformat.write(content, book)
        if call:
            dependencies.write_states("embedded", ["seed0"])  # as a dry run does
        nbformat.write(content, log.with_name(f"{name}.part.ipynb"))
        return 0

    monkeypatch.setattr(stages, "watch", edit)
    assert stages.main([name, "embedded", "seed0"]) == 0
    assert runs.read_json(state)["code"] == first  # so the next call sees the edit
    dependencies.write_states("embedded", ["seed0"])
    second = runs.read_json(state)["code"]
    monkeypatch.setattr(stages, "watch", lambda words, log: edit(words, log, True))
    assert stages.main([name, "embedded", "seed0"]) == 0
    assert runs.read_json(state)["code"] not in (first, second)
    assert state.stat().st_mtime_ns > (folder / f"notebooks/{name}.ipynb").stat().st_mtime_ns


def test_a_stage_of_no_profile_or_of_an_odd_run_is_refused(repository, capfd):
    for profile, run, found in (("embeded", "seed0", "PROFILE: found 'embeded'"),
                                ("../x", "seed0", "PROFILE: found '../x'"),
                                ("embedded", "seed007", "run: found 'seed007', expected seed7")):  # fmt: skip
        assert stages.main(["01_data_preparation", profile, run]) == 2
        error = capfd.readouterr().err
        assert error.startswith(found) and error.count("\n") == 1
    assert not (repository / "runs").exists() or not any((repository / "runs").iterdir())


def test_a_half_written_mark_of_checkpoints_is_none(repository, monkeypatch):
    mark = repository / "runs/embedded/seed0/checkpoints/stage.json"
    mark.parent.mkdir(parents=True)
    mark.write_text('{"notebook"')
    assert _run_again(monkeypatch) == ["stage.json"]


def test_checkpoints_serve_the_same_stage_only(repository, monkeypatch):
    folder = repository / "runs/embedded/seed0/checkpoints"
    _with(monkeypatch, 1)
    stages.main(["01_data_preparation", "embedded", "seed0"])
    (folder / "classifier.pt").write_text("half")
    assert "classifier.pt" in _run_again(monkeypatch)
    path = repository / "notebooks/01_data_preparation.ipynb"
    book = nbformat.read(path, as_version=4)
    book.cells[-1].source += "\nprint(2)"
    nbformat.write(book, path)
    assert "classifier.pt" not in _run_again(monkeypatch)


def _run_again(monkeypatch):
    seen = _with(monkeypatch, 1)
    stages.main(["01_data_preparation", "embedded", "seed0"])
    return seen[0]


def test_data_that_changed_are_noticed(repository):
    folder = repository / "pictures"
    folder.mkdir()
    values = {"profile": "mine", "source": "scenes", "winter_folder": str(folder), "data_folder": ""}
    found = [dependencies.data_hashes(values)]
    for name, content in (("a.jpg", b"123"), ("a.txt", b"4"), ("a.txt", b"6")):  # labels: the content
        (folder / name).write_bytes(content)
        found.append(dependencies.data_hashes(values))
    assert len({str(one) for one in found}) == 4 and dependencies.data_hashes(values) == found[-1]
    for name in (".DS_Store", "b.zip.part"):
        (folder / name).write_bytes(b"1")
    assert dependencies.data_hashes(values) == found[-1]
    assert dependencies.data_hashes(values | {"winter_folder": ""}) == {}


def test_the_data_that_count_are_those_that_are_read(repository, tmp_path, monkeypatch):
    """The user's folder if it has one of the sets; else data/visdrone, even beside a user's folder."""
    own, downloads = tmp_path / "own", repository / "data" / "visdrone"
    for folder, name in ((own, "train"), (downloads, "val")):
        (folder / f"VisDrone2019-DET-{name}" / "images").mkdir(parents=True)
        (folder / f"VisDrone2019-DET-{name}" / "images" / "a.jpg").write_bytes(name.encode())
    monkeypatch.setenv("DRONE_DATA", str(own))
    data, listing = dependencies.data_hashes, dependencies._listing
    values = {"source": "visdrone", "data_folder": "", "sets": ["val"]}
    assert data(values) == {"data_folder": listing(downloads)}
    assert data(values | {"sets": ["train", "val"]}) == {"data_folder": listing(own)}
    mine = values | {"data_folder": str(own)}
    assert data(mine | {"sets": ["train"]}) == {"data_folder": listing(own)}
    assert data(mine) == {"data_folder": listing(own, ["VisDrone2019-DET-val"])} != data(values)
    assert listing(own) != listing(downloads)


def test_class_names_beside_the_winter_folder_are_watched(tmp_path, monkeypatch):
    folder = tmp_path / "set" / "flight"
    folder.mkdir(parents=True)
    (folder / "a.txt").write_text("0 0.5 0.5 0.1 0.1")
    values = {"winter_folder": str(folder), "winter_boxes": "yolo"}
    found = []
    for file, text in (("classes.txt", "car\ntruck"), ("classes.txt", "truck\ncar"),
                       ("flight/obj.names", "car\nbus"), ("flight/obj.names", "bus\ncar")):  # fmt: skip
        (tmp_path / "set" / file).write_text(text)
        found.append(str(dependencies.data_hashes(values)))
    assert len(set(found)) == 4


def test_who_stops_a_command_stops_its_notebook(tmp_path):
    """SIGTERM, as make and the workflow send it."""
    child, log = tmp_path / "child", tmp_path / "log"
    code = ("import sys; from pathlib import Path; from lib import runs, stages; "
            "sys.exit(runs.command_line(stages.watch)(['sh', '-c', 'echo $$ > \"$0\"; exec sleep 60', "
            f"{str(child)!r}], Path({str(log)!r})))")  # fmt: skip
    command = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    until = time.time() + 60
    while not (child.exists() and child.read_text().endswith("\n")):
        assert time.time() < until and command.poll() is None
        time.sleep(0.1)
    command.terminate()
    _, told = command.communicate(timeout=60)
    assert command.returncode == runs.STOPPED and told == "stopped\n"
    with pytest.raises(ProcessLookupError):
        os.kill(int(child.read_text()), 0)
