"""Models for the servers of test_serving.py: their processes import this module by name."""

import os
import signal
import sys
import time


def double(x):
    return 2 * x


def slow(x):
    """As many seconds as the first number says."""
    time.sleep(float(x[0, 0]))
    return x


def talkative(x):
    print("more than a pipe holds " * 5000)
    return x


inside = 0


def alone(x):
    """How many were here meanwhile, this call included."""
    global inside
    inside += 1
    time.sleep(0.02)
    most, inside = inside, inside - 1
    return [most] * len(x)


def useless(x):
    """Fails as the first number says: 0, an answer that is no number; 1, an error; 2, its process ends."""
    if x[0, 0] == 0:
        return [[float("nan")]]
    if x[0, 0] == 1:
        raise RuntimeError("two\n\nlines")
    os.kill(os.getpid(), signal.SIGKILL)
    return None


if where := os.environ.get("SERVED_SLOW_IMPORT"):  # a model that takes its time to load, and says who loads it
    with open(where + ".part", "w", encoding="utf-8") as file:
        file.write(str(os.getpid()))
    os.replace(where + ".part", where)
    time.sleep(60)
    sys.exit("nobody stopped it")
