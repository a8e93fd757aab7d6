"""Makes the table of lesson 07: what we found for each format. It stands in where a learner's machine lacks a package.

    python benchmarks/shipped/local_deployment.py         # a minute

The files are written and counted by the lesson's own functions; each runs in fresh processes, and the quickest one is
kept: other programs can only slow it down. So `peak_bytes` is that of the quickest process, not the least or the mean.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import record

from course_lib.deploy import read_gguf
from course_lib.ondevice import bits_per_byte, held_out, run_alone
from course_lib.setup import seed_everything

NAMES = {"MATRICES", "MATRIX_WEIGHTS", "WRITE", "RUN", "model", "save_float16", "onnx_numbers", "matrix_bytes"}
KEPT = ("engine", "version", "torch_loaded", "peak_bytes", "import_s", "load_s", "loaded_bytes", "bits_per_byte")


def alone(file, texts, processes, repeats):
    """The quickest run by the clock, as a row: other programs can only slow it down."""
    run = min((run_alone(file, texts, repeats=repeats) for _ in range(processes)), key=lambda r: r.ms_per_byte())
    return {key: getattr(run, key) for key in KEPT} | {
        "step_s": {b: [round(statistics.median(s), 6)] for b, s in run.step_s.items()},
        "step_cpu_s": {b: round(s, 6) for b, s in run.step_cpu_s.items()}}


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--processes", type=int, default=5, help="for each format that runs alone")
    options.add_argument("--repeats", type=int, default=12, help="steps that each process times")
    options.add_argument("--dry", action="store_true", help="print, write nothing")
    o = options.parse_args()
    seed_everything(0, threads=1)
    r, rows, texts = record.recipe("07_local_deployment", NAMES), [], held_out(64)
    with tempfile.TemporaryDirectory() as folder:
        r |= {"folder": Path(folder), "texts": texts}
        for name, write in r["WRITE"].items():
            file = write()
            row = {"format": name, "seed": 0, "file_bytes": file.stat().st_size, "matrix_bytes": r["matrix_bytes"](file)}
            if name in r["RUN"]:
                row |= alone(file, texts, o.processes, o.repeats)
            elif file.suffix == ".gguf":
                row["bits_per_byte"] = bits_per_byte(read_gguf(file), texts)
            rows.append(row)
            print(row, flush=True)
    if not o.dry:
        record.write("07_local_deployment", rows, "python benchmarks/shipped/local_deployment.py")


if __name__ == "__main__":
    main()
