"""Known answers: intervals, hand-counted measures, the tidy table, its summary and verdict."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lib import evaluation as ev
from lib import table2
from lib.data import WINTER_NAMES
from lib.intervals import over_seeds, ratio_over_seeds, share
from lib.runs import InputError, write_json, write_table
from lib.visdrone import CLASSES

CAR, BUS, TRUCK = 1, 0, 5


@pytest.mark.parametrize("k, n", [(0, 10), (1, 10), (81, 263), (10, 10), (500, 811)])
def test_wilson_agrees_with_scipy(k, n):
    expected = stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert ev.wilson(k, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_published_values():
    # Newcombe 1998 (Statistics in Medicine 17, table I), method 3
    assert ev.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert ev.wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert ev.wilson(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)
    assert ev.wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


def test_wilson_edges():
    assert ev.wilson(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="3 of 2"):
        ev.wilson(3, 2)


def test_bootstrap_equal_sequences_have_no_spread():
    hits, sequences = np.tile([1, 0], 20), np.repeat(np.arange(20), 2)
    assert ev.bootstrap_by_sequence(hits, np.ones(40), sequences) == (0.5, 0.5)


def test_bootstrap_one_item_a_sequence_is_binomial():
    hits = np.r_[np.ones(70), np.zeros(30)]
    low, high = ev.bootstrap_by_sequence(hits, np.ones(100), np.arange(100), draws=20000)
    assert (low, high) == pytest.approx(tuple(stats.binom.ppf([0.025, 0.975], 100, 0.7) / 100), abs=0.0101)


def test_bootstrap_is_wider_for_alike_objects_and_ignores_order():
    generator = np.random.default_rng(3)
    sequences = np.repeat([f"{k:07d}" for k in range(10)], 30)
    hits = np.repeat(generator.random(10) < 0.5, 30)
    low, high = ev.bootstrap_by_sequence(hits, np.ones(300), sequences)
    narrow = ev.wilson(int(hits.sum()), 300)
    assert high - low > 3 * (narrow[1] - narrow[0])
    order = generator.permutation(300)
    assert ev.bootstrap_by_sequence(hits[order], np.ones(300), sequences[order]) == (low, high)
    uneven = generator.random(300) < 0.5
    found = [ev.bootstrap_by_sequence(uneven, np.ones(300), sequences, seed=k) for k in (0, 0, 1)]
    assert found[0] == found[1] != found[2]


def test_bootstrap_of_a_paired_difference():
    before, after = np.tile([1, 0, 0], 10), np.tile([1, 1, 0], 10)
    low, high = ev.bootstrap_by_sequence(after - before, np.ones(30), np.repeat(np.arange(10), 3))
    assert (low, high) == pytest.approx((1 / 3, 1 / 3))


def test_bootstrap_refuses_nothing():
    with pytest.raises(ValueError, match="found 0, 0 and 0 items"):
        ev.bootstrap_by_sequence([], [], [])
    with pytest.raises(ValueError, match="no draw with a denominator"):
        ev.bootstrap_by_sequence([0, 0], [0, 0], ["a", "b"])


def test_share_falls_back_to_wilson():
    hits, of = np.array([1, 0, 1, 1], bool), np.ones(4, bool)
    assert share(hits, of)[1:3] == ev.wilson(3, 4)
    assert share(hits, of, np.array(list("aaaa")))[1:3] == ev.wilson(3, 4)  # one sequence
    assert share(hits, of, np.array(list("abab")))[1:3] != ev.wilson(3, 4)
    assert share(of, of, np.array(list("abcd")))[1:3] == ev.wilson(4, 4)  # all: no false certainty
    assert share(hits, ~of) == (0.0, 0.0, 1.0, 0, 0)


def test_few_sequences_have_students_interval():
    names = np.repeat(["a", "b", "c", "d"], 50)
    hits = np.concatenate([np.arange(50) < k for k in (25, 30, 40, 45)])
    found = share(hits, np.ones(200, bool), names)
    half = stats.t.ppf(0.975, 3) * np.std([0.5, 0.6, 0.8, 0.9], ddof=1) / 2
    assert found.value == 0.7 and (found.low, found.high) == pytest.approx((0.7 - half, 0.7 + half))
    assert share(hits[:100], np.ones(100, bool), names[:100])[1:3] == (0.0, 1.0)  # two: next to nothing known
    alike = np.tile(np.arange(50) < 30, 4)  # no spread between them is no certainty
    assert share(alike, np.ones(200, bool), names)[1:3] == ev.wilson(120, 200)


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


def hand_counted() -> ev.Answers:
    #        cars                 buses        trucks
    labels = [CAR, CAR, CAR, CAR, BUS, BUS, TRUCK, TRUCK, TRUCK]
    said = [CAR, CAR, CAR, TRUCK, CAR, BUS, TRUCK, CAR, BUS]
    return ev.answers(labels, said)


def test_summer_measures_by_hand():
    found = {name: (m.numerator, m.denominator) for name, m in ev.summer_measures(hand_counted()).items()}
    assert found == {
        "car_recall": (3, 4), "car_precision": (3, 5), "noncar_called_car": (2, 5), "accuracy": (5, 9),
        "recall_bus": (1, 2), "recall_car": (3, 4), "recall_truck": (1, 3),
    }  # fmt: skip
    for measure in ev.summer_measures(hand_counted()).values():
        assert measure.value == measure.numerator / measure.denominator
        assert measure.low <= measure.value <= measure.high


def test_probabilities_and_labels_agree():
    summer = hand_counted()
    probabilities = np.full((9, 6), 0.1)
    probabilities[np.arange(9), summer.predictions] = 0.5
    assert np.array_equal(ev.answers(summer.labels, probabilities).predictions, summer.predictions)


def test_winter_measures_by_hand():
    cars = ev.answers([CAR] * 5, [CAR, CAR, BUS, CAR, TRUCK])
    noncars = ev.answers([BUS, TRUCK, 3, 4], [CAR, TRUCK, 3, 2])
    found = ev.winter_measures(cars, noncars)
    assert found["winter_car_recall"][3:] == (3, 5) and found["winter_noncar_called_car"][3:] == (1, 4)
    with pytest.raises(InputError, match="winter cars: found 4 other objects, expected cars only"):
        ev.winter_measures(noncars, noncars)
    with pytest.raises(InputError, match="winter non-cars: found 5 cars"):
        ev.winter_measures(cars, cars)


def test_a_classifier_that_never_says_car():
    found = ev.summer_measures(ev.answers([CAR, BUS, TRUCK], [BUS, BUS, BUS]))
    assert found["car_precision"] == (0.0, 0.0, 1.0, 0, 0)
    assert found["car_recall"].value == 0


@pytest.mark.parametrize("arguments, message", [
    (([], []), "at least one object"),
    (([1, 2], [1]), "predictions of shape"),
    (([1, 6], [1, 2]), "labels 1..6, expected 0..5"),
    (([1, 2], [0.5, 1.0]), "type float64"),
    (([1, 2], np.full((2, 6), np.nan)), "not finite"),
    (([1, 2], [1, 2], ["a"]), "sequences of shape"),
])  # fmt: skip
def test_wrong_answers_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        ev.answers(*arguments, name="winter cars of protocol heldout")


def test_summer_needs_cars_and_others():
    with pytest.raises(InputError, match="2 cars of 2"):
        ev.summer_measures(ev.answers([CAR, CAR], [CAR, CAR]))


def test_confusion_matrix():
    found = ev.confusion_matrix(*hand_counted()[:2])
    assert found.shape == (6, 6) and tuple(found.index) == CLASSES == tuple(found.columns)
    assert found.loc["car", "truck"] == 1 and found.loc["truck", "bus"] == 1 and found.loc["bus", "car"] == 1
    assert found.to_numpy().sum() == 9 and np.trace(found) == 5


def one_arm(arm="vae_transfer", seed=0, n_synthetic=100) -> pd.DataFrame:
    generator = np.random.default_rng([seed, len(arm)])
    labels = np.arange(120) % 6
    said = np.where(generator.random(120) < 0.8, labels, CAR)
    sequences = np.array([f"s{k % 7}" for k in range(120)])
    cars = np.full(40, CAR)
    sure = np.eye(6)
    winter = {p: ev.answers(cars, sure[np.where(generator.random(40) < 0.7, CAR, BUS)], sequences[:40])
              for p in ("paper", "heldout")}
    noncars = ev.answers(labels[labels != CAR], sure[said[labels != CAR]], sequences[labels != CAR])
    return ev.predictions_to_rows(arm, "object", 811, n_synthetic, seed, ev.answers(labels, said, sequences),
                                  winter, noncars, called=3)


def test_tidy_rows():
    table = one_arm()
    assert tuple(table.columns) == ev.COLUMNS == (
        "arm", "protocol", "split", "n_winter", "n_synthetic", "seed", "metric", "value", "low", "high",
        "numerator", "denominator", "winter")  # fmt: skip
    assert set(table["metric"]) == set(ev.METRICS) and len(table) == 2 * len(ev.METRICS)
    assert not table.isna().any().any() and (table["winter"] == "simulated winter").all()
    pd.testing.assert_frame_equal(table, one_arm())


def test_table2_round_trip(tmp_path):
    table = pd.concat([one_arm(), one_arm("none", n_synthetic=0)], ignore_index=True)
    path = write_table(tmp_path / "table2.csv", table)
    back = ev.read_table2(path)
    pd.testing.assert_frame_equal(back, table, check_exact=True)
    assert set(back["arm"]) == {"none", "vae_transfer"}  # "none" stays a word


@pytest.mark.parametrize("column, text, message", [
    ("protocol", "held", "protocol 'held', expected paper or heldout"),
    ("split", "frame", "expected object or sequence"),
    ("metric", "fid", "metric 'fid'"),
    ("value", "71.2", "value 71.2, expected a share"),
    ("value", "nan", "value nan, expected a share"),
    ("value", "high", "expected a number"),
    ("seed", "1.5", "expected a number"),
    ("n_winter", "-1", "n_winter -1, expected 0 or more"),
    ("n_synthetic", "0", "n_synthetic 0 for arm vae_transfer"),
    ("arm", "VAE arm", "arm 'VAE arm'"),
    ("winter", "", "no winter source"),
    ("numerator", "0", r"value \d\."),
])  # fmt: skip
def test_read_table2_names_the_line(tmp_path, column, text, message):
    table = one_arm().astype(str)
    table.loc[3, column] = text
    path = write_table(tmp_path / "table2.csv", table)
    with pytest.raises(InputError, match=message) as caught:
        ev.read_table2(path)
    assert caught.value.line == 5 and str(path) in str(caught.value)


def test_read_table2_shape_of_the_file(tmp_path):
    path = write_table(tmp_path / "table2.csv", one_arm().drop(columns="winter"))
    with pytest.raises(InputError, match="columns arm,"):
        ev.read_table2(path)
    path = write_table(tmp_path / "table2.csv", pd.concat([one_arm(), one_arm()]))
    with pytest.raises(InputError, match="the measurement of line 2 again"):
        ev.read_table2(path)
    path.write_text(path.read_text().splitlines()[0] + "\nvae_transfer,paper\n")
    with pytest.raises(InputError, match="table2.csv:2: found 2 fields, expected 13"):
        ev.read_table2(path)
    path.write_text("")
    with pytest.raises(InputError, match="table2.csv:1"):
        ev.read_table2(path)


def rows(arm, values, n_winter=811, n_synthetic=None, protocol="heldout") -> pd.DataFrame:
    """A table with given values (out of 1000): metric -> one value a seed."""
    n_synthetic = (0 if arm in ev.ARMS_WITHOUT_SAMPLES else 100) if n_synthetic is None else n_synthetic
    return pd.concat([
        ev.table2_rows(arm, protocol, "object", n_winter, n_synthetic, seed, {
            metric: ev.Measure(per_seed[seed] / 1000, *ev.wilson(per_seed[seed], 1000), per_seed[seed], 1000)
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
    summary = ev.summarise(three_arms())
    row = entry(summary, "vae_transfer", "winter_car_recall")
    assert row["mean"] == 0.89 and row["n_seeds"] == 1 and math.isnan(row["sd"])
    assert (row["low"], row["high"]) == ev.wilson(890, 1000)  # the interval within the seed
    assert row["difference"] == pytest.approx(0.11) and row["change"] == pytest.approx(0.26)
    assert row["closed_gap"] == pytest.approx(0.5) and math.isnan(row["closed_gap_low"])
    text = json.dumps(ev.records(summary), allow_nan=False)
    assert "NaN" not in text


def test_summary_over_seeds():
    control, after = [700, 720, 760], [800, 850, 870]
    table = pd.concat([rows("continued", {"winter_car_recall": control}),
                       rows("vae_transfer", {"winter_car_recall": after})])
    row = entry(ev.summarise(table), "vae_transfer", "winter_car_recall")
    assert row["mean"] == pytest.approx(0.84)
    assert row["sd"] == pytest.approx(np.std([0.8, 0.85, 0.87], ddof=1))
    t = stats.t.interval(0.95, 2, 0.84, row["sd"] / np.sqrt(3))
    assert (row["low"], row["high"]) == pytest.approx((t[0], min(t[1], 1)))
    gains = np.subtract(after, control) / 1000
    t = stats.t.interval(0.95, 2, gains.mean(), gains.std(ddof=1) / np.sqrt(3))
    assert (row["difference_low"], row["difference_high"]) == pytest.approx(t)
    assert row["difference_pairs"] == 3
    assert row["closed_gap"] == pytest.approx(gains.mean() / (1 - np.mean(control) / 1000))
    assert row["closed_gap_low"] < row["closed_gap"] < row["closed_gap_high"]


def test_pairs_are_by_seed_and_row_order_is_free():
    table = pd.concat([rows("continued", {"car_recall": [900, 950]}),
                       rows("vae_transfer", {"car_recall": [905, 965]})])
    row = entry(ev.summarise(table.iloc[::-1]), "vae_transfer", "car_recall")
    assert row["difference"] == pytest.approx(0.01)
    assert row["difference_high"] == pytest.approx(0.01 + 12.7062 * 0.005, abs=1e-5)
    short = table[~((table["arm"] == "continued") & (table["seed"] == 1))]
    assert entry(ev.summarise(short), "vae_transfer", "car_recall")["difference_pairs"] == 1


def test_a_baseline_of_the_same_n_winter_comes_first():
    metric = "winter_car_recall"
    table = pd.concat([rows("continued", {metric: [700]}, 811), rows("continued", {metric: [600]}, 50),
                       rows("vae_transfer", {metric: [800]}, 50), rows("vae_transfer", {metric: [800]}, 811),
                       rows("vae_transfer", {metric: [800]}, 100)])  # fmt: skip
    summary = ev.summarise(table)
    found = summary[summary["arm"] == "vae_transfer"].set_index("n_winter")["difference"]
    assert found[50] == pytest.approx(0.2) and found[811] == pytest.approx(0.1) and math.isnan(found[100])


def test_ratio_and_mean_of_no_spread():
    ratio, *interval = ratio_over_seeds([0.1, 0.1], [0.2, 0.2])
    assert ratio == pytest.approx(0.5) and all(math.isnan(x) for x in interval)
    assert all(math.isnan(x) for x in ratio_over_seeds([0.0], [0.0]))
    mean, sd, *interval = over_seeds([0.3, 0.1 + 0.2])
    assert mean == pytest.approx(0.3) and sd == 0 and all(math.isnan(x) for x in interval)


def test_seeds_that_agree_keep_the_interval_within_a_seed():
    table = pd.concat([rows("continued", {"car_recall": [900, 900]}),
                       rows("vae_transfer", {"car_recall": [920, 920]})])
    row = entry(ev.summarise(table), "vae_transfer", "car_recall")
    assert (row["low"], row["high"]) == pytest.approx(ev.wilson(920, 1000))
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
    (found,) = ev.verdict(ev.summarise(three_arms(**after)))
    assert found["better"] is better and found["against"] == "continued" and found["arm"] == "vae_transfer"
    assert found["clear"] is None  # one seed cannot say
    assert all(guard["kept"] is not None and guard["moved"] is not None for guard in found["guards"].values())


def test_a_gain_of_nothing_but_rounding_is_none():
    same = {"winter_noncar_called_car": [100] * 3, "noncar_called_car": [100] * 3, "car_recall": [960] * 3}
    table = pd.concat([rows("continued", {"winter_car_recall": [820, 710, 730]} | same),
                       rows("vae_transfer", {"winter_car_recall": [850, 730, 680]} | same)])
    (found,) = ev.verdict(ev.summarise(table))
    assert abs(found["gain"]) < 1e-12 and found["better"] is False


def test_verdict_against_the_classifier_before(tmp_path):
    summary = ev.summarise(three_arms(noncar_called_car=115))
    assert ev.verdict(summary)[0]["better"] is True  # 1.5 points above the control
    (found,) = ev.verdict(summary, against="none")
    assert found["better"] is False and found["guards"]["noncar_called_car"]["moved"] == pytest.approx(0.025)
    write_json(tmp_path / "verdict.json", [found])  # NaN would be an error


def test_verdict_of_winter_cars_from_two_places_is_refused():
    table = three_arms()
    summary = ev.summarise(pd.concat([table, table.assign(winter="winter crops")], ignore_index=True))
    with pytest.raises(InputError, match="simulated winter and winter crops, expected one source"):
        ev.verdict(summary)


def test_verdict_without_a_control_is_open():
    (found,) = ev.verdict(ev.summarise(rows("vae_transfer", {"winter_car_recall": [900]})))
    assert found["better"] is None and found["gain"] is None


def as_lines(text) -> dict[str, list[str]]:
    return {row.split("|")[1].strip(): [cell.strip() for cell in row.split("|")[2:-1]]
            for row in text.splitlines() if row.startswith("|")}


def test_table2_markdown():
    table = pd.concat([three_arms(), rows("vae_transfer", {"winter_car_recall": [924]}, protocol="paper")])
    text = table2.table2_markdown(ev.summarise(table))
    line = as_lines(text)
    assert line[""] == ["paper before", "paper after", "before (none)", "control (continued)",
                        "after (vae_transfer)"]
    assert line["Summer cars: recall"][:2] == ["96.1", "96.1"]
    heldout = line["Winter cars (simulated winter): recall, held out"]
    assert heldout[:2] == ["–", "–"] and heldout[4] == "89.0 [86.9, 90.8]"
    paper = line["Winter cars (simulated winter): recall, protocol paper (leaky)"]
    assert paper[:4] == ["71.2", "92.4", "–", "–"] and paper[4].startswith("92.4 [")
    assert heldout[2].startswith("63.0 [")  # the baseline was measured with n_winter 0
    assert line["Overall accuracy, six classes"] == ["92.2", "–", "–", "–", "–"]
    assert "one seed" in text and "811 winter cars, 100 synthetic" in text
    with pytest.raises(InputError, match="no rows of arm winter"):
        table2.table2_markdown(ev.summarise(table), arms=["none", "winter"])


def test_table2_is_one_table_a_split_with_every_arm():
    values = {"winter_car_recall": [600], "accuracy": [900]}
    table = pd.concat([rows(arm, values) for arm in ("vae_recoloured", "vae_transfer", "mixup", "none")])
    other = table.assign(split="sequence")
    summary = ev.summarise(pd.concat([table, other], ignore_index=True))
    text = table2.table2_markdown(summary, frames="VisDrone-DET, val 456 of 548 frames")
    heads = [row for row in text.splitlines() if row.startswith("| |") or row.startswith("|  |")]
    assert len(heads) == 2 and heads[0] == heads[1]
    assert as_lines(text)[""] == ["paper before", "paper after", "before (none)", "after (vae_transfer)",
                                  "with counterexamples (vae_recoloured)", "mixup"]  # fmt: skip
    titles = [row for row in text.splitlines() if row.startswith("Split by")]
    assert [title.split(";")[0] for title in titles] == ["Split by object", "Split by sequence"]
    assert all("; VisDrone-DET, val 456 of 548 frames; 811 winter cars, 100 syn" in title for title in titles)
    few = table2.table2_markdown(summary, arms=["vae_transfer", "none"])  # any arms, in the order asked for
    assert as_lines(few)[""][2:] == ["after (vae_transfer)", "before (none)"]
    assert table2.table2_markdown(summary, arms=["none"]).count("Split by") == 2


def test_recall_at_an_equal_share():
    cars, noncars = [0.9, 0.6, 0.4, 0.2], [0.8, 0.5, 0.3, 0.1, 0.05]
    counts = [ev.recall_at_share(cars, noncars, called).numerator for called in range(6)]
    assert counts == [1, 2, 3, 4, 4, 4]  # higher than 0.8, 0.5, 0.3, 0.1, 0.05, than nothing
    tied = ev.recall_at_share(cars, [0.6, 0.6, 0.1], 1)
    assert (tied.numerator, tied.denominator) == (1, 4)  # both or neither: neither
    for called, others in ((6, noncars), (-1, noncars), (0, [])):
        with pytest.raises(InputError, match="^non-cars called car: found "):
            ev.recall_at_share(cars, others, called)
    for called in range(1, 3):  # the share itself lies within, none and all have Wilson's interval
        found = ev.recall_at_share(cars, noncars, called, list("abcd"), list("abcde"))
        assert found.low < found.value < found.high
    # whoever says car of everything gains nothing
    more = ev.recall_at_share(np.sqrt(cars), np.sqrt(noncars), 2)
    assert more.value == ev.recall_at_share(cars, noncars, 2).value


@pytest.mark.parametrize("together", [False, True])
def test_the_interval_at_an_equal_share_knows_that_the_threshold_is_an_estimate(together):
    """Objects independent: about 95 of 100 intervals hold the recall at the true threshold."""
    random, covered, trials = np.random.default_rng(4), 0, 200
    true = 1 - stats.norm.cdf(stats.norm.ppf(0.8) - 1.6)
    for _ in range(trials):
        cars, others = random.normal(1.6, 1, 250), random.normal(0, 1, 180)
        names = (np.arange(250), np.arange(180)) if together else ()
        found = ev.recall_at_share(cars, others, 36, *names, draws=400)
        covered += found.low <= true <= found.high
    assert covered >= 0.91 * trials


def test_table2_is_of_the_numbers_at_which_most_arms_were_measured():
    some = [rows("vae_transfer", {"accuracy": [900]}, n, k) for n, k in ((811, 100), (811, 200), (50, 100))]
    table = pd.concat([rows("continued", {"accuracy": [880]}, 811), *some], ignore_index=True)
    summary = ev.summarise(table)
    assert table2.table2_settings(summary) == [("object", 811, 200)]  # equal: the larger numbers
    more = pd.concat([table, rows("vae_scratch", {"accuracy": [890]}, 811, 100)], ignore_index=True)
    summary = ev.summarise(more)
    assert table2.table2_settings(summary) == [("object", 811, 100)]
    text = table2.table2_markdown(summary)
    cells = [row.split("|")[4:7] for row in text.splitlines() if row.startswith("| Overall accuracy")]
    assert [[cell.strip()[:5] for cell in row] for row in cells] == [["88.0 ", "89.0 ", "90.0 "]]
    places = table2.table2_settings(summary)
    main = table2.main_part(summary, places)
    assert sorted(main["arm"]) == ["continued", "vae_scratch", "vae_transfer"]
    assert set(main["n_winter"]) == {811}
    doses = table2.varied(more, "n_synthetic", places)["object"]
    assert sorted(zip(doses["arm"], doses["n_synthetic"], strict=True)) == [
        ("continued", 0), ("vae_transfer", 100), ("vae_transfer", 200)]  # fmt: skip


def test_a_variant_of_one_seed_does_not_replace_the_table():
    base = [rows("continued", {"accuracy": [880, 881, 882]}, 811),
            rows("vae_transfer", {"accuracy": [900, 901, 902]}, 811, 100)]  # fmt: skip
    more = rows("vae_transfer", {"accuracy": [999]}, 811, 30_000)
    few = rows("winter", {"accuracy": [870]}, 50)
    table = pd.concat([*base, more, few], ignore_index=True)
    summary = ev.summarise(table)
    places = table2.table2_settings(summary)
    assert places == [("object", 811, 100)]
    assert table2.seeds_text(summary, places[0]).startswith("means of 3 seeds")
    line = next(row for row in table2.table2_markdown(summary).splitlines() if row.startswith("| Overall"))
    assert [cell.strip()[:4] for cell in line.split("|")[4:7]] == ["88.1", "–", "90.1"]  # none of 50 crops
    doses = table2.varied(table, "n_synthetic", places)["object"]
    assert set(doses["seed"]) == {0}  # of the others there is one dose alone


def test_under_the_papers_protocol_fewer_winter_crops_are_other_objects():
    table = pd.concat([rows("continued", {"winter_car_recall": [600]}, 811),
                       rows("vae_transfer", {"winter_car_recall": [800]}, 50, 100)])  # fmt: skip
    for protocol, pairs in (("heldout", 1), ("paper", 0)):
        summary = ev.summarise(table.assign(protocol=protocol))
        (found,) = summary[summary["arm"] == "vae_transfer"].to_dict("records")
        assert found["difference_pairs"] == pairs


def test_titles_name_the_winter_of_each_measure():
    about = {"winter": "winter crops", "noncar_source": "store"}
    titles = table2.titles(about)
    assert titles["winter_car_recall"] == "Winter cars (winter crops): recall, held out"
    assert titles["winter_noncar_called_car"] == "Non-cars called car, winter (simulated winter)"
    own = table2.titles(about | {"noncar_source": "own"})
    assert own["winter_noncar_called_car"].endswith("(winter crops)")
    lines = {metric for metric, _, _ in table2.LINES}  # one of them needs the control's answers
    assert set(titles) == lines - {ev.EQUAL_SHARE} and lines <= set(ev.METRICS)
    assert ev.SIMULATED == WINTER_NAMES["simulated"]
