"""`course links owner/name`: one address, carried to badges and setup cells, without running anything."""

import shutil
import tomllib
from contextlib import nullcontext

import pytest
import sample_course

from course_lib.classroom import build, cli, execute, links, release

ROOT = sample_course.ROOT


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = sample_course.make(tmp_path_factory.mktemp("course"))
    build.build([], root, say=lambda line: None)
    release.release([], root, say=lambda line: None)
    return root


@pytest.fixture
def course(made, tmp_path, monkeypatch):
    root = shutil.copytree(made, tmp_path / "course")
    monkeypatch.chdir(root)
    return root


def state(root):
    return {path.relative_to(root): path.read_bytes() for path in sorted(root.rglob("*"))
            if path.is_file() and not path.name.endswith(".pyc")}


def test_links_reach_every_file_and_a_second_time_changes_nothing(course):
    before = {path: execute.read(course / path) for path in state(course) if path.suffix == ".ipynb"}
    assert cli.main(["links", "a-school/frugal.lab"]) == 0
    first = state(course)
    assert cli.main(["links", "a-school/frugal.lab"]) == 0
    assert state(course) == first
    url = "https://github.com/a-school/frugal.lab"
    project = tomllib.loads((course / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["urls"]["Repository"] == url
    readme = (course / "README.md").read_text(encoding="utf-8")
    assert "mybinder.org/v2/gh/a-school/frugal.lab/main" in readme and "colab-badge" in readme
    setup = links.setup_cell("00_sample", course)
    assert setup.count("\n") == 4 and f"frugal-ai-lab @ git+{url}" in setup
    for path, old in before.items():
        cells = execute.read(course / path).cells
        new = next(cell for cell in cells if "setup" in execute.tags(cell))
        assert new.source == setup
        assert [cell for cell in cells if cell is not new] == [
            cell for cell in old.cells if "setup" not in execute.tags(cell)], "other cells changed"
    assert build.mismatch(course / "notebooks" / "source" / "00_sample.py") is None
    assert release.is_current(course / "exercises" / "source" / "90_sample.py", course)


def test_the_cell_that_installs_is_plain_python_and_runs(course):
    cli.main(["links", "a-school/frugal.lab"])
    for stem in ("00_sample", "07_local_deployment"):
        compile(links.setup_cell(stem, course), stem, "exec")
    assert "frugal-ai-lab[deploy] @" in links.setup_cell("08_local_first", course)
    assert "[deploy]" not in links.setup_cell("00_sample", course)
    assert build.build([], course, force=True, say=lambda line: None) == 0  # course_lib is there already


@pytest.mark.parametrize(("before", "after", "said"), [
    (True, True, None), (False, True, None), (False, False, "course_lib was not installed, and pip says above why: ")])
def test_the_cell_installs_where_it_must_and_stops_where_that_failed(course, monkeypatch, before, after, said):
    cli.main(["links", "a-school/frugal.lab"])
    there, asked = [before], []

    class Shell:
        def run_line_magic(self, name, line):  # as IPython's own: a pip that failed raises nothing
            asked.append((name, line))
            there[0] = after

    monkeypatch.setattr("IPython.get_ipython", Shell)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name if there[0] else None)
    with pytest.raises(SystemExit, match=f"^{said}mend that, then run this cell again.$") if said else nullcontext():
        exec(links.setup_cell("00_sample", course), {})  # noqa: S102 - as a notebook runs it
    url = "https://github.com/a-school/frugal.lab"
    assert asked == ([] if before else [("pip", f"install -q 'frugal-ai-lab @ git+{url}'")])


def test_a_new_address_replaces_the_old_one(course):
    cli.main(["links", "one/course"])
    cli.main(["links", "two/course"])
    assert not any(b"one/course" in content for content in state(course).values())


@pytest.mark.parametrize("name", ["course", "a/b/c", "https://github.com/a/b", "a b/c", "/c", "-a/b", ""])
def test_a_bad_name_gets_one_sentence(course, name, capsys):
    before = state(course)
    with pytest.raises(SystemExit) if name.startswith("-") else pytest.MonkeyPatch.context():
        assert cli.main(["links", name]) == 2
        said = capsys.readouterr().err
        assert "write owner/name" in said and repr(name) in said and said.count("\n") == 1
    assert state(course) == before


@pytest.mark.parametrize(("file", "text", "sentence"), [
    ("README.md", "# no badges", "has no place for badges"),
    ("pyproject.toml", '[project]\nname = "x"\n', "has no line Repository"),
    ("pyproject.toml", '[project]\nname = "x"\n[tool.x]\nRepository = ""\n', "is not under"),
])
def test_a_file_without_a_place_for_it_gets_one_sentence(course, file, text, sentence, capsys):
    (course / file).write_text(text, encoding="utf-8")
    before = state(course)
    assert cli.main(["links", "a/b"]) == 2
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1
    assert state(course) == before


def test_every_notebook_of_the_course_begins_with_the_one_setup_cell():
    files = [path for folder, pattern in (("notebooks/source", "*.py"), ("exercises/source", "*.py"),
                                          ("notebooks", "*.ipynb"), ("exercises", "*.ipynb"),
                                          ("course_lib/assets/exercises", "*.ipynb"))
             for path in sorted((ROOT / folder).glob(pattern))]
    assert len(files) >= 12
    for path in files:
        cells = (build.parse(path) if path.suffix == ".py" else execute.read(path)).cells
        setup = [cell.source for cell in cells if "setup" in execute.tags(cell)]
        first = next(cell.source for cell in cells if cell.cell_type == "code")
        one = links.setup_cell(path.stem, ROOT)
        assert setup == [first] == [one], f"{path}: take lesson 00's, or `make links`"


def test_the_course_itself_has_the_places():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.count(links.BADGES) == readme.count(links.BADGES_END) == 1
    assert links._LINE.search((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert links.address(ROOT) == "" or links.address(ROOT).startswith("https://github.com/")
