"""Figures say what their numbers are from."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from lib import evaluation, figures, table2
from lib.arms import ARMS


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def summary(noncars: str | None) -> pd.DataFrame:
    measures = {name: evaluation.Measure(0.5, 0.4, 0.6, 5, 10) for name in evaluation.METRICS}
    rows = [
        evaluation.table2_rows(arm, protocol, "object", 8, 0 if arm in evaluation.ARMS_WITHOUT_SAMPLES else 9,
                               0, measures, "winter crops", noncars)
        for arm in ARMS for protocol in evaluation.PROTOCOLS
    ]  # fmt: skip
    return evaluation.summarise(pd.concat(rows, ignore_index=True))


@pytest.mark.parametrize("noncars, said", [(None, "winter crops"), ("simulated winter", "simulated winter")])
def test_table2_names_the_data_and_each_winter(noncars, said):
    figure = figures.table2(
        summary(noncars), table2.PAPER_TABLE2, list(ARMS), "object", "val 456 of 548 frames"
    )
    assert "split by object: val 456 of 548 frames" in figure.get_suptitle()
    titles = [axis.get_title() for axis in figure.axes]
    assert [title.split(":")[0] for title in titles[1:3]] == ["winter crops"] * 2
    assert titles[4].startswith(f"{said}: non-cars")


def test_distances_names_the_winter_of_the_held_out_cars():
    values = np.linspace(1, 30, 40)
    figure = figures.distances(values, values + 2, 4.0, "simulated winter")
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert "held-out cars (simulated winter)" in legend and not any("real" in text for text in legend)
