"""Known answers: means over seeds, gains over the control, the verdict."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lib.arms import ARMS_WITHOUT_SAMPLES
from lib.gains import records, summarise, verdict
from lib.intervals import Measure, wilson
from lib.measurements import table2_rows
from lib.runs import InputError, write_json

CAR, BUS, TRUCK = 1, 0, 5


def rows(arm, values, n_winter=811, n_synthetic=None, protocol="heldout") -> pd.DataFrame:
    """A table with given values (out of 1000): metric -> one value a seed."""
    n_synthetic = (0 if arm in ARMS_WITHOUT_SAMPLES else 100) if n_synthetic is None else n_synthetic
    return pd.concat([
        table2_rows(arm, protocol, "object", n_winter, n_synthetic, seed, {
            metric: Measure(per_seed[seed] / 1000, *wilson(per_seed[seed], 1000), per_seed[seed], 1000)
            for metric, per_seed in values.items()})
        for seed in range(len(next(iter(values.values()))))], ignore_index=True)  # fmt: skip


def three_arms(**after) -> pd.DataFrame:
    before = {"winter_car_recall": [630], "winter_noncar_called_car": [100], "noncar_called_car": [90],
              "car_recall": [960]}  # fmt: skip
    control = before | {"winter_car_recall": [780], "noncar_called_car": [100]}
    after = control | {"winter_car_recall": [890]} | {name: [value] for name, value in after.items()}
    arms = [rows("none", before, n_winter=0), rows("continued", control), rows("vae_transfer", after)]
    return pd.concat(arms, ignore_index=True)


def entry(summary, arm, metric):
    found = summary[(summary["arm"] == arm) & (summary["metric"] == metric)]
    assert len(found) == 1
    return found.iloc[0]


def test_summary_of_one_seed():
    summary = summarise(three_arms())
    row = entry(summary, "vae_transfer", "winter_car_recall")
    assert row["mean"] == 0.89 and row["n_seeds"] == 1 and math.isnan(row["sd"])
    assert (row["low"], row["high"]) == wilson(890, 1000)  # the interval within the seed
    assert row["difference"] == pytest.approx(0.11) and row["change"] == pytest.approx(0.26)
    assert row["closed_gap"] == pytest.approx(0.5) and math.isnan(row["closed_gap_low"])
    text = json.dumps(records(summary), allow_nan=False)
    assert "NaN" not in text


def test_summary_over_seeds():
    control, after = [700, 720, 760], [800, 850, 870]
    table = pd.concat([rows("continued", {"winter_car_recall": control}),
                       rows("vae_transfer", {"winter_car_recall": after})])
    row = entry(summarise(table), "vae_transfer", "winter_car_recall")
    assert row["mean"] == pytest.approx(0.84)
    assert row["sd"] == pytest.approx(np.std([0.8, 0.85, 0.87], ddof=1))
    # seeds divide the same objects: of the variance an eighth does not shrink with their number
    t = stats.t.interval(0.95, 2, 0.84, row["sd"] * np.sqrt(1 / 3 + 1 / 8))
    assert (row["low"], row["high"]) == pytest.approx((t[0], min(t[1], 1)))
    gained = np.subtract(after, control) / 1000
    t = stats.t.interval(0.95, 2, gained.mean(), gained.std(ddof=1) * np.sqrt(1 / 3 + 1 / 8))
    assert (row["difference_low"], row["difference_high"]) == pytest.approx(t)
    assert row["difference_pairs"] == 3
    assert row["closed_gap"] == pytest.approx(gained.mean() / (1 - np.mean(control) / 1000))
    assert row["closed_gap_low"] < row["closed_gap"] < row["closed_gap_high"]


def test_pairs_are_by_seed_and_row_order_is_free():
    table = pd.concat([rows("continued", {"car_recall": [900, 950]}),
                       rows("vae_transfer", {"car_recall": [905, 965]})])
    row = entry(summarise(table.iloc[::-1]), "vae_transfer", "car_recall")
    assert row["difference"] == pytest.approx(0.01)
    assert row["difference_high"] == pytest.approx(0.01 + 12.7062 * 0.005 * (1 + 2 / 8) ** 0.5, abs=1e-5)
    short = table[~((table["arm"] == "continued") & (table["seed"] == 1))]
    assert entry(summarise(short), "vae_transfer", "car_recall")["difference_pairs"] == 1


def test_a_baseline_of_the_same_n_winter_comes_first():
    metric = "winter_car_recall"
    table = pd.concat([rows("continued", {metric: [700]}, 811), rows("continued", {metric: [600]}, 50),
                       rows("vae_transfer", {metric: [800]}, 50), rows("vae_transfer", {metric: [800]}, 811),
                       rows("vae_transfer", {metric: [800]}, 100)])  # fmt: skip
    summary = summarise(table)
    found = summary[summary["arm"] == "vae_transfer"].set_index("n_winter")["difference"]
    assert found[50] == pytest.approx(0.2) and found[811] == pytest.approx(0.1) and math.isnan(found[100])


def test_seeds_that_agree_keep_the_interval_within_a_seed():
    table = pd.concat([rows("continued", {"car_recall": [900, 900]}),
                       rows("vae_transfer", {"car_recall": [920, 920]})])
    row = entry(summarise(table), "vae_transfer", "car_recall")
    assert (row["low"], row["high"]) == pytest.approx(wilson(920, 1000))
    assert row["difference"] == pytest.approx(0.02) and math.isnan(row["difference_low"])


@pytest.mark.parametrize("after, better", [
    ({}, True),
    ({"winter_noncar_called_car": 120}, True),  # exactly 2 points up
    ({"winter_noncar_called_car": 121}, False),  # white became the label
    ({"noncar_called_car": 120}, True),
    ({"noncar_called_car": 121}, False),
    ({"car_recall": 950}, True),  # exactly 1 point down
    ({"car_recall": 949}, False),
    ({"car_recall": 990, "noncar_called_car": 0}, True),
    ({"winter_car_recall": 780}, False),  # no gain
])  # fmt: skip
def test_verdict_borders(after, better):
    (found,) = verdict(summarise(three_arms(**after)))
    assert found["better"] is better and found["against"] == "continued" and found["arm"] == "vae_transfer"
    assert found["clear"] is None  # one seed cannot say
    assert all(guard["kept"] is not None and guard["moved"] is not None for guard in found["guards"].values())


def test_a_gain_of_nothing_but_rounding_is_none():
    same = {"winter_noncar_called_car": [100] * 3, "noncar_called_car": [100] * 3, "car_recall": [960] * 3}
    table = pd.concat([rows("continued", {"winter_car_recall": [820, 710, 730]} | same),
                       rows("vae_transfer", {"winter_car_recall": [850, 730, 680]} | same)])
    (found,) = verdict(summarise(table))
    assert abs(found["gain"]) < 1e-12 and found["better"] is False and found["clear"] is False
    table = pd.concat([rows("continued", {"winter_car_recall": [820, 710, 730]} | same),
                       rows("vae_transfer", {"winter_car_recall": [900, 800, 820]} | same)])
    (found,) = verdict(summarise(table))
    assert found["better"] is True and found["clear"] is True


def test_verdict_against_the_classifier_before(tmp_path):
    summary = summarise(three_arms(noncar_called_car=115))
    (found,) = verdict(summary)
    assert found["better"] is True and found["closed_gap"] > 0  # 1.5 points above the control
    (found,) = verdict(summary, against="none")
    assert found["closed_gap"] is None  # of the way from the control, so it says nothing of this gain
    assert found["better"] is False and found["guards"]["noncar_called_car"]["moved"] == pytest.approx(0.025)
    write_json(tmp_path / "verdict.json", [found])  # NaN would be an error


def test_an_arm_of_which_nothing_was_kept_gets_no_verdict():
    summary = summarise(three_arms())
    (found,) = verdict(summary)
    place = (found["split"], found["n_winter"], found["arm"])
    assert verdict(summary, without=[place]) == []
    assert len(verdict(summary, without=[("sequence", *place[1:])])) == 1


def test_verdict_of_winter_cars_from_two_places_is_refused():
    table = three_arms()
    summary = summarise(pd.concat([table, table.assign(winter="winter crops")], ignore_index=True))
    with pytest.raises(InputError, match="simulated winter and winter crops, expected one source"):
        verdict(summary)


def test_verdict_without_a_control_is_open():
    (found,) = verdict(summarise(rows("vae_transfer", {"winter_car_recall": [900]})))
    assert found["better"] is None and found["gain"] is None


def test_under_the_papers_protocol_fewer_winter_crops_are_other_objects():
    table = pd.concat([rows("continued", {"winter_car_recall": [600]}, 811),
                       rows("vae_transfer", {"winter_car_recall": [800]}, 50, 100)])  # fmt: skip
    for protocol, pairs in (("heldout", 1), ("paper", 0)):
        summary = summarise(table.assign(protocol=protocol))
        (found,) = summary[summary["arm"] == "vae_transfer"].to_dict("records")
        assert found["difference_pairs"] == pairs


def test_a_measurement_of_nothing_counts_as_no_seed():
    table = pd.concat([rows("continued", {"car_precision": [900, 940]}),
                       rows("vae_only", {"car_precision": [800, 0]})], ignore_index=True)  # fmt: skip
    empty = (table["arm"] == "vae_only") & (table["seed"] == 1)
    table.loc[empty, "denominator"] = 0  # a classifier that never says car: 0 of 0
    row = entry(summarise(table), "vae_only", "car_precision")
    assert (row["mean"], row["n_seeds"], row["difference_pairs"]) == (pytest.approx(0.8), 1, 1)
    assert row["difference"] == pytest.approx(-0.1)
