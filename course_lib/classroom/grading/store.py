"""grades.jsonl, the truth beside the CSV: a line per run of the grader and a line per result, only ever appended.

One process writes it, under a lock. A kill leaves at most one torn line, which the next run sets aside. A disk that
takes no more costs lines, never a grade in memory. What the lines hold: see records.py.
"""

import errno
import hashlib
import os
import time
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path

from filelock import FileLock, Timeout

from .. import CourseError
from .records import FORMAT, Kept, line_of, now, read
from .texts import write_whole

_FULL = {getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG") if hasattr(errno, name)}
_SLACK = 200  # lines that no longer count, before a file is written anew


class Store(Kept):
    """The lines of one output file, open for more. A disk that takes no more costs lines, never a grade in memory."""

    def __init__(self, path, kept):
        super().__init__(**{item.name: getattr(kept, item.name) for item in fields(Kept)})
        self.path, self.trouble = Path(path), ""  # trouble: what the disk said, the first time
        self._file, self._synced, self._waiting = None, time.monotonic(), deque()

    @property
    def unsaved(self):
        """How many results are in memory only."""
        return sum(b'"kind": "result"' in line[:20] for line in self._waiting)

    def start(self, run):
        """Append the line of a run."""
        run = {"kind": "run", "format": FORMAT, "started": now(), **run}
        self.runs.append(run)
        self._append(run)

    def put(self, row):
        """Append a row, unless the file says the same already."""
        if not row.same(self.rows.get(row.pair)):
            row.at = now()
            self.rows.pop(row.pair, None)
            self.rows[row.pair] = row
            self._append(row.to_json())

    def drop(self, pair):
        """Append that a row is gone."""
        del self.rows[pair]
        self._append({"kind": "gone", "learner": pair[0], "exercise": pair[1]})

    def table(self, data):
        """Append the hash of the CSV's bytes."""
        sha = hashlib.sha256(data).hexdigest()
        if sha not in self.tables[-1:]:
            self.tables.append(sha)
            self._append({"kind": "table", "sha256": sha})

    def wrote(self, data):
        """True where these bytes are a CSV that was written from here."""
        return hashlib.sha256(data).hexdigest() in self.tables

    def _append(self, data):
        self._waiting.append(line_of(data))
        self._flush()

    def _flush(self):
        try:
            while self._waiting:
                self._write(self._waiting[0])
                self._waiting.popleft()
            if time.monotonic() - self._synced > 1:
                self._synced = time.monotonic()
                os.fsync(self._file.fileno())
        except OSError as error:  # the line waits; the next one tries again
            self.trouble = self.trouble or error.strerror or str(error)

    def _write(self, line):
        if self._file is None:
            self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115 - closed by close()
        end, written = os.fstat(self._file.fileno()).st_size, 0
        try:
            while written < len(line):
                written += self._file.write(line[written:])
        except OSError:
            with suppress(OSError):  # half a line would spoil the next one
                self._file.truncate(end)
            raise

    def tidy(self):
        """Set damaged lines aside, and write the file anew where most of its lines no longer count.

        Returns one sentence about damage, or "".
        """
        needed, sentence = self.needed(), ""
        if self.damaged:
            aside = self.path.with_name(self.path.name + ".damaged")
            count = f"{len(self.damaged)} damaged line" + "s" * (len(self.damaged) > 1)
            sentence = f"{self.path.name}: {count} set aside in {aside.name}; what they held is graded again"
        elif self.lines <= 2 * len(needed) + _SLACK:
            return sentence
        try:
            if self.damaged:
                with open(aside, "ab") as file:
                    file.write(b"".join(line.rstrip(b"\n") + b"\n" for line in self.damaged))
            write_whole(self.path, b"".join(map(line_of, needed)))
        except OSError as error:
            self.trouble = error.strerror or str(error)
            sentence = sentence and f"{self.path.name}: {count} left out; what they held is graded again"
            if self.damaged and not self.damaged[-1].endswith(b"\n"):  # nothing must be added to half a line
                with suppress(OSError):
                    os.truncate(self.path, os.path.getsize(self.path) - len(self.damaged[-1]))
        self.damaged, self.lines = [], len(needed)
        return sentence

    def close(self):
        """Try once more what could not be written, and let go of the file."""
        if self._waiting:
            self._flush()
        if self._file is not None:
            with suppress(OSError):
                os.fsync(self._file.fileno())
            self._file.close()
            self._file = None


@contextmanager
def opened(path, say=print):
    """The Store of `path`, locked against a second grader for as long as the block runs.

    Raises CourseError where another grader writes it, or where its folder cannot be written.
    """
    path = Path(path)
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise CourseError(f"another grader is writing {path}: wait until it is done, or choose another -o") from None
    except NotImplementedError:  # a file system without locks
        say(f"{path.parent} knows no locks: see to it that only one grader writes there")
    except OSError as error:
        if error.errno not in _FULL:
            raise CourseError(f"nothing can be written into {path.parent} ({error.strerror or error}): choose "
                              "another -o") from None
    try:
        store = Store(path, read(path))
        if sentence := store.tidy():
            say(sentence)
        try:
            yield store
        finally:
            store.close()
    finally:
        lock.release()
