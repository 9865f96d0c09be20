"""The benchmark that gives the winter non-cars as much snow as the cars."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from benchmarks import equal_snow
from lib import data, runs
from lib.arms import weights_file
from lib.division import Division
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
    """A run with two frames of persons, a car and a truck each, its division and one classifier."""
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
    save_network(run.path(weights_file("none")), build_classifier())
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
    found = runs.read_json(equal_snow.FOLDER / "equal_snow_own_seed0.json")
    assert found["objects"] == 6 and list(found["arms"]) == ["none"] and found["run"] == "own/seed0"
    told = found["arms"]["none"]
    for snow in ("measured", "as_on_cars"):
        by_class = told[snow]["by_class"]
        assert sum(one["denominator"] for one in by_class.values()) == told[snow]["denominator"] == 6
        assert sum(one["numerator"] for one in by_class.values()) == told[snow]["numerator"]
    assert capsys.readouterr().out.startswith("6 winter non-cars, called car, %")


def test_other_frames_or_another_winter_are_told(run, repository, capsys):
    for file in (repository / "frames").rglob("*.jpg"):
        Image.new("RGB", (200, 80), (90, 120, 60)).save(file)
    assert equal_snow.main([str(run.folder)]) == 2
    assert "found other pixels than these frames give" in capsys.readouterr().err
    runs.write_json(run.path("metrics/data.json"), {"winter": "winter crops"})
    assert equal_snow.main([str(run.folder)]) == 2
    assert "winter: 'winter crops', expected simulated winter" in capsys.readouterr().err
    assert not equal_snow.FOLDER.exists()
