"""The benchmark that counts what a retraining sees of what it is given."""

import numpy as np
import pytest

from benchmarks import seen
from lib import runs
from lib.batches import Schedule

ABOUT = {"after": {"train": 300, "classes": {"car": {"train": 120}}}}
RETRAINED = {"steps": 10, "batch_size": 16, "n_winter_taken": 20, "n_synthetic": 100, "n_recoloured": 60}
ARMS = ["continued", "winter", "oversampled", "vae_transfer", "winter_and_vae", "vae_only", "vae_recoloured"]


@pytest.mark.parametrize(
    ("arm", "given"),
    [
        ("continued", (300, 0, 0)),
        ("winter", (300, 20, 0)),
        ("oversampled", (300, 20, 0)),  # five copies of each
        ("vae_transfer", (300, 100, 0)),
        ("winter_and_vae", (300, 120, 0)),
        ("vae_only", (180, 100, 0)),  # without the summer's cars
        ("vae_recoloured", (300, 100, 60)),
    ],
)
def test_what_is_given_and_seen(arm, given):
    found = seen.seen_by(arm, ABOUT, RETRAINED, seed=3)
    assert tuple(found["given"].values()) == given
    assert all(found["seen"][kind] <= found["given"][kind] for kind in seen.KINDS)
    total = sum(found["seen"].values())  # no pass is complete: nothing comes twice but for copies
    assert total < 160 if arm == "oversampled" else total == 160


def test_it_is_the_schedule_of_the_trainings():
    drawn = np.concatenate([Schedule(10, 16, 1.0, 3).rows(320, step).numpy() for step in range(10)])
    assert seen.seen_by("winter", ABOUT, RETRAINED, 3)["seen"]["cars"] == (drawn >= 300).sum()


def test_several_passes_see_everything():
    found = seen.seen_by("vae_recoloured", ABOUT, RETRAINED | {"steps": 28 * 3}, 0)
    left_out = {kind: found["given"][kind] - found["seen"][kind] for kind in seen.KINDS}
    assert all(0 <= count <= 1 for count in left_out.values())  # of a short last batch


def test_means_over_the_runs_by_object(repository, monkeypatch, capsys):
    monkeypatch.setattr(seen, "FOLDER", repository / "figures/benchmarks")
    for name, train in (("seed0", 300), ("seed1", 320), ("seed0-winter10", 500), ("seed0-sequence", 500)):
        folder = repository / "figures/embedded/metrics" / name
        about = {"after": {"train": train, "classes": {"car": {"train": 120}}}}
        runs.write_json(folder / "data.json", about)
        runs.write_json(folder / "retraining.json", RETRAINED | {"arms": [*ARMS, "winter_part", "classic"]})
    assert seen.main(["embedded"]) == 0
    found = runs.read_json(repository / "figures/benchmarks/seen_embedded.json")
    assert found["runs"] == ["seed0", "seed1"] and found["pictures"] == 160
    assert set(found["arms"]) == set(ARMS)
    assert found["arms"]["continued"]["given"] == {"summer": 310, "cars": 0, "others": 0}
    cars = [seen.seen_by("winter", ABOUT | {"after": ABOUT["after"] | {"train": n}}, RETRAINED, seed)
            for seed, n in enumerate((300, 320))]  # fmt: skip
    assert found["arms"]["winter"]["seen"]["cars"] == np.mean([one["seen"]["cars"] for one in cars])
    assert "control: 160 of 310 / 0 of 0 / 0 of 0" in capsys.readouterr().out


def test_bad_input_is_one_line(repository, capsys):
    assert seen.main(["embedded"]) == 2 and "no run by object" in capsys.readouterr().err
    assert seen.main(["nothing"]) == 2 and "PROFILE" in capsys.readouterr().err
    for name, steps in (("seed0", 10), ("seed1", 11)):
        folder = repository / "figures/embedded/metrics" / name
        runs.write_json(folder / "data.json", ABOUT)
        runs.write_json(folder / "retraining.json", RETRAINED | {"steps": steps, "arms": ["continued"]})
    assert seen.main(["embedded"]) == 2 and "[160, 176] pictures" in capsys.readouterr().err
