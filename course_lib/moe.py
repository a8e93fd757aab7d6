"""A sparse mixture-of-experts layer in place of a transformer's feed-forward layer: each token visits `top_k` of
`n_experts` small networks, and nothing else is computed. No token is dropped, and none depends on its neighbours.

The layer comes from Shazeer et al. 2017 (arXiv:1701.06538, section 2), in the form of Mixtral (Jiang et al. 2024,
arXiv:2401.04088, section 2.1). Shapes: N tokens, E experts, k choices, d = d_model, h = d_ff."""
from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.sizes import same_shapes, whole


class Routing(NamedTuple):
    """Where the tokens go: `experts` int64 [N, k], best first; `weights` [N, k], what each answer counts;
    `probabilities` [N, E], the softmax over all experts."""
    weights: Tensor
    experts: Tensor
    probabilities: Tensor


class TopKRouter(nn.Module):
    """One linear map and a softmax: p = softmax(W x); the `top_k` largest are chosen (Mixtral, section 2.1).

    normalize: divide the chosen weights by their sum; default: yes from k = 2 on. With k = 1 the quotient is
    always 1 and the router would never learn from the task, so that is refused; Switch (arXiv:2101.03961,
    section 2.1) multiplies by p itself.
    bias_update: step of the balancing without a loss (Wang et al. 2024, arXiv:2408.15664, algorithm 1; DeepSeek-V3,
    arXiv:2412.19437, section 2.1.2): a bias that counts for the *choice* only, never for the weights, rises by this
    much for experts with less than their share and falls for the others, at each forward pass in training.
    noise: standard deviation of what is added to the logits in training.
    Raises ValueError for a setting out of range, and when a logit is not a number."""
    def __init__(self, d_model: int, n_experts: int, top_k: int = 2, *, normalize: bool | None = None,
                 bias_update: float = 0.0, noise: float = 0.0):
        super().__init__()
        whole(d_model=d_model, n_experts=n_experts, top_k=top_k)
        if top_k > n_experts:
            raise ValueError(f"top_k={top_k} asks for more experts than there are; choose 1 to n_experts={n_experts}")
        if normalize and top_k == 1:
            raise ValueError("normalize=True with top_k=1 makes every weight exactly 1, so the router gets no gradient "
                             "from the task; leave normalize out, or take top_k=2")
        if bias_update < 0 or noise < 0:
            raise ValueError(f"{bias_update=}, {noise=}: both are 0 (off) or positive")
        self.top_k, self.bias_update, self.noise = top_k, bias_update, noise
        self.normalize = top_k > 1 if normalize is None else normalize
        self.gate = nn.Linear(d_model, n_experts, bias=False)
        self.register_buffer("bias", torch.zeros(n_experts))
        self._register_load_state_dict_pre_hook(same_shapes, with_module=True)  # the name that older torch also has

    def forward(self, x: Tensor) -> Routing:
        """Routing of `x`, float [N, d]."""
        logits = self.gate(x)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))  # bfloat16 has too few digits here
        logits = logits + self.noise * torch.randn_like(logits) if self.noise and self.training else logits
        if not torch.isfinite(logits).all():
            raise ValueError("the router's logits are not all finite numbers; look for NaN in the input or in the "
                             "router's weights, and try a smaller learning rate")
        p = logits.softmax(dim=-1)
        experts = (p + self.bias if self.bias_update else p).topk(self.top_k, dim=-1).indices
        weights = p.gather(-1, experts)
        if self.normalize:
            weights = weights / weights.sum(-1, keepdim=True)
        if self.bias_update and self.training:
            load = expert_load(experts, p.shape[-1]).float()
            self.bias += self.bias_update * (load.mean() - load).sign()
        return Routing(weights.to(x.dtype), experts, p)


def run_loop(x, counts, w_in, w_out, hidden):
    """One expert after the other, on its own slice of the sorted tokens. `unbind`, never `w_in[e]`: indexing a
    stacked weight in a loop makes the backward pass add a full-size zero gradient for every expert, E times."""
    slices = zip(x.split(counts.tolist()), w_in.unbind(), w_out.unbind())
    return torch.cat([hidden(mine @ a) @ b for mine, a, b in slices])


def run_grouped(x, counts, w_in, w_out, hidden):
    """The same products, handed over together: group e ends at row `ends[e]`."""
    ends = counts.cumsum(0).to(torch.int32)
    y = F.grouped_mm(hidden(F.grouped_mm(x, w_in, offs=ends)), w_out, offs=ends)
    if y.requires_grad:  # its backward pass refuses the gradient of a plain sum, which repeats one number in memory
        y.register_hook(Tensor.contiguous)
    return y


RUNNERS = {"loop": run_loop, "grouped": run_grouped}


class Experts(nn.Module):
    """`n_experts` feed-forward networks without biases, stacked: w_in [E, d, h], w_out [E, h, d].

    activation: ReLU by default. gated: SwiGLU's form (Shazeer 2020, arXiv:2002.05202, section 2), activation(x W) * x V
    with [W V] as one w_in [E, d, 2h]; Mixtral is `activation=F.silu, gated=True`.
    runner: "loop"; "grouped" (torch's `grouped_mm`: faster, not in float64, rows of whole 16 bytes only, so d and h must
    be multiples of 8); or None for "grouped" where it can be had. Raises ValueError for another runner or size."""
    def __init__(self, d_model: int, d_ff: int, n_experts: int, *, activation: Callable[[Tensor], Tensor] = F.relu,
                 gated: bool = False, runner: str | None = None):
        super().__init__()
        whole(d_model=d_model, d_ff=d_ff, n_experts=n_experts)
        can_group = hasattr(F, "grouped_mm") and d_model % 8 == d_ff % 8 == 0
        self.runner = runner or ("grouped" if can_group else "loop")
        if self.runner not in RUNNERS or self.runner == "grouped" and not can_group:
            raise ValueError(f'runner is {runner!r}; give "loop", or "grouped" with a torch that has F.grouped_mm and '
                             f"multiples of 8 for {d_model=} and {d_ff=}")
        self.activation, self.gated = activation, gated
        self.w_in = nn.Parameter(torch.empty(n_experts, d_model, d_ff * (1 + gated)))
        self.w_out = nn.Parameter(torch.empty(n_experts, d_ff, d_model))
        for w in (self.w_in, self.w_out):  # as nn.Linear starts
            nn.init.uniform_(w, -(w.shape[1] ** -0.5), w.shape[1] ** -0.5)
        self._register_load_state_dict_pre_hook(same_shapes, with_module=True)

    def forward(self, x: Tensor, counts: Tensor) -> Tensor:
        """Answers [n, d] to `x` [n, d], whose first counts[0] rows are for expert 0, the next counts[1] for
        expert 1, and so on; `counts` int64 [E]."""
        if self.runner == "grouped" and x.dtype == torch.float64:
            raise ValueError('runner "grouped" cannot compute in float64; build the layer with runner="loop"')
        return RUNNERS[self.runner](x, counts, self.w_in, self.w_out, self._hidden)

    def _hidden(self, a: Tensor) -> Tensor:
        if not self.gated:
            return self.activation(a)
        gate, value = a.chunk(2, dim=-1)
        return self.activation(gate) * value

    def extra_repr(self) -> str:
        (e, d, _), h = self.w_in.shape, self.w_out.shape[1]
        return f"n_experts={e}, d_model={d}, d_ff={h}, gated={self.gated}, runner={self.runner}"


class SparseMoE(nn.Module):
    """Router and experts: y = sum over the chosen experts of weight * expert(x) (Mixtral, section 2.1).

    d_ff is the width of one expert. shared_d_ff: width of one more expert that every token visits (DeepSeekMoE, Dai et
    al. 2024, arXiv:2401.06066, section 3.2); 0 for none. The other options are those of `TopKRouter` and `Experts`.
    After a forward pass `routing` holds its `Routing`. Raises ValueError as they do."""
    def __init__(self, d_model: int, d_ff: int, n_experts: int = 8, top_k: int = 2, *, shared_d_ff: int = 0,
                 normalize: bool | None = None, bias_update: float = 0.0, noise: float = 0.0,
                 activation: Callable[[Tensor], Tensor] = F.relu, gated: bool = False, runner: str | None = None):
        super().__init__()
        form = {"activation": activation, "gated": gated}
        self.router = TopKRouter(d_model, n_experts, top_k, normalize=normalize, bias_update=bias_update, noise=noise)
        self.experts = Experts(d_model, d_ff, n_experts, runner=runner, **form)
        self.shared = Experts(d_model, shared_d_ff, 1, runner="loop", **form) if shared_d_ff else None
        self.routing: Routing | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Answers, of the shape of `x`: float [..., d]. Raises ValueError for another last size or whole numbers."""
        n_experts, d, _ = self.experts.w_in.shape
        if x.shape[-1:] != (d,) or not x.is_floating_point():
            raise ValueError(f"the input has shape {list(x.shape)} and type {x.dtype}; this layer reads "
                             f"floating-point numbers with {d} in the last dimension")
        tokens = x.reshape(-1, d)
        weights, experts, _ = self.routing = self.router(tokens)
        order = experts.flatten().argsort(stable=True)  # the (token, choice) pairs, sorted by expert
        source = order // self.router.top_k  # the token of each pair; index_select is faster than tokens[source]
        answers = self.experts(tokens.index_select(0, source), expert_load(experts, n_experts))
        weighted = answers * weights.flatten()[order, None]
        y = torch.zeros_like(tokens).index_add(0, source, weighted)
        if self.shared is not None:
            y = y + self.shared(tokens, torch.tensor([len(tokens)], device=x.device))
        return y.view(x.shape)

    def active_parameters(self) -> int:
        """Weights that one token meets: router, its k experts, the shared one."""
        idle = len(self.experts.w_in) - self.router.top_k
        return sum(p.numel() for p in self.parameters()) - idle * sum(w[0].numel() for w in self.experts.parameters())

    def __getstate__(self):
        return {**self.__dict__, "routing": None}  # a copy of the layer has seen no token


def expert_load(experts: Tensor, n_experts: int) -> Tensor:
    """How many (token, choice) pairs each expert got, int64 [E], from `experts` int64 [N, k]."""
    return torch.bincount(experts.flatten(), minlength=n_experts)


def load_balancing_loss(routing: Routing) -> Tensor:
    """E * sum_i f_i P_i: f_i the share of the choices that expert i got, P_i its mean probability (Switch
    Transformer, arXiv:2101.03961, section 2.2, equations 4 to 6). 1 when balanced, E/k when k experts get all. Only
    P carries a gradient. Hugging Face's Mixtral counts k choices per token, so its value is k times this one."""
    p = routing.probabilities
    share = expert_load(routing.experts, p.shape[-1]) / max(routing.experts.numel(), 1)
    return p.shape[-1] * (share * p.mean(0)).sum() if len(p) else p.sum()


def routing_table(experts: Tensor, labels: Tensor, n_experts: int, n_labels: int | None = None) -> Tensor:
    """How often tokens of each kind chose each expert: int64 [n_labels, E].
    experts: int64 [N, k]; labels: int64 [N], the kind of each token, from 0. ValueError for other lengths or labels."""
    largest = max(labels.tolist(), default=-1)
    n_labels = largest + 1 if n_labels is None else n_labels
    if len(experts) != len(labels) or largest >= n_labels:
        raise ValueError(f"a table needs one label from 0 to {n_labels - 1} per token, not {len(labels)} labels up to "
                         f"{largest} for {len(experts)} tokens")
    pairs = labels[:, None] * n_experts + experts
    return torch.bincount(pairs.flatten(), minlength=n_labels * n_experts).view(n_labels, n_experts)
