"""The automatic loop: which classes are weak, what is kept, what is given back; the ensemble behind it."""

import numpy as np
import pytest
import torch

from lib import ensemble, weak_classes
from lib.acceleration import choose_path
from lib.autoencoding import Objective
from lib.batches import Schedule
from lib.intervals import wilson
from lib.models import build_classifier
from lib.runs import InputError
from lib.visdrone import CLASSES
from lib.weak_classes import Rule
from lib.weights import between

RULE = Rule(gap=0.1, tolerance=0.02, fewest=20)


def part(domain, n=50):
    """`n` images of each class that say what they are: class, domain and number in three pixels."""
    images = np.zeros((n * len(CLASSES), 32, 32, 3), np.uint8)
    labels = np.repeat(np.arange(len(CLASSES)), n)
    images[:, 0, 0] = np.stack([labels, np.full(len(labels), domain), np.tile(np.arange(n), len(CLASSES))], 1)
    return images, labels


VALID = {"source": part(0), "target": part(1)}


def predictor(mistakes):
    """Answers that are wrong for the first k images of a class in a domain: {(class, domain): k}."""

    def predict(images):
        label, domain, number = images[:, 0, 0].astype(int).T
        wrong = np.array([n < mistakes.get((c, d), 0) for c, d, n in zip(label, domain, number, strict=True)])
        return np.where(wrong, (label + 1) % len(CLASSES), label)

    return predict


def retrains(after):
    """A retraining, of any dose, after which these are the mistakes."""
    return lambda new, dose: lambda share: predictor(after(dose, share))


def nothing(classes, count):
    return np.empty((0, 32, 32, 3), np.uint8), np.empty(0, int)


def test_recalls_by_class_and_domain():
    found = weak_classes.recalls(predictor({(1, 1): 20, (3, 0): 5}), VALID)
    assert found["target"]["car"]["recall"] == 0.6 and found["source"]["car"]["recall"] == 1.0
    assert found["source"][CLASSES[3]]["recall"] == 0.9 and found["target"]["car"]["n"] == 50
    assert found["target"]["car"]["low"] < 0.6 < found["target"]["car"]["high"]
    few = {"source": part(0), "target": tuple(x[:50] for x in part(1))}
    assert list(weak_classes.recalls(predictor({}), few)["target"]) == [CLASSES[0]]


def test_weak_are_those_that_lose_more_than_the_gap_the_worst_first():
    mistakes = {(1, 1): 10, (4, 1): 30, (5, 1): 5, (2, 0): 30, (2, 1): 30}
    found = weak_classes.recalls(predictor(mistakes), VALID)
    assert weak_classes.weak_classes(found, RULE) == [CLASSES[4], CLASSES[1]]  # 5: just the gap; 2: always
    few = {"source": VALID["source"], "target": part(1, n=19)}
    assert weak_classes.weak_classes(weak_classes.recalls(predictor({(1, 1): 19}), few), RULE) == []


def test_a_gap_or_gain_of_nothing_but_rounding_is_none():
    def measured(**target):
        return {"source": {name: {"recall": value, "n": 30} for name, value in (("car", 0.8), ("bus", 0.9))},
                "target": {name: {"recall": value, "n": 30} for name, value in target.items()}}  # fmt: skip

    assert weak_classes.weak_classes(measured(car=0.7, bus=0.8), RULE) == []  # 0.8 - 0.7 is more than 0.1
    before, after = measured(car=5 / 30, bus=5 / 30), measured(car=6 / 30, bus=4 / 30)
    found = weak_classes.judge(before, after, ["car", "bus"], RULE)
    assert abs(found["gain"]) < 1e-12 and not found["accepted"] and not found["losses"]


def test_of_few_objects_a_loss_counts_that_their_number_does_not_explain():
    def measured(car, bus):
        low, high = zip(*(wilson(round(share * n), n) for share, n in ((car, 50), (bus, 19))), strict=True)
        return {domain: {"car": {"recall": car, "n": 50, "low": low[0], "high": high[0]},
                         "bus": {"recall": bus, "n": 19, "low": low[1], "high": high[1]}}
                for domain in ("source", "target")}  # fmt: skip

    before = measured(0.8, 17 / 19)
    for right, lost in ((15, 0), (1, 2)):  # two fewer of 19, or nearly all of them, in both domains
        found = weak_classes.judge(before, measured(0.9, right / 19), ["car"], RULE)
        assert len(found["losses"]) == lost and found["accepted"] is (lost == 0)


def test_the_first_dose_that_hurts_nobody_is_kept():
    made, started = [], predictor({(1, 1): 20})
    after = {100: {(1, 1): 0, (5, 0): 2}, 50: {(1, 1): 10, (5, 0): 1}, 25: {(1, 1): 15}}  # 2 of 50: too many

    def make(classes, count):
        made.append((classes, count))
        return nothing(classes, count)

    report = weak_classes.improve(started, VALID, make, retrains(lambda dose, _: after[dose]),
                                  [100, 50, 25], RULE)  # fmt: skip
    assert made == [(["car"], 100), (["car"], 50)]
    assert report["weak"] == ["car"] and report["accepted"] == {"dose": 50, "share": 1.0}
    first, second = report["tries"]
    assert not first["accepted"] and first["gain"] == pytest.approx(0.4)
    (lost,) = first["losses"]
    assert (lost["domain"], lost["class"]) == ("source", CLASSES[5])
    assert lost["change"] == pytest.approx(-0.04)
    assert second["accepted"] and second["gain"] == pytest.approx(0.2) and second["losses"] == []


def test_of_a_retraining_the_best_share_that_hurts_nobody_is_kept():
    after = {1.0: {(5, 0): 9}, 0.75: {(1, 1): 8, (5, 0): 1}, 0.5: {(1, 1): 6}, 0.25: {(1, 1): 12}}
    retrained = []

    def retrain(new, dose):
        retrained.append(dose)
        return lambda share: predictor(after[share])

    report = weak_classes.improve(predictor({(1, 1): 20}), VALID, nothing, retrain, [80, 40], RULE,
                                  shares=list(after))  # fmt: skip
    assert retrained == [80] and [one["share"] for one in report["tries"]] == list(after)
    assert [one["accepted"] for one in report["tries"]] == [False, True, True, True]
    assert report["accepted"] == {"dose": 80, "share": 0.5}


def test_counterweights_come_as_often_as_in_the_source_domain():
    images, labels = part(1, n=10)
    keep = labels != 2  # a class without target images
    usual = np.repeat(np.arange(len(CLASSES)), [40, 100, 50, 20, 7, 60])
    weak = [CLASSES[3], CLASSES[5]]  # 40 in the mean
    beside, named = weak_classes.counterweights((images[keep], labels[keep]), usual, weak, 20)
    assert np.bincount(named, minlength=6).tolist() == [20, 50, 0, 0, 4, 0]
    assert np.array_equal(beside[:, 0, 0, 0], named) and set(beside[:, 0, 0, 1]) == {1}
    assert np.bincount(beside[named == 1][:, 0, 0, 2]).tolist() == [5] * 10  # repeated in turn
    none, no_labels = weak_classes.counterweights((images[:0], labels[:0]), usual, weak, 20)
    assert none.shape == (0, 32, 32, 3) and len(no_labels) == 0


def test_between_two_states():
    before = build_classifier(groups=4, width=8, compression=0.8).state_dict()
    after = {name: tensor + 2 for name, tensor in before.items()}
    half = between(before, after, 0.5)
    moved = [name for name in half if half[name].is_floating_point()]
    assert all(torch.allclose(half[name], (before[name] + after[name]) / 2) for name in moved)
    counters = [name for name in half if not half[name].is_floating_point()]
    assert counters and all(torch.equal(half[name], after[name]) for name in counters)
    whole = between(before, after, 1.0)
    assert all(torch.equal(whole[name], after[name]) for name in after)


@pytest.mark.parametrize("after, why", [
    ({(1, 1): 20}, "nothing gained"), ({(1, 1): 25}, "worse"),
    ({(1, 1): 0, (0, 1): 2}, "another class in winter"),
    ({(1, 1): 0, (1, 0): 2}, "the weak class itself in summer"),
])  # fmt: skip
def test_what_is_not_better_is_not_kept(after, why):
    before = predictor({(1, 1): 20})
    report = weak_classes.improve(before, VALID, nothing, retrains(lambda *_: after), [9], RULE)
    assert report["accepted"] is None and len(report["tries"]) == 1, why


def test_without_a_weak_class_nothing_is_made():
    def fail(*_):
        raise AssertionError("nothing is weak")

    report = weak_classes.improve(predictor({}), VALID, fail, fail, [10], RULE)
    assert (report["weak"], report["tries"], report["accepted"]) == ([], [], None)


def test_a_weak_class_without_crops_to_learn_from_is_said():
    asked = []

    def make(classes, count):
        asked.append(classes)
        return nothing(classes, count)

    before = predictor({(1, 1): 20, (4, 1): 30})
    report = weak_classes.improve(before, VALID, make, lambda *_: lambda _: before, [5], RULE, ["car", "bus"])
    assert (report["weak"], report["out_of_reach"], asked) == (["car"], [CLASSES[4]], [["car"]])
    target, heldout = np.repeat([1, 2, 3], [8, 7, 9]), np.array([1, 2])
    assert ensemble.able(target, heldout) == ["car"]


def test_bad_input_of_the_loop():
    for doses in ([], [10, 0]):
        with pytest.raises(InputError, match="^doses: found "):
            weak_classes.improve(predictor({}), VALID, nothing, nothing, doses, RULE)
    for shares in ([], [1.0, 0.0], [1.5]):
        with pytest.raises(InputError, match="^shares: found "):
            weak_classes.improve(predictor({}), VALID, nothing, nothing, [1], RULE, shares=shares)
    with pytest.raises(InputError, match="^validation parts: found source, expected source and target"):
        weak_classes.improve(predictor({}), {"source": VALID["source"]}, nothing, nothing, [1], RULE)


@pytest.fixture(scope="module")
def members():
    """Two members, one of two classes, trained for a few steps of the smallest template."""
    random = np.random.default_rng(0)
    labels = np.repeat([1, 4, 5], 12)
    target, source, heldout = ((random.integers(0, 256, (36, 32, 32, 3), np.uint8), labels) for _ in range(3))
    numbers = {"groups": 4, "width": 8, "compression": 0.8}
    torch.manual_seed(0)
    recipe = ensemble.Recipe(Schedule(3, 8, 1e-3, 1), 2, [8, 4, 8], Objective(), numbers)
    path = choose_path("cpu", "float32", "contiguous", "off")
    given = (target, source, heldout, build_classifier(**numbers), recipe, path)
    return ensemble.train_ensemble([["car"], ["truck", "pedestrian"]], *given), given


def test_members_choose_their_latent_dimension(members):
    found, _ = members
    assert [m.classes for m in found] == [("car",), ("truck", "pedestrian")]
    for member in found:
        assert [row["latent_dim"] for row in member.search] == [4, 8]
        best = max(member.search, key=lambda row: row["elbo"])
        assert member.latent_dim == best["latent_dim"] == member.vae.encoder.mu.out_features
        assert set(member.heldout) == set(ensemble.SHOWN)
    assert [len(m.images) for m in found] == [12, 24]


def test_an_interrupted_ensemble_goes_on(members, tmp_path, monkeypatch):
    found, given = members
    trained, real = [], ensemble.train_vae

    def train(vae, images, schedule, **how):
        trained.append(how["title"])
        if how["title"] == "truck+pedestrian, 4 dimensions" and len(trained) < 5:
            raise KeyboardInterrupt
        return real(vae, images, schedule, **how)

    monkeypatch.setattr(ensemble, "train_vae", train)
    groups = [["car"], ["truck", "pedestrian"]]
    with pytest.raises(KeyboardInterrupt):
        ensemble.train_ensemble(groups, *given, tmp_path)
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert kept.keys() == {"car-4.pt", "car-8.pt", "car.pt"}
    again = ensemble.train_ensemble(groups, *given, tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in kept} == kept  # not trained again
    for one, two in zip(found, again, strict=True):
        assert one.search == two.search and one.heldout == two.heldout and one.latent_dim == two.latent_dim


def test_draws_in_stated_proportions(members):
    found, (*_, path) = members
    how = {"latent": "posterior", "spread": 1.0, "residual": 1.0}
    images, labels = ensemble.draw(found, 12, path, seed=3, **how)
    assert images.shape == (12, 32, 32, 3) and np.bincount(labels, minlength=6).tolist() == [0, 4, 0, 0, 4, 4]
    again, _ = ensemble.draw(found, 12, path, seed=3, **how)
    assert np.array_equal(images, again)
    _, labels = ensemble.draw(found, 10, path, proportions={"car": 3, "truck": 2, "pedestrian": 0}, **how)
    assert np.bincount(labels, minlength=6).tolist() == [0, 6, 0, 0, 0, 4]
    # around images of its own class: with no spread and all of the residual they are those images
    images, _ = ensemble.draw(found, 12, path, proportions={"car": 1, "truck": 0, "pedestrian": 0},
                              latent="posterior", spread=0.0, residual=1.0)  # fmt: skip
    real = found[0].images.reshape(12, -1).astype(int)
    nearest = np.abs(images.reshape(12, -1).astype(int)[:, None] - real[None]).max(2).min(1)
    assert (nearest <= 1).all()


def test_with_a_score_the_best_third_of_each_class_is_kept(members):
    found, (*_, path) = members
    how = {"latent": "posterior", "spread": 1.0, "residual": 0.0, "seed": 3}

    def brightness(images):
        return images.mean((1, 2, 3))

    images, labels = ensemble.draw(found, 12, path, score=brightness, **how)
    many, of = ensemble.draw(found, 36, path, **how)
    assert np.bincount(labels, minlength=6).tolist() == [0, 4, 0, 0, 4, 4]
    for label in (1, 4, 5):
        wanted = np.sort(brightness(many[of == label]))[-4:]
        assert np.array_equal(np.sort(brightness(images[labels == label])), wanted)
    assert not np.array_equal(images, ensemble.draw(found, 12, path, **how)[0])


@pytest.mark.parametrize("shares", [{"car": 1}, {"car": 0, "truck": 0, "pedestrian": 0},
                                    {"car": 1, "truck": -1, "pedestrian": 1}])  # fmt: skip
def test_proportions_that_cannot_be(members, shares):
    found, (*_, path) = members
    with pytest.raises(InputError, match="^proportions: found "):
        ensemble.draw(found, 4, path, proportions=shares, latent="posterior", spread=1.0)


@pytest.mark.parametrize("groups, message", [
    ([["lorry"]], "groups: found class 'lorry', expected one of"), ([["car"], ["car"]], "each class once"),
    ([], "none empty"), ([["car"], []], "none empty"),
    ([["bus"]], "target images of bus: found 0, expected at least 8"),
])  # fmt: skip
def test_groups_that_cannot_be(members, groups, message):
    with pytest.raises(InputError, match=message):
        ensemble.train_ensemble(groups, *members[1])


def test_crops_are_repeated_for_the_weak_classes_alone():
    target = part(1, n=4)
    images, labels = weak_classes.repeated_crops(target, [CLASSES[5], CLASSES[2]], 10)
    assert labels.tolist() == [5] * 10 + [2] * 10
    assert np.array_equal(images[:, 0, 0, 0], labels) and set(images[:, 0, 0, 1]) == {1}
    assert images[:10, 0, 0, 2].tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]  # in turn


def test_orders_differ_and_their_weights_are_averaged():
    given = []

    def train(name, seed):
        given.append((name, seed))
        return {"weight": torch.tensor([float(len(given))])}

    assert weak_classes.in_orders(train, 3, 7)["weight"].tolist() == [2.0]
    names, seeds = zip(*given, strict=True)
    assert names == ("0", "1", "2") and len(set(seeds)) == 3
    again = list(given)
    weak_classes.in_orders(train, 3, 7)
    assert given[3:] == again  # the same seed, the same orders
    weak_classes.in_orders(train, 2, 8)
    assert not {seed for _, seed in given[6:]} & set(seeds)


@pytest.mark.parametrize("doses, orders, said", [
    ([], 1, r"doses: found \[\]"), ([300.5], 1, r"doses: found \[300.5\]"), ([True], 1, "doses"),
    (["a"], 1, "doses"), ([5, 0], 1, "doses"), ([5], 0, r"orders: found \[0\]"), ([5], 1.5, "orders"),
])  # fmt: skip
def test_doses_and_orders_are_whole_numbers(doses, orders, said):
    with pytest.raises(InputError, match=f"{said}.*expected whole numbers from 1"):
        weak_classes.check_doses(doses, orders)
