"""The plainest grader: nbclient runs every notebook of a folder; the checks' texts must be the stored ones.

`python nbclient_loop.py FOLDER` writes FOLDER/scores.json: {learner: points}. benchmarks/grading.py times it.
"""

import json
import sys
from pathlib import Path

import nbclient
import nbformat


def texts(nb):
    """{index of a check cell: (points, the text it shows or None)}"""
    shown = {}
    for index, cell in enumerate(nb.cells):
        if cell.metadata.get("nbgrader", {}).get("grade"):
            results = [out.data["text/plain"] for out in cell.outputs if out.output_type == "execute_result"]
            shown[index] = cell.metadata.nbgrader.points, "".join(results) or None
    return shown


folder, scores = Path(sys.argv[1]), {}
for file in sorted(folder.glob("*/*.ipynb")):
    nb = nbformat.read(file, as_version=4)
    expected = texts(nb)
    nbclient.execute(nb, cwd=file.parent, allow_errors=True, timeout=30)
    came = texts(nb)
    scores[file.parent.name] = sum(points for index, (points, text) in expected.items()
                                   if came[index][1] == text)
Path(folder, "scores.json").write_text(json.dumps(scores), encoding="utf-8")
