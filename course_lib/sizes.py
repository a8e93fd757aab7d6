"""The checks on sizes and names that every network here makes, in one sentence each."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from torch import nn


def whole(**sizes):
    """Raises ValueError unless each named size is a whole number from 1."""
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ValueError(f"{name} is {size!r}; give a whole number from 1")


def same_shapes(module, state, prefix, *_):
    """For `register_load_state_dict_pre_hook`: one sentence for saved weights of another size (ValueError)."""
    for name, own in module.named_parameters():
        theirs = state.get(prefix + name)
        if theirs is not None and theirs.shape != own.shape:
            raise ValueError(f"the saved {prefix}{name} has shape {list(theirs.shape)}, this one has {list(own.shape)}; "
                             "build the network with the sizes it was saved with")


def linear_layers(model: nn.Module, targets: str | Iterable[str] = "*") -> dict[str, nn.Linear]:
    """The linear layers inside `model` by name, those that match a name or pattern of `targets` ("blocks.*"). Plain ones,
    and those with an adapter: torch's attention reads the weight of its out_proj, a subclass, without calling it.
    Raises ValueError, listing the names there are, for a target that matches nothing."""
    found = {n: m for n, m in model.named_modules() if n and (type(m) is nn.Linear or hasattr(m, "lora_A"))}
    patterns = (targets,) if isinstance(targets, str) else tuple(targets)
    if lost := [p for p in patterns or ("",) if not any(fnmatchcase(n, p) for n in found)]:
        raise ValueError(f"no linear layer is called {' or '.join(map(repr, lost))}; this {type(model).__name__} has "
                         f"{', '.join(found) or 'none inside'}")
    return {n: m for n, m in found.items() if any(fnmatchcase(n, p) for p in patterns)}
