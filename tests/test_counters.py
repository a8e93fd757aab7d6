"""Counts against formulas derived by hand, against torch's own counter, and without side effects."""

import gc
import warnings
import weakref
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from course_lib.counters import (
    activation_bytes,
    count,
    count_flops,
    count_step,
    fine_tuning_flops,
    optimizer_bytes,
    training_flops,
    training_step_flops,
)
from course_lib.lora import add_lora, merge_lora
from course_lib.models import ByteTransformer, DigitsMLP

B, T, D, H = 3, 8, 16, 4  # batch, tokens, width, heads


def torch_count(fn):
    with FlopCounterMode(display=False) as mode:
        fn()
    return mode.get_total_flops()


class Block(nn.Module):
    """A pre-norm transformer block; `fused` takes scaled_dot_product_attention, else matmul."""

    def __init__(self, fused=True):
        super().__init__()
        self.qkv, self.out = nn.Linear(D, 3 * D), nn.Linear(D, D)
        self.up, self.down = nn.Linear(D, 4 * D), nn.Linear(4 * D, D)
        self.norm, self.fused = nn.LayerNorm(D), fused

    def forward(self, x):
        b, t, _ = x.shape
        q, k, v = self.qkv(self.norm(x)).view(b, t, 3, H, D // H).permute(2, 0, 3, 1, 4)
        if self.fused:
            a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            a = (q @ k.transpose(-1, -2) / (D // H) ** 0.5).softmax(-1) @ v
        x = x + self.out(a.transpose(1, 2).reshape(b, t, D))
        return x + self.down(F.relu(self.up(x)))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(D,), (B, D), (B, T, D)])
def test_linear(shape, bias):
    rows = torch.zeros(shape).numel() // D
    c = count(nn.Linear(D, 5, bias=bias), torch.zeros(shape))
    assert (c.flops, c.parameters) == (2 * rows * D * 5, D * 5 + 5 * bias)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("dim", [1, 2])
def test_conv_forward_and_backward(dim, groups):
    conv = (nn.Conv1d, nn.Conv2d)[dim - 1](4, 8, 3, stride=2, padding=1, groups=groups)
    x = torch.randn(B, 4, *(9,) * dim)
    forward = 2 * B * 8 * (4 // groups) * 3**dim * 5**dim  # 9 -> 5 with stride 2 and padding 1
    assert count(conv, x).flops == forward
    assert training_step_flops(conv, x) == 2 * forward  # weights only: the data need no gradient
    assert training_step_flops(nn.Sequential(conv, nn.Flatten(), nn.Linear(8 * 5**dim, 2)), x) == (
        2 * forward + 3 * 2 * B * 8 * 5**dim * 2)
    x.requires_grad_()
    assert count_flops(lambda: conv(x).sum().backward()) == 3 * forward


def test_transposed_conv_equals_torch():
    conv, x = nn.ConvTranspose2d(4, 6, 3), torch.randn(B, 4, 7, 7, requires_grad=True)
    assert count(conv, x).flops == 2 * B * 4 * 6 * 9 * 49
    assert count_flops(lambda: conv(x).sum().backward()) == torch_count(lambda: conv(x).sum().backward())


def attention_flops(queries=T, keys=T):
    return 2 * 2 * B * queries * keys * D  # scores, then the mixture of values; the heads share the width


@pytest.mark.parametrize("kwargs", [{}, {"is_causal": True}, {"attn_mask": torch.zeros(T, T)}])
def test_attention_function_is_not_zero(kwargs):
    q = torch.randn(B, H, T, D // H, requires_grad=True)
    assert count_flops(F.scaled_dot_product_attention, q, q, q, **kwargs) == attention_flops()
    step = count_flops(lambda: F.scaled_dot_product_attention(q, q, q, **kwargs).square().sum().backward())
    assert step == 3 * attention_flops()


def test_attention_with_fewer_key_heads_and_other_length():
    q, k = torch.randn(B, H, T, D // H), torch.randn(B, 2, 5, D // H)
    flops = count_flops(F.scaled_dot_product_attention, q, k, k, enable_gqa=True)
    assert flops == attention_flops(keys=5)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("need_weights", [True, False])
def test_multihead_attention_fast_path_and_not(training, need_weights):
    class Attend(nn.Module):
        def __init__(self):
            super().__init__()
            self.mha = nn.MultiheadAttention(D, H, batch_first=True)

        def forward(self, x):
            return self.mha(x, x, x, need_weights=need_weights)[0]

    model, x = Attend().train(training), torch.randn(B, T, D)
    c = count(model, x)
    assert c.flops == 2 * B * T * D * 4 * D + attention_flops()
    assert c.active_parameters == c.parameters == 4 * D * D + 4 * D  # out_proj is read, though never called
    assert torch.backends.mha.get_fastpath_enabled()
    with torch.no_grad():
        model(x)  # and the model still works as before


def test_encoder_layer_fast_path():
    layer, x = nn.TransformerEncoderLayer(D, H, 32, batch_first=True).eval(), torch.randn(B, T, D)
    expected = 2 * B * T * (4 * D * D + 2 * 32 * D) + attention_flops()
    assert count(layer, x).flops == expected == count(layer.train(), x).flops


def test_fused_and_plain_block_count_the_same():
    x = torch.randn(B, T, D)
    fused, plain = Block(True), Block(False)
    assert count(fused, x).flops == count(plain, x).flops == torch_count(lambda: plain(x))
    assert training_step_flops(fused, x) == training_step_flops(plain, x)
    assert training_step_flops(plain, x) == torch_count(lambda: plain(x).square().sum().backward())


def test_embedding_costs_nothing_and_is_active_whole():
    model = nn.Embedding(100, D)
    c = count(model, torch.tensor([[1, 2, 3]]))
    assert (c.flops, c.parameters, c.active_parameters) == (0, 1600, 1600)


def test_tied_weights_count_once():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Embedding(50, D), nn.Linear(D, 50, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, tokens):
            return self.head(self.embed(tokens))

    c = count(Tied(), torch.zeros(2, 5, dtype=torch.int64))
    assert (c.parameters, c.active_parameters, c.weight_bytes) == (50 * D, 50 * D, 4 * 50 * D)
    assert c.flops == 2 * 2 * 5 * D * 50


@pytest.mark.skipif(not hasattr(F, "grouped_mm"), reason="this torch has no F.grouped_mm")
def test_grouped_mm_is_not_zero():
    x, w = torch.randn(T, D, requires_grad=True), torch.randn(3, D, 32, requires_grad=True)
    offsets = torch.tensor([3, 3, T], dtype=torch.int32)
    assert count_flops(lambda: F.grouped_mm(x, w, offs=offsets)) == 2 * T * D * 32
    step = count_flops(lambda: F.grouped_mm(x, w, offs=offsets).square().sum().backward())
    assert step == 3 * 2 * T * D * 32


def test_vectors_and_recurrent_layers_are_not_zero():
    a, v = torch.randn(4, 5), torch.randn(5)
    assert count_flops(torch.mv, a, v) == count_flops(torch.addmv, torch.zeros(4), a, v) == 40
    assert count_flops(torch.dot, v, v) == 10
    lstm = nn.LSTM(D, 32, batch_first=True)
    assert count(lstm, torch.randn(B, T, D)).flops == 2 * B * T * 4 * (D * 32 + 32 * 32)


def test_a_product_without_formula_warns():
    with pytest.warns(UserWarning, match="_trilinear"):
        count(nn.Bilinear(4, 5, 6), torch.randn(2, 4), torch.randn(2, 5))


def test_no_warning_for_ordinary_layers():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(),
                          nn.Upsample(scale_factor=2, mode="bilinear"), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                          nn.Dropout(), nn.Linear(4, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        count(model, torch.randn(2, 1, 8, 8))
        with torch.inference_mode():
            inside = count(Block(), torch.randn(B, T, D)).flops
    assert inside == count(Block(), torch.randn(B, T, D)).flops > 0


def test_mlp_training_step_is_exact_and_about_three_forward_passes():
    x, sizes = torch.randn(32, 64), (64, 128, 64, 10)
    model = DigitsMLP((128, 64))
    forward = 2 * 32 * sum(a * b for a, b in pairwise(sizes))
    assert count(model, x).flops == forward
    assert training_step_flops(model, x) == 3 * forward - 2 * 32 * 64 * 128  # no gradient for the input
    assert training_step_flops(model, x) == torch_count(lambda: model(x).square().sum().backward())


def test_2n_and_6nd_meet_the_exact_count_of_a_transformer_block():
    block, x = Block(), torch.randn(B, T, D)
    matrices = sum(p.numel() for p in block.parameters() if p.dim() > 1)
    tokens = B * T
    assert count(block, x).flops == 2 * matrices * tokens + attention_flops()
    # Exactly 3 times: even the first product passes a gradient on, because the norm before it has weights.
    assert training_step_flops(block, x) == training_flops(matrices, tokens) + 3 * attention_flops()


def test_gpt3_training_by_6nd():
    assert training_flops(175e9, 300e9) == pytest.approx(3.15e23)


def test_counting_leaves_no_trace():
    model = nn.Sequential(nn.Linear(D, D), nn.BatchNorm1d(D), nn.Dropout(0.5), nn.Linear(D, 2)).train()
    model[1].eval()
    x = torch.randn(B, D)
    model(x).sum().backward()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    names = {k: id(v) for k, v in [*model.named_parameters(), *model.named_buffers()]}
    gradients, modes = [p.grad.clone() for p in model.parameters()], [m.training for m in model.modules()]
    model[1].train()
    modes[2] = True
    random, grad_mode = torch.get_rng_state(), torch.is_grad_enabled()
    count(model, x)
    training_step_flops(model, x)
    count_flops(F.dropout, x)
    assert torch.equal(random, torch.get_rng_state()) and torch.is_grad_enabled() == grad_mode
    assert [m.training for m in model.modules()] == modes
    assert names == {k: id(v) for k, v in [*model.named_parameters(), *model.named_buffers()]}
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), gradients))
    assert all(p.requires_grad for p in model.parameters())


def test_settings_come_back_after_an_error():
    with pytest.raises(RuntimeError, match="1x5 and 4x2"):
        count(nn.Linear(4, 2), torch.zeros(1, 5))
    assert torch.backends.mha.get_fastpath_enabled() and torch.backends.mkldnn.enabled


def test_layers_that_do_not_run_are_not_active():
    class EarlyExit(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            h = self.first(x)
            return h if x.sum() > 0 else self.second(h)

    model = EarlyExit()
    assert count(model, torch.ones(1, 4)).active_parameters == 20
    assert count(model, -torch.ones(1, 4)).active_parameters == 40


def test_a_sparse_module_states_its_own_number():
    class Sparse(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.randn(8, 4, 4))

        def active_parameters(self):
            return 2 * 16

        def forward(self, x):
            return x @ self.w[0] + x @ self.w[1]

    sparse = Sparse()  # the same one twice: its weights count once
    c = count(nn.Sequential(nn.Linear(4, 4), sparse, sparse), torch.zeros(1, 4))
    assert (c.parameters, c.active_parameters) == (20 + 128, 20 + 32)


def test_count_works_on_the_meta_device():
    with torch.device("meta"):
        c = count(Block(), torch.zeros(B, T, D))
    assert c.flops == count(Block(), torch.zeros(B, T, D)).flops


def test_bytes_follow_number_format_and_trainable_parameters():
    model = nn.Sequential(nn.Linear(10, 10, bias=False), nn.BatchNorm1d(10),
                          nn.Linear(10, 10, bias=False).bfloat16())
    model[0].weight.requires_grad_(False)
    c = count(model[:2], torch.randn(2, 10))
    assert (c.weight_bytes, c.buffer_bytes, c.trainable_parameters) == (400 + 80, 80 + 8, 20)
    assert count(model[:2], torch.randn(2, 10)).gradient_bytes == 80
    assert [optimizer_bytes(model, o) for o in ("sgd", "momentum", "adam", "adamw")] == [0, 280, 560, 560]


@pytest.mark.parametrize("name, make", [
    ("sgd", lambda p: torch.optim.SGD(p, 0.1)), ("momentum", lambda p: torch.optim.SGD(p, 0.1, momentum=0.9)),
    ("rmsprop", torch.optim.RMSprop), ("adagrad", torch.optim.Adagrad), ("adam", torch.optim.Adam),
    ("adamw", torch.optim.AdamW)])
def test_optimizer_bytes_equal_what_torch_keeps(name, make):
    model = DigitsMLP()
    optimizer = make(model.parameters())
    model(torch.randn(2, 64)).sum().backward()
    optimizer.step()
    kept = sum(v.numel() * v.element_size() for s in optimizer.state.values() for k, v in s.items()
               if torch.is_tensor(v) and k != "step")
    assert optimizer_bytes(model, name) == kept


def test_counts_read_well():
    c = count(DigitsMLP((256,)), torch.zeros(1, 64))
    assert "18,944" not in str(c) and f"{64 * 256 * 2 + 256 * 10 * 2:,}" in str(c)
    assert "<table" in c._repr_html_() and "FLOPs" in repr(c)
    with pytest.raises(AttributeError):
        c.flops = 1


@pytest.mark.parametrize("call, error, words", [
    (lambda: count(len, torch.zeros(1)), ValueError, "builtin.*count_flops"),
    (lambda: count(nn.Linear(2, 2)), ValueError, "example"),
    (lambda: training_flops(0, 5), ValueError, "parameters=0"),
    (lambda: training_flops(5, float("nan")), ValueError, "tokens=nan"),
    (lambda: optimizer_bytes(nn.Linear(2, 2), "lion"), ValueError, "'lion'.*adam"),
    (lambda: training_step_flops(nn.Linear(2, 2).requires_grad_(False), torch.zeros(1, 2)), ValueError,
     "requires_grad"),
])
def test_bad_input_gets_one_sentence(call, error, words):
    with pytest.raises(error, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


# A training step in which some weights are frozen

ROWS, WIDTHS, R = 13, (7, 11, 5, 3), 2  # a chain of linear layers 7 -> 11 -> 5 -> 3, and the rank of its adapters
PRODUCTS = [m * n for m, n in pairwise(WIDTHS)]
FORWARD = 2 * ROWS * sum(PRODUCTS)


def chain(trained="full"):
    """Linear layers with ReLU between them, of which `trained` is trained."""
    model = nn.Sequential(*(part for m, n in pairwise(WIDTHS) for part in (nn.Linear(m, n), nn.ReLU())))[:-1]
    if trained.startswith("LoRA"):
        return add_lora(model, R, {"LoRA": "*", "LoRA on the last": "4", "LoRA on the middle": "2"}[trained])
    for name, p in model.named_parameters():
        p.requires_grad_({"full": True, "weights": name.endswith("weight"), "biases": name.endswith("bias"),
                          "first": name.startswith("0."), "head": name.startswith("4."), "last bias": name == "4.bias",
                          }[trained])
    return model


def adapter_flops(*layers):  # of one pass through A and B of these layers
    return 2 * ROWS * R * sum(WIDTHS[i] + WIDTHS[i + 1] for i in layers)


@pytest.mark.parametrize("trained, forward, backward", [
    # gradients of every weight, and of every input but the data
    ("full", FORWARD, 2 * ROWS * (sum(PRODUCTS) + sum(PRODUCTS[1:]))),
    ("weights", FORWARD, 2 * ROWS * (sum(PRODUCTS) + sum(PRODUCTS[1:]))),
    ("head", FORWARD, 2 * ROWS * PRODUCTS[2]),  # nothing before it learns: no gradient goes further
    ("biases", FORWARD, 2 * ROWS * sum(PRODUCTS[1:])),  # the gradients of the inputs alone
    ("last bias", FORWARD, 0),
    ("first", FORWARD, 2 * ROWS * (PRODUCTS[0] + sum(PRODUCTS[1:]))),  # the whole way back, for one layer
    # A and B cost as two small layers, whose weights learn; A of the first layer has no input gradient to give
    ("LoRA", FORWARD + adapter_flops(0, 1, 2),
     2 * ROWS * sum(PRODUCTS[1:]) + 2 * adapter_flops(0, 1, 2) - 2 * ROWS * R * WIDTHS[0]),
    ("LoRA on the last", FORWARD + adapter_flops(2), 2 * adapter_flops(2) - 2 * ROWS * R * WIDTHS[2]),
    ("LoRA on the middle", FORWARD + adapter_flops(1),
     2 * ROWS * PRODUCTS[2] + 2 * adapter_flops(1) - 2 * ROWS * R * WIDTHS[1]),
])
def test_flops_of_a_step_with_frozen_weights_by_hand(trained, forward, backward):
    model, x = chain(trained), torch.randn(ROWS, WIDTHS[0])
    step = count_step(model, x)
    assert (step.forward_flops, step.backward_flops, step.flops) == (forward, backward, forward + backward)
    assert training_step_flops(model, x) == step.flops and count(model, x).flops == forward
    assert step.flops == torch_count(lambda: model(x).square().sum().backward())
    assert count_step(model, x.expand(4, ROWS, WIDTHS[0])).flops == 4 * step.flops  # rows are rows, in any shape


def test_a_batch_that_needs_a_gradient_costs_the_first_layers_input_gradient():
    x = torch.randn(ROWS, WIDTHS[0], requires_grad=True)
    assert count_step(chain(), x).backward_flops == 2 * FORWARD - 2 * ROWS * PRODUCTS[0]  # nobody asks for it here
    assert count_flops(lambda: chain()(x).sum().backward()) == 3 * FORWARD


@pytest.mark.parametrize("trained", ["full", "LoRA"])
def test_4n_and_2t_meet_the_exact_count_up_to_the_first_layer(trained):
    model, x = chain(trained), torch.randn(ROWS, WIDTHS[0])
    n = sum(p.numel() for p in model.parameters() if p.ndim == 2)
    t = sum(p.numel() for p in model.parameters() if p.ndim == 2 and p.requires_grad)
    first = PRODUCTS[0] + (R * WIDTHS[0] if trained == "LoRA" else 0)  # W, and A beside it, read the data
    assert count_step(model, x).flops == fine_tuning_flops(n, t, ROWS) - 2 * ROWS * first


def test_4n_and_2t_meet_the_exact_count_of_a_transformer():
    model, x = ByteTransformer(16, 2, 4, 8).requires_grad_(False), torch.randint(256, (B, T))
    del model.exits
    add_lora(model, R, "blocks.*")
    n = sum(p.numel() for name, p in model.named_parameters() if p.ndim == 2 and not name.startswith(("tokens", "places")))
    trained = R * 2 * (16 + 48 + 16 + 16 + 16 + 64 + 64 + 16)
    first = 16 * 48 + R * 16  # the embeddings are frozen, so no gradient goes beyond the first product
    step = count_step(model, x)
    assert step.trainable_parameters == trained
    assert step.flops == fine_tuning_flops(n, trained, B * T) - 2 * B * T * first + 2 * 3 * attention_flops()


@pytest.mark.parametrize("trained", ["full", "head", "biases", "last bias", "first", "LoRA", "LoRA on the last",
                                     "LoRA on the middle"])
def test_4n_and_2t_are_never_too_low(trained):
    model = chain(trained)
    c = count_step(model, torch.randn(ROWS, WIDTHS[0]))
    assert 0 < c.flops < fine_tuning_flops(c.parameters, c.trainable_parameters, ROWS)


@pytest.mark.parametrize("n, d", [(1, 1), (175e9, 300e9), (12_345, 678), (0.1, 0.3)])
def test_training_everything_is_6nd(n, d):
    assert fine_tuning_flops(n, n, d) == pytest.approx(training_flops(n, d), rel=1e-12)
    assert fine_tuning_flops(n, n / 2, d) == pytest.approx(5 * n * d)
    assert fine_tuning_flops(n, n / 1e9, d) == pytest.approx(4 * n * d)


def test_few_weights_that_learn_save_about_a_third_of_the_work():
    x, sizes = torch.randn(8, 256), (256,) * 6
    full, small = DigitsMLP(sizes[1:], 256, 256), add_lora(DigitsMLP(sizes[1:], 256, 256), 1)
    a, b = count_step(full, x), count_step(small, x)
    assert b.trainable_parameters < 0.02 * a.trainable_parameters
    assert 0.62 < b.flops / a.flops < 0.72  # and not 0.02


def test_a_merged_model_costs_what_its_base_costs():
    model, x = add_lora(chain(), R), torch.randn(ROWS, WIDTHS[0])
    assert count(merge_lora(model), x).flops == FORWARD
    with pytest.raises(ValueError, match="trains nothing here"):
        count_step(model, x)


@pytest.mark.parametrize("optimizer, states", [("sgd", 0), ("momentum", 1), ("rmsprop", 1), ("adagrad", 1), ("adam", 2),
                                               ("adamw", 2)])
@pytest.mark.parametrize("trained", ["full", "biases", "LoRA"])
def test_bytes_of_a_step(trained, optimizer, states):
    model, x = chain(trained), torch.randn(ROWS, WIDTHS[0])
    c = count_step(model, x, optimizer=optimizer)
    adapters = R * (7 + 11 + 11 + 5 + 5 + 3) if trained == "LoRA" else 0
    numbers = {"full": sum(PRODUCTS) + 19, "biases": 19, "LoRA": adapters}[trained]
    assert (c.parameters, c.trainable_parameters) == (sum(PRODUCTS) + 19 + adapters, numbers)
    assert (c.weight_bytes, c.gradient_bytes, c.optimizer_bytes) == (4 * c.parameters, 4 * numbers, 4 * states * numbers)
    assert c.activation_bytes == activation_bytes(model, x) > 0
    assert c.memory_bytes == c.weight_bytes + c.gradient_bytes + c.optimizer_bytes + c.activation_bytes
    assert count_step(model, x).optimizer_bytes == 8 * numbers  # Adam, unless another is named


def test_step_bytes_follow_the_number_format():
    x = torch.randn(ROWS, WIDTHS[0])
    single, half = count_step(chain("LoRA"), x), count_step(chain("LoRA").bfloat16(), x.bfloat16())
    for name in ("weight_bytes", "gradient_bytes", "optimizer_bytes", "activation_bytes", "memory_bytes"):
        assert getattr(single, name) == 2 * getattr(half, name)
    assert single.flops == half.flops


X, H1, H2 = (4 * ROWS * width for width in WIDTHS[:3])  # bytes of the batch, and of what each hidden layer puts out


@pytest.mark.parametrize("trained, kept", [
    ("full", X + H1 + H2),  # the input of each layer; the output of a ReLU is the next one's input, and is kept once
    ("weights", X + H1 + H2),
    ("head", H2),  # only its own input
    ("biases", H1 + H2),  # signs for the two ReLUs; a bias needs no input, so the batch itself is not kept
    ("last bias", 0),
    ("first", X + H1 + H2),
    ("LoRA", X + H1 + H2 + 3 * 4 * ROWS * R),  # for A the input, for B the few numbers that A puts out
    ("LoRA on the last", H2 + 4 * ROWS * R),
    ("LoRA on the middle", H1 + H2 + 4 * ROWS * R),
])
def test_activation_bytes_by_hand(trained, kept):
    model, x = chain(trained), torch.randn(ROWS, WIDTHS[0])
    assert activation_bytes(model, x) == count_step(model, x).activation_bytes == kept
    assert activation_bytes(model, torch.cat([x, x])) == 2 * kept
    assert activation_bytes(model.double(), x.double()) == 2 * kept
    with torch.no_grad():  # the caller's own mode does not matter
        assert activation_bytes(model.float(), x) == kept


def test_parameters_and_buffers_are_no_activations():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.gain = nn.Linear(7, 11), nn.Parameter(torch.randn(11), requires_grad=False)
            self.register_buffer("scale", torch.randn(11))

        def forward(self, x):
            return self.first(x) * self.scale * self.gain  # each product keeps its frozen factor

    assert activation_bytes(Scaled(), torch.randn(ROWS, 7)) == X
    given = torch.randn(ROWS, 11)
    assert activation_bytes(nn.Linear(7, 11), torch.randn(ROWS, 7)) == X
    assert activation_bytes(nn.Linear(7, 11).requires_grad_(False), torch.randn(ROWS, 7)) == 0
    assert activation_bytes(nn.BatchNorm1d(11).eval(), given) < 4 * ROWS * 11 + 4 * 4 * 11  # the input, few averages


def test_one_tensor_that_two_layers_read_is_kept_once():
    class Fork(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Linear(7, 2), nn.Linear(7, 3)

        def forward(self, x):
            return self.left(x), self.right(x.view(-1, 7))  # a view is the same memory

    assert activation_bytes(Fork(), torch.randn(ROWS, 7)) == X


def test_what_leads_to_no_output_is_not_kept():
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = nn.Linear(7, 3), nn.Sequential(nn.Linear(7, 11), nn.ReLU(), nn.Linear(11, 5))

        def forward(self, x):
            for _ in range(3):
                self.idle(x + 1)
            return self.used(x)

    model, x = Idle(), torch.randn(ROWS, 7)
    assert [activation_bytes(model, x) for _ in range(3)] == [X] * 3
    assert activation_bytes(model.idle, x) == X + H1


@pytest.mark.parametrize("activation", [torch.sigmoid, torch.exp, torch.relu])  # each saves its own output
def test_counted_activations_are_given_back(activation):
    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.seen = nn.Linear(7, 11), []

        def forward(self, x):
            y = activation(self.first(x))
            self.seen.append(weakref.ref(y))
            return y

    model = Watched()
    for _ in range(3):
        assert activation_bytes(model, torch.randn(ROWS, 7)) == X + H1
    gc.collect()
    assert [seen() for seen in model.seen] == [None] * 3


def test_a_fused_attention_keeps_no_scores():
    def scores(fused):
        def kept(tokens):
            return activation_bytes(Block(fused), torch.randn(1, tokens, D))
        return kept(256) - 2 * kept(128)  # what grows faster than the number of tokens

    assert scores(True) <= 0
    assert 2 * 4 * H * 128**2 <= scores(False) < 10 * 4 * H * 128**2


def test_a_step_can_be_counted_without_memory():
    with torch.device("meta"):
        model, x = DigitsMLP((32,)), torch.zeros(5, 64)
        c = count_step(model, x)
    assert c.activation_bytes == 4 * 5 * (64 + 32) == count_step(DigitsMLP((32,)), torch.zeros(5, 64)).activation_bytes
    assert c == count_step(DigitsMLP((32,)), torch.zeros(5, 64))


def test_counting_a_step_leaves_no_trace():
    model = nn.Sequential(nn.Linear(D, D), nn.BatchNorm1d(D), nn.ReLU(), nn.Dropout(0.5), nn.Linear(D, 2)).train()
    add_lora(model, R, "4")
    x = torch.randn(B, D)
    model(x).sum().backward()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    learns, names = [p.requires_grad for p in model.parameters()], {k: id(v) for k, v in model.named_buffers()}
    random = torch.get_rng_state()
    with torch.no_grad():
        first, alone = count_step(model, x), activation_bytes(model, x)
        assert not torch.is_grad_enabled()
    assert first == count_step(model, x) and alone == first.activation_bytes
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items()) and "1.running_mean" in state
    assert all(p.grad is g is None or torch.equal(p.grad, g) for p, g in zip(model.parameters(), gradients))
    assert [p.requires_grad for p in model.parameters()] == learns and all(m.training for m in model.modules())
    assert {k: id(v) for k, v in model.named_buffers()} == names
    model(x)  # no hook stays behind: the next pass works as ever
    assert not torch.equal(model[1].running_mean, state["1.running_mean"])


def test_a_step_reads_well():
    c = count_step(DigitsMLP((256,)), torch.zeros(1, 64))
    for words in ("trainable parameters", "forward FLOPs", "backward FLOPs", "optimizer bytes", "activation bytes",
                  f"{64 * 256 * 2 + 256 * 10 * 2:,}"):
        assert words in str(c) and words in c._repr_html_()
    with pytest.raises(AttributeError):
        c.activation_bytes = 1


@pytest.mark.parametrize("call, words", [
    (lambda: count_step(nn.Linear(2, 2).requires_grad_(False), torch.zeros(1, 2)), "Linear trains nothing.*requires_grad"),
    (lambda: count_step(nn.Linear(2, 2), torch.zeros(1, 2), optimizer="lion"), "'lion'.*adamw"),
    (lambda: count_step(nn.Linear(2, 2)), "example batch"),
    (lambda: count_step(len, torch.zeros(1)), "builtin"),
    (lambda: activation_bytes(len, torch.zeros(1)), "builtin"),
    (lambda: fine_tuning_flops(10, 0, 5), "trained=0"),
    (lambda: fine_tuning_flops(10, 11, 5), "parameters=10, trained=11"),
    (lambda: fine_tuning_flops(10, float("nan"), 5), "trained=nan"),
    (lambda: fine_tuning_flops(10, -1, 5), "trained=-1"),
    (lambda: fine_tuning_flops(float("inf"), 1, 5), "parameters=inf"),
    (lambda: fine_tuning_flops(10, 5, 0), "tokens=0"),
])
def test_bad_input_of_a_step_gets_one_sentence(call, words):
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
