"""One handed-in notebook: bytes -> cells -> answers, cells of the learner's own, and notes.

Nothing in the file is trusted. It is read with the json module alone: a check of the whole schema takes
minutes on 100,000 cells, and what is wrong with the rest of a file need not cost a learner the answers in it.
"""

import codecs
import gc
import json
import re
from typing import NamedTuple

from ...handin.binds import unreadable
from . import pasted
from .names import clean

MAX_CELLS, MAX_EXTRAS, MAX_EXTRA_KB = 5_000, 500, 200
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
         (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))  # UTF-32 begins like UTF-16
_OTHERS = ((b"PK\x03\x04", "a zip"), (b"%PDF", "a PDF"), (b"<!DOCTYPE", "a web page"),
           (b"<html", "a web page"), (b"\x1f\x8b", "a gzip file"), (b"\x89PNG", "a picture"))
_SURROGATE = re.compile("[\ud800-\udfff]")
_MARKER = re.compile(r"#+\s*(?:NBVAL|PYTEST_VALIDATE)_[A-Z_]+", re.IGNORECASE)
_IMPORT = re.compile(r"(?:import\s+\w|from\s+[\w.]+\s+import\s+[\w*])[^(\\]*")
HIDDEN = object()  # the place of a cell that claims to be a hidden check


class Unreadable(Exception):
    """Why a handed-in file cannot be graded, in one line."""


class Cell(NamedTuple):
    """A cell as far as grading looks at it. `kind`: code, markdown, ...; `ids`: grade_id, then cell ids."""

    kind: str
    text: str
    ids: tuple
    grade_id: str = ""
    setup: bool = False  # it carries the tag of the course's set-up cell


def too_large(size, max_mb):
    """The sentence for a file of `size` bytes where `max_mb` MB (2**20 bytes) are allowed."""
    return f"file is {size / 2**20:.1f} MB (limit {max_mb:g} MB): clear outputs and hand in again"


def read_notebook(data, max_mb=5):
    """(list of Cell, metadata dict) of a notebook's bytes: nbformat 3 and 4.x, in UTF-8, UTF-16 or UTF-32.

    Texts come with \\n as line end, without NUL characters, and with U+FFFD for lone surrogates.
    Raises Unreadable with a reason in one line.
    """
    if len(data) > max_mb * 2**20:
        raise Unreadable(too_large(len(data), max_mb))
    nb = _parse(data)
    version = nb.get("nbformat", 4)  # without a version, the shape below decides
    if version not in (3, 4, "3", "4"):
        said = clean(str(version), 20) if isinstance(version, (int, float, str)) else "of a strange kind"
        raise Unreadable(f"it says nbformat {said}, and only 3 and 4 are known: save it with an ordinary "
                         "Jupyter and hand in again")
    cells = nb.get("cells")
    if "cells" not in nb and isinstance(nb.get("worksheets"), list):  # nbformat 3
        cells = [cell for sheet in nb["worksheets"] if isinstance(sheet, dict)
                 for cell in (sheet["cells"] if isinstance(sheet.get("cells"), list) else [])]
    if "cells" not in nb and cells is None:
        raise Unreadable("it is not a notebook: it has no cells")
    if not isinstance(cells, list):
        raise Unreadable("it is not a notebook: its cells are not a list")
    if not cells:
        raise Unreadable("it has no cells: hand in the notebook that holds your answers")
    if len(cells) > MAX_CELLS:
        raise Unreadable(f"it has {len(cells):,} cells (limit {MAX_CELLS:,})")
    metadata = nb.get("metadata")
    return ([_cell(cell, number) for number, cell in enumerate(cells, 1)],
            metadata if isinstance(metadata, dict) else {})


def _parse(data):
    """The JSON object in `data`."""
    if not data.strip(b" \t\r\n\0"):
        raise Unreadable("the file is empty")
    for begin, what in _OTHERS:
        if data[:64].lstrip()[:9].upper().startswith(begin.upper()):
            raise Unreadable(f"it is {what}, not a notebook: hand in the .ipynb file itself")
    try:
        text = data.decode(next((codec for bom, codec in _BOMS if data.startswith(bom)), "utf-8"))
    except UnicodeDecodeError as error:
        raise Unreadable(f"it is not a notebook: not UTF-8 text (byte {error.start:,})") from None
    collecting = gc.isenabled()
    gc.disable()  # nothing made here can be garbage yet, and to look for it in a million lists takes seconds
    try:
        # A number of a million digits would take minutes; none that long matters here.
        nb = json.loads(text, strict=False, parse_constant=lambda name: None,
                        parse_int=lambda digits: int(digits) if len(digits) < 20 else None)
    except RecursionError:
        raise Unreadable("it is not a notebook: it is nested too deeply") from None
    except ValueError as error:
        if re.search("^<{7} ", text, re.MULTILINE):
            raise Unreadable("it holds marks of a merge conflict (<<<<<<<): settle them first") from None
        where = f"line {error.lineno:,}, column {error.colno:,}" if hasattr(error, "lineno") else "a number"
        raise Unreadable(f"it is not JSON ({where}): the file is damaged or not a notebook") from None
    finally:
        if collecting:
            gc.enable()
    if not isinstance(nb, dict):
        raise Unreadable("it is not a notebook: its JSON is not an object")
    return nb


def _cell(cell, number):
    if not isinstance(cell, dict):
        raise Unreadable(f"cell {number:,} is damaged: it is not an object")
    kind, text = cell.get("cell_type"), cell.get("source", cell.get("input", ""))  # `input`: nbformat 3
    if isinstance(text, list) and all(isinstance(line, str) for line in text):
        text = "".join(text)
    if not isinstance(text, str):
        raise Unreadable(f"cell {number:,} is damaged: its source is not text")
    if kind == "heading":  # nbformat 3
        level = cell.get("level")
        kind, text = "markdown", "#" * (level if level in range(1, 7) else 1) + " " + text
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "").rstrip("\n")
    metadata = cell.get("metadata") if isinstance(cell.get("metadata"), dict) else {}
    marks = metadata.get("nbgrader") if isinstance(metadata.get("nbgrader"), dict) else {}
    tags = metadata.get("tags")
    names = [marks.get("grade_id"), cell.get("id"), metadata.get("id")]  # the last one is Colab's
    names = [name if isinstance(name, str) else "" for name in names]
    return Cell(kind if isinstance(kind, str) else "unknown", _SURROGATE.sub("\ufffd", text),
                tuple(filter(None, names)), names[0], isinstance(tags, list) and "setup" in tags)


def unmarked(text):
    """`text` with every line that nbval would take as an instruction (# NBVAL_SKIP) made blank.

    Lines are told apart as nbval does it: form feeds and the like end one, too.
    """
    if "nbval_" not in text.lower() and "pytest_validate_" not in text.lower():
        return text
    return "".join(line[len(line.rstrip()):] if _MARKER.fullmatch(line.strip()) else line
                   for line in text.splitlines(keepends=True))


def _plain(text):
    """A text to compare: blanks at the ends of lines and at the end left aside."""
    return "\n".join(line.rstrip() for line in text.split("\n")).rstrip()


class Known:
    """What is looked up in one Exercise, made once for all its submissions."""

    def __init__(self, exercise):
        self.exercise, self.originals, self.texts, self.setup = exercise, {}, {}, set()
        self.binds = {}  # answer's grade_id -> the names that its cell makes
        self.hidden = {check.id for check in exercise.checks if check.hidden}
        self.checks = {check.id for check in exercise.checks} - self.hidden
        self.graded = self.checks | set(exercise.answers)
        self.asked = set()  # the visible checks, as (cell type, text)
        for cell in exercise.cells:
            name = cell["metadata"].get("nbgrader", {}).get("grade_id") or cell.get("id")
            tags = cell["metadata"].get("tags", [])
            if "hidden" in tags or name in self.hidden:
                self.hidden.add(name)
                continue
            self.originals[name] = original = cell["cell_type"], _plain(cell["source"])
            if name not in exercise.answers:
                self.texts.setdefault(original, []).append(name)
            else:
                self.binds[name] = pasted.names(cell["source"])
            if name in self.checks:
                self.asked.add(original)
            if "setup" in tags:  # its text depends on where the course was got from
                self.setup.add(name)

    def alike(self, cells):
        """How many of the visible checks' texts these cells hold."""
        return len(self.asked & {(cell.kind, _plain(cell.text)) for cell in cells})

    def place(self, cell):
        """The grade_id or id of the exercise's cell that `cell` says it is; HIDDEN; or None."""
        for name in cell.ids:
            if name in self.hidden:
                return HIDDEN
            if name in self.originals:
                return name
        return next(iter(self.setup), None) if cell.setup else None

    def reduce(self, cells):
        """(answers, extras, notes) of a learner's cells, as a Submission holds them.

        Of several cells for one answer the last counts. Those before it are run as the learner's own cells: a
        cell that was split in two has the name in both halves. An answer whose cell is gone is looked for in
        the learner's own cells, by the names that it makes.
        """
        places = self._places(cells)
        at = {}
        for index, place in enumerate(places):
            at.setdefault(place, []).append(index)
        answers, notes = {}, []
        own = {}  # {index: text} of cells that are the learner's own in spite of their name
        looked_at = {i: places[i] for i, cell in enumerate(cells)
                     if cell.kind == "code" and places[i] in self.binds or self._mine(cell, places[i])}
        found, used, drafts = pasted.find(self.binds, looked_at, {i: unmarked(cells[i].text) for i in looked_at},
                                          tuple(self.originals))
        for name in self.exercise.answers:
            code = [index for index in at.get(name, []) if cells[index].kind == "code"]
            if code:
                last = cells[code[-1]].text
                answers[name] = unmarked(last)
                own |= {index: cells[index].text for index in code[:-1] if cells[index].text != last}
                if len(code) > 1:
                    notes.append(f"answer cell '{name}' appears {len(code)} times, the last one is graded")
                if why := unreadable(answers[name]):
                    notes.append(f"answer cell '{name}' is no Python that can be read: {why}")
            elif name in found:
                answers[name] = found[name]
                notes.append(f"answer cell '{name}' is missing: your cell that defines "
                             f"{', '.join(sorted(self.binds[name]))} is graded")
            elif name in at:
                kind = clean(cells[at[name][-1]].kind, 20)
                notes.append(f"answer cell '{name}' is missing: it was turned into a {kind} cell")
            else:
                notes.append(f"answer cell '{name}' is missing")
        for name, (kind, text) in self.originals.items():
            here = at.get(name, [])
            if kind != "code" or name in self.exercise.answers or name in self.setup:
                continue
            if name in self.checks and not here:
                notes.append(f"check cell '{name}' was missing, the original is used")
            if here and not any((cells[i].kind, _plain(cells[i].text)) == (kind, text) for i in here):
                if name in self.checks:
                    notes.append(f"check cell '{name}' was edited, the original is used")
                    continue
                begin = text.strip().partition("\n")[0][:40]
                notes.append(f"the given cell that begins `{begin}` was edited, the original is used")
                # To add an import there is natural, and no right answer shall fail for want of it.
                old = set(text.split("\n"))
                added = [line for line in cells[here[-1]].text.split("\n")
                         if _IMPORT.fullmatch(line) and line.rstrip() not in old]
                if added and cells[here[-1]].kind == "code":
                    own[here[-1]] = "\n".join(added)
                    notes[-1] += " (and the imports that were added to it)"
        return answers, self._extras(cells, places, own, used, drafts, notes), notes

    def _mine(self, cell, place):
        return place is None and cell.kind == "code" and ("code", _plain(cell.text)) not in self.texts

    def _places(self, cells):
        """For each cell its place. Without ids (nbformat before 4.5) a given cell is known by its text."""
        places = [self.place(cell) for cell in cells]
        taken = set(places)
        for index, cell in enumerate(cells):
            if places[index] is None:
                same = self.texts.get((cell.kind, _plain(cell.text)), ())
                places[index] = next((name for name in same if name not in taken), None)
                taken.add(places[index])
        return places

    def _extras(self, cells, places, own, used, drafts, notes):
        extras, before, large = [], None, 0
        for index, (cell, place) in enumerate(zip(cells, places, strict=True)):
            mine = self._mine(cell, place) and index not in used
            after = place if place in self.originals else before
            text = unmarked(own.get(index, cell.text)) if mine or index in own else ""
            if text.strip():
                if len(text.encode()) > MAX_EXTRA_KB * 1000:
                    large += 1
                else:  # added imports come after the cell that they were added to, all else where it stands
                    imports = index in own and place not in self.exercise.answers
                    extras.append((drafts.get(index, after if imports else before), text))
            before = after
        if large:
            notes.append(f"{large} cell(s) of your own with more than {MAX_EXTRA_KB} kB of text are left out")
        if len(extras) > MAX_EXTRAS:
            notes.append(f"of your own {len(extras):,} cells all after the first {MAX_EXTRAS} are left out")
        return tuple(extras[:MAX_EXTRAS])
