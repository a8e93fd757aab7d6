"""The benchmark of sparse experts compares like with like: counts, choices and verdicts. No time is asserted here."""

import importlib
import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from course_lib.moe import expert_load

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("moe", "data", "data.layers")


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    for name in NAMES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module("moe")
    for name in NAMES:
        sys.modules.pop(name, None)


@pytest.fixture
def cell(bench):
    return bench.Cell(32, 48, 128, 2, 8)


def installed(bench, cell):
    """Every side that this machine can build. The bench extra brings two of them; CI does without it."""
    there = {"mixture-of-experts": importlib.util.find_spec("mixture_of_experts"),
             "st-moe": importlib.util.find_spec("st_moe_pytorch")}
    names = [name for name in bench.layers.MAKERS if there.get(name.split(",")[0], True)]
    return {name: bench.layers.make(name, cell) for name in names}


def test_every_side_does_the_same_products_or_says_how_many_more(bench, cell):
    router = 2 * cell.T * cell.d * cell.E
    expected = {"dense": 1, "dense, gated": 1.5, "dense, same total": 4, "floor": 1}
    for name, side in installed(bench, cell).items():
        flops = side.flops()
        if name in expected:
            assert flops == expected[name] * cell.flops, name
        elif name.startswith(("ours", "Hugging")):
            assert flops == (1.5 if name in bench.layers.GATED else 1) * cell.flops + router, name
        else:  # room per expert, and one-hot products, come on top
            assert flops > bench.layers.MARGIN * cell.flops + router, name


def test_every_router_makes_the_wanted_choices(bench, cell):
    for c in (cell, cell._replace(k=1), cell._replace(zipf=True)):
        wanted = bench.layers.choices(c)
        layer = bench.layers.make("ours", c)
        layer.run(False)
        assert torch.equal(layer.module.routing.experts, wanted)
        block = bench.layers.make("Hugging Face, eager", c)
        assert torch.equal(block.module.gate(block.x)[2], wanted)
    assert expert_load(bench.layers.choices(cell), 8).tolist() == [32] * 8
    skewed = expert_load(bench.layers.choices(cell._replace(zipf=True)), 8)
    assert skewed[0] > 3 * skewed[-1] and skewed.sum() == 256
    with pytest.raises(ValueError, match="64 experts"):
        bench.layers.tokens(cell._replace(E=64))


def test_layers_with_a_capacity_get_room_for_every_pair(bench, cell):
    for name, side in installed(bench, cell).items():
        if name.startswith(("mixture", "st-moe")):
            share = bench.layers.computed_share(side, cell)
            assert (share < 0.8) if name.endswith("stock") else (share == 1), name


def test_every_side_sends_gradients_to_router_and_input(bench, cell):
    for name, side in installed(bench, cell).items():
        side.run(True)
        assert side.x.grad.abs().sum() > 0, name
        assert all(p.grad is not None and p.grad.isfinite().all() for p in side.module.parameters()), name
        side.clean()
        assert side.x.grad is None and all(p.grad is None for p in side.module.parameters()), name


def test_the_floor_is_our_layer_without_its_routing(bench, cell):
    layer, bare = bench.layers.make("ours", cell), bench.layers.make("floor", cell)
    order = bench.layers.choices(cell).flatten().argsort(stable=True)
    assert torch.equal(bare.x, layer.x[order // cell.k])
    assert sum(p.numel() for p in bare.module.parameters()) == cell.E * 2 * cell.d * cell.h


def test_a_race_takes_turns_there_and_back_until_it_knows(bench, monkeypatch, cell):
    now, calls = [0.0], []
    monkeypatch.setattr(bench.time, "process_time", lambda: now[0])

    def side(name, cost):
        def run():
            calls.append(name)
            now[0] += cost * (1 + 0.001 * (len(calls) % 5))
        return run, lambda: None

    sides = {"dense": side("dense", 1.0), "ours": side("ours", 1.2), "st-moe": side("st-moe", 9.0)}
    race = bench.run_race(bench.Race("grid", cell, bench.FB, 1), sides, bench.Effort(least=4, seconds=1e9, window=0))
    assert "".join(name[0] for name in calls[:9]) == "dos" + "sod" + "dos"  # first a warm-up
    assert [len(race.seconds[name]) for name in sides] == [4, 4, 3]  # the slow one may leave, its rounds count
    assert race.over("ours", "dense")[0] == pytest.approx(1.2, rel=0.01)
    assert race.over("st-moe", "dense")[0] == pytest.approx(9, rel=0.01)
    assert race.over("ours", "nobody") is None


def test_verdicts_look_at_the_interval(bench):
    assert bench.word((1.1, 1.0, 1.2), 1.12) == "yes"
    assert bench.word((1.15, 1.1, 1.2), 1.12) == "within the interval"
    assert bench.word((1.15, 1.13, 1.2), 1.12) == "no"
    assert bench.word(None, 1.12) == "not measured"
    assert bench.law(24) == pytest.approx(2.15)


def test_goals_are_read_from_the_right_races(bench):
    made = bench.Bench(quick=True)
    for E, ratio in ((8, 1.10), (32, 1.60)):
        one = bench.Race("grid", bench.Cell(256, 1024, 1024, 2, E), bench.FB, 1)
        one.seconds = {"dense": [1.0] * 5, "ours": [ratio] * 5, "floor": [1.0] * 5, "st-moe": [2.0, 2.0, ratio / 1.01]}
        made.races.append(one)
    pair = bench.Race("few and many", bench.Cell(32, 64, 2048, 2, 64), bench.FB, 1)
    pair.seconds = {f"{s}, {E} experts": [t] * 5 for s in bench.CORE for E, t in ((4, 1.0), (64, 24.0))}
    made.races.append(pair)
    rows = {goal: (reached, measured) for goal, reached, measured in bench.goals(made).rows}

    def reached(*parts):
        (found,) = [value for goal, value in rows.items() if all(part in goal for part in parts)]
        return found

    assert reached("1,024 tokens, 8 experts")[0] == "yes"
    assert reached("1,024 tokens, 32 experts")[0] == "no"
    assert reached("4,096 tokens")[0] == "not measured"
    assert reached("every cell at d 256")[0] == "in 1 of 2" and "1.6 (" in reached("every cell at d 256")[1]
    assert reached("64 experts over 4")[0] == "no" and reached("64 experts over 4")[1].startswith("1.5 (")
    assert reached("ours over st-moe")[0] == "yes"


@pytest.mark.slow
def test_it_runs_and_reports(bench, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["moe.py", "--quick"])
    monkeypatch.setattr(bench, "set_allocator", lambda: False)  # it would hold for every later test
    threads = torch.get_num_threads()
    try:
        bench.main()
    finally:
        torch.set_num_threads(threads)
    said = capsys.readouterr().out
    for part in ("grid, forward,", "two threads", "few and many", "optimizer", "Zipf over even routing",
                 "Allocator: left as it is"):
        assert part in said


@pytest.mark.slow
def test_the_cells_for_a_gpu_run_and_are_reported(bench, monkeypatch, tmp_path):
    def refuse():
        raise RuntimeError("not for this format\nand a second line")

    monkeypatch.setitem(bench.layers.MAKERS, "st-moe", lambda c: refuse())
    made = bench.Bench(quick=True)
    made.on_gpu("cpu")
    assert {(r.part, r.mode) for r in made.races} == {(p, m) for p in ("float32", "bfloat16") for m in (bench.F, bench.FB)}
    assert all(r.over("ours", "dense") and r.over("dense, same total", "ours") for r in made.races)
    found = bench.gpu_report(made)
    assert 'Not run: st-moe in torch.bfloat16 (6 times), because "not for this format".' in found
    (tmp_path / "results").mkdir()
    (tmp_path / "README.md").write_text("<!-- moe-gpu -->\n<!-- /moe-gpu -->\n")
    bench.record_gpu(tmp_path, found)
    assert found in (tmp_path / "README.md").read_text() and len(list((tmp_path / "results").glob("moe-gpu-*.md"))) == 1


def test_no_gpu_is_one_sentence(bench, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["moe.py", "--device", "cuda"])
    with pytest.raises(SystemExit, match="sees no NVIDIA GPU; leave --device out"):
        bench.main()


def test_the_record_replaces_only_what_stands_between_the_marks(bench, tmp_path):
    readme, results = tmp_path / "README.md", tmp_path / "results"
    results.mkdir()
    readme.write_text("above\n<!-- moe -->\nold\n<!-- /moe -->\nbelow\n", encoding="utf-8")
    for short in ("first", "second"):
        bench.record(tmp_path, b"picture", "what it shows", short, "all of it")
    text, names = readme.read_text(encoding="utf-8"), sorted(f.name for f in results.iterdir())
    assert [Path(name).suffix for name in names] == [".md", ".png"] and "all of it" in (results / names[0]).read_text()
    assert text.startswith(f"above\n<!-- moe -->\n![what it shows](results/{names[1]})\n\nsecond\n")
    assert text.endswith("<!-- /moe -->\nbelow\n") and "old" not in text and "first" not in text
    readme.write_text("no marks", encoding="utf-8")
    with pytest.raises(SystemExit, match="<!-- moe -->"):
        bench.record(tmp_path, b"picture", "what it shows", "third", "all of it")
