"""`make slides LESSON=07`: every heading begins a slide, nothing overflows, and the page needs no network."""

import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright
from test_browser import QUIET, browser_path

from course_lib.classroom import CourseError, execute, slides

ROOT = Path(__file__).parent.parent
LESSONS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
SHOWN = "07_local_deployment"  # tables, pictures, formulas, cards, long code
NOTHING_UNDER_IT = {"10_energy_label": [("##", "Your ledger")]}  # only lines that a learner may take the # from


def headings(nb):
    text = "\n\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown")
    return re.findall(r"^(#{1,3}) +(.+)$", text, re.MULTILINE)


def pictures(nb):
    return sum("image/png" in output.get("data", {}) for cell in nb.cells for output in cell.get("outputs", []))


def kind(cell):
    return cell.metadata["slideshow"]["slide_type"]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    root = tmp_path_factory.mktemp("a course")
    (root / "notebooks").mkdir()
    shutil.copy(ROOT / "notebooks" / f"{SHOWN}.ipynb", root / "notebooks")
    path = slides.slides("07", root)
    assert path == root / "build" / "slides" / f"{SHOWN}.html"
    return path


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_every_heading_begins_a_slide_and_no_other_cell_has_one(lesson):
    nb = execute.read(lesson)
    made = slides.spread(nb)
    begin = [cell for cell in made.cells if kind(cell) != "-"]
    found = [match for cell in begin if (match := re.match(r"(#{1,3}) +(.+)$", cell.source))]
    bare = NOTHING_UNDER_IT.get(lesson.stem, [])
    assert [match.groups() for match in found] == [one for one in headings(nb) if one not in bare]
    kinds = {"#": "slide", "##": "slide", "###": "subslide"}
    assert all(kind(cell) == kinds.get(cell.source.partition(" ")[0], "subslide") for cell in begin)
    assert pictures(nb) == pictures(made) >= 2


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_no_slide_is_empty_and_none_speaks_of_a_guess_that_nobody_made(lesson):
    nb = execute.read(lesson)
    assert "No prediction was made" in str(nb)
    on_slides = []
    for cell in slides.spread(nb).cells:
        if kind(cell) != "-":
            on_slides.append([])
        if cell.cell_type == "code" or not re.match(r'#{1,3} |<p class="where">', cell.source):
            on_slides[-1].append(cell)
        said = str(cell.get("outputs", cell.source))
        assert "prediction was made" not in said and "was predicted" not in said
    assert [cells for cells in on_slides if not any(
        cell.source.strip() if cell.cell_type == "markdown" or not cell.metadata.get("transient", {}).get("remove_source")
        else cell.outputs for cell in cells)] == []


@pytest.mark.parametrize(("said", "shown"), [
    ("No prediction was made; the stated guess was 3 Wh. The result is 0.24 Wh. That is 12.5 times too\nhigh.\nA source.\n",
     "The result is 0.24 Wh.\nA source."),
    (('No prediction was made; the stated guess was "a". The result is "hours times\na number". That is not what\n'
      "was predicted.\nNo prediction was made; the stated guess was 0 %. The result is 50 %. The gap\nis 50.\n"),
     'The result is "hours times a number".\nThe result is 50 %.'),
    ("You said 3 Wh. The result is 0.24 Wh. That is 12.5 times too\nhigh.\n",
     "You said 3 Wh. The result is 0.24 Wh. That is 12.5 times too\nhigh.")])
def test_a_result_stands_without_the_guess_that_stood_in(said, shown):
    import nbformat

    assert slides._output(nbformat.v4.new_output("stream", name="stdout", text=said)).text == shown


def test_a_card_is_shown_without_what_all_cards_say_and_long_rows_take_more_room():
    import nbformat

    from course_lib.claims import claim

    card = nbformat.v4.new_output("execute_result", data={"text/html": claim("A1").card(reveal=True)._repr_html_()})
    page = slides._output(card).data["text/html"]
    assert "Tartaglione" not in page and "tr_gpt3" not in page and "1,287 MWh" in page and "What to keep" in page
    for words, parts in ((5, 2), (40, 3)):
        rows = f"<tr><td>{'word ' * words}</td></tr>" * 24
        table = nbformat.v4.new_output("execute_result", data={"text/html": f"<table><tbody>{rows}</tbody></table>"})
        assert len(list(slides._cut(table))) == parts


def test_a_heading_with_nothing_under_it_gets_no_slide_and_one_over_a_smaller_one_shares_its_slide():
    import nbformat

    text = "# A\n\nwords\n\n## Bare\n\n### Bare too\n\n## Part\n\n### Measure\n\nmore words\n\n## Last"
    made = slides.spread(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)])).cells
    assert [(kind(cell), cell.source) for cell in made] == [
        ("slide", "# A"), ("-", "words"), ("slide", "## Part"), ("-", "### Measure"), ("-", "more words")]


def test_what_is_too_large_for_the_rest_of_a_slide_stays_under_its_heading():
    import nbformat

    code = nbformat.v4.new_code_cell("\n".join(["x = 1"] * 28))  # as long as a slide
    made = slides.spread(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# A\n\n## B"), code])).cells
    assert [kind(cell) for cell in made] == ["slide", "-", "-"]
    items = [f"- {n} " + "word " * 50 for n in range(6)]  # a list that fits, but not together with a heading
    made = slides.spread(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# A\n\n" + "\n".join(items))])).cells
    assert [kind(cell) for cell in made][:6] == ["slide", *"----", "subslide"]


@pytest.mark.slow
def test_the_page_has_the_slides_and_asks_the_network_for_nothing(page):
    text = page.read_text(encoding="utf-8")
    nb = execute.read(ROOT / "notebooks" / f"{SHOWN}.ipynb")
    found = re.findall(r"<h[123][^>]*>(.*?)</h[123]>", text, re.DOTALL)
    shown = [unescape(re.sub(r"<[^>]*>", "", words)).strip("¶") for words in found]
    assert shown == [words for _, words in headings(nb)]
    groups = sum(level != "###" for level, _ in headings(nb))  # a section that holds the slides of a part
    assert text.count("<section") - groups >= len(shown)
    assert not re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=[\"'](?!data:)[^\"']*", text)
    assert "@import" not in text and "MathJax" not in text


@pytest.mark.slow
def test_what_is_folded_in_the_lesson_is_not_on_the_slides(page):
    text = page.read_text(encoding="utf-8")
    cells = execute.read(ROOT / "notebooks" / f"{SHOWN}.ipynb").cells
    folded = [cell for cell in cells if cell.metadata.get("jupyter", {}).get("source_hidden")]
    assert len(folded) >= 5
    plain = unescape(re.sub(r"<[^>]*>", "", text))
    for cell in folded:
        assert cell.source.splitlines()[0] not in plain
    for absent in ("course_lib is missing", "from course_lib import", "id=bpw", "Clear Outputs", "This figure in words"):
        assert absent not in plain
    assert "def rounded(weight" in plain  # code that learners read stays


@pytest.mark.slow
def test_pictures_and_formulas_have_words_and_a_figure_names_its_source(page):
    text = page.read_text(encoding="utf-8")
    alts = re.findall(r'<img\b[^>]*\balt="([^"]*)"', text)
    assert len(alts) == text.count("<img") and all(alts)
    assert sum(len(alt.split()) > 20 for alt in alts) >= 5
    assert re.search(r'<abbr title="[^"]+, [^"]+">4\.25 bit/param</abbr>', text)


def test_a_formula_that_cannot_be_drawn_stays_as_it_was_typed():
    assert slides._for_slides(r"So $\nonsense{2}$ and `a $5 b$`, [lesson 06](06_less_data.ipynb).") == (
        r"So `\nonsense{2}` and `a $5 b$`, lesson 06.")
    drawn = slides._for_slides("$$ x^2 $$")
    assert drawn.startswith('<img class="formula alone" alt="x^2" src="data:image/svg+xml;base64,')


def test_long_outputs_are_cut_and_nothing_is_lost():
    import nbformat

    rows = "".join(f"<tr><td>{n}</td></tr>" for n in range(40))
    page = f"<table><thead><tr><th>n</th></tr></thead><tbody>{rows}</tbody></table>"
    table = nbformat.v4.new_output("execute_result", data={"text/html": page})
    text = nbformat.v4.new_output("stream", name="stdout", text="\n".join(map(str, range(60))))
    cells = [nbformat.v4.new_markdown_cell("# A\n\nwords"), nbformat.v4.new_code_cell("show()", outputs=[table, text])]
    made = slides.spread(nbformat.v4.new_notebook(cells=cells))
    outputs = [output for cell in made.cells for output in cell.get("outputs", [])]
    pages = [output.data["text/html"] for output in outputs if "data" in output]
    assert len(pages) == 3 and all(page.count("<th>") == 1 and page.endswith("</table>") for page in pages)
    assert re.findall(r"<td>(\d+)", "".join(pages)) == [str(n) for n in range(40)]
    assert "\n".join(output.text for output in outputs if "text" in output).split() == [str(n) for n in range(60)]
    assert sum(kind(cell) == "subslide" for cell in made.cells) >= 5


@pytest.mark.parametrize("lesson", ["7", "99", "../07", "x"])
def test_a_lesson_that_is_not_there_gets_one_sentence(lesson):
    with pytest.raises(CourseError, match=r"is no lesson that is built: say, for example, `make slides LESSON=00`"):
        slides.slides(lesson, ROOT)


@pytest.mark.parametrize("words", [[], [""], ["07", "08"]])
def test_without_a_lesson_the_command_says_how(words, capsys):
    assert slides.main(words) == 2
    assert capsys.readouterr().err == "course: say which lesson, for example `make slides LESSON=07`\n"


def test_make_slides_calls_it_with_the_lesson():
    done = subprocess.run(["make", "--no-print-directory", "-n", "slides", "LESSON=07"], cwd=ROOT, capture_output=True,
                          text=True, check=True)
    assert done.stdout.strip().endswith('-m course_lib.classroom.slides "$LESSON"')


@pytest.mark.slow
def test_no_slide_overflows_in_a_browser(page):
    look = """() => { const slide = Reveal.getCurrentSlide(), all = name => [...slide.querySelectorAll(name)];
        const ends = all('*').map(e => e.getBoundingClientRect()).filter(box => box.width && box.height);
        return { head: slide.innerText.slice(0, 60),
        bottom: Math.max(...ends.map(box => box.bottom)), right: Math.max(...ends.map(box => box.right)),
        type: Math.min(99, ...all('p,li,pre,td').map(e => parseFloat(getComputedStyle(e).fontSize))) } }"""
    seen = []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=browser_path(), args=QUIET)
        tab = browser.new_page(viewport={"width": slides.WIDE, "height": slides.HIGH}, offline=True)
        problems = []
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.on("requestfailed", lambda request: problems.append(request.url))
        tab.goto(page.as_uri())
        tab.wait_for_function("window.Reveal?.isReady()")
        for _ in range(tab.evaluate("Reveal.getTotalSlides()")):
            seen.append(tab.evaluate(look))
            tab.evaluate("Reveal.next()")
        last = tab.evaluate("Reveal.isLastSlide()")
        browser.close()
    assert problems == [] and last and len(seen) > 30
    assert [s for s in seen if s["bottom"] > slides.HIGH or s["right"] > slides.WIDE] == []
    assert [s for s in seen if s["type"] < 12] == []  # pixels, of a slide 720 high
