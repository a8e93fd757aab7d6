"""What is said of other systems: the workflow asks for what pyproject.toml promises, and the table can be read."""

import re
import tomllib
from pathlib import Path

import yaml
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parent.parent
WORKFLOW = ROOT / ".github" / "workflows" / "compatibility.yml"


def jobs():
    return yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]


def rows():
    """The cells of each row of the table in CONTRIBUTING.md, without its head."""
    section = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## What was run where")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return lines, [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_workflow_runs_three_systems_and_only_pythons_of_the_stated_range():
    matrix = jobs()["lessons"]["strategy"]["matrix"]
    assert {system.split("-")[0] for system in matrix["os"]} == {"ubuntu", "macos", "windows"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pythons = [*matrix["python"], *(job["python"] for job in matrix["include"])]
    assert all(version in SpecifierSet(project["requires-python"]) for version in pythons)
    assert min(pythons, key=lambda v: int(v[2:])) == re.search(r"[\d.]+", project["requires-python"])[0]


def test_each_job_added_to_the_matrix_is_one_of_its_own():
    matrix = jobs()["lessons"]["strategy"]["matrix"]
    for job in matrix["include"]:  # GitHub adds one whose values all stand in the matrix to a job that is there already
        assert any(job[axis] not in matrix[axis] for axis in ("os", "python", "versions")), job


def test_every_set_of_versions_in_the_matrix_is_known_to_the_installation():
    matrix = jobs()["lessons"]["strategy"]["matrix"]
    install = next(step["run"] for step in jobs()["lessons"]["steps"] if "Install" in step.get("name", ""))
    named = {*matrix["versions"], *(job["versions"] for job in matrix["include"])} - {"tested"}
    assert named == set(re.findall(r"'([\w ]+)'\)$", install, re.MULTILINE))
    assert install.index('"$torch"') < install.index("-e '.[lab,classroom,deploy]'")  # torch first, from its CPU index


def test_the_workflow_names_no_address():
    # the address of PyTorch's CPU index stands in the Makefile, and is read there
    assert "://" not in WORKFLOW.read_text(encoding="utf-8")
    assert re.search(r"^CPU_INDEX := \S+$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def test_every_row_of_the_table_says_when_it_was_run_or_that_it_was_not():
    lines, table = rows()
    assert len(table) >= 10 and {len(cells) for cells in table} == {3}
    assert [line for line in lines if len(line) > 100] == []
    for what, when, result in table:
        assert what and result
        assert re.fullmatch(r"20\d\d-\d\d-\d\d|not run|by the workflow", when), when


def test_the_oldest_torch_of_the_table_is_that_of_the_stated_range():
    stated = re.search(r'"torch>=([\d.]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))[1]
    oldest, = [what for what, _, _ in rows()[1] if "the oldest of the range" in what]
    assert f"torch {stated}." in oldest
