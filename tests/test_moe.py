"""The sparse layer against a plain loop over tokens, Hugging Face's Mixtral, exact counts, and poisoned weights."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from course_lib.counters import count, count_flops, training_step_flops
from course_lib.models import ByteWindowLM
from course_lib.moe import (
    Experts,
    Routing,
    SparseMoE,
    TopKRouter,
    expert_load,
    load_balancing_loss,
    routing_table,
)

pytestmark = pytest.mark.usefixtures("one_thread")
N, D, H, E = 24, 16, 8, 6
RUNNERS = ["loop", "grouped"] if hasattr(F, "grouped_mm") else ["loop"]
OPTIONS = {
    "top-1": {"top_k": 1}, "top-2": {}, "top-3": {"top_k": 3}, "all of them": {"top_k": E},
    "top-2 as they are": {"normalize": False}, "one expert": {"n_experts": 1, "top_k": 1},
    "gated": {"gated": True, "activation": F.silu}, "shared": {"shared_d_ff": 24},
    "gated and shared": {"gated": True, "shared_d_ff": 8, "activation": F.gelu, "top_k": 1},
    "biased": {"bias_update": 0.1},
}
each_runner = pytest.mark.parametrize("runner", RUNNERS)
each_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


def layer(runner=None, d_model=D, d_ff=H, n_experts=E, **options):
    """A layer with weights near 1, so that an absolute error of 1e-6 is a strict one; in eval mode."""
    moe = SparseMoE(d_model, d_ff, n_experts, runner=runner, **options)
    with torch.no_grad():
        moe.router.gate.weight.mul_(4)
        if options.get("bias_update"):
            moe.router.bias.copy_(torch.linspace(-0.3, 0.3, n_experts))
    return moe.eval()


def plainly(moe, x):
    """The definition, one token and one expert at a time."""
    def network(experts, e, token):
        a = token @ experts.w_in[e]
        if experts.gated:
            half = len(a) // 2
            return (experts.activation(a[:half]) * a[half:]) @ experts.w_out[e]
        return experts.activation(a) @ experts.w_out[e]

    answers = []
    for token in x.reshape(-1, x.shape[-1]):
        scores = moe.router.gate.weight @ token
        p = scores.exp() / scores.exp().sum()
        preference = p.detach() + moe.router.bias
        chosen = sorted(range(len(p)), key=lambda e: -preference[e])[:moe.router.top_k]
        total = sum(p[e] for e in chosen) if moe.router.normalize else 1
        answer = sum(p[e] / total * network(moe.experts, e, token) for e in chosen)
        answers.append(answer if moe.shared is None else answer + network(moe.shared, 0, token))
    return torch.stack(answers).view(x.shape)


def gradients(moe, x, run):
    """Output, and gradients of input and of every parameter, under a loss that weighs each number differently."""
    x = x.clone().requires_grad_()
    y = run(x)
    weights = torch.linspace(-1, 1, y.numel()).view(y.shape).to(y.dtype)
    wanted = dict(moe.named_parameters())
    found = torch.autograd.grad((y * weights).sum(), [x, *wanted.values()], allow_unused=True)
    return {"output": y.detach(), **dict(zip(["input", *wanted], found))}


def assert_same(ours, theirs, within=1e-6):
    assert ours.keys() == theirs.keys()
    for name, a in ours.items():
        assert (a - theirs[name]).abs().max() <= within * max(1, theirs[name].abs().max()), name


# What it computes

@each_runner
@each_option
def test_equal_to_a_plain_loop_over_tokens(runner, options):
    moe, x = layer(runner, **options), torch.randn(2, N // 2, D)
    assert_same(gradients(moe, x, moe), gradients(moe, x, lambda x: plainly(moe, x)))


@each_option
def test_gradients_equal_finite_differences(options):
    moe, x = layer("loop", d_model=4, d_ff=3, **options).double(), torch.randn(5, 4, dtype=torch.double)
    names, weights = zip(*moe.named_parameters())

    def run(x, *weights):
        return torch.func.functional_call(moe, dict(zip(names, weights)), x)

    assert torch.autograd.gradcheck(run, (x.requires_grad_(), *(w.detach().requires_grad_() for w in weights)))


@pytest.mark.skipif(len(RUNNERS) < 2, reason="this torch has no F.grouped_mm")
@each_option
def test_both_runners_are_the_same_function(options):
    loop, grouped = layer("loop", **options), layer("grouped", **options)
    grouped.load_state_dict(loop.state_dict())
    x = torch.randn(N, D)
    assert_same(gradients(loop, x, loop), gradients(grouped, x, grouped))


@each_runner
@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_equal_to_hugging_faces_mixtral(runner, top_k):
    from transformers.models.mixtral.modeling_mixtral import MixtralConfig, MixtralSparseMoeBlock

    config = MixtralConfig(hidden_size=D, intermediate_size=H, num_local_experts=E, num_experts_per_tok=top_k)
    config._experts_implementation = "eager"
    theirs = MixtralSparseMoeBlock(config)
    moe = layer(runner, top_k=top_k, normalize=top_k > 1, gated=True, activation=F.silu)
    with torch.no_grad():
        theirs.gate.weight.copy_(moe.router.gate.weight)
        theirs.experts.gate_up_proj.copy_(moe.experts.w_in.transpose(1, 2))
        theirs.experts.down_proj.copy_(moe.experts.w_out.transpose(1, 2))
    x = torch.randn(3, 8, D)
    if top_k == 1:  # theirs divides by the one weight; ours keeps it, and it can be taken out again
        weight = moe.router(x.view(-1, D)).weights.detach().view(3, 8, 1)
        assert torch.allclose(moe(x) / weight, theirs(x), atol=1e-5)
        return
    a, b = gradients(moe, x, moe), gradients(theirs, x, theirs)
    b = {"output": b["output"], "input": b["input"], "router.gate.weight": b["gate.weight"],
         "experts.w_in": b["experts.gate_up_proj"].transpose(1, 2),
         "experts.w_out": b["experts.down_proj"].transpose(1, 2)}
    assert_same(a, b, 1e-5)


@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_balancing_loss_is_hugging_faces_over_k(top_k):
    from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

    router, x = TopKRouter(D, E, top_k), 3 * torch.randn(N, D) + 1
    theirs = load_balancing_loss_func((router.gate(x),), E, top_k)
    assert load_balancing_loss(router(x)).item() == pytest.approx(theirs.item() / top_k, rel=1e-6)


@each_runner
def test_identical_experts_are_one_dense_layer(runner):
    moe, x = layer(runner), torch.randn(N, D)
    with torch.no_grad():
        moe.experts.w_in.copy_(moe.experts.w_in[:1].clone())
        moe.experts.w_out.copy_(moe.experts.w_out[:1].clone())
    dense = F.relu(x @ moe.experts.w_in[0]) @ moe.experts.w_out[0]
    assert torch.allclose(moe(x), dense, atol=1e-6)


@each_runner
def test_renaming_the_experts_changes_nothing(runner):
    moe, x, order = layer(runner), torch.randn(N, D), torch.tensor([3, 0, 5, 1, 4, 2])
    before, routed = moe(x), moe.routing.experts
    with torch.no_grad():
        for weight in (moe.router.gate.weight, moe.experts.w_in, moe.experts.w_out):
            weight.copy_(weight[order].clone())
    assert torch.allclose(moe(x), before, atol=1e-6)
    assert torch.equal(order[moe.routing.experts], routed)


@each_runner
def test_a_token_does_not_depend_on_its_place_or_its_neighbours(runner):
    moe, x, order = layer(runner), torch.randn(N, D), torch.randperm(N)
    together = moe(x)
    assert torch.allclose(moe(x[order]), together[order], atol=1e-6)
    assert torch.allclose(torch.cat([moe(token) for token in x.split(1)]), together, atol=1e-6)
    crowd = torch.cat([x[:1], x[:1].expand(40, D)])  # all want the same experts; none is turned away
    assert torch.allclose(moe(crowd), together[:1].expand(41, D), atol=1e-6)


@each_runner
@pytest.mark.parametrize("options", [{}, {"shared_d_ff": 8}])
@pytest.mark.parametrize("shape", [(D,), (1, D), (0, D), (2, 0, D), (2, 3, 4, D)])
def test_any_shape_also_none(runner, options, shape):
    moe, x = layer(runner, **options), torch.randn(shape, requires_grad=True)
    y = moe(x)
    assert y.shape == x.shape and torch.allclose(y, plainly(moe, x) if x.numel() else x, atol=1e-6)
    (y.sum() + load_balancing_loss(moe.routing)).backward()
    assert x.grad.shape == x.shape and all(torch.isfinite(p.grad).all() for p in moe.parameters())


@each_runner
@pytest.mark.parametrize("top_k", [1, 2])
def test_all_tokens_to_the_same_experts(runner, top_k):
    moe, x = layer(runner, top_k=top_k), torch.rand(N, D)
    with torch.no_grad():
        moe.router.gate.weight.copy_(torch.tensor([0, 0, 1, 0, 2, 0])[:, None].expand(E, D))
    assert_same(gradients(moe, x, moe), gradients(moe, x, lambda x: plainly(moe, x)))
    assert set(moe.routing.experts.flatten().tolist()) == ({4} if top_k == 1 else {2, 4})


@each_runner
def test_an_input_that_is_a_view(runner):
    moe = layer(runner, shared_d_ff=8)
    x = torch.randn(3, D + 1, 5)[:, 1:].transpose(1, 2)
    assert torch.allclose(moe(x), moe(x.contiguous()), atol=1e-6)


@each_runner
def test_a_plain_sum_has_gradients(runner):
    """The gradient of a sum repeats one number in memory, which `grouped_mm` alone refuses."""
    experts, x = Experts(D, H, 3, runner=runner), torch.randn(5, D, requires_grad=True)
    experts(x, torch.tensor([2, 0, 3])).sum().backward()
    moe = layer(runner, shared_d_ff=8)
    moe(x).sum().backward()
    assert torch.isfinite(x.grad).all()


@each_runner
def test_bfloat16(runner):
    moe = layer(runner, shared_d_ff=8)
    x = torch.randn(N, D)
    half = copy.deepcopy(moe).bfloat16()
    y = half(x.bfloat16())
    y.square().sum().backward()
    assert y.dtype == torch.bfloat16 and half.routing.probabilities.dtype == torch.float32
    same = (half.routing.experts == moe.router(x).experts).all(1)  # rounding may turn a close choice
    assert same.float().mean() > 0.7 and (y - moe(x))[same].abs().max() < 0.05
    assert all(torch.isfinite(p.grad).all() for p in half.parameters())


# What it does not compute

@each_runner
@pytest.mark.parametrize("options", [{"top_k": 1}, {}, {"gated": True, "shared_d_ff": 8}])
def test_experts_that_nobody_chose_may_be_poisoned(runner, options):
    moe, x = layer(runner, n_experts=8, **options), torch.randn(3, D)
    clean, load = moe(x), expert_load(moe.routing.experts, 8)
    with torch.no_grad():
        moe.experts.w_in[load == 0] = float("nan")
        moe.experts.w_out[load == 0] = float("nan")
    assert (load == 0).sum() >= 2
    found = gradients(moe, x, moe)
    assert torch.equal(found["output"], clean)
    assert all(torch.isfinite(g).all() for g in found.values())
    for name in ("experts.w_in", "experts.w_out"):
        by_expert = found[name].flatten(1).abs().sum(1)
        assert torch.equal(by_expert == 0, load == 0), name


@each_runner
@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("shared", [0, 24])
@pytest.mark.parametrize("top_k, n_experts", [(1, 4), (2, 4), (2, 16), (4, 4)])
def test_parameters_and_flops_are_exactly_those_of_the_chosen(runner, top_k, n_experts, shared, gated):
    moe, x = layer(runner, n_experts=n_experts, top_k=top_k, shared_d_ff=shared, gated=gated), torch.randn(4, 6, D)
    matrices = 3 if gated else 2
    active = D * n_experts + matrices * D * (top_k * H + shared)
    forward = 2 * N * active  # every weight a token meets is one multiply-add for it
    counts = count(moe, x)
    assert counts.parameters == D * n_experts + matrices * D * (n_experts * H + shared)
    assert moe.active_parameters() == counts.active_parameters == active
    assert counts.flops == forward
    # behind another layer, every product passes a gradient to its weights and to its input
    assert training_step_flops(nn.Sequential(nn.Linear(D, D), moe), x) == 3 * forward + 2 * 2 * N * D * D
    # alone, the input needs none: the router and the first products save a third
    first = D * n_experts + (matrices - 1) * D * (top_k * H + shared)
    assert training_step_flops(moe, x) == 3 * forward - 2 * N * first


@each_runner
def test_flops_do_not_depend_on_who_is_chosen(runner):
    moe = layer(runner)
    skewed = torch.randn(1, D).expand(N, D).contiguous()
    assert count(moe, skewed).flops == count(moe, torch.randn(N, D)).flops


def test_the_counts_inside_a_larger_network():
    dense = ByteWindowLM(d_model=16, d_ff=8)
    sparse = ByteWindowLM(d_model=16, feed_forward=lambda: SparseMoE(16, 8, n_experts=4, top_k=1))
    windows = torch.randint(256, (5, 8))
    router, biases = 2 * 4 * 16, 2 * (8 + 16)  # two blocks; ours has no biases
    assert count(sparse, windows).active_parameters == count(dense, windows).parameters + router - biases
    assert count(sparse, windows).flops == count(dense, windows).flops + 2 * 5 * router
    assert count(sparse, windows).parameters > count(sparse, windows).active_parameters


class Written(TorchDispatchMode):
    """Adds up the numbers that operations write; views write none."""

    def __init__(self):
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.numbers += sum(t.numel() for t in tree_leaves(out) if torch.is_tensor(t))
        return out


@each_runner
def test_backward_work_grows_with_the_experts_and_not_with_their_square(runner):
    """Indexing the stacked weights in a loop would write E gradients of the size of all E experts."""
    def written(n_experts):
        moe, x = layer(runner, n_experts=n_experts), torch.randn(N, D)
        loss = moe(x).square().sum()
        with Written() as seen:
            loss.backward()
        return seen.numbers

    few, many = written(8), written(64)
    assert many < 8 * few
    assert many < 6 * 64 * 2 * D * H  # a handful of passes over the weights' gradient, no more


def test_nothing_is_made_on_a_device_of_its_own():
    """What the layer creates must lie where its input lies; else a GPU's layer would mix devices."""
    for runner in RUNNERS:
        moe, x = layer(runner, shared_d_ff=8, noise=0.1, bias_update=0.01).train(), torch.randn(N, D)
        labels = torch.arange(N) % 3
        with torch.device("meta"):  # anything made without a place would land here and fail
            loss = moe(x).square().sum() + load_balancing_loss(moe.routing)
            table = routing_table(moe.routing.experts, labels, E)
        loss.backward()
        assert table.device == moe.router.bias.device == x.device


# The router

def test_weights_are_the_probabilities_of_the_chosen():
    x = torch.randn(N, D)
    for top_k in (1, 2, 3):
        router = TopKRouter(D, E, top_k, normalize=False)
        weights, experts, p = router(x)
        assert torch.allclose(p, torch.softmax(x @ router.gate.weight.T, 1), atol=1e-6)
        assert torch.equal(weights, p.sort(1, descending=True).values[:, :top_k])
        assert torch.equal(weights, p.gather(1, experts)) and experts.dtype == torch.int64
        normalized = TopKRouter(D, E, top_k)
        assert normalized.normalize == (top_k > 1)


def test_normalised_weights_sum_to_one():
    weights = TopKRouter(D, E, 3)(torch.randn(N, D)).weights
    assert torch.allclose(weights.sum(1), torch.ones(N)) and (weights.diff(dim=1) <= 0).all()


@each_runner
def test_one_expert_per_token_still_teaches_the_router(runner):
    moe = layer(runner, top_k=1)
    moe(torch.randn(N, D)).square().sum().backward()
    assert moe.router.gate.weight.grad.abs().max() > 1e-3
    with pytest.raises(ValueError, match="top_k=1.*no gradient.*top_k=2"):
        TopKRouter(D, E, 1, normalize=True)


@each_option
def test_the_same_input_gives_the_same_output(options):
    x = torch.randn(N, D)
    assert torch.equal((moe := layer(**options).eval())(x), moe(x))
    if not options.get("bias_update"):
        assert torch.equal(moe.train()(x), moe(x))  # no noise unless asked for


def test_noise_only_in_training():
    moe, x = layer(noise=1.0), torch.randn(N, D)
    quiet = layer()
    quiet.load_state_dict(moe.state_dict())
    assert torch.equal(moe(x), quiet(x))
    assert not torch.equal(moe.train()(x), moe(x))


def skewed_stream(n):
    """Tokens with a common part, which sends nearly all of them to the same experts."""
    return 0.3 * torch.randn(n, D) + 1


def test_the_bias_moves_the_choice_and_never_the_weights():
    router, x = TopKRouter(D, E, 2, normalize=False, bias_update=0.01), torch.randn(N, D)
    router.bias.copy_(torch.tensor([9.0, 0, 0, 0, 0, 8]))
    weights, experts, p = router.eval()(x)
    assert torch.equal(experts, torch.tensor([[0, 5]]).expand(N, 2))
    assert torch.equal(weights, p[:, [0, 5]]) and torch.allclose(p.sum(1), torch.ones(N))


def test_the_bias_moves_by_its_step_towards_balance_and_only_in_training():
    router, x = TopKRouter(D, E, 2, bias_update=0.01), skewed_stream(N)
    load = expert_load(router.eval()(x).experts, E)
    assert not router.bias.any()
    router.train()(x)
    assert torch.allclose(router.bias, 0.01 * (2 * N / E - load).sign())
    assert {-1, 1} <= set(router.bias.sign().tolist()) and not router.bias.requires_grad
    off = TopKRouter(D, E, 2).train()
    off(x)
    assert not off.bias.any()


def test_the_bias_balances_a_skewed_stream():
    router = TopKRouter(D, E, 2, bias_update=0.003).train()
    with torch.no_grad():
        router.gate.weight.mul_(2)
        before = expert_load(router(skewed_stream(512)).experts, E).float()
        for _ in range(300):
            router(skewed_stream(512))
    after = expert_load(router.eval()(skewed_stream(4096)).experts, E).float()
    assert before.max() / before.mean() > 2 and before.min() == 0
    assert after.max() / after.mean() < 1.3 and after.min() / after.mean() > 0.7


def test_counting_moves_no_bias():
    moe = layer(bias_update=0.1).train()
    before = moe.router.bias.clone()
    count(moe, torch.randn(N, D))
    training_step_flops(moe, torch.randn(N, D))
    assert torch.equal(moe.router.bias, before)


# Balance and tables

def routing(experts, probabilities):
    return Routing(torch.ones(1), torch.tensor(experts), torch.tensor(probabilities))


def test_balancing_loss_of_known_routings():
    even = [[0.25] * 4] * 4
    assert load_balancing_loss(routing([[0], [1], [2], [3]], even)).item() == pytest.approx(1)
    assert load_balancing_loss(routing([[0, 1], [1, 2], [2, 3], [3, 0]], even)).item() == pytest.approx(1)
    assert load_balancing_loss(routing([[2]] * 4, [[0.0, 0, 1, 0]] * 4)).item() == pytest.approx(4)
    assert load_balancing_loss(routing([[2, 0]] * 4, [[0.5, 0, 0.5, 0]] * 4)).item() == pytest.approx(2)
    by_hand = 4 * (0.5 * 0.55 + 0.5 * 0.25)  # all four probabilities count, also those of experts not chosen
    assert load_balancing_loss(routing([[0], [1]], [[0.7, 0.1, 0.1, 0.1], [0.4, 0.4, 0.1, 0.1]])).item() == (
        pytest.approx(by_hand))


def test_balancing_loss_has_its_gradient_through_the_probabilities_alone():
    p = torch.rand(N, E, requires_grad=True)
    experts = p.detach().topk(2).indices
    load_balancing_loss(Routing(torch.ones(1), experts, p)).backward()
    share = expert_load(experts, E) / (2 * N)
    assert torch.allclose(p.grad, (E * share / N).expand(N, E), atol=1e-7)


def test_balancing_loss_leads_to_balance():
    router = TopKRouter(D, E, 2)
    with torch.no_grad():
        router.gate.weight.mul_(2)
    step = torch.optim.Adam(router.parameters(), 0.02)
    before = load_balancing_loss(router(skewed_stream(2048))).item()
    for _ in range(100):
        step.zero_grad()
        load_balancing_loss(router(skewed_stream(256))).backward()
        step.step()
    after = router(skewed_stream(2048))
    assert before > 1.5 and load_balancing_loss(after).item() < 1.1
    assert expert_load(after.experts, E).min() > 0.3 * 2 * 2048 / E


def test_balancing_loss_of_no_token_is_0():
    loss = load_balancing_loss(TopKRouter(D, E)(torch.zeros(0, D)))
    assert loss.item() == 0 and loss.requires_grad


def test_routing_table_counts_every_choice():
    experts, labels = torch.tensor([[0, 1], [1, 2], [0, 2], [1, 0]]), torch.tensor([0, 1, 0, 1])
    assert routing_table(experts, labels, 4).tolist() == [[2, 1, 1, 0], [1, 2, 1, 0]]
    assert routing_table(experts, labels, 4, n_labels=3).tolist() == [[2, 1, 1, 0], [1, 2, 1, 0], [0, 0, 0, 0]]
    assert routing_table(experts[:0], labels[:0], 4, n_labels=2).tolist() == [[0] * 4] * 2
    assert expert_load(experts, 4).tolist() == [3, 3, 2, 0]


# Copies, files, older torch

@each_runner
def test_copies_after_a_forward_pass(runner):
    moe, x = layer(runner, shared_d_ff=8), torch.randn(N, D)
    y = moe(x)
    file = io.BytesIO()
    torch.save(moe, file)
    file.seek(0)
    for same in (copy.deepcopy(moe), pickle.loads(pickle.dumps(moe)), torch.load(file, weights_only=False)):
        assert same.routing is None and torch.equal(same(x), y)
        with torch.no_grad():
            same.experts.w_in.zero_()
        with pytest.raises(ValueError, match=r"gate.weight has shape \[3"):
            same.load_state_dict(SparseMoE(D, H, 3).state_dict())
    assert torch.equal(moe(x), y) and moe.routing is not None


def test_weights_travel_between_runners():
    moe = layer("loop", shared_d_ff=8)
    other = SparseMoE(D, H, E, shared_d_ff=8)
    other.load_state_dict(moe.state_dict())
    x = torch.randn(N, D)
    assert torch.allclose(other(x), moe(x), atol=1e-6)


@pytest.mark.parametrize("sizes, words", [
    ((D, H, 3), rf"gate.weight has shape \[3, {D}\].*\[{E}, {D}\]"), ((8, H, E), rf"gate.weight has shape \[{E}, 8\]"),
    ((D, 16, E), rf"experts.w_in has shape \[{E}, {D}, 16\].*\[{E}, {D}, {H}\]")])
def test_saved_weights_of_another_size(sizes, words):
    moe, saved = layer(), SparseMoE(*sizes)
    inside = ByteWindowLM(d_model=D, feed_forward=lambda: SparseMoE(D, H, E))
    deep = {f"blocks.1.{name}": value for name, value in saved.state_dict().items()}
    for target, state, where in ((moe, saved.state_dict(), ""), (inside, inside.state_dict() | deep, "blocks.1.")):
        before = copy.deepcopy(target.state_dict())
        with pytest.raises(ValueError, match=words) as caught:
            target.load_state_dict(state)
        assert "\n" not in str(caught.value) and where in str(caught.value)
        assert all(torch.equal(v, before[k]) for k, v in target.state_dict().items() if "experts" in k)


def test_a_torch_without_grouped_mm_takes_the_loop_and_says_so(monkeypatch):
    monkeypatch.delattr(F, "grouped_mm", raising=False)
    moe, x = SparseMoE(D, H, E), torch.randn(N, D)
    assert "runner=loop" in repr(moe)
    assert torch.allclose(moe(x), plainly(moe, x), atol=1e-6)
    with pytest.raises(ValueError, match="'grouped'.*loop.*F.grouped_mm"):
        SparseMoE(D, H, E, runner="grouped")


@pytest.mark.skipif(len(RUNNERS) < 2, reason="this torch has no F.grouped_mm")
def test_the_fast_runner_where_it_can_be_had():
    assert "runner=grouped" in repr(SparseMoE(D, H, E)) and "runner=loop" in repr(SparseMoE(D, H, E, runner="loop"))
    assert "runner=loop" in repr(SparseMoE(10, 7, E))  # grouped_mm wants rows of whole 16 bytes
    for dtype in (torch.float32, torch.bfloat16):
        for size in (8, 12):  # 12 numbers of 2 bytes are no whole 16, so the default is the loop
            moe = SparseMoE(size, size, 3, gated=True).to(dtype)
            moe(torch.randn(4, size, dtype=dtype)).sum().backward()
    with pytest.raises(ValueError, match="multiples of 8 for d_model=10 and d_ff=7"):
        SparseMoE(10, 7, E, runner="grouped")
    with pytest.raises(ValueError, match="float64.*loop"):
        SparseMoE(D, H, E).double()(torch.randn(2, D, dtype=torch.double))


def test_nothing_newer_than_the_oldest_torch_is_called():
    """The names that older torch lacks, of those that the layer could use: one is asked for first, one has a twin."""
    import inspect

    import course_lib.models
    import course_lib.moe
    text = inspect.getsource(course_lib.moe) + inspect.getsource(course_lib.models)
    assert ".register_load_state_dict_pre_hook" not in text and "._register_load_state_dict_pre_hook" in text
    assert 'hasattr(F, "grouped_mm")' in text


# Bad input

def poisoned():
    moe = SparseMoE(D, H, E)
    with torch.no_grad():
        moe.router.gate.weight[0, 0] = float("nan")
    return moe


@pytest.mark.parametrize("call, words", [
    (lambda: SparseMoE(D, H, E, 0), "top_k is 0.*from 1"), (lambda: SparseMoE(D, H, E, -1), "top_k is -1"),
    (lambda: SparseMoE(D, H, E, 7), "top_k=7.*1 to n_experts=6"), (lambda: SparseMoE(D, H, 0), "n_experts is 0"),
    (lambda: SparseMoE(D, H, E, True), "top_k is True"), (lambda: SparseMoE(D, 2.5, E), "d_ff is 2.5"),
    (lambda: SparseMoE(0, H, E), "d_model is 0"), (lambda: SparseMoE(D, H, E, shared_d_ff=-8), "d_ff is -8"),
    (lambda: SparseMoE(D, H, E, runner="fast"), "runner is 'fast'.*loop"),
    (lambda: SparseMoE(D, H, E, noise=-1.0), "noise=-1.0.*positive"),
    (lambda: SparseMoE(D, H, E, bias_update=-0.1), "bias_update=-0.1"),
    (lambda: SparseMoE(D, H, E)(torch.zeros(3, D + 1)), rf"\[3, {D + 1}\].*{D} in the last"),
    (lambda: SparseMoE(D, H, E)(torch.tensor(1.0)), r"shape \[\]"),
    (lambda: SparseMoE(D, H, E)(torch.zeros(3, D, dtype=torch.int64)), "torch.int64.*floating-point"),
    (lambda: SparseMoE(D, H, E)(torch.full((3, D), float("nan"))), "logits are not all finite.*NaN"),
    (lambda: poisoned()(torch.ones(3, D)), "logits are not all finite.*NaN"),
    (lambda: SparseMoE(D, H, E)(torch.full((3, D), float("inf"))), "logits are not all finite"),
    (lambda: TopKRouter(D, E).load_state_dict(TopKRouter(D, 3).state_dict()), r"gate.weight has shape \[3"),
    (lambda: Experts(D, H, 2).load_state_dict(Experts(D, H, 3).state_dict()), r"w_in has shape \[3"),
    (lambda: routing_table(torch.zeros(3, 2, dtype=torch.int64), torch.zeros(2, dtype=torch.int64), E), "2 labels.*3 tok"),
    (lambda: routing_table(torch.zeros(2, 2, dtype=torch.int64), torch.tensor([0, 5]), E, 3), "0 to 2.*up to 5"),
])
def test_bad_input_gets_one_sentence(call, words):
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_the_layer_stays_readable():
    import course_lib.moe
    with open(course_lib.moe.__file__, encoding="utf-8") as file:
        assert len(file.readlines()) < 200


def test_flops_of_the_loop_come_from_torchs_own_counter():
    """Without our formulas: what `count_flops` adds for `grouped_mm` is checked by an independent count."""
    from torch.utils.flop_counter import FlopCounterMode
    moe, x = layer("loop"), torch.randn(N, D)
    with FlopCounterMode(display=False) as mode:
        moe(x).square().sum().backward()
    assert mode.get_total_flops() == count_flops(lambda: layer()(x).square().sum().backward())
