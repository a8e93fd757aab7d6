"""TEACHING.md: its paths name what is there, their minutes add up, and its figures are those of the facts."""

import re
from pathlib import Path

from course_lib import facts
from course_lib.classroom import build, execute, index, prose

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "TEACHING.md").read_text(encoding="utf-8")
LESSONS = {one["lesson"]: one for one in index.lessons(ROOT)}
EXERCISES = {path.stem[:2]: build.parse(path).metadata["course"]["minutes"]
             for path in sorted((ROOT / "exercises" / "source").glob("[0-9]*.py"))}


def table(heading):
    rows = TEXT.split(f"### {heading}\n")[1].split("\n#")[0].splitlines()
    return [[cell.strip().strip("*") for cell in row.split("|")[1:-1]] for row in rows if row.startswith("|")][2:]


def parts(lesson):
    """{heading of a part: its share of the lesson}, by what there is to read; a cell counts as a sentence or two."""
    found, name = {}, "opening"
    for cell in build.parse(ROOT / "notebooks" / "source" / f"{LESSONS[lesson]['file']}.py").cells:
        blocks = re.split(r"(?m)^(?=## )", cell.source) if cell.cell_type == "markdown" else [cell.source]
        for block in blocks:
            if heading := re.match(r"## (.+)", block if cell.cell_type == "markdown" else ""):
                name = heading[1]
            words = len(block.split()) if cell.cell_type == "markdown" else 15 + len(block.split()) / 2
            found[name] = found.get(name, 0) + words
    return {name: words / sum(found.values()) for name, words in found.items()}


def test_the_minutes_of_two_hours_add_up_and_are_those_of_its_lessons():
    *rows, last = table("Two hours")
    assert last[0] == "together" and int(last[2]) == sum(int(minutes) for _, _, minutes in rows)
    for lesson, what, minutes in rows:
        if not (link := re.fullmatch(r"\[(\d\d)\]\(notebooks/(\w+)\.ipynb\)", lesson)):
            assert lesson == "talk"
            continue
        one = LESSONS[link[1]]
        assert link[2] == one["file"]
        if what.startswith("all"):
            assert int(minutes) == one["minutes"], lesson
            continue
        named = [part.rstrip(".") for part in re.split(r"(?<=[.?]) (?=Part )|(?<=\w)\. (?=Part )", what)]
        share = parts(link[1])
        assert set(named) <= set(share), f"{lesson} has no {set(named) - set(share)}"
        assert abs(int(minutes) - one["minutes"] * sum(share[part] for part in named)) <= 4, (lesson, named)


def test_the_minutes_of_a_day_add_up_and_are_those_of_its_lessons():
    head = TEXT.split("### One day\n")[1].split("|---")[0].splitlines()[-1]
    names = re.findall(r"\[(\d\d)\]\(notebooks/(\w+)\.ipynb\)", head)
    minutes = [LESSONS[number]["minutes"] for number, _ in names]
    assert [LESSONS[number]["file"] for number, _ in names] == [name for _, name in names]
    assert table("One day") == [["minutes", *map(str, minutes), str(sum(minutes))]]


def test_two_hours_are_two_hours_and_a_day_is_a_day():
    assert int(table("Two hours")[-1][2]) <= 120 and int(table("One day")[-1][-1]) <= 360


def test_the_six_weeks_hold_every_lesson_and_every_exercise_once_and_add_up():
    *weeks, last = table("Six weeks")
    assert [row[0] for row in weeks] == list("123456")
    seen = [re.findall(r"\d\d", " ".join(row[column] for row in weeks)) for column in (1, 3)]
    assert seen[0] == sorted(LESSONS) and seen[1] == sorted(EXERCISES)
    for _, lessons, in_class, exercises, at_home in weeks:
        assert int(in_class) == sum(LESSONS[number]["minutes"] for number in re.findall(r"\d\d", lessons))
        home = sum(EXERCISES[number] for number in re.findall(r"\d\d", exercises))
        assert at_home == (str(home) if home else "-")
    assert int(last[2]) == sum(int(row[2]) for row in weeks)
    assert int(last[4]) == sum(int(row[4]) for row in weeks if row[4] != "-")


def test_every_figure_is_that_of_its_fact_and_stands_in_the_lesson_named_beside_it():
    asked = TEXT.split("## What people ask")[1].split("\n## ")[0].splitlines()
    questions = [[cell.strip() for cell in row.split("|")[1:-1]] for row in asked if row.startswith("|")][2:]
    assert len(questions) >= 8
    count = 0
    for question, answer, lesson in questions:
        assert question.endswith("?") and lesson in LESSONS
        for words, fact_id in re.findall(r"\[([^\]]*)\]\(notebooks/INDEX\.md#([\w+-]+)\)", answer):
            assert prose._against_fact(words, fact_id, facts) == []
            assert fact_id in LESSONS[lesson]["facts"], f"{fact_id} is not in lesson {lesson}"
            count += 1
        bare = re.sub(r"\[[^\]]*\]\([^)]*\)|\b\d+B\b", "", answer)
        assert not re.search(r"\d", bare), f"a number without its fact: {bare}"
    assert count >= 6


def test_it_fits_on_two_pages():
    words = re.sub(r"\([^)]*\.(?:md|ipynb)[^)]*\)|[|`*#>-]+", " ", TEXT).split()
    assert 800 <= len(words) <= 1200


def test_what_it_tells_to_type_is_there():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`make (\w+)", TEXT):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    from course_lib.cli import parser

    commands = next(action.choices for action in parser()._actions if action.dest == "command")
    for line in re.findall(r"^\.venv/bin/course (.+)$", TEXT, re.MULTILINE):
        parser().parse_args(line.split())
        assert line.split()[0] in commands
    lesson = execute.read(ROOT / "notebooks" / f"{LESSONS['01']['file']}.ipynb")
    assert "Part four: two threads or one?" in "".join(cell.source for cell in lesson.cells)
