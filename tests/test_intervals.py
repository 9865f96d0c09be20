"""Known answers: intervals of shares, of differences and over seeds."""

import math

import numpy as np
import pytest
from scipy import stats

from lib.division import SHARES
from lib.intervals import (
    RESAMPLED,
    bootstrap_at_share,
    bootstrap_by_sequence,
    over_seeds,
    ratio_of_means,
    ratio_over_seeds,
    share,
    student,
    wilson,
)  # fmt: skip

CAR, BUS, TRUCK = 1, 0, 5


@pytest.mark.parametrize("k, n", [(0, 10), (1, 10), (81, 263), (10, 10), (500, 811)])
def test_wilson_agrees_with_scipy(k, n):
    expected = stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert wilson(k, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_published_values():
    # Newcombe 1998 (Statistics in Medicine 17, table I), method 3
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


def test_wilson_edges():
    assert wilson(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="3 of 2"):
        wilson(3, 2)


def test_bootstrap_equal_sequences_have_no_spread():
    hits, sequences = np.tile([1, 0], 20), np.repeat(np.arange(20), 2)
    assert bootstrap_by_sequence(hits, np.ones(40), sequences) == (0.5, 0.5)


def test_bootstrap_one_item_a_sequence_is_binomial():
    hits = np.r_[np.ones(70), np.zeros(30)]
    low, high = bootstrap_by_sequence(hits, np.ones(100), np.arange(100), draws=20000)
    assert (low, high) == pytest.approx(tuple(stats.binom.ppf([0.025, 0.975], 100, 0.7) / 100), abs=0.0101)


def test_bootstrap_is_wider_for_alike_objects_and_ignores_order():
    generator = np.random.default_rng(3)
    sequences = np.repeat([f"{k:07d}" for k in range(10)], 30)
    hits = np.repeat(generator.random(10) < 0.5, 30)
    low, high = bootstrap_by_sequence(hits, np.ones(300), sequences)
    narrow = wilson(int(hits.sum()), 300)
    assert high - low > 3 * (narrow[1] - narrow[0])
    order = generator.permutation(300)
    assert bootstrap_by_sequence(hits[order], np.ones(300), sequences[order]) == (low, high)
    uneven = generator.random(300) < 0.5
    found = [bootstrap_by_sequence(uneven, np.ones(300), sequences, seed=k) for k in (0, 0, 1)]
    assert found[0] == found[1] != found[2]


def test_bootstrap_of_a_paired_difference():
    before, after = np.tile([1, 0, 0], 10), np.tile([1, 1, 0], 10)
    low, high = bootstrap_by_sequence(after - before, np.ones(30), np.repeat(np.arange(10), 3))
    assert (low, high) == pytest.approx((1 / 3, 1 / 3))


def test_bootstrap_refuses_nothing():
    with pytest.raises(ValueError, match="found 0, 0 and 0 items"):
        bootstrap_by_sequence([], [], [])
    with pytest.raises(ValueError, match="no draw with a denominator"):
        bootstrap_by_sequence([0, 0], [0, 0], ["a", "b"])


def test_share_falls_back_to_wilson():
    hits, of = np.array([1, 0, 1, 1], bool), np.ones(4, bool)
    assert share(hits, of)[1:3] == wilson(3, 4)
    assert share(hits, of, np.array(list("aaaa")))[1:3] == wilson(3, 4)  # one sequence
    assert share(hits, of, np.array(list("abab")))[1:3] != wilson(3, 4)
    assert share(of, of, np.array(list("abcd")))[1:3] == wilson(4, 4)  # all: no false certainty
    assert share(hits, ~of) == (0.0, 0.0, 1.0, 0, 0)


def test_few_sequences_have_students_interval():
    names = np.repeat(["a", "b", "c", "d"], 50)
    hits = np.concatenate([np.arange(50) < k for k in (25, 30, 40, 45)])
    found = share(hits, np.ones(200, bool), names)
    half = stats.t.ppf(0.975, 3) * np.std([0.5, 0.6, 0.8, 0.9], ddof=1) / 2
    assert found.value == 0.7 and (found.low, found.high) == pytest.approx((0.7 - half, 0.7 + half))
    assert share(hits[:100], np.ones(100, bool), names[:100])[1:3] == (0.0, 1.0)  # two: next to nothing known
    alike = np.tile(np.arange(50) < 30, 4)  # no spread between them is no certainty
    assert share(alike, np.ones(200, bool), names)[1:3] == wilson(120, 200)


@pytest.mark.parametrize("recordings", [3, 6, 26])
def test_intervals_by_recording_hold_what_they_promise(recordings):
    """Objects of one recording alike: at least 88 of 100 intervals of 95 % hold the truth."""
    random, covered, trials = np.random.default_rng(5), 0, 300
    names = np.repeat(np.arange(recordings), 40)
    for _ in range(trials):
        chance = random.beta(7.2, 1.8, recordings)  # mean 0.8, correlation 0.1 within a recording
        found = share(random.random(len(names)) < chance[names], np.ones(len(names), bool), names, 300)
        covered += found.low <= 0.8 <= found.high
    assert covered >= 0.88 * trials


def test_ratio_and_mean_of_no_spread():
    ratio, *interval = ratio_over_seeds([0.1, 0.1], [0.2, 0.2])
    assert ratio == pytest.approx(0.5) and all(math.isnan(x) for x in interval)
    assert all(math.isnan(x) for x in ratio_over_seeds([0.0], [0.0]))
    mean, sd, *interval = over_seeds([0.3, 0.1 + 0.2])
    assert mean == pytest.approx(0.3) and sd == 0 and all(math.isnan(x) for x in interval)


def test_a_ratio_of_unequal_units_is_linearised():
    tops, bottoms = np.array([9, 3, 40]), np.array([10, 10, 50])
    error = (tops - 52 / 70 * bottoms) / bottoms.mean()
    half = stats.t.ppf(0.975, 2) * error.std(ddof=1) / 3**0.5
    assert ratio_of_means(tops, bottoms) == pytest.approx((52 / 70, 52 / 70 - half, 52 / 70 + half))


def test_what_seeds_share_is_what_the_parts_are():
    assert RESAMPLED == pytest.approx(SHARES[2] / SHARES[0])


def test_seeds_of_one_data_set_have_wider_intervals_than_independent_numbers():
    values = [0.1, 0.2, 0.4]
    _, sd, low, high = over_seeds(values)
    _, _, near, far = student(values)
    assert (high - low) / (far - near) == pytest.approx((1 + 3 / 8) ** 0.5)
    assert ratio_over_seeds(values, [1, 1, 1])[1:] == pytest.approx((low, high))
    assert ratio_of_means(values, [1, 1, 1])[1:] == pytest.approx((near, far))


@pytest.mark.parametrize("recordings", [4, 9])
def test_at_an_equal_share_few_recordings_hold_what_they_promise(recordings):
    """Recordings differ; about 95 of 100 intervals hold the share at the true threshold."""
    random, covered, trials, each = np.random.default_rng(3), 0, 200, 30
    many = random.normal(0, 1, 200_000) + random.normal(0, 0.5, 200_000)
    true = (many + 1 > np.quantile(many, 0.8)).mean()
    names = np.repeat(np.arange(recordings), each)
    for _ in range(trials):
        own = random.normal(0, 0.5, (2, recordings))
        cars, others = (random.normal(m, 1, len(names)) + own[m][names] for m in (1, 0))
        low, high = bootstrap_at_share(cars, others, 0.2, names, names, draws=300)
        covered += low <= true <= high
    assert 0.89 * trials <= covered <= 0.98 * trials
