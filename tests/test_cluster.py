"""More than one at a time: any executor, Dask, shards and their merging."""

import gc
import os
import re
import sys
import threading
import time
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import fake_engine
import pytest
from test_grade import Class, wait_for_rows

from course_lib.classroom import CourseError
from course_lib.classroom.grading import cluster, merge, records


def job(text):
    return {"who": "x", "text": text, "expected": {}, "checks": [["a", 2, False], ["h", 3, True]]}


def pool(executor, in_flight=4, lost=lambda: ""):
    return cluster.Pool(executor, in_flight, lost)


def rights(outcome):
    return [check["outcome"] for check in outcome["checks"].values()].count("right")


@pytest.fixture(params=["threads", "processes"])
def executor(request):
    if request.param == "threads":
        made = ThreadPoolExecutor(3)
    else:
        made = ProcessPoolExecutor(2, mp_context=get_context("spawn"))
    with made:
        yield made


def test_any_executor_will_do(executor):
    words = ["right", "half", "wrong", "fail", "sleep 0.01 right"] * 3
    came = dict(cluster.run_jobs(map(job, words), pool(executor), fake_engine.grade_one))
    assert sorted(came) == list(range(15))
    assert [came[i] if isinstance(came[i], Exception) else rights(came[i]) for i in (0, 1, 2, 4)] == [2, 1, 0, 2]
    assert isinstance(came[3], RuntimeError) and "no kernel" in str(came[3])


def test_jobs_are_made_when_there_is_room_for_them():
    made, ended, lock = [], [], threading.Lock()

    def jobs():
        for number in range(40):
            with lock:
                made.append(len(made) + 1 - len(ended))
            yield number

    def work(number):
        time.sleep(0.002)
        return number

    with ThreadPoolExecutor(2) as executor:
        for index, outcome in cluster.run_jobs(jobs(), pool(executor, 5), work):
            assert index == outcome
            ended.append(index)
    assert len(ended) == 40 and max(made) <= 6


def test_an_exception_for_a_job_is_handed_on():
    with ThreadPoolExecutor(2) as executor:
        came = dict(cluster.run_jobs(iter([1, ValueError("no job"), 3]), pool(executor), lambda job: job))
    assert came[0] == 1 and came[2] == 3 and isinstance(came[1], ValueError)


def test_no_job_is_no_work():
    assert list(cluster.run_jobs(iter(()), pool(None), None)) == []


def test_a_worker_that_dies_takes_no_other_row_with_it_unsaid():
    """A process pool is of no more use after a worker's death: every job is answered for all the same."""
    words = ["right"] * 4 + ["exit"] + ["right"] * 30
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        came = dict(cluster.run_jobs(map(job, words), pool(executor, 3), fake_engine.grade_one))
    assert sorted(came) == list(range(35))
    assert isinstance(came[4], BrokenExecutor) and isinstance(came[34], BrokenExecutor)
    assert sum(isinstance(outcome, dict) for outcome in came.values()) >= 2  # else the fifth was never handed out


def test_a_cluster_that_is_gone_is_not_waited_for():
    never = threading.Event()
    with ThreadPoolExecutor(2) as executor:
        jobs = cluster.run_jobs(iter(range(5)), pool(executor, 2, lambda: "the scheduler is gone"),
                                lambda job: job if job == 0 else never.wait(30))
        came = dict(jobs)
        never.set()
    assert came[0] == 0
    assert all(isinstance(came[i], BrokenExecutor) and "scheduler is gone" in str(came[i]) for i in (1, 2, 3, 4))


def test_a_cluster_in_which_nothing_ends_is_not_waited_for():
    never = threading.Event()
    with ThreadPoolExecutor(2) as executor:
        stalled = cluster.Pool(executor, 2, stall=0.5)
        came = dict(cluster.run_jobs(iter(range(3)), stalled, lambda job: never.wait(30)))
        never.set()
    assert len(came) == 3 and all("no job ended" in str(outcome) for outcome in came.values())


def test_a_system_exit_in_a_worker_is_one_failure():
    def leave(job):
        raise SystemExit(3)

    with ThreadPoolExecutor(1) as executor:
        ((_, outcome),) = cluster.run_jobs(iter([1]), pool(executor), leave)
    assert isinstance(outcome, RuntimeError)


def test_shards_are_read_strictly():
    assert cluster.shard("2/5") == (2, 5) and cluster.shard(" 1/1 ") == (1, 1)
    for text in ("0/5", "6/5", "1", "1/0", "a/b", "-1/5", "1/2/3", ""):
        with pytest.raises(ValueError, match="is not a shard: write 2/5"):
            cluster.shard(text)


def test_a_cluster_without_workers_gets_some_time(monkeypatch):
    client = type("Client", (), {"status": "running", "nthreads": lambda self: self.workers})()
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    lost = cluster._watch(client, 60)
    client.workers = {"a": 1}
    assert lost() == ""
    clock[0] = 1000.0  # long busy, nobody asked
    client.workers = {}
    assert lost() == ""
    clock[0] += 59
    assert lost() == ""
    clock[0] += 2
    assert "no worker for 60 s" in lost()
    client.workers = {"b": 1}
    assert lost() == ""
    client.status = "closed"
    assert "scheduler is gone" in lost()


# --- shards and merging ----------------------------------------------------------------------------------------------

NAMES = ["ada", "Bo", "cy", "dee", "Éve", "flo", "gil", "=hal", "../ivy", "jo jo", "kim"]


@pytest.fixture
def group(tmp_path, monkeypatch):
    made = Class(tmp_path)
    monkeypatch.setenv("FAKE_LOG", str(made.log))
    for number, name in enumerate(NAMES):
        made.hand_in(name.replace("/", "_"), f"{('right', 'half', 'wrong', 'broken')[number % 4]} {number}")
        if number % 3:
            made.hand_in(name.replace("/", "_"), f"{('right', 'half')[number % 2]} {number}", "02_two")
    return made


def part(group, i, n, **more):
    out = group.folder / "parts" / f"grades-{i}.csv"
    return group.run(**{"exercises": None, "out": out, "shard": (i, n), "seed": 5} | more), out


def merged(group, parts, out=None, **more):
    said, complained = [], []
    code = merge.merge(parts, out or group.out, say=said.append, complain=complained.append, **more)
    return code, "\n".join(said), "\n".join(complained)


@pytest.mark.parametrize("n", [1, 3, 30])
def test_merged_shards_are_the_class_graded_at_once(group, n):
    alone = group.folder / "alone.csv"
    group.run(exercises=None, out=alone, seed=5)
    graded = sorted(group.graded)
    each = []
    parts = []
    for i in range(1, n + 1):
        (code, _, _), out = part(group, i, n)
        assert code == 0
        parts.append(out if i % 2 else out.with_suffix(".jsonl"))
        each += group.graded
    assert sorted(each) == graded
    pages = group.folder / "pages"
    assert merged(group, reversed(parts), feedback=pages)[0] == 0
    assert group.out.read_bytes() == alone.read_bytes()
    assert (pages / "index.html").exists() and group.out.with_suffix(".png").exists()
    group.run(exercises=None, seed=5)  # what was merged is known
    assert group.graded == [] and group.out.read_bytes() == alone.read_bytes()


def test_a_missing_part_is_named_and_the_rest_is_there(group):
    parts = [part(group, i, 3)[1] for i in (1, 3)]
    code, _, complained = merged(group, parts)
    assert code == 1 and "shard 2 of 3 is missing: its learners are not in" in complained
    there = set(group.rows())
    assert "shards 2, 3 of 3 are missing: their learners are not in" in merged(group, parts[:1], group.folder / "g.csv")[2]
    parts.append(part(group, 2, 3)[1])
    assert merged(group, parts)[0] == 0
    assert there < set(group.rows()) and len(group.rows()) == 22


def test_the_later_of_two_rows_counts_and_it_is_said(group):
    one, two = part(group, 1, 2)[1], part(group, 2, 2)[1]
    file = two.with_suffix(".jsonl")
    row = next(row for row in records.read(one.with_suffix(".jsonl")).rows.values() if row.pair[0].isalpha())
    row.at, row.result.notes = "2999-01-01T00:00:00+00:00", ["graded once more"]
    with file.open("ab") as lines:
        lines.write(records.line_of(row.to_json()))
    for parts in ([one, two], [two, one]):
        code, said, _ = merged(group, parts)
        assert code == 0 and f"the one graded later counts: {row.result.learner}" in said
        assert group.rows()[row.pair]["notes"].endswith("graded once more")


def test_parts_that_do_not_belong_together_are_refused(group, monkeypatch):
    one = part(group, 1, 2)[1]
    cases = {"another seed": {"seed": 6}, "other exercises": {"exercises": "01_one.py"},
             "other versions of the programs": {"sandboxed": False}, "different number of shards": {"shard": (2, 3)}}
    for number, (words, more) in enumerate(cases.items()):
        out = group.folder / f"other-{number}.csv"
        part(group, 2, 2, **{"out": out} | more)
        with pytest.raises(CourseError, match=words):
            merged(group, [one, out])
    monkeypatch.setenv("FAKE_TORCH", "9")
    out = group.folder / "other.csv"
    part(group, 2, 2, out=out)
    with pytest.raises(CourseError, match="other versions of the programs"):
        merged(group, [one, out])
    assert not group.out.exists()


def test_what_is_no_part_is_one_sentence(group):
    one = part(group, 1, 1)[1]
    (group.folder / "empty.jsonl").write_text("")
    (group.folder / "canvas.csv").write_text("Student,ID\n")
    for parts, out, words in (([one], group.folder / "canvas.csv", "canvas.csv is not a list of grades"),
                              ([one, "nowhere.csv"], group.out, "nowhere.jsonl is not there"),
                              ([group.folder / "empty.csv"], group.out, "holds no grades"),
                              ([one], one, "is one of the parts"), ([one], "x.txt", "must end in .csv")):
        with pytest.raises(CourseError, match=words):
            merged(group, parts, out)


def test_damage_in_a_part_is_said(group):
    one = part(group, 1, 1)[1]
    with one.with_suffix(".jsonl").open("ab") as lines:
        lines.write(b'{"kind": "res')
    code, _, complained = merged(group, [one])
    assert code == 1 and "1 damaged line" in complained and len(group.rows()) == 22
    assert one.with_suffix(".jsonl").read_bytes().endswith(b'{"kind": "res')  # a part is only read


# --- Dask ------------------------------------------------------------------------------------------------------------

def test_dask_without_its_package_is_one_sentence(group, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(CourseError, match=re.escape("pip install 'frugal-ai-lab[cluster]'")):
        group.run(dask="tcp://127.0.0.1:1")


def test_a_scheduler_that_does_not_answer_is_one_sentence():
    """And leaves no Client: the finalizer of one that was never closed holds up the next, for good or for ten seconds."""
    import distributed

    gc.collect()
    before = [each for each in gc.get_objects() if isinstance(each, distributed.Client)]
    for address in ("tcp://127.0.0.1:9", "nonsense://x", "tcp://"):
        with pytest.raises(CourseError, match="no Dask scheduler answers at"), cluster.dask(
                address, fake_engine.environment, answer=0.5):
            pass
    clients = [each for each in gc.get_objects() if isinstance(each, distributed.Client)]
    assert len(clients) == len(before)


@pytest.fixture
def dask_cluster(monkeypatch):
    import dask
    import distributed

    monkeypatch.setattr(cluster, "PATIENCE", 15)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (Path(__file__).parent, Path(__file__).parents[1]))))
    with dask.config.set({"distributed.scheduler.allowed-failures": 1}), distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=50) as made:
        yield made


@pytest.mark.slow
def test_a_real_dask_cluster_gives_the_same_grades(group, dask_cluster, monkeypatch):
    group.hand_in("lou", f"once {group.folder / 'mark'} right")
    group.hand_in("max", "fail")
    alone = group.folder / "alone.csv"
    assert group.run(exercises=None, out=alone, seed=5)[0] == 1
    (group.folder / "mark").unlink()
    address = dask_cluster.scheduler_address
    code, _, complained = group.run(exercises=None, seed=5, dask=address)
    assert code == 1 and "max, 01_one: the grader failed on it (RuntimeError: no kernel at all)" in complained
    assert group.out.read_bytes() == alone.read_bytes()
    monkeypatch.setattr(fake_engine, "environment", fake_engine.elsewhere)
    with pytest.raises(CourseError, match="has other versions"):
        group.run(exercises=None, seed=5, dask=address)


@pytest.mark.slow
def test_a_job_that_kills_its_dask_worker_is_a_row_like_any_other(group, dask_cluster):
    """Should it kill the workers while they start, Dask gives them up: then others are lost, and said, with it."""
    group.hand_in("max", "exit")
    code, _, complained = group.run(seed=5, dask=dask_cluster.scheduler_address)
    status = {who: row["status"] for (who, _), row in group.rows().items()}
    failed = sorted(who for who in status if status[who] == "failed")
    assert code == 1 and len(status) == 12 and "max" in failed and "max, 01_one: the grader failed on it" in complained
    assert "graded" in status.values()
    group.hand_in("max", "right without that")
    assert group.run(seed=5)[0] == 0 and sorted(group.graded) == failed


@pytest.mark.slow
def test_a_lost_cluster_ends_the_run_and_what_came_is_kept(group, dask_cluster):
    for number in range(40):
        group.hand_in(f"slow {number:02}", f"{f'wait {group.folder}/gate ' * (number > 9)}right on {number}")
    closer = threading.Thread(target=lambda: (wait_for_rows(group, 12), dask_cluster.close()))
    closer.start()
    code, _, complained = group.run(seed=5, dask=dask_cluster.scheduler_address)
    closer.join()
    status = {who: row["status"] for (who, _), row in group.rows().items()}
    failed = sorted(who for who in status if status[who] == "failed")
    assert code == 1 and len(status) == 51 and 30 <= len(failed) < 48
    assert "run the same command again" in complained
    (group.folder / "gate").touch()
    assert group.run(seed=5)[0] == 0 and sorted(group.graded) == failed
