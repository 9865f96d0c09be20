"""All runs of a profile in one table."""

import numpy as np
import pandas as pd
import pytest

from lib import collect, evaluation, gains, measurements, runs, settings, table2
from lib.arms import ARMS_WITHOUT_SAMPLES
from lib.evaluation import CAR
from lib.measurements import COLUMNS
from lib.runs import InputError, MissingStep

ARMS_RUN = ["none", "continued", "vae_transfer", "vae_recoloured"]
SETS = {  # cars and others in each set of answers
    "summer": (30, 30), "winter_paper": (20, 0), "winter_heldout": (25, 0), "winter_noncars": (0, 40),
}  # fmt: skip


def write_answers(file, seed, wrong):
    """Answers in which the first `wrong` of each set are mistaken; cars as trucks, others as cars."""
    arrays = {}
    for name, (cars, others) in SETS.items():
        labels = np.r_[np.full(cars, CAR), np.resize([0, 2, 3, 4, 5], others)].astype(np.int64)
        said = labels.copy()
        said[:wrong] = np.where(labels[:wrong] == CAR, 5, CAR)
        arrays[f"{name}/labels"] = labels
        arrays[f"{name}/probabilities"] = np.eye(6, dtype=np.float32)[said]
        arrays[f"{name}/sequences"] = np.array([f"s{(i + seed) % 6}" for i in range(len(labels))])
    with runs.atomic_path(file) as temporary, open(temporary, "wb") as handle:
        np.savez_compressed(handle, **arrays)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A profile with three finished runs."""
    monkeypatch.setattr(settings, "ROOT", tmp_path)
    (tmp_path / "params").mkdir()
    for name, seed in (("seed0", 0), ("seed3", 3), ("seed0-sequence", 0)):
        folder = tmp_path / "runs" / "some" / name
        runs.write_json(
            folder / "metrics/data.json",
            {"n_winter": {"asked": 99, "taken": 20}, "winter": "snow", "noncar_source": "own"},
        )
        runs.write_json(
            folder / "metrics/retraining.json",
            {"n_synthetic": 500, "n_winter": 20, "n_winter_taken": 20, "arms": ARMS_RUN[1:], "kept": {},
             "test": {"none": {"x": seed}}},
        )
        for arm, wrong in zip(ARMS_RUN, (10, 5, 0, 2), strict=True):
            write_answers(folder / f"answers/{arm}.npz", seed, wrong)
    return tmp_path


def test_columns_and_rows(root):
    table = collect.collect("some", ["seed3", "seed0-sequence"])
    assert tuple(table.columns) == COLUMNS
    assert table["arm"].unique().tolist() == ARMS_RUN
    assert set(table["protocol"]) == {"paper", "heldout"}
    assert table[["split", "seed"]].drop_duplicates().to_numpy().tolist() == [["object", 3], ["sequence", 0]]
    assert table["value"].between(0, 1).all() and set(table["winter"]) == {"snow"}
    assert set(table["n_winter"]) == {20}  # as notebook 05 kept it
    for arm, rows in table.groupby("arm"):
        assert set(rows["n_synthetic"]) == ({0} if arm in ARMS_WITHOUT_SAMPLES else {500})
    assert not table.duplicated(["arm", "protocol", "split", "seed", "metric"]).any()


def test_every_protocol_has_the_guards(root):
    table = collect.collect("some", ["seed0"])
    for _, rows in table.groupby(["arm", "protocol"]):
        assert {"winter_car_recall", "winter_noncar_called_car", "car_recall", "accuracy"} <= set(
            rows["metric"]
        )


def test_values_come_from_the_answers(root):
    table = collect.collect("some", ["seed0"]).set_index(["arm", "protocol", "metric"])["value"]
    assert table["none", "paper", "winter_car_recall"] == 0.5
    assert table["none", "heldout", "winter_car_recall"] == 0.6
    assert table["continued", "heldout", "winter_car_recall"] == 0.8
    assert table["none", "heldout", "winter_noncar_called_car"] == 0.25
    assert table["vae_transfer", "paper", "winter_car_recall"] == 1
    assert table["continued", "paper", "accuracy"] == pytest.approx(55 / 60)
    equal = table.xs(evaluation.EQUAL_SHARE, level="metric")  # the control calls 5 of 40 others car
    assert equal["none", "heldout"] == 0 and equal["continued", "heldout"] == 0.8
    assert equal["vae_transfer", "heldout"] == 1 and equal["vae_recoloured", "heldout"] == 0.92
    assert equal["continued", "paper"] == 0.75


def test_the_table_can_be_read_and_summed_up(root, tmp_path):
    file = runs.write_table(tmp_path / "table2.csv", collect.collect("some", ["seed0", "seed3"]))
    summary = gains.summarise(measurements.read_table2(file))
    assert (summary["n_seeds"] == 2).all()
    leak = collect.leak(measurements.read_table2(file))
    assert list(leak.columns) == [
        "split", "n_winter", "n_synthetic", "winter", "arm", "heldout", "paper", "paper_minus_heldout",
        "leak", "leak_low", "leak_high", "leak_pairs",
    ]  # fmt: skip
    assert set(leak["winter"]) == {"snow"}  # every number from winter says which
    none = leak[leak["arm"] == "none"].iloc[0]
    assert none["paper_minus_heldout"] == pytest.approx(0.5 - 0.6)


def drawn_noncars(root, names):
    """Make runs whose own winter pictures hold cars alone: drawn snow serves for the other classes."""
    for name in names:
        path = root / "runs/some" / name / "metrics/data.json"
        runs.write_json(path, runs.read_json(path) | {"noncar_source": "store"})


def test_drawn_snow_is_never_called_the_user_s_winter(root):
    drawn_noncars(root, ["seed0", "seed3"])
    table = collect.collect("some", ["seed0", "seed3"])
    drawn = table["metric"] == "winter_noncar_called_car"
    assert set(table.loc[drawn, "winter"]) == {"simulated winter"}
    assert set(table.loc[~drawn, "winter"]) == {"snow"}
    summary = gains.summarise(table)
    text = table2.table2_markdown(summary)
    assert text.count("Split by") == 1
    assert "| Winter cars (snow): recall, held out |" in text
    (line,) = [row for row in text.splitlines() if "Non-cars called car, winter" in row]
    assert line.startswith("| Non-cars called car, winter (simulated winter) | – | – | 25.0 [")
    entries = gains.verdict(summary)
    assert len(entries) == 4  # two arms, two protocols: the guards are not torn from their arm
    for entry in entries:
        assert (entry["winter"], entry["winter_noncars"]) == ("snow", "simulated winter")
        assert entry["better"] is True and all(g["kept"] for g in entry["guards"].values())


def test_noncars_from_two_places_are_never_averaged(root):
    drawn_noncars(root, ["seed3"])  # which flights have no other classes depends on the seed
    summary = gains.summarise(collect.collect("some", ["seed0", "seed3"]))
    text = table2.table2_markdown(summary)
    lines = [row for row in text.splitlines() if "Non-cars called car, winter" in row]
    assert [line.split("|")[1].strip() for line in lines] == [
        "Non-cars called car, winter (simulated winter)", "Non-cars called car, winter (snow)",
    ]  # fmt: skip
    chosen = (summary["metric"] == "winter_noncar_called_car") & (summary["winter"] == "snow")
    worse = summary.copy()
    worse.loc[chosen & (summary["arm"] == "vae_transfer"), "difference"] = 0.03
    for entry in gains.verdict(worse):
        over = entry["arm"] == "vae_transfer"
        assert entry["winter_noncars"] == "simulated winter and snow"
        assert entry["better"] is not over  # the one that moved further counts
        assert entry["guards"]["winter_noncar_called_car"]["kept"] is not over


@pytest.mark.parametrize(
    "name", ["metrics/data.json", "metrics/retraining.json", "answers/none.npz", "answers/vae_transfer.npz"]
)
def test_a_missing_file_names_the_command(root, name):
    (root / "runs/some/seed3" / name).unlink()
    with pytest.raises(MissingStep) as caught:
        collect.collect("some", ["seed0", "seed3"])
    assert name in str(caught.value) and "make reproduce PROFILE=some SEEDS=3" in str(caught.value)


@pytest.mark.parametrize(
    "name", ["seed", "seedx", "run0", "seed0-frame", "seed0-", "seed0-object-x", "../seed0"]
)
def test_a_name_that_is_no_run(root, name):
    with pytest.raises(InputError, match="^run: found ") as caught:
        collect.collect("some", [name])
    assert not isinstance(caught.value, MissingStep)


def test_no_run_at_all(root):
    with pytest.raises(InputError, match="expected at least one run"):
        collect.collect("some", [])


def test_a_run_of_older_code_is_named(root):
    path = root / "runs/some/seed3/metrics/retraining.json"
    runs.write_json(path, {"n_synthetic": 500})
    with pytest.raises(InputError, match="retraining.json: found no arms, expected a run of this code: make"):
        collect.collect("some", ["seed3"])


def test_over_runs_keeps_the_order(root):
    assert collect.over_runs("some", ["seed3", "seed0"], "retraining", "test", "none", "x") == [3, 0]
    assert collect.over_runs("some", ["seed0"], "retraining")[0]["n_synthetic"] == 500
    with pytest.raises(MissingStep, match="generation.json.* make reproduce PROFILE=some SEEDS=3"):
        collect.over_runs("some", ["seed3"], "generation", "copies")


def test_fewer_winter_cars_than_asked_for_are_said(root):
    names = ["seed0", "seed3"]
    assert collect.fewer_winter_cars("some", names) == ""
    for name, taken in zip(names, (18, 15), strict=True):
        file = root / "runs/some" / name / "metrics/retraining.json"
        runs.write_json(file, runs.read_json(file) | {"n_winter_taken": taken})
    assert collect.fewer_winter_cars("some", names) == ", 15 to 18 winter cars found"
    assert collect.fewer_winter_cars("some", names[:1]) == ", 18 winter cars found"


def test_the_winter_of_all_classes_in_words():
    drawn = {"winter": evaluation.SIMULATED, "noncar_source": "store"}
    own = {"winter": "winter crops", "noncar_source": "own"}
    assert evaluation.winter_text(drawn) == evaluation.SIMULATED
    assert evaluation.winter_text(own) == "winter crops"
    both = evaluation.winter_text(own | {"noncar_source": "store"})
    assert both == "winter crops (cars), simulated winter (others)"


def test_the_leak_is_what_exceeds_the_classifier_that_saw_neither(root):
    table = collect.collect("some", ["seed0", "seed3"])
    leak = collect.leak(table).set_index("arm")
    apart = leak["paper_minus_heldout"]
    for arm in ("continued", "vae_transfer"):
        assert leak.loc[arm, "leak"] == pytest.approx(apart[arm] - apart["none"])
        assert leak.loc[arm, "leak_pairs"] == 2
    assert leak.loc["none", "leak"] == 0
    variant = table[table["arm"] == "vae_transfer"].assign(n_winter=5)  # another W: nothing to compare with
    more = collect.leak(pd.concat([table, variant], ignore_index=True))
    assert more.loc[more["n_winter"] == 5, "leak"].isna().all()


@pytest.mark.parametrize("arm", ["none", "vae_transfer"])
def test_answers_about_other_objects_are_told(root, arm):
    file = root / f"runs/some/seed0/answers/{arm}.npz"
    file.write_bytes((root / f"runs/some/seed3/answers/{arm}.npz").read_bytes())
    with pytest.raises(runs.InputError, match=f"{arm}.npz: found .* other objects in .* that the control"):
        collect.collect("some", ["seed0"])


def test_an_arm_of_which_no_run_kept_anything_is_none(root):
    for name, shares in (("seed0", (0.0, 0.0)), ("seed3", (0.5, 0.0))):
        file = root / f"runs/some/{name}/metrics/retraining.json"
        kept = dict(zip(("winter_part", "classic_part"), ({"share": share} for share in shares), strict=True))
        runs.write_json(file, runs.read_json(file) | {"kept": kept})
    assert collect.kept_nothing("some", ["seed0", "seed3"]) == {("object", 20, "classic_part")}
