"""How long importing every lesson module of course_lib takes, over importing torch alone.

Fresh processes, taken in turn (A B B A ...), CPU time of each; prints a table and writes it to benchmarks/results/.
"""

import datetime
import statistics
import subprocess
import sys
from pathlib import Path

from course_lib.setup import machine
from course_lib.stats import ratio_interval
from course_lib.tables import Table

ROOT = Path(__file__).parent.parent
MODULES = [f"course_lib.{p.stem}" for p in sorted((ROOT / "course_lib").glob("*.py")) if p.stem != "__init__"]
PAIRS = 12


def cpu_seconds(statement):
    code = f"import time\n{statement}\nprint(time.process_time())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return float(done.stdout)


def main():
    statements = {"everything": f"import {', '.join(MODULES)}", "torch": "import torch"}
    spent = {name: [] for name in statements}
    for statement in statements.values():
        cpu_seconds(statement)  # the first one fills the disk cache
    for i in range(PAIRS):
        for name in (list(statements) if i % 2 == 0 else reversed(statements)):
            spent[name].append(cpu_seconds(statements[name]))
    ratio, low, high = map(float, ratio_interval(spent["everything"], spent["torch"]))
    rows = [(f"import of {name}, median", f"{statistics.median(times):.2f} CPU s") for name, times in spent.items()]
    rows.append((f"all {len(MODULES)} lesson modules over torch alone", f"{ratio:.2f} (95 %: {low:.2f} to {high:.2f})"))
    table = Table(["what", "result"], rows)
    print(table)
    day, here = datetime.date.today().isoformat(), machine()
    text = "\n".join(f"| {a} | {b} |" for a, b in rows)
    file = ROOT / "benchmarks" / "results" / f"imports-{day}.md"
    file.write_text(f"# Import times, {day}\n\nMachine: {here['cpu']}, {here['cores']:g} cores, {here['os']}, Python {here['python']}, "
                    f"torch {here['torch']}. {PAIRS} order-swapped pairs of fresh processes.\n\n"
                    f"| what | result |\n|:---|:---|\n{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
