"""What no lesson and no page may ship with: dead links, pictures without words, colour alone, misspellings, bad style.

Gates that stand elsewhere: alt text of figures and labelled joules (test_lessons), bound numbers (test_prose), budgets
(budgets.py), sources and notebooks in step (test_build), release leaks (test_release).
`python tests/test_gates.py` adds the new words of the course to tests/data/words.txt: read them first.
"""

import re
import subprocess
import sys
from functools import cache
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest
import sample_course

from course_lib import facts, plots
from course_lib.classroom import build, execute, index, looks

ROOT = Path(__file__).parent.parent
LESSONS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
PAGES = [page for folder in (".", "notebooks", "exercises", "benchmarks", "benchmarks/results")
         for page in sorted((ROOT / folder).glob("*.md"))]
NOTEBOOKS = [*LESSONS, *sorted((ROOT / "exercises").glob("[0-9]*.ipynb"))]
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def short(path):
    return path.relative_to(ROOT).as_posix()


@cache
def prose(path):
    """What a page says, or the text cells of a notebook or source, without code."""
    if path.suffix == ".md":
        return _CODE.sub(" ", path.read_text(encoding="utf-8"))
    nb = build.parse(path) if path.suffix == ".py" else execute.read(path)
    return _CODE.sub(" ", "\n\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown"))


@cache
def anchors(path):
    """The places in a file that a link can lead to: headings as GitHub and Jupyter name them, and ids."""
    text = path.read_text(encoding="utf-8") if path.suffix == ".md" else prose(path)
    found = set(re.findall(r'\bid="([^"]+)"', text))
    for heading in re.findall(r"^#+ +(.+?)\s*$", text, re.MULTILINE):
        plain = re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading)
        found |= {re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-"), plain.replace(" ", "-")}
    if path.suffix == ".ipynb":
        for cell in execute.read(path).cells:
            for output in cell.get("outputs", []):
                found |= set(re.findall(r'\bid="([^"]+)"', output.get("data", {}).get("text/html", "")))
    return found


# --- links and pictures


def dead(path, text):
    """The links of a text that lead nowhere inside the repository."""
    for _, _, target in _LINK.findall(text):
        where, _, place = unquote(target).partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = (path.parent / where).resolve() if where else path
        if not (file.is_relative_to(ROOT) and file.exists()) or (
                place and (file.suffix not in (".md", ".ipynb") or place not in anchors(file))):
            yield target


@pytest.mark.parametrize("path", [*PAGES, *NOTEBOOKS], ids=short)
def test_every_link_leads_somewhere(path):
    assert list(dead(path, prose(path))) == []


def test_a_dead_link_is_found():
    text = ("[a](nowhere.md) [b](CONTRIBUTING.md#no-such-place) [c](#no-such-place) [d](../outside.md) "
            "[`e`](notebooks/none.ipynb) [f](README.md) [g](CONTRIBUTING.md#edit-a-lesson) [h](https://example.org/x#y) [i](notebooks/INDEX.md#A1)")
    assert list(dead(ROOT / "README.md", text)) == [
        "nowhere.md", "CONTRIBUTING.md#no-such-place", "#no-such-place", "../outside.md", "notebooks/none.ipynb"]


@pytest.mark.parametrize("path", [*PAGES, *NOTEBOOKS], ids=short)
def test_every_picture_in_a_text_has_words(path):
    text = prose(path)
    words = [alt for mark, alt, target in _LINK.findall(text) if mark and "badge" not in target]
    words += [(re.search(r'\balt="([^"]*)"', tag) or ["", ""])[1] for tag in re.findall(r"<img\b[^>]*>", text)]
    assert [alt for alt in words if len(alt.split()) < 6] == []


# --- figures: published ones are read and say so, drawn ones need no colour


DERIVED = re.compile(r"arithmetic|definition|raw data|row above|[x/+*] ?\(?\d|\d ?[x/+*]")


@pytest.mark.parametrize("lesson", LESSONS, ids=short)
def test_every_figure_of_a_lesson_was_read_and_the_lesson_shows_how(lesson):
    nb = execute.read(lesson)
    outputs = [output for cell in nb.cells for output in cell.get("outputs", [])]
    tables = "".join(output.get("data", {}).get("text/html", "") for output in outputs)
    rows = {found[1]: unescape(re.sub(r"<[^>]*>", " ", found[0]))
            for found in re.finditer(r'<tr><td[^>]*><a id="([^"]+)"></a>.*?</tr>', tables)}
    names = index.named(nb)
    assert names and names <= set(rows), f"not in the table of sources: {sorted(names - set(rows))}"
    for name in names:
        row = facts.fact(name, facts._Row)
        assert row.read in ("primary", "secondary", "derived"), f"{name}: {facts.READ[row.read]}"
        assert row.read != "derived" or DERIVED.search(row.where), f"{name}: from what?"
        assert facts.READ[row.read] in rows[name], name
        assert " ".join(row.where.split()) in " ".join(rows[name].split()), name


def two(color="blue", **look):
    fig, ax = plots.figure("Which?", "x", "y")
    ax.plot([1, 2], [1, 2], color="red", label="one")
    ax.plot([1, 2], [2, 1], color=color, label="two", **look)
    return fig


def test_series_that_differ_in_colour_alone_are_found():
    assert looks.colour_only(two()) == ["'one' and 'two' differ in colour alone"]
    for look in ({"linestyle": "--"}, {"marker": "s"}, {"linewidth": 4}, {"linestyle": (0, (1, 3))}, {"color": "#dddddd"},
                 {"color": "black", "alpha": 0.2}):
        assert looks.colour_only(two(**look)) == []
    assert looks.colour_only(two(color="#00aa00"))
    fig, ax = plots.figure("Which?", "x", "y")
    plots.lines(ax, [1, 2, 3], {name: [1, 2, 3] for name in "abcdefgh"}, spread={"a": [1, 1, 1]})
    assert looks.colour_only(fig) == []
    fig, ax = plots.figure("Which?", "x", "y")
    plots.bars(ax, ["a"], {name: [1] for name in "abcdefgh"})
    assert looks.colour_only(fig) == []
    fig, ax = plots.figure("Which?", "x", "y")
    ax.bar([1], [1], color="red", label="one")
    ax.bar([2], [1], color="blue", label="two")
    ax.scatter([1], [1], color="red", label="three")
    ax.scatter([2], [1], color="blue", label="four")
    ax.twinx().scatter([1], [1], color="green", label="five")
    found = sorted(re.findall("'(\\w+)'", sentence) for sentence in looks.colour_only(fig))
    assert found == [["four", "five"], ["one", "two"], ["three", "five"], ["three", "four"]]


@pytest.mark.parametrize(("colours", "good"), [
    ("gray", True), ("viridis", True), ("Blues", True), ("jet", False), ("coolwarm", False)])
def test_shades_must_keep_their_order_in_grey(colours, good):
    fig, ax = plots.figure("How much?", "x", "y")
    ax.imshow([[0, 1], [2, 3]], cmap=colours)
    assert (looks.colour_only(fig) == []) is good


@pytest.mark.slow
def test_a_lesson_with_such_a_figure_is_not_built_and_the_check_leaves_no_name_in_it(tmp_path):
    root = sample_course.make(tmp_path / "course")
    source = root / "notebooks" / "source" / f"{sample_course.LESSON}.py"
    good = source.read_text(encoding="utf-8")
    draw = ("\n# %%\nfrom course_lib import plots\nassert not [name for name in dir() if 'looks' in name]\n"
            "fig, ax = plots.figure('Which?', 'x', 'y')\nax.plot([1, 2], color='red', label='one')\n"
            "ax.plot([2, 1], color='blue', label='two'{})\n"
            "plots.show(fig, alt='two lines that cross in the middle of it')\n")
    said = []
    source.write_text(good + draw.format(""), encoding="utf-8")
    assert build.build([], root, say=said.append) == 1
    assert "'one' and 'two' differ in colour alone" in said[-1] and said[-1].endswith("nothing was written")
    source.write_text(good + draw.format(", linestyle='--'"), encoding="utf-8")
    assert build.build([], root, say=said.append) == 0


# --- style and spelling


def test_ruff_has_nothing_to_say():
    done = subprocess.run([sys.executable, "-m", "ruff", "check", "."], cwd=ROOT, capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stdout


# What codespell takes for something else: words of ours, and names.
RIGHT = ("als", "whos", "rouge", "oll")
WRITTEN = ["README.md", "CONTRIBUTING.md", "TEACHING.md", "notebooks", "exercises", "course_lib", "tests", "benchmarks",
           "Makefile", "pyproject.toml"]
READ = [*(page for page in PAGES if page.name != "INDEX.md"),
        *(path for kind in ("notebooks", "exercises") for path in sorted((ROOT / kind / "source").glob("*.py")))]
WORDS = ROOT / "tests" / "data" / "words.txt"
# American by codespell's list, and right here: nouns, a measuring device, a program of a computer, what a router does.
BRITISH_TOO = {"biased", "dialog", "focused", "focuses", "focusing", "license", "licenses", "meter", "meters", "practice",
               "practices", "program", "programs", "routing", "stories", "story", "writable"}


def test_no_known_misspelling():
    done = subprocess.run([sys.executable, "-m", "codespell_lib", "--ignore-words-list", ",".join(RIGHT), "--skip",
                           "*.ipynb,*.js,*.css,*.pt,*.png,*.json,*.pyc,words.txt", *WRITTEN],
                          cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr, done.stdout + done.stderr


def words(path):
    """The words of a text: without links, formulas, tags, and names with capitals or digits inside."""
    text = re.sub(r"\$\$.*?\$\$|\$[^$\n]+\$|<[^>\n]*>|https?://\S+|\]\([^)\s]*\)", " ", prose(path), flags=re.DOTALL)
    return {word.lower() for word in re.findall(r"(?<![\w'’./-])[A-Za-z][a-z]+(?![\w./-]*[\d_]|[A-Z])", text)}


def known(word, listed):
    """True for a listed word, and for one that differs from it by an ending."""
    endings = [(end, "") for end in ("s", "es", "d", "ed", "r", "er", "st", "est", "ing", "ly")] + [("ing", "e"), ("ies", "y")]
    stems = {word, *(word[:-len(end)] + more for end, more in endings if word.endswith(end))}
    return not stems.isdisjoint(listed)


def new_words():
    listed = set(WORDS.read_text(encoding="utf-8").split()) if WORDS.exists() else set()
    return {word for path in READ for word in words(path) if not known(word, listed)}


def test_spelling_is_british():
    import codespell_lib

    text = (Path(codespell_lib.__file__).parent / "data" / "dictionary_en-GB_to_en-US.txt").read_text(encoding="utf-8")
    pairs = [line.partition("->")[::2] for line in text.splitlines()]
    american = {word.strip(): british for british, there in pairs for word in there.split(",") if word.strip()}
    american |= {"modeled": "modelled", "modeling": "modelling", "labeled": "labelled"}
    assert len(american) > 400
    wrong = set(american) - BRITISH_TOO
    found = {f"{short(path)}: {word} is {american[word]} here" for path in READ for word in words(path) & wrong}
    assert not found


def test_every_word_is_on_the_list_of_words():
    new = ", ".join(sorted(new_words()))
    assert not new, f"new words: {new}. Where they are spelled right, `python tests/test_gates.py` puts them on the list"


def test_a_slip_is_not_on_the_list():
    listed = set(WORDS.read_text(encoding="utf-8").split())
    for slip in ("enrgy", "quantisaton", "jouls", "tokn"):
        assert not known(slip, listed), slip
    for word in ("measuring", "measured", "models", "studies", "largest", "energies"):
        assert known(word, listed), word


if __name__ == "__main__":
    added = sorted(new_words())
    bases = set(WORDS.read_text(encoding="utf-8").split()) if WORDS.exists() else set()
    for word in sorted(added, key=len):
        if not known(word, bases):
            bases.add(word)
    WORDS.write_text("\n".join(sorted(bases)) + "\n", encoding="utf-8")
    print(*added)
