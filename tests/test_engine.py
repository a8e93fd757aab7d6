"""From an exercise and answers to points, through nbval: what counts, what it costs to hang, what may be told."""

import json
import os
import signal
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import distributed
import pytest

from course_lib.classroom import CourseError
from course_lib.classroom.grading import engine, model, warm

pytestmark = pytest.mark.slow
DATA = Path(__file__).parent / "data" / "grading" / "source"
LIMITS = model.Limits(cell_seconds=6, memory_mb=1024)
SOFTMAX = "def softmax(x):\n    e = (x - x.max()).exp()\n    return e / e.sum(-1, keepdim=True)"
ENTROPY = "def entropy(p):\n    return -(p * p.log2()).sum(-1)"


def submission(softmax=SOFTMAX, entropy=ENTROPY, extras=()):
    answers = {"ex90_softmax": softmax, "ex90_entropy": entropy}
    return model.Submission("Ada", "90_attacked", "ada.ipynb", extras=tuple(extras),
                            answers={name: text for name, text in answers.items() if text is not None})


@pytest.fixture(scope="module")
def exercise():
    return engine.load_exercise(DATA / "90_attacked.py")


@pytest.fixture(scope="module")
def kernel(exercise):
    try:
        with engine.warm_pool([exercise], [DATA]) as found:
            yield found
    except CourseError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def dry(exercise, kernel):
    return engine.dry_run(exercise, 7, LIMITS, kernel)


@pytest.fixture(scope="module")
def grade(dry, kernel):
    def run(given, limits=LIMITS, kernel=kernel, dry=dry):
        result = engine.grade_one(json.loads(json.dumps(engine.job(dry, given, limits, kernel))))
        result["score"] = sum(check["points"] for check in result["checks"].values())
        result["outcomes"] = {name.removeprefix("ex90_"): check["outcome"] for name, check in result["checks"].items()}
        return result

    return run


def test_the_dry_run_is_a_hundred_and_nothing(dry, exercise):
    assert dry.problem() == ""
    assert set(dry.solved.values()) == {model.RIGHT}
    assert set(dry.untouched.values()) == {model.UNANSWERED}
    assert exercise.points == 10
    told = json.dumps(dry.exercise.public())
    for check in exercise.checks:
        assert (json.dumps(dry.expected[check.id])[1:-1] in told) == (not check.hidden)
    assert "kept_from_learners" not in told


def test_hidden_checks_have_the_seed_of_the_grading_and_visible_ones_their_own(exercise, kernel, dry):
    other = engine.dry_run(exercise, 8, LIMITS, kernel)
    for check in exercise.checks:
        assert (dry.expected[check.id] != other.expected[check.id]) == check.hidden


def test_right_answers_get_all_and_hidden_checks_tell_nothing(grade, exercise):
    result = grade(submission())
    assert result["score"] == exercise.points
    assert result["notes"] == []
    for check in exercise.checks:
        told = result["checks"][check.id]
        assert (told["got"] is None) == check.hidden
        assert (told["reason"] is None) == check.hidden


def test_a_wrong_answer_costs_its_own_task(grade):
    result = grade(submission(softmax="def softmax(x):\n    return x"))
    assert result["outcomes"] == {"softmax_shown": "wrong", "softmax_unseen": "wrong", "entropy_shown": "right",
                                  "entropy_unseen": "right"}
    assert "[[0.0, 1.0, 2.0]" in result["checks"]["ex90_softmax_shown"]["got"]
    result = grade(submission(entropy="def entropy(p):\n    return 1 / 0"))
    assert result["checks"]["ex90_entropy_shown"]["reason"] == "ZeroDivisionError: division by zero"
    assert grade(submission(entropy=None))["outcomes"]["entropy_unseen"] == model.UNANSWERED


@pytest.mark.parametrize(("code", "outcome"), [
    ("import os\nos._exit(0)", model.DIED),
    ("def softmax(x):\n    import os\n    os._exit(0)", model.DIED),
    ("while True: pass", model.TIMEOUT),
    ("def softmax(x):\n    import signal\n    signal.signal(2, signal.SIG_IGN)\n    while True: pass", model.TIMEOUT),
    ("def softmax(x):\n    while True: print('x' * 10_000)", model.FLOOD),
    # as on a busy machine: the thread that sends gets no turn while the printing one may go on
    ("import sys\ndef softmax(x):\n    sys.setswitchinterval(20)\n    while True: print('x' * 10_000)", model.FLOOD),
    ("def softmax(x):\n    print('x' * 50_000_000)", model.FLOOD),
    ("def softmax(x):\n    return bytearray(20 * 2**30)", model.ERROR),
    ("import ctypes\nctypes.string_at(0)", model.DIED),
])
def test_what_ends_or_hangs_a_kernel_costs_its_own_task(grade, code, outcome):
    result = grade(submission(softmax=code))
    assert result["outcomes"] == {"softmax_shown": outcome, "softmax_unseen": outcome, "entropy_shown": "right",
                                  "entropy_unseen": "right"}


def test_memory_held_by_children_counts_together(grade):
    hold = ("def softmax(x):\n    import os, time\n    for _ in range(6):\n        if os.fork() == 0:\n"
            "            b = bytearray(2**28)\n            for i in range(0, len(b), 4096): b[i] = 1\n"
            "            time.sleep(20)\n    time.sleep(4)")
    assert grade(submission(softmax=hold))["outcomes"]["softmax_shown"] == model.DIED


def test_what_ends_the_kernel_later_never_gives_points(grade):
    late = "import os, threading\nthreading.Timer(0.02, os._exit, (0,)).start()\ndef softmax(x):\n    return x"
    result = grade(submission(softmax=late))
    assert result["outcomes"]["softmax_unseen"] != model.RIGHT
    assert result["outcomes"]["softmax_shown"] != model.RIGHT


def test_own_cells_run_where_they_stood_and_may_fail(grade):
    given = submission(softmax="def softmax(x):\n    return helper(x)", extras=[
        (None, "import numpy as np"), ("ex90_softmax", "def helper(x):\n    return x.softmax(-1)"),
        ("ex90_softmax_shown", "1 / 0"), ("ex90_entropy", "import time\nwhile True: time.sleep(1)"),
        ("nosuch", "import os\nos._exit(3)")])
    result = grade(given)
    assert result["score"] == 10
    assert [note.partition("; ")[2] for note in result["notes"]] == [
        "the rest was graded without it", "the rest was graded without it and others of them"]


def test_names_used_for_something_else_are_put_right_for_hidden_checks(grade):
    spoiled = ENTROPY + "\ntorch = rounded = grading_seed = 3\nimport torch"
    result = grade(submission(entropy=spoiled))
    assert result["outcomes"]["softmax_unseen"] == result["outcomes"]["entropy_unseen"] == model.RIGHT


@pytest.mark.parametrize("last", ["softmax = softmax(torch.zeros(1, 3))", "torch.set_default_dtype(torch.float64)",
                                  "entropy = None"])
def test_what_stands_below_takes_no_points_from_what_was_right(grade, last):
    assert grade(submission(extras=[("ex90_entropy_shown", last)]))["score"] == 10


def test_many_own_cells_that_hang_cost_no_answer(grade):
    hang = [("ex90_entropy_shown", "while True: pass")] * 14
    assert grade(submission(extras=hang), limits=model.Limits(cell_seconds=3))["score"] == 10


def test_when_the_warm_server_was_killed_another_one_goes_on(exercise, dry, grade):
    with engine.warm_pool([exercise], [DATA]) as found:
        os.kill(found["server"]["pid"], signal.SIGKILL)
        assert grade(submission(), kernel=found)["score"] == 10


def test_no_time_left_leaves_checks_unreached(grade):
    result = grade(submission(softmax="import time\ntime.sleep(9)"), limits=model.Limits(cell_seconds=3, total_seconds=3))
    assert set(result["outcomes"].values()) <= {model.TIMEOUT, model.UNREACHED}
    assert result["score"] == 0


def test_a_machine_too_slow_for_the_exercise_is_not_the_learners_fault(grade):
    with pytest.raises(RuntimeError, match="the exercise's own cell"):
        grade(submission(), limits=model.Limits(cell_seconds=0.0001))


def test_forged_messages_are_no_answers(grade):
    forge = ("def softmax(x):\n    k = get_ipython().kernel\n"
             "    for kind, content in (('execute_result', {}), ('error', {'ename': 1}), ('status', []), ('stream', {})):\n"
             "        k.session.send(k.iopub_socket, kind, content, parent=k.get_parent())\n"
             "    return x")
    result = grade(submission(softmax=forge))
    assert result["outcomes"]["softmax_shown"] != model.RIGHT
    assert result["outcomes"]["softmax_unseen"] != model.RIGHT
    assert result["outcomes"]["entropy_unseen"] == model.RIGHT


def test_without_warm_kernels_the_points_are_the_same(exercise, dry, grade):
    said = []
    with engine.warm_pool([exercise], warmed=False, sandboxed=False, say=said.append) as cold:
        result = grade(submission(softmax="def softmax(x):\n    return x"), kernel=cold)
    assert result["score"] == 4
    assert "slower" in said[0]


def test_without_a_sandbox_only_when_said(exercise, monkeypatch):
    monkeypatch.setattr(warm, "SERVES", False)
    with pytest.raises(CourseError, match="say --no-sandbox"), engine.warm_pool([exercise]):
        pass


@contextmanager
def dask_executor():
    with (distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=True, dashboard_address=None) as cluster,
          distributed.Client(cluster, set_as_default=False) as client):
        yield client.get_executor(pure=False)


@pytest.mark.parametrize("executor", [lambda: ProcessPoolExecutor(1), dask_executor], ids=["processes", "dask"])
def test_the_same_function_runs_on_any_executor(dry, kernel, executor):
    elsewhere = kernel | {"host": "another machine"}  # so each process starts a warm server of its own
    jobs = [engine.job(dry, given, LIMITS, elsewhere) for given in (submission(), submission(softmax="softmax = 1"))]
    with executor() as pool:
        results = [future.result() for future in [pool.submit(engine.grade_one, job) for job in jobs]]
    points = [sum(check["points"] for check in result["checks"].values()) for result in results]
    assert points == [10, 4]


SOURCE = (DATA / "90_attacked.py").read_text(encoding="utf-8")


@pytest.mark.parametrize(("old", "new", "problem"), [
    ("kept_from_learners = (x", "kept_from_learners = 1 / 0 + (x", "does not get ex90_softmax_shown right (error)"),
    ("rounded(softmax(unseen_logits))", "rounded(__import__('random').random())",
     "does not get ex90_softmax_unseen right (wrong)"),
    ("rounded(softmax(unseen_logits))", "rounded(unseen_logits)", "an untouched notebook gets the points of ex90_softmax"),
])
def test_an_exercise_that_cannot_grade_is_found_out(tmp_path, kernel, old, new, problem):
    source = tmp_path / "91_bad.py"
    source.write_text(SOURCE.replace(old, new), encoding="utf-8")
    dry = engine.dry_run(engine.load_exercise(source), 7, LIMITS, kernel)
    assert problem in dry.problem()


def test_what_can_change_a_score_changes_the_hash(tmp_path, exercise):
    source = tmp_path / "90_attacked.py"
    for text in (SOURCE, SOURCE.replace('"points": 5', '"points": 4'), SOURCE.replace("randn(3", "randn(2"),
                 SOURCE.replace("sum to?", "sum up to?")):
        source.write_text(text, encoding="utf-8")
        assert (engine.load_exercise(source).sha256 == exercise.sha256) == (text == SOURCE)


def test_sources(tmp_path):
    root = Path(__file__).parent.parent
    assert engine.sources(root / "exercises") == engine.sources(root / "exercises" / "source")
    released = next((root / "exercises").glob("01_*.ipynb"))
    assert engine.sources(released, root) == [root / "exercises" / "source" / f"{released.stem}.py"]
    with pytest.raises(CourseError, match="is not there"):
        engine.sources(tmp_path / "nosuch")
    with pytest.raises(CourseError, match="holds no exercise source"):
        engine.sources(tmp_path)
