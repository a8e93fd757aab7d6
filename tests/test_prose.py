"""Every number in a lesson's prose is a cited fact or stands in a checked output."""

from types import SimpleNamespace

import nbformat
import pytest
import sample_course

from course_lib.classroom import execute, prose

NOTEBOOKS = sorted((sample_course.ROOT / "notebooks").glob("*.ipynb"))


class Unknown(KeyError):
    pass


def fact(unit, value=None, low=None, high=None, read="primary"):
    return SimpleNamespace(value=value, low=low, high=high, unit=unit, read=read)


def convert(value, unit, to):
    sizes = {("MWh", "GWh"): 1e-3, ("%", "1"): 1e-2, ("MWh", "kWh"): 1e3}
    if (unit, to) not in sizes:
        raise ValueError(f"{unit} is not {to}")
    return value * sizes[unit, to]


FACTS = {"energy": fact("MWh", 1287.0), "range": fact("MWh", 20_000.0, 10_000.0, 30_000.0),
         "share": fact("%", low=80.0, high=90.0), "flops": fact("FLOP", 3.14e23),
         "heard": fact("MWh", 5.0, read="memory"), "carbon": fact("tCO2e", 552.1)}


def get(fact_id):
    try:
        return FACTS[fact_id]
    except KeyError:
        raise Unknown(f"no fact {fact_id}") from None


BOOK = SimpleNamespace(fact=get, convert=convert)


def wrong_in(text, output="the sum is 42, or 0.5 of it: 1,234 J", tags=("nbval-check-output",)):
    table = {"text/plain": "x", "text/html": "<td width='77'>17&nbsp;J</td>"}
    code = nbformat.v4.new_code_cell("run()", metadata={"tags": list(tags)}, outputs=[
        nbformat.v4.new_output("stream", name="stdout", text=output),
        nbformat.v4.new_output("execute_result", data=table)])
    nb = nbformat.v4.new_notebook(cells=[code, nbformat.v4.new_markdown_cell(text)])
    nb.metadata["course"] = {"lesson": "02", "minutes": 45}
    return [(number, why) for index, number, why in prose.unbound_numbers(nb, BOOK) if index == 1]


@pytest.mark.parametrize("text", [
    "It took [1,287 MWh](#energy).",
    "It took [about 1287 MWh](#energy), or [1.287 GWh](#energy), [1.3 GWh](#energy).",
    "Roughly [1,300 MWh](#energy), [1.29 thousand MWh](#energy), [1.287 million kWh](#energy).",
    "Between [10,000 to 30,000 MWh](#range), say [20,000 MWh](#range).",
    "[80-90 %](#share) and [90 %](#share)",
    "[3.14e23 FLOP](#flops)", "[552.1 tCO2e](#carbon), [552 tCO2e](#carbon)", "[the source](#energy) says so",
    "The sum is 42, half of it 0.5; it took 1,234 J, 1234 J or 17 J. This lesson takes 45 minutes.",
    "Ten times, twice, a third.",
    "In lesson 03, lessons 04 and 05, exercise 1; claims A1, B12, B14-B21 and T2.",
    "GPT-3, V100s, CO2, int8, float32 and top-2 are names.", "`x = 99`, $99 + 1$, $$\n99\n$$", "```\n99\n```",
    "See <https://example.org/99> or [it](https://example.org/99/3).", "1. First\n2. Second\n\n## 3. Third",
    '<img src="x.png" width="99">', "[recap](#recap)", "x < y and y > z",
])
def test_good_prose(text):
    assert wrong_in(text) == []


@pytest.mark.parametrize(("text", "number", "why"), [
    ("It took 1,287 MWh.", "1,287", "no link"), ("It took 99 J, not 42 J.", "99", "no link"),
    ("[1,288 MWh](#energy)", "1,288", "value 1287 MWh"), ("[1,287 GWh](#energy)", "1,287", "value 1.287 GWh"),
    ("[1.4 GWh](#energy)", "1.4", "value 1.287 GWh"), ("[2,000 MWh](#energy)", "2,000", "value 1287"),
    ("[1,287 metres](#energy)", "1,287", "does not become 'metres'"),
    ("[10,000 to 20,000 MWh](#range)", None, "high 30000"),
    ("[80-85 %](#share)", None, "high 90"), ("[1,287 MWh](#enrgy)", "1,287", "there is no fact 'enrgy'"),
    ("[5 MWh](#heard)", "5", "from memory"), ("[99 J](https://example.org)", "99", "no link"),
    ("It costs 77 J.", "77", "no link"),
    ("a < 99 and 99 > b", "99", "no link"), ("99x faster", "99", "no link"),
    ("in 2021", "2021", "no link"), ("from 42 to 99", "99", "no link"), ("| 99 | 42 |", "99", "no link"),
])
def test_bad_prose(text, number, why):
    wrong = wrong_in(text)
    assert wrong and why in wrong[0][1]
    assert number is None or wrong[0][0] == number


def test_an_output_that_nbval_does_not_check_holds_nothing():
    assert [number for number, _ in wrong_in("The sum is 42.", tags=())] == ["42"]


def test_with_the_course_s_own_facts():
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text) for text in (
        "[1,287 MWh](#tr_gpt3_energy)", "[1.287 GWh](#tr_gpt3_energy)", "[1,387 MWh](#tr_gpt3_energy)",
        "[1,287 kg](#tr_gpt3_energy)", "[1,287 MWh](#tr_gpt3_enrgy)")])
    wrong = prose.unbound_numbers(nb)
    assert [index for index, _, _ in wrong] == [2, 3, 4]
    assert all(why.count("\n") == 0 for _, _, why in wrong)


def test_there_are_lessons():
    assert NOTEBOOKS, "no notebook in notebooks/"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_number_of_a_lesson_is_bound(notebook):
    nb = execute.read(notebook)
    wrong = prose.unbound_numbers(nb)
    assert not wrong, "\n" + "\n".join(
        f"cell {index} ({execute.first_line(nb.cells[index])[:50]}): {number}: {why}"
        for index, number, why in wrong)
