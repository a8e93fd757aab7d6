"""Hostile and honest submissions of tests/data/grading/source/90_attacked.py, as data.

ATTACKS are wrong answers that try to be paid all the same, or to harm the grader or the next learner: 0 points on each
hidden check. RIGHT are right answers in unusual dress: full marks. `build(release)` gives what is handed in: a
notebook (a dict), the bytes of a file, or a tree of files {path: notebook or bytes}. Payloads that are only code
stand in tests/data/grading/attacks.toml.

Some payloads could harm the machine they run on. They are guarded twice: `only_sandboxed` ones are for a run with a
sandbox, and each begins with a line that ends it in the process namespace of whoever built it.
"""

import copy
import json
import os
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

DATA = Path(__file__).parent / "data" / "grading"
SOURCE = DATA / "source" / "90_attacked.py"
FILE = "90_attacked.ipynb"
VISIBLE, HIDDEN = ("ex90_softmax_shown", "ex90_entropy_shown"), ("ex90_softmax_unseen", "ex90_entropy_unseen")
SECRETS = ("unseen_logits", "unseen_rows", "kept_from_learners", "withheld_terms")  # of hidden cells and solutions
WRONG = {"ex90_softmax": "def softmax(x):\n    return x * 0\n", "ex90_entropy": "def entropy(p):\n    return p.sum(-1) * 0\n"}
CORRECT = {"ex90_softmax": "def softmax(x):\n    return torch.exp(x) / torch.exp(x).sum(dim=1, keepdim=True)\n",
           "ex90_entropy": "def entropy(p):\n    return -(p * torch.log2(p)).sum(dim=1)\n"}
# What a submission may use in these tests: small, so that many that use all of it end soon.
LIMITS = {"cell_seconds": 4.0, "total_seconds": 45.0, "memory_mb": 1024, "output_mb": 2}
_GUARD = """import os as _os
try:
    _outside = _os.readlink("/proc/self/ns/pid") == {namespace!r}
except OSError:
    _outside = False
if _outside:
    raise SystemExit("not run: there is no sandbox round it")
"""
_IN_SOFTMAX = '\ndef softmax(x):\n    return "; ".join(map(str, SAID)) if SAID else x * 0\n'


@dataclass(frozen=True)
class Attack:
    """One hostile submission. `shows`: a pattern for the text that its visible check shows ("" for no text)."""

    number: int
    name: str
    why: str
    build: Callable = field(repr=False)
    hidden_points: int = 0
    shows: str | None = None
    only_sandboxed: bool = False


@dataclass(frozen=True)
class Right:
    """A right answer in unusual dress."""

    name: str
    build: Callable = field(repr=False)


ATTACKS, RIGHT = [], []


# --- what a builder works with -----------------------------------------------------------------------------------------

def cell(nb, name):
    """The cell of a notebook (a dict) with this id."""
    return next(cell for cell in nb["cells"] if cell.get("id") == name)


def text(name):
    """The text that a visible check shows for the right answer."""
    import torch

    return repr(_solved(lambda: torch.tensor([[0.0, 1.0, 2.0], [3.0, 3.0, 3.0]])) if name == "shown" else
                _solved(lambda: torch.randn(3, 4, generator=torch.Generator().manual_seed(901))))


def _solved(make):
    from course_lib.selfcheck import rounded

    return rounded(make().softmax(-1))


def code(source, **metadata):
    """A code cell of the learner's own."""
    return {"cell_type": "code", "execution_count": None, "id": f"own{abs(hash(source)) % 10**8}", "metadata": metadata,
            "outputs": [], "source": source}


def insert(nb, source, before=None, **metadata):
    """Put an own code cell before the cell with this id (None: at the end)."""
    at = len(nb["cells"]) if before is None else nb["cells"].index(cell(nb, before))
    nb["cells"].insert(at, code(source, **metadata))


def answered(release, answers):
    """A copy of the release with these answers."""
    nb = copy.deepcopy(release)
    for name, source in answers.items():
        cell(nb, name)["source"] = source
    return nb


def write(built, folder):
    """Write what a builder gave into a learner's folder."""
    if not isinstance(built, dict) or "cells" in built or "worksheets" in built or "nbformat" in built:
        built = {FILE: built}
    for name, content in built.items():
        file = Path(folder, name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())


def namespace():
    """The process namespace of this process, or "" where there is none."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def attack(number, name, why, **more):
    """Decorate a builder: it gets a release with wrong answers, to change or to replace."""
    def keep(change):
        def build(release):
            nb = answered(release, WRONG)
            made = change(nb)
            return nb if made is None else made
        ATTACKS.append(Attack(number, name, why, build, **more))
        return change
    return keep


def right(name):
    """Decorate a builder: it gets a release with right answers, to change or to replace."""
    def keep(change):
        def build(release):
            nb = answered(release, CORRECT)
            made = change(nb)
            return nb if made is None else made
        RIGHT.append(Right(name, build))
        return change
    return keep


# --- payloads that are only code -------------------------------------------------------------------------------------

def payload(row):
    """The text of the cell that carries a payload of attacks.toml."""
    source = row["code"].replace("<U+2028>", "\u2028").replace("<U+2029>", "\u2029")
    magic, source = (source, "") if source.startswith("%%") else ("", source)
    head = [f"{name} = {value}\n" for name, value in
            (("SAID", "[]"), ("SHOWN", repr(text("shown"))), ("LEAKED", repr(text("unseen")))) if name in source]
    if row.get("only_sandboxed") and not magic:
        head.insert(0, _GUARD.format(namespace=namespace()))
    body = magic + "".join(head) + source
    if row.get("at") != "extra" and not re.search("^def softmax", source, re.MULTILINE):
        body += _IN_SOFTMAX if "SAID" in source else "\n" + WRONG["ex90_softmax"]
    return body


def _load(row):
    def change(nb):
        if row.get("at") == "extra":
            nb["cells"].insert(0, code(payload(row)))
        else:
            cell(nb, "ex90_softmax")["source"] = payload(row)
        if "second" in row:
            cell(nb, "ex90_entropy")["source"] = row["second"]

    attack(row["number"], row["name"], row["why"], shows=row.get("shows"),
           only_sandboxed=row.get("only_sandboxed", False))(change)


for _row in tomllib.loads((DATA / "attacks.toml").read_text(encoding="utf-8"))["attack"]:
    _load(_row)


# --- attacks by the notebook itself ----------------------------------------------------------------------------------

@attack(2, "stored outputs edited", "after Run All, what is stored is the learner's own output", shows="0.0, 0.0")
def _(nb):
    for name in VISIBLE:
        cell(nb, name)["outputs"][0]["data"]["text/plain"] = ["whatever the wrong answer gave"]


@attack(3, "outputs cleared", "nbval compares nothing where nothing is stored", shows="0.0, 0.0")
def _(nb):
    for each in nb["cells"]:
        if each["cell_type"] == "code":
            each["outputs"], each["execution_count"] = [], None


@attack(4, "check cells edited", "the check shows what it should, whatever the answer", shows="0.0, 0.0")
def _(nb):
    for name in VISIBLE:
        cell(nb, name)["source"] = f"rounded({''.join(cell(nb, name)['outputs'][0]['data']['text/plain'])!r})"


@attack(10, "check cells deleted", "no check, no failure", shows="0.0, 0.0")
def _(nb):
    nb["cells"] = [each for each in nb["cells"] if each["id"] not in VISIBLE]


for _number, _tag in ((11, "nbval-skip"), (12, "raises-exception"), (13, "nbval-ignore-output"), (237, "hidden")):
    @attack(_number, f"tag {_tag}", "tags tell nbval, or the release, to leave a cell alone", shows="0.0, 0.0")
    def _(nb, tag=_tag):
        for each in nb["cells"]:
            each["metadata"]["tags"] = [tag]


@attack(14, "check cells turned into prose", "prose is not run", shows="0.0, 0.0")
def _(nb):
    for name in VISIBLE:
        each = cell(nb, name)
        each["cell_type"] = "markdown"
        del each["outputs"], each["execution_count"]


@attack(15, "grade: false", "a cell that is not graded cannot be wrong", shows="0.0, 0.0")
def _(nb):
    for name in VISIBLE:
        cell(nb, name)["metadata"]["nbgrader"].update(grade=False, locked=False, solution=True)


@attack(16, "points: 1000", "the notebook says what its checks are worth", shows="0.0, 0.0")
def _(nb):
    for name in VISIBLE:
        cell(nb, name)["metadata"]["nbgrader"]["points"] = 1000


@attack(18, "conftest.py beside the notebook", "pytest runs it in the grader's own process")
def _(nb):
    forge = b"import pathlib\npathlib.Path(__file__).parent.joinpath('forged').touch()\ndef pytest_runtest_call(item): pass\n"
    return {FILE: nb, "conftest.py": forge, "exercises/conftest.py": forge}


@attack(19, "pytest.ini and a plugin beside the notebook", "the settings load a plugin that turns all green")
def _(nb):
    return {FILE: nb, "pytest.ini": b"[pytest]\naddopts = -p forged_plugin\n", "setup.cfg": b"[tool:pytest]\naddopts = -x\n",
            "forged_plugin.py": b"import pathlib\npathlib.Path(__file__).parent.joinpath('forged').touch()\n",
            "sitecustomize.py": b"open('forged', 'w')\n", "torch.py": b"open('forged', 'w')\n"}


@attack(22, "kernel of one's own", "the notebook names the program that runs it", shows="0.0, 0.0")
def _(nb):
    nb["metadata"]["kernelspec"] = {"name": "forged", "display_name": "x", "language": "bash",
                                    "argv": ["sh", "-c", "touch forged"]}
    nb["metadata"]["language_info"] = {"name": "bash", "version": {"deep": [1]}}
    return {FILE: nb, "kernels/forged/kernel.json": b'{"argv": ["sh", "-c", "touch forged"], "display_name": "x"}'}


@attack(220, "cell that is a hidden check", "whoever guesses its name may hand it in", shows="0.0, 0.0")
def _(nb):
    for name in HIDDEN:
        forged = code("rounded('forged')", nbgrader={"grade_id": name, "grade": True, "points": 5, "solution": False,
                                                      "locked": True, "schema_version": 3})
        forged.update(id=name, execution_count=1, outputs=[
            {"output_type": "execute_result", "data": {"text/plain": "forged"}, "metadata": {}, "execution_count": 1}])
        nb["cells"].append(forged)


@attack(221, "answers that carry hidden checks' names", "an answer cell is taken by its name, also by that one")
def _(nb):
    for name in HIDDEN:
        nb["cells"].append(code("rounded = lambda *a, **k: 1", nbgrader={
            "grade_id": name, "grade": True, "solution": True, "points": 5, "locked": False, "schema_version": 3}))


@attack(222, "checks of one's own invention", "1000 points for a check that is always right", shows="0.0, 0.0")
def _(nb):
    nb["cells"].append(code("rounded(1)", nbgrader={"grade_id": "ex90_bonus", "grade": True, "solution": False,
                                                    "points": 1000, "locked": True, "schema_version": 3}))


@attack(223, "checks doubled", "the second one is the learner's", shows="0.0, 0.0")
def _(nb):
    for name in VISIBLE:
        forged = copy.deepcopy(cell(nb, name))
        forged["source"], forged["metadata"]["nbgrader"]["points"] = "rounded('0')", 1000
        nb["cells"] += [forged, copy.deepcopy(forged)]


@attack(224, "names that are no text", "grade_ids and ids of every type, and one of a megabyte")
def _(nb):
    for i, wrong in enumerate(({"a": 1}, ["x"], 5, None, True, "x" * 2**20, "../../etc/passwd", "<b>", "\x1b[2J", "seed")):
        each = code(f"x = {i}", nbgrader={"grade_id": wrong, "grade": True, "solution": True, "points": "1e9"})
        each["id"] = wrong
        nb["cells"].append(each)


@attack(225, "cells with the grader's own names", "ids that the grader itself gives to cells", shows="0.0, 0.0")
def _(nb):
    for name in ("course-seed", "own-0", "ex90_softmax_shown", "", "notebook"):
        each = code("import course_lib.selfcheck\nrounded = lambda *a, **k: 'forged'")
        each["id"] = name
        nb["cells"].append(each)


@attack(226, "pairing metadata", "jupytext would write the notebook's text to another file")
def _(nb):
    nb["metadata"]["jupytext"] = {"formats": "ipynb,../../forged//py:percent", "text_representation": {"extension": ".py"}}
    nb["metadata"]["course"] = {"exercise": "90", "title": "<script>", "points": 1000, "hidden": []}
    nb["metadata"]["nbgrader"] = {"score": 1000}


@attack(227, "answers handed in as prose", "what is not code cannot be wrong")
def _(nb):
    for name in WRONG:
        each = cell(nb, name)
        each["cell_type"] = "raw"
        del each["outputs"], each["execution_count"]


@attack(228, "4,000 own cells", "each takes a little time", only_sandboxed=True)
def _(nb):
    nb["cells"] += [code(f"x = {i}") for i in range(4000)]


@attack(229, "text that no channel carries", "NUL, lone surrogates, byte order marks and line ends of every kind")
def _(nb):
    cell(nb, "ex90_softmax")["source"] = "\ufeffdef softmax(x):\x0c\r\n    '''\ud800 \x85 \u2028 \x1c'''\r    return x * 0\n"
    insert(nb, "x = '\x00'", "ex90_softmax")


@attack(230, "answer of one megabyte", "a long text is compiled")
def _(nb):
    cell(nb, "ex90_softmax")["source"] = WRONG["ex90_softmax"] + "x = [" + "1, " * 300_000 + "]\n"


@attack(231, "answer nested too deep", "the compiler recurses")
def _(nb):
    cell(nb, "ex90_softmax")["source"] = WRONG["ex90_softmax"] + "x = " + "(" * 5000 + ")" * 5000 + "\n" + "-" * 90_000 + "1"


@attack(232, "own cells in between replace everything", "a cell after each cell takes the names back", shows="0.0, 0.0|forged")
def _(nb):
    cells = []
    for each in nb["cells"]:
        cells += [each, code(f"import builtins\nrounded = builtins.rounded = lambda *a: 'forged'  # {len(cells)}")]
    nb["cells"] = cells


@attack(233, "hidden checks waited for", "a thread looks at what runs and changes names while a hidden check runs",
        shows="0.0, 0.0")
def _(nb):
    cell(nb, "ex90_softmax")["source"] = WRONG["ex90_softmax"] + f"""
import threading, time
def wait(shell=get_ipython()):
    for _ in range(5000):
        if "unseen_logits" in shell.user_ns:
            shell.user_ns["rounded"] = shell.user_ns["softmax"] = lambda *a: {text("unseen")!r}
        time.sleep(0.001)
threading.Thread(target=wait, daemon=True).start()
"""


@attack(234, "outputs that are pages", "stored outputs with scripts, in every place of the notebook", shows="0.0, 0.0")
def _(nb):
    page = "<script>fetch('//a')</script>"
    for each in nb["cells"]:
        each["metadata"]["name"] = page
        if each["cell_type"] == "code":
            each["outputs"] = [{"output_type": "display_data", "metadata": {}, "data": {"text/html": [page]}},
                               {"output_type": "error", "ename": page, "evalue": page, "traceback": [page]},
                               {"output_type": "stream", "name": "stdout", "text": page}, "no dict", None, 5]


@attack(235, "not a notebook at all", "the reader fails before the grader begins")
def _(nb):
    return b'{"cells": ' + b"[" * 100_000


@attack(236, "notebook that names another", "metadata and cells of the wrong types")
def _(nb):
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": [], "cells": nb["cells"] + [None, 5, "x", [], {}, {
        "cell_type": ["code"], "source": {"a": 1}, "metadata": None}, {"cell_type": "code", "metadata": {}, "source": [1]}]}


# --- right answers in unusual dress ----------------------------------------------------------------------------------

@right("as it should be")
def _(nb):
    pass


@right("prints and warns")
def _(nb):
    cell(nb, "ex90_softmax")["source"] = (
        "import sys, warnings\ndef softmax(x):\n    print('x is', x)\n    warnings.warn('slow')\n    print('!', file=sys.stderr)\n"
        "    return torch.exp(x) / torch.exp(x).sum(dim=1, keepdim=True)\nprint('defined')\nsoftmax(torch.zeros(1, 2))\n")


@right("helper in a cell of its own before")
def _(nb):
    insert(nb, "def rows(x):\n    return x.sum(dim=1, keepdim=True)", "ex90_softmax")
    cell(nb, "ex90_softmax")["source"] = "def softmax(x):\n    return torch.exp(x) / rows(torch.exp(x))"


@right("scratch cells that fail")
def _(nb):
    insert(nb, "1 / 0", "ex90_softmax")
    insert(nb, "this does not parse", "ex90_entropy")
    insert(nb, "softmax(no_such_name)", "ex90_entropy")
    insert(nb, "raise SystemExit(1)", "ex90_entropy")


@right("last cell raises")
def _(nb):
    insert(nb, "assert softmax(torch.zeros(1, 1)) == 5, 'not finished yet'")


@right("loop of a second")
def _(nb):
    insert(nb, "import time\nstart = time.time()\nwhile time.time() - start < 1:\n    pass", "ex90_entropy")


@right("plot")
def _(nb):
    insert(nb, "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot(softmax(torch.randn(1, 5))[0]);\nplt.show()", "ex90_entropy")


@right("magics")
def _(nb):
    insert(nb, "%matplotlib inline\n!ls\n%timeit -n 1 -r 1 softmax(torch.zeros(1, 2))\n%who", "ex90_entropy")


@right("installed in a cell")
def _(nb):
    insert(nb, "%pip install tqdm", "ex90_softmax")


@right("progress bar")
def _(nb):
    insert(nb, "from IPython.display import clear_output, display\nfrom tqdm import tqdm\nfor i in tqdm(range(50)):\n"
               "    clear_output(wait=True)\n    print(i)\nhandle = display(1, display_id=True)\nhandle.update(2)\n"
               "try:\n    from tqdm.notebook import tqdm as bar\n    list(bar(range(3)))\nexcept ImportError:\n    pass", "ex90_entropy")


@right("top-level await")
def _(nb):
    insert(nb, "import asyncio\nawait asyncio.sleep(0.05)\ntask = asyncio.create_task(asyncio.sleep(0.1))", "ex90_entropy")
    cell(nb, "ex90_entropy")["source"] += "\nawait asyncio.gather(task)\n"


@right("warnings are errors")
def _(nb):
    insert(nb, "import warnings\nwarnings.simplefilter('error')", "ex90_softmax")


@right("common names used for other things")
def _(nb):
    cell(nb, "ex90_softmax")["source"] = (
        "import torch as t, math, random, statistics as stats\nimport numpy as np\nrng = np.random.default_rng(0)\n"
        "check_all = list = None\nx = p = seed = cells = 5\n"
        "def softmax(x):\n    return t.exp(x) / t.exp(x).sum(dim=1, keepdim=True)\n")


@right("name of the rounding helper used for a result")
def _(nb):
    insert(nb, "rounded = [round(float(v), 2) for v in softmax(torch.zeros(1, 4))[0]]\ngrading_seed = 3\nhint = 'none'")


@right("random seeds set")
def _(nb):
    insert(nb, "import random\nimport numpy as np\ntorch.manual_seed(0); random.seed(0); np.random.seed(0)", "ex90_softmax")


@right("two threads")
def _(nb):
    insert(nb, "torch.set_num_threads(2)\ntorch.randn(300, 300) @ torch.randn(300, 300)\n"
               "layer = torch.nn.Linear(50, 50)\nlayer(torch.randn(64, 50)).sum().backward()\n"
               "import numpy as np\nnp.random.rand(200, 200) @ np.random.rand(200, 200)", "ex90_softmax")


@right("data loader with workers")
def _(nb):
    insert(nb, "data = torch.utils.data.TensorDataset(torch.zeros(8, 2))\n"
               "for batch in torch.utils.data.DataLoader(data, 4, num_workers=2):\n    print(batch[0].shape)", "ex90_entropy")


@right("class instead of a function")
def _(nb):
    cell(nb, "ex90_softmax")["source"] = (
        "class Softmax(torch.nn.Module):\n    def forward(self, x):\n        return torch.exp(x) / torch.exp(x).sum(1, keepdim=True)\n"
        "softmax = Softmax()\n")


@right("attached to a graph")
def _(nb):
    cell(nb, "ex90_softmax")["source"] = (
        "scale = torch.ones(1, requires_grad=True)\ndef softmax(x):\n    return scale * torch.exp(x) / torch.exp(x).sum(1, keepdim=True)\n")


@right("default type and print options changed")
def _(nb):
    insert(nb, "torch.set_printoptions(precision=1)\nimport numpy as np\nnp.set_printoptions(precision=1)\n%precision 2\n"
               "import matplotlib\nmatplotlib.rcParams['font.size'] = 20", "ex90_softmax")


@right("answers moved to the end")
def _(nb):
    moved = [cell(nb, name) for name in CORRECT]
    nb["cells"] = [each for each in nb["cells"] if each not in moved] + moved


@right("answers swapped, cells between")
def _(nb):
    a, b = (nb["cells"].index(cell(nb, name)) for name in CORRECT)
    nb["cells"][a], nb["cells"][b] = nb["cells"][b], nb["cells"][a]
    insert(nb, "print('between')", "ex90_softmax")


@right("check cells deleted by mistake")
def _(nb):
    nb["cells"] = [each for each in nb["cells"] if each["id"] not in VISIBLE]


@right("only the answers left")
def _(nb):
    nb["cells"] = [cell(nb, name) for name in CORRECT]


@right("outputs cleared")
def _(nb):
    for each in nb["cells"]:
        if each["cell_type"] == "code":
            each["outputs"], each["execution_count"] = [], None


@right("Run All, saved")
def _(nb):
    for count, each in enumerate(each for each in nb["cells"] if each["cell_type"] == "code"):
        each["execution_count"] = count + 1
        each["metadata"]["execution"] = {"iopub.execute_input": "2030-01-01T00:00:00Z"}
        each["outputs"].append({"output_type": "stream", "name": "stderr", "text": ["a warning\n"]})


@right("another kernel's name")
def _(nb):
    nb["metadata"]["kernelspec"] = {"name": "conda-env-ml-py", "display_name": "Python (ml)", "language": "python"}


@right("no metadata at all")
def _(nb):
    nb["metadata"] = {}


@right("Colab's metadata")
def _(nb):
    nb["metadata"] = {"colab": {"provenance": []}, "accelerator": "GPU", "kernelspec": {"name": "python3", "display_name": "Python 3"}}
    for each in nb["cells"]:
        each["metadata"].update(id=f"x{each['id'][:6]}", outputId="1", colab={"base_uri": "https://localhost"})
    nb["nbformat_minor"] = 0
    for each in nb["cells"]:
        del each["id"]


for _minor in range(6):
    @right(f"nbformat 4.{_minor}")
    def _(nb, minor=_minor):
        nb["nbformat_minor"] = minor
        if minor < 5:
            for each in nb["cells"]:
                del each["id"]


@right("nbformat 3")
def _(nb):
    cells = []
    for each in nb["cells"]:
        made = {"cell_type": each["cell_type"], "metadata": each["metadata"]}
        if each["cell_type"] == "code":
            made.update(input=each["source"], outputs=[], language="python", collapsed=False, prompt_number=1)
        else:
            made["source"] = each["source"]
        cells.append(made)
    return {"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""}, "worksheets": [{"cells": cells, "metadata": {}}]}


@right("sources as lists of lines")
def _(nb):
    for each in nb["cells"]:
        each["source"] = "".join(each["source"]).splitlines(keepends=True)


@right("CRLF and a byte order mark")
def _(nb):
    for each in nb["cells"]:
        each["source"] = "".join(each["source"]).replace("\n", "\r\n")
    return b"\xef\xbb\xbf" + json.dumps(nb, indent=1).replace("\n", "\r\n").encode()


@right("UTF-16")
def _(nb):
    cell(nb, "ex90_softmax")["source"] = "# höher als früher, 熱\n" + CORRECT["ex90_softmax"]
    return json.dumps(nb, ensure_ascii=False).encode("utf-16")


@right("answer doubled, the last one right")
def _(nb):
    first = copy.deepcopy(cell(nb, "ex90_softmax"))
    first["source"] = WRONG["ex90_softmax"]
    nb["cells"].insert(0, first)


@right("markers of nbval and of solutions in the text")
def _(nb):
    cell(nb, "ex90_softmax")["source"] = (
        "# NBVAL_SKIP\n# NBVAL_RAISES_EXCEPTION\ndef softmax(x):\n    '''Rows.\n\n    # NBVAL_IGNORE_OUTPUT\n    '''\n"
        "    ### BEGIN SOLUTION\n    return torch.exp(x) / torch.exp(x).sum(dim=1, keepdim=True)\n    ### END SOLUTION\n")


@right("cells with tags of their own")
def _(nb):
    for each in nb["cells"]:
        each["metadata"]["tags"] = ["nbval-skip", "raises-exception", "mine"]
        each["metadata"]["collapsed"] = True


@right("much printed")
def _(nb):
    insert(nb, "for i in range(5000):\n    print(i)", "ex90_softmax")


@right("conftest.py and a module beside it")
def _(nb):
    return {FILE: nb, "conftest.py": b"raise SystemExit('mine')", "helper.py": b"x = 1", "torch.py": b"raise ImportError('mine')"}


@right("debugger switched on, history used")
def _(nb):
    insert(nb, "%history\n%xmode Verbose\nIn[-1]\nx = 5\n_, __", "ex90_entropy")


@right("recursion limit and signal handler changed")
def _(nb):
    insert(nb, "import signal, sys\nsys.setrecursionlimit(5000)\nsignal.signal(signal.SIGINT, signal.SIG_IGN)", "ex90_softmax")


@right("files written in the working folder")
def _(nb):
    insert(nb, "from pathlib import Path\nPath('notes.txt').write_text('x')\ntorch.save(torch.zeros(3), 'x.pt')\n"
               "torch.load('x.pt')\nPath('notes.txt').unlink()", "ex90_entropy")


@right("exit() in a scratch cell")
def _(nb):
    insert(nb, "exit()", "ex90_softmax")


@right("kernel ended by a last scratch cell")
def _(nb):
    insert(nb, "import os\nos.kill(os.getpid(), 15)")


@right("loop without end in a scratch cell")
def _(nb):
    insert(nb, "while True:\n    pass", "ex90_entropy")
