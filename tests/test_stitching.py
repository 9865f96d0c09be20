"""lib.stitching and lib.flight_colour on drawn ground with known homographies, gains and gammas."""

import re

import cv2
import numpy as np
import pytest
from PIL import Image

from benchmarks.panorama_stitching import CENTRE, colour_error, cut_tiles, measure, reprojection
from lib.flight_colour import correct, correct_flight, seen
from lib.pictures import read_frame
from lib.runs import InputError
from lib.stitching import read_flight, stitch
from lib.visdrone import data_folder


def ground(seed: int, height: int = 420, width: int = 560) -> np.ndarray:
    """Ground seen from above, RGB uint8: coloured patches of many sizes with a fine grain."""
    rng = np.random.default_rng(seed)
    picture = np.full((height, width, 3), 110, np.uint8)
    for size in (60, 30, 14, 7):
        for _ in range(9 * 60 // size):
            centre, half = rng.integers(0, (width, height)), rng.integers(size // 3, size, 2)
            corners = cv2.boxPoints((centre.tolist(), half.tolist(), float(rng.uniform(0, 180))))
            cv2.fillPoly(picture, [corners.astype(int)], rng.integers(40, 190, 3).tolist(), cv2.LINE_AA)
    grain = cv2.GaussianBlur(rng.normal(0, 40, (height, width, 1)), (0, 0), 2.5)[..., None]
    return np.clip(cv2.GaussianBlur(picture, (0, 0), 0.8) + grain, 20, 215).astype(np.uint8)


def shoot(picture, corners, size=(240, 200)) -> tuple[np.ndarray, np.ndarray]:
    """A frame of (width, height) whose corners see these points of the ground, and its true homography."""
    width, height = size
    own = np.float32([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]])
    place = cv2.getPerspectiveTransform(own, np.float32(corners))
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(picture, place, size, None, flags), place


def box(x, y, width=240, height=200):
    return [[x, y], [x + width - 1, y], [x + width - 1, y + height - 1], [x, y + height - 1]]


def row(picture, starts=(0, 90, 180)) -> dict[str, np.ndarray]:
    return {f"f{k}": picture[100:300, x:x + 240].copy() for k, x in enumerate(starts)}


def distances(panorama, truth, size=(240, 200)) -> dict[str, float]:
    """Largest distance of each frame's grid from where it belongs, in the reference's pixels."""
    grid = np.stack(np.meshgrid(np.linspace(0, size[0], 7), np.linspace(0, size[1], 7)), -1).reshape(1, -1, 2)
    ours, true = np.linalg.inv(panorama.places[panorama.reference]), np.linalg.inv(truth[panorama.reference])
    return {name: float(np.linalg.norm(cv2.perspectiveTransform(grid, ours @ place)
                                       - cv2.perspectiveTransform(grid, true @ truth[name]), axis=-1).max())
            for name, place in panorama.places.items()}  # fmt: skip


@pytest.fixture(scope="module")
def tiles():
    frame = ground(1)
    pieces, truth = cut_tiles(frame, 5)
    return frame, pieces, truth, stitch(pieces, reference=CENTRE)


def test_tiles_lie_where_they_were_cut(tiles):
    frame, pieces, truth, panorama = tiles
    errors = reprojection(panorama, pieces, truth)
    assert len(errors) == 9 and max(errors.values()) < 0.7
    assert panorama.error_px < 0.7 and not panorama.left_out
    to_frame = truth[CENTRE] @ np.linalg.inv(panorama.places[CENTRE])
    colour, covered = colour_error(panorama.image, panorama.covered, to_frame, frame)
    assert colour < 1.5 and covered > 0.9
    assert np.ptp([piece.mean() for piece in pieces.values()]) > 20  # there was something to correct
    assert panorama.image.dtype == np.uint8 and panorama.image.shape == (*panorama.covered.shape, 3)
    assert not panorama.image[~panorama.covered].any()


def test_reference_keeps_its_pixels(tiles):
    _, pieces, _, panorama = tiles
    place = panorama.places[CENTRE]
    assert (place[:2, :2] == np.eye(2)).all() and (place[2] == (0, 0, 1)).all() and (place % 1 == 0).all()
    assert all((values == 1).all() for values in panorama.colours[CENTRE])
    height, width = pieces[CENTRE].shape[:2]
    x, y = (int(n) for n in place[:2, 2])
    inside = panorama.image[y:y + height, x:x + width].astype(int) - pieces[CENTRE]
    assert not inside[height // 2 - 15:height // 2 + 15, width // 2 - 15:width // 2 + 15].any()


def test_same_input_gives_the_same_bytes():
    pieces = {name: correct(frame, np.array([1.1, 0.9, 1]), np.ones(3)) if name == "f0" else frame
              for name, frame in row(ground(12)).items()}  # fmt: skip
    panorama = stitch(pieces, reference="f1")
    threads = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1 if threads > 1 else 2)
        again = stitch(dict(reversed(pieces.items())), reference="f1")
    finally:
        cv2.setNumThreads(threads)
    assert again.image.tobytes() == panorama.image.tobytes()
    assert again.covered.tobytes() == panorama.covered.tobytes()


def test_oblique_frames():
    picture = ground(2)
    down, place = shoot(picture, box(150, 100))
    frames, truth = {"down": down}, {"down": place}
    for name, (x, y, lean) in {"left": (40, 90, 35), "right": (250, 110, -35)}.items():
        near = [[x, y], [x + 240, y + lean], [x + 240 - abs(lean), y + 200 - lean], [x + abs(lean), y + 200]]
        frames[name], truth[name] = shoot(picture, near)
    panorama = stitch(frames, reference="down")
    assert max(distances(panorama, truth).values()) < 2
    assert panorama.covered.mean() > 0.7


def test_black_borders_count_as_unseen():
    picture = ground(3)
    turn = np.deg2rad(20) * np.array([-1, 0, 1])
    frames, truth = {}, {}
    for k, angle in enumerate(turn):
        middle = np.array([170 + 100 * k, 210])
        turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        corners = (np.array(box(-120, -100)) @ turned.T + middle).tolist()
        own, place = shoot(picture, corners)
        # Upright again in a larger black picture, as mapping software writes it.
        back = np.array([[1, 0, 170 - middle[0]], [0, 1, 150 - middle[1]], [0, 0, 1.0]]) @ place
        frames[f"f{k}"] = cv2.warpPerspective(own, back, (340, 300))
        truth[f"f{k}"] = np.array([[1, 0, middle[0] - 170], [0, 1, middle[1] - 150], [0, 0, 1.0]])
    assert 0.4 < seen(frames["f0"]).mean() < 0.6
    panorama = stitch(frames, reference="f1")
    assert max(distances(panorama, truth, (340, 300)).values()) < 1.5
    low = panorama.image[panorama.covered].max(axis=1).min()
    assert low > 12  # the ground has no black; neither has the panorama
    assert panorama.covered.mean() < 0.85


def test_dark_spot_inside_a_frame_stays_seen():
    frame = np.full((60, 80, 3), 90, np.uint8)
    frame[20:40, 30:50] = 0
    assert seen(frame).all()
    frame[:, :10] = 0
    expected = np.ones((60, 80), bool)
    expected[:, :12] = False  # and what interpolation mixed with it
    assert (seen(frame) == expected).all()


def test_frames_that_do_not_join_are_named():
    frames = row(ground(4)) | {"elsewhere": ground(5)[:200, :240]}
    frames["fog"] = np.full((200, 240, 3), 180, np.uint8)
    with pytest.raises(InputError) as caught:
        stitch(frames)
    message = str(caught.value)
    assert "elsewhere: no overlap found" in message and "fog: too few features" in message
    assert set(re.findall(r"(?:join: |; )(\w+): ", message)) == {"elsewhere", "fog"}
    panorama = stitch(frames, partial=True)
    assert set(panorama.left_out) == {"elsewhere", "fog"} and set(panorama.places) == {"f0", "f1", "f2"}
    assert panorama.reference == "f1" and np.allclose(panorama.covered.shape, (201, 421), atol=2)


def test_overlap_without_anything_in_it():
    picture = ground(4)
    picture[:, 165:255] = 110  # all that the first and the last frame share
    panorama = stitch(row(picture), reference="f1")
    assert np.allclose(panorama.places["f2"][:2, 2] - panorama.places["f0"][:2, 2], (180, 0), atol=1.5)


def test_two_groups_and_a_reference_without_neighbours():
    one, two = row(ground(4)), {f"g{k}": f for k, f in enumerate(row(ground(5), (0, 90)).values())}
    panorama = stitch(one | two, reference="g0", partial=True)
    assert set(panorama.places) == {"g0", "g1"} and set(panorama.left_out) == set(one)
    assert "only with" in panorama.left_out["f0"]
    with pytest.raises(InputError, match="f0: no overlap"):
        stitch(one | {"alone": ground(6)[:200, :240]}, reference="alone", partial=True)


def test_bad_input_is_said():
    frames = row(ground(4), (0, 90))
    with pytest.raises(InputError, match="only f0"):
        stitch({"f0": frames["f0"]})
    with pytest.raises(InputError, match="no frames"):
        stitch({})
    for bad in (frames["f0"].astype(float), frames["f0"][..., 0], None, frames["f0"][:0]):
        with pytest.raises(InputError, match="^bad: .*RGB uint8"):
            stitch(frames | {"bad": bad})
    with pytest.raises(InputError, match="^f9: found no such frame"):
        stitch(frames, reference="f9")
    with pytest.raises(InputError, match="0.01 megapixels at most"):
        stitch(frames, max_megapixels=0.01)


def test_folder_is_read(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        read_flight(tmp_path / "none")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match="no images"):
        read_flight(tmp_path)
    picture = ground(7)[:60, :80]
    Image.fromarray(picture).save(tmp_path / "b.png")
    with pytest.raises(InputError, match=r"one image \(b.png\)"):
        read_flight(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.fromarray(picture).save(tmp_path / "a.jpg", exif=exif)
    frames = read_flight(tmp_path)
    assert list(frames) == ["a.jpg", "b.png"] and frames["a.jpg"].shape == (80, 60, 3)
    assert (frames["b.png"] == picture).all()
    (tmp_path / "c.jpg").symlink_to(tmp_path / "gone.jpg")
    with pytest.raises(InputError, match=r"c\.jpg: found no such file"):
        read_flight(tmp_path)
    (tmp_path / "c.jpg").unlink()
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[:len(data) // 2])
    with pytest.raises(InputError, match=r"cut\.jpg: found a corrupt image"):
        read_flight(tmp_path)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_transparent_pixels_are_black(tmp_path, name):
    picture = ground(7)[:60, :80]
    alpha = np.full((60, 80), 255, np.uint8)
    alpha[:, :30] = 0
    white = np.where(alpha[..., None] > 0, picture, 255).astype(np.uint8)  # as mapping programs may write it
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(np.dstack([white, alpha])[::-1, ::-1].copy()).save(tmp_path / name, exif=exif)
    Image.fromarray(picture).save(tmp_path / "b.png")
    frame = read_flight(tmp_path)[name]
    assert not frame[:, :30].any() and (frame[:, 30:] == picture[:, 30:]).all()


def test_gains_and_gammas_are_recovered():
    frames = row(ground(8))
    places = {f"f{k}": np.array([[1, 0, 90.0 * k], [0, 1, 0], [0, 0, 1]]) for k in range(3)}
    true = {"f0": ((1.2, 0.85, 0.9), 0.85), "f2": ((0.8, 1.05, 1.1), 1.2)}
    for name, (gain, gamma) in true.items():  # what undoes the correction
        changed = 255 * (frames[name] / 255 / gain) ** (1 / gamma)
        frames[name] = np.round(changed).clip(0, 255).astype(np.uint8)
    found = correct_flight(frames, places, "f1")
    assert (np.array(found["f1"]) == 1).all()
    for name, (gain, gamma) in true.items():
        assert np.allclose(found[name][0], gain, rtol=0.03) and np.allclose(found[name][1], gamma, rtol=0.03)


def test_colours_of_many_noisy_frames_do_not_fade():
    # Least squares of corrected values brings equal, noisy frames nearer by flattening all but the reference.
    picture, rng = ground(9)[:200, :240], np.random.default_rng(0)
    frames = {}
    for k in range(12):
        noise = cv2.GaussianBlur(rng.normal(0, 150, picture.shape), (0, 0), 6)
        frames[f"f{k:02}"] = np.clip(picture + noise, 5, 250).astype(np.uint8)
    found = correct_flight(frames, {name: np.eye(3) for name in frames}, "f00")
    gammas = np.array([gamma for _, gamma in found.values()])
    assert 0.9 < gammas.mean() < 1.1 and gammas.min() > 0.75


def test_correction_of_clipped_pixels_stays_grey():
    frame = np.array([[[255, 255, 255], [100, 100, 100], [255, 240, 150]]], np.uint8)
    out = correct(frame, np.array([0.7, 1.0, 1.2]), np.ones(3))
    assert out[0, 1].tolist() == [70, 100, 120]
    assert (out[0, 0] == out[0, 0, 0]).all()
    assert out[0, 2].tolist() == [210, 240, 180]  # the clipped channel: mean of the others
    assert correct(frame, np.ones(3), np.ones(3)) is frame


def test_moved_object_is_not_doubled():
    picture = ground(10)
    frames = row(picture, (0, 60, 120))
    for k, name in enumerate(frames):  # a white car that drives on, well inside all three frames
        x = 210 + 40 * k - 60 * k
        frames[name][90:108, x - 32:x] = (252, 252, 252) if k != 1 else (250, 250, 250)
    panorama = stitch(frames, reference="f1")
    white = (panorama.image >= 235).all(axis=2).astype(np.uint8)
    areas = cv2.connectedComponentsWithStats(white)[2][1:, cv2.CC_STAT_AREA]
    whole = 18 * 32
    cars = [area for area in areas if area > 20]
    assert 1 <= len(cars) <= 2 and all(0.85 * whole < area < 1.1 * whole for area in cars)


def test_measure_gives_plain_values():
    found = measure({"ground": ground(11), "even": np.full((300, 400, 3), 120, np.uint8)}, 3, opencv=False)
    assert found["frames"] == 2 and found["tiles"] == 18 and found["placed"] == 0.5
    assert found["reprojection_px"] < 1 and found["colour_error"] < 6 and list(found["failed"]) == ["even"]
    assert found["seeds"] == [[3, 0], [3, 1]] and "opencv_stitcher" not in found


def test_tiles_of_a_real_frame():
    data = data_folder()
    folder = None if data is None else data / "uav-multitemporal" / "kit_ais_mos"
    if folder is None or not folder.is_dir():
        pytest.skip("no real data: set DRONE_DATA to a folder with uav-multitemporal")
    path = sorted(folder.glob("MOS7*.png"))[0]
    found = measure({path.name: read_frame(path)}, 0, opencv=False)
    assert found["placed"] == 1 and found["reprojection_px"] < 1.5 and found["colour_error"] < 6
