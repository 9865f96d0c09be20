"""What the numbers of a profile are from, and how long they took."""

import os

import pytest

from lib import machine, provenance, report, runs


def test_the_clock_counts_what_ran_side_by_side_once(make_run, repository):
    folder = make_run("embedded", (0, 1))
    assert provenance.timing("embedded", ["seed0", "seed1"])["on_the_clock"] is None  # some were run by hand
    spans = [[100, 160], [120, 170], [150, 155], [400, 420], [420, 430]]
    files = sorted(folder.glob("*/timing/*.json"))
    assert len(files) == len(spans)
    for file, span in zip(files, spans, strict=True):
        runs.write_json(file, runs.read_json(file) | {"clock": span})
    times = provenance.timing("embedded", ["seed0", "seed1"])
    assert times["on_the_clock"] == 70 + 30
    assert report.timing_text(times).splitlines()[-1].split() == ["on", "the", "clock", "100"]


def test_provenance(make_run, repository):
    make_run("embedded", (0,))
    runs.write_text(repository / "requirements.txt", "")
    report.text("embedded")
    found = runs.read_json(repository / "runs/embedded/summary/provenance.json")
    assert found["lock_sha256"] == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert found["commit"] is None and found["uncommitted_changes"] is None  # no repository here
    assert found["data"]["fingerprint"] == "abc" and found["data"]["frames"]["val"]["found"] == 456
    assert found["path"]["threads"] == 2 and found["machine"]["torch"]
    assert found["machine"]["instructions"] == machine.instructions()
    assert found["data"]["winter_fingerprint"] is None
    assert found["parameters"]["02_classifier_training"] == {
        "profile": "embedded",
        "winter_folder": "",
        "steps": 5,
    }
    assert str(repository) not in str(found)


def test_provenance_is_of_the_run_not_of_the_report(make_run, repository):
    folder = make_run("embedded", (0,))
    report.text("embedded")
    target = folder / "summary/provenance.json"
    kept = target.read_bytes()
    runs.write_json(folder / "crops/store.json", {"fingerprint": "other", "crops": 1, "size": 32})
    report.text("embedded")
    assert target.read_bytes() == kept
    later = target.stat().st_mtime + 10
    os.utime(folder / "seed0/notebooks/01_data_preparation.ipynb", (later, later))
    report.text("embedded")
    assert runs.read_json(target)["data"]["fingerprint"] == "other"


def test_the_machine_is_that_of_the_training(make_run, repository):
    """Wherever the table is made: a run on a GPU may be collected on a laptop."""
    folder = make_run("embedded", (0,))
    there = machine.facts() | {"processor": "Xeon", "gpu": "H200", "torch": "2.0"}
    file = folder / "seed0/timing/02_classifier_training.json"
    runs.write_json(file, {"seconds": 1.0, "machine": there})
    assert provenance.provenance("embedded", ["seed0"])["machine"] == there | {"gpu": None}  # unused there
    classifier = folder / "seed0/metrics/classifier.json"
    told = runs.read_json(classifier)
    runs.write_json(classifier, told | {"path": told["path"] | {"device": "cuda"}})
    assert provenance.provenance("embedded", ["seed0"])["machine"] == there
    runs.write_json(file, {"seconds": 1.0})  # of older code
    assert provenance.provenance("embedded", ["seed0"])["machine"] == machine.facts() | {"gpu": "unknown"}


def test_provenance_holds_the_user_s_winter(make_run, repository):
    folder = make_run("embedded", (0,))
    path = folder / "seed0/metrics/data.json"
    runs.write_json(path, runs.read_json(path) | {"winter": "winter crops"})
    with pytest.raises(runs.MissingStep, match="winter/store.json.* make reproduce PROFILE=embedded"):
        provenance.provenance("embedded", ["seed0"])
    runs.write_json(folder / "winter/store.json", {"fingerprint": "mine", "crops": 7})
    found = provenance.provenance("embedded", ["seed0"])["data"]
    assert (found["fingerprint"], found["winter_fingerprint"]) == ("abc", "mine")


@pytest.mark.parametrize("text, name, has", [
    ("model name\t: Xeon\nflags\t\t: fpu fma avx2 avx512_bf16\nflags\t\t: fma\n", "Xeon",
     ["fma", "avx2", "avx512_bf16"]),
    ("processor\t: 0\nFeatures\t: fp asimd bf16 bf16x\n", None, ["asimd", "bf16"]),
    (None, None, []),
])  # fmt: skip
def test_the_processor_is_known_by_what_it_can_do(monkeypatch, tmp_path, text, name, has):
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "cpuinfo")
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    assert machine.instructions() == has
    assert machine.processor() and (name is None or machine.processor() == name)
