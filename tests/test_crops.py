"""Cutting and the crop store."""

import errno
import functools
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lib import crops, visdrone
from lib.crop_store import open_store
from lib.crops import cut_boxes, cut_crops, cut_patch
from lib.pictures import NEW_SUBFILE_TYPE, read_frame
from lib.quality import sharpness
from lib.runs import InputError
from lib.visdrone import CAR, OFFICIAL, read_objects

ROOT = Path(__file__).resolve().parents[1]
ROWS = "5,10,20,30,1,4,0,0\n100,20,60,40,1,1,0,0\n190,80,40,50,1,9,1,0\n30,5,9,6,1,6,0,0\n"


def make_set(folder, frames=3, text=ROWS, name="val", size=(200, 100)):
    base = folder / OFFICIAL.format(name)
    for part in ("annotations", "images"):
        (base / part).mkdir(parents=True, exist_ok=True)
    for i in range(frames):
        pixels = np.random.default_rng(i).integers(0, 256, (size[1], size[0], 3), np.uint8)
        Image.fromarray(pixels).save(base / "images" / f"{i:07d}_0_d_{i}.jpg", quality=92)
        (base / "annotations" / f"{i:07d}_0_d_{i}.txt").write_text(text)
    return base


@pytest.fixture
def objects(tmp_path):
    make_set(tmp_path / "data")
    return read_objects(tmp_path / "data")


def no_snow(patch, box, rng, *, aspect, label):
    return patch


def some_snow(patch, box, rng, *, aspect, label):
    assert patch.shape == (96, 96, 3) and box == (24, 24, 72, 72)
    return np.clip(patch.astype(int) + rng.integers(0, 60, patch.shape), 0, 255).astype(np.uint8)


def left_over(folder):
    """Files other than the lock that other callers share."""
    return sorted(p.name for p in folder.iterdir() if p.name != ".lock")


def test_store_holds_every_object_once(objects, tmp_path):
    store = cut_crops(objects, tmp_path / "store")
    assert store.images.shape == (12, 32, 32, 3) and store.images.dtype == np.uint8 and store.winter is None
    assert isinstance(store.images, np.memmap)
    pd.testing.assert_frame_equal(store.table, objects.table, check_dtype=False)
    assert store.info["frames"] == {"val": {"found": 3, "expected": 548}}
    assert left_over(tmp_path / "store") == ["crops.csv", "crops.npy", "store.json"]


def test_pixels_are_the_clipped_box_in_rgb(objects, tmp_path):
    store = cut_crops(objects, tmp_path / "store")
    for i in (1, 2, 7):  # 2: over the right and lower edge
        row = store.table.iloc[i]
        frame = read_frame(objects.image_path("val", row.frame))
        part = frame[row.y : row.y + row.height, row.x : row.x + row.width]
        expected = Image.fromarray(part).resize((32, 32), Image.Resampling.BILINEAR)
        assert (store.images[i] == np.asarray(expected)).all()


def test_box_over_all_edges_is_the_frame():
    size = (50, 40)  # width, height
    assert crops.clip_box((-10, -20, 500, 400), size) == (0, 0, 50, 40)
    assert crops.clip_box((50, 0, 5, 5), size) is None and crops.clip_box((-5, 0, 5, 5), size) is None


def test_resize_is_antialiased():
    stripes = np.zeros((320, 320, 3), np.uint8)
    stripes[:, ::2] = 255
    assert abs(crops.resize(stripes, 32).astype(int) - 127).max() <= 5


def test_colours_keep_their_order(tmp_path):
    base = make_set(tmp_path, 1, "10,10,50,50,1,4,0,0\n")
    red = np.zeros((100, 200, 3), np.uint8)
    red[..., 0] = 250
    Image.fromarray(red).save(next((base / "images").iterdir()), quality=95)
    pixel = cut_crops(read_objects(tmp_path), tmp_path / "store").images[0, 16, 16]
    assert pixel[0] > 240 and pixel[1] < 10 and pixel[2] < 10


def test_patch_holds_the_box_in_its_core_and_repeats_edges():
    frame = np.zeros((60, 80, 3), np.uint8)
    frame[20:40, 30:51] = 200  # odd width: half a box is no whole number of pixels
    patch = cut_patch(frame, (30, 20, 51, 40))
    assert patch.shape == (96, 96, 3)
    assert (patch[26:70, 26:70] == 200).all() and (patch[:20] == 0).all() and (patch[:, :20] == 0).all()
    corner = np.full((10, 10, 3), 77, np.uint8)
    assert (cut_patch(corner, (0, 0, 10, 10)) == 77).all()
    assert cut_patch(corner, (9, 9, 10, 10)).shape == (96, 96, 3)


def test_winter_crop_without_snow_is_near_the_summer_crop(tmp_path):
    base = make_set(tmp_path, 1, "20,20,60,40,1,4,0,0\n")
    y, x = np.mgrid[:100, :200]
    smooth = np.stack([x, y * 2, 255 - x], -1).astype(np.uint8)
    Image.fromarray(smooth).save(next((base / "images").iterdir()), quality=95)
    store = cut_crops(read_objects(tmp_path), tmp_path / "store", snow=no_snow)
    assert np.abs(store.images[0].astype(int) - store.winter[0]).mean() < 2


def test_a_winter_crop_without_snow_is_as_sharp_as_the_summer_crop():
    """Or blur, not snow, would tell winter from summer."""
    noise = [np.random.default_rng(k).normal(size=(140, 140, 3)) for k in range(8)]
    noise = [cv2.GaussianBlur(one, (0, 0), 1) for one in noise]
    frames = [np.clip(128 + 50 * one / one.std(), 0, 255).astype(np.uint8) for one in noise]
    box = (20, 20, 110, 110)
    winter = [crops.winter_crop(frame, box, no_snow, None, 1.0, CAR, 32) for frame in frames]
    summer = [crops.resize(frame[20:110, 20:110], 32) for frame in frames]
    sharp = [sharpness(np.stack(crop)).mean() for crop in (winter, summer)]
    assert 0.9 < sharp[0] / sharp[1] < 1.2  # bilinear: 0.59, box: 1.43


def test_snow_is_told_of_each_object_and_falls_on_each_by_itself(objects, tmp_path):
    seen = []

    def told(patch, box, rng, *, aspect, label):
        seen.append((round(aspect, 3), label, rng.random()))
        return patch

    cut_crops(objects, tmp_path / "store", snow=told, workers=1)
    assert [one[:2] for one in seen[:4]] == [(0.667, 1), (1.5, 4), (0.8, 0), (1.5, 5)]
    assert len({one[2] for one in seen}) == len(seen) == 12


def test_snow_does_not_depend_on_workers_but_on_its_seed(objects, tmp_path):
    stores = [cut_crops(objects, tmp_path / str(n), snow=some_snow, workers=n) for n in (1, 3)]
    assert (stores[0].winter == stores[1].winter).all() and (stores[0].images == stores[1].images).all()
    for name in ("crops.npy", "winter.npy", "crops.csv", "store.json"):
        assert (stores[0].folder / name).read_bytes() == (stores[1].folder / name).read_bytes()
    other = cut_crops(objects, tmp_path / "other", snow=some_snow, snow_seed=1)
    assert (other.winter != stores[0].winter).any() and (other.images == stores[0].images).all()


def test_processes_give_the_same_as_threads(tmp_path):
    make_set(tmp_path / "data")
    (tmp_path / "light.py").write_text(
        "def snow(patch, box, rng, *, aspect, label):\n"
        "    return patch // 2 + rng.integers(0, 99, dtype='u1')\n")
    code = """
import sys
sys.path.insert(0, sys.argv[1])
import light as snow
from lib import crops, visdrone
objects = visdrone.read_objects(sys.argv[1] + "/data")
one = crops.cut_crops(objects, sys.argv[1] + "/one", snow=snow.snow, workers=1)
crops.PROCESSES_FROM = 1
assert type(crops._pool(2, 12)).__name__ == "ProcessPoolExecutor"
two = crops.cut_crops(objects, sys.argv[1] + "/two", snow=snow.snow, workers=2)
assert (one.winter == two.winter).all() and (one.images == two.images).all()
objects.image_path("val", "0000001_0_d_1").write_bytes(b"broken")
crops.cut_crops(objects, sys.argv[1] + "/two", snow=snow.snow, workers=2)
"""
    run = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert "0000001_0_d_1.jpg: found a corrupt image" in done.stderr, done.stderr
    assert len(open_store(tmp_path / "two")) == 12


def test_snow_of_wrong_shape_is_told(objects, tmp_path):
    def bad(patch, box, rng, *, aspect, label):
        return patch[:10]

    with pytest.raises(TypeError, match="96, 96, 3"):
        cut_crops(objects, tmp_path / "store", snow=bad)
    assert left_over(tmp_path / "store") == []


def test_reuse_and_cutting_again(objects, tmp_path, monkeypatch):
    first = cut_crops(objects, tmp_path / "store")
    stamp = (first.folder / "crops.npy").stat().st_mtime_ns
    monkeypatch.setattr(crops, "load_frame", lambda path: pytest.fail("cut again"))
    cut_crops(objects, tmp_path / "store")
    assert (first.folder / "crops.npy").stat().st_mtime_ns == stamp
    monkeypatch.undo()
    path = objects.image_path("val", "0000001_0_d_1")
    Image.new("RGB", (200, 100), (1, 2, 3)).save(path)
    changed = cut_crops(objects, tmp_path / "store")
    assert (changed.images[5] == changed.images[5, 0, 0]).all()
    assert cut_crops(objects, tmp_path / "store", size=16).images.shape == (12, 16, 16, 3)
    assert cut_crops(objects, tmp_path / "store", snow=no_snow).winter is not None
    assert cut_crops(objects, tmp_path / "store").winter is None
    assert left_over(tmp_path / "store") == ["crops.csv", "crops.npy", "store.json"]
    (tmp_path / "store" / "crops.npy").unlink()  # a damaged store is cut again
    assert len(cut_crops(objects, tmp_path / "store")) == 12


def test_partial_arguments_are_part_of_the_fingerprint(objects, tmp_path):
    def mark(n):
        snow = functools.partial(some_snow, **({"aspect": n} if n else {}))
        return crops._snow_name(snow)

    assert mark(1) != mark(2) and mark(0) != mark(1)


def test_concurrent_callers_cut_once(objects, tmp_path, monkeypatch):
    calls = []
    original = crops._write_store
    monkeypatch.setattr(crops, "_write_store", lambda *a: (calls.append(1), original(*a)))
    threads = [threading.Thread(target=cut_crops, args=(objects, tmp_path / "store")) for _ in range(3)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(calls) == 1 and len(open_store(tmp_path / "store")) == 12


@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_truncated_jpeg_is_an_error(objects, tmp_path, share):
    path = objects.image_path("val", "0000001_0_d_1")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(InputError, match=r"0000001_0_d_1\.jpg: found a corrupt image"):
        cut_crops(objects, tmp_path / "store")
    assert left_over(tmp_path / "store") == []


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\xff\xd8\xff\xe0" + b"\x00" * 400])
def test_no_jpeg_is_an_error(objects, tmp_path, content):
    path = objects.image_path("val", "0000002_0_d_2")
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"0000002_0_d_2\.jpg"):
        cut_crops(objects, tmp_path / "store")
    path.unlink()
    with pytest.raises(InputError, match=r"0000002_0_d_2\.jpg"):
        cut_crops(objects, tmp_path / "store")


def test_frame_smaller_than_its_boxes(objects, tmp_path):
    Image.new("RGB", (50, 50)).save(objects.image_path("val", "0000000_0_d_0"))
    with pytest.raises(InputError, match=r"0000000_0_d_0\.jpg: .*wholly outside .*line 2.*50 x 50"):
        cut_crops(objects, tmp_path / "store")


def test_full_disk_leaves_nothing_and_keeps_the_older_store(objects, tmp_path, monkeypatch):
    def full(*arguments, **named):
        raise OSError(errno.ENOSPC, "No space left on device")

    for target, name in ((os, "fsync"), (os, "replace"), (np.lib.format, "write_array_header_1_0")):
        with monkeypatch.context() as patch:
            patch.setattr(target, name, full)
            with pytest.raises(OSError, match="No space"):
                cut_crops(objects, tmp_path / "store")
        assert left_over(tmp_path / "store") == []
    old = cut_crops(objects, tmp_path / "store")
    before = (old.folder / "crops.npy").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(np.lib.format, "write_array_header_1_0", full)
        with pytest.raises(OSError):
            cut_crops(objects, tmp_path / "store", size=16)
    assert (old.folder / "crops.npy").read_bytes() == before and len(open_store(old.folder)) == 12
    with monkeypatch.context() as patch:  # the table cannot be written: no store is better than a mixture
        patch.setattr(crops, "write_table", full)
        with pytest.raises(OSError):
            cut_crops(objects, tmp_path / "store", size=16)
    with pytest.raises(InputError, match=r"store\.json: found no such file"):
        open_store(old.folder)


def test_leftovers_of_a_killed_run_go(objects, tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / ".crops.npy.abc.part.npy").write_bytes(b"x")
    cut_crops(objects, tmp_path / "store")
    assert left_over(tmp_path / "store") == ["crops.csv", "crops.npy", "store.json"]


def test_open_store_checks_consistency(objects, tmp_path):
    folder = cut_crops(objects, tmp_path / "store").folder
    good = {name: (folder / name).read_bytes() for name in ("crops.npy", "crops.csv", "store.json")}
    info = json.loads(good["store.json"])
    damage = [
        ("crops.npy", good["crops.npy"][:5000], "crops.npy"),
        ("crops.npy", b"", "crops.npy"),
        ("crops.csv", b"\n".join(good["crops.csv"].split(b"\n")[:-2]), "11 rows"),
        ("crops.csv", good["crops.csv"].replace(b",0\n", b",some\n"), r"crops\.csv: found no table \(.*some"),
        ("store.json", json.dumps(info | {"size": 16}).encode(), "expected uint8"),
        ("store.json", b"{", "JSON"), ("store.json", b"[]", "no counts"),
    ]
    for name, content, message in damage:
        (folder / name).write_bytes(content)
        with pytest.raises(InputError, match=message):
            open_store(folder)
        (folder / name).write_bytes(good[name])
    assert len(open_store(folder)) == 12
    with pytest.raises(InputError, match="no such file"):
        open_store(tmp_path / "none")


def test_no_objects_make_an_empty_store(tmp_path):
    make_set(tmp_path / "data", 1, "")
    assert cut_crops(read_objects(tmp_path / "data"), tmp_path / "store").images.shape == (0, 32, 32, 3)


def test_boxes_of_other_sources(tmp_path):
    Image.new("L", (64, 48), 90).save(tmp_path / "grey.png")
    Image.new("RGBA", (64, 48), (10, 20, 30, 255)).save(tmp_path / "alpha.png")
    names = {"set": "own", "frame": ["grey", "alpha"], "sequence": ["NA", "001"], "line": 1}
    boxes = {"x": 2, "y": 3, "width": 9, "height": 8, "label": CAR, "note": "kept"}
    table = pd.DataFrame(names | boxes)
    paths = lambda _, frame: tmp_path / f"{frame}.png"  # noqa: E731
    store = cut_boxes(table, paths, tmp_path / "store", {"source": "flight"})
    assert (store.images[0] == 90).all() and (store.images[1] == (10, 20, 30)).all()
    assert store.table["sequence"].tolist() == ["NA", "001"] and store.table["note"].tolist() == ["kept"] * 2
    assert store.info["source"] == "flight"


def test_real_frames(tmp_path):
    folder = visdrone.visdrone_folder() if visdrone.data_folder() else None
    if folder is None:
        pytest.skip("no VisDrone frames: set DRONE_DATA to the folder of real data")
    objects = read_objects(folder)
    if sum(objects.frames.values()) > 548:
        pytest.skip("more frames than a test should cut")
    store = cut_crops(objects, tmp_path / "store")
    assert len(store) == len(objects.table) == len(store.images)
    if objects.frames == {"val": 456}:
        assert len(store) == 24_294
    sample = store.images[::50]
    assert 40 < sample.mean() < 200 and sample.std() > 20


def test_values_of_twelve_bits_are_no_dark_pictures(tmp_path):
    """A camera's 12 bits in pixels of 16 would be almost black."""
    values = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    Image.fromarray(values).save(tmp_path / "dim.png")
    Image.fromarray(values * 16).save(tmp_path / "whole.png")
    with pytest.raises(InputError, match=r"dim.png: found 16-bit pixels of which the upper 4 bits are 0"):
        read_frame(tmp_path / "dim.png")
    assert read_frame(tmp_path / "whole.png").max() == 255


def _shades(*values, size=(40, 30)):
    return [Image.new("RGB", size, (value, value, value)) for value in values]


@pytest.mark.parametrize("name", ["film.tif", "film.webp", "film.png"])
def test_several_pictures_in_one_file_are_not_taken_for_the_first(tmp_path, name):
    first, *more = _shades(20, 120, 220)
    first.save(tmp_path / name, save_all=True, append_images=more)
    with pytest.raises(InputError, match=rf"{name}: found 3 pictures in one file, expected one"):
        read_frame(tmp_path / name)


def test_smaller_copies_and_previews_are_no_further_pictures(tmp_path):
    """A GeoTIFF has overviews, a camera's JPEG a preview: the picture itself is read."""
    whole, half = _shades(120, 220)
    half.encoderinfo, half.encoderconfig = {"tiffinfo": {NEW_SUBFILE_TYPE: 1}}, ()
    whole.save(tmp_path / "map.tif", save_all=True, append_images=[half])
    whole.save(tmp_path / "shot.jpg", format="MPO", save_all=True, append_images=[half])
    with Image.open(tmp_path / "map.tif") as opened:
        assert opened.n_frames == 2
    for name in ("map.tif", "shot.jpg"):
        frame = read_frame(tmp_path / name)
        assert frame.shape == (30, 40, 3) and abs(frame.astype(int) - 120).max() <= 3
