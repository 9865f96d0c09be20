"""The drawn drone scenes: same bytes for a seed, valid rows, VisDrone-like shares, whole or not at all."""

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from lib import scenes
from lib.runs import InputError, read_json
from lib.visdrone import CATEGORIES, CLASSES, SETS, read_objects

SMALL = {"seed": 5, "sequences": 3, "frames_per_sequence": 2, "size": (320, 180), "objects_per_frame": 30.0}


def content(folder: Path) -> dict:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return scenes.draw_scenes(tmp_path_factory.mktemp("small"), workers=1, **SMALL)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Ten sequences, so each kind of place occurs once."""
    return scenes.draw_scenes(tmp_path_factory.mktemp("large"), seed=1, sequences=10, frames_per_sequence=1)


def test_same_seed_same_bytes_whatever_the_workers(small, tmp_path):
    assert content(scenes.draw_scenes(tmp_path / "again", workers=2, **SMALL)) == content(small)


def test_another_seed_draws_other_frames(small, tmp_path):
    other = scenes.draw_scenes(tmp_path / "other", workers=1, **(SMALL | {"seed": 6}))
    ours, theirs = content(small), content(other)
    assert not {ours[name] for name in ours if name.endswith(".jpg")} & set(theirs.values())


def test_layout_is_the_official_one_and_every_set_has_a_sequence(small):
    parts = {scenes.OFFICIAL.format(name) for name in SETS}
    assert {path.name for path in small.iterdir()} == parts | {"scenes.json"}
    for name in SETS:
        part = small / scenes.OFFICIAL.format(name)
        images = {path.stem for path in (part / "images").iterdir()}
        assert images and images == {path.stem for path in (part / "annotations").iterdir()}
    assert sum(read_json(small / "scenes.json")["frames"].values()) == 6


def test_rows_have_eight_whole_numbers_inside_the_frame(large):
    found = Counter()
    for path in sorted(large.rglob("*.txt")):
        assert cv2.imread(str(path.parents[1] / "images" / f"{path.stem}.jpg")).shape == (540, 960, 3)
        for line in path.read_text().splitlines():
            left, top, width, height, score, category, truncation, occlusion = map(int, line.split(","))
            assert left >= 0 and top >= 0 and width >= 0 and height >= 0
            assert left + width <= 960 and top + height <= 540
            assert score == (category not in (0, 11)) and 0 <= category <= 11
            assert truncation in (0, 1) and occlusion in (0, 1, 2)
            found[category] += 1
    assert set(CATEGORIES) < set(found)  # the six, and some that are left out
    assert {int(key): count for key, count in read_json(large / "scenes.json")["rows"].items()} == found


def test_shares_and_sizes_are_like_visdrone(large):
    table = read_objects(large).table
    assert 400 < len(table) < 900  # about 60 a frame
    shares = table["label"].value_counts(normalize=True)
    expected = {"car": (0.42, 0.60), "pedestrian": (0.20, 0.36), "motorcycle": (0.07, 0.16),
                "truck": (0.02, 0.08),
                "bus": (0.008, 0.05), "ignored region": (0.015, 0.07)}
    for name, (low, high) in expected.items():
        assert low <= shares[CLASSES.index(name)] <= high, name
    assert 20 <= table["width"].median() <= 34
    assert (table["width"] < 15).mean() > 0.1 and (table["width"] > 80).mean() > 0.02


def test_frames_of_a_sequence_share_the_place(tmp_path):
    folder = scenes.draw_scenes(tmp_path, workers=1, **(SMALL | {"objects_per_frame": 1.0}))
    looks = {}
    for path in sorted(folder.rglob("*.jpg")):
        shrunk = cv2.resize(cv2.imread(str(path)), (16, 9), interpolation=cv2.INTER_AREA).astype(float)
        looks.setdefault(path.stem.split("_")[0], []).append(shrunk)
    assert len(looks) == 3 and all(len(frames) == 2 for frames in looks.values())
    within = [np.abs(a - b).mean() for a, b in looks.values()]
    firsts = [frames[0] for frames in looks.values()]
    between = [np.abs(firsts[i] - firsts[j]).mean() for i, j in ((0, 1), (0, 2), (1, 2))]
    assert 0 < min(within) and np.mean(within) < 0.6 * np.mean(between)


def test_a_complete_folder_is_returned_at_once(small, monkeypatch):
    monkeypatch.setattr(scenes, "_draw_sequence", lambda job: pytest.fail("drew again"))
    assert scenes.draw_scenes(small, workers=1, **SMALL) == small


def test_an_interrupted_drawing_is_not_complete_and_is_done_again(small, tmp_path, monkeypatch):
    draw, calls = scenes._draw_sequence, []

    def stops(job):
        if calls:
            raise KeyboardInterrupt
        calls.append(job)
        return draw(job)

    monkeypatch.setattr(scenes, "_draw_sequence", stops)
    with pytest.raises(KeyboardInterrupt):
        scenes.draw_scenes(tmp_path, workers=1, **SMALL)
    assert list(tmp_path.rglob("*.jpg")) and not (tmp_path / "scenes.json").exists()
    monkeypatch.undo()
    assert content(scenes.draw_scenes(tmp_path, workers=1, **SMALL)) == content(small)


def test_other_parameters_replace_an_older_drawing(tmp_path):
    scenes.draw_scenes(tmp_path, workers=1, **SMALL)
    fewer = SMALL | {"sequences": 1, "frames_per_sequence": 1}
    scenes.draw_scenes(tmp_path, workers=1, **fewer)
    assert len(list(tmp_path.rglob("*.jpg"))) == len(list(tmp_path.rglob("*.txt"))) == 1


def test_a_folder_with_other_frames_is_left_alone(tmp_path):
    real = tmp_path / "VisDrone2019-DET-val" / "annotations" / "0000001_02999_d_0000005.txt"
    real.parent.mkdir(parents=True)
    real.write_text("1,2,30,40,1,4,0,0\n")
    with pytest.raises(InputError, match="no drawn frame"):
        scenes.draw_scenes(tmp_path, workers=1, **SMALL)
    assert real.read_text() == "1,2,30,40,1,4,0,0\n"


@pytest.mark.parametrize("wrong", [{"sequences": 0}, {"frames_per_sequence": 1.5}, {"size": (10, 540)},
                                   {"seed": -1}])
def test_wrong_numbers_are_named(tmp_path, wrong):
    with pytest.raises(InputError, match="expected a whole number of at least"):
        scenes.draw_scenes(tmp_path / "none", **(SMALL | wrong))
    assert not (tmp_path / "none").exists()
