"""`course links owner/name`: state the repository's address once, and carry it to badges and setup cells."""

import re
import tomllib

from . import CourseError, build, execute

BADGES, BADGES_END = "<!-- badges -->", "<!-- /badges -->"
UNSET = """\
import importlib.util, sys
if importlib.util.find_spec("course_lib") is None:
    sys.exit("course_lib is missing: in the course folder type  make lab  or  pip install .")"""
SET = """\
import importlib.util, sys, IPython
if importlib.util.find_spec("course_lib") is None:
    IPython.get_ipython().run_line_magic("pip", "install -q '{name}{extra} @ git+{url}'")
    if importlib.util.find_spec("course_lib") is None:
        sys.exit("course_lib was not installed, and pip says above why: mend that, then run this cell again.")"""
_ADDRESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}")
_LINE = re.compile(r"^(?:#\s*)?Repository\s*=.*$", re.MULTILINE)
_CELL = re.compile(r'^(# %%[^\n]*"setup"[^\n]*\n)(.*?)(?=^# %%|\Z)', re.MULTILINE | re.DOTALL)


def address(root):
    """The repository's URL as pyproject.toml states it, or "" while none is set."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project.get("urls", {}).get("Repository", "")


def setup_cell(stem, root):
    """The lines that begin the notebook `stem`: where course_lib is missing, install it or stop and say what to do."""
    url = address(root)
    if not url:
        return UNSET
    name = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"]
    return SET.format(name=name, extra="[deploy]" if stem[:2] in ("07", "08") else "", url=url)


def badges(url, root):
    """README badges: Binder for the whole course, Colab for its first lesson."""
    where = url.removeprefix("https://github.com/")
    first = next((path.name for path in sorted((root / "notebooks").glob("*.ipynb"))), "")
    return (f"[![Open in Binder](https://mybinder.org/badge_logo.svg)]"
            f"(https://mybinder.org/v2/gh/{where}/main?urlpath=lab/tree/notebooks/{first})\n"
            f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
            f"(https://colab.research.google.com/github/{where}/blob/main/notebooks/{first})")


def set_links(repository, root, say=print):
    """Set the address in pyproject.toml; rewrite README badges and all setup cells. Nothing is executed."""
    if not _ADDRESS.fullmatch(repository):
        raise CourseError(f"{repository!r} is not a repository's name: write owner/name, such as "
                          "my-school/frugal-ai-lab")
    url = f"https://github.com/{repository}"
    readme, project = root / "README.md", root / "pyproject.toml"
    front, text = readme.read_text(encoding="utf-8"), project.read_text(encoding="utf-8")
    if front.count(BADGES) != 1 or front.count(BADGES_END) != 1:
        raise CourseError(f"README.md has no place for badges: put {BADGES} and {BADGES_END} where they go")
    if not _LINE.search(text):
        raise CourseError('pyproject.toml has no line Repository = "..." under [project.urls]: add one')
    _write(project, _LINE.sub(f'Repository = "{url}"', text, count=1))
    if address(root) != url:  # the line stood under another heading
        _write(project, text)
        raise CourseError("in pyproject.toml the line Repository is not under [project.urls]: move it")
    before, rest = front.split(BADGES)
    after = rest.split(BADGES_END)[1]
    _write(readme, before + BADGES + "\n" + badges(url, root) + "\n" + BADGES_END + after)
    count = 0
    for kind in ("notebooks", "exercises"):
        for source in sorted((root / kind / "source").glob("*.py")):
            cell = setup_cell(source.stem, root)
            old = source.read_text(encoding="utf-8")
            new = _CELL.sub(lambda match, cell=cell: f"{match[1]}{cell}\n\n", old)
            count += _write(source, new.rstrip("\n") + "\n")
    for folder in ("notebooks", "exercises", "course_lib/assets/exercises"):
        for path in sorted((root / folder).glob("*.ipynb")):
            count += _rewrite_notebook(path, setup_cell(path.stem, root))
    say(f"{url}: pyproject.toml, README.md and {count} files with setup cells are set")


def _rewrite_notebook(path, text):
    nb = execute.read(path)
    for cell in nb.cells:
        if "setup" in execute.tags(cell) and cell.source != text:
            built = cell.id.startswith(execute.text_id(cell))
            cell.source = text
            if built:  # its id is made of its text; the outputs (none) are still the right ones
                cell.id = execute.text_id(cell)
            execute.write(nb, path)
            source = path.parent / "source" / f"{path.stem}.py"
            if source.exists() and path.parent.name == "notebooks":
                build.touch(source)
            return True
    return False


def _write(path, text):
    """Write a text where it differs; True when it did."""
    if path.read_text(encoding="utf-8") == text:
        return False
    path.write_text(text, encoding="utf-8", newline="\n")
    return True
