"""The shared networks: shapes, sizes, GPT-2 as a second opinion, the shipped weights, and sentences for bad input."""

import hashlib
import json
import math
from importlib import resources
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_lib import models
from course_lib.counters import count
from course_lib.data import corpus
from course_lib.models import ByteTransformer, ByteWindowLM, DigitsMLP, pretrained
from course_lib.moe import SparseMoE

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("hidden", [(), (64,), [32, 16]])
def test_shape_and_parameter_count(hidden):
    model, sizes = DigitsMLP(hidden), (64, *hidden, 10)
    assert model(torch.zeros(5, 64)).shape == (5, 10)
    assert sum(p.numel() for p in model.parameters()) == sum(a * b + b for a, b in pairwise(sizes))


def test_other_sizes():
    assert DigitsMLP((4,), d_in=3, n_classes=2)(torch.zeros(2, 5, 3)).shape == (2, 5, 2)


def test_relu_stands_between_the_layers():
    model = DigitsMLP((8,))
    x = torch.randn(4, 64)
    assert not torch.allclose(model(x) + model(-x), 2 * model(0 * x), atol=1e-3)  # true of a linear map
    assert torch.allclose((linear := DigitsMLP(()))(x) + linear(-x), 2 * linear(0 * x), atol=1e-5)


@pytest.mark.parametrize("kwargs, error, words", [
    ({"hidden": (64, 0)}, ValueError, "hidden size is 0"), ({"hidden": (1.5,)}, ValueError, "1.5"),
    ({"hidden": 64}, TypeError, r"hidden is 64.*\(64,\)"), ({"hidden": "64"}, TypeError, "'64'"),
    ({"d_in": -1}, ValueError, "d_in is -1"), ({"n_classes": True}, ValueError, "n_classes is True")])
def test_bad_sizes(kwargs, error, words):
    with pytest.raises(error, match=words):
        DigitsMLP(**kwargs)


def test_bad_input_shape():
    with pytest.raises(ValueError, match=r"\[2, 8, 8\].*reads 64.*reshape"):
        DigitsMLP()(torch.zeros(2, 8, 8))


def some_bytes(*shape):
    return torch.randint(256, shape)


# The window model

def sparse():
    return SparseMoE(16, 8, n_experts=4, top_k=1)


@pytest.mark.parametrize("feed_forward", [None, sparse])
def test_window_model_shape_and_gradients(feed_forward):
    model = ByteWindowLM(d_model=16, d_ff=24, n_layers=3, window=5, feed_forward=feed_forward)
    logits = model(some_bytes(7, 5))
    assert logits.shape == (7, 256) and model(some_bytes(0, 5)).shape == (0, 256)
    F.cross_entropy(logits, some_bytes(7)).backward()
    assert all(p.grad is not None for p in model.parameters())
    layers = [m for m in model.modules() if isinstance(m, SparseMoE)]
    assert len(layers) == (3 if feed_forward else 0) and len(set(map(id, layers))) == len(layers)


def test_window_model_parameters_and_flops():
    model, d, h = ByteWindowLM(), 64, 128
    block, head = 2 * d + d * h + h + h * d + d, 2 * d + d * 256 + 256
    counts = count(model, some_bytes(10, 8))
    assert counts.parameters == 8 * 256 * d + 2 * block + head
    assert counts.flops == 2 * 10 * (2 * 2 * d * h + d * 256)


def test_window_model_sees_the_order_and_every_place():
    model, window = ByteWindowLM(d_model=16, d_ff=24).eval(), torch.tensor([[10, 20, 30, 40, 50, 60, 70, 80]])
    logits = model(window)
    assert (model(window.flip(1)) - logits).abs().max() > 1e-3
    for place in range(8):
        other = window.clone()
        other[0, place] = 99
        assert (model(other) - logits).abs().max() > 1e-3


def test_window_model_treats_each_window_alone_and_any_kind_of_whole_number():
    model, windows = ByteWindowLM(d_model=16, d_ff=24).eval(), some_bytes(6, 8)
    together = model(windows)
    assert torch.allclose(torch.cat([model(w) for w in windows.split(1)]), together, atol=1e-5)
    assert torch.equal(model(windows.to(torch.uint8)), together)


def test_window_model_adds_each_block_to_what_comes_in():
    model = ByteWindowLM(d_model=16, feed_forward=lambda: nn.Linear(16, 16, bias=False))
    with torch.no_grad():
        for block in model.blocks:
            block.weight.zero_()
    windows = some_bytes(3, 8)
    rows = torch.stack([model.embedding.weight[place * 256 + windows[:, place]] for place in range(8)])
    assert torch.allclose(model(windows), model.head(rows.sum(0)), atol=1e-5)


# The transformer

def small(**sizes):
    model = ByteTransformer(**{"d_model": 16, "n_layers": 3, "n_heads": 4, "context": 12, **sizes}).eval()
    with torch.no_grad():  # further from zero than a fresh start, so that a slip shows
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return model


def test_transformer_has_about_3_3_million_parameters():
    model, d = ByteTransformer(), 256
    exits = sum(p.numel() for p in model.exits.parameters())
    block = 12 * d * d + 13 * d  # GPT-2's: matrices; then biases and two norms
    whole = sum(p.numel() for p in model.parameters()) - exits
    assert whole == (256 + 128) * d + 4 * block + 2 * d + d * 256
    assert 3.2e6 < whole < 3.4e6 and exits == 4 * (2 * d + d * 256)


def test_transformer_equals_gpt2_with_the_same_weights():
    from transformers import GPT2Config, GPT2LMHeadModel
    ours, d, layers = small(), 16, 3
    theirs = GPT2LMHeadModel(GPT2Config(vocab_size=256, n_positions=12, n_embd=d, n_layer=layers, n_head=4,
                                        tie_word_embeddings=False)).eval()
    with torch.no_grad():
        theirs.transformer.wte.weight.copy_(ours.tokens.weight)
        theirs.transformer.wpe.weight.copy_(ours.places.weight)
        theirs.lm_head.weight.copy_(ours.head.weight)
        pairs = [(theirs.transformer.ln_f, ours.norm)]
        for a, b in zip(theirs.transformer.h, ours.blocks):
            pairs += [(a.ln_1, b.norm_1), (a.ln_2, b.norm_2), (a.attn.c_attn, b.qkv), (a.attn.c_proj, b.out),
                      (a.mlp.c_fc, b.up), (a.mlp.c_proj, b.down)]
        for a, b in pairs:
            a.weight.copy_(b.weight.t())  # theirs stores a linear map the other way round; a norm stays as it is
            a.bias.copy_(b.bias)
    tokens = some_bytes(2, 12)
    expected = theirs(tokens).logits
    assert expected.std() > 0.1 and torch.allclose(ours(tokens), expected, atol=1e-4)


def test_a_later_byte_never_changes_an_earlier_answer():
    model, tokens = small(), some_bytes(1, 12)
    logits = model.every_exit(tokens)
    for place in (1, 6, 11):
        other = tokens.clone()
        other[0, place] = (other[0, place] + 1) % 256
        changed = (model.every_exit(other) - logits).abs().amax((1, 3))  # [exit, place]
        assert changed[:, :place].max() < 1e-6
        assert changed[:, place].min() > 1e-4
        assert changed[1:, place:].min() > 1e-7  # attention carries it on; the exit before it has none
        assert changed[0, place + 1:].sum() == 0
    assert torch.allclose(model(tokens[:, :5]), model(tokens)[:, :5], atol=1e-5)


def test_every_exit_is_each_exit():
    model, tokens = small(), some_bytes(2, 9)
    together = model.every_exit(tokens)
    assert together.shape == (4, 2, 9, 256)
    for n in range(4):
        assert torch.allclose(model(tokens, exit=n), together[n], atol=1e-5)
    assert torch.equal(model(tokens), model(tokens, exit=3))
    assert all((a - b).abs().max() > 1e-2 for a, b in pairwise(together))


def test_an_earlier_exit_costs_its_blocks_and_no_more():
    model, tokens = small(), some_bytes(1, 12)
    read = 2 * 12 * 16 * 256
    block = 2 * 12 * 12 * 16 * 16 + 2 * 2 * 12 * 12 * 16
    for n in range(4):
        class Exit(nn.Module):
            def __init__(self):
                super().__init__()
                self.model = model

            def forward(self, tokens, n=n):
                return self.model(tokens, exit=n)
        assert count(Exit(), tokens).flops == n * block + read


def test_a_fresh_transformer_guesses_evenly():
    with torch.no_grad():
        loss = F.cross_entropy(ByteTransformer()(some_bytes(1, 64)).flatten(0, 1), some_bytes(64))
    assert 5.4 < loss.item() < 5.9  # ln 256 = 5.55


# The shipped weights

@pytest.fixture(scope="module")
def shipped():
    return pretrained(), pretrained(about=True)


def test_the_checkpoint_is_small_and_as_recorded(shipped):
    model, about = shipped
    file = resources.files("course_lib") / "assets" / "byte_transformer.pt"
    data = file.read_bytes()
    assert len(data) == about["file_bytes"] < 8e6
    assert hashlib.sha256(data).hexdigest() == about["sha256"]
    exits = sum(p.numel() for p in model.exits.parameters())
    assert (about["parameters"], about["exit_parameters"]) == (sum(p.numel() for p in model.parameters()) - exits, exits)
    assert about["licence"] and about["corpus_licence"] and about["corpus"] == "code" and about["python"]
    assert not model.training and {p.dtype for p in model.parameters()} == {torch.float32}
    assert all(torch.equal(p, p.half().float()) for p in model.parameters())
    assert json.dumps(about)


def test_each_call_gives_weights_of_its_own(shipped):
    one, two = pretrained(), pretrained()
    with torch.no_grad():
        one.head.weight.zero_()
    about = pretrained(about=True)
    about.clear()
    assert torch.equal(two.head.weight, shipped[0].head.weight) and pretrained(about=True)


@pytest.mark.slow
def test_the_recorded_result_is_found_again_on_held_out_files(shipped):
    """The windows of the record. Another release of Python has a few other bytes there: then it is nearly the same."""
    model, about = shipped
    code, context, n = corpus("code"), model.context, 256
    starts = torch.linspace(0, len(code.val) - context - 1, n).long()[:, None]
    text, nats = code.val[starts + torch.arange(context + 1)].long(), 0
    with torch.no_grad():
        for rows in text.split(32):
            logits = model.every_exit(rows[:, :-1])
            nats += torch.stack([F.cross_entropy(exit.flatten(0, 1), rows[:, 1:].flatten()) for exit in logits])
    bits, recorded = (nats / (n // 32) / math.log(2)).tolist(), about["held_out_bits_per_byte"]
    same = code.sha256 == about["corpus_sha256"]
    assert bits == pytest.approx(recorded, abs=0.02 if same else 0.15)
    assert all(a - b > 0.03 for a, b in pairwise(bits))  # each block helps
    assert bits[0] - bits[-1] > 1 and bits[-1] < 2.2


@pytest.fixture
def damaged(monkeypatch, tmp_path):
    def install(change):
        assets = tmp_path / "assets"
        assets.mkdir()
        source = resources.files("course_lib") / "assets"
        (assets / "byte_transformer.json").write_text((source / "byte_transformer.json").read_text())
        data = bytearray((source / "byte_transformer.pt").read_bytes())
        change(data)
        (assets / "byte_transformer.pt").write_bytes(data)
        monkeypatch.setattr(models.resources, "files", lambda _: tmp_path)
        models._checkpoint.cache_clear()
    yield install
    models._checkpoint.cache_clear()


@pytest.mark.parametrize("change", [lambda d: d.__setitem__(5000, d[5000] ^ 1), lambda d: d.pop(), lambda d: d.clear()])
def test_a_damaged_checkpoint_is_refused(damaged, change):
    damaged(change)
    with pytest.raises(ValueError, match="byte_transformer.pt is damaged.*install the course again") as caught:
        pretrained()
    assert "\n" not in str(caught.value)


# Bad input

@pytest.mark.parametrize("call, words", [
    (lambda: ByteWindowLM(window=0), "window is 0"), (lambda: ByteWindowLM(d_model=1.5), "d_model is 1.5"),
    (lambda: ByteWindowLM()(some_bytes(3, 7)), r"\[3, 7\].*\[N, 8\].*byte_windows"),
    (lambda: ByteWindowLM()(some_bytes(8)), r"\[8\].*\[N, 8\]"),
    (lambda: ByteWindowLM()(torch.zeros(3, 8)), "torch.float32.*whole numbers"),
    (lambda: ByteWindowLM()(some_bytes(3, 8) + 1000), "from 1... to 1..., but a byte"),
    (lambda: ByteWindowLM()(torch.full((3, 8), -1)), "from -1 to -1, but a byte"),
    (lambda: ByteTransformer(n_heads=3), "d_model=256.*n_heads=3"), (lambda: ByteTransformer(context=0), "context is 0"),
    (lambda: small()(some_bytes(1, 13)), r"\[1, 13\].*T from 1 to 12"), (lambda: small()(some_bytes(12)), r"shape \[12\]"),
    (lambda: small()(torch.zeros(1, 4)), "torch.float32"), (lambda: small()(torch.full((1, 4), 256)), "to 256, but a byte"),
    (lambda: small().every_exit(torch.zeros(1, 0, dtype=torch.int64)), r"\[1, 0\]"),
    (lambda: small()(some_bytes(1, 4), exit=4), "exit is 4; choose 0 to 3"),
    (lambda: small()(some_bytes(1, 4), exit=-1), "exit is -1"), (lambda: small()(some_bytes(1, 4), exit=1.5), "exit is 1.5"),
    (lambda: small().load_state_dict(small(d_model=8).state_dict()), r"tokens.weight has shape \[256, 8\].*sizes it was"),
    (lambda: ByteWindowLM().load_state_dict(ByteWindowLM(d_ff=64).state_dict()), r"blocks.0.0.weight has shape \[64, 64"),
])
def test_byte_models_refuse_bad_input_in_one_sentence(call, words):
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
