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


def write(run, arm, shift=0.0):
    """Answers of an arm that gives all objects `shift` more of the probability of a car."""
    random, arrays = np.random.default_rng(0), {}
    for part in ("test", "valid"):
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


@pytest.fixture
def grid(repository, monkeypatch):
    monkeypatch.setattr(threshold, "FOLDER", repository / "figures/benchmarks")
    for run in ("seed0", "seed1", "seed0-sequence", "seed0-winter50"):
        write(run, "continued")
        write(run, "vae_transfer", 0.1)
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


def test_without_answers_there_is_one_line(repository, monkeypatch, capsys):
    monkeypatch.setattr(threshold, "FOLDER", repository / "figures/benchmarks")
    assert threshold.main(["embedded"]) == 2
    assert "no answers of retrained arms" in capsys.readouterr().err
