"""What the arms add, and which arms a profile may choose."""

import numpy as np
import pytest
import torch

from lib.arms import ARMS, check_arms, check_starts
from lib.models import build_classifier
from lib.retraining import Material, additions, classic, forget_car, repeated, share_to_keep, training_set
from lib.runs import InputError
from lib.visdrone import CAR


@pytest.fixture
def material():
    random = np.random.default_rng(0)
    sizes = (4, 10, 10, 10, 3, 3)
    winter, new, scratch, best, others, white = (
        random.integers(0, 256, (n, 32, 32, 3), np.uint8) for n in sizes
    )
    labels = np.array([0, 3, 5])
    return Material(winter, new, scratch, best, others, labels, white, lambda images: 255 - images,
                    lambda count: np.full((count, 32, 32, 3), 9, np.uint8), seed=1)  # fmt: skip


TRAINED = [name for name, arm in ARMS.items() if name != "none" and not arm.of]  # not those in part


@pytest.mark.parametrize(("arm", "cars"), [
    ("continued", 0), ("winter", 4), ("oversampled", 10), ("classic", 10), ("reconstructions", 10),
    ("vae_transfer", 10), ("winter_and_vae", 14), ("vae_recoloured", 10), ("vae_scratch", 10),
    ("vae_selected", 10), ("vae_only", 10), ("oversampled_recoloured", 10), ("vae_decoder", 10),
])  # fmt: skip
def test_every_arm_adds_its_cars(material, arm, cars):
    parts = additions(arm, material)
    assert all(images.dtype == np.uint8 and images.shape[1:] == (32, 32, 3) for images, _ in parts)
    assert all(len(images) == len(labels) for images, labels in parts)
    labels = np.concatenate([labels for _, labels in parts]) if parts else np.array([])
    assert (labels == CAR).sum() == cars
    assert sorted(labels[labels != CAR]) == ([0, 3, 5] if arm.endswith("recoloured") else [])


def test_arms_take_what_their_names_say(material):
    (cars,) = [images for images, _ in additions("oversampled", material)]
    assert np.array_equal(cars, material.winter[[0, 1, 2, 3, 0, 1, 2, 3, 0, 1]])
    (cars,) = [images for images, _ in additions("reconstructions", material)]
    assert np.array_equal(cars, 255 - material.winter[[0, 1, 2, 3, 0, 1, 2, 3, 0, 1]])
    assert (additions("vae_decoder", material)[0][0] == 9).all()
    for arm, others in (("vae_recoloured", material.recoloured),
                        ("oversampled_recoloured", material.recoloured_winter)):  # fmt: skip
        assert np.array_equal(additions(arm, material)[1][0], others)
    cars = [images for images, _ in additions("winter_and_vae", material)]
    assert np.array_equal(np.concatenate(cars), np.concatenate([material.winter, material.synthetic]))


def test_only_one_arm_takes_the_known_cars_away(material):
    random = np.random.default_rng(1)
    images, labels = random.integers(0, 256, (12, 32, 32, 3), np.uint8), np.arange(12) % 6
    for arm in TRAINED:
        found, truth = training_set(arm, images, labels, material)
        known = 10 if arm == "vae_only" else 12
        assert np.array_equal(found[:known], images[labels != CAR] if arm == "vae_only" else images)
        added = sum(len(part) for part, _ in additions(arm, material))
        assert len(found) == len(truth) == known + added
    for arm, own in (("vae_scratch", material.scratch), ("vae_selected", material.selected)):
        assert np.array_equal(training_set(arm, images, labels, material)[0][-10:], own)
    found, truth = training_set("vae_only", images, labels, material)
    assert np.array_equal(found[truth == CAR], material.synthetic)


def test_a_classifier_that_forgot_cars_says_car_of_nothing_more_than_of_the_rest():
    torch.manual_seed(0)
    model = build_classifier(width=8).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fresh = forget_car(before)
    changed = [name for name in before if not torch.equal(before[name], fresh[name])]
    assert changed == ["output.weight", "output.bias"]
    x = torch.rand(5, 3, 32, 32)
    others = [k for k in range(6) if k != CAR]
    with torch.no_grad():
        old = model(x)
        model.load_state_dict(fresh)
        new = model(x)
    assert torch.equal(new[:, others], old[:, others])
    assert torch.allclose(new[:, CAR], old[:, others].mean(1), atol=1e-5)
    assert (new.argmax(1) != CAR).all()


def test_fewer_reconstructions_than_winter_cars_are_of_the_first_of_them(material):
    ((cars, _),) = additions("reconstructions", material._replace(synthetic=material.synthetic[:2]))
    assert np.array_equal(cars, 255 - material.winter[:2])


def test_every_arm_but_the_classifier_before_can_be_retrained(material):
    for arm in TRAINED:
        additions(arm, material)
    for arm in set(ARMS) - set(TRAINED):
        with pytest.raises(KeyError):
            additions(arm, material)


def values(winter_cars, winter_noncars=0.2, summer_noncars=0.05, summer_cars=0.97):
    return {"winter_car_recall": winter_cars, "winter_noncar_called_car": winter_noncars,
            "noncar_called_car": summer_noncars, "car_recall": summer_cars}  # fmt: skip


@pytest.mark.parametrize(("measured", "share"), [  # of all but the last one keeps to the limits
    ({0.25: values(0.8), 0.5: values(0.9), 1.0: values(0.85)}, 0.5),  # the highest recall
    ({0.5: values(0.9), 0.25: values(0.9)}, 0.25),  # of equals the smaller
    ({0.25: values(0.8), 1.0: values(0.99, winter_noncars=0.23)}, 0.25),  # more than two points more
    ({0.25: values(0.8), 1.0: values(0.99, winter_noncars=0.22)}, 1.0),  # two points, by rounding or not
    ({0.25: values(0.8), 1.0: values(0.99, summer_noncars=0.08)}, 0.25),
    ({0.25: values(0.8), 1.0: values(0.99, summer_cars=0.95)}, 0.25),
    ({0.5: values(0.9, summer_cars=0.95), 1.0: values(0.99, summer_cars=0.9)}, 0.0),  # none does: nothing
])  # fmt: skip
def test_how_much_of_a_retraining_is_kept(measured, share):
    kept = share_to_keep(measured, values(0.7))
    assert kept == (share, any(one["car_recall"] > 0.95 for one in measured.values()))


@pytest.mark.parametrize("shares", [[], [0.0, 0.5], [25, 50]])
def test_shares_that_cannot_be(shares):
    with pytest.raises(InputError, match="^shares: found "):
        share_to_keep({share: values(0.8) for share in shares}, values(0.7))


def test_an_arm_in_part_needs_the_whole():
    assert check_arms(["vae_transfer_part", "continued", "vae_transfer"]) == [
        "continued", "vae_transfer", "vae_transfer_part",
    ]  # fmt: skip
    with pytest.raises(InputError, match="found arm 'vae_transfer_part', expected 'vae_transfer' too"):
        check_arms(["continued", "vae_transfer_part"])
    for name, arm in ARMS.items():
        whole = ARMS.get(arm.of)
        assert not arm.of or (whole.samples == arm.samples and arm.label == f"{whole.label}, in part"), name


def test_classic_augmentation_changes_each_image_by_itself():
    stripes = np.zeros((1, 32, 32, 3), np.uint8)
    stripes[:, :, 8:20] = (200, 120, 60)
    one, two = classic(stripes, 12, seed=3), classic(stripes, 12, seed=3)
    assert np.array_equal(one, two) and not np.array_equal(one, classic(stripes, 12, seed=4))
    assert len(np.unique(one, axis=0)) == 12 and one.dtype == np.uint8 and one.shape == (12, 32, 32, 3)
    # colours move by at most a fifth three times, and most of the picture is still there
    assert (np.abs(one.astype(int).mean((1, 2, 3)) - stripes.mean()) < 0.7 * stripes.mean()).all()
    torch.manual_seed(0)
    before = torch.rand(1)
    torch.manual_seed(0)
    classic(stripes, 2, seed=3)
    assert torch.equal(torch.rand(1), before)  # nobody else's random numbers


def test_repeated():
    assert repeated(np.arange(3), 7).tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert repeated(np.arange(3), 2).tolist() == [0, 1]


def test_arms_of_a_profile_are_in_the_order_of_table_2():
    assert check_arms(["vae_transfer", "winter", "continued"]) == ["continued", "winter", "vae_transfer"]
    assert len({arm.weights for arm in ARMS.values()}) == len(ARMS)


@pytest.mark.parametrize(("names", "found"), [
    (["continued", "winer"], "found arm 'winer', expected one of continued, winter"),
    (["none", "continued"], "found arm 'none', expected one of continued"),
    (["vae_transfer"], "found arms vae_transfer, expected each arm once, and continued"),
    (["continued", "winter", "winter"], "found arms continued, winter, winter, expected each arm once"),
    ([], "found arms without a name, expected each arm once"),
])  # fmt: skip
def test_arms_that_cannot_be_chosen(names, found):
    with pytest.raises(InputError, match=f"^a.yaml:3: {found}"):
        check_arms(names, "a.yaml", 3)


def test_a_variant_needs_no_control_of_its_own():
    assert check_arms(["winter"], numbers=["n_winter"]) == ["winter"]
    arms = ["continued", "winter", "vae_transfer"]
    assert check_arms(arms, numbers=["n_winter"]) == ["winter", "vae_transfer"]
    assert check_arms(arms, numbers=["n_winter", "n_synthetic"]) == ["vae_transfer"]
    for names, numbers in (([], ["n_winter"]), (["continued"], ["n_winter"]), (["winter"], ["n_synthetic"])):
        with pytest.raises(InputError, match="expected one at least that"):
            check_arms(names, numbers=numbers)


def test_starts_of_the_autoencoder():
    assert check_starts(["scratch", "transferred"]) == ["transferred", "scratch"]
    for names, message in ((["scratch"], "found starts scratch"), (["transferred"] * 2, "each start once"),
                           (["transferred", "x"], "found start 'x'"), ([], "without a name")):  # fmt: skip
        with pytest.raises(InputError, match=message):
            check_starts(names, "a.yaml", 2)
