"""`course pool`: a class's ledgers become one experiment, nobody is named, and no ledger can spoil the others'."""

import io
import json
import math
import os
import random
import re
import statistics
import time
import zipfile
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
from sample_course import ROOT

from course_lib import cli, ledger
from course_lib.claims import all_claims
from course_lib.classroom import CourseError
from course_lib.classroom.pool import (
    checks,
    figures,
    find,
    guesses,
    ledgers,
    page,
    reasons,
    run,
    spread,
    words,
)
from course_lib.provenance import Component, Provenance
from course_lib.readings import Measurement, Reading

SOURCES = {
    "02_train": '''
# %% [markdown]
# # Train & serve
# %%
EPOCHS = 40
guess_share = predict("02-share", f"Which share of {EPOCHS} epochs?", low=0, high=100, guess=50, unit="%")
guess_word = predict("02-word", "Which <one>?", options=["left", "right"], guess="left")
guess_joules = predict("02-joules", "How many joules?", low=0.01, high=10_000, guess=100, log=True, unit="J")
training = meter.measure(lambda: train(), rel=0.1, name="one training")
served = {b: meter.measure(lambda x=x: read(x), name=f"batch {b}") for b, x in batches.items()}
''',
    "06_stop": '''
# %% [markdown]
# # Stop early
# %%
guess = predict("06-points", "By how many points?", low=-10, high=10, guess=2, step=0.1, unit="points")
for name in ("to the end", "patience of 5"):
    with meter.block(name) as block:
        learn(name)
with meter.block(f"{method}, {task}") as block:
    reading["LoRA 1", "faded"] = 3
answer = {f"ONNX {name.split(',')[0]}": load(name) for name in ("int8", "float32, ONNX", "float32")}
costs = {name: meter.measure(lambda: answer[name](x), name=f"{name}, batch {n}") for name in answer}
with meter.block("one training") as block:
    pass
''',
}  # fmt: skip
CLOSES = {"meta", "wbr", "path", "use", "rect", "br"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A course of two lessons, where every name is known."""
    folder = tmp_path_factory.mktemp("course")
    (folder / "notebooks" / "source").mkdir(parents=True)
    for name, text in SOURCES.items():
        (folder / "notebooks" / "source" / f"{name}.py").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def course(root):
    return words.Course(root)


@pytest.fixture
def there(root, monkeypatch):
    monkeypatch.chdir(root)
    return root


# --- made-up classes --------------------------------------------------------------------------------------------------


def line(kind="note", **data):
    return {"schema": 1, "time": "2026-11-26T09:17:09+00:00", "kind": kind, **data}


def reading(name="to the end", cpu=1.0, watts=4.0, label="modelled", windows=1, half=None, busy=1.0, **more):
    """A line as `Reading.log` or `Measurement.log` writes it; `watts` are of CPU time where joules are modelled."""
    seconds = cpu / busy
    joules = watts * (cpu if label == "modelled" else seconds)
    quantity = "cpu_seconds" if label == "modelled" and windows > 1 else "joules"
    mean = cpu if quantity == "cpu_seconds" else joules
    return line("reading", **{
        "name": name, "label": label, "provenance": "assumed" if label == "unknown" else label, "quantity": quantity,
        "n": windows, "calls": windows, "mean": mean, "half_width": None if half is None else half * mean,
        "seconds": seconds, "cpu_seconds": cpu, "joules": joules, **more})  # fmt: skip


def prediction(key="02-share", said=50, result=40.0, answered=True, unit="%"):
    return line("prediction", key=key, predicted=said, answered=answered, actual=result, unit=unit)


def verdict(claim="A1", word="supported"):
    return line("verdict", claim=claim, word=word, sources="supported")


def learner(rng, label=None):
    """The lines of one honest learner."""
    label = label or rng.choice(["measured", "modelled", "modelled"])
    speed, watts = math.exp(rng.gauss(0, 0.3)), (4 if label == "modelled" else 20 * math.exp(rng.gauss(0, 0.1)))
    lines = [prediction(said=rng.randrange(101), result=40.0, answered=rng.random() < 0.8),
             prediction("02-word", rng.choice(["left", "right"]), "right", unit=""),
             prediction("02-joules", 10 * math.exp(rng.gauss(0, 1)), watts, unit=f"J ({label})")]  # fmt: skip
    for name, base in {"one training": 1.0, "batch 1": 3e-3, "batch 64": 2e-2}.items():
        lines.append(reading(name, base * speed * math.exp(rng.gauss(0, 0.03)), watts, label, 5, 0.03, calls=5))
    lines.append(prediction("06-points", rng.choice([-1, 0, 2.5]), -0.4, unit="points"))
    for _ in range(rng.randrange(1, 4)):
        lines.append(reading("to the end", 1.6 * speed * math.exp(rng.gauss(0, 0.03)), watts, label))
    return [*lines, verdict("B2", rng.choice(["supported", "loosely stated"])), verdict()]


def text(lines):
    return "".join(json.dumps(one) + "\n" for one in lines)


def data(*lines):
    return text(lines).encode()


def a_class(folder, n=12, seed=0, name="learner_{:03d}.jsonl"):
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    for i in range(n):
        (folder / name.format(i)).write_text(text(learner(rng)), encoding="utf-8")
    return folder


def numbered(*learners, course):
    """Ledgers of these lists of lines, numbered from 1 in this order."""
    read = [ledgers.read(data(*lines), course) for lines in learners]
    return [replace(one, number=i) for i, one in enumerate(read, 1)]


def pooled(paths, tmp_path, *more):
    """(exit code, the report or None) of `course pool`."""
    out = tmp_path / "report.html"
    code = cli.main(["pool", *map(str, paths), "-o", str(out), *more])
    return code, out.read_text(encoding="utf-8") if out.exists() else None


def seen(html):
    """The words of a page, without tags, styles and pictures' paths."""
    html = re.sub(r"<style.*?</style>", " ", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", html).replace("&#x27;", "'").replace("&quot;", '"').split())


# --- the whole command ------------------------------------------------------------------------------------------------


def test_a_class_becomes_one_experiment(there, tmp_path, capsys):
    code, html = pooled([a_class(tmp_path / "class")], tmp_path)
    said = seen(html)
    assert code == 0 and "12 ledgers pooled, 0 left out" in capsys.readouterr().out
    assert "One experiment on 12 machines" in said and "; 4 pieces of work to compare" in said
    for words_ in ("Lesson 02: Train &amp; serve", "Lesson 06: Stop early", "one training", "batch 64", "to the end",
                   "joules, measured", "joules, modelled", "Which share of 40 epochs?", "Which &lt;one&gt;?",
                   "A1: \"approximately 1,287 MWh for GPT-3\"", "12 of 12"):  # fmt: skip
        assert words_ in said, words_
    assert "What was left out? Nothing." in said


@pytest.mark.slow
def test_the_same_class_gives_the_same_bytes_whatever_its_files_are_called(there, tmp_path):
    pages = []
    for i, name in enumerate(("learner_{:03d}.jsonl", "{:03d}_zoe.jsonl")):
        folder = a_class(tmp_path / str(i), name=name)
        if i:
            for k, path in enumerate(sorted(folder.iterdir(), reverse=True)):  # the other way round, in folders
                (folder / f"{k:02d}").mkdir()
                path.rename(folder / f"{k:02d}" / "ledger.jsonl")
        pages.append(pooled([folder], tmp_path)[1])
    assert pages[0] == pages[1]


def test_ledgers_are_numbered_in_an_order_that_does_not_follow_names(course, tmp_path):
    folder = a_class(tmp_path / "class", 20)
    kept, _ = run.gather([folder], course)
    by_name = [ledgers.read(path.read_bytes(), course).digest for path in sorted(folder.iterdir())]
    numbers = [next(one.number for one in kept if one.digest == digest) for digest in by_name]
    assert sorted(numbers) == list(range(1, 21)) and numbers != sorted(numbers)
    by_number = [one.digest for one in sorted(kept, key=lambda one: one.number)]
    assert by_number == sorted(by_number)  # nor the order in which they were found, nor how full they are


@pytest.mark.parametrize(("given", "out", "said"), [
    (["nowhere"], "r.html", "is not there"), (["class"], "r.csv", "must end in .html"),
    (["class"], "class", "must end in .html"), (["class/learner_000.jsonl"], "class/learner_000.jsonl", "must end in .html"),
    (["class"], "mine.html", "no report of course pool"), (["class"], "no/such/folder.html", "cannot be written"),
    (["empty"], "r.html", "holds no ledger"), (["broken.zip"], "r.html", "nothing to pool in 1 ledger"),
    (["class", "notes"], "r.html", "holds no ledger"), (["page.html"], "page.html", "one of the ledgers")])
def test_what_cannot_be_asked_is_one_sentence(there, tmp_path, monkeypatch, capsys, given, out, said):
    a_class(tmp_path / "class", 2)
    for name in ("empty", "notes"):
        (tmp_path / name).mkdir()
    (tmp_path / "notes" / "readme.txt").write_text("hello")
    (tmp_path / "mine.html").write_text("<p>My thesis</p>")
    (tmp_path / "page.html").write_text("")
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 not a zip")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert cli.main(["pool", *(str(tmp_path / one) for one in given), "-o", str(tmp_path / out)]) == 2
    told = capsys.readouterr().err.strip()
    assert said in told and told.startswith("course: ") and told.count("\n") == 0
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_report_may_be_written_again_and_nothing_else(there, tmp_path):
    folder = a_class(tmp_path / "class", 4)
    assert pooled([folder], tmp_path) == pooled([folder], tmp_path)


def test_outside_the_course_its_own_sources_are_used(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "02" in words.of_the_course().lessons
    monkeypatch.setattr(words, "__file__", str(tmp_path / "site-packages" / "words.py"))
    (tmp_path / "site-packages").mkdir()
    with pytest.raises(CourseError, match="go there"):
        words.of_the_course()


def test_where_no_ledger_is_left_there_is_no_report(there, tmp_path, capsys):
    (tmp_path / "a.jsonl").write_text("no ledger\n" * 3)
    assert pooled([tmp_path / "a.jsonl"], tmp_path) == (2, None)
    captured = capsys.readouterr()
    assert "a.jsonl: it is damaged, or no ledger: 3 of its lines cannot be read" in captured.out
    assert "nothing to pool in 1 ledger: no report was written" in captured.err


def test_one_ledger_alone_and_one_without_readings_have_a_page(there, tmp_path):
    (tmp_path / "a.jsonl").write_text(text([prediction(), verdict()]))
    code, html = pooled([tmp_path / "a.jsonl"], tmp_path)
    assert code == 0 and "little to compare yet" in seen(html) and "Which share of 40 epochs?" in seen(html)
    (tmp_path / "a.jsonl").write_text(text([reading()]))
    code, html = pooled([tmp_path / "a.jsonl"], tmp_path)
    assert code == 0 and "joules, modelled 1 4 J - -" in seen(html)
    assert "No ledger holds a verdict" in seen(html) and "No ledger holds an answered prediction" in seen(html)


def test_three_hundred_ledgers(root, tmp_path, monkeypatch, record_property):
    """Time is printed, and must be 10 s at most; asserted is what it is made of: each line is parsed once,
    the pictures do not become more with the class, and the page hardly grows."""
    monkeypatch.chdir(root)
    sizes, drawn, parsed = {}, {}, {}
    real_svg, real_line = figures.svg, ledgers._line
    for n in (30, 300):
        folder = a_class(tmp_path / str(n), n)
        count = {"svg": 0, "line": 0}

        def count_up(name, real, count=count):
            def counted(*given):
                count[name] += 1
                return real(*given)

            return counted

        monkeypatch.setattr(figures, "svg", count_up("svg", real_svg))
        monkeypatch.setattr(ledgers, "_line", count_up("line", real_line))
        start = time.perf_counter()
        code, html = pooled([folder], tmp_path)
        seconds = time.perf_counter() - start
        assert code == 0 and f"One experiment on {n} machines" in html
        sizes[n], drawn[n], parsed[n] = len(html), count["svg"], count["line"]
        assert parsed[n] == sum(path.read_text().count("\n") for path in folder.iterdir())
    print(f"300 ledgers: {seconds:.1f} s")
    record_property("seconds_for_300_ledgers", round(seconds, 1))
    assert drawn[30] == drawn[300] <= 1 + len(SOURCES)
    assert sizes[300] - sizes[30] < 270 * 500  # a machine is a few strokes in the pictures and no text


# --- the page ---------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Checks that elements are closed in order; keeps the tags, the attributes and the ids."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.attributes = [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in CLOSES:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        if tag not in CLOSES:
            assert self.open.pop() == tag


def test_the_page_stands_alone_and_can_be_read_by_everybody(there, tmp_path):
    _, html = pooled([a_class(tmp_path / "class")], tmp_path)
    parsed = Page(html)
    assert html.startswith("<!doctype html>\n<html lang=\"en\">") and "default-src 'none'" in html
    assert not {"script", "img", "link", "iframe", "image", "foreignobject", "metadata", "desc"} & set(parsed.tags)
    assert parsed.tags.count("title") == 1 and "<!--" not in html
    for tag, name, value in parsed.attributes:
        assert not name.startswith("on"), (tag, name)
        if name in ("href", "src", "xlink:href"):
            assert value.startswith("#"), (tag, value)
    assert re.findall(r"url\((?!#)", html) == [] and "@import" not in html
    assert "color-scheme: light dark" in html and "@media print" in html and "prefers-color-scheme: dark" in html
    ids = [value for _, name, value in parsed.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    used = {value[1:] for _, name, value in parsed.attributes if name == "xlink:href"} | set(re.findall(r"url\(#([^)]+)\)", html))
    assert used <= set(ids)
    roles = [value for tag, name, value in parsed.attributes if (tag, name) == ("svg", "role")]
    labels = [value for tag, name, value in parsed.attributes if (tag, name) == ("svg", "aria-label")]
    assert len(roles) == len(labels) == parsed.tags.count("figure") == parsed.tags.count("details") >= 3
    assert set(roles) == {"img"} and all(len(label.split()) > 12 for label in labels)
    pictures = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert all("?" in "".join(re.findall(r"<text[^>]*>([^<]*)</text>", one)) for one in pictures)
    assert parsed.tags.count("h1") == 1 and parsed.tags.count("main") == 1
    wide = [value for tag, name, value in parsed.attributes if (tag, name) == ("div", "tabindex")]
    assert len(wide) == parsed.tags.count("table") + len(pictures)  # what moves sideways can be reached by the keyboard


def test_a_figure_that_breaks_the_rules_is_refused(course):
    (group, *_) = spread.groups(numbered([reading()], course=course))
    fig, alt = figures.machines([group])
    fig.suptitle("No question")
    with pytest.raises(ValueError, match="asks no question"):
        figures.svg(fig, alt, 0)
    fig.suptitle("A question?")
    with pytest.raises(ValueError, match="alt text"):
        figures.svg(fig, "short", 0)
    assert 'aria-label="six words &quot;are&quot; &lt;just&gt; enough &amp; fine"' in figures.svg(
        fig, 'six words "are" <just> enough & fine', 0)


def test_series_can_be_told_apart_in_grey(course):
    """Calculated joules have short strokes; the factor within is a hollow circle, that across a filled diamond."""
    both = numbered([reading(cpu=1.1)], [reading(cpu=1.2, label="measured")], course=course)
    fig, _ = figures.machines([g for g in spread.groups(both) if g.unit == "J"])
    strokes = [y for y in ([v for v in one.get_ydata() if not math.isnan(v)] for one in fig.axes[0].lines) if len(y) == 2]
    assert len({round(y[0] - y[1], 3) for y in strokes if y[0] > y[1]}) == 2
    made = numbered(*[[reading(cpu=v + i, windows=5, half=0.1)] for i, v in enumerate((1.0, 1.5, 2.0))], course=course)
    fig, _ = figures.across_within([g for g in spread.groups(made) if g.unit == "s"])
    assert {one.get_marker(): one.get_markerfacecolor() == "white" for one in fig.axes[0].lines if one.get_marker() != "None"} == {
        "o": True, "D": False}


# --- nobody is named --------------------------------------------------------------------------------------------------

SECRETS = ("ada-lovelace-pc", "zz_ada", "/home/zz_ada", "secret_course_file", "C:\\Users\\Zz_Ada", "10.1.2.3")


def planted(secret, rng, forging):
    """Every line of an honest ledger again and again, with a secret in one of its fields, or in a field of its own.

    forging: also where that makes the whole ledger a forged one.
    """
    lines = learner(rng)
    for one in learner(rng):
        for key in one:
            if isinstance(one[key], str) and (forging or one["kind"] != "reading" or key in ("name", "time", "kind")):
                lines.append({**one, key: secret})
        lines.append({**one, secret: secret, "host": secret, "user": {"name": [secret]}, "path": secret})
    part = {"name": "CPU", "joules": 1.7, "label": "measured", "source": "intel rapl counter", "scope": "whole CPU package(s)"}
    for i, (key, value) in enumerate({"source": secret, "scope": secret, secret: secret}.items()):
        lines.append(reading("to the end", 0.17, 10.0, "measured", busy=0.9 + i / 9, joules=1.7, mean=1.7,
                             parts=[{**part, key: value}], machine={"where": f"local, {secret}", "cores": secret}))
    return lines


def test_no_name_of_a_ledger_gets_into_the_page(there, tmp_path, capsys):
    rng, folder = random.Random(5), tmp_path / "class"
    for secret in SECRETS:
        name = re.sub(r"[/:\\]", "_", secret)
        for i in range(3):  # several machines hold the same secret: being frequent makes it no more public
            place = folder / f"{name}_{i}_assignsubmission_file_"
            place.mkdir(parents=True)
            lines = [*planted(secret, rng, forging=i == 2), reading("batch 1", joules=None, label=secret, mean=None)]
            (place / f"{name}.jsonl").write_text(text(lines) + f'{{"cut": "{secret}', encoding="utf-8")
        for i, bad in enumerate((f"{secret}\n" * 9, "", text([{**reading(), "label": secret}]),
                                 text([{**reading(), "quantity": secret}]), text([{**reading(), "seconds": secret}]),
                                 text([reading(parts=[{"name": secret, "joules": 4.0, "label": secret, "source": secret}])]),
                                 text([{**line(secret), "schema": secret}]))):  # fmt: skip
            (folder / f"{name}_{i}.jsonl").write_text(bad, encoding="utf-8")
    with zipfile.ZipFile(folder / "zz_ada.zip", "w") as archive:
        for i in range(3):
            archive.writestr(f"zz_ada/ada-lovelace-pc_{i}_2_ledger.jsonl", text(learner(rng)))
        archive.writestr("zz_ada/secret_course_file.jsonl", "zz_ada")
    code, html = pooled([folder], tmp_path)
    assert code == 1
    told = capsys.readouterr().out
    assert "zz_ada.zip: zz_ada/secret_course_file.jsonl: it is damaged" in told  # the terminal is the instructor's own
    low = html.lower()
    for secret in (*SECRETS, str(tmp_path), str(there), "assignsubmission", "lovelace", ".jsonl", ".zip"):
        assert secret.lower() not in low and secret.lower().replace("\\", "\\\\") not in low, secret
    assert "\\u" not in html and "Whole ledgers. They have no number" in seen(html)
    said = seen(html)  # what was planted was read: two ledgers a secret and three in the zip are in the report
    assert f"One experiment on {2 * len(SECRETS) + 3} machines" in said and "measured (CPU)" in said
    assert re.search(rf"readings of work that the course does not name {2 * len(SECRETS)} \d+", said)  # ledgers, then lines


def test_this_machine_does_not_stand_in_the_page_either(there, tmp_path):
    import getpass
    import platform

    _, html = pooled([a_class(tmp_path / "class")], tmp_path)
    for own in (platform.node(), os.getcwd(), str(tmp_path), str(ROOT)):
        assert len(own) < 4 or own.lower() not in html.lower()
    assert f">{getpass.getuser()}<" not in html
    assert not re.search(r"20\d\d-\d\d-\d\d", html)  # no date: when somebody worked is theirs
    assert "matplotlib" not in html.lower()


def test_every_text_of_the_page_comes_from_the_course(there, tmp_path, course):
    """Rows of tables, and texts of pictures, that are names of work: each is one that the sources hold."""
    _, html = pooled([a_class(tmp_path / "class")], tmp_path)
    rows = re.findall(r'<th scope="rowgroup"[^>]*>([^<]*)</th>', html)
    known = {q.text.replace("<", "&lt;").replace(">", "&gt;") for q in course.questions.values()}
    assert rows and all(row in known or course.work(row, "02") for row in rows)


# --- what the course itself says --------------------------------------------------------------------------------------


def test_names_are_known_only_where_the_sources_can_write_them(course):
    known = {"one training": None, "batch 64": "02", "batch 0.5": "02", "to the end": "06", "patience of 5": "06",
             "LoRA 1, faded": "06", "faded, faded": "06", "ONNX int8, batch 64": "06",
             "ONNX float32, batch 1": "06"}  # fmt: skip
    for name, lesson in known.items():
        assert course.work(name) == (lesson and (lesson, name)), name
    for name in ("", "batch ", "batch ada", "ada, faded", "LoRA 1, ada", ", ", "To The End", "to the end ", "x" * 500, None,
                 7, ["to the end"], {"a": 1}, "batch 64; ada", "batch 64\n", "ONNX ada, batch 1",
                 "ONNX , batch 1", "batch 20261126", "ONNX ONNX int8, batch 1"):  # fmt: skip
        assert course.work(name) is None, name


def test_a_name_of_two_lessons_belongs_to_the_one_that_the_ledger_is_in(course):
    (both,) = numbered([reading("one training", 1.1), prediction("06-points", 0, 1.0), reading("one training", 1.2),
                        prediction(), reading("one training", 1.3)], course=course)  # fmt: skip
    assert [(one.lesson, one.cpu_seconds) for one in both.readings] == [("06", 1.2), ("02", 1.3)]
    assert both.left == {"readings of work that the course does not name": 1}


def test_questions_are_read_from_the_sources(course):
    share, word, joules, points = (course.questions[key] for key in ("02-share", "02-word", "02-joules", "06-points"))
    assert (share.text, share.low, share.high, share.unit, share.options) == ("Which share of 40 epochs?", 0, 100, "%", ())
    assert word.options == ("left", "right") and joules.unit == "J" and points.allows(-10) and not points.allows(-10.1)


def test_the_real_lessons_are_read_whole():
    course = words.Course(ROOT)
    sources = sorted((ROOT / "notebooks" / "source").glob("[0-9]*.py"))
    assert list(course.lessons) == [path.stem[:2] for path in sources]
    for path in sources:
        lesson, source = course.lessons[path.stem[:2]], path.read_text(encoding="utf-8")
        assert len(lesson.questions) == len(re.findall(r"= predict\(", source)), path.stem
        assert all(key.startswith(path.stem[:2]) and "\u2026?" not in q.text for key, q in lesson.questions.items())
        assert all(q.options or None not in (q.low, q.high) for q in lesson.questions.values()), path.stem
        if ".log()" in source:
            assert lesson.named or lesson.shapes or lesson.texts
    assert course.work("first reading") == ("00", "first reading")


def test_a_source_that_is_not_python_is_one_sentence(tmp_path):
    (tmp_path / "notebooks" / "source").mkdir(parents=True)
    (tmp_path / "notebooks" / "source" / "01_x.py").write_text("def (:\n")
    with pytest.raises(CourseError, match="line 1"):
        words.Course(tmp_path)


def test_work_that_each_learner_designs_is_not_the_same_work(course):
    (one,) = numbered([reading(), reading(checks.CHOSEN, 2.0)], course=course)
    assert [r.work for r in one.readings] == ["to the end"] and not one.left
    assert f'"{checks.CHOSEN}"' in (ROOT / "notebooks" / "source" / "10_energy_label.py").read_text(encoding="utf-8")
    with pytest.raises(checks.Forged, match="zero or less"):  # and costs no check
        numbered([reading(checks.CHOSEN, 2.0, watts=-1)], course=course)


def test_the_names_that_the_lessons_log_are_known():
    course = words.Course(ROOT)
    for name, lesson in {"first reading": "00", "one query alone": "02", "batch 64": "03", "LoRA 1, faded": "05",
                         "k-means, 100 of all images": "06", "ONNX float32, batch 1": "07", "ONNX int8 in blocks, batch 1": "07",
                         "training the two models": "08", "one query to the narrow reader": "09", "start": "10",
                         "training: large, dense, full, 400": "10"}.items():
        assert course.work(name) == (lesson, name)
    assert course.work("training: large, ada, full, 400") is None


# --- statistics -------------------------------------------------------------------------------------------------------


def test_labels_are_never_mixed(course):
    rng = random.Random(3)
    labels = ["measured", "sampled", "modelled", "assumed", "unknown"]
    made = numbered(*[[reading(cpu=rng.uniform(0.9, 1.1), watts=10.0 ** labels.index(label), label=label)]
                      for label in labels * 4], course=course)  # fmt: skip
    found = {g.label: g for g in spread.groups(made)}
    assert set(found) == {*labels, spread.CPU_TIME}
    assert len(found[spread.CPU_TIME].machines) == 20
    for i, label in enumerate(labels):  # watts a factor of 10 apart: a single stranger would show
        assert len(found[label].machines) == 4 and 0.8 * 10**i < found[label].median < 1.2 * 10**i
        assert {one.label for machine in found[label].machines.values() for one in machine.runs} == {label}
    assert [g.sensed for g in found.values()] == [label in ("measured", "sampled") for label in found]


def test_one_ledger_with_two_labels_counts_in_each_and_in_none_together(course):
    (both,) = numbered([reading(cpu=1.0), reading(cpu=1.1, watts=30, label="measured")], course=course)
    found = {g.label: g.median for g in spread.groups([both])}
    assert found["modelled"] == pytest.approx(4.0) and found["measured"] == pytest.approx(33.0)


def test_joules_of_other_parts_of_the_machine_stand_apart(course):
    def parts(*names):
        return [{"name": name, "joules": 10.0 / len(names), "label": "measured", "scope": "whole",
                 "source": f"{'GPU energy' if name == 'GPU' else 'intel rapl'} counter"} for name in names]  # fmt: skip

    made = numbered([reading(cpu=1.0, watts=10, label="measured", parts=parts("CPU"))],
                    [reading(cpu=1.01, watts=10 / 1.01, label="measured", parts=parts("GPU", "CPU"))],
                    [reading(cpu=1.02, watts=10, label="measured")], course=course)  # fmt: skip
    assert {g.label: g.median for g in spread.groups(made) if g.unit == "J"} == pytest.approx(
        {"measured": 10.2, "measured (CPU)": 10.0, "measured (CPU + GPU)": 10.0})


def test_the_spread_across_machines_is_that_of_their_quartiles(course):
    values = [1, 2, 3, 5, 8, 13, 21]
    (group, _) = spread.groups(numbered(*[[reading(cpu=v)] for v in values], course=course))
    q1, q2, q3 = statistics.quantiles(map(math.log, values), n=4, method="inclusive")
    assert group.median == pytest.approx(math.exp(q2)) and group.across == pytest.approx(math.exp(q3 - q1))
    assert group.within is None


def test_few_machines_have_no_quartiles(course):
    (group, _) = spread.groups(numbered([reading(cpu=1.0)], [reading(cpu=4.0)], course=course))
    assert group.across is None and group.quartiles == pytest.approx((1.0, 2.0, 4.0))


def test_the_spread_within_is_that_of_a_machines_own_runs(course):
    made = numbered([reading(cpu=v) for v in (1.0, 1.1, 0.9)], [reading(cpu=v) for v in (2.0, 2.02)], [reading(cpu=3.0)],
                    course=course)  # fmt: skip
    (group, _) = spread.groups(made)
    sds = sorted(statistics.stdev(map(math.log, runs)) for runs in ((1.0, 1.1, 0.9), (2.0, 2.02)))
    assert group.within == pytest.approx(math.exp(1.349 * sum(sds) / 2))


def test_an_interval_gives_back_the_scatter_that_made_it(course):
    """n windows with a known scatter -> the interval that the meter writes -> the same scatter again."""
    from course_lib.stats import mean_interval

    rng, lines = random.Random(1), []
    for _ in range(200):
        windows = [math.exp(rng.gauss(0, 0.08)) for _ in range(8)]
        mean, half = mean_interval(windows)
        lines.append([reading(cpu=float(mean), windows=8, half=float(half / mean))])
    found = {g.label: g for g in spread.groups(numbered(*lines, course=course))}
    for label in (spread.CPU_TIME, "modelled"):  # a modelled joule is CPU time times a constant: the same interval
        assert math.log(found[label].within) / 1.349 == pytest.approx(0.08, rel=0.1)


def test_an_interval_of_joules_says_nothing_about_cpu_time(course):
    (cpu, joules) = spread.groups(numbered([reading(label="measured", windows=5, half=0.1)], course=course))
    assert cpu.within is None and joules.within > 1


def test_equal_machines_are_told_apart_from_unlike_ones(course):
    def apart(between):
        rng = random.Random(8)
        made = numbered(*[[reading(cpu=base * math.exp(rng.gauss(0, 0.05))) for _ in range(4)]
                          for base in (math.exp(rng.gauss(0, between)) for _ in range(40))], course=course)  # fmt: skip
        group = spread.groups(made)[0]
        return math.log(group.across) / math.log(group.within)

    assert apart(0.0) < 1.5 and apart(0.5) > 5  # the first: runs of one machine, handed in as forty ledgers


def test_labels_apart_puts_medians_beside_each_other(course):
    made = numbered([reading(cpu=1.0)], [reading(cpu=1.0001, watts=16, label="measured")], course=course)
    assert spread.labels_apart(spread.groups(made)) == {("modelled", "measured"): [pytest.approx(0.25, rel=1e-3)]}


def test_work_of_one_ledger_alone_is_not_shown_and_no_lesson_grows_without_end(course):
    texts = sorted(course.lessons["06"].texts, key=len)
    made = numbered([reading("to the end", 1.0), reading("patience of 5", 1.0)], [reading("to the end", 1.1)], course=course)
    assert {g.work for g in spread.shared(spread.groups(made), 2)} == {"to the end"}
    shapes = [f"{a}, {i}" for a in texts for i in range(40)]
    names = [name for name in shapes if course.work(name) == ("06", name)][:60]
    many = numbered(*[[reading(name, 1.0 + i + k) for i, name in enumerate(names)] for k in (0.1, 0.2)], course=course)
    assert len(names) == 60 and len({g.work for g in spread.shared(spread.groups(many), 2)}) == spread.WORKS


# --- outliers ---------------------------------------------------------------------------------------------------------

PARTS = [{"name": "CPU", "joules": 10.0, "label": "measured", "source": "intel rapl counter",
          "scope": "whole CPU package(s), every process, no RAM"}]  # fmt: skip
OWN = {"where": "local", "cores": 8.0}


def test_a_class_without_outliers_has_none(course):
    made = numbered(*[[reading(cpu=1 + i / 100)] for i in range(9)], course=course)
    assert reasons.outliers(spread.groups(made)) == []


@pytest.mark.parametrize(("odd", "title", "said"), [
    ({"cpu": 5.0}, "CPU time", "a slower processor, or a busy one"),
    ({"cpu": 0.2}, "CPU time", "a faster processor."),
    ({"cpu": 5.0, "watts": 2.0, "label": "modelled", "provenance": "modelled", "joules": 10.0, "mean": 10.0}, "CPU time",
     "its joules are modelled, those of most others measured"),
    ({"cpu": 5.0, "busy": 4.0}, "CPU time", "Other use of its cores: 4 at work on average, where the others have 1"),
    ({"cpu": 5.0, "machine": {"where": "Colab, virtual machine", "cores": 2}}, "CPU time",
     "Another kind of machine: Colab, where most others are a computer of its own"),
    ({"cpu": 5.0, "machine": {"where": "local, container", "cores": 8}}, "CPU time", "a virtual machine or container"),
    ({"cpu": 5.0, "machine": {"where": "local", "cores": 2}}, "CPU time", "it has 2 cores, most others 8 cores"),
    ({"watts": 95.0}, "joules, measured", "it drew 95 W (measured), where the median of the others is 10 W"),
    ({"cpu": 5.0, "watts": 10.0}, "joules, measured", "Its watts are as usual, its time is not"),
    ({"watts": 95.0, "parts": [{**PARTS[0], "joules": 95.0, "source": "windows emi counter", "scope": "this process"}]},
     "joules, measured (CPU)", "Another scope: its joules cover this program alone, those of most others the whole CPU"),
    ({"watts": 95.0, "parts": [{**PARTS[0], "joules": 95.0, "source": "a thing of mine"}]}, "joules, measured (CPU)",
     "Another source: its joules come from a source that this course does not know, those of most others from an energy counter"),
])  # fmt: skip
def test_an_outlier_is_explained_by_its_provenance(course, odd, title, said):
    usual = {"label": "measured", "watts": 10.0, "machine": OWN}

    def other(cpu):
        parts = {"parts": [{**PARTS[0], "joules": 10 * cpu}]} if "parts" in odd else {}
        return [reading(**usual, cpu=cpu, **parts)]

    others = [other(1 + i / 200) for i in range(8)]
    made = numbered(*others, [reading(**{**usual, **odd})], course=course)
    rows = {row.title: row for row in reasons.outliers(spread.groups(made))}
    assert rows[title].number == 9 and said in rows[title].reason, rows[title].reason


def test_a_modelled_outlier_may_be_the_models_own(course):
    made = numbered(*[[reading(cpu=1 + i / 200)] for i in range(8)], [reading(watts=40.0, cpu=1.01)], course=course)
    (row,) = reasons.outliers(spread.groups(made))
    assert row.title == "joules, modelled" and row.number == 9 and row.factors == [pytest.approx(10, rel=0.1)]
    assert "counts 40 W for a busy core, most others' 4 W. The model differs, not the work." in row.reason


def test_what_no_majority_of_the_others_shares_is_no_reason(course):
    others = [[reading(cpu=1 + i / 200, machine={"where": "local", "cores": 2 ** (1 + i % 3)})] for i in range(9)]
    (row, *_) = reasons.outliers(spread.groups(numbered(*others, [reading(cpu=5.0, machine={**OWN, "cores": 64})], course=course)))
    assert row.number == 10 and "cores" not in row.reason


def test_a_noisy_machine_is_told_to_measure_again(course):
    quiet = [[reading(cpu=1 + i / 200, windows=5, half=0.03)] for i in range(8)]
    (row, *_) = reasons.outliers(spread.groups(numbered(*quiet, [reading(cpu=4.0, windows=5, half=0.6)], course=course)))
    assert "its own windows scatter (± 60%)" in row.reason


def test_outliers_stand_in_the_page_once_per_ledger(there, course, tmp_path):
    folder = a_class(tmp_path / "class", 10)
    slow = [{**one, **{k: one[k] * 20 for k in ("seconds", "cpu_seconds", "joules", "mean", "half_width") if one.get(k)}}
            if one["kind"] == "reading" else one for one in learner(random.Random(99), "modelled")]  # fmt: skip
    (folder / "slow.jsonl").write_text(text(slow))
    _, html = pooled([folder], tmp_path)
    kept, _ = run.gather([folder], course)
    number = next(one.number for one in kept if max(r.cpu_seconds for r in one.readings) > 15)
    items = [item for item in re.findall(r"<li>(.*?)</li>", html) if item.startswith("Ledger ")]
    assert [item for item in items if item.startswith(f"Ledger {number}, CPU time: ") and "in 4 of 4 pieces of work" in item]
    assert len(items) == len({item.partition(":")[0] for item in items})


# --- predictions and verdicts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "said", "result", "word"), [
    ("02-word", "left", "left", "right"), ("02-word", "left", "right", "far"), ("02-share", 50, 50.0, "right"),
    ("02-share", 50, 46.0, "right"), ("02-share", 50, 26.0, "near"), ("02-share", 50, 99.0, "near"),
    ("02-share", 50, 101.0, "far"), ("02-share", 50, 24.0, "far"), ("02-share", 0, 4.0, "right"), ("02-share", 0, 15.0, "near"),
    ("02-share", 0, 25.0, "far"), ("06-points", -1, -1.9, "right"), ("06-points", -1, 2.5, "near"), ("06-points", 0, 0.0, "right"),
    ("06-points", 0, 5.0, "far"), ("02-joules", 100, 1e-290, "far"), ("02-joules", 100, 1e290, "far")])  # fmt: skip
def test_predictions_are_judged(course, key, said, result, word):
    assert guesses.judge(course.questions[key], said, result) == word


def test_the_first_answer_counts_and_a_skipped_one_is_none(course):
    made = numbered([prediction(said=10), prediction(said=40)], [prediction(said=50, answered=False), prediction(said=40)],
                    [prediction(said=40)], course=course)  # fmt: skip
    (tally,) = guesses.tallies(made, course)
    assert (tally.answered, tally.skipped, dict(tally.counts)) == (2, 1, {"far": 1, "right": 1})
    assert tally.typical == pytest.approx(0.5)  # the middle of 1/4 and 1, by factors


def test_predictions_of_joules_stand_apart_by_label(course):
    made = numbered([prediction("02-joules", 10, 10.0, unit="J (modelled)")],
                    [prediction("02-joules", 10, 30.0, unit="J (measured)")],
                    [prediction("02-joules", 10, 30.0, unit="J"), verdict()], course=course)  # fmt: skip
    assert [(t.label, t.answered) for t in guesses.tallies(made, course)] == [("measured", 1), ("modelled", 1)]
    assert made[2].left == {"predictions in joules without a label": 1}


@pytest.mark.parametrize("odd", [
    prediction(said=101), prediction(said=-1), prediction(said="fifty"), prediction(said=None), prediction(said=True),
    prediction(result="many"), prediction(result=None), prediction("02-word", "up", "left"), prediction("02-word", "left", 3),
    prediction(answered="yes"), prediction(answered=None), prediction(key="99-new"), prediction(key=["02-share"]),
    verdict("Z9"), verdict("A1", "true"), verdict(["A1"]), verdict("A1", ["supported"]), line("joke"), {**line(), "schema": 2},
    {**line(), "schema": "1"}, {**line(), "schema": True}, {**line(), "schema": None}, line("reading") | {"schema": 0},
    prediction(said=10**400), prediction(result=10**400)])  # fmt: skip
def test_what_this_course_does_not_know_costs_its_line_alone(course, odd):
    (one,) = numbered([reading(), odd, prediction("06-points", 1, 1.0)], course=course)
    assert len(one.readings) == 1 and list(one.predictions) == ["06-points"] and one.left.total() == 1 and not one.verdicts


def test_the_last_verdict_counts(course):
    made = numbered([verdict("B2", "supported"), verdict("B2", "contested"), verdict()], [verdict("B2", "contested")],
                    course=course)  # fmt: skip
    assert guesses.verdicts(made) == {"A1": {"supported": 1}, "B2": {"contested": 2}}


def test_verdicts_stand_beside_the_sources(there, tmp_path):
    for i, word in enumerate(("supported", "loosely stated", "loosely stated", "contested")):
        (tmp_path / f"{i}.jsonl").write_text(text([verdict("B2", word), verdict(), reading(cpu=1 + i)]))
    _, html = pooled(sorted(tmp_path.glob("*.jsonl")), tmp_path)
    said = seen(html)
    assert "loosely stated 2, supported 1, contested 1 loosely stated 2 of 4" in said and "they do on 1 of 2 claims" in said
    assert "supported 4 supported 4 of 4" in said and all_claims()["B2"].verdict == "loosely stated"


# --- damaged and forged -----------------------------------------------------------------------------------------------

DEEP = "[" * 9000 + "]" * 9000
RAPL = {"name": "CPU", "joules": 4.0, "label": "modelled", "source": "CPU time x table watts", "scope": "this process"}
FORGED = {
    "joules without a label": (text([reading(label="")]), "joules without a label"),
    "no label at all": (text([{k: v for k, v in reading().items() if k != "label"}]), "joules without a label"),
    "a label of none": (text([reading(label="none")]), "joules without a label"),
    "a label that is a list": (text([reading() | {"label": ["measured"]}]), "joules without a label"),
    "a nicer label": (text([reading() | {"label": "measured"}]), "labelled measured whose provenance says modelled"),
    "label and source": (text([reading(watts=4.0, label="measured", parts=[{**RAPL, "label": "measured"}])]),
                         "labelled measured that come from CPU time times a table's watts, which makes them modelled"),
    "a constant, measured": (text([reading(label="measured", parts=[{**RAPL, "label": "measured", "source": "constant"}])]),
                             "which makes them assumed"),
    "a counter, modelled": (text([reading(parts=[{**RAPL, "source": "intel rapl counter"}])]), "which makes them measured"),
    "the weakest part": (text([reading(label="measured", watts=8.0, parts=[
        {**RAPL}, {**RAPL, "name": "GPU", "label": "measured", "source": "GPU energy counter"}])]),
        "a total labelled measured with a part that is modelled"),
    "parts that do not add up": (text([reading(parts=[RAPL, {**RAPL, "joules": 1.0}])]),
                                 "a total of 4 J (modelled) whose parts add up to 5 J"),
    "a part without a label": (text([reading(parts=[{**RAPL, "label": None}])]), "or without a label"),
    "parts of nothing": (text([reading(parts=[{**RAPL, "joules": None}])]), "whose parts add up to 0 J"),
    "zero joules of no part": (text([reading(watts=0, parts=[{**RAPL, "joules": None}])]), "of zero or less"),
    "an interval too wide": (text([reading(windows=5, half=1e4)]), "± 1e+04 times the mean, more than 5 windows can give"),
    "a negative mean": (text([reading("batch 1", joules=None, label="none", mean=-1.0, windows=5, half=0.1)]), "times the mean"),
    "parts as words": (text([reading(parts="CPU")]), "no list of parts"),
    "a part twice as deep": (text([reading(parts=[[RAPL]])]), "no list of parts"),
    "an edited total": (text([reading(joules=0.5)]), "its mean says 4 J and its joules (modelled) 500 mJ"),
    "an edited mean": (text([reading(windows=5, mean=0.1)]), "its mean says 100 ms and its CPU time 1 s"),
    "watts of a power station": (text([reading(watts=1e6)]), "1 MW (modelled), where a whole server draws less than 10 kW"),
    "watts of nothing": (text([reading(watts=1e-7, label="measured")]), "1e-07 W (measured), less than any machine draws"),
    "watts of nothing, modelled": (text([reading(watts=1e-7)]), "1e-07 W (modelled), less than any machine draws"),
    "negative joules": (text([reading(watts=-3)]), "of zero or less"),
    "zero joules": (text([reading(watts=0)]), "of zero or less"),
    "a time machine": (text([reading(cpu=-1.0)]), "seconds is no number, or out of all range"),
    "no time at all": (text([reading(seconds=0)]), "seconds is no number, or out of all range"),
    "a century": (text([reading(cpu=3e9)]), "out of all range"),
    "a year of windows": (text([reading(calls=1e8)]), "a reading of 1,157 days"),
    "too many cores": (text([reading(cpu=9000.0, busy=9000.0)]), "more than 1,024 cores can use"),
    "a word for a number": (text([reading(seconds="fast")]), "a reading whose seconds is no number"),
    "true for a number": (text([reading(n=True)]), "a reading whose n is no number"),
    "no windows": (text([reading(n=0)]), "a reading whose n is no number, or out of all range"),
    "a negative interval": (text([reading(half=-0.1)]), "a reading whose half_width is no number, or out of all range"),
    "a giant number": (text([reading()]).replace('"n": 1', '"n": 1' + "0" * 4000), "a reading whose n is no number, or out of all range"),
    "too large for Python": (text([reading()]).replace('"n": 1', '"n": 1e999'), "a reading whose n is no number, or out of all range"),
    "another quantity": (text([reading(quantity="happiness")]), "a quantity that the meter does not have"),
    "NaN": (text([reading()]).replace('"mean": 4.0', '"mean": NaN'), "NaN or an infinite number"),
    "infinity": (text([reading()]).replace('"half_width": null', '"half_width": -Infinity'), "NaN or an infinite number"),
    "nothing": ("", "it is empty"),
    "white space": ("\n \n\t\n", "it is empty"),
    "notes only": (text([line(), line()]), "nothing in it can be pooled: notes"),
    "prose": ("Dear Sir or Madam,\nhere is my ledger.\n", "it is damaged, or no ledger: 2 of its lines cannot be read"),
    "mostly cut": (text([reading()]) + '{"schema": 1, "ki\n' * 5, "5 of its lines cannot be read"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9, "cannot be read"),
    "UTF-16": (text([reading()]).encode("utf-16"), "cannot be read"),
    "zeros": (bytes(5000), "cannot be read"),
    "deep": (DEEP + "\n" + '{"schema": 1, "kind": ' + DEEP[:9000] + "\n", "cannot be read"),
    "one long line": (json.dumps(line(text="x" * 1_000_000)), "cannot be read"),
    "a million lines": ("{}\n" * 600_000, "it has more than 5,000 lines"),
    "absurd size": ("x" * (2 * 2**20 + 1), "it has 2.0 MB"),
    "another version": (text([{**reading(), "schema": 2}, {**prediction(), "schema": 2}]),
                        "nothing in it can be pooled: lines of another version than 1"),
    "another course": (text([reading("their work"), prediction("their-key")]), "nothing in it can be pooled:"),
    "HTML": ("<script>alert(1)</script>\n" * 3, "cannot be read"),
}  # fmt: skip


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    return a_class(tmp_path_factory.mktemp("honest"), 3)


@pytest.mark.parametrize("name", FORGED)
def test_a_damaged_or_forged_ledger_is_one_sentence(course, honest, tmp_path, name):
    content, said = FORGED[name]
    (tmp_path / "bad.jsonl").write_bytes(content if isinstance(content, bytes) else content.encode())
    kept, left_out = run.gather([honest, tmp_path / "bad.jsonl"], course)
    ((label, why),) = left_out
    assert label == "bad.jsonl" and said in why and "\n" not in why and len(why) < 200, why
    assert [one.digest for one in kept] == [one.digest for one in run.gather([honest], course)[0]]


def test_what_is_left_out_is_told_and_changes_no_figure(there, honest, tmp_path, capsys):
    _, before = pooled([honest], tmp_path)
    (tmp_path / "bad").mkdir()
    for i, (content, _) in enumerate(FORGED.values()):
        (tmp_path / "bad" / f"{i}.jsonl").write_bytes(content if isinstance(content, bytes) else content.encode())
    capsys.readouterr()
    code, html = pooled([honest, tmp_path / "bad"], tmp_path)
    told = capsys.readouterr().out.splitlines()
    items = re.findall(r"<li>(\d+) ledgers?: ", html)
    assert code == 1 and sum(map(int, items)) == len(FORGED) == sum(one.startswith("left out: ") for one in told)
    assert told[-1].startswith(f"3 ledgers pooled, {len(FORGED)} left out")
    assert f"{len(FORGED)} ledgers could not be pooled" in seen(html) and "<script" not in html
    assert re.findall(r"<t[dh].*|<text.*", before) == re.findall(r"<t[dh].*|<text.*", html)
    Page(html)


def test_damage_costs_only_what_is_damaged(course):
    whole = data(reading(), verdict())
    cut = whole + b'{"schema": 1, "kind": "read'
    (one,) = [ledgers.read(cut, course)]
    assert len(one.readings) == 1 and one.verdicts and one.left == {"lines cut or damaged": 1}
    odd = ledgers.read(b"\xef\xbb\xbf" + whole.replace(b"\n", b"\r\n") + b"\xff\xfe\n\n\n", course)
    assert len(odd.readings) == 1 and odd.left == {"lines cut or damaged": 1}


def test_a_ledger_of_two_versions_keeps_the_lines_that_can_be_read(there, tmp_path):
    (tmp_path / "a.jsonl").write_text(text([reading(), {**verdict(), "schema": 2}, {**verdict(), "schema": 2}]))
    code, html = pooled([tmp_path / "a.jsonl"], tmp_path)
    assert code == 0 and "lines of another version than 1, the one that this course reads 1 2" in seen(html)


def test_the_same_reading_logged_twice_counts_once(course):
    again = {**reading(cpu=1.5), "time": "2026-11-27T10:00:00+00:00"}
    (one,) = numbered([reading(cpu=1.5), again, reading(cpu=1.6)], course=course)
    assert [r.cpu_seconds for r in one.readings] == [1.5, 1.6]


def test_joules_of_very_short_code_are_set_aside_not_called_forged(course):
    (one,) = numbered([reading(cpu=1e-5, joules=0.5, mean=0.5)], course=course)
    assert one.readings[0].joules is None and one.readings[0].label == "none"


def copies():
    rng = random.Random(4)
    mine = learner(rng)
    later = [*mine, reading("patience of 5", 0.71)]
    other_times = [{**one, "time": "2027-01-01T00:00:00+00:00"} for one in mine]
    other_joules = [{**one, "joules": 1.1 * one["joules"], "mean": 1.1 * one["mean"]} if one.get("quantity") == "joules" else one
                    for one in mine]  # fmt: skip
    slower = [{**one, "seconds": 1.01 * one["seconds"]} if one["kind"] == "reading" else one for one in mine]
    other_cpu = [{**one, "cpu_seconds": 1.01 * one["cpu_seconds"],
                  "mean": one["mean"] * (1.01 if one["quantity"] == "cpu_seconds" else 1)} if one["kind"] == "reading" else one
                 for one in mine]  # fmt: skip
    return {"one clock changed": (mine, slower), "the other clock": (mine, other_cpu), "the same": (mine, mine), "a later one": (mine, later), "other times": (mine, other_times),
            "other joules": (mine, other_joules)}  # fmt: skip


@pytest.mark.parametrize("name", copies())
def test_a_ledger_that_comes_twice_counts_once(there, course, tmp_path, name):
    folder, (first, second) = a_class(tmp_path / "class", 3), copies()[name]
    for file, lines in (("x.jsonl", first), ("y.jsonl", second)):
        (folder / file).write_text(text(lines))
    kept, left_out = run.gather([folder], course)
    ((label, said),) = left_out
    assert len(kept) == 4 and "handed in twice, or copied" in said
    both = {"x.jsonl (like y.jsonl)", "y.jsonl (like x.jsonl)"}  # the terminal names both: who copied cannot be told
    assert label in ({"x.jsonl (like y.jsonl)"} if name == "a later one" else both)  # the fuller one is kept


def test_ledgers_without_readings_that_are_the_same_count_once(course, tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.jsonl").write_text(text([verdict(), prediction()]))
    kept, left_out = run.gather([tmp_path], course)
    assert len(kept) == 1 and left_out == [("b.jsonl (like a.jsonl)", "it is there twice")]


@pytest.mark.parametrize("lines", [[verdict(), prediction()], learner(random.Random(8))], ids=["no readings", "readings"])
def test_the_terminal_names_both_copies_however_long_their_names_are(there, tmp_path, capsys, lines):
    names = [f"{name} of the Long Family Name_12345{at}_assignsubmission_file_/ledger.jsonl"
             for at, name in enumerate(("Ada Augusta", "Mary Fairfax"))]
    (tmp_path / "class.zip").write_bytes(zipped({name: text(lines).encode() for name in names}))
    code, html = pooled([tmp_path / "class.zip"], tmp_path)
    said = capsys.readouterr().out.splitlines()
    assert code == 1 and all(name in said[0] for name in names) and " (like class.zip: " in said[0]
    assert not re.search("Augusta|Fairfax", html)


def test_a_question_that_all_skipped_has_no_zero_of_right_answers(course):
    made = numbered([prediction(answered=False), prediction("06-points", 1, 1.0)], [prediction(answered=False)], course=course)
    blocks = list(page._predictions(guesses.tallies(made, course)))
    assert [row for row in blocks[-1][3] if isinstance(row, tuple)] == [
        ("02-share", "0", "-", "-", "-", "2"), ("06-points", "1", "1", "0", "1.00", "0")]
    made = numbered([prediction(answered=False)], course=course)
    (_, said), (kind, _, _, rows) = list(page._predictions(guesses.tallies(made, course)))[1:]
    assert said.startswith("No ledger holds an answered prediction.") and kind == "table"
    assert rows[1:] == [("02-share", "0", "-", "-", "-", "1")]


def test_a_few_readings_of_somebody_else_cost_these_readings(course, tmp_path):
    rng = random.Random(6)
    mine, theirs = learner(rng), learner(rng)
    borrowed = next(one for one in theirs if one["kind"] == "reading")
    (tmp_path / "a.jsonl").write_text(text([*mine, borrowed]))
    (tmp_path / "b.jsonl").write_text(text(theirs + [reading("patience of 5", 1 + i / 7) for i in range(9)]))
    kept, left_out = run.gather([tmp_path], course)
    assert left_out == [] and sum(one.left.total() for one in kept) == 1
    times = [r.seconds for one in kept for r in one.readings]
    assert len(times) == len(set(times))


def test_a_coarse_clock_is_no_copy(course, tmp_path):
    """Windows counts CPU time in steps of 1/64 s, so machines agree in it by chance."""
    for i, name in enumerate("abc"):
        (tmp_path / f"{name}.jsonl").write_text(text([reading(cpu=k / 64, busy=0.9 + i / 50) for k in (40, 51, 33)]))
    kept, left_out = run.gather([tmp_path], course)
    assert len(kept) == 3 and left_out == [] and all(len(one.readings) == 3 for one in kept)


@pytest.mark.parametrize("label", checks.LABELS)
def test_what_the_meter_writes_is_never_called_forged(course, tmp_path, monkeypatch, label):
    """Readings and measurements of every label, of many sizes, through the library's own `log`."""
    monkeypatch.setenv("COURSE_LEDGER", str(tmp_path / "ledger.jsonl"))
    sources = {"measured": ("intel rapl counter", "whole CPU package(s), every process, no RAM"), "unknown": ("unknown", "unknown"),
               "sampled": ("AppleSiliconChip power readings", "the whole CPU, every process"), "assumed": ("constant", "whole CPU"),
               "modelled": ("CPU time x table watts", "this process and its children")}  # fmt: skip
    source, scope = sources[label]
    provenance = Provenance.ASSUMED if label == "unknown" else Provenance[label.upper()]
    rng = random.Random(label)

    def window(calls, refused=False):
        seconds = 10 ** rng.uniform(-2, 2)
        cpu = seconds * rng.choice([0.01, 0.9, 1.0, 7.9])
        joules = None if refused else rng.choice([0.5, 4, 30, 300]) * (cpu if label == "modelled" else seconds)
        part = Component("CPU", joules, Provenance.NONE if refused else provenance, "none" if refused else source, scope, "why")
        return Reading("to the end", seconds, cpu, (part,), calls)

    for _ in range(60):
        calls = rng.choice([1, 3, 10**6])
        window(calls).log()
        windows = tuple(window(calls, refused=rng.random() < 0.1) for _ in range(rng.randrange(2, 9)))
        quantity = "cpu_seconds" if label == "modelled" else "joules"
        values = [(w.cpu_seconds if quantity == "cpu_seconds" else w.joules) for w in windows]
        values = [v / calls for v in values if v is not None]
        if len(values) > 1:
            mean = sum(values) / len(values)
            half = rng.choice([0.01, 0.5, math.inf]) * mean
            Measurement("to the end", len(windows), calls, True, 0.05, quantity, mean, half, windows).log()
    one = ledgers.read((tmp_path / "ledger.jsonl").read_bytes(), course)
    assert not one.left and len(one.readings) > 100
    assert {r.label for r in one.readings} <= {label, "none"} and len(ledger.read()) == len(one.readings)


def test_the_ledger_with_parts_is_understood(course):
    """Where a line tells its parts, their sources and what they cover are known for every component of the library."""
    from course_lib.provenance import component_of

    chips = [SimpleNamespace(_mode="intel_rapl"), SimpleNamespace(_mode="windows_emi"), SimpleNamespace(_mode="cpu_load", _tdp=60),
             SimpleNamespace(_mode="constant", _tdp=60), SimpleNamespace(_mode="intel_power_gadget"), SimpleNamespace(_mode="new")]  # fmt: skip
    parts = [component_of(type("CPU", (), vars(chip))()) for chip in chips]
    parts.append(component_of(type("AppleSiliconChip", (), {"chip_part": "CPU"})()))
    for counter in (True, False):
        board = SimpleNamespace(_has_counter=counter, _power_limit=300)
        gpu = type("GPU", (), {"devices": SimpleNamespace(devices=[board])})()
        parts.append(component_of(gpu))
    said = []
    for part in parts:
        told = {"name": part.name, "joules": 4.0, "label": part.label, "source": part.source, "scope": part.scope}
        (one,) = numbered([reading(label=part.label, parts=[told])], course=course)
        assert one.readings[0].components == (part.name,) and "not know" not in one.readings[0].sources[0]
        said.append(one.readings[0].scopes[0])
    assert said == ["the whole CPU"] * 2 + ["this program alone", "the whole CPU", "the whole CPU", "something that is not told",
                                            "the whole CPU", "whole GPU boards", "whole GPU boards"]  # fmt: skip


# --- where ledgers come from ------------------------------------------------------------------------------------------


def zipped(members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def found(*paths):
    return sorted((one.label, one.problem or len(one.data)) for one in find.find(paths))


def test_moodle_and_canvas_zips_and_zips_in_them(tmp_path):
    one = data(reading())
    (tmp_path / "class.zip").write_bytes(zipped({
        "Ada Lovelace_123_assignsubmission_file_/ledger.jsonl": one, "lovelaceada_12345_67890_ledger-2.jsonl": one,
        "Grace_5_assignsubmission_file_/course.zip": zipped({"course/ledger.jsonl": one, "course/notes.txt": b"x"}),
        "Alan_6_assignsubmission_file_/ledger.jsonl.txt": one, "__MACOSX/._ledger.jsonl": b"x", "readme.txt": b"x",
        "Mary_7/deep.zip": zipped({"a.zip": zipped({"b.jsonl": one})}), "Kurt_8/broken.zip": b"PK\x03\x04nothing"}))  # fmt: skip
    labels = dict(found(tmp_path / "class.zip"))
    sizes = {name: size for name, size in labels.items() if isinstance(size, int)}
    assert len(sizes) == 4 and set(sizes.values()) == {len(one)}
    assert labels["class.zip: Mary_7/deep.zip: a.zip"] == "it is a zip in a zip in a zip"
    assert "damaged" in labels["class.zip: Kurt_8/broken.zip"] and len(labels) == 6


def test_folders_are_walked_and_links_are_not_followed(tmp_path):
    secret = tmp_path / "secret.jsonl"
    secret.write_text(text([reading()]))
    folder = tmp_path / "class"
    (folder / "ada" / "deeper").mkdir(parents=True)
    (folder / "ada" / "deeper" / "ledger.jsonl").write_text(text([reading()]))
    (folder / "ada" / ".hidden.jsonl").write_text("x")
    (folder / "ada" / "essay.ipynb").write_text("{}")
    (folder / "bob.zip").write_bytes(zipped({"ledger.ndjson": data(reading())}))
    (folder / "bad.zip").write_bytes(b"no zip")
    os.symlink(secret, folder / "link.jsonl")
    os.symlink(tmp_path, folder / "up")
    os.mkfifo(folder / "pipe.jsonl")
    assert [label for label, _ in found(folder)] == ["ada/deeper/ledger.jsonl", "bad.zip", "bob.zip: ledger.ndjson", "link.jsonl",
                                                     "pipe.jsonl"]  # fmt: skip
    problems = {label: problem for label, problem in found(folder) if isinstance(problem, str)}
    assert problems == {"bad.zip": "the zip is damaged, or not a zip", "link.jsonl": "it is a link, which is not followed",
                        "pipe.jsonl": "it cannot be opened"}  # fmt: skip


def test_a_file_named_twice_counts_once(course, tmp_path):
    folder = a_class(tmp_path / "class", 2)
    kept, left_out = run.gather([folder, folder / "learner_000.jsonl"], course)
    assert len(kept) == 2 and ["handed in twice" in said for _, said in left_out] == [True]
    (tmp_path / "anything").write_text(text([reading()]))  # a file that is named may have any name
    assert len(found(tmp_path / "anything")) == 1


def test_a_zip_bomb_a_locked_and_a_wrong_member_cost_themselves(tmp_path):
    stream = io.BytesIO(zipped({"a.jsonl": b"0" * (2**21 + 5), "b.jsonl": data(reading()), "../../c.jsonl": data(reading())}))
    raw = bytearray(stream.getvalue())
    (tmp_path / "x.zip").write_bytes(raw)
    labels = dict(found(tmp_path / "x.zip"))
    assert "larger than 2 MB" in labels["x.zip: a.jsonl"] and labels["x.zip: b.jsonl"] == labels["x.zip: ../c.jsonl"] == len(data(reading()))
    at = raw.index(b"b.jsonl") + len("b.jsonl")
    raw[at + 3] ^= 0xFF  # the packed bytes
    (tmp_path / "x.zip").write_bytes(raw)
    assert "damaged" in dict(found(tmp_path / "x.zip"))["x.zip: b.jsonl"]


def test_too_many_ledgers_are_no_class(tmp_path, monkeypatch):
    monkeypatch.setattr(find, "LEDGERS", 3)
    with pytest.raises(CourseError, match="more than 3"):
        found(a_class(tmp_path / "class", 4))
    monkeypatch.setattr(find.files, "FOLDER_FILES", 3)
    with pytest.raises(CourseError, match="more than 3 files"):
        found(tmp_path / "class")


# --- fuzz: a fixed seed, so that a failure can be seen again ----------------------------------------------------------

VALUES = [None, True, False, 0, -1, 1, 10**30, 10**400, 1e-300, 1e300, -0.0, 0.5, "", "zz_ada", "<b>zz_ada</b>", "$zz_ada$", "\ud800zz_ada",
          "measured", "modelled", [], ["zz_ada"], {}, {"zz_ada": "zz_ada"}, "joules", "J (measured)", "to the end", "02-share", 2**63]  # fmt: skip


def mangled(rng, lines):
    """The lines of a learner with some of their values, keys or bytes replaced."""
    lines = [dict(one) for one in lines]
    for _ in range(rng.randrange(1, 6)):
        one = rng.choice(lines)
        if rng.random() < 0.1:
            one[rng.choice(list(one))] = [rng.choice(VALUES) for _ in range(3)]
        elif rng.random() < 0.2:
            one.pop(rng.choice(list(one)))
            one.setdefault("kind", rng.choice(VALUES))
        else:
            one[rng.choice(list(one))] = rng.choice(VALUES)
    raw = bytearray(text(lines).encode("utf-8", "surrogatepass"))
    for _ in range(rng.choice([0, 0, 1, 5])):
        at = rng.randrange(len(raw))
        raw[at:at + rng.randrange(3)] = bytes([rng.randrange(256)])
    return bytes(raw[:rng.randrange(len(raw))] if rng.random() < 0.2 else raw)


@pytest.mark.slow
def test_no_mangled_ledger_raises_and_none_gets_a_word_into_the_page(course, tmp_path):
    rng, kept, left = random.Random(11), [], 0
    for _ in range(1200):
        try:
            one = ledgers.read(mangled(rng, learner(rng)), course)
        except checks.Forged as why:
            left += 1
            assert "zz_ada" not in str(why) and str(why).count("\n") == 0 and len(str(why)) < 200
        else:
            kept.append(one)
            for r in one.readings:
                assert r.joules is None or (r.label in checks.LABELS and 0 < r.joules < math.inf)
                assert math.isfinite(r.seconds + r.cpu_seconds)
    assert left > 200 and len(kept) > 200  # both ways are walked
    for i in range(0, 120, 12):
        some = [replace(one, number=n) for n, one in enumerate(kept[i:i + 12], 1)]
        html = page.page(some, [], course).decode()
        Page(html)
        assert "zz_ada" not in html and "nan" not in re.findall(r"<td[^>]*><bdi>([^<]*)", html)


def test_extreme_but_allowed_numbers_have_a_page(course):
    sizes = [1e-9, 1e-6, 1.0, 1e3, 2e6]
    made = numbered(*[[reading(cpu=v, watts=w), prediction("02-joules", 0.01, 1e290, unit="J (modelled)")]
                      for v, w in zip(sizes, (0.01, 1, 4, 400, 9000), strict=True)], course=course)  # fmt: skip
    html = page.page(made, [], course).decode()
    Page(html)
    assert "over a million" in seen(html) and "inf" not in re.findall(r"<bdi>([^<]*)", html)


def test_the_widest_spreads_have_a_page(course, recwarn):
    """What may still be true of one ledger must not break the page of all: intervals of a million windows, 12 powers of ten."""
    made = numbered(*[[reading(cpu=v, windows=10**6, half=1.9), reading("one training", 1e-9, 1e-3), prediction("06-points", 0, 1.0)]
                      for v in (1e-9, 1.0, 2.0)], [reading(cpu=0.0, seconds=1.0, joules=2e-12, mean=2e-12)],
                    [reading(cpu=2e6, watts=9000)], course=course)  # fmt: skip
    html = page.page(made, [], course).decode()
    Page(html)
    assert "over a million" in seen(html) and "inf" not in re.findall(r"<bdi>([^<]*)", html) and not recwarn.list


def test_numbers_among_options_are_judged_as_numbers():
    question = words.Question("k", "07", "How many?", options=(0, 1, 2, 3, 4))
    assert question.numeric and question.allows(3) and not question.allows(True) and not question.allows("3")
    assert [guesses.judge(question, said, 4) for said in (4, 3, 0)] == ["right", "near", "far"]


def test_equal_values_have_a_page(course):
    made = numbered(*[[reading(cpu=1.0, seconds=1 + i * 1e-9), reading(cpu=1.0, seconds=2 + i * 1e-9)] for i in range(6)],
                    course=course)  # fmt: skip
    Page(page.page(made, [], course).decode())
