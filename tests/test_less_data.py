"""Lesson 06: its shipped table can still be made, and holds what the lesson reads; the lesson's own functions."""

import json
import sys
from collections import Counter

import numpy as np
import pytest
import torch

from course_lib.data import Split, digits, few
from course_lib.tables import shipped

NAMES = {"power_law", "labels_for", "spoiled", "k_means", "at_random", "in_turn", "labels_needed", "only", "corrected",
         "offices_until", "small_learner", "held_out", "learn", "work", "RULES", "TARGETS", "EPOCHS", "on_fewer", "FEWER",
         "PASSES", "scans", "clean_images", "LABELS", "per_digit", "PER_CLASS"}
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def less_data(script):
    return script("less_data")


@pytest.fixture
def lesson(less_data):
    """The lesson's functions and settings, by name."""
    return less_data.record.recipe("06_less_data", NAMES)


def forms(rows):
    return {row["kind"]: set(row) for row in rows}


def groups(rows, seed):
    """What one seed holds: (kind, what tells its rows apart), each with the number of rows."""
    return Counter((row["kind"], *(row.get(k) for k in ("method", "labels", "images", "per_class", "rule", "shift")))
                   for row in rows if row["seed"] == seed)


@pytest.mark.slow
def test_the_script_writes_the_rows_that_are_shipped(less_data, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["less_data.py", "--seeds", "1", "--epochs", "1"])
    less_data.main()
    made, theirs = json.loads((tmp_path / "06_less_data.json").read_text()), shipped("06_less_data")
    assert forms(made["rows"]) == forms(theirs.rows)
    assert made["command"] == "python benchmarks/shipped/less_data.py" and made["command"] in theirs.made
    seeds = {row["seed"] for row in theirs.rows}
    assert seeds == set(range(5))
    for seed in seeds:
        assert groups(theirs.rows, seed) == groups(made["rows"], 0)
    # what trains no network does not depend on --epochs, and comes out as it was shipped
    for kind, right in (("choice", "accuracy"), ("pool", "accuracy"), ("specialist", "ten"), ("specialist", "pairs"),
                        ("specialist", "ten_on_pairs")):
        ours, known = ([row for row in rows if row["kind"] == kind and row["seed"] == 0 and row.get("method") in
                        (None, "at random", "equal shares", "k-means")] for rows in (made["rows"], theirs.rows))
        ours, known = (np.array([row[right] for row in found]) for found in (ours, known))
        assert ours == pytest.approx(known, abs=0.03), (kind, right)


def test_dry_writes_nothing(less_data, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["less_data.py", "--seeds", "0", "--dry"])
    less_data.main()
    assert not list(tmp_path.iterdir())


def test_least_sure_next_keeps_what_was_bought_and_asks_where_the_learner_doubts(less_data, lesson):
    split = digits(0).train
    rows = less_data.least_sure_next(split, range(30), 47, lesson)
    assert rows[:30] == list(range(30)) and len(set(rows)) == 47
    asked = lesson["small_learner"](less_data.pick(split, rows[:30])).decision_function(split.x)
    best, second = np.sort(asked, axis=1)[:, [-1, -2]].T
    doubt = best - second
    others = np.setdiff1d(np.arange(len(split)), rows[:40])
    assert doubt[rows[30:40]].max() <= doubt[others].min()


def test_the_power_law_is_found_again(lesson):
    sizes = np.array([10, 20, 40, 80])
    a, b = lesson["power_law"](sizes, 1.7 * sizes**-0.6)
    assert (a, b) == pytest.approx((1.7, 0.6))
    assert a * lesson["labels_for"](0.05, a, b) ** -b == pytest.approx(0.05)


def test_a_spoiled_exam_has_as_many_wrong_labels_as_said(lesson):
    y = torch.arange(10).repeat(40)
    before = y.clone()
    bad = lesson["spoiled"](y, seed=3, share=0.05)
    assert (bad != y).sum() == 20 and torch.equal(y, before)
    assert set(bad.tolist()) <= set(range(10))


def test_k_means_takes_each_group_s_nearest_image_once(lesson):
    split = digits(0).train
    for n in (20, 400):
        rows = lesson["k_means"](split.x, n, 0)
        assert len(set(rows)) == n
        assert np.array_equal(rows, lesson["k_means"](split.x, n, 0))
    middles = 10.0 * torch.tensor([[0, 0], [1, 0], [0, 1]])
    near = torch.tensor([[0.0, 0.0], [0.4, 0.0], [-0.4, 0.0], [0.0, 0.5], [0.0, -0.5]])
    cloud = (middles[:, None] + near).flatten(0, 1)
    assert sorted(lesson["k_means"](cloud, 3, 0)) == [0, 5, 10]  # the middle of each cloud


def test_random_budgets_grow_into_each_other(lesson):
    x = torch.zeros(50, 2)
    assert np.array_equal(lesson["at_random"](x, 20, 1), lesson["at_random"](x, 50, 1)[:20])
    assert not np.array_equal(lesson["at_random"](x, 20, 1), lesson["at_random"](x, 20, 2))


def test_in_turn_takes_one_of_each_class_and_keeps_the_order_within(lesson):
    y = torch.tensor([1, 1, 1, 0, 0, 2])
    order = torch.tensor([2, 0, 3, 1, 5, 4])  # classes 1 1 0 1 2 0
    assert lesson["in_turn"](order, y).tolist() == [2, 3, 5, 0, 4, 1]


def test_labels_needed_reads_between_the_points(lesson):
    needed = lesson["labels_needed"]
    assert needed(0.75, (10, 40), [0.5, 1.0]) == pytest.approx(20)  # half-way in the logarithm
    assert needed(0.9, (10, 40), [0.5, 0.8]) is None and needed(0.5, (10, 40), [0.5, 0.8]) is None
    assert needed(0.7, (10, 20, 40), [0.5, 0.7, 0.6]) == pytest.approx(20)  # the first time, though it falls again
    assert needed(0.7, (10, 20, 40), [0.5, 0.3, 0.9]) == pytest.approx(20 * 2 ** (2 / 3))  # not before it has fallen


def test_labels_for_each_digit_have_an_answer_at_both_ends(lesson):
    needed, sizes = lesson["per_digit"], lesson["PER_CLASS"]
    assert needed(np.full(len(sizes), 0.9)) == sizes[0]
    assert needed(np.full(len(sizes), 0.8)) == np.inf and needed(np.full(len(sizes), 0.8), 0.7) == sizes[0]
    assert sizes[0] < needed(np.linspace(0.5, 1, len(sizes))) < sizes[-1]


def test_all_ten_are_judged_on_a_pair_with_all_their_answers(less_data, lesson):
    lesson |= {"PAIRS": [(1, 8)], "PER_CLASS": (8,)}
    row = next(less_data.specialists(digits(0), 0, lesson))
    exam = lesson["only"](lesson["held_out"](digits(0)), (1, 8))
    answers = lesson["small_learner"](few(digits(0).train, 80, 0)).predict(exam.x)
    assert not set(answers) <= {1, 8}  # it may name any of the ten
    assert row["ten_on_pairs"] == [pytest.approx(np.mean(answers == exam.y.numpy()), abs=1e-4)]


def test_correcting_for_chance(lesson):
    corrected = lesson["corrected"]
    assert corrected(0.1, 10) == pytest.approx(0) and corrected(1, 2) == 1 and corrected(0.75, 2) == pytest.approx(0.5)


@pytest.mark.parametrize(("shared", "each", "alone"), [(827, 50, 159), (100, 50, 60), (100, 50, 50.5), (10, 5, 500)])
def test_offices_until_the_base_is_paid_for(lesson, shared, each, alone):
    n = lesson["offices_until"](shared, each, alone)
    assert shared / n + each < alone
    assert n == 1 or shared / (n - 1) + each >= alone


def test_a_base_that_needs_as_many_labels_never_pays(lesson):
    assert lesson["offices_until"](827, 50, 50) is None and lesson["offices_until"](827, 50, 20) is None


def test_no_image_is_both_learned_from_and_asked(lesson):
    data = digits(0)
    rows = {name: {tuple(row) for row in split.x.tolist()} for name, split in {
        "train": data.train, "held": lesson["held_out"](data), "clean": lesson["clean_images"](data)}.items()}
    assert len(rows["held"]) == 720 and not rows["train"] & rows["held"]
    turned = lesson["scans"](data, 0, "rotated")  # turned back, these are training images that the base has not seen
    back = {tuple(row) for row in torch.rot90(turned.x.view(-1, 8, 8), -1, (-2, -1)).reshape(-1, 64).tolist()}
    assert len(back) == lesson["LABELS"] and back <= rows["train"] and not back & rows["clean"]


def test_half_the_data_is_half_the_work_unless_they_are_read_twice(lesson):
    lesson["PASSES"] = 1
    data, work = digits(0), {}
    for n, rule in ((1040, "same passes"), (520, "same passes"), (520, "same work")):
        net, history, split = lesson["on_fewer"](data, 0, n, rule)
        work[n, rule] = lesson["work"](net, history, split, split)
    assert 2 * work[520, "same passes"] == work[1040, "same passes"] == work[520, "same work"]


def test_the_validation_is_in_the_bill(lesson):
    data = digits(0)
    lesson["EPOCHS"] = 2
    net, history = lesson["learn"](data, 0, lesson["RULES"]["to the end"])
    nothing = Split(data.val.x[:0], data.val.y[:0])
    whole, without = (lesson["work"](net, history, data.train, val) for val in (data.val, nothing))
    weights = sum(w.numel() for w in net.parameters() if w.ndim == 2)
    first = net.layers[0].weight.numel()  # its input needs no gradient
    assert without == 2 * len(data.train) * (6 * weights - 2 * first)
    assert whole - without == 2 * len(data.val) * 2 * weights


def test_a_specialist_reads_only_its_digits(lesson):
    some = lesson["only"](few(digits(0).train, 40), (1, 8))
    assert len(some) == 8 and set(some.y.tolist()) == {1, 8}
