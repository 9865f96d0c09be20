"""What is committed of a run, and the comparison with it."""

import errno
import os
import re

import nbformat
import numpy as np
import pandas as pd
import pytest

from lib import publish, report, runs, verify
from lib.publish import clean_notebook
from lib.runs import InputError


@pytest.fixture
def finished(make_run):
    """A finished embedded run of two seeds, with its report written."""
    folder = make_run("embedded", (0, 1))
    report.text("embedded")
    return folder


PAGE = b"<!-- claims -->\n<!-- /claims -->\n"  # as `repository` has it


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_publishing_twice_changes_nothing(finished, repository):
    assert publish.main(["embedded"]) == 0
    first = contents(repository / "figures") | contents(repository / "notebooks")
    assert {"embedded/table1.json", "embedded/table2.csv", "embedded/table2.md", "embedded/provenance.json",
            "embedded/timing.json", "embedded/metrics/seed1/data.json", "embedded/classes.png",
            "embedded/images_fragment.png", "embedded/table2_object.png"} <= first.keys()  # fmt: skip
    assert publish.main(["embedded"]) == 0
    assert contents(repository / "figures") | contents(repository / "notebooks") == first


def test_a_file_that_is_no_longer_made_goes(finished, repository):
    publish.main(["embedded"])
    runs.write_text(repository / "figures/embedded/README.md", "by hand")
    runs.write_text(repository / "figures/embedded/metrics/seed9/data.json", "{}")
    (finished / "seed0/figures/classes.png").unlink()
    publish.main(["embedded"])
    found = contents(repository / "figures/embedded")
    assert "classes.png" not in found and not any("seed9" in name for name in found) and "README.md" in found


@pytest.mark.parametrize(
    "profile, source", [("visdrone-val", "visdrone"), ("tiny", "scenes"), ("embedded", "visdrone")]
)
def test_imagery_is_published_only_of_drawn_scenes(make_run, repository, profile, source):
    (repository / "params" / profile).mkdir()
    folder = make_run(profile, (0,), source)
    for name in ("images_field.png", "panorama.json"):  # what a person's own flights leave
        runs.write_text(folder / "seed0/places/field" / name, "{}")
    report.text(profile)
    before = contents(repository / "notebooks")
    publish.publish_files(publish.published_files(profile), repository / "figures" / profile)
    found = contents(repository / "figures" / profile)
    assert "classes.png" in found and not any("images_" in name for name in found)
    assert not any("field" in name or "panorama" in name for name in found)
    if profile != "embedded":
        assert publish.main([profile]) == 0
        assert contents(repository / "notebooks") == before


def test_the_loop_alone_is_published_beside_other_runs(finished, repository, capsys):
    assert publish.main(["embedded"]) == 0
    place = repository / "figures/embedded"
    before = contents(place)
    nothing = {"accepted": None, "weak": [], "test": {"before": {}, "after": {}}, "recipe": {},
               "rule": {"gap": 0.1, "tolerance": 0.02, "fewest": 20}}  # fmt: skip
    runs.write_json(place / "metrics/seed7/weak_classes.json", nothing | {"seed": 7})  # of another machine
    for run in ("seed1", "seed3"):
        runs.write_json(finished / run / "metrics/weak_classes.json", nothing | {"seed": run})
        time = {"seconds": 600, "machine": {"gpu": "a card"}}
        runs.write_json(finished / run / "timing/08_weak_classes.json", time)
        for name in ("weak_classes.png", "images_ensemble.png", "classes.png"):
            runs.write_text(finished / run / "figures" / name, run)
    runs.write_json(finished / "seed1/metrics/data.json", {"source": "scenes", "winter": "simulated winter"})
    assert publish.main(["embedded", "--loop"]) == 0
    new = {f"metrics/{run}/weak_classes.json" for run in ("seed1", "seed3", "seed7")}
    new |= {f"metrics/{run}/weak_classes_timing.json" for run in ("seed1", "seed3")}
    found = contents(place)
    assert found.keys() - before.keys() == new | {"weak_classes.png", "images_ensemble.png"}
    assert {name: found[name] for name in before} == before and found["weak_classes.png"] == b"seed1"
    assert runs.read_json(place / "metrics/seed7/weak_classes.json") == nothing | {"seed": 7}
    assert "something kept in 0 of 3 seeds" in (repository / "figures/README.md").read_text(encoding="utf-8")
    assert publish.main(["embedded"]) == 0 and new <= contents(place).keys()  # with the tables they stay
    runs.write_json(finished / "seed1/metrics/data.json", {"source": "visdrone", "winter": "winter pictures"})
    assert publish.main(["embedded", "--loop"]) == 0  # no imagery of real frames, nor an older picture
    assert contents(place).keys() == (before.keys() | new | {"weak_classes.png"})
    runs.write_text(finished / "seed1/classifier.safetensors", "trained again")
    assert publish.main(["embedded", "--loop"]) == 2
    assert "older than seed1/classifier.safetensors, expected make improve" in capsys.readouterr().err


@pytest.mark.parametrize("words, message", [
    (["embedded", "--loop"], "weak_classes.json: found no .*make improve PROFILE=embedded"),
    (["embeded"], "PROFILE: found 'embeded', expected one of embedded"),
    (["embedded", "--all"], "usage: "), ([], "usage: "),
])  # fmt: skip
def test_nothing_to_publish_is_one_line(repository, capsys, words, message):
    assert publish.main(words) == 2
    error = capsys.readouterr().err
    assert re.search(message, error) and error.count("\n") == 1
    assert contents(repository / "figures") == {"README.md": PAGE}


def test_an_absolute_path_is_not_published(finished, repository, capsys):
    path = finished / "seed0/metrics/data.json"
    runs.write_json(path, runs.read_json(path) | {"folder": "/some/where/else"})
    assert publish.main(["embedded"]) == 2
    error = capsys.readouterr().err
    assert "/some/where/else" in error and error.count("\n") == 1
    assert contents(repository / "figures") == {"README.md": PAGE}


def test_nothing_is_written_when_a_file_is_missing(finished, repository, capsys):
    (finished / "summary/timing.json").unlink()
    before = contents(repository / "notebooks")
    assert publish.main(["embedded"]) == 2
    assert "make reproduce" in capsys.readouterr().err
    assert contents(repository / "notebooks") == before
    assert contents(repository / "figures") == {"README.md": PAGE}


def test_a_full_disk_is_one_line(finished, repository, capsys, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert publish.main(["embedded"]) == 2
    error = capsys.readouterr().err
    assert re.fullmatch(r".*figures/embedded/.*: found a full disk .*, expected room for it\n", error)
    assert contents(repository / "figures") == {"README.md": PAGE}


def test_notebooks_get_outputs_and_no_noise(finished, repository):
    publish.main(["embedded"])
    book = nbformat.read(repository / "notebooks/02_classifier_training.ipynb", as_version=4)
    assert [cell.id for cell in book.cells] == ["a", "b", "c"]
    assert [cell.metadata for cell in book.cells] == [{}, {"tags": ["parameters"]}, {}]
    assert [cell.execution_count for cell in book.cells[1:]] == [1, 2]
    assert [output.text for output in book.cells[2].outputs] == ["hello\n"]
    assert book.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }


def executed(finished, outputs):
    path = finished / "seed0/notebooks/02_classifier_training.ipynb"
    book = nbformat.read(path, as_version=4)
    book.cells[-1].outputs = outputs
    nbformat.write(book, path)
    return path


def html(text):
    return nbformat.v4.new_output(
        "display_data", data={"text/html": text, "text/plain": "<T at 0x7f00aa11bb22>"}
    )


def test_a_notebook_that_was_edited_since_is_refused(finished, repository):
    source = repository / "notebooks/02_classifier_training.ipynb"
    book = nbformat.read(source, as_version=4)
    book.cells[-1].source += "\nprint(2)"
    nbformat.write(book, source)
    with pytest.raises(InputError, match="run make reproduce again"):
        clean_notebook(source, finished / "seed0/notebooks/02_classifier_training.ipynb")


def test_addresses_table_names_and_the_roots_path_are_made_stable(finished, repository):
    source = repository / "notebooks/02_classifier_training.ipynb"
    texts = []
    for mark in ("1a2b3", "99999"):
        table = (
            f'<style>#T_{mark}_row0 {{}}</style><table id="T_{mark}"><td id="T_{mark}_row0">1</td></table>'
        )
        texts.append(clean_notebook(source, executed(finished, [html(table + f" {repository}/runs/x.npz")])))
    assert texts[0] == texts[1]
    assert "0x7f" not in texts[0] and " runs/x.npz" in texts[0] and str(repository) not in texts[0]


def test_other_paths_errors_and_size_are_refused(finished, repository):
    source = repository / "notebooks/02_classifier_training.ipynb"
    with pytest.raises(InputError, match="absolute path /some/where/x.npz"):
        clean_notebook(source, executed(finished, [html("in /some/where/x.npz")]))
    with pytest.raises(InputError, match="an error in a cell"):
        error = nbformat.v4.new_output("error", ename="ValueError", evalue="x", traceback=[])
        clean_notebook(source, executed(finished, [error]))
    with pytest.raises(InputError, match="bytes with its outputs"):
        clean_notebook(source, executed(finished, [html("x" * publish.LARGEST_NOTEBOOK)]))


# The comparison with the committed numbers


@pytest.fixture
def published(finished):
    publish.main(["embedded"])
    return finished


def change(folder, part="machine", **values):
    path = folder / "summary/provenance.json"
    found = runs.read_json(path)
    found[part].update(values)
    runs.write_json(path, found)


def shift(folder, metric, points):
    path = folder / "summary/table2.csv"
    table = pd.read_csv(path, keep_default_na=False)
    chosen = (table["metric"] == metric) & (table["arm"] == "none") & (table["seed"] == 0)
    table.loc[chosen, "numerator"] += np.round(points / 100 * table.loc[chosen, "denominator"]).astype(int)
    table["value"] = table["numerator"] / table["denominator"]
    table["low"], table["high"] = table[["low", "value"]].min(axis=1), table[["high", "value"]].max(axis=1)
    runs.write_table(path, table)


def test_arms_with_other_numbers_than_the_committed_ones_are_not_agreement(published, capsys):
    path = published / "summary/table2.csv"
    table = pd.read_csv(path, keep_default_na=False)
    table.loc[table["n_synthetic"] > 0, "n_synthetic"] += 7
    runs.write_table(path, table)
    assert verify.main(["embedded"]) == 1
    said = capsys.readouterr().out
    assert "With other numbers than in the committed table, so not compared: vae_" in said


def test_on_the_same_machine_counts_and_intervals_must_be_equal_too(published, capsys):
    path = published / "summary/table2.csv"
    table = pd.read_csv(path, keep_default_na=False)
    table.loc[0, "low"] /= 2
    table.loc[1, ["numerator", "denominator"]] *= 2
    runs.write_table(path, table)
    assert verify.main(["embedded"]) == 1 and " 2 beyond" in capsys.readouterr().out
    change(published, torch="0.0")
    assert verify.main(["embedded"]) == 0  # elsewhere the values are compared


def test_an_equal_run_is_verified(published, capsys):
    assert verify.main(["embedded"]) == 0
    text = capsys.readouterr().out
    assert "everything must be equal" in text and "Table 1 is equal" in text and " 0 beyond" in text


def test_on_the_same_machine_any_difference_counts(published, capsys):
    shift(published, "winter_car_recall", 1)
    assert verify.main(["embedded"]) == 1
    text = capsys.readouterr().out
    assert (
        "winter_car_recall, none, heldout, object, seed 0" in text and "BEYOND" in text and "2 beyond" in text
    )


@pytest.mark.parametrize("metric, points, status", [
    ("winter_car_recall", 12, 0), ("winter_car_recall", 15, 1), ("accuracy", 1, 0), ("accuracy", -3, 1),
])  # fmt: skip
def test_another_machine_has_a_tolerance(published, capsys, metric, points, status):
    change(published, torch="0.0")
    shift(published, metric, points)
    assert verify.main(["embedded"]) == status
    text = capsys.readouterr().out
    assert "torch: 0.0, committed with" in text and metric in text


def test_table_1_must_be_equal_everywhere(published, capsys):
    change(published, processor="another")
    path = published / "summary/table1.json"
    runs.write_json(path, runs.read_json(path) | {"train": 721})
    assert verify.main(["embedded"]) == 1
    assert "Table 1, train: 721, committed 720" in capsys.readouterr().out


def test_other_data_have_another_table_1_and_a_tolerance(published, repository, capsys):
    for folder in (published / "summary", repository / "figures/embedded"):
        path = folder / "provenance.json"
        found = runs.read_json(path)
        found["data"]["source"] = "visdrone"
        runs.write_json(path, found)
    change(published, "data", fingerprint="def", frames={"val": {"found": 548, "expected": 548}})
    path = published / "summary/table1.json"
    runs.write_json(path, runs.read_json(path) | {"train": 721})
    shift(published, "winter_car_recall", 8)
    assert verify.main(["embedded"]) == 0
    text = capsys.readouterr().out
    line = next(line for line in text.splitlines() if line.startswith("Other data"))
    assert "val 548 of 548 frames" in line and "val 456 of 548 frames" in line
    assert line.endswith("Table 2 has a tolerance, Table 1 is only shown.")
    assert "Table 1, train: 721, committed 720" in text and "everything must be equal" not in text
    shift(published, "winter_car_recall", 8)  # 16 in all
    assert verify.main(["embedded"]) == 1


def test_drawn_scenes_of_other_bytes_still_have_table_1(published, capsys):
    change(published, "data", fingerprint="def")
    assert verify.main(["embedded"]) == 0
    assert "Table 2 has a tolerance." in capsys.readouterr().out
    path = published / "summary/table1.json"
    runs.write_json(path, runs.read_json(path) | {"train": 721})
    assert verify.main(["embedded"]) == 1


def test_another_winter_is_other_data(published, capsys):
    change(published, "data", winter_fingerprint="mine", winter="winter crops")
    shift(published, "accuracy", 1)  # within a tolerance, which only other data get here
    assert verify.main(["embedded"]) == 0
    said = capsys.readouterr().out
    assert "Other data than the committed run's" in said and "winter crops" in said
    origin = {"source": "scenes", "frames": {}, "fingerprint": "a", "winter": "winter crops"}
    old = {"data": origin}  # older files do not have the second fingerprint
    assert verify.other_data(old, {"data": origin | {"winter_fingerprint": None}}) is None
    assert "winter crops" in verify.other_data(old, {"data": origin | {"winter_fingerprint": "b"}})


def test_a_processor_of_the_same_name_may_be_another(published, repository, capsys):
    change(published, instructions=["fma", "sse9"])  # which this machine has not
    shift(published, "accuracy", 1)
    assert verify.main(["embedded"]) == 0
    assert "instructions: fma sse9, committed with" in capsys.readouterr().out
    change(published, instructions=[])
    assert verify.main(["embedded"]) == 0
    assert "instructions: unknown, committed with" in capsys.readouterr().out


def test_committed_numbers_without_instructions_are_of_another_machine(published, repository, capsys):
    for folder in (published / "summary", repository / "figures/embedded"):
        path = folder / "provenance.json"
        found = runs.read_json(path)
        del found["machine"]["instructions"]
        runs.write_json(path, found)
    shift(published, "accuracy", 1)
    assert verify.main(["embedded"]) == 0
    assert "Another machine" in capsys.readouterr().out


def test_only_common_seeds_are_compared(published, make_run, capsys):
    make_run("embedded", (1, 2))
    report.text("embedded")
    assert verify.main(["embedded"]) == 0
    assert "seeds of this run [1, 2], committed [0, 1]" in capsys.readouterr().out
    make_run("embedded", (5,))
    assert verify.main(["embedded"]) == 2
    assert "seeds [5]" in capsys.readouterr().err


def test_a_lost_measurement_is_a_difference(published, capsys):
    path = published / "summary/table2.csv"
    lines = path.read_text().splitlines(keepends=True)
    runs.write_text(path, "".join(lines[:-1]))
    assert verify.main(["embedded"]) == 1
    assert "1 beyond" in capsys.readouterr().out


def test_only_runs_that_both_have_are_compared(published, repository, capsys):
    """Of a seed's runs, the split by sequence and the variants may be on another machine."""
    path = repository / "figures/embedded/table2.csv"
    table = pd.read_csv(path, keep_default_na=False)
    others = [table.assign(split="sequence"), table.assign(n_winter=5), table.assign(n_synthetic=9)]
    pd.concat([table, *others]).to_csv(path, index=False)
    both = verify.compare_table2(table, pd.concat([table, *others]), True)
    assert both.attrs["compared"] == len(table) and not len(both)
    alone = verify.compare_table2(table.assign(split="sequence"), table, True)
    assert alone.attrs["compared"] == 0


def test_an_arm_that_the_committed_run_has_not_is_said_and_not_compared(published, capsys):
    """A grid may get new arms between its seeds; one that is lost is a difference still."""
    path = published / "summary/table2.csv"
    table = pd.read_csv(path, keep_default_na=False)
    new = table[table["arm"] == "vae_transfer"].assign(arm="vae_transfer_part")
    pd.concat([table, new]).to_csv(path, index=False)
    assert verify.main(["embedded"]) == 0
    assert "Not in the committed table, so not compared: arm vae_transfer_part." in capsys.readouterr().out
    table[(table["arm"] != "vae_transfer") | (table["seed"] != 0)].to_csv(path, index=False)
    assert verify.main(["embedded"]) == 1


@pytest.mark.parametrize("place", ["runs/embedded/summary", "figures/embedded"])
def test_missing_numbers_are_one_line(published, repository, capsys, place):
    (repository / place / "table2.csv").unlink()
    assert verify.main(["embedded"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "make " in error


def test_a_measure_that_older_code_did_not_take_is_said_and_not_compared(published, repository, capsys):
    path = repository / "figures/embedded/table2.csv"
    lines = path.read_text().splitlines(keepends=True)
    runs.write_text(path, "".join(line for line in lines if ",car_precision," not in line))
    assert verify.main(["embedded"]) == 0
    said = capsys.readouterr().out
    assert "Not in the committed table, so not compared: car_precision." in said and ", 0 beyond." in said


def test_verifying_an_unknown_profile_names_the_known_ones(repository, capsys):
    for profile in ("embeded", ""):
        assert verify.main([profile]) == 2
        assert capsys.readouterr().err == f"PROFILE: found {profile!r}, expected one of embedded\n"
