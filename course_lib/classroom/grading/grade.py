"""`course grade`: try the exercises out, read what was handed in, grade what is new, and write what came of it."""

import secrets
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .. import CourseError
from . import cluster, model, plan, store
from .progress import Progress, stopped_like_ctrl_c
from .publish import publish
from .texts import one_line, points_text

_NAMED = 5  # so many failures get a line of their own


@dataclass
class Request:
    """What was asked for. `feedback`: a folder, or None for no pages. `shard`: (i, n) with i from 1."""

    exercises: Path
    submissions: Path
    out: Path
    seed: int | None = None
    only: tuple = ()
    regrade: bool = False
    workers: int | None = None
    limits: model.Limits = field(default_factory=model.Limits)
    sandboxed: bool = True
    feedback: Path | None = None
    picture: bool = True
    shard: tuple | None = None
    dask: str | None = None

    def check(self):
        """Raise CourseError where the request makes no sense."""
        out, given = Path(self.out).resolve(), Path(self.submissions)
        if not given.exists():
            raise CourseError(f"{given} is not there: name the folder, the zip or the notebook that was handed in")
        check_out(self.out)
        for place in (out, *([Path(self.feedback).resolve()] if self.feedback else [])):
            if given.is_dir() and given.resolve() in (place, *place.parents):
                raise CourseError(f"{place} lies among the submissions, where the next run would take it for one: "
                                  "choose another -o")
        if self.feedback and Path(self.feedback).exists() and not Path(self.feedback).is_dir():
            raise CourseError(f"{self.feedback} is a file: --feedback names a folder")
        if self.shard and self.seed is None:
            raise CourseError("--shard needs --seed, so that all shards ask the same hidden questions: on Slurm, "
                              "--seed $SLURM_ARRAY_JOB_ID")


def check_out(out):
    """Raise CourseError where `out` is no name for a CSV."""
    if Path(out).suffix.lower() != ".csv" or Path(out).is_dir():
        raise CourseError(f"{out} is no name for the grades: it must end in .csv")


def complain(line):
    """One line on standard error."""
    print(line, file=sys.stderr, flush=True)


def grade(request, root=None, *, engine=None, collect=None, say=print, complain=complain):
    """Grade a class; returns 0 where all was graded and written, 1 where something was not, 130 after Ctrl-C.

    Submissions that cannot be read are rows, not failures. Raises CourseError where nothing can be graded as asked.
    """
    if engine is None:
        from . import engine
    if collect is None:
        from .intake import collect
    request.check()
    run = _Run(request, engine, say, complain)
    run.load(engine.sources(request.exercises, root))
    with store.opened(Path(request.out).with_suffix(".jsonl"), complain) as run.store, stopped_like_ctrl_c():
        with run.pool() as pool, engine.warm_pool(run.chosen, run.secrets(), sandboxed=request.sandboxed,
                                                  say=complain) as kernel:
            run.choose_seed()
            run.dry_run(kernel)
            run.plan(collect(request.submissions, run.known))
            run.work(pool, kernel)
        return run.finish()


class _Run:
    """One call of `grade`. Its methods are called in the order in which they stand here."""

    def __init__(self, request, engine, say, complain):
        self.request, self.engine, self.say, self.complain = request, engine, say, complain
        self.chosen, self.known, self.unread, self.dry, self.todo = [], [], [], {}, []
        self.failed, self.troubled, self.interrupted, self.store = [], False, False, None

    def load(self, sources):
        """The exercises to grade, and their neighbours, so that a neighbour's notebook is known for what it is."""
        self.sources = [Path(source) for source in sources]
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
        self.complain(f"{name} is not graded: {one_line(why, 300)}")

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

    def dry_run(self, kernel):
        """Solved must give all points, untouched none: an exercise that does not is not graded."""
        self.say(f"dry run, seed {self.seeds[0]}:")
        for exercise in self.chosen:
            try:
                dry = self.engine.dry_run(exercise, self.seeds[0], self.request.limits, kernel)
            except Exception as error:  # noqa: BLE001 - one exercise is one exercise
                self._refuse(exercise.name, error)
                continue
            got = [sum(check.points for check in exercise.checks if outcomes.get(check.id) == model.RIGHT)
                   for outcomes in (dry.solved, dry.untouched)]
            full = points_text(exercise.points)
            self.say(f"  {exercise.name}: solved {points_text(got[0])} of {full} points, "
                     f"untouched {points_text(got[1])} of {full}")
            if problem := dry.problem():
                self._refuse(exercise.name, "; ".join([problem, *dry.notes]))
            else:
                self.dry[exercise.name] = dry
        if not self.dry:
            raise CourseError("no exercise can be graded")

    def plan(self, found):
        """What to grade, of all that was handed in; what is known already or cannot be graded becomes a row."""
        request, names = self.request, [exercise.name for exercise in self.chosen]
        asked = plan.learners(found, request.only)
        pairs = plan.pair_up(found, names, self.unread, self.say)
        share = plan.in_order(pairs, request.shard)
        environment = self.engine.environment() | {"sandbox": request.sandboxed}
        root = plan.seen_from(request.submissions, request.out)
        self.store.start({"seed": self.seeds[0], "full": not request.only, "root": root,
                          "exercises": [dry.exercise.public() for dry in self.dry.values()],
                          "environment": environment, "limits": asdict(request.limits), "shard": request.shard})
        self.rows = plan.Rows(self.store, self.dry, self.seeds, request.limits, environment, root)
        if not request.only:
            gone, others = self.rows.forget(set(share), {*names, ""})
            where = f"no longer in {request.submissions}" if request.shard is None else "not in this shard"
            if gone:
                self.say(f"{where}, so no longer in the grades: {plan.some(gone)}")
            if others:
                self.say(f"graded earlier, from other submissions, and still in the grades: {plan.some(others)}")
        count = dict.fromkeys((model.BROKEN, model.MISSING, "unchanged"), 0)
        for pair in share:
            submission = pairs[pair]
            if pair[0] not in asked or (pair[1] and pair[1] not in self.dry):
                continue
            if submission.problem or not submission.file:
                row = self.rows.blank(submission)
            elif request.regrade or not (row := self.rows.known(submission)):
                self.todo.append(submission)
                continue
            if row:
                count["unchanged" if row.result.status == model.GRADED else row.result.status] += 1
                self.store.put(row)
        told = [f"{number} {what}" for what, number in count.items() if number]
        self.say("submissions: " + ", ".join([*told, f"{len(self.todo)} to grade"]))

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
        whole = publish(self.store, request.out, feedback=request.feedback, picture=request.picture, say=self.say,
                        complain=self.complain)
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
