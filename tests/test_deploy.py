"""Lesson 07's tools: files that other engines read, processes that hold one engine each, and phone budgets.

Real files and real processes. What is asserted of memory is a ratio of two peaks with room; no time is.
"""

import importlib
import json
import logging
import math
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from importlib import metadata
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from torch import nn

from course_lib import alone, deploy, ondevice
from course_lib.data import corpus
from course_lib.deploy import export_onnx, packages, quantize_onnx, read_gguf, save_torch, write_gguf
from course_lib.facts import fact
from course_lib.models import ByteTransformer, DigitsMLP, pretrained
from course_lib.ondevice import bits_per_byte, held_out, phone_budget, run_alone

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def windows():
    return held_out(32)


@pytest.fixture(scope="module")
def files(tmp_path_factory, windows):
    """The shipped model in every format, written once."""
    folder, model = tmp_path_factory.mktemp("formats"), pretrained()
    made = {"torch": save_torch(model, folder / "model.pt"),
            "onnx": export_onnx(model, windows[:2, :-1], folder / "model.onnx")}
    made |= {"int8": quantize_onnx(made["onnx"], folder / "int8.onnx"),
             "int4": quantize_onnx(made["onnx"], folder / "int4.onnx", bits=4)}
    return made | {kind: write_gguf(model, folder / f"{kind}.gguf", kind) for kind in ("F32", "Q8_0", "Q4_0")}


@pytest.fixture(scope="module")
def runs(files, windows):
    """Each in a process of its own, and the bare interpreter."""
    found = {name: run_alone(files[name], windows, repeats=2) for name in ("torch", "onnx", "int8", "int4")}
    return found | {"bare": run_alone()}


@pytest.fixture(scope="module")
def here(windows):
    return bits_per_byte(pretrained(), windows)


def session(file):
    return importlib.import_module("onnxruntime").InferenceSession(file, providers=["CPUExecutionProvider"])


def one_sentence(error):
    text = str(error.value)
    assert "\n" not in text and len(text) < 420 and "Traceback" not in text, text
    assert not re.search(r"/(tmp|work|root|home)/", text), text
    return text


# --- files


def test_the_held_out_texts_are_spread_over_the_held_out_code(windows):
    text = bytes(corpus("code").val.tolist())
    assert windows.dtype == torch.uint8 and windows.shape == (32, 129) and torch.equal(windows, held_out(32))
    assert bytes(windows[0].tolist()) == text[:129] and bytes(windows[-1].tolist()) == text[-129:]
    assert all(bytes(row.tolist()) in text for row in windows[::8]) and len({bytes(row.tolist()) for row in windows}) == 32
    assert held_out(1, 5).shape == (1, 6)


def test_bits_per_byte_is_eight_for_who_knows_nothing(windows):
    assert bits_per_byte(lambda x: torch.zeros(*x.shape, 256), windows) == pytest.approx(8)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 1), (1, 128), (3, 7), (5, 64)])
def test_the_exported_model_answers_like_torch_for_every_batch_and_length(files, shape):
    torch.manual_seed(0)
    tokens = torch.randint(0, 256, shape, dtype=torch.uint8)
    (answer,) = session(files["onnx"]).run(None, {"tokens": tokens.numpy()})
    with torch.inference_mode():
        assert np.abs(answer - pretrained()(tokens).numpy()).max() < 1e-3


@pytest.mark.slow
def test_eight_bits_in_blocks_use_the_operator_of_four(files, tmp_path, windows):
    import onnx

    def operators(file):
        return [(n.op_type, {a.name: a.i for a in n.attribute if a.name in ("bits", "block_size")})
                for n in onnx.load(file).graph.node if n.op_type.startswith("MatMulNBits")]

    four, blocks = operators(files["int4"]), operators(quantize_onnx(files["onnx"], tmp_path / "b.onnx", 8, blocks=True))
    assert len(four) == len(blocks) > 0 and not operators(files["int8"])
    assert all(found == {"bits": 8, "block_size": 32} for _, found in blocks)
    assert all(found == {"bits": 4, "block_size": 32} for _, found in four)
    answer = session(tmp_path / "b.onnx").run(None, {"tokens": windows[:2, :-1].numpy()})[0]
    with torch.inference_mode():
        assert np.abs(answer - pretrained()(windows[:2, :-1]).numpy()).max() < 0.5


@pytest.mark.slow
def test_export_takes_any_network_and_leaves_it_as_it_was(tmp_path, capfd):
    torch.manual_seed(0)
    model, x = DigitsMLP(hidden=(16,)).train(), torch.rand(9, 64)
    before = logging.root.manager.disable
    file = export_onnx(model, x[:2], tmp_path / "digits.onnx")
    assert model.training and file.is_file() and logging.root.manager.disable == before
    made = session(file)
    (answer,) = made.run(None, {made.get_inputs()[0].name: x.numpy()})
    assert np.abs(answer - model(x).detach().numpy()).max() < 1e-4
    assert capfd.readouterr() == ("", "")  # the exporter's own notes would fill a lesson's page


@pytest.mark.slow
def test_files_are_as_small_as_the_lesson_says(files):
    size = {name: file.stat().st_size for name, file in files.items()}
    weights = 4 * pretrained(about=True)["parameters"]  # without the early exits
    assert all(1 <= size[name] / weights < 1.03 for name in ("torch", "onnx", "F32"))
    assert size["int8"] <= 0.30 * size["onnx"] and size["int4"] <= 0.22 * size["onnx"]
    assert size["Q8_0"] <= 0.29 * size["F32"] and size["Q4_0"] <= 0.20 * size["F32"]


# --- GGUF


@pytest.mark.slow
def test_gguf_loses_what_its_blocks_lose_and_nothing_else(files, here, windows):
    bits = {kind: bits_per_byte(read_gguf(files[kind]), windows) for kind in ("F32", "Q8_0", "Q4_0")}
    assert bits["F32"] == pytest.approx(here, abs=1e-6)
    assert abs(bits["Q8_0"] - here) < 0.005 and 0.002 < bits["Q4_0"] - here < 0.05


@pytest.mark.slow
def test_gguf_holds_the_blocks_of_its_kind(files):
    """Q4_0 by hand, from the description of the format: the largest of 32 weights becomes -8 steps."""
    gguf = importlib.import_module("gguf")
    tensors = {t.name: t for t in gguf.GGUFReader(files["Q4_0"]).tensors}
    weight = pretrained().head.weight.detach().numpy()
    raw = np.asarray(tensors["output.weight"].data).reshape(256, -1, 18)  # 2 bytes of scale, 16 of 4-bit numbers
    blocks = weight.reshape(256, -1, 32)
    peak = np.take_along_axis(blocks, np.abs(blocks).argmax(-1, keepdims=True), -1)[..., 0]
    scale = np.ascontiguousarray(raw[..., :2]).view(np.float16)[..., 0]
    assert np.allclose(scale, peak / -8, rtol=1e-3)
    low, high = raw[..., 2:] & 15, raw[..., 2:] >> 4
    back = (np.concatenate([low, high], -1).astype(np.float32) - 8) * scale[..., None].astype(np.float32)
    assert np.abs(back - blocks).max() <= np.abs(scale).max() * 1.01
    kinds = {name: t.tensor_type.name for name, t in tensors.items()}
    assert {kind for name, kind in kinds.items() if name.endswith("bias") or "norm" in name} == {"F32"}
    assert kinds.pop("position_embd.weight") == "F32"
    assert {kind for name, kind in kinds.items() if not name.endswith("bias") and "norm" not in name} == {"Q4_0"}


@pytest.mark.slow
def test_the_names_are_those_of_the_architecture_gpt2(files):
    gguf = importlib.import_module("gguf")
    names = {t.name.rpartition(".")[0] for t in gguf.GGUFReader(files["F32"]).tensors}
    known = gguf.MODEL_TENSORS[gguf.MODEL_ARCH.GPT2]
    assert names == {gguf.TENSOR_NAMES[kind].format(bid=block) for kind in known for block in range(4)}


@pytest.mark.slow
def test_the_vocabulary_is_one_letter_for_each_byte_as_gpt2_writes_it(files):
    gguf = importlib.import_module("gguf")
    field = gguf.GGUFReader(files["Q8_0"]).fields["tokenizer.ggml.tokens"]
    letters = [bytes(field.parts[i]).decode() for i in field.data]
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    assert letters == [bytes_to_unicode()[byte] for byte in range(256)]


@pytest.mark.slow
def test_another_gpt2_gives_the_same_answers_from_the_file(files, windows):
    """An independent reading: the weights of the file in the GPT-2 of `transformers`."""
    import transformers

    gguf = importlib.import_module("gguf")
    found = {t.name: torch.tensor(np.array(t.data)) for t in gguf.GGUFReader(files["F32"]).tensors}
    sizes = transformers.GPT2Config(vocab_size=256, n_positions=128, n_embd=256, n_layer=4, n_head=4,
                                    tie_word_embeddings=False, bos_token_id=0, eos_token_id=0)
    other, state = transformers.GPT2LMHeadModel(sizes).eval(), {}
    places = {"token_embd": "transformer.wte", "position_embd": "transformer.wpe", "output_norm": "transformer.ln_f",
              "output": "lm_head", "attn_norm": "ln_1", "attn_qkv": "attn.c_attn", "attn_output": "attn.c_proj",
              "ffn_norm": "ln_2", "ffn_up": "mlp.c_fc", "ffn_down": "mlp.c_proj"}
    for name, weight in found.items():
        *block, layer, kind = name.split(".")
        key = "".join([*(f"transformer.h.{n}." for n in block[1:]), places[layer], ".", kind])
        turned = ".c_" in key and kind == "weight"  # its Conv1D stores a matrix the other way round
        state[key] = weight.T if turned else weight
    assert not other.load_state_dict(state, strict=False).unexpected_keys
    with torch.inference_mode():
        mine, theirs = pretrained()(windows[:4, :-1]), other(windows[:4, :-1].long()).logits
    assert (mine - theirs).abs().max() < 1e-3


# --- processes


@pytest.mark.slow
def test_onnx_runtime_runs_without_torch_and_torch_does_not(runs):
    assert {name: run.torch_loaded for name, run in runs.items()} == {
        "torch": True, "onnx": False, "int8": False, "int4": False, "bare": False}
    assert {run.engine for name, run in runs.items() if name.startswith(("onnx", "int"))} == {"onnxruntime"}


@pytest.mark.slow
def test_every_engine_reads_the_same_texts(runs, here):
    bits = {name: run.bits_per_byte for name, run in runs.items()}
    assert bits["torch"] == pytest.approx(here, abs=1e-5) and bits["onnx"] == pytest.approx(here, abs=1e-4)
    assert abs(bits["int8"] - here) <= 0.01 and 0.001 < bits["int4"] - here < 0.05
    assert bits["bare"] is None


@pytest.mark.slow
def test_memory_is_a_third_of_torchs(runs):
    peak = {name: run.peak_bytes for name, run in runs.items()}
    assert peak["int8"] <= 0.33 * peak["torch"] and peak["onnx"] <= 0.40 * peak["torch"]
    assert peak["bare"] < 0.5 * peak["int8"]
    assert all(run.loaded_bytes <= run.peak_bytes for name, run in runs.items() if name != "bare")


@pytest.mark.slow
def test_steps_are_timed_for_each_batch(runs, files):
    run = runs["int8"]
    assert run.file_bytes == files["int8"].stat().st_size and run.load_s > 0
    assert {batch: len(times) for batch, times in run.step_s.items()} == {1: 2, 8: 2} and set(run.step_cpu_s) == {1, 8}
    assert run.ms_per_byte(8) == pytest.approx(1000 * sum(run.step_s[8]) / 2 / 8)
    assert run.ms_per_byte(8, cpu=True) == pytest.approx(1000 * run.step_cpu_s[8] / 8) and run.ms_per_byte(8, cpu=True) > 0
    with pytest.raises(ValueError, match="batch 3 was not timed; this run has 1, 8"):
        run.ms_per_byte(3)
    with pytest.raises(ValueError, match="this run has none"):
        runs["bare"].ms_per_byte()


@pytest.mark.slow
def test_the_peak_is_that_of_the_process_alone_and_not_of_the_one_that_started_it():
    """Linux hands the peak of the parent to a child (getrusage); a bare interpreter would seem to hold a notebook."""
    ballast = np.ones(50_000_000)  # 400 MB
    assert run_alone().peak_bytes < 40e6 < psutil.Process().memory_info().rss
    assert ballast.any()


def test_the_peak_counts_what_was_freed():
    code = "import alone; before = alone.peak_bytes(); x = b'1' * 80_000_000; del x; print(alone.peak_bytes() - before)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "course_lib", capture_output=True, text=True, check=True)
    assert 75e6 < int(done.stdout) < 120e6


def stand_in(tmp_path, monkeypatch, name, text):
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


@pytest.mark.slow
def test_llama_cpp_gets_each_text_anew_where_it_is_installed(tmp_path, monkeypatch, files, windows):
    stand_in(tmp_path, monkeypatch, "llama_cpp", """
        import os
        import numpy as np
        __version__ = "0"
        class Llama:
            def __init__(self, file, n_ctx, n_threads, n_threads_batch, logits_all, verbose):
                assert open(file, "rb").read(4) == b"GGUF" and logits_all and not verbose
                assert n_threads == n_threads_batch == 1 == int(os.environ["OMP_NUM_THREADS"])
                self.scores, self.n = np.zeros((128, 256), np.float32), 0
            def reset(self):
                self.n = 0
            def eval(self, tokens):
                assert self.n == 0 and all(type(t) is int for t in tokens)
                self.n = len(tokens)
    """)
    run = run_alone(files["Q4_0"], windows[:3], batches=(1, 2), repeats=1)
    assert run.engine == "llama_cpp" and run.bits_per_byte == pytest.approx(8) and not run.torch_loaded
    assert set(run.step_s) == {1, 2}


@pytest.mark.slow
def test_gguf_without_llama_cpp_says_what_to_do(files, monkeypatch):
    monkeypatch.setattr(deploy.util, "find_spec", lambda name: None if name == "llama_cpp" else name)
    with pytest.raises(ImportError) as error:
        run_alone(files["Q4_0"])
    assert "pip install llama-cpp-python" in one_sentence(error) and "leave this part out" in str(error.value)


SLOW = 10**7  # repeats: hours


@pytest.mark.slow
def test_a_process_that_takes_too_long_is_ended(files, windows):
    before = psutil.Process().children(recursive=True)  # what other tests have left, such as Python's resource tracker
    with pytest.raises(RuntimeError, match="took more than 3 s and was ended") as error:
        run_alone(files["int8"], windows, repeats=SLOW, timeout_s=3)
    one_sentence(error)
    assert [child for child in psutil.Process().children(recursive=True) if child not in before] == []


@pytest.mark.slow
def test_an_interrupted_cell_ends_its_process(files, tmp_path):
    script = tmp_path / "cell.py"
    script.write_text(f"from course_lib.ondevice import run_alone\nrun_alone({str(files['int8'])!r}, repeats={SLOW})\n")
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    with subprocess.Popen([sys.executable, script], stderr=subprocess.PIPE, text=True,
                          env={**os.environ, "PYTHONPATH": paths}) as kernel:
        try:
            limit, born = time.monotonic() + 60, []
            while not born and time.monotonic() < limit:
                time.sleep(0.05)
                born = psutil.Process(kernel.pid).children()
            kernel.send_signal(signal.SIGINT)  # to the kernel alone: the child is not told
            assert "KeyboardInterrupt" in kernel.communicate(timeout=60)[1]
        finally:
            kernel.kill()
    assert born and not psutil.wait_procs(born, timeout=30)[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["int8", "torch"])
def test_a_killed_kernel_takes_its_process_with_it(files, tmp_path, name):
    script = tmp_path / "cell.py"
    script.write_text(f"from course_lib.ondevice import run_alone\nrun_alone({str(files[name])!r}, repeats={SLOW})\n")
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    with subprocess.Popen([sys.executable, script], env={**os.environ, "PYTHONPATH": paths}) as kernel:
        try:
            limit, born = time.monotonic() + 60, []
            while time.monotonic() < limit and not (born and born[0].cpu_times().user > 2):  # it is at work
                time.sleep(0.05)
                born = born or psutil.Process(kernel.pid).children()
            assert born[0].is_running()
        finally:
            kernel.kill()  # nothing of it can run any more
    alive = psutil.wait_procs(born, timeout=15)[1]  # left alone it would work for hours
    for child in alive:
        child.kill()
    assert born and not alive


@pytest.mark.slow
def test_a_process_that_dies_is_told_in_one_sentence(files, tmp_path, monkeypatch):
    (tmp_path / "dies.py").write_text("import os, sys; print('no memory left', file=sys.stderr, flush=True); os._exit(7)")
    monkeypatch.setattr(alone, "__file__", str(tmp_path / "dies.py"))
    with pytest.raises(RuntimeError, match="onnxruntime ended with code 7 and without an answer: no memory left") as error:
        run_alone(files["int8"])
    one_sentence(error)


# --- bad input


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
@pytest.mark.parametrize("name", ["onnx", "int8", "torch"])
def test_a_file_cut_short_is_refused_by_its_engine(files, tmp_path, windows, name, share):
    whole = files[name].read_bytes()
    cut = tmp_path / f"cut{files[name].suffix}"
    cut.write_bytes(whole[:int(share * len(whole))])
    with pytest.raises(ValueError, match=f"{cut.name} cannot be read: it is cut short, damaged") as error:
        run_alone(cut, windows[:1])
    one_sentence(error)


@pytest.mark.slow
@pytest.mark.parametrize("bits", [8, 4])
def test_a_file_cut_short_is_not_quantised(files, tmp_path, bits):
    whole = files["onnx"].read_bytes()
    for end in (0, 20, len(whole) // 2, len(whole) - 3):
        (tmp_path / "cut.onnx").write_bytes(whole[:end])
        with pytest.raises(ValueError, match=r"cut.onnx cannot be read: it is cut short") as error:
            quantize_onnx(tmp_path / "cut.onnx", tmp_path / "small.onnx", bits)
        one_sentence(error)
    assert not (tmp_path / "small.onnx").exists()


@pytest.mark.slow
def test_a_gguf_file_cut_anywhere_is_refused(files, tmp_path):
    whole = files["Q4_0"].read_bytes()
    for end in [0, 3, 4, 8, 24, 30, 200, 2000, 5000, 7000, 8000, 10_000, len(whole) // 2, len(whole) - 1]:
        (tmp_path / "cut.gguf").write_bytes(whole[:end])
        with pytest.raises(ValueError, match=r"cut.gguf cannot be read: it is cut short") as error:
            read_gguf(tmp_path / "cut.gguf")
        one_sentence(error)


def test_a_gguf_file_of_another_network_is_refused(tmp_path):
    gguf = importlib.import_module("gguf")
    writer = gguf.GGUFWriter(tmp_path / "other.gguf", "llama")
    writer.add_block_count(2)
    writer.add_tensor("token_embd.weight", np.zeros((4, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ValueError, match=r"other.gguf cannot be read: .* of another kind"):
        read_gguf(tmp_path / "other.gguf")


class Bessel(nn.Module):
    def forward(self, x):
        return torch.special.bessel_j0(x)


class Choosy(nn.Module):
    def forward(self, x):
        return x * 2 if x.sum() > 0 else x


@pytest.mark.slow
def test_an_operator_that_onnx_lacks_is_named(tmp_path, capfd):
    with pytest.raises(ValueError, match=r"Bessel cannot be exported: ONNX has no form for its operator \S*bessel_j0;") as error:
        export_onnx(Bessel(), torch.rand(2, 3), tmp_path / "no.onnx")
    one_sentence(error)
    with pytest.raises(ValueError, match="Choosy cannot be exported: .*choices that depend on values") as error:
        export_onnx(Choosy(), torch.rand(2, 3), tmp_path / "no.onnx")
    one_sentence(error)
    assert not (tmp_path / "no.onnx").exists() and capfd.readouterr() == ("", "")


def test_a_mistake_in_the_model_is_no_fault_of_the_export(tmp_path):
    with pytest.raises(ValueError, match="the model reads 64 numbers per example"):
        export_onnx(DigitsMLP(), torch.rand(2, 3), tmp_path / "no.onnx")


@pytest.mark.slow
def test_other_bad_input_is_told_in_one_sentence(tmp_path, files, windows):
    small, narrow = ByteTransformer(32, 1, 1, 8), ByteTransformer(48, 1, 1, 8)
    (tmp_path / "model.bin").write_bytes(b"")
    cases = [
        ("bits is 3; choose 8 or 4", ValueError, lambda: quantize_onnx(files["onnx"], tmp_path / "x.onnx", 3)),
        ("there is no file nowhere.onnx", ValueError, lambda: quantize_onnx("nowhere.onnx", tmp_path / "x.onnx")),
        ("kind is 'Q2_K'; choose F32", ValueError, lambda: write_gguf(small, tmp_path / "x.gguf", "Q2_K")),
        ("d_model=48 cannot be cut into Q4_0 blocks", ValueError, lambda: write_gguf(narrow, tmp_path / "x.gguf", "Q4_0")),
        ("the model is a DigitsMLP", TypeError, lambda: write_gguf(DigitsMLP(), tmp_path / "x.gguf")),
        ("the model is a DigitsMLP", TypeError, lambda: save_torch(DigitsMLP(), tmp_path / "x.pt")),
        ("there is no file nowhere.gguf", ValueError, lambda: read_gguf("nowhere.gguf")),
        ("there is no file nowhere.onnx", ValueError, lambda: run_alone("nowhere.onnx")),
        ("no engine is known for model.bin", ValueError, lambda: run_alone(tmp_path / "model.bin")),
        ("batch 0 is 0; give a whole number", ValueError, lambda: run_alone(files["int8"], windows, batches=(0,))),
        ("T at least the context of 64", ValueError, lambda: run_alone(files["int8"], windows[:, :40])),
        ("type torch.int64; give uint8", ValueError, lambda: run_alone(files["int8"], windows.long())),
        ("n is 0; give a whole number", ValueError, lambda: held_out(0)),
    ]
    for said, kind, call in cases:
        with pytest.raises(kind, match=re.escape(said)) as error:
            call()
        one_sentence(error)
    assert not list(tmp_path.glob("x.*"))
    write_gguf(narrow, tmp_path / "x.gguf")
    assert read_gguf(tmp_path / "x.gguf").context == 8


# --- packages


def test_a_package_that_is_not_there_is_named_with_the_way_out(monkeypatch, tmp_path):
    real = deploy.util.find_spec
    monkeypatch.setattr(deploy.util, "find_spec", lambda name: None if name in ("onnxscript", "gguf") else real(name))
    with pytest.raises(ImportError, match="needs onnxscript, not installed here") as error:
        export_onnx(DigitsMLP(), torch.rand(2, 64), tmp_path / "x.onnx")
    assert "make lab" in one_sentence(error) and "pip install onnxscript`" in str(error.value)
    for call in (lambda: write_gguf(ByteTransformer(32, 1, 1, 8), tmp_path / "x"), lambda: read_gguf("x")):
        with pytest.raises(ImportError, match="needs gguf"):
            call()
    rows = {row[0]: row for row in packages().rows}
    assert rows["gguf"][2] is None and "pip install gguf" in rows["gguf"][3]
    assert rows["onnxruntime"][2:] == (metadata.version("onnxruntime"), "")


def test_a_build_under_another_name_counts(monkeypatch):
    def version(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(deploy.metadata, "version", version)
    assert {row[0]: row[2:] for row in packages().rows}["onnxruntime"] == ("here", "")


@pytest.mark.slow
def test_these_modules_import_none_of_the_extra_packages():
    code = "import sys, course_lib.deploy, course_lib.ondevice; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not {"onnx", "onnxscript", "onnxruntime", "gguf", "llama_cpp"} & set(done.stdout.split())


def wanted(name, extra=""):
    """The names of this package and of all that it needs here."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    todo, seen = [(name, extra)], set()
    while todo:
        name, extra = todo.pop()
        needs = metadata.requires(name) or []
        for need in map(Requirement, needs):
            if not need.marker or need.marker.evaluate({"extra": extra}):
                pair = canonicalize_name(need.name), ",".join(need.extras)
                if pair not in seen:
                    seen.add(pair)
                    todo.append(pair)
    return {name for name, _ in seen}


def test_the_extra_packages_ask_for_no_torch_and_stay_under_200_mb():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    roots = [re.match(r"[\w-]+", line)[0] for line in project["optional-dependencies"]["deploy"]]
    base = [re.match(r"[\w-]+", line)[0] for line in project["dependencies"]]
    extra = set(roots).union(*map(wanted, roots))
    assert not [name for name in extra if name == "torch" or name.startswith(("nvidia", "triton"))]
    added = extra - set(base).union(*map(wanted, base))
    size = sum(file.locate().stat().st_size for name in added for file in metadata.files(name) if file.locate().is_file())
    assert set(roots) <= added and size <= 200e6, f"{size / 1e6:.0f} MB: {sorted(added)}"


# --- phones


def test_the_budget_agrees_with_published_figures():
    phone = fact("ph_ram_avg25").to("GB")
    phi = phone_budget(fact("ph_phi3_params").to("param"), 4, phone, share=0.5)
    assert phi.weights_gb == pytest.approx(1.9) and phi.fits
    assert not phone_budget(fact("gpt3_params").to("param"), 16, phone, share=1).fits
    assert phone_budget(fact("gpt3_params").to("param"), 16, phone, share=1).weights_gb == fact("gpt3_weights").value
    cache = phone_budget(8e9, 4, 8, share=0.5, layers=32, kv_width=8 * 128, tokens=32_768)
    assert cache.cache_gb == pytest.approx(fact("kv_llama8b_32k").to("GB")) and not cache.fits
    assert cache.needs_gb == pytest.approx(4 + cache.cache_gb) and cache.room_gb == 4


def test_a_budget_names_what_it_assumed():
    tight = phone_budget(8e9, 4, 8, share=0.5)
    assert tight.fits and not phone_budget(8e9, 4, 8, share=0.5, other_gb=0.01).fits
    assert repr(tight) == "fits: 4 GB weights in 4 GB; assumed: share=0.5"
    full = phone_budget(3e9, 4.5, 6, share=0.25, layers=28, kv_width=1024, tokens=8192, cache_bits=8, other_gb=0.2)
    assert repr(full) == ("does not fit: 1.69 GB weights + 0.47 GB key-value cache + 0.2 GB other in 1.5 GB; assumed: "
                          "share=0.25, layers=28, kv_width=1024, tokens=8192, cache_bits=8, other_gb=0.2")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"parameters": 0}, "parameters is 0; give a number from 1"),
        ({"parameters": math.nan}, "parameters is nan"),
        ({"bits": 0}, "bits is 0; give a number from 0.1 to 64"),
        ({"bits": "four"}, "bits is 'four'"),
        ({"ram_gb": -8}, "ram_gb is -8"),
        ({"share": 50}, "share is 50; give a number from 0.001 to 1"),
        ({"other_gb": -1}, "other_gb is -1"),
        ({"tokens": 8192}, "the key-value cache needs layers and kv_width too"),
        ({"layers": 2.5, "kv_width": 8, "tokens": 8}, "layers is 2.5; give a whole number"),
    ],
)
def test_a_budget_refuses_what_makes_no_sense(change, said):
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        phone_budget(**({"parameters": 3e9, "bits": 4, "ram_gb": 8, "share": 0.5} | change))
    one_sentence(error)


def test_the_answer_of_a_process_is_one_line_of_json():
    done = subprocess.run([sys.executable, "-P", alone.__file__], input='{"engine": null}', capture_output=True, text=True,
                          check=True)
    assert set(json.loads(done.stdout.splitlines()[-1])) == {"version", "peak_bytes", "torch_loaded"}
    assert ondevice.run_alone().engine == "python"
