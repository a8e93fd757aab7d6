"""Claims: all 47 are there, rest on figures that may be shown, and a verdict is printed and kept."""

import re

import pytest

from course_lib import ledger
from course_lib.claims import KINDS, VERDICTS, all_claims, claim, scoreboard, verdict
from course_lib.facts import UnknownId, all_facts

CLAIMS = all_claims()


@pytest.fixture(autouse=True)
def own_ledger(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_LEDGER", str(tmp_path / "ledger.jsonl"))


def test_all_47_are_there_in_order():
    wanted = [f"{part}{i}" for part, n in (("A", 9), ("B", 34), ("C", 4)) for i in range(1, n + 1)]
    assert list(CLAIMS) == wanted and len(wanted) == 47


def test_the_verdicts_of_the_review():
    words = {"supported": "A1 A7 B5 B9 B15 B29 B31 B32 C4", "misattributed": "A3 A4 A6 B3 B7 B16 B17 B21",
             "contested": "A2 A9 B8 B12 B13 B19 B20 B23 B27 B28", "not checkable": "B10 B30 B34 C2 C3"}
    for word, ids in words.items():
        assert [c.id for c in CLAIMS.values() if c.verdict == word] == ids.split()
    assert sum(c.verdict == "loosely stated" for c in CLAIMS.values()) == 15


@pytest.mark.parametrize("c", CLAIMS.values(), ids=list(CLAIMS))
def test_every_claim_is_whole(c):
    assert c.verdict in VERDICTS and c.kind in KINDS
    assert c.quote and c.finding.endswith(".") and c.teach[-1] in ".?" and "{" not in c.finding + c.teach
    assert c.lessons and all(re.fullmatch(r"0\d|10", lesson) for lesson in c.lessons)
    assert all(id in all_facts() and all_facts()[id].read != "memory" for id in c.facts)
    assert len(set(c.facts)) == len(c.facts)
    assert c.read in ("primary", "secondary", "primary and secondary", "memory", "none")
    if c.verdict == "not checkable" or (c.read in ("memory", "none") and c.kind != "measured here"):
        assert c.kind == "not checkable"
    assert "Is AI doomed to be an energy drain?" in c.reference


def test_enough_is_decided_in_the_course():
    measured = {c.id for c in CLAIMS.values() if c.kind == "measured here"}
    assert len(measured) >= 20 and {"A1", "A2", "A9", "B4", "B20", "B22", "B33"} <= measured


def test_every_number_in_a_finding_comes_from_the_table():
    """A figure typed by hand would drift from facts.csv: numbers with a unit of energy must be filled in."""
    from importlib.resources import files

    text = (files("course_lib") / "assets" / "claims.toml").read_text(encoding="utf-8")
    told = re.findall(r"^(?:finding|teach) = .*$", text, re.MULTILINE)
    assert len(told) == 94
    assert not [t for t in told if re.search(r"\d (?:MWh|GWh|TWh|Wh|kWh|J|W|tCO2e)\b", t)]


def test_a_card_hides_the_answer_until_asked():
    c = claim("A3")
    closed, opened = c.card(), c.card(reveal=True)
    for show in (str, lambda card: card._repr_html_()):
        for piece in ("2%", "energy drain?", "Which source would settle it"):
            assert piece in show(closed)
        assert "misattributed" not in show(closed) and "460 TWh" not in show(closed)
        assert "misattributed (wrong year, scope and unit)" in show(opened) and "460 TWh" in show(opened)
        assert "dc_iea22" in show(opened)
    assert "measure" in str(claim("A1").card()) and "evidence" in str(claim("B10").card())


def test_a_card_reads_on_any_page():
    html = claim("A1").card(reveal=True)._repr_html_()
    assert "currentColor" in html and "background" not in html and "color:#" not in html
    assert "&quot;" in html and html.count("<p") == html.count("</p>")


def test_verdict_lines_and_ledger(capsys):
    verdict("A1", "supported")
    verdict("A1", "supported", "it multiplies out.")
    verdict("A2", "supported", "one boundary lies inside")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 96  # nothing is cut in the middle of a word on a learner's screen
    assert lines[:2] == ["A1: supported (measured here).", "The sources say: supported."]
    assert lines[2:4] == ["A1: supported (measured here), because it multiplies out.", "The sources say: supported."]
    assert lines[4] == "A2: supported (measured here), because one boundary lies inside."
    assert lines[5].startswith("The sources say: contested (no source is given), because: OpenAI")
    kept = [(e["claim"], e["word"], e["sources"]) for e in ledger.read() if e["kind"] == "verdict"]
    assert kept == [("A1", "supported", "supported")] * 2 + [("A2", "supported", "contested")]


def test_bad_words_and_ids(capsys):
    with pytest.raises(ValueError, match="'true' is not a verdict: write one of supported, loosely stated"):
        verdict("A1", "true")
    with pytest.raises(UnknownId, match="'A47' is not a claim of this course: did you mean A"):
        claim("A47")
    with pytest.raises(KeyError, match="'a1' is not a claim"):
        verdict("a1", "supported")
    assert capsys.readouterr().out == "" and not [e for e in ledger.read() if e["kind"] == "verdict"]


@pytest.mark.parametrize("odd", [["A1"], {"a": 1}, None, 3])
def test_a_verdict_line_that_names_no_claim_changes_nothing(odd, capsys):
    verdict("A2", "contested")
    ledger.append("verdict", claim=odd, word="supported")
    assert "1 of 47" in str(scoreboard())


@pytest.mark.parametrize("odd", [["A1"], {"A1"}, None, 3])
def test_a_claim_that_is_no_word_gets_the_same_sentence(odd):
    with pytest.raises(UnknownId, match="is not a claim of this course"):
        claim(odd)


def test_scoreboard(capsys):
    verdict("A2", "supported")
    verdict("A2", "contested")
    board = scoreboard()
    assert len(board.rows) == 47 and "1 of 47" in str(board)
    rows = {row[0]: row for row in board.rows}
    assert rows["A2"][2:4] == ("contested", "contested (no source is given)")
    assert rows["A3"][2:4] == ("-", "-"), "the sources' verdict would give the answer away"
    shown = {row[0]: row[3] for row in scoreboard(reveal=True).rows}
    assert shown["A3"].startswith("misattributed") and "-" not in shown.values()
    assert "B34" in board._repr_html_()
