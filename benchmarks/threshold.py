"""Does another threshold undo what an arm costs? `python -m benchmarks.threshold PROFILE`

An arm that calls more winter non-cars car might only have moved its threshold. Here each says "car" from a
probability on at which, on the validation part, it calls no more winter non-cars car than the control does;
what that leaves on the test part, held out, is compared with the control, paired by seed. Every run of
PROFILE (runs/<profile>/) split by object, without variants, whose answers are here; arms of which something
was kept. Numbers go to figures/benchmarks/threshold_PROFILE.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from benchmarks import FOLDER
from lib import runs, settings
from lib.arms import ARMS, BEFORE, CONTROL
from lib.comparison import gain_text, paired_test
from lib.evaluation import NONCARS, Answers
from lib.run_names import parse_run
from lib.testsets import WINTER, measure, read_answers
from lib.visdrone import CAR, CLASSES

OTHER = (CAR + 1) % len(CLASSES)  # any class that is not the car: SHOWN tells no others apart
SHOWN = ("winter_car_recall", NONCARS, "car_recall", "noncar_called_car")


def least(probabilities: np.ndarray, count: int) -> float:
    """The least threshold from which on no more than `count` of the probabilities are called car."""
    falling = np.sort(probabilities)[::-1]
    return float(np.nextafter(falling[count], np.inf)) if count < len(falling) else 0.0


def at(found: Answers, threshold: float) -> Answers:
    """The same answers, had whatever has the threshold's probability been called car, and nothing else."""
    others = np.where(found.predictions == CAR, OTHER, found.predictions)
    return found._replace(predictions=np.where(found.car >= threshold, CAR, others))


def measured(answers: dict[str, Answers], threshold: float | None, part: str = "test") -> dict[str, float]:
    """SHOWN of a part, held out; without a threshold the likeliest class is called."""
    if threshold is not None:
        answers = {name: at(found, threshold) for name, found in answers.items()}
    found = measure(answers, part)
    return {name: found[name] for name in SHOWN}


def compared(profile: str) -> dict:
    """Every arm, ready for JSON; InputError where no run has answers of the control and of another arm."""
    settings.known_profile(profile)
    folder = settings.ROOT / "runs" / profile
    found: dict[str, dict[int, dict]] = {}
    command = f"make reproduce PROFILE={profile}"
    for file in sorted(folder.glob(f"seed*/answers/{CONTROL}.npz")):
        run = parse_run(file.parts[-3])
        if run.split != "object" or run.numbers():
            continue
        control = read_answers(file)
        if not set(WINTER["valid"]) <= control.keys():  # a short winter flight may have none
            continue
        metrics = runs.require(folder / str(run) / "metrics" / "retraining.json", command)
        kept = runs.read_json(metrics)["kept"]
        usual = {part: measured(control, None, part) for part in ("valid", "test")}
        for arm in (name for name in ARMS if name not in (BEFORE, CONTROL)):
            if (path := file.with_name(f"{arm}.npz")).exists():
                found.setdefault(arm, {})[run.seed] = _one(path, usual) | {"kept": kept.get(arm)}
    if not found:
        raise runs.InputError(folder, "no answers of retrained arms about both parts", command)
    arms = {}
    for arm in (name for name in ARMS if name in found):
        seeds = sorted(found[arm])
        shares = [found[arm][seed]["kept"]["share"] for seed in seeds if found[arm][seed]["kept"]]
        if shares and not any(shares):  # it is the classifier before
            continue
        moved = {m: paired_test([found[arm][seed]["moved"][m] for seed in seeds]) for m in SHOWN}
        thresholds = [found[arm][seed]["threshold"] for seed in seeds]
        arms[arm] = {"seeds": seeds, "thresholds": thresholds, "moved": moved}
        arms[arm] |= {"kept": shares} if shares else {}
    return {"profile": profile, "split": "object", "part": "test, held out", "against": CONTROL, "arms": arms}


def _one(path: Path, usual: dict[str, dict[str, float]]) -> dict:
    """An arm's threshold in one run, and what it moves beside the control as it is."""
    answers = read_answers(path)
    asked = answers[WINTER["valid"][1]].car
    threshold = least(asked, round(usual["valid"][NONCARS] * len(asked)))
    there = measured(answers, threshold)
    return {"threshold": threshold, "moved": {name: there[name] - usual["test"][name] for name in SHOWN}}


@runs.command_line
def main(arguments: list[str] | None = None) -> None:
    """Command line; 2 and one line where no run is there."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.threshold", description=__doc__.splitlines()[0]
    )
    parser.add_argument("profile")
    profile = parser.parse_args(arguments).profile
    found = compared(profile)
    runs.write_json(FOLDER / f"threshold_{profile}.json", found)
    print("against the control, points: " + " / ".join(SHOWN))
    for arm, entry in found["arms"].items():
        told = " / ".join(gain_text(entry["moved"][name]) for name in SHOWN)
        print(f"  {ARMS[arm].label} ({len(entry['seeds'])} seeds): {told}")


if __name__ == "__main__":
    raise SystemExit(main())
