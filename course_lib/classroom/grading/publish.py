"""What comes of grading: the CSV, a page per learner, a picture, a summary. What the disk refuses is said, not lost."""

import sys
import tempfile
from collections import Counter
from pathlib import Path

from .plan import some
from .texts import cut, one_line, plural, write_whole


def publish(store, out, *, handed_in=(), feedback=None, picture=True, say=print, complain=print):
    """Write everything that `store` tells; True where all of it could be written.

    out: the CSV's path; the picture stands beside it. feedback: the folder of the learners' pages, None for none.
    An exercise that nobody handed in is left out: its rows wait in the store, zeros among them, until somebody does.
    handed_in: names of exercises that were handed in, though no row of the store may tell it yet.
    """
    from . import gradebook

    nobody = store.not_handed_in(handed_in)
    exercises = [exercise for name, exercise in store.exercises().items() if name not in nobody]
    results = [row.result for row in store.rows.values() if row.result.exercise not in nobody]
    if nobody:
        unknown = [row.result.file for row in store.rows.values() if not row.result.exercise]
        look = f"; but look at {plural(len(unknown), 'file')} of an exercise that could not be told: {some(unknown, 3, 80)}"
        say(f"left out, because nobody has handed {'them' if nobody[1:] else 'it'} in yet: "
            + ", ".join(one_line(name, 44) for name in nobody) + look * bool(unknown))
    whole = _table(store, gradebook.csv_bytes(results, exercises), Path(out), say, complain)
    if feedback is not None:
        whole &= _pages(results, exercises, Path(feedback), say, complain)
    if picture and exercises:
        whole &= _picture(results, exercises, Path(out).with_suffix(".png"), say, complain)
    say("")
    say(gradebook.summary(results, exercises))
    if store.trouble:
        whole = False
        kept = (f"{store.unsaved} results are in none of its lines and would be graded again" if store.unsaved
                else "in the end all lines could be written")
        complain(f"{store.path} could not always be written ({store.trouble}): {kept}")
    return whole


def _table(store, data, out, say, complain):
    """The CSV goes to its place, else to a temporary folder, else to the terminal. True for the first."""
    try:
        _set_aside(store, out, say)
        write_whole(out, data)
        store.table(data)
        say(f"grades: {out}")
        return True
    except OSError as error:
        why = error.strerror or error
    try:
        other = Path(tempfile.mkdtemp(prefix="grades_"), out.name)
        write_whole(other, data)
        complain(f"{out} could not be written ({why}): the grades are in {other} for now; make room and run the same "
                 "command again")
    except OSError:
        complain(f"{out} could not be written ({why}), nor any other file: the grades follow here; make room and run "
                 "the same command again")
        sys.stdout.write(data.decode("utf-8-sig").replace("\r\n", "\n"))
        sys.stdout.flush()
    return False


def _set_aside(store, out, say):
    """Keep a CSV that somebody changed since it was written: a teacher's own marks, perhaps."""
    try:
        found = out.read_bytes()
    except FileNotFoundError:
        return
    if store.wrote(found):
        return
    number = 1
    while (other := out.with_name(f"{out.stem}.changed-{number}{out.suffix}")).exists():
        number += 1
    write_whole(other, found)
    say(f"{out.name} held something else than was last written there: that is kept as {other.name}")


def _pages(results, exercises, folder, say, complain):
    from .feedback import write_feedback, write_index

    troubles, first, pages = Counter(), {}, []
    known = {exercise.name: exercise for exercise in exercises}
    for result in results:
        try:
            pages.append((result, write_feedback(result, known.get(result.exercise), folder)))
        except Exception as error:  # noqa: BLE001 - one page is one page
            why = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
            troubles[why] += 1
            first.setdefault(why, result.learner)
    try:
        say(f"feedback: {write_index(pages, folder)}")
    except OSError as error:
        troubles[error.strerror or str(error)] += 1
    for why, count in troubles.items():
        who = f", the first for {one_line(first[why], 40)}" if why in first else ""
        complain(f"{count} feedback page{'s' * (count > 1)} could not be written into {folder} ({cut(why)}{who})")
    return not troubles


def _picture(results, exercises, path, say, complain):
    from .gradebook import picture

    try:
        picture(results, exercises, path)
    except Exception as error:  # noqa: BLE001 - the grades matter more than their picture
        why = getattr(error, "strerror", None) or cut(f"{type(error).__name__}: {error}")
        complain(f"the picture {path} could not be made ({why})")
        return False
    say(f"picture: {path}")
    return True
