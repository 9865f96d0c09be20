"""The benchmark of the autoencoder's starts: its curves, and what it keeps."""

import numpy as np
import pytest
import torch

from benchmarks import vae_cars, vae_starts
from lib import runs
from lib.acceleration import choose_path
from lib.models import build_classifier
from lib.weights import save_network


@pytest.fixture
def small_run(repository, monkeypatch):
    """A run of a small classifier and judge, with cars of noise, in a repository of its own."""
    random = np.random.default_rng(0)
    cars = vae_cars.Cars(*(random.integers(0, 256, (n, 32, 32, 3), np.uint8) for n in (12, 12, 10)))
    folder = repository / "runs/embedded/seed0"
    for number, name in enumerate(("classifier", "judge")):
        torch.manual_seed(5 + number)
        numbers = {"groups": 4, "width": 8, "compression": 0.8}
        save_network(folder / f"{name}.safetensors", build_classifier(**numbers), **numbers)
    monkeypatch.setattr(vae_cars, "read_cars", lambda run: cars)
    path = choose_path("cpu", "float32", "contiguous", "off")
    monkeypatch.setattr(vae_cars, "choose_path", lambda: path)
    monkeypatch.setattr(vae_starts, "TARGET", repository / "vae_starts.json")
    monkeypatch.setattr(vae_starts, "IMAGES", 20)
    monkeypatch.setattr(vae_starts, "POINTS", 2)
    return folder


def test_curves_of_every_start(small_run, capsys):
    assert vae_starts.main([str(small_run), "--steps", "4", "--only", "transferred", "frozen"]) == 0
    assert vae_starts.main([str(small_run), "--steps", "4", "--only", "scratch", "mirrored"]) == 0
    found = runs.read_json(vae_starts.TARGET)
    assert set(found["starts"]) == {"transferred", "frozen", "scratch", "mirrored"}  # the first two stay
    for rows in found["starts"].values():
        assert [row["step"] for row in rows] == [2, 4]
        measures = {"heldout_elbo", "heldout_frechet", "heldout_sharpness"}
        assert all(measures <= row.keys() and np.isfinite([row[m] for m in measures]).all() for row in rows)
    ends = {name: rows[-1]["heldout_elbo"] for name, rows in found["starts"].items()}
    assert len(set(ends.values())) == 4, "the starts differ"
    assert "from scratch: after 4 steps held-out ELBO" in capsys.readouterr().out
    assert vae_starts.TARGET.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    drawn = vae_starts.curves_figure(found["starts"])
    assert [len(axis.lines) for axis in drawn.axes] == [4, 4, 4]


def test_bounds_of_the_first_steps_do_not_hide_the_others():
    def rows(*bounds):
        return [{"step": k + 1, "heldout_elbo": b, "heldout_frechet": 9.0, "heldout_sharpness": 0.1}
                for k, b in enumerate(bounds)]  # fmt: skip

    high = rows(-9, 500, 700, 800, 900, 1000)
    axis = vae_starts.curves_figure({"scratch": high, "transferred": rows(*[-9e5] + [600] * 5)}).axes[2]
    assert axis.get_ylim() == (450.0, 1050.0)
    assert axis.get_title() == "encoder from the classifier: -900,000 at step 1"
    axis = vae_starts.curves_figure({"scratch": rows(500, 400, 450, 460, 470, 480)}).axes[2]
    assert axis.get_title() == ""


def test_curves_of_another_length_do_not_stand_beside_each_other(small_run):
    assert vae_starts.main([str(small_run), "--steps", "2", "--only", "scratch"]) == 0
    assert vae_starts.main([str(small_run), "--steps", "3", "--only", "transferred"]) == 0
    assert list(runs.read_json(vae_starts.TARGET)["starts"]) == ["transferred"]


def test_a_missing_run_is_one_line(repository, capsys):
    assert vae_starts.main([str(repository / "runs/embedded/seed0")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "make reproduce" in error
