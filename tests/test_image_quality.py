"""Known answers for the measures of a single image."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from benchmarks import image_score
from lib import image_quality as iq
from lib.runs import InputError
from tests.test_quality import pictures


def test_realism_of_known_balls():
    # four points on a line, 1 apart; k = 1: every ball has radius 1, whitened or not
    real = iq.Manifold(np.zeros(1), np.eye(1), np.array([[0.0], [1.0], [2.0], [3.0]]), np.ones(4))
    found = iq.realism(np.array([[0.5], [5.0], [13.0]]), real)
    assert found == pytest.approx([2, 0.5, 0.1])
    assert np.isinf(iq.realism(np.array([[2.0]]), real))  # a copy


def test_a_manifold_is_whitened_and_keeps_the_smaller_balls():
    random = np.random.default_rng(0)
    points = random.normal(size=(300, 3)) * [1, 100, 0.1]  # units must not matter
    real = iq.manifold(points, kept=1.0)
    white = (points - points.mean(0)) @ real.basis
    assert np.cov(white.T) == pytest.approx(np.eye(3), abs=1e-6)
    # the radius is the distance to the third nearest other point, as by brute force
    distances = np.linalg.norm(white[:, None] - white[None], axis=2)
    radii = np.sort(distances, axis=1)[:, iq.NEIGHBOURS]
    assert np.sort(real.radii) == pytest.approx(np.sort(radii)[:150], rel=1e-5)


def test_new_points_of_the_same_kind_are_realistic_and_others_are_not():
    random = np.random.default_rng(1)
    real = iq.manifold(random.normal(size=(600, 4)))
    same, far = iq.realism(random.normal(size=(200, 4)), real), iq.realism(np.full((1, 4), 8.0), real)
    assert np.median(same) > 0.5 > 0.2 > far[0]


def test_too_few_real_images_are_refused():
    with pytest.raises(ValueError, match="more than 6 rows"):
        iq.manifold(np.zeros((6, 2)))


@pytest.mark.parametrize("kind", iq.DEGRADATIONS)
def test_degradations_grow_and_repeat(kind):
    images, others = pictures(12), pictures(30, seed=1)
    steps = [iq.degrade(images, kind, strength, others).astype(float) for strength in range(iq.STRENGTHS + 1)]
    assert np.array_equal(steps[0], images)
    changed = [np.abs(step - images).mean() for step in steps]
    assert all(np.diff(changed) > 0), changed
    assert np.array_equal(steps[4], iq.degrade(images, kind, 4, others))
    assert not np.array_equal(steps[4], iq.degrade(images, kind, 4, others, seed=1)) or kind == "blur"
    with pytest.raises(ValueError, match="0 to 6"):
        iq.degrade(images, kind, 7, others)


def test_an_occlusion_covers_its_square_and_nothing_else():
    images, others = np.zeros((5, 32, 32, 3), np.uint8), np.full((3, 32, 32, 3), 255, np.uint8)
    made = iq.degrade(images, "occlusion", 4, others)
    assert ((made == 255).all(-1).sum((1, 2)) == 12 * 12).all() and np.isin(made, (0, 255)).all()


def test_rank_correlations_as_scipy():
    scores = np.random.default_rng(0).normal(size=(20, 6)).round(1)  # with ties
    expected = [spearmanr(row, np.arange(6)).statistic for row in scores]
    assert iq.rank_correlations(scores) == pytest.approx(expected)
    assert iq.rank_correlations(np.zeros((1, 6)))[0] == 0  # the same score everywhere says nothing


def test_validate_tells_a_score_that_falls_from_one_that_does_not():
    images, others = pictures(10), pictures(10, seed=3)

    def likeness(made):  # to the images themselves
        return -np.abs(made.astype(float) - images).mean((1, 2, 3))

    found = iq.validate(images, others, likeness)
    assert set(found) == set(iq.DEGRADATIONS)
    assert all(entry["rank_correlation"] == pytest.approx(-1) for entry in found.values())
    assert all(len(entry["medians"]) == 7 and entry["medians"][0] == 0 for entry in found.values())

    def upside_down(made):  # the intact image is the worst
        return np.where((made == images).all((1, 2, 3)), -999.0, likeness(made))

    wrong = iq.validate(images, others, upside_down)
    assert all(entry["rank_correlation"] > -0.9 for entry in wrong.values())  # the unspoilt one counts too
    with pytest.raises(InputError, match="found 0 images"):
        iq.validate(images[:0], others, likeness)
    constant = iq.validate(images, others, lambda made: np.zeros(len(made)))
    assert all(entry["rank_correlation"] == 0 for entry in constant.values())


def test_examples_of_every_degradation_and_strength_in_equal_numbers():
    images, others = pictures(9), pictures(9, seed=2)
    made, labels = iq.spoilt_examples(images, others, 100)
    counts = np.bincount(labels)
    assert len(counts) == iq.CRITIC_CLASSES == 25 and set(counts) == {4} and made.shape == (100, 32, 32, 3)
    intact = made[labels == 0]
    assert all((images == one).all((1, 2, 3)).any() for one in intact)
    assert not any((images == one).all((1, 2, 3)).any() for one in made[labels > 0])
    again, other_seed = (iq.spoilt_examples(images, others, 100, seed)[0] for seed in (0, 1))
    assert np.array_equal(made, again) and not np.array_equal(made, other_seed)


def test_spoilage_is_the_expected_strength():
    sure = np.eye(iq.CRITIC_CLASSES)
    assert iq.spoilage(sure).tolist() == [0, *[1, 2, 3, 4, 5, 6] * 4]
    assert iq.spoilage((sure[:1] + sure[6:7]) / 2) == pytest.approx([3])


def test_a_score_without_a_run_names_the_command(repository, capsys):
    assert image_score.main([str(repository / "runs/embedded/seed0")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "division.npz" in error and "make reproduce" in error
