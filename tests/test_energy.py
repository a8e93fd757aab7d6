"""The meter: windows, repeats, comparisons, idle, carbon, and what it says to bad input."""

from __future__ import annotations

import re
import threading
from types import SimpleNamespace

import fakes
import numpy as np
import pytest

from course_lib import energy, ledger
from course_lib.energy import Component, Measurement, Meter, Provenance, Reading
from course_lib.provenance import nothing

LABELS = "measured|sampled|modelled|assumed|unknown|weakest label"
BARE_JOULE = re.compile(rf"\d\s*[pnµmkMGT]?J(?!\w)(?! per kWh)(?! \(({LABELS}))")


@pytest.fixture(autouse=True)
def no_sensor(monkeypatch):
    """A machine without counters; tests that want one install it on top."""
    fakes.bare(monkeypatch)
    yield
    monkeypatch.undo()
    fakes.forget()


@pytest.fixture
def counter(monkeypatch, tmp_path, clock):
    """A meter on one fake 30 W package whose time is `clock`."""
    tree = fakes.Powercap(tmp_path, clock=clock).install(monkeypatch)
    return SimpleNamespace(meter=Meter(), clock=clock, tree=tree)


def component(joules, level=Provenance.MODELLED, name="CPU"):
    return Component(name, joules, level, "a source", "a scope", "a reason")


def reading(*parts, seconds=1.0, calls=1):
    return Reading("r", seconds, seconds, parts, calls)


# -- readings -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("parts", [(), None, (1.5,)])
def test_reading_without_provenance_cannot_be_built(parts):
    with pytest.raises(ValueError, match="provenance"):
        Reading("r", 1.0, 1.0, parts)


@pytest.mark.parametrize("level", [None, "measured", 4])
def test_component_without_provenance_cannot_be_built(level):
    with pytest.raises(ValueError, match="give one of Provenance.MEASURED"):
        component(1.0, level)


def test_total_carries_its_weakest_label_and_the_measured_share():
    r = reading(component(30.0, Provenance.MEASURED), component(10.0, Provenance.ASSUMED, "RAM"))
    assert (r.joules, r.provenance, r.label, r.measured_share) == (40.0, Provenance.ASSUMED, "assumed", 0.75)
    assert "40 J (weakest label assumed, 75% measured) = CPU 30 J (measured: a reason) + RAM 10 J" in str(r)


def test_part_that_was_refused_is_named_and_not_added():
    r = reading(component(30.0, Provenance.MEASURED), nothing("it was reset", "GPU"))
    assert (r.joules, r.label) == (30.0, "measured")
    assert "GPU: no joules (none: it was reset)" in str(r)


def test_per_call_divides_everything():
    r = reading(component(30.0), seconds=6.0, calls=3).per_call()
    assert (r.joules, r.seconds, r.cpu_seconds, r.calls) == (10.0, 2.0, 2.0, 1)


def test_bare_joule_pattern_can_fail():
    assert BARE_JOULE.search("it took 3.1 J in all") and BARE_JOULE.search("45 mJ (about)")
    assert not BARE_JOULE.search("3.1 J (modelled: x)")


def test_no_text_shows_a_bare_joule(counter):
    one = reading(component(30.0, Provenance.MEASURED), component(10.0, Provenance.ASSUMED, "RAM"))
    with Meter(ram_watts=20).block("w") as block:
        counter.clock.sleep(1)
    idle = energy.Idle(20.0, 1.0, "fake", energy.time.monotonic())
    texts = [str(one), repr(one), str(reading(component(0.001))), str(reading(nothing("no"))), one.short,
             str(block.reading), repr(block.reading.carbon(50)), str(idle),
             idle.net(reading(component(21.0, Provenance.MEASURED))),
             idle.net(reading(component(91.0, Provenance.MEASURED))),
             str(counter.meter.measure(lambda: counter.clock.sleep(1)))]
    for text in texts:
        assert not BARE_JOULE.search(text), text


def test_html_names_labels_and_escapes():
    html = Reading("<b>", 1, 1, (component(3.0), nothing("a < b", "GPU")))._repr_html_()
    assert "modelled" in html and "none" in html and "<b>" not in html and "a &lt; b" in html


# -- blocks -------------------------------------------------------------------------------------------------

def test_block_reads_time_cpu_time_and_energy(counter):
    with counter.meter.block("train") as block:
        counter.clock.sleep(2)
    r = block.reading
    assert (r.name, r.seconds, r.cpu_seconds) == ("train", 2.0, 2.0)
    assert r.joules == pytest.approx(60, rel=1e-3)
    assert (r.provenance, r.notes) == (Provenance.MEASURED, ())


def test_nested_block_has_no_joules_and_the_outer_one_is_right(counter):
    with counter.meter.block("outer") as outer:
        counter.clock.sleep(1)
        with counter.meter.block("inner") as inner:
            counter.clock.sleep(1)
    assert inner.reading.seconds == 1.0 and inner.reading.joules is None
    assert "the window 'outer' was open at the same time" in str(inner.reading)
    assert outer.reading.joules == pytest.approx(60, rel=1e-3)


def test_block_in_another_thread_is_not_counted_twice(counter):
    found = []

    def other():
        with counter.meter.block("other") as block:
            pass
        found.append(block.reading)

    with counter.meter.block("main"):
        counter.clock.sleep(1)
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert found[0].joules is None and "main" in str(found[0])


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_block_whose_code_raises_keeps_its_reading(counter, error):
    with pytest.raises(error, match="stop here"), counter.meter.block("w") as block:
        counter.clock.sleep(1)
        raise error("stop here")
    assert block.reading.joules == pytest.approx(30, rel=1e-3)
    with counter.meter.block("next") as after:
        counter.clock.sleep(1)
    assert after.reading.joules == pytest.approx(30, rel=1e-3)


def test_ram_is_an_assumed_line_of_its_own(counter):
    meter = Meter(ram_watts=10)
    with meter.block("w") as block:
        counter.clock.sleep(2)
    ram = block.reading.components[-1]
    assert (ram.name, ram.joules, ram.provenance) == ("RAM", 20.0, Provenance.ASSUMED)
    assert block.reading.label == "assumed" and block.reading.measured_share == pytest.approx(0.75, abs=0.01)
    assert "10 W x the clock" in str(meter.sources) and "RAM of" not in str(counter.meter.sources)


def test_sources_is_a_table(counter):
    table = counter.meter.sources
    assert table.columns == ("component", "provenance", "source", "scope", "why", "how to do better here")
    assert "<table" in table._repr_html_() and "measured" in str(table)


def test_disturbance_is_noted(monkeypatch, clock):
    monkeypatch.setattr(energy, "busy_seconds", lambda: 2 * clock.now)  # two cores' worth, one of them ours
    monkeypatch.setattr(energy.os, "cpu_count", lambda: 2)
    with Meter().block("w") as block:
        clock.sleep(1)
    assert any("others used 50% of the machine" in note for note in block.reading.notes)


def test_cuda_is_synchronised_at_both_ends(monkeypatch):
    calls = []
    cuda = SimpleNamespace(synchronize=lambda: calls.append(1))
    monkeypatch.setattr(energy, "_cuda", lambda: cuda)
    with Meter().block("w"):
        assert len(calls) == 1
    assert len(calls) == 2


# -- repeats ------------------------------------------------------------------------------------------------

def test_measure_repeats_until_reached(counter):
    m = counter.meter.measure(lambda: counter.clock.sleep(0.3), rel=0.05)
    assert isinstance(m, Measurement) and m.reached and m.n == 5 and m.quantity == "joules"
    assert m.calls == 4  # four calls of 0.3 s fill a window of 1 s
    assert m.joules_per_call == pytest.approx(9, rel=1e-3) and m.seconds_per_call == pytest.approx(0.3)
    assert m.joules_interval == pytest.approx((9, 9), rel=1e-3) and m.provenance == Provenance.MEASURED
    assert "reached" in str(m) and "accuracy:" in str(m) and "±" not in str(m)
    assert "<table" in m._repr_html_()


def test_measure_says_that_it_did_not_get_there(counter):
    rng = np.random.default_rng(0)
    m = counter.meter.measure(lambda: counter.clock.sleep(rng.uniform(1, 5)), rel=0.01, max_n=6)
    assert not m.reached and m.n == 6 and "NOT reached" in str(m)
    assert m.seconds_interval[0] < m.seconds_per_call < m.seconds_interval[1]


def test_without_sensor_cpu_time_comes_first(clock):
    m = Meter().measure(lambda: clock.sleep(0.01), name="step")
    assert (m.quantity, m.mean) == ("cpu_seconds", pytest.approx(0.01))
    assert m.calls >= 20
    assert str(m).startswith("step: 10 ms of CPU time per call")
    assert "modelled joules are CPU time times a constant" in str(m)


def test_modelled_joules_take_the_interval_of_the_cpu_time():
    readings = tuple(Reading("r", 1.0, cpu, (component(joules),)) for cpu, joules in ((1.0, 4.0), (1.2, 5.0)))
    m = Measurement("r", 2, 1, True, 0.5, "cpu_seconds", 1.1, 0.11, readings)
    assert m.joules_interval == pytest.approx((4.05, 4.95))
    assert m.cpu_seconds_per_call == pytest.approx(1.1) and m.joules_per_call == pytest.approx(4.5)


def test_refused_windows_are_counted_not_hidden(counter):
    calls = []

    def fn():
        calls.append(1)
        counter.clock.sleep(1)
        if len(calls) == 5:
            counter.tree.set_counter(0)

    m = counter.meter.measure(fn)
    assert any("1 of 6 windows were refused" in note for note in m.notes)
    assert m.joules_interval is None and m.mean == pytest.approx(30, rel=1e-3)


def test_counters_that_always_refuse_leave_cpu_time(monkeypatch, tmp_path, clock):
    fakes.Powercap(tmp_path, watts=(0.0,), clock=clock).install(monkeypatch)
    m = Meter().measure(lambda: clock.sleep(1))
    assert m.quantity == "cpu_seconds" and not m.reached and m.joules_per_call is None
    assert any("went by CPU time" in note for note in m.notes)


def test_fast_function_is_grouped_and_too_fast_is_one_sentence(clock):
    assert Meter().measure(lambda: clock.sleep(2e-6)).calls == pytest.approx(100_000, rel=1e-3)
    with pytest.raises(ValueError, match=r"before the clock can see it: 1,000,000 calls .* put a loop"):
        Meter().measure(lambda: clock.sleep(5e-8))


def bad(match):
    return pytest.raises(ValueError, match=match)


@pytest.mark.parametrize("rel", [0, -0.1, 1.01, float("nan"), True, "5%", None, [1], 1j])
def test_rel_out_of_range(rel):
    with bad("rel is .*: give a share above 0 and up to 1"):
        Meter().measure(lambda: None, rel=rel)


def test_other_bad_input():
    meter = Meter()
    with bad("window is 0"):
        meter.measure(len, window=0)
    with bad("min_n is 1"):
        meter.measure(lambda: None, min_n=1)
    with bad("3 is not a function: pass one without arguments"):
        meter.measure(3)
    with bad("margin is 0"):
        meter.compare(len, len, margin=0)
    with bad("pairs is 1"):
        meter.compare(len, len, pairs=1)
    with bad("ram_watts is 0"):
        Meter(ram_watts=0)
    with bad("seconds is -1"):
        meter.idle(-1)


@pytest.mark.parametrize(("call", "words"), [
    (lambda m: m.measure(len, window="1"), "window is '1': give seconds"),
    (lambda m: m.measure(len, window=[1]), r"window is \[1\]: give seconds"),
    (lambda m: m.measure(len, min_n="5"), "min_n is '5' and max_n 20: give whole numbers"),
    (lambda m: m.measure(len, max_n=None), "min_n is 5 and max_n None: give whole numbers"),
    (lambda m: m.compare(len, len, margin=None), "margin is None: give a share"),
    (lambda m: m.compare(len, len, pairs="8"), "pairs is '8': give a whole number"),
    (lambda m: m.compare(len, len, window="1"), "window is '1': give seconds"),
    (lambda m: m.aa_control(len, n="3"), "n is '3': give a whole number"),
    (lambda m: m.idle(None), "seconds is None: give seconds"),
    (lambda m: Meter(ram_watts="x"), "ram_watts is 'x': give watts"),
    (lambda m: Meter(ram_watts=[1]), r"ram_watts is \[1\]: give watts")])
def test_a_wrong_type_gets_the_sentence_of_a_value_out_of_range(call, words):
    with bad(words) as error:
        call(Meter())
    assert "\n" not in str(error.value)


# -- the ledger ---------------------------------------------------------------------------------------------

@pytest.fixture
def book(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_LEDGER", str(tmp_path / "book.jsonl"))


FIELDS = {"parts", "machine", "name", "label", "provenance", "quantity", "mean", "half_width", "n", "calls", "seconds",
          "cpu_seconds", "joules"}


def test_a_measurement_is_in_the_ledger_only_when_asked(book, counter):
    m = counter.meter.measure(lambda: counter.clock.sleep(0.3), name="step")
    assert ledger.read() == []
    assert m.log() is m
    (line,) = ledger.read()
    assert line["kind"] == "reading" and set(line) == FIELDS | {"schema", "time", "kind"}
    assert (line["name"], line["label"], line["provenance"], line["quantity"], line["n"], line["calls"]) == (
        "step", "measured", "measured", "joules", 5, 20)
    assert sum(part["joules"] for part in line["parts"]) == pytest.approx(line["joules"])
    assert all(part["label"] == "measured" and part["source"] and part["scope"] for part in line["parts"])
    assert set(line["machine"]) == {"where", "cores"}
    assert line["mean"] == pytest.approx(9, rel=1e-3) and line["joules"] == pytest.approx(9, rel=1e-3)
    assert line["seconds"] == line["cpu_seconds"] == pytest.approx(0.3) and line["half_width"] < 0.1


def test_a_reading_is_in_the_ledger_only_when_asked(book):
    r = reading(component(30.0), seconds=6.0, calls=3)
    assert ledger.read() == [] and r.log() is r
    (line,) = ledger.read()
    assert set(line) == FIELDS | {"schema", "time", "kind"}
    assert (line["quantity"], line["mean"], line["joules"], line["seconds"], line["half_width"], line["n"]) == (
        "joules", 10.0, 10.0, 2.0, None, 1)
    assert (line["label"], line["provenance"]) == ("modelled", "modelled")


def test_what_has_no_joules_is_kept_by_its_cpu_time(book):
    reading(nothing("no sensor"), seconds=2.0).log()
    Measurement("m", 1, 1, False, 0.05, "cpu_seconds", float("nan"), float("inf"), (reading(nothing("no")),)).log()
    one, two = ledger.read()
    assert (one["quantity"], one["mean"], one["joules"], one["provenance"]) == ("cpu_seconds", 2.0, None, "none")
    assert (two["mean"], two["half_width"]) == (None, None)


# -- comparisons --------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("factor", "word"),
                         [(0.8, "a lower"), (1.0, "not distinguishable"), (1.25, "b lower")])
@pytest.mark.parametrize("sensor", [True, False])
def test_compare_in_three_ways(request, factor, word, sensor):
    made = request.getfixturevalue("counter") if sensor else None
    clock, meter = (made.clock, made.meter) if sensor else (request.getfixturevalue("clock"), Meter())
    c = meter.compare(lambda: clock.sleep(0.02 * factor), lambda: clock.sleep(0.02))
    assert c.verdict == word and c.ratio == pytest.approx(factor, rel=1e-3)
    assert c.quantity == ("joules" if sensor else "cpu_seconds") and c.pairs == 8
    assert ("CPU time decides" in str(c)) != sensor


@pytest.mark.parametrize("sensor", [True, False])
def test_compare_cancels_a_drift_and_keeps_counts_equal(request, monkeypatch, sensor):
    """Every call is slower than the one before: with AB AB AB, b would look 1 % slower per call."""
    clock = request.getfixturevalue("counter").clock if sensor else request.getfixturevalue("clock")
    order = []

    def side(name):
        def fn():
            order.append(name)
            clock.sleep(0.5 * 1.01 ** len(order))
        return fn

    c = Meter().compare(side("a"), side("b"), pairs=4, window=0.6)
    assert c.ratio == pytest.approx(1, rel=1e-3)
    ran = order[-2 * 4 * c.calls:]
    assert ran.count("a") == ran.count("b")
    if sensor:
        assert [ran[i] for i in range(0, len(ran), c.calls)] == list("abbaabba")


def test_same_code_that_uses_no_cpu_time_cannot_be_compared(monkeypatch, clock):
    monkeypatch.setattr(energy, "process_time", lambda: 0.0)
    c = Meter().compare(lambda: clock.sleep(0.1), lambda: clock.sleep(0.1))
    assert c.verdict == "not distinguishable" and np.isnan(c.ratio)
    assert "no cpu_seconds to compare" in str(c)


def test_a_far_slower_side_waits_at_most_ten_windows(clock):
    c = Meter().compare(lambda: clock.sleep(0.001), lambda: clock.sleep(1.0), pairs=2)
    assert c.calls == 10 and c.verdict == "a lower"


def test_aa_control_compares_the_same_code(clock):
    found = Meter().aa_control(lambda: clock.sleep(0.01), n=3)
    assert [c.verdict for c in found] == ["not distinguishable"] * 3
    assert found[0].names == ("this code", "the same code")


@pytest.mark.slow
def test_a_third_of_the_work_is_found_on_the_real_machine():
    """No fake clock: a direction with a wide margin is all that may be asked of real hardware."""
    c = Meter().compare(lambda: sum(range(3_000)), lambda: sum(range(30_000)), window=0.05)
    assert c.verdict == "a lower"


# -- idle and carbon ----------------------------------------------------------------------------------------

def test_idle_and_net_of_a_counter(monkeypatch, counter):
    monkeypatch.setattr(energy.time, "sleep", counter.clock.sleep)
    idle = counter.meter.idle(5)
    assert idle.watts == pytest.approx(30, rel=1e-3) and "30 W" in str(idle)
    with counter.meter.block("quiet") as block:
        counter.clock.sleep(1)
    assert idle.watts * 1 - block.reading.joules == pytest.approx(0, abs=0.05)
    busy = reading(component(80.0, Provenance.MEASURED))
    assert "net 50 J (measured) = 80 J (measured) less 30 W" in idle.net(busy)
    monkeypatch.setattr(energy.time, "monotonic", lambda: idle.when + 700)
    assert "over 10 minutes old" in idle.net(busy)


def test_net_within_the_spread_is_not_distinguishable_from_idle():
    idle = energy.Idle(30.0, 2.0, "fake", energy.time.monotonic())
    assert "not distinguishable from idle" in idle.net(reading(component(31.0, Provenance.MEASURED)))
    assert "not distinguishable" not in idle.net(reading(component(33.0, Provenance.MEASURED)))


def test_a_model_has_no_idle_and_no_net():
    idle = Meter().idle(0.05)
    assert idle.watts is None and "no watts" in str(idle)
    assert "no net energy: modelled joules" in idle.net(reading(component(1.0)))


def test_carbon_shows_the_multiplication():
    r = reading(component(3.6e6))
    grams = r.carbon(56.0)
    assert grams == pytest.approx(56.0)
    text = str(grams)
    assert "3.6 MJ (modelled) / 3.6 MJ per kWh x 56 g/kWh (a figure you chose) = 56 g of CO2e (mod" in text

    class Grid:
        def to(self, unit):
            assert unit == "gCO2e/kWh"
            return 100.0

        def __str__(self):
            return "100 gCO2e/kWh (a source, 2023)"

    assert r.carbon(Grid()) == 100.0 and "a source, 2023" in str(r.carbon(Grid()))


@pytest.mark.parametrize("wrong", [-1, "France", None, float("nan"), float("inf"), True])
def test_carbon_refuses_what_is_no_intensity(wrong):
    with bad("is not a number of grams per kWh"):
        reading(component(1.0)).carbon(wrong)


def test_carbon_without_joules_gives_the_reason():
    with bad("no joules to multiply: it was reset"):
        reading(nothing("it was reset")).carbon(50)
