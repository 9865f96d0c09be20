"""The report: what it prints comes from the files of the run."""


import pytest

from lib import report, runs


@pytest.fixture
def printed(make_run, capsys):
    make_run("embedded", (0, 1))
    assert report.main(["embedded"]) == 0
    return capsys.readouterr().out


def head_of(printed):
    """The two lines that name the columns of Table 2."""
    lines = printed.splitlines()
    (place,) = [k for k, line in enumerate(lines) if line.strip().startswith("paper before")]
    return lines[place : place + 2]


def test_it_shows_both_tables_beside_the_paper(printed):
    lines = {line.split("  ")[0]: line for line in printed.splitlines() if line.strip()}
    assert (
        "720" in lines["ours (drawn scenes, 456 frames)"]
        and "26 px" in lines["ours (drawn scenes, 456 frames)"]
    )
    assert "290,207" in lines["paper (VisDrone-DET)"] and "362,762" in lines["paper (VisDrone-DET)"]
    held, leaky = (
        line for line in printed.splitlines() if line.startswith("  Winter cars (simulated winter)")
    )
    assert "held out" in held and "71.2" not in held
    assert "protocol paper (leaky)" in leaky and "71.2" in leaky and "92.4" in leaky and "[" in leaky
    words, names = (line.split("  ") for line in head_of(printed))
    assert [w.strip() for w in words if w] == [
        "paper before", "paper after", "before", "control", "after", "with counterexamples",
    ]  # fmt: skip
    assert [name.strip() for name in names if name] == [
        "(none)", "(continued)", "(vae_transfer)", "(vae_recoloured)",
    ]  # fmt: skip
    assert printed.count("paper before") == 1 and "|" not in printed


def test_table_2_is_the_one_in_the_file(make_run, capsys):
    folder = make_run("embedded", (0,))
    table = (folder / "summary/table2.md").read_text()
    runs.write_text(
        folder / "summary/table2.md", table.replace("Overall accuracy, six classes", "Something else")
    )
    report.main(["embedded"])
    assert "Something else" in capsys.readouterr().out


def test_the_verdict_names_gain_interval_and_guards(printed):
    line = next(
        line for line in printed.splitlines() if "protocol heldout, vae_transfer against the control" in line
    )
    assert ": better." in line and "points [" in line and "% of the distance" in line
    assert "Recall of winter cars (simulated winter) +" in line
    assert "non-cars called car in winter (simulated winter) +0.0 (limit +2.0)" in line
    assert "non-cars called car in summer +" in line and "EXCEEDED" not in line


def test_an_exceeded_guard_is_said():
    guards = {"car_recall": {"moved": -0.03, "limit": -0.01, "kept": False},
              "winter_noncar_called_car": {"moved": 0.01, "limit": 0.02, "kept": True}}  # fmt: skip
    entry = {"split": "object", "protocol": "paper", "arm": "vae_transfer", "against": "none", "gain": 0.1,
             "gain_low": None, "guards": guards, "closed_gap": None, "better": False,
             "winter": "winter crops", "winter_noncars": "simulated winter"}  # fmt: skip
    text = report.verdict_text(entry)
    assert "not better" in text and "summer cars -3.0 (limit -1.0, EXCEEDED)" in text and "[" not in text
    assert "Recall of winter cars (winter crops) +10.0" in text  # each number with the winter it is from
    assert "called car in winter (simulated winter) +1.0" in text


def test_times_are_summed_over_runs(make_run, printed, repository):
    times = runs.read_json(repository / "runs/embedded/summary/timing.json")
    assert times["seconds"]["02_classifier_training"] == {"seed0": 12.5, "seed1": 13.5}
    assert times["by_stage"] == {
        "01_data_preparation": 26.0,
        "02_classifier_training": 26.0,
        "06_evaluation": 3.0,
    }
    assert times["by_run"] == {"seed0": 25.0, "seed1": 27.0, "summary": 3.0} and times["total"] == 55.0
    assert "Computed with       cpu, float32, 2 threads" in printed


def test_the_frames_are_those_that_notebook_06_kept(make_run, capsys):
    folder = make_run("embedded", (0,))
    path = folder / "summary/evaluation.json"
    runs.write_json(path, runs.read_json(path) | {"frames_text": "some frames"})
    assert report.main(["embedded"]) == 0
    assert "ours (some frames)" in capsys.readouterr().out


def test_a_full_disk_is_one_line(make_run, capsys, monkeypatch):
    make_run("embedded", (0,))

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(runs, "write_json", full)
    assert report.main(["embedded"]) == 2
    assert capsys.readouterr().err == "[Errno 28] No space left on device\n"


def test_partial_real_data_is_said():
    frames = {"val": {"found": 456, "expected": 548}}
    assert (
        report.frames_text({"source": "visdrone", "frames": frames}) == "VisDrone-DET, val 456 of 548 frames"
    )


def test_a_missing_run_is_one_line(repository, capsys):
    assert report.main(["embedded"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "make reproduce PROFILE=embedded" in error
