"""Intervals of shares: Wilson's, the bootstrap by sequence, and Student's over seeds."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri, stdtrit  # scipy.stats takes two seconds to import

LEVEL = 0.95  # of every interval
DRAWS = 2000  # bootstrap draws
FEWEST_SEQUENCES = 30  # with fewer, resampled sequences give too narrow intervals: Student's over them
RESAMPLED = 1 / 8  # test part / training part of a seed: what the seeds of one data set share (`over_seeds`)
MOST_KEPT = 1000  # units of draws that are kept for the next measure: 8 MB
ROUNDING = 1e-9  # numbers that differ by less are equal but for rounding


class Measure(NamedTuple):
    """A share with its 95 % interval and its counts; value = numerator / denominator."""

    value: float
    low: float
    high: float
    numerator: int
    denominator: int


def wilson(k: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's score interval of k successes in n (Wilson 1927); (0, 1) for n = 0."""
    if not 0 <= k <= n:
        raise ValueError(f"found {k} of {n}, expected 0 <= k <= n")
    if n == 0:
        return 0.0, 1.0
    z = float(ndtri(0.5 + level / 2))
    share, scale = k / n, 1 + z * z / n
    middle = (share + z * z / (2 * n)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (0.0 if k == 0 else max(0.0, middle - half)), (1.0 if k == n else min(1.0, middle + half))


def _redrawn(units: int, draws: int, seed: int) -> np.ndarray:
    """How often each of so many units is in each draw with replacement, int32 (draws, units), read-only."""
    return (_kept if units <= MOST_KEPT else _kept.__wrapped__)(units, draws, seed)


@functools.lru_cache(maxsize=16)  # every arm and measure of a run draws the same ones
def _kept(units: int, draws: int, seed: int) -> np.ndarray:
    random = np.random.default_rng([seed, units])
    counts = random.multinomial(units, np.full(units, 1 / units), size=draws).astype(np.int32)
    counts.setflags(write=False)
    return counts


def bootstrap_by_sequence(numerator_per_item, denominator_per_item, sequences, draws: int = DRAWS,
                          seed: int = 0, level: float = LEVEL) -> tuple[float, float]:
    """Percentile interval of sum(numerator) / sum(denominator) when whole sequences are drawn anew.

    Objects of one sequence look alike, so the sequence is the unit (cluster bootstrap;
    Davison and Hinkley 1997, section 3.8). The numerator may also be a difference of two
    classifiers on the same objects (-1, 0, 1): then the interval is that of the paired
    difference. Draws with a zero denominator are left out. Result does not depend on the
    order of the objects. ValueError: no objects, unequal lengths, or every draw without a denominator.
    """
    top, bottom = np.asarray(numerator_per_item, float), np.asarray(denominator_per_item, float)
    names, index = np.unique(np.asarray(sequences), return_inverse=True)
    if not len(top) == len(bottom) == len(index) or len(top) == 0:
        lengths = f"{len(top)}, {len(bottom)} and {len(index)}"
        raise ValueError(f"found {lengths} items, expected equal numbers, not 0")
    sums = np.stack([np.bincount(index, top, len(names)), np.bincount(index, bottom, len(names))], axis=1)
    drawn = _redrawn(len(names), draws, seed) @ sums  # (draws, 2)
    drawn = drawn[drawn[:, 1] > 0]
    if len(drawn) == 0:
        raise ValueError("found no draw with a denominator above 0, expected at least one such item")
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bootstrap_at_share(above, others, part: float, sequences=None, other_sequences=None, draws: int = DRAWS,
                       seed: int = 0, level: float = LEVEL) -> tuple[float, float]:
    """Percentile interval of the share of `above` that is higher than the threshold which `part` of `others`
    are higher than: two sets of scores, (n,) and (m,).

    Whole sequences of both are drawn anew together, and each draw finds its threshold anew, since that is an
    estimate like the share itself. Of few sequences (FEWEST_SEQUENCES) it is not the percentiles that count
    but the draws' standard deviation, with Student's t. Without sequences, or with fewer than two in all,
    objects are drawn.
    """
    above, others = np.asarray(above, float), np.asarray(others, float)
    names, units = None, 0
    if sequences is not None and other_sequences is not None:
        names, index = np.unique(np.concatenate([sequences, other_sequences]), return_inverse=True)
        units = min(len(np.unique(sequences)), len(np.unique(other_sequences)))  # the fewer of both sides
    if names is None or len(names) < 2:
        names = index = np.arange(len(above) + len(others))
        units = min(len(above), len(others))
    counts = _redrawn(len(names), draws, seed)
    down, up = np.argsort(-others, kind="stable"), np.argsort(above, kind="stable")
    # (draws, m): others drawn, the highest first; (draws, n): own ones drawn, from each one upwards
    beyond = counts[:, index[len(above) :][down]].cumsum(1, np.int32)
    own = counts[:, index[: len(above)][up]][:, ::-1].cumsum(1, np.int32)[:, ::-1]
    drawn = (beyond[:, -1] > 0) & (own[:, 0] > 0)
    beyond, own = beyond[drawn], own[drawn]
    place = (beyond <= part * beyond[:, -1:] + ROUNDING).sum(1)
    threshold = np.append(others[down], -np.inf)[place]
    first = np.searchsorted(above[up], threshold, side="right")
    hits = np.append(own, np.zeros((len(own), 1), own.dtype), axis=1)[np.arange(len(own)), first]
    shares = hits / own[:, 0]
    if units >= FEWEST_SEQUENCES:
        low, high = np.quantile(shares, [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)
    # the draws' standard deviation is that of n units over n, not over n - 1
    freedom = max(1, units - 1)
    half = float(stdtrit(freedom, 0.5 + level / 2) * shares.std(ddof=1) * math.sqrt((freedom + 1) / freedom))
    return max(0.0, float(shares.mean()) - half), min(1.0, float(shares.mean()) + half)


def share(hits, of, sequences=None, draws: int = DRAWS, seed: int = 0) -> Measure:
    """The share of `hits` among `of` (two boolean arrays (n,)), with its 95 % interval.

    Interval: bootstrap by sequence; where `of` covers fewer than 30, Student's over the sequences
    (`ratio_of_means`), because few resampled ones cover too little; Wilson's for one sequence, and where
    the count is 0 or all or every sequence has the same share, which would claim certainty. Nothing to
    count (precision of a classifier that never says car): 0 of 0, interval (0, 1).
    """
    of = np.asarray(of, bool)
    hits = np.asarray(hits, bool) & of
    k, n = int(hits.sum()), int(of.sum())
    low = high = math.nan
    if sequences is not None and k not in (0, n):
        names, index = np.unique(np.asarray(sequences)[of], return_inverse=True)
        if len(names) >= FEWEST_SEQUENCES:
            low, high = bootstrap_by_sequence(hits, of, sequences, draws, seed)
        else:
            _, low, high = ratio_of_means(np.bincount(index, hits[of]), np.bincount(index))
            low, high = np.clip([low, high], 0.0, 1.0).tolist()
    if math.isnan(low):
        low, high = wilson(k, n)
    return Measure(k / n if n else 0.0, low, high, k, n)


def student(values, level: float = LEVEL, shared: float = 0.0) -> tuple[float, float, float, float]:
    """Mean, standard deviation and Student's t interval of the mean of some numbers.

    One number: its value, then NaN. Numbers that agree, as shares of a few objects may by chance: no interval
    (NaN), since there is no spread to judge by. `shared`: as in `over_seeds`, 0 for independent numbers.
    """
    values = np.asarray(values, float)
    mean = float(values.mean())
    if len(values) < 2:
        return mean, math.nan, math.nan, math.nan
    sd = float(values.std(ddof=1))
    if sd <= ROUNDING:
        return mean, 0.0, math.nan, math.nan
    half = float(stdtrit(len(values) - 1, 0.5 + level / 2)) * standard_error(sd, len(values), shared)
    return mean, sd, mean - half, mean + half


def standard_error(sd: float, count: int, shared: float = 0.0) -> float:
    """Of a mean of `count` numbers of standard deviation `sd`; `shared` as in `over_seeds`."""
    return sd * math.sqrt(1 / count + shared)


def over_seeds(values, level: float = LEVEL) -> tuple[float, float, float, float]:
    """`student` for one number a seed, corrected for what seeds share.

    Seeds divide the same recordings anew, so they are not independent: the variance of their mean is not
    s^2 / n but about s^2 (1 / n + test part / training part) (Nadeau and Bengio 2003, Machine Learning 52,
    equation 9). Without it an interval over ten seeds holds for these recordings alone.
    """
    return student(values, level, RESAMPLED)


def ratio_of_means(tops, bottoms, level: float = LEVEL, shared: float = 0.0) -> tuple[float, float, float]:
    """mean(tops) / mean(bottoms) with its interval; NaN where it has no meaning.

    The ratio of the means, not the mean of the ratios: one unit with a small denominator
    must not carry the result. Interval by linearisation (the delta method; Cochran 1977,
    chapter 6), Student's t. `shared`: as in `over_seeds`, 0 for independent units.
    """
    tops, bottoms = np.asarray(tops, float), np.asarray(bottoms, float)
    if len(tops) == 0 or bottoms.mean() <= 0:
        return math.nan, math.nan, math.nan
    ratio = float(tops.mean() / bottoms.mean())
    _, _, low, high = student((tops - ratio * bottoms) / bottoms.mean(), level, shared)
    return ratio, ratio + low, ratio + high


def ratio_over_seeds(tops, bottoms, level: float = LEVEL) -> tuple[float, float, float]:
    """`ratio_of_means` of one number a seed, corrected as `over_seeds`."""
    return ratio_of_means(tops, bottoms, level, RESAMPLED)
