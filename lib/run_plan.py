"""What a profile asks for: its runs, their arms and starts, the files that each notebook needs and leaves.

The Snakefile makes its rules from these.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from lib import settings
from lib.arms import ARMS, CONTROL, SAMPLED, check_arms, check_starts, samples_file, vae_file, weights_file
from lib.dependencies import READS
from lib.run_names import OUTPUTS, SPLITS, RunName, parse_run
from lib.runs import InputError
from lib.settings import DATA

SUMMARY_OUTPUTS = (  # of the notebook over all runs
    "table1.json", "table2.csv", "table2_summary.json", "table2.md", "evaluation.json", "leak.csv",
    "paired.csv", "closed_distance.csv", "validation.csv", "baselines_validation.csv", "mcnemar.json",
    "timing/06_evaluation.json", "notebooks/06_evaluation.ipynb",
)  # fmt: skip


def parse_seeds(text: Any) -> list[int] | None:
    """Seeds from numbers separated by spaces or commas; None for nothing; InputError for anything else."""
    if text is None or str(text).strip() == "":
        return None
    words = str(text).replace(",", " ").split()
    # bool is an int in Python, and Snakemake turns "true" into one
    if isinstance(text, bool) or not all(re.fullmatch(r"\d{1,9}", word) for word in words):
        raise InputError("SEEDS", repr(str(text)), 'whole numbers from 0 up, such as SEEDS="0 1 2"')
    return list(dict.fromkeys(int(word) for word in words))


def parse_splits(text: Any) -> list[str] | None:
    """Splits from words separated by spaces or commas; None for nothing; InputError for anything else."""
    words = str("" if text is None else text).replace(",", " ").split()
    for word in words:
        if word not in SPLITS:
            expected = f'{" or ".join(SPLITS)}, or both: SPLITS="{" ".join(SPLITS)}"'
            raise InputError("SPLITS", repr(str(text)), expected)
    return list(dict.fromkeys(words)) or None


def plan(profile: str, seeds: Any = None, splits: Any = None) -> list[str]:
    """Names of a profile's runs, variants last, all its parameter files checked.

    `seeds` replace those of each split, `splits` the profile's own; a split that the profile does not
    have gets seed 0. Both choose among the variants that the profile lists. Raises InputError for
    whatever `settings.check_profile`, `parse_seeds` or `parse_splits` do not accept.
    """
    own, given, chosen = settings.check_profile(profile), parse_seeds(seeds), parse_splits(splits)
    for name in settings.notebook_names():
        settings.declared(name)
    _check_numbers(profile)
    base = [RunName(split, seed) for split in chosen or own for seed in given or own.get(split, [0])]
    more = [name for name in settings.variants(profile) if RunName(name.split, name.seed) in base]
    return [str(name) for name in base + more]


def _check_numbers(profile: str) -> None:
    """InputError for numbers that would end a notebook long after the first began."""
    for notebook in settings.notebook_names():
        file, given, lines = _given(profile, notebook)
        for name in ("steps", "batch_size", "n_synthetic", "n_winter", "n_summer"):
            least = 0 if name == "n_winter" and notebook != DATA else 1  # there 0 means all of them
            if name in given and given[name] < least:
                raise InputError(file, f"{name}: {given[name]}", f"a number from {least}", lines[name])
        if "shares" in given:
            from lib.retraining import check_shares  # only here: PyTorch takes seconds

            check_shares(given["shares"])
    notebooks = ("04_generation", "05_retraining")
    sources = [one for one in (_given(profile, name) for name in notebooks) if "n_synthetic" in one[1]]
    if sources:
        drawn, asked = (settings.values(profile, name)["n_synthetic"] for name in notebooks)
        if asked > drawn:
            file, _, lines = sources[-1]
            found = f"n_synthetic: {asked} in notebook 05"
            raise InputError(file, found, f"at most {drawn}, as notebook 04 draws", lines["n_synthetic"])


def _given(profile: str, notebook: str) -> tuple[Path | None, dict[str, Any], dict[str, int]]:
    """A profile's parameter file of a notebook, what it gives, and the line of each."""
    file = settings.parameter_file(profile, notebook)
    return (file, *settings.read_parameters(file)) if file else (None, {}, {})


def arms(profile: str, run: RunName | None = None) -> list[str]:
    """The arms that a profile retrains, or one of its runs; InputError for a list that `check_arms` or the
    starts of notebook 03 do not allow.
    """
    notebook = "05_retraining"
    file, given, lines = _given(profile, notebook)
    where, line = (file, lines.get("arms")) if "arms" in given else (f"notebooks/{notebook}.ipynb", None)
    asked, numbers = settings.values(profile, notebook, run)["arms"], run.numbers() if run else {}
    own = bool(run) and "arms" in settings.overrides(profile, notebook, run)
    if own:
        where, line = settings.ROOT / "params" / profile / "profile.yaml", None
    chosen = check_arms(asked, where, line, numbers)
    if own and len(chosen) < len(asked):
        left = ", ".join(name for name in asked if name not in chosen)
        raise InputError(where, f"{left} in {run}", f"arms that {' and '.join(numbers)} concerns", line)
    drawn = run.maker("04_generation") if run else None
    if "vae_selected" in chosen and not settings.values(profile, "04_generation", drawn)["critic_examples"]:
        raise InputError(where, "arm 'vae_selected'", "critic_examples in notebook 04, for its score", line)
    if "vae_scratch" in chosen and "scratch" not in starts(profile, run):
        raise InputError(where, "arm 'vae_scratch'", "'scratch' among the starts of notebook 03", line)
    return chosen


def able(profile: str, notebook: str, run_name: str) -> bool:
    """Whether a run has the classifier that a notebook with a parameter `arm` asks for.

    InputError if a parameter file asks for one that the run does not train; a notebook whose default is not
    trained is left out.
    """
    arm = settings.values(profile, notebook).get("arm")
    trained = arms(profile, parse_run(run_name))
    if arm is None or arm in trained:
        return True
    file, given, lines = _given(profile, notebook)
    if "arm" in given:
        expected = f"one that the profile trains: {', '.join(trained)}"
        raise InputError(file, f"arm {arm!r}", expected, lines["arm"])
    return False


def starts(profile: str, run: RunName | None = None) -> list[str]:
    """The starts of the autoencoders of a profile, or of one of its runs; InputError as `check_starts`."""
    notebook = "03_vae_transfer"
    file, given, lines = _given(profile, notebook)
    chosen = settings.values(profile, notebook, run and run.maker(notebook))["starts"]
    where = file if "starts" in given else f"notebooks/{notebook}.ipynb"
    return check_starts(chosen, where, lines.get("starts"))


def outputs(profile: str, notebook: str, run: RunName) -> list[str]:
    """Every file that a notebook leaves in a run's folder, but for figures."""
    made = [name for name in OUTPUTS[notebook] if "*" not in name]
    if notebook == "03_vae_transfer":
        made += map(vae_file, starts(profile, run))
    if notebook == "04_generation":
        made += [samples_file(start) for start in starts(profile, run) if start in SAMPLED]
        made += ["intactness.npy"] if settings.values(profile, notebook, run)["critic_examples"] else []
    if notebook == "05_retraining":
        chosen = arms(profile, run)
        made += [*map(weights_file, chosen), *(f"answers/{arm}.npz" for arm in chosen)]
    return [*made, f"timing/{notebook}.json", f"notebooks/{notebook}.ipynb"]


def inputs(profile: str, notebook: str, run: RunName) -> list[str]:
    """Files, relative to runs/<profile>, that a notebook needs: its state, and what earlier ones left."""
    found = [f"{run}/state/{notebook}.json"]
    if notebook != DATA:
        found.append(f"{run.maker(DATA)}/state/stores.json")
    for earlier in READS[notebook]:
        maker = run.maker(earlier)
        found += [
            f"{maker}/{name}" for name in outputs(profile, earlier, maker)
            if not name.startswith(("metrics/", "timing/", "notebooks/", "answers/", "judge", "state/"))
        ]  # fmt: skip
    if notebook == "05_retraining" and run.numbers() and any(ARMS[arm].of for arm in arms(profile, run)):
        found.append(f"{run.maker(DATA)}/answers/{CONTROL}.npz")  # a variant trains no control of its own
    return found


def alike(profile: str, run_names: list[str]) -> list[list[str]]:
    """Runs grouped by what they leave: one rule of the workflow serves those that leave the same files."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for text in run_names:
        run = parse_run(text)
        made = [[notebook, *outputs(profile, notebook, run)] for notebook in OUTPUTS if run.repeats(notebook)]
        groups.setdefault(tuple(sum(made, [])), []).append(text)
    return list(groups.values())
