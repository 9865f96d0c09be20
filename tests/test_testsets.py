"""The test sets taken from a crop store by a division, answers on disk, and all of it as picture files."""

import errno

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from lib import evaluation, testsets
from lib.acceleration import ComputePath
from lib.crop_store import CropStore, open_store
from lib.division import PARTS, Division, divide
from lib.export import main, write_folders
from lib.models import build_classifier
from lib.quality import nearest
from lib.runs import InputError, write_array, write_json, write_table
from lib.testsets import measure, part_set, read_answers, summer_cars, winter_cars, write_answers
from lib.training import answer
from lib.visdrone import CAR, CLASSES

CPU = ComputePath("cpu", "float32", True, False, 1)
N = 120
WINTER = [91, 3, 55, 17]  # W, out of order


def write_store(folder, count=N, offset=0, winter=True, cars_only=False) -> CropStore:
    """A store in which crop i is filled with i, its winter view with 200 - i."""
    number = np.arange(count)
    label = np.full(count, CAR) if cars_only else np.where(number % 2, CAR, (number // 2) % 6)
    table = pd.DataFrame({
        "set": "val", "frame": [f"s{i // 10:02d}_{i // 5}" for i in number],
        "sequence": [f"s{offset + i // 10:02d}" for i in number],
        "line": 1, "x": 0, "y": 0, "width": 9, "height": 9, "label": label,
    })  # fmt: skip
    view = np.broadcast_to((number + offset).astype(np.uint8)[:, None, None, None], (count, 32, 32, 3))
    write_array(folder / "crops.npy", view)
    if winter:
        write_array(folder / "winter.npy", 200 - view)
    write_table(folder / "crops.csv", table)
    info = {"crops": count, "size": 32, "snow": "a name" if winter else None, "fingerprint": "f"}
    write_json(folder / "store.json", info)
    return open_store(folder)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("crops"))


def division_of(part, winter, summer, held, noncars="store"):
    return Division(
        np.asarray(part, np.int8), np.zeros(len(part), np.int8), np.asarray(winter), np.asarray(summer),
        *[np.asarray(rows, np.int64) for rows in held], summary={"noncar_source": noncars},
    )  # fmt: skip


@pytest.fixture
def division():
    """Rows out of order, so that a mix-up of images and labels cannot pass."""
    part = np.arange(N) % 3
    part[WINTER] = -1
    return division_of(part, WINTER, [33, 9, 21], [[77, 5, 41], [80, 2, 46, 2], [13, 7], [100, 10]])


def rows_of(images) -> list[int]:
    return images[:, 0, 0, 0].astype(int).tolist()


def check(found, store, rows, winter):
    expected = [200 - row if winter else row for row in rows]
    assert rows_of(found.images) == expected and len(found) == len(rows)
    assert found.images.shape == (len(rows), 32, 32, 3) and found.images.dtype == np.uint8
    assert found.labels.tolist() == store.table["label"].iloc[rows].tolist()
    assert found.labels.dtype == np.int64
    assert found.sequences.tolist() == store.table["sequence"].iloc[rows].tolist()


@pytest.mark.parametrize("part", ["train", "valid", "test"])
def test_parts_are_summer_crops(store, division, part):
    number = ("train", "valid", "test").index(part)
    check(
        part_set(store, division, part), store, np.flatnonzero(division.part == number).tolist(), winter=False
    )


def test_sets_follow_the_order_of_the_division(store, division):
    sets = testsets.test_sets(store, division)
    assert list(sets) == [
        "summer", "winter_paper", "winter_heldout", "winter_noncars",
        "valid_summer", "valid_winter_cars", "valid_winter_noncars",
    ]  # fmt: skip
    check(sets["summer"], store, np.flatnonzero(division.part == 2).tolist(), winter=False)
    check(sets["valid_summer"], store, np.flatnonzero(division.part == 1).tolist(), winter=False)
    check(sets["winter_paper"], store, [91, 3, 55, 17], winter=True)
    check(sets["winter_heldout"], store, [77, 5, 41], winter=True)
    check(sets["winter_noncars"], store, [80, 2, 46, 2], winter=True)
    check(sets["valid_winter_cars"], store, [13, 7], winter=True)
    check(sets["valid_winter_noncars"], store, [100, 10], winter=True)


def test_fewer_winter_cars_change_protocol_paper_alone(store, division):
    few = testsets.test_sets(store, division, None, 2)
    check(few["winter_paper"], store, [91, 3], winter=True)  # those that the autoencoder learned from
    check(few["winter_heldout"], store, [77, 5, 41], winter=True)


def test_what_counterexamples_are_made_of_is_of_group_a_alone(store, division):
    division.group[60:] = 1
    kept = testsets.group_a(part_set(store, division, "train"), division)
    check(kept, store, [row for row in np.flatnonzero(division.part == 0) if row < 60], winter=False)


def test_the_autoencoder_s_cars(store, division):
    check(winter_cars(store, division), store, [91, 3, 55, 17], winter=True)
    check(winter_cars(store, division, n=2), store, [91, 3], winter=True)
    assert len(winter_cars(store, division, n=0)) == 4  # 0: all
    with pytest.raises(InputError, match="^n_winter: found 99, expected at most 4, the winter cars"):
        winter_cars(store, division, n=99)
    check(summer_cars(store, division), store, [33, 9, 21], winter=False)


def test_what_the_autoencoder_saw_holds_both_seasons_and_their_mirror_images():
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (n, 32, 32, 3), np.uint8) for n in (3, 2)]
    some = [testsets.ImageSet(array, np.full(len(array), CAR), np.full(len(array), "s")) for array in images]
    seen = testsets.seen_by_autoencoder(*some)
    assert seen.shape == (10, 32, 32, 3) and seen.dtype == np.uint8
    for images in some:
        index, distance = nearest(images.images, seen)
        assert (distance == 0).all() and (index < 5).all()
        index, distance = nearest(np.ascontiguousarray(np.flip(images.images, 2)), seen)  # left is right
        assert (distance == 0).all() and (index >= 5).all()
        assert (nearest(np.flip(images.images, 1), seen)[1] > 1).all()  # upside down is new


@pytest.mark.parametrize("noncars", ["store", "own"])
def test_winter_crops_of_the_user(store, division, tmp_path, noncars):
    own = write_store(tmp_path, offset=50, winter=False)
    division.summary["noncar_source"] = noncars
    sets = testsets.test_sets(store, division, own)
    assert rows_of(sets["winter_paper"].images) == [50 + row for row in (91, 3, 55, 17)]
    assert sets["winter_heldout"].sequences.tolist() == own.table["sequence"].iloc[[77, 5, 41]].tolist()
    expected = [200 - row if noncars == "store" else 50 + row for row in (80, 2, 46, 2)]
    assert rows_of(sets["winter_noncars"].images) == expected
    assert rows_of(winter_cars(store, division, own, n=1).images) == [141]
    check(sets["summer"], store, np.flatnonzero(division.part == 2).tolist(), winter=False)


def test_a_store_without_winter_is_an_error(division, tmp_path):
    with pytest.raises(InputError, match="found no winter view, expected a store cut with simulated snow"):
        winter_cars(write_store(tmp_path, winter=False), division)


def test_a_real_division_has_the_right_labels_and_no_leak(store):
    division = divide(store.table, n_winter=12, n_summer=12)
    sets = testsets.test_sets(store, division)
    for name in ("winter_paper", "winter_heldout", "valid_winter_cars"):
        assert (sets[name].labels == CAR).all(), name
    for name in ("winter_noncars", "valid_winter_noncars"):
        assert (sets[name].labels != CAR).all(), name
    assert {0, 1, 2, 3, 4, 5} == set(sets["summer"].labels)
    paper = set(sets["winter_paper"].sequences)
    assert not paper & set(sets["winter_heldout"].sequences) and not paper & set(
        sets["winter_noncars"].sequences
    )
    train = set(rows_of(part_set(store, division, "train").images))
    used = {200 - row for name in sets if "winter" in name for row in rows_of(sets[name].images)}
    assert not train & used
    assert set(rows_of(summer_cars(store, division).images)) <= train


# Answers


@pytest.fixture(scope="module")
def answered(store, tmp_path_factory):
    torch.manual_seed(0)
    model = build_classifier(groups=2, width=8, compression=0.5)
    sets = testsets.test_sets(store, divide(store.table, n_winter=12, n_summer=12))
    file = tmp_path_factory.mktemp("answers") / "deeper" / "none.npz"
    return model, sets, file, write_answers(file, model, sets, CPU)


def test_answers_round_trip(answered):
    model, sets, file, written = answered
    found = read_answers(file)
    assert set(found) == set(sets)
    for name, images in sets.items():
        probabilities = answer(model, images.images, CPU)
        assert np.array_equal(written[f"{name}/probabilities"], probabilities)
        assert np.array_equal(found[name].predictions, probabilities.argmax(1))
        assert np.array_equal(found[name].labels, images.labels)
        assert found[name].sequences.tolist() == images.sequences.tolist()
    assert [path.name for path in file.parent.iterdir()] == ["none.npz"]


def test_same_answers_same_bytes(answered, tmp_path):
    model, sets, file, _ = answered
    write_answers(tmp_path / "again.npz", model, sets, CPU)
    assert (tmp_path / "again.npz").read_bytes() == file.read_bytes()


@pytest.mark.parametrize("part", ["test", "valid"])
def test_measures_come_from_the_right_sets(answered, part):
    _, _, file, _ = answered
    found = read_answers(file)
    values = measure(found, part)
    cars, noncars, summer = {
        "test": ("winter_heldout", "winter_noncars", "summer"),
        "valid": ("valid_winter_cars", "valid_winter_noncars", "valid_summer"),
    }[part]
    assert values["winter_car_recall"] == (found[cars].predictions == CAR).mean()
    assert values["winter_noncar_called_car"] == (found[noncars].predictions == CAR).mean()
    assert values["accuracy"] == (found[summer].predictions == found[summer].labels).mean()
    assert ("winter_car_recall_paper" in values) == (part == "test")
    if part == "test":
        assert values["winter_car_recall_paper"] == (found["winter_paper"].predictions == CAR).mean()
    assert all(0 <= value <= 1 for value in values.values())


def test_no_set_is_taken_for_another():
    """Of ten objects of each set another number is called car."""
    called = {"summer": 9, "winter_heldout": 7, "winter_paper": 4, "winter_noncars": 2,
              "valid_summer": 8, "valid_winter_cars": 6, "valid_winter_noncars": 3}  # fmt: skip
    found = {}
    for name, count in called.items():
        labels, said = [0 if "noncars" in name else CAR] * 10, [CAR] * count + [5] * (10 - count)
        more = [0] if "summer" in name else []  # which needs another class too
        found[name] = evaluation.answers(np.array(labels + more), np.array(said + more))
    test, valid = measure(found, "test"), measure(found, "valid")
    names = ("car_recall", "winter_car_recall", "winter_noncar_called_car")
    assert [test[name] for name in names] == [0.9, 0.7, 0.2] and test["winter_car_recall_paper"] == 0.4
    assert [valid[name] for name in names] == [0.8, 0.6, 0.3]


def test_an_empty_test_set_is_named_and_an_empty_validation_set_is_left_out(tmp_path):
    model, path = build_classifier(width=8), CPU
    some = testsets.ImageSet(np.zeros((2, 32, 32, 3), np.uint8), np.array([0, 1]), np.array(["a", "b"]))
    none = testsets.ImageSet(np.zeros((0, 32, 32, 3), np.uint8), np.empty(0, int), np.empty(0, str))
    found = testsets.write_answers(tmp_path / "a.npz", model, {"summer": some, "valid_summer": none}, path)
    assert "summer/labels" in found and "valid_summer/labels" not in found
    with pytest.raises(InputError, match="winter_heldout"):
        testsets.write_answers(tmp_path / "b.npz", model, {"winter_heldout": none}, path)
    assert not (tmp_path / "b.npz").exists()


def test_a_choice_on_the_validation_part_needs_all_of_it(store, division):
    sets = testsets.test_sets(store, division)
    chosen = testsets.validation_sets(sets)
    assert list(chosen) == ["valid_summer", "valid_winter_cars", "valid_winter_noncars"]
    found = testsets.measure(testsets.answers_of(build_classifier(width=8), chosen, CPU), "valid")
    assert set(found) >= {"winter_car_recall", "winter_noncar_called_car", "car_recall", "noncar_called_car"}
    none = testsets.ImageSet(np.zeros((0, 32, 32, 3), np.uint8), np.empty(0, int), np.empty(0, str))
    with pytest.raises(InputError, match="^validation set valid_winter_cars: found no images"):
        testsets.validation_sets(sets | {"valid_winter_cars": none})


def test_both_domains_hold_all_classes(store, division):
    sets = testsets.test_sets(store, division)
    parts = {"test": ("summer", "winter_heldout", "winter_noncars"),
             "valid": ("valid_summer", "valid_winter_cars", "valid_winter_noncars")}  # fmt: skip
    for part, names in parts.items():
        found = testsets.domains(sets, part)
        assert list(found) == ["source", "target"]
        assert np.array_equal(found["source"][0], sets[names[0]].images)
        for place, field in enumerate(("images", "labels")):
            both = np.concatenate([getattr(sets[name], field) for name in names[1:]])
            assert np.array_equal(found["target"][place], both)


def test_target_crops_are_winter_and_from_the_training_part_of_group_a(store, division):
    division.group[60:] = 1
    images, labels = testsets.target_crops(store, division, None, 3)
    rows = 200 - images[:, 0, 0, 0].astype(int)  # winter's grey says which crop it is
    assert rows[:3].tolist() == [91, 3, 55] and (labels[:3] == CAR).all()  # the first of W
    assert np.array_equal(labels, store.table["label"].to_numpy()[rows]) and len(set(rows)) == len(rows)
    assert (division.part[rows[3:]] == 0).all() and (division.group[rows[3:]] == 0).all()
    there = store.table["label"].to_numpy()[(division.part == 0) & (division.group == 0)]
    assert np.bincount(labels).max() == 3 and set(labels) == {CAR, *there}
    assert np.array_equal(testsets.target_crops(store, division, None, 3)[0], images)
    own = testsets.target_crops(store, division, store, 2)  # the user's winter: cars alone
    assert own[1].tolist() == [CAR, CAR] and own[0][:, 0, 0, 0].tolist() == [91, 3]


def test_damaged_answers_are_named(tmp_path):
    file = tmp_path / "none.npz"
    file.write_bytes(b"PK\x03\x04half")
    with pytest.raises(InputError, match=r"none\.npz: found no answers \("):
        read_answers(file)


@pytest.fixture
def exported_run(repository):
    """A run after notebook 01: crops, their division, what it wrote of them."""
    place = repository / "runs" / "embedded"
    write_store(place / "crops")
    part = np.arange(N) % 3
    part[WINTER] = -1
    held = [[77, 5], [80, 2, 46], [13], [100, 10]]
    division_of(part, WINTER, [33, 9], held).write(place / "seed0/division.npz")
    write_json(place / "seed0/metrics/data.json", {"winter": "simulated winter", "fingerprint": "f"})
    return place / "seed0"


def test_every_exported_part_is_an_image_folder(exported_run, tmp_path, capsys):
    assert main([str(exported_run), str(tmp_path / "out")]) == 0
    told = dict(line.split() for line in capsys.readouterr().out.splitlines()[:-1])
    counts = {"winter_train": 4, "winter_valid": 3, "winter_test": 5}
    counts |= {part: sum(np.delete(np.arange(N), WINTER) % 3 == k) for k, part in enumerate(PARTS)}
    assert {name: int(number) for name, number in told.items()} == counts
    for name, number in counts.items():
        loaded = ImageFolder(tmp_path / "out" / name)
        assert len(loaded) == number and set(loaded.classes) <= set(CLASSES)
        for path, label in loaded.samples:  # crop i is filled with i, its winter view with 200 - i
            value = int(np.asarray(Image.open(path))[0, 0, 0])
            row = 200 - value if name.startswith("winter") else value
            ours = CAR if row % 2 else (row // 2) % 6
            assert CLASSES[ours] == loaded.classes[label]
            assert path.endswith(f"_s{row // 10:02d}.png")
    held = ImageFolder(tmp_path / "out/winter_test")
    assert sorted(200 - int(np.asarray(image)[0, 0, 0]) for image, _ in held) == [2, 5, 46, 77, 80]


def test_exported_new_cars_of_notebook_04_are_among_them(exported_run, tmp_path):
    write_array(exported_run / "synthetic_car.npy", np.full((3, 32, 32, 3), 9, np.uint8))
    assert main([str(exported_run), str(tmp_path / "out")]) == 0
    assert len(ImageFolder(tmp_path / "out/new")) == 3


def test_bad_input_to_the_export_is_one_line(exported_run, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/a").write_text("a")
    for arguments, told in (
        ((exported_run, tmp_path / "full"), "full: found files, expected a new or empty folder"),
        ((exported_run.with_name("seed7"), tmp_path / "out"), "make reproduce PROFILE=embedded SEEDS=7"),
        ((exported_run.with_name("summary"), tmp_path / "out"), "summary"),
        ((tmp_path / "runs/embedded/seed0", tmp_path / "out"), "no run of this checkout"),
    ):
        assert main([str(argument) for argument in arguments]) == 2
        line = capsys.readouterr().err
        assert told in line and line.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_export_on_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(*arguments, **named):
        raise OSError(errno.ENOSPC, "No space left on device")

    one = testsets.ImageSet(np.zeros((2, 32, 32, 3), np.uint8), np.array([CAR, 0]), np.array(["a/b", "c"]))
    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", full)
        with pytest.raises(InputError, match="full disk"):
            write_folders({"train": [one]}, tmp_path / "out")
    assert not any(tmp_path.iterdir())
    assert write_folders({"train": [one]}, tmp_path / "out") == {"train": 2}
    assert (tmp_path / "out/train/car/000000_a-b.png").exists()


def test_an_export_into_a_link_fills_what_it_leads_to(tmp_path):
    one = testsets.ImageSet(np.zeros((1, 32, 32, 3), np.uint8), np.array([CAR]), np.array(["a"]))
    (tmp_path / "disk/empty").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk/empty")
    assert write_folders({"train": [one]}, tmp_path / "link") == {"train": 1}
    assert (tmp_path / "link").is_symlink() and (tmp_path / "disk/empty/train/car/000000_a.png").exists()
