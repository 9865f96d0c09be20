"""What does a retraining see of what it is given? `python -m benchmarks.seen PROFILE`

A retraining of few steps ends before a pass over its pictures does. For every committed run of PROFILE
(figures/<profile>/metrics/) split by object, without variants, the schedule of notebook 05 is drawn again
over numbers instead of pictures, by the code that puts the arms together. Counted are different pictures
that came up at least once, means over the runs; of a repeated picture all copies are one. Numbers go to
figures/benchmarks/seen_PROFILE.json.
"""

from __future__ import annotations

import argparse

import numpy as np

from benchmarks import FOLDER
from benchmarks.threshold import OTHER
from lib import runs, settings
from lib.arms import ARMS
from lib.batches import Schedule
from lib.retraining import Material, training_set
from lib.run_names import parse_run
from lib.visdrone import CAR

KINDS = ("summer", "cars", "others")  # crops of the training part; cars that an arm adds; counterexamples
AUGMENTED = "classic"  # draws its variants from pictures; of each crop as many as `oversampled` has copies


def _numbers(kind: str, count: int) -> np.ndarray:
    """`count` pictures of one kind, each only its name: int64 (count, 2)."""
    return np.column_stack([np.full(count, KINDS.index(kind)), np.arange(count)])


def seen_by(arm: str, about: dict, retrained: dict, seed: int) -> dict[str, dict[str, float]]:
    """{"given", "seen"}: kind -> number of different pictures; of a run's data.json and retraining.json."""
    train, cars = about["after"]["train"], about["after"]["classes"]["car"]["train"]
    winter, new, others = (retrained[name] for name in ("n_winter_taken", "n_synthetic", "n_recoloured"))
    recoloured, drawn = _numbers("others", others), _numbers("cars", new) + (0, winter)  # other cars
    material = Material(
        winter=_numbers("cars", winter), synthetic=drawn, scratch=drawn, selected=drawn,
        recoloured=recoloured, recoloured_labels=np.full(others, OTHER), recoloured_winter=recoloured,
        reconstruct=lambda images: images, decoded=lambda count: drawn[:count], seed=seed,
    )  # fmt: skip
    labels = np.where(np.arange(train) < cars, CAR, OTHER)
    pictures, _ = training_set(arm, _numbers("summer", train), labels, material)
    schedule = Schedule(retrained["steps"], retrained["batch_size"], 0.0, seed)
    rows = np.concatenate([schedule.rows(len(pictures), step).numpy() for step in range(schedule.steps)])

    def counted(those: np.ndarray) -> dict[str, float]:
        kinds = np.unique(those, axis=0)[:, 0]
        return {kind: int((kinds == k).sum()) for k, kind in enumerate(KINDS)}

    return {"given": counted(pictures), "seen": counted(pictures[rows])}


def compared(profile: str) -> dict:
    """Every arm, ready for JSON; InputError where no committed run is."""
    settings.known_profile(profile)
    folder = settings.ROOT / "figures" / profile / "metrics"
    found: dict[str, list[dict]] = {}
    names, pictures = [], set()
    for file in sorted(folder.glob("seed*/retraining.json")):
        run = parse_run(file.parent.name)
        if run.split != "object" or run.numbers():
            continue
        about, retrained = runs.read_json(file.with_name("data.json")), runs.read_json(file)
        names.append(str(run))
        pictures.add(retrained["steps"] * retrained["batch_size"])
        for arm in retrained["arms"]:
            if not ARMS[arm].of and arm != AUGMENTED:
                found.setdefault(arm, []).append(seen_by(arm, about, retrained, run.seed))
    if not names:
        raise runs.InputError(folder, "no run by object", f"make publish PROFILE={profile}")
    if len(pictures) > 1:
        raise runs.InputError(folder, f"{sorted(pictures)} pictures a retraining", "one number in all runs")

    def mean(rows: list[dict], when: str) -> dict[str, float]:
        return {kind: float(np.mean([row[when][kind] for row in rows])) for kind in KINDS}

    arms = {arm: {when: mean(rows, when) for when in ("given", "seen")} for arm, rows in found.items()}
    return {"profile": profile, "split": "object", "runs": names, "pictures": pictures.pop(), "arms": arms}


@runs.command_line
def main(arguments: list[str] | None = None) -> None:
    """Command line; 2 and one line where no run is there."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.seen", description=__doc__.splitlines()[0])
    parser.add_argument("profile")
    profile = parser.parse_args(arguments).profile
    found = compared(profile)
    runs.write_json(FOLDER / f"seen_{profile}.json", found)
    kinds = " / ".join(KINDS)
    print(f"{found['pictures']:,} pictures a retraining; different ones seen of those given: {kinds}")
    for arm, entry in found["arms"].items():
        told = " / ".join(f"{entry['seen'][kind]:,.0f} of {entry['given'][kind]:,.0f}" for kind in KINDS)
        print(f"  {ARMS[arm].label}: {told}")


if __name__ == "__main__":
    raise SystemExit(main())
