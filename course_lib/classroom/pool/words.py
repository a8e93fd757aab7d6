"""What the course itself says: names of works, questions, claims. The report shows no other text.

A ledger's texts may hold anything, the name of a person or of a machine too. So no text of a ledger is ever shown:
it is looked up here, and what the course's own sources do not contain is counted and left out.
"""

import ast
import re
from dataclasses import dataclass, field
from pathlib import Path

from .. import CourseError, course_root

_LONGEST, _KEPT = 80, 10_000  # characters of a name; names that are remembered
_HOLES = 4  # f"{a}, {b}": places to fill in
_NUMBER = re.compile(r"-?\d{1,4}(?:\.\d{1,3})?")  # too short for anybody's number
_MEASURES = {"block", "measure"}  # the calls of a Meter that name a piece of work


@dataclass(frozen=True)
class Question:
    """One `predict(...)` of a lesson. `options` is () where the answer is a number between `low` and `high`."""

    key: str
    lesson: str
    text: str
    options: tuple = ()
    low: float | None = None
    high: float | None = None
    unit: str = ""

    def spans(self, number):
        """True inside the slider's ends, with room for the rounding of one that moves in powers of ten."""
        return all(end is None or side * (number - end) >= -1e-6 * abs(end)
                   for side, end in ((1, self.low), (-1, self.high)))


@dataclass
class Lesson:
    """What one lesson's source says: its title, its questions, and every name that its code can give a work."""

    number: str
    title: str
    questions: dict = field(default_factory=dict)
    texts: set = field(default_factory=set)  # all string constants of the code, and the functions' names
    named: set = field(default_factory=set)  # those that stand in a call of block or measure
    shapes: list = field(default_factory=list)  # f-strings of such calls: ("", ", ", "") for f"{a}, {b}"
    pieces: set = field(default_factory=set)  # the other f-strings, which may stand in the holes of those

    def says(self, name):
        """2: a call names this work so; 1: the code holds the text; 0: neither."""
        if name in self.named:
            return 2
        if any(_fits(name, shape, self._hole) for shape in self.shapes):
            return 2
        return int(name in self.texts)

    def _plain(self, text):
        return text in self.texts or bool(_NUMBER.fullmatch(text))

    def _hole(self, text):
        """True for a text or number of the lesson, and for an f-string with such in its own holes."""
        return self._plain(text) or any(_fits(text, shape, self._plain) for shape in self.pieces)


def _fits(name, shape, fills):
    """True where `name` is the f-string, with what `fills` accepts in its holes."""
    if not name.startswith(shape[0]) or not all(piece in name for piece in shape):
        return False
    rest = name[len(shape[0]):]
    if len(shape) == 1:
        return not rest
    ends = [len(rest)] if len(shape) == 2 and not shape[1] else \
        [at.start() for at in re.finditer(re.escape(shape[1]), rest)] if shape[1] else range(len(rest) + 1)
    return any(_fits(rest[end:], shape[1:], fills) and fills(rest[:end]) for end in ends)


class Course:
    """All lessons of a course folder. `Course(root)` reads notebooks/source/*.py, and runs nothing."""

    def __init__(self, root):
        self.lessons, self._known = {}, {}
        for path in sorted(Path(root, "notebooks", "source").glob("[0-9]*.py")):
            lesson = _read(path)
            self.lessons[lesson.number] = lesson
        self.questions = {key: q for lesson in self.lessons.values() for key, q in lesson.questions.items()}

    def work(self, name, near=None):
        """(lesson, name) of a piece of work, or None where the course does not name it, or names it in several lessons.

        `near`: the lesson that the ledger was in when the work was done, as its predictions tell.
        """
        if not isinstance(name, str) or not 0 < len(name) <= _LONGEST:
            return None
        if name not in self._known:
            if len(self._known) >= _KEPT:
                self._known.clear()
            says = {number: lesson.says(name) for number, lesson in self.lessons.items()}
            best = max(says.values(), default=0)
            self._known[name] = {number for number, score in says.items() if score == best > 0}
        lessons = self._known[name]
        lesson = near if near in lessons else next(iter(lessons)) if len(lessons) == 1 else None
        return None if lesson is None else (lesson, name)


def of_the_course():
    """The course around the working folder, or else the one that this library lies in. CourseError where none is."""
    for start in (None, Path(__file__).resolve().parent):
        try:
            return Course(course_root(start))
        except CourseError as error:
            problem = error
    raise problem


def _read(path):
    source = path.read_text(encoding="utf-8")
    title = re.search(r"^# # (.+)$", source, re.MULTILINE)
    number = path.stem.partition("_")[0]
    lesson = Lesson(number, title[1].strip() if title else path.stem)
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise CourseError(f"{path} is not Python (line {error.lineno}): mend it, then pool again") from None
    values = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            values[node.targets[0].id] = _literal(node.value)
    pieces = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) <= _LONGEST:
            if id(node) not in pieces:
                lesson.texts.add(node.value)
        elif isinstance(node, ast.JoinedStr):
            shape = _shape(node)
            if len(shape) <= _HOLES + 1 and any(piece.strip() for piece in shape):
                lesson.pieces.add(shape)
        elif isinstance(node, ast.FunctionDef):
            lesson.texts.add(node.name)
        elif isinstance(node, ast.Call):
            _call(node, lesson, values)
    return lesson


def _call(node, lesson, values):
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    if isinstance(node.func, ast.Attribute) and node.func.attr in _MEASURES:
        name = given.get("name") or (node.args[0] if node.func.attr == "block" and node.args else None)
        if isinstance(name, ast.Constant) and isinstance(name.value, str):
            lesson.named.add(name.value)
        elif isinstance(name, ast.JoinedStr) and len(shape := _shape(name)) <= _HOLES + 1 and any(shape):
            lesson.shapes.append(shape)
        elif node.func.attr == "measure" and name is None and node.args and isinstance(node.args[0], ast.Name):
            lesson.named.add(node.args[0].id)  # the function's own name
    elif isinstance(node.func, ast.Name) and node.func.id == "predict":
        texts = [_text(one, values) for one in node.args[:2]] + [None, None]
        key, text = texts[0] or _text(given.get("key"), values), texts[1] or _text(given.get("question"), values)
        if key and text:
            number = {name: _literal(given[name], values) if name in given else None for name in ("low", "high")}
            options = _literal(given["options"], values) if "options" in given else ()
            lesson.questions[key] = Question(
                key, lesson.number, " ".join(text.split()),
                tuple(options) if isinstance(options, (list, tuple)) else (),
                *(value if isinstance(value, (int, float)) else None for value in number.values()),
                _text(given.get("unit"), values) or "")


def _shape(node):
    """The fixed pieces of an f-string, a hole between each and the next."""
    pieces = [""]
    for part in node.values:
        if isinstance(part, ast.Constant):
            pieces[-1] += part.value
        else:
            pieces.append("")
    return tuple(pieces)


def _text(node, values):
    """A string or f-string of the source; a hole shows the plain value it names, or a dash of dots."""
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else _shown(part.value, values)
                       for part in node.values)
    text = _literal(node, values) if node is not None else None
    return text if isinstance(text, str) else None


def _shown(node, values):
    value = _literal(node, values)
    return str(value) if isinstance(value, (str, int, float)) else "\u2026"


def _literal(node, values=None):
    if isinstance(node, ast.Name) and values:
        return values.get(node.id)
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
