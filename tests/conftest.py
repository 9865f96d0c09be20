"""A finished run as the notebooks leave it, made without training, in a repository of its own."""

import json
from pathlib import Path

import nbformat
import numpy as np
import pytest

NAMES = ("01_data_preparation", "02_classifier_training", "06_evaluation")
PATH = {
    "device": "cpu",
    "precision": "float32",
    "channels_last": True,
    "compiler": True,
    "threads": 2,
    "why": "",
}


# The longest test files, begun in this order: one that is begun last would leave the other workers idle.
LONGEST = ("test_chain.py", "test_notebooks.py")


def pytest_collection_modifyitems(items):
    """LONGEST first, then the others as they were; pytest-xdist keeps the order (--no-loadscope-reorder)."""
    for name in LONGEST:
        if not (Path(__file__).parent / name).exists():
            raise pytest.UsageError(f"{__file__}: LONGEST names {name}, expected a file of this folder")
    items.sort(key=lambda item: LONGEST.index(name) if (name := item.path.name) in LONGEST else len(LONGEST))


def small_notebook(name: str, executed_for: str | None = None):
    """A notebook with a parameters cell and a printing cell; with a profile, as papermill leaves it."""
    over_runs = name.startswith("06")
    own = (
        'runs_of: list = ["seed0"]  # all' if over_runs else "seed: int = 0  # of all\nsteps: int = 3  # few"
    )
    parameters = f'profile: str = "embedded"  # name\nwinter_folder: str = ""  # own pictures\n{own}\n'
    cells = [
        nbformat.v4.new_markdown_cell(f"# {name}", id="a"),
        nbformat.v4.new_code_cell(parameters, id="b", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell('print("hello")', id="c"),
    ]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    if executed_for:
        given = {"profile": executed_for} | ({} if over_runs else {"seed": 0, "steps": 5})
        injected = "\n".join(f"{key} = {value!r}" for key, value in given.items())
        cells.insert(2, nbformat.v4.new_code_cell(injected, metadata={"tags": ["injected-parameters"]}))
        for number, cell in enumerate(cells[1:], 1):
            cell.execution_count = number
            cell.metadata["papermill"] = {"duration": 0.1, "start_time": "2024-01-01"}
            cell.metadata["execution"] = {"iopub.status.busy": "2024-01-01"}
        cells[-1].outputs = [
            nbformat.v4.new_output("stream", name="stdout", text="hello\n"),
            nbformat.v4.new_output("stream", name="stderr", text="/some/where/x.py: UserWarning\n"),
        ]
        metadata["papermill"] = {"parameters": given, "input_path": "x", "duration": 1.0}
        metadata["language_info"] = {"name": "python", "version": "3.11.2"}
    return nbformat.v4.new_notebook(cells=cells, metadata=metadata)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """An empty repository with three notebooks, in a path with a space; lib works in it."""
    from lib import settings

    root = (tmp_path / "a root").resolve()
    (root / "notebooks").mkdir(parents=True)
    (root / "params").mkdir()
    for name in NAMES:
        nbformat.write(small_notebook(name), root / "notebooks" / f"{name}.ipynb")
    monkeypatch.setattr(settings, "ROOT", root)
    monkeypatch.setattr(settings, "NOTEBOOKS", root / "notebooks")
    (root / "figures").mkdir()
    for page in (root / "README.md", root / "figures" / "README.md"):
        page.write_text("<!-- claims -->\n<!-- /claims -->\n", encoding="utf-8")
    return root


def _answers(rng, recall: float, cars: int, noncars: int):
    from lib.evaluation import CAR, answers

    labels = np.r_[np.full(cars, CAR), rng.choice([0, 2, 3, 4, 5], noncars)]
    said = np.where(labels == CAR, np.where(rng.random(len(labels)) < recall, CAR, 5), labels)
    return answers(labels, said)


@pytest.fixture
def make_run(repository):
    """make_run(profile, seeds) -> folder of a profile's runs, finished, split by object, simulated winter."""
    import pandas as pd

    from lib import gains, measurements, report, runs, table2
    from lib.arms import ARMS_WITHOUT_SAMPLES

    def write(profile="embedded", seeds=(0, 1), source="scenes"):
        folder = repository / "runs" / profile
        names = [f"seed{seed}" for seed in seeds]
        tables = []
        for seed, name in zip(seeds, names, strict=True):
            recalls = {"none": 0.6, "continued": 0.65, "vae_transfer": 0.9, "vae_recoloured": 0.8}
            for arm, recall in recalls.items():
                rng = np.random.default_rng([seed, 7])
                winter = {p: _answers(rng, recall, 200, 0) for p in measurements.PROTOCOLS}
                count = 0 if arm in ARMS_WITHOUT_SAMPLES else 500
                tables.append(
                    measurements.predictions_to_rows(
                        arm, "object", 64, count, seed, _answers(rng, 0.96, 300, 300), winter,
                        _answers(rng, 0, 0, 100), draws=10,
                    )
                )  # fmt: skip
            frames = {"val": {"found": 456, "expected": 548}}
            runs.write_json(folder / name / "metrics/data.json",
                            {"source": source, "winter": "simulated winter", "frames": frames})  # fmt: skip
            runs.write_json(folder / name / "metrics/classifier.json", {"path": PATH})
            runs.write_json(folder / name / "metrics/retraining.json",
                            {"n_winter": 64, "n_synthetic": 500, "arms": list(recalls)[1:]})  # fmt: skip
            for notebook in NAMES[:2]:
                runs.write_json(folder / name / f"timing/{notebook}.json", {"seconds": 12.5 + seed})
                place = folder / name / "notebooks" / f"{notebook}.ipynb"
                runs.write_text(place, nbformat.writes(small_notebook(notebook, profile)))
            for figure in ("classes", "images_fragment"):
                runs.write_text(folder / name / f"figures/{figure}.png", f"{figure} {name}")
        runs.write_json(folder / "crops/store.json", {"fingerprint": "abc", "crops": 900, "size": 32})
        summary = folder / "summary"
        table = pd.concat(tables, ignore_index=True)
        means = gains.summarise(table)
        runs.write_table(summary / "table2.csv", table)
        runs.write_json(summary / "table2_summary.json", gains.records(means))
        runs.write_text(summary / "table2.md", table2.table2_markdown(means))
        verdicts = [entry for base in ("continued", "none") for entry in gains.verdict(means, base)]
        runs.write_json(summary / "evaluation.json", {
            "verdicts": verdicts, "runs": names, "published": [], "path_line": "cpu, float32, 2 threads",
            "frames_text": report.frames_text({"source": source, "frames": frames})})  # fmt: skip
        for table in ("leak", "paired", "closed_distance", "validation", "baselines_validation"):
            runs.write_text(summary / f"{table}.csv", "")
        runs.write_json(summary / "mcnemar.json", [])
        counts = {"train": 720, "valid": 90, "test": 90, "total": 900}
        runs.write_json(summary / "table1.json", counts | {"median_width": 26.0, "source": source})
        runs.write_json(summary / "timing/06_evaluation.json", {"seconds": 3.0})
        runs.write_text(summary / "notebooks/06_evaluation.ipynb",
                        json.dumps(small_notebook("06_evaluation", profile)))  # fmt: skip
        runs.write_text(summary / "figures/table2_object.png", "table2")
        return folder

    return write
