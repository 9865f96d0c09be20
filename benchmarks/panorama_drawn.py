"""Drawn places in summer and under snow: what is found of what changed, what are the cars called? A part
of `benchmarks.panorama`.

On drawn flights (`lib.flights`) every change is known, and they are the only ones here with two seasons. Each
place is drawn, stitched, compared and classified as in notebook 07.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from lib.runs import InputError, progress
from lib.settings import declared

PLACES = 6  # car parks, streets and junctions in turn
HOW = {name: default for name, (_, default) in declared("07_panorama_anomalies").items()}  # its flights


def measure(
    weights: dict[str, Path],
    places: int = PLACES,
    frames: Sequence[int] = HOW["drawn_frames"],
    vehicles: int = HOW["drawn_vehicles"],
) -> dict:
    """Found vehicles and called cars over `places` drawn places; plain values for JSON.

    weights: name of a classifier -> its file, which may be none. Keys: places, vehicles, regions, found,
    recall, precision (0..1, over all places); winter_cars: cars that changed and were found under snow; then
    the share of them that each classifier calls car; winter_others, winter_others_called_car: both of all
    other regions found there; each: the same by place; failed: place -> why its flights could not be
    compared.
    """
    from lib.acceleration import choose_path
    from lib.anomalies import answers
    from lib.classify import open_classifier
    from lib.drawn_truth import score, true_things
    from lib.flights import FLIGHTS, draw_flights
    from lib.panorama import compare, open_flight

    path = choose_path(compiler="off")
    models = {name: open_classifier(file) for name, file in weights.items()}
    each, failed = [], {}
    for place in progress(range(places), desc="drawing"):
        with tempfile.TemporaryDirectory() as folder:
            drawn = draw_flights(Path(folder) / "flights", place, list(frames), vehicles=vehicles)
            try:
                first, second = (open_flight(drawn / name).panorama for name in FLIGHTS)
                comparison = compare(first, second, HOW["vehicle_px"])
            except InputError as error:
                failed[str(place)] = str(error)
                continue
            told = answers(models, comparison.crops(), path)
            each.append({"place": place} | score(true_things(drawn, comparison), comparison, told))
    vehicles, regions, found = (sum(one[key] for one in each) for key in ("vehicles", "regions", "found"))
    false = sum(round(one["found"] / one["precision"]) - one["found"] if one["found"] else one["regions"]
                for one in each)  # fmt: skip

    def share(part: int, whole: int) -> float | None:
        return round(part / whole, 4) if whole else None

    def called(kind: str) -> tuple[int, dict[str, float | None]]:
        rows = [one[kind]["second"] for one in each]
        number = sum(one["number"] for one in rows)
        return number, {name: share(sum(round(one["number"] * (one[name] or 0)) for one in rows), number)
                        for name in models}  # fmt: skip

    (cars, as_cars), (others, falsely) = called("cars"), called("others")
    return {"places": len(each), "vehicles": vehicles, "regions": regions, "found": found,
            "recall": share(found, vehicles), "precision": share(found, found + false),
            "winter_cars": cars, **as_cars, "winter_others": others, "winter_others_called_car": falsely,
            "each": each, "failed": failed}  # fmt: skip
