'''`course release`: exercises/source/NN_name.py -> exercises/NN_name.ipynb, without solutions.

The format of an exercise's source (jupytext percent; the only truth is nbgrader's schema 3 in cell metadata):

    # ---
    # jupyter:
    #   course: {exercise: "02", title: Break-even, lesson: "02", minutes: 25, difficulty: 2}
    # ---

    # %% tags=["setup"]                                     the three lines of every notebook

    # %% nbgrader={"grade_id": "ex02_share", "solution": true}           an answer cell
    def inference_share(training, per_query, queries):
        """Share of all energy, 0..1, that goes into queries."""
        ### BEGIN SOLUTION
        return per_query * queries / (training + per_query * queries)
        ### END SOLUTION

    # %% nbgrader={"grade_id": "ex02_share_value", "grade": true, "points": 2}     a check cell
    rounded(share=inference_share(100.0, 0.5, 300))

    # %% [markdown] tags=["hints"]                          right after its check: a ladder, one item a rung
    # - What is the whole, of which the queries are a part?
    # - The whole is the training plus all queries.

    # %%
    check("ex02_share_value")                               # in words; hint("ex02_share_value") for a hint

    # %% nbgrader={"grade_id": "ex02_share_unseen", "grade": true, "points": 3} tags=["hidden"]
    rounded(inference_share(*new_numbers(grading_seed(2))))

- grade_ids are unique in the course; they become the cells' ids. `locked`, `schema_version` and the tag
  nbval-check-output are filled in.
- A check cell ends in ONE expression, `rounded(...)`. Its text in the executed source is the expected one.
- A solution region becomes `raise NotImplementedError("your code here")`. Cells tagged `hidden` are left out.
- exercises/source/NN_name.mutants.toml holds wrong answers of the kind learners give:

    [[mutant]]
    name = "queries over training"
    cell = "ex02_share"
    why = "the whole must hold both parts"
    code = """
    def inference_share(training, per_query, queries):
        return per_query * queries / training
    """
'''

import ast
import copy
import re
import tomllib
from pathlib import Path

from . import CourseError, build, execute

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
_REGION = re.compile(rf"^([ \t]*){BEGIN}[ \t]*\n(.*?)^[ \t]*{END}[ \t]*$", re.MULTILINE | re.DOTALL)
_STUB = r'\1# YOUR CODE HERE\n\1raise NotImplementedError("your code here")'
_RUNG = re.compile(r"^\s*(?:[-*]|\d+\.)\s+", re.MULTILINE)


def grading(cell):
    """The nbgrader metadata of a cell ({} for a cell that is not graded)."""
    return cell.metadata.get("nbgrader", {})


def is_check(cell):
    """True for a cell that gives points."""
    return bool(grading(cell).get("grade"))


def load(source):
    """Parse an exercise's source and complete its metadata; CourseError where it breaks the format."""
    nb = build.parse(source)
    if "course" not in nb.metadata:
        raise CourseError(f"{source.name}: its header has no course line: write under jupyter: "
                          '`#   course: {exercise: "02", lesson: "02", title: X, minutes: 25}`')
    cells, seen, last_check = [], set(), None
    for cell in nb.cells:
        marks, name = grading(cell), grading(cell).get("grade_id")
        where = f"{source.name}: the cell that begins `{execute.first_line(cell)}`"
        cell.metadata.pop(build.SPACING, None)
        regions, marked = len(_REGION.findall(cell.source)), cell.source.count(BEGIN) + cell.source.count(END)
        if marked != 2 * regions:
            raise CourseError(f"{where} has a {BEGIN} without its {END}, or the other way round")
        if "hints" in execute.tags(cell):
            if last_check is None:
                raise CourseError(f"{where} holds hints, but no check cell stands before it")
            rungs = [" ".join(text.split()) for text in _RUNG.split(cell.source) if text.strip()]
            last_check.metadata.setdefault("course", {})["hints"] = rungs
            continue
        if bool(regions) != bool(marks.get("solution")):
            raise CourseError(f"{where} must have both a solution between {BEGIN} and {END} and "
                              '"solution": true in its nbgrader metadata, or neither')
        if marks:
            if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", str(name)) or name in seen:
                raise CourseError(f"{where} needs a grade_id of its own (letters, digits, _ -), not {name!r}")
            seen.add(name)
            cell.metadata["nbgrader"] = {
                "schema_version": 3, "solution": False, "grade": False, "task": False, "points": 0, **marks,
                "locked": not marks.get("solution")}
            if not is_check(cell):
                del cell.metadata["nbgrader"]["points"]
        if is_check(cell):
            last_check = cell
            _demand_expression(cell, where)
            cell.metadata["tags"] = sorted({*execute.tags(cell), execute.CHECKED})
        cells.append(cell)
    nb.cells = cells
    execute.stable_ids(nb)
    for cell in nb.cells:
        cell.id = grading(cell).get("grade_id", cell.id)
    if last_check is None:
        raise CourseError(f"{source.name} has no check cell: nothing in it gives points")
    return nb


def _demand_expression(cell, where):
    try:
        last = ast.parse(cell.source).body[-1]
        fine = isinstance(last, ast.Expr) and last.value.func.id == "rounded"
    except (SyntaxError, AttributeError, IndexError):
        fine = False
    if not fine:
        raise CourseError(f"{where} gives points, so it must end in one expression: rounded(...)")


def solved(source, root):
    """The executed source, solutions and hidden checks included; each check holds its expected output.

    Raises CourseError where a cell fails or a check shows anything but exactly one text.
    """
    nb = load(source)
    execute.execute(nb, root, Path(root, "exercises"), name=source.stem, env={"COURSE_GRADING": "1"}, timeout=120)
    for cell in filter(is_check, nb.cells):
        results = [out for out in cell.outputs if out.output_type == "execute_result"]
        if len(results) != 1 or set(results[0].data) != {"text/plain"}:
            raise CourseError(f"{source.name}: the check {grading(cell)['grade_id']} must show one text and "
                              "nothing else: end it in rounded(...)")
        cell.outputs = results
    return nb


def strip(nb):
    """What learners get of a solved (or only loaded) source: no solution, no hidden cell, checks' outputs."""
    nb = copy.deepcopy(nb)
    nb.cells = [cell for cell in nb.cells if "hidden" not in execute.tags(cell)]
    for cell in nb.cells:
        cell.source = without_solution(cell.source)
        if cell.cell_type == "code" and not is_check(cell):
            cell.outputs, cell.execution_count = [], None
    for count, cell in enumerate(filter(is_check, nb.cells), 1):
        cell.execution_count = count if cell.outputs else None
        for output in cell.outputs:
            output.execution_count = count
    nb.metadata = type(nb.metadata)(course=nb.metadata["course"], kernelspec=dict(build.KERNEL),
                                    language_info=dict(build.LANGUAGE))
    return nb


def without_solution(text):
    """A cell's text with its solution replaced by the line that learners see."""
    return _REGION.sub(_STUB, text)


def solution_lines(nb):
    """The lines between the markers that would give something away: 10 characters or more, no comment."""
    lines = [line.strip() for cell in nb.cells for _, body in _REGION.findall(cell.source)
             for line in body.splitlines()]
    return {line for line in lines if len(line) >= 10 and not line.startswith("#")}


def points(nb):
    """The points that all checks of a notebook give together."""
    return sum(grading(cell).get("points", 0) for cell in nb.cells if is_check(cell))


def mutants(source):
    """The wrong answers kept beside a source: a list of {"name", "cell", "why", "code"}."""
    file = source.with_suffix(".mutants.toml")
    if not file.exists():
        raise CourseError(f"{source.name} has no mutants: write wrong answers into {file.name} beside it")
    try:
        rows = tomllib.loads(file.read_text(encoding="utf-8")).get("mutant", [])
    except tomllib.TOMLDecodeError as error:
        raise CourseError(f"{file.name} is not TOML: {error}") from None
    answers = {grading(cell)["grade_id"] for cell in load(source).cells if grading(cell).get("solution")}
    for row in rows:
        missing = {"name", "cell", "why", "code"} - set(row)
        if missing or row["cell"] not in answers:
            raise CourseError(f"{file.name}: the mutant {row.get('name')!r} needs name, why, code and, as "
                              f"cell, one of {', '.join(sorted(answers))}")
    return rows


def targets(source, root):
    """(what learners work in, its pristine copy) for an exercise's source."""
    name = f"{source.stem}.ipynb"
    return source.parent.parent / name, Path(root, "course_lib", "assets", "exercises", name)


def is_current(source, root):
    """True where the pristine copy is what its source would give today, outputs left aside."""
    worked, pristine = targets(source, root)
    return (worked.exists() and pristine.exists()
            and build.content(execute.read(pristine)) == build.content(strip(load(source))))


def release(files, root, *, force=False, to=None, say=print):
    """Release the named exercise sources, or all; with `to`, write a learner's whole course there instead."""
    if to is not None:
        from .handout import hand_out

        if files:
            raise CourseError("--to writes the whole course: name no files with it")
        return hand_out(root, Path(to), say=say)
    chosen = [build.source_of(file, root, "exercises") for file in files] or build.sources(root, "exercises")
    if not chosen:
        raise CourseError("there is no exercise in exercises/source: an exercise is a file such as "
                          "exercises/source/02_break_even.py")
    taken = {}
    for source in build.sources(root, "exercises"):
        for cell in load(source).cells:
            name = grading(cell).get("grade_id")
            if name and taken.setdefault(name, source.name) != source.name:
                raise CourseError(f"the grade_id {name!r} stands in {taken[name]} and in {source.name}: "
                                  f"rename one")
    for source in chosen:
        if is_current(source, root) and not force:
            say(f"{source.stem}: up to date")
            continue
        nb = solved(source, root)
        for path in targets(source, root):
            execute.write(strip(nb), path)
        say(f"{source.stem}: released, {points(nb)} points, {sum(map(is_check, nb.cells))} checks")
    return None
