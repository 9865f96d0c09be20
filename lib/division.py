"""Splits of the crops: train, valid, test (Table 1), and CSCDroneCL (section 4).

Two ways to split. By object, as the paper: class by class floor(0.8 n), floor(0.1 n), rest;
neighbouring frames then show the same cars in train and test. By sequence: whole sequences
go to one part, sequences of one name in two VisDrone sets being one sequence.

CSCDroneCL needs more: the winter cars that train the VAE must not come from where the held-out
winter cars come from. So sequences are first divided 60/40 into group A, which gives
the VAE its cars (W and S), and group B, whose test part gives the held-out winter crops.
"""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd

from lib.runs import InputError, atomic_path
from lib.visdrone import CAR, CLASSES, split_counts

PARTS = ("train", "valid", "test")  # part 0, 1, 2; -1: a winter car, in no part of the classifier's data
SHARES = (0.8, 0.1, 0.1)
GROUP_SHARES = (0.6, 0.4)  # of the cars, groups A and B
N_WINTER = N_SUMMER = 811  # section 4
TRIES = 256  # random orders of whole sequences, of which the one nearest the shares is taken
OWN_VALID_SHARE = 0.2  # of the frames of a user's group B flights; for choosing models, not for testing


@dataclass
class Division:
    """Who is what. Indices are rows of the crop table (and store), in an order fixed by the seed.

    part: int8 (N,), 0 train, 1 valid, 2 test, -1 taken as winter car.
    group: int8 (N,), 0 group A, 1 group B.
    winter, summer: W and S, the cars that train the VAE.
    winter_test_cars, winter_test_noncars, winter_valid_cars, winter_valid_noncars: held-out
        winter crops, of group B only.
    With a winter store of the user's own (summary["winter_source"] == "own"), `winter` and the
    car fields are rows of that store, and so are the non-car fields if
    summary["noncar_source"] == "own".
    summary: counts before and after, what was asked and taken, notes; plain JSON.
    """

    part: np.ndarray
    group: np.ndarray
    winter: np.ndarray
    summer: np.ndarray
    winter_test_cars: np.ndarray
    winter_test_noncars: np.ndarray
    winter_valid_cars: np.ndarray
    winter_valid_noncars: np.ndarray
    summary: dict

    def indices(self, part: str) -> np.ndarray:
        """Rows of "train", "valid" or "test", ascending."""
        return np.flatnonzero(self.part == PARTS.index(part))

    def check(self) -> None:
        """InputError where the winter pictures do not reach for what every notebook after the first needs."""
        for name in ("winter", "winter_test_cars", "winter_test_noncars"):
            if not len(getattr(self, name)):
                notes = "; ".join(self.summary.get("notes", ()))
                found = f"no {name.replace('_', ' ')}" + (f" ({notes})" if notes else "")
                expected = "at least one; each of two groups of recordings needs some, or of frames"
                raise InputError("winter pictures", found, expected)

    def write(self, path: str | os.PathLike) -> Path:
        """Write everything as one .npz."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "summary"}
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays, summary=np.array(json.dumps(self.summary, sort_keys=True)))
        return Path(path)

    @classmethod
    def read(cls, path: str | os.PathLike) -> Division:
        """Read what `write` wrote; InputError if the file is none."""
        try:
            with np.load(path, allow_pickle=False) as file:
                values = {f.name: file[f.name] for f in fields(cls)}
            return cls(**values | {"summary": json.loads(str(values["summary"]))})
        except FileNotFoundError:
            raise InputError(path, "no such file", "a division (.npz)") from None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(path, " ".join(str(error).split())[:80], "a division (.npz)") from None


def divide(
    table: pd.DataFrame,
    split: str = "object",
    seed: int = 0,
    n_winter: int = N_WINTER,
    n_summer: int = N_SUMMER,
    winter_table: pd.DataFrame | None = None,
) -> Division:
    """Divide a crop table (columns label, sequence, frame) for one run.

    split: "object" (the paper) or "sequence". By sequence W is from recordings that train, never from those
    that validate or test, so the splits share their groups but not W. W for a smaller n_winter is the first
    part of a larger one. Too few cars: W takes at most half of those it may take (by object those of group A,
    whatever their part), and summary["notes"] says so.
    winter_table: the table of a user's own winter store (sequence = flight).
    Raises InputError for an unknown split, negative numbers, and too few sequences to split by.
    """
    for name, value in (("n_winter", n_winter), ("n_summer", n_summer), ("seed", seed)):
        if value < 0:
            raise InputError(name, str(value), "0 or more")
    if split not in ("object", "sequence"):
        raise InputError("split", repr(split), '"object" or "sequence"')
    notes: list[str] = []
    label = table["label"].to_numpy()
    group = _groups(table, seed, notes)
    part = _by_object(label, seed) if split == "object" else _by_sequence(table, group, seed)
    before = _counts(part, label)

    free = (label == CAR) & (group == 0)
    if split == "sequence":
        free &= part == PARTS.index("train")  # what is tested must be of recordings that nothing learned from
    cars_a = _rng(seed, 3).permutation(np.flatnonzero(free))
    own = winter_table is not None
    if own:
        held = _own_winter(winter_table, seed, n_winter, notes)
        winter = held.pop("winter")
    else:
        winter = cars_a[: min(n_winter, len(cars_a) // 2)]  # the other half stays to train with
        part[winter] = -1
        held = _held_out(label, part, group)
    _note_few(notes, "winter cars", n_winter, len(winter))
    summer = _rng(seed, 4).permutation(cars_a)
    summer = summer[part[summer] == 0][:n_summer]
    _note_few(notes, "summer cars for the VAE", n_summer, len(summer))

    noncar_own = own and len(held["winter_test_noncars"]) > 0
    if own and not noncar_own:  # a user's flights hold cars alone: the store's own snow must serve
        notes.append("the winter store has no held-out non-cars; simulated winter ones stand in")
        held |= {name: rows for name, rows in _held_out(label, part, group).items() if "noncars" in name}
    for name, rows in held.items():
        if not len(rows):
            notes.append(f"no {name.replace('_', ' ')}")
    summary = {
        "split": split, "seed": seed, "before": before, "after": _counts(part, label),
        "n_winter": {"asked": n_winter, "taken": len(winter)},
        "n_summer": {"asked": n_summer, "taken": len(summer)},
        "groups": _describe_groups(table, group),
        "held_out": {name: len(rows) for name, rows in held.items()},
        "winter_source": "own" if own else "store",
        "noncar_source": "own" if noncar_own else "store",
        "notes": notes,
    }
    return Division(part, group, winter, summer, **held, summary=summary)


def _rng(seed: int, purpose: int) -> np.random.Generator:
    return np.random.default_rng([seed, purpose])


def _note_few(notes: list[str], what: str, asked: int, taken: int) -> None:
    if taken < asked:
        notes.append(f"{taken} of {asked} {what}: no more were there")


def _counts(part: np.ndarray, label: np.ndarray) -> dict:
    """Objects per part, and per class and part."""
    counts = {name: int((part == k).sum()) for k, name in enumerate(PARTS)}
    classes = {}
    for k, name in enumerate(CLASSES):
        classes[name] = {p: int(((part == j) & (label == k)).sum()) for j, p in enumerate(PARTS)}
    return counts | {"classes": classes}


def _describe_groups(table: pd.DataFrame, group: np.ndarray) -> dict:
    cars = (table["label"] == CAR).to_numpy()
    return {
        name: {"sequences": int(table["sequence"][group == k].nunique()), "objects": int((group == k).sum()),
               "cars": int(cars[group == k].sum())}
        for k, name in enumerate("AB")
    }


def _by_object(label: np.ndarray, seed: int) -> np.ndarray:
    """Class by class floor(0.8 n), floor(0.1 n), rest, after a shuffle: Table 1."""
    part = np.empty(len(label), np.int8)
    for k in range(len(CLASSES)):
        rows = _rng(seed, 100 + k).permutation(np.flatnonzero(label == k))
        part[rows] = np.repeat(np.arange(3, dtype=np.int8), split_counts(len(rows)))
    return part


def _table_of_counts(codes: np.ndarray, label: np.ndarray) -> np.ndarray:
    """(units, classes): objects of each class in each unit."""
    counts = np.zeros((codes.max() + 1, len(CLASSES)), np.int64)
    np.add.at(counts, (codes, label), 1)
    return counts


def _cut_order(weights: np.ndarray, shares: tuple[float, ...], least: int) -> np.ndarray:
    """Consecutive units -> 0, 1, ...: a unit goes where its middle lies, at least `least` units each."""
    ends = np.cumsum(weights)
    middles = (ends - weights / 2) / max(ends[-1], 1)
    to = np.searchsorted(np.cumsum(shares)[:-1], middles, side="right")
    n, k = len(weights), len(shares)
    index = np.arange(n)  # a part cannot start before the earlier ones have their units, or too late for it
    low = np.maximum(k - 1 - (n - 1 - index) // least, 0)
    return np.clip(to, low, np.minimum(index // least, k - 1))


def _share_out(counts, weights, shares, least, rng) -> np.ndarray:
    """Whole units to parts: of random orders the one nearest the shares, with every class in every part."""
    best, best_score = None, np.inf
    present = counts.sum(0) > 0
    for _ in range(TRIES):
        order = rng.permutation(len(weights))
        to = np.empty(len(weights), np.int8)
        to[order] = _cut_order(weights[order], shares, least)
        got = np.array([counts[to == k].sum(0) for k in range(len(shares))])
        error = np.abs(np.bincount(to, weights, len(shares)) / max(weights.sum(), 1) - shares).sum()
        uneven = np.abs(got[:, present] / counts[:, present].sum(0) - np.array(shares)[:, None]).mean()
        score = error + 0.3 * uneven + int((got[:, present] == 0).sum())
        if score < best_score:
            best, best_score = to, score
    return best


def _groups(table: pd.DataFrame, seed: int, notes: list[str]) -> np.ndarray:
    """0 = group A, 1 = group B: whole sequences, 60/40 of the cars; a single one is cut by its frames."""
    label, codes = table["label"].to_numpy(), pd.factorize(table["sequence"], sort=True)[0]
    if not len(table):
        return np.empty(0, np.int8)
    counts = _table_of_counts(codes, label)
    if (counts[:, CAR] > 0).sum() < 2:
        notes.append("cars come from one sequence at most: frames in order, 60/40, are the groups A and B")
        codes = pd.factorize(table["frame"])[0]
        counts = _table_of_counts(codes, label)
        weights = counts[:, CAR] if counts[:, CAR].any() else counts.sum(1)
        return _cut_order(weights, GROUP_SHARES, 1)[codes].astype(np.int8)
    least = 3 if len(counts) >= 6 else 1  # so that each group can be split by sequence into three parts
    return _share_out(counts, counts[:, CAR], GROUP_SHARES, least, _rng(seed, 1))[codes]


def _by_sequence(table: pd.DataFrame, group: np.ndarray, seed: int) -> np.ndarray:
    """80/10/10 of the objects by whole sequences, within each group."""
    part = np.empty(len(table), np.int8)
    label, sequence = table["label"].to_numpy(), table["sequence"]
    if set(sequence[group == 0]) & set(sequence[group == 1]):
        raise InputError("split by sequence", "cars in fewer than 2 sequences", "at least 6 sequences")
    for k, name in enumerate("AB"):
        rows = np.flatnonzero(group == k)
        codes, names = pd.factorize(sequence.iloc[rows], sort=True)
        if len(names) < 3:
            found = f"{len(names)} sequences in group {name}"
            raise InputError("split by sequence", found, "at least 3 in each group, so 6 in all")
        counts = _table_of_counts(codes, label[rows])
        part[rows] = _share_out(counts, counts.sum(1), SHARES, 1, _rng(seed, 10 + k))[codes]
    return part


def _held_out(label: np.ndarray, part: np.ndarray, group: np.ndarray) -> dict[str, np.ndarray]:
    """Winter crops of group B: of the test part to test on, of the valid part to choose models with."""
    out = {}
    for name in ("test", "valid"):
        chosen = (part == PARTS.index(name)) & (group == 1)
        out[f"winter_{name}_cars"] = np.flatnonzero(chosen & (label == CAR))
        out[f"winter_{name}_noncars"] = np.flatnonzero(chosen & (label != CAR))
    return out


def _own_winter(table: pd.DataFrame, seed: int, n_winter: int, notes: list[str]) -> dict[str, np.ndarray]:
    """W from the group A flights of a user's winter store; test and valid crops from group B's."""
    label = table["label"].to_numpy()
    flights: list[str] = []
    group = _groups(table, seed, flights)
    notes += [f"winter store: {note}" for note in flights]
    order = _rng(seed, 5).permutation(np.flatnonzero((label == CAR) & (group == 0)))
    part = np.full(len(table), -1, np.int8)
    for _, rows in table[group == 1].groupby("sequence", sort=True).indices.items():
        rows = np.flatnonzero(group == 1)[rows]
        frames, names = pd.factorize(table["frame"].iloc[rows])  # in the order of the table
        part[rows] = np.where(frames < OWN_VALID_SHARE * len(names), 1, 2) if len(names) > 1 else 2
    return {"winter": order[:n_winter]} | _held_out(label, part, group)
