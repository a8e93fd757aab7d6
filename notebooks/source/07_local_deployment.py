# ---
# jupyter:
#   course:
#     cpu_seconds: 60
#     lesson: '07'
#     memory_mb: 1000
#     minutes: 55
#   jupytext:
#     formats: ipynb,source//py:percent
#     notebook_metadata_filter: course,-jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Local deployment
#
# **The question.** What fits in a phone? And is it cheaper there?
#
# **After this lesson you can**
#
# - count what a weight takes in a file, its share of the scales included;
# - shrink a trained network step by step, and measure size, memory, time, loss and energy of each step;
# - say what decides whether a smaller format takes less energy;
# - work out which published model fits into which phone, and name every assumption;
# - compare joules per token on a phone and on a shared server, after adding what each figure leaves out.
#
# **You need** about 55 minutes, at most 60 seconds of computing and 1,000 MB of memory. No GPU, no download.
#
# **You see results already:** they come from our machine. Choose *Edit → Clear Outputs of All Cells*, then run the
# cells one by one. Do not use *Run All*: it skips your predictions.
#
# **Claims of the article:** A9, B11, B13.
# **Before:** [lesson 06](06_less_data.ipynb). **After:** [exercise 07](../exercises/07_local_deployment.ipynb).

# %% tags=["setup"]
import importlib.util, sys
if importlib.util.find_spec("course_lib") is None:
    sys.exit("course_lib is missing: in the course folder type  make lab  or  pip install .")

# %%
import copy
import inspect
import tempfile
from pathlib import Path

import numpy as np
import torch
from matplotlib.ticker import LogLocator
from torch import nn

from course_lib import alone, ledger, plots
from course_lib.claims import claim, verdict
from course_lib.counters import count
from course_lib.deploy import export_onnx, need, packages, quantize_onnx, read_gguf, save_torch, write_gguf
from course_lib.energy import Meter
from course_lib.facts import cite, fact, statement
from course_lib.models import pretrained
from course_lib.ondevice import Run, bits_per_byte, held_out, phone_budget, run_alone
from course_lib.setup import seed_everything
from course_lib.stats import si
from course_lib.tables import Table, shipped
from course_lib.widgets import choice, explore, predict, slider

seed_everything(0, threads=1)  # one thread: networks this small gain nothing from two
meter = Meter()

# %% [markdown]
# ## Part one: how many bits does a weight need?
#
# The article says why the models of today stay in data centres.

# %%
claim("A9").card()

# %%
claim("B11").card()

# %% [markdown]
# So a phone lacks memory, and therefore needs a server. Both can be checked. A model is a file of numbers, and a number can
# be written with many bits or with few. We take a real network, write it smaller and smaller, and see what we gain and what
# we lose.
#
# The network is the one of lesson 03: it reads bytes of program code and predicts the next one. Its quality is measured in
# *bits per byte*, on code that it has not seen: what lesson 03 called its surprise. Lower is better.
#
# An **engine** is the program that loads a file and computes with it. PyTorch is one. Others need packages of their own.
# Here is what this machine has.

# %%
packages()

# %% [markdown]
# If one is missing, go on all the same. What cannot run here is then taken from a table that ships with the course, and the
# cell says so. In part three it is left out.

# %%
table = shipped("07_local_deployment")
ours = {row["format"]: row for row in table.rows}
print(table.made)

# %% tags=["nbval-check-output"]
model = pretrained()
PARAMETERS = pretrained(about=True)["parameters"]  # without the early exits, which stay out of the files
print(f"{PARAMETERS:,} parameters; a float32 has 32 bits, or 4 bytes: {4 * PARAMETERS / 1e6:.1f} MB")

# %% [markdown]
# ### Rounding
#
# A number of `b` bits can take $2^b$ values. With $8$ bits we use the whole numbers from $-127$ to $127$, with $4$ bits from
# $-7$ to $7$: alike on both sides, so that one value stays unused. A *scale* turns them into weights: weight = scale × whole
# number. To store a weight is to round it to the nearest step. This is called *quantisation*.
#
# One scale can serve a whole matrix, or only a short *block* of weights. Its step must be wide enough for the largest weight
# that it serves.

# %%
def rounded(weight, bits, block=None):
    """The weights, rounded to `bits` bits, with one scale for each `block` of them (None: for the whole matrix)."""
    rows = weight.reshape(-1, block or weight.numel())
    top = 2 ** (bits - 1) - 1
    scale = rows.abs().amax(1, keepdim=True).clamp(min=1e-12) / top
    return ((rows / scale).round().clamp(-top, top) * scale).view_as(weight)


@torch.no_grad()
def rounded_model(bits, block):
    """A copy of the model with every matrix and the embedding of tokens rounded."""
    other = copy.deepcopy(model)
    for name, weight in other.named_parameters():
        if weight.ndim == 2 and not name.startswith(("places", "exits")):
            weight.copy_(rounded(weight, bits, block))
    return other

# %% [markdown]
# ### Predict
#
# There is another way to a smaller network: leave out the last of its four layers. Lesson 03 did that with an early exit.
# (It called the layers blocks. Here a block is a group of weights.) That saves almost a quarter of the weights. Four bits in
# place of thirty-two save seven eighths. Rounding saves more. Does it also lose more?

# %%
guess_worse = predict(
    "07-round-or-cut", "Every weight is rounded to 4 bits, with one scale for each matrix. Which loses more quality?",
    options=["rounding", "leaving out a layer", "about the same"], guess="leaving out a layer",
)
guess_worse

# %% [markdown]
# ### Measure

# %%
some_texts = held_out(16)
whole_network = bits_per_byte(model, some_texts)
one_layer_less = bits_per_byte(lambda x: model(x, exit=3), some_texts) - whole_network
BLOCKS = {"whole matrix": None, "256 weights": 256, "32 weights": 32}
losses = {(name, bits): bits_per_byte(rounded_model(bits, block), some_texts) - whole_network
          for name, block in BLOCKS.items() for bits in (8, 6, 5, 4, 3, 2)}
two = [rounded_model(6, block) for block in (None, 32)]  # how much does a difference of two losses change with the text?
coarse, fine = (torch.tensor([bits_per_byte(m, text[None]) for text in some_texts]) for m in two)
noise = ((coarse - fine).std() / len(some_texts) ** 0.5).item()
Table(["bits", *(f"one scale for {name}" for name in BLOCKS)],
      [(bits, *(f"{losses[name, bits]:+.4f}" for name in BLOCKS)) for bits in (8, 6, 5, 4, 3, 2)],
      caption=f"Bits per byte that rounding loses; without the last layer: {one_layer_less:+.4f}. "
      f"A difference below about {2 * noise:.3f} means nothing with so few texts")

# %%
four = losses["whole matrix", 4]
guess_worse.reveal("rounding" if four > 1.2 * one_layer_less else "leaving out a layer" if one_layer_less > 1.2 * four
                   else "about the same")

# %% tags=["nbval-check-output"]
print("8 bits lose less than 0.01 bits per byte, whatever the scales:", all(losses[n, 8] < 0.01 for n in BLOCKS))
print("4 bits, one scale for a matrix, lose more than a layer:", bool(four > one_layer_less))
print("4 bits, one scale for 32 weights, lose less than half as much as a layer:",
      losses["32 weights", 4] < one_layer_less / 2)

# %% [markdown]
# With eight bits nothing is lost that matters. A loss may even be negative: rounding errs in both directions. With four bits
# it depends on the scales: a single large weight makes the step wide for all that share its scale. With two bits this
# network is ruined. (Simple rounding does that. There are better ways, some of which train the network again with rounded
# weights. Apple's model, below, has two bits.)
#
# ### Scales cost bits
#
# So scales should be many. But each is a number too. One scale of 16 bits for 32 weights is half a bit for each weight.

# %% jupyter={"source_hidden": true}
def rounding_figure():
    fig, ax = plots.figure("What does each bit that we save cost?", "bits for each weight, with its share of the scale",
                           "loss (bits per byte)")
    for i, (name, block) in enumerate(BLOCKS.items()):
        bits = [2, 3, 4, 5, 6, 8]
        ax.plot([b + (16 / block if block else 0) for b in bits], [losses[name, b] for b in bits],
                label=f"one scale for {name}", **plots.series(i))
    ax.axhline(one_layer_less, color="black", linewidth=1, linestyle=(0, (1, 3)))
    ax.text(8.6, 1.2 * one_layer_less, "without the last layer", ha="right", fontsize=9)
    ax.axhspan(-noise * 2, noise * 2, color="0.9", zorder=0)
    ax.text(2.1, 0, "noise", va="center", fontsize=9)
    ax.set_yscale("symlog", linthresh=0.01)
    ax.set_yticks([0, 0.01, 0.1, 1, 10], ["0", "0.01", "0.1", "1", "10"])
    ax.set(ylim=(-0.01, 20), xlim=(2, 8.7))
    ax.legend()
    return fig

# %% course={"picture": "images/07_bits_for_each_weight.png"}
plots.show(rounding_figure(), alt="Loss in bits per byte against bits for each weight, for three sizes of block; the loss axis is "
           "logarithmic above a hundredth. From six bits on all three lie in the band of noise or close to it. At four bits one "
           "scale for a whole matrix loses more than leaving out a layer, smaller blocks far less. At two all lose far more.")

# %% [markdown]
# A smaller block moves a point to the right, by what its scales cost, and down where rounding hurts. With six or eight bits
# there is nothing to repair. With four bits either kind of block is far better than one scale for all.
#
# ### Predict
#
# Real tools do all this for us. When people say "4 bit", they mean only the whole numbers. What else is in the file?

# %%
guess_bits = predict(
    "07-four-bits", "ONNX Runtime's own tool writes our network with 4-bit weights. How many bits of its file are there for "
    "each parameter, on average?", low=1, high=32, guess=4, unit="bits",
)
guess_bits

# %% [markdown]
# ### Write the files
#
# - **.pt** is PyTorch's own format. It needs PyTorch to be read.
# - **ONNX** holds the network's operations and weights. Engines in many languages run it; we use ONNX Runtime, and its tools:
#     - **int8**: one scale for each column of a matrix. The tool keeps to seven of the eight bits, for on some processors the
#       sums overflow otherwise.
#     - **int4**: one scale for each block of `32` weights.
#     - In both, what the weights *multiply* is rounded to eight bits as well, at each step, while the network runs.
# - **GGUF** is what llama.cpp reads, which runs language models on laptops and phones. Q8_0 and Q4_0 are two of its
#   formats: blocks of `32` weights with one scale of `16` bits.

# %%
texts, kept = held_out(64), tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
folder = Path(kept.name)


def save_float16(model, file):
    torch.save({"weights": {k: w.half() for k, w in model.state_dict().items() if not k.startswith("exits.")}}, file)
    return file


WRITE = {
    "float32": lambda: save_torch(model, folder / "model.pt"),
    "float16": lambda: save_float16(model, folder / "half.pt"),
    "float32, ONNX": lambda: export_onnx(model, texts[:2, :-1], folder / "model.onnx"),
    "int8": lambda: quantize_onnx(folder / "model.onnx", folder / "int8.onnx", bits=8),
    "int4": lambda: quantize_onnx(folder / "model.onnx", folder / "int4.onnx", bits=4),
    "Q8_0": lambda: write_gguf(model, folder / "Q8_0.gguf", "Q8_0"),
    "Q4_0": lambda: write_gguf(model, folder / "Q4_0.gguf", "Q4_0"),
}

# %%
files = {}
for name, write in WRITE.items():
    try:
        files[name] = write()
        print(f"{name}: {files[name].name}, {files[name].stat().st_size / 1e6:.2f} MB", flush=True)
    except (ImportError, ValueError) as why:  # a package is not here, or the file that it should have read
        print(f"{name} is taken from our table. {why}")

# %% [markdown]
# ### Count
#
# We open each file and count the bytes of the network's matrices, scales included. Then we divide the whole file by the number
# of parameters.

# %% jupyter={"source_hidden": true}
MATRICES = ("qkv.weight", "out.weight", "up.weight", "down.weight", "head.weight")  # in PyTorch's names
MATRIX_WEIGHTS = sum(w.numel() for k, w in model.state_dict().items()
                     if k.endswith(MATRICES) and not k.startswith("exits."))


def onnx_numbers(file):
    """{name: array} of all numbers in an ONNX file, and the names of those that are the second side of a product."""
    import onnx
    graph = onnx.load(file).graph
    numbers = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    return numbers, {n.input[1] for n in graph.node if n.op_type == "MatMul" and n.input[1] in numbers}


def matrix_bytes(file):
    """Bytes that the file keeps for the network's matrices: whole numbers, scales and zero points."""
    if file.suffix == ".pt":
        return sum(w.nbytes for k, w in torch.load(file)["weights"].items() if k.endswith(MATRICES))
    if file.suffix == ".onnx":
        numbers, matrices = onnx_numbers(file)
        names = matrices | onnx_numbers(file.with_name("model.onnx"))[1]
        return sum(a.nbytes for k, a in numbers.items() if k in names or k.rpartition("_")[0] in names
                   or k.removesuffix("_zero_point") in names)
    import gguf
    ends = ("attn_qkv.weight", "output.weight", "ffn_up.weight", "ffn_down.weight")
    return sum(int(t.n_bytes) for t in gguf.GGUFReader(file).tensors if t.name.endswith(ends))

# %% tags=["nbval-check-output"]
in_matrices, file_bytes = ({f: ours[f][key] for f in WRITE} for key in ("matrix_bytes", "file_bytes"))
for name, file in files.items():
    in_matrices[name], file_bytes[name] = matrix_bytes(file), file.stat().st_size
per_parameter = {name: 8 * size / PARAMETERS for name, size in file_bytes.items()}
NAMED = {"float16": 16, "int8": 8, "Q8_0": 8, "int4": 4, "Q4_0": 4}
print("bits for each weight of a matrix:", {name: round(8 * n / MATRIX_WEIGHTS, 2) for name, n in in_matrices.items()
                                            if name in NAMED})
numbers = MATRIX_WEIGHTS / 2  # bytes: 4 bits each
print(f"int4: whole numbers {numbers / 1e6:.2f} MB + scales {(in_matrices['int4'] - numbers) / 1e6:.2f} MB")

# %%
Table(["format", "bits in its name", "for each weight of a matrix", "file (MB)", "of float32", "bits for each parameter"],
      [(name, NAMED.get(name, 32), f"{8 * in_matrices[name] / MATRIX_WEIGHTS:.2f}", f"{size / 1e6:.2f}",
        f"{size / file_bytes['float32']:.3f}", f"{per_parameter[name]:.2f}") for name, size in file_bytes.items()])

# %%
guess_bits.reveal(per_parameter["int4"])

# %% tags=["nbval-check-output"]
of_float32 = {name: size / file_bytes["float32"] for name, size in file_bytes.items()}
print("int8 and Q8_0: at most 0.30 of the float32 file:", max(of_float32["int8"], of_float32["Q8_0"]) <= 0.30)
print("Q4_0: at most 0.20:", of_float32["Q4_0"] <= 0.20)
print("bits for each parameter: int4 more than 6, Q4_0 less than 5:", per_parameter["int4"] > 6 and per_parameter["Q4_0"] < 5)

# %% [markdown]
# The int4 file has a float32 scale for each 32 weights, which is one bit more for each weight. And the tool leaves the
# embeddings as they were. In a network as small as ours that shows. Q4_0 has a shorter scale, and rounds the embedding
# of tokens too. And the int8 file says eight, stores eight, and uses seven.
#
# Published for Llama 3.1 8B: F16 takes [16.0005 bit/param](#bpw_F16), Q8_0 [8.5008 bit/param](#bpw_Q8_0). Formats in use also
# mix matrices of more bits with others of fewer: Q4_K_M takes [4.8944 bit/param](#bpw_Q4_K_M), Q2_K
# [3.1593 bit/param](#bpw_Q2_K). MXFP4, which some chips compute with, takes [4.25 bit/param](#bpw_mxfp4). Read the file, not
# the name.
#
# ## Part two: run each file alone
#
# Smaller on the disk is not yet smaller in memory. Four of the files now run in a **fresh process** each, which measures
# itself: the most memory that it held, the time to load the file, the time of a step, and the loss. (The float16 file would
# be turned into float32 by PyTorch. GGUF needs llama.cpp, which few machines have.) The engine for ONNX never loads PyTorch:

# %%
print(inspect.getsource(alone.onnx_runtime))

# %% [markdown]
# ### Predict
#
# First we change only the engine. The weights are the same, in float32.

# %%
guess_memory = predict(
    "07-memory", "The same float32 weights run in ONNX Runtime instead of PyTorch. How much of PyTorch's peak memory does that "
    "process take?", low=1, high=120, guess=95, unit="%",
)
guess_memory

# %% [markdown]
# ### Measure
#
# In one step the network reads a text of `64` bytes and predicts one more byte: for one text, or for eight at once. The times
# come later, in part three.

# %%
def stand_in(row):
    """What we found, as the Run that this machine could not make."""
    row = {k: v for k, v in row.items() if k in Run.__dataclass_fields__}
    return Run(**row | {k: {int(b): v for b, v in row[k].items()} for k in ("step_s", "step_cpu_s")})


RUN = {"float32": "PyTorch", "float32, ONNX": "ONNX Runtime", "int8": "ONNX Runtime", "int4": "ONNX Runtime"}
runs, made_at = {}, "this machine"
try:
    for name, file in [(name, files[name]) for name in RUN]:
        runs[name] = run_alone(file, texts, repeats=12)
        print(f"{name}: done", flush=True)
except (KeyError, ImportError) as why:  # to compare, all must come from one machine
    print(f"All four are taken from our table. {why if isinstance(why, ImportError) else f'There is no file {why} here.'}")
    runs, made_at = {name: stand_in(ours[name]) for name in RUN}, "our table (the bare interpreter: this machine)"
bare = run_alone()

# %%
base = runs["float32"]
Table(["format", "engine", "file (MB)", "loaded (MB)", "peak (MB)", "of PyTorch's peak", "load (ms)"],
      [("none", "the bare interpreter", "-", "-", f"{bare.peak_bytes / 1e6:.0f}",
        f"{bare.peak_bytes / base.peak_bytes:.2f}", "-"),
       *((name, RUN[name], f"{file_bytes[name] / 1e6:.1f}", f"{r.loaded_bytes / 1e6:.0f}", f"{r.peak_bytes / 1e6:.0f}",
          f"{r.peak_bytes / base.peak_bytes:.2f}", f"{1000 * r.load_s:.0f}") for name, r in runs.items())],
      caption=f"Memory with the model loaded, and at most; from {made_at}")

# %%
guess_memory.reveal(100 * runs["float32, ONNX"].peak_bytes / base.peak_bytes)

# %% tags=["nbval-check-output"]
share = {name: r.peak_bytes / base.peak_bytes for name, r in runs.items()}
print("PyTorch was loaded only where it is the engine:", [name for name, r in runs.items() if r.torch_loaded])
print("float32 in ONNX Runtime: at most 0.40 of PyTorch's peak:", share["float32, ONNX"] <= 0.40)
print("int8 in ONNX Runtime: at most 0.33:", share["int8"] <= 0.33)
print("the other engine saves more than three times what int8 saves after it:",
      1 - share["float32, ONNX"] > 3 * (share["float32, ONNX"] - share["int8"]))

# %% jupyter={"source_hidden": true}
def memory_figure():
    fig, ax = plots.figure("Where does the memory go?", "MB", "format, and its engine", height=3.6)
    names = ["bare interpreter", *(f"{n.split(',')[0]}, {e}" for n, e in RUN.items())]
    plots.bars(ax, names, {"peak memory of the process": [r.peak_bytes / 1e6 for r in (bare, *runs.values())],
                           "file": [0, *(r.file_bytes / 1e6 for r in runs.values())]}, horizontal=True)
    return fig

# %% course={"picture": "images/07_memory.png"}
plots.show(memory_figure(), alt="Horizontal bars of peak memory and of file size. The bare interpreter takes about a dozen "
           "megabytes. PyTorch with the float32 file takes by far the most. ONNX Runtime with the same weights takes about a "
           "third of that, int8 and int4 a little less. The files are short bars beside all of them.")

# %% [markdown]
# Most of this memory is not the model at all: it is the engine and its libraries. So the first step for a small model is
# another engine. For a model of billions of weights the engine is small beside the file, and the format decides.
#
# The int4 file is smaller than the int8 file. On our machine its process still took a little more memory at its peak: work
# needs room too.
#
# (A peak says what one process held. We checked on Linux that it does; on other systems the limits below may differ.)
#
# ### What is lost?
#
# The GGUF files are read back, their weights turned into float32, and asked in this process. That shows their loss,
# not their speed.

# %%
bits = {name: r.bits_per_byte for name, r in runs.items()}
for name in ("Q8_0", "Q4_0"):
    bits[name] = bits_per_byte(read_gguf(files[name]), texts) if name in files else ours[name]["bits_per_byte"]
loss = {name: b - bits["float32"] for name, b in bits.items()}
Table(["format", "file, of float32", "bits per byte", "loss"],
      [(name, f"{of_float32[name]:.3f}", f"{b:.4f}", f"{loss[name]:+.4f}") for name, b in bits.items()])

# %% tags=["nbval-check-output"]
print("float16 loses nothing, since the shipped weights were stored so:",
      all(torch.equal(w, w.half().float()) for w in model.state_dict().values()))
for limit, names in {0.001: ["float32, ONNX"], 0.01: ["int8", "Q8_0"], 0.03: ["int4", "Q4_0"]}.items():
    print(f"{' and '.join(names)}: the loss is at most {limit} bits per byte:", all(loss[n] <= limit for n in names))
print("both 4-bit files lose more than both 8-bit files:", min(loss["int4"], loss["Q4_0"]) > max(loss["int8"], loss["Q8_0"]))

# %% [markdown]
# Eight bits cost nothing that we can see. Four bits cost a little, and still far less than leaving out a layer. This
# holds for **this** network on **these** texts. Whoever shrinks a model has to measure it again.

# %% [markdown]
# ## Part three: is smaller also less energy?
#
# The int4 file is the smallest that ONNX Runtime reads here. We compare it with int8, in the work for one text of 64 bytes.

# %%
guess_int4 = predict(
    "07-int4-cost", "What does int4 cost, in percent of the CPU time of int8?", low=10, high=500, guess=70, unit="%",
)
guess_int4

# %% [markdown]
# ### Count
#
# Whatever the format, each weight is multiplied as often as before.

# %% tags=["nbval-check-output"]
with torch.inference_mode():
    flops = count(model, texts[:1, :64]).flops
print(f"one text of 64 bytes: {flops:,} FLOPs, multiplications and additions, in every format")

# %% [markdown]
# What can fall is the energy of each: for reading a weight, and for multiplying with it. Published figures of one chip
# technology show why people hope for small numbers. They are old, and their ratios count more than their size.

# %% tags=["nbval-check-output"]
read_bit = fact("op_dram").to("pJ") / 64  # the middle of a published range; weights that come from DRAM
multiply = {8: fact("op_mul8").to("pJ"), 32: fact("op_mul32").to("pJ")}
ops = {b: m + fact("op_add32").to("pJ") for b, m in multiply.items()}  # a float addition for both: too much for whole numbers
ways = {"float32": (32, ops[32]), "int8, multiplied as 8 bits": (8, ops[8]),
        "4 bits, turned into float32 first": (4, ops[32]), "4 bits, turned into 8 bits first": (4, ops[8])}
USES = (1, 64, 4096)
print(Table(["weights", *(f"{n:,} use{'s' * (n > 1)}" for n in USES)],
            [(name, *(f"{b * read_bit / n + op:.1f}" for n in USES)) for name, (b, op) in ways.items()],
            caption="Picojoules for one use of a weight: calculated from published figures; unpacking is left out"))

# %% [markdown]
# A weight is *used* once for each byte of each text. With a single use, reading is nearly everything, and bits decide. The more
# often it is used, the more the arithmetic counts, and in the last column it is nearly everything. That shrinks only where the
# processor multiplies small numbers directly. The second row is how our int8 works, the last one how our int4 does. But four
# bits must be *unpacked* first, and that is work which the table leaves out.

# %% [markdown]
# ### Measure
#
# The meter reads this process only. So the files are opened here, beside PyTorch.
#
# If int4 turns out dear, is it the unpacking? A fifth file tells. It has eight bits, so nothing to unpack, but the blocks of
# int4, and the part of ONNX Runtime that multiplies for int4. Such a part of an engine is called an *operator*.

# %%
@torch.inference_mode()
def in_pytorch(tokens):
    return model(torch.from_numpy(tokens)).numpy()

# %%
def opened():
    """{format: a function, uint8 [batch, T] -> float32 [batch, T, 256]} of all that runs here."""
    found = {"PyTorch float32": in_pytorch}
    try:
        need("onnxruntime")
        _, load = alone.onnx_runtime()
    except ImportError as why:
        print(f"Only PyTorch is measured here. {why}")
        return found
    found |= {f"ONNX {name.split(',')[0]}": load(files[name]) for name in RUN if name in files and name != "float32"}
    if "int4" not in files:
        return found
    try:
        return found | {"ONNX int8 in blocks": load(quantize_onnx(folder / "model.onnx", folder / "blocks.onnx", bits=8, blocks=True))}
    except (TypeError, ValueError) as why:  # an older ONNX Runtime
        print(f"int8 in blocks is left out: {why}")
        return found


answer = opened()

# %%
def batch_of(n, length):
    return np.resize(texts.numpy()[:, :length], (n, length)).copy()


def against(a, b, n, length):
    """The comparison of two formats on n texts of this length; None where one of them is not here."""
    if not {a, b} <= answer.keys():
        return print(f"Left out: {a} or {b} is not here.")
    x = batch_of(n, length)
    return meter.compare(lambda: answer[a](x), lambda: answer[b](x), pairs=4, window=0.08, names=(a, b))


long_text = against("ONNX int4", "ONNX int8", 1, 64)
long_text

# %%
steps = {name: runs[name].ms_per_byte(cpu=True) for name in ("int4", "int8")}  # CPU time in their own processes
guess_int4.reveal(100 * (long_text.ratio if long_text else steps["int4"] / steps["int8"]))

# %% [markdown]
# The smaller file needs *more* on our machine, and by much. Now the same pair with a single byte to read, for one user and
# for 64. This is what happens when a language model writes: the text before is kept in a cache, and each step reads one new
# token for each user. (We give the network one byte and no earlier text.) Beside it stands the fifth file.

# %%
WORK = {"1 user, 1 new byte": (1, 1), "64 users, 1 new byte each": (64, 1), "1 user, 64 bytes": (1, 64)}
pairs = {(work, small): against(small, "ONNX int8", *shape) for work, shape in WORK.items()
         for small in ("ONNX int4", "ONNX int8 in blocks") if small in answer}
print("Left out, too.") if not pairs else Table(["work", "against int8", "CPU time, of int8's", "95 % interval"],
      [(work, small, f"{c.ratio:.2f}", f"{c.low:.2f} to {c.high:.2f}") for (work, small), c in pairs.items()])

# %% [markdown]
# ### Every format, and more than one batch
#
# Users at once, texts at once: the field calls their number the *batch*.

# %%
def cost(name, n, length):
    x = batch_of(n, length)
    return meter.measure(lambda: answer[name](x), rel=0.1, window=0.04, min_n=4, max_n=6, name=f"{name}, batch {n}")


LENGTHS = {1: (1, 8, 64), 64: (1, 8)}
costs = {(name, length, n): cost(name, n, length) for name in answer for length in LENGTHS for n in LENGTHS[length]}

# %%
for key in [k for k in costs if k[1:] == (64, 1)]:
    costs[key].log()  # into your ledger

# %% [markdown]
# ### All steps in one table

# %%
def joules(name, length):
    m = costs.get((name, length, 1))
    return f"{si(m.joules_per_call, 'J')} ({m.total.label})" if m and m.joules_per_call else "-"


def step_row(name):
    """Size, memory, time alone, loss and energy of a format; "-" where it was not run."""
    key, run = f"ONNX {name.split(',')[0]}" if name != "float32" else "PyTorch float32", runs.get(name)
    memory = f"{run.peak_bytes / base.peak_bytes:.2f}" if run else "-"
    times = [f"{run.ms_per_byte(b):.2f}" for b in (1, 8)] if run else ["-", "-"]
    lost = f"{loss[name]:+.4f}" if name in loss else "0"
    return name, f"{of_float32[name]:.2f}", memory, lost, *times, joules(key, 1), joules(key, 64)


Table(["format", "file", "peak", "loss", "ms, 1 text", "8 texts", "energy, 1 byte", "64 bytes"], [step_row(n) for n in WRITE],
      caption="File and peak memory, of PyTorch's float32; bits per byte; ms for each byte predicted, alone; energy of a step")

# %% jupyter={"source_hidden": true}
def batch_figure():
    fig, axes = plots.figure("Which format is cheapest?", "batch (texts at once)", panels=2, width=8.2, height=4)
    for ax, (length, sizes) in zip(axes, LENGTHS.items()):
        for i, name in enumerate(answer):
            y = [1000 * costs[name, length, n].cpu_seconds_per_call / n for n in sizes]
            half = [v * costs[name, length, n].half_width / costs[name, length, n].mean for v, n in zip(y, sizes)]
            ax.errorbar(sizes, y, half, capsize=3, label=name, **plots.series(i))
        ax.set(xscale="log", yscale="log", ylabel="CPU time for each text (ms)")
        ax.set_title("one new byte for each text" if length == 1 else f"{length} bytes read anew", fontsize=10)
        ax.minorticks_off()
        ax.set_xticks(sizes, [str(n) for n in sizes])
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ends = [y for ax in axes for y in ax.get_ylim()]
    for ax in axes:
        ax.set_ylim(min(ends), max(ends))
    axes[0].legend(fontsize=9)
    return fig

# %%
plots.show(batch_figure(), alt="Two panels, CPU time for each text against the batch, both axes logarithmic. With one new byte "
           "all lines fall as the batch grows, and on our machine int4 starts as the lowest and ends above int8 and float32 "
           "of ONNX Runtime, close to int8 in blocks. With 64 bytes the lines are nearly flat: int8 is lowest, int4 and int8 in "
           "blocks are among the highest.")

# %% [markdown]
# On our machine no format is the best. For one user and one byte, the fewest bits win: every weight is fetched for a single
# use, as in the first column of picojoules. With many users, or many bytes at once, each weight is used often. There the
# table promised that int4 (its last row) takes less than int8. We measured about twice as much or more.
#
# It is not the unpacking alone: eight bits in the same blocks, with nothing to unpack, took nearly as long as four. Each format
# comes with its own operator, and int8's is the faster one on our processor. A count of bits does not know how well a program
# is written. Your processor may draw the lines elsewhere.
#
# So a batch makes a byte cheaper where weights are fetched for little use, as in lesson 03. With `64` bytes in a text they are
# well used already, and a batch changes little.
#
# **What these joules say.** If their label is "modelled", they are CPU time, times a constant. The constant does not know
# whether an instruction for small numbers draws more power or less. Only a sensor could tell.
#
# ### What others measured

# %% tags=["nbval-check-output"]
print(statement("ph_quant_paradox").text)
npu, cpu = fact("ph_npu_decode"), fact("ph_cpu_decode")
eight, sixteen = fact("ml_q235a22_h100_fp8"), fact("ml_q235a22_h100_bf16")
for f in (npu, cpu, sixteen, eight):
    print(f"{f.quantity}: {f.text} (published; {f.boundary})")
print(f"half the bits in the data centre: {eight.value / sixteen.value:.0%} of the energy; "
      f"the phone's special chip: {npu.value / cpu.value:.1f} times that of its processor")

# %% [markdown]
# FP8 and BF16 are float formats of eight and sixteen bits. There each has its own cheapest configuration, so more than the bits
# differs. An NPU is a chip made for neural networks; this is one phone, while it writes (*decodes*). IQ4_XS and Q4_K_M are
# formats of GGUF.
#
# Half the bits did not halve the energy, a smaller format saved none, and the special chip took more than the ordinary
# one. Size is a count. Energy has to be measured, on the machine and with the batch that you will use.
#
# ## Part four: what fits in a phone?
#
# Now the models of the article: billions of weights. We cannot run them here. But bytes can be counted. We take published
# models and published phones.

# %%
llama_8b = 8 * fact("bpw_F16_file").to("byte") / fact("bpw_F16").value  # from its file: bits over bits for each weight
MODELS = {"Gemini Nano-1": fact("ph_nano1").to("param"), "Apple on-device": fact("ph_apple_3b").to("param"),
          "Gemini Nano-2": fact("ph_nano2").to("param"), "Phi-3-mini": fact("ph_phi3_params").to("param"),
          "Llama 3.1 8B": llama_8b, "Mixtral 8x7B": fact("moe_mixtral7_total").to("param"),
          "GPT-3": fact("gpt3_params").to("param"), "DeepSeek-V3": fact("moe_dsv3_total").to("param")}
# 2 bits is derived, without any scales: the whole numbers alone
two_bits = 8e9 * fact("ph_apple_3b_weights").value / fact("ph_apple_3b").to("param")
FORMATS = {"float16": fact("bpw_F16").value, "Q8_0": fact("bpw_Q8_0").value, "Q4_K_M": fact("bpw_Q4_K_M").value,
           "MXFP4": fact("bpw_mxfp4").value, "Q2_K": fact("bpw_Q2_K").value, "2 bits (Apple)": two_bits}
SMALLEST, AVERAGE = min(FORMATS, key=FORMATS.get), "average phone, 2025"
PHONES = {"iPhone 15": "ph_iphone_15", "average phone, 2024": "ph_ram_avg24", AVERAGE: "ph_ram_avg25",
          "iPhone 16": "ph_iphone_16", "Pixel 8": "ph_pixel8_ram", "premium phone, 2025": "ph_ram_premium25",
          "iPhone 17 Pro": "ph_iphone_17pro"}
ram = {name: fact(f).to("GB") for name, f in PHONES.items()}

# %% [markdown]
# This count assumes that the bits for each weight, published for one model, hold for all. They differ a little. And makers of
# phones write GB and mostly mean GiB, which is about $7$ % more. We take the smaller one.
#
# A phone's memory also holds the system and everything else that runs. What share may one app take? One paper cites a rule:
# [10 %](#ph_app_share), stated, not measured. Half is our second assumption: a generous one, for a model that comes with the
# phone.

# %%
guess_fit = predict(
    "07-fits", "Eight models, from 1.8 to 671 billion parameters, at about 4.9 bits. How many fit into half the memory of the "
    f"average phone sold, which has {ram[AVERAGE]} GB?", options=[0, 1, 2, 3, 4, 5, 6, 7, 8], guess=1,
)
guess_fit

# %% tags=["nbval-check-output"]
def fits(model, form, share, phone=AVERAGE):
    return phone_budget(MODELS[model], FORMATS[form], ram[phone], share=share).fits


def mark(model, form):
    weights = phone_budget(MODELS[model], FORMATS[form], 1, share=1).weights_gb
    stars = "**" if fits(model, form, 0.1) else "*" if fits(model, form, 0.5) else ""
    return f"{weights:,.2f}{stars}" if weights < 10 else f"{weights:,.0f}{stars}"


print(Table(["model", "billions", *(f"{form.split()[0]}: {bits:.3g}" for form, bits in FORMATS.items())],
            [(m, f"{n / 1e9:.3g}", *(mark(m, form) for form in FORMATS)) for m, n in MODELS.items()],
            caption=f"Weights in GB. The {AVERAGE}: {ram[AVERAGE]} GB; * fits into half of it, ** into a tenth"))
fit_half = [m for m in MODELS if fits(m, "Q4_K_M", 0.5)]
print(f"at Q4_K_M into half: {len(fit_half)}; into a tenth: {sum(fits(m, 'Q4_K_M', 0.1) for m in MODELS)}")
print(f"at float16 into half: {sum(fits(m, 'float16', 0.5) for m in MODELS)}; at 2 bits into a tenth: "
      f"{sum(fits(m, SMALLEST, 0.1) for m in MODELS)}")
changed = [(m, form, part) for m in MODELS for form in FORMATS for part in (0.1, 0.5)
                 if fits(m, form, part) != phone_budget(MODELS[m], FORMATS[form], ram[AVERAGE] * 2**30 / 1e9, share=part).fits]
print(f"if {ram[AVERAGE]} GB were GiB, stars that change: {len(changed)}")

# %%
guess_fit.reveal(len(fit_half))

# %% [markdown]
# A mixture of experts takes the memory of all its experts, whether a token uses them or not. It saves arithmetic, as lesson
# 04 showed, and no room.
#
# Is that arithmetic right? The first published figure is independent of ours. The second is circular: we took the number of
# weights from the same table. The third is the memory of a running model, not of its weights alone.

# %% tags=["nbval-check-output"]
counted = phone_budget(fact("ph_phi3_params").to("param"), 4, 1, share=1).weights_gb
print(f"Phi-3-mini at 4 bits: counted {counted:.1f} GB, published {fact('ph_phi3').text}: {fact('ph_phi3').note}")
file_q4 = fact("bpw_Q4_K_M_file").to("GB")
print(f"Llama 3.1 8B at Q4_K_M: counted {llama_8b * FORMATS['Q4_K_M'] / 8e9:.2f} GB, published {file_q4:.2f} GB")
print(f"{fact('gemma4_e2b_bf16').quantity}: {fact('gemma4_e2b_bf16').text}; "
      f"mobile build: {fact('gemma4_e2b_mobile').text} (published)")

# %% [markdown]
# ### The cache
#
# Weights are not all. While it writes, a language model keeps two rows of numbers, *keys and values*, for every token so far
# and every layer. This *key-value cache* grows with the text:
#
# $$ \text{bytes} = 2 \cdot \text{layers} \cdot \text{kv\_width} \cdot \text{tokens} \cdot \text{bytes of a number} $$
#
# Here `kv_width` is how many numbers one row has. We know the shape only of Llama 3.1 8B: `32` layers, and a `kv_width` of
# `8 * 128`. The sliders start there. For the other models you must **assume** one.

# %% tags=["nbval-check-output"]
LAYERS, KV_WIDTH = 32, 8 * 128
for tokens in (1024, 8192, 32_768):
    b = phone_budget(llama_8b, FORMATS["Q4_K_M"], ram["iPhone 17 Pro"], share=0.5, layers=LAYERS, kv_width=KV_WIDTH,
                     tokens=tokens)
    print(f"{tokens:,} tokens: {b.weights_gb:.2f} GB weights + {b.cache_gb:.2f} GB cache, "
          f"{b.room_gb - b.needs_gb:+.2f} GB to spare")
print(f"{ram['iPhone 17 Pro']:g} GB, half of it for the app, 16 bits for a number of the cache: assumed")
print(f"{fact('kv_llama8b_32k').quantity}: {fact('kv_llama8b_32k').to('GB'):.2f} GB (published shape)")

# %% jupyter={"source_hidden": true}
def budget(model, phone, form, share, layers, kv_width, tokens):
    return phone_budget(MODELS[model], FORMATS[form], ram[phone], share=share / 100, layers=layers, kv_width=kv_width,
                        tokens=tokens)


def phone_figure(model, phone, share, form, layers, kv_width, tokens):
    fig, ax = plots.figure("What fits, and what is left for the rest of the phone?", "GB", "format", width=8.2,
                           height=3.6)
    each = [budget(model, phone, f, share, layers, kv_width, tokens) for f in FORMATS]
    where, left = range(len(each)), np.zeros(len(each))
    for i, part in enumerate(("weights_gb", "cache_gb")):
        values = np.array([getattr(b, part) for b in each])
        ax.barh(where, values, left=left, color=plots.OKABE_ITO[i], edgecolor="black", hatch=plots.HATCHES[i],
                label=("weights", "key-value cache")[i])
        left = left + values
    for y, b in zip(where, each):
        rest = f"{ram[phone] - b.needs_gb:.1f} GB left" if b.needs_gb < ram[phone] else "too large"
        fit = ", fits" if b.fits else ", does not fit" if b.needs_gb < ram[phone] else ""
        ax.text(1.02, y, f"{b.needs_gb:,.1f} GB, {rest}{fit}", va="center", fontsize=9, transform=ax.get_yaxis_transform())
    ax.axvline(each[0].room_gb, color="black", linestyle="--", linewidth=1.5, label="what the app may take")
    ax.axvline(ram[phone], color="black", linewidth=2.5, label="memory of the phone")
    ax.set(xlim=(0, 1.1 * ram[phone]))
    ax.set_yticks(where, FORMATS)
    for label, f in zip(ax.get_yticklabels(), FORMATS):
        label.set_fontweight("bold" if f == form else "normal")
    ax.invert_yaxis()
    ax.legend(fontsize=9, loc="upper center", ncol=4, bbox_to_anchor=(0.5, -0.2), columnspacing=1, handlelength=1.5)
    return fig

# %% jupyter={"source_hidden": true}
def phone_words(model, phone, share, form, layers, kv_width, tokens):
    b, memory = budget(model, phone, form, share, layers, kv_width, tokens), ram[phone]
    rest = memory - b.needs_gb
    ok = [f for f in FORMATS if budget(model, phone, f, share, layers, kv_width, tokens).fits]
    return (f"{model}, {MODELS[model] / 1e9:.3g} billion parameters, in {form} on {phone} with {memory:g} GB: weights "
            f"{b.weights_gb:,.2f} GB and {b.cache_gb:.2f} GB of cache for {tokens:,} tokens (assumed: {layers} layers, "
            f"kv_width {kv_width:,}); the app may take {b.room_gb:.2f} GB, so it {'fits' if b.fits else 'does not fit'}. "
            + (f"For the rest of the phone {rest:.2f} GB remain. " if rest > 0 else "It is more than the whole phone has. ")
            + f"Formats that fit: {', '.join(ok) or 'none'}.")

# %%
explore(phone_figure, alt=phone_words, model=choice([*MODELS], "Gemini Nano-2", label="model"),
        phone=choice([*PHONES], AVERAGE, label="phone"), share=slider(5, 100, 50, 5, label="share for the app (%)"),
        form=choice([*FORMATS], "Q4_K_M", label="format"), layers=slider(1, 128, LAYERS, label="layers (assumed)"),
        kv_width=slider(64, 8192, KV_WIDTH, 64, label="kv_width (assumed)"),
        tokens=slider(128, 32_768, 4096, 128, label="tokens in the cache"))

# %% [markdown]
# Look for the share at which each model begins to fit. Then lengthen the text: with the layers assumed here, a long
# conversation can take more room than the weights of a small model.
#
# Room is not the only limit. A phone's memory is slower than a server's, and a phone gets hot. What has been published
# on speed: Phi-3-mini on an `iPhone 14` writes more than [12 token/s](#ph_phi3_rate). An earlier version of Apple's model, on
# an `iPhone 15 Pro`, some [30 token/s](#ph_apple_3b_rate).
#
# ### Verdict
#
# The verdict will be marked *measured here*, because our own files were measured above. But what decides it is calculated
# from published figures.

# %% tags=["nbval-check-output"]
billions = [m for m, n in MODELS.items() if n >= 1e9]
print(f"{len(billions)} models of billions; into half of the average phone at Q4_K_M: {', '.join(fit_half) or 'none'}")
verdict("A9", "supported" if not fit_half else "contested",
        f"{len(fit_half)} of {len(billions)} fit into half of the average phone; the format and the share of an app decide")

# %% [markdown]
# And the server? What counts is whether a model can answer without one. The processes of part two had a file, and no
# server. Makers of phones ship such models.

# %% tags=["nbval-check-output"]
MADE_FOR_PHONES = ("Gemini Nano-1", "Gemini Nano-2", "Apple on-device")
stay = [m for m in MADE_FOR_PHONES if m in fit_half]
cannot = [m for m in MODELS if not any(fits(m, SMALLEST, 1, phone) for phone in PHONES)]
print(f"shipped for phones, and they fit: {', '.join(stay) or 'none'}")
print(f"too large for every one of these phones, even at {FORMATS[SMALLEST]:.0f} bits: {', '.join(cannot) or 'none'}")
verdict("B11", "supported" if not stay else "loosely stated" if cannot else "contested",
        "some models run on the phone alone; the largest ones cannot")

# %% [markdown]
# ## Part five: a joule on the phone, a joule in the server

# %%
claim("B13").card()

# %% [markdown]
# A phone answers its one user. A server answers many at once, in a batch. Part three showed what that does to the cost of
# each. Here are published figures: small models at 4 bits on phones, and one of 8 billion weights on a server's GPU.

# %%
guess_server = predict(
    "07-phone-server", "A phone writes a token with a 3B model. A server's GPU writes one with an 8B model, for 511 users at once. "
    "How many times more joules does the phone take per token?", low=0.1, high=100, guess=1, log=True, unit="times",
)
guess_server

# %% tags=["nbval-check-output"]
ON_PHONE = {"3B, iPhone 14 Pro, MLC": ("ph_melt", 3), "3B, iPhone 14 Pro, LLMFarm": ("ph_melt_llmfarm", 3),
            "1.5B, Galaxy S24 Ultra": ("ph_s24", 1.5)}
ON_GPU = {"8B, H100, batch 8": ("ml_llama8b_h100_b8", 8), "8B, H100, batch 511": ("ml_llama8b_h100", 511),
          "8B, B200, batch 8": ("ml_llama8b_b200_b8", 8), "8B, B200, batch 2043": ("ml_llama8b_b200", 2043)}
phones, gpus = ({name: fact(f).value for name, (f, _) in d.items()} for d in (ON_PHONE, ON_GPU))
rows = [(name, j, fact((ON_PHONE | ON_GPU)[name][0]).boundary) for name, j in (phones | gpus).items()]
print(Table(["model and machine (MLC, LLMFarm: engines)", "J/token", "what is inside (published)"], rows))
print(f"flagship phones in several studies: {fact('ph_range').text} (published; {fact('ph_range').boundary})")

# %%
guess_server.reveal(fact("ph_melt").value / fact("ml_llama8b_h100").value)

# %% [markdown]
# ### What must be added before we compare
#
# These figures have different **boundaries**. The iPhone's is the whole phone, at its battery; for the Galaxy the source says
# only "phone". The server's is the GPU alone, under steady load. So we add:
#
# - to the server: its host, its idle hours and the building. One company published all parts of a prompt, on its own chips.
#   From that we take a factor, in two ways. All parts over the part of the accelerators (its chips): that is the least. All
#   parts over a narrower count, of chips only while they work: that is the most, and nearer to a benchmark under steady
#   load. That such a factor holds for other servers is an assumption;
# - to the server: the network. We assume that an answer and its question are 10 kB together. That is arithmetic from kWh for
#   each GB, which is disputed; lesson 08 looks into it;
# - to the phone: what is lost in charging. We have no sourced figure, and assume a fifth of what the socket gives.

# %% tags=["nbval-check-output"]
parts = [fact(f) for f in ("q_gemini_accelerator", "q_gemini_host", "q_gemini_idle", "q_gemini_overhead")]
for f in parts:
    print(f"{f.quantity}: {f.text} (published)")
full = fact("q_gemini").value
least, most = full / parts[0].value, full / fact("q_gemini_narrow").value
print(f"all parts, divided by the accelerators: {least:.2f}; divided by the narrower count: {most:.1f}")
NETWORKS = {"none": 0.0, "fixed line": fact("net_text_fixed").to("J"), "mobile": fact("net_text_mobile").to("J")}
print(f"an exchange of 10 kB, mobile: {NETWORKS['mobile']:.1f} J (published figures, multiplied)")

# %%
TOKENS = 300  # assumption: tokens of an answer, which share its 10 kB of traffic
LOST = 20  # assumption: percent lost in charging


def server(gpu, around, network="mobile", tokens=TOKENS):
    """J/token with host, idle hours, building and network."""
    return gpu * around + NETWORKS[network] / tokens


def at_socket(phone, lost=LOST):
    """J/token of a phone where its charger is plugged in."""
    return phone / (1 - lost / 100)

# %% tags=["nbval-check-output"]
def wins(around, lost, large):
    """(pairs in which the server takes less, pairs) over servers with a large batch, or with batch 8."""
    pairs = [(server(j, around), at_socket(k, lost)) for name, j in gpus.items() for k in phones.values()
             if (ON_GPU[name][1] > 8) == large]
    return sum(s < k for s, k in pairs), len(pairs)


SETTINGS = [(around, lost) for around in (least, most) for lost in (0, LOST)]
print(Table(["all around the GPU", "lost in charging", "batch 511 or 2,043: server less", "batch 8: server less"],
            [(f"times {around:.2f}", f"{lost} %", *("{} of {}".format(*wins(around, lost, large)) for large in (True, False)))
             for around, lost in SETTINGS],
            caption=f"Pairs; calculated from published figures; {TOKENS} tokens an answer, mobile network"))

# %% [markdown]
# These pairs are picked by hand, and are no sample. But they show what decides: the batch, the phone, and how
# much stands around a GPU. From how many users at once is the server cheaper? We draw the curve of exercise 03 through two
# published batches: a part that all users share, and a part for each token. (The source has more batches between them. We
# have read two.)

# %% tags=["nbval-check-output"]
def gpu_at(batch, chip="H100"):
    """J/token of the GPU at this batch: fixed / batch + marginal, through two published points."""
    (b0, j0), (b1, j1) = ((b, gpus[name]) for name, (_, b) in ON_GPU.items() if chip in name)
    fixed = (j0 - j1) / (1 / b0 - 1 / b1)
    return fixed / batch + j0 - fixed / b0


print(f"users at once from which an H100 takes less, with all around it {least:.2f} or {most:.2f} times the GPU")
print("(calculated from published figures)")
for name, k in phones.items():
    first = [next((b for b in range(1, 512) if server(gpu_at(b), around) < at_socket(k)), None) for around in (least, most)]
    print(f"{name}, {at_socket(k):.2f} J/token at the socket:",
          " or ".join(f"about {b:.3g}" if b else "never" for b in first))

# %% jupyter={"source_hidden": true}
def joule_parts(phone, chip, batch, around, network, tokens, charging):
    gpu, at_phone = gpu_at(batch, chip), phones[phone]
    return {f"8B, {chip}, batch {batch:.0f}": {"GPU": gpu, "host, idle hours, building": gpu * (around - 1),
                                               "network": NETWORKS[network] / tokens},
            phone: {"phone": at_phone, "lost in charging": at_socket(at_phone, charging) - at_phone}}


def joule_figure(**chosen):
    fig, ax = plots.figure("Where does a token take fewer joules?", "J/token (published figures and your assumptions)", "where",
                           height=3)
    names = ("GPU", "host, idle hours, building", "network", "phone", "lost in charging")
    bars = joule_parts(**chosen)
    for y, parts in enumerate(bars.values()):
        left = 0
        for part, joules in parts.items():
            i = names.index(part)
            ax.barh(y, joules, left=left, height=0.6, color=plots.OKABE_ITO[(0, 1, 2, 5, 4)[i]], edgecolor="black",
                    hatch=plots.HATCHES[i], label=part if joules else None)
            left += joules
    ax.set_yticks(range(2), [n.replace("Pro, ", "Pro,\n").replace(", batch", ",\nbatch") for n in bars])
    ax.invert_yaxis()
    ax.set_xlim(0, max(1.0, 1.05 * max(sum(p.values()) for p in bars.values())))
    ax.legend(fontsize=9, loc="upper center", ncol=3, bbox_to_anchor=(0.5, -0.25))
    return fig

# %% jupyter={"source_hidden": true}
def joule_words(**chosen):
    (there, s), (here, p) = ((name, sum(parts.values())) for name, parts in joule_parts(**chosen).items())
    said = "; ".join(f"{name}: " + ", ".join(f"{part} {j:.3f}" for part, j in parts.items())
                     for name, parts in joule_parts(**chosen).items())
    less, more, factor = (there, here, p / s) if s < p else (here, there, s / p)
    return f"J/token (calculated). {said}. Together {s:.3f} and {p:.3f}: {less} takes {factor:.1f} times less than {more}."

# %%
explore(joule_figure, alt=joule_words, phone=choice([*phones], label="phone"),
        chip=choice(["H100", "B200"], label="server's GPU"),
        batch=slider(8, 511, 64, log=True, label="users at once"),
        around=slider(1.0, 3.0, 1.7, 0.1, label="server: all over GPU (assumed; 1.7 or 2.4)"),
        network=choice([*NETWORKS], "mobile", label="network for 10 kB"),
        tokens=slider(10, 2000, TOKENS, 10, label="tokens of an answer (assumed)"),
        charging=slider(0, 50, LOST, 5, label="lost in charging (%, assumed)"))

# %% [markdown]
# Three more differences are not in these bars. The models differ in **size**: the server's has more than twice the weights,
# and is probably the better one. The factor has one company's **idle machines** in it, not those of a server with few users.
# And neither the **building** of the phone nor that of the server is in these figures.
#
# What it means for an iPhone's battery of about [50 kJ](#ph_battery):

# %% tags=["nbval-check-output"]
battery, prompts = fact("ph_battery").to("J"), fact("ph_melt_prompts")
for name, joules_each in phones.items():
    if "iPhone" in name:
        print(f"{name}: enough for about {battery / joules_each / 1000:.0f} thousand tokens (published figures, divided)")
print(f"the same study counted {prompts.text} on a charge: about {battery / phones['3B, iPhone 14 Pro, MLC'] / prompts.value:.0f} "
      "tokens for each, which is plausible")

# %% [markdown]
# ### Verdict
#
# Again, what decides is calculated from published figures and named assumptions.

# %% tags=["nbval-check-output"]
counts = [wins(around, lost, large) for around, lost in SETTINGS for large in (True, False)]
won, compared = (sum(n) for n in zip(*counts))
bill = {n: max(NETWORKS["mobile"] / n / server(j, least, tokens=n) for j in gpus.values()) for n in (TOKENS, 100, 10)}
print("the mobile network's part of the server's bill, at most:", ", ".join(f"{b:.0%} for {n} tokens" for n, b in bill.items()))
verdict("B13", "supported" if won == 0 else "misattributed" if won == compared else "contested",
        f"a server in full use can take less, for a larger model; communication is at most {bill[TOKENS]:.0%} of its bill for "
        f"an answer of {TOKENS} tokens, the phone's radio and screen not counted")

# %% [markdown]
# A local model has other advantages: nobody listens, nothing waits for a network, it works in a tunnel. They are reasons of
# their own, and need no joules. Lesson 08 lets a small local model ask a server only when it is not sure.
#
# ## What the figures do not say
#
# - Our network is tiny, and it fits into the caches of a processor. In one of billions of weights the reading of weights costs
#   far more, and fewer bits help more.
# - It was asked without a key-value cache in the processes: each step reads its text anew. That is not how a phone writes.
# - Our processor is not a phone's. Where int4 becomes dearer than int8 depends on its instructions, on the operator and on the
#   engine, and ONNX Runtime is one engine of many.
# - Peak memory is what the system counts for one process. Pages that several programs share are counted in each.
# - The loss is that of one network on one kind of text. Larger networks bear four bits better, as a rule, and a few tasks do
#   not.
# - A phone's memory is not all free, and which share an app gets depends on the system. Both of our shares are assumptions.
# - Joules on phones come from few studies, on two or three flagship phones, for short runs. A hot phone slows down.
# - To compare a phone with a server we mixed studies of different years, models, tasks and boundaries. What stands around an
#   accelerator is one company's.
# - A phone that asks a server waits with its screen on, and its radio stays awake for a while. We found nothing sourced to add
#   for one token. That favours the server.
#
# ## What you have seen
#
# - A weight takes more bits than its format's name says: scales, and what was left in float32, are in the file too.
# - Another engine saved most of the memory of our small network. Eight bits shrank the file to about a quarter and lost
#   nothing that matters; four bits lost a little.
# - On our machine the smallest format was cheapest for one user and one byte, and among the dearest for many at once. How often
#   a weight is used decides, and how good the operator is. Published figures show it too: fewer bits save much, or nothing.
# - Models of up to four billion weights fit into half of an average phone at four to five bits; the giants fit into none.
#   What an app may take, and the length of the text, are assumptions that decide.
# - Per token, a server in full use can take less than a phone, for a larger model, even with host, building and network. With
#   few users it mostly does not. How much one counts around the server's chip moves the line.
#
# **Now do** [exercise 07](../exercises/07_local_deployment.ipynb). **Next:** [lesson 08](08_local_first.ipynb).
#
# ## If you have time: what can go wrong
#
# If llama.cpp is installed, the next cell runs a GGUF file in it. Few machines have it.

# %%
try:
    fast = run_alone(files["Q4_0"], texts, repeats=5)
    print(f"{fast.peak_bytes / 1e6:.0f} MB, {fast.bits_per_byte:.4f} bits per byte, {fast.ms_per_byte():.2f} ms for a byte")
except (KeyError, ImportError) as why:
    print(why if isinstance(why, ImportError) else "Left out: there is no GGUF file.")

# %% [markdown]
# A download breaks off. And not every network can be exported.

# %%
def told(what, do):
    try:
        do()
        print(f"{what}: nothing was wrong")
    except (ValueError, ImportError) as why:
        print(f"{what}: {why}")


class Strange(nn.Module):
    def forward(self, x):
        return torch.special.bessel_j0(x)  # a function that ONNX does not know


def cut_short():
    cut, whole = folder / "cut.onnx", folder / "int8.onnx"
    cut.write_bytes(whole.read_bytes()[:100_000] if whole.is_file() else b"")
    run_alone(cut, texts)

# %%
told("a file cut short", cut_short)
told("an unknown operator", lambda: export_onnx(Strange(), torch.rand(2, 3), folder / "strange.onnx"))

# %% [markdown]
# ## Your ledger

# %%
ledger.summary()

# %%
# On Colab every notebook is its own machine. Take away a "#" to bring your ledger along, or to keep it.
# ledger.load("ledger.jsonl")
# ledger.save()

# %%
kept.cleanup()  # deletes the model files; to go back to part two, start again at "Write the files"

# %% [markdown]
# ## Sources

# %%
cite("bpw_F16", "bpw_F16_file", "bpw_Q8_0", "bpw_Q4_K_M", "bpw_Q4_K_M_file", "bpw_Q2_K", "bpw_mxfp4", "op_dram",
     "op_mul8", "op_mul32", "op_add32", "ph_quant_paradox", "ph_npu_decode", "ph_cpu_decode", "ml_q235a22_h100_bf16",
     "ml_q235a22_h100_fp8", "ph_nano1", "ph_nano2", "ph_apple_3b", "ph_apple_3b_weights", "ph_apple_3b_rate",
     "ph_phi3", "ph_phi3_params", "ph_phi3_rate", "moe_mixtral7_total", "gpt3_params", "moe_dsv3_total",
     "ph_iphone_15", "ph_iphone_16", "ph_pixel8_ram", "ph_iphone_17pro", "ph_ram_avg24", "ph_ram_avg25",
     "ph_ram_premium25", "ph_app_share", "gemma4_e2b_bf16", "gemma4_e2b_mobile", "kv_llama8b_32k", "ph_melt",
     "ph_melt_llmfarm", "ph_s24", "ph_range", "ph_battery", "ph_melt_prompts", "ml_llama8b_h100",
     "ml_llama8b_h100_b8", "ml_llama8b_b200", "ml_llama8b_b200_b8", "q_gemini", "q_gemini_narrow",
     "q_gemini_accelerator", "q_gemini_host", "q_gemini_idle", "q_gemini_overhead", "net_text_fixed",
     "net_text_mobile")
