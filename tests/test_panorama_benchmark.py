"""benchmarks/panorama.py: what it counts, and that it ends with one JSON or one line."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from benchmarks import panorama, panorama_changes, panorama_drawn, panorama_growth
from benchmarks.panorama_changes import Moment, assign, figures, pair_of
from lib.changes import Region
from lib.registration import Registration

CLASSES = ["car", "van", "pedestrian"]
CAR = (36, 18)  # width, height; pixels
SHAPE = (400, 600)


def _ground(shape, seed):
    """Roads, houses, lawns: RGB uint8, enough in it to be registered."""
    rng = np.random.default_rng(seed)
    height, width = shape
    ground = np.full((height, width, 3), (96, 100, 92), np.uint8)
    for _ in range(90):
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        w, h = (int(n) for n in rng.integers(3, 26, 2))
        cv2.rectangle(ground, (x, y), (x + w, y + h), rng.integers(60, 140, 3).tolist(), -1)
    noise = cv2.GaussianBlur(rng.normal(0, 25, (height, width, 1)), (0, 0), 4)[..., None]
    return np.clip(ground + noise, 0, 255).astype(np.uint8)


def _write(folder, name, shape, seed, cars, shift=(0, 0), labels=True):
    """A moment: its picture and its labels; cars: centres and colours, with the class number."""
    ground, rows = np.roll(_ground(shape, seed), shift, axis=(1, 0)), []
    for x, y, colour, label in cars:
        x, y = x + shift[0], y + shift[1]
        w, h = CAR
        low, high = (x - w // 2, y - h // 2), (x + w // 2 - 1, y + h // 2 - 1)
        cv2.rectangle(ground, low, high, colour, -1)
        cv2.rectangle(ground, (x - 6, low[1] + 2), (x + 2, high[1] - 2), (40, 45, 60), -1)
        rows.append(f"{label} {x / shape[1]} {y / shape[0]} {w / shape[1]} {h / shape[0]}")
    cv2.imwrite(str(folder / name), ground[..., ::-1])
    if labels:
        (folder / name).with_suffix(".txt").write_text("\n".join(rows))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five moments of two sizes, one without labels; classes.txt in the parent."""
    parent = tmp_path_factory.mktemp("data of a city")
    (parent / "classes.txt").write_text("\n".join(CLASSES))
    place = parent / "frames"
    place.mkdir()
    white, red = (240, 240, 235), (200, 30, 30)
    stays = (300, 200, white, 0)
    _write(place, "f1.png", SHAPE, 1, [stays, (120, 100, red, 0)])
    _write(place, "f2.png", SHAPE, 1, [stays, (450, 280, white, 0)], (3, -2))
    _write(place, "f10.png", SHAPE, 1, [stays, (200, 320, red, 0)], (-2, 4))
    _write(place, "other.png", (260, 320), 2, [(100, 100, white, 1)])
    _write(place, "bare.png", (260, 320), 3, [], labels=False)
    return place


def _moment(boxes, classes=None, ignored=(), others=()):
    boxes, ignored, others = (np.array(x, float).reshape(-1, 4) for x in (boxes, ignored, others))
    return Moment("m", None, (), SHAPE, boxes, classes or ["car"] * len(boxes), others, ignored)


def _pair(one, two, matrix=None):
    matrix = np.eye(3) if matrix is None else matrix
    return pair_of(one, two, Registration(matrix, np.zeros((16, 24, 2), np.float32), 99, 0.0), 18.0)


A, B, C, D = ((50, 50, 36, 18), (200, 80, 36, 18), (400, 200, 36, 18), (300, 320, 36, 18))


def _regions(*those):
    return [Region(tuple(float(n) for n in box), seen, 0.9) for box, seen in those]


def test_perfect_and_broken_detections():
    pair = _pair(_moment([A, B]), _moment([B, C], ["car", "van"]))
    assert [(tuple(box), seen, name) for box, seen, name in pair.changes] == [
        (A, "first", "car"), (C, "second", "van")]  # fmt: skip
    perfect = figures([assign(pair, _regions((A, "first"), (C, "second")))])
    assert (perfect["recall"], perfect["precision"], perfect["f1"]) == (1, 1, 1)
    nothing = figures([assign(pair, [])])
    assert (nothing["recall"], nothing["precision"], nothing["f1"]) == (0, None, 0)
    # one right, one in the wrong moment, one twice, one of what stayed: 1 of 4, 1 of 2 found
    broken = assign(pair, _regions((A, "first"), (C, "first"), ((52, 51, 36, 18), "first"), (B, "second")))
    assert len(broken["hits"]) == 1
    broken = figures([broken])
    assert (broken["recall"], broken["precision"]) == (0.5, 0.25)
    assert broken["f1"] == pytest.approx(2 / 6, abs=1e-4)
    either = figures([assign(pair, _regions((A, "first"), (C, "first")), either=True)])
    assert (either["recall"], either["precision"]) == (1, 1)


def test_a_replaced_vehicle_is_neither_change_nor_error():
    pair = _pair(_moment([A, B]), _moment([B]))
    over = (204, 81, 36, 18)
    result = figures([assign(pair, _regions((A, "first"), (B, "first"), (over, "second")))])
    assert (result["changes"], result["regions"], result["found"]) == (1, 1, 1)
    result = figures([assign(pair, _regions((A, "first"), (B, "first")), either=True)])
    assert (result["regions"], result["found"]) == (1, 1)
    # where no vehicle is, two errors over each other are two
    errors = _regions((A, "first"), (D, "first"), (D, "second"))
    assert figures([assign(pair, errors)])["precision"] == pytest.approx(1 / 3, abs=1e-4)
    # and a vehicle that left is found, whatever is seen there at the other moment
    result = figures([assign(pair, _regions((A, "first"), ((52, 50, 36, 18), "second")))])
    assert (result["regions"], result["found"]) == (2, 1)


def test_vehicles_without_label_and_people_do_not_count():
    one, two = _moment([A], ignored=[D]), _moment([], others=[C])
    pair = _pair(one, two)
    regions = _regions((A, "first"), (D, "first"), (C, "second"))
    assert figures([assign(pair, regions)])["precision"] == 1
    bare = _pair(_moment([A]), _moment([]))
    assert figures([assign(bare, regions)])["precision"] == pytest.approx(1 / 3, abs=1e-4)
    # at the other moment they are errors
    other = _regions((A, "first"), (D, "second"), (C, "first"))
    assert figures([assign(pair, other)])["precision"] == pytest.approx(1 / 3, abs=1e-4)
    assert figures([assign(pair, other, either=True)])["precision"] == 1
    # a vehicle that one moment labels and the other only shows has not changed
    assert not _pair(_moment([A]), _moment([], ignored=[A])).changes


def test_nothing_counts_at_the_border_of_what_both_show():
    """The second camera is turned by 30 degrees around the middle: the corners are the first's alone."""
    middle = (SHAPE[1] / 2, SHAPE[0] / 2)
    turned = np.vstack([cv2.getRotationMatrix2D(middle, 30, 1), [0, 0, 1]])
    corner, inside, edge = (12, 12, 36, 18), (282, 191, 36, 18), (282, 3, 36, 18)
    pair = _pair(_moment([corner, inside, edge]), _moment([]), turned)
    result = assign(pair, _regions((corner, "first"), (inside, "first"), (edge, "first")))
    assert [tuple(box) for box, *_ in result["changes"]] == [inside]
    assert len(result["regions"]) == len(result["hits"]) == 1
    straight = _pair(_moment([corner, inside, edge]), _moment([]))
    assert len(assign(straight, [])["changes"]) == 2  # the edge's car is cut by the margin


def test_the_last_line_is_the_result(folder, capsys, tmp_path):
    out = tmp_path / "found.json"
    assert panorama.main([str(folder), "--frames", "1", "--pairs", "3", "--out", str(out)]) == 0
    found = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert found == json.loads(out.read_text())
    keys = {"frames", "placed", "reprojection_px", "colour_error", "seconds"}
    assert keys <= set(found["stitching"])
    assert keys - {"frames"} <= set(found["stitching"]["opencv_stitcher"])
    changes = found["changes"]
    assert changes["pairs"] >= 2 and changes["changes"] >= 4
    assert changes["recall"] >= 0.75 and changes["precision"] >= 0.75
    usual = ("absolute_difference", "structural_similarity")
    for how in usual:
        assert {"recall", "precision", "f1", "threshold"} <= set(changes[how])
    (scene,) = changes["scenes"].values()  # by itself it is as all together
    assert scene == {key: changes[key] for key in scene} and {"recall", "pairs", *usual} <= set(scene)
    assert any("other.png" in reason for reason in changes["left_out"])
    assert found["classification"]["car_called_car"] is None
    assert "no run" in found["classification"]["reason"]
    assert found["classification"]["cars"] == changes["found"]
    assert "growth" not in found


def says(label, file):
    """The file of a classifier that gives everything this label; 1 is the car's."""
    import torch

    from lib.models import build_classifier
    from lib.weights import save_network

    numbers = {"groups": 1, "width": 8, "compression": 0.8}
    model = build_classifier(**numbers)
    with torch.no_grad():
        model.output.bias[label] = 1e6
    return save_network(file, model, **numbers)


def test_a_run_is_asked(folder, tmp_path):
    """A classifier that says car to everything, and arms that are missing."""
    moments, _ = panorama_changes.read_moments(folder)
    pairs, _ = panorama_changes.pairs_of(moments, 1)
    box = next(change for change in pairs[0].changes if change[1] == "first")[0]
    results = [(pairs[0], assign(pairs[0], _regions((box, "first"))))]
    for name, label in (("classifier", 0), ("classifier_retrained", 1)):
        says(label, tmp_path / f"{name}.safetensors")
    found = panorama.classification(str(tmp_path), "vae_transfer", results)
    assert found["cars"] == 1
    assert (found["car_called_car"], found["before"]) == (1.0, 0.0)
    assert "reason" not in found
    found = panorama.classification(str(tmp_path), "winter", results)
    assert found["car_called_car"] is None and "classifier_winter" in found["reason"]
    found = panorama.classification("no/such/run", "vae_transfer", results)
    assert found["car_called_car"] is None and "no such run" in found["reason"]


def test_other_classes_give_null_with_a_reason(tmp_path, capsys):
    (tmp_path / "classes.txt").write_text("lorry\npedestrian")
    for name, cars in (("1.png", [(120, 100, (240, 240, 240), 0)]), ("2.png", [])):
        _write(tmp_path, name, SHAPE, 1, cars)
    (tmp_path / "3.txt").write_text("0 0.5 0.5 0.1")  # belongs to no frame
    assert panorama.main([str(tmp_path), "--parts", "changes", "classification", "--run", "."]) == 0
    found = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert found["changes"]["changes"] == 1
    assert found["classification"]["car_called_car"] is None
    assert "lorry" in found["classification"]["reason"]


def test_frames_of_other_places_give_null_with_a_reason(tmp_path, capsys):
    (tmp_path / "classes.txt").write_text("car")
    for seed, name in enumerate(("1.png", "2.png")):
        _write(tmp_path, name, SHAPE, 10 + seed, [(120, 100, (240, 240, 240), 0)])
    (tmp_path / "3.png").write_bytes(b"no image")
    (tmp_path / "3.txt").write_text("0 0.5 0.5 0.1 0.1")
    assert panorama.main([str(tmp_path), "--parts", "changes", "--growth"]) == 0
    found = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert found["changes"]["recall"] is None and found["changes"]["pairs"] == 0
    assert found["changes"]["reason"] in found["changes"]["left_out"]
    assert found["growth"]["exponent"] is None and found["growth"]["reason"]


def test_drawn_places_in_two_seasons(tmp_path):
    """One small place, a classifier that calls nothing a car and one that calls everything so."""
    files = {"before": says(0, tmp_path / "a.safetensors"), "after": says(1, tmp_path / "b.safetensors")}
    found = panorama_drawn.measure(files, places=2, frames=(2, 2), vehicles=16)
    each = found["each"]
    assert found["failed"] == {} and found["places"] == len(each) == 2
    for key in ("vehicles", "found", "regions"):
        assert found[key] == each[0][key] + each[1][key] > 0
    assert found["recall"] == pytest.approx(found["found"] / found["vehicles"], abs=1e-4)
    precisions = [one["precision"] for one in each]
    assert min(precisions) - 1e-4 <= found["precision"] <= max(precisions) + 1e-4
    assert found["winter_cars"] == sum(one["cars"]["second"]["number"] for one in each) > 0
    assert (found["before"], found["after"]) == (0.0, 1.0)
    assert found["winter_others"] == sum(one["others"]["second"]["number"] for one in each) > 0
    assert found["winter_others_called_car"] == {"before": 0.0, "after": 1.0}


@pytest.mark.parametrize("lacking", ["labels", "classes", "frames", "folder"])
def test_a_folder_that_cannot_be_measured_gives_one_line(tmp_path, capsys, lacking):
    place = tmp_path / "a" / "b"
    place.mkdir(parents=True)
    if lacking != "classes":
        (place / "classes.txt").write_text("car")
    if lacking != "frames":
        for name in ("1.png", "2.png"):
            _write(place, name, (60, 80), 1, [], labels=lacking != "labels")
    if lacking == "folder":
        place = place / "none"
    assert panorama.main([str(place)]) == 2
    said = capsys.readouterr()
    assert not said.out and len(said.err.strip().splitlines()) == 1
    assert "expected" in said.err


def test_growth_of_small_pictures(folder):
    pairs, _ = panorama_changes.pairs_of(panorama_changes.read_moments(folder)[0], 2)
    first, second, seen = panorama_growth.mosaic(pairs, 0.3)
    assert first.shape == second.shape == (474, 633, 3) and seen.shape == (474, 633)
    assert (first[:400, :600] == pairs[0].first.frame).all()
    assert (first[400:, :600] == pairs[0].first.frame[::-1][:74]).all()
    assert np.abs(first.astype(int) - second)[seen].mean() < 25  # registered: mostly the same ground
    small = _pair(replace(_moment([A]), shape=(260, 320)), _moment([]))
    assert panorama_growth.of_the_largest([small, *pairs, small]) == pairs
    found = panorama_growth.measure(pairs, (0.3, 0.6))
    assert [entry["megapixels"] for entry in found["sizes"]] == pytest.approx([0.3, 0.6], rel=0.01)
    assert all(entry["seconds"] > 0 and entry["peak_gb"] > entry["pictures_gb"] for entry in found["sizes"])
    assert -3 < found["exponent"] < 3 and found["peak_gb"] < 4
