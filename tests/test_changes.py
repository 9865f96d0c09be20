"""Vehicles that only one of two pictures shows, on drawn streets: evidence, things in it, regions."""

import cv2
import numpy as np
import pytest

from lib import changes
from lib.changes import Region, detect, overlap, way_of
from lib.evidence import by_colour, by_structure, equalise, lab, other_season, outside
from lib.registration import Registration, register
from lib.runs import InputError
from lib.things import find_things, likely_sides

SHAPE = (240, 360)
WIDE = 19  # pixels across a vehicle
IDENTITY = Registration(np.eye(3), np.zeros((1, 1, 2), np.float32), 99, 0.0)


def street(seed: int, height: int = SHAPE[0], width: int = SHAPE[1], verge: int = 48) -> np.ndarray:
    """A street from above, RGB uint8: grass and roofs on both sides, kerbs, asphalt with markings and
    patches."""
    rng = np.random.default_rng(seed)
    picture = np.full((height, width, 3), (104, 104, 108), np.uint8)
    for top, kerb in ((0, verge - 4), (height - verge, height - verge)):
        picture[top:top + verge] = (88, 110, 72)
        for x in range(-10, width, 80):
            at = x + int(rng.integers(0, 25)), top + int(rng.integers(-8, verge // 2))
            end = at[0] + int(rng.integers(30, 55)), at[1] + int(rng.integers(15, verge - 12))
            cv2.rectangle(picture, at, end, rng.integers(60, 190, 3).tolist(), -1)
        picture[kerb:kerb + 4] = (170, 168, 162)
    for _ in range(40):
        x, y = int(rng.integers(0, width)), int(rng.integers(verge + 8, height - verge - 8))
        colour = (picture[y, x] * rng.uniform(0.8, 1.2)).tolist()
        cv2.ellipse(picture, ((x, y), tuple(rng.uniform(4, 16, 2)), float(rng.uniform(0, 180))), colour, -1)
    for x in range(int(rng.integers(0, 40)), width, 46):
        picture[height // 2 - 2:height // 2 + 2, x:x + 22] = (205, 205, 200)
    grain = sum(cv2.GaussianBlur(rng.normal(0, size, (height, width)), (0, 0), reach)
                for size, reach in ((22, 1.6), (60, 6)))  # fmt: skip
    return cv2.GaussianBlur(np.clip(picture + grain[..., None], 5, 250), (0, 0), 0.6).astype(np.uint8)


def park(picture, x, y, colour=(190, 30, 30), length=42, width=WIDE, upright=False):
    """Draw a vehicle with windows into the picture; its box (x, y, width, height)."""
    part = np.full((width, length, 3), colour, np.uint8)
    dark = (np.array(colour) * 0.25 + 12).astype(np.uint8)
    part[2:-2, -length * 2 // 5:-length * 2 // 5 + 5] = dark
    part[3:-3, 4:8] = dark
    part = part.swapaxes(0, 1) if upright else part
    picture[y:y + part.shape[0], x:x + part.shape[1]] = part
    return x, y, part.shape[1], part.shape[0]


def scene(seed: int = 0):
    """Two moments of one street with two vehicles that stay, and what changed: (box, seen) each."""
    first = street(seed)
    park(first, 150, 100, (150, 150, 155))
    park(first, 318, 60, (210, 205, 60), upright=True)
    second = first.copy()
    truth = [(park(first, 40, 70), "first"), (park(second, 250, 150, (30, 60, 170)), "second"),
             (park(second, 60, 135, (228, 228, 225), upright=True), "second")]  # fmt: skip
    return first, second, truth


def check(found: list[Region], truth) -> None:
    """Each true thing is found at its time, IoU >= 0.5, and nothing else is."""
    assert [region.seen for region in found if region.seen not in ("first", "second")] == []
    for box, seen in truth:
        best = max((overlap([box], [r.box])[0, 0] for r in found if r.seen == seen), default=0)
        assert best >= 0.5, (box, seen, found)
    assert len(found) == len(truth), found
    assert all(0 < region.score <= 1 for region in found)


def shadowed(picture, x=190, y=75, reach=22, share=0.5):
    """The picture with a soft shadow."""
    rows, columns = np.mgrid[:picture.shape[0], :picture.shape[1]]
    dark = (1 - share) * np.exp(-(((columns - x) / (1.4 * reach)) ** 2 + ((rows - y) / reach) ** 2) / 2)
    return np.clip(picture * (1 - dark[..., None]), 0, 255).astype(np.uint8)


def noisy(picture, seed, size=4.0):
    noise = np.random.default_rng(seed).normal(0, size, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def cast(picture):
    """Brighter and warmer."""
    return np.clip(picture * np.array([1.1, 1.0, 0.9]) + (10, 5, 0), 0, 255).astype(np.uint8)


def moved_by(picture, x, y):
    return cv2.warpAffine(picture, np.float32([[1, 0, x], [0, 1, y]]), picture.shape[1::-1], None,
                          cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)  # fmt: skip


def both_noisy(first, second):
    return noisy(first, 1), noisy(second, 2)


CONDITIONS = {
    "as they are": lambda a, b: (a, b),
    "colour cast": lambda a, b: (a, cast(b)),
    "a pixel off": lambda a, b: (a, moved_by(b, 1, -0.7)),
    "another shadow": lambda a, b: (shadowed(a, 240, 95), shadowed(b)),
    "noise": both_noisy,
    "all at once": lambda a, b: both_noisy(shadowed(a, 240, 95), cast(moved_by(shadowed(b), 0.6, 0.6))),
}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_what_came_and_went_is_found_and_nothing_else(condition):
    first, second, truth = scene()
    check(detect(*CONDITIONS[condition](first, second), IDENTITY, WIDE), truth)


@pytest.mark.parametrize("condition", ["as they are", "all at once"])
def test_nothing_changed(condition):
    first = scene()[0]
    assert detect(*CONDITIONS[condition](first, first.copy()), IDENTITY, WIDE) == []


def test_swapped_times():
    first, second, truth = scene()
    check(detect(second, first, IDENTITY, WIDE), [(box, {"first": "second", "second": "first"}[seen])
                                                  for box, seen in truth])  # fmt: skip


def test_registered_from_another_view():
    first, second, truth = scene()
    turn = cv2.getRotationMatrix2D((180, 120), 25, 0.85)  # first -> second
    second = cv2.warpAffine(second, turn, SHAPE[::-1], None, cv2.INTER_CUBIC)
    seen = cv2.warpAffine(np.full(SHAPE, 255, np.uint8), turn, SHAPE[::-1]) == 255
    found = detect(first, second, register(first, second, None, seen), WIDE, second_seen=seen)
    check(found, truth)


def test_large_vehicles_are_compared_at_a_smaller_size():
    first, second, truth = scene()
    first, second = (cv2.resize(picture, None, fx=2.37, fy=2.37, interpolation=cv2.INTER_CUBIC)
                     for picture in (first, second))  # fmt: skip
    found = detect(first, second, IDENTITY, WIDE * 2.37)
    check(found, [(tuple(2.37 * v for v in box), seen) for box, seen in truth])
    for box, _ in truth:  # sides that are no whole multiples do not add up to an offset
        best = max(found, key=lambda region: overlap([region.box], [np.multiply(box, 2.37)])[0, 0]).box
        off = np.add(best[:2], np.divide(best[2:], 2)) - 2.37 * np.add(box[:2], np.divide(box[2:], 2))
        assert np.abs(off).max() < 2.5


@pytest.mark.parametrize("upright", [False, True])
def test_touching_vehicles_are_two(upright):
    first = street(3)
    second = first.copy()
    step = (WIDE + 1, 0) if upright else (0, WIDE + 1)
    truth = [(park(second, 150 + k * step[0], 80 + k * step[1], colour, upright=upright), "second")
             for k, colour in enumerate([(200, 40, 40), (225, 225, 222)])]  # fmt: skip
    check(detect(first, second, IDENTITY, WIDE), truth)


def test_replaced_vehicle_is_seen_at_both_times():
    first = street(4)
    second = first.copy()
    truth = [(park(first, 140, 90, (200, 40, 40)), "first"), (park(second, 141, 91, (40, 70, 190)), "second")]
    check(detect(first, second, IDENTITY, WIDE), truth)


def test_tiles_find_what_the_whole_shows(monkeypatch):
    first = street(5, 160, 420)
    second, truth, size = first.copy(), [], {"width": 12, "length": 28}
    for k, (x, y) in enumerate([(106, 50), (226, 100), (300, 112), (346, 60), (20, 70), (170, 88)]):
        picture, seen = ((first, "first"), (second, "second"))[k % 2]
        colour = ((200, 40, 40), (230, 230, 228), (30, 50, 160))[k % 3]
        truth.append((park(picture, x, y, colour, **size), seen))
    whole = detect(first, second, IDENTITY, 12)
    check(whole, truth)
    monkeypatch.setattr(changes, "TILE", 120)
    windows, plain = [], changes.lay

    def noted(second, seen, registration, shape, window=None):
        windows.append(window)
        return plain(second, seen, registration, shape, window)

    monkeypatch.setattr(changes, "lay", noted)
    tiled = detect(first, second, IDENTITY, 12)
    check(tiled, truth)
    shared = overlap([r.box for r in whole], [r.box for r in tiled])
    assert (shared.max(axis=1) > 0.85).all()
    across = [window[1].stop - window[1].start for window in windows[1:]]  # first: the season
    assert len(across) == 8 and max(across) == 120 + 2 * 120 < 420  # the tile and a margin, not the picture


def test_thing_that_neither_tile_places_within_itself_is_kept(monkeypatch):
    picture, middles = street(5, 116, 240), iter((121, 121, 118, 118))

    def one_thing(shown, edges, size, least):
        return [((next(middles) - 14, 40, 28, 12), 0.8)]

    monkeypatch.setattr(changes, "TILE", 120)
    monkeypatch.setattr(changes, "find_things", one_thing)
    found = detect(picture, picture, IDENTITY, 12)
    assert sorted(region.seen for region in found) == ["first", "second"]


@pytest.mark.parametrize("change", ["cast", "snowed"])
def test_border_of_unseen_ground_is_no_change(change):
    first = bare_street(4) if change == "snowed" else street(4, verge=70)
    second = {"cast": cast, "snowed": snowed}[change](first)
    rows, columns = np.mgrid[:SHAPE[0], :SHAPE[1]]
    first_seen, second_seen = columns + rows / 3 > 60, columns - rows / 2 < 240
    second_seen &= (columns - 180) ** 2 + (rows - 120) ** 2 > 25**2
    first, second = first * first_seen[..., None], second * second_seen[..., None]
    assert way_of(first, second, IDENTITY, WIDE, first_seen, second_seen).__name__ == {
        "cast": "by_colour", "snowed": "by_structure"}[change]  # fmt: skip
    assert detect(first, second, IDENTITY, WIDE, first_seen=first_seen, second_seen=second_seen) == []


def test_thing_outside_of_common_ground_is_none():
    first, second, truth = scene()
    seen = np.ones(SHAPE, bool)
    seen[:, :120] = False
    check(detect(first, second, IDENTITY, WIDE, second_seen=seen), truth[1:2])
    check(detect(first, second, IDENTITY, WIDE, first_seen=seen), truth[1:2])


def test_least_score():
    first, second, truth = scene()
    found = detect(first, second, IDENTITY, WIDE)
    scores = sorted(region.score for region in found)
    some = detect(first, second, IDENTITY, WIDE, least=scores[1])
    assert sorted(region.score for region in some) == scores[1:]
    assert detect(first, second, IDENTITY, WIDE, least=1.01) == []


def test_bad_input_is_said():
    first, second, _ = scene()
    for bad in (5.9, 0.0, -3.0, float("nan")):
        with pytest.raises(InputError, match="^vehicle_px: .*6 pixels or more"):
            detect(first, second, IDENTITY, bad)
    for bad in (240.5, 1000.0):  # in centimetres, perhaps
        with pytest.raises(InputError, match="^vehicle_px: .*the first panorama, 360 x 240 pixels, has room"):
            detect(first, second, IDENTITY, bad)
    left, right = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    left[:, :100], right[:, 200:] = True, True
    with pytest.raises(InputError, match="^second flight: .*no ground"):
        detect(first, second, IDENTITY, WIDE, first_seen=left, second_seen=right)
    far = Registration(np.array([[1, 0, 900], [0, 1, 0], [0, 0, 1.0]]), IDENTITY.bend, 0, 0.0)
    with pytest.raises(InputError, match="^second flight: .*no ground"):
        detect(first, second, far, WIDE)


# Seasons ------------------------------------------------------------------------------------------------


def snowed(picture) -> np.ndarray:
    """All white but the asphalt of `street(seed, verge=70)`."""
    out = picture.astype(float)
    for part in (slice(0, 70), slice(-70, None)):
        out[part] = 225 + 0.1 * (out[part] - 110)
    return np.clip(out, 0, 255).astype(np.uint8)


def bare_street(seed: int) -> np.ndarray:
    """`street(seed, verge=70)` without roofs: those under snow are changes too."""
    picture = street(seed, verge=70)
    picture[:66] = picture[-66:] = (96, 108, 80)
    return noisy(picture, seed, 3)


def test_casts_are_no_other_season():
    first, seen = street(0, verge=70), np.ones(SHAPE, bool)
    park(first, 150, 100)
    for change in (cast, shadowed, lambda p: noisy(p, 1), lambda p: (p * 0.6).astype(np.uint8)):
        assert not other_season(first, change(first), seen, WIDE)
        assert not other_season(change(first), first, seen, WIDE)
        assert way_of(first, change(first), IDENTITY, WIDE) is by_colour


def test_snow_is_another_season():
    first, seen = street(0, verge=70), np.ones(SHAPE, bool)
    assert other_season(first, snowed(first), seen, WIDE) is True
    assert other_season(snowed(first), cast(first), seen, WIDE) is True
    assert way_of(first, snowed(first), IDENTITY, WIDE) is by_structure
    seen[:70] = seen[-70:] = False  # where nothing is known, nothing counts
    assert not other_season(first, snowed(first), seen, WIDE)


def test_vehicles_of_another_season_are_found():
    first = bare_street(0)
    second = snowed(first)
    for picture in (first, second):
        park(picture, 150, 80, (150, 150, 155))
    truth = [(park(first, 40, 76, (200, 40, 40)), "first"), (park(second, 250, 130, (30, 60, 170)), "second")]
    check(detect(first, noisy(second, 3, 2), IDENTITY, WIDE), truth)


# Evidence, things, regions ------------------------------------------------------------------------------


def test_colours_are_brought_together():
    first, seen = street(1), np.ones(SHAPE, bool)
    a, b = lab(first), lab(np.clip(first * 0.7 + 20, 0, 255).astype(np.uint8))
    kept = b.copy()
    off = np.linalg.norm(equalise(a, b, seen, 151) - a, axis=2)
    assert (b == kept).all()  # the caller's picture stays as it is
    assert off.mean() < 0.3 * np.linalg.norm(b - a, axis=2).mean()


def test_what_is_near_in_the_other_picture_is_not_outside():
    value, other = np.full((30, 40, 3), 50, np.float32), np.full((30, 40, 3), 50, np.float32)
    value[10:20, 10:20, 0], other[10:20, 12:22, 0] = 90, 90
    assert outside(value, other, 2).max() == 0
    left = outside(value, other, 1)
    assert left[15, 10] == 40 and left[15, 11] == 0 and (left > 0).sum() < 25
    value[5, 5, 1] = 60
    assert outside(value, other, 2)[5, 5] == 15  # a step of colour counts more


def drawn(*boxes, strength=60):
    shown = np.zeros((120, 160), np.float32)
    for x, y, w, h in boxes:
        shown[y:y + h, x:x + w] = strength
    return shown, np.where(shown > 0, np.float32(1), np.float32(0))


def boxes_of(shown, edges, least=0.2):
    return sorted(box for box, _ in find_things(shown, edges, WIDE, least))


def test_sides_of_a_vehicle():
    assert likely_sides(19, 42, 19) == pytest.approx(1)
    assert likely_sides(19, 60, 19) == pytest.approx(1)
    assert max(likely_sides(19, 19.5, 19), likely_sides(6, 14, 19), likely_sides(60, 130, 19)) < 0.7
    assert likely_sides(19, 120, 19) < 0.02 < likely_sides(23, 42, 19) < 1
    bus, half = likely_sides(27, 127, 19), likely_sides(27, 63, 19)  # 2.55 by 12 m; cars are 1.8 m wide
    assert bus > 0.9 and 127 * bus > 2 * 63 * half  # whole it is worth more than in two pieces
    assert 2 * 43 * likely_sides(19, 43, 19) > 90 * likely_sides(19, 90, 19)  # two cars in a row are no bus


def test_things_are_boxes_of_a_likely_size():
    assert boxes_of(*drawn((20, 30, 42, 19), (100, 50, 19, 40))) == [(20, 30, 42, 19), (100, 50, 19, 40)]
    assert boxes_of(*drawn()) == []
    assert boxes_of(*drawn((0, 50, 160, 19))) == []  # a stripe
    assert boxes_of(*drawn((20, 20, 6, 6))) == []
    assert boxes_of(*drawn((0, 0, 160, 120))) == []
    assert boxes_of(*drawn((20, 30, 42, 19), strength=5)) == []  # below the lowest threshold
    assert boxes_of(*drawn((118, 101, 42, 19), (0, 0, 19, 42))) == [(0, 0, 19, 42), (118, 101, 42, 19)]
    shown, edges = drawn((20, 30, 42, 19))
    ((_, score),) = find_things(shown, edges, WIDE, 0.0)
    assert 0 < find_things(*drawn((20, 30, 42, 19), strength=15), WIDE, 0.0)[0][1] < score <= 1
    assert all(weak < score / 3 for _, weak in find_things(shown, -edges, WIDE, 0.0))  # the other's edges
    assert find_things(shown, edges, WIDE, score + 0.01) == []


def test_windscreen_does_not_cut_a_vehicle():
    assert boxes_of(*drawn((20, 30, 25, 19), (49, 30, 14, 19))) == [(20, 30, 43, 19)]


def test_weak_bridge_does_not_join_two_vehicles():
    shown, edges = drawn((20, 30, 42, 19), (20, 53, 42, 19))
    shown[49:53, 20:62] = 12
    assert boxes_of(shown, edges) == [(20, 30, 42, 19), (20, 53, 42, 19)]


def test_overlap():
    shared = overlap([(0, 0, 10, 10), (50, 50, 4, 4)], [(5, 0, 10, 10), (0, 0, 10, 10), (0, 0, 5, 5)])
    assert np.allclose(shared, [[1 / 3, 1, 0.25], [0, 0, 0]])
    assert overlap([], [(0, 0, 1, 1)]).shape == (0, 1) and overlap([(0, 0, 1, 1)], []).shape == (1, 0)


def test_regions_are_told_once():
    strong = Region((10.0, 10.0, 40.0, 20.0), "first", 0.8)
    again = Region((13.0, 10.0, 40.0, 20.0), "first", 0.7)
    trace = Region((11.0, 11.0, 40.0, 20.0), "second", 0.4)
    taken = Region((12.0, 9.0, 40.0, 20.0), "second", 0.6)
    beside = Region((10.0, 32.0, 40.0, 20.0), "first", 0.3)
    above = Region((90.0, 2.0, 40.0, 20.0), "second", 0.3)
    regions = [beside, trace, strong, again, taken, above]
    assert changes._once(regions) == [above, taken, strong, beside]  # from top to bottom
    assert changes._once([trace, strong]) == [strong]
    assert changes._once(regions[::-1]) == changes._once(regions)
    assert changes._once([]) == []


def test_regions_are_compared_with_those_near_alone(monkeypatch):
    compared, plain = [], changes.overlap

    def noted(one, two):
        compared.append(len(one) * len(two))
        return plain(one, two)

    monkeypatch.setattr(changes, "overlap", noted)
    far = [Region((60.0 * k, 40.0 * (k % 7), 40.0, 20.0), "first", 0.5) for k in range(200)]
    again = [Region((x + 3, y, w, h), "second", 0.2) for x, y, w, h in (region.box for region in far)]
    assert sorted(region.box for region in changes._once(far + again)) == [region.box for region in far]
    assert sum(compared) < 5 * len(far)  # each with all before it: 59,900
