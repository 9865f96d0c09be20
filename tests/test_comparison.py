"""Arms against each other: paired over seeds, on the same objects, against a bar chosen elsewhere."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lib import comparison, evaluation, measurements
from lib.evaluation import CAR
from lib.intervals import Measure
from lib.runs import InputError


def rows(arm, recalls, n_winter=811, n_synthetic=0, split="object"):
    """Winter-car recall of one arm, a thousandth a unit, one seed after the other."""
    return pd.concat([
        measurements.table2_rows(arm, "heldout", split, n_winter, n_synthetic, seed,
                               {"winter_car_recall": Measure(k / 1000, 0, 1, k, 1000)})
        for seed, k in enumerate(recalls)
    ], ignore_index=True)  # fmt: skip


def test_mcnemar_by_hand():
    truth = np.full(12, CAR)
    first = evaluation.answers(truth, np.where(np.arange(12) < 10, CAR, 0))
    second = evaluation.answers(truth, np.where((np.arange(12) < 4) | (np.arange(12) == 11), CAR, 0))
    found = comparison.mcnemar(first, second)
    assert (found["only_first"], found["only_second"]) == (6, 1)
    assert found["p"] == pytest.approx(2 * (1 + 7) / 2**7)  # one or none of seven
    assert comparison.mcnemar(first, first)["p"] == 1.0
    with pytest.raises(InputError, match="expected the same objects"):
        comparison.mcnemar(first, evaluation.answers(np.array([0, CAR]), np.array([0, CAR])))


def test_mcnemar_beside_what_the_recordings_say():
    """Two classifiers, each better in half of the recordings: by objects certain, by recordings nothing."""
    truth, names = np.full(400, CAR), np.repeat(["a", "b", "c", "d"], 100)
    first = evaluation.answers(truth, np.where(np.isin(names, ["a", "b", "c"]), CAR, 0), names)
    second = evaluation.answers(truth, np.where(names == "d", CAR, 0), names)
    found = comparison.mcnemar(first, second)
    assert found["p"] < 1e-9 and found["difference"] == pytest.approx(0.5)
    assert found["low"] < 0 < found["high"]
    assert found["high"] - 0.5 == pytest.approx(3.1824 * 1 / 4**0.5, abs=1e-3)  # Student's, four recordings
    other = evaluation.answers(truth, first.predictions, np.repeat(["a", "b", "c", "e"], 100))
    with pytest.raises(InputError, match="expected the same objects"):  # cars too, but others
        comparison.mcnemar(first, other)
    alone = evaluation.answers(truth, first.predictions)
    assert comparison.mcnemar(alone, alone)["low"] is None


def test_the_bar_is_chosen_over_seeds_that_all_candidates_have():
    def said(score):
        return {"winter_car_recall": score, "winter_noncar_called_car": 0.0}

    valid = {("object", 811, 0): {"winter": said(0.75), "classic": said(0.73), "oversampled": said(0.1)},
             ("object", 811, 1): {"winter": said(0.55), "oversampled": said(0.1)},
             ("object", 811, 2): {"winter": said(0.60), "oversampled": said(0.1)}}  # fmt: skip
    with pytest.raises(InputError, match="811 winter crops: found 1 seeds with all .*classic in 1 seeds"):
        comparison.baseline_scores(valid)  # of another choice of arms the bar would be another, unnoticed
    valid[("object", 811, 1)]["classic"] = said(0.74)
    scores = comparison.baseline_scores(valid)  # over the first two: over all, winter is the better one
    assert comparison.bar(scores) == {("object", 811): "classic"}
    assert scores["arm"].tolist() == ["classic", "winter", "oversampled"]
    assert scores["seeds"].tolist() == [2, 2, 2]


def test_paired_test_is_students_for_seeds_that_share_their_objects():
    found = comparison.paired_test([0.1, 0.2, 0.3])
    assert found["gain"] == pytest.approx(0.2) and found["pairs"] == 3
    error = 0.1 * (1 / 3 + 1 / 8) ** 0.5
    assert found["p"] == pytest.approx(2 * stats.t.sf(0.2 / error, 2), abs=1e-9)
    assert found["low"] == pytest.approx(0.2 - 4.3027 * error, abs=1e-4)
    assert comparison.paired_test([0.1])["p"] is None


def test_seeds_that_agree_by_chance_are_no_certainty():
    for gains in ([0.1, 0.1], [0.9 - 0.8, 0.8 - 0.7]):  # the second pair differs in its last digit
        found = comparison.paired_test(gains)
        assert found["gain"] == pytest.approx(0.1) and found["pairs"] == 2
        assert (found["low"], found["high"], found["p"]) == (None, None, None)
    assert comparison.paired_test([0, 0])["p"] == 1.0


def test_the_bar_is_not_whoever_says_car_most():
    def said(recall, noncars):
        return {"winter_car_recall": recall, "winter_noncar_called_car": noncars}

    valid = {
        ("object", 811, 0): {"winter": said(0.9, 0.3), "oversampled": said(1.0, 0.6),
                             "vae_transfer": said(1, 0), "continued": said(1, 0)},
        ("object", 811, 1): {"winter": said(0.8, 0.3), "oversampled": said(1.0, 0.7)},
        ("object", 50, 0): {"winter": said(0.5, 0.4), "oversampled": said(0.7, 0.4)},
    }  # fmt: skip
    scores = comparison.baseline_scores(valid)
    assert comparison.bar(scores) == {("object", 50): "oversampled", ("object", 811): "winter"}
    first = scores[(scores["n_winter"] == 811)].iloc[0]
    assert (first["arm"], first["seeds"]) == ("winter", 2) and first["score"] == pytest.approx(0.55)
    assert comparison.bar(comparison.baseline_scores({})) == {}
    left = comparison.baseline_scores(valid, {("object", 811, "winter")})  # nothing was kept of it
    assert comparison.bar(left)[("object", 811)] == "oversampled"


def test_differences_are_paired_by_seed():
    table = pd.concat([
        rows("none", [500, 500]), rows("continued", [600, 700]), rows("winter", [900, 950]),
        rows("winter", [800, 820], n_winter=50), rows("vae_transfer", [850, 950], n_synthetic=100),
        rows("vae_transfer", [900], n_winter=50, n_synthetic=100),
    ], ignore_index=True)  # fmt: skip
    found = comparison.against(table, {("object", 811): "winter", ("object", 50): "winter"})
    assert tuple(found.columns) == comparison.PAIRED
    place = found.set_index(["arm", "n_winter", "against"])
    assert place.loc[("vae_transfer", 811, "continued"), "gain"] == pytest.approx(0.25)
    assert place.loc[("vae_transfer", 811, "winter"), "gain"] == pytest.approx(-0.025)
    # the control has no winter crops: its only rows serve at 50 too, for the seeds that are there
    few = place.loc[("vae_transfer", 50, "continued")]
    assert few["gain"] == pytest.approx(0.3) and few["pairs"] == 1 and np.isnan(few["p"])
    assert place.loc[("vae_transfer", 50, "winter"), "gain"] == pytest.approx(0.1)
    assert place.loc[("winter", 50, "continued"), "gain"] == pytest.approx(0.16)
    assert not {"none", "continued"} & set(found["arm"])
    assert len(comparison.against(rows("continued", [1, 2]), {})) == 0


def test_the_distance_that_is_closed():
    table = pd.concat([
        rows("continued", [600, 700]), rows("winter", [900, 900]), rows("vae_transfer", [800, 850], 811, 100),
        rows("vae_transfer", [700, 700], 50, 100),
    ], ignore_index=True)  # fmt: skip
    (found,) = comparison.closed_distance(table, "vae_transfer").to_dict("records")  # none at 50: no goal
    assert found["share"] == pytest.approx(0.175 / 0.25) and found["seeds"] == 2
    assert found["low"] < found["share"] < found["high"] and found["n_winter"] == 811
    empty = comparison.closed_distance(table, "vae_scratch")
    assert not len(empty) and "share" in empty
    assert not len(comparison.closed_distance(rows("continued", [600]), "vae_transfer"))
    paper = comparison.against(table.assign(protocol="paper"), {})
    assert set(paper["n_winter"]) == {811}  # at 50 other winter crops are asked about


@pytest.mark.parametrize("found, text", [
    ({"gain": 0.0123, "low": -0.0031, "high": 0.0277}, "+1.2 [-0.3, +2.8]"),
    ({"gain": -0.02, "low": None, "high": None}, "-2.0"),
])  # fmt: skip
def test_a_difference_as_text(found, text):
    assert comparison.gain_text(found) == text


def test_cells_with_the_most_new_cars_among_those_with_repeated_crops():
    cells = [{"n_synthetic": n, "arms": dict.fromkeys(arms)} for n, arms in
             ((30, ["winter"]), (10, ["oversampled", "winter"]), (3, ["oversampled"]), (10, ["oversampled"]))]
    assert comparison.with_most_samples(cells) == [cells[1], cells[3]]
    assert comparison.with_most_samples(cells[:1]) == []


def test_of_cars_or_not_another_wrong_class_is_no_fault():
    truth = np.array([0, 0, 3, 3, CAR])
    first = evaluation.answers(truth, np.array([0, 3, 3, CAR, CAR]))
    second = evaluation.answers(truth, np.array([CAR, 0, 3, 3, CAR]))
    told = [comparison.mcnemar(first, second, alone)["only_second"] for alone in (False, True)]
    assert told == [2, 1]  # a bus taken for a motorcycle counts as a wrong class alone
    assert comparison.mcnemar(first, second, True)["only_first"] == 1


def test_holm_by_hand():
    p = pd.Series([0.01, 0.04, np.nan, 0.03], index=[5, 6, 7, 8])
    found = comparison.holm(p)  # 3 x 0.01, 2 x 0.03, and not less for the next
    assert found.drop(7).tolist() == pytest.approx([0.03, 0.06, 0.06]) and np.isnan(found[7])


def test_arms_with_and_without_new_cars_are_one_family():
    """Each p is adjusted for all arms of one table, and an arm of which nothing was kept is none of them."""
    table = pd.concat([
        rows("continued", [600, 610, 620]), rows("winter", [700, 720, 700]), rows("classic", [610, 640, 615]),
        rows("vae_transfer", [800, 790, 830], n_synthetic=100),
        rows("vae_transfer", [810, 790, 820], n_synthetic=300),
    ], ignore_index=True)  # fmt: skip
    found = comparison.against(table, {})
    first = found[found["n_synthetic"].isin([0, 100])]
    assert first["p_holm"].tolist() == pytest.approx(comparison.holm(first["p"]).tolist())
    assert (first["p_holm"] >= first["p"]).all() and first["p_holm"].min() >= 3 * first["p"].min() - 1e-12
    less = comparison.against(table, {}, {("object", 811, "classic")})
    assert less.loc[less["arm"] == "classic", "p_holm"].isna().all()
    assert less["p_holm"].min() == pytest.approx(2 * less["p"].min())


def test_a_measurement_of_nothing_is_no_difference():
    table = pd.concat([rows("continued", [600, 700]), rows("winter", [900, 950])], ignore_index=True)
    empty = (table["arm"] == "winter") & (table["seed"] == 1)
    table.loc[empty, ["value", "numerator", "denominator"]] = 0
    (found,) = comparison.against(table, {}).to_dict("records")
    assert found["pairs"] == 1 and found["gain"] == pytest.approx(0.3)
