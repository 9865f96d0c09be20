"""Where the frames come from: the user's folder, or data/visdrone and a download; the user's winter."""

import numpy as np
import pytest
from PIL import Image

from lib import data, visdrone
from lib.crops import cut_crops
from lib.runs import InputError, MissingStep, write_json
from lib.settings import Run
from lib.visdrone import CAR, CLASSES, OFFICIAL, read_objects


def make_set(folder, name, frames=1):
    """A set of frames, each with one car."""
    base = folder / OFFICIAL.format(name)
    for part in ("images", "annotations"):
        (base / part).mkdir(parents=True, exist_ok=True)
    for k in range(frames):
        Image.new("RGB", (64, 48), (90, 120, 60)).save(base / "images" / f"{name}_{k}.jpg")
        (base / "annotations" / f"{name}_{k}.txt").write_text("5,6,20,12,1,4,0,0\n")


@pytest.fixture
def place(repository, monkeypatch):
    """data/visdrone of an empty repository; no other data on the machine, and sets of two frames."""
    monkeypatch.setattr(data, "ROOT", repository)
    monkeypatch.setattr(data, "SETS", {"train": 2, "val": 2, "test-dev": 2})
    monkeypatch.setattr(visdrone, "data_folder", lambda: None)
    monkeypatch.delenv("DRONE_DATA", raising=False)
    return repository / "data" / "visdrone"


@pytest.fixture
def own(place, tmp_path, monkeypatch):
    """A user's folder, as DRONE_DATA names it."""
    monkeypatch.setattr(visdrone, "data_folder", lambda: tmp_path / "mine")
    return tmp_path / "mine"


@pytest.fixture
def asked(monkeypatch):
    """Calls of `download`, which brings what is not there."""
    calls = []

    def download(folder, sets):
        calls.append((folder, list(sets)))
        for name in sets:
            if not (folder / OFFICIAL.format(name)).exists():
                make_set(folder, name, 2)

    monkeypatch.setattr(data, "download", download)
    return calls


def find(sets, folder=""):
    run = Run("mine", "object", 0, "01_data_preparation")
    return data.find_objects(run, "visdrone", str(folder), sets, 0, 0, "strict", 5)


def test_an_interrupted_download_goes_on(place, asked):
    place.mkdir(parents=True)
    (place / f"{OFFICIAL.format('val')}.zip.part").write_bytes(b"half")
    assert find(["val"]).frames == {"val": 2}
    assert asked == [(place, ["val"])]


def test_sets_that_are_not_there_are_downloaded(place, asked):
    make_set(place, "val", 2)
    assert find(["train", "val", "test-dev"]).frames == {"train": 2, "val": 2, "test-dev": 2}
    assert asked == [(place, ["train", "val", "test-dev"])]


def test_a_folder_with_other_sets_does_not_count(place, own, asked):
    make_set(own, "train")
    objects = find(["val"])
    assert objects.folder == place and asked == [(place, ["val"])]


@pytest.mark.parametrize("below", ["", "visdrone"])
def test_a_users_folder_is_taken_as_it_is(own, asked, capsys, below):
    make_set(own / below, "val", 1)
    objects = find(["train", "val", "test-dev"])
    assert objects.frames == {"val": 1} and objects.folder == own / below and asked == []
    assert "left out: train, test-dev\n" in capsys.readouterr().out
    assert find(["val"]).frames == {"val": 1} and capsys.readouterr().out == ""


def test_whole_sets_ask_for_no_download(place, asked):
    for name in ("train", "val"):
        make_set(place, name, 2)
    assert find(["train", "val"]).frames == {"train": 2, "val": 2} and asked == []


def test_a_named_folder_is_taken_as_it_is(place, tmp_path, asked):
    make_set(tmp_path / "named", "val", 1)
    assert find(["train", "val"], tmp_path / "named").frames == {"val": 1}
    with pytest.raises(InputError, match="no such folder"):
        find(["val"], tmp_path / "nowhere")
    assert asked == []


def test_an_unknown_set(place):
    with pytest.raises(InputError, match="found 'vall', expected one of train, val, test-dev"):
        find(["vall"])


@pytest.mark.parametrize("sets", [["valid"], ["VisDrone2019-DET-val"], ["val", "test"], [], [3]])
def test_a_fault_of_the_sets_is_none_of_the_folder(own, asked, monkeypatch, sets):
    make_set(own, "val")
    monkeypatch.setenv("DRONE_DATA", str(own))
    with pytest.raises(InputError, match="^sets: found .*, expected one of train, val, test-dev$"):
        find(sets)
    assert asked == []


# Winter pictures of the user


@pytest.fixture
def flight(tmp_path):
    """One frame with a car and a van, as numbers 1 and 0, and no file that names them."""
    folder = tmp_path / "deep" / "flight"
    folder.mkdir(parents=True)
    Image.fromarray(np.full((100, 200, 3), 230, np.uint8)).save(folder / "a.png")
    (folder / "a.txt").write_text("1 0.2 0.3 0.2 0.2\n0 0.7 0.7 0.4 0.4\n")
    return folder


def test_class_names_can_be_given(place, flight):
    run = Run("mine", "object", 0, "01_data_preparation")
    with pytest.raises(InputError, match="no class names"):
        data.cut_winter(run, "frames", str(flight), "yolo", [])
    store = data.cut_winter(run, "frames", str(flight), "yolo", ["van", "car"])
    assert store.table["label"].tolist() == [CAR] and store.info["drops"] == {"class van": 1}
    store = data.cut_winter(run, "frames", str(flight), "yolo", ["car", "bus"])
    assert store.table["label"].tolist() == [CLASSES.index("bus"), CAR]
    with pytest.raises(InputError, match="winter_classes: found False"):
        data.cut_winter(run, "frames", str(flight), "yolo", ["car", False])
    with pytest.raises(InputError, match=r"a\.txt:1: found class '1'"):
        data.cut_winter(run, "frames", str(flight), "yolo", ["car"])
    assert data.cut_winter(run, "simulated", "", "yolo", []) is None
    with pytest.raises(InputError, match="winter_folder: found .*expected winter_source: crops or frames"):
        data.cut_winter(run, "simulated", str(flight), "yolo", [])


def test_winter_pictures_without_a_car_or_under_the_smallest_side(place, flight):
    run = Run("mine", "object", 0, "01_data_preparation")
    with pytest.raises(InputError, match=r"found no car \(left out: class a: 1, class b: 1\), expected pict"):
        data.cut_winter(run, "frames", str(flight), "yolo", ["a", "b"])
    with pytest.raises(InputError, match="found no car .*side under 5000 px"):
        data.cut_winter(run, "frames", str(flight), "yolo", ["van", "car"], minimum_side=5000)


def test_stores_that_are_not_there_name_their_command(place, flight, tmp_path):
    run = Run("mine", "sequence", 5, "02_classifier_training")
    command = r"\.venv/bin/python -m lib\.stages 01_data_preparation mine seed5-sequence$"
    with pytest.raises(MissingStep, match=rf"crops/store\.json: .*{command}"):
        data.open_stores(run, "simulated winter")
    make_set(tmp_path / "data", "val", 2)
    cut_crops(read_objects(tmp_path / "data"), run.shared / "crops")
    store, winter = data.open_stores(run, "simulated winter")
    assert len(store) == 2 and winter is None
    with pytest.raises(MissingStep, match=rf"winter/store\.json: .*{command}"):
        data.open_stores(run, "winter frames")
    data.cut_winter(run, "frames", str(flight), "yolo", ["van", "car"])
    store, winter = data.open_stores(run, "winter frames")
    assert len(store) == 2 and len(winter) == 1
    (run.shared / "crops" / "crops.npy").unlink()
    with pytest.raises(MissingStep, match=rf"crops/crops\.npy: .*{command}"):
        data.open_stores(run, "winter frames")


def test_crops_that_the_division_is_not_of_are_refused(place, flight, tmp_path):
    """Another run's notebook 01 cut them anew, with other parameters."""
    run = Run("mine", "object", 0, "02_classifier_training")
    make_set(tmp_path / "data", "val", 2)
    store = cut_crops(read_objects(tmp_path / "data"), run.shared / "crops")
    write_json(run.path("metrics/data.json"), {"fingerprint": store.info["fingerprint"]})
    assert len(data.open_stores(run, "simulated winter")[0]) == 2
    write_json(run.path("metrics/data.json"), {"fingerprint": "other"})
    with pytest.raises(InputError, match=r"store\.json: found other crops .*01_data_preparation mine"):
        data.open_stores(run, "simulated winter")


def test_a_folder_that_was_named_is_not_passed_over_for_a_download(place, asked, monkeypatch):
    monkeypatch.setenv("DRONE_DATA", "/one/level/too/deep")
    with pytest.raises(InputError, match=r"DRONE_DATA=/one/level/too/deep: found none of VisDrone2019"):
        find(["val"])
    assert not asked


def test_a_folder_that_was_named_is_told_where_another_is_read(place, asked, monkeypatch, capsys):
    make_set(place, "val", 2)
    find(["val"])
    assert "DRONE_DATA" not in capsys.readouterr().out
    monkeypatch.setenv("DRONE_DATA", "/elsewhere")
    assert find(["val"]).frames == {"val": 2} and not asked
    told = "DRONE_DATA=/elsewhere has none of VisDrone2019-DET-val: data/visdrone is read"
    assert told in capsys.readouterr().out


def test_a_folder_of_frames_is_not_ignored_where_scenes_are_drawn(place):
    run = Run("mine", "object", 0, "01_data_preparation")
    with pytest.raises(InputError, match=r"data_folder: found '/some', expected source: visdrone"):
        data.find_objects(run, "scenes", "/some", [], 0, 0, "strict", 5)


@pytest.mark.parametrize(
    ("source", "boxes", "classes", "told"),
    [
        ("snow", "yolo", [], "winter_source: found 'snow', expected one of simulated, crops, frames"),
        ("frames", "coco", [], "winter_boxes: found 'coco', expected one of yolo, visdrone"),
        ("crops", "yolo", ["bus"], "winter_classes: found .'bus'., expected winter frames with YOLO"),
        ("frames", "visdrone", ["bus"], "winter_classes: found .'bus'., expected winter frames with YOLO"),
    ],
)
def test_what_a_winter_folder_cannot_be_is_told(place, tmp_path, source, boxes, classes, told):
    run = Run("mine", "object", 0, "01_data_preparation")
    with pytest.raises(InputError, match=told):
        data.cut_winter(run, source, str(tmp_path), boxes, classes)


def test_winter_crops_that_another_run_cut_anew_are_noticed(repository):
    run = Run("mine", "object", 0, "02_classifier_training")
    for name, mark in (("crops", "a"), ("winter", "b")):
        folder = run.shared / name
        folder.mkdir(parents=True)
        np.save(folder / "crops.npy", np.zeros((0, 32, 32, 3), np.uint8))
        (folder / "crops.csv").write_text("set,frame,sequence,line,x,y,width,height,label\n")
        write_json(folder / "store.json", {"crops": 0, "size": 32, "fingerprint": mark})
    about = {"fingerprint": "a", "winter_fingerprint": "b"}
    write_json(run.path("metrics/data.json"), about)
    assert data.open_stores(run, "winter crops")[1].info["fingerprint"] == "b"
    write_json(run.path("metrics/data.json"), about | {"winter_fingerprint": "c"})
    with pytest.raises(InputError, match=r"winter/store.json: found other crops than this run's"):
        data.open_stores(run, "winter crops")
