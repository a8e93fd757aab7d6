"""The words of grading: exercise, check, submission, limits, and what one check of one learner came to."""

from dataclasses import asdict, dataclass, field

# What a check can come to. Only RIGHT gives points.
RIGHT = "right"  # nbval: the value shown equals the one expected
WRONG = "wrong"  # another value
ERROR = "error"  # the cell raised
UNANSWERED = "unanswered"  # the untouched "your code here" was reached
TIMEOUT = "timeout"  # the cell did not end in time
DIED = "died"  # the kernel ended while this cell ran (often: not enough memory)
FLOOD = "flood"  # the cell wrote more than the grader takes
UNREACHED = "unreached"  # the time of the whole submission was over before this check
OUTCOMES = (RIGHT, WRONG, ERROR, UNANSWERED, TIMEOUT, DIED, FLOOD, UNREACHED)

# What a submission can come to.
GRADED = "graded"  # its checks ran (whatever they came to)
BROKEN = "broken"  # it cannot be read or is not this exercise; `problem` says why in one line; score 0
MISSING = "missing"  # this learner handed in another exercise, but not this one; score 0
FAILED = "failed"  # the grader itself failed on it; `problem` says how; run again to try again
STATUSES = (GRADED, BROKEN, MISSING, FAILED)


@dataclass(frozen=True)
class Limits:
    """What one submission may use. Seconds by the clock; sizes in MB (2**20 bytes)."""

    cell_seconds: float = 60.0  # as in `course check`
    total_seconds: float = 480.0
    memory_mb: int = 2048
    output_mb: int = 4
    processes: int = 64
    file_mb: int = 64


@dataclass(frozen=True)
class Check:
    """One check cell of an exercise. `task` is the grade_id of the answer cell that stands before it."""

    id: str
    points: float
    hidden: bool
    task: str
    hints: tuple = ()
    expected: str | None = None  # the text to be shown; of visible checks only: hidden ones never leave memory


@dataclass(frozen=True)
class Exercise:
    """An exercise as the grader knows it; `cells` is its loaded source, solutions and hidden checks included."""

    name: str  # the file's stem: "01_measuring_energy"
    title: str
    sha256: str  # of everything in its source that can change a score or a feedback page
    checks: tuple  # of Check, in the notebook's order
    answers: tuple  # grade_ids of the answer cells, in the notebook's order
    cells: list = field(repr=False, compare=False, default_factory=list)
    titles: dict = field(repr=False, default_factory=dict)  # grade_id of an answer cell -> the heading above it

    @property
    def points(self):
        """All points of this exercise."""
        return sum(check.points for check in self.checks)

    def public(self):
        """What may be written beside the grades: all but the cells and the hidden checks' texts."""
        rows = [asdict(check) | ({"expected": None} if check.hidden else {}) for check in self.checks]
        return {"name": self.name, "title": self.title, "sha256": self.sha256, "checks": rows,
                "answers": list(self.answers), "titles": self.titles}

    @classmethod
    def from_public(cls, data):
        """The exercise that `public()` wrote down, without its cells."""
        checks = tuple(Check(**{**row, "hints": tuple(row["hints"])}) for row in data["checks"])
        return cls(data["name"], data["title"], data["sha256"], checks, tuple(data["answers"]),
                   titles=data.get("titles", {}))


@dataclass(frozen=True)
class Submission:
    """One notebook that one learner handed in, reduced to what is graded: texts of cells, no outputs."""

    learner: str  # the name the grades go by
    exercise: str  # an Exercise's name, or "" where it could not be told
    file: str  # where it was found: "class.zip: Ada/01.ipynb"
    lms_id: str = ""  # the learner's number in Canvas or Moodle, from the file's name
    answers: dict = field(default_factory=dict)  # grade_id of an answer cell -> its text
    extras: tuple = ()  # of (grade_id or id of the cell before it, or None, text): the learner's own code cells
    notes: tuple = ()  # of sentences for learner and instructor: "answer cell 'x' is missing"
    problem: str = ""  # why it cannot be graded, in one line; "" where it can
    sha256: str = ""  # of answers and extras


@dataclass
class Result:
    """What one submission came to. `checks`: {check id: {"outcome", "points", "max", "got", "reason"}}.

    `got` (the text shown) and `reason` (one line: the error, say) are kept for visible checks only; both are None
    for hidden ones, because they could carry a hidden check's text.
    """

    learner: str
    exercise: str
    file: str
    status: str
    lms_id: str = ""
    checks: dict = field(default_factory=dict)
    notes: list = field(default_factory=list)
    problem: str = ""
    seconds: float = 0.0  # by the clock; in the JSON lines, never in the CSV
    answers_sha256: str = ""
    key: str = ""  # hash of exercise, answers, seed, limits and environment: equal keys, equal results

    @property
    def score(self):
        """Points reached."""
        return sum(check["points"] for check in self.checks.values())

    @property
    def max(self):
        """Points that could be reached."""
        return sum(check["max"] for check in self.checks.values())
