"""The claims that benchmarks measure: a row each, from figures/benchmarks/*.json (`lib.claims`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from lib import runs
from lib.arms import ARMS, STARTS

PYTHON = ".venv/bin/python"
GRID = "visdrone-val-grid"
REAL_RUN = "visdrone-val/seed0"  # the run of real frames whose classifiers the panorama benchmark asks


def _row(claim: str, words: str, time: str, ours: str, paper: str = "–") -> list[str]:
    """A row of the table; `words`: the benchmark and its arguments."""
    return [claim, f"`{PYTHON} -m benchmarks.{words}`", time, paper, ours]


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min"


def _scene_realism(found: dict) -> list[str]:
    """How real the drawn scenes are: trained on drawn crops alone, asked about real ones."""
    ours = f"{100 * found['car_called_car']:.1f} / {100 * found['noncar_called_car']:.1f}"
    claim = "trained on drawn scenes alone: real cars ↑ / real non-cars ↓ called car (%)"
    return _row(claim, "scene_realism", "4 min", ours)


def _vae_heads(found: dict) -> list[str]:
    """Which of the two heads that meet the published total the autoencoder has, and why."""
    ours = " / ".join(f"{found[name]['elbo']:,.0f}" for name in ("V1", "V4"))
    claim = ("autoencoder's code from one pooled point (V1) / from a 2 x 2 grid (V4, the default): held-out "
             "ELBO (nats) ↑")  # fmt: skip
    return _row(claim, "vae_heads runs/embedded/seed0", "5 min", ours)


def _vae_starts(found: dict) -> list[str] | None:
    """What the autoencoder's starts come to: bound, and distance of the decoder's own images."""
    last = {name: rows[-1] for name, rows in found["starts"].items()}
    names = [name for name in STARTS if name in last]
    if len(names) < 2:
        return None
    claim = (f"autoencoder after {found['steps']} steps, {' / '.join(STARTS[name] for name in names)}: "
             "held-out ELBO (nats) ↑; Fréchet distance of the decoder's images ↓; one seed")  # fmt: skip
    bounds = " / ".join(f"{last[name]['heldout_elbo']:,.0f}" for name in names)
    distances = " / ".join(f"{last[name]['heldout_frechet']:.1f}" for name in names)
    words, time = f"vae_starts runs/{found['run']}", "100 min without bfloat16"
    return _row(claim, words, time, f"{bounds}; {distances}")


def _image_score(found: dict) -> list[str]:
    """Whether the score of a single image falls as real held-out cars are spoilt."""
    score = found["winter"]["intactness"]
    ours = " / ".join(f"{entry['rank_correlation']:.2f}" for entry in score.values())
    kinds = " / ".join(score)
    claim = f"score of a single image (intactness): rank correlation with the strength of {kinds} (-1: best)"
    return _row(claim, f"image_score runs/{found['run']}", _minutes(found["seconds"]), ours)


def _fast_path(found: dict) -> list[str]:
    """What the fast path costs in accuracy."""
    ours = {name: f"{100 * value:+.2f}" for name, value in found["difference"].items()}
    interval = f" [{ours['low']}, {ours['high']}]" if "low" in ours else ""
    claim = ("fast path minus float32 reference: test accuracy (points; 0: it costs none), "
             f"{len(found['seeds'])} seeds")  # fmt: skip
    words = f"fast_path {found['profile']} --passes {found['passes']:g}"
    seconds = sum(sum(found[name]["seconds"]) for name in ("fast", "reference"))
    return _row(claim, words, _minutes(seconds), ours["mean"] + interval)


def _panorama_words(found: dict, run: str = REAL_RUN) -> str:
    """What measures all that one file holds."""
    words = f"panorama FOLDER --run runs/{run}"
    if "changes" not in found:
        return f"{words} --parts drawn --out figures/benchmarks/panorama_drawn.json"
    more = "".join(f" --{part}" for part in ("growth", "drawn") if part in found)
    return f"{words}{more} --out figures/benchmarks/panorama.json"


def _panorama(found: dict) -> list[str]:
    """What the stage that compares two flights does on real frames."""
    changes, tiles, cars = found["changes"], found["stitching"], found["classification"]
    usual = max(changes[name]["f1"] for name in ("absolute_difference", "structural_similarity"))
    asked = {name: share for name, share in cars.get("arms", {}).items() if share is not None}
    arms = [name for name in ARMS if name in asked]
    called = " / ".join(f"{100 * asked[name]:.0f}" for name in arms) or "–"
    names = f", {' / '.join(ARMS[name].label for name in arms)}" if arms else ""
    found_of = " / ".join(f"{100 * changes[name]:.0f}" for name in ("recall", "precision", "f1"))
    placed = f"{100 * tiles['placed']:.0f} / {tiles['reprojection_px']:.1f} px"
    claim = (
        f"moments of real places ({found['folder']}, {changes['pairs']} pairs): tiles placed (%) / error; "
        "changed vehicles: recall / precision / F1 (the better of absolute difference's and structural "
        f"similarity's); cars of them called car{names} (%)"
    )
    time = _minutes(found["seconds"])
    return _row(claim, _panorama_words(found), time, f"{placed}; {found_of} ({100 * usual:.0f}); {called}")


def _growth(found: dict) -> list[str] | None:
    """Time and memory of the largest pair of panoramas."""
    sizes = [size for size in found.get("growth", {}).get("sizes", ()) if size["seconds"]]
    if not sizes:
        return None
    most = max(sizes, key=lambda size: size["megapixels"])
    size = f"{most['megapixels']:.0f} megapixels"
    claim = f"two panoramas of {size} compared and classified: time; memory; growth of time (1: linear)"
    ours = f"{most['seconds']:.0f} s; {most['peak_gb']:.1f} GB; {found['growth']['exponent']:.2f}"
    return _row(claim, _panorama_words(found), _minutes(found["seconds"]), ours)


def _drawn(found: dict, run: str = REAL_RUN) -> list[str] | None:
    """What the stage does between summer and snow, on drawn places, with the classifiers of a run."""
    drawn = found.get("drawn")
    if not drawn or drawn.get("after") is None:
        return None
    claim = (
        f"{drawn['places']} drawn places, summer and snow; changed vehicles: recall / precision; the "
        f"{drawn['winter_cars']} cars found under snow called car by {run}, before → after retraining"
    )
    found_of = " / ".join(f"{100 * drawn[name]:.0f}" for name in ("recall", "precision"))
    counts = (round(drawn[name] * drawn["winter_cars"]) for name in ("before", "after"))
    ours = f"{found_of} %; {' → '.join(map(str, counts))}"
    if others := drawn.get("winter_others"):  # not in numbers of older code
        falsely = drawn["winter_others_called_car"]
        claim += f"; the {others} other regions found there called car"
        ours += f"; {' → '.join(str(round(falsely[name] * others)) for name in ('before', 'after'))}"
    return _row(claim, _panorama_words(found, run), _minutes(found["seconds"]), ours)


def _gpu(found: dict) -> list[str] | None:
    """Training steps on a GPU, plain and compiled, and what the paper's data would take."""
    rows = {row["key"]: row for row in found["rows"] if "missing" not in row}
    if not {"classifier_step_gpu", "vae_step_gpu", "paper_gpu"} <= set(rows):
        return None
    told = []
    for key in ("classifier_step_gpu", "vae_step_gpu"):
        peers = rows[key]["peers"]
        ways = [peers.get("ours, compiled too", {}), rows[key]["ours"], peers["eager PyTorch"]]
        rates = (f"{way['images_per_second']['median']:,.0f}" if "images_per_second" in way else "–"
                 for way in ways)  # fmt: skip
        told.append(" / ".join(rates))
    batch = rows["classifier_step_gpu"]["work"].split(":")[0]
    claim = (f"{found['machine']['gpu']}, {batch}, images a second, compiled / not compiled / eager float32 "
             "PyTorch: classifier; autoencoder; a pass over the paper's 290,207 crops; the "
             "trainings of one of the two runs of profile `paper`, extrapolated")  # fmt: skip
    ours = (f"{'; '.join(told)}; {rows['paper_gpu']['pass']['median']:.1f} s; "
            f"{rows['paper_gpu']['extrapolated']['total']:.0f} s")  # fmt: skip
    words = "bench --rows 6 --output figures/benchmarks/bench_gpu.json"
    return _row(claim, words, f"{_minutes(found['seconds'])} on that GPU", ours)


def _gpu_sharing(found: dict) -> list[str]:
    """What several trainings get that share a GPU."""
    one, every = found["classifier"], found["all"]
    claim = (f"{found['machine']['gpu']} shared: images a second of each of {one['trainings']} classifier "
             "trainings side by side, whole notebooks; notebooks 02 to 05 of the whole grid")  # fmt: skip
    ours = (f"{one['images_per_second_each']['median']:,.0f}; {every['notebooks']} notebooks in "
            f"{every['seconds'] / 60:.1f} min, {every['at_once']:.0f} at a time on average")  # fmt: skip
    return _row(claim, f"gpu_sharing {found['profile']}", "seconds, after the grid", ours)


def _equal_snow(found: dict) -> list[str]:
    """What the winter non-cars are called if snow holds on them as on cars."""
    arms = [arm for arm in ARMS if arm in found["arms"]]
    claim = (f"{sum(found['objects']):,} winter non-cars of {found['profile']} ({', '.join(found['runs'])}) "
             "called car (%), snow as their class holds it → as much as on a car: "
             f"{' / '.join(ARMS[arm].label for arm in arms)}")  # fmt: skip
    ours = " / ".join(
        " → ".join(f"{100 * found['arms'][arm][snow]['value']:.1f}" for snow in ("measured", "as_on_cars"))
        for arm in arms
    )
    folders = " ".join(f"runs/{found['profile']}/{run}" for run in found["runs"])
    return _row(claim, f"equal_snow {folders}", f"{len(found['runs'])} min", ours)


MEASURED = (
    ("scene_realism", _scene_realism),
    ("vae_heads", _vae_heads),
    ("vae_starts", _vae_starts),
    ("image_score", _image_score),
    ("equal_snow_embedded", _equal_snow),
    ("equal_snow_visdrone-val", _equal_snow),
    ("fast_path", _fast_path),
    ("panorama", _panorama),
    ("panorama", _growth),
    ("panorama", _drawn),
    ("panorama_drawn", partial(_drawn, run="embedded/seed0")),
    ("bench_gpu", _gpu),
    (f"gpu_sharing_{GRID}", _gpu_sharing),
)  # figures/benchmarks/<benchmark>.json, and a row from it; None where a part was not measured


def told_of(figures: Path, measured: Sequence[tuple[str, Callable]]) -> list:
    """What each (benchmark, function of its JSON) tells, of those that have been run and tell something."""
    files = [(figures / "benchmarks" / f"{name}.json", tell) for name, tell in measured]
    told = [tell(runs.read_json(file)) for file, tell in files if file.exists()]
    return [one for one in told if one]


def measured_rows(figures: Path) -> list[list[str]]:
    """The rows of each benchmark that has been run."""
    return told_of(figures, MEASURED)
