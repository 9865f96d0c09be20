"""The benchmark of retrainings in part: what it measures, and what it chooses by."""

import numpy as np
import pytest
import torch

from benchmarks import in_part
from lib import runs
from lib.acceleration import choose_path
from lib.models import build_classifier
from lib.testsets import ImageSet
from lib.weights import save_network


@pytest.fixture
def small_run(repository, monkeypatch):
    """A run of small classifiers of other initialisations, with sets of noise, in a repository of its own."""
    random = np.random.default_rng(0)

    def noise(labels):
        images = random.integers(0, 256, (len(labels), 32, 32, 3), np.uint8)
        return ImageSet(images, np.array(labels), np.array([f"s{k % 3}" for k in range(len(labels))]))

    sets = {name: noise([1, 1, 1, 1, 0, 2, 3, 4, 5, 5]) for name in ("summer", "valid_summer")}
    sets |= {name: noise([1] * 8) for name in ("winter_heldout", "valid_winter_cars", "winter_paper")}
    sets |= {name: noise([0, 2, 3, 4, 5, 5]) for name in ("winter_noncars", "valid_winter_noncars")}
    folder, numbers = repository / "runs/embedded/seed0", {"groups": 4, "width": 8, "compression": 0.8}
    for number, name in ((0, ""), (1, "_continued"), (5, "_winter"), (3, "_retrained")):
        torch.manual_seed(number)
        model = build_classifier(**numbers)
        torch.nn.init.constant_(model.output.bias[number], 50.0)  # each says another class of everything
        save_network(folder / f"classifier{name}.safetensors", model, **numbers)
    arms = ["continued", "winter", "vae_transfer", "vae_only"]
    runs.write_json(folder / "metrics/retraining.json", {"arms": arms, "n_winter": 8, "n_synthetic": 20})
    runs.write_json(folder / "metrics/data.json", {"winter": "simulated winter"})
    runs.write_text(folder / "division.npz", "")
    monkeypatch.setattr(in_part.data, "open_stores", lambda *_: (None, None))
    monkeypatch.setattr(in_part.Division, "read", lambda file: None)
    monkeypatch.setattr(in_part, "test_sets", lambda *_: sets)
    path = choose_path("cpu", "float32", "contiguous", "off")
    monkeypatch.setattr(in_part, "choose_path", lambda: path)
    monkeypatch.setattr(in_part, "TARGET", repository / "in_part.json")
    return folder


def test_every_arm_at_every_share(small_run, monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(in_part, "share_to_keep", lambda measured, control: seen.append(measured) or 0.5)
    assert in_part.main([str(small_run)]) == 0
    found = runs.read_json(in_part.TARGET)
    assert set(found["arms"]) == {"winter", "vae_transfer"} and found["n"]["winter_heldout"] == 8
    assert in_part.TARGET.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    for arm, valid in zip(("winter", "vae_transfer"), seen, strict=True):
        one = found["arms"][arm]
        assert one["kept"] == 0.5 and list(one["shares"]) == ["0.25", "0.5", "0.75", "1.0"]
        for share, part in one["shares"].items():
            assert part["valid"] == valid[float(share)] and set(part["test"]) == set(in_part.SHOWN)
            assert all(0 <= row["low"] <= row["value"] <= row["high"] <= 1 for row in part["test"].values())
    recall = {name: one["shares"]["1.0"]["test"]["winter_car_recall"]["value"] for name, one in
              found["arms"].items()} | {"control": found["control"]["test"]["winter_car_recall"]["value"]}
    assert recall == {"winter": 0, "vae_transfer": 0, "control": 1}  # the control alone says car here
    shares = found["arms"]["winter"]["shares"]
    assert [shares[share]["test"]["accuracy"]["value"] for share in ("0.25", "1.0")] == [0.1, 0.2]
    assert "after: 100% of the way: winter_car_recall 0.0" in capsys.readouterr().out


def test_a_run_without_such_an_arm_is_one_line(small_run, capsys):
    runs.write_json(small_run / "metrics/retraining.json",
                    {"arms": ["continued", "vae_only"], "n_winter": 8, "n_synthetic": 20})  # fmt: skip
    assert in_part.main([str(small_run)]) == 2
    error = capsys.readouterr().err
    assert "found no arm that can be taken in part, expected winter" in error and error.count("\n") == 1


def test_a_missing_run_is_one_line(repository, capsys):
    assert in_part.main([str(repository / "runs/embedded/seed0")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "make reproduce" in error
