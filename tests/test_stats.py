"""Intervals and verdicts: exact values, symmetry, and 10,000 simulated comparisons from recorded windows."""

from __future__ import annotations

from numbers import Integral
from pathlib import Path

import numpy as np
import pytest

from course_lib.energy import CPU_WINDOW, SLICES
from course_lib.stats import (
    A_LOWER,
    B_LOWER,
    SAME,
    Comparison,
    mean_interval,
    ratio_interval,
    real,
    si,
    t_quantile,
    verdict,
)

RECORDED = Path(__file__).parent / "data" / "windows.csv"
PAIRS = 8


def recorded(column: str) -> np.ndarray:
    """One value per slice: `SLICES` rows are one window of about `CPU_WINDOW` seconds."""
    names = RECORDED.read_text().splitlines()[1].split(",")
    return np.loadtxt(RECORDED, delimiter=",", skiprows=2)[:, names.index(column)]


def simulate(values, n: int, effect: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`n` comparisons of two sides, a costing `effect` times b: [n, PAIRS] twice.

    Drift: the running median of a random stretch of the record. Noise and outliers: what is left of the
    record after that, drawn in runs of one window (SLICES rows in a row) from anywhere. The slices go to
    the sides in the order in which `Meter.compare` runs them.
    """
    rng, logs = np.random.default_rng(seed), np.log(values)
    length, reach = 2 * PAIRS * SLICES, 4 * SLICES
    padded = np.pad(logs, reach, mode="edge")
    drift = np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1), axis=-1)
    noise = logs - drift
    starts = rng.integers(0, len(logs) - length + 1, n)
    runs = rng.integers(0, len(logs) - SLICES + 1, (n, length // SLICES))
    rows = drift[starts[:, None] + np.arange(length)]
    rows = rows + noise[(runs[:, :, None] + np.arange(SLICES)).reshape(n, length)]
    couples = np.exp(rows).reshape(n, PAIRS, SLICES, 2)
    swapped = (np.arange(SLICES) + np.arange(PAIRS)[:, None]) % 2 == 1
    first, second = couples[..., 0], couples[..., 1]
    return (effect * np.where(swapped, second, first)).sum(-1), np.where(swapped, first, second).sum(-1)


def rates(values, effect, seed=0, n=10_000) -> dict[str, float]:
    _, low, high = ratio_interval(*simulate(values, n, effect, seed))
    words = verdict(low, high, 0.05)
    return {word: float((words == word).mean()) for word in (A_LOWER, B_LOWER, SAME)}


def test_record_is_what_it_says():
    head = RECORDED.read_text().splitlines()[0]
    assert "under load" in head and f"{SLICES} slices" in head
    assert len(recorded("seconds")) >= 200 * SLICES
    assert CPU_WINDOW / 4 < SLICES * recorded("seconds").mean() < 4 * CPU_WINDOW


@pytest.mark.parametrize("column", ["cpu_seconds", "seconds"])
def test_same_code_on_both_sides_is_told_apart_in_at_most_1_percent(column):
    found = rates(recorded(column), 1.0)
    assert found[A_LOWER] + found[B_LOWER] <= 0.01, found


@pytest.mark.parametrize(("effect", "right"), [(0.9, A_LOWER), (1.1, B_LOWER)])
def test_a_true_10_percent_is_found_in_80_percent(effect, right):
    found = rates(recorded("cpu_seconds"), effect)
    assert found[right] >= 0.80, found
    assert found[{A_LOWER: B_LOWER, B_LOWER: A_LOWER}[right]] <= 0.001


def test_simulation_can_fail():
    """A verdict that only asked whether the interval leaves 1 out would be wrong more often than 1 %."""
    _, low, high = ratio_interval(*simulate(recorded("cpu_seconds"), 10_000, 1.0, 0))
    assert ((low > 1) | (high < 1)).mean() > 0.01


def test_interval_covers_the_truth():
    x = np.random.default_rng(0).normal(10, 2, (20_000, 6))
    mean, half = mean_interval(x)
    assert np.mean(np.abs(mean - 10) <= half) == pytest.approx(0.95, abs=0.01)


def test_ratio_interval_covers_the_truth():
    rng = np.random.default_rng(1)
    a, b = np.exp(rng.normal(np.log(0.8), 0.05, (20_000, 8))), np.exp(rng.normal(0, 0.05, (20_000, 8)))
    ratio, low, high = ratio_interval(a, b)
    assert np.median(ratio) == pytest.approx(0.8, rel=0.01)
    assert np.mean((low <= 0.8) & (high >= 0.8)) == pytest.approx(0.95, abs=0.015)


def test_known_values():
    assert t_quantile(9) == pytest.approx(2.262, abs=5e-4)
    mean, half = mean_interval([1.0, 2.0, 3.0])
    assert (float(mean), float(half)) == pytest.approx((2.0, 2.4841), abs=1e-4)
    assert mean_interval([5.0])[1] == np.inf
    ratio, low, high = map(float, ratio_interval([2.0, 2.0, 2.0], [1.0, 1.0, 1.0]))
    assert (ratio, low, high) == pytest.approx((2, 2, 2))


def test_one_disturbed_window_does_not_decide():
    a = np.array([1.00, 1.01, 0.99, 1.0, 1.02, 0.98, 1.0, 1.0])
    wild = a.copy()
    wild[3] = 9.0
    calm, upset = ratio_interval(0.8 * a, np.ones(8)), ratio_interval(0.8 * wild, np.ones(8))
    assert float(upset[0]) == pytest.approx(float(calm[0]), rel=0.01)
    assert verdict(upset[1], upset[2], 0.05) == A_LOWER


def test_swapping_the_sides_inverts_the_answer():
    rng = np.random.default_rng(2)
    a, b = rng.uniform(1, 2, 8), rng.uniform(1, 2, 8)
    one, two = map(np.array, (ratio_interval(a, b), ratio_interval(b, a)))
    assert one == pytest.approx(1 / two[[0, 2, 1]])


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan])
def test_values_without_a_logarithm_say_nothing(bad):
    ratio, low, high = ratio_interval([1.0, bad, 1.0], [1.0, 1.0, 1.0])
    assert np.isnan(ratio) and low == 0 and high == np.inf
    assert verdict(low, high, 0.05) == SAME


@pytest.mark.parametrize(("low", "high", "word"), [
    (0.90, 0.949, A_LOWER), (0.90, 0.96, SAME), (0.97, 0.99, SAME), (1.04, 1.2, SAME), (1.051, 1.2, B_LOWER)])
def test_verdict_needs_the_whole_interval_beyond_the_margin(low, high, word):
    assert verdict(low, high, 0.05) == word


@pytest.mark.parametrize(("value", "text"), [
    (0.0456, "45.6 mJ"), (0, "0 J"), (1.234, "1.23 J"), (999.9, "1 kJ"), (1234, "1.23 kJ"), (-0.5, "-500 mJ"),
    (1e-7, "100 nJ"), (4.633e12, "4.63 TJ"), (float("nan"), "no J"), (None, "no J"), (29.98, "30 J")])
def test_three_digits_and_a_prefix(value, text):
    assert si(value, "J") == text


@pytest.mark.parametrize("good", [1, 0.5, np.float32(2), np.int64(3)])
def test_a_number_is_a_number(good):
    assert real(good) == good


@pytest.mark.parametrize("bad", [None, "1", [1], (1,), {}, True, 1j, np.ones(1), object()])
def test_what_is_no_number_lies_in_no_range(bad):
    assert not real(bad) <= 1e9 and not real(bad) >= -1e9


def test_a_whole_number_is_asked_for():
    assert real(5, Integral) == 5 and np.isnan(real(5.0, Integral))


def test_comparison_names_its_quantity_and_verdict():
    text = str(Comparison(0.8, 0.78, 0.82, A_LOWER, "cpu_seconds", 8, 40, 0.05, ("small", "large")))
    assert "small lower" in text and "0.800" in text and "cpu_seconds" in text and "0.780 to 0.820" in text
    assert "not distinguishable" in str(Comparison(1, 0.9, 1.1, SAME, "joules", 8))
    assert "<b>" in Comparison(1, 0.9, 1.1, SAME, "joules", 8, names=("<i>", "b"))._repr_html_()
    assert "<i>" not in Comparison(1, 0.9, 1.1, SAME, "joules", 8, names=("<i>", "b"))._repr_html_()
