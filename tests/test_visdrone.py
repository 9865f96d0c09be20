"""The annotation reader, the folder reader and Table 1."""

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lib import visdrone
from lib.runs import InputError, read_json
from lib.visdrone import CATEGORIES, CLASSES, OFFICIAL, read_annotation, read_objects, table1

ROOT = Path(__file__).resolve().parents[1]
CAR_ROW = "10,20,30,40,1,4,0,0"
QUIET = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write_set(folder, frames, name="val", size=(200, 100), images=True):
    """frames: {stem: annotation text}."""
    base = folder / OFFICIAL.format(name)
    for part in ("annotations", "images"):
        (base / part).mkdir(parents=True, exist_ok=True)
    for stem, text in frames.items():
        (base / "annotations" / f"{stem}.txt").write_text(text)
        if images:
            Image.new("RGB", size, (90, 120, 60)).save(base / "images" / f"{stem}.jpg")
    return base


def annotation(tmp_path, content):
    path = tmp_path / "a.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_kept_rows_and_labels(tmp_path):
    rows = [f"{i},2,5,6,1,{category},0,0" for i, category in enumerate(CATEGORIES)]
    kept, drops = read_annotation(annotation(tmp_path, "\n".join(rows)))
    assert kept == [(i + 1, i, 2, 5, 6, label) for i, label in enumerate(CATEGORIES.values())]
    assert not drops
    assert [CLASSES[CATEGORIES[c]] for c in (9, 4, 0, 10, 1, 6)] == list(CLASSES)


def test_drops_are_counted_by_reason(tmp_path):
    text = "1,2,0,6,1,4,0,0\n1,2,6,0,1,4,0,0\n1,2,6,6,1,5,0,0\n1,2,4,9,1,4,0,0\n1,2,9,4,1,4,0,0\n1,2,3\n"
    kept, drops = read_annotation(annotation(tmp_path, text + CAR_ROW + ",\n" + CAR_ROW + "\n"))
    assert [row[0] for row in kept] == [8]
    assert drops == {"zero size": 2, "category left out": 1, "side under 5 px": 2, "fields": 2}


def test_tolerant_accepts_one_trailing_comma_only(tmp_path):
    path = annotation(tmp_path, f"{CAR_ROW},\n{CAR_ROW},,\n{CAR_ROW},0\n,{CAR_ROW}\n")
    kept, drops = read_annotation(path, rows="tolerant")
    assert kept == [(1, 10, 20, 30, 40, 1)] and drops == {"fields": 3}
    assert read_annotation(path)[1] == {"fields": 4}


@pytest.mark.parametrize("content", [
    f"{CAR_ROW}\r\n{CAR_ROW}\r\n",
    f"\n{CAR_ROW}\n  \n{CAR_ROW}",
    f"\ufeff{CAR_ROW}\n 10, 20 ,30,40,1,4,0,0 \n\n",
])
def test_harmless_forms(tmp_path, content):
    kept, drops = read_annotation(annotation(tmp_path, content))
    assert [row[1:] for row in kept] == [(10, 20, 30, 40, 1)] * 2 and not drops


@pytest.mark.parametrize("row, found", [
    ("10,20,x,40,1,4,0,0", "'x'"),
    ("10,20,30.5,40,1,4,0,0", "'30.5'"),
    ("10,20,30,40,1,4,0,none", "'none'"),
    ("a word", "'a word'"),
    ("10,,30,40,1,4,0,0", "empty field"),
    ("10,20,-30,40,1,4,0,0", "-30 x 40"),
    ("10,20,30,-1,1,4,0,0", "30 x -1"),
    ("-30,20,30,40,1,4,0,0", "wholly outside"),
    ("10,-41,30,40,1,4,0,0", "wholly outside"),
    ("10,20,30,40,1,12,0,0", "category 12"),
    ("10,20,30,40,1,-1,0,0", "category -1"),
    ("99999999999999999999,20,30,40,1,4,0,0", "'99999"),
    ("١٠,20,30,40,1,4,0,0", "'١٠'"),
    ("1_0,20,30,40,1,4,0,0", "'1_0'"),
])
def test_bad_rows_name_file_line_found_expected(tmp_path, row, found):
    path = annotation(tmp_path, f"{CAR_ROW}\n{row}\n")
    with pytest.raises(InputError) as caught:
        read_annotation(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:2: found ") and found in message and ", expected " in message
    assert "\n" not in message


def test_frame_size_finds_boxes_beyond_right_and_lower_edge(tmp_path):
    path = annotation(tmp_path, "199,99,30,40,1,4,0,0\n")
    assert len(read_annotation(path, frame_size=(200, 100))[0]) == 1  # one pixel inside
    for size in ((199, 100), (200, 99)):
        with pytest.raises(InputError, match="outside the frame"):
            read_annotation(path, frame_size=size)


def test_not_text_and_not_readable(tmp_path):
    with pytest.raises(InputError, match=r"a.txt:2: found byte 0xff"):
        read_annotation(annotation(tmp_path, b"1,2,9,9,1,4,0,0\n\xff\xfe"))
    with pytest.raises(InputError, match="readable annotation file"):
        read_annotation(tmp_path)
    with pytest.raises(InputError, match="strict"):
        read_annotation(tmp_path / "a.txt", rows="loose")


valid_rows = st.lists(st.tuples(
    st.integers(0, 3000), st.integers(0, 2000), st.integers(0, 900), st.integers(0, 900), st.integers(0, 1),
    st.integers(0, 11), st.integers(0, 2), st.integers(0, 2)), max_size=30)


@QUIET
@given(valid_rows)
def test_round_trip_of_valid_rows(tmp_path, rows):
    path = annotation(tmp_path, "".join(",".join(map(str, row)) + "\n" for row in rows))
    kept, drops = read_annotation(path)
    good = [(i, *row[:4], CATEGORIES[row[5]]) for i, row in enumerate(rows, 1)
            if row[5] in CATEGORIES and min(row[2:4]) >= 5]
    assert kept == good
    assert len(kept) + sum(drops.values()) == len(rows)


@QUIET
@given(st.one_of(
    st.binary(max_size=300), st.text("0123456789,-. \r\n\t\ufeffeNa", max_size=200).map(str.encode)))
def test_any_bytes_give_rows_or_an_input_error(tmp_path, content):
    path = annotation(tmp_path, content)
    for rows in ("strict", "tolerant"):
        try:
            kept, _ = read_annotation(path, rows)
        except InputError as error:
            assert str(path) in str(error) and "\n" not in str(error)
        else:
            assert all(w >= 5 and h >= 5 and 0 <= label < 6 for _, _, _, w, h, label in kept)


def test_read_objects(tmp_path):
    write_set(tmp_path, {"0000001_00_d_1": f"{CAR_ROW}\n{CAR_ROW}\n", "NA_00_d_2": ""})
    write_set(tmp_path, {"0000001_00_d_1": "1,2,8,9,1,1,0,0\n"}, "train")
    objects = read_objects(tmp_path)
    assert objects.frames == {"train": 1, "val": 2}
    assert objects.frames_text() == "train 1 of 6471 frames, val 2 of 548 frames"
    assert objects.table["set"].tolist() == ["train", "val", "val"]
    assert objects.table["sequence"].tolist() == ["0000001"] * 3
    assert objects.table["line"].tolist() == [1, 1, 2] and objects.table["label"].tolist() == [4, 1, 1]
    assert objects.image_path("val", "NA_00_d_2").is_file()


def test_hidden_and_foreign_files_are_no_data(tmp_path):
    base = write_set(tmp_path, {"a": CAR_ROW})
    (base / "annotations" / "._a.txt").write_bytes(b"\x00\x05")
    (base / "annotations" / "Thumbs.db").write_bytes(b"\x00")
    (base / "images" / ".DS_Store").write_bytes(b"\x00")
    assert len(read_objects(tmp_path).table) == 1


def test_halves_without_each_other(tmp_path):
    base = write_set(tmp_path, {"a": CAR_ROW, "b": CAR_ROW})
    (base / "annotations" / "a.txt").unlink()
    with pytest.raises(InputError, match=r"a\.jpg: found a frame without annotation"):
        read_objects(tmp_path)
    (base / "images" / "a.jpg").unlink()
    (base / "images" / "b.jpg").unlink()
    with pytest.raises(InputError, match=r"b\.txt: found an annotation without frame"):
        read_objects(tmp_path)
    assert len(read_objects(tmp_path, images=False).table) == 1


def test_missing_and_empty_folders(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        read_objects(tmp_path / "none")
    with pytest.raises(InputError, match="no set"):
        read_objects(tmp_path)
    base = tmp_path / OFFICIAL.format("val")
    base.mkdir()
    with pytest.raises(InputError, match="no folder annotations"):
        read_objects(tmp_path)
    (base / "annotations").mkdir()
    with pytest.raises(InputError, match=r"no \.txt file"):
        read_objects(tmp_path)
    (base / "annotations" / "a.txt").write_text(CAR_ROW)
    with pytest.raises(InputError, match="no folder images"):
        read_objects(tmp_path)


def test_frames_in_another_form_or_a_folder_too_deep_are_said(tmp_path):
    base = write_set(tmp_path, {"a": CAR_ROW, "b": CAR_ROW})
    for name in ("a", "b"):
        (base / "images" / f"{name}.jpg").rename(base / "images" / f"{name}.JPG")
    with pytest.raises(InputError, match=r"images: found frames that end in \.JPG, expected in \.jpg"):
        read_objects(tmp_path)
    assert len(read_objects(tmp_path, images=False).table) == 2
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / base.name).mkdir()
    base.rename(tmp_path / "deep" / base.name / base.name)
    with pytest.raises(InputError, match=f"no folder annotations; they lie in .*{base.name}/{base.name}"):
        read_objects(tmp_path / "deep")


def test_box_outside_its_frame_and_broken_header(tmp_path):
    base = write_set(tmp_path, {"a": "200,20,30,40,1,4,0,0"})
    for images in (True, False):  # an image that lies there helps in both cases
        with pytest.raises(InputError, match=r"a\.txt:1: found a box wholly outside"):
            read_objects(tmp_path, images=images)
    (base / "images" / "a.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"a\.jpg: found no readable image"):
        read_objects(tmp_path)
    assert len(read_objects(tmp_path, images=False).table) == 1


def test_table1_floors_each_class(tmp_path):
    write_set(tmp_path, {"a": (CAR_ROW + "\n") * 19 + "1,2,7,9,1,1,0,0\n" * 11})
    result = table1(read_objects(tmp_path))
    assert result["classes"]["car"] == {"train": 15, "valid": 1, "test": 3, "total": 19}
    assert result["classes"]["pedestrian"] == {"train": 8, "valid": 1, "test": 2, "total": 11}
    assert (result["train"], result["valid"], result["test"], result["total"]) == (23, 2, 5, 30)
    assert result["median_width"] == 30 and result["frames"] == {"val": {"found": 1, "expected": 548}}


def test_table1_names_what_was_read(tmp_path):
    write_set(tmp_path, {"a": CAR_ROW, "b": CAR_ROW})
    write_set(tmp_path, {"c": CAR_ROW}, name="train")
    result = table1(read_objects(tmp_path))
    real = visdrone.table1_text(result | {"source": "visdrone"})
    assert real == visdrone.table1_text(result)
    assert real.startswith("Table 1 (train 1 of 6471 frames, val 2 of 548 frames; strict rows)\n")
    drawn = visdrone.table1_text(result | {"source": "scenes"})
    assert drawn.startswith("Table 1 (3 drawn frames; strict rows)\n") and "6471" not in drawn
    assert drawn.splitlines()[1:] == real.splitlines()[1:]


def command(*arguments):
    done = subprocess.run([sys.executable, "-m", "lib.visdrone", *map(str, arguments)], cwd=ROOT,
                          capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


def test_command_line(tmp_path):
    folder = tmp_path / "with space"
    base = write_set(folder, {"a": CAR_ROW}, images=False)
    code, out, err = command(folder, "--json", tmp_path / "t.json")
    assert code == 0 and not err and "val 1 of 548 frames" in out and "290,207" in out
    assert json.loads((tmp_path / "t.json").read_text())["total"] == 1
    (base / "annotations" / "a.txt").write_text("1,2,x,4,1,4,0,0")
    code, out, err = command(folder)
    assert code == 2 and not out and len(err.splitlines()) == 1 and "a.txt:1: found 'x', expected" in err


def test_command_line_without_any_object(tmp_path, capsys):
    write_set(tmp_path, {"a": ""}, images=False)
    assert visdrone.main([str(tmp_path)]) == 0
    assert "median width none" in capsys.readouterr().out


def test_data_folder_must_exist(monkeypatch, tmp_path):
    monkeypatch.setenv("DRONE_DATA", str(tmp_path / "none"))
    with pytest.raises(InputError, match="DRONE_DATA"):
        visdrone.data_folder()
    monkeypatch.setenv("DRONE_DATA", str(tmp_path))
    assert visdrone.data_folder() == tmp_path and visdrone.visdrone_folder() is None
    write_set(tmp_path, {"a": CAR_ROW})
    assert visdrone.visdrone_folder() == tmp_path
    assert visdrone.visdrone_folder(sets=["train"]) is None
    write_set(tmp_path / "visdrone", {"a": CAR_ROW}, name="train")  # halves in both places
    assert visdrone.visdrone_folder(sets=["train"]) == tmp_path / "visdrone"
    assert visdrone.visdrone_folder(sets=["val"]) == tmp_path


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """The official annotation files of all three sets, unpacked under their official names."""
    data = visdrone.data_folder()
    archive = data / "visdrone" / "annotations-train-val-test-dev.tar.xz" if data else None
    if archive is None or not archive.is_file():
        pytest.skip("no official annotation files: set DRONE_DATA to the folder of real data")
    folder = tmp_path_factory.mktemp("official")
    with tarfile.open(archive) as files:
        for member in files:
            path = Path(member.name)
            if member.isfile() and path.suffix == ".txt":
                target = folder / OFFICIAL.format(path.parts[-2]) / "annotations" / path.name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(files.extractfile(member).read())
    return folder


def test_the_committed_table1_is_the_papers_to_the_unit():
    """Without the official files: their class totals, split, and what is committed."""
    totals = (9100, 185_473, 12_187, 39_519, 100_226, 16_257)
    sums = np.sum([visdrone.split_counts(n) for n in totals], axis=0)
    assert sums.tolist() == list(visdrone.PAPER_TABLE1.values())
    kept = read_json(ROOT / "figures/annotations/table1.json")
    assert {part: kept[part] for part in visdrone.PAPER_TABLE1} == visdrone.PAPER_TABLE1
    assert tuple(counts["total"] for counts in kept["classes"].values()) == totals


def test_table1_is_the_papers_to_the_unit(official):
    result = table1(read_objects(official, images=False))
    assert {part: result[part] for part in visdrone.PAPER_TABLE1} == visdrone.PAPER_TABLE1
    assert result["total"] == 362_762 and result["median_width"] == visdrone.PAPER_MEDIAN_WIDTH
    totals = {name: counts["total"] for name, counts in result["classes"].items()}
    assert totals == {"bus": 9100, "car": 185_473, "ignored region": 12_187, "motorcycle": 39_519,
                      "pedestrian": 100_226, "truck": 16_257}
    assert result["drops"] == {"category left out": 96_903, "fields": 34, "side under 5 px": 11_564,
                               "zero size": 3}
    assert result["frames"] == {name: {"found": n, "expected": n} for name, n in visdrone.SETS.items()}


def test_command_line_on_the_official_files(official):
    code, out, err = command(official, "--rows", "tolerant")
    assert code == 0 and not err and "362,775" in out and "train 6471 of 6471 frames" in out
    assert "fields" not in out.splitlines()[-1]


def test_real_frames_are_read():
    folder = visdrone.visdrone_folder() if visdrone.data_folder() else None
    if folder is None:
        pytest.skip("no VisDrone frames: set DRONE_DATA to the folder of real data")
    objects = read_objects(folder)
    assert all(0 < n <= visdrone.SETS[name] for name, n in objects.frames.items())
    assert objects.table["label"].between(0, 5).all()
    if objects.frames == {"val": 456}:
        counts = objects.table["label"].value_counts().sort_index().tolist()
        assert counts == [203, 11097, 1093, 4008, 7305, 588]
