"""The drawn flights: same bytes for a seed, truth on the changes, seasons that register, whole or not."""

import json
import shutil
from collections import Counter
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest

from lib import drawn_truth, flight_drawing, flight_scene, flights
from lib.runs import InputError, MissingStep, read_json, write_json
from lib.visdrone import CAR, CLASSES

SMALL = {"seed": 1, "frames": (2, 1), "size": (480, 270), "overlap": 0.4, "scale": 8.0, "vehicles": 18}
ARGUMENTS = SMALL | {"workers": 1}


def content(folder):
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def picture(folder, flight, frame):
    return cv2.imread(str(folder / flight / frame))[..., ::-1].astype(np.float32)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return flights.draw_flights(tmp_path_factory.mktemp("small"), **ARGUMENTS)


@pytest.fixture(scope="module")
def truth(small):
    return flights.read_truth(small)


@pytest.fixture
def scene():
    """A fresh one: a test may change it."""
    return flight_scene.Scene(**SMALL)


def ground(truth, flight, frame, pixels):
    """Metres on the ground of pixels (n, 2)."""
    matrix = np.linalg.inv(truth["frames"][flight][frame]["ground_to_pixels"])
    return cv2.perspectiveTransform(np.array(pixels, float)[None], matrix)[0]


def test_same_arguments_same_bytes_whatever_the_workers(small, tmp_path):
    assert content(flights.draw_flights(tmp_path / "again", **SMALL, workers=2)) == content(small)


def test_another_seed_draws_another_scene():
    one, two = flight_scene.Scene(**SMALL), flight_scene.Scene(**(SMALL | {"seed": 4}))
    assert one.place.kind == two.place.kind == "street"
    assert [t.category for t in one.things] == [t.category for t in two.things]
    assert one.things[0].before.x != two.things[0].before.x


def test_layout_and_sizes(small, truth):
    names = {f"{flight}/00{k}.jpg" for flight in flights.FLIGHTS for k in range(2)}
    assert set(content(small)) == names | {"flights.json"}
    assert all(picture(small, *name.split("/")).shape == (270, 480, 3) for name in names)
    assert {f"{flight}/{frame}" for flight in flights.FLIGHTS for frame in truth["frames"][flight]} == names


def test_changes_and_classes_have_their_counts(truth):
    vehicles = [t for t in truth["objects"] if t["category"] != "pedestrian"]
    people = [t for t in truth["objects"] if t["category"] == "pedestrian"]
    counts = {"appeared": 4, "moved": 4, "disappeared": 3, "stayed": 7}
    assert Counter(t["change"] for t in vehicles) == counts
    assert Counter(t["category"] for t in vehicles) == {"car": 16, "bus": 1, "truck": 1}
    assert {t["change"] for t in people} == {"appeared", "disappeared"}
    assert {t["category"] for t in truth["objects"]} <= set(CLASSES)


def test_places_and_boxes_follow_the_change(truth):
    for thing in truth["objects"]:
        places, change = thing["places"], thing["change"]
        assert ("first" in places) == (change != "appeared")
        assert ("second" in places) == (change != "disappeared")
        assert change != "appeared" or not thing["first"]
        assert change != "disappeared" or not thing["second"]
        if change == "stayed":
            assert places["first"] == places["second"]
    shown = [bool(t[flight]) for t in truth["objects"] for flight in t["places"]]
    assert np.mean(shown) > 0.9  # a tree or a lamp post may cross one


def test_boxes_lie_where_the_thing_stands(truth):
    for thing in truth["objects"]:
        for flight, (x, y, _, length, width) in thing["places"].items():
            for frame, (left, top, wide, tall) in thing[flight].items():
                middle = ground(truth, flight, frame, [(left + wide / 2, top + tall / 2)])[0]
                assert np.hypot(*(middle - (x, y))) < 0.8  # metres; tall ones lean
                assert max(wide, tall) / SMALL["scale"] < 1.35 * np.hypot(length, width) + 0.5


def test_moved_ones_do_not_stand_on_their_old_place_nor_anybody_on_anothers(truth):
    spots = []
    for thing in truth["objects"]:
        own = thing["places"]
        if thing["change"] == "moved":
            (x0, y0, _, length, _), (x1, y1, *_) = own["first"], own["second"]
            assert np.hypot(x1 - x0, y1 - y0) > length + 1.4
        spots += list({tuple(place) for place in own.values()})
    for k, (x0, y0, _, _, wide) in enumerate(spots):
        for x1, y1, _, _, other in spots[k + 1:]:
            assert np.hypot(x1 - x0, y1 - y0) > (wide + other) / 2


def test_a_new_place_is_near_the_old_one_but_clear_of_it(scene):
    old = next(thing.before for thing in scene.things if thing.category == "car" and thing.change == "moved")
    rng, taken, mesh = np.random.default_rng(0), scene.taken, old.mesh
    apart = []
    for _ in range(80):
        scene.taken = taken
        new = scene._put(rng, "car", old.category, mesh, old)
        apart.append(np.hypot(new.x - old.x, new.y - old.y))
    assert min(apart) >= mesh.length + 1.5 and np.median(apart) < 45


@pytest.mark.parametrize("number", [0, 1])
def test_without_a_thing_the_frame_differs_in_its_box_alone(scene, number):
    """Its shadow aside, which the low sun lays beside it: the box must hold most of what changes."""
    flight = flight_drawing.Flight(scene, number)
    frame, boxes = flight.draw(1)
    cars = [i for i in boxes if scene.things[i].category == "car"]
    left, top, wide, tall = boxes[index := max(cars, key=lambda i: boxes[i][2] * boxes[i][3])]
    del flight.bodies[index]
    flight.items = list(flight.bodies.values())
    flight.__dict__.pop("driven", None)  # its wheel tracks go too
    empty, without = flight.draw(1)
    assert index not in without and set(without) >= set(boxes) - {index}
    change = np.abs(frame.astype(float) - empty).mean(axis=2)
    inside = np.zeros(change.shape, bool)
    inside[top:top + tall, left:left + wide] = True
    near = np.zeros(change.shape, bool)
    near[max(top - 60, 0):top + tall + 60, max(left - 60, 0):left + wide + 60] = True
    assert change[inside].mean() > 8 * change[~near].mean() and change[inside].mean() > 10
    assert (change[inside] > 20).mean() > 0.4


def test_frames_overlap_by_what_was_asked(truth):
    width, height = SMALL["size"]
    grid = np.stack(np.meshgrid(np.linspace(0, width, 60), np.linspace(0, height, 40)), -1).reshape(-1, 2)
    for flight in flights.FLIGHTS:
        cameras = truth["frames"][flight]
        there = ground(truth, flight, "000.jpg", grid)[None]
        there = cv2.perspectiveTransform(there, np.array(cameras["001.jpg"]["ground_to_pixels"]))[0]
        shared = ((there > 0) & (there < SMALL["size"])).all(axis=1).mean()
        assert abs(shared - SMALL["overlap"]) < 0.12  # nobody hovers to the pixel


def test_rows_of_the_grid_overlap_too():
    scene = flight_scene.Scene(**(SMALL | {"frames": (2, 2), "vehicles": 4}))
    flight = flight_drawing.Flight(scene, 0)
    centres = np.array([camera.centre[:2] for camera in flight.cameras])
    serpentine = ((0, 1), (1, 2), (2, 3), (3, 0))
    apart = [np.abs(centres[i] - centres[j]).max() for i, j in serpentine]
    metres = 0.6 * np.array(SMALL["size"]) / SMALL["scale"]
    assert np.allclose(apart, metres[[0, 1, 0, 1]], atol=9.0)


def test_each_frame_has_its_own_brightness_and_cast(small, truth):
    for flight in flights.FLIGHTS:
        gains = np.array([camera["gain"] for camera in truth["frames"][flight].values()])
        casts = gains / gains.mean(axis=1, keepdims=True)
        assert len({tuple(gain) for gain in gains}) == 2 and np.ptp(casts, axis=0).max() > 0.02
        assert gains.min() >= 0.8 and gains.max() <= 1.2
        means = np.array([picture(small, flight, frame).mean((0, 1)) for frame in truth["frames"][flight]])
        colours = means / means.mean(1, keepdims=True)
        assert np.ptp(colours, axis=0).max() > 0.02


def test_vehicles_of_the_second_flight_wear_snow(small, truth):
    """Roofs of dark cars that stayed turn bright; seen against their own exposure, so no gain can do it."""
    rises = []
    for thing in truth["objects"]:
        seen = thing["first"] and thing["second"]
        if not seen or thing["change"] != "stayed" or thing["category"] != "car":
            continue
        looks = []
        for flight in flights.FLIGHTS:
            frame, (left, top, wide, tall) = next(iter(thing[flight].items()))
            camera = truth["frames"][flight][frame]
            roof = picture(small, flight, frame)[top + tall // 3:top + tall - tall // 3,
                                                 left + wide // 3:left + wide - wide // 3].mean((0, 1))
            looks.append(np.mean((roof / 255 / camera["gain"]).clip(0, 1) ** (1 / camera["gamma"])))
        if looks[0] < 0.45:
            rises.append(looks[1] - looks[0])
    assert len(rises) >= 2 and np.mean(rises) > 0.15


def test_the_second_flight_is_snowy_and_its_roads_are_ploughed(scene):
    winter = flight_drawing.Flight(scene, 1)
    bare, snowy = (flight_drawing.Overhead(winter, 1, snowy=fallen) for fallen in (False, True))
    greys = []
    for drawing in (bare, snowy):
        drawing.ground()
        greys.append(cv2.resize(drawing.canvas, scene.size, interpolation=cv2.INTER_AREA).mean(axis=2))
    plough = snowy._ways(winter.driven[0], 0.1)
    assert greys[1][plough < 0.01].mean() > greys[0][plough < 0.01].mean() + 50
    assert greys[1][plough < 0.01].mean() > greys[1][plough > 0.99].mean() + 40


def test_winter_registers_on_summer(small, truth):
    """Matches across the seasons agree with the true homography of the ground."""
    sift, found = cv2.SIFT_create(3000, 3, 0.01, 12, 1.6, True), []
    for flight in flights.FLIGHTS:
        grey = cv2.cvtColor(picture(small, flight, "001.jpg").astype(np.uint8), cv2.COLOR_RGB2GRAY)
        points, codes = sift.detectAndCompute(cv2.createCLAHE(3.0, (8, 8)).apply(grey), None)
        found.append((np.array([p.pt for p in points]), np.sqrt(codes / codes.sum(1, keepdims=True))))
    (one, first), (two, second) = found
    pairs = [a for a, b in cv2.BFMatcher().knnMatch(first, second, 2) if a.distance < 0.85 * b.distance]
    one, two = one[[m.queryIdx for m in pairs]], two[[m.trainIdx for m in pairs]]
    away = np.hypot(*(ground(truth, "first", "001.jpg", one) - ground(truth, "second", "001.jpg", two)).T)
    assert (away * SMALL["scale"] < 3).sum() >= 25
    _, agree = cv2.findHomography(one, two, cv2.USAC_MAGSAC, 3.0, maxIters=10000, confidence=0.9999)
    assert np.median(away[agree.ravel() > 0]) * SMALL["scale"] < 2


def test_a_complete_folder_is_returned_at_once(small, monkeypatch):
    monkeypatch.setattr(flights, "_draw_row", lambda job: pytest.fail("drew again"))
    assert flights.draw_flights(small, **ARGUMENTS) == small


def test_an_interrupted_drawing_is_not_complete_and_is_done_again(small, tmp_path, monkeypatch):
    draw, calls = flights._draw_row, []

    def stops(job):
        if calls:
            (tmp_path / "second").mkdir()
            killed = tmp_path / "second" / ".000.jpg.abc.part.jpg"  # as a killed process leaves it
            killed.write_bytes(b"cut short")
            raise KeyboardInterrupt
        calls.append(job)
        return draw(job)

    monkeypatch.setattr(flights, "_draw_row", stops)
    with pytest.raises(KeyboardInterrupt):
        flights.draw_flights(tmp_path, **ARGUMENTS)
    assert list(tmp_path.rglob("*.jpg")) and not (tmp_path / "flights.json").exists()
    with pytest.raises(MissingStep, match="flights.json"):
        flights.read_truth(tmp_path)
    monkeypatch.undo()
    assert content(flights.draw_flights(tmp_path, **ARGUMENTS)) == content(small)


def test_a_lost_frame_and_other_arguments_are_drawn_again(small, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(small, folder)
    (folder / "second" / "000.jpg").unlink()
    assert content(flights.draw_flights(folder, **ARGUMENTS)) == content(small)
    flights.draw_flights(folder, **(ARGUMENTS | {"frames": (1, 1), "vehicles": 2, "size": (320, 180)}))
    assert set(content(folder)) == {"first/000.jpg", "second/000.jpg", "flights.json"}


@pytest.mark.parametrize("name", ["first/000.jpg", "notes.txt", "third/000.jpg"])
def test_a_folder_of_somebody_else_is_left_alone(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"\xff\xd8 a real frame")
    with pytest.raises(InputError, match="no drawn frame"):
        flights.draw_flights(tmp_path, **ARGUMENTS)
    assert content(tmp_path) == {name: b"\xff\xd8 a real frame"}


def test_somebody_elses_flights_json_and_a_file_for_a_folder_are_left_alone(tmp_path):
    write_json(tmp_path / "flights.json", {"departures": []})
    before = content(tmp_path)
    with pytest.raises(InputError, match="no parameters"):
        flights.draw_flights(tmp_path, **ARGUMENTS)
    with pytest.raises(InputError, match="a folder to draw into"):
        flights.draw_flights(tmp_path / "flights.json", **ARGUMENTS)
    assert content(tmp_path) == before


@pytest.mark.parametrize("wrong, said", [
    ({"seed": -1}, "seed: found -1, expected a whole number of at least 0"),
    ({"seed": True}, "seed"), ({"frames": (0, 1)}, "columns"), ({"frames": 3}, "frames"),
    ({"frames": (2, 1.5)}, "rows"), ({"size": (10, 270)}, "width"), ({"vehicles": 0}, "vehicles"),
    ({"overlap": 0.95}, "overlap: found 0.95, expected a number from 0.0 to 0.9"),
    ({"overlap": float("nan")}, "overlap"), ({"scale": "14"}, "scale"), ({"workers": 0}, "workers"),
])
def test_bad_arguments_are_named_and_nothing_is_made(tmp_path, wrong, said):
    with pytest.raises(InputError, match=said):
        flights.draw_flights(tmp_path / "none", **(ARGUMENTS | wrong))
    assert not (tmp_path / "none").exists()


def test_more_vehicles_than_have_room_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(flight_scene, "LAYOUTS", 2)
    with pytest.raises(InputError, match=r"vehicles: found 400, expected at most \d+") as caught:
        flights.draw_flights(tmp_path / "none", **(ARGUMENTS | {"vehicles": 400}))
    assert 0 < int(caught.value.expected.split()[2].rstrip(":,")) < 400 and not (tmp_path / "none").exists()


def _first(truth, change):
    return next(thing for thing in truth["objects"] if thing["change"] == change)


def _box(truth):
    return next(boxes for thing in truth["objects"] if (boxes := thing["first"]))


@pytest.mark.parametrize("damage, said", [
    (lambda t: t.pop("objects"), "objects"),
    (lambda t: t["objects"][2].update(change="vanished"), "'vanished' as change of object 2"),
    (lambda t: t["objects"][1].update(category="tank"), "'tank' as category of object 1"),
    (lambda t: t["objects"].pop(0), "id of object 0"),
    (lambda t: _box(t).update({"001.jpg": [470, 5, 30, 20]}), "box of object .* in first/001.jpg"),
    (lambda t: _box(t).update({"777.jpg": [4, 5, 30, 20]}), "first boxes of object"),
    (lambda t: _first(t, "appeared").update(first={"000.jpg": [1, 1, 9, 9]}), "expected none: it appeared"),
    (lambda t: _first(t, "disappeared").update(second={"000.jpg": [1, 1, 9, 9]}), "none: it disappeared"),
    (lambda t: t["frames"]["second"]["001.jpg"].update(ground_to_pixels=[[1, 2], [3, 4]]), "second/001.jpg"),
    (lambda t: t["frames"].pop("second"), "frames of the second flight"),
    (lambda t: t.pop("parameters"), "no parameters"),
])
def test_a_damaged_truth_is_named(small, tmp_path, damage, said):
    truth = read_json(small / "flights.json")
    damage(truth)
    write_json(tmp_path / "flights.json", truth)
    with pytest.raises(InputError, match=said) as caught:
        flights.read_truth(tmp_path)
    assert "flights.json" in str(caught.value)


def test_a_truth_cut_short_is_named(small, tmp_path):
    (tmp_path / "flights.json").write_text((small / "flights.json").read_text()[:2000])
    with pytest.raises(InputError, match="flights.json.*JSON"):
        flights.read_truth(tmp_path)
    assert json.loads((small / "flights.json").read_text()) == flights.read_truth(small)


def test_who_calls_more_things_car_is_not_taken_for_better():
    """Found cars that are called car, and beside them all other regions of the same flight."""
    things = [("car", "second", 0), ("car", "second", 100), ("truck", "second", 200),
              ("pedestrian", "second", 300), ("car", "first", 400), ("car", "second", 500)]  # missed
    truth = pd.DataFrame([(name, seen, x, 0, 40, 20) for name, seen, x in things],
                         columns=["category", "seen", "x", "y", "width", "height"])  # fmt: skip
    places = [(0, "second"), (100, "first"), (200, "second"), (300, "second"), (400, "first"),
              (102, "second"), (900, "second")]  # the second: a car of the other flight; the last: nothing
    regions = [SimpleNamespace(box=(x, 0, 40, 20), seen=seen) for x, seen in places]
    always, never = np.eye(len(CLASSES))[[CAR] * 7], np.eye(len(CLASSES))[[CAR - 1] * 7]
    half = np.where(np.arange(7)[:, None] < 3, always, never)
    answers = {"always": always, "never": never, "half": half}
    found = drawn_truth.score(truth, SimpleNamespace(regions=regions), answers)
    assert (found["vehicles"], found["found"], found["regions"]) == (5, 4, 7)
    assert found["recall"] == 4 / 5 and found["precision"] == 4 / 6
    assert found["cars"]["second"] == {"number": 2, "always": 1.0, "never": 0.0, "half": 0.5}
    assert found["others"]["second"] == {"number": 3, "always": 1.0, "never": 0.0, "half": 1 / 3}
    assert found["cars"]["first"] == {"number": 1, "always": 1.0, "never": 0.0, "half": 0.0}
    assert found["others"]["first"] == {"number": 1, "always": 1.0, "never": 0.0, "half": 1.0}
