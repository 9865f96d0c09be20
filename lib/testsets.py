"""The sets of images that a classifier is asked about, and its answers on disk.

Summer and winter, test and validation part, both protocols (paper, section 4, and the
leak in it): `winter_paper` is W itself, which trains the autoencoder; `winter_heldout`
is test-part cars of group B under snow; `winter_noncars` the other five classes in the
same weather, of which less holds on some (`lib.snow.HOLD`). The `valid_*` sets are for
choosing between settings, never for reporting.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from lib import evaluation, runs
from lib.acceleration import ComputePath
from lib.crop_store import CropStore
from lib.division import Division
from lib.intervals import DRAWS, Measure
from lib.training import answer
from lib.visdrone import CAR, CLASSES

SUMMER = {"test": "summer", "valid": "valid_summer"}
PROTOCOLS = {"paper": "winter_paper", "heldout": "winter_heldout"}
WINTER = {  # held-out winter cars and the other classes, by part
    "test": (PROTOCOLS["heldout"], "winter_noncars"),
    "valid": ("valid_winter_cars", "valid_winter_noncars"),
}


@dataclass(frozen=True)
class ImageSet:
    """Images uint8 (n, 32, 32, 3), labels int (n,), and the sequence that each is from (n,)."""

    images: np.ndarray
    labels: np.ndarray
    sequences: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


def _take(store: CropStore, rows: np.ndarray, winter: bool) -> ImageSet:
    view = store.winter if winter else store.images
    if view is None:
        raise runs.InputError(store.folder, "no winter view", "a store cut with simulated snow")
    order = np.sort(rows)  # memory-mapped: reading in order is fast
    images = view[order]
    if not np.array_equal(order, rows):
        images = images[np.searchsorted(order, rows)]
    table = store.table.iloc[rows]
    return ImageSet(images, table["label"].to_numpy(np.int64), table["sequence"].to_numpy(str))


def part_set(store: CropStore, division: Division, part: str) -> ImageSet:
    """Summer crops of a part: "train", "valid" or "test"."""
    return _take(store, division.indices(part), winter=False)


def group_a(train: ImageSet, division: Division) -> ImageSet:
    """Those of the training part that are from group A: no held-out winter crop is from their recordings."""
    kept = division.group[division.indices("train")] == 0
    return ImageSet(train.images[kept], train.labels[kept], train.sequences[kept])


def winter_cars(
    store: CropStore, division: Division, own: CropStore | None = None, n: int | None = None
) -> ImageSet:
    """W, the winter cars that train the autoencoder; with `n` the first n of them (0 or None: all).

    `own` is the user's winter store; without it the crops are simulated winter.
    Raises InputError for more than there are.
    """
    if n and n > len(division.winter):
        expected = f"at most {len(division.winter)}, the winter cars of this run"
        raise runs.InputError("n_winter", str(n), expected)
    rows = division.winter[: n or None]
    return _take(store, rows, winter=True) if own is None else _take(own, rows, winter=False)


def summer_cars(store: CropStore, division: Division) -> ImageSet:
    """S, the VisDrone cars that train the autoencoder beside W (CSCDroneCL)."""
    return _take(store, division.summer, winter=False)


def domains(sets: dict[str, ImageSet], part: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Both domains of the "test" or "valid" part, all six classes: {"source", "target"} -> images, labels.

    The source is the whole part, the target its held-out winter, of group B alone: what a class loses from
    one to the other is the season's and the other recordings'.
    """
    summer, winter = sets[SUMMER[part]], [sets[name] for name in WINTER[part]]
    return {
        "source": (summer.images, summer.labels),
        "target": tuple(np.concatenate([getattr(s, name) for s in winter]) for name in ("images", "labels")),
    }


def target_crops(
    store: CropStore, division: Division, own: CropStore | None, per_class: int
) -> tuple[np.ndarray, np.ndarray]:
    """Winter crops that a training may use, at most `per_class` of each class: images and labels.

    Cars are the first of W. The other classes are training-part crops of group A under simulated snow, so
    none is from where the held-out winter crops are; a user's own winter pictures give their cars alone.
    """
    parts = [winter_cars(store, division, own, min(per_class, len(division.winter)))]
    if own is None:
        labels = store.table["label"].to_numpy()
        free = (division.part == 0) & (division.group == 0)
        for label in range(len(CLASSES)):
            rows = np.flatnonzero(free & (labels == label))
            if label != CAR and len(rows):
                order = np.random.default_rng([len(rows), label]).permutation(rows)
                parts.append(_take(store, order[:per_class], winter=True))
    return np.concatenate([p.images for p in parts]), np.concatenate([p.labels for p in parts])


def seen_by_autoencoder(winter: ImageSet, summer: ImageSet) -> np.ndarray:
    """W, S and their mirror images, uint8 (2 (n + m), 32, 32, 3): its training flips left and right."""
    images = np.concatenate([winter.images, summer.images])
    return np.concatenate([images, images[:, :, ::-1]])


def test_sets(
    store: CropStore, division: Division, own: CropStore | None = None, n_winter: int | None = None
) -> dict[str, ImageSet]:
    """Every set by name; see the head of this module. `n_winter`: `winter_paper` is the first so many of W,
    those that the autoencoder learned from.
    """
    cars_own = own is not None
    noncars_own = division.summary["noncar_source"] == "own"

    def winter(rows: np.ndarray, from_own: bool) -> ImageSet:
        return _take(own, rows, winter=False) if from_own else _take(store, rows, winter=True)

    return {
        "summer": part_set(store, division, "test"),
        "winter_paper": winter_cars(store, division, own, n_winter),
        "winter_heldout": winter(division.winter_test_cars, cars_own),
        "winter_noncars": winter(division.winter_test_noncars, noncars_own),
        "valid_summer": part_set(store, division, "valid"),
        "valid_winter_cars": winter(division.winter_valid_cars, cars_own),
        "valid_winter_noncars": winter(division.winter_valid_noncars, noncars_own),
    }


def _ask(model: nn.Module, sets: dict[str, ImageSet], path: ComputePath) -> dict[str, np.ndarray]:
    """Probabilities float32 (n, 6), labels and sequences of every set, as SET/probabilities and so on."""
    arrays = {}
    for name, images in sets.items():
        if not len(images) and name.startswith("valid"):  # a short winter flight may have none to spare
            continue
        if not len(images):
            raise runs.InputError(f"test set {name}", "no images", "at least one; notebook 01 notes why")
        arrays[f"{name}/probabilities"] = answer(model, images.images, path)
        arrays[f"{name}/labels"] = images.labels
        arrays[f"{name}/sequences"] = images.sequences
    return arrays


def write_answers(
    file: Path, model: nn.Module, sets: dict[str, ImageSet], path: ComputePath
) -> dict[str, np.ndarray]:
    """Ask a classifier about every set; keep probabilities float32 (n, 6), labels and sequences (.npz)."""
    arrays = _ask(model, sets, path)
    with runs.atomic_path(file) as temporary, open(temporary, "wb") as handle:
        np.savez_compressed(handle, **arrays)
    return arrays


def validation_sets(sets: dict[str, ImageSet]) -> dict[str, ImageSet]:
    """Those of the validation part; InputError where one is empty: a short winter flight may have none."""
    chosen = {name: sets[name] for name in (SUMMER["valid"], *WINTER["valid"])}
    for name, images in chosen.items():
        if not len(images):
            raise runs.InputError(f"validation set {name}", "no images", "at least one, to choose by")
    return chosen


def answers_of(
    model: nn.Module, sets: dict[str, ImageSet], path: ComputePath
) -> dict[str, evaluation.Answers]:
    """A classifier's checked answers on every set, without keeping them on disk."""
    return _checked(_ask(model, sets, path))


def read_answers(file: Path) -> dict[str, evaluation.Answers]:
    """What `write_answers` kept, as checked labels and predictions by set; InputError for a damaged file."""
    expected = "a complete file of notebook 02 or 05"
    try:
        found = _answers(file)
    except runs.InputError as error:
        raise runs.InputError(f"{file}, {error.where}", error.found, error.expected) from None
    except FileNotFoundError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, OSError) as error:
        raise runs.InputError(file, f"no answers ({error})", expected) from None
    lacking = [name for name in (SUMMER["test"], *PROTOCOLS.values(), WINTER["test"][1]) if name not in found]
    if lacking:
        raise runs.InputError(file, f"no answers about {', '.join(lacking)}", expected)
    return found


def _answers(file: Path) -> dict[str, evaluation.Answers]:
    with np.load(file, allow_pickle=False) as arrays:
        return _checked(arrays)


def _checked(arrays: Mapping[str, np.ndarray]) -> dict[str, evaluation.Answers]:
    names = sorted({key.split("/")[0] for key in arrays})
    return {
        name: evaluation.answers(
            arrays[f"{name}/labels"], arrays[f"{name}/probabilities"], arrays[f"{name}/sequences"], name
        )
        for name in names
    }


def measures(
    answers: dict[str, evaluation.Answers], part: str = "test", draws: int = DRAWS
) -> dict[str, Measure]:
    """Measures of a part, "test" (held-out protocol) or "valid", with intervals from so many `draws`."""
    cars, noncars = WINTER[part]
    found = evaluation.summer_measures(answers[SUMMER[part]], draws=draws)
    return found | evaluation.winter_measures(answers[cars], answers[noncars], draws=draws)


def measure(answers: dict[str, evaluation.Answers], part: str = "test") -> dict[str, float]:
    """Plain values of a part's measures, "test" (held-out protocol and paper's) or "valid"."""
    values = {name: found.value for name, found in measures(answers, part, draws=1).items()}
    if part == "test":
        values["winter_car_recall_paper"] = evaluation.winter_measures(
            answers["winter_paper"], answers[WINTER[part][1]], draws=1
        )["winter_car_recall"].value
    return values
