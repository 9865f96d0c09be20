"""The benchmark of the autoencoder's objectives: what it keeps, and what it says where it cannot run."""

import pytest

from benchmarks import vae_cars, vae_objectives
from lib import runs

PARTS = {"heldout": {"elbo": 1.0, "kl": 2.0}} | {
    key: {vae_objectives.FRECHET: 3.0, "sharpness_ratio": 0.1, "called_car_by_judge": 0.5}
    for key in ("decoder_alone", "drawn")
}


@pytest.fixture
def target(monkeypatch, tmp_path):
    """A benchmark that trains nothing; each training adds the name's objective to `trained`."""
    trained = []

    def train(run, variant, cars, steps, path):
        trained.append((variant, steps))

    monkeypatch.setattr(vae_objectives, "TARGET", tmp_path / "vae_objectives.json")
    monkeypatch.setattr(vae_objectives, "train", train)
    monkeypatch.setattr(vae_objectives, "measure", lambda *_: dict(PARTS))
    monkeypatch.setattr(vae_cars, "read_cars", lambda run: vae_objectives.Cars([], [], [0] * 7))
    monkeypatch.setattr(vae_cars, "load_classifier", lambda file: (None, {}))
    monkeypatch.setattr(vae_objectives.ComputePath, "place", lambda self, model: model)
    monkeypatch.setattr(vae_objectives.Run, "need", lambda self, name: name)
    return tmp_path / "vae_objectives.json", trained


def run(*more):
    return vae_objectives.main(["runs/embedded/seed0", *more])


def test_every_variant_is_kept_as_soon_as_it_is_there(target, capsys):
    file, trained = target
    assert run("--steps", "5", "--only", "default") == 0
    assert list(runs.read_json(file)["variants"]) == ["default"]
    assert run("--steps", "5", "--only", "four times as long", "deep features") == 0
    found = runs.read_json(file)
    assert set(found["variants"]) == {"default", "four times as long", "deep features"}
    assert found["run"] == "embedded/seed0" and found["n_heldout"] == 7
    assert [variant for variant, _ in trained][1:] == [
        vae_objectives.VARIANTS["four times as long"], vae_objectives.VARIANTS["deep features"],
    ]  # fmt: skip
    assert found["variants"]["four times as long"]["steps"] == 20
    assert found["variants"]["deep features"]["objective"]["features"] == 0.1
    assert "deep features: held-out ELBO 1, KL 2; decoder alone: Frechet 3.00" in capsys.readouterr().out


def test_results_of_another_length_do_not_stand_beside_each_other(target):
    file, _ = target
    assert run("--steps", "5", "--only", "default") == 0
    assert run("--steps", "6", "--only", "deep features") == 0
    assert list(runs.read_json(file)["variants"]) == ["deep features"]


def test_a_variant_differs_from_the_default_in_what_its_name_says():
    default = vae_objectives.VARIANTS["default"]
    assert len(set(vae_objectives.VARIANTS.values())) == len(vae_objectives.VARIANTS)
    assert vae_objectives.VARIANTS["twice the latent dimension"]._replace(latent_dim=128) == default
    assert vae_objectives.VARIANTS["four times as long"]._replace(length=1) == default


def test_the_default_is_notebook_03_s():
    values = vae_objectives.settings.values("embedded", "03_vae_transfer")
    default = vae_objectives.VARIANTS["default"].objective
    own = {name: values[name] for name in ("beta", "detail", "features", "calibrated")}
    assert default._replace(**own) == default
    assert (values["batch_size"], values["rate"]) == (vae_objectives.BATCH, vae_objectives.RATE)
    assert vae_objectives.drawing()["drawn"]["residual"] == 1.0


def test_a_missing_run_is_one_line(repository, capsys):
    assert vae_objectives.main([str(repository / "runs/embedded/seed0")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "make reproduce" in error


def test_an_unknown_variant_is_refused(capsys):
    with pytest.raises(SystemExit):
        run("--only", "deeper")
    assert "deeper" in capsys.readouterr().err
