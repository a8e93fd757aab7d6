"""Lesson 10: its shipped table, its functions, the choice under a budget; the scoreboard; what learners must not get."""

import ast
import json
import re
import sys

import numpy as np
import pytest
import sample_course
import torch

from course_lib.claims import KINDS, all_claims, scoreboard
from course_lib.classroom import build, execute, handout
from course_lib.counters import count_flops
from course_lib.data import few
from course_lib.tables import shipped

pytestmark = pytest.mark.usefixtures("one_thread")
ROOT = sample_course.ROOT
LESSON = ROOT / "notebooks" / "10_energy_label.ipynb"
CHOICE = {"EVERY", "SERVED", "READERS", "BASES", "table", "outcome", "key", "tried", "start", "mean", "alone", "choose", "told", "SAVERS", "pulled",
          "left", "WORDS", "FLOOR", "BUDGET", "by_others", "cheapest", "winner", "totals", "QUERIES", "BASE_FLOPS"}


@pytest.fixture
def energy_label(script):
    return script("energy_label")


@pytest.fixture
def lesson(energy_label):
    """The lesson's functions and settings for training and serving, by name."""
    return energy_label.record.recipe("10_energy_label", energy_label.NAMES)


@pytest.fixture(scope="module")
def rows():
    return shipped("10_energy_label").rows


@pytest.fixture(scope="module")
def chosen():
    """The lesson's cells from its table to the choice, run as they stand."""
    tree = ast.parse((ROOT / "notebooks" / "source" / "10_energy_label.py").read_text(encoding="utf-8"))
    wanted = [n for n in tree.body if isinstance(n, (ast.Import, ast.ImportFrom)) or getattr(n, "name", "") in CHOICE
              or isinstance(n, ast.Assign) and {x.id for t in n.targets for x in ast.walk(t) if isinstance(x, ast.Name)}
              & (CHOICE | {"LEVERS", "START"})]
    found = {}
    exec(compile(ast.Module(wanted, []), "lesson 10", "exec"), found)  # noqa: S102 - the course's own cells
    return found


def readers(rows):
    return [r for r in rows if r["kind"] == "reader"]


# ---- the table


def test_every_combination_was_run_with_five_seeds(rows, chosen):
    assert len(chosen["EVERY"]) == 288 and len(chosen["tried"]) == 288
    assert all(len(found["right"]) == 5 for found in chosen["tried"].values())
    assert sorted({r["seed"] for r in readers(rows)}) == list(range(5))
    for r in readers(rows):
        assert {len(r[k]) for k in ("accuracy", "flops", "bytes", "reached")} == {8}
        assert all(n[0] == 360 and n == sorted(n, reverse=True) for n in r["reached"])


def test_the_rates_of_the_lesson_are_those_of_the_table(rows, lesson):
    rates = {r["training"]: r["rate"] for r in rows if r["kind"] == "rate"}
    assert rates == {k: lesson["RATE"][k] for k in ("full", "adapter", "scratch")}
    assert all(set(r["seed"]).isdisjoint(range(5)) for r in rows if r["kind"] == "rate")  # other splits than the exam's


def test_what_the_text_says_of_the_levers(chosen):
    mean, left, saver = chosen["mean"], chosen["left"], chosen["SAVERS"]
    start, alone = chosen["START"], chosen["alone"]
    assert min(saver, key=lambda s: left([s])) == "size: small" and left(["exit: early"]) < 1 / 3
    assert mean(start) - mean(alone["exit: early"]) < 0.5 and mean(start) - mean(alone["precision: int8"]) < 0.5
    assert left(saver) > 5 * np.prod([left([s]) for s in saver])
    assert left(saver) > left(set(saver) - {"local: yes"}) and left(["size: small"]) > left(saver)
    few_labels = {t: mean({**start, "training": t, "labels": 40}) for t in ("full", "adapter", "scratch")}
    many = {t: mean({**start, "training": t}) for t in few_labels}
    drop = {t: many[t] - few_labels[t] for t in many}
    assert drop["scratch"] > 2 * max(drop["full"], drop["adapter"])
    adapter, full = (chosen["tried"][chosen["key"]({**start, "training": t, "labels": 40})]["right"] for t in ("adapter", "full"))
    apart = np.subtract(adapter, full)
    assert abs(apart.mean()) < apart.std(ddof=1) / 5**0.5  # "the five seeds do not tell them apart"


@pytest.mark.slow
def test_the_script_still_makes_such_a_table(energy_label, monkeypatch, tmp_path, rows):
    monkeypatch.setattr(energy_label, "RATES", (1e-3,))
    monkeypatch.setattr(energy_label, "RATE_SEEDS", (100,))
    monkeypatch.setattr(sys, "argv", ["energy_label.py", "--seeds", "1", "--passes", "1"])
    energy_label.main()
    made = json.loads((tmp_path / "10_energy_label.json").read_text())
    keys = [{r["kind"]: set(r) for r in some} for some in (made["rows"], rows)]
    assert keys[0] == keys[1] and made["command"] == "python benchmarks/shipped/energy_label.py"
    assert len(made["rows"]) == (len(rows) - 3) / 5 + 3


# ---- the lesson's functions


def noise(n, seed=0):
    return torch.rand(n, 64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", ["large", "small"])
@pytest.mark.parametrize("layers", ["dense", "experts"])
@pytest.mark.parametrize("exit", ["last", "early"])
@pytest.mark.parametrize("local", ["no", "yes"])
def test_what_is_served_is_what_is_counted(lesson, size, layers, exit, local):
    net, pocket = lesson["Reader"](size, layers).eval(), lesson["DigitsMLP"]((16,))
    steps = lesson["steps_of"](net, pocket, {"exit": exit, "local": local, "precision": "float32"})
    assert len(steps) == 1 + (exit == "early") + (local == "yes")
    thresholds = [*np.linspace(0.12, 0.15, len(steps) - 1), -1.0]
    x = noise(50)
    with torch.inference_mode():
        answers, reached = lesson["serve"](steps, thresholds, x)
        ran = count_flops(lesson["serve"], steps, thresholds, x)
        whole = net(x).argmax(-1)
    assert ran == sum(c * n for c, n in zip(lesson["flops_of"](steps, x[:1]), reached))
    assert reached[0] == 50 and len(reached) == len(steps)
    if len(steps) == 1:
        assert torch.equal(answers, whole)


def test_a_step_that_is_always_sure_ends_the_service(lesson):
    steps = [lambda x: (x, torch.eye(10)[torch.full((len(x),), 3)] * 50), lambda x: pytest.fail("nobody may come here")]
    answers, reached = lesson["serve"](steps, [0.5, -1.0], noise(7))
    assert answers.tolist() == [3] * 7 and reached == [7, 0]


def test_a_threshold_keeps_the_promise_it_was_chosen_for(lesson):
    rng = torch.Generator().manual_seed(0)
    scores = [3 * torch.randn(400, 10, generator=rng) for _ in range(2)]
    steps = [lambda x, s=s: (x, s) for s in scores]
    for allowed in (0.0, 0.01, 0.1):
        first, last = lesson["calibrate"](steps, noise(400), allowed)
        kept = scores[0].softmax(-1).amax(-1) > first
        wrong = (kept & (scores[0].argmax(-1) != scores[1].argmax(-1))).sum().item()
        assert last == -1.0 and wrong <= allowed * 400
        assert kept.any() or not allowed
    assert lesson["calibrate"]([steps[0], steps[0]], noise(400))[0] == 0.0  # never another answer: everything is kept


def test_rounding_and_its_bytes(lesson):
    for layers in ("dense", "experts"):
        net = lesson["Reader"]("small", layers)
        small = lesson["rounded"](net)
        for a, b in zip(net.parameters(), small.parameters()):
            step = lesson["scales"](a) if a.ndim > 1 else torch.zeros(())
            assert ((a - b).abs() <= step / 2 + 1e-7).all()
        whole, bytes8 = (lesson["weight_bytes"](net, p) for p in ("float32", "int8"))
        assert whole == 4 * sum(p.numel() for p in net.parameters()) and 0.25 < bytes8 / whole < 0.4
    one = torch.nn.Linear(10, 3)
    assert lesson["weight_bytes"](one, "int8") == 30 + 3 * 4 + 3 * 4


def test_an_adapter_becomes_a_plain_reader_and_the_base_stays(lesson):
    images, pool, *_ = lesson["office"](0)
    lesson["PASSES"] = 1
    base, work = lesson["train_base"](images, "small", "dense", 0)
    before = [p.clone() for p in base.parameters()]
    some = few(pool, 40)
    costs = {}
    for training in ("full", "adapter", "scratch"):
        net, costs[training] = lesson["train_reader"](base, some, "small", "dense", training, 0)
        assert type(net.last) is torch.nn.Linear and all(p.requires_grad for p in net.parameters())
        assert not torch.equal(net.last.weight, base.last.weight)
    assert all(torch.equal(a, b) for a, b in zip(before, base.parameters()))
    assert costs["adapter"] < costs["full"] == costs["scratch"] and work > costs["full"]
    early = net.early.weight.clone(), net.last.weight.clone()
    assert lesson["train_early"](net, some, 0) < costs["full"]
    assert not torch.equal(net.early.weight, early[0]) and torch.equal(net.last.weight, early[1])


# ---- a floor and a budget


def test_the_choice_is_the_cheapest_that_meets_both(chosen):
    for floor, budget in ((85, 2), (60, 1), (90, 60), (0, 100)):
        service = chosen["choose"](floor, budget)
        costs = {chosen["key"](s): chosen["tried"][chosen["key"](s)]["query"] for s in chosen["EVERY"] if chosen["mean"](s) >= floor}
        assert chosen["mean"](service) >= floor
        least, most = min(costs.values()), budget / 100 * chosen["start"]["query"]
        assert least <= costs[chosen["key"](service)] <= min(most, least + 0.001 * chosen["start"]["query"])


@pytest.mark.parametrize("floor, budget, nearest", [(91, 2, "early exit, alone 30.8 %"), (85, 0.5, "is small, alone 2.4 %"),
                                                    (92.05, 20, "the start, alone 100.0 %")])
def test_a_budget_that_nothing_meets_names_the_lever_that_comes_nearest(chosen, floor, budget, nearest):
    with pytest.raises(ValueError, match="the lever that comes nearest is ") as caught:
        chosen["choose"](floor, budget)
    said = str(caught.value)
    assert nearest in said and f"{floor:g} %" in said and f"{budget:g} %" in said and said.count("\n") == 0


def test_a_floor_that_nothing_meets_says_what_the_best_is(chosen):
    with pytest.raises(ValueError, match=r"no combination reads 99 %: the best of them, .*, reads 9\d\.\d %, so lower the floor"):
        chosen["choose"](99, 50)


@pytest.mark.parametrize("floor, budget", [("85", 2), (85, float("nan")), (-1, 2), (85, 101), (True, 2)])
def test_a_floor_or_a_budget_that_is_no_percentage_is_one_sentence(chosen, floor, budget):
    with pytest.raises(ValueError, match="give a number from 0 to 100, in %$"):
        chosen["choose"](floor, budget)


def test_held_out_seeds_are_not_looked_at(chosen, monkeypatch):
    """The choice without a seed stays when that seed's answers are all wrong, and not when another's are."""
    key, first = chosen["key"], chosen["by_others"](0)
    found = chosen["tried"][key(first)]
    monkeypatch.setitem(chosen["tried"], key(first), found | {"right": [0.0, *found["right"][1:]]})
    assert chosen["by_others"](0) == first
    monkeypatch.setitem(chosen["tried"], key(first), found | {"right": [*found["right"][:4], 0.0]})
    assert chosen["by_others"](0) != first


def test_the_winner_of_a_life_pulls_no_lever_for_a_percent(chosen):
    cheapest, few_queries = (chosen["winner"](n, 85, False) for n in (1e7, 1e2))
    assert cheapest["precision"] == "float32" and cheapest["local"] == "no"  # 8 bits lower no count of FLOPs
    assert few_queries["training"] == "adapter" and few_queries["exit"] == "last"
    assert chosen["winner"](1e4, 99.9, False) is None


def cells(folder, edit):
    """The sources of the lesson's code cells, with these lines of it replaced."""
    text = (ROOT / "notebooks" / "source" / "10_energy_label.py").read_text(encoding="utf-8")
    for old, new in edit.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (folder / "lesson.py").write_text(text, encoding="utf-8")
    return [cell.source for cell in build.parse(folder / "lesson.py").cells if cell.cell_type == "code"]


def refuse(*_, **__):
    raise OSError("no source here")


@pytest.mark.slow
def test_a_floor_that_nothing_meets_leaves_the_lesson_whole(monkeypatch, tmp_path, capsys):
    """A learner sets 91 % for 2 % on a machine without any source of joules, and runs to the end."""
    monkeypatch.setenv("COURSE_LEDGER", str(tmp_path / "ledger.jsonl"))
    monkeypatch.chdir(tmp_path)
    ran = {"__name__": "lesson", "refuse": refuse}
    for source in cells(tmp_path, {"FLOOR = 85 ": "FLOOR = 91 ", "BUDGET = 20 ": "BUDGET = 2 ", "PASSES = 30": "PASSES = 1",
                         "meter = Meter()": "meter = Meter(tracker_factory=refuse)"}):
        exec(source, ran)  # noqa: S102 - the course's own cells
    said = " ".join(capsys.readouterr().out.split())
    assert "91 % right for 2 %: no combination" in said and "Nothing that ran here meets both by the meter" in said
    assert "That is a finding" in said and ran["label"] is None and "holds no joules" in said
    assert ran["MINE"] == ran["START"] and ran["each"](ran["queries"]["start"]) == "no joules"


# ---- the scoreboard


def test_all_47_stand_on_the_scoreboard_with_verdict_and_kind(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_LEDGER", str(tmp_path / "ledger.jsonl"))
    board = scoreboard(reveal=True)
    assert [r[0] for r in board.rows] == list(all_claims()) and len(board.rows) == 47
    assert all(r[3] != "-" and r[4] in KINDS for r in board.rows)
    assert sum(r[4] == "measured here" for r in board.rows) >= 20
    shown = "".join(o.get("text", "") for c in execute.read(LESSON).cells if c.cell_type == "code" for o in c.outputs)
    measured = sum(c.kind == "measured here" for c in all_claims().values())
    assert re.search(rf"^together +{measured} +\d+ +\d+ +47$", shown, re.MULTILINE)


def test_printed_tables_fit_the_page():
    for cell in execute.read(LESSON).cells:
        for output in cell.get("outputs", []) if "getsource" not in cell.source else []:
            lines = [line for line in output.get("text", "").splitlines() if "remade by" not in line]
            assert max(map(len, lines), default=0) <= 96, cell.source[:60]


# ---- the project


def test_the_rubric_is_the_same_for_learners_and_instructors():
    def rubric(text):
        return {cells[0].split("**")[1]: [c.strip() for c in cells[-3:]] for line in text.splitlines() if line.startswith("| **")
                for cells in [[c.strip() for c in line.strip("| ").split("|")]] if len(cells) > 3}

    theirs = rubric("\n".join(c.source for c in execute.read(LESSON).cells if c.cell_type == "markdown"))
    ours = rubric((ROOT / "exercises" / "source" / "10_project.md").read_text(encoding="utf-8"))
    assert len(theirs) == 5 and theirs == ours


def test_learners_do_not_get_the_model_answer(tmp_path, monkeypatch):
    answer = (ROOT / "exercises" / "source" / "10_project.md").read_text(encoding="utf-8")
    secrets = ["Our library scans its old card index", "What to watch for", "Ask who defined it"]
    assert all(secret in answer for secret in secrets)
    monkeypatch.setattr("course_lib.classroom.release.is_current", lambda source, root: True)  # other tests see to that
    handout.hand_out(ROOT, tmp_path / "class", say=lambda line: None)
    files = [f for f in (tmp_path / "class").rglob("*") if f.is_file()]
    assert (tmp_path / "class" / "notebooks" / LESSON.name) in files and not any("10_project" in f.name for f in files)
    told = [f.name for f in files for secret in secrets if secret.encode() in f.read_bytes()]
    assert not told
