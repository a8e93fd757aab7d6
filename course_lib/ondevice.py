"""A model file runs alone, as on a device: size, memory, time and loss, from a fresh process for each; phone budgets."""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from course_lib import alone
from course_lib.data import corpus
from course_lib.deploy import damaged, need, there
from course_lib.sizes import whole
from course_lib.stats import real

_ENGINES = {".onnx": "onnxruntime", ".pt": "torch", ".gguf": "llama_cpp"}


def held_out(n: int = 64, length: int = 128) -> Tensor:
    """`n` texts of `length` bytes and the byte behind each, uint8 [n, length + 1], spread over the held-out code."""
    whole(n=n, length=length)
    text = corpus("code").val
    starts = torch.arange(n) * (len(text) - length - 1) // max(n - 1, 1)
    return text[starts[:, None] + torch.arange(length + 1)]


@torch.inference_mode()
def bits_per_byte(model: nn.Module, windows: Tensor) -> float:
    """The loss of `model`, here in this process, on `windows`, uint8 [n, T + 1]: bits for each byte after the first."""
    logits = torch.cat([model(part[:, :-1]) for part in windows.split(8)]).double()
    return nn.functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten().long()).item() / math.log(2)


@dataclass(frozen=True)
class Run:
    """What one process found. `peak_bytes`: the most memory it held, all libraries included; `loaded_bytes`: the same
    before it read the first text. A step gives a batch of texts of `context` bytes their next byte, each text read anew
    (no key-value cache): `step_s`, the seconds of each, by batch; `step_cpu_s`, their mean on the processor, which other
    programs disturb less. None or empty: no model ran."""

    engine: str
    version: str
    torch_loaded: bool
    peak_bytes: int
    import_s: float | None = None
    file_bytes: int | None = None
    load_s: float | None = None
    loaded_bytes: int | None = None
    bits_per_byte: float | None = None
    step_s: dict[int, tuple[float, ...]] = field(default_factory=dict, repr=False)
    step_cpu_s: dict[int, float] = field(default_factory=dict, repr=False)

    def ms_per_byte(self, batch: int = 1, cpu: bool = False) -> float:
        """Median time of a step over the bytes it gives, ms; `cpu`: the mean time on the processor. Raises ValueError
        for a batch that was not timed."""
        if batch not in self.step_s:
            raise ValueError(f"batch {batch!r} was not timed; this run has {', '.join(map(str, self.step_s)) or 'none'}")
        return 1000 * (self.step_cpu_s[batch] if cpu else statistics.median(self.step_s[batch])) / batch


def run_alone(file: str | os.PathLike | None = None, windows: Tensor | None = None, *, batches: tuple[int, ...] = (1, 8),
              context: int = 64, repeats: int = 20, timeout_s: float = 300) -> Run:
    """Runs a model file in a fresh process with one thread, and returns what that process measured about itself.

    The engine follows from the file: .onnx ONNX Runtime, without PyTorch; .pt PyTorch (`save_torch`); .gguf llama.cpp.
    Without a file, the bare interpreter: the bar for memory. windows: texts for the loss, uint8 [n, T + 1], `held_out()`
    unless given; steps take their first `context` bytes. The process ends with the call, an interrupted call included.

    Raises ValueError for a file that is damaged, missing or of another kind, ImportError without the engine, and
    RuntimeError when the process ends without an answer or takes more than `timeout_s`."""
    ask, engine, size = {"engine": None}, "python", None
    if file is not None:
        engine, size = _ENGINES.get((file := there(file)).suffix), file.stat().st_size
        if not engine:
            raise ValueError(f"no engine is known for {file.name}; give a file that ends in {', '.join(_ENGINES)}")
        need(engine)
        windows = held_out() if windows is None else windows
        whole(context=context, repeats=repeats, **{f"batch {b}": b for b in batches})
        if windows.dtype != torch.uint8 or windows.ndim != 2 or not len(windows) or not context < windows.shape[1]:
            raise ValueError(f"windows have shape {list(windows.shape)} and type {windows.dtype}; give uint8 [n, T + 1], T "
                             f"at least the context of {context}, as held_out() does")
        ask = {"engine": engine, "file": str(file), "windows": windows.numpy().tobytes().hex(), "batches": batches,
               "length": windows.shape[1] - 1, "context": context, "repeats": repeats}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    paths = [str(Path(alone.__file__).parents[1]), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    with subprocess.Popen([sys.executable, "-P", alone.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True,  # -P: the course's modules hide nobody else's
                          env={**os.environ, **threads, "PYTHONPATH": os.pathsep.join(filter(None, paths))}) as child:
        held, child.stdin = child.stdin, None  # communicate() would close it; a child whose parent is killed sees it close
        try:
            with suppress(OSError):  # it may have died already; its last words are read below
                print(json.dumps(ask), file=held, flush=True)
            said, error = child.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"the process with {engine} took more than {timeout_s:g} s and was ended; give it a smaller "
                               "model, fewer windows, or more time (timeout_s)") from None
        finally:
            child.kill()  # on any exception, Ctrl-C too; it does nothing to a process that has ended
            with suppress(OSError):
                held.close()
    if child.returncode:
        last = (error.strip().splitlines() or ["it said nothing"])[-1]
        raise RuntimeError(f"the process with {engine} ended with code {child.returncode} and without an answer: {last[:200]}")
    answer = json.loads(said.splitlines()[-1])
    if "refused" in answer:
        raise damaged(file, answer["refused"])
    for key in ("step_s", "step_cpu_s"):  # JSON made words of the numbers
        answer[key] = {int(batch): seconds for batch, seconds in answer.get(key, {}).items()}
    return Run(engine=engine, file_bytes=size, **answer)


@dataclass(frozen=True, repr=False)
class Budget:
    """Memory that a model needs and that an app may take, GB (1e9 bytes), and what was assumed for it."""

    weights_gb: float
    cache_gb: float
    other_gb: float
    room_gb: float
    assumed: dict[str, float]

    @property
    def needs_gb(self) -> float:
        """Weights, key-value cache and the rest together."""
        return self.weights_gb + self.cache_gb + self.other_gb

    @property
    def fits(self) -> bool:
        """True when the room is enough."""
        return self.needs_gb <= self.room_gb

    def __repr__(self) -> str:
        parts = {"weights": self.weights_gb, "key-value cache": self.cache_gb, "other": self.other_gb}
        return (f"{'fits' if self.fits else 'does not fit'}: {' + '.join(f'{v:.3g} GB {k}' for k, v in parts.items() if v)} "
                f"in {self.room_gb:.3g} GB; assumed: {', '.join(f'{k}={v:g}' for k, v in self.assumed.items())}")


def phone_budget(parameters: float, bits: float, ram_gb: float, *, share: float, layers: int | None = None,
                 kv_width: int | None = None, tokens: int | None = None, cache_bits: float = 16,
                 other_gb: float = 0.0) -> Budget:
    """Does a model of `parameters` at `bits` a weight fit into `share` (0..1) of a phone's memory, GB?

    Weights take parameters x bits / 8 bytes. The key-value cache, where it is asked for, takes 2 x layers x kv_width x
    tokens x cache_bits / 8; kv_width: key-value heads times the size of a head. Everything after `ram_gb` is an
    assumption that you set, and stands in the answer. An expert that is not active takes memory like any other.
    Raises ValueError for a value out of range, and for a cache of which only a part is given."""
    rules = {"parameters": (parameters, 1, math.inf), "bits": (bits, 0.1, 64), "ram_gb": (ram_gb, 1e-3, math.inf),
             "share": (share, 1e-3, 1), "cache_bits": (cache_bits, 1, 64), "other_gb": (other_gb, 0, math.inf)}
    for name, (value, low, high) in rules.items():
        if not low <= real(value) <= high:
            raise ValueError(f"{name} is {value!r}; give a number from {low:g}" + f" to {high:g}" * (high < math.inf))
    cache = {"layers": layers, "kv_width": kv_width, "tokens": tokens}
    if given := {name: value for name, value in cache.items() if value is not None}:
        if lost := [name for name in cache if name not in given]:
            raise ValueError(f"the key-value cache needs {' and '.join(lost)} too; give all of {', '.join(cache)}, or none")
        whole(**given)
        given["cache_bits"] = cache_bits
    cache_gb = 2 * layers * kv_width * tokens * cache_bits / 8e9 if given else 0.0
    assumed = {"share": share, **given, **({"other_gb": other_gb} if other_gb else {})}
    return Budget(parameters * bits / 8e9, cache_gb, other_gb, ram_gb * share, assumed)
