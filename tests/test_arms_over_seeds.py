"""The benchmark of arms over all seeds: what it reads of each run, and what it compares."""

import numpy as np
import pandas as pd
import pytest

from benchmarks import arms_over_seeds
from benchmarks.arms_over_seeds import NONCARS, RECALL, SUMMER, TOLD, YOUDEN
from lib import arm_claims, runs
from lib import arms as every

SEEDS = (0, 1, 2)
ARMS = {  # recall and false cars in winter, for seed 0; the others are a little off
    "none": (0.60, 0.20), "continued": (0.62, 0.21), "winter": (0.82, 0.30), "oversampled": (0.95, 0.50),
    "vae_transfer": (0.94, 0.45), "vae_recoloured": (0.90, 0.25), "oversampled_recoloured": (0.91, 0.26),
    "vae_decoder": (0.80, 0.35),
}  # fmt: skip
OFF = {0: 0.0, 1: 0.01, 2: -0.02}


def told(recall, noncars):
    return dict.fromkeys(TOLD, 0.9) | {RECALL: recall, NONCARS: noncars}


def made(seed, arms, n_winter=811, n_synthetic=1000, shift=0.0):
    found = {}
    for number, arm in enumerate(arms):
        recall, noncars = ARMS[arm]
        found[arm] = told(recall + OFF[seed] * (1 + number) - shift, noncars - OFF[seed])
    about = {"n_winter": n_winter, "n_synthetic": n_synthetic, "path_line": f"path {n_winter}", "kept": {}}
    return {"test": found, "steps": 90, "batch_size": 128, "n_recoloured": 6000} | about


def target(profile="embedded"):
    return arms_over_seeds.FOLDER / f"arms_over_seeds_{profile}.json"


@pytest.fixture
def grid(repository, monkeypatch):
    """Three seeds, one of them with fewer winter crops too, and a run by sequence, which does not count."""
    folder = repository / "runs/embedded"
    for seed in SEEDS:
        runs.write_json(folder / f"seed{seed}/metrics/retraining.json", made(seed, ARMS))
    few = made(1, ["none", "oversampled", "vae_transfer"], 50, shift=0.1)
    del few["test"]["none"]
    runs.write_json(folder / "seed1-winter50/metrics/retraining.json", few)
    other = {"test": {arm: told(0.0, 1.0) for arm in ARMS}}
    runs.write_json(folder / "seed0-sequence/metrics/retraining.json", made(0, ARMS) | other)
    monkeypatch.setattr(arms_over_seeds, "FOLDER", repository / "figures/benchmarks")
    return folder


def test_means_and_differences_are_those_of_the_seeds(grid, capsys):
    assert arms_over_seeds.main(["embedded"]) == 0
    found = runs.read_json(target())
    whole, few = found["cells"]
    assert (whole["n_winter"], few["n_winter"]) == (811, 50) and found["paths"] == ["path 811", "path 50"]
    assert set(whole["arms"]) == set(ARMS) and set(few["arms"]) == set(ARMS) & {
        "none", "continued", "oversampled", "vae_transfer"
    }  # fmt: skip
    arms = list(ARMS)
    for arm, entry in whole["arms"].items():
        values = np.array([ARMS[arm][0] + OFF[s] * (1 + arms.index(arm)) for s in SEEDS])
        assert entry["seeds"] == list(SEEDS) and entry["values"][RECALL] == pytest.approx(values)
        mean = entry["mean"][RECALL]
        half = 4.302653 * values.std(ddof=1) * np.sqrt(1 / 3 + 1 / 8)  # Student's t, seeds share objects
        assert [mean[k] for k in ("mean", "low", "high")] == pytest.approx(
            [values.mean(), values.mean() - half, values.mean() + half]
        )
    after = whole["arms"]["vae_transfer"]
    assert set(after["against"]) == {"continued", "none", "oversampled"}
    assert after["against"]["none"][RECALL]["gain"] == pytest.approx(0.34 + 4 * np.mean(list(OFF.values())))
    assert found["numbers"] == {"steps": 90, "batch_size": 128, "n_recoloured": 6000}
    winter = whole["arms"]["winter"]
    assert set(winter["against"]) == {"continued", "none"} and "closed" not in winter
    gain = after["against"]["oversampled"]
    assert gain[RECALL]["gain"] == pytest.approx(-0.01 + np.mean([OFF[s] for s in SEEDS]))
    assert gain[NONCARS]["gain"] == pytest.approx(-0.05) and gain[SUMMER]["p"] == 1.0
    assert gain[YOUDEN]["gain"] == pytest.approx(gain[RECALL]["gain"] - gain[NONCARS]["gain"])
    best = whole["best"]  # 0.65 and 0.65 + what the second is off; each the best of its kind
    assert (best["with"], best["without"]) == ("vae_recoloured", "oversampled_recoloured")
    assert best["difference"][RECALL]["gain"] == pytest.approx(-0.01 - np.mean(list(OFF.values())))
    assert few["best"] is None  # of one seed nothing is ranked
    way = [np.mean(whole["arms"][arm]["values"][RECALL]) for arm in ("continued", "vae_transfer", "winter")]
    assert after["closed"]["share"] == pytest.approx((way[1] - way[0]) / (way[2] - way[0]))
    printed = capsys.readouterr().out
    assert "811 winter crops, 1000 new cars\n  before (3 seeds): winter_car_recall 59" in printed
    assert target().with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_the_figure_shows_the_papers_arm_and_leaves_out_what_has_fewer_seeds(grid):
    figure = arms_over_seeds.trade_figure(arms_over_seeds.summary("embedded"))
    (axis,) = figure.axes
    assert axis.get_title() == "811 winter crops, 3 seeds"
    drawn = dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    (x,), (y,) = drawn["after, equation 1 alone"][0].get_data()
    assert (x, y) == pytest.approx((14, 18 + 100 * (8 - 2) * np.mean(list(OFF.values()))))


def test_starts_of_the_autoencoder_are_paired_by_seed(grid):
    for seed, values in enumerate(([1000.0, 990.0], [1100.0, 1120.0], [1050.0])):
        measured = {start: {"heldout": {"elbo": value}}
                    for start, value in zip(("transferred", "scratch"), values, strict=False)}  # fmt: skip
        runs.write_json(grid / f"seed{seed}/metrics/vae.json", {"starts": measured})
    found = arms_over_seeds.summary("embedded")["autoencoders"]
    assert found["heldout_elbo"]["scratch"] == {"seeds": [0, 1], "elbo": [990.0, 1120.0]}
    assert (found["difference"]["gain"], found["difference"]["pairs"]) == (-5.0, 2)


def test_a_variant_is_compared_with_its_seeds_own_control(grid):
    few = arms_over_seeds.summary("embedded")["cells"][1]["arms"]
    assert few["continued"]["values"][RECALL] == [pytest.approx(0.62 + OFF[1] * 2)]
    gain = few["vae_transfer"]["against"]["continued"][RECALL]
    assert gain["pairs"] == 1 and gain["low"] is None
    assert few["vae_transfer"]["closed"] is None  # no arm with the winter crops alone


def test_both_comparisons_are_among_the_claims(grid, tmp_path):
    assert arms_over_seeds.main(["embedded"]) == 0
    target().rename(target("visdrone-val-grid"))  # the one that is told
    first, second = arm_claims.arm_tables(target().parents[1])  # no validation part: nothing to choose on
    title, _, head, _, *rows = first.splitlines()
    assert "811 winter crops, 1,000 new cars, against the control" in title
    assert "`.venv/bin/python -m benchmarks.arms_over_seeds embedded`" in title
    cells = {row.split(" | ")[0].strip("| "): row.split(" | ")[1:] for row in rows}
    told = ARMS.keys() - {"continued"}
    assert list(cells) == [one.label for name, one in every.ARMS.items() if name in told]
    assert cells["after"][0] == "3" and cells["after"][1].startswith("+3")
    rows = second.splitlines()[4:]
    assert rows[0].startswith("| 811 | 3 | -1.3 [") and rows[1].startswith("| 50 | 1 | ")


def test_a_variant_without_its_run_is_one_line(grid, capsys):
    (grid / "seed1/metrics/retraining.json").unlink()
    assert arms_over_seeds.main(["embedded"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "seed1-winter50" in error and "seed1, for its control" in error
    assert not target().exists()


@pytest.mark.parametrize("profile, said", [("embedded", "make reproduce PROFILE=embedded"), ("mine", "mine")])
def test_a_profile_without_runs_is_one_line(repository, capsys, profile, said):
    assert arms_over_seeds.main([profile]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and said in error


@pytest.mark.parametrize("change, said", [
    (lambda made: made.pop("n_winter"), "no n_winter"),
    (lambda made: made["test"]["winter"].pop("accuracy"), "no accuracy"),
    (lambda made: made["test"].pop("oversampled"), "no arm 'oversampled'"),
    (lambda made: made.update(steps=900), "expected {'steps': 900, 'batch_size': 128, 'n_recoloured': 6000}"),
])  # fmt: skip
def test_runs_that_cannot_be_compared_are_one_line_and_write_nothing(grid, capsys, change, said):
    for file in grid.glob("*/metrics/retraining.json"):
        made = runs.read_json(file)
        if "winter" in made["test"] or "arm" in said:
            change(made)
            runs.write_json(file, made)
    assert arms_over_seeds.main(["embedded"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and said in error and not target().exists()


def test_only_pairs_of_seeds_count(grid):
    """A seed without the twin is no pair; a number of crops without any pair is not told."""
    file = grid / "seed2/metrics/retraining.json"
    made = runs.read_json(file)
    del made["test"]["oversampled"]
    runs.write_json(file, made)
    few = grid / "seed1-winter50/metrics/retraining.json"
    made = runs.read_json(few)
    del made["test"]["vae_transfer"]
    runs.write_json(few, made)
    assert arms_over_seeds.main(["embedded"]) == 0
    found = runs.read_json(target())
    (row,) = arm_claims._against_repeated(found).splitlines()[4:]
    assert row.startswith("| 811 | 2 | ")


def test_an_arm_in_part_says_where_nothing_of_it_stayed(grid):
    for seed, (share, within) in enumerate(((0.5, True), (0.0, False), (0.25, False))):
        file = grid / f"seed{seed}/metrics/retraining.json"
        made = runs.read_json(file)
        made["test"]["vae_transfer_part"] = made["test"]["vae_transfer"]
        made["kept"] = {"vae_transfer_part": {"share": share, "within_limits": within}}
        runs.write_json(file, made)
    found = arms_over_seeds.summary("embedded")
    assert found["cells"][0]["arms"]["vae_transfer_part"]["kept"] == {"0": 0.5, "1": 0.0, "2": 0.0}
    assert "kept" not in found["cells"][0]["arms"]["vae_transfer"]


def test_the_validation_part_chooses_the_best_arms_where_it_was_measured(grid):
    good = {"winter": (0.7, 0.1), "vae_transfer": (0.6, 0.1)}  # bad ones on the test part
    other = {"oversampled": (0.9, 0.0), "vae_recoloured": (0.9, 0.0)}  # of another split, or number of crops
    rows = [
        {"split": split, "n_winter": number, "seed": seed, "arm": arm, "metric": metric, "value": value}
        for split, number, values in (("object", 811, good), ("sequence", 811, other), ("object", 50, other))
        for seed in SEEDS for arm in ARMS if arm != "none"
        for metric, value in zip((RECALL, NONCARS), values.get(arm, (0.8, 0.7)), strict=True)
    ]  # fmt: skip
    file = grid / "summary/validation.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(file, index=False)
    best = arms_over_seeds.summary("embedded")["cells"][0]["best"]
    assert (best["with"], best["without"], best["chosen_on"]) == ("vae_transfer", "winter", "validation")
    few = [row for row in rows if (row["n_winter"], row["seed"], row["arm"]) != (811, 2, "winter")]
    pd.DataFrame(few).to_csv(file, index=False)
    best = arms_over_seeds.summary("embedded")["cells"][0]["best"]
    assert (best["with"], best["chosen_on"]) == ("vae_recoloured", "test")


def test_an_arm_of_which_nothing_was_kept_is_not_the_best(grid):
    for seed in SEEDS:
        file = grid / f"seed{seed}/metrics/retraining.json"
        found = runs.read_json(file)
        found["test"]["vae_transfer_part"] = told(1.0, 0.0)
        found["kept"]["vae_transfer_part"] = {"share": 0.25, "within_limits": False}
        runs.write_json(file, found)
    (whole, _) = arms_over_seeds.summary("embedded")["cells"]
    assert whole["best"]["with"] == "vae_recoloured" and whole["arms"]["vae_transfer_part"]["against"] == {}
    found["kept"]["vae_transfer_part"]["within_limits"] = True  # in one seed something was
    runs.write_json(file, found)
    (whole, _) = arms_over_seeds.summary("embedded")["cells"]
    assert whole["best"]["with"] == "vae_transfer_part" and whole["arms"]["vae_transfer_part"]["against"]


def test_arms_of_other_seeds_are_not_ranked_on_them(grid):
    file = grid / "seed2/metrics/retraining.json"
    made = runs.read_json(file)
    for arm in ("winter", "classic"):
        made["test"].pop(arm, None)
    made["test"]["oversampled_recoloured"][RECALL] = 0.1  # in a seed that not all arms have
    runs.write_json(file, made)
    assert arms_over_seeds.summary("embedded")["cells"][0]["best"]["without"] == "oversampled_recoloured"
