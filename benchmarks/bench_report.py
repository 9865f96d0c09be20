"""What `benchmarks.bench` makes of its measurements: medians, ratios, exponents, the table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np

KERAS = {False: "Keras", True: "Keras with XLA"}  # XLA is what Keras 3 takes by itself; both are measured
FLOAT32 = ("eager PyTorch", "Keras")  # what people write, in the precision that they get without asking


def spread(values: Sequence[float]) -> dict:
    """Median, least, most and number of repeats."""
    least, most = min(values), max(values)
    return {"median": statistics.median(values), "min": least, "max": most, "repeats": len(values)}


def times_as_fast(ours: Sequence[float], theirs: Sequence[float]) -> dict:
    """How many times as fast ours is, from seconds measured in turn: each repeat gives a ratio."""
    return spread([b / a for a, b in zip(ours, theirs, strict=True)])


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """The e of seconds = constant x size^e that fits best, in logarithms."""
    if len(sizes) < 2 or min(*sizes, *seconds) <= 0:
        raise ValueError(f"growth: found sizes {sizes}, seconds {seconds}, expected two or more over 0")
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def growth_of(found: dict[int, list[dict]], frames: int) -> dict:
    """Exponents of time and growth of the peaks of memory, from the answers by factor."""

    def median(key, factor):
        values = [answer[key] for answer in found[factor]]
        return None if None in values else statistics.median(values)

    def part(name, factor):
        return statistics.median([answer["parts"][name] for answer in found[factor]])

    points = [
        {
            "factor": factor,
            "frames": factor * frames,
            "crops": answers[0]["crops"],
            "seconds": spread([answer["seconds"] for answer in answers]),
            "parts": {name: part(name, factor) for name in answers[0]["parts"]},
            "peak_bytes_cutting": median("cutting_bytes", factor),
            "peak_bytes": median("bytes", factor),
        }
        for factor, answers in found.items()
    ]
    crops = [point["crops"] for point in points]
    rises = {}
    for name in ("peak_bytes_cutting", "peak_bytes"):
        peaks = [point[name] for point in points]
        rises[f"{name}_rise"] = None if None in peaks else max(peaks) / peaks[0] - 1
    return {
        "points": points,
        "exponent": exponent(crops, [point["seconds"]["median"] for point in points]),
        "exponent_of_parts": {
            name: exponent(crops, [point["parts"][name] for point in points]) for name in points[0]["parts"]
        },
        **rises,
    }


def ratios(rows: list[dict]) -> dict[str, float | None]:
    """The numbers that claims are made of; None where a peer is missing. Keras counts with its faster way."""
    found: dict[str, float | None] = {}
    for row in rows:
        key = row["key"]
        if "peers" in row:
            times = {
                name: peer["times_as_fast"]["median"] if "times_as_fast" in peer else None
                for name, peer in row["peers"].items()
            }
            if key == "data":
                found["data_vs_recipe"] = times.get("usual recipe")
                decode = times.get("decoding alone")
                found["data_vs_decode"] = 1 / decode if decode else None
                continue
            found[f"{key}_vs_eager"] = times.get("eager PyTorch")
            if any(name in times for name in KERAS.values()):
                keras = [times[name] for name in KERAS.values() if times.get(name)]
                found[f"{key}_vs_keras"] = min(keras) if keras else None
            if "limit" in row:
                found[f"{key}_share_of_limit"] = row["limit"]["share_of_limit"]
        elif key == "growth" and "exponent" in row:
            found["growth_exponent"] = row["exponent"]
            found["growth_peak_memory_cutting"] = row["peak_bytes_cutting_rise"]
            found["growth_peak_memory"] = row["peak_bytes_rise"]
    return found


def shown(value: dict, unit: str = "") -> str:
    """A spread as text: median (least to most)."""
    digits = max(0, 2 - int(np.floor(np.log10(max(value["median"], 1e-9)))))
    median, least, most = (f"{value[key]:,.{digits}f}" for key in ("median", "min", "max"))
    return f"{median}{unit} ({least} to {most})"


def table(result: dict) -> str:
    """The Markdown table of a result."""
    machine = result["machine"]
    gpu = []
    if machine.get("gpu_limits"):
        limits = machine["gpu_limits"]
        gpu = [
            f"GPU: {machine['gpu']}; measured here: {limits['flops'] / 1e12:,.0f} TFLOP/s in "
            f"{limits['precision']} matrix products, {limits['bytes'] / 1e12:,.1f} TB/s copied.",
            "",
        ]
    lines = [
        f"{machine['processor']}, {machine['cores']} cores, PyTorch {machine['torch']}; measured here: "
        f"{machine['flops'] / 1e9:,.0f} GFLOP/s in {machine['precision']} matrix products, "
        f"{machine['bytes'] / 1e9:,.0f} GB/s copied. Medians (least to most) over interleaved repeats.",
        "",
        *gpu,
        "| row | what | work | ours | beside | theirs | ours is |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]

    def speed(entry):
        if "images_per_second" in entry:
            precision = f", {entry['precision']}" if "precision" in entry else ""
            return shown(entry["images_per_second"], " images/s") + precision
        return shown(entry["seconds"], " s")

    def megabytes(value):
        return "unknown" if value is None else f"{value / 1e6:,.0f} MB"

    def add(row, ours, beside, theirs, verdict):
        cells = (row["row"], row["name"], row["work"], ours, beside, theirs, verdict)
        lines.append("| " + " | ".join(str(cell).replace("|", "/") for cell in cells) + " |")

    for row in result["rows"]:
        if "missing" in row and "stages" not in row:
            add(row, "–", "", "", row["missing"])
            continue
        for name, peer in row.get("peers", {}).items():
            name += ", float32" if name.startswith(FLOAT32) else ""
            if "missing" in peer:
                add(row, speed(row["ours"]), name, "–", peer["missing"])
            elif name == "decoding alone":
                share = {k: 1 / v for k, v in peer["times_as_fast"].items() if k != "repeats"}
                share["min"], share["max"] = share["max"], share["min"]
                add(row, speed(row["ours"]), name, speed(peer), f"{shown(share)} times its time")
            else:
                times = shown(peer["times_as_fast"])
                add(row, speed(row["ours"]), name, speed(peer), f"{times} times as fast")
        if "limit" in row:
            limit = row["limit"]
            most = f"{limit['images_per_second']:,.0f} images/s"
            share = f"{limit['share_of_limit']:.0%} of it"
            add(row, speed(row["ours"]), "the machine's limit for the convolutions", most, share)
        if row["key"] == "growth":
            for point in row["points"]:
                memory = f"peak {megabytes(point['peak_bytes_cutting'])} cutting, "
                memory += f"{megabytes(point['peak_bytes'])} with the epoch"
                frames, crops = f"{point['frames']:,} frames", f"{point['crops']:,} crops"
                add(row, shown(point["seconds"], " s"), frames, crops, memory)
            rise = row["peak_bytes_cutting_rise"]
            memory = "" if rise is None else f"; peak of cutting {rise:+.1%}"
            add(row, "", "", "", f"exponent {row['exponent']:.3f}{memory}")
        if row["key"] == "sharing_gpu":
            for point in row["points"]:
                each, total = point["images_per_second_each"], shown(point["images_per_second"], " images/s")
                add(row, total, f"{point['trainings']} at once", shown(each, " images/s each"), "")
        if row["key"] == "paper_gpu":
            add(row, shown(row["pass"], " s"), "a pass", shown(row["images_per_second"], " images/s"), "")
            parts = {name: row["extrapolated"][name] for name in ("classifier", "autoencoder", "retraining")}
            what = ", ".join(f"{name} {seconds:,.0f} s" for name, seconds in parts.items())
            add(row, f"{row['extrapolated']['total']:,.0f} s", "all trainings, extrapolated", what, "")
        if row["key"] == "embedded":
            for stage, seconds in row["stages"].items():
                add(row, f"{seconds:,.1f} s", stage, "", "")
            total = "–" if row["total"] is None else f"{row['total']:,.1f} s"
            add(row, total, "all stages", "", row["missing"] or "")
    return "\n".join(lines) + "\n"
