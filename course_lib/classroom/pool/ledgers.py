"""One ledger's lines: readings, predictions and verdicts, or one sentence on why it is left out as a whole.

A line that is cut or unknown costs itself. A line that no version of the course can write (joules without a label, a
label that its source does not give, watts that no machine draws, a total that is not the sum of its parts) costs the
whole ledger, because somebody changed it.
"""

import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass, field

from ...claims import VERDICTS, all_claims
from ...ledger import KINDS, SCHEMA
from .checks import LABELS, Forged, Unknown, reading
from .words import as_text, is_real

LINES, LINE_BYTES = 5_000, 20_000  # of one ledger, of one line; a whole course writes 100 lines of 400 bytes
_BROKEN = "lines cut or damaged"
_VERSION = f"lines of another version than {SCHEMA}, the one that this course reads"
_JOULES = re.compile(rf"J \(({'|'.join(LABELS)})\)")


@dataclass
class Ledger:
    """One learner's ledger. `left` counts the lines that were left out, by reason."""

    digest: str = ""
    readings: list = field(default_factory=list)
    predictions: dict = field(default_factory=dict)  # key -> (said, result, answered, label): the first one counts
    verdicts: dict = field(default_factory=dict)  # claim -> word: the last one counts
    notes: int = 0
    left: Counter = field(default_factory=Counter)
    number: int = 0  # in the report
    marks: set = field(default_factory=set)

    @property
    def kept(self):
        return len(self.readings) + len(self.predictions) + len(self.verdicts)


def read(data, course):
    """The Ledger in these bytes. Raises Forged, with one sentence, for what has to be left out as a whole."""
    if data.count(b"\n") > LINES:
        raise Forged(f"it has more than {LINES:,} lines, and a learner's ledger has some hundreds")
    ledger, near = Ledger(hashlib.sha256(data).hexdigest()), None
    for at, line in enumerate(data.decode("utf-8-sig", "replace").split("\n"), 1):
        if line.strip():
            try:
                near = _line(line, ledger, course, near)
            except Unknown as why:
                ledger.left[str(why)] += 1
            except Forged as why:
                raise Forged(f"line {at}: {why}") from None
    lines = ledger.left.total()
    if not ledger.kept + ledger.notes + lines:
        raise Forged("it is empty")
    if ledger.left[_BROKEN] > ledger.kept + ledger.notes:
        raise Forged(f"it is damaged, or no ledger: {ledger.left[_BROKEN]:,} of its lines cannot be read")
    if not ledger.kept:
        why = ledger.left.most_common(1)[0][0] if lines else "notes"
        raise Forged(f"nothing in it can be pooled: {why}")
    return ledger


def _line(line, ledger, course, near):
    """Take one line into the ledger; returns the lesson that the ledger is in by now."""
    entry = _entry(line)
    if entry["kind"] == "reading":
        one = reading(entry, course, near)
        if one is None:
            ledger.notes += 1
        elif (one.work, one.seconds, one.cpu_seconds) not in ledger.marks:  # a cell that only logs may be run twice
            ledger.marks.add((one.work, one.seconds, one.cpu_seconds))
            ledger.readings.append(one)
    elif entry["kind"] == "prediction":
        return _prediction(entry, course, ledger)
    elif entry["kind"] == "verdict":
        claim, word = entry.get("claim"), entry.get("word")
        if not isinstance(claim, str) or claim not in all_claims() or word not in VERDICTS:
            raise Unknown("verdicts that the course does not know")
        ledger.verdicts[claim] = word
    else:
        ledger.notes += 1
    return near


def _no_constant(_):
    raise Forged("it holds NaN or an infinite number, which the course never writes")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def _entry(line):
    try:
        entry = _DECODER.decode(line) if len(line) <= LINE_BYTES else None
    except (ValueError, RecursionError):
        entry = None
    if not isinstance(entry, dict) or not {"schema", "kind"} <= set(entry):
        raise Unknown(_BROKEN)
    if entry["schema"] != SCHEMA or isinstance(entry["schema"], bool):
        raise Unknown(_VERSION)
    if entry["kind"] not in KINDS:
        raise Unknown("lines of a kind that this course does not write")
    return entry


def _prediction(entry, course, ledger):
    """Keep the first prediction on a question, because later ones saw the result; returns the question's lesson."""
    key, unit = (as_text(entry.get(name)) for name in ("key", "unit"))
    if (question := course.questions.get(key)) is None:
        raise Unknown("predictions on questions that the course does not ask")
    said, result, answered = (entry.get(name) for name in ("predicted", "actual", "answered"))
    if not isinstance(answered, bool) or not (is_real(result) if question.numeric else isinstance(result, str)):
        raise Unknown("predictions that are not whole")
    if not question.allows(said):
        raise Unknown("predictions that their question does not allow")
    label = _JOULES.fullmatch(unit)
    if question.unit == "J" and not label:
        raise Unknown("predictions in joules without a label")
    ledger.predictions.setdefault(key, (said, result, answered, label[1] if label else ""))
    return question.lesson
