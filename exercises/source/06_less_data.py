# ---
# jupyter:
#   course:
#     difficulty: 4
#     exercise: "06"
#     lesson: "06"
#     minutes: 55
#     title: Less data
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Exercise 06: less data
#
# **Difficulty** 4 of 5. **About** 55 minutes. **Points** 18. **After** lesson 06.
#
# How many labels does a task need, and which ones? You fit a learning curve and read it only as far as it may be read.
# You choose the images to label, compare a specialist with a generalist, stop a training early, and share the work of
# a base model. Your answer goes where `YOUR CODE HERE` stands.
#
# - `check("...")` says in words whether your answer is right.
# - `hint("...")` gives a hint. Ask again for a stronger one.
# - Some points are given by checks that you do not see. They use other numbers, so write the rule, not the result.
#
# Errors and accuracies are shares: 0.05 is 5 %. All arrays and tensors of floats are float64.

# %% tags=["setup"]
import importlib.util, sys
if importlib.util.find_spec("course_lib") is None:
    sys.exit("course_lib is missing: in the course folder type  make lab  or  pip install .")

# %%
import math
import operator
import random

import numpy as np
import torch

from course_lib.facts import fact
from course_lib.selfcheck import check, grading_seed, hint, rounded

# %% [markdown]
# ## Fit the learning curve
#
# You trained with several numbers of labels, and measured an error each time. Often the errors lie near a power law:
#
# $$ \text{error} = a \cdot n^{-b} $$
#
# Find `a` and `b`. Use least squares, on the **logarithms**: draw the logarithm of the error over the logarithm of n,
# and take the straight line with the smallest sum of squared vertical distances. The error falls, and `b` says how fast:
# it is positive. (The check shows three decimals.)
#
# *If you see* `TypeError: only ... arrays can be converted to Python scalars`: `math.log` takes one number, `np.log` a
# whole array.
#
# *If your b is negative:* it is the slope of the line. What is asked for is how fast the error *falls*.

# %% nbgrader={"grade_id": "ex06_fit", "solution": true}
def power_law(sizes, errors):
    """(a, b) of error = a * n ** -b, from two float64 arrays of the same length: numbers of labels, and errors."""
    ### BEGIN SOLUTION
    slope, height = np.polyfit(np.log(sizes), np.log(errors), 1)
    return math.exp(height), -slope
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex06_fit_shown", "grade": true, "points": 1}
sizes = np.array([10.0, 20.0, 40.0, 80.0, 160.0])
rounded(measured=[round(float(x), 3) for x in power_law(sizes, np.array([0.41, 0.19, 0.13, 0.071, 0.049]))],
        exact=[round(float(x), 3) for x in power_law(np.array([16.0, 64.0, 256.0]), np.array([0.5, 0.25, 0.125]))])

# %% [markdown] tags=["hints"]
# - Take the logarithm of both sides of the power law. What do you see when log error is drawn over log n?
# - log error = log a - b · log n: a straight line. Its slope is -b, and its height at log n = 0 is log a.
# - `np.polyfit(x, y, 1)` gives the slope and the height of the line, slope first. What is `x` here, and what is `y`?
# - `x` is `np.log(sizes)`, `y` is `np.log(errors)`. Then `b` is minus the slope, and `a` is `math.exp` of the height.

# %%
check("ex06_fit_shown")

# %% nbgrader={"grade_id": "ex06_fit_unseen", "grade": true, "points": 2} tags=["hidden"]
rng = random.Random(grading_seed(601))
answers = []
for points in (4, 5, 7):
    a, b, first = rng.uniform(0.6, 1.3), rng.uniform(0.35, 0.9), rng.uniform(8, 15)
    here = np.array([float(int(first * 2**i * rng.uniform(1, 1.5))) for i in range(points)])
    noise = np.array([math.exp(rng.gauss(0, 0.1)) for _ in range(points)])
    answers.append([round(float(x), 3) for x in power_law(here, a * here**-b * noise)])
rounded(*answers)

# %% [markdown] tags=["hints"]
# - Make errors from an `a` and a `b` of your own. Does your fit find both again? And with another number of points?

# %% [markdown]
# ## What the next doubling buys
#
# Now `a` and `b` are known. `sizes` lists the numbers of labels that were measured, rising. Give two forecasts:
#
# 1. the error at **twice the last** measured size;
# 2. how many labels the error `target` needs: the smallest whole number of labels for which the curve's error is not
#    above `target`. (All labels count, also those that you have. Each target here is below the error at the first size.)
#
# Nobody has seen the curve past its last point. We trust it up to `reach` times the last size, that number included.
# A forecast that lies further out is no forecast: give `None` in its place. This holds for both.
#
# *If you see* `'float' object cannot be interpreted as an integer` (or `'numpy.float64' object ...`): `np.ceil` rounds up
# and gives a float, `math.ceil` gives a whole number.

# %% nbgrader={"grade_id": "ex06_doubling", "solution": true}
def forecast(a, b, sizes, target, reach):
    """(error at twice the last size or None, labels for `target` or None), read off error = a * n ** -b."""
    ### BEGIN SOLUTION
    end, double = reach * sizes[-1], 2 * sizes[-1]
    labels = math.ceil((a / target) ** (1 / b))
    return a * double**-b if double <= end else None, labels if labels <= end else None
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex06_doubling_shown", "grade": true, "points": 1}
def in_plain(error, labels):
    return [None if error is None else float(error), None if labels is None else operator.index(labels)]

measured = [20, 40, 80, 160]
rounded(near=in_plain(*forecast(2.0, 0.7, measured, 0.04, 4)), far=in_plain(*forecast(2.0, 0.7, measured, 0.01, 4)),
        careful=in_plain(*forecast(2.0, 0.7, measured, 0.06, 1.5)))

# %% [markdown] tags=["hints"]
# - Which is the last measured size, and what does the formula give at twice that size?
# - For the labels, turn the formula round: at which n is `a * n ** -b` equal to `target`? Is the next whole number below
#   or above it good enough?
# - `n = (a / target) ** (1 / b)`, and `math.ceil` rounds up: one label fewer would leave the error above the target.
# - The curve may be read up to `reach * sizes[-1]`. Compare that end with *both* places, `2 * sizes[-1]` and the number
#   of labels. A forecast further out than the end becomes `None`.

# %%
check("ex06_doubling_shown")

# %% nbgrader={"grade_id": "ex06_doubling_unseen", "grade": true, "points": 2} tags=["hidden"]
rng = random.Random(grading_seed(602))
answers = []
for reach, where in ((4, 0.9), (3, 0.6), (3, 1.3), (1.5, 0.8), (1.5, 0.95), (2, 1.0), (4, 0.15), (2.5, 1.1)):
    a, b = rng.uniform(0.6, 2.5), rng.uniform(0.35, 0.9)
    some = [4 * n for n in sorted(rng.sample(range(5, 12), 2)) + sorted(rng.sample(range(30, 90), 2))]
    wanted = int(where * reach * some[-1]) - rng.uniform(0.55, 0.9)
    error, labels = forecast(a, b, some, a * wanted**-b, reach)
    answers.append([None if error is None else float(error), None if labels is None else operator.index(labels)])
rounded(*answers)

# %% [markdown] tags=["hints"]
# - Put your number of labels, and one label fewer, into the formula. On which side of the target does each lie?
# - Try a `reach` of 2, of less than 2, and a target just inside and just outside what may be read.

# %% [markdown]
# ## Choose what to label
#
# There are many images, and money for a few labels. k-means has put `k` centres among the images; it needed no label. Now
# buy a label for the image nearest to each centre. (The lesson looked inside each group. Here the centres have no groups.)
#
# - The centres choose one after another, in their order. Each takes the nearest image that may be taken: Euclidean
#   distance, over all `d` numbers of an image. (No two are equally near here.)
# - Only the rows in `pool` may be taken: those are the training images. All other rows are test images. A test image that
#   was learned from can test nothing any more.
# - No image is taken twice: that would pay for one label two times. A centre whose nearest image is gone takes the next
#   nearest.
# - `ask(row)` is the person who labels: it gives the label of one row. Ask for the chosen rows only, and once for each. The
#   check counts every call.
#
# *If you see* `The size of tensor a ... must match the size of tensor b`: subtract one centre at a time, as in
# `images - centres[0]`.
#
# *If your rows are too small:* in `images[pool]` the rows are counted from 0 again. Its row 2 is row `pool[2]` of
# `images`.

# %% nbgrader={"grade_id": "ex06_choose", "solution": true}
def choose(images, centres, pool, ask):
    """(rows, labels): k row numbers of images [n, d], in the order of centres [k, d], and the label of each."""
    ### BEGIN SOLUTION
    left, rows = list(pool), []
    for centre in centres:
        distances = (images[left] - centre).square().sum(dim=1)
        rows.append(left.pop(int(distances.argmin())))
    return rows, [ask(row) for row in rows]
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex06_choose_shown", "grade": true, "points": 1}
images = torch.tensor([[1.0, 1.0], [7.7, 1.9], [1.5, 2.0], [6.0, 2.0], [0.0, 3.5], [6.5, 0.5], [3.0, 2.5], [9.0, 9.0]],
                      dtype=torch.float64)
centres, asked = torch.tensor([[1.0, 1.2], [1.4, 2.2], [6.0, 1.9]], dtype=torch.float64), []

def ask(row):
    asked.append(int(row))
    return "88333388"[int(row)]

rows, labels = choose(images, centres, [1, 2, 4, 5, 6, 7], ask)  # the rows 0 and 3 are test images
rounded(rows=[int(row) for row in rows], labels=list(labels), labels_paid=len(asked))

# %% [markdown] tags=["hints"]
# - For one centre: which rows may it still take? Keep a list of them. What has to happen to that list once a row is
#   chosen?
# - `images[left] - centre` has one row of differences for each row that is left. To get one distance for each row, over
#   which dimension do you add up the squares?
# - `(images[left] - centre).square().sum(dim=1).argmin()` is a place in `left`. The row number stands at that place.
# - Start with `left = list(pool)`. For each centre, `left.pop(place)` gives the row number and takes it out of the list.
#   At the very end, call `ask` once for each chosen row.

# %%
check("ex06_choose_shown")

# %% nbgrader={"grade_id": "ex06_choose_unseen", "grade": true, "points": 2} tags=["hidden"]
rng, answers = random.Random(grading_seed(603)), []
for n, d, k in ((40, 4, 6), (33, 3, 5)):
    generator = torch.Generator().manual_seed(rng.randrange(2**31))
    points, middles = (4 * torch.randn(m, d, generator=generator, dtype=torch.float64) for m in (n, k))
    middles[1] = middles[0] + 0.3 * torch.randn(d, generator=generator, dtype=torch.float64)
    middles[3] = middles[2] + 0.3 * torch.randn(d, generator=generator, dtype=torch.float64)
    inside = sorted(rng.sample(range(n), n - k - 3))
    for i, row in enumerate(rng.sample(sorted(set(range(n)) - set(inside)), k)):
        points[row] = middles[i] + 0.1 * torch.randn(d, generator=generator, dtype=torch.float64)
    both, other, straight, slanted = rng.sample(inside, 4)
    points[both] = 0.3 * middles[0] + 0.7 * middles[1]  # nearest to two centres, and nearer to the second one
    points[other] = 0.7 * middles[2] + 0.3 * middles[3]
    points[straight], points[slanted] = middles[-1], middles[-1] + 0.45
    points[straight, 0] += 0.9 if d == 3 else 1.0
    truth, calls = [rng.randrange(4) for _ in range(n)], []

    def answer(row, truth=truth, calls=calls):
        calls.append(int(row))
        return truth[int(row)]

    taken, told = choose(points, middles, inside, answer)
    answers += [[int(row) for row in taken], [int(label) for label in told], len(calls)]
rounded(*answers)

# %% [markdown] tags=["hints"]
# - Put a test image right onto a centre, and two centres close together. Do the rows stay inside `pool`, each once?

# %% [markdown]
# ## Specialist and generalist
#
# With two digits that are equally frequent, guessing is right half of the time; with ten, once in ten times. So their accuracies
# cannot be compared as they are. **Chance** is the accuracy of whoever always names the class that is most frequent in
# the test set. (With n classes that are equally frequent that is 1/n.) Correct for it:
#
# $$ \text{corrected} = \frac{\text{accuracy} - \text{chance}}{1 - \text{chance}} $$
#
# This is 0 at chance and 1 when all is right. Below chance it is negative, and stays so.
#
# `counts` lists the test images of each class. `curve` lists `(labels, accuracy)` of one reader, labels rising. Give the
# list of its corrected accuracies; and **labels per class** at the *first* point whose corrected accuracy is at least
# `level`, or `None` if there is none. Labels are shared equally by the classes. Do not round. (The lesson's classes were
# equal, and it read between the points. Here take a measured point.)
#
# The check has a specialist for a pair of digits and a generalist for all ten. In all, the specialist reaches the level
# with ten times fewer labels. What of this is left per class?
#
# *If you see* `TypeError: unsupported operand type(s) for -: 'tuple' and 'float'`: a point of `curve` is a pair.
# `for labels, accuracy in curve` takes it apart.

# %% nbgrader={"grade_id": "ex06_chance", "solution": true}
def compared(counts, curve, level):
    """(corrected accuracies of all points, labels per class at the first that reaches `level`, or None)."""
    ### BEGIN SOLUTION
    chance = max(counts) / sum(counts)
    corrected = [(accuracy - chance) / (1 - chance) for _, accuracy in curve]
    enough = [labels for (labels, _), value in zip(curve, corrected) if value >= level]
    return corrected, enough[0] / len(counts) if enough else None
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex06_chance_shown", "grade": true, "points": 1}
pair = compared([36, 35], [(2, 0.86), (4, 0.92), (10, 0.97), (20, 0.96)], 0.9)
ten = compared([36, 36, 35, 37, 36, 37, 36, 36, 35, 36], [(10, 0.61), (50, 0.88), (100, 0.93), (200, 0.95)], 0.9)
rare = compared([95, 5], [(10, 0.9), (40, 0.96)], 0.9)
rounded(pair=[float(x) for x in pair[0]], ten=[float(x) for x in ten[0]], rare=[float(x) for x in rare[0]],
        labels_per_class=[None if n is None else float(n) for n in (pair[1], ten[1], rare[1])])

# %% [markdown] tags=["hints"]
# - A test set has 95 images of one class and 5 of another. What accuracy does a reader get who never looks at an image?
# - Chance is the largest of the counts, divided by the sum of all.
# - Correct *all* accuracies first. Then go over the points in their order, and stop at the first one whose corrected
#   accuracy, not the plain one, is at least `level`.
# - Labels per class are the `labels` of that point divided by `len(counts)`. Start with `None`, for a curve that never
#   gets there.

# %%
check("ex06_chance_shown")

# %% nbgrader={"grade_id": "ex06_chance_unseen", "grade": true, "points": 2} tags=["hidden"]
rng = random.Random(grading_seed(604))
answers = []
for classes, level in ((2, 0.8), (3, 0.75), (7, 0.7), (4, 0.999)):
    images_of = [rng.randint(25, 60) for _ in range(classes)]
    images_of[rng.randrange(1, classes)] = rng.randint(65, 90)
    start = max(images_of) / sum(images_of) - rng.uniform(0.02, 0.1)
    spread = sorted(rng.sample([n for n in range(classes, 300) if n % classes], 13))
    some = [(n, start + (0.98 - start) * i / 12 + rng.uniform(-0.005, 0.005)) for i, n in enumerate(spread)]
    some[-1] = spread[-1], some[4][1]  # the longest training is not the best
    values, labels = compared(images_of, some, level)
    answers += [[float(x) for x in values], None if labels is None else float(labels)]
rounded(*answers)

# %% [markdown] tags=["hints"]
# - Try classes of unequal size, an accuracy below chance, and a curve whose last point is worse than the one before.

# %% [markdown]
# ## When to stop
#
# `accuracies` lists the validation accuracy after each epoch of a long training. The first one is epoch **1**. Where
# would the training have stopped, with the rules of `train` from `course_lib.training`?
#
# - With a `target`: after the first epoch whose accuracy is at least `target`. Its weights are kept.
# - With a `patience`: after `patience` epochs in a row without a new best accuracy. The weights of the best epoch are
#   kept. An accuracy equal to the best is no new best: the earlier epoch stays the best.
# - With both: whichever comes first. With neither, or where nothing stops it: after the last epoch. Then the last weights
#   are kept, or, with a `patience`, the best ones.
#
# A training that stops knows nothing of later epochs. Give three things: how many epochs ran, the epoch whose weights are
# kept, and the share of all epochs' work that was saved (0.25 when a quarter was).
#
# *If you see* `'>=' not supported between instances of ... and 'NoneType'`: no target, or no patience, was set. Ask
# `target is not None` first. (`return` is not what is missing here.)

# %% nbgrader={"grade_id": "ex06_stop", "solution": true}
def stopped(accuracies, target=None, patience=None):
    """(epochs run, epoch whose weights are kept, share of the work saved); epochs count from 1."""
    ### BEGIN SOLUTION
    best = 1
    for epoch, accuracy in enumerate(accuracies, 1):
        if accuracy > accuracies[best - 1]:
            best = epoch
        if target is not None and accuracy >= target or patience is not None and epoch - best >= patience:
            break
    return epoch, epoch if patience is None else best, 1 - epoch / len(accuracies)
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex06_stop_shown", "grade": true, "points": 1}
def in_order(epochs, kept, saved):
    return [operator.index(epochs), operator.index(kept), float(saved)]

long_run = [0.71, 0.80, 0.86, 0.84, 0.85, 0.91, 0.91, 0.90]
rounded(target=in_order(*stopped(long_run, target=0.86)), out_of_reach=in_order(*stopped(long_run, target=0.95)),
        patience=in_order(*stopped(long_run, patience=2)), more_patience=in_order(*stopped(long_run, patience=3)),
        both=in_order(*stopped(long_run, target=0.9, patience=2)))

# %% [markdown] tags=["hints"]
# - Go through the epochs one by one, as the training does. What do you have to remember from the epochs before?
# - Remember the best epoch so far. `enumerate(accuracies, 1)` counts the epochs from 1.
# - In each epoch, first see whether it is a new best (larger, not equal). Then stop if the target is met, or if
#   `epoch - best` has reached `patience`.
# - After the loop: `epoch` epochs ran. With a patience the best epoch is kept. Without one it is the last that ran, also
#   where the target was never met. Saved is 1 minus epochs run over all epochs.

# %%
check("ex06_stop_shown")

# %% nbgrader={"grade_id": "ex06_stop_unseen", "grade": true, "points": 2} tags=["hidden"]
rng = random.Random(grading_seed(605))
answers = []
for _ in range(2):
    rise = sorted(rng.sample(range(40, 70), rng.randint(3, 6)))
    flat = [rise[-1] - 4, rise[-1], rise[-1] - rng.randint(3, 6), rise[-1] - 2, rise[-1] - rng.randint(1, 2)]
    late = sorted(rng.sample(range(75, 95), rng.randint(2, 4)))
    run = [n / 100 for n in (*rise, *flat, *late, *(late[-1] - rng.randint(2, 5) for _ in range(3)))]
    cases = [{"target": rise[1] / 100}, {"target": late[0] / 100 - 0.005}, {"target": 0.97}, {"patience": 1},
             {"patience": 4}, {"patience": 5}, {"patience": 6}, {}, {"target": late[-1] / 100, "patience": 3},
             {"target": rise[2] / 100 - 0.001, "patience": 2}, {"target": late[-1] / 100, "patience": 7}]
    for case in cases:
        epochs, kept, saved = stopped(list(run), **case)
        answers.append([operator.index(epochs), operator.index(kept), float(saved)])
rounded(*answers)

# %% [markdown] tags=["hints"]
# - Try a best accuracy that is met again later, a patience of 1, a curve that rises once more after a long rest, and a
#   target that is never met.

# %% [markdown]
# ## What came before
#
# To train N parameters on D examples (images, or tokens of text) takes about 6 · N · D FLOPs for each epoch. Half the
# examples, or half the epochs: the work is the same. To the person who labels it is not.
#
# A base model is trained once (`upstream`), and each of `n_tasks` tasks then tunes a copy of it (`tuning`). Or each task
# trains a model of its own (`alone`). These three are tuples `(parameters, examples, epochs)`. All parameters are
# trained; in a sparse model, N counts the active ones. Give three things:
#
# 1. the FLOPs of one task on the base: its tuning, and its equal share of the upstream work;
# 2. the FLOPs of one task alone;
# 3. the smallest number of tasks from which a task on the base costs **less** than one alone (equal is not less), or
#    `None` if it never does.
#
# The lesson counted offices in labels. Here count FLOPs.
#
# The last case in the check has a real base model. How many tasks must share it?
#
# *If you see* `'float' object cannot be interpreted as an integer`: the number of tasks is a whole number. `int(...)`
# turns `3.0` into `3`.
#
# *If your number of tasks is negative, or 0:* where the tuning alone costs more than the whole other model, no number of
# tasks will do.

# %% nbgrader={"grade_id": "ex06_upstream", "solution": true}
def shared(upstream, tuning, alone, n_tasks):
    """(FLOPs of a task on the base, FLOPs of a task alone, tasks from which the base costs less, or None)."""
    ### BEGIN SOLUTION
    base, tuned, own = (6 * parameters * examples * epochs for parameters, examples, epochs in (upstream, tuning, alone))
    return base / n_tasks + tuned, own, int(base // (own - tuned)) + 1 if own > tuned else None
    ### END SOLUTION

# %% nbgrader={"grade_id": "ex06_upstream_shown", "grade": true, "points": 1}
def as_numbers(on_base, alone, tasks):
    return [float(on_base), float(alone), None if tasks is None else operator.index(tasks)]

half_data, half_epochs = (5_000, 400, 20), (5_000, 800, 10)  # both are half of 800 examples, 20 epochs
# Published: the active parameters of DeepSeek-V3, and the tokens it was trained on. The other two trainings are made up.
large = fact("moe_dsv3_active").value * 1e9, fact("tr_dsv3_tokens").value * 1e12, 1
rounded(half_data=as_numbers(*shared((9_000, 1_000, 30), (9_000, 50, 10), half_data, 5)),
        half_epochs=as_numbers(*shared((9_000, 1_000, 30), (9_000, 50, 10), half_epochs, 5)),
        never=as_numbers(*shared((9_000, 1_000, 30), (9_000, 50, 100), half_data, 5)),
        large_base=as_numbers(*shared(large, (large[0], 5e6, 2), (1e9, 20e9, 1), 100)))

# %% [markdown] tags=["hints"]
# - Which of the three trainings is paid once for all tasks, and which once for each task?
# - Each training takes `6 * parameters * examples * epochs`. A task on the base pays its tuning, and the upstream work
#   divided by `n_tasks`.
# - With t tasks the base costs less when `base / t + tuned < own`. Which t makes both sides equal? If that t is a whole
#   number, is it enough?
# - Both sides are equal at t = `base / (own - tuned)`. The first whole number above it is the floor, plus 1. If `own` is
#   not larger than `tuned`, there is no such t.

# %%
check("ex06_upstream_shown")

# %% nbgrader={"grade_id": "ex06_upstream_unseen", "grade": true, "points": 2} tags=["hidden"]
rng = random.Random(grading_seed(606))
answers = []
for kind in ("less", "less", "equal", "equal", "never", "never"):
    large, small = rng.randint(3_000, 9_000), rng.randint(1_000, 2_900)
    tuning = large, rng.randint(20, 60), rng.randint(3, 9)
    alone = (large if kind == "equal" else small), rng.randint(2_000, 4_000), rng.randint(11, 30)
    saved = alone[1] * alone[2] - tuning[1] * tuning[2]  # times 6 and the parameters, where they are equal
    upstream = large, rng.randint(2, 25) * saved if kind == "equal" else rng.randint(10**5, 10**6), rng.randint(1, 4)
    if kind == "never":
        tuning, alone = alone, tuning
    on_base, own, tasks = shared(upstream, tuning, alone, rng.randint(3, 40))
    answers.append([float(on_base), float(own), None if tasks is None else operator.index(tasks)])
rounded(*answers)

# %% [markdown] tags=["hints"]
# - Put your number of tasks, and one task fewer, into the first rule. On which side of the model alone does each lie?

# %% [markdown]
# ## Done?
#
# Save the notebook. To run all the checks that you see at once, type in the course folder:
#
# ```
# .venv/bin/course check exercises/06_less_data.ipynb
# ```
#
# They give a third of the points. The others come from checks with other numbers.
