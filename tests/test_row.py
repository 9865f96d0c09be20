"""A row of Table 2 from scratch: which rows are meant, and what is run for them (the run: test_chain)."""

import pytest
import yaml

from lib import row, runs
from lib.run_names import RunName
from lib.runs import InputError, MissingStep


@pytest.fixture
def figures(repository, make_run):
    """The committed numbers of a profile with two seeds."""
    folder = make_run()
    target = repository / "figures" / "embedded"
    table = row.read_table2(folder / "summary" / "table2.csv")
    variant = table[table["arm"] == "vae_transfer"].assign(n_winter=50)
    dose = table[table["arm"] == "vae_transfer"].assign(n_synthetic=90)
    for part in (variant, dose):
        table = table.merge(part, how="outer")
    runs.write_table(target / "table2.csv", table)
    runs.write_json(target / "provenance.json", {"path": {"threads": 1}})
    for seed in (0, 1):
        made = {"arms": ["continued", "vae_transfer"], "n_winter": 64, "n_synthetic": 500}
        runs.write_json(target / f"metrics/seed{seed}/retraining.json", made)
    book = repository / "notebooks" / "05_retraining.ipynb"
    text = (repository / "notebooks" / "02_classifier_training.ipynb").read_text(encoding="utf-8")
    book.write_text(text.replace("steps: int = 3", "n_synthetic: int = 500"), encoding="utf-8")
    return target


def test_the_rows_of_a_run_are_not_those_of_its_variants(figures):
    rows, origin = row.published("embedded", "vae_transfer", RunName("object", 1))
    assert set(rows["seed"]) == {1} and set(rows["n_winter"]) == {64} and set(rows["n_synthetic"]) == {500}
    assert origin == {"path": {"threads": 1}}
    rows, _ = row.published("embedded", "vae_transfer", RunName("object", 1, n_winter=50))
    assert set(rows["n_winter"]) == {50}
    rows, _ = row.published("embedded", "vae_transfer", RunName("object", 0, n_synthetic=90))
    assert set(rows["n_synthetic"]) == {90}
    rows, _ = row.published("embedded", "continued", RunName("object", 0))
    assert set(rows["n_synthetic"]) == {0}


@pytest.mark.parametrize("arguments, message", [
    (["embedded", "vae_transfer", "7"], "found no row of vae_transfer in seed7, expected one of its rows"),
    (["embedded", "classic", "0"], "found no row of classic in seed0, expected an arm that it has"),
    (["embedded", "vae_transfer", "0", "--n-winter", "9"], "found no row of vae_transfer in seed0-winter9"),
    (["embedded", "vae", "0"], "ARM: found 'vae', expected one of none, continued, "),
    (["nowhere", "winter", "0"], "PROFILE: found 'nowhere', expected one of embedded"),
])  # fmt: skip
def test_bad_input_is_one_line_before_anything_runs(figures, repository, capsys, arguments, message):
    assert row.main(arguments) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert not (repository / "runs/embedded/row").exists()


def test_no_measurement_is_not_agreement(figures):
    rows, _ = row.published("embedded", "vae_transfer", RunName("object", 1))
    assert row.compare(rows, rows, [])[1]
    text, good = row.compare(rows.iloc[:0], rows, [])
    assert not good and text == "No measurement of this row was made."
    text, good = row.compare(rows, rows.assign(n_winter=9), [])
    assert not good and text == "No measurement of this row is in the committed table."
    text, good = row.compare(rows.iloc[:-1], rows, [])
    assert not good and "1 beyond" in text


def test_a_run_that_older_code_published_is_told(figures):
    runs.write_json(figures / "metrics/seed0/retraining.json", {"n_synthetic": 500})
    with pytest.raises(InputError, match="retraining.json: found no arms, expected a run published by this"):
        row.published("embedded", "vae_transfer", RunName("object", 0))


def test_nothing_committed(repository):
    with pytest.raises(MissingStep, match="make publish PROFILE=embedded"):
        row.published("embedded", "winter", RunName("object", 0))


def test_only_what_the_arm_needs_is_run(tmp_path, monkeypatch):
    variant = {"arms": ["winter", "vae_transfer"], "starts": ["transferred"]}
    monkeypatch.setattr(row.settings, "variants", lambda profile: {RunName("object", 3, 50): variant})
    monkeypatch.setattr(row.settings, "values_of_profile", lambda profile, notebook: {"data_folder": "d"})
    (tmp_path / "params" / "mine").mkdir(parents=True)
    file = tmp_path / "params/mine/05_retraining.yaml"
    file.write_text("profile: mine\nsteps: 7\narms: [continued, winter, vae_scratch]\n")

    def read(name):
        return yaml.safe_load((tmp_path / "params/mine" / f"{name}.yaml").read_text())

    assert row.restrict(tmp_path, "mine", "vae_scratch", RunName("sequence", 3)) == ["seed3-sequence"]
    assert read("05_retraining") == {"profile": "mine", "steps": 7, "arms": ["continued", "vae_scratch"]}
    assert read("03_vae_transfer")["starts"] == ["transferred", "scratch"]
    assert read("04_generation") == {"profile": "mine", "critic_examples": 0}
    assert read("profile") == {"sequence": [3]}
    assert read("01_data_preparation")["data_folder"] == str(row.settings.ROOT / "d")  # not the copy's own
    names = row.restrict(tmp_path, "mine", "winter", RunName("object", 3, 50))
    assert names == ["seed3", "seed3-winter50"]
    assert read("05_retraining")["arms"] == ["continued"]  # what the run that it starts from needs
    assert read("profile") == {"object": [3], "variants": [
        {"arms": ["winter"], "starts": ["transferred"], "n_winter": [50], "object": [3]}]}  # fmt: skip
    row.restrict(tmp_path, "mine", "winter_part", RunName("object", 3))  # with what it takes in part
    assert read("05_retraining")["arms"] == ["continued", "winter", "winter_part"]
    row.restrict(tmp_path, "mine", "winter_part", RunName("object", 3, 50))
    assert read("profile")["variants"][0]["arms"] == ["winter", "winter_part"]
    names = row.restrict(tmp_path, "mine", "vae_transfer", RunName("object", 3, 50, 9))
    assert names == ["seed3", "seed3-winter50", "seed3-winter50-synthetic9"]
    variants = read("profile")["variants"]
    numbers = [(entry["n_winter"], entry.get("n_synthetic")) for entry in variants]
    assert numbers == [([50], [9]), ([50], None)]


def test_the_profiles_own_numbers_make_no_variant(figures):
    assert row.plain("embedded", RunName("object", 1, 64, 500)) == RunName("object", 1)
    assert row.plain("embedded", RunName("object", 1, 50, 500)) == RunName("object", 1, 50)
    assert row.plain("embedded", RunName("object", 7, 64)) == RunName("object", 7, 64)  # it is not committed


def test_a_row_asked_for_by_its_own_numbers_is_that_of_the_run(figures, monkeypatch):
    asked = []

    def recompute(profile, arm, run, threads):
        asked.append(run)
        raise InputError("here", "enough", "no training")

    monkeypatch.setattr(row, "recompute", recompute)
    assert row.main(["embedded", "vae_transfer", "0", "--n-winter", "64", "--n-synthetic", "500"]) == 2
    assert asked == [RunName("object", 0)]
