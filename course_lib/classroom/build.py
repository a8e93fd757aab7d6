"""`course build`: notebooks/source/NN_name.py (jupytext percent) -> notebooks/NN_name.ipynb, executed.

A lesson's source begins with a header that holds its card's figures (minutes in class, budgets in process CPU
seconds and resident MB), and `course build` completes it with pairing and kernel:

    # ---
    # jupyter:
    #   course: {lesson: "02", title: Training and inference, minutes: 45, cpu_seconds: 60, memory_mb: 1000}
    # ---

    # %% tags=["setup"]
    # %% [markdown]
    # %% tags=["nbval-check-output"]      <- nbval compares this cell's output
    # %% course={"picture": "images/02_break_even.png"}   <- its figure is also saved there, for the README

Where only text changed, the notebook takes the text and keeps its outputs. Each build also writes `notebooks/INDEX.md`.
"""

import base64
import datetime
import os
import platform
import re
import tempfile
from pathlib import Path

from . import CourseError, execute, looks

PAIRING = {"formats": "ipynb,source//py:percent",  # and no version line: each jupytext would change it
           "notebook_metadata_filter": "course,-jupytext.text_representation.jupytext_version"}
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
LANGUAGE = {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"}
BUDGET = ("lesson", "minutes", "cpu_seconds", "memory_mb")
SPACING = "lines_to_next_cell"  # jupytext's note on blank lines in the source
START, END = "<!-- timings -->", "<!-- /timings -->"
KINDS = {  # folder: what it holds, the command for it, an example
    "notebooks": ("a lesson", "course build", "notebooks/source/00_start_here.py"),
    "exercises": ("an exercise", "course release", "exercises/source/01_measuring_energy.py")}
_HEAD = ("| lesson | minutes in class | CPU budget, s | memory budget, MB | CPU measured, s "
         "| memory measured, MB | measured on |\n|---|---|---|---|---|---|---|")


def source_of(path, root, kind="notebooks"):
    """The source of a lesson (or of one of `kind` "exercises"), given its source or its notebook.

    Raises CourseError when there is none, or when the file is of the other kind.
    """
    path, root = Path(path).resolve(), Path(root).resolve()
    source = path.parent / "source" / f"{path.stem}.py" if path.suffix == ".ipynb" else path
    if not (path.exists() or source.exists()):
        raise CourseError(f"{_short(path, root)} is not there")
    found = source.parent.parent.name
    if source.suffix != ".py" or source.parent not in [root / name / "source" for name in KINDS]:
        what, _, example = KINDS[kind]
        raise CourseError(f"{path.name} is not {what}: give a file of {kind}/source, such as {example}")
    if found != kind:
        what, command, _ = KINDS[found]
        raise CourseError(f"{path.name} is {what}: use `{command} {_short(source, root)}`")
    if not source.exists():
        raise CourseError(
            f"{path.name} has no source: {_short(source, root)} is missing (bring it back from git, or "
            f"make it with `jupytext --to py:percent -o {_short(source, root)} {_short(path, root)}`)")
    return source


def notebook_of(source):
    """Where the notebook of a source stands: one folder up, same name."""
    return source.parent.parent / f"{source.stem}.ipynb"


def sources(root, kind="notebooks"):
    """All sources of the course; CourseError for a notebook that has none."""
    for notebook in sorted((root / kind).glob("*.ipynb")):
        source_of(notebook, root, kind)
    return sorted((root / kind / "source").glob("*.py"))


def parse(source):
    """Read a percent source into a notebook without outputs; CourseError when it cannot be read."""
    import jupytext

    try:
        nb = jupytext.reads(source.read_text(encoding="utf-8"), fmt="py:percent")
    except Exception as error:  # noqa: BLE001 - a broken header: YAML's message has the line, no traceback
        raise CourseError(f"{source.name} cannot be read as a percent source: "
                          f"{str(error).splitlines()[0]}") from None
    if not nb.cells:
        raise CourseError(f"{source.name} holds no cell: begin one with `# %%`")
    return nb


def content(nb):
    """What a source says of a notebook: type, text and metadata of the cells, and the course's metadata."""
    cells = [(cell.cell_type, cell.source, {k: v for k, v in cell.metadata.items() if k != SPACING})
             for cell in nb.cells]
    return cells, nb.metadata.get("course", {})


def as_source(nb):
    """`content` of a notebook after a journey through its text form, which drops what Jupyter alone adds."""
    import jupytext

    return content(jupytext.reads(jupytext.writes(nb, fmt="py:percent"), fmt="py:percent"))


def edited(nb):
    """True where a cell was written in the notebook after its build: its id is not made of its text."""
    return not all(cell.id.startswith(execute.text_id(cell)) for cell in nb.cells)


def loses_edits(source):
    """True where a build would throw away what was written in the notebook and is not in the source."""
    notebook = notebook_of(source)
    nb = execute.read(notebook) if notebook.exists() else None
    return nb is not None and edited(nb) and as_source(nb) != content(parse(source))


def mismatch(source):
    """None where source and notebook agree, else one sentence that says which command mends it."""
    notebook = notebook_of(source)
    where = f"{notebook.parent.name}/source/{source.name}"
    if not notebook.exists():
        return f"{notebook.name} is not built yet: run `course build {where}`"
    nb = execute.read(notebook)
    if as_source(nb) != content(parse(source)):
        if edited(nb):
            return (f"{notebook.name} was edited after its build and differs from {source.name}: "
                    f"`jupytext --sync {notebook.parent.name}/{notebook.name}` takes the notebook's edits "
                    "into the source if the notebook is the newer file, "
                    f"`course build --force {where}` throws them away")
        return (f"{source.name} and {notebook.name} differ: run `course build {where}` if the source is "
                f"right, or `jupytext --sync {notebook.parent.name}/{notebook.name}` for the newer one")
    if cell := _stale_output(nb):
        return (f"{notebook.name}: the cell `{execute.first_line(cell)}` has no outputs, or older ones: "
                f"run `course build {where}`")
    return None


def _stale_output(nb):
    """The first cell whose outputs are not those of its text, or None: an id is made of the text it was built from."""
    return next((cell for cell in nb.cells if execute.is_code(cell) and not (
        cell.execution_count and cell.id.startswith(execute.text_id(cell)))), None)


def complete_header(source):
    """Write pairing and kernel into the header of a source that lacks them; the cells stay as they are."""
    import jupytext

    nb = parse(source)
    course = nb.metadata.get("course")
    missing = [key for key in BUDGET if key not in (course or {})]
    if missing:
        raise CourseError(f"{source.name}: its header has no course {' and '.join(missing)}: write under "
                          'jupyter: `# course: {lesson: "02", minutes: 45, cpu_seconds: 60, memory_mb: 900}`')
    meta = nb.metadata.setdefault("jupytext", {})
    if {key: meta.get(key) for key in PAIRING} != PAIRING or nb.metadata.get("kernelspec") != KERNEL:
        meta.update(PAIRING)
        nb.metadata["kernelspec"] = dict(KERNEL)
        text = source.read_text(encoding="utf-8")
        body = re.sub(r"\A# ---\n(?:#.*\n)*?# ---\n", "", text)
        empty = nb.copy()
        empty.cells = []
        head = jupytext.writes(empty, fmt="py:percent").rstrip("\n")
        source.write_text(head + "\n\n" + body.lstrip("\n"), encoding="utf-8")
        nb = parse(source)
    return nb


def build_one(source, root):
    """Execute one lesson, write its notebook; returns (metadata.course, Cost). A failure writes nothing."""
    nb = complete_header(source)
    notebook = notebook_of(source)
    with tempfile.TemporaryDirectory() as folder:
        startup = Path(folder, "startup.py")
        startup.write_text(looks.STARTUP, encoding="utf-8")
        cost = execute.execute(nb, root, notebook.parent, name=source.stem, env={"PYTHONSTARTUP": str(startup)})
    save_pictures(nb, notebook.parent)  # may refuse, so it comes before the notebook
    _write(nb, source)
    return nb.metadata["course"], cost


def _write(nb, source):
    execute.stable_ids(nb)
    for cell in nb.cells:
        cell.metadata.pop(SPACING, None)
    nb.metadata = type(nb.metadata)(
        course=nb.metadata["course"], kernelspec=dict(KERNEL), language_info=dict(LANGUAGE),
        jupytext=dict(PAIRING))
    execute.write(nb, notebook_of(source))
    touch(source)


def take_text(source):
    """Take the text cells of a source into its notebook, and keep all outputs, where no code changed; True when done."""
    if not notebook_of(source).exists():
        return False
    old, new = execute.read(notebook_of(source)), parse(source)
    (cells, course), (wanted, header) = as_source(old), content(new)
    ran = [cell for cell in old.cells if cell.cell_type == "code"]
    if course != header or _stale_output(old) or (
            [cell for cell in cells if cell[0] == "code"] != [cell for cell in wanted if cell[0] == "code"]):
        return False
    for cell, run in zip([cell for cell in new.cells if cell.cell_type == "code"], ran):
        cell.outputs, cell.execution_count = run.outputs, run.execution_count
    _write(new, source)
    return True


def save_pictures(nb, folder):
    """Write the figures of cells that name a `picture` under `folder`: all, or none and a CourseError."""
    pictures = {}
    for cell in nb.cells:
        if name := cell.metadata.get("course", {}).get("picture"):
            shown = [output.get("data", {}).get("image/png") for output in cell.outputs]
            found = list(filter(None, shown))
            if len(found) != 1:
                raise CourseError(f"the cell `{execute.first_line(cell)}` names a picture and shows "
                                  f"{len(found)} figures: it needs exactly one")
            pictures[folder / name] = base64.b64decode(found[0])
    for path, picture in pictures.items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(picture)


def touch(source):
    """Make a source the newer one of its pair: for jupytext, the newer file is the right one."""
    os.utime(source)


def machine_kind():
    """What a timing was taken on, without a host's name."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"


def write_timings(root, rows):
    """Put rows, {lesson stem: (metadata.course, Cost)}, into notebooks/README.md between its markers."""
    readme = root / "notebooks" / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.exists() else f"# Lessons\n\n{START}\n{END}\n"
    if START not in text or END not in text:
        raise CourseError(f"notebooks/README.md has lost its markers: put {START} and {END} where timings go")
    before, rest = text.split(START, 1)
    old, after = rest.split(END, 1)
    table = {line[3:line.index("]")]: line for line in old.splitlines() if line.startswith("| [")}
    for stem, (course, cost) in rows.items():
        table[stem] = (f"| [{stem}]({stem}.ipynb) | {course['minutes']} | {course['cpu_seconds']} | "
                       f"{course['memory_mb']} | {cost.cpu_seconds:.1f} | {cost.memory_mb:.0f} | "
                       f"{machine_kind()}, {datetime.date.today()} |")
    lines = [table[stem] for stem in sorted(table) if (root / "notebooks" / f"{stem}.ipynb").exists()]
    readme.write_text(before + "\n".join([START, _HEAD, *lines, END]) + after, encoding="utf-8")


def build(files, root, *, force=False, check=False, say=print):
    """Build the named lessons, or all; returns how many failed or, with `check`, differ from their source.

    Edits made in a notebook and not yet in its source are thrown away only where `force` names the file.
    """
    chosen = [source_of(file, root) for file in files] or sources(root)
    if not chosen:
        raise CourseError("there is no lesson in notebooks/source: a lesson is a file such as "
                          "notebooks/source/00_start_here.py")
    rows, bad = {}, 0
    from . import index

    if check and (stale := index.mismatch(root)):
        say(stale)
        bad += 1
    elif not check:
        index.write(root)  # before a lesson runs: lesson 00 shows the map
    for source in chosen:
        try:
            stale = mismatch(source)
            if check:
                say(stale or f"{source.stem}: source and notebook agree")
                bad += bool(stale)
                continue
            if not (stale or force):
                say(f"{source.stem}: up to date")
                continue
            if stale and not (force and files) and loses_edits(source):
                raise CourseError(stale)
            if not force and take_text(source):
                say(f"{source.stem}: only its text changed, so nothing was run")
                continue
            say(f"{source.stem}: running ...")
            course, cost = rows[source.stem] = build_one(source, root)
        except CourseError as error:  # the next lesson may be well
            say(f"course: {error}" + ("" if check else "; nothing was written"))
            bad += 1
            continue
        say(f"{source.stem}: {cost.seconds:.1f} s, {cost.cpu_seconds:.1f} CPU s (budget "
            f"{course['cpu_seconds']}), peak {cost.memory_mb:.0f} MB (budget {course['memory_mb']})")
    if rows:
        write_timings(root, rows)
    return bad


def _short(path, root):
    return path.relative_to(root) if path.is_relative_to(root) else path
