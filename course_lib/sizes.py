"""The checks on sizes that every network here makes, in one sentence each."""

from __future__ import annotations


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
