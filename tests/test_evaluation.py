"""Known answers: hand-counted measures."""
import numpy as np
import pytest
from scipy import stats

from lib.evaluation import (
    Answers,
    answers,
    confusion_matrix,
    recall_at_share,
    summer_measures,
    winter_measures,
)
from lib.runs import InputError
from lib.visdrone import CLASSES

CAR, BUS, TRUCK = 1, 0, 5


def hand_counted() -> Answers:
    #        cars                 buses        trucks
    labels = [CAR, CAR, CAR, CAR, BUS, BUS, TRUCK, TRUCK, TRUCK]
    said = [CAR, CAR, CAR, TRUCK, CAR, BUS, TRUCK, CAR, BUS]
    return answers(labels, said)


def test_summer_measures_by_hand():
    found = {name: (m.numerator, m.denominator) for name, m in summer_measures(hand_counted()).items()}
    assert found == {
        "car_recall": (3, 4), "car_precision": (3, 5), "noncar_called_car": (2, 5), "accuracy": (5, 9),
        "recall_bus": (1, 2), "recall_car": (3, 4), "recall_truck": (1, 3),
    }  # fmt: skip
    for measure in summer_measures(hand_counted()).values():
        assert measure.value == measure.numerator / measure.denominator
        assert measure.low <= measure.value <= measure.high


def test_probabilities_and_labels_agree():
    summer = hand_counted()
    probabilities = np.full((9, 6), 0.1)
    probabilities[np.arange(9), summer.predictions] = 0.5
    assert np.array_equal(answers(summer.labels, probabilities).predictions, summer.predictions)


def test_winter_measures_by_hand():
    cars = answers([CAR] * 5, [CAR, CAR, BUS, CAR, TRUCK])
    noncars = answers([BUS, TRUCK, 3, 4], [CAR, TRUCK, 3, 2])
    found = winter_measures(cars, noncars)
    assert found["winter_car_recall"][3:] == (3, 5) and found["winter_noncar_called_car"][3:] == (1, 4)
    with pytest.raises(InputError, match="winter cars: found 4 other objects, expected cars only"):
        winter_measures(noncars, noncars)
    with pytest.raises(InputError, match="winter non-cars: found 5 cars"):
        winter_measures(cars, cars)


def test_a_classifier_that_never_says_car():
    found = summer_measures(answers([CAR, BUS, TRUCK], [BUS, BUS, BUS]))
    assert found["car_precision"] == (0.0, 0.0, 1.0, 0, 0)
    assert found["car_recall"].value == 0


@pytest.mark.parametrize("arguments, message", [
    (([], []), "at least one object"),
    (([1, 2], [1]), "predictions of shape"),
    (([1, 6], [1, 2]), "labels 1..6, expected 0..5"),
    (([1, 2], [0.5, 1.0]), "type float64"),
    (([1, 2], np.full((2, 6), np.nan)), "that are none"),
    (([1, 2], np.full((2, 6), 1.5)), "that are none"),
    (([1, 2], [1, 2], ["a"]), "sequences of shape"),
])  # fmt: skip
def test_wrong_answers_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        answers(*arguments, name="winter cars of protocol heldout")


def test_summer_needs_cars_and_others():
    with pytest.raises(InputError, match="2 cars of 2"):
        summer_measures(answers([CAR, CAR], [CAR, CAR]))


def test_confusion_matrix():
    found = confusion_matrix(*hand_counted()[:2])
    assert found.shape == (6, 6) and tuple(found.index) == CLASSES == tuple(found.columns)
    assert found.loc["car", "truck"] == 1 and found.loc["truck", "bus"] == 1 and found.loc["bus", "car"] == 1
    assert found.to_numpy().sum() == 9 and np.trace(found) == 5


def test_recall_at_an_equal_share():
    cars, noncars = [0.9, 0.6, 0.4, 0.2], [0.8, 0.5, 0.3, 0.1, 0.05]
    counts = [recall_at_share(cars, noncars, called).numerator for called in range(6)]
    assert counts == [1, 2, 3, 4, 4, 4]  # higher than 0.8, 0.5, 0.3, 0.1, 0.05, than nothing
    tied = recall_at_share(cars, [0.6, 0.6, 0.1], 1)
    assert (tied.numerator, tied.denominator) == (1, 4)  # both or neither: neither
    for called, others in ((6, noncars), (-1, noncars), (0, [])):
        with pytest.raises(InputError, match="^non-cars called car: found "):
            recall_at_share(cars, others, called)
    for called in range(1, 3):  # the share itself lies within, none and all have Wilson's interval
        found = recall_at_share(cars, noncars, called, list("abcd"), list("abcde"))
        assert found.low < found.value < found.high
    # whoever says car of everything gains nothing
    more = recall_at_share(np.sqrt(cars), np.sqrt(noncars), 2)
    assert more.value == recall_at_share(cars, noncars, 2).value


@pytest.mark.parametrize("together", [False, True])
def test_the_interval_at_an_equal_share_knows_that_the_threshold_is_an_estimate(together):
    """Objects independent: about 95 of 100 intervals hold the recall at the true threshold."""
    random, covered, trials = np.random.default_rng(4), 0, 200
    true = 1 - stats.norm.cdf(stats.norm.ppf(0.8) - 1.6)
    for _ in range(trials):
        cars, others = random.normal(1.6, 1, 250), random.normal(0, 1, 180)
        names = (np.arange(250), np.arange(180)) if together else ()
        found = recall_at_share(cars, others, 36, *names, draws=400)
        covered += found.low <= true <= found.high
    assert 0.91 * trials <= covered <= 0.98 * trials


def test_all_of_the_cars_at_an_equal_share_are_no_certainty():
    names = np.repeat(list("abcd"), 50)
    cars, noncars = np.full(200, 0.6), np.tile(np.r_[np.full(10, 0.59), np.full(40, 0.1)], 4)
    noncars[:50] = 0.7  # one recording, whose absence or presence decides the threshold
    found = recall_at_share(cars, noncars, 80, names, names)
    assert found.value == 1 and found.low < 0.9 and found.high == 1


def test_recordings_that_agree_are_no_certainty_at_an_equal_share():
    names = np.repeat(list("abcd"), 10)
    cars, noncars = np.tile([0.9] * 5 + [0.1] * 5, 4), np.tile([0.5] * 5 + [0.05] * 5, 4)
    found = recall_at_share(cars, noncars, 0, names, names)
    assert found.value == 0.5 and found.low < 0.4 and found.high > 0.6
