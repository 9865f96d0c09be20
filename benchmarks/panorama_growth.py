"""How do time and memory grow with the size of two panoramas? A part of `benchmarks.panorama`.

Pairs of pictures of growing size are laid together from registered frames of two moments. Each size is
registered, compared and classified in a process of its own, as a process never gives back its peak of memory.
"""

from __future__ import annotations

import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lib.registration import lay
from lib.runs import InputError, progress
from lib.settings import ROOT

if TYPE_CHECKING:
    from benchmarks.panorama_changes import Pair

MEGAPIXELS = (6.0, 12.0, 24.0, 48.0, 96.0)
ASPECT = 3 / 4  # height by width of a picture
MOST_GB = 4.0
MOST_EXPONENT = 1.1


def of_the_largest(pairs: list[Pair]) -> list[Pair]:
    """Those whose first frames are of the size with the most pixels."""
    largest = max((pair.first.shape for pair in pairs), key=math.prod)
    return [pair for pair in pairs if pair.first.shape == largest]


def mosaic(pairs: list[Pair], megapixels: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two pictures, RGB uint8 (H, W, 3), of one place that is laid together from the pairs' frames, and
    bool (H, W), where the second shows anything.

    First frames lie side by side in one picture, their second frames, registered onto them, in the other.
    Where there are more places than pairs they come again; neighbours are mirrored otherwise. So pairs of
    frames of the largest size alone are used: the smaller, the more often one piece of ground would come, and
    a picture of copies cannot be registered.
    """
    height = max(1, round(float(np.sqrt(megapixels * 1e6 * ASPECT))))
    width = max(1, round(megapixels * 1e6 / height))
    pairs = of_the_largest(pairs)
    tall, wide = pairs[0].first.shape
    first, second = (np.zeros((height, width, 3), np.uint8) for _ in range(2))
    seen = np.zeros((height, width), bool)
    places = [(top, left) for top in range(0, height, tall) for left in range(0, width, wide)]
    used = [[at for k, at in enumerate(places) if k % len(pairs) == n] for n in range(len(pairs))]
    for pair, ats in zip(pairs, used, strict=True):
        if not ats:
            continue
        whole = np.ones(pair.second.shape, bool)
        laid, shown = lay(pair.second.frame, whole, pair.registration, pair.first.shape)
        for top, left in ats:
            window = slice(top, min(height, top + tall)), slice(left, min(width, left + wide))
            size = window[0].stop - top, window[1].stop - left
            turn = (slice(None, None, -1 if top // tall % 2 else 1),
                    slice(None, None, -1 if left // wide % 2 else 1))  # fmt: skip
            for target, part in ((first, pair.first.frame), (second, laid * shown[..., None]), (seen, shown)):
                target[window] = part[turn][:size[0], :size[1]]
    return first, second, seen


def _peak_gb() -> float:
    """The most memory that this process held, in 1e9 bytes.

    Linux hands the peak of the process that started this one down in ru_maxrss; VmHWM is this one's own.
    """
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e9
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9


def _one(folder: Path, vehicle_px: float, before: str, after: str) -> dict:
    """Register, compare and classify the pictures of a folder: seconds of each, peak of memory, regions."""
    import torch

    from lib.acceleration import choose_path
    from lib.anomalies import answers
    from lib.classify import open_classifier
    from lib.models import build_classifier
    from lib.panorama import compare
    from lib.stitching import Panorama

    torch.manual_seed(0)
    files = {"before": before, "after": after}
    models = {name: open_classifier(file) if file else build_classifier() for name, file in files.items()}
    first, second, seen = (np.load(folder / f"{name}.npy") for name in ("first", "second", "seen"))
    started, busy = time.perf_counter(), time.process_time()
    masks = np.ones(seen.shape, bool), seen
    panoramas = [Panorama.finished(*one) for one in zip((first, second), masks, strict=True)]
    comparison = compare(*panoramas, vehicle_px)
    compared = time.perf_counter()
    crops = comparison.crops()
    path = choose_path(compiler="off")  # not before: on a CPU this process keeps what it frees from then on
    answers(models, crops, path)
    ended, busy = time.perf_counter(), time.process_time() - busy
    return {"megapixels": round(seen.size / 1e6, 3), "seconds": round(ended - started, 3),
            "processor_seconds": round(busy, 3), "seconds_classifying": round(ended - compared, 3),
            "peak_gb": round(_peak_gb(), 3),
            "pictures_gb": round((first.nbytes + second.nbytes + 2 * seen.nbytes) / 1e9, 3),
            "regions": len(comparison.regions), "matches": comparison.registration.matches}  # fmt: skip


def measure(
    pairs: list[Pair], megapixels: tuple[float, ...] = MEGAPIXELS, weights: dict[str, str] | None = None
) -> dict:
    """Seconds and peak of memory for each size, and the exponent of time over size; plain values for JSON.

    pairs: registered ones, not empty. weights: files of the classifiers `before` and `after`; untrained ones
    otherwise, which take the same time. Each entry of `sizes` is one process: `seconds` to register,
    compare, cut crops and classify, and `processor_seconds`, in which other programs do not count;
    `peak_gb`, 1e9 bytes, of the whole process, libraries and both pictures with their masks (`pictures_gb`)
    included; or `reason` where that failed. `exponent`: least squares of log processor seconds over log
    megapixels, `exponent_seconds` of log seconds; None with fewer than two sizes measured. `holds`: whether
    all sizes were measured, exponent and memory being at most MOST_EXPONENT and MOST_GB.
    """
    weights, vehicle_px = weights or {}, of_the_largest(pairs)[0].vehicle_px
    sizes = []
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    for size in progress(megapixels, desc="growing"):
        with tempfile.TemporaryDirectory() as folder:
            for name, picture in zip(("first", "second", "seen"), mosaic(pairs, size), strict=True):
                np.save(Path(folder) / f"{name}.npy", picture)
            given = [folder, str(vehicle_px), weights.get("before", ""), weights.get("after", "")]
            ended = subprocess.run([sys.executable, "-m", "benchmarks.panorama_growth", *given], cwd=ROOT,
                                   env=environment, capture_output=True, text=True)  # fmt: skip
        if ended.returncode:
            said = ended.stderr.strip().splitlines()
            why = said[-1] if said else f"the process ended with {ended.returncode}"
            sizes.append({"megapixels": size, "seconds": None, "reason": why})
        else:
            sizes.append(json.loads(ended.stdout.strip().splitlines()[-1]))
        print(sizes[-1], file=sys.stderr, flush=True)
    good = [entry for entry in sizes if entry["seconds"]]
    found = {"sizes": sizes, "exponent": None, "exponent_seconds": None,
             "peak_gb": max((entry["peak_gb"] for entry in good), default=None)}  # fmt: skip
    if len(good) < 2:
        return found | {"reason": "fewer than two sizes could be measured"}
    for name, key in (("exponent", "processor_seconds"), ("exponent_seconds", "seconds")):
        logs = (np.log([entry[value] for entry in good]) for value in ("megapixels", key))
        found[name] = round(float(np.polyfit(*logs, 1)[0]), 3)
    within = found["exponent"] <= MOST_EXPONENT and found["peak_gb"] <= MOST_GB
    return found | {"holds": bool(within and len(good) == len(sizes))}


if __name__ == "__main__":
    try:
        print(json.dumps(_one(Path(sys.argv[1]), float(sys.argv[2]), *sys.argv[3:5])))
    except InputError as error:
        sys.exit(str(error))
