"""LoRA (Hu et al. 2021, arXiv:2106.09685): beside a frozen linear layer a product of two thin matrices learns.

    add_lora(model, rank=1, targets="blocks.*")          # freezes the model; an adapter on each layer that matches
    merge_lora(model)                                     # after training: same answers, no extra work
    torch.save(lora_state_dict(model), "task.pt")         # a small file, for load_lora(...) on the same base
    use_adapter(model, "other")                           # of several adapters on one base; None: the base alone"""

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from course_lib.sizes import linear_layers, whole


class LoRALinear(nn.Linear):
    """y = x W^T + b + (alpha / rank) (x A^T) B^T, with A [rank, d_in] and B [d_out, rank] (section 4.1, equation 3).

    It takes over weight and bias of `base`, under their old names. As in the paper A starts Gaussian and B zero, so that
    a new adapter changes nothing. The paper gives no variance; ours, 1 / (3 d_in), is that of its authors' code."""
    def __init__(self, base: nn.Linear):
        super().__init__(base.in_features, base.out_features, bias=False, device="meta")  # no second weight
        self.weight, self.bias = base.weight, base.bias
        self.lora_A, self.lora_B, self.alpha = nn.ParameterDict(), nn.ParameterDict(), {}
        self.lora_A.register_forward_pre_hook(print)  # a hook keeps nn.TransformerEncoderLayer from passing us by
        self.active = self.unmerged = None  # unmerged: the base's weight, while an adapter is merged into `weight`
        self.train(base.training)

    def add(self, name: str, rank: int, alpha: int):
        """One more adapter; it is not active yet."""
        like, std = {"device": self.weight.device, "dtype": self.weight.dtype}, (3 * self.in_features) ** -0.5
        self.lora_A[name] = nn.Parameter(torch.randn(rank, self.in_features, **like) * std)
        self.lora_B[name], self.alpha[name] = nn.Parameter(torch.zeros(self.out_features, rank, **like)), alpha

    def parts(self) -> tuple[Tensor, Tensor, float]:
        """A, B and alpha / rank of the active adapter."""
        a, b = self.lora_A[self.active], self.lora_B[self.active]
        return a, b, self.alpha[self.active] / len(a)

    def forward(self, x: Tensor) -> Tensor:
        """[..., d_out] of `x` float [..., d_in]. Merged, it does one product, like the base."""
        y = nn.functional.linear(x, self.weight, self.bias)
        if self.active is None or self.unmerged is not None:
            return y
        a, b, scale = self.parts()
        return y + nn.functional.linear(nn.functional.linear(x, a), b) * scale


def _adapted(model, need: str | None = None) -> dict[str, LoRALinear]:
    """All layers with adapters, or those that are "merged", or "active": then none may be merged, and one is needed."""
    layers = {n: m for n, m in model.named_modules() if isinstance(m, LoRALinear)}
    merged = {n: m for n, m in layers.items() if m.unmerged is not None}
    if merged and need != "merged":
        raise ValueError("an adapter is merged into the weights of this model; call unmerge_lora(model) first")
    kept = merged if need == "merged" else {n: m for n, m in layers.items() if m.active or not need}
    if need and not kept:
        raise ValueError(f"no adapter is {need} in this {type(model).__name__}; call add_lora(model, rank), or "
                         + ("merge_lora(model)" if need == "merged" else "use_adapter(model, name)") + ", first")
    return kept


def add_lora(model: nn.Module, rank: int, targets: str | Iterable[str] = "*", *, alpha: int | None = None,
             name: str = "default") -> nn.Module:
    """Freezes `model`, puts an adapter of this rank on its linear layers, in place, and makes it the active one.

    targets: names as `model.named_modules()` gives them, or patterns such as "blocks.*" or "*.qkv". alpha: rank, unless
    given. Another name puts one more adapter on the same base. ValueError for a rank that is 0 or above a layer's smaller
    size, targets that match nothing, a name that is taken, a weight that two layers share, and while one is merged."""
    whole(rank=rank, alpha=rank if alpha is None else alpha)
    chosen, places = linear_layers(model, targets), [p for _, p in model.named_parameters(remove_duplicate=False)]
    taken = {*dir(nn.ParameterDict()), *(key for layer in _adapted(model).values() for key in layer.lora_A)}
    if not isinstance(name, str) or not name.isidentifier() or name in taken:
        raise ValueError(f"no adapter can be called {name!r} here; take letters, digits and _, and a name not in use yet")
    for key, layer in chosen.items():
        if rank > min(layer.weight.shape):
            raise ValueError(f"rank={rank} is above the size of {key!r}, {layer.in_features} to {layer.out_features}; "
                             f"choose 1 to {min(layer.weight.shape)}, or leave this layer out of targets")
        if sum(p is layer.weight for p in places) != 1:  # 0: weight_norm computes it anew for each pass
            raise ValueError(f"{key!r} shares its weight with another layer, or computes it; leave it out of targets")
    model.requires_grad_(False)
    for key, layer in chosen.items():
        if not isinstance(layer, LoRALinear):
            layer, (parent, _, last) = LoRALinear(layer), key.rpartition(".")
            setattr(model.get_submodule(parent), last, layer)
        layer.add(name, rank, alpha or rank)
    return use_adapter(model, name)


def use_adapter(model: nn.Module, name: str | None) -> nn.Module:
    """Makes the adapter `name` the one that answers and may train; None: the base alone, frozen. A layer without this
    adapter answers as the base. Raises ValueError for an unknown name, and while one is merged."""
    layers = _adapted(model).values()
    known = sorted({key for layer in layers for key in layer.lora_A})
    if name not in (None, *known):
        raise ValueError(f"there is no adapter {name!r}; this model has {', '.join(known) or 'none: call add_lora first'}")
    for layer in layers:
        layer.active = name if name in layer.lora_A else None
        for key, weight in (*layer.lora_A.items(), *layer.lora_B.items()):
            weight.requires_grad_(key == name)
    return model


@torch.no_grad()
def merge_lora(model: nn.Module) -> nn.Module:
    """Adds the active adapter to the weights, W + (alpha / rank) B A, in place: the same answers to float rounding, with
    the work of the base alone (section 4.1). Raises ValueError when one is merged already, and when none is active."""
    for layer in _adapted(model, "active").values():
        layer.unmerged, (a, b, scale) = layer.weight.clone(), layer.parts()
        layer.weight += b @ a * scale
    return model


@torch.no_grad()
def unmerge_lora(model: nn.Module) -> nn.Module:
    """Puts the base's weights back, bit for bit (merging keeps a copy). Raises ValueError when nothing is merged."""
    for layer in _adapted(model, "merged").values():
        layer.weight.copy_(layer.unmerged)
        layer.unmerged = None
    return model


def _base(layers) -> Tensor:  # tells one base from another: a hash of the weights beside which an adapter was trained
    weights = b"".join(m.weight.detach().double().cpu().numpy().tobytes() for m in layers.values())
    return torch.tensor(int.from_bytes(hashlib.sha256(weights).digest()[:7], "big"))


def lora_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """The active adapter alone: A and B of each layer, alpha, and a hash of the base. ValueError when none is active."""
    layers, parts = _adapted(model, "active"), ("lora_A", "lora_B")
    state = {f"{key}.{part}": getattr(m, part)[m.active].detach().clone() for key, m in layers.items() for part in parts}
    return state | {"alpha": torch.tensor(next(m.alpha[m.active] for m in layers.values())), "base": _base(layers)}


def load_lora(model: nn.Module, state: dict[str, Tensor], name: str = "default") -> nn.Module:
    """Puts a saved adapter on `model`, the base it was trained on, and makes it active. ValueError for another base, and
    as `add_lora` raises it; nothing is changed then."""
    keys, _ = [k.removesuffix(".lora_A") for k in state if k.endswith(".lora_A")], _adapted(model)  # none may be merged
    linear = linear_layers(model)
    if not keys or not set(keys) <= set(linear) or _base({key: linear[key] for key in keys}) != state["base"]:
        raise ValueError(f"this adapter was trained on another base than this {type(model).__name__}; load that one first")
    add_lora(model, len(state[f"{keys[0]}.lora_A"]), keys, alpha=state["alpha"].item(), name=name)
    model.load_state_dict({f"{key}.{name}": value for key, value in state.items() if ".lora_" in key}, strict=False)
    return model


def trainable_parameters(model: nn.Module) -> int:
    """How many numbers training would change: those with `requires_grad`, a shared one counted once."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
