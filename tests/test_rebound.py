"""Lesson 09: its model of demand, and what it makes of a ledger. The functions come from the lesson's own source."""

import math

import numpy as np
import pytest
import sample_course

from course_lib import ledger
from course_lib.classroom import build

NAMES = {"use", "by_small_steps", "energy_left", "rebound", "eaten_up", "yearly", "levers", "spent", "other_growth", "how_much",
         "apparent_elasticity", "seen_rebound", "YEARS", "computing", "energy", "per_unit", "bill", "best_label", "LABELS",
         "LESSONS", "BUDGET", "HOURS", "SCREEN"}


@pytest.fixture
def lesson(script):
    return script("record").recipe("09_rebound", NAMES)


@pytest.mark.parametrize("elasticity", [0, 0.3, 1, 1.7])
@pytest.mark.parametrize("price", [0.02, 0.5, 1, 3])
def test_many_small_steps_make_the_formula(lesson, price, elasticity):
    assert lesson["use"](price, elasticity) == pytest.approx(lesson["by_small_steps"](price, elasticity), rel=1e-2)


@pytest.mark.parametrize(("saving", "elasticity", "left"), [(0.5, 0, 0.5), (0.5, 0.5, 0.7071), (0.97, 1, 1), (0.75, 1.5, 2)])
def test_what_is_left_of_the_energy(lesson, saving, elasticity, left):
    assert lesson["energy_left"](saving, elasticity) == pytest.approx(left, rel=1e-4)
    assert lesson["rebound"](saving, elasticity) == pytest.approx((left - (1 - saving)) / saving, rel=1e-3, abs=1e-9)


def test_only_the_share_of_the_price_that_falls_counts(lesson):
    assert lesson["energy_left"](0.5, 2, share=0) == 0.5
    assert lesson["energy_left"](0.001, 2, share=0.1) == pytest.approx(1 - 0.001 + 0.001 * 0.2, rel=1e-6)
    assert np.all(np.diff([lesson["energy_left"](0.6, 1.5, w) for w in (0, 0.2, 0.6, 1)]) > 0)


@pytest.mark.parametrize("saving", [0.2, 0.5, 1 - 1 / 33])
def test_the_growth_that_eats_a_saving_up(lesson, saving):
    assert (1 - saving) * (1 + lesson["eaten_up"](saving)) == pytest.approx(1)


def test_wrong_input_gets_one_sentence(lesson):
    for wrong in (-0.5, math.nan, np.array([0.5, -0.1])):
        with pytest.raises(ValueError, match="written without its minus sign here, so give 0 or more"):
            lesson["use"](0.5, wrong)
    for wrong in (33, 1, -0.1, math.nan):
        with pytest.raises(ValueError, match="give the share that is saved, from 0 to below 1"):
            lesson["energy_left"](wrong, 0.5)
    for wrong in (-0.1, 1.5, 50, math.nan):
        with pytest.raises(ValueError, match="give the part of the price that falls, from 0 to 1"):
            lesson["energy_left"](0.9, 0.5, share=wrong)
        with pytest.raises(ValueError, match="give the part of the price that falls, from 0 to 1"):
            lesson["levers"](0.9, 0.5, share=wrong, tax=1, cap=1, needed=1)
    with pytest.raises(ValueError, match="saving is 0: where nothing is saved there is no rebound"):
        lesson["rebound"](0, 0.5)


def test_backfire_begins_where_share_times_elasticity_is_one_and_later_for_a_large_saving(lesson):
    for share, elasticity in ((1, 0.7), (0.1, 2), (0.5, 2), (0.5, 3)):
        assert lesson["rebound"](1e-6, elasticity, share) == pytest.approx(share * elasticity, rel=1e-4)
    assert lesson["rebound"](0.01, 2.2, 0.5) > 1 > lesson["rebound"](0.8, 2.2, 0.5)


@pytest.mark.parametrize(("elasticities", "word"), [((0.1, 1.2), "loosely stated"), ((0.6, 0.9), "supported"),
                                                    ((0.1, 0.3), "contested"), ((0.59, 1), "supported"),
                                                    ((0.58, 1), "loosely stated"), ((0.59, 1.01), "loosely stated")])
def test_the_verdict_on_the_rebound_follows_from_the_range_that_is_held_possible(lesson, elasticities, word):
    assert lesson["how_much"](*(float(lesson["rebound"](0.5, e)) for e in elasticities)) == word


@pytest.mark.parametrize(("share", "tokens", "fall"), [(0.001, 40, 33), (0.1, 40, 33), (0.3, 2, 10)])
def test_the_growth_of_other_work_put_back_makes_the_sum(lesson, share, tokens, fall):
    lesson["grown"] = 1.27
    other = lesson["other_growth"](share, tokens, fall)
    assert share * tokens / fall + (1 - share) * other == pytest.approx(1.27)


def test_energy_that_stands_still_is_no_rebound_or_a_full_one(lesson):
    lesson["energy"], lesson["per_unit"] = 1, lesson["computing"]
    own = lesson["computing"] ** (1 / lesson["YEARS"]) - 1
    assert lesson["seen_rebound"](0) == pytest.approx(1) and lesson["apparent_elasticity"](0) == pytest.approx(1)
    assert lesson["seen_rebound"](own) == pytest.approx(0) and lesson["apparent_elasticity"](own) == pytest.approx(0)


def test_the_bill_of_a_course(lesson):
    one = lesson["bill"](1, 10, hours=8, screen=20, seconds=3600)
    assert one == {"computing in the lessons": pytest.approx(0.01), "the computer, while you read": pytest.approx(0.16)}
    assert lesson["bill"](1000, 10, hours=8)["the computer, while you read"] == pytest.approx(160)


def test_the_hours_of_the_course_are_those_that_its_lessons_state(lesson):
    sources = (sample_course.ROOT / "notebooks" / "source").glob("[0-9][0-9]_*.py")
    minutes = [build.parse(path).metadata["course"]["minutes"] for path in sources]
    assert len(minutes) == lesson["LESSONS"] and round(sum(minutes) / 60) == lesson["HOURS"]


@pytest.mark.parametrize(("hours", "screen", "reached"), [(1, 6, True), (1, 20, False), (9, 1, False)])
def test_the_folded_answer_says_when_computing_is_a_tenth(lesson, hours, screen, reached):
    seconds = lesson["LESSONS"] * lesson["BUDGET"]
    computing, reading = lesson["bill"](1, 4, hours, screen).values()
    assert seconds == 660 and 9 * computing * 1000 == pytest.approx(6.6)
    assert (computing >= 0.1 * (computing + reading)) == reached


def test_labels_are_not_mixed_for_the_watts(lesson):
    both = {"modelled": (3, 2.0, 8.0), "measured": (1, 0.5, 90.0)}
    assert lesson["best_label"](both) == "measured"
    assert lesson["best_label"](both | {"measured": (1, 0.5, 0.0)}) == "modelled", "no joules: nothing is known"
    assert lesson["best_label"](both | {"measured": (1, 0, 90.0)}) == "modelled", "no CPU time: no watts"
    assert lesson["best_label"]({"no label": (1, 1.0, 1.0)}) is None and lesson["best_label"]({}) is None


def test_growth_is_brought_to_a_year_in_the_exponent(lesson):
    assert lesson["yearly"](2, 1) == 4096 and lesson["yearly"](9, 24) == pytest.approx(3)


def test_levers_keep_their_promises(lesson):
    found = lesson["levers"](saving=0.5, elasticity=1.2, share=0.4, tax=1, cap=0.8, needed=0.7)
    queries = {name: n for name, (n, _) in found.items()}
    assert queries["efficiency, price on energy"] == pytest.approx(1), "the query costs what it cost"
    assert found["efficiency, cap"][1] <= 0.8 and queries["efficiency, cap"] <= queries["efficiency alone"]
    assert queries["efficiency, needs"] == pytest.approx(0.7 * queries["efficiency alone"])
    assert found["needs alone"] == (0.7, 0.7)
    tight = lesson["levers"](saving=0.5, elasticity=1.2, share=1, tax=1, cap=0.3, needed=0.7)["efficiency, cap"]
    assert tight == (pytest.approx(0.6), pytest.approx(0.3))


@pytest.fixture
def book(tmp_path, monkeypatch):
    file = tmp_path / "ledger.jsonl"
    monkeypatch.setenv("COURSE_LEDGER", str(file))
    return file


def test_an_empty_ledger_has_spent_nothing(lesson, book):
    assert lesson["spent"](ledger.read()) == {}


def test_a_ledger_is_added_up_by_label_with_all_calls(lesson, book):
    for label, calls, cpu, joules in (("measured", 10, 0.2, 3.0), ("modelled", 5, 1.0, 4.0), ("modelled", 1, 0.5, None)):
        ledger.append("reading", label=label, calls=calls, cpu_seconds=cpu, joules=joules)
    ledger.append("verdict", claim="A1", word="supported")
    assert lesson["spent"](ledger.read()) == {"measured": (1, 2.0, 30.0), "modelled": (2, 5.5, 20.0)}


def test_a_damaged_ledger_stops_nothing(lesson, book):
    ledger.append("reading", label=["a"], calls="many", cpu_seconds=1.0)
    ledger.append("reading")
    book.write_text(book.read_text() + "{broken\n")
    assert lesson["spent"](ledger.read()) == {"['a']": (1, 0, 0), "no label": (1, 0, 0)}
