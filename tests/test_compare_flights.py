"""`make panorama`: what is asked for is checked first, the notebook gets it, its failure is told."""

import shutil

import nbformat
import pytest

from lib import compare_flights, runs, settings, stages
from lib.settings import ROOT

NOTEBOOK = "07_panorama_anomalies"


@pytest.fixture
def asked(repository, tmp_path, monkeypatch):
    """Arguments for two flights, in a repository with notebook 07 and a run's classifiers; its papermill."""
    shutil.copy(ROOT / "notebooks" / f"{NOTEBOOK}.ipynb", repository / "notebooks")
    for name in ("first flight", "second"):
        (tmp_path / name).mkdir()
    for name in ("classifier", "classifier_retrained", "classifier_winter"):
        runs.write_text(repository / f"runs/embedded/seed0/{name}.safetensors", "weights")
    monkeypatch.chdir(tmp_path)
    return ["first flight", "second", "30"]


def notebook_that(monkeypatch, status, outputs=()):
    """Let papermill end at once; returns what it was called with."""
    called = []

    def watch(words, log):
        called.append(words)
        log.write_text("some lines\nthe last line\n")
        cell = nbformat.v4.new_code_cell("1", outputs=list(outputs))
        if outputs:
            nbformat.write(nbformat.v4.new_notebook(cells=[cell]), log.with_suffix(".ipynb"))
        return status

    monkeypatch.setattr(stages, "watch", watch)
    return called


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({0: ""}, "FIRST=: found nothing, expected a folder of frames, or one panorama"),
        ({1: "third"}, "SECOND=third: found no such file or folder, expected a folder of frames"),
        *(({2: width}, f"VEHICLE_PX: found '{width}', expected the width of a car in pixels, such as 30")
          for width in ("", "30 px", "0", "nan", "inf", "-3", "5.9")),
        ({3: "--place="}, "PLACE: found nothing, expected a plain name"),
        ({3: "--place=a/b"}, "place: found 'a/b', expected a plain name, without folders"),
        ({3: "--profile=embeded"}, "PROFILE: found 'embeded', expected one of embedded"),
        ({3: "--arm=winte"}, "ARM: found 'winte', expected one of none, continued"),
        ({3: "--arm=oversampled"}, "classifier_oversampled.safetensors: found no such file, expected the "
                                   "output of an earlier step; make it with: make reproduce"),
    ],
)  # fmt: skip
def test_what_is_asked_for_is_checked_before_anything_is_written(asked, monkeypatch, capsys, change, told):
    called = notebook_that(monkeypatch, 0)
    words = [change.get(k, word) for k, word in enumerate([*asked, "--place=yard"])]
    assert compare_flights.main(words) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1
    assert not called and not (settings.ROOT / "runs/embedded/seed0/places").exists()


def test_the_notebook_gets_what_is_asked_for(asked, tmp_path, monkeypatch, capsys):
    called = notebook_that(monkeypatch, 0)
    more = ["--place", "yard", "--arm", "winter", "--partial", "-p", "unsure", "0.7"]
    assert compare_flights.main(asked + more) == 0
    assert capsys.readouterr().out == "runs/embedded/seed0/places/yard/report.html\n"
    given = " ".join(called[0])
    for words in (
        f"notebooks/{NOTEBOOK}.ipynb runs/embedded/seed0/places/yard/notebook.ipynb", "-r profile embedded",
        f"-r first_flight {tmp_path / 'first flight'}", f"-r second_flight {tmp_path / 'second'}",
        "-r place yard", "-p vehicle_px 30", "-r arm winter", "-p partial True", "-p unsure 0.7",
    ):  # fmt: skip
        assert words in given
    named = set(called[0][called[0].index("-r") :]) & set(settings.declared(NOTEBOOK))
    assert named == {"profile", "split", "seed", "first_flight", "second_flight", "place", "vehicle_px",
                     "arm", "partial", "unsure"}  # fmt: skip


def test_a_profile_s_own_values_hold(asked, repository, monkeypatch):
    called = notebook_that(monkeypatch, 0)
    runs.write_text(repository / "params/own" / f"{NOTEBOOK}.yaml", "profile: own\narm: winter\n")
    for name in ("classifier", "classifier_winter"):
        runs.write_text(repository / f"runs/own/seed0/{name}.safetensors", "weights")
    assert compare_flights.main([*asked, "--profile", "own"]) == 0
    given = " ".join(called[0])
    assert f"-f params/own/{NOTEBOOK}.yaml" in given and "-r arm winter" in given and "partial" not in given


def test_the_first_run_of_the_profile_is_asked(asked, repository, monkeypatch):
    called = notebook_that(monkeypatch, 0)
    runs.write_text(repository / "params/own/profile.yaml", "sequence: [3, 4]\n")
    for name in ("classifier", "classifier_retrained"):
        runs.write_text(repository / f"runs/own/seed3-sequence/{name}.safetensors", "weights")
    assert compare_flights.main([*asked, "--profile", "own"]) == 0
    given = " ".join(called[0])
    assert "-r split sequence -p seed 3" in given and "runs/own/seed3-sequence/places/place/" in given


def test_a_failure_tells_this_notebook_s_error(asked, repository, monkeypatch, capsys):
    error = nbformat.v4.new_output("error", ename="InputError", evalue="a.jpg: found mud\n", traceback=[])
    notebook_that(monkeypatch, 1, [error])
    assert compare_flights.main(asked) == 1
    assert capsys.readouterr().err == "InputError: a.jpg: found mud\n"
    notebook_that(monkeypatch, 1)  # fails before it writes a notebook: the one of before says nothing of it
    page = runs.write_text(repository / "runs/embedded/seed0/places/place/report.html", "of before")
    assert compare_flights.main(asked) == 1
    told = "runs/embedded/seed0/places/place/report.html is of an earlier comparison"
    assert capsys.readouterr().err == f"the last line\n{told}\n" and page.exists()
