"""Positions from EXIF and the similarity through them, on made-up drones."""

import numpy as np
import pytest
from PIL import Image

from lib import georeference
from lib.runs import InputError

LON, LAT = 36.0666, 52.9668
HERE = {1: "N", 2: (52.0, 58.0, 0.48), 3: "E", 4: (36.0, 3.0, 59.76)}


def photo(path, tags=None, size=(8, 6)):
    exif = Image.Exif()
    if tags is not None:
        exif[georeference.GPS_IFD] = tags
    Image.new("RGB", size).save(path, exif=exif)
    return path


def world_of(pixels, scale=0.05, degrees=30.0, noise=0.0, seed=0):
    """Longitude and latitude of pixels seen from above, `scale` m a pixel, north `degrees` right of up."""
    turn = scale * np.exp(1j * np.radians(degrees))
    plane = turn * (pixels[:, 0] - 1j * pixels[:, 1])
    rng = np.random.default_rng(seed)
    plane = plane + noise * (rng.normal(size=len(plane)) + 1j * rng.normal(size=len(plane)))
    east, north = georeference._metres_per_degree(LAT)
    return np.column_stack([LON + plane.real / east, LAT + plane.imag / north])


def metres(a, b):
    scale = georeference._metres_per_degree(LAT)
    return np.hypot(*((np.asarray(a) - b) * scale).T)


def grid(n, seed=1):
    return np.random.default_rng(seed).uniform(0, (6000, 4000), (n, 2))


@pytest.mark.parametrize(
    "lat, lon, signs", [("N", "E", (1, 1)), ("S", "E", (1, -1)), ("n", "W", (-1, 1)), ("S\0", "w", (-1, -1))]
)
def test_gps_is_read_in_every_quarter_of_the_globe(tmp_path, lat, lon, signs):
    found = georeference.read_gps(photo(tmp_path / "a.jpg", HERE | {1: lat, 3: lon}))
    assert found == pytest.approx((signs[0] * LON, signs[1] * LAT), abs=1e-6)


@pytest.mark.parametrize(
    "tags",
    [
        None,
        {},
        {k: v for k, v in HERE.items() if k != 1},
        HERE | {1: "X"},
        HERE | {2: (95.0, 0.0, 0.0)},
        HERE | {4: (181.0, 0.0, 0.0)},
        HERE | {2: (52.0, 75.0, 0.0)},
        HERE | {2: (52.0, 58.0, 0.48, 7.0)},
        {1: "N", 3: "E"},
        {1: "N", 2: (0.0, 0.0, 0.0), 3: "E", 4: (0.0, 0.0, 0.0)},
    ],
)
def test_no_position_where_exif_says_none_that_makes_sense(tmp_path, tags):
    assert georeference.read_gps(photo(tmp_path / "a.jpg", tags)) is None


def test_damaged_files_have_no_position_and_do_not_crash(tmp_path):
    whole = photo(tmp_path / "a.jpg", HERE).read_bytes()
    rng = np.random.default_rng(0)
    for trial in range(60):
        data = bytearray(whole[: len(whole) if trial % 2 else rng.integers(2, 150)])
        for place in rng.integers(20, min(len(data), 220), 6) if len(data) > 30 else []:
            data[place] = rng.integers(256)
        (tmp_path / "b.jpg").write_bytes(data)
        found = georeference.read_gps(tmp_path / "b.jpg")
        assert found is None or (abs(found[0]) <= 180 and abs(found[1]) <= 90)
    (tmp_path / "c.jpg").write_text("no image")
    assert georeference.read_gps(tmp_path / "c.jpg") is None
    with pytest.raises(InputError, match="no such file"):
        georeference.read_gps(tmp_path / "missing.jpg")


@pytest.mark.parametrize("degrees", [0, 30, 135, -90])
def test_a_similarity_is_found_again(degrees):
    pixels = grid(6)
    found = georeference.fit(pixels, world_of(pixels, degrees=degrees))
    assert found.metres_per_pixel == pytest.approx(0.05, rel=1e-4)
    assert found.north_degrees == pytest.approx(degrees, abs=1e-3)
    assert (found.points, found.given) == (6, 6) and found.residual_m < 0.01
    other = grid(50, seed=9)
    assert metres(found.to_world(other), world_of(other, degrees=degrees)).max() < 0.02
    assert np.abs(found.to_pixels(found.to_world(other)) - other).max() < 1e-3
    up, down = found.to_world([[0, 0], [0, 100]])
    if degrees == 0:
        assert up[1] > down[1] and abs(up[0] - down[0]) < 1e-9


@pytest.mark.parametrize("n", [5, 6, 9, 40, 300])
@pytest.mark.parametrize("seed", range(3))
def test_one_wild_position_changes_nothing(n, seed):
    pixels = grid(n, seed)
    world = world_of(pixels, noise=1.0, seed=seed)
    world[seed] += (0.004, -0.002)  # some 350 m
    found = georeference.fit(pixels, world)
    without = georeference.fit(np.delete(pixels, seed, 0), np.delete(world, seed, 0))
    assert found.points in range(n - 1 - n // 20, n)
    place = [[3000, 2000]]
    assert metres(found.to_world(place), without.to_world(place)).max() < 0.3
    assert metres(found.to_world(place), world_of(np.array(place))).max() < 4
    assert 0.2 < found.residual_m < 4


@pytest.mark.parametrize("n", [7, 12, 40])
def test_three_wild_positions_in_ten_are_left_out_and_no_others(n):
    pixels, wild = grid(n), int(0.3 * n)
    world = world_of(pixels, noise=1.0)
    assert georeference.fit(pixels, world).points == n
    world[:wild] += np.random.default_rng(2).uniform(0.0005, 0.004, (wild, 2))
    found = georeference.fit(pixels, world)
    assert found.points == n - wild
    assert metres(found.to_world([[3000, 2000]]), world_of(np.array([[3000, 2000]]))).max() < 3


def test_two_points_fix_it_and_leave_no_residual():
    pixels = np.array([[0, 0], [1000, 500]])
    found = georeference.fit(pixels, world_of(pixels))
    assert np.isnan(found.residual_m) and found.points == 2
    assert metres(found.to_world(pixels), world_of(pixels)).max() < 1e-3
    assert found.to_world(np.empty((0, 2))).shape == (0, 2)


def test_across_the_date_line():
    pixels = grid(6)
    world = world_of(pixels)
    world[:, 0] += 180 - world[:, 0].mean()
    wrapped = (world + (180, 0)) % 360 - (180, 0)
    found = georeference.fit(pixels, wrapped).to_world(pixels)
    assert np.abs(found[:, 0]).min() > 179.9 and len(set(np.sign(found[:, 0]))) == 2
    off = found - wrapped
    off[:, 0] = (off[:, 0] + 180) % 360 - 180
    assert metres(off, (0, 0)).max() < 0.02
    assert np.abs(georeference.fit(pixels, wrapped).to_pixels(found) - pixels).max() < 1e-3


@pytest.mark.parametrize(
    "pixels, world, match",
    [
        ([], [], "0 distinct"),
        ([[1, 2]], [[3, 4]], "1 distinct"),
        ([[1, 2], [1, 2]], [[3, 4], [3, 5]], "distinct"),
        ([[1, 2], [5, 2]], [[3, 4], [3, 4]], "distinct"),
        ([[1, 2], [5, 2]], [[3, 4]], "one for each"),
        ([[1, 2, 3]], [[3, 4]], "shape"),
        ([[1, 2], [5, np.nan]], [[3, 4], [3, 5]], "finite"),
        ([[1, 2], [5, 2]], [[3, 4], [3, 91]], "impossible"),
        ([[0, 0], [9, 0], [0, 9], [9, 9]], [[1, 1], [1.1, 1], [1.1, 1.1], [1, 1]], "follow"),
    ],
)
def test_what_fixes_nothing_is_said(pixels, world, match):
    with pytest.raises(InputError, match=match):
        georeference.fit(pixels, world)


def test_frames_with_gps_place_the_panorama(tmp_path):
    size, places, sizes = (800, 600), {}, {}
    for k, corner in enumerate(grid(5)):
        name = f"{k}.jpg"
        places[name], sizes[name] = np.array([[1, 0, corner[0]], [0, 1, corner[1]], [0, 0, 1.0]]), size
        centre = corner + (399.5, 299.5)
        lon, lat = world_of(centre[None])[0]
        parts = [(float(v // 1), float(v % 1 * 60 // 1), v % 1 * 60 % 1 * 60) for v in (lat, lon)]
        tags = {1: "N", 2: parts[0], 3: "E", 4: parts[1]}
        photo(tmp_path / name, tags if k else None)
    found = georeference.from_frames(places, sizes, tmp_path)
    assert (found.points, found.given) == (4, 4)
    assert metres(found.to_world([[100, 200]]), world_of(np.array([[100, 200]]))).max() < 0.1
    first = {name: places[name] for name in ("0.jpg", "1.jpg")}
    assert georeference.from_frames(first, sizes, tmp_path) is None
    assert georeference.from_frames({}, {}, tmp_path) is None
    hovering = {name: places["1.jpg"] for name in places}
    assert georeference.from_frames(hovering, sizes, tmp_path) is None
    with pytest.raises(InputError, match="no size"):
        georeference.from_frames(places, {}, tmp_path)
    with pytest.raises(InputError, match="homography"):
        georeference.from_frames({"1.jpg": np.eye(2)}, sizes, tmp_path)
