"""What `course grade` is asked to do, and what cannot be asked."""

from dataclasses import dataclass, field
from pathlib import Path

from .. import CourseError
from . import model


@dataclass
class Request:
    """What was asked for. `feedback`: a folder, or None for no pages. `shard`: (i, n) with i from 1.

    `exercises`: paths of folders, sources, released notebooks.
    """

    exercises: tuple
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
        if given.suffix == ".py" or self._is_exercise(given):
            raise CourseError(f"{given} is an exercise: name what was handed in, a folder, a zip or a notebook, after the "
                              "exercises")
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

    def _is_exercise(self, given):
        """True for the last of exercises/*.ipynb, where nobody named submissions: it has a source, and others are graded.

        The notebook of an exercise that is named itself, or in a folder that is named, may be somebody's answers.
        """
        named = [Path(place) for place in self.exercises]
        return (given.suffix == ".ipynb" and (given.parent / "source" / f"{given.stem}.py").is_file()
                and not any(place.is_dir() or place.stem == given.stem for place in named))


def check_out(out):
    """Raise CourseError where `out` is no name for a CSV, or the name of somebody else's: a gradebook, say."""
    out = Path(out)
    if out.suffix.lower() != ".csv" or out.is_dir():
        raise CourseError(f"{out} is no name for the grades: it must end in .csv")
    if not out.with_suffix(".jsonl").exists() and out.exists() and out.stat().st_size:
        from .gradebook import read_csv

        try:
            read_csv(out)
        except CourseError:
            raise CourseError(f"{out} is not a list of grades: choose another name for -o") from None
