"""The map of the course is made of its sources, and is in step with them; lessons lead to each other."""

import json
import re
import shutil
from pathlib import Path

import nbformat
import pytest
import sample_course

from course_lib import claims, facts
from course_lib.classroom import build, execute, index

ROOT = Path(__file__).parent.parent
LESSONS = [path.stem for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))]
PAGE = (ROOT / index.PAGE).read_text(encoding="utf-8")
MAP = json.loads((ROOT / index.MAP).read_text(encoding="utf-8"))


def section(name):
    return PAGE.split(f"\n## {name}\n")[1].split("\n## ")[0]


def table(text):
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in text.splitlines()
            if line.startswith("| ")][2:]


def rows(name):
    return table(section(name))


def test_the_index_and_the_map_are_what_the_sources_say():
    assert index.mismatch(ROOT) is None


def test_every_lesson_is_on_the_map_with_what_its_card_says():
    assert [one["file"] for one in MAP] == LESSONS
    for one, row in zip(MAP, rows("Lessons"), strict=True):
        nb = execute.read(ROOT / "notebooks" / f"{one['file']}.ipynb")
        assert {key: one[key] for key in build.BUDGET} == dict(nb.metadata.course)
        card = " ".join(nb.cells[0].source.split())
        assert one["title"] in card and one["question"] in card and f"article:** {one['claims']}." in card
        assert row == [f"[{one['lesson']}]({one['file']}.ipynb)", one["title"], one["question"], str(one["minutes"]),
                       str(one["cpu_seconds"]), str(one["memory_mb"]), one["claims"]]


def test_every_claim_is_in_the_index_with_verdict_kind_lessons_and_figures():
    where, verdicts = section("Claims").split("<details>")
    assert not any(f" {word} " in where for word in claims.VERDICTS)  # who reads where to look does not read the answer
    for c, row, judged in zip(claims.all_claims().values(), table(where), table(verdicts), strict=True):
        assert row[0] == f'<a id="{c.id}"></a>{c.id}' and row[1] == c.quote
        assert judged == [f"[{c.id}](#{c.id})", c.quote, c.sources_say, c.kind, c.read]
        assert re.findall(r"\[(\d\d)", row[2]) == list(c.lessons)
        assert re.findall(r"\]\(#(\w[\w+-]*)\)", row[3]) == list(c.facts) and (row[3] == "none") == (not c.facts)
        assert all(f'<a id="{name}"></a>' in section("Figures") for name in c.facts)


def test_the_index_leads_to_the_part_of_a_lesson_that_gives_the_verdict():
    """JupyterLab names a heading's anchor after its text, with hyphens; two of one name, and it takes the first."""
    links = {row[1]: re.findall(r"\[(\d\d), (.+?)\]\((\d\d_\w+)\.ipynb(#[^)]+)?\)", row[2]) for row in
             table(section("Claims").split("<details>")[0])}
    for c in claims.all_claims().values():
        assert [number for number, *_ in links[c.quote]] == list(c.lessons)
        for number, heading, file, anchor in links[c.quote]:
            assert file.startswith(number) and anchor == ("" if '"' in heading else "#" + heading.replace(" ", "-"))
            cells = execute.read(ROOT / "notebooks" / f"{file}.ipynb").cells
            at = [n for n, cell in enumerate(cells) if cell.cell_type == "markdown"
                  and re.search(rf"^#+ {re.escape(heading)}$", cell.source, re.MULTILINE)]
            given = [n for n, cell in enumerate(cells) if cell.cell_type == "code" and f'verdict("{c.id}"' in cell.source]
            assert len(at) == 1 and len(given) == 1, (c.id, file, heading)
            between = "\n".join(cell.source for cell in cells[at[0] + 1:given[0]] if cell.cell_type == "markdown")
            nearer = re.findall(r"^### (.+)$", between, re.MULTILINE)
            assert at[0] < given[0] and not re.search(r"^## ", between, re.MULTILINE)
            assert not nearer or nearer[-1] in index._STEPS, f"claim {c.id}: nearer than {heading!r} is {nearer[-1]!r}"


def test_every_figure_of_a_lesson_is_in_the_index_with_its_source():
    found = {re.search(r'id="([^"]+)"', row[0])[1]: row for row in rows("Figures")}
    used = {}
    for name in LESSONS:
        nb = execute.read(ROOT / "notebooks" / f"{name}.ipynb")
        for cell in nb.cells:
            for ids in re.findall(r"\bcite\((.*?)\)", cell.source, re.DOTALL) if cell.cell_type == "code" else ():
                for one in re.findall(r'"([\w+-]+)"', ids):
                    used.setdefault(one, []).append(name[:2])
    assert len(used) > 200 and set(used) <= set(found)
    for name, lessons in used.items():
        row, f = found[name], facts.fact(name, facts._Row)
        assert row[4] == f.reference and row[6] == facts.READ[f.read]
        assert set(lessons) <= set(re.findall(r"\[(\d\d)\]", row[7]))
        assert row[2] == (f.text if isinstance(f, facts.Fact) else "a statement")


def test_the_readme_names_the_claims_of_each_card():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for one in MAP:
        row = rf"^\| {one['lesson']} \| .*\| {one['minutes']} \| {re.escape(one['claims'])} \|$"
        assert re.search(row, readme, re.MULTILINE), (
            f"README.md, lesson {one['lesson']}: minutes {one['minutes']}, claims {one['claims']}")


def test_lesson_00_shows_the_whole_map():
    nb = execute.read(ROOT / "notebooks" / f"{LESSONS[0]}.ipynb")
    (cell,) = [cell for cell in nb.cells if cell.cell_type == "code" and "lessons.json" in cell.source]
    shown = cell.outputs[0]["data"]["text/plain"]
    for one in MAP:
        assert all(str(one[key]) in shown for key in ("title", "question", "claims")), (
            f"lesson {one['lesson']}: run `course build --force notebooks/source/{LESSONS[0]}.py`")


@pytest.mark.parametrize("number", range(len(LESSONS)), ids=LESSONS)
def test_a_lesson_leads_to_the_one_before_and_to_what_comes_next(number):
    name = LESSONS[number]
    nb = execute.read(ROOT / "notebooks" / f"{name}.ipynb")
    first, text = nb.cells[0].source, "\n".join(cell.source for cell in nb.cells[1:] if cell.cell_type == "markdown")
    if number:
        before = LESSONS[number - 1]
        assert f"**Before:** [lesson {before[:2]}]({before}.ipynb)." in first
    if number + 1 < len(LESSONS):
        after = LESSONS[number + 1]
        assert f"**Next:** [lesson {after[:2]}]({after}.ipynb)" in text
    if (ROOT / "exercises" / f"{name}.ipynb").exists():
        link = f"[exercise {name[:2]}](../exercises/{name}.ipynb)"
        assert f"**After:** {link}." in first and f"**Now do** {link}." in text


# --- the two ways in which `course build` keeps it so


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A course of one lesson with an opening card, built, that keeps its own library's files."""
    root = sample_course.make(tmp_path_factory.mktemp("course"))
    shutil.copy(ROOT / "course_lib" / "assets" / "facts.csv", root / "course_lib" / "assets")
    source = root / "notebooks" / "source" / f"{sample_course.LESSON}.py"
    text = source.read_text(encoding="utf-8")
    head, body = text.split("# %%", 1)
    card = ("# %% [markdown]\n# # Sample\n#\n# **The question.** Is it\n# so?\n#\n# **Claim of the article:** A1.\n"
            "# See [1,287 MWh](#tr_gpt3_energy).\n\n")
    source.write_text(head + card + "# %%" + body, encoding="utf-8")
    assert build.build([], root, say=lambda line: None) == 0
    return root


@pytest.fixture
def course(built, tmp_path):
    """A copy of it that a test may change, and its lesson's source."""
    root = shutil.copytree(built, tmp_path / "course")
    return root, root / "notebooks" / "source" / f"{sample_course.LESSON}.py"


def test_a_verdict_is_found_under_the_nearest_heading_that_is_no_step():
    from nbformat import v4

    cells = [v4.new_code_cell('verdict("A1", "supported")'), v4.new_markdown_cell("# Title\n\n## Part\n\n### Verdict"),
             v4.new_code_cell('if x:\n    verdict("A2", word)\nverdict(any_claim, "supported")\nverdict()\nverdict("A99", "x")'),
             v4.new_markdown_cell("### Why?"), v4.new_code_cell('claims.verdict("A4", "x")\nverdict("A3", "supported")'),
             v4.new_markdown_cell("## Next"), v4.new_code_cell('verdict("A9", "supported")')]
    nb = v4.new_notebook(cells=cells)
    assert index.decided(nb) == {"A1": "", "A2": "Part", "A3": "Why?", "A9": "Next"}
    assert index._place("A1", "02", None) == "02"
    lesson = {"file": "02_x", "decides": {"A1": "", "A2": "So much: a, b?", "A3": 'So "much"', "A4": "So (much)"}}
    assert [index._place(id, "02", lesson) for id in ("A1", "A2", "A3", "A4")] == [
        "[02](02_x.ipynb)", "[02, So much: a, b?](02_x.ipynb#So-much:-a,-b?)", '[02, So "much"](02_x.ipynb)',
        "[02, So (much)](02_x.ipynb)"]


@pytest.mark.slow
def test_a_build_writes_the_index_and_the_map(course):
    root, source = course
    page = (root / index.PAGE).read_text(encoding="utf-8")
    assert "| Is it so? | 5 | 20 | 400 | A1 |" in page and '<a id="tr_gpt3_energy"></a>' in page
    assert json.loads((root / index.MAP).read_text(encoding="utf-8"))[0]["question"] == "Is it so?"
    source.write_text(source.read_text(encoding="utf-8").replace("# so?", "# still so?"), encoding="utf-8")
    said = []
    assert build.build([], root, check=True, say=said.append) == 2
    assert said[0] == "notebooks/INDEX.md is not what the sources say: run `course build`"
    assert build.build([], root, say=said.append) == 0 and index.mismatch(root) is None
    assert "Is it still so?" in (root / index.PAGE).read_text(encoding="utf-8")


def test_where_only_text_changed_the_outputs_stay_and_nothing_runs(course, monkeypatch):
    root, source = course
    notebook = build.notebook_of(source)
    before = execute.read(notebook)
    readme = (root / "notebooks" / "README.md").read_bytes()
    with source.open("a", encoding="utf-8") as file:
        file.write("\n# %% [markdown]\n# A new thought.\n")
    monkeypatch.setattr(execute, "execute", lambda *args, **options: pytest.fail("the lesson was run"))
    said = []
    assert build.build([], root, say=said.append) == 0
    assert said == ["00_sample: only its text changed, so nothing was run"]
    after = execute.read(notebook)
    nbformat.validate(after)
    assert build.mismatch(source) is None and after.cells[-1].source == "A new thought."
    assert [c for c in after.cells if c.cell_type == "code"] == [c for c in before.cells if c.cell_type == "code"]
    assert (root / "notebooks" / "README.md").read_bytes() == readme


@pytest.mark.slow
@pytest.mark.parametrize(("old", "new"), [
    ("total = 40 + 2", "total = 40 + 3"), ("minutes: 5", "minutes: 6"), ('tags=["nbval-check-output"]', 'tags=["other"]')])
def test_where_more_than_text_changed_the_lesson_runs(course, old, new):
    root, source = course
    text = source.read_text(encoding="utf-8")
    assert old in text
    source.write_text(text.replace(old, new, 1), encoding="utf-8")
    said = []
    assert build.build([], root, say=said.append) == 0
    assert said[0] == "00_sample: running ..." and build.mismatch(source) is None


def test_text_is_not_taken_into_a_notebook_whose_outputs_are_older(course):
    _, source = course
    nb = execute.read(build.notebook_of(source))
    next(cell for cell in nb.cells if execute.is_code(cell)).execution_count = None
    execute.write(nb, build.notebook_of(source))
    assert build.take_text(source) is False


def test_an_unfinished_source_is_left_out_of_the_index_and_stops_nothing(course):
    root, _ = course
    page = index.texts(root)[root / index.PAGE]
    for number, text in enumerate(("", "# %%\n2\n", "# %% [markdown]\n# # No card\n"), 1):
        (root / "notebooks" / "source" / f"0{number}_new.py").write_text(text, encoding="utf-8")
    assert index.texts(root)[root / index.PAGE] == page


def test_the_map_saved_in_lesson_00_has_the_minutes_of_today():
    """A lesson whose minutes change leaves the saved output of lesson 00 behind: build that one again with --force."""
    lessons = index.lessons(ROOT)
    told = f"{len(lessons)} lessons, {sum(one['minutes'] for one in lessons)} minutes"
    assert told in (ROOT / "notebooks" / "00_start_here.ipynb").read_text(encoding="utf-8")
