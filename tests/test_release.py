"""`course release`: no solution gets out, the solved one passes, an untouched one and a mutant do not."""

import errno
import os
import re
import shutil
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor

import nbformat
import pytest
import sample_course
from jupytext import TextFileContentsManager

from course_lib.classroom import CourseError, build, cli, execute, handout, release
from course_lib.classroom.grading import engine, model
from course_lib.selfcheck import expected_text

ROOT = sample_course.ROOT
EXERCISES = sorted((ROOT / "exercises" / "source").glob("*.py"))


class Exercise:
    """An exercise's source with what the tests make of it, each made once."""

    def __init__(self, source, root):
        self.source, self.root = source, root
        self.notebook, self.pristine = release.targets(source, root)
        self.solved = release.solved(source, root)


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    root = sample_course.make(tmp_path_factory.mktemp("course"))
    release.release([], root, say=lambda line: None)
    return Exercise(root / "exercises" / "source" / f"{sample_course.EXERCISE}.py", root)


@pytest.fixture(scope="module", params=["sample", *EXERCISES], ids=lambda p: getattr(p, "stem", p))
def exercise(request, sample):
    """The sample exercise, and then each exercise of the course."""
    return sample if request.param == "sample" else Exercise(request.param, ROOT)


@pytest.fixture(scope="module")
def kernel(sample):
    """Where the grader's kernels come from; no sandbox: what runs here is the course's own."""
    loaded = [engine.load_exercise(source) for source in (sample.source, *EXERCISES)]
    with engine.warm_pool(loaded, sandboxed=False) as found:
        yield found


@pytest.fixture(scope="module")
def dry(exercise, kernel):
    return engine.dry_run(engine.load_exercise(exercise.source), 7, model.Limits(), kernel)


def test_the_course_has_exercises_and_each_is_released():
    assert EXERCISES, "no exercise in exercises/source"
    for source in EXERCISES:
        assert release.is_current(source, ROOT), f"run `course release exercises/source/{source.name}`"


@pytest.mark.slow
def test_the_release_holds_no_solution(exercise):
    lines = release.solution_lines(exercise.solved)
    assert lines
    for path in (exercise.notebook, exercise.pristine):
        text = "\n".join(str(cell) for cell in execute.read(path).cells)
        source = "\n".join(cell.source for cell in execute.read(path).cells)
        for line in lines:
            assert line not in source, f"{path.name} shows a solution: {line}"
        assert "SOLUTION" not in text and "'hidden'" not in text
        assert source.count("raise NotImplementedError(") >= 1
    assert exercise.pristine.read_bytes() == exercise.notebook.read_bytes(), \
        f"{exercise.notebook.name} is not as released: `course release --force` makes it new, without answers"


@pytest.mark.slow
def test_the_release_keeps_expected_outputs_ids_and_no_pairing(exercise):
    nb = execute.read(exercise.pristine)
    nbformat.validate(nb)
    assert set(nb.metadata) == {"course", "kernelspec", "language_info"}
    for cell in nb.cells:
        if release.grading(cell):
            assert cell.id == release.grading(cell)["grade_id"]
        if release.is_check(cell):
            assert expected_text(cell) and execute.CHECKED in execute.tags(cell)
        elif cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None
    visible = [cell for cell in nb.cells if release.is_check(cell)]
    checks = filter(release.is_check, exercise.solved.cells)
    hidden = [cell for cell in checks if "hidden" in execute.tags(cell)]
    assert visible and hidden, "an exercise needs checks that learners see, and hidden ones"


@pytest.mark.slow
def test_the_solved_one_passes_all_and_the_untouched_one_none(dry, exercise):
    assert dry.problem() == ""
    assert dry.exercise.points > 0
    shipped = {release.grading(cell)["grade_id"]: expected_text(cell)
               for cell in execute.read(exercise.pristine).cells if release.is_check(cell)}
    assert {check.id: check.expected for check in dry.exercise.checks if not check.hidden} == shipped


@pytest.mark.slow
def test_a_fresh_seed_changes_every_hidden_check(dry, exercise):
    stored = {release.grading(cell)["grade_id"]: expected_text(cell)
              for cell in exercise.solved.cells if release.is_check(cell)}
    for check in dry.exercise.checks:
        assert (dry.expected[check.id] != stored[check.id]) == check.hidden, check.id


@pytest.mark.slow
def test_every_mutant_loses_points(exercise, dry, kernel):
    rows = release.mutants(exercise.source)
    assert len(rows) >= 5, "at least five wrong answers for each exercise"
    right = {cell.id: cell.source for cell in dry.exercise.cells if cell.id in dry.exercise.answers}

    def marks(row):
        wrong = model.Submission("", dry.exercise.name, "", answers=right | {row["cell"]: row["code"]})
        checks = engine.grade_one(engine.job(dry, wrong, model.Limits(), kernel))["checks"]
        return sum(check["points"] for check in checks.values())

    full = dry.exercise.points
    with ThreadPoolExecutor(4) as pool:
        for row, reached in zip(rows, pool.map(marks, rows), strict=True):
            assert reached < full, f"the mutant {row['name']!r} loses nothing"


@pytest.mark.slow
def test_saving_a_release_in_jupyterlab_touches_nothing_else(exercise, tmp_path):
    folder = tmp_path / "exercises"
    (folder / "source").mkdir(parents=True)
    source, notebook = folder / "source" / exercise.source.name, folder / exercise.notebook.name
    shutil.copyfile(exercise.source, source)
    shutil.copyfile(exercise.notebook, notebook)
    before, released = source.read_bytes(), execute.read(notebook)
    manager = TextFileContentsManager(root_dir=str(tmp_path))
    model = manager.get(f"exercises/{notebook.name}")
    sample_course.save(manager, f"exercises/{notebook.name}", model)
    assert source.read_bytes() == before
    assert execute.read(notebook).cells == released.cells
    files = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    assert files == [notebook.name, "source"]
    path = f"exercises/source/{source.name}"
    sample_course.save(manager, path, manager.get(path))
    assert execute.read(notebook).cells == released.cells


# --- the learner's own check: pytest --nbval-lax exercises/NN.ipynb


def pytest_on(sample, tmp_path, **notebooks):
    """Run pytest as a learner does, on notebooks saved under their names; returns (exit code, output)."""
    folder = tmp_path / "exercises"
    folder.mkdir()
    shutil.copyfile(ROOT / "exercises" / "conftest.py", folder / "conftest.py")
    for name, nb in notebooks.items():
        nbformat.write(nb, folder / f"{name}.ipynb")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval-lax", "--nbval-current-env",
         *(f"exercises/{name}.ipynb" for name in notebooks)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"COURSE_PRISTINE": str(sample.pristine.parent), "PYTHONPATH": str(ROOT)})
    return done.returncode, done.stdout + done.stderr


def answered(sample, **answers):
    """The release with answers written into it, outputs as released."""
    nb = execute.read(sample.notebook)
    right = {cell.id: cell.source for cell in sample.solved.cells}
    for cell in nb.cells:
        if release.grading(cell).get("solution"):
            cell.source = answers.get(cell.id, right[cell.id])
    return nb


WRONG = "def inference_share(training, per_query, queries):\n    return per_query * queries / training"
LOUD = ("import sys\ndef inference_share(training, per_query, queries):\n"
        "    print('working'); print('!', file=sys.stderr)\n"
        "    return per_query * queries / (training + per_query * queries)")


@pytest.mark.slow
def test_pytest_fails_the_untouched_exercise_and_passes_the_solved_one_though_it_prints(sample, tmp_path):
    code, said = pytest_on(sample, tmp_path, untouched=execute.read(sample.notebook),
                           solved=answered(sample, ex90_share=LOUD))
    assert code == 1 and "2 failed" in said, said
    assert said.count("FAILED exercises/untouched.ipynb") == 2
    assert "FAILED exercises/untouched.ipynb::ex90_share_value" in said, "a check goes by its name"
    assert "untouched: 0 of 2 visible checks right" in said and "solved: 2 of 2 visible checks right" in said


@pytest.mark.slow
def test_pytest_fails_a_wrong_answer_whatever_was_saved(sample, tmp_path):
    saved = {name: answered(sample, ex90_share=WRONG) for name in ("run_all", "cleared", "edited", "skipped")}
    check = {name: next(c for c in nb.cells if c.id == "ex90_share_value") for name, nb in saved.items()}
    execute.execute(saved["run_all"], ROOT, tmp_path, env={"COURSE_PRISTINE": str(sample.pristine.parent)})
    assert expected_text(check["run_all"]) == "1.5"
    check["cleared"].outputs, check["cleared"].execution_count = [], None
    check["edited"].source = "rounded(1.5)"
    check["edited"].outputs[0].data["text/plain"] = "1.5"
    check["skipped"].metadata["tags"] = ["nbval-skip"]
    check["skipped"].source = "# NBVAL_SKIP\n" + check["skipped"].source
    code, said = pytest_on(sample, tmp_path, **saved)
    assert code == 1 and "4 failed" in said, said
    for name in saved:
        assert said.count(f"FAILED exercises/{name}.ipynb::ex90_share_value") == 1, said
        assert f"{name}: 1 of 2 visible checks right" in said
    assert "0.6" in said and "1.5" in said


@pytest.mark.slow
def test_pytest_says_when_a_check_is_gone(sample, tmp_path):
    nb = answered(sample)
    nb.cells = [cell for cell in nb.cells if cell.id != "ex90_share_value"]
    code, said = pytest_on(sample, tmp_path, mine=nb)
    assert code != 0 and "the check cell ex90_share_value is missing; take a fresh copy" in said


# --- wrong sources, and the copy for a class


@pytest.mark.parametrize(("old", "new", "sentence"), [
    ("    ### END SOLUTION\n\n# %% nbg", "\n# %% nbg", "without its ### END SOLUTION"),
    ('"ex90_share", "solution": true', '"ex90_share"', "must have both a solution"),
    ('"ex90_even"', '"ex90_share"', "needs a grade_id of its own"),
    ("rounded(inference_share(100.0, 0.5, 300))", "x = 3", "must end in one expression: rounded"),
    ("rounded(inference_share(100.0, 0.5, 300))", "print(1)\nrounded(1 / 0)", "failed: ZeroDivisionError"),
    ("course: {exercise:", "lost: {exercise:", "no course line"),
])
def test_a_wrong_source_gets_one_sentence(tmp_path, old, new, sentence, monkeypatch, capsys):
    root = sample_course.make(tmp_path)
    source = root / "exercises" / "source" / f"{sample_course.EXERCISE}.py"
    text = source.read_text(encoding="utf-8")
    assert old in text
    source.write_text(text.replace(old, new), encoding="utf-8")
    monkeypatch.chdir(root)
    assert cli.main(["release"]) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1
    assert not (root / "exercises" / f"{sample_course.EXERCISE}.ipynb").exists()


def test_a_release_is_made_once(sample):
    said = []
    release.release([], sample.root, say=said.append)
    assert said == ["90_sample: up to date"]


def test_a_learners_course_has_no_sources(sample, tmp_path):
    root, folder = shutil.copytree(sample.root, tmp_path / "course"), tmp_path / "class"
    build.build([], root, say=lambda line: None)
    (root / "course_lib" / "classroom").mkdir()
    (root / "course_lib" / "classroom" / "secret.py").write_text("", encoding="utf-8")
    release.release([], root, to=folder, say=lambda line: None)
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {".course-release", "README.md", "pyproject.toml", "exercises/conftest.py", "exercises/90_sample.ipynb",
                     "notebooks/00_sample.ipynb", "notebooks/README.md",
                     "course_lib/assets/exercises/90_sample.ipynb"}
    assert "jupytext" not in (folder / "notebooks" / "00_sample.ipynb").read_text(encoding="utf-8")
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"course": "course_lib.cli:main"}
    assert "course_lib.classroom" not in str(project), "an entry point leads into what is not there"
    told = "".join((folder / name).read_text(encoding="utf-8") for name in files)
    assert not [line for line in release.solution_lines(sample.solved) if line in told]


@pytest.fixture
def published(sample, tmp_path):
    """(root, folder): a course, and its release, in which somebody works."""
    root, folder = shutil.copytree(sample.root, tmp_path / "course"), tmp_path / "class"
    (root / "course_lib" / "old.py").write_text("x = 1\n", encoding="utf-8")
    handout.hand_out(root, folder, say=lambda line: None)
    (root / "course_lib" / "old.py").unlink()
    (root / "course_lib" / "new.py").write_text("y = 1\n", encoding="utf-8")
    (root / "README.md").write_text("# Better\n", encoding="utf-8")
    for name in (".git/config", "SCHEDULE.md", "exercises/mine.txt", "course_lib/__pycache__/old.pyc"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("of the class", encoding="utf-8")
    return root, folder


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_second_release_replaces_the_first_and_keeps_what_others_put_there(published, tmp_path, monkeypatch, capsys):
    root, folder = published
    before = content(folder)
    monkeypatch.chdir(root)
    assert cli.main(["release", "--to", str(folder)]) == 0
    first, kept = capsys.readouterr().out.splitlines()
    assert first.endswith("/class: a learners' course in place of the earlier one: 2 files written, 1 removed")
    assert kept == "kept, because they are not of this release: SCHEDULE.md, exercises/mine.txt"  # git's folder goes without saying
    after, fresh = content(folder), tmp_path / "fresh"
    assert after["README.md"] == b"# Better\n" and after["course_lib/new.py"] == b"y = 1\n"
    assert "course_lib/old.py" not in after
    others = {".git/config", "SCHEDULE.md", "exercises/mine.txt", "course_lib/__pycache__/old.pyc"}
    assert {name: after.pop(name) for name in others} == {name: before[name] for name in others}
    handout.hand_out(root, fresh, say=lambda line: None)
    assert after == content(fresh)  # as a first release would have it
    assert not list(tmp_path.glob("class.changed*"))


def test_what_somebody_changed_in_a_release_is_moved_out_and_not_lost(published):
    root, folder = published
    mine = {"README.md": b"# Of this class\n", "course_lib/new.py": b"z = 1\n", "exercises/90_sample.ipynb": b"{}"}
    for name, data in mine.items():
        (folder / name).write_bytes(data)
    (folder / "course_lib" / "old.py").write_bytes(b"x = 2\n")  # the new release has it no more
    (folder / "exercises" / "conftest.py").write_bytes((folder / "exercises" / "conftest.py").read_bytes()
                                                       .replace(b"\n", b"\r\n"))  # as git may write it
    for number in (1, 2):
        said = []
        handout.hand_out(root, folder, say=said.append)
        aside = folder.with_name(f"class.changed-{number}")
        assert said[0] == (f"changed by somebody since the earlier release, and now in {aside}: "
                           + ", ".join(name for name in sorted(mine)))
        assert content(aside) == mine
        assert (folder / "README.md").read_bytes() == b"# Better\n"
        assert (folder / "course_lib" / "old.py").read_bytes() == b"x = 2\n" and "course_lib/old.py" in said[2]
        for name, data in mine.items():
            (folder / name).write_bytes(data)


def test_a_folder_that_no_release_made_is_never_touched(published, tmp_path):
    root, folder = published
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "README.md").write_text("mine", encoding="utf-8")
    damaged = shutil.copytree(folder, tmp_path / "damaged")
    before = content(tmp_path)
    for place, sentence in ((foreign, r"is not empty, and no release of this course \(.course-release is not in it\)"),
                            (root, "is this course itself: name a new folder"),
                            (root / "course_lib" / "class", "lies among the files that a release is made of: name a folder"),
                            (root / "notebooks", "lies among the files"), (root / "exercises" / "a" / "b", "lies among the")):
        with pytest.raises(CourseError, match=sentence):
            handout.hand_out(root, place)
    assert content(tmp_path) == before
    for text in ("", "[]", "{}", '{"finished": true, "files": []}', *(f'{{"finished": true, "files": {{{one}}}}}' for one in (
            '"../x": "0"', '"/x": "0"', '"x": 1')), '{"finished": 1, "files": {}}', '{"files": {}}'):
        (damaged / handout.MARKER).write_text(text, encoding="utf-8")
        before = content(tmp_path)
        with pytest.raises(CourseError, match="course-release is damaged, so nobody can tell"):
            handout.hand_out(root, damaged)
        assert content(tmp_path) == before


@pytest.mark.parametrize(("change", "sentence"), [
    (lambda folder: (folder / "course_lib" / "new.py").mkdir(), "new.py is a folder where the release has a file: move it away"),
    (lambda folder: shutil.rmtree(folder / "course_lib") or (folder / "course_lib").write_text(""), "course_lib is a file where"),
    (lambda folder: shutil.move(folder / "exercises", folder / "x") and (folder / "exercises").symlink_to("x"),
     "exercises is a link, and a release writes through none"),
    (lambda folder: (folder / "course_lib" / "new.py").symlink_to("nowhere"), "new.py is a link, and a release"),
])
def test_what_stands_in_the_way_of_a_second_release_stays_as_it_is(published, change, sentence):
    root, folder = published
    change(folder)
    before = content(folder)
    with pytest.raises(CourseError, match=sentence):
        handout.hand_out(root, folder)
    assert content(folder) == before


def test_a_second_release_that_cannot_be_made_leaves_the_first(published):
    root, folder = published
    (root / "README.md").write_text(f"# A\n\n{handout.INSTRUCTORS}\n", encoding="utf-8")
    before = content(folder)
    with pytest.raises(CourseError, match="one of a pair is missing"):
        handout.hand_out(root, folder)
    assert content(folder) == before


def cut_short(monkeypatch, files, error):
    """No release can write more than so many files and the marker before them."""
    whole, left = handout.write_whole, [None] * (files + 1)

    def write(path, data):
        if not left:
            raise error
        whole(path, data)
        left.pop()

    monkeypatch.setattr(handout, "write_whole", write)


@pytest.mark.parametrize(("error", "advice"), [
    (OSError(errno.ENOSPC, "No space left on device"), "No space left.*: make room, then run the same command again"),
    (PermissionError(errno.EACCES, "Permission denied"), "Permission denied.*: see to that, then run the same command again"),
])
def test_a_second_release_that_was_cut_short_goes_on(published, monkeypatch, error, advice):
    root, folder = published
    cut_short(monkeypatch, 1, error)
    with pytest.raises(CourseError, match=advice):
        handout.hand_out(root, folder)
    monkeypatch.undo()
    said = []
    handout.hand_out(root, folder, say=said.append)
    assert said[0].endswith("in place of one that was not finished: 1 file written, 1 removed")
    assert "changed by" not in "".join(said) and not list(folder.parent.glob("class.changed*"))


def test_where_the_edited_files_went_is_said_though_the_release_fails_after_that(published, monkeypatch):
    root, folder = published
    (folder / "README.md").write_text("# Of this class\n", encoding="utf-8")
    cut_short(monkeypatch, 0, OSError(errno.ENOSPC, "No space left on device"))
    said = []
    with pytest.raises(CourseError, match="make room"):
        handout.hand_out(root, folder, say=said.append)
    aside = folder.with_name("class.changed-1")
    assert said == [f"changed by somebody since the earlier release, and now in {aside}: README.md"]
    assert content(aside) == {"README.md": b"# Of this class\n"}


def test_the_course_may_change_after_a_release_that_was_cut_short(published, tmp_path, monkeypatch):
    """What only that release wrote goes, and what it replaced is not taken for somebody's."""
    root, folder = published
    cut_short(monkeypatch, 2, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        handout.hand_out(root, folder)
    monkeypatch.undo()
    assert (folder / "course_lib" / "new.py").exists() and (folder / "README.md").read_bytes() == b"# Better\n"
    (folder / "README.md.part").write_bytes(b"# Be")  # as after a kill
    (root / "course_lib" / "new.py").unlink()
    (root / "README.md").write_text("# Best\n", encoding="utf-8")
    said, fresh = [], tmp_path / "fresh"
    handout.hand_out(root, folder, say=said.append)
    assert said[0].endswith("not finished: 1 file written, 1 removed") and "SCHEDULE.md, exercises/mine.txt" in said[1] and not said[2:]
    handout.hand_out(root, fresh, say=lambda line: None)
    after = content(folder)
    assert {name: after[name] for name in content(fresh)} == content(fresh)
    assert set(after) - set(content(fresh)) == {".git/config", "SCHEDULE.md", "exercises/mine.txt",
                                                "course_lib/__pycache__/old.pyc"}


@pytest.mark.parametrize("files", [-1, 0, 3])
def test_a_first_release_that_was_stopped_goes_on_with_the_same_command(sample, tmp_path, monkeypatch, files):
    folder, fresh = tmp_path / "class", tmp_path / "fresh"
    cut_short(monkeypatch, files, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        handout.hand_out(sample.root, folder)
    monkeypatch.undo()
    if files < 0:
        (folder / f"{handout.MARKER}.part").write_bytes(b"{")  # as after a kill
    said = []
    handout.hand_out(sample.root, folder, say=said.append)
    handout.hand_out(sample.root, fresh, say=lambda line: None)
    assert len(said) == 1 and content(folder) == content(fresh)


def test_a_file_that_the_teacher_removed_comes_back_and_that_is_said(published):
    root, folder = published
    (folder / "exercises" / "conftest.py").unlink()
    said = []
    handout.hand_out(root, folder, say=said.append)
    assert said[1] == "not there any more, and written again: exercises/conftest.py"
    assert (folder / "exercises" / "conftest.py").exists()


@pytest.fixture(scope="module")
def handed_out(tmp_path_factory):
    """The course itself, as a class gets it."""
    folder = tmp_path_factory.mktemp("class") / "our course"
    handout.hand_out(ROOT, folder, say=lambda line: None)
    return folder


def test_every_link_of_a_learners_course_leads_somewhere_in_it(handed_out):
    pages = sorted(handed_out.rglob("*.md"))
    assert {page.relative_to(handed_out).as_posix() for page in pages} == {
        "README.md", "notebooks/README.md", "exercises/README.md"}
    count = 0
    for page in pages:
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            if not re.match(r"[a-z]+:|#", link):
                target = (page.parent / link.partition("#")[0]).resolve()
                assert target.is_relative_to(handed_out) and target.exists(), f"{page}: {link}"
                count += 1
    assert count >= 6
    assert list((handed_out / "notebooks" / "images").glob("*.png"))


def test_a_learners_course_tells_nothing_of_sources(handed_out):
    files = (*handed_out.rglob("*.md"), handed_out / "Makefile")
    pages = {path: path.read_text(encoding="utf-8") for path in files}
    for path in handed_out.rglob("*.ipynb"):
        pages[path] = "\n".join(cell.source for cell in execute.read(path).cells)
    for path, text in pages.items():
        for word in ("source/", "course release", "course build", "instructors -->"):
            assert word not in text, f"{path.relative_to(handed_out)} says {word}"


@pytest.mark.parametrize("target", ["check", "bench", "notebooks", "links", "grade", "slides"])
def test_in_a_learners_course_make_says_what_belongs_to_the_author(handed_out, target):
    done = subprocess.run(["make", "--no-print-directory", target, "REPO=a/b"], cwd=handed_out, capture_output=True, text=True,
                          check=False)
    assert done.returncode != 0 and not (handed_out / ".venv").exists()
    assert done.stdout.count("\n") == 1 and re.search("belongs? to the author's copy", done.stdout)


def test_the_instructors_section_is_cut_and_the_rest_stays():
    text = "# A\n\nx\n\n<!-- instructors -->\n## For\n\nsecret\n<!-- /instructors -->\n\n## End\n\ny\n"
    assert handout.for_learners(text, "README.md") == "# A\n\nx\n\n## End\n\ny\n"
    for marker in (handout.INSTRUCTORS, handout.INSTRUCTORS_END):
        with pytest.raises(CourseError, match="README.md needs <!-- instructors --> before"):
            handout.for_learners(text.replace(marker, ""), "README.md")


@pytest.mark.parametrize(("folder", "sentence"), [
    ("README.md", "README.md is a file: name a new folder"),
    ("README.md/class", "README.md/class cannot be made (Not a directory): name another folder"),
    ("x" * 300, "cannot be made (File name too long): name another folder"),
])
def test_a_folder_that_cannot_be_made_gets_one_sentence(sample, folder, sentence, monkeypatch, capsys):
    monkeypatch.chdir(sample.root)
    before = sorted(sample.root.rglob("*"))
    assert cli.main(["release", "--to", folder]) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1
    assert sorted(sample.root.rglob("*")) == before


def test_what_cannot_be_finished_is_removed(sample, tmp_path):
    root = shutil.copytree(sample.root, tmp_path / "course")
    (root / "README.md").write_text(f"# A\n\n{handout.INSTRUCTORS}\n", encoding="utf-8")
    with pytest.raises(CourseError, match="one of a pair is missing"):
        handout.hand_out(root, tmp_path / "class")
    assert not (tmp_path / "class").exists()
