"""Runs that are committed, and whose files are gone, count in a summary as if they were here."""

import shutil

import pandas as pd
import pytest

from lib import collect, comparison, publish, published, report, runs, verify
from lib.measurements import read_table2
from lib.published import Published
from lib.runs import InputError
from tests import test_collect
from tests.test_collect import root as root

NAMES = ["seed0", "seed3", "seed0-sequence"]


@pytest.fixture
def committed(root, monkeypatch):
    """A profile of three finished runs, with baselines and validation parts, summed up and committed."""
    sets = test_collect.SETS | {"valid_summer": (20, 20), "valid_winter_cars": (15, 0),
                                "valid_winter_noncars": (0, 25)}  # fmt: skip
    monkeypatch.setattr(test_collect, "SETS", sets)
    folder, arms = root / "figures/some", ["continued", "winter", "classic", "vae_transfer"]
    for seed, name in zip((0, 3, 0), NAMES, strict=True):
        for number, arm in enumerate(["none", *arms]):
            file = root / "runs/some" / name / f"answers/{arm}.npz"
            test_collect.write_answers(file, seed, 7 - number - seed)
        made = {"n_synthetic": 500, "n_winter": 20, "n_winter_taken": 20, "arms": arms, "kept": {}}
        for place in (root / "runs/some" / name / "metrics", folder / "metrics" / name):
            runs.write_json(place / "retraining.json", made)
    valid = collect.validation("some", NAMES)
    bars = comparison.bar(comparison.baseline_scores(valid))
    assert bars and len(valid) == 3
    runs.write_table(folder / "table2.csv", collect.collect("some", NAMES))
    runs.write_table(folder / "validation.csv", collect.validation_rows(valid))
    runs.write_json(folder / "mcnemar.json", collect.same_objects("some", NAMES, bars))
    runs.write_json(folder / "evaluation.json", {"runs": NAMES})
    runs.write_json(folder / "provenance.json", {"data": {"fingerprint": "abc"}, "parameters": {}})
    runs.write_json(root / "runs/some/crops/store.json", {"fingerprint": "abc"})
    return root


@pytest.mark.parametrize("here", [["seed3"], ["seed0-sequence"], ["seed0", "seed3"]])
def test_a_committed_run_counts_as_if_it_were_here(committed, here):
    """The same table, validation part, bar and tests, whichever runs this machine still has."""
    valid = collect.validation("some", NAMES)
    bars = comparison.bar(comparison.baseline_scores(valid))
    table, tests = collect.collect("some", NAMES), collect.same_objects("some", NAMES, bars)
    # of each set so many answers are wrong: 5 of `winter`, 3 of `vae_transfer`, 6 of the control
    assert valid["object", 20, 0]["winter"]["winter_car_recall"] == 10 / 15  # of the test part: 20 / 25
    (row,) = [row for row in tests if (row["run"], row["arm"], row["against"], row["set"])
              == ("seed0", "vae_transfer", "continued", "winter_heldout")]  # fmt: skip
    assert (row["only_first"], row["only_second"]) == (3, 0)
    for name in set(NAMES) - set(here):
        shutil.rmtree(committed / "runs/some" / name)
    others = published.take_in("some", here)
    assert others.names == tuple(name for name in NAMES if name not in here)
    assert published.ordered([*here, *others.names]) == NAMES
    pd.testing.assert_frame_equal(collect.collect("some", NAMES, others), table)
    assert collect.validation("some", NAMES, others) == valid
    assert collect.same_objects("some", NAMES, bars, others) == tests
    assert collect.over_runs("some", NAMES, "retraining", "n_synthetic", published=others) == [500] * 3


def test_a_variant_has_its_own_rows_alone(committed):
    folder = committed / "figures/some"
    table = collect.collect("some", ["seed0"])
    fewer = table[table["arm"].isin(["winter", "vae_transfer"])].assign(n_winter=5)
    more = table[table["arm"] == "vae_transfer"].assign(n_synthetic=900)
    runs.write_table(folder / "table2.csv", pd.concat([table, fewer, more]))
    for name, *numbers, arms in (("seed0-winter5", 5, 500, ["winter", "vae_transfer"]),
                                 ("seed0-synthetic900", 20, 900, ["vae_transfer"]),
                                 ("seed1", 20, 500, ["winter"])):  # fmt: skip
        made = dict(zip(("n_winter", "n_synthetic"), numbers, strict=True)) | {"arms": arms}
        runs.write_json(folder / f"metrics/{name}/retraining.json", made)
    found = Published("some", ("seed0", "seed0-winter5", "seed0-synthetic900", "seed1"))
    for name, rows in (("seed0", table), ("seed0-winter5", fewer), ("seed0-synthetic900", more)):
        pd.testing.assert_frame_equal(found.rows(name), rows.reset_index(drop=True))
    with pytest.raises(InputError, match=r"table2\.csv: found no row of seed1"):
        found.rows("seed1")
    runs.write_json(folder / "metrics/seed1/retraining.json", {"n_synthetic": 500})
    with pytest.raises(InputError, match=r"retraining\.json: found no arms, expected a run published by"):
        found.rows("seed1")


def test_other_data_or_parameters_are_refused(committed):
    file = committed / "figures/some/provenance.json"
    runs.write_json(file, {"data": {"fingerprint": "xyz"}, "parameters": {}})
    with pytest.raises(InputError, match=r"provenance\.json: found data xyz, expected .* machine, abc"):
        published.take_in("some", ["seed3"])
    assert published.take_in("some", NAMES).names == ()  # nothing is taken in: nothing to refuse
    runs.write_json(file, {"data": {"fingerprint": "abc", "winter_fingerprint": "mine"}, "parameters": {}})
    store = committed / "runs/some/winter/store.json"
    with pytest.raises(runs.MissingStep, match=r"winter/store\.json"):
        published.take_in("some", ["seed3"])
    runs.write_json(store, {"fingerprint": "other"})
    with pytest.raises(InputError, match="found winter pictures mine, expected .* machine, other"):
        published.take_in("some", ["seed3"])
    runs.write_json(store, {"fingerprint": "mine"})
    assert published.take_in("some", ["seed3"]).names == ("seed0", "seed0-sequence")
    given = {"02_classifier_training": {"passes": -1, "device": "cuda", "of_older_code": 1}}
    runs.write_json(file, {"data": {"fingerprint": "abc"}, "parameters": given})
    with pytest.raises(InputError, match="found 02_classifier_training, passes = -1, expected .* as the"):
        published.take_in("some", ["seed3"])


def test_a_run_without_the_bar_is_compared_with_the_control_alone(committed):
    file = committed / "runs/some/seed3/metrics/retraining.json"
    runs.write_json(file, runs.read_json(file) | {"arms": ["continued", "vae_transfer"]})
    (committed / "runs/some/seed3/answers/winter.npz").unlink()
    tests = collect.same_objects("some", ["seed3"], {("object", 20): "winter"})
    assert {(row["arm"], row["against"]) for row in tests} == {("vae_transfer", "continued")}


def test_nothing_committed_is_nothing_taken_in(root):
    assert published.elsewhere("some", []) == [] and published.take_in("some", ["seed0"]).names == ()


def test_variants_come_last_whichever_machine_they_are_from():
    names = ["seed0-winter50", "seed10", "seed2-sequence", "seed2", "seed0-synthetic1000", "seed1-winter50"]
    assert published.ordered(names) == ["seed2", "seed10", "seed2-sequence", "seed0-synthetic1000",
                                        "seed0-winter50", "seed1-winter50"]  # fmt: skip


def test_a_grid_grows_by_publishing(make_run, repository):
    """Seeds 0 and 1 are committed and lost; the machine with seed 2 publishes all three."""
    profile, target = "visdrone-val", repository / "figures/visdrone-val"
    for notebook in ("01_data_preparation", "02_classifier_training"):
        runs.write_text(repository / f"params/{profile}/{notebook}.yaml", f"profile: {profile}\nsteps: 5\n")
    folder = make_run(profile, (0, 1), "visdrone")
    report.text(profile)
    assert publish.main([profile]) == 0
    first = pd.read_csv(target / "table2.csv", keep_default_na=False)
    metrics = (target / "metrics/seed0/retraining.json").read_bytes()
    clock = runs.read_json(target / "timing.json")
    shutil.rmtree(folder)

    make_run(profile, (2,), "visdrone")
    summary, others = folder / "summary", published.take_in(profile, ["seed2"])
    assert others.names == ("seed0", "seed1")
    own = read_table2(summary / "table2.csv")
    runs.write_table(summary / "table2.csv", pd.concat([*map(others.rows, others.names), own]))
    about = runs.read_json(summary / "evaluation.json")
    names = published.ordered(["seed2", *others.names])
    runs.write_json(summary / "evaluation.json", about | {"runs": names, "published": list(others.names)})
    text = report.text(profile)
    assert text.startswith("Profile visdrone-val: seed2; with the committed seed0, seed1")
    assert publish.main([profile]) == 0
    both = pd.read_csv(target / "table2.csv", keep_default_na=False)
    assert sorted(set(both["seed"])) == [0, 1, 2]
    pd.testing.assert_frame_equal(both[both["seed"] < 2].reset_index(drop=True), first)
    assert (target / "metrics/seed0/retraining.json").read_bytes() == metrics
    assert (target / "metrics/seed2/retraining.json").exists() and (target / "classes.png").exists()
    times, origin = runs.read_json(target / "timing.json"), runs.read_json(target / "provenance.json")
    assert set(times["by_run"]) == {"seed0", "seed1", "seed2", "summary"}
    assert times["by_run"]["seed1"] == clock["by_run"]["seed1"]
    assert origin["runs"] == ["seed2"]
    assert [entry["runs"] for entry in origin["others"]] == [["seed0", "seed1"]]
    told, agrees = verify.verify(profile)
    assert agrees and "seeds of this run [2], committed [0, 1, 2]" in told
    assert f"Table 2: {len(own)} measurements, {len(own)} equal" in told
    assert publish.main([profile]) == 0
    assert runs.read_json(target / "evaluation.json")["runs"] == names


@pytest.mark.parametrize("change, said", [
    (lambda table: table.rename(columns={"arm": "name"}), "validation.csv:1: found columns split,"),
    (lambda table: table.assign(value=table["value"].astype(object).where(table.index != 3, "much")),
     "validation.csv:5: found value much, expected a share"),
    (lambda table: table.assign(value=table["value"].where(table.index != 0, 7)), "csv:2: found value 7"),
    (lambda table: table[~((table["arm"] == "classic") & (table["seed"] == 3))], "found no classic of seed3"),
])  # fmt: skip
def test_a_damaged_validation_table_is_told(committed, change, said):
    file = committed / "figures/some/validation.csv"
    runs.write_table(file, change(pd.read_csv(file)))
    for name in NAMES:
        shutil.rmtree(committed / "runs/some" / name)
    with pytest.raises(InputError, match=said):
        collect.validation("some", NAMES, Published("some", tuple(NAMES)))
