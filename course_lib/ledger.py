"""The learner's ledger: readings, predictions and verdicts, one JSON object a line.

The file is `ledger.jsonl` in the course folder, or what the variable COURSE_LEDGER names; a folder that cannot be
written sends it to the temporary folder, and `path` says so. No host, user or path name is ever written into it.
On Colab every notebook is its own machine: `save` gives the file to the browser, `load` takes lines back.
"""

from __future__ import annotations

import getpass
import json
import math
import os
import re
import tempfile
from collections import Counter
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

SCHEMA = 1
KINDS = ("reading", "prediction", "verdict", "note")
_told: set[Path] = set()


def path() -> Path:
    """Where the ledger is. Falls back to the temporary folder, and says so once, where it cannot be written.

    The course folder is the nearest one above that holds notebooks/ with course_lib/ beside it, or with
    00_start_here.ipynb in it; any other folder called notebooks is somebody else's.
    """
    if named := os.environ.get("COURSE_LEDGER"):
        return Path(named).expanduser()
    here = Path.cwd()
    wanted = next(filter(_is_course, (here, *here.parents)), here) / "ledger.jsonl"
    if os.access(wanted if wanted.exists() else wanted.parent, os.W_OK):
        return wanted
    fallback = Path(tempfile.gettempdir()) / f"frugal-ai-lab-ledger{_user()}.jsonl"
    if fallback not in _told:
        _told.add(fallback)
        print(
            "The course folder cannot be written, so your ledger is kept in the temporary folder: "
            "keep a copy with ledger.save() before you leave."
        )
    return fallback


def _is_course(folder: Path) -> bool:
    lessons = folder / "notebooks"
    return lessons.is_dir() and ((folder / "course_lib").is_dir() or (lessons / "00_start_here.ipynb").is_file())


def _user() -> str:
    """For the name of a file in a folder that users share: "-ada", or "" where nobody knows."""
    try:
        return "-" + re.sub(r"\W+", "_", getpass.getuser())
    except Exception:  # noqa: BLE001 - a container may run under a number that has no name
        return ""


def append(kind: str, **data) -> dict:
    """Add one line and return it. `data` must be JSON-able numbers, words, lists or dicts.

    One write of one whole line, under a lock: two kernels may write at once, and a kill leaves at most one broken
    line, which `read` steps over. A disk that refuses the line costs the line, never the lesson.

    Raises:
        ValueError: an unknown kind, or data that JSON cannot hold.
    """
    from filelock import FileLock, Timeout

    if kind not in KINDS:
        raise ValueError(f"A ledger line is one of {', '.join(KINDS)}, and {kind!r} is none of them.")
    stamp = datetime.now(UTC).isoformat(timespec="seconds")
    entry = {"schema": SCHEMA, "time": stamp, "kind": kind, **data}
    try:
        line = json.dumps(entry, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    except (TypeError, ValueError, RecursionError) as why:
        raise ValueError(f"This cannot go into the ledger ({why}): use plain numbers, words, lists.") from None
    target = path()
    try:
        with FileLock(f"{target}.lock", timeout=5), open(target, "ab+") as file:
            if file.tell() and _last_byte(file) != b"\n":
                line = b"\n" + line  # the line before was cut short: leave it alone and start afresh
            os.write(file.fileno(), line)
    except (OSError, NotImplementedError, Timeout) as why:  # the second: a file system without locks
        print(f"The ledger could not be written ({type(why).__name__}); the lesson goes on without this line.")
    return entry


def log_reading(window, quantity: str, mean: float, half_width: float | None, n: int) -> dict:
    """Add one line of kind "reading": what `Reading.log()` and `Measurement.log()` keep, all figures per call.

    `window` is a `Reading`, `n` the number of windows. A figure that is not finite is kept as null. `parts` says of each
    component how its joules were obtained, `machine` of what kind the machine is: so ledgers can be pooled.
    """
    one = window.per_call()
    figures = {"mean": mean, "half_width": half_width, "seconds": one.seconds, "cpu_seconds": one.cpu_seconds,
               "joules": one.joules}  # fmt: skip
    finite = {k: float(v) if v is not None and math.isfinite(v) else None for k, v in figures.items()}
    parts = [{"name": c.name, "joules": float(c.joules), "label": c.label, "source": c.source, "scope": c.scope}
             for c in one.trusted]
    return append("reading", name=str(one.name), label=one.label, provenance=one.provenance.name.lower(),
                  quantity=quantity, n=n, calls=window.calls, parts=parts, machine=_machine(), **finite)  # fmt: skip


@cache
def _machine() -> dict:
    """The kind of machine; nothing that says whose it is."""
    from course_lib.setup import usable_cores, where  # here, for the ledger is read where torch is not
    return {"where": where(), "cores": float(usable_cores())}


def _last_byte(file) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)


class Entries(list):
    """The lines in order; `skipped` counts those that cannot be read, `newer` those of a newer version. Both stay in the file."""

    skipped = newer = 0

    def unread(self) -> str:
        """What to add to a sentence about these lines, or ""."""
        said = [f"{n} line{'s' * (n > 1)} {what}" for n, what in (
            (self.skipped, "that cannot be read"), (self.newer, "of a newer version of the course (update yours)")) if n]
        return f" The file also holds {' and '.join(said)}: left in it as they were." if said else ""


def read(source: str | Path | None = None) -> Entries:
    """All readable lines of the ledger, or of `source`, as dicts. Other lines are skipped and counted."""
    entries, file = Entries(), Path(source) if source is not None else path()
    if not file.is_file():  # nothing yet, or COURSE_LEDGER names a folder: `append` says so
        return entries
    with open(file, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                entry = json.loads(line)
                if entry["schema"] > SCHEMA:
                    entries.newer += 1
                elif entry["kind"] in KINDS:
                    entries.append(entry)
                else:
                    entries.skipped += 1
            except (ValueError, KeyError, TypeError, RecursionError):
                entries.skipped += bool(line.strip())
    return entries


def latest(kind: str, key: str, value) -> dict | None:
    """The last line of this kind whose field `key` is `value`, or None."""
    return next((e for e in reversed(read()) if e["kind"] == kind and e.get(key) == value), None)


def summary():
    """A table of what the ledger holds: lines by kind, and how many could not be read."""
    from course_lib.tables import Table

    entries = read()
    counts = Counter(e["kind"] for e in entries)
    rows = [(kind, counts[kind]) for kind in KINDS if counts[kind]]
    kept = ("that are not ledger lines", entries.skipped), ("of a newer version of the course", entries.newer)
    rows += [(f"lines {what} (kept in the file)", n) for what, n in kept if n]
    return Table(["kind", "lines"], rows or [("nothing yet", 0)], caption="Your ledger")


def save(target: str | Path | None = None) -> None:
    """Copy the ledger to `target`; without one, offer it as a download (on Colab through the browser)."""
    data = path().read_bytes() if path().is_file() else b""
    if target is not None:
        Path(target).write_bytes(data)
        print(f"Saved {len(entries := read())} lines.{entries.unread()}")
        return
    try:
        from google.colab import files  # only on Colab

        files.download(str(path()))
    except ImportError:
        from base64 import b64encode

        from IPython.display import HTML, display

        link = f'<a download="ledger.jsonl" href="data:text/plain;base64,{b64encode(data).decode()}">'
        display(HTML(f"{link}Download your ledger</a> ({len(read())} lines)"))


def load(source: str | Path) -> int:
    """Add the lines of another ledger file to this one; lines already here are not doubled. Returns how many came.

    Raises:
        ValueError: the file does not exist.
    """
    if not Path(source).is_file():
        raise ValueError(f"There is no file {Path(source).name!r} here: upload it first, then load it by its name.")
    before, other = read(), read(source)
    if path().is_file() and Path(source).samefile(path()):
        print(f"This is your ledger already: {len(before)} line{'s' * (len(before) != 1)}.{before.unread()} If you uploaded "
              "another one, load it by the name that it got.")
        return 0
    known = {json.dumps(e, sort_keys=True) for e in before}
    new = [e for e in other if json.dumps(e, sort_keys=True) not in known]
    for entry in new:
        append(entry["kind"], **{k: v for k, v in entry.items() if k not in ("schema", "kind")})
    came = len(read()) - len(before)  # not len(new): a disk may have refused them
    print(f"Loaded {came} new lines.{other.unread()}")
    return came
