"""Writes a table that the course ships, with the machine and the date beside its rows."""

import json
from datetime import date
from pathlib import Path

from course_lib.setup import machine

FOLDER = Path(__file__).parents[2] / "course_lib" / "assets" / "shipped"


def write(name: str, rows: list[dict], command: str):
    """`rows` as course_lib/assets/shipped/`name`.json; `command` is what remakes it."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    m = machine()
    where = f"{m['cpu']}, {m['cores']:g} cores, {m['os']}, Python {m['python']}, torch {m['torch']}"
    record = {"made": f"{date.today().isoformat()}, {where}", "command": command, "rows": rows}
    (FOLDER / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
