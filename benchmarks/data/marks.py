"""The part of benchmarks/README.md that a benchmark writes itself stands between its two marks."""

import sys


def replace_between(file, name, text):
    """Put `text` between the marks <!-- name --> and <!-- /name --> of a file; without them, end with a sentence."""
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, begun, rest = file.read_text(encoding="utf-8").partition(start)
    _, ended, after = rest.partition(end)
    if not (begun and ended):
        sys.exit(f"{file.name} needs the lines {start} and {end}: the table goes between them")
    file.write_text(f"{before}{start}\n{text}\n{end}{after}", encoding="utf-8", newline="\n")
