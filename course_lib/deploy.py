"""A trained network leaves PyTorch: export to ONNX, quantise, write GGUF. `course_lib.ondevice` runs what is written.

    export_onnx(model, text, "model.onnx")                # needs onnx and onnxscript
    quantize_onnx("model.onnx", "int8.onnx", bits=8)      # needs onnx and onnxruntime
    write_gguf(model, "model.gguf", "Q4_0")               # needs gguf"""

from __future__ import annotations

import copy
import io
import logging
import os
import re
import textwrap
import warnings
from contextlib import contextmanager, redirect_stderr, suppress
from importlib import metadata, util
from pathlib import Path

import torch
from torch import Tensor, nn

from course_lib.models import ByteTransformer
from course_lib.tables import Table

PACKAGES = {"onnx": "the file format ONNX", "onnxscript": "export from PyTorch", "onnxruntime": "quantises ONNX and runs it",
            "gguf": "writes and reads GGUF", "llama_cpp": "runs GGUF; optional, pip builds it with a C++ compiler"}
_PIP = {"llama_cpp": "llama-cpp-python"}


def packages() -> Table:
    """The packages of these lessons: what each is for, which version is here, and what to do where there is none."""
    rows = []
    for name, why in PACKAGES.items():
        here, pip = util.find_spec(name), _PIP.get(name, name)
        with suppress(metadata.PackageNotFoundError):  # some builds have another name, such as onnxruntime-gpu
            here = here and metadata.version(pip)
        rows.append((name, why, here if isinstance(here, str) or not here else "here",
                     "" if here else f"pip install {pip}, or go on without it"))
    return Table(("package", "what for", "version", "what to do"), rows)


def need(*names: str):
    """Raises ImportError, with the way out, unless these packages are here."""
    if lost := [_PIP.get(n, n) for n in names if not util.find_spec(n)]:
        lab = "" if set(lost) & set(_PIP.values()) else "run `make lab` in a terminal, or "
        raise ImportError(f"This needs {' and '.join(lost)}, not installed here: {lab}`pip install {' '.join(lost)}`, and "
                          "restart the kernel. Where pip finds nothing for your machine, leave this part out; the others "
                          "run without it.")


@contextmanager
def _quiet():  # these packages log what a learner cannot act on
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"), redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)


def damaged(file, why) -> ValueError:
    """The error for a file that cannot be read."""
    said = textwrap.shorten(re.sub(r"\S*[\\/]", "", str(why)), 120, placeholder=" ...")  # not the folders of this machine
    return ValueError(f"{Path(file).name} cannot be read: it is cut short, damaged or of another kind; write it again "
                      f"({said})")


def there(file: str | os.PathLike) -> Path:
    """The file as a path. Raises ValueError where there is none."""
    if not (file := Path(file)).is_file():
        raise ValueError(f"there is no file {file}; write it first")
    return file


@_quiet()
def export_onnx(model: nn.Module, example: Tensor, file: str | os.PathLike) -> Path:
    """Writes `model` as ONNX, in float32. `example` is an input it can read; every size of it that the model lets vary
    stays free, if it is 2 or more in the example. Weights that the answer does not need, such as unused exits, stay out.

    Raises ValueError where the model does what ONNX has no operator for; ImportError without onnx or onnxscript."""
    need("onnx", "onnxscript")
    model = copy.deepcopy(model).eval()
    model(example)  # a mistake in the model itself shows as what it is
    try:
        free = ({axis: torch.export.Dim.AUTO for axis in range(example.ndim)},)
        program = torch.onnx.export(model, (example,), dynamo=True, dynamic_shapes=free, optimize=True, verbose=False)
    except Exception as why:  # noqa: BLE001 - the exporter's own kinds differ between versions of PyTorch
        raise ValueError(_unsupported(model, why)) from None
    program.save(file, external_data=False)
    return Path(file)


def _unsupported(model, why) -> str:
    while why.__cause__:
        why = why.__cause__
    name, said = type(model).__name__, " ".join(re.sub(r"\x1b\[\d*m", "", str(why)).split())
    if operator := re.search(r"No ONNX function found for <OpOverload\(op='([\w.]+)'", said):
        return f"{name} cannot be exported: ONNX has no form for its operator {operator[1]}; use another one in the model"
    return f"{name} cannot be exported: {said.split('. ')[0][:200]}; keep the model free of choices that depend on values"


@_quiet()
def quantize_onnx(source: str | os.PathLike, file: str | os.PathLike, bits: int = 8, blocks: bool = False) -> Path:
    """Writes a smaller copy of an ONNX file with ONNX Runtime's own tools.

    bits=8: matrices, one scale for each column, and the embedding of tokens; what they multiply is rounded at run time.
    Weights keep to 7 of the 8 bits: sums overflow otherwise on x86 processors without VNNI. bits=4: matrices only, with
    one scale in float32 for each 32 weights, 5 bits a weight; with `blocks` so are 8 bits, for the same operator.
    Raises ValueError for other bits and a damaged source, TypeError where ONNX Runtime is too old for 8 bits in blocks."""
    if bits not in (8, 4):
        raise ValueError(f"bits is {bits!r}; choose 8 or 4")
    need("onnx", "onnxruntime")
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    source = there(source)
    try:
        onnx.checker.check_model(model := onnx.load(source))
    except Exception as why:  # noqa: BLE001 - of protobuf, of the checker
        raise damaged(source, why) from None
    if bits == 8 and not blocks:
        quantization.quantize_dynamic(model, file, per_channel=True, reduce_range=True)
    else:
        eight = {"bits": 8} if bits == 8 else {}  # 4 unless told; older ones know no other
        quantizer = MatMulNBitsQuantizer(model, block_size=32, is_symmetric=True, accuracy_level=4, **eight)
        quantizer.process()
        quantizer.model.save_model_to_file(str(file), False)
    return Path(file)


def _sizes(model: ByteTransformer) -> dict[str, int]:
    if not isinstance(model, ByteTransformer):
        raise TypeError(f"the model is a {type(model).__name__}; this form of file is for a ByteTransformer")
    return {"d_model": model.tokens.embedding_dim, "n_layers": len(model.blocks), "n_heads": model.blocks[0].n_heads,
            "context": model.context}


def _weights(model: ByteTransformer) -> dict[str, Tensor]:  # of the whole network, without its early exits
    return {k: w.detach().float().cpu() for k, w in model.state_dict().items() if not k.startswith("exits.")}


def save_torch(model: ByteTransformer, file: str | os.PathLike) -> Path:
    """Writes the float32 weights as PyTorch does, without the early exits, for `run_alone`."""
    torch.save({"sizes": _sizes(model), "weights": _weights(model)}, file)
    return Path(file)


_GGUF = {"tokens": "token_embd", "places": "position_embd", "norm": "output_norm", "head": "output", "norm_1": "attn_norm",
         "qkv": "attn_qkv", "out": "attn_output", "norm_2": "ffn_norm", "up": "ffn_up", "down": "ffn_down"}
_KEYS = {"d_model": "embedding_length", "n_layers": "block_count", "n_heads": "attention.head_count",
         "context": "context_length"}


def _gguf_name(key: str) -> str:  # blocks.0.qkv.weight -> blk.0.attn_qkv.weight
    *block, layer, kind = key.split(".")
    return ".".join([*(["blk", block[1]] if block else []), _GGUF[layer], kind])


def _letters() -> list[str]:  # GPT-2's printable letter for each byte
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spare = iter(range(256, 512))
    return [chr(b if b in shown else next(spare)) for b in range(256)]


@_quiet()
def write_gguf(model: ByteTransformer, file: str | os.PathLike, kind: str = "F32") -> Path:
    """Writes the model as GGUF, the format of llama.cpp, under the names of its architecture "gpt2": each byte a token.

    kind: "F32"; "Q8_0" or "Q4_0" store matrices and embeddings of tokens in blocks of 32 weights with one scale in
    float16, 8.5 or 4.5 bits a weight. Norms, biases and positions stay in float32, as in llama.cpp's own quantiser.
    Raises ValueError for another kind and for a d_model that is no multiple of 32, TypeError for another network."""
    if kind not in ("F32", "Q8_0", "Q4_0"):
        raise ValueError(f"kind is {kind!r}; choose F32, Q8_0 or Q4_0")
    sizes = _sizes(model)
    if kind != "F32" and sizes["d_model"] % 32:
        raise ValueError(f"d_model={sizes['d_model']} cannot be cut into {kind} blocks of 32 weights; take a multiple of 32")
    need("gguf")
    import gguf

    writer, form = gguf.GGUFWriter(file, "gpt2"), gguf.GGMLQuantizationType[kind]
    writer.add_file_type(gguf.LlamaFileType["ALL_F32" if kind == "F32" else f"MOSTLY_{kind}"])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    for name, key in _KEYS.items():
        writer.add_uint32(f"gpt2.{key}", sizes[name])
    writer.add_feed_forward_length(4 * sizes["d_model"])
    writer.add_layer_norm_eps(model.norm.eps)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(_letters())
    writer.add_token_types([gguf.TokenType.NORMAL] * 256)
    writer.add_token_merges(["\u25a1 \u25a1"])  # llama.cpp wants one; this pair is no byte's letter, so nothing is merged
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(False)
    for key, weight in _weights(model).items():
        full = weight.ndim == 1 or key.startswith("places") or kind == "F32"
        data = weight.numpy() if full else gguf.quants.quantize(weight.numpy(), form)
        writer.add_tensor(_gguf_name(key), data, raw_dtype=gguf.GGMLQuantizationType.F32 if full else form)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return Path(file)


def read_gguf(file: str | os.PathLike) -> ByteTransformer:
    """The network of a file by `write_gguf`, its weights turned back into float32: what they have lost is lost.
    Early exits start anew. Raises ValueError for a damaged file, and for one of another kind of network."""
    need("gguf")
    import gguf

    file = there(file)
    try:
        reader = gguf.GGUFReader(file)
        sizes = {name: int(reader.fields[f"gpt2.{key}"].parts[-1][0]) for name, key in _KEYS.items()}
        found = {t.name: torch.tensor(gguf.quants.dequantize(t.data, t.tensor_type)) for t in reader.tensors}
        model = ByteTransformer(**sizes)
        model.load_state_dict({key: found[_gguf_name(key)] for key in _weights(model)}, strict=False)
    except Exception as why:  # noqa: BLE001 - the reader does not check what it unpacks
        raise damaged(file, why) from None
    return model.eval()
