"""Simulated snow, and winter crops from the three sources."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib import snow as snow_module
from lib.runs import InputError
from lib.snow import HOLD, snow
from lib.visdrone import CAR, CLASSES, data_folder
from lib.winter import COLUMNS, find_crops, find_frames, main, open_winter
from lib.yolo import class_names, read_yolo

BOX = (24, 24, 72, 72)
RING = np.ones((96, 96), bool)
RING[20:76, 20:76] = False


def drawn_car(body=(150, 30, 30), ground=(95, 92, 88), seed=0) -> np.ndarray:
    """A plain car from above on asphalt: body, two dark windows, slight noise."""
    patch = np.empty((96, 96, 3), np.float32)
    patch[:] = ground
    patch[26:70, 30:66] = body
    patch[36:42, 34:62] = (25, 28, 32)
    patch[58:63, 34:62] = (25, 28, 32)
    noise = np.random.default_rng(seed).normal(0, 4, patch.shape)
    return np.clip(patch + noise, 0, 255).astype(np.uint8)


def winters(patch, n=40, label=CAR) -> np.ndarray:
    rngs = [np.random.default_rng([5, k]) for k in range(n)]
    return np.stack([snow(patch, BOX, rng, aspect=1.0, label=label) for rng in rngs])


def white(pictures: np.ndarray) -> np.ndarray:
    """Share of pixels that are bright and without colour, a number a picture."""
    low, high = pictures.min(-1).astype(int), pictures.max(-1).astype(int)
    return ((low > 140) & (high - low < 40)).mean((-2, -1))


@pytest.mark.parametrize("label", range(6))
@pytest.mark.parametrize("aspect", [0.1, 0.7, 1.0, 6.0])
def test_snow_is_deterministic_and_leaves_its_input(label, aspect):
    patch = drawn_car()
    before = patch.copy()
    first = snow(patch, BOX, np.random.default_rng(3), aspect=aspect, label=label)
    again = snow(patch, BOX, np.random.default_rng(3), aspect=aspect, label=label)
    other = snow(patch, BOX, np.random.default_rng(4), aspect=aspect, label=label)
    assert first.dtype == np.uint8 and first.shape == (96, 96, 3)
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert np.array_equal(patch, before)


def test_snow_does_not_depend_on_what_was_drawn_before():
    expected = winters(drawn_car(), 3)
    snow_module._bank.cache_clear()
    snow_module._sensor_bank.cache_clear()
    assert np.array_equal(winters(drawn_car(), 3), expected)


@pytest.mark.parametrize("value", [0, 255])
def test_snow_on_a_featureless_patch(value):
    patch = np.full((96, 96, 3), value, np.uint8)
    assert snow(patch, BOX, np.random.default_rng(0), aspect=1.0, label=CAR).std() > 0


def test_snow_refuses_other_shapes_and_labels():
    with pytest.raises(ValueError, match="expected uint8"):
        snow(np.zeros((32, 32, 3), np.uint8), BOX, np.random.default_rng(0), aspect=1.0, label=CAR)
    with pytest.raises(ValueError, match="label"):
        snow(drawn_car(), BOX, np.random.default_rng(0), aspect=1.0, label=6)


def test_ground_turns_white_and_cold():
    patch = drawn_car()
    out = winters(patch)
    assert out[:, RING].mean() > patch[RING].mean() + 50
    blue_minus_red = [(p[..., 2].astype(float) - p[..., 0]).mean() for p in (patch, out)]
    assert blue_minus_red[1] > blue_minus_red[0] + 5


def test_cars_keep_windows_and_get_a_white_roof():
    patch = drawn_car(body=(30, 32, 36))
    out = winters(patch)[:, 24:72, 24:72]
    darkest = np.percentile(out.mean(-1), 3, axis=(1, 2))
    assert np.median(darkest) < 100  # a dark car still has dark parts in most pictures
    roof = winters(drawn_car())[:, 44:56, 36:60].mean((1, 2, 3))
    assert np.median(roof) > drawn_car()[44:56, 36:60].mean() + 60
    assert roof.std() > 10  # half cleared to freshly covered


def test_white_is_not_the_label():
    """The same picture under every label: equal ground, and equal objects but for what moves."""
    patch = drawn_car()
    ground = np.array([winters(patch, label=label)[:, RING].mean() for label in range(6)])
    assert np.ptp(ground) < 6
    cover = {name: white(winters(patch, label=k)).mean() for k, name in enumerate(CLASSES)}
    vehicles = [cover[name] for name in ("bus", "car", "truck")]
    assert np.ptp(vehicles) < 1e-9  # one and the same rule
    assert abs(cover["ignored region"] - cover["car"]) < 0.10
    for name in ("pedestrian", "motorcycle"):  # little snow on what moves, as much around it
        assert 0 <= cover["car"] - cover[name] < 0.25
    assert len(HOLD) == len(CLASSES)


# -- folders of pictures ------------------------------------------------------------------------


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def yolo(tmp_path) -> Path:
    """Two flights of 200x100 frames: a red car, a blue bus, a bicycle, a speck; one frame without labels."""
    folder = tmp_path / "my flights"
    frame = np.full((100, 200, 3), 230, np.uint8)
    frame[20:40, 20:60] = (200, 0, 0)
    frame[50:90, 100:180] = (0, 0, 200)
    labels = "0 0.2 0.3 0.2 0.2\n2 0.7 0.7 0.4 0.4\n\n1 0.5 0.1 0.1 0.1\n0 0.9 0.1 0.01 0.01\n"
    for flight in ("monday", "tuesday"):
        save(folder / "images" / flight / "a.png", frame)
        write(folder / "labels" / flight / "a.txt", labels)
    save(folder / "images" / "monday" / "empty.png", frame)
    write(folder / "classes.txt", "Car\nbicycle\nbus\n")
    return folder


def test_yolo_frames_become_crops(yolo, tmp_path):
    store = open_winter("frames", yolo, tmp_path / "store")
    assert list(store.table.columns) == list(COLUMNS) and len(store) == 4 and store.winter is None
    assert store.table["sequence"].tolist() == ["monday"] * 2 + ["tuesday"] * 2
    assert store.table["label"].tolist() == [CAR, CLASSES.index("bus")] * 2
    boxes = store.table[["line", "x", "y", "width", "height"]].to_numpy().tolist()
    assert boxes == [[1, 20, 20, 40, 20], [2, 100, 50, 80, 40]] * 2
    assert np.abs(store.images[0].reshape(-1, 3).mean(0) - (200, 0, 0)).max() < 2
    assert np.abs(store.images[3].reshape(-1, 3).mean(0) - (0, 0, 200)).max() < 2
    assert store.info["background"] == 1 and store.info["flights"] == 2 and store.info["source"] == "frames"
    assert store.info["drops"] == {"class bicycle": 2, "side under 5 px": 2}
    assert store.info["frames"]["winter"] == {"found": 3, "expected": 3}


def test_names_can_be_given(yolo):
    found = find_frames(yolo, names=[" CARS", "Motor_bike", "motorbike"])
    assert found.classes() == {"car": 2, "motorcycle": 2} and found.drops["class Motor_bike"] == 2


def test_hidden_files_of_a_copy_are_no_data(yolo):
    whole = find_frames(yolo)
    for name in ("images/monday/._a.png", "labels/monday/._a.txt", ".DS_Store", ".backup/a.png"):
        write(yolo / name, "\x00 no data")
    again = find_frames(yolo)
    assert again.table.equals(whole.table) and again.paths == whole.paths


@pytest.mark.parametrize("text", ["names: [car, bicycle, bus]", "names:\n  0: car\n  1: bicycle\n  2: bus"])
def test_class_names_from_yaml(yolo, text):
    (yolo / "classes.txt").unlink()
    with pytest.raises(InputError, match="no class names"):
        find_frames(yolo)
    write(yolo / "data.yaml", text)
    assert class_names(yolo) == ["car", "bicycle", "bus"]
    write(yolo / "data.yaml", "names: 3\n")
    with pytest.raises(InputError, match="no list of names"):
        class_names(yolo)


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ("0 0.5 0.5 0.1", "4 fields"),
        ("0 0.5 0.5 0.1 0.1 0.9", "6 fields"),
        ("0 0.5 0.5 1.2 0.1", "'1.2'"),
        ("0 -0.1 0.5 0.2 0.1", "'-0.1'"),
        ("0 0.5 nan 0.2 0.1", "'nan'"),
        ("0 0.5 x 0.2 0.1", "'x'"),
        ("3 0.5 0.5 0.2 0.1", "class '3'"),
        ("car 0.5 0.5 0.2 0.1", "class 'car'"),
        ("-1 0.5 0.5 0.2 0.1", "class '-1'"),
    ],
)
def test_bad_yolo_rows_name_file_and_line(yolo, tmp_path, row, found):
    path = yolo / "labels" / "monday" / "a.txt"
    write(path, "0 0.5 0.5 0.1 0.1\n" + row + "\n")
    with pytest.raises(InputError) as error:
        open_winter("frames", yolo, tmp_path / "store")
    assert error.value.line == 2 and error.value.where == str(path) and found in error.value.found
    assert not (tmp_path / "store" / "store.json").exists()


def test_yolo_boxes_over_the_edge_are_cut_at_the_frame(tmp_path):
    write(tmp_path / "a.txt", "0 0.0 1.0 0.2 0.2\n")
    assert read_yolo(tmp_path / "a.txt", 1, (200, 100)) == [(1, 0, 90, 20, 10, 0)]


def test_frames_and_labels_must_fit(yolo, tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        open_winter("frames", tmp_path / "nowhere", tmp_path / "store")
    write(yolo / "labels" / "monday" / "orphan.txt", "0 0.5 0.5 0.1 0.1\n")
    with pytest.raises(InputError, match="orphan.txt: found a label file without frame"):
        find_frames(yolo)
    save(tmp_path / "bare" / "a.png", np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(InputError, match="no label file"):
        find_frames(tmp_path / "bare")
    with pytest.raises(InputError, match="no picture"):
        find_frames(yolo / "labels")


def test_a_corrupt_frame_leaves_no_store(yolo, tmp_path):
    path = yolo / "images" / "tuesday" / "a.png"
    path.write_bytes(path.read_bytes()[:150])
    with pytest.raises(InputError, match="a.png: found a corrupt image"):
        open_winter("frames", yolo, tmp_path / "store")
    assert not (tmp_path / "store" / "store.json").exists()
    path.write_text("no picture at all")
    with pytest.raises(InputError, match="a.png: found no readable image"):
        open_winter("frames", yolo, tmp_path / "store")


def test_visdrone_rows(tmp_path):
    save(tmp_path / "images" / "07_001.jpg", np.full((60, 80, 3), 90, np.uint8))
    write(tmp_path / "annotations" / "07_001.txt", "10,10,20,20,1,4,0,0\n0,0,9,9,1,3,0,0\n")
    found = find_frames(tmp_path, boxes="visdrone")
    assert found.table.values.tolist() == [["winter", "images/07_001", "07", 1, 10, 10, 20, 20, CAR]]
    assert dict(found.drops) == {"category left out": 1}
    save(tmp_path / "images" / "07_002.jpg", np.full((60, 80, 3), 90, np.uint8))
    with pytest.raises(InputError, match="07_002.jpg: found a frame without annotation"):
        find_frames(tmp_path, boxes="visdrone")
    with pytest.raises(InputError, match="boxes"):
        find_frames(tmp_path, boxes="coco")


def test_folder_of_crops(tmp_path):
    grey, red = np.full((20, 40, 3), 128, np.uint8), np.full((50, 30, 3), (220, 10, 10), np.uint8)
    save(tmp_path / "flat" / "f1_0.png", grey)
    save(tmp_path / "flat" / "f2_0.png", red)
    save(tmp_path / "flat" / ".hidden.png", red)
    store = open_winter("crops", tmp_path / "flat", tmp_path / "store")
    assert store.images.shape == (2, 32, 32, 3) and (store.table["label"] == CAR).all()
    assert store.table["sequence"].tolist() == ["f1", "f2"] and store.table["width"].tolist() == [40, 30]
    assert np.abs(store.images[1].reshape(-1, 3).mean(0) - (220, 10, 10)).max() < 2

    save(tmp_path / "tree" / "car" / "monday" / "0.png", grey)
    save(tmp_path / "tree" / "truck" / "x_0.png", red)
    found = find_crops(tmp_path / "tree")
    assert found.classes() == {"car": 1, "truck": 1} and found.flights() == {"monday": 1, "x": 1}
    save(tmp_path / "tree" / "boat" / "0.png", grey)
    with pytest.raises(InputError, match="the folder 'boat' beside class folders"):
        find_crops(tmp_path / "tree")


def test_class_folders_may_lie_below_those_of_a_layout_and_be_plural(tmp_path):
    grey = np.full((9, 9, 3), 128, np.uint8)
    for part, kind in (("train", "cars"), ("val", "cars"), ("train", "buses"), ("val", "people")):
        save(tmp_path / part / kind / "f1_1.png", grey)
    found = find_crops(tmp_path)
    assert found.classes() == {"bus": 1, "car": 2, "pedestrian": 1} and found.flights() == {"f1": 4}


def test_rows_of_class_folders_are_in_the_order_of_the_flight(tmp_path):
    for kind in ("car", "bus"):
        for k in range(2):
            save(tmp_path / kind / "monday" / f"{k}.png", np.full((9, 9, 3), 128, np.uint8))
    found = find_crops(tmp_path).table["frame"].tolist()
    assert found == ["bus/monday/0", "car/monday/0", "bus/monday/1", "car/monday/1"]


@pytest.mark.parametrize("names, flight", [
    (("0001", "0002"), "flight"), (("crop (1)", "crop (2)"), "crop"), (("DJI-0001", "DJI-0002"), "DJI"),
    (("f1_0001", "f1_0002"), "f1"),
])  # fmt: skip
def test_loose_pictures_are_of_one_flight(tmp_path, names, flight):
    for name in names:
        save(tmp_path / f"{name}.png", np.full((9, 9, 3), 128, np.uint8))
    assert find_crops(tmp_path).flights() == {flight: 2}


def test_pictures_are_cut_as_a_viewer_shows_them(tmp_path):
    """A portrait that the camera kept lying, with the turn in its EXIF tag; the box drawn on what is seen."""
    seen = np.full((200, 100, 3), 200, np.uint8)
    seen[20:60, 20:80] = (220, 10, 10)
    tag = Image.Exif()
    tag[0x0112] = 6  # to be turned clockwise
    lying = Image.fromarray(np.ascontiguousarray(np.rot90(seen)))
    (tmp_path / "f").mkdir()
    lying.save(tmp_path / "f" / "a_1.jpg", exif=tag, quality=95)
    write(tmp_path / "f" / "a_1.txt", "0 0.5 0.2 0.6 0.2\n")
    write(tmp_path / "f" / "classes.txt", "car\n")
    store = open_winter("frames", tmp_path / "f", tmp_path / "store")
    assert np.abs(store.images[0].reshape(-1, 3).mean(0) - (220, 10, 10)).max() < 6
    (tmp_path / "f" / "a_1.txt").unlink()
    crop = open_winter("crops", tmp_path / "f", tmp_path / "store").images[0].astype(int)
    assert crop[8, 16, 0] - crop[8, 16, 1] > 100 > crop[26, 16, 0] - crop[26, 16, 1]  # the car is at the top


def test_sixteen_bits_are_no_white(tmp_path):
    grey = np.linspace(20000, 30000, 200)[None].repeat(100, 0).astype(np.uint16)
    Image.fromarray(grey).save(tmp_path / "f1_1.png")
    found = open_winter("crops", tmp_path, tmp_path / "store").images
    assert 70 < found.min() < 90 and 105 < found.max() < 120
    Image.fromarray(grey.astype(np.float32)).save(tmp_path / "f1_2.tif")
    with pytest.raises(InputError, match="f1_2.tif: found pixels of 32 bits"):
        open_winter("crops", tmp_path, tmp_path / "store")


def test_links_are_followed_and_broken_ones_told(tmp_path):
    grey = np.full((9, 9, 3), 128, np.uint8)
    save(tmp_path / "elsewhere" / "b_1.png", grey)
    save(tmp_path / "own" / "f1" / "a_1.png", grey)
    (tmp_path / "own" / "f2").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "own" / "f1" / "round").symlink_to(tmp_path / "own")  # back up: looked at once
    assert find_crops(tmp_path / "own").flights() == {"f1": 1, "f2": 1}
    (tmp_path / "own" / "f1" / "c_1.jpg").symlink_to(tmp_path / "nowhere.jpg")
    with pytest.raises(InputError, match=r"c_1\.jpg: found a link to nothing"):
        find_crops(tmp_path / "own")


def test_notes_of_a_data_set_are_no_labels(yolo):
    for name in ("README.roboflow.txt", "predefined_classes.txt"):
        write(yolo / name, "This data set was exported\n")
    assert len(find_frames(yolo).table) == 4
    (yolo / "labels" / "tuesday" / "a.txt").rename(yolo / "labels" / "tuesday" / "a.TXT")
    assert len(find_frames(yolo).table) == 4 and find_frames(yolo).background == 1


def test_crops_with_one_name_twice(tmp_path):
    for suffix in ("png", "jpg"):
        save(tmp_path / f"a.{suffix}", np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(InputError, match="a second picture"):
        find_crops(tmp_path)


def test_both_sources_give_one_layout(yolo, tmp_path):
    save(tmp_path / "crops" / "car" / "a_0.png", np.full((20, 40, 3), 128, np.uint8))
    stores = {
        "crops": open_winter("crops", tmp_path / "crops", tmp_path / "1"),
        "frames": open_winter("frames", yolo, tmp_path / "2"),
    }
    for source, store in stores.items():
        assert list(store.table.columns) == list(COLUMNS) and store.info["source"] == source
        assert store.images.shape == (len(store), 32, 32, 3) and store.images.dtype == np.uint8
        assert [str(t) for t in store.table.dtypes] == [str(t) for t in stores["crops"].table.dtypes]
    with pytest.raises(InputError, match="source"):
        open_winter("painted", yolo, tmp_path / "3")


def test_command_line(yolo, tmp_path, capsys):
    assert main([str(yolo)]) == 0
    out = capsys.readouterr().out
    assert "source frames, yolo boxes" in out and "3 frames, 1 without a label file" in out
    assert "left out: class bicycle: 2" in out and "monday" in out
    assert main([str(tmp_path / "nowhere")]) == 2
    assert "no such folder" in capsys.readouterr().err


def real(part: str) -> Path:
    data = data_folder()
    if data is None or not (data / part).is_dir():
        pytest.skip(f"no real data: set DRONE_DATA to a folder with {part}")
    return data / part


def test_real_yolo_frames(tmp_path):
    folder = real("uav-multitemporal")
    found = find_frames(folder)
    assert found.classes() == {"bus": 55, "car": 2111} and dict(found.drops) == {"class minibus": 20}
    assert set(found.flights()) == {"kit_ais_mos", "minsk_0005"} and len(found.paths) == 71
    store = open_winter("frames", folder / "minsk_0005", tmp_path / "store")
    assert len(store) == 321 and store.info["classes"] == {"bus": 30, "car": 291}


def test_class_folders_may_lie_in_flights(tmp_path):
    for name in ("f1/car/a.png", "f1/bus/b.png", "f2/trucks/c.png", "train/f2/car/d.png"):
        save(tmp_path / name, np.zeros((9, 9, 3), np.uint8))
    found = find_crops(tmp_path)
    assert found.classes() == {"bus": 1, "car": 2, "truck": 1} and found.flights() == {"f1": 2, "f2": 2}
    save(tmp_path / "f3/e.png", np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(InputError, match=r"e.png: found the folder 'f3' beside class folders"):
        find_crops(tmp_path)


@pytest.mark.parametrize("name", ["van", "Vans", "awning-tricycle", "train/non_car"])
def test_a_folder_of_another_class_is_no_flight_of_cars(tmp_path, name):
    save(tmp_path / "north/a.png", np.zeros((9, 9, 3), np.uint8))
    assert find_crops(tmp_path).classes() == {"car": 1}
    save(tmp_path / name / "b.png", np.zeros((9, 9, 3), np.uint8))
    folder = name.split("/")[-1]
    with pytest.raises(InputError, match=f"b.png: found the folder '{folder}', a class that is left out"):
        find_crops(tmp_path)


def test_too_few_flights_or_pictures_are_said(tmp_path):
    for name, told in (("a/1.png", "cars of one picture alone"), ("a/2.png", "cars of one flight alone")):
        save(tmp_path / name, np.zeros((9, 9, 3), np.uint8))
        assert told in find_crops(tmp_path).text()
    save(tmp_path / "b/1.png", np.zeros((9, 9, 3), np.uint8))
    assert "alone" not in find_crops(tmp_path).text()


def test_pictures_named_by_hashes_are_one_flight(tmp_path):
    for name in ("3fa9e1", "beefe1", "c0ffee", "a1b2"):
        save(tmp_path / f"{name}.png", np.zeros((9, 9, 3), np.uint8))
    assert len(find_crops(tmp_path).flights()) <= 2  # "beefe1" might be the first of a flight beefe
    for name in ("DJI-0001", "DJI-0002", "DJI (3)"):
        save(tmp_path / "own" / f"{name}.png", np.zeros((9, 9, 3), np.uint8))
    assert find_crops(tmp_path / "own").flights() == {"DJI": 3}


def test_frames_with_boxes_are_no_crops(yolo):
    save(yolo / "images/monday/b.png", np.zeros((9, 9, 3), np.uint8))
    write(yolo / "images/monday/b.txt", "0 0.5 0.5 0.1 0.1")
    with pytest.raises(InputError, match=r"b.txt: found a label file of pictures"):
        find_crops(yolo)


@pytest.mark.parametrize("name", ["labels/monday/a.txt", "annotations/coco.json", "images/monday/a.xml"])
def test_frames_whose_boxes_lie_elsewhere_are_no_crops(tmp_path, name, capsys):
    """Else every frame would be the crop of one car."""
    save(tmp_path / "images/monday/a.png", np.zeros((90, 160, 3), np.uint8))
    write(tmp_path / name, "")
    with pytest.raises(InputError, match="found a label file of pictures, expected pictures of one object"):
        find_crops(tmp_path)
    assert main([str(tmp_path)]) == 2
    if name.startswith("labels"):
        with pytest.raises(InputError, match="monday/a.txt: found a label file of pictures"):
            find_crops(tmp_path / "images")


def test_rows_with_commas_are_told(yolo, capsys):
    for text in ("0,0.5,0.5,0.2,0.2", "0 0,5 0,5 0,2 0,2"):
        write(yolo / "labels/monday/a.txt", text)
        write(yolo / "labels/tuesday/a.txt", text)
        assert main([str(yolo)]) == 2
        said = capsys.readouterr().err
        assert f"a.txt:1: found commas in '{text}', expected 5 numbers with points, spaces between" in said


def test_people_beside_pedestrians_are_visdrones_other_class(yolo):
    found = find_frames(yolo, names=["pedestrian", "people", "car"])
    assert found.classes() == {"car": 2, "pedestrian": 2} and found.drops["class people"] == 2
    alone = find_frames(yolo, names=["people", "truck", "car"])
    assert alone.classes() == {"car": 2, "pedestrian": 2, "truck": 2}


@pytest.mark.parametrize("place", ["Images/{}", "{}", "a/Images/b/{}"])
def test_labels_where_other_tools_put_them(tmp_path, place):
    save(tmp_path / place.format("a_1.png"), np.zeros((20, 20, 3), np.uint8))
    there = place.replace("Images", "Labels") if "Images" in place else "labels/{}"
    write(tmp_path / there.format("a_1.txt"), "0 0.5 0.5 0.5 0.5")
    write(tmp_path / "classes.txt", "car")
    found = find_frames(tmp_path)
    assert len(found.table) == 1 and found.background == 0


def test_a_byte_that_is_no_text_has_a_line(yolo):
    (yolo / "labels/monday/a.txt").write_bytes(b"0 0.5 0.5 0.1 0.1\n0 \xfc")
    with pytest.raises(InputError, match=r"a.txt:2: found byte 0xfc, expected UTF-8 text"):
        find_frames(yolo)


def test_what_is_not_read_is_told(yolo, tmp_path, capsys):
    write(yolo / "images/monday/a.HEIC", "x")
    write(yolo / "images/monday/film.mp4", "x")
    assert main([str(yolo)]) == 0
    assert "left out, as they are not read: 2 files (.heic, .mp4)" in capsys.readouterr().out
    assert main([str(yolo), "--names", "bus,truck,bus"]) == 0
    assert "no car: a run needs winter cars" in capsys.readouterr().out
