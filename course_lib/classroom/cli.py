"""The instructors' half of the `course` command: build lessons, release exercises, pool ledgers, set the address."""

import sys

from . import CourseError, course_root
from .grading import command as command_line


def add_commands(commands):
    """Add the instructors' commands to the subparsers of the `course` command."""

    def command(name, line, example):
        return commands.add_parser(name, help=line, description=line, epilog=f"example: {example}")

    build = command("build", "Run lesson sources and write the notebooks, with outputs.",
                    "course build notebooks/source/02_training_and_inference.py")
    build.add_argument("files", nargs="*", metavar="FILE", help="sources or notebooks; none: all lessons")
    build.add_argument("--force", action="store_true", help="run a lesson again though nothing changed")
    build.add_argument("--check", action="store_true", help="run nothing: say which pairs differ")

    release = command("release", "Run exercise sources, take the solutions out, write what learners get.",
                      "course release exercises/source/01_measuring_energy.py")
    release.add_argument("files", nargs="*", metavar="FILE", help="sources; none: all exercises")
    release.add_argument("--force", action="store_true", help="release again though nothing changed")
    release.add_argument("--to", metavar="FOLDER",
                         help="write a whole course for learners, without sources, into this folder: a new one, or that of "
                              "an earlier release, which is replaced")

    links = command("links", "Set the repository's address: badges, links and setup cells.",
                    "course links my-school/frugal-ai-lab")
    links.add_argument("repository", metavar="OWNER/NAME", help="the repository on GitHub")
    command_line.add_commands(commands)

    pool = command("pool", "Make one experiment of a class's ledgers, in a page that names nobody.",
                   "course pool class.zip -o report.html")
    pool.add_argument("ledgers", nargs="+", metavar="LEDGERS",
                      help="learners' ledger.jsonl files, or folders or zips of them (from Moodle or Canvas too)")
    pool.add_argument("-o", "--out", metavar="HTML", default="report.html", help="the report (default: report.html)")


def run(options):
    """Run one of them; returns the exit code: 0 done, 1 something failed or differs, 2 a wrong request."""
    try:
        if options.command in command_line.COMMANDS:  # exercises of one's own may lie anywhere
            try:
                root = course_root()
            except CourseError:
                root = None
            return command_line.run(options, root)
        if options.command == "pool":
            from .pool.run import pool

            return pool(options.ledgers, options.out)
        root = course_root()
        if options.command == "build":
            from .build import build

            return 1 if build(options.files, root, force=options.force, check=options.check) else 0
        if options.command == "release":
            from .release import release

            release(options.files, root, force=options.force, to=options.to)
        else:
            from .links import set_links

            set_links(options.repository, root)
    except CourseError as error:
        print(f"course: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("course: stopped; what was already written stays", file=sys.stderr)
        return 130
    return 0


def main(argv=None):
    """The whole `course` command: see course_lib.cli."""
    from ..cli import main as course

    return course(argv)


if __name__ == "__main__":
    sys.exit(main())
