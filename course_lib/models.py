"""The few networks that several lessons share."""

from __future__ import annotations

import functools
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from itertools import islice, pairwise

import torch
from torch import Tensor, nn

from course_lib.sizes import same_shapes, whole

N_BYTES = 256


def _check_bytes(given: Tensor, fits: bool, wanted: str):
    if not fits or given.is_floating_point() or given.dtype == torch.bool:
        raise ValueError(f"the input has shape {list(given.shape)} and type {given.dtype}; give {wanted}")
    if given.dtype != torch.uint8 and given.numel() and not 0 <= given.min() <= given.max() < N_BYTES:
        raise ValueError(f"the input goes from {given.min()} to {given.max()}, but a byte is a number from 0 to 255")


class DigitsMLP(nn.Module):
    """A multi-layer perceptron with ReLU between its layers: `d_in` -> each of `hidden` -> `n_classes`.

    `hidden=()` is a plain linear classifier. A forward pass of B examples costs 2B FLOPs per weight.
    Raises ValueError when a size is no positive whole number, TypeError when `hidden` is no sequence.
    """

    def __init__(self, hidden: Sequence[int] = (64,), d_in: int = 64, n_classes: int = 10):
        super().__init__()
        if isinstance(hidden, str) or not isinstance(hidden, Sequence):
            raise TypeError(f"hidden is {hidden!r}; give the layer sizes as a tuple, such as (64,)")
        whole(d_in=d_in, n_classes=n_classes)
        for size in hidden:
            whole(**{"a hidden size": size})
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


class MultiExitCNN(nn.Module):
    """A convolutional network for digits that can answer after any of its blocks, in the manner of BranchyNet
    (Teerapittayanon et al. 2016, arXiv:1709.01686).

    A 3 x 3 convolution makes `channels` maps of the image; each of `n_blocks` blocks is one more, with a batch norm,
    added to what comes in (residual). An exit head stands at the start and behind every block: the mean of each map
    over the image, and a linear layer. `exit=n` runs n blocks and reads one head. Convolution weights are
    9 `channels`^2 a block, and each is used at all 64 pixels: 128 FLOPs per weight and image.
    Raises ValueError when a size is no positive whole number.
    """

    def __init__(self, channels: int = 24, n_blocks: int = 6, n_classes: int = 10):
        super().__init__()
        whole(channels=channels, n_blocks=n_blocks, n_classes=n_classes)
        self.stem = nn.Conv2d(1, channels, 3, padding=1)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1),
                                                  nn.BatchNorm2d(channels)) for _ in range(n_blocks))
        self.heads = nn.ModuleList(nn.Linear(channels, n_classes) for _ in range(n_blocks + 1))

    def states(self, x: Tensor) -> Iterator[Tensor]:
        """Maps [B, channels, 8, 8] behind 0, 1, ... n_blocks blocks, for `x` float [B, 64]. A block runs only when
        its state is asked for: whoever stops asking has stopped the network. Raises ValueError for another shape."""
        if x.ndim != 2 or x.shape[1] != 64:
            raise ValueError(f"x has shape {list(x.shape)}; give images of 8 x 8 pixels as [batch, 64]")
        x = nn.functional.relu(self.stem(x.view(-1, 1, 8, 8)))
        yield x
        for block in self.blocks:
            x = nn.functional.relu(x + block(x))
            yield x

    def read(self, n: int, state: Tensor) -> Tensor:
        """Logits [B, n_classes] of exit `n` from the maps behind block n."""
        return self.heads[n](state.mean((2, 3)))

    def forward(self, x: Tensor, exit: int | None = None) -> Tensor:
        """Logits [B, n_classes] of `x` float [B, 64] after `exit` blocks, 0 to n_blocks (None: all of them).
        Raises ValueError for another exit or shape."""
        n = len(self.blocks) if exit is None else exit
        if not 0 <= n <= len(self.blocks):
            raise ValueError(f"exit is {exit!r}; choose 0 to {len(self.blocks)}, or None for the whole network")
        for state in islice(self.states(x), n + 1):
            pass
        return self.read(n, state)

    def every_exit(self, x: Tensor) -> Tensor:
        """Logits [n_blocks + 1, B, n_classes] of all exits in one pass, the whole network last."""
        return torch.stack([self.read(n, state) for n, state in enumerate(self.states(x))])


class ByteWindowLM(nn.Module):
    """Predicts the next byte from the last `window` bytes, without attention.

    Each place in the window has its own embedding table; the embeddings are summed, and `n_layers` feed-forward
    blocks follow, each on top of a layer norm and added to what comes in (pre-norm residual). `feed_forward` builds one
    block's layer, float [N, d_model] -> the same; without it, a dense one with `d_ff` hidden units and ReLU. A
    `SparseMoE` fits: `ByteWindowLM(feed_forward=lambda: SparseMoE(64, 128, n_experts=16, top_k=1))`.
    """

    def __init__(self, d_model: int = 64, d_ff: int = 128, n_layers: int = 2, window: int = 8,
                 feed_forward: Callable[[], nn.Module] | None = None):
        super().__init__()
        whole(d_model=d_model, d_ff=d_ff, n_layers=n_layers, window=window)
        self.window = window
        self.embedding = nn.Embedding(window * N_BYTES, d_model)
        nn.init.normal_(self.embedding.weight, std=window**-0.5)
        self.norms = nn.ModuleList(nn.LayerNorm(d_model) for _ in range(n_layers))
        build = feed_forward or (lambda: nn.Sequential(nn.Linear(d_model, d_ff), nn.ReLU(), nn.Linear(d_ff, d_model)))
        self.blocks = nn.ModuleList(build() for _ in range(n_layers))
        self.head = nn.Sequential(nn.LayerNorm(d_model), nn.Linear(d_model, N_BYTES))
        self._register_load_state_dict_pre_hook(same_shapes, with_module=True)

    def forward(self, windows: Tensor) -> Tensor:
        """Logits [N, 256] of the byte after each window; `windows` uint8 or int64 [N, window], oldest byte first.
        Raises ValueError for another shape, and for what is no byte."""
        _check_bytes(windows, windows.ndim == 2 and windows.shape[1] == self.window,
                     f"whole numbers of shape [N, {self.window}], as byte_windows makes them with window={self.window}")
        x = self.embedding(windows.long() + N_BYTES * torch.arange(self.window, device=windows.device)).sum(1)
        for norm, block in zip(self.norms, self.blocks):
            x = x + block(norm(x))
        return self.head(x)


class _Block(nn.Module):
    def __init__(self, d_model, n_heads):
        super().__init__()
        self.n_heads = n_heads
        self.norm_1, self.norm_2 = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.qkv, self.out = nn.Linear(d_model, 3 * d_model), nn.Linear(d_model, d_model)
        self.up, self.down = nn.Linear(d_model, 4 * d_model), nn.Linear(4 * d_model, d_model)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(self.norm_1(x)).view(b, t, 3, self.n_heads, d // self.n_heads).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(b, t, d))
        return x + self.down(nn.functional.gelu(self.up(self.norm_2(x)), approximate="tanh"))


class ByteTransformer(nn.Module):
    """A small GPT over bytes: GPT-2's form (Radford et al. 2019), pre-norm blocks, learned positions, 3.3 M parameters.

    It has an exit after the embedding and after every block: `exit=0` reads the embedding alone, `exit=n_layers`
    (or None) is the whole network. Exit heads are a layer norm and a linear map each.
    """

    def __init__(self, d_model: int = 256, n_layers: int = 4, n_heads: int = 4, context: int = 128):
        super().__init__()
        whole(d_model=d_model, n_layers=n_layers, n_heads=n_heads, context=context)
        if d_model % n_heads:
            raise ValueError(f"d_model={d_model} cannot be shared among n_heads={n_heads}; take a multiple")
        self.context = context
        self.tokens, self.places = nn.Embedding(N_BYTES, d_model), nn.Embedding(context, d_model)
        self.blocks = nn.ModuleList(_Block(d_model, n_heads) for _ in range(n_layers))
        self.norm, self.head = nn.LayerNorm(d_model), nn.Linear(d_model, N_BYTES, bias=False)
        self.exits = nn.ModuleList(nn.Sequential(nn.LayerNorm(d_model), nn.Linear(d_model, N_BYTES, bias=False))
                                   for _ in range(n_layers))
        self._register_load_state_dict_pre_hook(same_shapes, with_module=True)
        for name, weight in self.named_parameters():
            if weight.ndim == 2:  # GPT-2's start: what adds to the residual stream starts smaller
                deep = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(weight, std=0.02 / (2 * n_layers) ** 0.5 if deep else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(weight)

    def _states(self, tokens: Tensor, n: int):
        _check_bytes(tokens, tokens.ndim == 2 and 1 <= tokens.shape[1] <= self.context,
                     f"whole numbers of shape [batch, T], T from 1 to {self.context}")
        x = self.tokens(tokens.long()) + self.places.weight[:tokens.shape[1]]
        yield x
        for block in self.blocks[:n]:
            x = block(x)
            yield x

    def forward(self, tokens: Tensor, exit: int | None = None) -> Tensor:
        """Logits [batch, T, 256] of the next byte at each place of `tokens`, uint8 or int64 [batch, T], T <= context.
        `exit`: how many blocks to run, 0 to n_layers. Raises ValueError for another shape or exit, and for no byte."""
        n = len(self.blocks) if exit is None else exit
        if not isinstance(n, int) or not 0 <= n <= len(self.blocks):
            raise ValueError(f"exit is {exit!r}; choose 0 to {len(self.blocks)}, or None for the whole network")
        for x in self._states(tokens, n):
            pass
        return self.head(self.norm(x)) if n == len(self.blocks) else self.exits[n](x)

    def every_exit(self, tokens: Tensor) -> Tensor:
        """Logits [n_layers + 1, batch, T, 256] of all exits in one pass, the whole network last."""
        *early, last = self._states(tokens, len(self.blocks))
        return torch.stack([*(head(x) for head, x in zip(self.exits, early)), self.head(self.norm(last))])


@functools.cache
def _checkpoint() -> tuple[dict, dict]:
    file = resources.files("course_lib") / "assets" / "byte_transformer.pt"
    about, data = json.loads(file.with_suffix(".json").read_text()), file.read_bytes()
    if hashlib.sha256(data).hexdigest() != about["sha256"]:
        raise ValueError("the shipped checkpoint byte_transformer.pt is damaged: its hash is not the recorded one; "
                         "install the course again")
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True), about


def pretrained(about: bool = False) -> ByteTransformer | dict:
    """A new copy of the shipped `ByteTransformer`, in eval mode, float32, trained on the "code" corpus.

    With `about=True` the record that comes with it: corpus and its hash, steps, loss, licence. The weights are
    stored in half precision. Raises ValueError when the file is damaged.
    """
    weights, record = _checkpoint()
    if about:
        return dict(record)
    model = ByteTransformer(**record["sizes"])
    model.load_state_dict(weights)  # copies into float32
    return model.eval()
