"""`course pool`: find the ledgers, read them, leave out what cannot be, write the page."""

from collections import Counter
from pathlib import Path

from .. import CourseError
from ..grading.texts import one_line, plural, write_whole
from . import page, words
from .checks import Forged
from .find import find
from .ledgers import read

_COLUMNS = 90  # of a ledger's place, on the terminal


def pool(paths, out):
    """Pool the ledgers below `paths` into the page `out`; returns 0, or 1 where a ledger was left out.

    What was left out is told on the terminal with its file's name, and in the page without.
    Raises CourseError for what cannot be asked, and where no ledger can be pooled.
    """
    out, paths = Path(out), [Path(path) for path in paths]
    _check_out(out, paths)
    course = words.of_the_course()
    ledgers, left_out = gather(paths, course)
    for label, why in left_out:
        print(f"left out: {label}: {why}")
    if not ledgers:
        raise CourseError(f"nothing to pool in {plural(len(left_out), 'ledger')}: no report was written")
    try:
        write_whole(out, page.page(ledgers, sorted(why for _, why in left_out), course))
    except OSError as error:
        raise CourseError(f"{out} cannot be written: {error.strerror or error}") from None
    lines = sum(one.left.total() for one in ledgers)
    print(f"{plural(len(ledgers), 'ledger')} pooled, {len(left_out)} left out"
          + f", and {plural(lines, 'line')} of the pooled ones" * bool(lines) + f": {out}")
    return 1 if left_out else 0


def _check_out(out, paths):
    if out.suffix.lower() not in (".html", ".htm") or out.is_dir():
        raise CourseError(f"{out} is no name for the report: it must end in .html")
    if any(path.exists() and out.exists() and path.samefile(out) for path in paths):
        raise CourseError(f"{out} is one of the ledgers: choose another name for -o")
    if out.is_file() and out.stat().st_size and page.MARK.encode() not in out.read_bytes()[:20_000]:
        raise CourseError(f"{out} is there already and no report of course pool: choose another name for -o")


def gather(paths, course):
    """([Ledger] with their numbers, [(label, sentence)] of those left out). Of two copies a label names both."""
    ledgers, left_out = [], []
    for label, data, problem in find(paths):
        label = one_line(label, _COLUMNS)
        try:
            if data is None:
                raise Forged(problem)
            ledgers.append((label, read(data, course)))
        except Forged as why:
            left_out.append((label, str(why)))
    ledgers.sort(key=lambda one: (-len(one[1].readings), -one[1].kept, one[1].digest))  # the fuller of two copies first
    known, kept, labels = {}, {}, {}  # clock -> label; digest -> Ledger; digest -> label
    for label, one in ledgers:
        clocks = [reading.clocks for reading in one.readings]
        copied = sum(bool(mine & known.keys()) for mine in clocks)  # one clock: the other may have been changed
        if copied > len(clocks) / 2:
            why = f"{copied} of its {len(clocks)} readings have a time of another ledger, to the last digit"
            other = Counter(known[clock] for mine in clocks for clock in mine & known.keys()).most_common(1)[0][0]
            left_out.append((f"{label} (like {other})", f"{why}: it was handed in twice, or copied"))
        elif one.digest in kept:
            left_out.append((f"{label} (like {labels[one.digest]})", "it is there twice"))
        else:
            fresh = [reading for reading, mine in zip(one.readings, clocks) if not mine <= known.keys()]
            if len(fresh) < len(clocks):
                one.left["readings that stand in another ledger too"] += len(clocks) - len(fresh)
            one.readings = fresh
            known.update(dict.fromkeys(set().union(*clocks), label))
            kept[one.digest], labels[one.digest] = one, label
    for number, digest in enumerate(sorted(kept), 1):
        kept[digest].number = number
    return [kept[digest] for digest in sorted(kept)], left_out
