"""The `course` command: `check` for learners, and the instructors' commands where this copy has them."""

import argparse
import math
import os
import sys
from pathlib import Path


def parser():
    """The command line, as an argparse parser."""
    teaching = Path(__file__).with_name("classroom").is_dir()
    top = argparse.ArgumentParser(
        prog="course", description="The command of the course." if not teaching else
        "Commands of the course: check is for learners, the others for those who write or teach it.",
        epilog="example: course check exercises/01_measuring_energy.ipynb")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    line = "Run the checks that you see in an exercise, and say how each went."
    check = commands.add_parser(
        "check", help=line, epilog="example: course check exercises/01_measuring_energy.ipynb",
        description=f"{line} Your notebook is not changed. "
        "Exit code 0: all is right; 1: not all; 2: a notebook could not be checked.")
    check.add_argument("files", nargs="+", metavar="NOTEBOOK",
                       help="your notebook, saved; several may be named")
    check.add_argument("--timeout", type=_seconds, default=60.0, metavar="SECONDS",
                       help="the longest that one cell may take (60)")
    if teaching:
        from .classroom import cli

        cli.add_commands(commands)
    return top


def _seconds(text):
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds: write, say, --timeout 120")
    return seconds


def main(argv=None):
    """Run the command line; returns the exit code: 0 done, 1 not all is right, 2 a wrong request."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that lacks a letter shows its number
            stream.reconfigure(errors="backslashreplace")
    options = parser().parse_args(argv)
    # nbformat's schema checker builds some 35 grammars if it finds this module: two seconds, of no use here
    sys.modules.setdefault("rfc3987_syntax", None)
    from .handin.check import Unusable, check

    try:
        if options.command != "check":
            from .classroom import cli

            return cli.run(options)
        return check(options.files, options.timeout)
    except Unusable as error:
        print(f"course: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("course: stopped; your notebook is as it was", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read what we say has read enough, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())
