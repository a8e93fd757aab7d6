"""What `ondevice.run_alone` starts: one model in a process of its own, with one engine and nothing else.

Run as a script it imports nothing of the course, and PyTorch only where PyTorch is the engine. It reads one line of JSON
from standard input and prints one; with the end of that input, which is the end of its parent, it ends. An engine turns a
file into a function, uint8 [batch, T] -> float32 [batch, T, 256].
"""

import json
import os
import re
import sys
import threading
import time
from pathlib import Path


def peak_bytes() -> int:
    """The most memory that this process has held, libraries included (peak resident set)."""
    status = Path("/proc/self/status")
    if sys.platform == "linux" and (peak := re.search(r"VmHWM:\s+(\d+) kB", status.read_text())):
        return 1024 * int(peak[1])  # not getrusage: it remembers the bigger parent that this process was forked from
    if sys.platform == "win32":
        import psutil
        return psutil.Process().memory_info().peak_wset
    import resource
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def onnx_runtime():
    """One thread, on the CPU."""
    import onnxruntime

    def load(file):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_mem_pattern = False  # a plan of memory for each new shape; texts differ in length
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda tokens: session.run(None, {name: tokens})[0]

    return onnxruntime.__version__, load


def pytorch():
    """One thread, float32."""
    import torch

    from course_lib.models import ByteTransformer

    torch.set_num_threads(1)

    def load(file):
        saved = torch.load(file, weights_only=True)
        model = ByteTransformer(**saved["sizes"])
        model.load_state_dict(saved["weights"], strict=False, assign=True)
        forward = torch.inference_mode()(model.eval())
        return lambda tokens: forward(torch.from_numpy(tokens)).numpy()

    return torch.__version__, load


def llama_cpp():
    """One thread. One text after the other, each from its start, as the other engines do."""
    import llama_cpp
    import numpy as np

    def load(file):
        model = llama_cpp.Llama(file, n_ctx=0, n_threads=1, n_threads_batch=1, logits_all=True, verbose=False)

        def one(text):
            model.reset()
            model.eval(text.tolist())
            return model.scores[:len(text)].copy()

        return lambda tokens: np.stack([one(text) for text in tokens])

    return llama_cpp.__version__, load


ENGINES = {"onnxruntime": onnx_runtime, "torch": pytorch, "llama_cpp": llama_cpp}


def measure(ask: dict) -> dict:
    """Loads the model, reads the held-out texts, times steps; the answer holds what `ondevice.Run` shows."""
    clock = time.perf_counter
    start = clock()
    import numpy as np
    version, load = ENGINES[ask["engine"]]()
    answer = {"version": version, "import_s": clock() - start}
    start = clock()
    try:
        forward = load(ask["file"])
    except Exception as why:  # noqa: BLE001 - each engine has its own kinds
        return {"refused": f"{type(why).__name__}: {why}"}
    answer |= {"load_s": clock() - start, "loaded_bytes": peak_bytes()}

    windows = np.frombuffer(bytes.fromhex(ask["windows"]), np.uint8).reshape(-1, ask["length"] + 1)
    nats = 0.0
    for window in windows:
        logits = forward(window[None, :-1].copy())[0].astype(np.float64)
        logits -= logits.max(-1, keepdims=True)
        nats += np.mean(np.log(np.exp(logits).sum(-1)) - logits[np.arange(len(logits)), window[1:]])
    answer |= {"bits_per_byte": nats / len(windows) / np.log(2), "step_s": {}, "step_cpu_s": {}}
    for batch in ask["batches"]:
        tokens = np.resize(windows[:, :ask["context"]], (batch, ask["context"]))
        forward(tokens)
        forward(tokens)  # the first two warm up
        cpu, times = time.process_time(), [clock()]
        for _ in range(ask["repeats"]):
            forward(tokens)
            times.append(clock())
        answer["step_cpu_s"][batch] = (time.process_time() - cpu) / ask["repeats"]
        answer["step_s"][batch] = np.diff(times).tolist()
    return answer


def end_with_parent():
    """Waits until nobody holds the other end of standard input, and ends the process."""
    while os.read(0, 1):  # not sys.stdin.read: its lock would be held when Python shuts down
        pass
    os._exit(1)


if __name__ == "__main__":
    asked, found = json.loads(sys.stdin.readline()), {"version": sys.version.split()[0]}
    if asked["engine"]:
        threading.Thread(target=end_with_parent, daemon=True).start()
        found = measure(asked)
    print("\n" + json.dumps(found | {"peak_bytes": peak_bytes(), "torch_loaded": "torch" in sys.modules}))
