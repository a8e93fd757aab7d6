"""Who is graded in what, and the rows that come of it: known ones, new ones, and those of what cannot be graded."""

import difflib
import os
import re
import unicodedata
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

from .. import CourseError
from . import model
from .names import pattern, stem
from .records import Row, key
from .texts import one_line, plural

_NAMED = 5  # so many names stand in a sentence
_FILES = 3  # and so many files
_LONGEST = 4000  # characters of a shown text that are kept


def seen_from(path, out):
    """A path as seen from the folder of the grades: it stays right when both are moved together."""
    path, folder = Path(path).resolve(), Path(out).resolve().parent
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # Windows: another drive
        return path.as_posix()


def pair_up(found, names, refused, say):
    """{(learner, exercise): Submission} for every learner found and every name; one without a file where none came.

    `refused` are exercises that could not even be read: a file that may be theirs is nobody's fault.
    """
    pairs, loose, others, unclear = {}, [], [], []
    patterns = {name: pattern([name]) for name in names}
    said = defaultdict(list)  # (learner, exercise or "") -> notes for the rows of what is missing
    for submission in found:
        if submission.exercise in names:
            pairs[submission.learner, submission.exercise] = submission
        elif submission.exercise:
            others.append(submission.file)
        elif not submission.file:  # no notebook at all
            said[submission.learner, ""] += submission.notes
        elif any(name in submission.file for name in refused):
            unclear.append(submission.file)
        else:
            loose.append(submission)
        if submission.exercise and submission.file:
            file = own_name(submission.file)
            for name in names:
                if name != submission.exercise and patterns[name].search(stem(file)):
                    said[submission.learner, name].append(f"handed in: {file}, which is exercise {submission.exercise}")
    for files, what in ((others, "of exercises not graded now"), (unclear, "that may be of an exercise not graded")):
        if files:
            say(f"left aside: {len(files)} file{'s' * (len(files) > 1)} {what}: {some(files, _FILES, 80)}")
    if alike := look_alikes(found):
        say(f"look at these names: {'; '.join(alike[:_NAMED])}" + f" and {len(alike) - _NAMED} more" *
            (len(alike) > _NAMED))
    joined, apart = namesakes(found)
    if joined:
        say(f"taken as one person each by their name, because each of Moodle's downloads numbers people anew: "
            f"{plural(len(joined), 'learner')} ({some(joined)}); look where two of your class share a name")
    if apart:
        say(f"graded apart, because one name has several numbers: {some(apart, 2 * _NAMED)}; look whether two of them are "
            "one person (`course export` goes by the numbers)")
    for submission in loose:  # with one exercise to grade, it is meant for that one
        pair = submission.learner, names[0] if len(names) == 1 and not refused else ""
        if pair in pairs:
            note = f"also handed in: {submission.file} ({submission.problem})"
            pairs[pair] = replace(pairs[pair], notes=(*pairs[pair].notes, note))
        else:
            pairs[pair] = replace(submission, exercise=pair[1])
    for submission in found:
        for name in names:
            notes = dict.fromkeys(said[submission.learner, ""] + said[submission.learner, name])
            empty = model.Submission(submission.learner, name, "", submission.lms_id, notes=tuple(notes))
            pairs.setdefault((submission.learner, name), empty)
    return pairs


def own_name(file):
    """The file's own name, of the place where it was found: "class.zip: Ada/01.ipynb"."""
    return file.rpartition("/")[2].rpartition(".zip: ")[2]


def look_alikes(found):
    """The names of files that may be of one learner, in words: "ada and ada_final", "ada (1)".

    Only of files that lie in no learner's folder and have no number of the LMS.
    """
    flat = {s.learner for s in found if s.file and not s.lms_id and s.file.count("/") == 0}
    shorter = {}  # name -> the flat name that it continues
    for name in sorted(flat):
        begins = (name[:gap.start()] for gap in re.finditer(r"(?<=\w)(?=[\s_.(-])", name))
        shorter[name] = next((begin for begin in begins if begin in flat), None)
    counted = Counter(re.sub(r" \d+$", "", name) for name in flat)  # "group 1" beside "group 2" is no copy
    odd = [f"{one_line(short, 40)} and {one_line(name, 40)}" for name, short in shorter.items() if short]
    return odd + [one_line(name, 40) for name in sorted(flat) if not shorter[name] and (
        re.search(r"\(\d+\)$", name) or name.endswith(" 2") and counted[name[:-2]] == 1)]


def _numbers(found):
    """{learner: numbers of the LMS}: one in each of Moodle's downloads, none where its pattern is not there."""
    numbers = defaultdict(set)
    for submission in found:
        numbers[submission.learner] |= {submission.lms_id} - {""}
    return numbers


def namesakes(found):
    """(learners with several numbers of the LMS, learners who share a name and are told apart by their numbers)."""
    numbers = _numbers(found)
    apart = {learner for learner, its in numbers.items() if any(learner.endswith(f" ({one})") for one in its)}
    return sorted(learner for learner, its in numbers.items() if len(its) > 1), sorted(apart)


def renamed(gone, found):
    """{earlier name: present ones} of learners who were "Al" and are "Al (102)" now, or the other way round.

    `gone`: {earlier name: numbers of the LMS}. The number must be the same.
    """
    def bare(name):
        return re.sub(r" \([^()]+\)$", "", name)

    present = _numbers(found)
    new = {old: sorted(name for name in present if present[name] & its and name != old and bare(name) == bare(old))
           for old, its in gone.items()}
    return {old: names for old, names in new.items() if names}


def in_order(pairs, shard=None):
    """The pairs sorted, or the share of one shard (i, n): every n-th from the i-th on."""
    share = sorted(pairs, key=lambda pair: (pair[0].casefold(), *pair))
    return share if shard is None else share[shard[0] - 1::shard[1]]


def learners(found, only=()):
    """The learners to grade: all, or those that `only` names, by number, name, or a beginning or part of one name.

    Case and accents are set aside where nobody is called exactly so. Raises CourseError where nobody is, or several.
    """
    numbers = _numbers(found)
    wanted = set() if only else set(numbers)
    for name in only:
        mine = {learner for learner, its in numbers.items()
                if _plain(name) == _plain(learner) or (name and name in its)}
        for fits in (str.__eq__, str.startswith, str.__contains__):
            if not mine and _bare(name):
                mine = {learner for learner in numbers if fits(_bare(learner), _bare(name))}
                if len(mine) > 1 and fits != str.__eq__:
                    raise CourseError(f"{one_line(name, 60)!r} fits {some(sorted(mine))}: write more of the name")
        if not mine:
            plain = {_plain(learner): learner for learner in numbers}
            near = [plain[p] for p in difflib.get_close_matches(_plain(name), plain, 3, 0.5)] or sorted(numbers)[:3]
            raise CourseError(f"nobody here is called {one_line(name, 60)!r}; the nearest names: {some(near)}")
        wanted |= mine
    return wanted


def _plain(name):
    return " ".join(unicodedata.normalize("NFC", name).casefold().split())


def _bare(name):
    """A name without case and accents: zoe for Zoë."""
    letters = unicodedata.normalize("NFKD", _plain(name))
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def some(names, most=_NAMED, columns=40):
    """The first names of a list, and how many more there are."""
    names = list(names)
    shown = ", ".join(one_line(name, columns) for name in names[:most])
    return shown + f" and {len(names) - most} more" * (len(names) > most)


class Rows:
    """Makes the rows of one run. `dry`: {exercise's name: engine.DryRun}; `seeds`: this run's, then other valid ones."""

    def __init__(self, store, dry, seeds, limits, environment, root):
        self.store, self.dry, self.seeds, self.limits = store, dry, seeds, limits
        self.environment, self.root = environment, root
        self._by_key = {row.result.key: row for row in store.rows.values() if row.result.status == model.GRADED}

    def forget(self, share, names):
        """Drop the rows of `names` that came from this folder and are not in `share` any more.

        Returns {learner of rows dropped: their numbers}, and the learners of rows kept because they came from elsewhere.
        """
        others = {pair: row for pair, row in self.store.rows.items() if pair not in share and pair[1] in names}
        gone = defaultdict(set)
        for pair, row in others.items():
            if row.root == self.root:
                self.store.drop(pair)
                gone[pair[0]].add(row.result.lms_id)
        return gone, sorted({pair[0] for pair in others} - {*gone})

    def blank(self, submission):
        """The row of a submission that cannot be read, or of none; None where it was handed in elsewhere before."""
        if submission.problem:
            return self._row(submission, model.BROKEN, model.UNREACHED, problem=submission.problem)
        before = self.store.rows.get((submission.learner, submission.exercise))
        if before and before.root != self.root and before.result.status != model.MISSING:
            return None
        return self._row(submission, model.MISSING, model.UNANSWERED)

    def known(self, submission):
        """The row of a submission that was graded before, under the learner's present name; else None."""
        row = next((self._by_key[k] for k in (self._key(submission, seed) for seed in self.seeds)
                    if k in self._by_key), None)
        if row is None:
            return None
        new = self._row(submission, model.GRADED, checks=row.result.checks, key=row.result.key,
                        seconds=row.result.seconds)
        new.seed, new.said = row.seed, row.said
        new.result.notes += row.said
        return new

    def graded(self, submission, outcome):
        """The row of what engine.grade_one returned. An exception, or what has no known shape, is the grader's fault."""
        try:
            if isinstance(outcome, Exception):
                raise outcome
            checks = {check.id: _checked(check, outcome["checks"][check.id])
                      for check in self.dry[submission.exercise].exercise.checks}
            row = self._row(submission, model.GRADED, checks=checks, seconds=round(outcome["seconds"], 3),
                            key=self._key(submission, self.seeds[0]))
            row.said = [one_line(note, 300) for note in outcome["notes"]][:20]
            row.result.notes += row.said
        except Exception as error:  # noqa: BLE001 - whatever it was, it is one row
            why = f"the grader failed on it ({type(error).__name__}: {error}); run the same command again"
            row = self._row(submission, model.FAILED, model.UNREACHED, problem=why)
        return row

    def _row(self, submission, status, outcome="", problem="", **more):
        dry = self.dry.get(submission.exercise)
        blank = {check.id: {"outcome": outcome, "points": 0, "max": check.points, "got": None, "reason": None}
                 for check in (dry.exercise.checks if dry else ())}
        result = model.Result(
            learner=submission.learner, exercise=submission.exercise, file=submission.file, status=status,
            lms_id=submission.lms_id, notes=[*submission.notes], problem=one_line(problem, 300),
            answers_sha256=submission.sha256, **{"checks": blank, **more})
        return Row(result, dry.exercise.sha256 if dry else "", self.seeds[0], self.root)

    def _key(self, submission, seed):
        return key(self.dry[submission.exercise].exercise, submission.sha256, seed, self.limits, self.environment)


def _checked(check, came):
    """What is kept of a check: points by its outcome; of a hidden one nothing that could tell its text."""
    if came["outcome"] not in model.OUTCOMES:
        raise ValueError(f"{check.id} came to {came['outcome']!r}")
    got, reason = (None, None) if check.hidden else (came.get("got"), came.get("reason"))
    return {"outcome": came["outcome"], "points": check.points if came["outcome"] == model.RIGHT else 0,
            "max": check.points, "got": got and str(got)[:_LONGEST], "reason": reason and str(reason)[:300]}
