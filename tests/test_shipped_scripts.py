"""The scripts that make what the course ships still run, and write rows of the form that the lessons read."""

import json
import sys
from pathlib import Path

import pytest
import torch

from course_lib.models import ByteTransformer
from course_lib.tables import shipped

FOLDER = Path(__file__).parents[1] / "benchmarks" / "shipped"
pytestmark = pytest.mark.usefixtures("one_thread")


def run(module, monkeypatch, *args):
    monkeypatch.setattr(sys, "argv", [module.__file__, *map(str, args)])
    module.main()


def keys(rows):
    return {row["kind"]: set(row) for row in rows}


def test_the_regimes(script, monkeypatch, tmp_path):
    regimes = script("regimes")
    monkeypatch.setattr(regimes, "STEPS", 2)
    run(regimes, monkeypatch, "--seeds", 1)
    made = json.loads((tmp_path / "04_regimes.json").read_text())
    assert keys(made["rows"]) == keys(shipped("04_regimes").rows)
    assert made["command"] == "python benchmarks/shipped/regimes.py" and "torch" in made["made"]


def test_the_byte_models(script):
    byte_experts = script("byte_experts")
    wanted = keys(shipped("04_byte_lm").rows)
    assert set(byte_experts.KINDS) == set(wanted)
    for kind in byte_experts.KINDS:
        trained = byte_experts.Run(kind, seed=0)
        trained.advance(1)
        assert trained.done == 1
        assert {"kind", "seed", "steps", "cpu_seconds", *trained.result(n=64)} == wanted[kind]
    # In a step, both cost the same number of multiplications: the router is in the dense width.
    sparse, dense = byte_experts.experts().blocks[0], byte_experts.KINDS["dense, same active"][0]().blocks[0]
    weights = sum(p.numel() for p in dense.parameters() if p.ndim == 2)
    assert weights == sparse.active_parameters()


@pytest.mark.slow
def test_the_formats(script, monkeypatch, tmp_path):
    run(script("local_deployment"), monkeypatch, "--processes", 1, "--repeats", 1)
    made = json.loads((tmp_path / "07_local_deployment.json").read_text())
    assert [r.keys() for r in made["rows"]] == [r.keys() for r in shipped("07_local_deployment").rows]


def test_the_readings_of_a_gpu(script, monkeypatch, tmp_path):
    """On the CPU, with a counter that is made up: what is timed, counted and written."""
    gpu = script("gpu")
    monkeypatch.setattr(gpu, "PRODUCTS", gpu.PRODUCTS[:2])
    monkeypatch.setattr(gpu, "LAYERS", {"the lesson's": (torch.float32, 8, 8, 4, 16)})
    with pytest.raises(SystemExit, match="no joules from the board's counter: .*Nothing was written"):
        run(gpu, monkeypatch, "--device", "cpu", "--rounds", 1, "--window", 0.001)
    assert not list(tmp_path.glob("*.json"))
    monkeypatch.setattr(gpu, "board_joules", lambda reading: 2.0)
    run(gpu, monkeypatch, "--device", "cpu", "--rounds", 2, "--window", 0.001)
    made = json.loads((tmp_path / "gpu.json").read_text())
    assert {row["part"]: set(row) for row in made["rows"]} == {row["part"]: set(row) for row in shipped("gpu").rows}
    for row in made["rows"][1:]:
        assert len(row["seconds"]) == len(row["joules"]) == 2
        assert row["joules"] == [pytest.approx(2.0 / row["calls"], rel=1e-5)] * 2
    flops = {row["layer"]: row["flops"] for row in made["rows"] if row["part"] == "layer"}
    router = 2 * 16 * 8 * 4
    assert flops["sparse experts"] - router == flops["dense, same active"] == flops["dense, same total"] / 2


@pytest.mark.slow
def test_the_checkpoint(script, monkeypatch, tmp_path):
    run(script("byte_transformer"), monkeypatch, "--steps", 1, "--exit-steps", 1, "--batch", 1, "--to", tmp_path)
    record = json.loads((tmp_path / "byte_transformer.json").read_text())
    theirs = json.loads((FOLDER.parents[1] / "course_lib" / "assets" / "byte_transformer.json").read_text())
    assert record.keys() == theirs.keys() and record["sizes"] == theirs["sizes"]
    assert record["corpus_sha256"] == theirs["corpus_sha256"] or record["python"] != theirs["python"]
    weights = torch.load(tmp_path / "byte_transformer.pt", weights_only=True)
    assert {w.dtype for w in weights.values()} == {torch.float16}
    ByteTransformer(**record["sizes"]).load_state_dict(weights)
