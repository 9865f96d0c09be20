"""The tables of claims are made from committed numbers, all of them and nothing else."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from lib import arm_claims, benchmark_claims, claims, loop_claims, run_plan, runs
from lib.arms import ARMS, ARMS_WITHOUT_SAMPLES
from lib.measurements import PROTOCOLS
from lib.settings import ROOT
from lib.table2 import LINES

SIMULATED = "simulated winter"
DATA = {"source": "visdrone", "frames": {"val": {"found": 456, "expected": 548}}, "winter": SIMULATED}


def summary_row(arm: str, metric: str, protocol: str, mean: float, split: str = "object") -> dict:
    return {"arm": arm, "metric": metric, "protocol": protocol, "split": split, "mean": mean,
            "low": mean - 0.01, "high": mean + 0.01, "n_seeds": 3, "n_winter": 811, "winter": SIMULATED,
            "n_synthetic": 0 if arm in ARMS_WITHOUT_SAMPLES else 500}  # fmt: skip


def write_profile(folder, splits=("object",)):
    rows = [
        summary_row(arm, metric, protocol, 0.5 + 0.01 * k + (0.2 if protocol == "paper" else 0), split)
        for split in splits
        for k, arm in enumerate(("none", "continued", "vae_transfer", "vae_recoloured"))
        for metric in {metric for metric, _, _ in LINES}
        for protocol in PROTOCOLS
    ]
    runs.write_json(folder / "table2_summary.json", rows)
    runs.write_json(folder / "timing.json", {"seconds": {}, "total": 600.0, "on_the_clock": None})
    about = {"runs": ["seed0"], "frames_text": "VisDrone-DET, val 456 of 548 frames"}
    runs.write_json(folder / "evaluation.json", about)
    runs.write_json(folder / "provenance.json", {"data": DATA, "machine": {"cores": 2, "gpu": None}})


@pytest.fixture
def figures(tmp_path):
    write_profile(tmp_path / "embedded")
    runs.write_json(tmp_path / "annotations" / "table1.json",
                    {"train": 290207, "valid": 36273, "test": 36282, "median_width": 26.0})  # fmt: skip
    return tmp_path


def rows_of(text: str) -> dict[str, list[str]]:
    rows = [line.strip("|").split("|") for line in text.splitlines() if "|" in line]
    return {first.strip(): [cell.strip() for cell in rest] for first, *rest in rows}


def first_table(figures) -> str:
    """The table of single claims, which stands last."""
    text = claims.table(figures).split("\n\n")[-1]
    assert text.startswith("| claim |")
    return text


def test_first_table_holds_what_must_agree_to_the_unit(figures):
    text = first_table(figures)
    rows = rows_of(text)
    assert rows["claim"] == ["command", "time, 2 cores", "paper", "ours"]
    for claim in ("Table 1: train / valid / test; median width",
                  "classifier: parameters / trainable / convolutions",
                  "autoencoder: parameters / trainable / convolutions"):  # fmt: skip
        assert rows[claim][2] == rows[claim][3]
    assert "290,207 / 36,273 / 36,282; 26 px" in text and "2,243,960 / 2,235,960 / 24" in text
    assert "scene_realism" not in text
    shares = {"car_called_car": 0.7, "noncar_called_car": 0.2}
    runs.write_json(figures / "benchmarks" / "scene_realism.json", shares)
    assert "| 70.0 / 20.0 |" in first_table(figures)
    score = {kind: {"rank_correlation": value} for kind, value in (("blur", -0.9), ("noise", -0.85))}
    scored = {"run": "visdrone-val/seed0", "seconds": 1683.0, "winter": {"intactness": score}}
    runs.write_json(figures / "benchmarks" / "image_score.json", scored)
    tried = {name: {"heldout": {"elbo": bound}, "decoder_alone": {
                        "classifier_feature_frechet_distance": distance, "sharpness_ratio": sharp}}
             for name, distance, sharp, bound in (("a", 9.0, 0.026, 1528.4), ("default", 13.11, 0.022, 977.4),
                                                  ("b", 8.44, 0.08, 634.0))}  # fmt: skip
    objectives = {"run": "visdrone-val/seed0", "variants": tried}
    runs.write_json(figures / "benchmarks" / "vae_objectives.json", objectives)
    path = {"accuracy": [], "seconds": [60.0, 90.0]}
    fast = {"fast": path, "reference": path, "profile": "some", "seeds": [0, 1], "passes": 2.0,
            "difference": {"mean": -0.001, "low": -0.004, "high": 0.002}}  # fmt: skip
    runs.write_json(figures / "benchmarks" / "fast_path.json", fast)
    assert "| default | 977 | 13.1 | 2.2 |\n| a | 1,528 | 9.0 | 2.6 |\n| b |" in claims.table(figures)
    early = {"heldout_elbo": 1.0, "heldout_frechet": 99.0}
    starts = {"scratch": [early, {"heldout_elbo": 1017.4, "heldout_frechet": 13.0}],
              "transferred": [early, {"heldout_elbo": 1032.2, "heldout_frechet": 12.5}]}  # fmt: skip
    starts = {"starts": starts, "steps": 300, "run": "a/b"}
    runs.write_json(figures / "benchmarks" / "vae_starts.json", starts)
    row = ("300 steps, encoder from the classifier / from scratch: held-out ELBO (nats) ↑; Fréchet distance "
           "of the decoder's images ↓")
    assert row in claims.table(figures) and "| 1,032 / 1,017; 12.5 / 13.0 |" in claims.table(figures)

    usual = {"absolute_difference": {"f1": 0.6}, "structural_similarity": {"f1": 0.7}}
    changes = {"pairs": 9, "recall": 0.9, "precision": 0.8, "f1": 0.85} | usual
    panorama = {"folder": "place", "changes": changes, "classification": {"car_called_car": None},
                "stitching": {"placed": 1.0, "reprojection_px": 0.12}, "seconds": 700.0}  # fmt: skip
    runs.write_json(figures / "benchmarks" / "panorama.json", panorama)
    text = first_table(figures)
    sizes = [{"megapixels": 6.0, "seconds": 9.0, "peak_gb": 1.2}, {"megapixels": 96.0, "seconds": None}]
    more = {"growth": {"sizes": sizes, "exponent": 0.9},
            "drawn": {"places": 2, "winter_cars": 7, "recall": 0.5, "precision": 0.25, "before": 0.4,
                      "after": 1}}  # fmt: skip
    runs.write_json(figures / "benchmarks" / "panorama.json", panorama | more)
    whole = first_table(figures)
    assert "two panoramas of 6 megapixels" in whole and "| 9 s; 1.2 GB; 0.90 |" in whole
    assert "the 7 cars found under snow called car by visdrone-val/seed0" in whole
    assert "| 50 / 25 %; 3 → 7 |" in whole and "--parts drawn" not in whole
    command = "runs/visdrone-val/seed0 --growth --drawn --out figures/benchmarks/panorama.json`"
    assert f"{command} | 12 min | – | 9 s; " in whole
    more["drawn"] |= {"winter_others": 8, "winter_others_called_car": {"before": 0.25, "after": 0.5}}
    runs.write_json(figures / "benchmarks" / "panorama_drawn.json", more | {"seconds": 120.0})
    whole = first_table(figures)
    assert "after retraining; the 8 other regions found there called car |" in whole
    command = "runs/embedded/seed0 --parts drawn --out figures/benchmarks/panorama_drawn.json`"
    assert "3 → 7; 2 → 4 |" in whole and f"{command} | 2 min | – |" in whole
    assert "megapixels" not in text and "under snow" not in text
    assert "(place, 9 pairs)" in text and "| 12 min | – | 100 / 0.1 px; 90 / 80 / 85 (70); – |" in text
    assert "with the strength of blur / noise (-1: best)" in text and "| -0.90 / -0.85 |" in text
    assert "benchmarks.fast_path some --passes 2` | 5 min | – | -0.10 [-0.40, +0.20] |" in text


def test_retrainings_in_part_are_a_table(tmp_path):
    def place(*values):
        return {name: {"value": v} for name, v in zip(arm_claims.MEASURES, values, strict=True)}

    arms = {"vae_recoloured": {"share": 0.5, "part": place(0.95, 0.25, 0.97), "whole": place(1, 1, 0)}}
    arms |= {"oversampled": {"share": 1.0, "part": place(0.9, 0.3, 0.98), "whole": place(0, 0, 0)}}
    for arm in arms.values():
        arm["within_limits"] = True
    nothing = dict.fromkeys(("part", "whole"), place(0, 0, 0))
    arms["vae_transfer"] = {"share": 0.0, "within_limits": False} | nothing
    part = {"run": "a/b", "arms": arms, "control": place(0.93, 0.26, 0.975)}
    assert arm_claims.arm_tables(tmp_path) == []
    runs.write_json(tmp_path / "benchmarks" / "in_part.json", part)
    (text,) = arm_claims.arm_tables(tmp_path)
    title, _, head, _, *rows = text.splitlines()
    assert title.startswith("**Retrainings in part")
    assert "`.venv/bin/python -m benchmarks.in_part runs/a/b`" in title
    assert head.split(" | ")[2:] == [
        "winter cars known ↑", "winter non-cars called car ↓", "summer cars known ↑ |"
    ]  # fmt: skip
    assert rows == [
        "| winter crops, repeated | 100% | -3.0 | +4.0 | +0.5 |",
        "| after | no share keeps to the limits | – | – | – |",
        "| with counterexamples | 50% | +2.0 | -1.0 | -0.5 |",
    ]  # fmt: skip
    runs.write_json(tmp_path / "benchmarks" / "in_part.json", part | {"arms": {}})
    assert arm_claims.arm_tables(tmp_path) == []


def test_a_command_runs_from_a_fresh_checkout(figures):
    """Each is a make target, or a module of ours run by the Python that make sets up."""
    runs.write_json(figures / "benchmarks/scene_realism.json", {"car_called_car": 1, "noncar_called_car": 0})
    commands = re.findall(r"`((?:make|\S*python)[^`]*)`", claims.table(figures))
    assert len(commands) == 6
    targets = (ROOT / "Makefile").read_text(encoding="utf-8")
    for words in map(str.split, commands):
        if words[0] == "make":
            assert f"\n{words[1]}:" in targets
        else:
            assert words[:2] == [".venv/bin/python", "-m"]
            source = (ROOT / (words[2].replace(".", "/") + ".py")).read_text(encoding="utf-8")
            assert '__name__ == "__main__"' in source


def test_table_2_has_the_arms_side_by_side(figures):
    _, title, table, _ = claims.table(figures).split("\n\n")
    rows = rows_of(table)
    assert rows["measure"] == ["paper", "before", "control", "after", "with counterexamples"]
    held_out = rows["Winter cars (simulated winter): recall, held out"]
    assert held_out[0] == "–"  # the paper has no held-out number
    assert held_out[1:] == [f"{mean}.0 [{mean - 1}.0, {mean + 1}.0]" for mean in (50, 51, 52, 53)]
    leaky = rows["Winter cars (simulated winter): recall, protocol paper (leaky)"]
    assert leaky[:2] == ["71.2 → 92.4", "70.0 [69.0, 71.0]"]
    assert rows["Overall accuracy, six classes"][0] == "92.2"
    assert "Non-cars called car, winter (simulated winter)" in rows
    assert title.startswith("**Profile `embedded`, split by object: ") and title.endswith("**")
    for words in ("VisDrone-DET, val 456 of 548 frames", "simulated winter", "means of 3 seeds",
                  "winter cars, ", " new ones; ", "`make reproduce`", "10 min on 2 cores"):  # fmt: skip
        assert words in title


def test_of_many_arms_some_are_shown_and_the_place_of_all_is_told(figures):
    more = ("winter", "oversampled", "classic", "oversampled_recoloured")
    rows = runs.read_json(figures / "embedded/table2_summary.json")
    rows += [row | {"arm": arm, "n_synthetic": 0} for row in rows for arm in more if row["arm"] == "none"]
    runs.write_json(figures / "embedded/table2_summary.json", rows)
    _, title, table, others, _ = claims.table(figures).split("\n\n")
    assert rows_of(table)["measure"][1:] == [
        "before", "control", "winter crops", "winter crops, repeated", "after", "with counterexamples"
    ]  # fmt: skip
    assert others.startswith("All 8 arms: ") and "](embedded/table2.md)" in others
    assert others.endswith("[by object](embedded/table2_object.png).")


def test_each_profile_and_split_has_its_table(figures):
    folder = figures / claims.GRID
    write_profile(folder, ("object", "sequence"))
    runs.write_json(folder / "evaluation.json", {"runs": [], "frames_text": "all the frames"})
    runs.write_json(folder / "provenance.json", {"data": DATA, "machine": {"cores": 2, "gpu": "H100"}})
    titles = [line for line in claims.table(figures).splitlines() if line.startswith("**")]
    assert [title.split(":")[0] for title in titles] == [
        f"**Profile `{claims.GRID}`, split by object", f"**Profile `{claims.GRID}`, split by sequence",
        "**Profile `embedded`, split by object",
    ]  # fmt: skip
    for title in titles[:2]:  # the words that notebook 06 kept, and the machine that took the time
        assert ": all the frames;" in title and "10 min on H100" in title
        assert f"`make reproduce PROFILE={claims.GRID}`" in title


def test_the_time_is_that_of_the_clock_where_it_is_known(figures):
    assert "10 min on 2 cores" in claims.table(figures)  # some notebook was run by hand
    times = {"seconds": {}, "total": 600.0, "on_the_clock": 240.0}
    runs.write_json(figures / "embedded" / "timing.json", times)
    assert "4 min on 2 cores" in claims.table(figures)


def test_the_headline_has_the_paper_beside_ours_an_arm_a_row(figures):
    exact, shortly = claims.headline(figures).split("\n\n")
    assert exact.splitlines()[0] == "| claim | command | time, 2 cores | paper | ours |" and "36,273" in exact
    write_profile(figures / claims.GRID, ("object", "sequence"))
    lines = [[cell.strip() for cell in line.strip("|").split("|")]
             for line in claims.headline(figures).split("\n\n")[1].splitlines()]  # fmt: skip
    assert [len(line) for line in lines] == [4] * len(lines)
    assert lines[0][2:] == [f"`{claims.GRID}`", "`embedded`"]
    assert lines[2][1] == "VisDrone-DET, 8,629 frames"
    assert lines[3][:2] == ["winter; split by", "photographed; object"]
    assert lines[3][2:] == ["simulated winter; object"] * 2
    assert lines[-1][:2] == ["command, time", "–"]
    assert lines[-1][2] == f"`make reproduce PROFILE={claims.GRID}`, 10 min on 2 cores"
    assert lines[-1][3] == "`make reproduce`, 10 min on 2 cores"
    leaky = next(k for k, line in enumerate(lines) if "(as in the paper)" in line[0])
    arms = lines[leaky + 1 : leaky + 1 + len(claims.SHOWN)]
    assert [line[0] for line in arms] == [ARMS[name].label for name in claims.SHOWN]
    # the paper's arm is that of its equation; what a profile has not measured is a dash
    assert [line[1] for line in arms] == ["71.2", "–", "–", "–", "92.4", "–", "–"]
    assert arms[0][2:] == ["70.0 [69.0, 71.0]"] * 2 and arms[2][2:] == ["–", "–"]
    held = next(k for k, line in enumerate(lines) if "new to the generator" in line[0])
    assert lines[held + 1] == ["before", "–", "50.0 [49.0, 51.0]", "50.0 [49.0, 51.0]"]
    assert shortly.count("**") == 2 * len(claims.SHORTLY)


def test_the_time_of_an_arm_is_told_where_it_is_known(figures):
    folder = figures / "embedded"
    assert claims.arm_time(folder, ["seed0"]) == "" and "an arm" not in "".join(claims.profile_tables(folder))
    seconds = {"05_retraining": {"seed0": 30.0, "seed1": 70.0, "seed2": 1e6}}
    runs.write_json(folder / "timing.json", {"seconds": seconds, "total": 600.0, "on_the_clock": None})
    for seed, arms in enumerate((["continued", "vae_transfer", "vae_transfer_part"], ["continued"])):
        runs.write_json(folder / "metrics" / f"seed{seed}/retraining.json", {"arms": arms})
    # two arms trained, one a part of another's way; of seed 2 the arms are not known
    assert claims.arm_time(folder, ["seed0"]) == "an arm 15 s"
    assert claims.arm_time(folder, ["seed0", "seed1", "seed2"]) == "an arm 42 s"
    title = claims.profile_tables(folder)[0].split("**")[1]
    assert title.endswith("10 min on 2 cores for one run, an arm 15 s")


def test_every_arm_is_explained():
    rows = [[cell.strip() for cell in line.strip("|").split("|")]
            for line in claims.arms_table().splitlines()[2:]]  # fmt: skip
    assert [row[1] for row in rows] == [f"`{name}`" for name in ARMS]
    assert all(len(row) == 3 and all(row) for row in rows) and len({row[2] for row in rows}) == len(rows)
    (part,) = (row for row in rows if row[1] == "`vae_transfer_part`")
    assert part == ["after, in part", part[1], "weights a part of the way from *before* to *after*"]


def write_pages(root, text):
    pages = (root / "README.md", root / "figures" / "README.md")
    for page in pages:
        runs.write_text(page, text)
    return pages


def test_write_replaces_only_what_stands_between_the_marks(tmp_path):
    write_profile(tmp_path / "figures" / "embedded")
    pages = write_pages(tmp_path, f"before\n{claims.START}\nold\n{claims.END}\nafter\n")
    claims.write(tmp_path)
    once = [page.read_text(encoding="utf-8") for page in pages]
    for text in once:
        assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert "(as in the paper)" in once[0] and "**Profile `embedded`" in once[1]
    claims.write(tmp_path)
    assert [page.read_text(encoding="utf-8") for page in pages] == once


@pytest.mark.parametrize(("arguments", "status"), [(["--help"], 0), (["embedded"], 2)])
def test_who_asks_for_help_changes_no_page(monkeypatch, capsys, arguments, status):
    monkeypatch.setattr(claims, "write", lambda: pytest.fail("pages were written"))
    with pytest.raises(SystemExit) as ended:
        claims.main(arguments)
    assert ended.value.code == status


@pytest.mark.parametrize("spoilt", [0, 1])
def test_a_page_without_marks_is_an_error_and_both_stay(tmp_path, spoilt):
    write_profile(tmp_path / "figures" / "embedded")
    marks = f"{claims.START}\n{claims.END}\n"
    pages = write_pages(tmp_path, marks)
    pages[spoilt].write_text("nothing here\n", encoding="utf-8")
    with pytest.raises(runs.InputError, match="README.md: found no place for the claims"):
        claims.write(tmp_path)
    assert [page.read_text(encoding="utf-8") for page in pages] == (
        ["nothing here\n", marks] if spoilt == 0 else [marks, "nothing here\n"]
    )
    pages[spoilt].write_text(f"{claims.END}\n{claims.START}\n", encoding="utf-8")  # the wrong way round
    with pytest.raises(runs.InputError, match="no place for the claims"):
        claims.write(tmp_path)
    pages[spoilt].unlink()
    with pytest.raises(runs.InputError, match="no place for the claims"):
        claims.write(tmp_path)


@pytest.mark.parametrize(("page", "tables"), [("README.md", claims.headline),
                                              ("figures/README.md", claims.table)])  # fmt: skip
def test_committed_pages_agree_with_the_committed_numbers(page, tables):
    text = (ROOT / page).read_text(encoding="utf-8")
    between = text.split(claims.START)[1].split(claims.END)[0]
    assert between == f"\n{tables(ROOT / 'figures')}\n"


def told_intervals(text):
    """Ends of every interval in a text; a loss may be told as a gain with the sign turned."""
    found = re.findall(r"\[([+-]?\d+\.?\d*), ([+-]?\d+\.?\d*)\]", text)
    return {tuple(sorted(abs(float(end)) for end in pair)) for pair in found}


def prose_of(page):
    """What is written by hand: all but the tables of claims."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return text.split(claims.START)[0] + text.split(claims.END)[1]


def test_every_interval_that_the_readme_tells_is_among_all_numbers():
    """It is typed twice, in short and in full."""
    told = told_intervals(prose_of("README.md"))
    assert len(told) > 5
    assert told <= told_intervals((ROOT / "figures" / "README.md").read_text(encoding="utf-8"))


def intervals_in(value):
    """Ends of every interval of a JSON file or of rows: what stands under ...low beside its ...high."""
    if isinstance(value, list):
        for item in value:
            yield from intervals_in(item)
    elif isinstance(value, dict):
        for key, low in value.items():
            high = value.get(f"{key.removesuffix('low')}high") if key.endswith("low") else None
            if isinstance(low, float) and isinstance(high, float):
                yield low, high
            yield from intervals_in(low)


@pytest.mark.parametrize("page", ["README.md", "figures/README.md"])
def test_every_interval_that_a_page_tells_is_a_committed_one(page):
    """As it is or in percent."""
    committed = set()
    for file in (ROOT / "figures").rglob("*"):
        if file.suffix not in (".json", ".csv") or file.name == "table2.csv":
            continue
        found = runs.read_json(file) if file.suffix == ".json" else pd.read_csv(file).to_dict("records")
        for ends in intervals_in(found):
            for digits in (0, 1, 2):
                for scale in (1, 100):
                    committed.add(tuple(sorted(abs(round(scale * end, digits)) for end in ends)))
    told = told_intervals(prose_of(page))
    assert len(told) > 5 and not told - committed


def test_every_module_has_its_place_in_the_list():
    text = (ROOT / "lib" / "README.md").read_text(encoding="utf-8")
    (modules, benchmarks) = text.split("```")[1:4:2]
    for folder, listed in (("lib", modules), ("benchmarks", benchmarks)):
        for file in (ROOT / folder).glob("*.py"):
            name = re.sub(r"^(bench|panorama)_\w+$", r"\1", file.stem)
            assert name == "__init__" or re.search(rf"\b{name}\b", listed), file.name


@pytest.mark.parametrize("page", ["README.md", "figures/README.md", "lib/README.md"])
def test_a_page_names_files_that_are_there(page):
    """Links, and paths of committed files in the text (a `*` or `<...>` stands for many)."""
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link.split("#") for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert links
    for file, *part in links:
        target = (ROOT / page).parent / file if file else ROOT / page
        assert target.exists(), file
        if part:
            heads = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert part[0] in {re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads}
    for file in re.findall(r"`(figures/[^`<>]+)`", text):
        assert list(ROOT.glob(file)), file


def test_a_table_of_a_part_of_a_profile_says_so(tmp_path):
    write_profile(tmp_path / claims.GRID)
    planned = len(run_plan.plan(claims.GRID))
    assert planned > 10
    _, title, _, _ = claims.table(tmp_path).split("\n\n")
    assert title.endswith(f"10 min on 2 cores for 1 of its {planned} runs**")


def loop_report(accepted, weak, before, after, rate=1, **others):
    """A report of notebook 08: recalls by domain and class, of 50 objects (buses: 3) a class."""
    parts = {"before": before, "after": after} | others
    found = {name: {domain: {c: {"recall": x, "n": 50 if c != "bus" else 3} for c, x in values.items()}
                    for domain, values in part.items()}
             for name, part in parts.items()}  # fmt: skip
    recipe, rule = {"rate": rate}, {"fewest": 20, "gap": 0.1, "tolerance": 0.02}
    return {"accepted": accepted, "weak": weak, "test": found, "rule": rule, "recipe": recipe}


KEPT = {"dose": 300, "share": 0.5}
OLD = {"source": {"car": 0.9, "bus": 0.5}, "target": {"car": 0.5, "truck": 0.8}}
NEW = {"source": {"car": 0.89, "bus": 0.1}, "target": {"car": 0.6, "truck": 0.79}}


def test_the_loop_is_told_by_its_test_parts(tmp_path):
    assert loop_claims.loop_tables(tmp_path) == []
    folder = tmp_path / "visdrone-val" / "metrics"
    beside = {"control": OLD, "repeated": OLD}
    runs.write_json(folder / "seed0/weak_classes.json", loop_report(KEPT, ["car"], OLD, NEW, **beside))
    runs.write_json(folder / "seed1/weak_classes.json", loop_report(None, ["car"], OLD, OLD))
    text, by_seed = loop_claims.loop_tables(tmp_path)
    title, _, head, _, *rows = text.splitlines()
    assert "`visdrone-val`: something kept in 1 of 2 seeds, a weak class 5 points better in 1;" in title
    assert "`make improve PROFILE=visdrone-val`, not timed" in title
    assert head == "| class (objects) | the loop | control | crops repeated |"
    # nothing kept is no change of the others; how much a loss says, the number of objects tells
    assert rows == [
        "| car under snow (100, weak in 2 of 2 seeds) | +5.0 | +0.0 | +0.0 |",
        "| bus in summer (6, in 2 of 2 seeds), of the others the one that lost most | -20.0 | +0.0 | +0.0 |",
    ]
    assert text in claims.table(tmp_path) and by_seed in claims.table(tmp_path)
    assert by_seed.startswith("**The same by seed, profile `visdrone-val`: the loop / the crops repeated")
    assert by_seed.splitlines()[2:] == [
        "| seed, share kept | car under snow |", "| --- | --- |",
        "| seed0, 0.5 | +10.0 / +0.0 (50) |", "| seed1, 0 | +0.0 / +0.0 (50) |",
    ]  # fmt: skip
    runs.write_json(folder / "seed0/weak_classes.json", loop_report(None, ["car"], OLD, OLD))
    text, by_seed = loop_claims.loop_tables(tmp_path)
    assert "something kept in 0 of 2 seeds, a weak class 5 points better in 0" in text
    assert text.splitlines()[4:] == ["| car under snow (100, weak in 2 of 2 seeds) | +0.0 | – | – |"]
    runs.write_json(folder / "seed3/weak_classes.json", loop_report(None, ["car"], OLD, OLD))
    more, _ = loop_claims.loop_tables(tmp_path)  # that seed is not the profile's own
    assert '`make improve PROFILE=visdrone-val SEEDS="0 1 3" SPLITS="object"`, not timed' in more
    runs.write_json(folder / "seed3-sequence/weak_classes.json", loop_report(None, ["car"], OLD, OLD))
    more, _ = loop_claims.loop_tables(tmp_path)
    assert 'SEEDS="0 1 3" SPLITS="object sequence"`' in more


def test_the_loop_stands_beside_what_it_is_compared_with(tmp_path):
    folder = tmp_path / "embedded" / "metrics"
    some = OLD | {"target": {"car": 0.53, "truck": 0.8}}
    for seed, more in enumerate(({"control": some, "repeated": NEW}, {"control": NEW, "repeated": NEW})):
        report = loop_report(KEPT, ["car"], OLD, NEW, **more)
        runs.write_json(folder / f"seed{seed}/weak_classes.json", report)
    runs.write_json(folder / "seed2/weak_classes.json", loop_report(None, ["car"], OLD, OLD))
    text, by_seed = loop_claims.loop_tables(tmp_path)
    # the third seed keeps nothing, so nothing would change in what it stands beside; weak there is another
    assert "| car under snow (150, weak in 3 of 3 seeds) | +6.7 | +4.3 | +6.7 |" in text
    runs.write_json(folder / "seed2/weak_classes.json", loop_report(None, ["truck"], OLD, OLD))
    text, by_seed = loop_claims.loop_tables(tmp_path)
    assert "| car under snow (100, weak in 2 of 3 seeds) | +10.0 | +6.5 | +10.0 |" in text
    assert "| truck under snow (50, weak in 1 of 3 seeds) | +0.0 | +0.0 | +0.0 |" in text
    assert "| car under snow (50, in 1 of 3 seeds) | +0.0 | +0.0 | +0.0 |" in text
    assert "| seed2, 0 | +0.0 / +0.0 (50) | +0.0 / +0.0 (50) |" in by_seed
    assert "| seed1, 0.5 | +10.0 / +10.0 (50) | – |" in by_seed


def test_a_class_that_is_weak_in_one_seed_may_be_the_one_that_lost_in_another(tmp_path):
    folder = tmp_path / "visdrone-val" / "metrics"
    beside = {"control": OLD, "repeated": OLD}
    runs.write_json(folder / "seed0/weak_classes.json", loop_report(KEPT, ["car"], OLD, OLD, **beside))
    lost = OLD | {"target": {"car": 0.1, "truck": 0.8}}
    runs.write_json(folder / "seed1/weak_classes.json", loop_report(KEPT, ["truck"], OLD, lost, **beside))
    text, by_seed = loop_claims.loop_tables(tmp_path)
    most = "| car under snow (50, in 1 of 2 seeds), of the others the one that lost most |"
    assert f"{most} -40.0 | +0.0 | +0.0 |" in text.splitlines()


def test_loops_of_two_recipes_are_not_averaged(tmp_path):
    folder = tmp_path / "embedded" / "metrics"
    for seed in range(2):
        report = loop_report(KEPT, ["car"], OLD, NEW, rate=1 + seed)
        runs.write_json(folder / f"seed{seed}/weak_classes.json", report)
    with pytest.raises(runs.InputError, match=r"seed1.*recipe .*expected \{'rate': 1\}, as seed0 has"):
        loop_claims.loop_tables(tmp_path)


def test_a_weak_class_gains_only_if_enough_objects_tell_and_by_enough():
    def report(gain, n, weak):
        before = {"car": {"recall": 0.5, "n": n}, "bus": {"recall": 0.5, "n": 100}}
        after = {"car": {"recall": 0.5 + gain}, "bus": {"recall": 0.9}}
        test = {"before": {"target": before}, "after": {"target": after}}
        return {"weak": weak, "test": test, "rule": {"fewest": 20}}

    assert loop_claims._gained(report(0.05, 20, ["car"]))
    for less in ((0.05, 19, ["car"]), (0.049, 20, ["car"]), (0.05, 20, [])):
        assert not loop_claims._gained(report(*less))


def test_the_time_of_a_loop_is_that_of_its_own_runs(tmp_path):
    seeds = ["seed0", "seed1"]
    assert loop_claims._time(tmp_path, seeds) == "not timed"
    cores, card = {"gpu": None, "cores": 2}, {"gpu": "a card", "cores": 16}

    def write(seed, seconds, machine):
        told = {"seconds": seconds, "machine": machine}
        runs.write_json(tmp_path / "metrics" / seed / "weak_classes_timing.json", told)

    write("seed0", 1200, cores)
    assert loop_claims._time(tmp_path, seeds) == "20 min a seed on 2 cores (1 of 2 timed)"
    write("seed1", 2400, cores)
    assert loop_claims._time(tmp_path, seeds) == "30 min a seed on 2 cores"
    write("seed1", 60, card)
    assert loop_claims._time(tmp_path, seeds) == "1 to 20 min a seed on different machines"
    assert loop_claims._time(tmp_path, ["seed1"]) == "60 s a seed on a card"


def test_a_gpu_is_told_with_its_ways_and_left_out_where_a_row_is_missing(tmp_path):
    def step(key, *rates):
        ours, eager, compiled = ({"images_per_second": {"median": rate}} for rate in rates)
        peers = {"eager PyTorch": eager, "ours, compiled too": compiled}
        return {"key": key, "work": "batch 2048: forward", "ours": ours, "peers": peers}

    rows = [step("classifier_step_gpu", 2e4, 1e4, 3e4), step("vae_step_gpu", 2e3, 1e3, 3e3),
            {"key": "paper_gpu", "pass": {"median": 3.21}, "extrapolated": {"total": 198.4}}]  # fmt: skip
    found = {"machine": {"gpu": "a card"}, "rows": rows, "seconds": 120.0}
    runs.write_json(tmp_path / "benchmarks/bench_gpu.json", found)
    (row,) = benchmark_claims.measured_rows(tmp_path)
    assert row[0].startswith("a card, batch 2048,") and row[2] == "2 min on that GPU"
    assert row[-1] == "30,000 / 20,000 / 10,000; 3,000 / 2,000 / 1,000; 3.2 s; 198 s"
    del rows[0]["peers"]["ours, compiled too"]
    runs.write_json(tmp_path / "benchmarks/bench_gpu.json", found)
    assert benchmark_claims.measured_rows(tmp_path)[0][-1].startswith("– / 20,000 / 10,000; ")
    rows[1] = {"key": "vae_step_gpu", "missing": "stopped"}
    runs.write_json(tmp_path / "benchmarks/bench_gpu.json", found | {"rows": rows})
    assert benchmark_claims.measured_rows(tmp_path) == []
