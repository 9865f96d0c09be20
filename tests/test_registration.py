"""A second picture of drawn ground laid onto the first: known homographies and bends, masks, refusals."""

import cv2
import numpy as np
import pytest

from lib.registration import Registration, lay, register, shrunk
from lib.runs import InputError
from tests.test_stitching import ground

SHAPE = (240, 320)


def similarity(degrees: float, scale: float, shape=SHAPE, size=SHAPE) -> np.ndarray:
    """Homography (3, 3) from a second picture (`size`) to the first (`shape`), middle on middle: the second
    is turned and shows lengths `scale` times as long."""
    turn = np.deg2rad(degrees)
    c, s = np.cos(turn) / scale, np.sin(turn) / scale
    to_middle = np.array([[1, 0, -(size[1] - 1) / 2], [0, 1, -(size[0] - 1) / 2], [0, 0, 1]])
    back = np.array([[1, 0, (shape[1] - 1) / 2], [0, 1, (shape[0] - 1) / 2], [0, 0, 1]])
    return back @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ to_middle


def view(first: np.ndarray, truth: np.ndarray, size=SHAPE) -> tuple[np.ndarray, np.ndarray]:
    """The second picture of which `truth` leads to the first, and where it shows anything."""
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    second = cv2.warpPerspective(first, truth, size[::-1], None, flags)
    inside = cv2.warpPerspective(np.full(first.shape[:2], 255, np.uint8), truth, size[::-1], None, flags)
    return second * (inside == 255)[..., None], inside == 255


def grid(shape=SHAPE) -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(0, shape[1], 13), np.arange(0, shape[0], 13)), -1).reshape(-1, 2)


def errors(found: Registration, truth, size=SHAPE, shape=SHAPE) -> np.ndarray:
    """Distances, pixels of the second, of a grid of the first that the second shows; truth: a homography, or
    where the grid's points lie in the second."""
    points = grid(shape)
    if np.shape(truth) == (3, 3):
        truth = cv2.perspectiveTransform(points[None].astype(float), np.linalg.inv(truth))[0]
    inside = ((truth > 8) & (truth < np.array(size[::-1]) - 9)).all(axis=1)
    assert inside.sum() > 100
    return np.hypot(*(found.sources(points, shape) - truth)[inside].T)


@pytest.mark.parametrize("degrees,scale", [(30, 1.0), (90, 0.7), (-160, 1.3)])
def test_scale_and_rotation_are_recovered(degrees, scale):
    first, truth = ground(1, *SHAPE), similarity(degrees, scale)
    second, seen = view(first, truth)
    found = register(first, second, None, seen)
    assert errors(found, truth).max() < 1
    assert found.magnification(second.shape) == pytest.approx(1 / scale, rel=0.01)
    assert found.matches > 100 and found.error_px < 0.7


def test_perspective_and_another_brightness():
    first = ground(2, *SHAPE)
    near = np.float32([[20, 15], [310, 5], [295, 230], [10, 220]])
    own = np.float32([[0, 0], [299, 0], [299, 209], [0, 209]])
    truth = cv2.getPerspectiveTransform(own, near)
    second, _ = view(first, truth, (210, 300))
    second = np.clip(second * np.array([0.7, 0.8, 0.9]) + 15, 0, 255).astype(np.uint8)
    assert errors(register(first, second), truth, (210, 300)).max() < 1


def test_local_bend_is_recovered():
    first = ground(3, *SHAPE)
    y, x = np.mgrid[:SHAPE[0], :SHAPE[1]].astype(np.float32)

    def away(x, y):  # up to 6 pixels, no homography
        return 6 * np.sin(2 * np.pi * x / 320) * np.cos(np.pi * y / 240), 3 * np.sin(2 * np.pi * y / 240)

    dx, dy = away(x, y)
    second = cv2.remap(first, x + dx, y + dy, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    found = register(first, second)
    points = grid().astype(float)
    truth = points.copy()
    for _ in range(50):
        truth = points - np.stack(away(*truth.T), axis=1)
    off = errors(found, truth)
    assert np.median(off) < 0.5 and np.quantile(off, 0.9) < 1  # beyond the outermost keypoints it is a guess
    flat = errors(Registration(found.matrix, 0 * found.bend, 0, 0.0), truth)
    assert np.median(flat) > 3 * np.median(off)
    assert found.error_px < 0.7


def test_what_masks_cover_does_not_count():
    # A frame with a pattern of its own, at the same pixels of both pictures, as a broken lens would leave.
    wide, pattern = ground(4, 280, 360), ground(5, *SHAPE)
    first, second = wide[:240, :320].copy(), wide[40:, 40:].copy()
    covered = np.ones(SHAPE, bool)
    covered[50:190, 70:250] = False
    for picture in (first, second):
        picture[covered] = pattern[covered]
    truth = np.array([[1, 0, 40], [0, 1, 40], [0, 0, 1.0]])
    found = register(first, second, ~covered, ~covered)
    assert np.abs(found.matrix - truth)[:2, 2].max() < 1.5
    assert np.hypot(*(found.sources(np.array([[170, 130], [210, 160]]), SHAPE)
                      - np.array([[130, 90], [170, 120]])).T).max() < 1  # fmt: skip
    assert np.abs(register(first, second).matrix[:2, 2]).max() < 2  # unmasked, the pattern wins


def test_black_border_is_no_ground():
    first, truth = ground(6, *SHAPE), similarity(20, 0.6)
    second, seen = view(first, truth)
    assert 0.3 < seen.mean() < 0.5
    found = register(first, second, None, seen)
    assert errors(found, truth).max() < 1
    _, shown = lay(second, seen, found, SHAPE)
    assert shown.mean() > 0.97  # the second shows all of the first
    back = register(second, first, seen, None)
    small, there = lay(first, np.ones(SHAPE, bool), back, SHAPE)
    assert (there == seen).mean() > 0.98
    assert np.abs(small.astype(int) - second)[there & seen].mean() < 4


@pytest.mark.parametrize("second", [ground(8, *SHAPE), np.full((*SHAPE, 3), 120, np.uint8)])
def test_another_place_is_refused(second):
    with pytest.raises(InputError, match="^second flight: found no ground in common") as caught:
        register(ground(7, *SHAPE), second)
    assert "\n" not in str(caught.value) and "matches agree" in str(caught.value)


def test_nothing_seen_is_refused():
    picture = ground(7, *SHAPE)
    for seen in ((np.zeros(SHAPE, bool), None), (None, np.zeros(SHAPE, bool))):
        with pytest.raises(InputError, match="second flight"):
            register(picture, picture, *seen)
    even = np.full((*SHAPE, 3), 120, np.uint8)
    with pytest.raises(InputError, match="second flight"):
        register(even, even)


def test_same_input_gives_the_same_registration():
    first = ground(9, *SHAPE)
    second, seen = view(first, similarity(10, 0.9))
    one = register(first, second, None, seen)
    threads = cv2.getNumThreads()
    try:
        cv2.setRNGSeed(7)
        cv2.setNumThreads(1 if threads > 1 else 2)
        two = register(first, second, None, seen)
    finally:
        cv2.setNumThreads(threads)
    assert one.matrix.tobytes() == two.matrix.tobytes() and one.bend.tobytes() == two.bend.tobytes()
    assert (one.matches, one.error_px) == (two.matches, two.error_px)


def bent(rows=9, columns=12) -> np.ndarray:
    y, x = np.mgrid[:rows, :columns]
    return np.float32(np.stack([3 * np.sin(x / 4), 2 * np.cos(y / 3)], axis=-1))


PLACES = {
    "shift": np.array([[1, 0, 7], [0, 1, -5], [0, 0, 1.0]]),
    "quarter turn": similarity(90, 1.0),
    "half size and half a turn": similarity(180, 0.5),
    "quarter turn, enlarged": similarity(-90, 0.5),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("bend", [np.zeros((1, 1, 2), np.float32), bent()])
def test_boxes_lie_where_the_picture_does(place, bend):
    registration = Registration(PLACES[place], bend, 0, 0.0)
    boxes = np.array([[140, 100, 40, 24], [165, 120, 13, 25]])
    there = registration.boxes(boxes, SHAPE)
    for (x, y, w, h), (left, top, width, height) in zip(boxes, there, strict=True):
        second = np.zeros((*SHAPE, 3), np.uint8)
        second[y:y + h, x:x + w] = 255
        laid, shown = lay(second, np.ones(SHAPE, bool), registration, SHAPE)
        white = laid[..., 0] / 255 * shown
        columns, rows = white.max(axis=0), white.max(axis=1)
        assert columns.sum() == pytest.approx(width, rel=0.03)
        assert rows.sum() == pytest.approx(height, rel=0.03)
        centre = [np.average(np.arange(len(values)) + 0.5, weights=values) for values in (columns, rows)]
        assert np.allclose(centre, (left + width / 2, top + height / 2), atol=0.35)


def test_no_boxes():
    assert Registration(np.eye(3), np.zeros((1, 1, 2), np.float32), 0, 0.0).boxes([], SHAPE).shape == (0, 4)


def test_between_resized_pictures():
    registration = Registration(similarity(35, 0.8) @ np.diag([1, 1, 1.0]), bent(), 5, 0.5)
    picture = ground(1, *SHAPE)
    small, _, first_up = shrunk(picture, None, 0.37)
    _, _, second_up = shrunk(picture, None, 0.61)
    assert small.shape[:2] == (89, 118)
    points = grid(small.shape)
    ours = registration.between(first_up, second_up).sources(points, small.shape)
    whole = points * np.diag(first_up)[:2] + first_up[:2, 2]
    expected = (registration.sources(whole, SHAPE) - second_up[:2, 2]) / np.diag(second_up)[:2]
    assert np.allclose(ours, expected, atol=1e-3)
    same = registration.between(np.eye(3), np.eye(3))
    assert np.allclose(same.matrix, registration.matrix) and (same.bend == registration.bend).all()


def test_shrunk_keeps_what_it_may():
    picture, seen = ground(1, 101, 203), np.ones((101, 203), bool)
    seen[:, :50] = False
    same, mask, up = shrunk(picture, seen, 1.7)
    assert same is picture and mask is seen and (up == np.eye(3)).all()
    small, mask, up = shrunk(picture, seen, 0.5)
    assert small.shape == (50, 102, 3) and mask.shape == (50, 102)
    assert not mask[:, :26].any() and mask[:, 26:].all()  # a pixel is seen if all that it is made of is
    assert up[0, 0] == pytest.approx(203 / 102) and up[1, 1] == pytest.approx(101 / 50)


def test_window_is_a_part_of_the_whole():
    second, seen = ground(2, *SHAPE), np.ones(SHAPE, bool)
    seen[:70, :90] = False
    registration = Registration(similarity(25, 0.9), bent(), 0, 0.0)
    whole, shown = lay(second, seen, registration, SHAPE)
    window = slice(30, 150), slice(70, 273)
    part, mask = lay(second, seen, registration, SHAPE, window)
    assert part.dtype == np.uint8 and mask.dtype == bool and mask.any() and not mask.all()
    assert (mask != shown[window]).mean() < 0.002
    both = mask & shown[window]
    assert np.abs(part[both].astype(int) - whole[window][both]).max() <= 6  # of rounding in the interpolation
    half = Registration(np.array([[1, 0, 0.5], [0, 1, 0], [0, 0, 1.0]]), 0 * registration.bend, 0, 0.0)
    mixed = lay(second, seen, half, SHAPE)[1]  # a pixel is seen if all that it is mixed of is
    assert not mixed[:70, :91].any() and mixed[:70, 91:].all() and not mixed[:, 0].any()
    far = Registration(np.array([[1, 0, 5000], [0, 1, 0], [0, 0, 1.0]]), registration.bend, 0, 0.0)
    nothing, mask = lay(second, seen, far, SHAPE, window)
    assert nothing.shape == (120, 203, 3) and not nothing.any() and not mask.any()
