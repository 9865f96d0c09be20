"""The benchmark of retrainings in part: what it reads of a run."""

import numpy as np
import pytest

from benchmarks import in_part
from lib import runs

CARS, NONCARS = np.full(40, 1), np.tile([0, 2, 3, 4, 5], 8)
SETS = {"summer": np.r_[CARS, NONCARS], "winter_heldout": CARS, "winter_paper": CARS,
        "winter_noncars": NONCARS}  # fmt: skip


def answer(folder, arm, winter, noncars):
    """Answers of an arm that knows so many of 40 winter cars and calls so many of 40 winter non-cars car."""
    arrays = {}
    for name, labels in SETS.items():
        said = labels.copy()
        if name == "winter_heldout":
            said[winter:] = 5
        if name == "winter_noncars":
            said[:noncars] = 1
        arrays[f"{name}/probabilities"] = np.eye(6, dtype=np.float32)[said]
        arrays[f"{name}/labels"] = labels
        arrays[f"{name}/sequences"] = np.array([f"s{k % 4}" for k in range(len(labels))])
    file = folder / "answers" / f"{arm}.npz"
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(file, **arrays)


@pytest.fixture
def finished(repository, monkeypatch):
    """A run whose notebook 05 took one arm in part."""
    folder = repository / "runs/embedded/seed0"
    for arm, winter, noncars in (("none", 20, 8), ("continued", 22, 9), ("vae_transfer", 40, 24),
                                 ("vae_transfer_part", 32, 10), ("winter", 38, 20)):  # fmt: skip
        answer(folder, arm, winter, noncars)
    kept = {"vae_transfer_part": {"share": 0.5, "within_limits": True}}
    about = {"arms": ["continued", "winter", "vae_transfer", "vae_transfer_part"], "kept": kept}
    about |= {"n_winter": 8, "n_synthetic": 20, "path_line": "cpu"}
    runs.write_json(folder / "metrics/retraining.json", about)
    runs.write_json(folder / "metrics/data.json", {"winter": "simulated winter"})
    monkeypatch.setattr(in_part, "TARGET", repository / "in_part.json")
    return folder


def test_an_arm_in_part_beside_the_whole_one(finished, capsys):
    assert in_part.main([str(finished)]) == 0
    found = runs.read_json(in_part.TARGET)
    assert in_part.TARGET.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert list(found["arms"]) == ["vae_transfer"] and found["run"] == "embedded/seed0"
    one = found["arms"]["vae_transfer"]
    assert one["share"] == 0.5 and one["within_limits"] is True
    places = {name: (one | found)[name] for name in ("before", "control", "whole", "part")}
    values = {name: [place[m]["value"] for m in in_part.SHOWN[:3]] for name, place in places.items()}
    assert values == {"before": [0.5, 0.2, 1.0], "control": [0.55, 0.225, 1.0], "whole": [1.0, 0.6, 1.0],
                      "part": [0.8, 0.25, 1.0]}  # fmt: skip
    for place in places.values():
        assert all(0 <= row["low"] <= row["value"] <= row["high"] <= 1 for row in place.values())
    assert "after: 100% of it: winter_car_recall 100.0" in capsys.readouterr().out


def test_a_run_without_such_an_arm_is_one_line(finished, capsys):
    about = runs.read_json(finished / "metrics/retraining.json")
    for kept in ({"kept": {}}, {"kept": None}):
        runs.write_json(finished / "metrics/retraining.json", about | kept)
        assert in_part.main([str(finished)]) == 2
        error = capsys.readouterr().err
        assert "found no arm in part, expected one of winter_part" in error and error.count("\n") == 1


def test_a_missing_run_is_one_line(repository, capsys):
    assert in_part.main([str(repository / "runs/embedded/seed0")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "make reproduce" in error
