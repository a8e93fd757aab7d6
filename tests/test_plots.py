"""The figure rules: a question, labelled axes, words, and looks that hold in grey."""

import base64
import itertools

import pytest

from course_lib import plots

WORDS = "Two lines that rise from left to right, one steeper than the other."


def drawn():
    fig, ax = plots.figure("Does it grow?", "size (bytes)", "energy (J, modelled)")
    plots.lines(ax, [1, 2, 3], {"one": [1, 2, 3], "two": [2, 4, 6]}, spread={"one": [0.1, 0.2, 0.3]})
    return fig, ax


def test_a_good_figure_has_nothing_against_it():
    fig, _ = drawn()
    assert plots.problems(fig, WORDS) == []


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda fig, ax: ax.set_title("Growth", loc="left"), "asks no question"),
        (lambda fig, ax: ax.set_xlabel(""), "x axis has no label"),
        (lambda fig, ax: ax.set_ylabel(""), "y axis has no label"),
    ],
)
def test_a_figure_that_breaks_a_rule_is_refused(spoil, said):
    fig, ax = drawn()
    spoil(fig, ax)
    with pytest.raises(ValueError, match=said):
        plots.bundle(fig, WORDS)


@pytest.mark.parametrize("alt", ["", None, "A plot."])
def test_a_figure_without_words_is_refused(alt):
    fig, _ = drawn()
    with pytest.raises(ValueError, match="alt text"):
        plots.bundle(fig, alt)


def test_the_bundle_carries_the_picture_and_its_words():
    data, metadata = plots.bundle(drawn()[0], WORDS)
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert WORDS in data["text/plain"]
    assert metadata["image/png"]["alt"] == WORDS


def test_the_same_figure_gives_the_same_bytes():
    assert plots.png(drawn()[0]) == plots.png(drawn()[0])


def test_neighbouring_series_differ_in_more_than_colour():
    for i in range(7):
        here, after = plots.series(i), plots.series(i + 1)
        assert here["color"] != after["color"]
        assert here["linestyle"] != after["linestyle"] and here["marker"] != after["marker"]
        assert plots.HATCHES[i] != plots.HATCHES[i + 1]


def test_the_first_four_colours_hold_apart_in_grey():
    def grey(colour):
        r, g, b = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
        return 0.299 * r + 0.587 * g + 0.114 * b

    greys = sorted(grey(c) for c in plots.OKABE_ITO[:4])
    # Line style, marker and hatch carry the difference where two greys come close; no two are the same.
    assert all(b - a > 5 for a, b in itertools.pairwise(greys))


def test_bars_take_groups_and_error_bars():
    fig, ax = plots.figure("Which is more?", "phase", "energy (J, modelled)")
    plots.bars(ax, ["a", "b"], {"x": [1, 2], "y": [3, 1]}, spread={"x": [0.1, 0.2], "y": ([2, 0.5], [4, 1.5])})
    assert len(ax.patches) == 4
    assert len({p.get_hatch() for p in ax.patches}) == 2
    assert plots.problems(fig, WORDS) == []


def test_figures_are_not_kept_by_pyplot():
    import sys

    drawn()
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()
