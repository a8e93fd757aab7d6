"""Lesson 05: its shipped tables can be remade, hold what the lesson says, and its optional cell runs on a local model."""

import json
import statistics
import sys

import pytest
import torch

from course_lib.data import SHIFTS, corpus, digits
from course_lib.lora import trainable_parameters
from course_lib.tables import shipped

MILD = ("backlit", "cropped", "faded")


def run(module, monkeypatch, *args):
    monkeypatch.setattr(sys, "argv", [module.__file__, *map(str, args)])
    module.main()


def forms(rows):
    return {(row["kind"], row.get("task"), row.get("method"), *sorted(row)) for row in rows}


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_the_table_of_the_scanners_can_be_remade(script, monkeypatch, tmp_path):
    adapters = script("adapters")
    monkeypatch.setattr(adapters, "RATES", (1e-3,))
    run(adapters, monkeypatch, "--seeds", 1, "--tuning-seeds", 1, "--steps", 1)
    made = json.loads((tmp_path / "05_adapters.json").read_text())
    assert forms(made["rows"]) == forms(shipped("05_adapters").rows)
    assert made["command"] == "python benchmarks/shipped/adapters.py" and "torch" in made["made"]


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_the_table_of_the_text_can_be_remade(script, monkeypatch, tmp_path):
    run(script("adapters_text"), monkeypatch, "--seeds", 1, "--steps", 1, "--rates", 1)
    made = json.loads((tmp_path / "05_adapters_text.json").read_text())
    assert forms(made["rows"]) == forms(shipped("05_adapters_text").rows)


def test_a_lesson_that_lost_a_function_is_named(script):
    record = script("record")
    with pytest.raises(ValueError, match="05_adapters no longer defines no_such_thing"):
        record.recipe("05_adapters", {"learn", "no_such_thing"})
    script("early_exit")
    assert {"train_exits", "LEVELS"} <= record.recipe("03_cost_of_a_query", {"train_exits", "LEVELS"}).keys()


@pytest.fixture(scope="module")
def runs():
    rows = [row for row in shipped("05_adapters").rows if row["kind"] == "run"]
    return {(row["task"], row["method"], row["seed"]): row for row in rows}


def shares(runs, task, method):
    found = []
    for seed in range(5):
        row, full = runs[task, method, seed], runs[task, "full fine-tuning", seed]
        found.append((row["accuracy"] - row["base"]) / (full["accuracy"] - full["base"]))
    return found


def test_rank_one_recovers_nearly_all_on_mild_faults_and_less_on_rotation(runs):
    by_task = {task: shares(runs, task, "LoRA 1") for task in MILD}
    assert all(statistics.mean(found) >= 0.95 for found in by_task.values())
    assert statistics.mean(s for found in by_task.values() for s in found) >= 0.97
    assert min(s for found in by_task.values() for s in found) >= 0.85
    assert statistics.mean(shares(runs, "rotated", "LoRA 1")) < 0.9
    assert runs["faded", "LoRA 1", 0]["trainable"] <= 0.01 * runs["faded", "full fine-tuning", 0]["trainable"]


def test_scratch_is_in_the_table_for_every_task_and_holds_its_own_on_rotation(runs):
    assert {task for task, method, _ in runs if method == "from scratch"} == set(SHIFTS)
    assert statistics.mean(shares(runs, "rotated", "from scratch")) > statistics.mean(shares(runs, "rotated", "LoRA 1"))
    assert all(statistics.mean(shares(runs, task, "from scratch")) < 0.95 for task in MILD)


def test_every_rate_is_the_best_on_validation_images_and_the_runs_used_it(runs):
    rates = {(r["task"], r["method"]): r for r in shipped("05_adapters").rows if r["kind"] == "rate"}
    for (task, method, _), row in runs.items():
        scores = rates[task, method]["validation"]
        assert row["rate"] == rates[task, method]["rate"] and len(scores) == 7
        best = [rate for rate, score in scores.items() if score == max(scores.values())]
        assert f"{row['rate']:g}" == best[(len(best) - 1) // 2]


def test_the_numbers_that_learn_are_those_of_the_lessons_methods(script, runs):
    r = script("record").recipe("05_adapters", {"reader", "HIDDEN", "only", "Bottleneck", "add_bottlenecks", "METHODS"})
    for method, prepare in r["METHODS"].items():
        assert trainable_parameters(prepare(r["reader"]())) == runs["faded", method, 0]["trainable"], method


def test_what_the_scanners_images_are_drawn_from_is_no_image_of_the_base(script):
    clean, pool = script("record").recipe("05_adapters", {"office"})["office"](digits(0))
    every = digits(0)
    assert len(clean) + len(pool) == len(every.train)
    held = {tuple(image.tolist()) for image in pool.x}
    assert not held & {tuple(image.tolist()) for image in clean.x}
    assert not held & {tuple(image.tolist()) for image in torch.cat([every.val.x, every.test.x])}


@pytest.mark.slow
def test_the_optional_cell_adapts_a_model_from_a_local_folder(script, tmp_path):
    """The path that a learner with the internet takes, on a tiny model with random weights: nothing is downloaded."""
    import tokenizers
    import transformers

    letters = tokenizers.Tokenizer(tokenizers.models.BPE())
    letters.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    letters.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    letters.train_from_iterator([], tokenizers.trainers.BpeTrainer(vocab_size=256, initial_alphabet=alphabet,
                                                                   show_progress=False))
    transformers.PreTrainedTokenizerFast(tokenizer_object=letters).save_pretrained(tmp_path)
    torch.manual_seed(0)
    sizes = transformers.LlamaConfig(vocab_size=letters.get_vocab_size(), hidden_size=32, intermediate_size=64,
                                     num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=128)
    transformers.LlamaForCausalLM(sizes).save_pretrained(tmp_path)
    adapt_hub = script("record").recipe("05_adapters", {"adapt_hub"})["adapt_hub"]
    prose = corpus("prose")
    train, held = (bytes(part[:8_000].tolist()).decode(errors="ignore") for part in (prose.train, prose.val))
    before, after, learning, everything = adapt_hub(str(tmp_path), train, held, lr=0.03, steps=15)
    assert before == pytest.approx(8, abs=0.3)  # random weights: a byte is a guess among 256
    assert after < before - 0.2
    assert learning == 2 * 4 * sum(a + b for a, b in [(32, 32)] * 4 + [(32, 64)] * 3) and learning < everything
