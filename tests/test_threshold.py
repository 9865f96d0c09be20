"""The benchmark of thresholds: chosen on the validation part, measured on the test part."""

import numpy as np
import pytest

from benchmarks import threshold
from lib import runs, settings
from lib.testsets import SUMMER, WINTER
from lib.visdrone import CAR, CLASSES


def probabilities(car):
    """Of class probabilities only the car's matter here; the rest goes to one other class."""
    found = np.zeros((len(car), len(CLASSES)), np.float32)
    found[:, CAR] = car
    found[:, (CAR + 1) % len(CLASSES)] = 1 - np.asarray(car)
    return found


def write(run, arm, shift=0.0, parts=("test", "valid")):
    """Answers of an arm that gives all objects `shift` more of the probability of a car."""
    random, arrays = np.random.default_rng(0), {}
    for part in parts:
        for name, labels in ((WINTER[part][0], np.full(60, CAR)), (WINTER[part][1], np.full(80, CAR + 1)),
                             (SUMMER[part], np.resize([CAR, CAR + 1], 90))):  # fmt: skip
            car = np.where(labels == CAR, 0.6, 0.3) + random.uniform(-0.3, 0.3, len(labels))
            arrays |= {f"{name}/probabilities": probabilities(np.clip(car + shift, 0, 1)),
                       f"{name}/labels": labels,
                       f"{name}/sequences": np.full(len(labels), "0000001")}  # fmt: skip
    cars = WINTER["test"][0]
    arrays |= {key.replace(cars, "winter_paper"): value for key, value in arrays.items() if cars in key}
    file = settings.ROOT / f"runs/embedded/{run}/answers/{arm}.npz"
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, **arrays)
    metrics = file.parents[1] / "metrics/retraining.json"
    if not metrics.exists():
        runs.write_json(metrics, {"kept": {}})


@pytest.fixture
def grid(repository, monkeypatch):
    monkeypatch.setattr(threshold, "FOLDER", repository / "figures/benchmarks")
    for run, shift in (("seed0", 0.1), ("seed1", 0.1), ("seed0-sequence", 0.3), ("seed0-winter50", 0.3)):
        write(run, "continued")
        write(run, "vae_transfer", shift)
    return repository


@pytest.mark.parametrize("count, expected", [(0, 0), (1, 1), (3, 3), (4, 4), (9, 4)])
def test_the_least_threshold_calls_no_more_than_asked(count, expected):
    values = np.array([0.2, 0.9, 0.5, 0.7])
    at = threshold.least(values, count)
    assert (values >= at).sum() == expected


def test_of_equal_probabilities_none_is_called_too_many():
    values = np.array([0.5, 0.5, 0.9])
    assert (values >= threshold.least(values, 2)).sum() == 1


def test_an_arm_that_only_moved_its_threshold_gains_nothing(grid, capsys):
    assert threshold.main(["embedded"]) == 0
    (entry,) = runs.read_json(grid / "figures/benchmarks/threshold_embedded.json")["arms"].values()
    assert entry["seeds"] == [0, 1]  # by object, without variants
    assert entry["thresholds"] == pytest.approx([0.6, 0.6], abs=0.03)  # the control's half, and the shift
    assert all(abs(moved["gain"]) < 0.04 for moved in entry["moved"].values())
    assert "after (2 seeds)" in capsys.readouterr().out


def test_as_it_is_the_same_arm_says_car_more_often(grid):
    found = [threshold.read_answers(grid / f"runs/embedded/seed0/answers/{arm}.npz")
             for arm in ("continued", "vae_transfer")]  # fmt: skip
    control, arm = (threshold.measured(answers, None) for answers in found)
    assert all(arm[name] > control[name] + 0.04 for name in threshold.SHOWN)
    assert threshold.measured(found[0], 0.5) == pytest.approx(control, abs=0.02)


def test_an_arm_of_which_nothing_was_kept_is_left_out(grid, capsys):
    for seed, share in ((0, 0.25), (1, 0.0)):
        for arm in ("vae_transfer_part", "oversampled_part"):
            write(f"seed{seed}", arm)
        kept = {"vae_transfer_part": {"share": share}, "oversampled_part": {"share": 0.0}}
        runs.write_json(grid / f"runs/embedded/seed{seed}/metrics/retraining.json", {"kept": kept})
    arms = threshold.compared("embedded")["arms"]
    assert list(arms) == ["vae_transfer", "vae_transfer_part"]
    assert arms["vae_transfer_part"]["kept"] == [0.25, 0.0] and "kept" not in arms["vae_transfer"]


def test_a_run_without_a_validation_part_chooses_no_threshold(grid, capsys):
    for arm in ("continued", "vae_transfer"):
        write("seed1", arm, parts=("test",))
    assert threshold.compared("embedded")["arms"]["vae_transfer"]["seeds"] == [0]
    write("seed0", "continued", parts=("test",))
    assert threshold.main(["embedded"]) == 2
    assert "no answers of retrained arms about both parts" in capsys.readouterr().err


def test_without_answers_there_is_one_line(repository, monkeypatch, capsys):
    monkeypatch.setattr(threshold, "FOLDER", repository / "figures/benchmarks")
    assert threshold.main(["embedded"]) == 2
    assert "no answers of retrained arms" in capsys.readouterr().err
