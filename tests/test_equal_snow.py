"""The benchmark that gives the winter non-cars as much snow as the cars."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from benchmarks import equal_snow
from lib import benchmark_claims, data, runs
from lib.arms import weights_file
from lib.division import Division
from lib.evaluation import answers
from lib.models import build_classifier
from lib.settings import DATA, ROOT, Run
from lib.snow import HOLD
from lib.visdrone import CAR, CLASSES, OFFICIAL
from lib.weights import save_network

NAMES = ("winter", "summer", "winter_test_cars", "winter_test_noncars", "winter_valid_cars",
         "winter_valid_noncars")  # fmt: skip
BOXES = "20,20,24,30,1,1,0,0\n60,24,30,24,1,4,0,0\n110,20,30,30,1,6,0,0\n150,20,24,30,1,1,0,0\n"


@pytest.fixture
def run(repository, monkeypatch):
    """A run with two frames of persons, a car and a truck each, its division and two classifiers, of which
    the control is the same one again."""
    monkeypatch.setattr(data, "ROOT", repository)
    monkeypatch.setattr(equal_snow, "FOLDER", repository / "figures/benchmarks")
    shutil.copy(ROOT / "notebooks" / f"{DATA}.ipynb", repository / "notebooks")
    base = repository / "frames" / OFFICIAL.format("val")
    for part in ("images", "annotations"):
        (base / part).mkdir(parents=True)
    for k in range(2):
        noise = np.random.default_rng(k).integers(40, 160, (80, 200, 3), dtype=np.uint8)
        Image.fromarray(noise).save(base / "images" / f"000000{k}_00000_d_0000001.jpg")
        (base / "annotations" / f"000000{k}_00000_d_0000001.txt").write_text(BOXES)
    values = f"profile: own\nsource: visdrone\ndata_folder: {repository / 'frames'}\nsets: [val]\n"
    runs.write_text(repository / "params/own" / f"{DATA}.yaml", values)
    run = Run("own", "object", 0, "06_evaluation")
    objects = data.find_objects(run, "visdrone", str(repository / "frames"), ["val"], 0, 0, "strict", 5)
    store = data.cut(run, objects)
    noncars = np.flatnonzero(store.table["label"].to_numpy() != CAR)
    rows = {name: np.empty(0, np.int64) for name in NAMES} | {"winter_test_noncars": noncars[::-1]}
    zeros = np.zeros(len(store), np.int8)
    Division(part=zeros, group=zeros, summary={}, **rows).write(run.path("division.npz"))
    about = {"winter": "simulated winter", "fingerprint": store.info["fingerprint"]}
    runs.write_json(run.path("metrics/data.json"), about)
    torch.manual_seed(0)
    model = build_classifier()
    for arm in ("none", "continued"):
        save_network(run.path(weights_file(arm)), model)
    return run


def test_the_same_objects_with_the_snow_of_a_car(run):
    own, as_car, labels, sequences = equal_snow.cut_twice(run)
    store, _ = data.open_stores(run, "simulated winter")
    noncars = store.table["label"].to_numpy() != CAR
    assert np.array_equal(own, store.winter[noncars]) and set(sequences) == {"0000000", "0000001"}
    person, truck = (CLASSES.index(name) for name in ("pedestrian", "truck"))
    assert sorted(pd.unique(labels)) == sorted([person, truck]) and HOLD[truck] == HOLD[CAR] > HOLD[person]
    assert np.array_equal(as_car[labels == truck], own[labels == truck])  # a truck holds what a car does
    assert (as_car[labels == person].astype(int) - own[labels == person]).mean() > 3  # whiter


def test_every_classifier_that_is_there_is_asked_about_both(run, capsys):
    assert equal_snow.main([str(run.folder)]) == 0
    found = runs.read_json(equal_snow.FOLDER / "equal_snow_own.json")
    assert found["objects"] == [6] and found["profile"] == "own" and found["runs"] == ["seed0"]
    assert set(found["arms"]) == {"none", "continued"}
    asked = equal_snow.called(run)["none"]
    for which in equal_snow.SNOWS:
        said, told = asked[which].predictions == CAR, found["arms"]["none"][which]
        assert told["value"] == pytest.approx(said.mean()) and told["low"] <= told["value"] <= told["high"]
        assert told["over_control"]["value"] == 0  # the same classifier
        for name, value in told["by_class"].items():
            assert value == said[asked[which].labels == CLASSES.index(name)].mean()
    assert "over_control" not in found["arms"]["continued"]["measured"]
    assert capsys.readouterr().out.startswith("6 winter non-cars, called car, %")


def answered(*counts):
    """Of 20 persons in as many recordings each arm calls so many car, in both snows."""
    labels, names = np.full(20, CLASSES.index("pedestrian")), np.arange(20).astype(str)
    said = {arm: np.where(np.arange(20) < count, CAR, labels) for arm, count in counts}
    return {arm: dict.fromkeys(equal_snow.SNOWS, answers(labels, one, names)) for arm, one in said.items()}


def test_several_runs_are_told_by_their_means(run, monkeypatch):
    told = {"seed0": answered(("continued", 10), ("vae_transfer", 14), ("winter", 20)),
            "seed1": answered(("continued", 12), ("vae_transfer", 18))}  # fmt: skip
    monkeypatch.setattr(equal_snow, "called", lambda asked: told[str(asked.name)])
    alone = equal_snow.measured([run])["arms"]["vae_transfer"]["measured"]
    assert alone["value"] == pytest.approx(0.7) and alone["over_control"]["value"] == pytest.approx(0.2)
    assert 0 < alone["over_control"]["low"] < 0.2 < alone["over_control"]["high"] < 0.5
    found = equal_snow.measured([run, Run("own", "object", 1, "06_evaluation")])
    assert found["runs"] == ["seed0", "seed1"] and found["objects"] == [20, 20]
    assert list(found["arms"]) == ["continued", "vae_transfer"]  # one that a run lacks is no mean
    entry = found["arms"]["vae_transfer"]["as_on_cars"]
    assert entry["value"] == pytest.approx(0.8) and entry["by_class"] == {"pedestrian": pytest.approx(0.8)}
    assert entry["over_control"]["value"] == pytest.approx(0.25)  # 0.2 and 0.3
    low, high = entry["over_control"]["low"], entry["over_control"]["high"]
    assert low < 0.2 and high > 0.3 and low + high == pytest.approx(0.5)
    lines = equal_snow.text(found).splitlines()
    assert lines[0].startswith("20 + 20 winter non-cars")
    assert lines[2] == "  after: 80.0 -> 80.0; over the control, points: +25.0 -> +25.0"
    row = benchmark_claims._equal_snow(found)
    assert row[0].startswith("40 winter non-cars of own (seed0, seed1) called car")
    assert "equal_snow runs/own/seed0 runs/own/seed1`" in row[1] and row[-1] == "55.0 → 55.0 / 80.0 → 80.0"


def test_runs_that_cannot_be_averaged_are_told(run):
    wrong = {
        "by sequence, expected runs of own, by object": Run("own", "sequence", 0, ""),
        "twice, expected every run once": run,
        "a variant, expected": Run("own", "object", 0, "", {"n_winter": 50}),
    }
    for message, other in wrong.items():
        with pytest.raises(runs.InputError, match=message):
            equal_snow.measured([run, other])


def test_other_frames_or_another_winter_are_told(run, repository, capsys):
    for file in (repository / "frames").rglob("*.jpg"):
        Image.new("RGB", (200, 80), (90, 120, 60)).save(file)
    assert equal_snow.main([str(run.folder)]) == 2
    assert "found other pixels than these frames give" in capsys.readouterr().err
    runs.write_json(run.path("metrics/data.json"), {"winter": "winter crops"})
    assert equal_snow.main([str(run.folder)]) == 2
    assert "winter: 'winter crops', expected simulated winter" in capsys.readouterr().err
    assert not equal_snow.FOLDER.exists()
