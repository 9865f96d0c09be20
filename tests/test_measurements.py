"""The tidy table: its rows, its check, its reader."""
import numpy as np
import pandas as pd
import pytest

from lib.evaluation import answers
from lib.measurements import COLUMNS, METRICS, predictions_to_rows, read_table2
from lib.runs import InputError, write_table

CAR, BUS, TRUCK = 1, 0, 5


def one_arm(arm="vae_transfer", seed=0, n_synthetic=100) -> pd.DataFrame:
    generator = np.random.default_rng([seed, len(arm)])
    labels = np.arange(120) % 6
    said = np.where(generator.random(120) < 0.8, labels, CAR)
    sequences = np.array([f"s{k % 7}" for k in range(120)])
    cars = np.full(40, CAR)
    sure = np.eye(6)
    winter = {p: answers(cars, sure[np.where(generator.random(40) < 0.7, CAR, BUS)], sequences[:40])
              for p in ("paper", "heldout")}
    noncars = answers(labels[labels != CAR], sure[said[labels != CAR]], sequences[labels != CAR])
    return predictions_to_rows(arm, "object", 811, n_synthetic, seed, answers(labels, said, sequences),
                                  winter, noncars, called=3)


def test_tidy_rows():
    table = one_arm()
    assert tuple(table.columns) == COLUMNS == (
        "arm", "protocol", "split", "n_winter", "n_synthetic", "seed", "metric", "value", "low", "high",
        "numerator", "denominator", "winter")  # fmt: skip
    assert set(table["metric"]) == set(METRICS) and len(table) == 2 * len(METRICS)
    assert not table.isna().any().any() and (table["winter"] == "simulated winter").all()
    pd.testing.assert_frame_equal(table, one_arm())


def test_table2_round_trip(tmp_path):
    table = pd.concat([one_arm(), one_arm("none", n_synthetic=0)], ignore_index=True)
    path = write_table(tmp_path / "table2.csv", table)
    back = read_table2(path)
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
        read_table2(path)
    assert caught.value.line == 5 and str(path) in str(caught.value)


def test_read_table2_shape_of_the_file(tmp_path):
    path = write_table(tmp_path / "table2.csv", one_arm().drop(columns="winter"))
    with pytest.raises(InputError, match="columns arm,"):
        read_table2(path)
    path = write_table(tmp_path / "table2.csv", pd.concat([one_arm(), one_arm()]))
    with pytest.raises(InputError, match="the measurement of line 2 again"):
        read_table2(path)
    path.write_text(path.read_text().splitlines()[0] + "\nvae_transfer,paper\n")
    with pytest.raises(InputError, match="table2.csv:2: found 2 fields, expected 13"):
        read_table2(path)
    path.write_text("")
    with pytest.raises(InputError, match="table2.csv:1"):
        read_table2(path)
