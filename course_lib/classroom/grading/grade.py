"""`course grade`: try the exercises out, read what was handed in, grade what is new, and write what came of it."""

import secrets
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from .. import CourseError
from . import cluster, model, plan, store
from .progress import Progress, stopped_like_ctrl_c
from .publish import publish
from .request import Request
from .texts import cut, one_line, plural, points_text

_NAMED = 5  # so many failures get a line of their own


def complain(line):
    """One line on standard error."""
    print(line, file=sys.stderr, flush=True)


def grade(request: Request, root=None, *, engine=None, collect=None, say=print, complain=complain):
    """Do what a Request asks; returns 0 where all was graded and written, 1 where something was not, 130 after Ctrl-C.

    Submissions that cannot be read are rows, not failures. Raises CourseError where nothing can be graded as asked.
    """
    if engine is None:
        from . import engine
    if collect is None:
        from .intake import collect
    request.check()
    run = _Run(request, engine, say, complain)
    run.load(root)
    run.take(collect(request.submissions, run.known))
    with store.opened(Path(request.out).with_suffix(".jsonl"), complain) as run.store, stopped_like_ctrl_c():
        run.choose_seed()
        run.sort()
        if untried := run.untried():
            with run.pool() as pool, engine.warm_pool(run.chosen, run.secrets(), sandboxed=request.sandboxed,
                                                      say=complain) as kernel:
                run.dry_run(untried, kernel)
                run.plan()
                run.work(pool, kernel)
        else:
            run.plan()
        return run.finish()


@dataclass(frozen=True)
class _Untried:
    """In the place of an engine.DryRun where none was made yet, or none is needed."""

    exercise: model.Exercise


class _Run:
    """One call of `grade`. Its methods are called in the order in which they stand here."""

    def __init__(self, request, engine, say, complain):
        self.request, self.engine, self.say, self.complain = request, engine, say, complain
        self.chosen, self.known, self.unread, self.dry, self.todo, self.ready = [], [], [], {}, [], []
        self.handed_in = set()  # the exercises that somebody handed in, of those asked for
        self.failed, self.troubled, self.interrupted, self.store = [], False, False, None

    def load(self, root):
        """The exercises to grade, and their neighbours, so that a neighbour's notebook is known for what it is."""
        found = {}  # by name: one that is named twice is graded once
        for place in self.request.exercises:
            for source in map(Path, self.engine.sources(place, root)):
                if found.setdefault(source.stem, source).resolve() != source.resolve():
                    raise CourseError(f"{found[source.stem]} and {source} have one name, and grades go by it: name one of them")
        self.sources = [found[name] for name in sorted(found)]
        for source in self.sources:
            try:
                self.chosen.append(self.engine.load_exercise(source))
            except Exception as error:  # noqa: BLE001 - an exercise that is broken: the others are graded
                self.unread.append(source.stem)
                self._refuse(source.stem, error)
        if not self.chosen:
            raise CourseError("no exercise can be graded")
        self.known = [*self.chosen]
        folders = {source.parent for source in self.sources}
        for other in sorted({file for folder in folders for file in folder.glob("[0-9]*_*.py")} - {*self.sources}):
            try:
                self.known.append(self.engine.load_exercise(other))
            except Exception:  # noqa: BLE001, S112 - nobody asked for this one
                continue

    def _refuse(self, name, error):
        self.troubled = True
        why = error if isinstance(error, CourseError | str) else f"{type(error).__name__}: {error}"
        self.complain(f"{name} is not graded: {cut(why, 300)}")

    def take(self, found):
        """What was handed in, and whom of them to grade. Raises CourseError where --only names nobody."""
        self.found, only = found, self.request.only
        self.asked = plan.learners(found, only)
        self.handed_in = {submission.exercise for submission in found} & {exercise.name for exercise in self.chosen}
        self.handed_in |= {name for name in self.unread if any(name in submission.file for submission in found)}
        if only:
            self.say(f"only {plan.some(sorted(self.asked))}")

    def secrets(self):
        """What no kernel may see: sources, submissions, grades."""
        request = self.request
        return [*sorted({source.parent for source in self.sources}), request.submissions,
                Path(request.out).resolve().parent, *([request.feedback] if request.feedback else [])]

    def pool(self):
        """The cluster that was asked for, or this machine."""
        if self.request.dask:
            return cluster.dask(self.request.dask, self.engine.environment,
                                stall=self.request.limits.total_seconds + 600)
        return cluster.local(self.request.workers)

    def choose_seed(self):
        """The one asked for; else the one these grades have; a fresh one for new grades and for --regrade."""
        recent, asked = self.store.recent(), self.request.seed
        if asked is not None:
            self.seeds = [asked]
        elif self.request.regrade or not recent:
            self.seeds = [secrets.randbelow(2**31)]
        else:  # a few learners may have another seed, by --regrade --only: no reason to grade them again
            self.seeds = list(dict.fromkeys(run["seed"] for run in recent))

    def sort(self):
        """Tell what is to be graded from what is known already, was not handed in, or cannot be graded."""
        request = self.request
        self.environment = self.engine.environment() | {"sandbox": request.sandboxed}
        self.root = plan.seen_from(request.submissions, request.out)
        self.dry = {exercise.name: _Untried(exercise) for exercise in self.chosen}
        self.rows = plan.Rows(self.store, self.dry, self.seeds, request.limits, self.environment, self.root)
        pairs = plan.pair_up(self.found, list(self.dry), self.unread, self.say)
        self.share = plan.in_order(pairs, request.shard)
        for submission in (pairs[pair] for pair in self.share if pair[0] in self.asked):
            if submission.problem or not submission.file:
                self.ready.append((submission, self.rows.blank(submission)))
            elif request.regrade or not (row := self.rows.known(submission)):
                self.todo.append(submission)
            else:
                self.ready.append((submission, row))

    def untried(self):
        """The exercises that need a dry run: those with something to grade, and those that had none like this."""
        needed = {submission.exercise for submission in self.todo}
        for name, untried in self.dry.items():
            before = self.store.tried(untried.exercise, self.environment)
            if before is None:
                needed.add(name)
            elif name not in needed:
                self.dry[name] = _Untried(before)
        return [exercise for exercise in self.chosen if exercise.name in needed]

    def dry_run(self, exercises, kernel):
        """Solved must give all points, untouched none: an exercise that does not is not graded."""
        self.say(f"dry run, seed {self.seeds[0]}:")
        # two kernels for each, which mostly wait
        many = ThreadPoolExecutor(max(1, (self.request.workers or cluster.PER_CORE * cluster.cores()) // 2))
        try:
            trials = [many.submit(self.engine.dry_run, exercise, self.seeds[0], self.request.limits, kernel)
                      for exercise in exercises]
            for exercise, trial in zip(exercises, trials, strict=True):
                self._tried(exercise, trial)
        finally:
            many.shutdown(cancel_futures=True)
        if not self.dry:
            raise CourseError("no exercise can be graded")

    def _tried(self, exercise, trial):
        del self.dry[exercise.name]
        try:
            dry = trial.result()
        except Exception as error:  # noqa: BLE001 - one exercise is one exercise
            self._refuse(exercise.name, error)
            return
        got = [sum(check.points for check in exercise.checks if outcomes.get(check.id) == model.RIGHT)
               for outcomes in (dry.solved, dry.untouched)]
        full = points_text(exercise.points)
        self.say(f"  {exercise.name}: solved {points_text(got[0])} of {full} points, "
                 f"untouched {points_text(got[1])} of {full}")
        if problem := dry.problem():
            self._refuse(exercise.name, "; ".join([problem, *dry.notes]))
        else:
            self.dry[exercise.name] = dry

    def plan(self):
        """Put down what this run is, and every row that needs no grading; say what is left to do, and why."""
        request = self.request
        self.todo = [submission for submission in self.todo if submission.exercise in self.dry]
        self.ready = [(submission, row) for submission, row in self.ready if submission.exercise in {"", *self.dry}]
        again = Counter(self.store.why_again(submission, self.dry[submission.exercise].exercise, self.seeds,
                                             request.limits, self.environment) for submission in self.todo)
        self.store.start({"seed": self.seeds[0], "full": not request.only, "root": self.root,
                          "exercises": [dry.exercise.public() for _, dry in sorted(self.dry.items())],
                          "environment": self.environment, "limits": asdict(request.limits), "shard": request.shard})
        renamed = {}
        if not request.only:
            names = {"", *(exercise.name for exercise in self.chosen)}
            gone, others = self.rows.forget(set(self.share), names)
            where = f"no longer in {request.submissions}" if request.shard is None else "not in this shard"
            if renamed := plan.renamed(gone, self.found):
                now = (f"{old} is {' and '.join(new)}" for old, new in sorted(renamed.items()))
                self.say(f"named otherwise in the grades now: {plan.some(now, columns=120)}")
            here = {pair[0] for pair in self.share} if request.shard is None else ()
            if left := sorted({*gone} - {*renamed, *here}):
                self.say(f"{where}, so no longer in the grades: {plan.some(left)}")
            if others:
                self.say(f"graded earlier, from other submissions, and still in the grades: {plan.some(others)}")
        known = {pair: row.result.key for pair, row in self.store.rows.items()}
        for _, row in self.ready:
            if row:
                self.store.put(row)
        nobody = self.store.not_handed_in(self.handed_in)
        count = Counter(row.result.status for _, row in self.ready if row and row.result.exercise not in nobody)
        told = [f"{plural(len(self.todo), 'notebook')} to grade" if self.todo
                else f"nothing new to grade (seed {self.seeds[0]})"]
        for status, thing, what in ((model.BROKEN, "file", "cannot be graded"), (model.MISSING, "hand-in", "missing")):
            told += [f"{plural(count[status], thing)} {what}"] * bool(count[status])
        present = set().union(*renamed.values())
        alike = sum(bool(row) and row.result.status == model.GRADED and known.get(row.pair) != row.result.key
                    and row.result.learner not in present for _, row in self.ready)
        told += [f"{alike} new, with the same answers as one graded before"] * bool(alike)
        told += [f"{count[model.GRADED] - alike} unchanged"] * (count[model.GRADED] > alike)
        self.say("; ".join(told))
        for why, number in sorted(again.items()) if not request.regrade else [("of --regrade", again.total())]:
            if why and number:
                self.say(f"graded again, because {why}: {number}")

    def work(self, pool, kernel):
        """Grade what is new; what fails by fault of the grader is tried a second time."""
        progress, again = Progress(len(self.todo)), []
        try:
            for numbers in (range(len(self.todo)), again):
                for number, outcome in self._outcomes(pool, numbers, kernel):
                    if isinstance(outcome, Exception) and numbers is not again:
                        again.append(number)
                        continue
                    row = self.rows.graded(self.todo[number], outcome)
                    self.store.put(row)
                    if row.result.status == model.FAILED:
                        self.failed.append(row.result)
                    self.todo[number] = None  # its texts are no longer needed
                    progress.step()
        except KeyboardInterrupt:
            self.interrupted = True
        finally:
            progress.close()

    def _outcomes(self, pool, numbers, kernel):
        def jobs():
            for number in numbers:
                submission = self.todo[number]
                try:
                    yield self.engine.job(self.dry[submission.exercise], submission, self.request.limits, kernel)
                except Exception as error:  # noqa: BLE001 - a submission that no job can be made of: a row
                    yield error

        for index, outcome in cluster.run_jobs(jobs(), pool, self.engine.grade_one):
            yield numbers[index], outcome

    def finish(self):
        """Write what came of it; returns the exit code."""
        request, failed = self.request, self.failed
        whole = publish(self.store, request.out, handed_in=self.handed_in, feedback=request.feedback, picture=request.picture,
                        say=self.say, complain=self.complain)
        for result in failed[:_NAMED]:
            self.complain(f"{one_line(result.learner, 40)}, {result.exercise}: {result.problem}")
        if len(failed) > _NAMED:
            self.complain(f"and {len(failed) - _NAMED} more on which the grader failed: see the notes in the CSV")
        if self.interrupted:
            left = sum(submission is not None for submission in self.todo)
            without = " without --regrade" if request.regrade and not request.only else ""
            self.complain(f"stopped with {left} of {len(self.todo)} not graded yet; what is graded is kept: run the "
                          f"same command again{without} to go on")
            return 130
        return 0 if whole and not failed and not self.troubled else 1
