"""Writes a table that the course ships, with the machine and the date beside its rows; takes a lesson's own functions."""

import ast
import json
from datetime import date
from pathlib import Path

from course_lib.setup import machine

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "course_lib" / "assets" / "shipped"


def write(name: str, rows: list[dict], command: str):
    """`rows` as course_lib/assets/shipped/`name`.json; `command` is what remakes it."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    m = machine()
    chips = ", ".join(filter(None, (m["gpu"], m["cpu"])))
    where = f"{chips}, {m['cores']:g} cores, {m['os']}, Python {m['python']}, torch {m['torch']}"
    record = {"made": f"{date.today().isoformat()}, {where}", "command": command, "rows": rows}
    (FOLDER / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def recipe(lesson: str, names: set[str]) -> dict:
    """The functions, classes and settings called `names` in the source of a lesson, such as "03_cost_of_a_query", so that
    a shipped table comes from the code that learners read. The lesson's imports come with them."""
    file, found = ROOT / "notebooks" / "source" / f"{lesson}.py", {}
    wanted = [node for node in ast.parse(file.read_text(encoding="utf-8")).body
              if isinstance(node, (ast.Import, ast.ImportFrom)) or getattr(node, "name", "") in names
              or isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in names]
    exec(compile(ast.Module(wanted, []), str(file), "exec"), found)  # noqa: S102 - the course's own cells
    if missing := names - found.keys():
        raise ValueError(f"lesson {lesson} no longer defines {', '.join(sorted(missing))}; name its new functions here")
    return found
