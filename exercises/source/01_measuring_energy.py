# ---
# jupyter:
#   course:
#     difficulty: 2
#     exercise: "01"
#     lesson: "01"
#     minutes: 40
#     title: Measuring energy
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Exercise 01: measuring energy
#
# **Difficulty** 2 of 5. **About** 40 minutes. **Points** 15. **After** lesson 01.
#
# You write five small functions that every energy measurement needs. Under each one, a check cell shows a value, and
# the value that it should show is already there. Your answer goes where `YOUR CODE HERE` stands.
#
# - `check("...")` says in words whether your answer is right.
# - `hint("...")` gives a hint. Ask again for a stronger one.
# - Some points are given by checks that you do not see. They use other numbers, so write the rule, not the result.

# %% tags=["setup"]
import importlib.util, sys
if importlib.util.find_spec("course_lib") is None:
    sys.exit("course_lib is missing: in the course folder type  make lab  or  pip install .")

# %%
import math
import random
import statistics

from scipy import stats

from course_lib.selfcheck import check, grading_seed, hint, rounded

# %% [markdown]
# ## Count the operations
#
# A matrix with `n` rows and `k` columns is multiplied by one with `k` rows and `m` columns. How many FLOPs is that?
# One multiplication is one FLOP, one addition is another.
#
# *If you see* `TypeError: ... positional arguments`: the function takes three numbers, `n`, `k` and `m`.

# %% nbgrader={"grade_id": "ex01_flops", "solution": true}
def matmul_flops(n, k, m):
    """FLOPs of the product of an (n, k) matrix and a (k, m) matrix."""
    ### BEGIN SOLUTION
    return 2 * n * k * m
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex01_flops_shown", "grade": true, "points": 1}
rounded(square=int(matmul_flops(512, 512, 512)), one_row=int(matmul_flops(1, 512, 256)))

# %% [markdown] tags=["hints"]
# - How many entries does the result have, and what happens for each of them?
# - The result has `n * m` entries. Each one is a sum of `k` products.
# - Each entry takes `k` multiplications and `k` additions: twice `k` FLOPs, for each of `n * m` entries.

# %%
check("ex01_flops_shown")

# %% nbgrader={"grade_id": "ex01_flops_unseen", "grade": true, "points": 2} tags=["hidden"]
rng = random.Random(grading_seed(101))
rounded([int(matmul_flops(rng.randint(2, 99), rng.randint(100, 199), rng.randint(200, 299))) for _ in range(4)])

# %% [markdown] tags=["hints"]
# - Try a product of matrices that are not square, and count by hand.

# %% [markdown]
# ## A mean with an interval
#
# You measured the same thing several times. Give the mean, and the half-width of its 95 % interval by Student's t:
#
# $$ t_{0.975,\,n-1} \cdot \frac{s}{\sqrt{n}} $$
#
# where $s$ is the standard deviation of the *sample*. `stats.t.ppf(0.975, n - 1)` gives $t$.
#
# *If you see* `StatisticsError: variance requires at least two data points`: one value has no spread.

# %% nbgrader={"grade_id": "ex01_interval", "solution": true}
def mean_and_half_width(values):
    """(mean, half-width of the 95 % t-interval of the mean) of a list of at least two numbers."""
    ### BEGIN SOLUTION
    n = len(values)
    return statistics.fmean(values), stats.t.ppf(0.975, n - 1) * statistics.stdev(values) / math.sqrt(n)
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex01_interval_shown", "grade": true, "points": 1}
rounded([float(x) for x in mean_and_half_width([10.0, 12.0, 11.0, 13.0, 9.0])])

# %% [markdown] tags=["hints"]
# - Which standard deviation divides by `n - 1`: `statistics.pstdev` or `statistics.stdev`?
# - Where does the number of repeats come in? More repeats must give a narrower interval.
# - `stats.t.ppf(0.975, n - 1) * statistics.stdev(values) / math.sqrt(n)` is the half-width.

# %%
check("ex01_interval_shown")

# %% nbgrader={"grade_id": "ex01_interval_unseen", "grade": true, "points": 2} tags=["hidden"]
rng = random.Random(grading_seed(102))
samples = [[rng.gauss(50, 8) for _ in range(n)] for n in (3, 7, 20)]
rounded([[float(x) for x in mean_and_half_width(s)] for s in samples])

# %% [markdown] tags=["hints"]
# - Try lists of different lengths. The factor of t depends on the length.

# %% [markdown]
# ## Energy from a power reading
#
# Some chips only tell their *power*. So one reads it every `dt` seconds and adds up: between two readings, take the
# average of both. (That is the trapezoid rule, and such a joule is labelled *sampled*.)

# %% nbgrader={"grade_id": "ex01_sampled", "solution": true}
def sampled_joules(watts, dt):
    """Energy in joules from power readings in watts, taken every dt seconds, by the trapezoid rule."""
    ### BEGIN SOLUTION
    return sum((a + b) / 2 * dt for a, b in zip(watts, watts[1:]))
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex01_sampled_shown", "grade": true, "points": 1}
rounded(constant=float(sampled_joules([30.0, 30.0, 30.0], 0.5)),
        rising=float(sampled_joules([0.0, 10.0, 40.0], 2.0)))

# %% [markdown] tags=["hints"]
# - Three readings, each half a second apart: how much time lies between the first and the last?
# - Go over neighbouring pairs: `zip(watts, watts[1:])`.
# - Each pair adds `(a + b) / 2 * dt` joules.

# %%
check("ex01_sampled_shown")

# %% nbgrader={"grade_id": "ex01_sampled_unseen", "grade": true, "points": 2} tags=["hidden"]
rng = random.Random(grading_seed(103))
readings = [[rng.uniform(5, 300) for _ in range(n)] for n in (2, 5, 12)]
rounded([float(sampled_joules(w, dt)) for w, dt in zip(readings, (0.1, 1.0, 3.0))])

# %% [markdown] tags=["hints"]
# - Try a power that changes much from one reading to the next, and a step `dt` that is not one.

# %% [markdown]
# ## A counter that starts again
#
# An energy counter counts microjoules. Its highest value is `top`; the next step takes it back to zero. Give the joules
# between two readings. You may assume that it started again at most once.

# %% nbgrader={"grade_id": "ex01_counter", "solution": true}
def counter_joules(before, after, top):
    """Joules between two counter readings in microjoules; the counter runs from 0 to top, then again from 0."""
    ### BEGIN SOLUTION
    counted = after - before
    if counted < 0:
        counted += top + 1
    return counted / 1e6
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex01_counter_shown", "grade": true, "points": 1}
rounded(plain=float(counter_joules(2_000_000, 5_500_000, 9_999_999)),
        again=float(counter_joules(9_000_000, 1_000_000, 9_999_999)))

# %% [markdown] tags=["hints"]
# - What does `after - before` give when the counter started again? Can an energy be negative?
# - From `before` up to `top` it counted `top - before`. One more step took it to zero. Then it counted `after`.
# - When the difference is negative, add `top + 1`. Then divide by a million.

# %%
check("ex01_counter_shown")

# %% nbgrader={"grade_id": "ex01_counter_unseen", "grade": true, "points": 2} tags=["hidden"]
rng = random.Random(grading_seed(104))
tops = [rng.randint(500_000, 900_000) for _ in range(3)]
rounded([float(counter_joules(top - rng.randint(1, 9), rng.randint(0, 9), top)) for top in tops]
        + [float(counter_joules(rng.randint(0, 10**6), rng.randint(10**7, 10**8), 10**9)) for _ in range(3)])

# %% [markdown] tags=["hints"]
# - Count by hand with a tiny counter, from 0 to 9: it stands at 8, and then at 1. How many steps?

# %% [markdown]
# ## A verdict with a margin
#
# You compared program A with program B. The cost of A over the cost of B has a 95 % interval from `low` to `high`.
# Differences up to `margin` are not claimed. Answer with one of three strings:
#
# - `"a lower"`: the whole interval lies below `1 / (1 + margin)`;
# - `"b lower"`: the whole interval lies above `1 + margin`;
# - `"not distinguishable"` otherwise.
#
# (Why not `1 - margin`? Swap the two programs: the interval turns upside down, and the answer must turn with it.)

# %% nbgrader={"grade_id": "ex01_verdict", "solution": true}
def three_way(low, high, margin):
    """"a lower", "b lower" or "not distinguishable", for the interval of cost(a) / cost(b)."""
    ### BEGIN SOLUTION
    if high < 1 / (1 + margin):
        return "a lower"
    if low > 1 + margin:
        return "b lower"
    return "not distinguishable"
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex01_verdict_shown", "grade": true, "points": 1}
rounded(three_way(0.80, 0.90, 0.05), three_way(0.90, 0.98, 0.05), three_way(1.10, 1.30, 0.05))

# %% [markdown] tags=["hints"]
# - Which end of the interval decides whether *all* of it lies below a line?
# - All of it lies below a line when its *upper* end does.
# - `high < 1 / (1 + margin)` gives "a lower"; `low > 1 + margin` gives "b lower".

# %%
check("ex01_verdict_shown")

# %% nbgrader={"grade_id": "ex01_verdict_unseen", "grade": true, "points": 2} tags=["hidden"]
rng = random.Random(grading_seed(105))
cases = [(c - h, c + h, m) for c in (0.7, 0.93, 0.99, 1.02, 1.09, 1.4) for h, m in
         ((rng.uniform(0.005, 0.03), 0.05), (rng.uniform(0.05, 0.2), 0.1), (rng.uniform(0.31, 0.6), 0.02))]
edges = [(0.5, (1 - m + 1 / (1 + m)) / 2, m) for m in (0.05, 0.1, 0.3)]
rounded([three_way(*case) for case in cases + edges])

# %% [markdown] tags=["hints"]
# - Try intervals that reach into the margin from one side, and one that covers everything.

# %% [markdown]
# ## Done?
#
# Save the notebook. To run all the checks that you see at once, type in the course folder:
#
# ```
# .venv/bin/course check exercises/01_measuring_energy.ipynb
# ```
#
# They give a third of the points. The others come from checks with other numbers.
