"""`make bench`: what it makes of timings, how it talks to its workers, what it counts. No speed is tested."""

import json
import mmap
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import bench, bench_data, bench_gpu, bench_report, bench_torch, fast_path
from benchmarks.bench_protocol import Worker, WorkerError
from lib.runs import write_json

ROOT = Path(__file__).parent.parent
MACHINE = {"processor": "P", "cores": 2, "torch": "2", "flops": 1e12, "bytes": 1e10, "precision": "float32"}
ANSWERING = """
from benchmarks.bench_protocol import serve
print("said before the work")
def measure(request):
    print("said during the work")
    if request.get("fail"):
        raise ValueError("asked to fail\\nat length")
    return {"seconds": request["steps"] * SECONDS}
serve(lambda line: line.answer_all({"path": "none"}, measure))
"""


def fake(seconds: float) -> list[str]:
    return [sys.executable, "-c", ANSWERING.replace("SECONDS", str(seconds))]


def step_row(**peers):
    entry = {"seconds": bench_report.spread([2.0]), "images_per_second": bench_report.spread([64.0])}
    return {
        "row": 1, "key": "classifier_step", "name": "classifier training step", "work": "batch 128",
        "ours": entry,
        "peers": {
            name: {"missing": times} if isinstance(times, str)
            else entry | {"times_as_fast": bench_report.spread(times)}
            for name, times in peers.items()
        },
        "limit": {"images_per_second": 512.0, "share_of_limit": 0.125},
    }  # fmt: skip


def growth_answers():
    return {
        factor: [
            {"seconds": s * factor, "crops": 100 * factor, "cutting_bytes": b, "bytes": 2 * b,
             "parts": {"cutting": s * factor, "epoch": s * factor**2}}
            for s in (1.0, 1.5, 9.0)
        ]
        for factor, b in ((1, 100e6), (2, 105e6), (4, 104e6))
    }  # fmt: skip


def test_ratios_are_those_of_neighbouring_measurements():
    found = bench_report.times_as_fast([1.0, 2.0, 4.0], [3.0, 4.0, 20.0])
    assert found == {"median": 3.0, "min": 2.0, "max": 5.0, "repeats": 3}


def test_ratios_by_name_keras_with_its_faster_way():
    rows = [step_row(**{"eager PyTorch": [4.0, 3.0, 5.0], "Keras": [2.0], "Keras with XLA": [3.0]})]
    data = step_row(**{"usual recipe": [6.0], "decoding alone": [0.8]}) | {"key": "data"}
    assert bench_report.ratios([*rows, data]) == {
        "classifier_step_vs_eager": 4.0,
        "classifier_step_vs_keras": 2.0,
        "classifier_step_share_of_limit": 0.125,
        "data_vs_recipe": 6.0,
        "data_vs_decode": 1.25,
    }


def test_a_missing_peer_is_null_with_its_reason():
    row = step_row(**{"eager PyTorch": [4.0], "Keras": "not installed"})
    assert bench_report.ratios([row])["classifier_step_vs_keras"] is None
    text = bench_report.table({"machine": MACHINE, "rows": [row]})
    assert "1,000 GFLOP/s in float32" in text and "| Keras, float32 | – | not installed |" in text
    assert "| 64.0 images/s (64.0 to 64.0) | eager PyTorch, float32 |" in text and "12% of it" in text
    assert len({line.count("|") for line in text.splitlines()[2:]}) == 1


def test_decoding_in_the_table_says_how_many_times_its_time():
    row = step_row(**{"decoding alone": [0.5, 0.8, 1.0]}) | {"key": "data"}
    assert "1.25 (1.00 to 2.00) times its time" in bench_report.table({"machine": MACHINE, "rows": [row]})


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_exponent(power):
    sizes = [100, 200, 400]
    assert bench_report.exponent(sizes, [3e-3 * size**power for size in sizes]) == pytest.approx(power)


@pytest.mark.parametrize("sizes, seconds", [([1], [1.0]), ([1, 2], [0.0, 1.0])])
def test_exponent_refuses_what_has_none(sizes, seconds):
    with pytest.raises(ValueError, match="expected two or more over 0"):
        bench_report.exponent(sizes, seconds)


def test_growth_of_time_and_memory():
    found = bench_report.growth_of(growth_answers(), 6)
    assert found["exponent"] == pytest.approx(1.0)
    assert found["exponent_of_parts"] == pytest.approx({"cutting": 1.0, "epoch": 2.0})
    assert found["peak_bytes_cutting_rise"] == pytest.approx(0.05)
    assert [point["frames"] for point in found["points"]] == [6, 12, 24]
    unknown = {f: [a | {"cutting_bytes": None} for a in answers] for f, answers in growth_answers().items()}
    assert bench_report.growth_of(unknown, 6)["peak_bytes_cutting_rise"] is None


def test_operations_of_the_convolutions_by_hand():
    """2 x input channels x kernel x output channels x positions, layer by layer from the paper's numbers."""
    flops = 2 * 3 * 9 * 32 * 32**2
    for channels, side in ((32, 32), (76, 16), (112, 8), (140, 4)):
        flops += 2 * channels * 256 * side**2 + 2 * 256 * 9 * 64 * side**2
    for channels, kept, side in ((96, 76, 16), (140, 112, 8), (176, 140, 4)):
        flops += 2 * channels * kept * side**2  # after the pooling
    work = bench_torch.convolution_work("classifier")
    assert work.flops == flops == 440_936_448
    assert work.weights == 730_464
    assert bench_torch.convolution_work("vae").flops == 2 * flops  # a mirrored decoder
    assert work.step(128) == 3 * 128 * flops
    assert work.step_bytes(128, 2) == 6 * (128 * work.values + work.weights)


def test_limit_is_the_slower_of_computing_and_moving():
    machine = {"flops": 1e12, "bytes": 1e30, "bytes_a_value": 2}
    computed = bench.against_limit("classifier", 128, 1.0, machine)
    assert computed["share_of_limit"] == pytest.approx(3 * 128 * 440_936_448 / 1e12)
    moved = bench.against_limit("classifier", 128, 1.0, machine | {"bytes": 1e6})
    assert moved["share_of_limit"] == moved["seconds_of_bytes"] > 1


def test_worker_answers_and_its_prints_stay_out():
    with Worker(fake(0.25), "fake") as worker:
        assert worker.about() == {"path": "none"}
        assert [worker.ask(steps=k) for k in (1, 4)] == [{"seconds": 0.25}, {"seconds": 1.0}]


def test_several_workers_are_asked_at_once():
    """All have begun before the first has ended: the time is that of one, not the sum."""
    slow = ANSWERING.replace('return {"seconds"', 'import time; time.sleep(1)\n    return {"seconds"')
    found = bench_gpu.together([[sys.executable, "-c", slow.replace("SECONDS", "1")]] * 3, 1, 2)
    assert len(found) == 2 and all(1 <= seconds < 2.5 for seconds in found)


def test_trainings_that_share_a_machine_are_counted_together(monkeypatch):
    asked = []

    def together(commands, steps, repeats):
        asked.append((len(commands), steps, repeats))
        return [0.5, 1.0, 2.0]

    monkeypatch.setattr(bench_gpu, "together", together)
    row = bench_gpu.sharing_row(100, 10, 3, counts=(1, 4))
    assert asked == [(1, 10, 3), (4, 10, 3)]
    assert [point["images_per_second"]["median"] for point in row["points"]] == [1000.0, 4000.0]
    assert row["points"][1]["images_per_second_each"]["max"] == 2000.0
    text = bench_report.table({"machine": MACHINE, "rows": [row]})
    assert "| 4,000 images/s (2,000 to 8,000) | 4 at once | 1,000 images/s each (500 to 2,000) |" in text


def test_the_cost_of_the_paper_s_profile_is_made_of_its_parameters(monkeypatch):
    """A pass over crops that are there, repeated to the size; steps of the other trainings."""
    numbers = {"batch_size": 4, "resolutions": [16, 32], "passes": 3, "steps": 50}
    numbers |= {"arms": ["continued", "winter", "winter_part"], "starts": ["transferred", "scratch"]}
    monkeypatch.setattr(bench_gpu.settings, "values", lambda profile, notebook: numbers)
    monkeypatch.setattr(bench_gpu, "find_crops", lambda: ("", "random pictures"))
    monkeypatch.setattr(bench_gpu, "together", lambda *_: [2.0])  # of 100 steps
    row = bench_gpu.paper_row(2, crops=10, device="cpu")
    assert row["work"] == "10 crops (random pictures), batch 4" and row["pass"]["repeats"] == 2
    cost = row["extrapolated"]
    assert cost["classifier"] == pytest.approx(3 * row["pass"]["median"])
    assert (cost["autoencoder"], cost["retraining"], cost["arms"]) == pytest.approx((2.0, 2.0, 2))
    assert cost["total"] == pytest.approx(cost["classifier"] + 4.0)
    gpu = {"gpu": "Card", "gpu_limits": {"flops": 7e14, "bytes": 4e12, "precision": "bfloat16"}}
    text = bench_report.table({"machine": MACHINE | gpu, "rows": [row]})
    assert "GPU: Card; measured here: 700 TFLOP/s in bfloat16" in text and "extrapolated" in text


def test_an_epoch_takes_the_largest_store_that_is_here(repository, monkeypatch):
    monkeypatch.setattr(bench_gpu, "ROOT", repository)
    assert bench_gpu.find_crops() == ("", "random pictures")
    for profile, count in (("small", 5), ("large", 70)):
        write_json(repository / f"runs/{profile}/crops/store.json", {"crops": count})
    path, what = bench_gpu.find_crops()
    assert path.endswith("large/crops/crops.npy") and what == "70 crops of large, repeated"


def test_rows_of_a_gpu_without_one_are_one_line(monkeypatch, capsys):
    monkeypatch.setattr(bench.torch.cuda, "is_available", lambda: False)
    for rows in (["6"], ["5", "6"], ["6", "6"]):
        assert bench.main(["--rows", *rows]) == 2
        assert capsys.readouterr().err == "--rows: found 6, expected a GPU that PyTorch can use\n"


def test_a_gpu_whose_limits_cannot_be_measured_costs_its_rows_alone(monkeypatch):
    def machine(plan, device="cpu"):
        if device == "cuda":
            raise WorkerError("machine: out of memory")
        return {"flops": 1.0, "bytes": 1.0, "precision": "x"}

    monkeypatch.setattr(bench.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(bench.torch.cuda, "get_device_name", lambda: "Card")
    monkeypatch.setattr(bench, "measure_machine", machine)
    monkeypatch.setattr(bench, "sharing_row", lambda *_: {"row": 6, "key": "sharing_gpu", "points": []})
    monkeypatch.setattr(bench, "paper_row", lambda *_: {"row": 6, "key": "paper_gpu", "missing": "x"})
    found = bench.measure(bench.QUICK, [6])
    assert [row["key"] for row in found["rows"]] == [
        "classifier_step_gpu", "vae_step_gpu", "paper_gpu", "sharing_gpu"
    ]  # fmt: skip
    assert "out of memory" in found["rows"][0]["missing"] and found["machine"]["gpu_limits"] is None


@pytest.mark.parametrize("plan", [bench.FULL, bench.QUICK])
def test_on_a_gpu_ours_is_what_trainings_get(monkeypatch, plan):
    """CUDA graphs; compiled besides, which only very long trainings are, as a peer of the full plan."""
    asked = {}

    def race(commands, repeats, requests):
        asked.update(commands)
        raise WorkerError("enough")

    monkeypatch.setattr(bench, "race", race)
    with pytest.raises(WorkerError):
        bench.step_row("vae", plan, {}, "cuda")
    words = {name: command[command.index("--compiler") + 1] for name, command in asked.items()
             if "--compiler" in command}  # fmt: skip
    compiled = {} if plan is bench.QUICK else {bench.COMPILED: "auto"}
    assert words == {"ours": "graphs"} | compiled


def test_rows_are_kept_as_they_come(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "measure_machine", lambda *_: {"flops": 1.0, "bytes": 1.0, "precision": "x"})
    monkeypatch.setattr(bench, "embedded_row", lambda: {"row": 5, "key": "embedded"})
    kept = []
    monkeypatch.setattr(bench, "table", lambda result: "")
    whole = bench.measure(bench.QUICK, [5], so_far=kept.append)
    assert kept[0]["rows"] == [{"row": 5, "key": "embedded"}] and kept[0].keys() == whole.keys()


def test_a_stopped_benchmark_leaves_what_it_has_and_a_complete_one_does_not(tmp_path, monkeypatch):
    part, target = tmp_path / "bench.so_far.json", tmp_path / "bench.json"

    def measure(plan, wanted, say, so_far):
        so_far({"rows": [1]})
        assert json.loads(part.read_text()) == {"rows": [1]}
        if not target.exists():
            raise RuntimeError("the power failed")
        return {"machine": MACHINE, "rows": [], "ratios": {}, "seconds": 1.0}

    monkeypatch.setattr(bench, "measure", measure)
    assert bench.main(["--output", str(target)]) == 2 and part.exists()
    target.touch()
    assert bench.main(["--output", str(target)]) == 0 and not part.exists()


@pytest.mark.parametrize("command, said", [
    ([sys.executable, "-c", "raise SystemExit('no such thing')"], "fake: ended with code 1 .no such thing."),
    ([sys.executable, "-c", "import os; os._exit(3)"], "fake: ended with code 3 .no word."),
    (["no-such-program-here"], "fake: No such file"),
])  # fmt: skip
def test_worker_that_does_not_start(command, said):
    with pytest.raises(WorkerError, match=said), Worker(command, "fake") as worker:
        worker.about()


def test_worker_that_fails_says_why_in_one_line():
    with Worker(fake(1), "fake") as worker, pytest.raises(WorkerError, match="ValueError: asked to fail$"):
        worker.ask(fail=True)


def test_worker_that_never_answers_is_stopped(monkeypatch):
    monkeypatch.setattr("benchmarks.bench_protocol.PATIENCE", 0.2)
    sleeping = [sys.executable, "-c", "import time; time.sleep(60)"]
    with pytest.raises(WorkerError, match="fake: no answer within 0 s"), Worker(sleeping, "fake") as worker:
        worker.about()


def test_a_row_that_fails_leaves_the_others(monkeypatch):
    def fail(*_):
        raise KeyError("parts\nmissing")

    monkeypatch.setattr(bench, "measure_machine", lambda *_: MACHINE)
    good = step_row(**{"eager PyTorch": [4.0]})
    monkeypatch.setattr(bench, "step_row", lambda key, *_: good | {"key": key})
    monkeypatch.setattr(bench, "data_row", fail)
    monkeypatch.setattr(bench, "growth_row", fail)
    monkeypatch.setattr(bench, "find_frames", lambda *_: ([], "no frames"))
    said = []
    result = bench.measure(bench.QUICK, [1, 2, 4], said.append)
    assert [row["key"] for row in result["rows"][-2:]] == ["data", "growth"]
    assert all("KeyError" in row["missing"] for row in result["rows"][-2:])
    assert any("data preparation failed" in text for text in said)
    assert result["ratios"]["classifier_vs_eager"] == 4.0
    assert "| data preparation |  | – |" in bench.table(result)


def test_race_in_turn_with_a_peer_that_fails():
    dead = [sys.executable, "-c", "import no_such_module"]
    commands = {"ours": fake(0.5), "slow": fake(2.0), "dead": dead}
    raced = bench.race(commands, 2, [{"steps": 1}, {"steps": 3}])
    assert list(raced["missing"]) == ["dead"] and "no_such_module" in raced["missing"]["dead"]
    found = bench.compared(raced, 1, images=6)
    assert found["ours"]["images_per_second"]["median"] == 4.0 and found["ours"]["path"] == "none"
    assert found["peers"]["slow"]["times_as_fast"] == {"median": 4.0, "min": 4.0, "max": 4.0, "repeats": 2}
    assert set(found["peers"]["dead"]) == {"missing"}


def test_race_needs_ours():
    with pytest.raises(WorkerError, match="asked to fail"):
        bench.race({"ours": fake(1), "other": fake(1)}, 1, [{"fail": True}])


def test_paced_training_does_the_steps_that_were_asked():
    import torch

    from lib.acceleration import ComputePath
    from lib.training import fit

    class FakeLine:
        answers = []

        def requests(self):
            yield from ({"steps": 2}, {"steps": 5})

        def answer(self, **values):
            self.answers.append((values, len(done)))

    done, model, path = [], torch.nn.Linear(2, 1), ComputePath("cpu", "float32", True, False, 1)
    schedule = bench_torch.Paced(bench_torch.NEVER, 4, 1e-3, 0).start(FakeLine(), path)

    batches = schedule.batches(16, "cpu", lambda step, size: (torch.tensor(step),))

    def loss(_, rows, number):
        assert len(rows) == 4 and number == len(done)
        done.append(int(number))
        return model(torch.ones(1, 2)).sum(), {}

    with pytest.raises(bench_torch.Stopped):
        fit(model, batches, loss, schedule, path=path)
    (ready, at), *measured = FakeLine.answers
    assert ready["ready"]["precision"] == "float32" and at == bench_torch.WARM_STEPS
    assert [steps for _, steps in measured] == [at + 2, at + 7]
    assert all(values["seconds"] > 0 for values, _ in measured)


@pytest.fixture
def frames(tmp_path):
    """Two frames with three kept objects, one with none."""
    rows = {
        "0000001_a": ["10,10,20,30,1,4,0,0", "0,0,40,40,0,0,0,0", "5,5,3,9,1,4,0,0"],
        "0000001_b": ["50,20,30,30,1,1,0,0", "1,1,20,20,1,5,0,0"],
        "0000002_c": [],
    }
    found = []
    for name, lines in rows.items():
        image, annotation = tmp_path / f"{name}.jpg", tmp_path / f"{name}.txt"
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)).save(image)
        annotation.write_text("\n".join(lines))
        found.append((image, annotation))
    return found


def test_recipe_cuts_what_the_library_cuts(frames, tmp_path):
    folder = bench_data.link_frames(frames, tmp_path / "set", copies=2)
    for name in ("library", "files"):
        (tmp_path / name).mkdir()
    found = bench_data.ours(folder, tmp_path / "library")
    assert found["crops"] == bench_data.cut_to_files(folder, tmp_path / "files") == 6
    assert len(list((tmp_path / "files").glob("car/*.jpg"))) == 2
    assert set(found["parts"]) == {"annotations", "cutting", "epoch"}
    assert found["seconds"] == pytest.approx(sum(found["parts"].values()))
    assert bench_data.decode(folder, tmp_path)["frames"] == 4  # those with an object


def test_recipe_without_split_folders_says_so(frames, tmp_path):
    folder = bench_data.link_frames(frames, tmp_path / "set")
    with pytest.raises(RuntimeError, match="split-folders: ModuleNotFoundError"):
        bench_data.recipe(folder, tmp_path / "work", sys.executable)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell")
def test_peak_of_anonymous_memory_sees_a_block_come_and_go():
    before = bench_data.anonymous_memory()
    with bench_data.Peak() as peak:
        # pages of its own: the allocator may have freed memory at hand, which would not show
        with mmap.mmap(-1, 60_000_000, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as block:
            block.write(b"1" * len(block))
            seen = bench_data.anonymous_memory()
            bench_data.time.sleep(0.1)
    assert before > 0 and seen >= before + 50e6 and peak.bytes >= seen


def test_frames_are_taken_evenly_from_the_validation_set(frames, tmp_path, monkeypatch):
    bench_data.link_frames(frames, tmp_path / "data", copies=4)
    monkeypatch.setenv("DRONE_DATA", str(tmp_path / "data"))
    found, what = bench.find_frames(tmp_path, 3)
    assert what == "3 real validation frames of VisDrone-DET"
    assert [image.stem[:9] for image, _ in found] == ["0000001_a", "0000001_b", "0000002_c"]


def test_command_line_writes_json_and_table(tmp_path, monkeypatch, capsys):
    rows, asked = [step_row(**{"eager PyTorch": [4.0]})], []

    def measure(plan, wanted, say, so_far):
        assert so_far
        asked.append((plan, wanted))
        return {"machine": MACHINE, "rows": rows, "ratios": bench.ratios(rows), "seconds": 1.0}

    monkeypatch.setattr(bench, "measure", measure)
    assert bench.main(["--quick", "--output", str(tmp_path / "bench.json")]) == 0
    assert asked == [(bench.QUICK, [1, 2, 3])]
    written = json.loads((tmp_path / "bench.json").read_text())
    assert written["ratios"]["classifier_step_vs_eager"] == 4.0
    table = (tmp_path / "bench.md").read_text(encoding="utf-8")
    assert table in capsys.readouterr().out and "eager PyTorch" in table


def test_a_part_of_the_rows_does_not_replace_the_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "TARGET", tmp_path / "figures" / "bench.json")
    monkeypatch.setattr(bench, "PART", tmp_path / "runs" / "bench.json")
    result = {"machine": MACHINE, "rows": [], "ratios": {}, "seconds": 1.0}
    monkeypatch.setattr(bench, "measure", lambda *_: result)
    assert bench.main(["--rows", "2"]) == 0
    assert sorted(p.name for p in tmp_path.rglob("*.*")) == ["bench.json", "bench.md"]
    assert not (tmp_path / "figures").exists()
    assert bench.main([]) == 0
    assert (tmp_path / "figures" / "bench.md").exists()


def test_fast_and_reference_paths_are_compared_seed_by_seed(monkeypatch, tmp_path, capsys):
    asked = []

    def accuracy(run, path, passes):
        asked.append((run.folder.name, path.precision, path.channels_last, path.compiler, passes))
        reference = path.precision == "float32" and not path.channels_last
        return 0.88 + 0.01 * run.seed - (0.002 * run.seed if reference else 0.0), 1.0

    monkeypatch.setattr(fast_path, "accuracy", accuracy)
    monkeypatch.setattr(fast_path, "TARGET", tmp_path / "fast_path.json")
    assert fast_path.main(["mine", "--seeds", "1", "2", "3", "--passes", "2"]) == 0
    found = json.loads((tmp_path / "fast_path.json").read_text())
    assert found["difference"]["mean"] == pytest.approx(0.004)
    assert found["difference"]["low"] < 0.004 < found["difference"]["high"]
    assert [row[0] for row in asked[::2]] == ["seed1", "seed2", "seed3"]
    assert {row[1:] for row in asked[1::2]} == {("float32", False, False, 2.0)}
    assert "0.4" in capsys.readouterr().out


def test_paths_that_do_not_differ_in_any_seed_are_told_without_an_interval(monkeypatch, tmp_path):
    """As on a machine whose fast path is the reference: NaN cannot be written, after all the trainings."""
    monkeypatch.setattr(fast_path, "accuracy", lambda *_: (0.9, 1.0))
    monkeypatch.setattr(fast_path, "TARGET", tmp_path / "fast_path.json")
    assert fast_path.main(["mine", "--seeds", "1", "2"]) == 0
    assert json.loads((tmp_path / "fast_path.json").read_text())["difference"] == {"mean": 0.0}


def test_a_comparison_of_paths_without_a_run_names_the_command(repository, capsys):
    assert fast_path.main(["embedded"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "division.npz" in error and "make reproduce" in error


def test_command_line_ends_with_one_error_line(tmp_path, monkeypatch, capsys):
    def measure(*_):
        raise WorkerError("ours: ended\nbadly")

    monkeypatch.setattr(bench, "measure", measure)
    assert bench.main(["--output", str(tmp_path / "bench.json")]) == 2
    assert capsys.readouterr().err == "error: ours: ended badly\n"
    assert not list(tmp_path.iterdir())


def test_lock_of_the_comparison_is_hashed_and_names_no_address():
    lock = (ROOT / "benchmarks" / "requirements.txt").read_text(encoding="utf-8")
    assert not re.search(r"https?:|index-url|find-links|file:", lock)
    entries = [e for e in lock.replace("\\\n", " ").splitlines() if e and not e.startswith("#")]
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", entry) for entry in entries)
    wanted = (ROOT / "benchmarks" / "requirements.in").read_text(encoding="utf-8").splitlines()
    for line in wanted:
        if not line.startswith("#"):
            name = re.match(r"[\w-]+", line)[0]
            assert re.search(r"  # \w+", line), f"no purpose beside {name}"
            assert any(entry.startswith(f"{name}==") for entry in entries), f"{name} is not in the lock"


@pytest.mark.parametrize("network", ["classifier", "vae"])
def test_keras_networks_have_the_published_counts(network):
    if not bench.OTHER_PYTHON.exists():
        pytest.skip("Keras is not installed: `make bench` sets up .venv-bench")
    code = f"from benchmarks.keras_networks import build, count; print(count(build({network!r})))"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([str(bench.OTHER_PYTHON), "-c", code], cwd=ROOT, env=environment,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr[-500:]
    published = {"classifier": (801_980, 797_980, 4_000, 12), "vae": (2_243_960, 2_235_960, 8_000, 24)}
    assert done.stdout.split("\n")[-2] == str(published[network])
