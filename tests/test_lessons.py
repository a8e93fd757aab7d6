"""What every lesson must have, whoever wrote it. Their cells run under nbval; this looks at what is stored."""

import ast
import re
import statistics
from pathlib import Path

import nbformat
import pytest

from course_lib import claims, facts

ROOT = Path(__file__).parent.parent
LESSONS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
HEADINGS = ("What the figures do not say", "What you have seen", "Sources")
VIEW = "application/vnd.jupyter.widget-view+json"


def test_there_are_lessons_and_each_has_a_source():
    sources = sorted(p.stem for p in (ROOT / "notebooks" / "source").glob("*.py"))
    assert sources and [p.stem for p in LESSONS] == sources


@pytest.fixture(params=LESSONS, ids=lambda p: p.stem)
def lesson(request):
    return nbformat.read(request.param, as_version=4)


def code(lesson):
    return [c for c in lesson.cells if c.cell_type == "code"]


def prose(lesson):
    return "\n".join(c.source for c in lesson.cells if c.cell_type == "markdown")


def outputs(cell):
    return [o for o in cell.outputs if o.output_type in ("display_data", "execute_result")]


def test_it_opens_with_its_card_and_closes_with_its_recap(lesson):
    first, meta = lesson.cells[0].source, lesson.metadata.course
    for said in ("**The question", "**After this lesson you can**", f"about {meta.minutes} minutes",
                 f"{meta.cpu_seconds} seconds", f"{meta.memory_mb:,} MB", "of the article:**"):  # fmt: skip
        assert said in first
    for heading in HEADINGS:
        assert f"## {heading}" in prose(lesson)
    assert "### Verdict" in prose(lesson) or any("verdict(" in c.source for c in code(lesson))


def test_the_words_of_the_card_and_the_recap_are_about_the_same_things(lesson):
    promised = len(re.findall(r"^- ", lesson.cells[0].source, re.MULTILINE))
    recap = prose(lesson).split("## What you have seen")[1].split("\n##")[0].split("**N")[0]
    assert len(re.findall(r"^- ", recap, re.MULTILINE)) == promised


def test_its_cells_are_short(lesson):
    lengths = [len(c.source.splitlines()) for c in code(lesson)]
    assert max(lengths) <= 30
    assert statistics.median(lengths) <= 8


def test_it_asks_for_a_prediction_and_lets_explore(lesson):
    text = "\n".join(c.source for c in code(lesson))
    assert "predict(" in text and "explore(" in text
    assert text.count(".reveal(") >= text.count("= predict(")


def test_every_figure_has_words_and_every_explorer_its_static_twin(lesson):
    pictures = 0
    for cell in code(lesson):
        for output in outputs(cell):
            assert VIEW not in output.data  # it would show "model not found" in a saved notebook
            if "image/png" in output.data:
                pictures += 1
                alt = output.metadata["image/png"]["alt"]
                assert len(alt.split()) >= 6 and alt in output.data["text/plain"]
        if re.search(r"^explore\(", cell.source, re.MULTILINE):
            assert any("image/png" in o.data for o in outputs(cell)), cell.source
    assert pictures >= 2


def test_nothing_failed_and_nothing_was_left_unrun(lesson):
    for cell in code(lesson):
        assert cell.execution_count
        assert not [o for o in cell.outputs if o.output_type == "error"]
        assert not [o for o in cell.outputs if o.get("name") == "stderr"], cell.source


def test_checked_cells_show_something_and_no_joule_that_was_read_off_a_machine(lesson):
    checked = [c for c in code(lesson) if "nbval-check-output" in c.metadata.get("tags", [])]
    assert len(checked) >= 4
    for cell in checked:
        text = "".join(o.get("text", "") for o in cell.outputs)
        assert text.strip()
        assert not re.search(r"\d [mkµ]?J \((measured|sampled)", text)


def test_every_figure_it_names_stands_in_its_sources(lesson):
    cited, named = set(), set(re.findall(r"\]\(#([\w+-]+)\)", prose(lesson)))
    known = facts.all_facts()
    for cell in code(lesson):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "cite":
                cited |= {a.value for a in node.args}
            elif isinstance(node, ast.Constant) and node.value in known:
                named.add(node.value)
    assert named and named <= cited, f"add to cite(...): {sorted(named - cited)}"
    assert cited <= named, f"cited, but used nowhere: {sorted(cited - named)}"
    assert all(known[name].read in ("primary", "secondary", "derived") for name in cited)


def test_its_claims_are_those_of_the_card(lesson):
    """Each claim with a verdict in the lesson is on its card, and the claims file sends readers to the lesson."""
    number = lesson.metadata.course.lesson
    decided = {m for c in code(lesson) for m in re.findall(r"verdict\(\"([ABC]\d+)\"", c.source)}
    assert decided
    for name in decided:
        assert number in claims.claim(name).lessons, name
    line = next(line for line in lesson.cells[0].source.splitlines() if "of the article:**" in line)
    stated = set(re.findall(r"\b[ABC]\d+\b", line))
    for letter, low, high in re.findall(r"\b([ABC])(\d+) to [ABC]?(\d+)\b", line):
        stated |= {f"{letter}{i}" for i in range(int(low), int(high) + 1)}
    assert decided == stated


def test_every_joule_of_this_machine_has_a_label(lesson):
    """A joule in an output stands with its label, or with a source, in the same line or table."""
    words = re.compile(r"measured|sampled|modelled|assumed|no joules|published|guess|lamp|1 k?M?Wh|^source: ", re.MULTILINE)
    for cell in code(lesson):
        for output in cell.outputs:
            text = output.get("text") or output.get("data", {}).get("text/plain", "")
            if text.startswith("Figure:") or "id=" in text:
                continue
            for line in text.splitlines():
                if re.search(r"\d [pnµmk]?J\b", line):
                    assert words.search(text), line


def test_the_readme_lists_every_lesson_with_its_minutes():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in LESSONS:
        minutes = nbformat.read(path, as_version=4).metadata.course.minutes
        assert re.search(rf"\(notebooks/{path.name}\).*\| {minutes} \|", readme), path.name
