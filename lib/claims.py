"""The README's tables of claims, written from the committed numbers: `python -m lib.claims`.

First what must agree to the unit: claim, command, time, the paper's number and ours. Then
Table 2 of each profile and split, with what it is from, how to get it and how long that took.
No result is typed by hand, so none can disagree with `figures/`; some times are.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from lib import runs
from lib.arms import ARMS, CONTROL, STARTS
from lib.comparison import gain_text, with_most_samples
from lib.evaluation import winter_of
from lib.models import build_classifier, build_vae, count_parameters
from lib.report import frames_text
from lib.runs import InputError
from lib.settings import ROOT
from lib.table2 import (
    arms_of,
    markdown_table,
    paper_numbers,
    seeds_text,
    table2_lines,
    table2_settings,
)
from lib.visdrone import PAPER_MEDIAN_WIDTH, PAPER_TABLE1

START, END = "<!-- claims -->", "<!-- /claims -->"
PYTHON = ".venv/bin/python"
GRID = "visdrone-val-grid"
PROFILES = ("embedded", "visdrone-val", GRID, "paper")  # whose tables the README shows
REAL_RUN = "visdrone-val/seed0"  # the run of real frames whose classifiers the panorama benchmark asks
IN_PART = ("winter_car_recall", "winter_noncar_called_car", "car_recall")  # told of retrainings in part
OVER_SEEDS = ("winter", "vae_transfer", "vae_recoloured", "vae_recoloured_part")  # told of all seeds
MOST_COLUMNS = 6  # arms; more become the lines of their table


def exact_rows(figures: Path) -> list[list[str]]:
    """What must agree to the unit: Table 1 from the annotation files, the parameter counts."""
    rows = []
    file = figures / "annotations" / "table1.json"
    if file.exists():
        table = runs.read_json(file)
        ours = " / ".join(f"{table[part]:,}" for part in PAPER_TABLE1) + f"; {table['median_width']:g} px"
        paper = " / ".join(f"{n:,}" for n in PAPER_TABLE1.values()) + f"; {PAPER_MEDIAN_WIDTH} px"
        command = f"`{PYTHON} -m lib.visdrone FOLDER`"
        rows.append(["Table 1: train / valid / test; median width", command, "seconds", paper, ours])
    for name, model, paper in (
        ("classifier", build_classifier(), "801,980 / 797,980 / 12"),
        ("autoencoder", build_vae(), "2,243,960 / 2,235,960 / 24"),
    ):
        count = count_parameters(model)
        ours = f"{count.total:,} / {count.trainable:,} / {count.convolutions}"
        command = f"`{PYTHON} -m lib.models`"
        rows.append([f"{name}: parameters / trainable / convolutions", command, "seconds", paper, ours])
    return rows


def _scene_realism(found: dict) -> list[str]:
    """How real the drawn scenes are: trained on drawn crops alone, asked about real ones."""
    ours = f"{100 * found['car_called_car']:.1f} / {100 * found['noncar_called_car']:.1f}"
    claim = "trained on drawn scenes alone: real cars / real non-cars called car (%)"
    return [claim, f"`{PYTHON} -m benchmarks.scene_realism`", "4 min", "–", ours]


def _vae_heads(found: dict) -> list[str]:
    """Which of the two heads that meet the published total the autoencoder has, and why."""
    ours = " / ".join(f"{found[name]['elbo']:,.0f}" for name in ("V1", "V4"))
    claim = "head of the autoencoder, V1 (one point) / V4 (2 x 2 grid, the default): held-out ELBO (nats)"
    return [claim, f"`{PYTHON} -m benchmarks.vae_heads runs/embedded/seed0`", "5 min", "–", ours]


def _vae_objectives(found: dict) -> list[str] | None:
    """What brings the decoder's own images nearer to held-out winter cars than the default does."""
    distance = {
        name: one["decoder_alone"]["classifier_feature_frechet_distance"]
        for name, one in found["variants"].items()
    }
    if "default" not in distance or len(distance) < 2:
        return None
    default = distance.pop("default")
    best = min(distance, key=distance.__getitem__)
    claim = (
        "the decoder alone, its images' Fréchet distance to held-out winter cars (judge's features): "
        f"the default objective → the best of {len(distance)} others"
    )
    command = f"`{PYTHON} -m benchmarks.vae_objectives runs/{found['run']}`"
    ours = f"{default:.1f} → {distance[best]:.1f} ({best})"
    return [claim, command, "90 min without bfloat16", "–", ours]


def _vae_starts(found: dict) -> list[str] | None:
    """What the autoencoder's starts come to: bound, and distance of the decoder's own images."""
    last = {name: rows[-1] for name, rows in found["starts"].items()}
    names = [name for name in STARTS if name in last]
    if len(names) < 2:
        return None
    claim = (f"autoencoder after {found['steps']} steps, encoder {' / '.join(names)}: held-out ELBO (nats); "
             "Fréchet distance of the decoder's images; one seed")  # fmt: skip
    bounds = " / ".join(f"{last[name]['heldout_elbo']:,.0f}" for name in names)
    distances = " / ".join(f"{last[name]['heldout_frechet']:.1f}" for name in names)
    command = f"`{PYTHON} -m benchmarks.vae_starts runs/{found['run']}`"
    return [claim, command, "100 min without bfloat16", "–", f"{bounds}; {distances}"]


def _in_part(found: dict) -> list[str]:
    """What each retraining in part gains over the control, and what it costs, on the test part."""
    told = []
    for arm in (name for name in ARMS if name in found["arms"]):
        one = found["arms"][arm]
        control = found["control"]
        moved = (f"{100 * (one['part'][name]['value'] - control[name]['value']):+.1f}" for name in IN_PART)
        told.append(f"{ARMS[arm].label} ({one['share']:.0%}) {' / '.join(moved)}")
    measures = "winter cars known / winter non-cars called car / summer cars known"
    claim = ("retrainings in part, the share chosen on the validation part, against the control (one "
             f"seed, points on the test part): {measures}")  # fmt: skip
    command = f"`{PYTHON} -m benchmarks.in_part runs/{found['run']}`"
    return [claim, command, "seconds, after notebook 05 with these arms", "–", "; ".join(told)]


def _gains(entry: dict, against: str, measures: Sequence[str]) -> str:
    """Differences of an arm from another in points, with their intervals over seeds."""
    return " / ".join(gain_text(entry["against"][against][name]) for name in measures)


def _arms_over_seeds(found: dict) -> list[str] | None:
    """What the arms gain over the control and cost, over all seeds that were trained."""
    cells = with_most_samples(found["cells"], "oversampled")
    if not cells:
        return None
    cell = cells[0]
    told = [f"{ARMS[name].label} {_gains(cell['arms'][name], CONTROL, IN_PART)}"
            for name in OVER_SEEDS if name in cell["arms"]]  # fmt: skip
    seeds = len(cell["arms"]["oversampled"]["seeds"])
    claim = (f"{cell['n_winter']} winter crops, {cell['n_synthetic']:,} new cars, {seeds} seeds, against the "
             "control (points, 95 % over seeds): winter cars known / winter non-cars called car / "
             "summer cars known")  # fmt: skip
    return [claim, _over_seeds_command(found), "seconds, after the grid", "–", "; ".join(told)]


def _generator_over_seeds(found: dict) -> list[str] | None:
    """What a generator adds to the same winter crops, repeated as often."""
    told = []
    for cell in with_most_samples(found["cells"], "oversampled"):
        entry = cell["arms"].get("vae_transfer", {"against": {}})
        if "oversampled" in entry["against"]:
            pairs = entry["against"]["oversampled"][IN_PART[0]]["pairs"]
            seeds = f"{pairs} seed{'s' if pairs > 1 else ''}"
            told.append(f"{cell['n_winter']} crops ({seeds}) "
                        f"{_gains(entry, 'oversampled', IN_PART[:2])}")  # fmt: skip
    if not told:
        return None
    claim = ("new cars against the winter crops repeated as often, without a generator (points, paired by "
             "seed): winter cars known / winter non-cars called car")  # fmt: skip
    return [claim, _over_seeds_command(found), "seconds, after the grid", "–", "; ".join(told)]


def _over_seeds_command(found: dict) -> str:
    return f"`{PYTHON} -m benchmarks.arms_over_seeds {found['profile']}`"


def _image_score(found: dict) -> list[str]:
    """Whether the score of a single image falls as real held-out cars are spoilt."""
    score = found["winter"]["intactness"]
    ours = " / ".join(f"{entry['rank_correlation']:.2f}" for entry in score.values())
    claim = f"score of a single image (intactness): rank correlation with {' / '.join(score)} in six steps"
    return [claim, f"`{PYTHON} -m benchmarks.image_score runs/visdrone-val/seed0`", "5 min", "none", ours]


def _fast_path(found: dict) -> list[str]:
    """What the fast path costs in accuracy."""
    ours = {name: f"{100 * value:+.2f}" for name, value in found["difference"].items()}
    interval = f" [{ours['low']}, {ours['high']}]" if "low" in ours else ""
    claim = f"fast path minus float32 reference: test accuracy (points), {len(found['seeds'])} seeds"
    command = f"`{PYTHON} -m benchmarks.fast_path {found['profile']} --passes {found['passes']:g}`"
    minutes = sum(sum(found[name]["seconds"]) for name in ("fast", "reference")) / 60
    return [claim, command, f"{minutes:.0f} min", "–", ours["mean"] + interval]


def _panorama_command(option: str = "", run: str = REAL_RUN) -> str:
    return f"`{PYTHON} -m benchmarks.panorama FOLDER --run runs/{run}{option}`"


def _panorama(found: dict) -> list[str]:
    """What the stage that compares two flights does on real frames."""
    changes, tiles, cars = found["changes"], found["stitching"], found["classification"]
    usual = max(changes[name]["f1"] for name in ("absolute_difference", "structural_similarity"))
    called = f"{100 * cars['car_called_car']:.0f}" if cars.get("car_called_car") is not None else "–"
    found_of = " / ".join(f"{100 * changes[name]:.0f}" for name in ("recall", "precision", "f1"))
    placed = f"{100 * tiles['placed']:.0f} / {tiles['reprojection_px']:.1f} px"
    claim = (
        f"moments of real places ({found['folder']}, {changes['pairs']} pairs): tiles placed (%) / error; "
        "changed vehicles: recall / precision / F1 (the better usual one's); cars of them called car (%)"
    )
    minutes = f"{found['seconds'] / 60:.0f} min" + (", with others" if "growth" in found else "")
    return [claim, _panorama_command(), minutes, "–", f"{placed}; {found_of} ({100 * usual:.0f}); {called}"]


def _growth(found: dict) -> list[str] | None:
    """Time and memory of the largest pair of panoramas."""
    sizes = [size for size in found.get("growth", {}).get("sizes", ()) if size["seconds"]]
    if not sizes:
        return None
    most = max(sizes, key=lambda size: size["megapixels"])
    size = f"{most['megapixels']:.0f} megapixels"
    claim = f"two panoramas of {size} compared and classified: time; memory; power of size in processor time"
    ours = f"{most['seconds']:.0f} s; {most['peak_gb']:.1f} GB; {found['growth']['exponent']:.2f}"
    return [claim, _panorama_command(" --growth"), f"{found['seconds'] / 60:.0f} min, with others", "–", ours]


def _drawn(found: dict, run: str = REAL_RUN) -> list[str] | None:
    """What the stage does between summer and snow, on drawn places, with the classifiers of a run."""
    drawn = found.get("drawn")
    if not drawn or drawn.get("after") is None:
        return None
    claim = (
        f"{drawn['places']} drawn places, summer and snow; changed vehicles: recall / precision; the "
        f"{drawn['winter_cars']} cars found under snow called car by {run}, before → after retraining (%)"
    )
    found_of = " / ".join(f"{100 * drawn[name]:.0f}" for name in ("recall", "precision"))
    ours = f"{found_of}; {100 * drawn['before']:.0f} → {100 * drawn['after']:.0f}"
    option, also = (" --drawn", ", with others") if "changes" in found else (" --parts drawn", "")
    minutes = f"{found['seconds'] / 60:.0f} min{also}"
    return [claim, _panorama_command(option, run), minutes, "–", ours]


MEASURED = (
    ("scene_realism", _scene_realism),
    ("vae_heads", _vae_heads),
    ("vae_objectives", _vae_objectives),
    ("vae_starts", _vae_starts),
    ("in_part", _in_part),
    (f"arms_over_seeds_{GRID}", _arms_over_seeds),
    (f"arms_over_seeds_{GRID}", _generator_over_seeds),
    ("image_score", _image_score),
    ("fast_path", _fast_path),
    ("panorama", _panorama),
    ("panorama", _growth),
    ("panorama", _drawn),
    ("panorama_drawn", partial(_drawn, run="embedded/seed0")),
)  # figures/benchmarks/<benchmark>.json, and a row from it; None where a part was not measured


def measured_rows(figures: Path) -> list[list[str]]:
    """The rows of each benchmark that has been run."""
    files = [(figures / "benchmarks" / f"{name}.json", row) for name, row in MEASURED]
    rows = [row(runs.read_json(file)) for file, row in files if file.exists()]
    return [row for row in rows if row]


def loop_rows(figures: Path) -> list[list[str]]:
    """What the automatic loop (notebook 08) did on the test parts, a row a profile."""
    rows = []
    for profile in PROFILES:
        files = sorted((figures / profile / "metrics").glob("*/weak_classes.json"))
        reports = [runs.read_json(file) for file in files]
        if not reports:
            continue
        kept = sum(report["accepted"] is not None for report in reports)
        ours = f"kept in {kept} of {len(reports)} seeds"
        if kept:
            weak, others = _loop_changes(reports)
            told = [", ".join(weak), *others[:1]]
            ours += "; " + "; ".join(text for text in told if text)
        claim = (f"automatic loop, profile {profile}: change of each weak class's winter recall; then the "
                 "other class that lost most (points on the test part, objects in brackets)")  # fmt: skip
        command = f"`make improve{'' if profile == 'embedded' else f' PROFILE={profile}'}`"
        rows.append([claim, command, "60 min a seed without bfloat16", "none", ours])
    return rows


def _loop_changes(reports: list[dict]) -> tuple[list[str], list[str]]:
    """Weak classes in winter, and all others in either season with the worst first: mean changes as text."""
    changes: dict[tuple[str, str], list[float]] = {}
    objects: dict[tuple[str, str], int] = {}
    for report in reports:  # one that keeps nothing changes nothing
        before, after = report["test"]["before"], report["test"]["after"]
        for domain, classes in before.items():
            for name, row in classes.items():
                change = 100 * (after[domain][name]["recall"] - row["recall"])
                changes.setdefault((domain, name), []).append(change)
                objects[domain, name] = objects.get((domain, name), 0) + row["n"]
    mean = {key: sum(values) / len(values) for key, values in changes.items()}
    weak = [("target", name) for name in dict.fromkeys(name for r in reports for name in r["weak"])]
    others = sorted(mean.keys() - set(weak), key=lambda key: (mean[key], key))
    season = {"source": "summer", "target": "winter"}
    return (
        [f"{name} {mean[domain, name]:+.1f} ({objects[domain, name]})" for domain, name in weak],
        [f"{name} in {season[domain]} {mean[domain, name]:+.1f} ({objects[domain, name]})"
         for domain, name in others],
    )  # fmt: skip


def _paper(metric: str, protocol: str | None) -> str:
    """The paper's numbers, before and after, in one cell."""
    known = [number for number in paper_numbers(metric, protocol) if number != "–"]
    return " → ".join(known) or "–"


def profile_tables(folder: Path) -> list[str]:
    """Table 2 of one profile, one for each split: a line on what it is, then a row for each measure."""
    profile = folder.name
    summary = pd.DataFrame(runs.read_json(folder / "table2_summary.json"))
    about = runs.read_json(folder / "evaluation.json")
    origin = runs.read_json(folder / "provenance.json")
    times = runs.read_json(folder / "timing.json")
    # the sum of the notebooks, where they were run by hand or by older code
    minutes = f"{(times.get('on_the_clock') or times['total']) / 60:.0f} min"
    machine = origin["machine"]["gpu"] or f"{origin['machine']['cores']} cores"
    # evaluation.json of an older run does not say it
    frames = about.get("frames_text") or frames_text(origin["data"])
    winter = winter_of(summary, "winter_car_recall")
    command = f"make reproduce{'' if profile == 'embedded' else f' PROFILE={profile}'}"
    arms = arms_of(summary)
    tables = []
    for setting in table2_settings(summary):
        seeds = seeds_text(summary, setting)
        numbers = f"{setting[1]:,} winter cars, {setting[2]:,} new ones"
        title = (f"**Profile `{profile}`, split by {setting[0]}: {frames}; {winter}, {numbers}; percent, "
                 f"{seeds}; `{command}`, {minutes} on {machine} for the runs in its tables**")  # fmt: skip
        head = ["measure", "paper", *(ARMS[arm].label if arm in ARMS else arm for arm in arms)]
        rows = [
            [line, _paper(metric, protocol), *cells]
            for line, metric, protocol, cells in table2_lines(summary, setting, arms)
        ]
        table = [head, *rows]
        if len(arms) > MOST_COLUMNS:  # as lines: what is measured stands above
            table = [list(row) for row in zip(*table, strict=True)]
        tables.append(f"{title}\n\n{markdown_table(table)}")
    return tables


def table(figures: Path) -> str:
    """All tables as Markdown."""
    head = ["claim", "command", "time, 2 cores", "paper", "ours"]
    tables = [markdown_table([head, *exact_rows(figures), *measured_rows(figures), *loop_rows(figures)])]
    for profile in PROFILES:
        if (figures / profile / "table2_summary.json").exists():
            tables += profile_tables(figures / profile)
    return "\n\n".join(tables)


def write(readme: Path = ROOT / "README.md", figures: Path = ROOT / "figures") -> None:
    """Put the tables between the two marks in the README; InputError if they are not there."""
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
