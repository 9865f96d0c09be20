"""Differences as words: the verdicts and the paired comparisons as notebook 06 shows them."""

import math

import pandas as pd
import pytest

from lib import table2
from lib.evaluation import EQUAL_SHARE, NONCARS, summarise, table2_rows
from lib.intervals import Measure

SETTING = {"split": "object", "arm": "vae_transfer", "protocol": "heldout", "against": "continued"}


def compared(metric, gain, p=math.nan, pairs=1, arm="vae_transfer", against="continued"):
    return {"split": "object", "protocol": "heldout", "metric": metric, "arm": arm, "against": against,
            "gain": gain, "low": gain - 0.1 if p == p else p, "high": gain + 0.1, "p": p,
            "pairs": pairs}  # fmt: skip


def test_points_have_a_sign():
    assert [table2.points(x) for x in (0.1234, -0.002, 0)] == ["+12.3", "-0.2", "+0.0"]
    assert table2.points(None) == table2.points(math.nan) == "–"


def test_verdicts_in_points_whatever_the_order_of_the_guards():
    moved = {"car_recall": -0.016, NONCARS: 0.06, "noncar_called_car": None}
    guards = {metric: {"moved": value} for metric, value in moved.items()}
    entries = [
        SETTING | {"gain": 0.2249, "closed_gap": 0.712, "guards": guards, "better": False},
        SETTING | {"gain": None, "closed_gap": None, "guards": guards, "better": None},
        SETTING | {"gain": 0.01, "closed_gap": None, "guards": guards, "better": True},
    ]
    found = table2.verdict_table(entries)
    assert list(found.columns) == [
        *SETTING, "winter cars", "of the way to 100 %", "winter non-cars", "summer non-cars", "summer cars",
        "better",
    ]  # fmt: skip
    assert found.iloc[0].tolist()[4:] == ["+22.5", "71 %", "+6.0", "–", "-1.6", "no"]
    assert found["better"].tolist() == ["no", "–", "yes"]
    assert found.iloc[1].tolist()[4:6] == ["–", "–"]


def test_comparisons_stand_in_one_row_with_interval_and_p():
    paired = pd.DataFrame([
        compared("winter_car_recall", 0.059, 0.0312, 3), compared(EQUAL_SHARE, 0.021, 0.5, 2),
        compared("accuracy", 0.5, 0.1, 3), compared("winter_car_recall", 0.1, against="winter"),
    ])  # fmt: skip
    found = table2.paired_table(paired, ("winter_car_recall", EQUAL_SHARE, NONCARS))
    assert list(found.columns) == [
        "split", "arm", "against", "pairs", "winter cars", "at equal share", "winter non-cars",
    ]  # fmt: skip
    assert found.values.tolist() == [
        ["object", "vae_transfer", "continued", 3,
         "+5.9 [-4.1, +15.9]\np 0.031", "+2.1 [-7.9, +12.1]\np 0.5", "–"],
        ["object", "vae_transfer", "winter", 1, "+10.0", "–", "–"],
    ]  # fmt: skip


@pytest.mark.parametrize("turn", [1, -1])
def test_of_two_winters_the_larger_difference_is_shown(turn):
    paired = pd.DataFrame([compared(NONCARS, 0.15), compared(NONCARS, 0.01)][::turn])
    assert table2.paired_table(paired, (NONCARS,))["winter non-cars"].tolist() == ["+15.0"]


def test_a_cell_of_fewer_seeds_says_so():
    measured = {"car_recall": Measure(0.9, 0.8, 0.95, 90, 100)}
    table = pd.concat([table2_rows(arm, "heldout", "object", 811, number, seed, measured)
                       for arm, number, seeds in (("continued", 0, 3), ("vae_transfer", 600, 3),
                                                  ("vae_recoloured", 600, 1))
                       for seed in range(seeds)])  # fmt: skip
    summary = summarise(table)
    ((_, _, _, cells),) = [line for line in table2.table2_lines(
        summary, ("object", 811, 600), ["continued", "vae_transfer", "vae_recoloured"]
    ) if line[1] == "car_recall"]  # fmt: skip
    assert cells[2] == "90.0 [80.0, 95.0] (1 seed)" and "seed" not in cells[0] + cells[1]


def test_nothing_to_compare_is_an_empty_table():
    assert not len(table2.paired_table(pd.DataFrame(columns=["metric"]), ("winter_car_recall",)))
    assert not len(table2.verdict_table([]))
