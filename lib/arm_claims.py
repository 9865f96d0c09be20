"""What benchmarks tell in more than a row, from figures/benchmarks/*.json, for `lib.claims`: mostly arms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from lib.arms import ARMS, CONTROL
from lib.benchmark_claims import GRID, PYTHON, told_of
from lib.comparison import YOUDEN, gain_text, with_most_samples
from lib.evaluation import NONCARS
from lib.table2 import counted, titled

MEASURES = {  # of `testsets.measure`, as columns
    "winter_car_recall": "winter cars known ↑",
    NONCARS: "winter non-cars called car ↓",
    "car_recall": "summer cars known ↑",
}
Rows = list[list[str]]


def _in_part(found: dict) -> str | None:
    """What each retraining in part gains over the control, and what it costs, on the test part."""
    rows = [["arm", "share kept", *MEASURES.values()]]
    for arm in (name for name in ARMS if name in found["arms"]):
        one, control = found["arms"][arm], found["control"]
        if not one["within_limits"]:
            rows.append([ARMS[arm].label, "no share keeps to the limits", *["–"] * len(MEASURES)])
            continue
        moved = (f"{100 * (one['part'][name]['value'] - control[name]['value']):+.1f}" for name in MEASURES)
        rows.append([ARMS[arm].label, f"{one['share']:.0%}", *moved])
    title = ("Retrainings in part, the share chosen on the validation part, against the control: one seed, "
             "points on the test part")  # fmt: skip
    time = "seconds, after notebook 05 with these arms (`-p arms ...`), which the profile has not"
    return _table(title, f"in_part runs/{found['run']}", time, rows)


def _gains(entry: dict, against: str, measures: Sequence[str]) -> list[str]:
    """Differences of an arm from another in points, with their intervals over seeds."""
    return [gain_text(entry["against"][against][name]) for name in measures]


def _against_control(found: dict) -> str | None:
    """What the arms gain over the control and cost, over all seeds that were trained."""
    cells = with_most_samples(found["cells"])
    if not cells:
        return None
    cell = cells[0]
    rows = [["arm", "seeds", *MEASURES.values()]]
    for name in (name for name in ARMS if name in cell["arms"] and name != CONTROL):
        entry = cell["arms"][name]
        of = str(len(entry["seeds"]))
        if kept := entry.get("kept"):
            of += f", a part kept in {sum(map(bool, kept.values()))}"
        told = CONTROL in entry["against"]  # not of an arm of which nothing was kept
        gains = _gains(entry, CONTROL, tuple(MEASURES)) if told else ["–"] * len(MEASURES)
        rows.append([ARMS[name].label, of, *gains])
    title = (f"{cell['n_winter']} winter crops, {cell['n_synthetic']:,} new cars, against the control: "
             "points, 95 % over seeds")  # fmt: skip
    return _over_seeds(found, title, rows)


def _against_repeated(found: dict) -> str | None:
    """What a generator adds to the same winter crops, repeated as often."""
    measures = tuple(MEASURES)[:2]
    rows = [["winter crops", "seeds", *(MEASURES[name] for name in measures)]]
    for cell in with_most_samples(found["cells"]):
        entry = cell["arms"].get("vae_transfer", {"against": {}})
        if "oversampled" in entry["against"]:
            pairs = entry["against"]["oversampled"][measures[0]]["pairs"]
            rows.append([str(cell["n_winter"]), str(pairs), *_gains(entry, "oversampled", measures)])
    title = ("New cars (*after*) against the winter crops repeated as often, without a generator: points, "
             "paired by seed")  # fmt: skip
    return _over_seeds(found, title, rows)


def _best(found: dict) -> str | None:
    """The best arm with a generator against the best without one, chosen on the validation part."""
    cells = [cell for cell in with_most_samples(found["cells"])
             if cell["best"] and cell["best"]["chosen_on"] == "validation"]  # fmt: skip
    pairs = {cell["n_winter"]: cell["best"]["difference"][YOUDEN]["pairs"] for cell in cells}
    most = max(pairs.values(), default=0)
    rows = [["winter crops", "best with a generator", "best without", "with minus without ↑",
             f"{MEASURES['car_recall']}: with minus without"]]  # fmt: skip
    for cell in cells:
        if pairs[cell["n_winter"]] == most:  # few seeds say nothing
            names = (ARMS[cell["best"][side]].label for side in ("with", "without"))
            differences = (gain_text(cell["best"]["difference"][name]) for name in (YOUDEN, "car_recall"))
            rows.append([str(cell["n_winter"]), *names, *differences])
    title = (
        "The best arm with a generator against the best without, both chosen on the validation part: "
        f"winter cars known minus winter non-cars called car, points, {counted(most)}, paired"
    )
    return _over_seeds(found, title, rows)


def _threshold(found: dict) -> str | None:
    """What a threshold costs that undoes the arm's false cars."""
    rows = [["arm", "seeds", *MEASURES.values()]]
    for name in (name for name in ARMS if name in found["arms"]):
        entry = found["arms"][name]
        moved = (gain_text(entry["moved"][measure]) for measure in MEASURES)
        rows.append([ARMS[name].label, str(len(entry["seeds"])), *moved])
    title = (
        "At a threshold, chosen on the validation part, at which no more winter non-cars are called car than "
        "by the control: against the control, points, 95 % over seeds"
    )
    return _table(title, f"threshold {found['profile']}", "seconds, after the grid", rows)


def _over_seeds(found: dict, title: str, rows: Rows) -> str | None:
    return _table(title, f"arms_over_seeds {found['profile']}", "seconds, after the grid", rows)


def _table(title: str, words: str, time: str, rows: Rows) -> str | None:
    """A titled table, `words`: the benchmark and its arguments; None without a row below the head."""
    return titled(title, f"{PYTHON} -m benchmarks.{words}", time, rows) if len(rows) > 1 else None


def _seen(found: dict) -> str | None:
    """What a retraining sees of the pictures that it is given."""
    kinds = {"summer": "summer crops", "cars": "winter or new cars", "others": "counterexamples"}
    rows = [["arm", *kinds.values()]]
    for name in (name for name in ARMS if name in found["arms"]):
        counts = (tuple(found["arms"][name][when][kind] for when in ("seen", "given")) for kind in kinds)
        rows.append([ARMS[name].label, *(f"{s:,.0f} of {g:,.0f}" if g else "–" for s, g in counts)])
    title = (
        f"Different pictures that a retraining sees of those it is given, in {found['pictures']:,} drawn: "
        f"mean of {counted(len(found['runs']))}, profile `{found['profile']}`"
    )
    return _table(title, f"seen {found['profile']}", "seconds", rows)


def _objectives(found: dict) -> str | None:
    """What other objectives, longer codes and a longer training do for the decoder's own images."""
    rows = [["autoencoder", "held-out ELBO (nats) ↑", "Fréchet distance ↓", "sharpness, % of real ↑"]]
    for name in sorted(found["variants"], key=lambda name: name != "default"):
        bound, drawn = found["variants"][name]["heldout"]["elbo"], found["variants"][name]["decoder_alone"]
        distance, sharpness = drawn["classifier_feature_frechet_distance"], drawn["sharpness_ratio"]
        rows.append([name, f"{bound:,.0f}", f"{distance:.1f}", f"{100 * sharpness:.1f}"])
    title = "What the decoder alone draws, beside held-out winter cars, in the judge's features, one seed"
    return _table(title, f"vae_objectives runs/{found['run']}", "90 min without bfloat16", rows)


MEASURED: tuple[tuple[str, Callable[[dict], str | None]], ...] = (
    (f"arms_over_seeds_{GRID}", _against_control),
    (f"arms_over_seeds_{GRID}", _against_repeated),
    (f"arms_over_seeds_{GRID}", _best),
    (f"threshold_{GRID}", _threshold),
    ("in_part", _in_part),
    (f"seen_{GRID}", _seen),
    ("vae_objectives", _objectives),
)  # figures/benchmarks/<benchmark>.json, and a table from it; None where a part was not measured


def arm_tables(figures: Path) -> list[str]:
    """The tables of each benchmark that has been run, each with its title."""
    return told_of(figures, MEASURED)
