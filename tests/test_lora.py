"""Adapters against Hugging Face peft, against the definition by hand, and for what they must leave alone: the base."""

import copy
import io
import re
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_lib import lora
from course_lib.counters import count
from course_lib.data import digits, few, shifted
from course_lib.lora import (
    LoRALinear,
    add_lora,
    load_lora,
    lora_state_dict,
    merge_lora,
    trainable_parameters,
    unmerge_lora,
    use_adapter,
)
from course_lib.models import ByteTransformer, DigitsMLP, pretrained
from course_lib.training import accuracy, train

pytestmark = pytest.mark.usefixtures("one_thread")
FIRST, SECOND, LAST = "layers.0", "layers.2", "layers.4"  # the linear layers of mlp(): 64 to 32, 32 to 16, 16 to 10
SIZES = {FIRST: (64, 32), SECOND: (32, 16), LAST: (16, 10)}


def mlp(seed=1):
    torch.manual_seed(seed)
    return DigitsMLP((32, 16)).eval()


def images(n=24, seed=5):
    return torch.rand(n, 64, generator=torch.Generator().manual_seed(seed))


def sentences(n=2, length=33, seed=5):
    return torch.randint(256, (n, length), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def taught(model, seed=3, scale=0.3):
    """Gives the active adapter weights with which it answers differently, in place of a training run."""
    rng = torch.Generator().manual_seed(seed)
    for layer in adapted(model).values():
        if layer.active:
            b = layer.lora_B[layer.active]
            b.copy_(scale * torch.randn(b.shape, generator=rng, dtype=torch.float64))
    return model


def adapted(model):
    return {name: m for name, m in model.named_modules() if isinstance(m, LoRALinear)}


def bits(tensor):
    return tensor.detach().double().numpy().tobytes()  # every float format here fits into a double


def base_bits(model):
    return {name: bits(p) for name, p in model.named_parameters() if ".lora_" not in name}


def picture(model):
    """All that a refused call could have changed."""
    return ([(name, type(m), m.training, id(m)) for name, m in model.named_modules()],
            [(name, id(p), p.requires_grad, bits(p)) for name, p in model.named_parameters(remove_duplicate=False)],
            [(m.active, dict(m.alpha), m.unmerged is None or bits(m.unmerged)) for m in adapted(model).values()])


@contextmanager
def refused(words, model):
    """Inside, one sentence with these words must be raised, and the model stays as it is."""
    before, random = picture(model), torch.get_rng_state()
    with pytest.raises(ValueError, match=words) as caught:
        yield
    assert "\n" not in str(caught.value)
    assert picture(model) == before and torch.equal(torch.get_rng_state(), random)


def learn(model, batches, loss, lr=1e-2):
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr)
    for batch in batches:
        optimizer.zero_grad()
        loss(model, batch).backward()
        optimizer.step()


def learn_digits(model, steps=5):
    x, y = images(16 * steps, seed=8), torch.arange(16 * steps) % 10
    learn(model, list(zip(x.split(16), y.split(16))), lambda m, batch: F.cross_entropy(m(batch[0]), batch[1]))
    return model


def saved(model):
    """The adapter as it comes back from a file, and how large that is."""
    file = io.BytesIO()
    torch.save(lora_state_dict(model), file)
    file.seek(0)
    return torch.load(file, weights_only=True), file.getbuffer().nbytes


def test_the_whole_of_lora_is_under_150_lines():
    assert len(Path(lora.__file__).read_text(encoding="utf-8").splitlines()) < 150


# A second opinion: Hugging Face peft

def digits_case():
    batches = [(images(32, seed), torch.arange(32) % 10) for seed in range(5)]
    return mlp(), [FIRST, LAST], images(100, 9), batches, lambda m, batch: F.cross_entropy(m(batch[0]), batch[1])


def text_case():
    model = pretrained()
    targets = [f"blocks.{i}.{name}" for i in range(4) for name in ("qkv", "down")]
    return (model, targets, sentences(2, 32), [sentences(2, 33, seed) for seed in range(5)],
            lambda m, batch: F.cross_entropy(m(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten()))


@pytest.mark.parametrize("case, lr", [(digits_case, 1e-2), (text_case, 1e-3)], ids=["digits", "text"])
def test_equal_to_hugging_faces_peft(case, lr):
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict

    model, targets, x, batches, loss = case()
    plain = model(x)
    theirs = get_peft_model(copy.deepcopy(model), LoraConfig(r=3, lora_alpha=8, lora_dropout=0.0, target_modules=targets))
    ours = add_lora(model, 3, targets, alpha=8)

    def pairs():
        named = dict(theirs.base_model.model.named_parameters())
        return [(p, named[f"{name}.weight"]) for name, p in ours.named_parameters() if ".lora_" in name]

    assert len(pairs()) == 2 * len(targets) and all(a.shape == b.shape for a, b in pairs())
    with torch.no_grad():
        for own, other in pairs():
            other.copy_(own)
    assert (trainable_parameters(ours), sum(p.numel() for p in ours.parameters())) == theirs.get_nb_trainable_parameters()
    numbers = sum(v.numel() for v in get_peft_model_state_dict(theirs).values())
    assert numbers == sum(v.numel() for k, v in lora_state_dict(ours).items() if ".lora_" in k)
    theirs.eval()
    assert torch.equal(ours(x), theirs(x)) and torch.equal(ours(x), plain)

    learn(ours, batches, loss, lr)
    learn(theirs, batches, loss, lr)
    answers, scale = ours(x), plain.abs().max()
    assert (answers - plain).abs().max() > 0.02 * scale  # five steps that did something
    assert (answers - theirs(x)).abs().max() < 1e-6 * scale
    assert all(torch.allclose(own, other, rtol=1e-5, atol=1e-7) for own, other in pairs())

    merged = theirs.merge_and_unload()
    assert (merge_lora(ours)(x) - merged(x)).abs().max() < 1e-6 * scale
    for name in targets:
        assert torch.allclose(ours.get_submodule(name).weight, merged.get_submodule(name).weight, atol=1e-7)


# The layer by its definition

@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(6,), (3, 6), (2, 3, 6)])
def test_a_layer_answers_as_equation_3_says(shape, bias):
    base = nn.Sequential(nn.Linear(6, 4, bias=bias)).double()
    model, x = taught(add_lora(base, 2, alpha=5)), torch.randn(shape, dtype=torch.float64)
    w, a, b = model[0].weight, model[0].lora_A["default"], model[0].lora_B["default"]
    assert (a.shape, b.shape) == ((2, 6), (4, 2))
    by_hand = x @ (w + 5 / 2 * b @ a).T + (model[0].bias if bias else 0)
    assert torch.allclose(model(x), by_hand, rtol=0, atol=1e-13)


def test_alpha_is_the_rank_unless_given():
    model = taught(add_lora(mlp(), 2, FIRST))
    twice = taught(add_lora(mlp(), 2, FIRST, alpha=4))
    for half, whole in ((model, 1.0), (twice, 2.0)):
        layer = half.layers[0]
        assert layer.parts()[2] == whole and layer.alpha == {"default": 2 * whole}


def test_a_starts_gaussian_with_variance_one_third_of_one_over_d_in_and_b_at_zero():
    model = add_lora(nn.Sequential(nn.Linear(400, 300), nn.Linear(300, 250)), 200)
    for layer, d_in in ((model[0], 400), (model[1], 300)):
        a = layer.lora_A["default"].detach().double() * (3 * d_in) ** 0.5  # a standard Gaussian, 60,000 numbers or more
        assert abs(a.mean()) < 0.03 and 0.95 < a.square().mean() < 1.05
        assert 2.7 < (a**4).mean() < 3.3  # 3 for a Gaussian; numbers in equal shares would give 1.8
        assert not layer.lora_B["default"].any()
    assert not torch.equal(model[0].lora_A["default"][:, :300], model[1].lora_A["default"])


@pytest.mark.parametrize("make, x", [(mlp, images), (pretrained, sentences)])
def test_a_new_adapter_changes_no_bit_of_the_answers(make, x):
    model, x = make(), x()
    before = model(x)
    assert torch.equal(add_lora(model, 4, alpha=16)(x), before)


def test_the_seed_decides_the_start():
    one, same, other = (add_lora(mlp(seed), 4) for seed in (1, 1, 2))
    first = [m.layers[0].lora_A["default"] for m in (one, same, other)]
    assert torch.equal(first[0], first[1]) and not torch.equal(first[0], first[2])


def test_an_adapter_takes_over_weight_and_bias_and_keeps_their_names():
    model = mlp()
    names, weights = dict(model.named_parameters()), [(m.weight, m.bias) for m in model.layers[::2]]
    add_lora(model, 2, ["layers.0", "layers.4"])
    assert all(dict(model.named_parameters())[name] is p for name, p in names.items())
    assert all((m.weight is w and m.bias is b) for m, (w, b) in zip(model.layers[::2], weights))
    assert [type(m) for m in model.layers[::2]] == [LoRALinear, nn.Linear, LoRALinear]
    assert isinstance(model.layers[0], nn.Linear) and "in_features=64, out_features=32" in repr(model.layers[0])


@pytest.mark.parametrize("targets, found", [
    ("*", {FIRST, SECOND, LAST}), (FIRST, {FIRST}), ([FIRST, LAST], {FIRST, LAST}), ((LAST, "layers.[02]"), SIZES),
    ("*.2", {SECOND}), (iter([SECOND]), {SECOND}), (["*", FIRST], SIZES)])
def test_targets_are_names_or_patterns(targets, found):
    assert set(adapted(add_lora(mlp(), 2, targets))) == set(found)


def test_a_name_is_not_the_start_of_another():
    model = nn.Sequential(*(nn.Linear(3, 3) for _ in range(12)))
    assert set(adapted(add_lora(model, 1, ["1", "?1"]))) == {"1", "11"}


def test_targets_in_a_transformer():
    model = add_lora(ByteTransformer(32, 2, 2, 16), 2, ["blocks.*.qkv", "blocks.1.*"])
    assert set(adapted(model)) == {"blocks.0.qkv", *(f"blocks.1.{name}" for name in ("qkv", "out", "up", "down"))}


@pytest.mark.parametrize("rank, targets", [(1, "*"), (3, [FIRST]), (10, "*"), (16, [FIRST, SECOND])])
def test_trainable_parameters_are_rank_times_both_widths(rank, targets):
    model = mlp()
    assert trainable_parameters(model) == sum(m * n + n for m, n in SIZES.values())
    add_lora(model, rank, targets)
    chosen = SIZES if targets == "*" else targets
    assert trainable_parameters(model) == sum(rank * sum(SIZES[name]) for name in chosen)
    assert all(p.requires_grad == (".lora_" in name) for name, p in model.named_parameters())
    assert trainable_parameters(use_adapter(model, None)) == 0


def test_a_shared_weight_counts_once():
    model = nn.ModuleList([nn.Embedding(20, 8), nn.Linear(8, 20)])
    model[1].weight = model[0].weight
    assert trainable_parameters(model) == 20 * 8 + 20
    assert trainable_parameters(model.requires_grad_(False)) == 0


# Training leaves the base alone

@pytest.mark.parametrize("given", ["those that train", "all"])
def test_the_base_is_bit_identical_after_training(given):
    model, x = mlp(), images()
    before, answers = base_bits(model), model(x)
    add_lora(model, 4, alpha=8)
    parameters = [p for p in model.parameters() if p.requires_grad or given == "all"]
    optimizer = torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.1)
    for seed in range(5):
        optimizer.zero_grad()
        F.cross_entropy(model(images(16, seed)), torch.arange(16) % 10).backward()
        optimizer.step()
    assert base_bits(model) == before and all(p.grad is None for n, p in model.named_parameters() if ".lora_" not in n)
    assert all(layer.lora_B["default"].any() for layer in adapted(model).values())
    assert (model(x) - answers).abs().max() > 0.01
    assert torch.equal(use_adapter(model, None)(x), answers)


def test_an_adapter_learns_another_scanner_and_none_gives_the_old_reader_back():
    data = digits()
    model = mlp()
    train(model, few(data.train, 500), data.val, epochs=15, progress=False)
    turned, val = shifted(few(data.train, 500, seed=1), "rotated"), shifted(data.val, "rotated")
    clean, before = accuracy(model, data.val), base_bits(model)
    lost = accuracy(model, val)
    add_lora(model, 8, alpha=16)
    train(model, turned, val, epochs=15, progress=False)
    assert clean > 0.8 and lost < 0.5 and accuracy(model, val) > lost + 0.2
    assert base_bits(model) == before
    assert accuracy(use_adapter(model, None), data.val) == clean


# Several adapters on one base

@pytest.fixture
def two():
    """A base with two adapters, of other ranks and on other layers: (model, x, answers by name)."""
    model, x = mlp(), images()
    answers = {None: model(x)}
    taught(add_lora(model, 2, [FIRST, SECOND], alpha=6, name="left"), seed=1)
    answers["left"] = model(x)
    taught(add_lora(model, 5, [SECOND, LAST], name="right"), seed=2)
    answers["right"] = model(x)
    return model, x, answers


def test_each_adapter_gives_its_own_answers(two):
    model, x, answers = two
    for one, other in ((None, "left"), (None, "right"), ("left", "right")):
        assert (answers[one] - answers[other]).abs().max() > 0.05
    for name in ("left", "right", None, "right", "left", "left", None):
        assert use_adapter(model, name) is model and torch.equal(model(x), answers[name])


def test_the_same_as_one_adapter_alone_on_the_base(two):
    _, x, answers = two
    for name, rank, targets, alpha, seed in (("left", 2, [FIRST, SECOND], 6, 1), ("right", 5, [SECOND, LAST], 5, 2)):
        model, own = mlp(), copy.deepcopy(use_adapter(two[0], name))
        add_lora(model, rank, targets, alpha=alpha)
        for key, layer in adapted(model).items():
            layer.lora_A["default"].data, layer.lora_B["default"].data = (
                own.get_submodule(key).lora_A[name].data, own.get_submodule(key).lora_B[name].data)
        assert torch.equal(model(x), answers[name])


def test_a_layer_without_the_adapter_answers_as_the_base(two):
    model, _, _ = two
    use_adapter(model, "left")
    h, layer = torch.rand(4, 16), model.layers[4]
    assert layer.active is None and torch.equal(layer(h), F.linear(h, layer.weight, layer.bias))


@pytest.mark.parametrize("name, other", [("left", "right"), ("right", "left")])
def test_only_the_active_adapter_trains(two, name, other):
    model, x, answers = two
    use_adapter(model, name)
    for key, p in model.named_parameters():
        assert p.requires_grad == key.endswith(f".{name}")
    before = {key: bits(p) for key, p in model.named_parameters()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)  # it is given all of them
    F.cross_entropy(model(x), torch.arange(len(x)) % 10).backward()
    optimizer.step()
    assert {key for key, p in model.named_parameters() if bits(p) != before[key]} == {
        key for key in before if key.endswith(f".{name}")}
    assert not torch.equal(model(x), answers[name])
    assert torch.equal(use_adapter(model, other)(x), answers[other])
    assert torch.equal(use_adapter(model, None)(x), answers[None])


def test_numbers_of_two_adapters(two):
    model, _, _ = two
    assert trainable_parameters(use_adapter(model, "left")) == 2 * (64 + 32) + 2 * (32 + 16)
    assert trainable_parameters(use_adapter(model, "right")) == 5 * (32 + 16) + 5 * (16 + 10)
    assert count(model, images()).active_parameters == sum(m * n + n for m, n in SIZES.values()) + 5 * (48 + 26)


# Merge

def relative(a, b):
    """The largest difference, in shares of the largest logit: errors of rounding grow with what is added up."""
    return ((a - b).abs().max() / b.abs().max()).item()


@pytest.mark.parametrize("make, x, options", [
    (mlp, images, {"rank": 4, "alpha": 9}), (mlp, images, {"rank": 10}),
    (pretrained, sentences, {"rank": 4, "alpha": 8, "targets": "blocks.*"})])
def test_merged_equals_unmerged_and_unmerging_restores_every_bit(make, x, options):
    model, x = make(), x()
    with torch.no_grad():
        plain, before = model(x), base_bits(model)
        taught(add_lora(model, **options), scale=0.05 if make is pretrained else 0.3)
        answers, state = model(x), {k: bits(v) for k, v in model.state_dict().items()}
        assert relative(answers, plain) > 0.05
        for _ in range(3):
            assert merge_lora(model) is model and relative(model(x), answers) <= 1e-5
            assert all(bits(m.weight) != before[f"{key}.weight"] for key, m in adapted(model).items())
            assert unmerge_lora(model) is model and torch.equal(model(x), answers)
            assert {k: bits(v) for k, v in model.state_dict().items()} == state
        assert base_bits(model) == before and torch.equal(use_adapter(model, None)(x), plain)


def test_in_double_precision_merging_is_exact_to_twelve_digits():
    model, x = taught(add_lora(mlp().double(), 4, alpha=9)), images().double()
    answers = model(x)
    assert relative(merge_lora(model)(x), answers) < 1e-12


def test_merging_touches_only_the_active_adapters_layers(two):
    model, x, answers = two
    before = base_bits(model)
    merge_lora(use_adapter(model, "left"))
    assert {key for key, value in base_bits(model).items() if value != before[key]} == {
        f"{FIRST}.weight", f"{SECOND}.weight"}
    assert relative(model(x), answers["left"]) <= 1e-5
    unmerge_lora(model)
    merge_lora(use_adapter(model, "right"))
    assert relative(model(x), answers["right"]) <= 1e-5
    assert torch.equal(use_adapter(unmerge_lora(model), None)(x), answers[None])


def test_a_merged_model_does_the_work_of_the_base_alone():
    model, x = mlp(), images()
    plain = count(model, x)
    add_lora(model, 4, [FIRST, LAST])
    extra = 4 * (64 + 32 + 16 + 10)
    apart = count(model, x)
    assert (apart.flops, apart.active_parameters) == (plain.flops + 2 * len(x) * extra, plain.active_parameters + extra)
    merged = count(merge_lora(model), x)
    assert (merged.flops, merged.active_parameters) == (plain.flops, plain.active_parameters)
    assert count(unmerge_lora(model), x).flops == apart.flops
    assert count(use_adapter(model, None), x).flops == plain.flops


def test_state_dict_of_a_merged_and_of_an_unmerged_model():
    model, x = taught(add_lora(mlp(), 4, alpha=9)), images()
    answers, names = model(x), list(model.state_dict())
    again = add_lora(mlp(seed=2), 4, alpha=9)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(x), answers)
    merge_lora(model)
    assert list(model.state_dict()) == names  # no copy of the base's weights comes along
    plain = mlp(seed=2)
    plain.load_state_dict({key: value for key, value in model.state_dict().items() if ".lora_" not in key})
    assert relative(plain(x), answers) <= 1e-5


@pytest.mark.parametrize("call", [
    merge_lora, lambda m: use_adapter(m, "right"), lambda m: use_adapter(m, None), lambda m: add_lora(m, 2, name="third"),
    lambda m: add_lora(m, 2), lora_state_dict, lambda m: load_lora(m, {"alpha": torch.tensor(1)}, "third")])
def test_while_one_is_merged_no_other_call_is_taken(two, call):
    model, x, answers = two
    merge_lora(use_adapter(model, "left"))
    with refused(r"merged.*unmerge_lora\(model\) first", model):
        call(model)
    assert relative(model(x), answers["left"]) <= 1e-5 and torch.equal(unmerge_lora(model)(x), answers["left"])


def test_an_adapter_of_this_very_base_is_not_loaded_while_one_is_merged():
    model = taught(add_lora(mlp(), 2))
    state = lora_state_dict(model)
    with refused("unmerge_lora", merge_lora(model)):
        load_lora(model, state, "again")


@pytest.mark.parametrize("make", [mlp, lambda: add_lora(mlp(), 2), lambda: use_adapter(add_lora(mlp(), 2), None)],
                         ids=["no adapter", "not merged", "not active"])
def test_nothing_to_unmerge(make):
    model = make()
    with refused(r"no adapter is merged in this DigitsMLP.*merge_lora\(model\)", model):
        unmerge_lora(model)


@pytest.mark.parametrize("call", [merge_lora, lora_state_dict])
@pytest.mark.parametrize("make", [mlp, lambda: use_adapter(add_lora(mlp(), 2), None)], ids=["no adapter", "not active"])
def test_nothing_to_merge_or_to_save(make, call):
    model = make()
    with refused(r"no adapter is active in this DigitsMLP.*use_adapter\(model, name\)", model):
        call(model)


# Save and load

def test_an_adapter_comes_back_from_its_file(tmp_path):
    model, x = taught(add_lora(mlp(), 3, [FIRST, LAST], alpha=7)), images()
    torch.save(lora_state_dict(model), tmp_path / "task.pt")
    again = mlp()
    state = torch.load(tmp_path / "task.pt", weights_only=True)
    assert load_lora(again, state) is again and torch.equal(again(x), model(x))
    assert {key: (m.active, m.alpha, m.lora_A["default"].shape[0]) for key, m in adapted(again).items()} == {
        key: ("default", {"default": 7}, 3) for key in (FIRST, LAST)}
    assert trainable_parameters(again) == trainable_parameters(model) == 3 * (96 + 26)
    assert {k: bits(v) for k, v in lora_state_dict(again).items()} == {k: bits(v) for k, v in state.items()}
    learn_digits(again)  # and it learns on
    assert not torch.equal(again(x), model(x)) and base_bits(again) == base_bits(mlp())


def test_what_is_saved_is_the_active_adapter_alone(two):
    model, _, _ = two
    state = lora_state_dict(use_adapter(model, "left"))
    assert {key: tuple(value.shape) for key, value in state.items()} == {
        f"{FIRST}.lora_A": (2, 64), f"{FIRST}.lora_B": (32, 2), f"{SECOND}.lora_A": (2, 32), f"{SECOND}.lora_B": (16, 2),
        "alpha": (), "base": ()}
    assert state["alpha"] == 6
    taught(model, seed=9)
    assert not torch.equal(model.layers[0].lora_B["left"], state[f"{FIRST}.lora_B"])  # a copy stays as it was saved
    assert not any(value.requires_grad for value in state.values())


def test_a_file_has_about_the_counted_bytes():
    model = taught(add_lora(pretrained(), 4, "blocks.*.qkv"))
    counted = 4 * trainable_parameters(model) + 2 * 8  # and alpha, and the hash of the base
    state, size = saved(model)
    assert counted == sum(v.numel() * v.element_size() for v in state.values()) == 4 * 4 * 4 * (256 + 768) + 16
    assert counted < size < 1.1 * counted + 5000


def test_two_files_on_one_base(two):
    model, x, answers = two
    left, right = (saved(use_adapter(model, name))[0] for name in ("left", "right"))
    again = load_lora(load_lora(mlp(), right), left, "one_more")
    assert torch.equal(again(x), answers["left"]) and again.layers[0].active == "one_more"
    assert torch.equal(use_adapter(again, "default")(x), answers["right"])
    assert torch.equal(use_adapter(again, None)(x), answers[None])
    with refused("'one_more'.*not in use yet", again):
        load_lora(again, left, "one_more")
    with refused("'a b'.*letters", again):
        load_lora(again, left, "a b")


def one_bit(name):
    model = mlp()
    with torch.no_grad():
        model.get_submodule(name).weight.view(torch.int32)[3, 5] ^= 1
    return model


@pytest.mark.parametrize("make", [
    lambda: mlp(seed=2), lambda: one_bit(FIRST), lambda: one_bit(LAST), lambda: DigitsMLP((32,)),
    lambda: DigitsMLP((16, 16)), lambda: nn.Sequential(nn.Linear(64, 10)), lambda: ByteTransformer(32, 1, 2, 16),
    lambda: learn_digits(mlp(), 1), lambda: taught(add_lora(mlp(seed=2), 2, name="own"))],
    ids=["other start", "one bit, first layer", "one bit, last layer", "fewer layers", "other widths", "plain",
         "transformer", "trained on", "with an adapter of its own"])
def test_another_base_is_refused(make):
    state, model = lora_state_dict(taught(add_lora(mlp(), 3, [FIRST, LAST]))), make()
    with refused(f"trained on another base than this {type(model).__name__}", model):
        load_lora(model, state, "other")


def test_the_last_bit_of_a_double_tells_two_bases_apart():
    base, other = mlp().double(), mlp().double()
    with torch.no_grad():
        other.layers[0].weight.view(torch.int64)[0, 0] ^= 1
    state = lora_state_dict(add_lora(base, 2))
    with refused("another base", other):
        load_lora(other, state)
    assert torch.equal(load_lora(mlp().double(), state)(images().double()), base(images().double()))


@pytest.mark.parametrize("state", [dict, lambda: {"alpha": torch.tensor(1)}, lambda: mlp().state_dict(),
                                   lambda: add_lora(mlp(), 2).state_dict()],
                         ids=["nothing", "only alpha", "a base", "a whole model"])
def test_what_is_no_adapter_is_refused(state):
    state, model = state(), mlp()
    with refused("another base", model):
        load_lora(model, state)


# Bad input

@pytest.mark.parametrize("rank, words", [
    (0, "rank is 0"), (-1, "rank is -1"), (True, "rank is True"), (1.5, "rank is 1.5"), ("4", "rank is '4'"),
    (None, "rank is None"), (11, r"rank=11 is above the size of 'layers.4', 16 to 10; choose 1 to 10"),
    (65, r"rank=65 .*'layers.0', 64 to 32; choose 1 to 32")])
def test_a_rank_that_cannot_be(rank, words):
    model = mlp()
    with refused(words, model):
        add_lora(model, rank)
    add_lora(model, 2, name="own")
    with refused(words, model):
        add_lora(model, rank, name="other")


def test_a_rank_of_the_whole_size_is_allowed():
    assert trainable_parameters(add_lora(mlp(), 10, LAST)) == 260


@pytest.mark.parametrize("alpha", [0, -2, True, 0.5, "8"])
def test_an_alpha_that_cannot_be(alpha):
    model = mlp()
    with refused(f"alpha is {alpha!r}", model):
        add_lora(model, 2, alpha=alpha)


@pytest.mark.parametrize("targets, lost", [
    ("head", "'head'"), ("layer", "'layer'"), (["layers.0", "q", "v"], "'q' or 'v'"), ("layers.1", "'layers.1'"),
    ([], "''"), ((), "''"), ("", "''"), ("LAYERS.0", "'LAYERS.0'"), ("layers", "'layers'"), (FIRST + ".weight", "weight'")])
def test_targets_that_match_nothing_list_the_names_there_are(targets, lost):
    model = mlp()
    with refused(f"no linear layer is called .*{re.escape(lost)}; this DigitsMLP has layers.0, layers.2, layers.4$", model):
        add_lora(model, 2, targets)


def test_adapted_layers_are_listed_too():
    model = add_lora(mlp(), 2, FIRST)
    with refused("has layers.0, layers.2, layers.4$", model):
        add_lora(model, 2, "nowhere", name="second")


@pytest.mark.parametrize("name", ["", "a b", "1st", "a.b", "a-b", 3, None, "train", "training", "keys", "half", "copy",
                                  "left"])
def test_a_name_that_cannot_be(two, name):
    model, _, _ = two
    with refused(f"no adapter can be called {name!r} here.*not in use yet", model):
        add_lora(model, 1, name=name)


@pytest.mark.parametrize("name", ["middle", "", "default", 0, "LEFT"])
def test_an_unknown_adapter_lists_the_known_ones(two, name):
    model, _, _ = two
    with refused(f"there is no adapter {name!r}; this model has left, right$", model):
        use_adapter(model, name)


def test_a_model_without_adapters():
    model = mlp()
    with refused("no adapter 'left'; this model has none: call add_lora first", model):
        use_adapter(model, "left")
    before = picture(model)
    assert use_adapter(model, None) is model and picture(model) == before


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.body, self.head = nn.Embedding(20, 8), nn.Linear(8, 8), nn.Linear(8, 20, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, tokens):
        return self.head(self.body(self.tokens(tokens)).relu())


def twice():
    layer = nn.Linear(6, 6)
    return nn.Sequential(layer, nn.ReLU(), layer, nn.Linear(6, 3))


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("make, key, rest", [
    (Tied, "head", "body"), (twice, "0", "3"),
    (lambda: nn.Sequential(nn.utils.weight_norm(nn.Linear(6, 6)), nn.Linear(6, 3)), "0", "1")],
    ids=["embedding and head", "one layer in two places", "a weight that is computed"])
def test_a_weight_that_is_not_the_layers_own_is_refused(make, key, rest):
    model = make()
    for targets in ("*", key, [rest, key]):
        with refused(f"'{key}' shares its weight with another layer.*leave it out of targets", model):
            add_lora(model, 2, targets)
    assert set(adapted(add_lora(model, 2, rest))) == {rest}


def test_a_model_that_is_itself_a_linear_layer():
    model = nn.Linear(4, 3)
    with refused(r"'\*'; this Linear has none inside", model):
        add_lora(model, 1)
    with refused("this Conv2d has none inside", model := nn.Conv2d(1, 1, 3)):
        add_lora(model, 1)


# Other layers, formats and modes

def test_the_product_inside_torchs_attention_is_left_alone():
    """MultiheadAttention reads the weight of its out_proj and never calls it: an adapter there would do nothing."""
    model = nn.MultiheadAttention(16, 4)
    with refused("this MultiheadAttention has none inside", model):
        add_lora(model, 2)
    with refused("'self_attn.out_proj'; this TransformerEncoderLayer has linear1, linear2$",
                 layer := nn.TransformerEncoderLayer(16, 4, 32)):
        add_lora(layer, 2, "self_attn.out_proj")


@pytest.mark.parametrize("wrap", [lambda layer: layer, lambda layer: nn.TransformerEncoder(layer, 2)],
                         ids=["layer", "encoder"])
def test_torchs_encoder_calls_its_adapters_in_eval_mode_too(wrap):
    """There it has a fast path that reads the weights of linear1 and linear2, and calls neither."""
    model, x = wrap(nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True)).eval(), torch.randn(2, 5, 16)
    plain = model(x)
    add_lora(model, 2)
    assert {key.rsplit(".")[-1] for key in adapted(model)} == {"linear1", "linear2"}
    taught(model)
    answers = model.train()(x)
    assert (answers - plain).abs().max() > 0.05
    with torch.no_grad():
        assert torch.allclose(model.eval()(x), answers, atol=1e-5)
        assert torch.allclose(merge_lora(model)(x), answers, atol=1e-5)
        assert torch.allclose(use_adapter(unmerge_lora(model), None)(x), plain, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_bases_in_other_number_formats(dtype):
    model, x = mlp().to(dtype), images().to(dtype)
    plain, before = model(x), base_bits(model)
    assert torch.equal(add_lora(model, 4, alpha=8)(x), plain)
    assert {p.dtype for p in model.parameters()} == {dtype}
    answers = taught(model)(x)
    assert answers.dtype == dtype and relative(answers.double(), plain.double()) > 0.05
    assert relative(merge_lora(model)(x).double(), answers.double()) < 20 * torch.finfo(dtype).eps
    assert torch.equal(unmerge_lora(model)(x), answers) and base_bits(model) == before
    again = load_lora(mlp().to(dtype), saved(model)[0])
    assert torch.equal(again(x), answers) and {p.dtype for p in again.parameters()} == {dtype}


def test_the_same_numbers_in_a_wider_format_are_the_same_base():
    state = lora_state_dict(taught(add_lora(mlp().bfloat16(), 2)))
    model = load_lora(mlp().bfloat16().float(), state)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert torch.equal(model.layers[0].lora_B["default"], state[f"{FIRST}.lora_B"].float())


def test_adapters_move_with_the_model():
    model = taught(add_lora(mlp(), 2)).double()
    assert {p.dtype for p in model.parameters()} == {torch.float64} and model(images().double()).dtype == torch.float64


@pytest.mark.parametrize("merged", [False, True])
def test_a_deep_copy_is_a_model_of_its_own(two, merged):
    model, x, answers = two
    use_adapter(model, "left")
    if merged:
        merge_lora(model)
    shown, before, other = model(x), picture(model), copy.deepcopy(model)
    assert torch.equal(other(x), shown) and not {map(id, model.parameters())} & {map(id, other.parameters())}
    if merged:
        unmerge_lora(other)
    learn_digits(use_adapter(other, "right"))
    assert picture(model) == before and torch.equal(model(x), shown)
    assert torch.equal(use_adapter(other, "left")(x), answers["left"])


@pytest.mark.parametrize("mode", [True, False])
def test_the_mode_stays(mode):
    model = add_lora(mlp().train(mode), 2)
    assert {m.training for m in adapted(model).values()} == {mode} and model.training == mode
    assert {m.training for m in model.train(not mode).modules()} == {not mode}


def test_adapters_come_beside_layers_that_are_not_linear():
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Dropout(0.5), nn.Linear(12, 5))
    add_lora(model.eval(), 2)
    assert set(adapted(model)) == {"4"} and trainable_parameters(model) == 2 * 17
    assert model(torch.rand(2, 1, 4, 4)).shape == (2, 5)
