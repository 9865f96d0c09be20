"""What a person gets of a comparison of two times: table, files, pictures, page; drawn ground with cars."""

import json
import re
import shutil
import subprocess

import cv2
import numpy as np
import pandas as pd
import pytest

from lib.anomaly_pictures import COLOURS, _number, _rgb, annotate, before_after, before_after_figure
from lib.anomaly_report import write_report
from lib.anomaly_table import (
    COLUMNS,
    checked,
    class_text,
    counts,
    summary,
    things,
    write_geojson,
    write_table,
)
from lib.georeference import Georeference
from lib.runs import InputError

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HOSTILE = '</script><img src=x onerror="document.title=1">&{{title}}'


def row(number, change, x, y, **other):
    seen = "first" if change == "disappeared" else "second"
    known = {"width": 40, "height": 20, "score": 0.9 - number / 100, "label": "car", "probability": 0.8,
             "label_before": "car", "probability_before": 0.7, "seen": seen, "partner": None,
             "longitude": np.nan, "latitude": np.nan}  # fmt: skip
    return known | {"id": number, "change": change, "x": x, "y": y} | other


def table_of(*rows):
    table = pd.DataFrame(list(rows), columns=list(COLUMNS))
    return table.astype({"partner": "Int64"})


@pytest.fixture
def table():
    return table_of(
        row(1, "appeared", 50, 60, label_before="truck"),
        row(2, "disappeared", 300, 60, label="truck", label_before="truck", longitude=36.1, latitude=52.9),
        row(3, "moved", 100, 200, seen="first", partner=4),
        row(4, "moved", 400, 250, partner=3, score=0.95),
        row(5, "changed", 500, 300, label="unsure", probability=np.nan, label_before=None),
    )


@pytest.fixture
def pictures(table):
    rng = np.random.default_rng(0)
    first, second = (rng.integers(low, low + 25, (400, 640, 3), dtype=np.uint8) for low in (80, 200))
    for thing in table.itertuples():
        for side, picture in (("first", first), ("second", second)):
            if thing.seen == side or thing.change == "changed":
                x, y = int(thing.x), int(thing.y)
                cv2.rectangle(picture, (x, y), (x + 39, y + 19), (30 * thing.id, 40, 200), -1)
    return first, second


def strict(path):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def area(ring):
    x, y = np.array(ring).T
    return ((x[:-1] * y[1:]) - (x[1:] * y[:-1])).sum() / 2


def test_the_table_comes_back_from_csv(tmp_path, table):
    found = pd.read_csv(write_table(tmp_path / "a.csv", table.sample(frac=1, axis=1, random_state=0)))
    assert list(found) == list(COLUMNS) and len(found) == 5
    assert found["partner"].isna().sum() == 3 and found["longitude"].count() == 1
    assert found["partner"].iloc[2] == 4 and ",4," in (tmp_path / "a.csv").read_text()  # no 4.0
    assert "nan" not in (tmp_path / "a.csv").read_text().lower()
    table["longitude"] = 36.123456789
    assert pd.read_csv(write_table(tmp_path / "a.csv", table))["longitude"][0] == 36.1234568


def test_a_moved_thing_counts_once(table):
    assert counts(table) == {"appeared": 1, "disappeared": 1, "moved": 1, "changed": 1}
    best = things(table)[0]
    assert (best["id"], best["rows"], best["boxes"]) == (4, [4, 3], [[100, 200, 40, 20], [400, 250, 40, 20]])
    table.loc[2, "score"] = 0.99  # of the two rows the earlier one: same order of places
    assert (things(table)[0]["id"], things(table)[0]["boxes"]) == (3, best["boxes"])
    assert summary(table) == "4 changes: 1 appeared, 1 disappeared, 1 moved, 1 changed"
    assert summary(table[:1]) == "1 change: 1 appeared"
    assert counts(table[2:3])["moved"] == 1  # its partner is not in the table
    texts = [class_text(thing) for thing in things(table)[1:]]
    assert texts == ["truck → car", "truck", "unsure"]


def test_geojson_in_pixels_says_so(tmp_path, table):
    found = strict(write_geojson(tmp_path / "a.geojson", table))
    assert found["type"] == "FeatureCollection" and "pixels" in found["coordinate_space"]
    assert not {"coordinates", "geometry", "geometries", "properties"} & set(found)  # RFC 7946, 7.1
    assert found["features"][0]["geometry"]["coordinates"][0][2] == [90, 80]
    assert set(found["features"][0]["properties"]) == set(COLUMNS)
    assert found["features"][4]["properties"]["probability"] is None
    assert found["features"][0]["properties"]["partner"] is None
    assert found["features"][3]["properties"]["partner"] == 3


@pytest.mark.parametrize("degrees", [0, 30, 100, -160])
def test_geojson_in_degrees_keeps_the_right_hand_rule(tmp_path, table, degrees):
    turn = 0.05 * np.exp(1j * np.radians(degrees))
    place = Georeference((36.0666, 52.9668), complex(turn), 12 - 7j, float("nan"), 2, 2)
    found = strict(write_geojson(tmp_path / "a.geojson", table, place))
    assert "coordinate_space" not in found and found["georeference"]["residual_m"] is None
    for feature, thing in zip(found["features"], table.itertuples(), strict=True):
        (ring,) = feature["geometry"]["coordinates"]
        assert len(ring) == 5 and ring[0] == ring[-1] and area(ring) > 0
        pixels = place.to_pixels(np.array(ring))
        assert pixels.min(0) == pytest.approx((thing.x, thing.y), abs=0.05)
        assert pixels.max(0) == pytest.approx((thing.x + 40, thing.y + 20), abs=0.05)


def test_a_box_across_the_date_line_stays_whole(tmp_path, table):
    place = Georeference((180.0, 10.0), 0.05 + 0j, -70 * 0.05 + 0j, 0.1, 3, 3)
    found = strict(write_geojson(tmp_path / "a.geojson", table, place))
    (ring,) = found["features"][0]["geometry"]["coordinates"]
    assert 0 < area(ring) < 1e-9 and np.ptp(np.array(ring)[:, 0]) < 1e-4


@pytest.mark.parametrize("size", [(300, 400), (1500, 1000), (500, 5000)])
def test_labels_stand_beside_their_things_and_inside_the_picture(size):
    height, width = size
    places = [(0, 0), (width - 40, 0), (0, height - 20), (width - 40, height - 20), (width // 2, height // 2)]
    table = table_of(*(row(k, "appeared", x, y, label="pedestrian") for k, (x, y) in enumerate(places, 1)))
    plain = np.full((height, width, 3), 128, np.uint8)
    found = annotate(plain, table, "second")
    assert (plain == 128).all() and found.shape == plain.shape and found.dtype == np.uint8
    line = max(2, round(width / 600), round(height / 600))
    colour = (found == _rgb(COLOURS["appeared"])).all(2)
    changed = (found != plain).any(2)
    for x, y in places:
        inner = changed[max(0, y) : y + 20, max(0, x) : x + 40]
        at_edge = x in (0, width - 40)  # there the frame has to lie on the thing
        assert at_edge or not inner[line:-line, line:-line].any()
        if at_edge:  # but nothing else does
            assert not inner[3 * line : -3 * line, 3 * line : -3 * line].any()
        low = [max(0, v - 2 * line) for v in (x, y)]
        frame = slice(low[1], y + 20 + 2 * line), slice(low[0], x + 40 + 2 * line)
        assert colour[frame].any()
        colour[frame] = False
    marks, _, boxes, _ = cv2.connectedComponentsWithStats(colour.astype(np.uint8))
    wide = boxes[boxes[:, 2] > 40]  # the labels: all five, whole, of one width but for the digit
    assert np.sum(boxes[1:, 4] > 200) >= 5 and np.ptp(wide[1:, 2]) <= 0.05 * width


def test_labels_grow_with_the_picture_and_fit_a_tiny_one():
    def inked(height, width):
        table = table_of(row(1, "moved", width // 2, height // 2, width=width / 99, height=height / 99))
        found = annotate(np.zeros((height, width, 3), np.uint8), table, "second")
        return (found == _rgb(COLOURS["moved"])).all(2).any(1).sum() / height

    assert inked(3000, 4500) == pytest.approx(inked(1200, 1800), rel=0.15)
    for size in ((12, 14), (40, 30), (1, 1)):
        inked(*size)


def test_the_label_of_a_moved_thing_names_its_number_on_the_other_side():
    where = {"id": 23, "partner": 2, "change": "moved", "seen": "first"}
    assert _number(where) == "23→2"
    assert _number(where | {"id": 2, "partner": 23, "seen": "second"}) == "2←23"
    assert _number(where | {"partner": None, "change": "disappeared"}) == "23"


def test_labels_do_not_hide_other_things():
    places = [(60 + 80 * k, y) for k in range(8) for y in (100, 126, 260, 286)]  # rows of two, nose to tail
    table = table_of(*(row(k, "appeared", x, y) for k, (x, y) in enumerate(places, 1)))
    plain = np.full((400, 700, 3), 128, np.uint8)
    found = annotate(plain, table, "second")
    for x, y in places:
        assert (found[y + 3 : y + 17, x + 3 : x + 37] == 128).all(), (x, y)


def test_labels_do_not_hide_each_other():
    near = [row(k, c, 200 + 50 * k, 150, label="pedestrian") for k, c in enumerate(("appeared", "moved"), 1)]
    plain = np.full((400, 700, 3), 128, np.uint8)

    def inked(*rows):
        found = annotate(plain, table_of(*rows), "second")
        return [(found == _rgb(COLOURS[r["change"]])).all(2).sum() for r in near]

    assert inked(*near) == [inked(near[0])[0], inked(near[1])[1]]


def test_each_side_shows_its_own_and_what_changed(pictures, table):
    def coloured(side):
        found = annotate(pictures[0], table, side)
        return {c for c, value in COLOURS.items() if (found == _rgb(value)).all(2).any()}

    assert coloured("first") == {"disappeared", "moved", "changed"}
    assert coloured("second") == {"appeared", "moved", "changed"}
    with pytest.raises(InputError, match="first or second"):
        annotate(pictures[0], table, "third")


def test_the_figure_shows_counts_and_the_best_pairs(pictures, table, tmp_path):
    table.loc[0, "label"] = r"$\bad$ <b>"  # is no formula
    figure = before_after_figure(*pictures, table)
    figure.savefig(tmp_path / "a.png", dpi=40)
    (legend,) = figure.subfigs[0].legends
    assert [text.get_text() for text in legend.get_texts()] == [f"{c} (1)" for c in COLOURS]
    titles = [axis.get_title() for axis in figure.axes if axis.images]
    assert titles[:3] == ["First time", "Second time", "4 car, moved"] and len(titles) == 6
    assert r"1 truck → $\bad$ <b>, appeared" in titles
    assert figure.subfigs[1].get_suptitle().endswith("class → class: before → after retraining")
    same = before_after_figure(*pictures, table[1:2])
    assert same.subfigs[1].get_suptitle() == "Highest scores: before | after (dashed: not there)"
    empty = before_after_figure(*pictures, table[:0])
    empty.savefig(tmp_path / "b.png", dpi=40)
    assert "Nothing changed" in empty.subfigs[0].get_supxlabel() and len(empty.axes) == 2


def test_a_pair_shows_the_thing_where_it_was_and_where_it_is(pictures, table):
    moved, appeared = (next(t for t in things(table) if t["id"] == n) for n in (4, 1))
    before, after = (before_after(*pictures, moved, 96)[:, part] for part in (slice(96), slice(-96, None)))
    assert np.abs(before[48, 48].astype(int) - (90, 40, 200)).max() < 12  # the car of row 3
    assert np.abs(after[48, 48].astype(int) - (120, 40, 200)).max() < 12
    pair = before_after(*pictures, appeared, 96)
    before, after = pair[:, :96], pair[:, -96:]
    assert 80 <= before[48, 48].min() and before[48, 48].max() < 110  # ground alone
    framed = [(part == _rgb(COLOURS["appeared"])).all(2).sum() for part in (before, after)]
    assert 0.3 * framed[1] < framed[0] < 0.8 * framed[1]  # dashed


def attributes(page):
    return re.findall(r'\b(?:src|href|action)\s*=\s*["\']?([^"\'\s>]{0,40})', page)


def test_the_page_needs_no_other_file_and_escapes_what_it_is_given(pictures, table, tmp_path):
    table.loc[0, "label"] = HOSTILE
    path = write_report(tmp_path / "a.html", *pictures, table, HOSTILE, {"<i>place</i>": "a & <b>"})
    page = path.read_text(encoding="utf-8")
    addresses = set(re.findall(r"[a-z]+://[^\s\"'<)]*", page))
    assert addresses == {"http://www.w3.org/2000/svg"} and "@import" not in page and "url(" not in page
    assert sum(a.startswith("data:image/jpeg;base64,") for a in attributes(page)) == 2
    assert "<i>place" not in page and "&lt;i&gt;place&lt;/i&gt;" in page and "a &amp; &lt;b&gt;" in page
    assert "<img src=x" not in page and page.count("</script>") == 2
    assert page.count("{{title}}") == 4  # title, heading, label and its text: words, no placeholder
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])
    assert {r["id"]: r["crop"] for r in data["rows"]} == {4: 0, 3: 0, 1: 1, 2: 2, 5: 3}
    assert data["rows"][-1]["probability"] is None and len(data["crops"]) == 4


def test_the_page_stays_small_and_is_written_whole(table, tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (2200, 3000, 3), dtype=np.uint8)
    path = write_report(tmp_path / "a.html", noise, noise, table, "noise", {})
    assert 1e6 < path.stat().st_size < 6e6
    monkeypatch.setattr("lib.anomaly_report.TEMPLATE", tmp_path / "none.html")
    with pytest.raises(OSError):
        write_report(path, noise[:9], noise[:9], table, "again", {})
    assert path.stat().st_size > 1e6 and [p.name for p in tmp_path.iterdir()] == ["a.html"]


def self_test(path, folder):
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1200,900",
               f"--user-data-dir={folder}", "--dump-dom", f"{path.as_uri()}#selftest"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found = re.search(r'<pre id="selftest">(.*?)</pre>', done.stdout, re.S)
    assert found, done.stderr[-2000:]
    return json.loads(found[1]), done.stdout


@pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome here to open the page with")
def test_the_page_tries_itself_in_a_browser(pictures, table, tmp_path):
    table.loc[0, "label"] = HOSTILE
    path = write_report(tmp_path / "a.html", *pictures, table, HOSTILE, {"Place": "drawn"})
    found, dom = self_test(path, tmp_path / "profile")
    assert found["passed"] and found["rows"] == 5, found
    assert {"pictures", "network", "swipe", "filter change", "row 4", "box 4"} < set(found["checks"])
    assert '<img src="x"' not in dom and dom.count('class="way"') == 2
    empty = write_report(tmp_path / "b.html", *pictures, table[:0], "Nothing", {})
    assert self_test(empty, tmp_path / "profile")[0]["passed"]
    page = path.read_text(encoding="utf-8")
    for good in (".off { display: none; }", "get(\"first\").style.clipPath ="):  # and it can fail
        assert page.count(good) == 1
        page = page.replace(good, ".off { }" if good.startswith(".") else "const unused =")
    path.write_text(page, encoding="utf-8")
    found = self_test(path, tmp_path / "profile")[0]
    broken = {name for name, fine in found["checks"].items() if not fine}
    assert broken == {"swipe", "filter change", "filter label"}


def test_nothing_changed(pictures, tmp_path):
    for nothing in (pd.DataFrame(), table_of()):
        assert list(pd.read_csv(write_table(tmp_path / "a.csv", nothing))) == list(COLUMNS)
        assert strict(write_geojson(tmp_path / "a.geojson", nothing))["features"] == []
        assert (annotate(pictures[0], nothing, "first") == pictures[0]).all()
        page = write_report(tmp_path / "a.html", *pictures, nothing, "Quiet", {}).read_text()
        assert "Nothing changed between the two times." in page


@pytest.mark.parametrize(
    "change, match",
    [
        ({"change": "stolen"}, "change 'stolen'"),
        ({"seen": "third"}, "seen 'third'"),
        ({"width": 0}, "a box"),
        ({"x": np.nan}, "a box"),
        ({"id": 2}, "an id twice"),
    ],
)
def test_bad_tables_are_said(table, pictures, change, match):
    for name, value in change.items():
        table[name] = value
    with pytest.raises(InputError, match=match):
        before_after_figure(*pictures, table)
    with pytest.raises(InputError, match="no column seen"):
        checked(table.drop(columns="seen"))


def test_bad_pictures_are_said(table, pictures):
    first, second = pictures
    for bad in (second[:-1], second.astype(float), second[..., 0]):
        with pytest.raises(InputError, match="second panorama"):
            before_after_figure(first, bad, table)
