"""What the course itself says: names of works, questions, claims. The report shows no other text.

A ledger's texts may hold anything, the name of a person or of a machine too. So no text of a ledger is ever shown:
it is looked up here, and what the course's own sources do not contain is counted and left out.
"""

import ast
import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from ...stats import real
from .. import CourseError, course_root

_LONGEST, _HOLES = 80, 3  # characters of a name; places to fill in, as in f"{a}, {b}"
_NUMBER = re.compile(r"-?\d{1,4}(?:\.\d{1,3})?")  # too short for anybody's number


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

    @property
    def numeric(self):
        """True where answers are numbers, on a slider or among options."""
        return not any(isinstance(option, str) for option in self.options)

    def allows(self, said):
        """True for an option; inside the slider's ends, with room for the rounding of one that moves in powers of ten."""
        if self.options:
            return said in self.options and not isinstance(said, bool)
        return is_real(said) and all(end is None or side * (said - end) >= -1e-6 * abs(end)
                                     for side, end in ((1, self.low), (-1, self.high)))


@dataclass
class Lesson:
    """What one lesson's source says: its title, its questions, and every name that its code can give a work."""

    number: str
    title: str
    questions: dict = field(default_factory=dict)
    texts: set = field(default_factory=set)  # all string constants of the code, and the functions' names
    named: set = field(default_factory=set)  # those that stand in a call of block or measure
    shapes: list = field(default_factory=list)  # f-strings of such calls, as patterns
    pieces: list = field(default_factory=list)  # all f-strings, which may stand in the holes of those

    def says(self, name):
        """2: a call names this work so; 1: the code holds the text; 0: neither."""
        return 2 if name in self.named or _made(name, self.shapes, self._hole) else int(name in self.texts)

    def _plain(self, text):
        """True for a text or number of the lesson, or a list of such."""
        return text in self.texts or all(part in self.texts or _NUMBER.fullmatch(part) for part in text.split(", "))

    def _hole(self, text):
        return self._plain(text) or _made(text, self.pieces, self._plain)


def is_real(value):
    """True for a number that is no giant one; Python's True is none."""
    return abs(real(value)) < 1e300


def as_text(value):
    """A value of a ledger where a text belongs: "" for anything else."""
    return value if isinstance(value, str) else ""


def _made(text, patterns, fills):
    """True where one of the f-strings can give this text, with what `fills` accepts in its holes."""
    return any((found := pattern.fullmatch(text)) and all(map(fills, found.groups())) for pattern in patterns)


class Course:
    """All lessons of a course folder. `Course(root)` reads notebooks/source/*.py, and runs nothing."""

    def __init__(self, root):
        lessons = map(_read, sorted(Path(root, "notebooks", "source").glob("[0-9]*.py")))
        self.lessons = {lesson.number: lesson for lesson in lessons}
        self.questions = {key: q for lesson in self.lessons.values() for key, q in lesson.questions.items()}
        self._lessons_that_say = lru_cache(10_000)(self._lessons_that_say)

    def _lessons_that_say(self, name):
        says = {number: lesson.says(name) for number, lesson in self.lessons.items()}
        return [number for number, score in says.items() if score == max(says.values()) > 0]

    def work(self, name, near=None):
        """(lesson, name) of a piece of work, or None where the course does not name it, or names it in several lessons.

        `near`: the lesson that the ledger was in when the work was done, as its predictions tell.
        """
        if not isinstance(name, str) or not 0 < len(name) <= _LONGEST:
            return None
        lessons = self._lessons_that_say(name)
        lesson = near if near in lessons else lessons[0] if len(lessons) == 1 else None
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
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except SyntaxError as error:
        raise CourseError(f"{path} is not Python (line {error.lineno}): mend it, then pool again") from None
    title = re.search(r"^# # (.+)$", source, re.MULTILINE)
    lesson = Lesson(path.stem.partition("_")[0], title[1].strip() if title else path.stem)
    values = {target.id: _literal(node.value) for node in nodes if isinstance(node, ast.Assign)
              for target in node.targets if isinstance(target, ast.Name)}
    inside = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            lesson.texts.add(node.value)
        elif isinstance(node, ast.FunctionDef):
            lesson.texts.add(node.name)
        elif isinstance(node, ast.JoinedStr):
            lesson.pieces += _pattern(node)
        elif isinstance(node, ast.Call):
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            if getattr(node.func, "id", None) == "predict":
                _ask(lesson, node.args, given, values)
            elif getattr(node.func, "attr", None) in ("block", "measure"):  # of a Meter: they name a piece of work
                name = given.get("name") or next(iter(node.args), None)
                if isinstance(name, ast.JoinedStr):
                    lesson.shapes += _pattern(name)
                elif isinstance(name, ast.Constant):
                    lesson.named.add(name.value)
    lesson.texts.discard("")
    return lesson


def _pattern(node):
    """[the pattern of an f-string]; [] of one that says nothing by itself, or has too many holes."""
    holes = sum(isinstance(part, ast.FormattedValue) for part in node.values)
    if holes > _HOLES or not any(part.value.strip() for part in node.values if isinstance(part, ast.Constant)):
        return []
    text = "".join(re.escape(part.value) if isinstance(part, ast.Constant) else "(.+)" for part in node.values)
    return [re.compile(text, re.DOTALL)]


def _ask(lesson, args, given, values):
    key, text = (_text(arg, values) for arg in args[:2])
    plain = {name: _literal(value, values) for name, value in given.items()}
    lesson.questions[key] = Question(key, lesson.number, " ".join(text.split()), tuple(plain.get("options") or ()),
                                     plain.get("low"), plain.get("high"), plain.get("unit") or "")


def _text(node, values):
    """A string or f-string of the source; a hole shows the plain value it names, or three dots."""
    if not isinstance(node, ast.JoinedStr):
        return str(_literal(node, values))
    parts = [_literal(part.value if isinstance(part, ast.FormattedValue) else part, values) for part in node.values]
    return "".join(str(part) if isinstance(part, (str, int, float)) else "\u2026" for part in parts)


def _literal(node, values=None):
    if isinstance(node, ast.Name):
        return (values or {}).get(node.id)
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
