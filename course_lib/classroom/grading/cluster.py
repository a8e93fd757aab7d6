"""Many submissions at once: on this machine, on any concurrent.futures.Executor, on Dask, or in shards.

A pool is an executor and what belongs to it. Grading is one pure function of a dict of JSON types, so every kind of
executor will do; nothing here is a scheduler.
"""

import asyncio
import math
import os
import re
import time
from collections import deque
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .. import CourseError

PER_CORE = 3  # a kernel mostly waits: jupyter_client sleeps half a second for every notebook
ANSWER = 10.0  # seconds that a Dask scheduler has to answer
PATIENCE = 60.0  # seconds that a cluster may be without any worker


@dataclass
class Pool:
    """An executor, how many jobs it may hold at once, and a question: is it still there? ("" or why not).

    `stall`: seconds without the end of any job after which it counts as lost.
    """

    executor: Any
    in_flight: int
    lost: Any = lambda: ""
    stall: float = math.inf


def run_jobs(jobs, pool, grade_one):
    """Yield (index, outcome) of every job as it ends: what grade_one returned, or the exception.

    Jobs are taken from their iterator one by one, at most `pool.in_flight` at a time; one that is an exception itself
    is handed on. When the executor breaks, or `pool.lost()` says why, every job left gets a BrokenExecutor.
    """
    jobs, running, gone = enumerate(jobs), {}, None
    failed, ended = deque(), time.monotonic()
    try:
        while True:
            while len(running) < pool.in_flight and gone is None:
                index, job = next(jobs, (None, None))
                if index is None:
                    break
                if isinstance(job, Exception):
                    failed.append((index, job))
                    break
                try:
                    running[pool.executor.submit(grade_one, job)] = index
                except Exception as error:  # noqa: BLE001 - whatever a kind of executor says when it is no more
                    failed.append((index, error))
                    gone = BrokenExecutor(_line(error))
            yield from (failed.popleft() for _ in range(len(failed)))
            if gone is not None and not running:
                yield from ((index, gone) for index, _ in jobs)
                return
            if not running:
                if index is None:
                    return
                continue
            done, _ = wait(running, timeout=1.0, return_when=FIRST_COMPLETED)
            still = time.monotonic() - ended
            if done:
                ended = time.monotonic()
            elif why := pool.lost() or f"no job ended for {still:.0f} s" * (still > pool.stall):
                gone = BrokenExecutor(why)
                for future, number in running.items():
                    future.cancel()
                    yield number, gone
                running.clear()
            for future in done:
                yield running.pop(future), _outcome(future)
    finally:
        for future in running:
            future.cancel()


def _outcome(future):
    try:
        return future.result()
    except Exception as error:  # noqa: BLE001 - a job's failure is a row, not the end
        return error
    except BaseException as error:  # noqa: BLE001 - cancelled, or a SystemExit in a worker
        return RuntimeError(_line(error))


def _line(error):
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def cores():
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def local(workers=None):
    """A Pool of threads on this machine; each hands its job to a process and waits."""
    workers = workers or PER_CORE * cores()
    executor = ThreadPoolExecutor(workers, thread_name_prefix="grade")
    try:
        yield Pool(executor, 2 * workers)
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


@contextmanager
def dask(address, environment, *, stall=math.inf, answer=ANSWER):
    """A Pool of the workers of a Dask cluster. `environment`: engine.environment, asked here and on every worker.

    Raises CourseError where distributed is not installed, nobody answers, or a worker has other versions.
    """
    try:
        import distributed
    except ImportError:
        raise CourseError("--dask needs the package distributed: type  pip install 'frugal-ai-lab[cluster]'") from None
    try:
        asyncio.run(_reach(address, answer))
        client = distributed.Client(address, timeout=answer, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise CourseError(f"no Dask scheduler answers at {address} within {answer:g} s ({_line(error)}): start one "
                          "with  dask scheduler  and give the address it prints") from None
    try:
        _same_everywhere(client, address, environment, answer)
        threads = sum(client.nthreads().values()) or 1  # a cluster may be growing yet
        yield Pool(client.get_executor(pure=False), 4 * threads, _watch(client, PATIENCE), stall)
    finally:
        client.close(timeout=2)


async def _reach(address, answer):
    """Connect and hang up; raises what connecting raises.

    A Client that fails for such a reason is never closed. Its finalizer, in whatever thread the garbage is collected,
    waits for a lock that distributed also holds while the thread of a new loop begins: ten seconds, then an assertion.
    """
    from distributed.comm import connect

    await (await connect(address, timeout=answer)).close()


def _same_everywhere(client, address, environment, answer):
    try:
        client.wait_for_workers(1, timeout=answer)
        others = client.run(environment)
    except TimeoutError:
        raise CourseError(f"the Dask scheduler at {address} has no worker: start some with  dask worker {address}"
                          ) from None
    except Exception as error:  # noqa: BLE001 - mostly: the worker has no course_lib
        raise CourseError(f"the Dask workers cannot run this course ({_line(error)}): install the same version of it "
                          "there") from None
    mine = environment()
    for worker, theirs in sorted(others.items()):
        names = sorted(name for name in {*mine, *theirs} if mine.get(name) != theirs.get(name))
        if names:
            told = ", ".join(f"{name} {theirs.get(name)} there and {mine.get(name)} here" for name in names)
            raise CourseError(f"the Dask worker {worker} has other versions ({told}), so its grades could differ: "
                              "install the same there")


def _watch(client, patience):
    """A function that says why the cluster is gone, or "": no scheduler, or no worker for `patience` seconds."""
    alone = None  # since when

    def workers():
        try:
            return client.nthreads()
        except Exception:  # noqa: BLE001 - nobody answers: nobody is there
            return {}

    def lost():
        nonlocal alone
        if client.status != "running":
            return "the Dask scheduler is gone"
        if workers():
            alone = None
            return ""
        alone = alone or time.monotonic()
        return "" if time.monotonic() - alone < patience else f"the Dask cluster had no worker for {patience:g} s"

    return lost


def shard(text):
    """"2/5" as (2, 5); ValueError with a sentence where it is not such a pair."""
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip())
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise ValueError(f"{text!r} is not a shard: write 2/5 for the second of five")
    return int(found[1]), int(found[2])
