"""Splits and the CSCDroneCL division."""

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.division import PARTS, Division, divide
from lib.runs import InputError
from lib.visdrone import CAR, split_counts

ARRAYS = ("part", "group", "winter", "summer", "winter_test_cars", "winter_test_noncars", "winter_valid_cars",
          "winter_valid_noncars")


def table_of(sequences=24, frames=4, objects=30, seed=0, cars=0.5):
    rng = np.random.default_rng(seed)
    rows = []
    for s in range(sequences):
        share = np.full(6, (1 - cars) / 5)
        share[CAR] = cars
        for f in range(frames):
            for label in rng.choice(6, rng.integers(objects // 2, objects * 2), p=share):
                rows.append((f"{s:07d}", f"{s:07d}_{f:05d}", label))
    return pd.DataFrame(rows, columns=["sequence", "frame", "label"])


TABLE = table_of()


def sequences(rows, table=TABLE):
    return set(table["sequence"].iloc[rows])


@pytest.mark.parametrize("split", ["object", "sequence"])
def test_invariants(split):
    division = divide(TABLE, split, seed=3, n_winter=100, n_summer=80)
    label, part, group = TABLE["label"].to_numpy(), division.part, division.group
    assert len(division.winter) == 100 and len(division.summer) == 80
    assert (label[division.winter] == CAR).all() and (group[division.winter] == 0).all()
    assert (np.flatnonzero(part == -1) == np.sort(division.winter)).all()
    assert (part[division.summer] == 0).all() and (label[division.summer] == CAR).all()
    assert (group[division.summer] == 0).all() and len(set(division.summer)) == 80
    for name in ("test", "valid"):
        cars, others = getattr(division, f"winter_{name}_cars"), getattr(division, f"winter_{name}_noncars")
        held = np.concatenate([cars, others])
        assert len(cars) and len(others)
        assert (part[held] == PARTS.index(name)).all() and (group[held] == 1).all()
        assert (label[cars] == CAR).all() and (label[others] != CAR).all()
        held_out = (part == PARTS.index(name)) & (group == 1)  # all of them, none left out
        assert np.array_equal(np.sort(held), np.flatnonzero(held_out))
        assert not sequences(held) & sequences(division.winter)
    assert not sequences(group == 0) & sequences(group == 1)
    share = (group[label == CAR] == 0).mean()
    assert abs(share - 0.6) < 0.03


def test_by_object_is_the_papers_rule_before_winter_cars_leave():
    division = divide(TABLE, n_winter=50)
    for label, (name, counts) in enumerate(division.summary["before"]["classes"].items()):
        assert tuple(counts.values()) == split_counts(int((TABLE["label"] == label).sum())), name
    before, after = division.summary["before"], division.summary["after"]
    assert sum(before[p] for p in PARTS) == len(TABLE) == sum(after[p] for p in PARTS) + 50
    assert [len(division.indices(p)) for p in PARTS] == [after[p] for p in PARTS]


def test_by_sequence_keeps_sequences_whole():
    division = divide(TABLE, "sequence", n_winter=0)
    parts = [sequences(division.part == k) for k in range(3)]
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
    for k, share in enumerate((0.8, 0.1, 0.1)):
        assert abs((division.part == k).mean() - share) < 0.07
        assert set(TABLE["label"][division.part == k]) == set(range(6))


def test_same_name_in_two_sets_is_one_sequence():
    table = TABLE.assign(set=np.where(np.arange(len(TABLE)) % 2, "val", "test-dev"))
    division = divide(table, "sequence")
    assert pd.Series(division.group).groupby(table["sequence"]).nunique().max() == 1


def test_smaller_w_is_the_first_of_w_and_the_groups_are_those_of_both_splits():
    groups = []
    for split in ("object", "sequence"):
        full, small = (divide(TABLE, split, n_winter=n, seed=5) for n in (120, 30))
        assert (small.winter == full.winter[:30]).all()
        groups += [full.group, small.group]
    assert all((group == groups[0]).all() for group in groups)


@pytest.mark.parametrize("seed", range(5))
def test_by_sequence_nothing_that_is_learned_from_is_of_a_recording_that_tests(seed):
    division = divide(TABLE, "sequence", seed=seed, n_winter=100, n_summer=80)
    learned = sequences(division.part == 0) | sequences(division.winter) | sequences(division.summer)
    assert not learned & sequences(division.part > 0)


def test_of_too_few_cars_half_are_left_to_train_with_and_it_is_said():
    division = divide(TABLE, n_winter=10**6)
    taken, cars = division.summary["n_winter"]["taken"], (TABLE["label"] == CAR) & (division.group == 0)
    assert taken == cars.sum() // 2 == len(division.winter)
    assert f"{taken} of 1000000 winter cars: no more were there" in division.summary["notes"]
    assert len(division.summer) and any("summer cars" in note for note in division.summary["notes"])
    assert (division.part[cars.to_numpy()] == 0).any()


def test_valid_and_test_of_a_flight_are_cut_in_the_order_of_the_table():
    """Of own crops in class folders too, whose names would sort by class."""
    kinds = ("car", "bus")
    frames = [f"{kind}/f{flight}/{k:02d}" for flight in range(5) for k in range(20) for kind in kinds]
    labels = [CAR if name.startswith("car") else 0 for name in frames]
    flights = [name.split("/")[1] for name in frames]
    own = pd.DataFrame({"frame": frames, "sequence": flights, "label": labels})
    held = divide(TABLE, winter_table=own).summary["held_out"]
    assert all(held[f"winter_{part}_{what}"] for part in ("valid", "test") for what in ("cars", "noncars"))


def test_seed_decides():
    again, other = divide(TABLE, seed=1), divide(TABLE, seed=2)
    for name in ARRAYS:
        assert (getattr(divide(TABLE, seed=1), name) == getattr(again, name)).all()
    assert (again.group != other.group).any() and (again.part != other.part).any()
    assert set(again.winter) != set(other.winter) and set(again.summer) != set(other.summer)


def test_what_is_drawn_is_drawn_from_everywhere():
    few = divide(TABLE, seed=3, n_winter=100)
    assert len(sequences(few.winter)) >= 12  # of group A's 14 or 15: not its first recordings
    assert all(len(sequences(few.part == k)) == 24 for k in range(3))  # by object: all, in each part


def test_one_sequence_is_cut_by_frames_with_a_note():
    table = TABLE.assign(sequence="0000001")
    division = divide(table, n_winter=40)
    assert any("frames in order" in note for note in division.summary["notes"])
    last_a, first_b = (table["frame"][division.group == 0].max(), table["frame"][division.group == 1].min())
    assert last_a < first_b
    with pytest.raises(InputError, match="fewer than 2 sequences"):
        divide(table, "sequence")


def test_too_few_sequences_for_a_split_by_sequence():
    few = table_of(sequences=4)
    with pytest.raises(InputError, match="at least 3 in each group"):
        divide(few, "sequence")
    assert len(divide(few).winter) > 0
    assert len(divide(table_of(sequences=6), "sequence", n_winter=5).winter_test_cars)


def test_own_winter_store():
    own = table_of(sequences=5, seed=9, cars=1.0)
    division = divide(TABLE, n_winter=60, winter_table=own)
    assert (division.part >= 0).all(), "no VisDrone car leaves"
    assert division.summary["winter_source"] == "own" and division.summary["noncar_source"] == "store"
    assert not sequences(division.winter, own) & sequences(division.winter_test_cars, own)
    assert not set(division.winter_valid_cars) & set(division.winter_test_cars) and len(division.winter) == 60
    assert (TABLE["label"].iloc[division.winter_test_noncars] != CAR).all()
    mixed = divide(TABLE, n_winter=60, winter_table=table_of(sequences=5, seed=9))
    assert mixed.summary["noncar_source"] == "own"


def test_own_winter_store_of_one_flight():
    own = table_of(sequences=1, frames=20, seed=9, cars=1.0)
    division = divide(TABLE, n_winter=20, winter_table=own)
    assert any(note.startswith("winter store: cars come from one") for note in division.summary["notes"])
    held = own["frame"].iloc[np.r_[division.winter_test_cars, division.winter_valid_cars]]
    assert own["frame"].iloc[division.winter].max() < held.min()


def test_round_trip_and_same_bytes(tmp_path):
    division = divide(TABLE, seed=4)
    division.write(tmp_path / "a.npz")
    time.sleep(2.1)  # zip files store times in steps of two seconds
    division.write(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    back = Division.read(tmp_path / "a.npz")
    assert back.summary == division.summary
    for name in ARRAYS:
        assert (getattr(back, name) == getattr(division, name)).all()
        assert getattr(back, name).dtype == getattr(division, name).dtype
    (tmp_path / "a.npz").write_bytes((tmp_path / "b.npz").read_bytes()[:500])
    for path in (tmp_path / "a.npz", tmp_path / "none.npz"):
        with pytest.raises(InputError, match="division"):
            Division.read(path)


def test_bad_parameters():
    for arguments in ({"split": "frame"}, {"n_winter": -1}, {"n_summer": -1}, {"seed": -1}):
        with pytest.raises(InputError):
            divide(TABLE, **arguments)


@settings(max_examples=25, deadline=None)
@given(st.integers(6, 12), st.integers(1, 3), st.integers(2, 12), st.integers(0, 50), st.integers(0, 900),
       st.sampled_from(["object", "sequence"]), st.floats(0.05, 0.9))
def test_any_table_is_divided_whole(n_sequences, frames, objects, seed, n_winter, split, cars):
    table = table_of(n_sequences, frames, objects, seed, cars)
    try:
        division = divide(table, split, seed, n_winter)
    except InputError as error:
        assert split == "sequence" and "sequences" in str(error)
        return
    label = table["label"].to_numpy()
    assert set(np.unique(division.part)) <= {-1, 0, 1, 2}
    assert (label[division.winter] == CAR).all() and len(division.winter) <= n_winter
    taken = np.concatenate([getattr(division, name) for name in ARRAYS[2:]])
    assert len(set(taken.tolist())) == len(taken)  # nobody has two roles
    assert (division.group[division.winter] == 0).all() and len(division.summer) <= 811
    everyone = np.concatenate([np.flatnonzero(division.part == k) for k in (-1, 0, 1, 2)])
    assert sorted(everyone) == list(range(len(table)))


def test_pictures_that_do_not_reach_are_told_by_the_first_notebook():
    rows = {name: np.arange(3) for name in ("part", "group", "winter", "summer", "winter_test_cars",
            "winter_test_noncars", "winter_valid_cars", "winter_valid_noncars")}  # fmt: skip
    Division(**rows, summary={"notes": []}).check()
    none = np.arange(0)
    with pytest.raises(InputError, match=r"found no winter test cars \(one flight\), expected at least one"):
        Division(**rows | {"winter_test_cars": none}, summary={"notes": ["one flight"]}).check()
    Division(**rows | {"winter_valid_cars": none}, summary={}).check()  # can be done without
