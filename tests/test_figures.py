"""Figures say what their numbers are from."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from lib import arm_figures, figures, gains, intervals, measurements, table2
from lib.arms import ARMS, ARMS_WITHOUT_SAMPLES
from lib.visdrone import CLASSES


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def rows(noncars: str | None = None, n_winter: int = 8, seeds=(0,), arms=tuple(ARMS)) -> pd.DataFrame:
    measures = {name: intervals.Measure(0.5, 0.4, 0.6, 5, 10) for name in measurements.METRICS}
    return pd.concat([
        measurements.table2_rows(arm, protocol, "object", n_winter,
                               0 if arm in ARMS_WITHOUT_SAMPLES else 9, seed, measures,
                               "winter crops", noncars)
        for arm in arms for protocol in measurements.PROTOCOLS for seed in seeds
    ], ignore_index=True)  # fmt: skip


@pytest.mark.parametrize("noncars, said", [(None, "winter crops"), ("simulated winter", "simulated winter")])
def test_table2_names_the_data_and_each_winter(noncars, said):
    table = rows(noncars)
    summary, frames = gains.summarise(table), "val 456 of 548 frames"
    figure = arm_figures.table2(summary, table2.PAPER_TABLE2, list(ARMS), "object", frames, table)
    assert "split by object: val 456 of 548 frames" in figure.get_suptitle()
    titles = [axis.get_title() for axis in figure.axes]
    assert [title.split(":")[0] for title in titles[1:3]] == ["winter crops"] * 2
    assert titles[5].startswith(f"{said}: non-cars")
    assert "blue: with winter crops, orange: with a generator, grey: with neither" in figure.get_suptitle()


def test_table2_shows_each_seed_and_a_line_for_each_arm():
    table = rows(seeds=(0, 1, 2), arms=("none", "continued", "vae_transfer"))
    arms = ["none", "continued", "vae_transfer"]
    figure = arm_figures.table2(gains.summarise(table), table2.PAPER_TABLE2, arms, "object", "x", table)
    points = [line.get_xdata() for line in figure.axes[2].lines if line.get_marker() == "."]
    assert [len(x) for x in points] == [3, 3, 3]
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == [ARMS[arm].label for arm in arms]
    assert "over them; orange: with a generator, grey: with neither;" in figure.get_suptitle()  # no blue


def test_curves_show_numbers_in_order_and_the_control_as_a_level():
    table = pd.concat([rows(seeds=(0, 1), arms=("continued", "winter", "vae_transfer")),
                       rows(n_winter=4, seeds=(0, 1), arms=("winter", "vae_transfer"))])  # fmt: skip
    places = table2.table2_settings(gains.summarise(table))
    (part,) = table2.varied(table, "n_winter", places).values()
    assert table2.varied(table, "n_synthetic", places) == {}
    panels = {"winter_car_recall": "recall"}
    (axis,) = arm_figures.curves(gains.summarise(part), part, "n_winter", panels, "title").axes
    lines = {line.get_label(): line for line in axis.lines if not line.get_label().startswith("_")}
    assert set(lines) == {"control", "winter crops", "after"}
    assert lines["after"].get_xdata().tolist() == [4, 8]
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["4", "8"]


def test_curves_of_every_arm_can_be_told_apart_and_a_part_has_the_colour_of_its_whole():
    arms = tuple(arm for arm in ARMS if arm != "none")
    moved = tuple(arm for arm in arms if arm != "continued")
    table = pd.concat([rows(seeds=(0, 1), arms=arms), rows(n_winter=4, seeds=(0, 1), arms=moved)])
    panels = {"winter_car_recall": "recall"}
    (axis,) = arm_figures.curves(gains.summarise(table), table, "n_winter", panels, "title").axes
    lines = {line.get_label(): line for line in axis.lines if not line.get_label().startswith("_")}
    assert set(lines) == {ARMS[arm].label for arm in arms}
    looks = [(line.get_color(), line._dash_pattern) for line in lines.values()]
    assert len(set(map(str, looks))) == len(looks)
    for arm in moved:
        if whole := ARMS[arm].of:
            assert lines[ARMS[arm].label].get_color() == lines[ARMS[whole].label].get_color()


def test_distances_names_the_winter_of_the_held_out_cars():
    values = np.linspace(1, 30, 40)
    figure = figures.distances(values, values + 2, 4.0, "simulated winter")
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert "held-out cars (simulated winter)" in legend and not any("real" in text for text in legend)


def test_a_sheet_of_no_image_is_white():
    sheet = figures.tile(np.empty((0, 32, 32, 3), np.uint8), 16)
    assert sheet.shape == (32, 16 * 34 - 2, 3) and (sheet == 255).all()


@pytest.mark.parametrize("count", [2, 12])
def test_names_of_curves_stand_below_and_no_two_look_alike(count):
    history = [{"step": k, "loss": 1 / k, "accuracy": 1 - 1 / k} for k in (1, 2, 3)]
    drawn = figures.learning_curves({f"arm {k}": history for k in range(count)}, "Arms")
    left, right = drawn.axes
    assert len({(line.get_color(), line.get_linestyle()) for line in left.lines}) == count
    (legend,) = drawn.legends
    assert right.get_legend() is None
    assert [text.get_text() for text in legend.get_texts()] == [f"arm {k}" for k in range(count)]


def test_a_single_curve_has_its_legend_within():
    history = [{"step": k, "loss": 1 / k, "accuracy": 1 - 1 / k} for k in (1, 2, 3)]
    drawn = figures.learning_curves({"training": history}, "One")
    assert not drawn.legends and drawn.axes[1].get_legend()


def test_an_arm_far_from_many_others_is_pointed_at():
    """Its recall would make one point of all the others: an arrow at the edge has its number."""
    arms = ["none", "continued", "winter", "oversampled", "classic", "vae_scratch", "vae_only"]
    table = rows(seeds=(0, 1), arms=arms)
    far = (table["arm"] == "vae_only") & (table["metric"] == "car_recall")
    table.loc[far, ["value", "low", "high", "numerator"]] = [0.1, 0.05, 0.15, 1]
    figure = arm_figures.table2(gains.summarise(table), table2.PAPER_TABLE2, arms, "object", "x", table)
    axis = figure.axes[0]
    assert axis.get_xlim()[0] > 10 and "\u25c2 10.0" in [text.get_text() for text in axis.texts]
    low, high = axis.get_xlim()
    assert low < 50 < high


@pytest.mark.parametrize(
    ("others", "rightmost"),
    [({}, 70), ({"control": 55, "crops": 60}, 70), ({"control": 80, "crops": 90}, 90)],
)
def test_changes_of_recall_stand_beside_what_they_are_compared_with(others, rightmost):
    titles = {"source": "summer", "target": "winter"}

    def recalls(percent):
        return {domain: {name: {"recall": percent / 100, "n": 9} for name in CLASSES} for domain in titles}

    beside = {name: recalls(percent) for name, percent in others.items()}
    drawn = figures.recall_changes(recalls(50), recalls(70), ["car"], titles, beside)
    for axis in drawn.axes:
        for mark, told, name in (("|", "bar", "control"), ("x", "cross", "crops")):
            grey = [line for line in axis.lines if line.get_marker() == mark]
            assert len(grey) == len(CLASSES) * (name in others)
            assert all(line.get_xdata() == pytest.approx([others[name]]) for line in grey)
            assert (f"{told}: {name}" in drawn.get_suptitle()) is (name in others)
        assert {text.get_text() for text in axis.texts} == {"+20.0"}
        assert all(text.xy[0] == pytest.approx(rightmost) for text in axis.texts)  # right of every mark
    names = drawn.axes[0].get_yticklabels()
    assert [label.get_text() for label in names if label.get_fontweight() == "bold"] == ["car"]
