"""The whole chain at a tiny budget: killed halfway and resumed, it ends with the same bytes.

Runs in a copy of the repository's sources, in a path with a space. Two copies run at the same
time: A to its end, B until the autoencoder's first checkpoint, where its processes are killed.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from lib.run_names import OPTIONAL

ROOT = Path(__file__).parent.parent
SOURCES = ("lib", "notebooks", "params", "figures/benchmarks", "Snakefile")
NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
NOTEBOOKS = [name for name in NOTEBOOKS if name not in OPTIONAL]
LIMIT = 1200  # seconds that a busy machine may take for one call
PLAIN = {"compiler": "off", "precision": "float32"}  # fastest for so little work
TINY = {  # smaller still than the tiny profile
    "01_data_preparation": {"sequences": 6, "frames_per_sequence": 1, "n_winter": 16, "n_summer": 16},
    "02_classifier_training": {
        "width": 8, "candidates": 2, "warm_up_steps": 2, "passes": 1.0, "batch_size": 32,
    } | PLAIN,
    "03_vae_transfer": {"latent_dim": 8, "steps": 150, "batch_size": 8} | PLAIN,
    "04_generation": {"n_synthetic": 40, "judge_width": 8, "judge_passes": 0.5, "batch_size": 32} | PLAIN,
    "05_retraining": {
        "n_synthetic": 40, "steps": 4, "batch_size": 16, "shares": [0.5, 1.0],
        "arms": ["continued", "oversampled_recoloured", "vae_transfer", "vae_recoloured",
                 "vae_recoloured_part"],
    } | PLAIN,
    "07_panorama_anomalies": {"drawn_frames": [2, 2], "drawn_vehicles": 12},
}  # fmt: skip


def copy_sources(root: Path) -> Path:
    """The repository as a fresh checkout, with checkpoints at every chance instead of every minute."""
    root.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        else:
            shutil.copy(ROOT / name, root / name)
    shutil.rmtree(root / "params" / "tiny")
    (root / "params" / "tiny").mkdir()
    for name in NOTEBOOKS:
        write_parameters(root, name, TINY.get(name, {}))
    training = root / "lib" / "training.py"
    text = training.read_text(encoding="utf-8")
    assert "\nCHECKPOINT_SECONDS = 60.0" in text
    training.write_text(
        text.replace("\nCHECKPOINT_SECONDS = 60.0", "\nCHECKPOINT_SECONDS = -1.0"), encoding="utf-8"
    )
    return root


def write_parameters(root: Path, name: str, values: dict) -> None:
    text = yaml.safe_dump({"profile": "tiny"} | values, sort_keys=False)
    (root / "params" / "tiny" / f"{name}.yaml").write_text(text, encoding="utf-8")


def start(root: Path) -> subprocess.Popen:
    """`make reproduce PROFILE=tiny` as the Makefile calls Snakemake, in a process group of its own."""
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("SNAKEMAKE", "PYTEST_", "DRONE_DATA"))
    }
    environment |= {
        "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "MPLBACKEND": "", "JUPYTER_PREFER_ENV_PATH": "1",
        "XDG_CACHE_HOME": str(root / ".cache"), "IPYTHONDIR": str(root / ".cache" / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(root / ".cache" / "jupyter"),
    }  # fmt: skip
    environment.pop("JUPYTER_PATH", None)
    words = [
        sys.executable,
        "-m",
        "snakemake",
        "--cores",
        "all",
        "--quiet",
        "host",
        "progress",
        "rules",
        "--nolock",
    ]
    words += ["--rerun-incomplete", "--config", "profile=tiny", "seeds="]
    log = open(root / "log.txt", "w")  # noqa: SIM115
    return subprocess.Popen(words, cwd=root, env=environment, stdout=log, stderr=log, start_new_session=True)


def finish(process: subprocess.Popen, root: Path) -> str:
    """Wait for a call; what it wrote. It must have succeeded."""
    status = process.wait(timeout=LIMIT)
    text = (root / "log.txt").read_text(encoding="utf-8", errors="replace")
    failed = "\n".join(str(path) for path in root.glob("runs/tiny/*/notebooks/*.failed.ipynb"))
    assert status == 0, f"{text[-4000:]}\n{failed}"
    return text


def call(root: Path) -> str:
    return finish(start(root), root)


def wait_for(path: Path, process: subprocess.Popen) -> None:
    ends = time.monotonic() + LIMIT
    while not path.exists():
        assert process.poll() is None, f"ended before {path.name} was there"
        assert time.monotonic() < ends, f"no {path.name} after {LIMIT} s"
        time.sleep(0.02)


def kill(process: subprocess.Popen, root: Path) -> None:
    """SIGKILL to the whole group; then wait for the kernel, which notices by itself that it is alone."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=60)
    ends = time.monotonic() + 60
    quiet, seen = 0, None
    while quiet < 4:  # two seconds without a new file
        assert time.monotonic() < ends, "something is still writing"
        time.sleep(0.5)
        now = {p: p.stat().st_mtime_ns for p in (root / "runs").rglob("*") if p.exists()}
        quiet, seen = (quiet + 1 if now == seen else 0), now


def results(root: Path) -> dict[str, str]:
    """Hash of everything that must be the same: metrics, arrays, weights, tables, crops, drawn scenes."""
    kinds = {".json", ".npz", ".npy", ".safetensors", ".csv", ".md", ".jpg", ".txt", ".png"}
    found = {}
    for path in sorted((root / "runs" / "tiny").rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_file() and path.suffix in kinds and "/timing/" not in name:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def times(root: Path) -> dict[str, int]:
    folder = root / "runs" / "tiny"
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """A (whole) and B (killed in notebook 03, then resumed), and what was there when B was killed."""
    folder = tmp_path_factory.mktemp("a chain")
    a, b = copy_sources(folder / "A"), copy_sources(folder / "B")
    processes = {"A": start(a), "B": start(b)}
    try:
        checkpoint = b / "runs" / "tiny" / "seed0" / "checkpoints" / "vae_car.pt"
        wait_for(checkpoint, processes["B"])
        kill(processes["B"], b)
        at_kill = {"times": times(b), "step": torch.load(checkpoint, weights_only=True)["step"]}
        processes["B"] = start(b)
        logs = {name: finish(process, folder / name) for name, process in processes.items()}
    finally:
        for process in processes.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    return {"A": a, "B": b, "at_kill": at_kill, "logs": logs}


def test_the_chain_makes_every_file(chain):
    seed, summary = (chain["A"] / "runs" / "tiny" / name for name in ("seed0", "summary"))
    for name in ("division.npz", "classifier.safetensors", "vae_car.safetensors", "synthetic_car.npy",
                 "judge.safetensors", "classifier_continued.safetensors", "classifier_retrained.safetensors",
                 "answers/none.npz", "answers/continued.npz", "answers/vae_transfer.npz",
                 "answers/vae_recoloured.npz", "answers/vae_recoloured_part.npz", "recoloured.npy",
                 "classifier_oversampled_recoloured.safetensors"):  # fmt: skip
        assert (seed / name).stat().st_size > 0, name
    for name in ("data", "table1", "classifier", "vae", "transfer", "generation", "retraining"):
        assert json.loads((seed / f"metrics/{name}.json").read_text()), name
    for name in NOTEBOOKS:
        folder = summary if name == "06_evaluation" else seed
        assert json.loads((folder / f"timing/{name}.json").read_text())["seconds"] > 0
        assert (folder / f"notebooks/{name}.ipynb").exists()
    table = pd.read_csv(summary / "table2.csv", keep_default_na=False)
    assert set(table["arm"]) >= {"none", "continued", "vae_transfer"}
    assert table["value"].between(0, 1).all()
    made = json.loads((seed / "metrics/retraining.json").read_text())
    steps = {history[-1]["step"] for history in made["histories"].values()}
    assert steps == {TINY["05_retraining"]["steps"]} and len(made["histories"]) > 2  # equal for every arm
    kept = made["kept"]
    assert kept.keys() == {"vae_recoloured_part"} and kept["vae_recoloured_part"]["share"] in (0.0, 0.5, 1.0)
    assert np.load(seed / "synthetic_car.npy").shape == (40, 32, 32, 3)
    leftovers = [p for p in (chain["A"] / "runs").rglob("*") if ".part" in p.name or "checkpoints" in p.parts]
    assert not leftovers


def test_the_killed_run_stopped_halfway(chain):
    names = chain["at_kill"]["times"]
    assert "seed0/classifier.safetensors" in names and "seed0/checkpoints/vae_car.pt" in names
    assert "seed0/vae_car.safetensors" not in names and "seed0/metrics/vae.json" not in names
    assert 0 < chain["at_kill"]["step"] < TINY["03_vae_transfer"]["steps"]


def test_resuming_repeats_no_finished_stage(chain):
    after, log = times(chain["B"]), chain["logs"]["B"]
    for name, changed in chain["at_kill"]["times"].items():
        finished = any(name.endswith(f"{stage}.ipynb") for stage in NOTEBOOKS[:2])
        if finished or name in ("seed0/classifier.safetensors", "seed0/division.npz", "crops/crops.npy"):
            assert after[name] == changed, name
    assert not any(stage in log for stage in NOTEBOOKS[:2]) and all(stage in log for stage in NOTEBOOKS[2:6])


def test_killed_and_whole_run_end_with_the_same_bytes(chain):
    whole, resumed = results(chain["A"]), results(chain["B"])
    assert whole.keys() == resumed.keys()
    different = [name for name in whole if whole[name] != resumed[name]]
    assert not different
    assert len(whole) > 40


def test_a_further_call_runs_nothing(chain):
    before = times(chain["A"])
    log = call(chain["A"])
    assert times(chain["A"]) == before
    assert not any(name in log for name in NOTEBOOKS)


def test_a_parameter_reruns_only_what_reads_it(chain):
    root = chain["A"]
    before = times(root)
    write_parameters(root, "05_retraining", TINY["05_retraining"] | {"steps": 5})
    log = call(root)
    after = times(root)
    renewed = {name for name in before if after.get(name) != before[name]}
    executed = {name.split("/")[-1][:2] for name in renewed if "/notebooks/" in name}
    assert executed == {"05", "06", "07"}
    assert "seed0/classifier_retrained.safetensors" in renewed and "summary/table2.csv" in renewed
    for name in ("seed0/classifier.safetensors", "seed0/vae_car.safetensors", "seed0/synthetic_car.npy"):
        assert name not in renewed
    assert "05_retraining" in log and "04_generation" not in log
    assert json.loads((root / "runs/tiny/seed0/metrics/retraining.json").read_text())["steps"] == 5


def test_an_unknown_parameter_stops_before_anything_runs(chain):
    root = chain["B"]
    before = times(root)
    write_parameters(root, "05_retraining", TINY["05_retraining"] | {"stepz": 5})
    process = start(root)
    assert process.wait(timeout=LIMIT) != 0
    log = (root / "log.txt").read_text(encoding="utf-8", errors="replace")
    assert "05_retraining.yaml:" in log and "unknown parameter 'stepz'" in log
    assert times(root) == before


def test_a_row_from_scratch_is_the_published_one(chain):
    """Whatever the seed's other arms and runs did: the same numbers, from a copy that knows none of them."""
    a = chain["A"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SNAKEMAKE", "PYTEST_"))}
    environment |= {"PYTHONPATH": str(a), "JUPYTER_PREFER_ENV_PATH": "1", "MPLBACKEND": ""}
    for module in ("lib.report", "lib.row"):
        which = ["vae_recoloured_part", "0"] if module == "lib.row" else []  # not the arm of notebook 07
        words = [sys.executable, "-m", module, "tiny", *which]
        done = subprocess.run(words, cwd=a, env=environment, capture_output=True, text=True, timeout=LIMIT)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        if module == "lib.report":
            shutil.copytree(a / "runs/tiny/summary", a / "figures/tiny")
            shutil.copytree(a / "runs/tiny/seed0/metrics", a / "figures/tiny/metrics/seed0")
    assert "all must be equal" in done.stdout
    arm = "runs/tiny/seed0/classifier_recoloured.safetensors"  # every arm starts from the same weights
    assert (a / "runs/tiny/row/seed0-vae_recoloured_part" / arm).read_bytes() == (a / arm).read_bytes()
    count = len(pd.read_csv(a / "runs/tiny/row/seed0-vae_recoloured_part/row.csv"))
    assert count >= 20 and f"{count} measurements, {count} equal, 0 within tolerance, 0 beyond" in done.stdout
