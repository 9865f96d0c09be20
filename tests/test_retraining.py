"""What the arms add, and which arms a profile may choose."""

import numpy as np
import pytest

from lib.arms import ARMS, check_arms
from lib.retraining import Material, additions, classic, repeated
from lib.runs import InputError
from lib.visdrone import CAR


@pytest.fixture
def material():
    random = np.random.default_rng(0)
    winter, synthetic, others = (random.integers(0, 256, (n, 32, 32, 3), np.uint8) for n in (4, 10, 3))
    labels = np.array([0, 3, 5])
    return Material(winter, synthetic, others, labels, lambda images: 255 - images, seed=1)


@pytest.mark.parametrize(("arm", "cars"), [
    ("continued", 0), ("winter", 4), ("oversampled", 10), ("classic", 10), ("reconstructions", 10),
    ("vae_transfer", 10), ("winter_and_vae", 14), ("vae_recoloured", 10),
])  # fmt: skip
def test_every_arm_adds_its_cars(material, arm, cars):
    parts = additions(arm, material)
    assert all(images.dtype == np.uint8 and images.shape[1:] == (32, 32, 3) for images, _ in parts)
    assert all(len(images) == len(labels) for images, labels in parts)
    labels = np.concatenate([labels for _, labels in parts]) if parts else np.array([])
    assert (labels == CAR).sum() == cars
    assert sorted(labels[labels != CAR]) == ([0, 3, 5] if arm == "vae_recoloured" else [])


def test_arms_take_what_their_names_say(material):
    (cars,) = [images for images, _ in additions("oversampled", material)]
    assert np.array_equal(cars, material.winter[[0, 1, 2, 3, 0, 1, 2, 3, 0, 1]])
    (cars,) = [images for images, _ in additions("reconstructions", material)]
    assert np.array_equal(cars, 255 - material.winter[[0, 1, 2, 3, 0, 1, 2, 3, 0, 1]])
    cars = [images for images, _ in additions("winter_and_vae", material)]
    assert np.array_equal(np.concatenate(cars), np.concatenate([material.winter, material.synthetic]))


def test_fewer_reconstructions_than_winter_cars_are_of_the_first_of_them(material):
    ((cars, _),) = additions("reconstructions", material._replace(synthetic=material.synthetic[:2]))
    assert np.array_equal(cars, 255 - material.winter[:2])


def test_every_arm_but_the_classifier_before_can_be_retrained(material):
    for arm in set(ARMS) - {"none"}:
        additions(arm, material)
    with pytest.raises(KeyError):
        additions("none", material)


def test_classic_augmentation_changes_each_image_by_itself():
    stripes = np.zeros((1, 32, 32, 3), np.uint8)
    stripes[:, :, 8:20] = (200, 120, 60)
    one, two = classic(stripes, 12, seed=3), classic(stripes, 12, seed=3)
    assert np.array_equal(one, two) and not np.array_equal(one, classic(stripes, 12, seed=4))
    assert len(np.unique(one, axis=0)) == 12 and one.dtype == np.uint8 and one.shape == (12, 32, 32, 3)
    # colours move by at most a fifth three times, and most of the picture is still there
    assert (np.abs(one.astype(int).mean((1, 2, 3)) - stripes.mean()) < 0.7 * stripes.mean()).all()
    import torch

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
