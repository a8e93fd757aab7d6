"""The learners' feedback pages: what they say and what they do not, and that hostile texts stay texts."""

import dataclasses
import random
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from course_lib.classroom.grading import feedback, model, pages
from course_lib.classroom.grading.model import Check, Exercise, Result

SECRET = "HIDDEN_9931"
TASKS = {"ex_flops": ("square = 4\nrow = 7",), "ex_mean": ("2.0",)}
TITLES = {"ex_flops": "Count *all* `rows`"}  # ex_mean has no heading above it
HINTS = {
    "ex_flops_shown": ("How many `rows`?", "Nearly the answer"),
    "ex_flops_unseen": ("Try <odd> sizes.", "second"),
}


def exercise(**more):
    checks = []
    for task, (expected,) in TASKS.items():
        checks += [
            Check(f"{task}_shown", 1, False, task, HINTS.get(f"{task}_shown", ()), expected),
            Check(f"{task}_unseen", 2, True, task, HINTS.get(f"{task}_unseen", ()), SECRET),
        ]
    return dataclasses.replace(
        Exercise("01_energy", "Measuring energy", "0" * 64, tuple(checks), tuple(TASKS), titles=TITLES), **more
    )


def result(learner="Ada", outcomes=("wrong", "wrong", "right", "right"), got=None, reason=None, **more):
    checks = {}
    for check, outcome in zip(exercise().checks, outcomes, strict=True):
        checks[check.id] = {
            "outcome": outcome,
            "points": check.points * (outcome == "right"),
            "max": check.points,
            "got": SECRET if check.hidden else got,
            "reason": SECRET if check.hidden else reason,
        }
    return Result(learner, "01_energy", more.pop("file", "Ada/01.ipynb"), model.GRADED, checks=checks, **more)


def write(folder, one=None, of=None):
    """(page's path, its HTML, its text)."""
    page = feedback.write_feedback(one or result(), of or exercise(), folder)
    return page, page.read_bytes().decode(), page.with_suffix(".txt").read_bytes().decode()


VOID = {"meta", "wbr"}
ALLOWED = VOID | {
    "html",
    "head",
    "title",
    "style",
    "body",
    "main",
    "h1",
    "h2",
    "h3",
    "p",
    "span",
    "strong",
    "em",
    "small",
    "code",
    "ul",
    "li",
    "table",
    "caption",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "bdi",
    "del",
    "ins",
    "a",
}


class Page(HTMLParser):
    """Elements and visible words of a page; complains about anything that could act."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.said, self.links, self.meta, self.styles = [], [], [], [], [], 0
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert tag in ALLOWED, tag
        for name, value in attrs:
            assert name in {
                "lang", "charset", "http-equiv", "content", "name", "class", "scope", "href", "colspan",
            }, (tag, name)  # fmt: skip
            if name == "href":
                assert tag == "a" and not re.match(r"\s*[a-z]+:", value, re.IGNORECASE) and ".." not in value
                self.links.append(value)
        self.tags.append((tag, dict(attrs)))
        self.styles += tag == "style"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] not in (["style"], ["title"]):
            self.said.append(data)

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data}")

    @property
    def words(self):
        return " ".join("".join(self.said).split())


def test_a_page_opens_without_a_network_or_a_script_and_has_real_headings(tmp_path):
    _, html, _ = write(tmp_path, result(outcomes=["wrong", "right", "right", "wrong"]))
    page = Page(html)
    assert html.startswith('<!doctype html>\n<html lang="en">')
    assert {"http-equiv": "Content-Security-Policy", "content": pages._POLICY} in [
        attrs for _, attrs in page.tags
    ]
    assert "default-src 'none'" in pages._POLICY and "script-src" not in pages._POLICY
    assert [tag for tag, _ in page.tags if tag in ("h1", "h2", "h3")] == [
        "h1",
        "h2",
        "h2",
        "h3",
        "h2",
        "h3",
    ]
    assert {attrs["scope"] for tag, attrs in page.tags if tag == "th"} == {"col", "row", "rowgroup"}
    assert not re.search(r"url\(|@import|https?:", html)


def test_a_visible_check_shows_both_values_line_by_line_and_the_first_hint(tmp_path):
    _, html, text = write(tmp_path, result(got="square = 5\nrow = 7"))
    assert '<th scope="row">\N{MINUS SIGN} yours</th><td>square = <del>5</del></td>' in html
    assert '<th scope="row">+ expected</th><td>square = <ins>4</ins></td>' in html
    assert '<th scope="row">= same</th><td>row = 7</td>' in html
    assert "How many <code>rows</code>?" in html and "Nearly the answer" not in html + text
    assert text.splitlines()[text.splitlines().index("ex_flops_shown (check)") :][:8] == [
        "ex_flops_shown (check)",
        "\N{BALLOT X} not yet, 0 of 1 points",
        "Your answer does not give what is expected.",
        "  What your answer gives, and what is expected, line by line:",
        "    \N{MINUS SIGN} yours     square = 5",
        "    + expected  square = 4",
        "    = same      row = 7",
        'Hint: How many rows? In the notebook, hint("ex_flops_shown") gives more.',
    ]


def test_only_a_task_with_something_not_right_yet_gets_a_section(tmp_path):
    for outcomes, sections in [
        (["right"] * 4, []),
        (["right", "wrong", "right", "right"], ["Task 1: Count all rows (ex_flops)"]),
        (["right", "right", "wrong", "right"], ["Task 2: ex_mean"]),
        (["wrong"] * 4, ["Task 1: Count all rows (ex_flops)", "Task 2: ex_mean"]),
    ]:
        _, html, text = write(tmp_path, result(outcomes=outcomes))
        table, _, rest = text.partition("All checks\n----------\n")[2].partition("\n\n")
        assert [line for line in rest.splitlines() if line.startswith("Task ")] == sections
        assert len(re.findall(r"^\w+ \((?:hidden )?check\)$", rest, re.MULTILINE)) == outcomes.count("wrong")
        assert "right, " not in rest
        lines = table.splitlines()  # every check is in the table, under its task
        assert [line.split()[0] for line in lines] == [
            "Check", "-", "ex_flops_shown", "ex_flops_unseen", "-", "ex_mean_shown", "ex_mean_unseen",
        ]  # fmt: skip
        assert (lines[1], lines[4]) == ("- Task 1: Count all rows", "- Task 2: ex_mean")
        assert html.count("\N{CHECK MARK} right") == outcomes.count("right")
        assert ("<h2>Task 1: Count all rows <small>ex_flops</small></h2>" in html) == ("wrong" in outcomes[:2])


@pytest.mark.parametrize(
    ("hint", "html", "text"),
    [
        ("Does *all* of it lie below?", "Does <em>all</em> of it lie below?", "Does all of it lie below?"),
        ("**Never** `a*b*c`.", "<strong>Never</strong> <code>a*b*c</code>.", "Never a*b*c."),
        ("*Use `x*y` <now>*", "<em>Use <code>x*y</code> &lt;now&gt;</em>", "Use x*y <now>"),
        ("The mean $m$ of $n + 1$.", "The mean <em>m</em> of <em>n + 1</em>.", "The mean m of n + 1."),
        ("*one* and *two*", "<em>one</em> and <em>two</em>", "one and two"),
        ("2 * x * y and a*b*c", "2 * x * y and a*b*c", "2 * x * y and a*b*c"),
        ("$5 or $6, `*` and **", "$5 or $6, <code>*</code> and **", "$5 or $6, * and **"),
        ("*<b>* & `&lt;`", "<em>&lt;b&gt;</em> &amp; <code>&amp;lt;</code>", "<b> & &lt;"),
        ("*open and `open", "*open and `open", "*open and `open"),
    ],
)
def test_hints_are_drawn_as_authors_write_them(hint, html, text):
    page = pages.as_html("t", [("hint", hint)]).decode()
    Page(page)
    assert f"<strong>Hint:</strong> {html}</p>" in page
    assert pages.as_text([("hint", hint)]).decode() == f"Hint: {text}\n"


@pytest.mark.parametrize(
    ("got", "said"),
    [
        ("square = 4.0\nrow = 7", "The number is right, but an int is expected"),
        ("square = shape (), int64: 4\nrow = 7", "The number is right, but it is a tensor: give a plain"),
        ("square = 5\nrow = 7", None),
    ],
)
def test_a_right_number_of_the_wrong_type_is_explained(tmp_path, got, said):
    _, html, text = write(tmp_path, result(got=got))
    if said:
        assert said in text and said in Page(html).words
        assert text.index("+ expected") < text.index(said) < text.index("Hint:")
    else:
        assert "The number is right" not in text


def test_the_note_on_a_missing_answer_stands_beside_its_check(tmp_path):
    notes = ["answer cell 'ex_flops' is missing", "answer cell 'ex_flops_two' is missing", "another"]
    _, html, text = write(tmp_path, result(outcomes=["unanswered"] * 4, notes=notes))
    assert (
        "the line that asks for your code was reached.\nNote: answer cell 'ex_flops' is missing.\n" in text
    )
    assert "Note: answer cell 'ex_flops' is missing." in Page(html).words
    assert text.count("Note: ") == 1  # of this task only, and not in what a hidden check says


@pytest.mark.parametrize("outcomes", [[outcome] * 4 for outcome in model.OUTCOMES])
def test_of_a_hidden_check_only_right_or_not_yet_and_the_hint_are_shown(tmp_path, outcomes):
    right = outcomes[0] == model.RIGHT
    _, html, text = write(tmp_path, result(outcomes=outcomes, got="5", reason="because"))
    for shown in (html, text):
        assert SECRET not in shown and "second" not in shown
    points, mark = ("2 of 2", "\N{CHECK MARK} right") if right else ("0 of 2", "\N{BALLOT X} not yet")
    for task in TASKS:  # in the table
        assert re.search(rf"^  {task}_unseen \(hidden\) +{points} +{mark}$", text, re.MULTILINE)
    parts = text.split("(hidden check)\n")[1:]
    hints = "Try <odd> sizes.", feedback._OTHER_NUMBERS
    assert [part.split("\n\n")[0].splitlines() for part in parts] == (
        [] if right else [[f"{mark}, {points} points", f"Hint: {hint}"] for hint in hints]
    )


@pytest.mark.parametrize(
    ("outcome", "reason", "said"),
    [
        ("error", "ValueError: no <b>", "Your code raised an error: ValueError: no <b>"),
        ("error", None, "Your code raised an error."),
        (
            "timeout",
            "it did not end within 30 s",
            "It did not end within 30 s. Is there a loop that never stops?",
        ),
        ("died", "", "Python stopped while this cell ran. Often this means that the memory was used up."),
        ("flood", "it wrote more than 4 MB", "It wrote more than 4 MB. Is there a print inside a long loop?"),
        ("unanswered", "not answered yet", "not answered yet: the line that asks for your code was reached."),
        ("unreached", "", "The time for the whole notebook was over before this check."),
        ("no such outcome", "", "The time for the whole notebook was over before this check."),
    ],
)
def test_what_went_wrong_is_said_in_words(tmp_path, outcome, reason, said):
    _, html, text = write(tmp_path, result(outcomes=[outcome, "right", "right", "right"], reason=reason))
    assert said in text and said in Page(html).words
    assert "+ expected  square = 4" in text


@pytest.mark.parametrize(
    ("outcomes", "opening"),
    [
        (["right"] * 4, "6 of 6 points. Every check is right."),
        (
            ["right", "right", "right", "wrong"],
            "4 of 6 points. 3 of 4 checks are right. One check is not right yet, in Task 2: ex_mean.",
        ),
        (
            ["wrong", "right", "wrong", "right"],
            "4 of 6 points. 2 of 4 checks are right. A good place to go on is Task 1: Count all rows.",
        ),
        (
            ["wrong"] * 4,
            "0 of 6 points. No check is right yet. A good place to go on is Task 1: Count all rows.",
        ),
    ],
)
def test_the_opening_line_comes_from_the_score(tmp_path, outcomes, opening):
    _, html, text = write(tmp_path, result(outcomes=outcomes))
    assert opening in text.splitlines() and opening in Page(html).words


@pytest.mark.parametrize("status", [model.BROKEN, model.MISSING, model.FAILED])
def test_what_was_not_graded_says_why_and_shows_no_checks(tmp_path, status):
    one = Result(
        "Bo", "01_energy", "bo.ipynb", status, problem="file is 6.0 MB (limit 5 MB)", notes=["a note"]
    )
    _, html, text = write(tmp_path, one)
    assert "Why: file is 6.0 MB (limit 5 MB)" in text and "- a note" in text and "ex_flops" not in text + html
    lost = feedback.write_feedback(dataclasses.replace(one, exercise=""), None, tmp_path)
    assert lost.parent.name == "unknown_exercise" and "unknown exercise" in lost.read_text(encoding="utf-8")


def test_checks_that_an_exercise_does_not_have_are_not_shown(tmp_path):
    one = result()
    one.checks["forged"] = {"outcome": "right", "points": 1000, "max": 1000, "got": SECRET, "reason": SECRET}
    _, html, text = write(tmp_path, one)
    assert "forged" not in html + text and SECRET not in html + text


def test_the_public_form_of_an_exercise_is_enough(tmp_path):
    of = Exercise.from_public(exercise().public())
    assert write(tmp_path / "a", of=of)[1:] == write(tmp_path / "b")[1:]


ATTACKS = [
    "<script>alert(1)</script>",
    "</td></table><img src=x onerror=alert(1)>",
    "\"'><iframe src='javascript:1'>",
    "</title><style>*{display:none}</style>",
    "</style><script>x</script>",
    "<!-- -->",
    "`<b onclick=x>`",
    "&lt;script&gt; &amp; &#60;",
    "\x1b[2J\x1b]0;x\x07",
    "\u202egnp.exe",
    "=cmd|'/C calc'!A0",
    "a\x00b\rc",
    "javascript:alert(1)",
    "\ud800",
    "{0} %s {_STYLE}",
    "<" * 300,
    "]]>",
    "<svg/onload=alert(1)>",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_hostile_texts_stay_texts(tmp_path, attack):
    everywhere = {
        "got": f"{attack}\n{attack}",
        "reason": attack,
        "file": attack,
        "notes": [attack] * 3,
        "problem": attack,
        "lms_id": attack,
    }
    one = result(attack, ["wrong", "wrong", "error", "right"], **everywhere)
    of = exercise(title=attack, titles={"ex_flops": attack})
    page, html, text = write(tmp_path, one, of)
    index = feedback.write_index([(dataclasses.replace(one, exercise=attack), page)], tmp_path)
    for shown in (html, index.read_text(encoding="utf-8")):
        parsed = Page(shown)
        assert parsed.styles == 1
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)
    assert "\x1b" not in text and "\u202e" not in text and "\x00" not in text
    if attack.isascii() and attack.isprintable() and "`" not in attack:
        assert " ".join(attack.split()) in Page(html).words  # and it can be read as it was written


def test_long_texts_are_cut_with_a_note(tmp_path):
    for got in (
        "x" * 100_000,
        "\n".join("line" for _ in range(5000)),
        "\u202e" * 100_000,
        "\x1b[31m" * 100_000,
    ):
        _, html, text = write(tmp_path, result(got=got, notes=["n" * 10_000] * 5000, problem="p" * 10_000))
        assert "Long texts are cut here, to 2,000 characters and 40 lines." in text
        assert text.count("yours ") <= 41 and len(html) < 60_000
        assert "... and 4970 more notes" in text


def test_a_slow_comparison_cannot_be_provoked(tmp_path):
    of = exercise()
    checks = [dataclasses.replace(check, expected="a b " * 500) for check in of.checks]
    write(tmp_path, result(got="b a " * 500), dataclasses.replace(of, checks=tuple(checks)))
    dice = random.Random(0)
    for _ in range(50):  # whatever differs, no character of either text is lost
        mine, theirs = (
            "".join(dice.choice("ab1.,[ ]\u00e4") for _ in range(dice.randint(0, 30))) for _ in range(2)
        )
        rows, _ = feedback._lines(mine, theirs)
        for whose, text in (("yours", mine), ("expected", theirs)):
            assert "".join(p for w, pieces in rows for _, p in pieces if w in ("", whose)) == text


NAMES = [
    "Ada",
    "ada",
    "ADA",
    "CON",
    "nul",
    "aux.txt",
    "../../etc/passwd",
    "..",
    ".",
    "",
    " ",
    "-rf",
    "a/b",
    "a\\b",
    "a:b",
    "a b",
    "a_b",
    "a.",
    "a ",
    "Zoë",
    "Zoe\u0308",
    "x" * 200,
    "x" * 201,
    "李" * 200,
    "COM¹",
    "a\x00b",
    "a\nb",
    "\ud800",
    "con.html",
    '*?<>|"',
    "عمر",
    "index",
    "😀" * 200,
]


def test_two_learners_never_share_a_page_and_names_fit_every_file_system(tmp_path):
    made = {}
    for name in NAMES:
        for lms_id in ("", "7"):
            one = result(name, lms_id=lms_id)
            page, html, _ = write(tmp_path, one)
            assert write(tmp_path, one)[:2] == (page, html)  # the same each time
            made[name, lms_id] = page
            parts = page.relative_to(tmp_path).parts
            assert parts[0] == "01_energy" and len(parts) == 2
            assert re.fullmatch(r"\w[\w]*-[0-9a-f]{16}\.html", parts[1])
            assert len(parts[1].encode()) < 250
    assert len({str(page).casefold() for page in made.values()}) == len(made)
    assert len(list(tmp_path.rglob("*.html"))) == len(made) == len(list(tmp_path.rglob("*.txt")))
    assert not list(tmp_path.rglob("*.part"))


def test_the_index_lists_all_pages_and_its_links_lead_there(tmp_path):
    written = [
        (one, feedback.write_feedback(one, exercise(), tmp_path))
        for one in (
            result("Zoë <b>"),
            result("ada #1?"),
            Result("Bo", "01_energy", "b", model.BROKEN, problem="empty"),
            Result("Al", "01_energy", "b", model.FAILED, problem="lost"),
        )
    ]
    index = feedback.write_index(written, tmp_path)
    assert index == tmp_path / "index.html"
    page = Page(index.read_text(encoding="utf-8"))
    assert len(page.links) == 4
    assert {(tmp_path / unquote(link)).resolve() for link in page.links} == {
        path.resolve() for _, path in written
    }
    assert page.words.endswith(
        "ada #1?01_energy3 of 6graded Al01_energy-failed Bo01_energy0broken Zoë <b>01_energy3 of 6graded"
    )
    again = index.read_bytes()
    feedback.write_index(written[::-1], tmp_path)
    assert index.read_bytes() == again


def test_what_cannot_be_written_raises_oserror_and_leaves_nothing_half_done(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError):
        feedback.write_feedback(result(), exercise(), tmp_path / "file")
    with pytest.raises(OSError):
        feedback.write_index([], tmp_path / "file")
    page = feedback.write_feedback(result(), exercise(), tmp_path / "ok")
    page.unlink()
    page.mkdir()
    with pytest.raises(OSError):
        feedback.write_feedback(result(), exercise(), tmp_path / "ok")
    assert not list(Path(tmp_path).rglob("*.part"))
