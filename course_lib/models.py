"""The few networks that several lessons share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn


class DigitsMLP(nn.Module):
    """A multi-layer perceptron with ReLU between its layers: `d_in` -> each of `hidden` -> `n_classes`.

    `hidden=()` is a plain linear classifier. A forward pass of B examples costs 2B FLOPs per weight.
    Raises ValueError when a size is no positive whole number, TypeError when `hidden` is no sequence.
    """

    def __init__(self, hidden: Sequence[int] = (64,), d_in: int = 64, n_classes: int = 10):
        super().__init__()
        if isinstance(hidden, str) or not isinstance(hidden, Sequence):
            raise TypeError(f"hidden is {hidden!r}; give the layer sizes as a tuple, such as (64,)")
        for name, size in [("d_in", d_in), ("n_classes", n_classes), *(("a hidden size", h) for h in hidden)]:
            if not isinstance(size, int) or isinstance(size, bool) or size < 1:
                raise ValueError(f"{name} is {size!r}; layer sizes are whole numbers from 1, such as 64")
        self.d_in = d_in
        sizes, layers = (d_in, *hidden), []
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], n_classes))

    def forward(self, x: Tensor) -> Tensor:
        """Logits [..., n_classes] of `x` float [..., d_in]. Raises ValueError for another last size."""
        if x.shape[-1:] != (self.d_in,):
            raise ValueError(f"the input has shape {list(x.shape)} but the model reads {self.d_in} numbers "
                             f"per example; reshape it, for example with x.reshape(-1, {self.d_in})")
        return self.layers(x)
