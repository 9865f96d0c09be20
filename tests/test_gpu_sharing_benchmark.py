"""The benchmark of a shared GPU: what it reads from the clocks of runs."""

import pytest

from benchmarks import gpu_sharing
from lib import benchmark_claims, runs, settings

CARD = {"machine": {"gpu": "a card", "cores": 16}}


def clock(run, notebook, begin, end, more=CARD):
    path = settings.ROOT / f"runs/embedded/{run}/timing/{notebook}.json"
    runs.write_json(path, {"clock": [begin, end], "seconds": end - begin} | more)


@pytest.fixture
def shared(repository, monkeypatch):
    """Two classifiers side by side, then a retraining."""
    monkeypatch.setattr(gpu_sharing, "FOLDER", repository / "figures/benchmarks")
    for run, begin, end in (("seed0", 100, 140), ("seed1", 110, 130)):
        clock(run, gpu_sharing.CLASSIFIER, begin, end)
        runs.write_json(
            repository / f"runs/embedded/{run}/metrics/classifier.json", {"steps": 50, "batch_size": 64}
        )
    clock("seed0", "05_retraining", 140, 150)
    return repository


def test_rates_are_of_whole_notebooks_side_by_side(shared, capsys):
    assert gpu_sharing.main(["embedded"]) == 0
    found = runs.read_json(shared / "figures/benchmarks/gpu_sharing_embedded.json")
    one = found["classifier"]
    assert one["trainings"] == 2 and one["at_once"] == pytest.approx((40 + 20) / 40)
    rates = one["images_per_second_each"]
    assert (rates["min"], rates["max"]) == (50 * 64 / 40, 50 * 64 / 20)
    assert one["images_per_second"] == 2 * 50 * 64 / 40
    assert found["all"] == {"notebooks": 3, "at_once": pytest.approx(70 / 50), "seconds": 50}
    assert "2 classifiers" in capsys.readouterr().out
    row = benchmark_claims._gpu_sharing(found)
    assert row[0].startswith("a card shared") and row[-1].startswith("120; 3 notebooks")


def test_time_between_two_days_is_no_time_of_work(shared):
    later = 86_400
    clock("seed0", gpu_sharing.CLASSIFIER, 100 + later, 140 + later)
    found = gpu_sharing.measured("embedded")["classifier"]
    assert found["images_per_second"] == 2 * 50 * 64 / 60 and found["at_once"] == 1


def test_what_is_missing_is_told_in_a_line(shared, capsys):
    clock("seed1", gpu_sharing.CLASSIFIER, 110, 130, CARD | {"clock": None})  # run by hand
    assert gpu_sharing.measured("embedded")["classifier"]["trainings"] == 1
    (shared / "runs/embedded/seed0/metrics/classifier.json").unlink()
    assert gpu_sharing.main(["embedded"]) == 2
    assert "classifier.json" in capsys.readouterr().err


def test_what_was_not_run_on_one_kind_of_gpu_is_told(shared, capsys):
    clock("seed1", gpu_sharing.CLASSIFIER, 110, 130, {"machine": {"gpu": "another", "cores": 16}})
    assert gpu_sharing.main(["embedded"]) == 2
    assert "a card and another" in capsys.readouterr().err
    for run in ("seed0", "seed1"):
        clock(run, gpu_sharing.CLASSIFIER, 100, 140, {"machine": {"gpu": None, "cores": 2}})
    assert gpu_sharing.main(["embedded"]) == 2
    assert "no classifier that was trained on a GPU" in capsys.readouterr().err
