"""The README's table is made from committed numbers, all of them and nothing else."""

from __future__ import annotations

import pytest

from lib import claims, runs
from lib.arms import ARMS
from lib.settings import ROOT


def summary_row(arm: str, metric: str, protocol: str, mean: float) -> dict:
    return {"arm": arm, "metric": metric, "protocol": protocol, "split": "object", "mean": mean,
            "low": mean - 0.01, "high": mean + 0.01, "n_seeds": 3}  # fmt: skip


@pytest.fixture
def figures(tmp_path):
    rows = [
        summary_row(arm, metric, protocol, 0.5 + 0.01 * k + (0.2 if protocol == "paper" else 0))
        for k, arm in enumerate(ARMS)
        for metric in claims.MEASURES
        for protocol in claims.PROTOCOLS
    ]
    runs.write_json(tmp_path / "embedded" / "table2_summary.json", rows)
    runs.write_json(tmp_path / "embedded" / "timing.json", {"total": 600.0})
    runs.write_json(tmp_path / "annotations" / "table1.json",
                    {"train": 290207, "valid": 36273, "test": 36282, "median_width": 26.0})  # fmt: skip
    return tmp_path


def test_table_holds_exact_counts_and_every_arm_in_order(figures):
    text = claims.table(figures)
    assert text.count("290,207 / 36,273 / 36,282; 26 px") == 2  # the paper's and ours
    assert text.count("801,980 / 797,980 / 12") == 2 and text.count("2,243,960 / 2,235,960 / 24") == 2
    held_out = next(line for line in text.splitlines() if "held out" in line)
    assert "50.0 [49.0, 51.0] → 51.0 [50.0, 52.0] → 52.0 [51.0, 53.0] → 53.0 [52.0, 54.0]" in held_out
    assert "| – |" in held_out  # the paper has no held-out number
    leaky = next(line for line in text.splitlines() if "protocol paper" in line)
    assert "71.2 → 92.4" in leaky and "70.0 [69.0, 71.0]" in leaky and "10 min" in leaky
    assert "scene_realism" not in text
    shares = {"car_called_car": 0.7, "noncar_called_car": 0.2}
    runs.write_json(figures / "benchmarks" / "scene_realism.json", shares)
    assert "| 70.0 / 20.0 |" in claims.table(figures)
    widths = {line.count("|") for line in text.splitlines()}
    assert widths == {6}


def test_write_replaces_only_what_stands_between_the_marks(figures, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{claims.START}\nold\n{claims.END}\nafter\n", encoding="utf-8")
    claims.write(readme, figures)
    once = readme.read_text(encoding="utf-8")
    assert once.startswith("before\n") and once.endswith("\nafter\n") and "old" not in once
    claims.write(readme, figures)
    assert readme.read_text(encoding="utf-8") == once


def test_readme_without_marks_is_an_error_and_stays(figures, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("nothing here\n", encoding="utf-8")
    with pytest.raises(runs.InputError, match="no place for the claims"):
        claims.write(readme, figures)
    assert readme.read_text(encoding="utf-8") == "nothing here\n"


def test_committed_readme_agrees_with_the_committed_numbers():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert claims.table(ROOT / "figures") in text
