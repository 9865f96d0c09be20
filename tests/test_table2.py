"""Table 2 as a person reads it, and differences as words, as notebook 06 shows them."""

import math

import pandas as pd
import pytest

from lib import table2
from lib.data import WINTER_NAMES
from lib.evaluation import EQUAL_SHARE, NONCARS, SIMULATED
from lib.gains import summarise
from lib.intervals import Measure
from lib.measurements import METRICS, table2_rows
from lib.runs import InputError
from tests.test_gains import rows, three_arms

SETTING = {"split": "object", "arm": "vae_transfer", "protocol": "heldout", "against": "continued"}


def compared(metric, gain, p=math.nan, pairs=1, arm="vae_transfer", against="continued"):
    return {"split": "object", "protocol": "heldout", "metric": metric, "arm": arm, "against": against,
            "gain": gain, "low": gain - 0.1 if p == p else p, "high": gain + 0.1, "p": p,
            "p_holm": min(1.0, 2 * p) if p == p else p, "pairs": pairs}  # fmt: skip


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
    assert found.iloc[0].tolist()[:4] == ["object", "after", "heldout", "control"]
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
        ["object", "after", "control", 3,
         "+5.9 [-4.1, +15.9]\np 0.062", "+2.1 [-7.9, +12.1]\np 1", "–"],
        ["object", "after", "winter crops", 1, "+10.0", "–", "–"],
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


def as_lines(text) -> dict[str, list[str]]:
    return {row.split("|")[1].strip(): [cell.strip() for cell in row.split("|")[2:-1]]
            for row in text.splitlines() if row.startswith("|")}


def test_table2_markdown():
    table = pd.concat([three_arms(), rows("vae_transfer", {"winter_car_recall": [924]}, protocol="paper")])
    text = table2.table2_markdown(summarise(table))
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
        table2.table2_markdown(summarise(table), arms=["none", "winter"])


def test_table2_is_one_table_a_split_with_every_arm():
    values = {"winter_car_recall": [600], "accuracy": [900]}
    table = pd.concat([rows(arm, values) for arm in ("vae_recoloured", "vae_transfer", "mixup", "none")])
    other = table.assign(split="sequence")
    summary = summarise(pd.concat([table, other], ignore_index=True))
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


def test_table2_is_of_the_numbers_at_which_most_arms_were_measured():
    some = [rows("vae_transfer", {"accuracy": [900]}, n, k) for n, k in ((811, 100), (811, 200), (50, 100))]
    table = pd.concat([rows("continued", {"accuracy": [880]}, 811), *some], ignore_index=True)
    summary = summarise(table)
    assert table2.table2_settings(summary) == [("object", 811, 200)]  # equal: the larger numbers
    more = pd.concat([table, rows("vae_scratch", {"accuracy": [890]}, 811, 100)], ignore_index=True)
    summary = summarise(more)
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
    summary = summarise(table)
    places = table2.table2_settings(summary)
    assert places == [("object", 811, 100)]
    assert table2.seeds_text(summary, places[0]).startswith("means of 3 seeds")
    line = next(row for row in table2.table2_markdown(summary).splitlines() if row.startswith("| Overall"))
    assert [cell.strip()[:4] for cell in line.split("|")[4:7]] == ["88.1", "–", "90.1"]  # none of 50 crops
    doses = table2.varied(table, "n_synthetic", places)["object"]
    assert set(doses["seed"]) == {0}  # of the others there is one dose alone


def test_titles_name_the_winter_of_each_measure():
    about = {"winter": "winter crops", "noncar_source": "store"}
    titles = table2.titles(about)
    assert titles["winter_car_recall"] == "Winter cars (winter crops): recall, held out"
    assert titles["winter_noncar_called_car"] == "Non-cars called car, winter (simulated winter)"
    own = table2.titles(about | {"noncar_source": "own"})
    assert own["winter_noncar_called_car"].endswith("(winter crops)")
    lines = {metric for metric, _, _ in table2.LINES}  # one of them needs the control's answers
    assert set(titles) == lines - {EQUAL_SHARE} and lines <= set(METRICS)
    assert SIMULATED == WINTER_NAMES["simulated"]
