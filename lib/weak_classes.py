"""The paper's further work, automated: find the classes that suffer in the target domain, and mend them.

`improve` measures every class on the validation parts of both domains, trains an ensemble for the weak ones,
draws new images, retrains, and keeps the result only if the weak classes gain on the validation part and
no class loses more than a stated tolerance anywhere. It tries smaller doses before it gives up, and says
what it did.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lib.intervals import wilson
from lib.runs import InputError
from lib.visdrone import CLASSES

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
    return sorted((name for name, gap in gaps.items() if gap > rule.gap), key=lambda name: -gaps[name])


def judge(before: Mapping, after: Mapping, weak: Sequence[str], rule: Rule) -> dict:
    """Whether a retrained classifier is kept: {accepted, gain, losses}; before, after: of `recalls`.

    gain: mean change of the weak classes' recall in the target domain. losses: every class, in every
    domain, that loses more than it may, with its change.
    """

    def change_of(domain: str, name: str) -> float:
        return after[domain][name]["recall"] - before[domain][name]["recall"]

    gain = float(np.mean([change_of("target", name) for name in weak]))
    losses = []
    for domain in DOMAINS:
        for name, old in before[domain].items():
            change, allowed = change_of(domain, name), max(rule.tolerance, 1 / old["n"])
            if old["n"] >= rule.fewest and -change > allowed + 1e-9:
                losses.append({"domain": domain, "class": name, "change": change, "allowed": allowed})
    return {"accepted": gain > 0 and not losses, "gain": gain, "losses": losses}


def improve(
    predict: Predict,
    valid: Mapping[str, Part],
    make: Callable[[list[str], int], Part],
    retrain: Callable[[Part], Predict],
    doses: Sequence[int],
    rule: Rule,
    able: Sequence[str] = CLASSES,
) -> dict:
    """Find the weak classes, make images of them, retrain, keep what is better; a report, ready for JSON.

    predict: the classifier before. valid: {"source", "target"} -> validation part. make(classes, count):
    `count` new images for each weak class. retrain(new): starts from the classifier before each time, and
    gives the retrained one's answers. doses: counts to try, in this order, until one is accepted. able:
    classes that there are target images of, to learn from. Keys: before, weak, out_of_reach (weak, but
    not able), rule, tries (dose, after, accepted, gain, losses), accepted (the dose; None: the classifier
    stays as it was). Raises InputError for no dose or a missing domain.
    """
    if not doses or min(doses) < 1:
        raise InputError("doses", f"{list(doses)}", "numbers of new images for a class, at least one")
    if set(valid) != set(DOMAINS):
        raise InputError("validation parts", ", ".join(valid), " and ".join(DOMAINS))
    before = recalls(predict, valid)
    found = weak_classes(before, rule)
    weak = [name for name in found if name in able]
    report = {"before": before, "weak": weak, "out_of_reach": [name for name in found if name not in able],
              "rule": rule._asdict(), "tries": [], "accepted": None}  # fmt: skip
    for dose in doses if weak else ():
        after = recalls(retrain(make(weak, dose)), valid)
        found = judge(before, after, weak, rule)
        report["tries"].append({"dose": int(dose), "after": after} | found)
        if found["accepted"]:
            report["accepted"] = int(dose)
            break
    return report
