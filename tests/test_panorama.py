"""Two flights opened, compared, their changes cut out and classified; drawn streets, fake classifiers."""

import warnings

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from lib import anomaly_table
from lib.acceleration import choose_path
from lib.anomalies import answers, colours_of, labels_of, moved, replaced, tabulate
from lib.changes import Region, overlap
from lib.flight_colour import seen
from lib.georeference import Georeference
from lib.panorama import Comparison, compare, open_flight, results_folder
from lib.registration import Registration, lay
from lib.runs import InputError
from lib.stitching import Panorama
from lib.visdrone import CLASSES
from tests.test_changes import IDENTITY, SHAPE, WIDE, noisy, park, scene, street

RED, BLUE = (200, 40, 40), (40, 60, 200)


def save(path, picture):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, quality=95)
    return path


def save_frames(folder, picture, starts=(0, 90, 180), size=(180, 240)):
    """Overlapping frames of (width, height), side by side."""
    for k, x in enumerate(starts):
        save(folder / f"f{k}.png", picture[:size[1], x:x + size[0]])
    return folder


def panorama_of(picture, covered=None) -> Panorama:
    covered = np.ones(picture.shape[:2], bool) if covered is None else covered
    return Panorama.finished(picture, covered, "x")


def turned(picture, degrees=25, scale=0.85):
    """Another view of the picture, black where it shows nothing, and the homography back."""
    there = cv2.getRotationMatrix2D((180, 120), degrees, scale)
    second = cv2.warpAffine(picture, there, picture.shape[1::-1], None, cv2.INTER_CUBIC)
    inside = cv2.warpAffine(np.full(picture.shape[:2], 255, np.uint8), there, picture.shape[1::-1]) == 255
    return second * inside[..., None], inside, np.linalg.inv(np.vstack([there, (0, 0, 1)]))


# Flights ------------------------------------------------------------------------------------------------


def test_folder_of_frames_is_stitched(tmp_path):
    picture = street(1)
    flight = open_flight(save_frames(tmp_path / "a flight", picture), reference="f1.png")
    assert flight.panorama.reference == "f1.png"
    assert set(flight.panorama.places) == {"f0.png", "f1.png", "f2.png"}
    assert np.allclose(flight.panorama.image.shape[:2], SHAPE, atol=2)
    part = flight.panorama.image[:240, :360]
    assert np.abs(part.astype(int) - picture[:part.shape[0], :part.shape[1]]).mean() < 6
    assert flight.facts["frames"] == "3 of 3 joined" and flight.facts["size"].endswith("seen")
    assert flight.georeference is None


def test_frames_that_do_not_join_are_named_or_left_out(tmp_path):
    folder = save_frames(tmp_path, street(1), (0, 90))
    save(folder / "odd.png", street(9)[:, 180:])
    with pytest.raises(InputError, match=r"do not join: .*odd\.png: no overlap"):
        open_flight(folder)
    flight = open_flight(folder, partial=True)
    assert set(flight.panorama.left_out) == {"odd.png"} and flight.facts["frames"] == "2 of 3 joined"
    assert flight.facts["left out"].startswith("odd.png: no overlap")
    with pytest.raises(InputError, match=r"^f9\.png: found no such frame"):
        open_flight(folder, reference="f9.png")


def test_finished_panorama_with_a_black_border(tmp_path):
    picture, inside, _ = turned(street(2))
    flight = open_flight(save(tmp_path / "whole.png", picture))
    assert (flight.panorama.image == picture).all()
    assert (flight.panorama.covered == seen(picture)).all() and not flight.panorama.covered[~inside].any()
    assert flight.panorama.covered[inside].mean() > 0.95
    share = f"{100 * flight.panorama.covered.mean():.0f} % of it seen"
    assert flight.facts["frames"] == "one, a finished panorama"
    assert flight.facts["size"] == f"360 × 240 px (0.1 megapixels), {share}"


def test_finished_panorama_with_a_transparent_border(tmp_path):
    picture = np.dstack([street(2), np.full(SHAPE, 255, np.uint8)])
    picture[:, :90] = (255, 255, 255, 0)
    flight = open_flight(save(tmp_path / "whole.png", picture))
    assert not flight.panorama.covered[:, :90].any() and flight.panorama.covered[:, 92:].all()
    assert (flight.panorama.image[:, 90:] == picture[:, 90:, :3]).all()


def test_flights_that_are_none(tmp_path, monkeypatch):
    for name in ("none", "none.png", "no/folder"):
        with pytest.raises(InputError, match=f"{name}: found no such file"):
            open_flight(tmp_path / name)
    with pytest.raises(InputError, match="^flight: found nothing, expected a folder of frames"):
        open_flight("")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match=r"notes\.txt: found a file that ends in '\.txt'"):
        open_flight(tmp_path / "notes.txt")
    with pytest.raises(InputError, match="no images"):
        open_flight(tmp_path)
    one = save(tmp_path / "one" / "only.jpg", street(1))
    with pytest.raises(InputError, match=r"one image \(only\.jpg\)"):
        open_flight(tmp_path / "one")
    save(tmp_path / "one" / "cut.jpg", street(1))
    (tmp_path / "one" / "cut.jpg").write_bytes(one.read_bytes()[:4000])
    for source in (tmp_path / "one", tmp_path / "one" / "cut.jpg"):
        with pytest.raises(InputError, match=r"cut\.jpg: found a corrupt image"):
            open_flight(source)
    with pytest.raises(InputError, match=r"black\.png: found nothing but black"):
        open_flight(save(tmp_path / "black.png", np.zeros((40, 50, 3), np.uint8)))
    limit = Image.MAX_IMAGE_PIXELS
    for most in (0.08, 0.04):  # Pillow itself refuses what is more than twice as large as its limit
        monkeypatch.setattr("lib.panorama.MEGAPIXELS", most)
        told = rf"only\.jpg: found 360 x 240 pixels, expected {most} megapixels"
        with pytest.raises(InputError, match=told):
            with warnings.catch_warnings(action="error"):
                open_flight(one)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_results_of_ones_own_places_lie_apart():
    assert results_folder("") == "panorama"
    assert results_folder("north field") == "places/north field"
    for name in ("a/b", "..", ".hidden", "/x", "x/"):
        with pytest.raises(InputError, match="place: found .*, expected a plain name"):
            results_folder(name)


# Comparisons --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compared():
    """A street and, from another view, the same later: the comparison, and what changed."""
    first, second, truth = scene()
    second, inside, _ = turned(noisy(second, 1, 2))
    return compare(panorama_of(first), panorama_of(second, inside), WIDE), first, truth


def test_changes_between_two_views(compared):
    comparison, _, truth = compared
    assert len(comparison.regions) == len(truth)
    for box, when in truth:
        assert max(overlap([box], [r.box])[0, 0] for r in comparison.regions if r.seen == when) > 0.5


def test_second_over_first(compared):
    comparison, _, _ = compared
    _, second, _ = scene()
    laid = comparison.second_over_first
    shown = laid.any(axis=2)
    assert laid.dtype == np.uint8 and laid.shape == second.shape and 0.8 < shown.mean() < 1
    assert np.abs(laid.astype(int) - second)[shown].mean() < 5
    assert comparison.second_over_first is laid  # drawn once
    assert comparison.shared() == pytest.approx(shown.mean(), abs=0.02)  # its outermost pixels


def test_second_over_first_is_the_same_in_tiles(compared, monkeypatch):
    comparison = compared[0]
    monkeypatch.setattr("lib.changes.TILE", 100)
    tiled = Comparison(comparison.first, comparison.second, comparison.registration, []).second_over_first
    assert (tiled != comparison.second_over_first).any(axis=2).mean() < 0.1  # of rounding
    assert np.abs(tiled.astype(int) - comparison.second_over_first).mean() < 0.2


def test_shared_is_of_the_first(compared):
    comparison = compared[0]
    half = np.zeros(SHAPE, bool)
    half[:, :180] = True
    picture = street(0)
    whole, left, right = panorama_of(picture), panorama_of(picture, half), panorama_of(picture, ~half)
    assert Comparison(whole, left, IDENTITY, []).shared() == pytest.approx(0.5, abs=0.01)
    assert Comparison(left, whole, IDENTITY, []).shared() == 1
    assert Comparison(left, right, IDENTITY, []).shared() == 0
    assert Comparison(panorama_of(picture, half & False), whole, IDENTITY, []).shared() == 0
    bend = np.full((1, 1, 2), (-30, 0), np.float32)  # 30 columns of the second lie left of the first
    assert Comparison(whole, whole, Registration(np.eye(3), bend, 9, 0.0), []).shared() == pytest.approx(
        1 - 30 / 360, abs=0.02)  # fmt: skip
    laid = lay(comparison.second.image, comparison.second.covered, comparison.registration, SHAPE)[1]
    assert comparison.shared() == pytest.approx(laid.mean(), abs=0.02)


def test_crops_show_the_thing_at_its_time(compared):
    comparison, _, truth = compared
    crops = comparison.crops()
    assert crops.shape == (3, 32, 32, 3) and crops.dtype == np.uint8
    painted = (190, 30, 30), (30, 60, 170), (228, 228, 225)
    colours = dict(zip((box for box, _ in truth), painted, strict=True))
    for region, crop in zip(comparison.regions, crops, strict=True):
        box = max(colours, key=lambda b: overlap([b], [region.box])[0, 0])
        assert np.abs(np.median(crop, axis=(0, 1)) - colours[box]).max() < 20


@pytest.mark.parametrize("degrees,scale", [(90, 0.6), (180, 1.0)])
def test_crops_of_a_turned_second(degrees, scale):
    first, second = street(0), street(0)
    box = park(second, 200, 100, BLUE)
    park(first, *box[:2], RED)
    second, inside, back = turned(second, degrees, scale)
    registration = Registration(back, IDENTITY.bend, 9, 0.0)
    regions = [Region(tuple(map(float, box)), when, 0.9) for when in ("first", "second")]
    crops = Comparison(panorama_of(first), panorama_of(second, inside), registration, regions).crops()
    for crop, colour in zip(crops, (RED, BLUE), strict=True):
        assert np.abs(np.median(crop, axis=(0, 1)) - colour).max() < 25
        assert np.abs(crop[[2, -3], 3:-3].mean(axis=(0, 1)) - colour).max() < 60  # to its long sides
    likeness = np.corrcoef(crops[0, ..., 1].ravel(), crops[1, ..., 1].ravel())[0, 1]
    assert likeness > 0.6  # its windows are where they were: upright in the first's pixels


def test_crops_at_the_border_and_of_nothing():
    picture = np.full((*SHAPE, 3), (200, 100, 50), np.uint8)
    boxes = [(-8.5, 100.2, 40.0, 18.0), (330.4, 230.1, 40.0, 18.0), (358.9, 10.0, 1.1, 0.7)]
    regions = [Region(box, when, 0.5) for box in boxes for when in ("first", "second")]
    crops = Comparison(panorama_of(picture), panorama_of(picture), IDENTITY, regions).crops()
    assert crops.shape == (6, 32, 32, 3) and (crops == (200, 100, 50)).all()
    none = Comparison(panorama_of(picture), panorama_of(picture), IDENTITY, []).crops()
    assert none.shape == (0, 32, 32, 3) and none.dtype == np.uint8


def test_two_places_are_no_comparison():
    with pytest.raises(InputError, match="^second flight: found no ground in common"):
        compare(panorama_of(street(1)), panorama_of(street(2)[::-1].copy()), WIDE)
    with pytest.raises(InputError, match="^vehicle_px"):
        compare(panorama_of(street(1)[:120, :180]), panorama_of(street(1)[:120, :180]), 2.0)


def test_from_frames_to_changes(tmp_path):
    first, second, truth = scene()
    one = open_flight(save_frames(tmp_path / "before", first), reference="f0.png").panorama
    two = open_flight(save(tmp_path / "after.png", turned(second, 90, 0.9)[0])).panorama
    found = compare(one, two, WIDE)
    offset = one.places["f0.png"][:2, 2]  # of the reference: its pixels are those of the street
    for box, when in truth:
        moved_box = (*np.add(box[:2], offset), *box[2:])
        assert max(overlap([moved_box], [r.box])[0, 0] for r in found.regions if r.seen == when) > 0.5
    assert len(found.regions) == len(truth)


# Classes ------------------------------------------------------------------------------------------------


class ByColour(torch.nn.Module):
    """Red is a car, blue a truck, green a bus; grey is anything. `sure`: how clearly."""

    def __init__(self, sure=8.0, names=("car", "bus", "truck")):
        super().__init__()
        self.sure, self.at = sure, [CLASSES.index(name) for name in names]

    def forward(self, x):
        mean = x.mean(dim=(2, 3))
        mean = mean - mean.mean(dim=1, keepdim=True)
        logits = torch.zeros(len(x), len(CLASSES))
        logits[:, self.at] = self.sure * mean / (mean.abs().amax(dim=1, keepdim=True) + 0.1)
        return logits


GREY, GREEN = (120, 120, 120), (30, 190, 30)


def crops_of(*colours):
    return np.stack([np.full((32, 32, 3), colour, np.uint8) for colour in colours])


def region(x, y, seen="second", score=0.5, width=40.0, height=20.0):
    return Region((float(x), float(y), width, height), seen, score)


@pytest.fixture(scope="module")
def path():
    return choose_path("cpu", "float32", compiler="off")


def shares_of(*names, sure=0.9):
    """Class probabilities (n, 6)."""
    shares = np.full((len(names), len(CLASSES)), (1 - sure) / 5)
    for k, name in enumerate(names):
        shares[k, CLASSES.index(name)] = sure
    return shares


def test_answers_are_probabilities_by_classifier(path):
    models = {"before": ByColour(names=("truck", "bus", "car")), "after": ByColour()}
    found = answers(models, crops_of(RED, BLUE, GREEN, GREY), path)
    assert list(found) == ["before", "after"]
    for shares in found.values():
        assert shares.shape == (4, 6) and np.allclose(shares.sum(axis=1), 1) and shares.dtype == float
    called = {name: [CLASSES[k] for k in shares[:3].argmax(axis=1)] for name, shares in found.items()}
    assert called == {"before": ["truck", "car", "bus"], "after": ["car", "truck", "bus"]}
    assert found["after"][3].max() < 0.5
    none = answers(models, np.empty((0, 32, 32, 3), np.uint8), path)
    assert {name: shares.shape for name, shares in none.items()} == {"before": (0, 6), "after": (0, 6)}


def test_labels_below_the_threshold_are_unsure():
    sure = {"car": 0.5, "bus": 0.49, "truck": 1.0}
    shares = np.vstack([shares_of(name, sure=p) for name, p in sure.items()])
    names, probability = labels_of(shares, 0.5)
    assert names == ["car", "unsure", "truck"] and np.allclose(probability, [0.5, 0.49, 1])
    assert labels_of(shares, 0.0)[0] == ["car", "bus", "truck"]


def test_table_of_changes(path):
    regions = [region(10, 20, "first", 0.4), region(100, 60, "second", 0.9), region(200, 90, "second", 0.6)]
    crops = crops_of(RED, BLUE, GREY)
    found = answers({"before": ByColour(sure=1.0), "after": ByColour()}, crops, path)
    table = tabulate(regions, found["before"], found["after"], unsure=0.5)
    assert tuple(table.columns) == anomaly_table.COLUMNS
    assert table["id"].tolist() == [1, 2, 3] and table["score"].tolist() == [0.9, 0.6, 0.4]
    assert table["change"].tolist() == ["appeared", "appeared", "disappeared"]
    assert table["seen"].tolist() == ["second", "second", "first"]
    assert table["label"].tolist() == ["truck", "unsure", "car"]
    assert table["label_before"].tolist() == ["unsure"] * 3
    assert table[["x", "y", "width", "height"]].to_numpy().tolist() == [
        [100, 60, 40, 20], [200, 90, 40, 20], [10, 20, 40, 20]]  # fmt: skip
    for name, shares in (("probability", found["after"]), ("probability_before", found["before"])):
        assert np.allclose(table[name], shares.max(axis=1)[[1, 2, 0]])
    assert table[["partner", "longitude", "latitude"]].isna().all(axis=None)


def test_equal_scores_keep_their_order():
    table = tabulate([region(50 * k, 10) for k in range(4)], *[shares_of(*["car"] * 4)] * 2)
    assert table["x"].tolist() == [0, 50, 100, 150]


def test_moved_pairs_are_linked_both_ways():
    regions = [
        region(10, 10, "first", 0.5), region(80, 10, "second", 0.9),  # a car, 70 pixels away
        region(10, 200, "first", 0.8), region(40, 200, "second", 0.4),  # a bus where a truck was near
        region(300, 300, "first", 0.7), region(300, 600, "second", 0.6),  # too far
        region(600, 10, "first", 0.3), region(600, 60, "second", 0.2, 80.0, 40.0),  # twice the size
    ]  # fmt: skip
    names = ["car", "car", "truck", "bus", "car", "car", "car", "car"]
    table = tabulate(regions, shares_of(*names[::-1]), shares_of(*names), moved_within=100)
    changes = ["moved", "disappeared", "disappeared", "appeared", "moved"]
    assert table["change"].tolist() == [*changes, "appeared", "disappeared", "appeared"]
    linked = table.dropna(subset="partner")
    assert dict(zip(linked["id"], linked["partner"], strict=True)) == {1: 5, 5: 1}
    assert anomaly_table.counts(table) == {"appeared": 3, "disappeared": 3, "moved": 1, "changed": 0}
    still = tabulate(regions, shares_of(*names), shares_of(*names))
    assert "moved" not in set(still["change"]) and still["partner"].isna().all()
    wider = tabulate(regions, shares_of(*names), shares_of(*names), moved_within=301)
    assert (wider["change"] == "moved").sum() == 4


def test_colour_tells_which_car_moved():
    regions = [region(0, 0, "first"), region(100, 0, "second"), region(0, 90, "second")]
    crops = np.zeros((3, 32, 32, 3), np.uint8)
    crops[0], crops[1], crops[2] = (200, 30, 30), (190, 40, 40), (20, 20, 20)
    shares, colours = shares_of("car", "car", "car"), colours_of(crops)
    assert colours.shape == (3, 3)
    assert moved(regions, shares, 150, set()) == [(0, 2)]  # the nearer one
    assert moved(regions, shares, 150, set(), colours) == [(0, 1)]
    assert moved(regions[:1] + regions[2:], shares[:2], 95, set(), colours[[0, 2]]) == []  # near, but unlike


def test_nearest_and_likest_moved_first():
    regions = [region(0, 0, "first"), region(60, 0, "second"), region(20, 0, "second", width=58.0),
               region(100, 0, "first"), region(90, 0, "second")]  # fmt: skip
    cars = shares_of(*["car"] * 5)
    assert moved(regions, cars, 100, set()) == [(0, 2), (3, 4)]
    assert moved(regions, cars, 100, {2, 4}) == [(3, 1)]
    assert moved(regions, cars, 100, {0, 3}) == [] and moved(regions[:1], cars[:1], 100, set()) == []


def test_replaced_things_are_one_row():
    regions = [region(100, 100, "first", 0.9), region(104, 102, "second", 0.6),
               region(300, 100, "first", 0.7), region(330, 100, "second", 0.8)]  # fmt: skip
    assert replaced(regions) == [(0, 1)]
    cars = shares_of("truck", "bus", "car", "car")
    table = tabulate(regions, cars, cars, moved_within=500)
    assert table["change"].tolist() == ["moved", "moved", "changed"]
    changed = table.iloc[2]
    assert (changed["x"], changed["seen"], changed["label"], changed["score"]) == (104, "second", "bus", 0.6)
    assert table["id"].tolist() == [1, 2, 3] and table["partner"].tolist()[:2] == [2, 1]
    assert pd.isna(changed["partner"])
    assert replaced([]) == replaced(regions[:1]) == []


def test_touched_neighbours_do_not_hide_that_a_thing_was_replaced():
    cars = [region(0, 0, "first"), region(41, 0, "first"), region(17, 0), region(-24, 0)]  # a row moved up
    shared = overlap([r.box for r in cars[:2]], [r.box for r in cars[2:]])
    assert shared[0, 0] > 0.4 and shared[0, 1] < 0.3 and shared[1, 0] < 0.3  # though these two sum to more
    assert replaced(cars) == [(0, 2)]


def test_georeference_gives_degrees():
    reference = Georeference((36.5, 52.9), 0.05 + 0j, 0j, 0.1, 4, 4)
    table = tabulate([region(100, 200)], shares_of("car"), shares_of("car"), georeference=reference)
    expected = reference.to_world(np.array([[120.0, 210.0]]))[0]
    assert np.allclose(table[["longitude", "latitude"]].to_numpy()[0], expected, atol=1e-9)
    assert table["longitude"][0] > 36.5 and table["latitude"][0] < 52.9


def test_bad_arguments_are_said():
    cars = shares_of("car")
    for before, after in ((shares_of(), cars), (cars, shares_of("car", "car"))):
        with pytest.raises(InputError, match="expected one for each of 1 regions"):
            tabulate([region(0, 0)], before, after)
    for bad in (-0.1, 1.5, float("nan")):
        with pytest.raises(InputError, match="^unsure: .*a probability"):
            tabulate([region(0, 0)], cars, cars, unsure=bad)


def test_tables_can_be_written(tmp_path):
    empty = tabulate([], shares_of(), shares_of())
    assert len(empty) == 0
    written = pd.read_csv(anomaly_table.write_table(tmp_path / "none.csv", empty))
    assert tuple(written.columns) == anomaly_table.COLUMNS and len(written) == 0
    assert anomaly_table.summary(empty).startswith("Nothing changed")
    regions = [region(0, 0, "first"), region(50, 0, "second")]
    table = tabulate(regions, *[shares_of("car", "car")] * 2, moved_within=90)
    written = pd.read_csv(anomaly_table.write_table(tmp_path / "some.csv", table))
    assert written["partner"].tolist() == [2, 1] and written["change"].tolist() == ["moved", "moved"]
