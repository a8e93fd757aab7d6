"""Predictions never block "Run all"; explorers answer at once and leave a static twin."""

import math
import statistics
import sys

import pytest

from course_lib import ledger, plots
from course_lib.widgets import choice, explore, predict, slider

VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(autouse=True)
def throw_away_ledger(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_LEDGER", str(tmp_path / "book.jsonl"))


def draw(n, kind="a"):
    fig, ax = plots.figure("Does it grow?", "size", "energy (J, modelled)")
    plots.lines(ax, [1, 2, 3], {kind: [n, n + 1, n + 2]})
    return fig


def words(n, kind="a"):
    return f"One line named {kind} that begins at {n} and rises."


def test_a_skipped_prediction_uses_the_stated_guess(capsys):
    p = predict("k", "How many?", low=1, high=1000, guess=30, unit="queries")
    assert p.value == 30 and not p.answered
    p.reveal(300)
    said = capsys.readouterr().out
    assert "No prediction was made; the stated guess was 30 queries." in said
    assert "10 times too low" in " ".join(said.split())
    (entry,) = ledger.read()
    assert (entry["predicted"], entry["actual"], entry["answered"]) == (30, 300, False)


def test_a_prediction_that_was_made_is_fixed_by_the_reveal(capsys):
    p = predict("k", "Which?", options=["lower", "higher"], guess="lower")
    p._control.value = "higher"
    assert p.answered
    p.reveal("higher")
    assert 'You said "higher".' in capsys.readouterr().out
    assert p._control.disabled and p._button.disabled


def test_a_second_reveal_does_not_make_the_guess_an_answer(capsys):
    p = predict("k", "How many?", low=1, high=1000, guess=30)
    p.reveal(300)
    p.reveal(400)
    said = capsys.readouterr().out
    assert said.count("No prediction was made") == 2 and "You said" not in said
    assert [(e["answered"], e["actual"]) for e in ledger.read()] == [(False, 300), (False, 400)]
    assert not p.answered


def test_a_second_reveal_keeps_an_answer(capsys):
    p = predict("k", "Which?", options=["lower", "higher"], guess="lower")
    p._button.click()
    p.reveal("higher")
    p.reveal("lower")
    assert capsys.readouterr().out.count('You said "lower".') == 2
    assert [e["answered"] for e in ledger.read()] == [True, True]


@pytest.mark.parametrize("make", [
    lambda: slider(0, 1, 0), lambda: choice(["a"]), lambda: predict("k", "?", options=["a"], guess="a"),
    lambda: predict("k", "?", low=0, high=2, guess=1), lambda: explore(draw, alt=words, n=None)])
def test_without_ipywidgets_one_sentence_says_what_to_do(monkeypatch, make):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(ImportError, match="`make lab`.*`pip install ipywidgets`") as error:
        make()
    assert error.value.__suppress_context__ and "\n" not in str(error.value)


def test_pressing_the_button_makes_the_guess_an_answer():
    p = predict("k", "Which?", options=["lower", "higher"], guess="lower")
    p._button.click()
    assert p.answered


@pytest.mark.parametrize(
    ("said", "actual", "words"),
    [(100, 105, "within 10 %"), (200, 100, "2 times too high"), (5, 5, "exact"), (0, 3, "gap is 3"), (-1, 2, "gap is 3")],
)
def test_the_gap_is_named(said, actual, words, capsys):
    predict("k", "?", low=-10, high=1000, guess=said).reveal(actual)
    assert words in capsys.readouterr().out


@pytest.mark.parametrize(
    "bad", [{}, {"low": 1, "high": 2}, {"low": 1, "high": 2, "guess": 3}, {"options": ["a"], "guess": "b"}]
)
def test_a_prediction_without_possible_answers_is_refused(bad):
    with pytest.raises(ValueError, match="'k'"):
        predict("k", "?", **bad)


def test_the_prediction_leaves_its_question_in_the_saved_notebook():
    data, _ = predict("k", "How many?", low=1, high=5, guess=2)._repr_mimebundle_()
    assert VIEW in data and "How many?" in data["text/plain"] and "2" in data["text/plain"]


def test_a_moved_slider_gives_a_new_figure_with_new_words():
    e = explore(draw, alt=words, n=slider(0, 10, 3, label="start"), kind=choice(["a", "b"], label="kind"))
    before = e._picture.value
    e.controls["n"].value = 7
    after = e._picture.value
    assert before != after and "begins at 7" in after and 'alt="One line' in after
    e.controls["kind"].value = "b"
    assert "named b" in e._picture.value


def test_the_explorer_has_a_static_twin_at_its_starting_values():
    e = explore(draw, alt=words, n=slider(0, 10, 3, label="start"))
    e.controls["n"].value = 9
    data, metadata = e._repr_mimebundle_()
    assert VIEW in data and "image/png" in data
    assert "begins at 3" in data["text/plain"] and "start: 3" in data["text/plain"]
    assert "begins at 3" in metadata["image/png"]["alt"]


def test_a_value_that_cannot_be_drawn_says_so_and_the_next_one_works():
    def fussy(n):
        if n == 4:
            raise ValueError("there is no figure for four")
        return draw(n)

    e = explore(fussy, alt=words, n=slider(0, 10, 3))
    e.controls["n"].value = 4
    assert "there is no figure for four" in e._picture.value
    e.controls["n"].value = 5
    assert "<img" in e._picture.value


def test_an_explorer_that_never_worked_fails_when_it_is_made():
    with pytest.raises(ValueError, match="question"):
        explore(lambda n: plots.figure("No question", "x", "y")[0], alt=words, n=slider(0, 1, 0))
    with pytest.raises(ValueError, match="at least one control"):
        explore(draw, alt=words)


def test_a_log_slider_spans_powers_of_ten():
    s = slider(1, 1e6, 1000, log=True)
    assert (s.min, s.max, s.value) == (0, 6, 1000)


def test_a_slider_in_powers_of_ten_can_stand_where_it_starts():
    """A browser moves the handle to the nearest step from the least value: it must not move a start of 1,287 to 1,260."""
    for low, high, value, step in ((1, 100_000, 1287, 0.05), (0.01, 10, 0.3, 0.01), (10, 1e7, 1000, None), (1e3, 1e9, 1e3, None)):
        s = slider(low, high, value, step, log=True)
        steps = (math.log10(value) - s.min) / s.step
        assert abs(steps - round(steps)) < 1e-6 and 0 <= s.min - math.log10(low) < s.step - 1e-9 and s.value == value


@pytest.mark.slow
def test_twenty_moves_draw_twenty_figures(record_property, capsys):
    e = explore(draw, alt=words, n=slider(0, 100, 3))
    for n in range(20, 40):
        e.controls["n"].value = n
    assert len(e.seconds) == 21
    median = statistics.median(e.seconds[1:])
    record_property("median_seconds_per_move", round(median, 3))
    with capsys.disabled():
        print(f"\nslider to new figure in the kernel: median of 20 moves {median:.3f} s")
