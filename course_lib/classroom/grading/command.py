"""The commands `course grade`, `course merge` and `course export`: their options, and the calls they stand for."""

import argparse
from pathlib import Path

from .. import CourseError
from . import cluster, model

COMMANDS = ("grade", "merge", "export")


def add_commands(commands):
    """Add the three to argparse's sub-commands."""

    def command(name, line, example):
        return commands.add_parser(name, help=line, description=line, epilog=f"example: {example}")

    grade = command("grade", "Grade what learners handed in, through nbval, in a sandbox.",
                    "course grade exercises/source/01_measuring_energy.py class.zip -o grades.csv")
    grade.add_argument("exercises", metavar="EXERCISES", type=Path, nargs="+",
                       help="the course's folder exercises, or those to grade: sources, or released notebooks")
    grade.add_argument("submissions", metavar="SUBMISSIONS", type=Path,
                       help="a folder, a zip (from Moodle or Canvas too), or one notebook")
    grade.add_argument("-o", "--out", metavar="CSV", type=Path, default=Path("grades.csv"),
                       help="the grades (default: grades.csv); what was graded is kept beside it and not graded again")
    grade.add_argument("--only", metavar="NAME", nargs="+", default=(), help="grade these learners only; a part of a name will do")
    grade.add_argument("--regrade", action="store_true", help="grade again though nothing changed, with a fresh seed")
    grade.add_argument("--seed", type=_number(0, 2**31 - 1), metavar="N",
                       help="the seed of the hidden checks, to repeat a grading (default: a fresh one for new grades)")
    grade.add_argument("--workers", type=_number(1, 1000), metavar="N",
                       help=f"so many at once (default: {cluster.PER_CORE} per core)")
    grade.add_argument("--cell-seconds", type=_number(1, 3600, float), metavar="S",
                       default=model.Limits.cell_seconds, help="time for one cell (default: %(default)g)")
    grade.add_argument("--memory-mb", type=_number(256, 2**20), metavar="M", default=model.Limits.memory_mb,
                       help="memory for one notebook (default: %(default)s)")
    grade.add_argument("--no-sandbox", action="store_true",
                       help="run learners' code with your own rights: only for code that you trust")
    pages = grade.add_mutually_exclusive_group()
    pages.add_argument("--feedback", metavar="FOLDER", type=Path,
                       help="the learners' pages (default: beside the grades, NAME_feedback)")
    pages.add_argument("--no-feedback", action="store_true", help="write no pages")
    where = grade.add_mutually_exclusive_group()
    where.add_argument("--shard", metavar="I/N", type=_shard,
                       help="grade the I-th of N parts; needs --seed; then `course merge`")
    where.add_argument("--dask", metavar="ADDRESS", help="grade on a Dask cluster: tcp://host:8786")

    merge = command("merge", "Put the grades of shards together.", "course merge grades-*.csv -o grades.csv")
    merge.add_argument("parts", metavar="PART", nargs="+", type=Path, help="what the shards wrote, .csv or .jsonl")
    merge.add_argument("-o", "--out", metavar="CSV", type=Path, required=True, help="all grades")
    pages = merge.add_mutually_exclusive_group()
    pages.add_argument("--feedback", metavar="FOLDER", type=Path, help="as in course grade")
    pages.add_argument("--no-feedback", action="store_true", help="write no pages")

    export = command("export", "Write grades, or the learners' pages, as Canvas or Moodle takes them.",
                     "course export grades.csv --canvas gradebook.csv -o for_canvas.csv")
    export.add_argument("grades", metavar="GRADES", type=Path, help="what `course grade` wrote")
    kind = export.add_mutually_exclusive_group(required=True)
    for name, what in (("canvas", "the gradebook that Canvas exported"), ("moodle", "Moodle's grading worksheet")):
        kind.add_argument(f"--{name}", metavar="CSV", nargs="?", const="", help=f"{what}; leave it out for a short file "
                          "by the learners' numbers")
    kind.add_argument("--moodle-feedback", metavar="FOLDER", nargs="?", const="",
                      help="the learners' pages in a zip, for Moodle's 'Upload multiple feedback files in a zip'; FOLDER holds "
                           "the pages (default: beside the grades, NAME_feedback)")
    export.add_argument("-o", "--out", metavar="FILE", type=Path, required=True, help="the file to upload")
    export.add_argument("--exercise", metavar="NAME", help="which exercise, where the grades hold several")
    export.add_argument("--column", metavar="NAME", help="which column of the gradebook")


def _number(low, high, kind=int):
    def parse(text):
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {low} to {high}")
        return value

    return parse


def _shard(text):
    try:
        return cluster.shard(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run(options, root=None):
    """Carry one of the three out; returns the exit code. `root`: the course's folder, where there is one."""
    if options.command == "export":
        from .exports import export

        if options.moodle_feedback is not None:
            from .feedback_zip import export_feedback

            if options.column is not None:
                raise CourseError("--column is for grades: with --moodle-feedback, leave it out")
            export_feedback(options.grades, options.moodle_feedback, options.out, exercise=options.exercise)
            return 0
        kind = "canvas" if options.canvas is not None else "moodle"
        template = options.canvas if kind == "canvas" else options.moodle
        export(options.grades, Path(template) if template else None, kind, options.out, exercise=options.exercise,
               column=options.column)
        return 0
    beside = options.out.with_name(f"{options.out.stem}_feedback")
    feedback = None if options.no_feedback else options.feedback or beside
    if options.command == "merge":
        from .merge import merge

        return merge(options.parts, options.out, feedback=feedback)
    from .grade import grade
    from .request import Request

    seconds = options.cell_seconds
    limits = model.Limits(cell_seconds=seconds, total_seconds=max(model.Limits.total_seconds, 8 * seconds),
                          memory_mb=options.memory_mb)
    part = options.shard is not None  # pages and picture of a part come with `course merge`
    return grade(Request(
        tuple(options.exercises), options.submissions, options.out, seed=options.seed, only=tuple(options.only),
        regrade=options.regrade, workers=options.workers, limits=limits, sandboxed=not options.no_sandbox,
        feedback=options.feedback if part else feedback, picture=not part, shard=options.shard, dask=options.dask),
        root)
