"""The README's table of claims, written from the committed numbers: `python -m lib.claims`.

Claim, command, time, the paper's number and ours with its 95 % interval. Nothing in the
table is typed by hand, so it cannot disagree with `figures/`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lib import runs
from lib.arms import ARMS
from lib.evaluation import PAPER_TABLE2
from lib.models import build_classifier, build_vae, count_parameters
from lib.runs import InputError
from lib.settings import ROOT
from lib.visdrone import PAPER_MEDIAN_WIDTH, PAPER_TABLE1

START, END = "<!-- claims -->", "<!-- /claims -->"
MEASURES = {  # metric -> (claim, protocol whose row is read)
    "accuracy": ("accuracy, six classes", "heldout"),
    "car_recall": ("summer cars called car", "heldout"),
    "noncar_called_car": ("non-cars called car", "heldout"),
    "winter_car_recall": ("winter cars called car, {protocol}", None),
    "winter_noncar_called_car": ("winter non-cars called car", "heldout"),
}
PROTOCOLS = {"paper": "protocol paper (leaky)", "heldout": "held out"}


def _percent(row: dict) -> str:
    return f"{100 * row['mean']:.1f} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"


def _paper(metric: str, protocol: str | None) -> str:
    before, after = PAPER_TABLE2.get((metric, protocol)) or PAPER_TABLE2.get((metric, None)) or (None, None)
    if before is None:
        return "–"
    return f"{before} → {after}" if after is not None else f"{before}"


def exact_rows(figures: Path) -> list[list[str]]:
    """What must agree to the unit: Table 1 from the annotation files, the parameter counts."""
    rows = []
    file = figures / "annotations" / "table1.json"
    if file.exists():
        table = runs.read_json(file)
        ours = " / ".join(f"{table[part]:,}" for part in PAPER_TABLE1) + f"; {table['median_width']:g} px"
        paper = " / ".join(f"{n:,}" for n in PAPER_TABLE1.values()) + f"; {PAPER_MEDIAN_WIDTH} px"
        rows.append(
            [
                "Table 1: train / valid / test; median width",
                "`python -m lib.visdrone FOLDER`",
                "seconds",
                paper,
                ours,
            ]
        )
    for name, model, paper in (
        ("classifier", build_classifier(), "801,980 / 797,980 / 12"),
        ("autoencoder", build_vae(), "2,243,960 / 2,235,960 / 24"),
    ):
        count = count_parameters(model)
        ours = f"{count.total:,} / {count.trainable:,} / {count.convolutions}"
        rows.append([f"{name}: parameters / trainable / convolutions", "`make test`", "seconds", paper, ours])
    return rows


def realism_rows(figures: Path) -> list[list[str]]:
    """How real the drawn scenes are: trained on drawn crops alone, asked about real ones."""
    file = figures / "benchmarks" / "scene_realism.json"
    if not file.exists():
        return []
    found = runs.read_json(file)
    ours = f"{100 * found['car_called_car']:.1f} / {100 * found['noncar_called_car']:.1f}"
    claim = "trained on drawn scenes alone: real cars / real non-cars called car (%)"
    return [[claim, "`python -m benchmarks.scene_realism`", "4 min", "–", ours]]


def profile_rows(folder: Path) -> list[list[str]]:
    """Table 2 of one profile: a row a measure, split and protocol, the arms side by side."""
    profile = folder.name
    summary, timing = runs.read_json(folder / "table2_summary.json"), runs.read_json(folder / "timing.json")
    command = f"`make reproduce{'' if profile == 'embedded' else f' PROFILE={profile}'}`"
    minutes = f"{timing['total'] / 60:.0f} min"
    rows = []
    for split in sorted({row["split"] for row in summary}):
        for metric, (claim, protocol) in MEASURES.items():
            for wanted in [protocol] if protocol else PROTOCOLS:
                found = {
                    row["arm"]: row
                    for row in summary
                    if (row["split"], row["metric"], row["protocol"]) == (split, metric, wanted)
                }
                ours = " → ".join(_percent(found[arm]) for arm in ARMS if arm in found)
                seeds = found["none"]["n_seeds"]
                title = f"{claim.format(protocol=PROTOCOLS[wanted])} (%)"
                where = f"`{profile}`, split by {split}, {seeds} seed{'s' if seeds > 1 else ''}: "
                rows.append(
                    [where + title, command, minutes, _paper(metric, None if protocol else wanted), ours]
                )
    return rows


def table(figures: Path) -> str:
    """The whole table as Markdown."""
    rows = exact_rows(figures) + realism_rows(figures)
    for profile in ("embedded", "visdrone-val", "paper"):
        if (figures / profile / "table2_summary.json").exists():
            rows += profile_rows(figures / profile)
    head = [
        "claim",
        "command",
        "time, 2 cores",
        "paper",
        "ours [95 % interval]: " + " → ".join(arm.label for arm in ARMS.values()),
    ]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write(readme: Path = ROOT / "README.md", figures: Path = ROOT / "figures") -> None:
    """Put the table between the two marks in the README; InputError if they are not there."""
    text = readme.read_text(encoding="utf-8")
    if text.count(START) != 1 or text.count(END) != 1:
        raise InputError(readme, "no place for the claims", f"{START} and {END}, once each")
    head, rest = text.split(START)
    tail = rest.split(END)[1]
    runs.write_text(readme, f"{head}{START}\n{table(figures)}\n{END}{tail}")


if __name__ == "__main__":
    try:
        write()
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
