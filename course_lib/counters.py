"""What no noise can touch: parameters, floating-point operations (FLOPs) and bytes.

A FLOP is one multiplication or addition; a multiply-add counts 2. FLOPs are a *count*, like kilometres, never
a speed: nothing here is "per second". As usual, matrix products, convolutions and attention (its whole square
of scores, causal or not) count; biases, activations, normalisation, softmax and look-ups do not.
`torch.utils.flop_counter` counts. In PyTorch 2.13 it reads 0 for attention on a CPU, fused MultiheadAttention
and LSTM, `F.grouped_mm` and matrix times vector, and too much for grouped convolutions backward; so fused
kernels are off while we count (the same mathematics, unfused), and formulas mend the rest.
"""
import re
import warnings
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import inf, prod
from weakref import WeakSet

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from course_lib.tables import Table

_STATES = {"sgd": 0, "momentum": 1, "rmsprop": 1, "adagrad": 1, "adam": 2, "adamw": 2}  # numbers per weight
# Kernels that multiply matrices; one without a formula deserves a warning, never a silent 0.
_PRODUCT = re.compile(r"^(quantized|onednn|fbgemm)\.|mm(_|$)|_trilinear|\.linear|rnn|_lstm$|attention|convol")


def _grouped_mm(a, b, *_, **__) -> int:  # each row meets one group; 3-D by 3-D is one product per group
    return 2 * (a[0] if len(a) == len(b) == 3 else 1) * prod(a[-2:]) * b[-1]


def _conv_backward(grad, x, w, *args, **_) -> int:  # one convolution for the input, one for the weights
    transposed, wanted = args[4], args[7]
    return 2 * prod(w) * grad[0] * prod((x if transposed else grad)[2:]) * sum(wanted[:2])


_MAPPING = {getattr(torch.ops.aten, name): formula for name, formula in {
    "mv": lambda a, *_, **__: 2 * prod(a), "dot": lambda a, *_, **__: 2 * prod(a), "_grouped_mm": _grouped_mm,
    "addmv": lambda bias, a, *_, **__: 2 * prod(a), "convolution_backward": _conv_backward,
}.items() if hasattr(torch.ops.aten, name)}


class _Watch(TorchDispatchMode):
    """Notes which parameters an operation reads, and which products of matrices have no formula."""
    def __init__(self, known):
        super().__init__()
        self.known, self.touched, self.missed = known, set(), set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.touched.update(id(t) for t in tree_leaves((args, kwargs)) if isinstance(t, nn.Parameter))
        packet = getattr(func, "_overloadpacket", func)
        if packet not in self.known and _PRODUCT.search(str(packet)):
            self.missed.add(str(packet))
        return func(*args, **(kwargs or {}))


@contextmanager
def _counting():  # no fused kernels inside; the random state is put back after
    flops, mha = FlopCounterMode(display=False, custom_mapping=_MAPPING), torch.backends.mha
    watch, cuda = _Watch(flops.flop_registry), range(torch.cuda.device_count() * torch.cuda.is_initialized())
    with ExitStack() as stack:
        stack.callback(mha.set_fastpath_enabled, mha.get_fastpath_enabled())
        mha.set_fastpath_enabled(False)
        for backend in (torch.backends.mkldnn, torch.backends.cudnn):
            stack.callback(setattr, backend, "enabled", backend.enabled)
            backend.enabled = False
        for setting in (torch.random.fork_rng(devices=cuda), sdpa_kernel(SDPBackend.MATH), watch, flops):
            stack.enter_context(setting)
        yield flops, watch
    if watch.missed:
        warnings.warn(f"no FLOP formula for {', '.join(sorted(watch.missed))}, so this count is too low; "
                      "count the model before it is quantised or compiled", stacklevel=4)


def _copies(model, example):  # of the buffers, so that batch norm's averages stay as they are
    if not isinstance(model, nn.Module) or not example:
        raise ValueError(f"counting needs a torch.nn.Module and an example batch, not "
                         f"{type(model).__name__} and {len(example)} inputs; for a function use count_flops")
    return {k: b.clone() for k, b in model.named_buffers()}


def _run(model, example, buffers=None):
    return torch.func.functional_call(model, buffers or _copies(model, example), example)


def _active(model, touched) -> int:
    total, left = 0, set(touched)
    for module in model.modules():  # from the outside in: who states a number speaks for everything inside
        stated = hasattr(module, "active_parameters")
        own = {id(p): p.numel() for p in module.parameters(recurse=stated) if id(p) in left}
        total += int(module.active_parameters()) if stated and own else sum(own.values())
        left -= own.keys()
    return total


def _bytes(tensors) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


class _Whole:  # whole numbers under names, shown as a table
    def _table(self) -> Table:
        names = (k.replace("_", " ").replace("flops", "FLOPs" if k != "flops" else "FLOPs, forward pass") for k in vars(self))
        return Table(("count", "number"), list(zip(names, vars(self).values())))

    def __repr__(self) -> str:
        return str(self._table())

    def _repr_html_(self) -> str:
        return self._table()._repr_html_()


@dataclass(frozen=True, repr=False)
class Counts(_Whole):
    """One forward pass of one example batch, in whole numbers: parameters (a tied one once), those this pass
    reads, those that train; FLOPs of the whole batch; bytes in each tensor's own number format."""
    parameters: int
    active_parameters: int
    trainable_parameters: int
    flops: int
    weight_bytes: int
    gradient_bytes: int
    buffer_bytes: int


def count(model: nn.Module, *example) -> Counts:
    """Counts of one forward pass `model(*example)`; weights, buffers, mode and random state stay as they are.
    A parameter is active when an operation of this pass reads it: layers behind an early exit are not. An
    embedding is active as a whole, though a token reads one row, because published counts do so; it costs 0
    FLOPs. A sparse module states its own number, per token, in a method `active_parameters()`.
    Raises ValueError when `model` is no Module or there is no example."""
    with _counting() as (flops, watch), torch.no_grad():
        _run(model, example)
    weights, read = list(model.parameters()), _active(model, watch.touched)
    trained = [p for p in weights if p.requires_grad]
    return Counts(sum(p.numel() for p in weights), read, sum(p.numel() for p in trained),
                  flops.get_total_flops(), _bytes(weights), _bytes(trained), _bytes(model.buffers()))


def count_flops(fn: Callable, *args, **kwargs) -> int:
    """FLOPs of the call `fn(*args, **kwargs)`, with any backward pass inside it. The call really happens."""
    with _counting() as (flops, _):
        fn(*args, **kwargs)
    return flops.get_total_flops()


def _step(model, example) -> tuple[int, int]:
    with _counting() as (flops, _), torch.enable_grad():
        outputs = [o for o in tree_leaves(_run(model, example)) if torch.is_tensor(o) and o.requires_grad]
        forward, weights = flops.get_total_flops(), [p for p in model.parameters() if p.requires_grad]
        if not outputs or not weights:
            raise ValueError(f"{type(model).__name__} trains nothing here; set requires_grad=True on some")
        loss = sum(o.square().sum() for o in outputs)  # squares, because their gradient is a full tensor
        torch.autograd.grad(loss, weights, allow_unused=True)  # unlike backward(), it adds nothing to .grad
    return forward, flops.get_total_flops() - forward


def training_step_flops(model: nn.Module, *example) -> int:
    """FLOPs of the forward and backward pass of one training step; model and gradients stay as they are.
    About 3 times the forward pass when all weights train: a layer needs gradients for its weights and for its input, the
    first layer only for its weights. Loss and optimiser are no matrix products. ValueError when nothing is trainable."""
    return sum(_step(model, example))


@dataclass(frozen=True, repr=False)
class StepCounts(_Whole):
    """One training step of one example batch, in whole numbers: FLOPs of both passes; bytes of the weights, of the
    gradients, of what the optimiser keeps, and of the activations that the forward pass saves for the backward pass."""
    parameters: int
    trainable_parameters: int
    forward_flops: int
    backward_flops: int
    weight_bytes: int
    gradient_bytes: int
    optimizer_bytes: int
    activation_bytes: int

    flops = property(lambda self: self.forward_flops + self.backward_flops)
    memory_bytes = property(lambda self: self.weight_bytes + self.gradient_bytes + self.optimizer_bytes
                            + self.activation_bytes)


def count_step(model: nn.Module, *example, optimizer: str = "adam") -> StepCounts:
    """Counts of one training step in which the weights with `requires_grad` learn; the model stays as it is. Raises
    ValueError when nothing is trainable, and for an optimiser that is not known here."""
    forward, backward = _step(model, example)
    weights = list(model.parameters())
    trained = [p for p in weights if p.requires_grad]
    return StepCounts(sum(p.numel() for p in weights), sum(p.numel() for p in trained), forward, backward, _bytes(weights),
                      _bytes(trained), optimizer_bytes(model, optimizer), activation_bytes(model, *example))


def activation_bytes(model: nn.Module, *example) -> int:
    """Bytes that the forward pass `model(*example)` keeps for the backward pass, parameters and buffers apart, the batch
    itself included where a weight's gradient needs it. With PyTorch's own kernels: a fused attention keeps no scores."""
    buffers = _copies(model, example)
    held = {t.untyped_storage()._cdata for t in (*model.parameters(), *buffers.values())}
    saved, keep = WeakSet(), []  # what a part of the pass saves that leads to no output dies with that part

    def pack(t):
        t = t.detach()  # an output that saves itself would keep its own graph alive for ever

        def unpack():
            return t
        saved.add(unpack)
        return unpack

    cuda = range(torch.cuda.device_count() * torch.cuda.is_initialized())
    with torch.random.fork_rng(devices=cuda), torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t()):
        keep.append(_run(model, example, buffers))  # alive until we have counted, and with it all that it needs
    storages = (unpack().untyped_storage() for unpack in saved)  # told apart by themselves: on meta all addresses are 0
    return sum({s._cdata: s.nbytes() for s in storages if s._cdata not in held}.values())


def training_flops(parameters: float, tokens: float) -> float:
    """6ND, FLOPs to train N (active) parameters on D tokens: 2ND forward, 4ND backward (Kaplan et al. 2020,
    arXiv:2001.08361, section 2.1). Raises ValueError when a number is not positive and finite."""
    if not (0 < parameters < inf and 0 < tokens < inf):
        raise ValueError(f"6ND needs two positive, finite numbers, not {parameters=}, {tokens=}")
    return 6 * parameters * tokens


def fine_tuning_flops(parameters: float, trained: float, tokens: float) -> float:
    """(4N + 2T)D, FLOPs to train T of N parameters on D tokens. A weight W [m, n] meets each token in y = x W: 2mn FLOPs
    forward. Backward come two products of the same size: the gradient of x, dy W^T, which the layers before need, and that
    of W, x^T dy, which only a weight that learns needs. So a frozen weight costs 4, a trained one 6; T = N gives 6ND. An
    adapter's weights belong to both N and T. For weights that meet each token once it is a bound: layers before the first
    trained one cost only their forward 2. The scores of attention come on top, and cost the same frozen or not.
    Raises ValueError when a number is not positive and finite, or T is above N."""
    if not 0 < trained <= parameters:
        raise ValueError(f"(4N + 2T)D needs 0 < trained <= parameters, not {parameters=}, {trained=}")
    return training_flops(parameters, tokens) * (4 * parameters + 2 * trained) / (6 * parameters)


def optimizer_bytes(model: nn.Module, optimizer: str = "adam") -> int:
    """Bytes an optimiser keeps for the trainable parameters (Adam: two numbers each), step counters apart.
    Raises ValueError for an optimiser that is not known here."""
    if optimizer not in _STATES:
        raise ValueError(f"no state size known for optimizer {optimizer!r}; choose from {', '.join(_STATES)}")
    return _STATES[optimizer] * _bytes(p for p in model.parameters() if p.requires_grad)
