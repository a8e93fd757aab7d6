"""The layers that benchmarks/moe.py times, all made from one cell of its grid, and the tokens that they read.

How routing is fixed without sparing anyone its cost: every router here is one linear map without a bias. Its weight
becomes the first E rows of the identity, and the first E numbers of a token are the logits that we want (4 for the
first choice, 3 for the second, small noise elsewhere). So each layer still multiplies, takes its softmax, sorts or
masks, and sends gradients back through its router, and all make the same choices.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.counters import count_flops
from course_lib.moe import SparseMoE, expert_load

GROUP = 128  # tokens in each sequence for the two layers whose masks grow with the square of it
MARGIN = 1.25  # room per expert over its even share, for all k choices


class Cell(NamedTuple):
    """T tokens of size d, E experts of width h, k of them for each token; `zipf`: expert r is chosen in proportion
    to 1/r instead of evenly."""

    d: int
    h: int
    T: int
    k: int
    E: int
    zipf: bool = False

    @property
    def n(self) -> float:
        """Tokens per expert."""
        return self.T * self.k / self.E

    @property
    def flops(self) -> int:
        """FLOPs of the k experts of every token, forward, two matrices, no router."""
        return 2 * self.T * self.k * 2 * self.d * self.h


def choices(cell: Cell) -> Tensor:
    """Which experts each token shall choose, int64 [T, k] (k is 1 or 2), best first.

    Even: every expert equally often in each group of 128 tokens, where that is possible, in mixed order.
    """
    mix = torch.Generator().manual_seed(0)
    if cell.zipf:
        p = 1 / torch.arange(1.0, cell.E + 1)
        gumbel = -torch.log(-torch.log(torch.rand(cell.T, cell.E, generator=mix).clamp(1e-9, 1 - 1e-6)))
        return (p.log() + gumbel).topk(cell.k).indices
    t = torch.arange(cell.T)
    first = t % cell.E
    step = 1 + (t // cell.E) % max(cell.E - 1, 1)
    both = torch.stack([first, (first + step) % cell.E], dim=1)[:, : cell.k]
    return torch.cat([part[torch.randperm(len(part), generator=mix)] for part in both.split(GROUP)])


def tokens(cell: Cell) -> Tensor:
    """float32 [T, d] that every router sends to `choices(cell)`. Raises ValueError when E is above d."""
    if cell.E > cell.d:
        raise ValueError(f"{cell.E} experts need {cell.E} logits, but a token has only {cell.d} numbers; take d >= E")
    x = torch.randn(cell.T, cell.d, generator=torch.Generator().manual_seed(1))
    x[:, : cell.E] *= 0.1
    wanted = torch.arange(4.0, 4.0 - cell.k, -1).expand(cell.T, -1)
    return x.scatter_(1, choices(cell), wanted)


def fix_router(weight: Tensor) -> None:
    """Make `weight` [E, d] read the first E numbers of a token as they are."""
    with torch.no_grad():
        weight.copy_(torch.eye(*weight.shape))


class Gated(nn.Module):
    """The dense twin of SwiGLU experts: silu(x V) * x W, then one more matrix; no biases."""

    def __init__(self, d: int, h: int):
        super().__init__()
        self.w_in, self.w_out = nn.Linear(d, 2 * h, bias=False), nn.Linear(h, d, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.w_in(x).chunk(2, dim=-1)
        return self.w_out(F.silu(gate) * value)


def dense(d: int, h: int) -> nn.Module:
    """The plain feed-forward layer: two matrices with ReLU between them, no biases."""
    return nn.Sequential(nn.Linear(d, h, bias=False), nn.ReLU(), nn.Linear(h, d, bias=False))


@dataclass
class Side:
    """One layer with its input: `forward(x)` gives a tensor of the shape of `x` (the floor: one row per choice)."""

    module: nn.Module
    x: Tensor
    forward: Callable[[Tensor], Tensor] = None

    def __post_init__(self):
        self.forward = self.forward or self.module
        self.x = self.x.clone().requires_grad_()  # as in the middle of a network
        self.gradient = torch.randn(self.x.shape, generator=torch.Generator().manual_seed(2))

    def run(self, backward: bool) -> None:
        """One forward pass, with the backward pass or under no_grad."""
        with contextlib.nullcontext() if backward else torch.no_grad():
            y = self.forward(self.x)
        if backward:
            y.backward(self.gradient)

    def clean(self) -> None:
        """Forget all gradients, as `optimizer.zero_grad()` does in its default form."""
        self.module.zero_grad()
        self.x.grad = None

    def to(self, device: str, dtype: torch.dtype) -> Side:
        """The same layer with its input on another device, in another number format."""
        self.module.to(device, dtype)
        self.x = self.x.detach().to(device, dtype).requires_grad_()
        self.gradient = self.gradient.to(device, dtype)
        return self

    def flops(self) -> int:
        """FLOPs of one forward pass."""
        return count_flops(self.forward, self.x.detach())


def ours(cell: Cell, **options) -> SparseMoE:
    layer = SparseMoE(cell.d, cell.h, cell.E, cell.k, **options)
    fix_router(layer.router.gate.weight)
    return layer


def floor(cell: Cell) -> Side:
    """The same expert products on rows that stand grouped already: no router, no sorting, no weighted sum."""
    experts = ours(cell).experts
    picked = choices(cell).flatten()
    rows = tokens(cell)[picked.argsort(stable=True) // cell.k]
    experts.register_buffer("counts", expert_load(picked, cell.E), persistent=False)  # so that it moves with them
    return Side(experts, rows, lambda x: experts(x, experts.counts))


def hugging_face(cell: Cell, how: str) -> Side:
    """Mixtral's block of transformers; `how`: "eager" (its loop) or "grouped_mm" (its default)."""
    from transformers import MixtralConfig
    from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock

    config = MixtralConfig(hidden_size=cell.d, intermediate_size=cell.h, num_local_experts=cell.E,
                           num_experts_per_tok=cell.k)
    config._experts_implementation = how
    block = MixtralSparseMoeBlock(config)
    with torch.no_grad():  # they are left empty until a model is loaded
        for weight in block.experts.parameters():
            weight.normal_(std=cell.d**-0.5)
    fix_router(block.gate.weight)
    return Side(block, tokens(cell)[None])


def in_groups(cell: Cell, size: int) -> Tensor:
    return tokens(cell).view(-1, min(size, cell.T), cell.d)


def mixture_of_experts(cell: Cell, size: int = GROUP, stock: bool = False) -> Side:
    """lucidrains' MoE with ReLU experts. `stock`: its own capacity and its random second choice."""
    from mixture_of_experts import MoE

    rules = {} if stock else {"second_policy_train": "all" if cell.k == 2 else "none",
                              "capacity_factor_train": MARGIN * cell.k}
    layer = MoE(dim=cell.d, num_experts=cell.E, hidden_dim=cell.h, **rules)
    with torch.no_grad():
        layer.gate.w_gating.copy_(torch.eye(cell.d, cell.E))
    return Side(layer, in_groups(cell, size), lambda x: layer(x)[0])


def st_moe(cell: Cell, size: int = GROUP, stock: bool = False) -> Side:
    """ST-MoE's layer (from two choices on), given ReLU experts without biases in place of its GEGLU."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns about its own type hints
        from st_moe_pytorch import MoE

    rules = {} if stock else {"threshold_train": 0.0, "capacity_factor_train": MARGIN * cell.k}
    experts = nn.ModuleList(dense(cell.d, cell.h) for _ in range(cell.E))
    layer = MoE(dim=cell.d, num_experts=cell.E, gating_top_n=cell.k, experts=experts, **rules)
    fix_router(layer.gate.to_gates.weight)
    return Side(layer, in_groups(cell, size), lambda x: layer(x).outputs)


MAKERS = {
    "dense": lambda c: Side(dense(c.d, c.k * c.h), tokens(c)),
    "dense, gated": lambda c: Side(Gated(c.d, c.k * c.h), tokens(c)),
    "dense, same total": lambda c: Side(dense(c.d, c.E * c.h), tokens(c)),
    "ours": lambda c: Side(ours(c), tokens(c)),
    "ours, loop": lambda c: Side(ours(c, runner="loop"), tokens(c)),
    "ours, gated": lambda c: Side(ours(c, activation=F.silu, gated=True), tokens(c)),
    "floor": floor,
    "Hugging Face, eager": lambda c: hugging_face(c, "eager"),
    "Hugging Face, grouped": lambda c: hugging_face(c, "grouped_mm"),
    "mixture-of-experts": mixture_of_experts,
    "st-moe": st_moe,
    "mixture-of-experts, one group": lambda c: mixture_of_experts(c, size=c.T),
    "st-moe, one group": lambda c: st_moe(c, size=c.T),
    "mixture-of-experts, stock": lambda c: mixture_of_experts(c, stock=True),
    "st-moe, stock": lambda c: st_moe(c, stock=True),
}
# layers of others, each with the one of ours that it is compared with
PEERS = {"Hugging Face, eager": "ours, gated", "Hugging Face, grouped": "ours, gated",
         "mixture-of-experts": "ours", "st-moe": "ours"}
GATED = {"ours, gated", "Hugging Face, eager", "Hugging Face, grouped"}


def twin(name: str) -> str:
    """The dense layer with the same active expert FLOPs and the same activation as `name`."""
    return "dense, gated" if name in GATED else "dense"


def make(name: str, cell: Cell, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Side | None:
    """The side `name` for this cell; None where it has no such form (st-moe needs two choices) or is not installed."""
    if name.startswith("st-moe") and cell.k < 2:
        return None
    torch.manual_seed(0)
    try:
        return MAKERS[name](cell).to(device, dtype)
    except ModuleNotFoundError:
        return None


def computed_share(side: Side, cell: Cell) -> float:
    """Share of the T*k wanted (token, choice) pairs that a layer with a capacity really computes."""
    dispatch = side.module.gate(side.x)[0]
    return float((dispatch.detach() > 0).sum()) / (cell.T * cell.k)
