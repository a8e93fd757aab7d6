"""The energy label: refuses what was not measured, shows every joule with its label, and stays a picture that can be read."""

import io
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from matplotlib import image

from course_lib.facts import fact
from course_lib.label import ROOM, EnergyLabel, Quality
from course_lib.provenance import Component, Provenance, nothing
from course_lib.readings import Measurement, Reading
from course_lib.stats import share_interval

SVG = "{http://www.w3.org/2000/svg}"


def part(joules, provenance, name="CPU"):
    return Component(name, joules, provenance, "a test", "the whole chip", "a made-up reading")


def reading(*parts, calls=1):
    return Reading("run", 2.0, 1.9, parts, calls)


def measurement(provenance=Provenance.MEASURED, joules=(9.0, 10.0, 11.0), calls=5):
    runs = tuple(reading(part(j, provenance), calls=calls) for j in joules)
    return Measurement("run", len(runs), calls, True, 0.05, "joules", 2.0, 0.5, runs)


def label(**changes):
    given = {"task": "Digits from a dark scanner", "quality": Quality.of([True] * 90 + [False] * 10), "query": measurement(),
             "training": reading(part(120.0, Provenance.MEASURED)), "boundary": "the reader's own work, no network", "batch": 10,
             "counts": {"FLOPs for a query": 25_536, "parameters": 13_556, "bytes of weights": 54_224},
             "hardware": "a chip, 2 cores", "day": date(2026, 11, 26)}
    return EnergyLabel(**given | changes)


def words(svg):
    return " ".join("".join(t.itertext()).strip() for t in ET.fromstring(svg).iter(f"{SVG}text"))


# ---- what it says


def test_a_query_is_a_share_of_a_batch_and_carries_label_share_and_interval():
    blocks = {head: (large, small) for head, large, small in label().blocks()}
    large, small = blocks["Energy of a query, in batches of 10"]
    assert large == "200 mJ, measured"  # 30 J, three windows of 5 calls, each of 10 queries
    low, high = (float(x) for x in re.findall(r"interval (\d+) mJ to (\d+) mJ", small[0])[0])
    assert low < 200 < high and "100 % of it measured" in small[0] and "the whole chip" in small[1]
    large, small = blocks["Energy of the training"]
    assert large == "120 J, measured" and "one run: no interval" in small[0]


def test_the_weakest_part_names_the_label_and_the_share_is_said():
    mixed = reading(part(30.0, Provenance.MEASURED), part(10.0, Provenance.ASSUMED, "RAM"))
    large, small = next(b[1:] for b in label(training=mixed).blocks() if b[0] == "Energy of the training")
    assert large == "40 J, assumed" and "75 % of it measured" in small[0]
    assert "CPU: a made-up reading" in small[1] and "RAM: a made-up reading" in small[1]


@pytest.mark.parametrize("provenance", [Provenance.ASSUMED, Provenance.MODELLED, Provenance.SAMPLED, Provenance.MEASURED])
def test_counts_come_first_where_no_sensor_was_read(provenance):
    heads = [head for head, *_ in label(query=measurement(provenance)).blocks()]
    first = heads.index("Counted") < heads.index("Energy of a query, in batches of 10")
    assert heads[0] == "Quality" and first == (provenance < Provenance.SAMPLED)


def test_no_joule_stands_without_its_label():
    for provenance in (Provenance.ASSUMED, Provenance.MODELLED, Provenance.SAMPLED, Provenance.MEASURED):
        made = label(query=measurement(provenance), training=reading(part(7.0, provenance)))
        for _, large, small in made.blocks():
            assert not re.search(r"\d [pnµmkM]?J\b", large) or large.endswith(f", {provenance.name.lower()}")
            for line in small:  # an interval stands under its joules, with the share that was measured
                assert not re.search(r"\d [pnµmkM]?J\b", line) or "measured" in line


def test_everything_asked_for_is_in_words_svg_and_description():
    made = label(grid=fact("grid_france"))
    root = ET.fromstring(made.svg())
    told, shown = root.find(f"{SVG}desc").text, words(made.svg())
    assert root.find(f"{SVG}title").text == "Energy label: Digits from a dark scanner" and told == made.alt == str(made)
    for piece in ("Digits from a dark scanner", "90 % right answers", "100 test examples", "FLOPs for a query: 25,536",
                  "parameters: 13,556", "200 mJ, measured", "120 J, measured", "no network", "a chip, 2 cores", "2026-11-26",
                  "France", "2023", "56.039 gCO2e/kWh"):
        assert piece in told
        assert piece in shown.replace("  ", " ") or all(w in shown for w in piece.split())
    for rung in Provenance:
        assert rung.name.lower() in shown


def test_the_grid_is_chosen_or_it_is_said_that_none_was():
    assert "none chosen, so no grams" in label().alt and " g of CO2e" not in label().alt
    grams = 0.2 / 3.6e6 * 56.039
    assert f"{grams * 1e6:.3g} µg of CO2e for a query" in label(grid=fact("grid_france")).alt


def test_no_class_from_a_to_g():
    assert not re.search(r"\bclass\b|\b[A-G]\b(?! *6)", label().alt.replace("CPU", "").replace("FLOPs", ""))


def test_this_machine_and_today_unless_given():
    made = label(hardware="", day=None)
    assert made.day == date.today() and "cores" in made.hardware and len(made.hardware) <= ROOM["hardware"]


# ---- quality


def test_quality_from_answers():
    q = Quality.of([True] * 90 + [False] * 10)
    assert (q.value, q.examples, q.unit) == (90.0, 100, "%")
    assert (q.low, q.high) == pytest.approx((82.56, 94.48), abs=0.01)  # Wilson, as in statsmodels' proportion_confint
    for k, n in ((0, 7), (7, 7), (1, 1), (1, 3)):
        p, low, high = share_interval(k, n)
        assert 0 <= low <= p == k / n <= high <= 1 and low < high


def test_wilson_covers_as_it_says():
    rng = np.random.default_rng(0)
    held = [low <= 0.9 <= high for _, low, high in (share_interval(int(k), 360) for k in rng.binomial(360, 0.9, 4000))]
    assert 0.93 < np.mean(held) < 0.97


@pytest.mark.parametrize("changes, said", [
    ({"low": 95.0}, "from 95.0 over 90.0 to 94.0"), ({"value": float("nan")}, "nan"), ({"high": None}, "None"),
    ({"high": float("inf")}, "inf"), ({"examples": 0}, "examples is 0"), ({"examples": 3.5}, "examples is 3.5"),
    ({"value": True}, "True"), ({"low": "80"}, "'80'")])
def test_a_quality_that_is_none(changes, said):
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        Quality(**{"name": "right", "value": 90.0, "low": 80.0, "high": 94.0, "examples": 9, "spread": "five seeds"} | changes)
    assert "\n" not in str(caught.value)


def test_no_answers_no_quality():
    with pytest.raises(ValueError, match="0 examples"):
        Quality.of([])


# ---- bad input: one sentence that names the value and the way out

NONE = reading(nothing("no counter is here"))
BAD = {
    "nothing was read": ({"query": NONE}, "query holds no joules.*no counter is here.*needs a run that was measured"),
    "nothing of the training": ({"training": NONE}, "training holds no joules.*needs a run that was measured"),
    "no window was read": ({"query": Measurement("run", 1, 1, False, 0.05, "cpu_seconds", 1.0, 1.0, (NONE,))}, "query holds no joules"),
    "no run": ({"query": None}, "query is None.*meter.measure"),
    "a bare joule": ({"training": 12.5}, "training is 12.5.*reading of a meter.block"),
    "zero joules": ({"query": reading(part(0.0, Provenance.SAMPLED))}, "query holds no joules.*needs a run"),
    "no quality": ({"quality": None}, "quality is None.*joules alone say nothing"),
    "a bare quality": ({"quality": 0.93}, "quality is 0.93.*give a Quality"),
    "no count": ({"counts": {}}, "counts is {}.*FLOPs, parameters, bytes"),
    "a count of nothing": ({"counts": {"FLOPs": 0}}, "'FLOPs': 0.*above 0"),
    "a bare grid": ({"grid": 56.0}, r"grid is 56.0.*fact\('grid_france'\)"),
    "an undated grid": ({"grid": replace(fact("grid_france"), year=None)}, "named and dated"),
    "a batch of none": ({"batch": 0}, "batch is 0"),
    "a long task": ({"task": "x" * 61}, "task has 61 characters and there is room for 60"),
    "a long boundary": ({"boundary": "y" * 111}, "boundary has 111 characters"),
    "long hardware": ({"hardware": "z" * 111}, "hardware has 111 characters"),
    "no task": ({"task": "  "}, "task is '  '"),
    "a task that is no text": ({"task": 3}, "task is 3"),
    "what XML cannot hold": ({"task": "a\x00b"}, "task is 'a.*printable"),
}


@pytest.mark.parametrize("changes, said", BAD.values(), ids=list(BAD))
def test_bad_input(changes, said):
    with pytest.raises(ValueError, match=said) as caught:
        label(**changes)
    assert "\n" not in str(caught.value)


def test_too_many_words_for_the_sheet():
    full = label(task="W" * 60, boundary="W" * 110, hardware="W" * 110, counts={f"count number {i}": 1 for i in range(6)})
    with pytest.raises(ValueError, match="more than A6 has room for: shorten"):
        full.figure()


# ---- pictures

HOSTILE = '<script>alert("1")</script> & $x_1$ ]]> &amp;'


def test_markup_in_names_is_text():
    made = label(task=HOSTILE, boundary=HOSTILE, hardware=HOSTILE)
    svg = made.svg()
    root = ET.fromstring(svg)
    assert {e.tag for e in root.iter()} & {f"{SVG}script"} == set() and "<script" not in svg
    assert root.find(f"{SVG}title").text == f"Energy label: {HOSTILE}"
    assert "$x_1$" in words(svg)  # no formula is made of it


def test_the_svg_is_vector_with_text_and_of_a6():
    root = ET.fromstring(label().svg())
    assert root.get("width") == "297.637795pt" and root.get("height") == "419.527559pt" and root.get("role") == "img"
    assert not list(root.iter(f"{SVG}image")) and len(list(root.iter(f"{SVG}text"))) > 15
    sizes = [float(s) for s in re.findall(r"font(?:-size)?: (?:\w+ )?([\d.]+)px", label().svg())]
    assert len(sizes) > 15 and min(sizes) * 360 / 297.6 > 10  # ten pixels on a screen that is 360 wide
    assert label().svg() == label().svg()


def pixels(made, dpi=100):
    return image.imread(io.BytesIO(made.png(dpi)))[..., :3]


def test_the_png_is_black_on_white_and_of_the_size_for_print():
    dots = pixels(label(), 300)
    assert dots.shape[:2] == (1748, 1240)
    assert np.ptp(dots, axis=-1).max() == 0  # grey is all there is
    dark = (dots < 0.5).mean()
    assert 0.03 < dark < 0.3


@pytest.mark.parametrize("made", [label(), label(grid=fact("grid_france"), task="W" * 60),
                                  label(query=measurement(Provenance.MODELLED), boundary="m" * 110)])
def test_nothing_runs_over_the_edge(made):
    dots = pixels(made)
    assert (dots[35:, :12] > 0.9).all() and (dots[35:, -12:] > 0.9).all() and (dots[-6:] > 0.9).all()


def test_the_rung_that_was_reached_can_be_told_without_colour():
    """The reached rung is black, the others white: the same picture in grey, and the words beside it say it again."""
    first, second = (pixels(label(query=measurement(p))) for p in (Provenance.SAMPLED, Provenance.MEASURED))
    assert np.abs(first - second).max() > 0.9


def test_save_and_show(tmp_path, monkeypatch):
    made, shown = label(), []
    files = made.save(tmp_path / "mine.v2")
    assert [f.name for f in files] == ["mine.v2.svg", "mine.v2.png"]
    ET.fromstring(files[0].read_text(encoding="utf-8"))
    assert files[1].read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr("IPython.display.display", lambda data, **how: shown.append((data, how)))
    made._ipython_display_()
    (picture, how), (text, _) = shown
    assert picture["text/plain"] == f"Figure: {made.alt}" and how["metadata"]["image/png"]["alt"] == made.alt
    assert "90 % right answers" in text["text/html"]
