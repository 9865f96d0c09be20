"""The paper's further work, automated: find the classes that suffer in the target domain, and mend them.

`improve` measures every class on the validation parts of both domains, trains an ensemble for the weak ones,
draws new images, retrains, and keeps the result only if the weak classes gain on the validation part and
no class loses more than a stated tolerance anywhere. Each retraining is tried whole and in part: weights
between those before and after it (Wortsman et al. 2022, arXiv 2109.01903) keep more of what was known. It
tries smaller doses before it gives up, and says what it did.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from lib.batches import torch_seed
from lib.intervals import ROUNDING, wilson
from lib.retraining import check_shares, repeated
from lib.runs import InputError
from lib.visdrone import CLASSES
from lib.weights import averaged

Part = tuple[np.ndarray, np.ndarray]  # images uint8 (n, 32, 32, 3), labels int (n,)
DOMAINS = ("source", "target")


class Rule(NamedTuple):
    """When a class is weak, and when a retrained classifier is kept."""

    gap: float = 0.10  # a class is weak if its recall is lower in the target domain by more
    tolerance: float = 0.02  # that a class may lose on a validation part (one object in any case)
    fewest: int = 20  # validation objects of a class in both domains; of fewer nothing is claimed


Predict = Callable[[np.ndarray], np.ndarray]  # images -> labels int (n,)


def recalls(predict: Predict, parts: Mapping[str, Part]) -> dict[str, dict[str, dict]]:
    """Recall of each class that occurs, by domain: {domain: {class: {recall, low, high, n}}}.

    Intervals are Wilson's.
    """
    found: dict[str, dict[str, dict]] = {}
    for domain, (images, labels) in parts.items():
        said = predict(images) if len(images) else np.empty(0, int)
        found[domain] = {}
        for k, name in enumerate(CLASSES):
            n = int((labels == k).sum())
            if n:
                right = int((said[labels == k] == k).sum())
                low, high = wilson(right, n)
                found[domain][name] = {"recall": right / n, "low": low, "high": high, "n": n}
    return found


def weak_classes(measured: Mapping[str, Mapping[str, Mapping]], rule: Rule) -> list[str]:
    """Classes whose recall is lower in the target domain by more than the gap, the worst first."""
    gaps = {}
    for name in CLASSES:
        source, target = (measured[domain].get(name) for domain in DOMAINS)
        if source and target and min(source["n"], target["n"]) >= rule.fewest:
            gaps[name] = source["recall"] - target["recall"]
    weak = [name for name, gap in gaps.items() if gap > rule.gap + ROUNDING]
    return sorted(weak, key=lambda name: -gaps[name])


def judge(before: Mapping, after: Mapping, weak: Sequence[str], rule: Rule) -> dict:
    """Whether a retrained classifier is kept: {accepted, gain, losses}; before, after: of `recalls`.

    gain: mean change of the weak classes' recall in the target domain. losses: every class, in every
    domain, that loses more than it may, with its change. Of fewer objects than the rule's `fewest` a loss
    counts only where few objects do not explain it: the whole interval after it is below the recall before.
    """

    def change_of(domain: str, name: str) -> float:
        return after[domain][name]["recall"] - before[domain][name]["recall"]

    gain = float(np.mean([change_of("target", name) for name in weak]))
    losses = []
    for domain in DOMAINS:
        for name, old in before[domain].items():
            change, allowed = change_of(domain, name), max(rule.tolerance, 1 / old["n"])
            told = old["n"] >= rule.fewest or after[domain][name]["high"] < old["recall"]
            if told and -change > allowed + ROUNDING:
                losses.append({"domain": domain, "class": name, "change": change, "allowed": allowed})
    return {"accepted": gain > ROUNDING and not losses, "gain": gain, "losses": losses}


def repeated_crops(target: Part, weak: Sequence[str], dose: int) -> Part:
    """Target images of each weak class, repeated in turn until there are `dose` of it: no generator."""
    images, labels = target
    numbers = [CLASSES.index(name) for name in weak]
    return np.concatenate([repeated(images[labels == k], dose) for k in numbers]), np.repeat(numbers, dose)


def counterweights(target: Part, source_labels: np.ndarray, weak: Sequence[str], dose: int) -> Part:
    """Target images of the classes that are not weak, to stand beside `dose` new ones of each weak class.

    Each class comes as often as it does in the source domain, measured by the weak ones, its images
    repeated in turn: what the target domain looks like then says nothing about the class. Classes without
    target images are left out.
    """
    images, labels = target
    usual = np.bincount(source_labels, minlength=len(CLASSES))
    scale = dose / max(1.0, float(np.mean([usual[CLASSES.index(name)] for name in weak])))
    rows = []
    for k, name in enumerate(CLASSES):
        own = np.flatnonzero(labels == k)
        if name not in weak and len(own):
            rows.append(repeated(own, round(scale * usual[k])))
    chosen = np.concatenate(rows) if rows else np.empty(0, int)
    return images[chosen], labels[chosen]


def check_doses(doses: Sequence[int], orders: int = 1) -> None:
    """InputError unless the doses, one at least, and the orders are whole numbers from 1."""
    for name, values in (("doses", list(doses)), ("orders", [orders])):
        if not values or not all(type(value) is int and value >= 1 for value in values):
            raise InputError(name, str(values), "whole numbers from 1, one at least")


def in_orders(train: Callable[[str, int], Mapping[str, Tensor]], orders: int, seed: int) -> dict[str, Tensor]:
    """Mean weights of `orders` trainings from the same start, each in an order of its own.

    train(name, seed): trains once and gives the state; the name tells the trainings apart, 0, 1, ...
    """
    return averaged([train(str(order), torch_seed(seed, order)) for order in range(orders)])


def improve(
    predict: Predict,
    valid: Mapping[str, Part],
    make: Callable[[list[str], int], Part],
    retrain: Callable[[Part, int], Callable[[float], Predict]],
    doses: Sequence[int],
    rule: Rule,
    able: Sequence[str] = CLASSES,
    shares: Sequence[float] = (1.0,),
) -> dict:
    """Find the weak classes, make images of them, retrain, keep what is better; a report, ready for JSON.

    predict: the classifier before. valid: {"source", "target"} -> validation part. make(classes, count):
    `count` new images for each weak class. retrain(new, dose): starts from the classifier before each time;
    gives a function of a share, 0..1, of the way from it to the retrained one, which gives that one's
    answers. doses: counts to try, in this order, until one is accepted; of its `shares` the acceptable one
    with the largest gain is. able: classes that there are target images of, to learn from. Keys: before,
    weak, out_of_reach (weak, but not able), rule, tries (dose, share, after, accepted, gain, losses),
    accepted (dose and share; None: the classifier stays as it was). Raises InputError for no dose or no
    share, or a missing domain.
    """
    check_doses(doses)
    check_shares(shares)
    if set(valid) != set(DOMAINS):
        raise InputError("validation parts", ", ".join(valid), " and ".join(DOMAINS))
    before = recalls(predict, valid)
    found = weak_classes(before, rule)
    weak = [name for name in found if name in able]
    report = {"before": before, "weak": weak, "out_of_reach": [name for name in found if name not in able],
              "rule": rule._asdict(), "tries": [], "accepted": None}  # fmt: skip
    for dose in doses if weak else ():
        between = retrain(make(weak, dose), dose)
        tries = []
        for share in shares:
            after = recalls(between(share), valid)
            judged = judge(before, after, weak, rule)
            tries.append({"dose": dose, "share": float(share), "after": after} | judged)
        report["tries"] += tries
        kept = [one for one in tries if one["accepted"]]
        if kept:
            best = max(kept, key=lambda one: one["gain"])  # of equals the first
            report["accepted"] = {"dose": best["dose"], "share": best["share"]}
            break
    return report
