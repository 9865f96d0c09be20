"""The last thing that `make reproduce` prints: `python -m lib.report PROFILE`.

Reads what the notebooks wrote and computes nothing that they computed. Adds two files to
the summary, timing.json and provenance.json (`lib.provenance`).
"""

from __future__ import annotations

import re
import sys
from typing import Any

from lib import runs
from lib.evaluation import NONCARS
from lib.provenance import need, profile_folder, timing, write_provenance
from lib.published import Published
from lib.runs import command_line
from lib.table2 import points
from lib.visdrone import PAPER_MEDIAN_WIDTH, PAPER_TABLE1

ARM_WORDS = {"continued": "the control", "none": "the classifier before"}
SOURCE_WORDS = {"scenes": "drawn scenes", "visdrone": "VisDrone-DET"}


def aligned(rows: list[list[str]], indent: str = "  ") -> str:
    """Rows of words as columns: the first to the left, the others to the right."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])] + [
            cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True)
        ]
        lines.append(indent + "  ".join(cells).rstrip())
    return "\n".join(lines)


def frames_text(data: dict[str, Any]) -> str:
    """For example "VisDrone-DET, val 456 of 548 frames", or "drawn scenes, 180 frames"."""
    word, frames = SOURCE_WORDS.get(data["source"], data["source"]), data["frames"]
    if data["source"] == "scenes":
        return f"{word}, {sum(count['found'] for count in frames.values())} frames"
    counts = [f"{name} {count['found']:,} of {count['expected']:,}" for name, count in frames.items()]
    return f"{word}, {', '.join(counts)} frames"


def machine_text(machine: dict[str, Any]) -> str:
    """Where numbers were computed, of `machine.facts`: its GPU, or how many cores."""
    return machine["gpu"] or f"{machine['cores']} cores"


def table1_text(table1: dict[str, Any], frames: str) -> str:
    """Table 1, ours and the paper's; `frames` as of `frames_text`."""
    parts = ("train", "valid", "test")
    paper = [f"{PAPER_TABLE1[part]:,}" for part in parts]
    ours = [f"{table1[part]:,}" for part in (*parts, "total")]
    width = "–" if table1["median_width"] is None else f"{table1['median_width']:g} px"
    return aligned([
        ["Table 1, objects", *parts, "total", "median width"],
        [f"ours ({frames})", *ours, width],
        ["paper (VisDrone-DET)", *paper, f"{sum(PAPER_TABLE1.values()):,}", f"{PAPER_MEDIAN_WIDTH} px"],
    ], indent="")  # fmt: skip


def markdown_text(markdown: str) -> str:
    """Markdown tables as plain columns, a head like "before (none)" in two lines; other lines stay."""
    out: list[str] = []
    rows: list[list[str]] = []
    for line in [*markdown.splitlines(), ""]:
        if line.startswith("|"):
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            if all(re.fullmatch(r":?-+:?", cell) for cell in cells):
                continue
            if not rows:
                split = [cell.partition(" (") for cell in cells]
                rows = [[name for name, _, _ in split]]
                cells = [f"({code}" if code else "" for _, _, code in split]
                if not any(cells):
                    continue
            rows.append(cells)
            continue
        if rows:
            out.append(aligned(rows))
            rows = []
        if line.strip():
            out.append(line.strip())
    return "\n".join(out)


def verdict_text(entry: dict[str, Any]) -> str:
    """One entry of `gains.verdict` as a line."""
    word = {True: "better", False: "not better", None: "cannot be told"}[entry["better"]]
    word += ", though by a gain that may be none" if entry["better"] and entry["clear"] is False else ""
    line = (f"Split by {entry['split']}, protocol {entry['protocol']}, {entry['arm']} against "
            f"{ARM_WORDS.get(entry['against'], entry['against'])}: {word}. "
            f"Recall of winter cars ({entry['winter']}) {points(entry['gain'])} points")  # fmt: skip
    if entry["gain_low"] is not None:
        line += f" [{points(entry['gain_low'])}, {points(entry['gain_high'])}]"
    if entry["closed_gap"] is not None:
        line += f", {100 * entry['closed_gap']:.0f} % of the distance to 100 % closed"
    names = {NONCARS: f"non-cars called car in winter ({entry['winter_noncars']})",
             "noncar_called_car": "non-cars called car in summer", "car_recall": "summer cars"}  # fmt: skip
    parts = []
    for metric, guard in entry["guards"].items():
        over = "" if guard["kept"] is not False else ", EXCEEDED"
        parts.append(
            f"{names.get(metric, metric)} {points(guard['moved'])} (limit {points(guard['limit'])}{over})"
        )
    return line + "; " + ", ".join(parts)


def timing_text(times: dict[str, Any]) -> str:
    """Minutes and seconds by notebook."""
    rows = [["Time", "seconds", "runs"]]
    rows += [
        [name, f"{sum_:,.0f}", str(len(times["seconds"][name]))] for name, sum_ in times["by_stage"].items()
    ]
    rows.append(["all", f"{times['total']:,.0f}", ""])
    if times["on_the_clock"] is not None:
        rows.append(["on the clock", f"{times['on_the_clock']:,.0f}", ""])
    return aligned(rows, indent="")


def text(profile: str) -> str:
    """The whole report; writes timing.json and provenance.json. Raises InputError if a file is missing."""
    found = need(profile, "summary/evaluation.json")
    others = Published(profile, tuple(found["published"]))
    run_names = [name for name in found["runs"] if name not in others]  # those of this machine
    summary = profile_folder(profile) / "summary"
    times = timing(profile, run_names, others)
    command = f"make reproduce PROFILE={profile}"
    table2 = runs.require(summary / "table2.md", command).read_text(encoding="utf-8")
    table1 = table1_text(need(profile, "summary/table1.json"), found["frames_text"])
    runs.write_json(summary / "timing.json", times)
    write_provenance(profile, run_names, others)
    folder = f"runs/{profile}"
    first = run_names[0] if len(run_names) == 1 else f"<{', '.join(run_names)}>"
    places = [
        ["Tables", f"{folder}/summary/: table1.json, table2.csv, table2.md, evaluation.json"],
        ["Figures", f"{folder}/summary/figures/ and {folder}/{first}/figures/"],
        ["Executed notebooks", f"{folder}/summary/notebooks/ and {folder}/{first}/notebooks/"],
    ]
    width = max(len(name) for name, _ in places)
    verdicts = sorted(
        found["verdicts"], key=lambda e: (e["against"] != "continued", e["protocol"], e["split"])
    )
    return "\n\n".join([
        f"Profile {profile}: {', '.join(run_names)}"
        + (f"; with the committed {', '.join(others.names)}" if others.names else ""),
        table1,
        "Table 2, " + markdown_text(table2),
        "\n".join(["Does it count as better?", *(f"  {verdict_text(entry)}" for entry in verdicts)]),
        timing_text(times),
        "\n".join([f"{name:<{width}}  {place}" for name, place in places]
                  + [f"{'Computed with':<{width}}  {found['path_line']}"]),
    ])  # fmt: skip


@command_line
def main(arguments: list[str]) -> int:
    """Print the report; 0, or 2 with one line if there is none."""
    if len(arguments) != 1:
        print("usage: python -m lib.report PROFILE", file=sys.stderr)
        return 2
    print("\n" + text(arguments[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
