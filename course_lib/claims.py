"""The article's 47 claims with what the sources say, read from `assets/claims.toml`.

A lesson shows `claim("A1").card()`, lets the learner predict and measure, and ends in `verdict("A1", word)`;
only then, or by `card(reveal=True)`, the sources' verdict is shown. Figures come from `course_lib.facts`.
"""

from __future__ import annotations

import re
import textwrap
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from course_lib.cards import Card
from course_lib.facts import fact, nearest

VERDICTS = ("supported", "loosely stated", "misattributed", "contested", "not checkable")
KINDS = {  # how the course decides a claim -> what to ask a learner who has not seen the answer yet
    "measured here": "What could you count or measure to check it, and what belongs inside the figure?",
    "checked against sources": "Which source would settle it: who said it, of which quantity, in which year?",
    "not checkable": "Is there evidence that could decide it at all?"}
_ID = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Claim:
    """One statement of the article.

    `quote` is what the article says in a few words (its own in quotation marks), `verdict` one of VERDICTS
    with its qualifier in `detail`, `finding` what the sources say, `teach` what the course says, `facts` the
    ids of the figures behind it, `kind` one of KINDS, `read` how the evidence was read, `lessons` like "02".
    """

    id: str
    quote: str
    reference: str
    verdict: str
    detail: str
    finding: str
    teach: str
    facts: tuple[str, ...]
    kind: str
    lessons: tuple[str, ...]
    read: str

    @property
    def sources_say(self) -> str:
        """The sources' verdict with its qualifier: "contested (no source is given)"."""
        return f"{self.verdict} ({self.detail})" if self.detail else self.verdict

    def card(self, reveal: bool = False) -> Card:
        """The claim, its origin and a question; with `reveal` findings and the sources' verdict instead."""
        parts = [("From", self.reference), ("Ask yourself", KINDS[self.kind])]
        if reveal:
            parts = [parts[0], ("The sources say", self.sources_say), ("Found", self.finding),
                     ("What to keep", self.teach),
                     ("How it was decided", f"{self.kind}; evidence read: {self.read}"),
                     ("Figures", ", ".join(self.facts) or "none")]
        return Card(f"Claim {self.id}", self.quote, parts)


@cache
def all_claims() -> dict[str, Claim]:
    """All claims by id, in the order of the article's review: A numbers, B mechanisms, C people."""
    rows = tomllib.loads((files("course_lib") / "assets" / "claims.toml").read_text(encoding="utf-8"))
    article = rows.pop("article")
    return {id: _claim(id, article, row) for id, row in rows.items()}


def _claim(id: str, article: str, row: dict) -> Claim:
    texts = {k: _ID.sub(lambda m: fact(m[1]).text, row[k]) for k in ("finding", "teach")}
    ids = _ID.findall(row["finding"] + row["teach"]) + row.pop("facts", [])
    row |= texts | {"lessons": tuple(row["lessons"]), "detail": row.get("detail", "")}
    return Claim(id=id, reference=article, facts=tuple(dict.fromkeys(ids)), **row)


def claim(id: str) -> Claim:
    """The claim `id`, for example "A1". Raises UnknownId (a KeyError) naming the nearest ids."""
    if not isinstance(id, str) or id not in all_claims():
        raise nearest(id, all_claims(), "a claim")
    return all_claims()[id]


def verdict(id: str, word: str, because: str = "") -> Card:
    """Print the verdict a lesson reached, then that of the sources, and write it into the learner's ledger.

    `word` is one of VERDICTS, `because` a short reason. Where the sources judge otherwise, it is said why. Returns the card with the finding
    of the sources, for the end of a cell. Raises UnknownId for the claim, and ValueError for another word.
    """
    from course_lib import ledger

    c = claim(id)
    if word not in VERDICTS:
        raise ValueError(f"{word!r} is not a verdict: write one of {', '.join(VERDICTS)}.")
    reason = f", because {because.rstrip('.')}" if because else ""
    sources = f"The sources say: {c.sources_say}" + ("." if word == c.verdict else f", because: {c.finding}")
    how = f" ({c.kind})" if c.kind != word else ""
    for sentence in (f"{id}: {word}{how}{reason}.", sources):
        print(textwrap.fill(sentence, 96))
    ledger.append("verdict", claim=id, word=word, sources=c.verdict)
    return c.card(reveal=True)


def scoreboard(reveal: bool = False):
    """All claims as a table: the learner's last verdict in the ledger, that of the sources, how it was found.

    The sources' verdict stands only beside the learner's, so that nobody reads it first; `reveal` shows all.
    """
    from course_lib import ledger
    from course_lib.tables import Table

    mine = {e["claim"]: e.get("word") for e in ledger.read()
            if e["kind"] == "verdict" and isinstance(e.get("claim"), str)}
    rows = [(c.id, c.quote, mine.get(c.id) or "-", c.sources_say if reveal or c.id in mine else "-", c.kind,
             ", ".join(c.lessons)) for c in all_claims().values()]
    columns = ("claim", "the article says", "your verdict", "the sources say", "how it is decided", "lesson")
    judged = len(mine.keys() & all_claims().keys())
    return Table(columns, rows, caption=f"{judged} of {len(rows)} claims have your verdict")
