"""`course build`: source to executed notebook and back, quick when nothing changed, a sentence on failure."""

import json
import logging
import os
import re
import shutil
import subprocess
import sys

import nbformat
import pytest
import sample_course
from jupytext import TextFileContentsManager

from course_lib.classroom import build, cli, execute, links

ROOT = sample_course.ROOT
LESSONS = sorted((ROOT / "notebooks" / "source").glob("*.py"))
NOTEBOOK = f"notebooks/{sample_course.LESSON}.ipynb"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    root = sample_course.make(tmp_path_factory.mktemp("course"))
    assert build.build([], root, say=lambda line: None) == 0
    return root


@pytest.fixture
def course(built, tmp_path):
    """A copy of the built sample course that a test may spoil."""
    return shutil.copytree(built, tmp_path / "course")


def source_of(root):
    return root / "notebooks" / "source" / f"{sample_course.LESSON}.py"


def build_lines(root, **options):
    lines = []
    return build.build([], root, say=lines.append, **options), lines


def test_a_built_lesson_has_all_outputs_and_nothing_that_changes(built):
    text = (built / NOTEBOOK).read_text(encoding="utf-8")
    nb = nbformat.reads(text, as_version=4)
    nbformat.validate(nb)
    assert [cell.execution_count for cell in nb.cells if cell.cell_type == "code"] == [1, 2, 3, 4]
    assert "the sum is 42" in text and '"43"' in text
    assert "one" not in nb.cells[4].outputs[0].text.splitlines() and "two" in nb.cells[4].outputs[0].text
    for passing in (str(built), "/tmp", "iopub", "widget-view", "timestamp"):
        assert passing not in text
    assert not re.search(r"0x[0-9a-f]{6}", text)
    assert json.dumps(json.loads(text), sort_keys=True, indent=1, ensure_ascii=False) + "\n" == text
    readme = (built / "notebooks" / "README.md").read_text(encoding="utf-8")
    assert re.search(r"\| \[00_sample\]\(00_sample.ipynb\) \| 5 \| 20 \| 400 \| [\d.]+ \| \d+ \| ", readme)


@pytest.mark.slow
def test_building_twice_gives_the_same_bytes(course):
    before = (course / NOTEBOOK).read_bytes()
    assert build_lines(course)[1] == ["00_sample: up to date"]
    assert build_lines(course, force=True)[0] == 0
    assert (course / NOTEBOOK).read_bytes() == before


@pytest.mark.slow
def test_a_mismatch_names_the_command_that_mends_it(course):
    assert build.mismatch(source_of(course)) is None
    text = source_of(course).read_text(encoding="utf-8")
    source_of(course).write_text(text.replace("40 + 2", "40 + 3"), encoding="utf-8")
    assert "course build notebooks/source/00_sample.py" in build.mismatch(source_of(course))
    bad, lines = build_lines(course, check=True)
    assert bad == 1 and "jupytext --sync notebooks/00_sample.ipynb" in lines[0]
    assert build_lines(course)[0] == 0 and build.mismatch(source_of(course)) is None
    assert "the sum is 43" in (course / NOTEBOOK).read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_failing_cell_is_named_and_nothing_is_written(course):
    before = (course / NOTEBOOK).read_bytes()
    with source_of(course).open("a", encoding="utf-8") as file:
        file.write("\n# %%\nrows = 3\n1 / 0\n")
    bad, lines = build_lines(course)
    assert bad == 1
    assert lines[-1] == ("course: 00_sample: the cell that begins `rows = 3` failed: "
                         "ZeroDivisionError: division by zero; nothing was written")
    assert (course / NOTEBOOK).read_bytes() == before


@pytest.mark.slow
def test_an_address_in_a_checked_output_is_refused(course):
    with source_of(course).open("a", encoding="utf-8") as file:
        file.write('\n# %% tags=["nbval-check-output"]\nobject()\n')
    bad, lines = build_lines(course)
    assert bad == 1 and "memory address" in lines[-1] and lines[-1].endswith("; nothing was written")


# --- edits made in the notebook


def edit(root, text="total = 40 + 9\nprint('the sum is', total)"):
    """Write into a cell of the notebook, as an editor without jupytext does, and not into the source."""
    nb = execute.read(root / NOTEBOOK)
    nb.cells[2].source = text
    execute.write(nb, root / NOTEBOOK)


def test_a_build_does_not_throw_away_what_was_written_in_the_notebook(course):
    edit(course)
    notebook, source = (course / NOTEBOOK).read_bytes(), source_of(course).read_bytes()
    readme = (course / "notebooks" / "README.md").read_bytes()
    for options in ({}, {"check": True}, {"force": True}):  # --force without a name is no word on this file
        bad, lines = build_lines(course, **options)
        assert bad == 1 and len(lines) == 1, options
        for way_out in ("`jupytext --sync notebooks/00_sample.ipynb`", "if the notebook is the newer file",
                        "`course build --force notebooks/source/00_sample.py` throws them away"):
            assert way_out in lines[0]
    assert (course / NOTEBOOK).read_bytes() == notebook and source_of(course).read_bytes() == source
    assert (course / "notebooks" / "README.md").read_bytes() == readme


@pytest.mark.slow
def test_the_two_commands_do_what_the_sentence_says(course):
    from jupytext.cli import jupytext

    edit(course)
    kept = shutil.copytree(course, course.with_name("kept"))
    assert build.build([source_of(course)], course, force=True, say=lambda line: None) == 0
    assert "the sum is 42" in (course / NOTEBOOK).read_text(encoding="utf-8")

    os.utime(source_of(kept), (1_700_000_000,) * 2)
    jupytext(["--quiet", "--sync", str(kept / NOTEBOOK)])
    assert "40 + 9" in source_of(kept).read_text(encoding="utf-8")
    assert build_lines(kept)[0] == 0 and build.mismatch(source_of(kept)) is None
    assert "the sum is 49" in (kept / NOTEBOOK).read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_new_cell_in_the_notebook_counts_as_an_edit_and_a_lagging_notebook_does_not(course):
    text = source_of(course).read_text(encoding="utf-8")
    source_of(course).write_text(text.replace("40 + 2", "40 + 3") + "\n\n# %%\ntotal + 2\n", encoding="utf-8")
    assert not build.loses_edits(source_of(course)) and build_lines(course)[0] == 0
    nb = execute.read(course / NOTEBOOK)
    nb.cells.append(nbformat.v4.new_markdown_cell("A thought."))
    execute.write(nb, course / NOTEBOOK)
    assert build.loses_edits(source_of(course)) and build_lines(course)[0] == 1


# --- failures


@pytest.mark.slow
def test_a_failing_picture_leaves_everything_as_it_was(course):
    figure = ("from IPython.display import Image, display\nimport base64\n"
              "display(Image(base64.b64decode('iVBORw0KGgo='), format='png'))\n")
    with source_of(course).open("a", encoding="utf-8") as file:
        file.write(f'\n# %% course={{"picture": "images/one.png"}}\n{figure}'
                   '\n# %% course={"picture": "images/none.png"}\n1\n')
    before = (course / NOTEBOOK).read_bytes()
    bad, lines = build_lines(course)
    assert bad == 1 and "names a picture and shows 0 figures" in lines[-1]
    assert (course / NOTEBOOK).read_bytes() == before
    assert not (course / "notebooks" / "images").exists()
    text = source_of(course).read_text(encoding="utf-8")
    source_of(course).write_text(text.replace('"images/none.png"', '"images/two.png"').replace(
        '\n1\n', f"\n{figure}"), encoding="utf-8")
    assert build_lines(course)[0] == 0
    assert sorted(path.name for path in (course / "notebooks" / "images").iterdir()) == ["one.png", "two.png"]


@pytest.mark.slow
def test_one_bad_lesson_does_not_keep_the_next_from_being_built(course):
    good = source_of(course).with_name("01_good.py")
    good.write_text(source_of(course).read_text(encoding="utf-8").replace('"00"', '"01"'), encoding="utf-8")
    source_of(course).write_text("# %%\n2\n", encoding="utf-8")  # no header: found before anything runs
    bad, lines = build_lines(course)
    assert bad == 1 and "header has no course lesson" in lines[1]
    assert build.mismatch(good) is None
    assert "[01_good](01_good.ipynb)" in (course / "notebooks" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("spoil", "code", "sentence"), [
    (lambda root: source_of(root).unlink(), 2, "00_sample.ipynb has no source"),
    (lambda root: source_of(root).write_text("# %%\n2\n", encoding="utf-8"), 1, "header has no course"),
    (lambda root: source_of(root).write_text("", encoding="utf-8"), 1, "holds no cell"),
    (lambda root: (root / NOTEBOOK).write_text("{", encoding="utf-8"), 1, "not a notebook that can be read"),
])
def test_wrong_input_gets_one_sentence(course, spoil, code, sentence, monkeypatch, capsys):
    spoil(course)
    monkeypatch.chdir(course)
    assert cli.main(["build"]) == code  # 1: this lesson fails, the others are built
    said = "".join(capsys.readouterr()).replace("00_sample: running ...\n", "")
    assert sentence in said and said.count("\n") == 1 and "Traceback" not in said


@pytest.mark.parametrize(("words", "sentence"), [
    ("build exercises/source/90_sample.py",
     "90_sample.py is an exercise: use `course release exercises/source/90_sample.py`"),
    ("build exercises/90_sample.ipynb",
     "90_sample.ipynb is an exercise: use `course release exercises/source/90_sample.py`"),
    ("release notebooks/source/00_sample.py",
     "00_sample.py is a lesson: use `course build notebooks/source/00_sample.py`"),
    ("release notebooks/../notebooks/00_sample.ipynb",
     "00_sample.ipynb is a lesson: use `course build notebooks/source/00_sample.py`"),
    ("build nosuch.ipynb", "nosuch.ipynb is not there"),
    ("build notebooks/nosuch.ipynb", "notebooks/nosuch.ipynb is not there"),
    ("build notebooks/source/nosuch.py", "notebooks/source/nosuch.py is not there"),
    ("release exercises/nosuch.ipynb", "exercises/nosuch.ipynb is not there"),
    ("build pyproject.toml", "pyproject.toml is not a lesson: give a file of notebooks/source"),
    ("release README.md", "README.md is not an exercise: give a file of exercises/source"),
])
def test_a_file_of_the_wrong_kind_gets_one_sentence(course, words, sentence, monkeypatch, capsys):
    before = (course / NOTEBOOK).read_bytes()
    (course / "exercises" / "90_sample.ipynb").write_bytes(before)
    monkeypatch.chdir(course)
    assert cli.main(words.split()) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith(f"course: {sentence}") and said.err.count("\n") == 1
    assert (course / NOTEBOOK).read_bytes() == before


def test_the_command_outside_a_course_and_its_help(tmp_path):
    def course_command(*words):
        return subprocess.run([sys.executable, "-m", "course_lib.classroom.cli", *words], cwd=tmp_path,
                              text=True, capture_output=True, check=False,
                              env=os.environ | {"PYTHONPATH": str(ROOT)})

    lost = course_command("build")
    assert lost.returncode == 2 and "is not inside the course folder" in lost.stderr
    assert "Traceback" not in lost.stderr
    for command in ("build", "release", "links"):
        assert f"example: course {command}" in course_command(command, "--help").stdout


def test_a_widget_leaves_its_static_twin_only():
    view = {execute.WIDGET_VIEW: {"model_id": "1"}}
    shown = (view | {"text/plain": "IntSlider(value=1)"}, 
             view | {"text/plain": "A line", "image/png": "AA=="}, {"text/plain": "Fact(1)"})
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("show()", outputs=[
        nbformat.v4.new_output("display_data", data=data) for data in shown])])
    execute._scrub(nb, "lesson", {})
    assert [dict(out.data) for out in nb.cells[0].outputs] == [
        {"text/plain": "A line", "image/png": "AA=="}, {"text/plain": "Fact(1)"}]


# --- pairing, through jupytext's own contents manager, which is what JupyterLab saves with


def test_saving_the_notebook_changes_the_source(course):
    manager = TextFileContentsManager(root_dir=str(course))
    before = source_of(course).read_text(encoding="utf-8")
    sample_course.save(manager, NOTEBOOK, manager.get(NOTEBOOK))
    assert source_of(course).read_text(encoding="utf-8") == before
    model = manager.get(NOTEBOOK)
    model["content"]["cells"][2]["source"] = "total = 40 + 4\nprint('the sum is', total)"
    sample_course.save(manager, NOTEBOOK, model)
    assert "40 + 4" in source_of(course).read_text(encoding="utf-8")
    # both sides agree now, but the stored output is still that of the old text
    assert "has no outputs, or older ones" in build.mismatch(source_of(course))


def test_editing_the_source_changes_the_notebook(course):
    text = source_of(course).read_text(encoding="utf-8")
    source_of(course).write_text(text.replace("40 + 2", "41 + 1"), encoding="utf-8")
    cells = TextFileContentsManager(root_dir=str(course)).get(NOTEBOOK)["content"]["cells"]
    assert "41 + 1" in cells[2]["source"] and cells[5]["outputs"]


@pytest.mark.parametrize("newer", ["source", "notebook"])
def test_a_fresh_clone_opens_without_a_warning(course, newer, caplog):
    times = {"source": (1_000_000_000, 1_000_000_300), "notebook": (1_000_000_300, 1_000_000_000)}[newer]
    os.utime(course / NOTEBOOK, (times[0],) * 2)
    os.utime(source_of(course), (times[1],) * 2)
    with caplog.at_level(logging.WARNING):
        TextFileContentsManager(root_dir=str(course)).get(NOTEBOOK)
    assert [record.message for record in caplog.records if "not trusted" not in record.message] == []


@pytest.mark.parametrize("years", [-20, 20])
def test_any_file_times_open_while_the_pair_agrees(course, years):
    os.utime(source_of(course), (1_700_000_000 + years * 31_557_600,) * 2)
    os.utime(course / NOTEBOOK, (1_700_000_000,) * 2)
    assert TextFileContentsManager(root_dir=str(course)).get(NOTEBOOK)["content"]["cells"]


# --- the course's own lessons


def test_there_are_lessons():
    assert LESSONS, "no lesson in notebooks/source"
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    assert [path.stem for path in notebooks] == [path.stem for path in LESSONS]


@pytest.mark.parametrize("source", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_and_its_source_agree(source):
    assert build.mismatch(source) is None, build.mismatch(source)


@pytest.mark.parametrize("source", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_begins_with_the_setup_cell_and_fits_its_budget(source):
    nb = build.parse(source)
    first = next(cell for cell in nb.cells if cell.cell_type == "code")
    assert execute.tags(first) == ["setup"]
    assert first.source == links.setup_cell(source.stem, ROOT), "run `make links`, or copy lesson 00's"
    course = nb.metadata["course"]
    readme = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| \[{source.stem}\].*$", readme, re.MULTILINE)
    assert row, f"notebooks/README.md has no timings: `course build --force notebooks/source/{source.name}`"
    _, _, minutes, cpu, memory, _, measured_memory, _, _ = (part.strip() for part in row[0].split("|"))
    assert [minutes, cpu, memory] == [str(course[key]) for key in ("minutes", "cpu_seconds", "memory_mb")]
    assert float(measured_memory) <= course["memory_mb"] <= 1500
