"""`course pool`: find the ledgers, read them, leave out what cannot be, write the page."""

from pathlib import Path

from .. import CourseError
from ..grading.texts import one_line, plural, write_whole
from . import page, words
from .checks import Forged
from .find import find
from .ledgers import read


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
        print(f"left out: {one_line(label, 90)}: {why}")
    if not ledgers:
        raise CourseError(f"none of the {plural(len(left_out), 'ledger')} can be pooled: no report was written")
    _, sentences = zip(*left_out) if left_out else ((), ())
    try:
        write_whole(out, page.page(ledgers, sorted(sentences), course))
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
    """([Ledger] with their numbers, [(label, sentence)] of those left out)."""
    ledgers, labels, left_out = [], {}, []
    for found in find(paths):
        try:
            if found.data is None:
                raise Forged(found.problem)
            one = read(found.data, course)
        except Forged as why:
            left_out.append((found.label, str(why)))
        else:
            labels[id(one)] = found.label
            ledgers.append(one)
    ledgers.sort(key=lambda one: (-len(one.readings), -one.kept, one.digest))  # the fuller of two copies comes first
    known, digests, kept = set(), set(), []
    for one in ledgers:
        mine = {reading.mark for reading in one.readings}
        twice = mine & known
        if one.digest in digests or len(twice) > len(mine) / 2:
            said = "it is there twice" if not mine else (
                f"{len(twice)} of its {len(mine)} readings stand in another ledger to the last digit: it was handed in "
                "twice, or copied")
            left_out.append((labels[id(one)], said))
            continue
        if twice:
            one.readings = [reading for reading in one.readings if reading.mark not in known]
            one.left["readings that stand in another ledger too"] += len(twice)
        digests.add(one.digest)
        known |= mine
        kept.append(one)
    kept.sort(key=lambda one: one.digest)
    for number, one in enumerate(kept, 1):
        one.number = number
    return kept, left_out


