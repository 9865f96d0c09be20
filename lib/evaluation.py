"""What is measured of one classifier's answers, with intervals.

The "accuracy for the class Cars" of the paper (section 5, Table 2) is the recall of
cars, and a classifier that calls everything a car has 100 %. So a measure here never
comes alone: precision, non-cars called car (in summer, and under snow) and
the overall accuracy go with it. All measures are shares in [0, 1]. Their table is
`lib.measurements`, what arms gain by them `lib.gains`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from lib.intervals import DRAWS, ROUNDING, Measure, bootstrap_at_share, share
from lib.runs import InputError
from lib.visdrone import CAR, CLASSES

SIMULATED = "simulated winter"  # the label of every number that drawn snow made
RECALLS = tuple("recall_" + name.replace(" ", "_") for name in CLASSES)
NONCARS = "winter_noncar_called_car"  # may be of another winter than the cars, see `noncars_winter`
EQUAL_SHARE = "winter_car_recall_equal_share"  # with as many winter non-cars called car as the control has


class Answers(NamedTuple):
    """A classifier's answers on one test set, n objects."""

    labels: np.ndarray  # (n,) int, 0..5
    predictions: np.ndarray  # (n,) int, 0..5
    sequences: np.ndarray | None  # (n,) str, the recording that an object is from
    car: np.ndarray | None = None  # (n,) float, the probability of the class car, where it is known


def answers(labels, predictions, sequences=None, name: str = "test set") -> Answers:
    """Check one test set. `predictions`: labels (n,) or class probabilities (n, 6).

    Raises InputError if it is empty, of unequal lengths, or holds other labels than 0..5.
    """
    labels, predictions, car = np.asarray(labels), np.asarray(predictions), None
    if labels.ndim != 1 or len(labels) == 0:
        raise InputError(name, f"labels of shape {labels.shape}", "at least one object, shape (n,)")
    if predictions.ndim == 2 and predictions.shape[1] == len(CLASSES):
        if not ((predictions >= 0) & (predictions <= 1)).all():  # NaN too
            raise InputError(name, "probabilities that are none", "numbers in [0, 1]")
        car, predictions = predictions[:, CAR], predictions.argmax(axis=1)
    for what, array in (("labels", labels), ("predictions", predictions)):
        if array.shape != labels.shape or not np.issubdtype(array.dtype, np.integer):
            raise InputError(name, f"{what} of shape {array.shape}, type {array.dtype}",
                             f"{len(labels)} integers or, for predictions, ({len(labels)}, {len(CLASSES)})")
        if array.min() < 0 or array.max() >= len(CLASSES):
            raise InputError(name, f"{what} {array.min()}..{array.max()}", f"0..{len(CLASSES) - 1}")
    if sequences is not None:
        sequences = np.asarray(sequences).astype(str)
        if sequences.shape != labels.shape:
            raise InputError(name, f"sequences of shape {sequences.shape}", f"{len(labels)} names")
    return Answers(labels.astype(np.int64), predictions.astype(np.int64), sequences, car)


def same_objects(first: Answers, second: Answers) -> bool:
    """Whether two classifiers were asked about the same objects, in one order, as far as can be told."""
    same = np.array_equal(first.labels, second.labels)
    if first.sequences is None or second.sequences is None:
        return same
    return same and np.array_equal(first.sequences, second.sequences)


def summer_measures(summer: Answers, draws: int = DRAWS, seed: int = 0) -> dict[str, Measure]:
    """Accuracy, cars' recall and precision, non-cars called car, recall of each class that occurs."""
    labels, said, sequences, _ = summer
    car, called = labels == CAR, said == CAR
    if not car.any() or car.all():
        raise InputError("summer test set", f"{int(car.sum())} cars of {len(car)}", "cars and non-cars")
    pairs = {
        "car_recall": (called, car),
        "car_precision": (car, called),
        "noncar_called_car": (called, ~car),
        "accuracy": (said == labels, np.ones(len(labels), bool)),
    }
    pairs |= {name: (said == k, labels == k) for k, name in enumerate(RECALLS) if (labels == k).any()}
    return {name: share(hits, of, sequences, draws, seed) for name, (hits, of) in pairs.items()}


def recall_at_share(cars, noncars, called: int, sequences=None, noncar_sequences=None, draws: int = DRAWS,
                    seed: int = 0) -> Measure:
    """Recall of cars where as many as `called` of the non-cars, fewer where they tie, count as cars.

    cars, noncars: probabilities of the class car, (n,) and (m,), of cars and of other objects. An object
    counts as a car if its probability is higher than that of the (called + 1)-th non-car. The interval is
    that of both sets drawn anew by recording, the threshold with them; for none or all of the cars, or
    recordings that all agree, it holds Wilson's too.
    Raises InputError for a number that is not in 0..m, or no non-car.
    """
    cars, noncars = np.asarray(cars, float), np.asarray(noncars, float)
    if not len(noncars) or not 0 <= called <= len(noncars):
        raise InputError("non-cars called car", f"{called} of {len(noncars)}", "a number of them, from 1")
    threshold = -np.inf if called == len(noncars) else np.sort(noncars)[::-1][called]
    found = share(cars > threshold, np.ones(len(cars), bool))
    part = called / len(noncars)
    low, high = bootstrap_at_share(cars, noncars, part, sequences, noncar_sequences, draws, seed)
    if found.numerator in (0, found.denominator) or high - low <= ROUNDING:  # which would claim certainty
        low, high = min(low, found.low), max(high, found.high)
    return found._replace(low=low, high=high)


def winter_measures(cars: Answers, noncars: Answers, draws: int = DRAWS, seed: int = 0,
                    called: int | None = None) -> dict[str, Measure]:
    """Recall of winter cars, and the share of snow-covered non-cars that are called car.

    With `called`, EQUAL_SHARE too: the recall at that number of non-cars called car, whatever the
    threshold; it needs answers with probabilities.
    """
    if (cars.labels != CAR).any():
        raise InputError("winter cars", f"{int((cars.labels != CAR).sum())} other objects", "cars only")
    if (noncars.labels == CAR).any():
        raise InputError("winter non-cars", f"{int((noncars.labels == CAR).sum())} cars", "none")
    everything = {"winter_car_recall": cars, "winter_noncar_called_car": noncars}
    found = {
        name: share(said == CAR, np.ones(len(said), bool), sequences, draws, seed)
        for name, (_, said, sequences, _) in everything.items()
    }
    if called is not None:
        found[EQUAL_SHARE] = recall_at_share(
            cars.car, noncars.car, called, cars.sequences, noncars.sequences, draws, seed
        )
    return found


def noncars_winter(about: Mapping) -> str:
    """Where a run's winter non-cars are from; `about` is its metrics/data.json.

    A user's own winter pictures may hold cars alone: then drawn snow serves for the other classes.
    """
    return about["winter"] if about["noncar_source"] == "own" else SIMULATED


def winter_text(about: Mapping) -> str:
    """The winter of all classes of a run in words; `about` as in `noncars_winter`."""
    others = noncars_winter(about)
    return others if others == about["winter"] else f"{about['winter']} (cars), {others} (others)"


def confusion_matrix(labels, predictions) -> pd.DataFrame:
    """Counts (6, 6), named by class: a row is the true class, a column the answer."""
    checked = answers(labels, predictions)
    counts = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
    np.add.at(counts, (checked.labels, checked.predictions), 1)
    truth, called = pd.Index(CLASSES, name="class"), pd.Index(CLASSES, name="called")
    return pd.DataFrame(counts, index=truth, columns=called)
