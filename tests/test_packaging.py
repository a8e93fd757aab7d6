"""The two commands, the lists of packages, and the files that Binder, Colab and CI start from."""

import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
NOT_FOR_LEARNERS = {"test", "cluster", "bench"}  # `make lab` and environment.yml install every other extra
CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def run(command, **options):
    """Runs a command to its end, keeps what it prints, leaves its exit status to the test."""
    return subprocess.run(command, check=False, capture_output=True, text=True, **options)


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def project():
    return tomllib.loads(text("pyproject.toml"))["project"]


@pytest.fixture(scope="module")
def pins():
    lines = [line for line in text("constraints.txt").splitlines() if line and not line.startswith("#")]
    # names and versions only: a file path, an index, a local version or a marker would tie the list to one machine
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    names = [canonicalize_name(line.split("==")[0]) for line in lines]
    assert len(names) == len(set(names)), "constraints.txt names a package twice"
    return dict(zip(names, (Version(line.split("==")[1]) for line in lines)))


def all_requirements(project):
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    return [Requirement(line) for group in groups for line in group]


# --- pyproject.toml and constraints.txt ---------------------------------------------------------------------------

def test_every_dependency_is_pinned_inside_its_range(project, pins):
    outside = [str(need) for need in all_requirements(project)
               if canonicalize_name(need.name) not in pins
               or not need.specifier.contains(pins[canonicalize_name(need.name)])]
    assert outside == []


def test_every_dependency_has_its_line_of_reason(project):
    lines = text("pyproject.toml").splitlines()
    without = [str(need) for need in all_requirements(project)
               if not all(re.search(r'",?\s+# \w.{4,}', line) for line in lines
                          if re.match(rf'\s+"{re.escape(need.name)}\b(?!-)', line))]
    assert without == []


def test_packages_with_private_parts_in_use_are_capped(project):
    needs = all_requirements(project)
    for name, too_new in [("codecarbon", "3.4.0"), ("nbval", "0.12.0")]:
        found = [need for need in needs if need.name == name]
        assert found and not any(need.specifier.contains(too_new) for need in found), name


def test_the_address_is_one_line_and_the_file_is_valid_with_and_without_it(tmp_path):
    read_configuration = pytest.importorskip("setuptools.config.pyprojecttoml").read_configuration
    source = text("pyproject.toml")
    assert len(re.findall(r'(?m)^(?:# )?Repository = ".*"$', source)) == 1
    for name in ("README.md", "LICENSE"):
        (tmp_path / name).touch()
    for line in ('# Repository = ""', 'Repository = "https://github.com/my-school/frugal-ai-lab"'):
        (tmp_path / "pyproject.toml").write_text(re.sub(r'(?m)^(?:# )?Repository = ".*"$', line, source))
        read_configuration(tmp_path / "pyproject.toml")
    # the reason for the comment sign: setuptools refuses an empty address
    (tmp_path / "pyproject.toml").write_text(re.sub(r'(?m)^(?:# )?Repository = ".*"$', 'Repository = ""', source))
    with pytest.raises(ValueError, match="url"):
        read_configuration(tmp_path / "pyproject.toml")


def test_plain_pytest_runs_what_ci_runs():
    options = tomllib.loads(text("pyproject.toml"))["tool"]["pytest"]["ini_options"]
    assert options["testpaths"] == ["tests", "notebooks"]  # unsolved exercises would fail
    # no workers unless make asks for them: they would gain a learner nothing who checks one exercise
    assert options["addopts"] == "-ra --nbval-lax --nbval-current-env --nbval-cell-timeout=300"


def test_the_command_is_one_that_a_learners_copy_has_too(project):
    assert project["scripts"] == {"course": "course_lib.cli:main"}
    assert "course_lib.classroom.cli" not in text("Makefile")


# --- Makefile and .ci/run -----------------------------------------------------------------------------------------

# Stands in for Python: it writes down what make asks of it, and installs nothing.
STAND_IN = r'''#!/bin/sh
echo "$*" >> "$STAND_IN_LOG"
case "$*" in
  -V) echo "Python ${STAND_IN_VERSION:-3.12.1}";;
  *"import venv, ensurepip"*) exit ${STAND_IN_NO_VENV:-0};;
  *version_info*) case "${STAND_IN_VERSION:-3.12.1}" in 3.[0-9].*|3.10.*) exit 1;; esac;;
  *"-m venv"*) mkdir -p .venv/bin; cp "$0" .venv/bin/python;;
  *metadata*) cat .venv/torch 2>/dev/null || exit 1;;
  *"uninstall"*torch*) rm .venv/torch;;
  *--index-url*) [ -z "$STAND_IN_NO_INDEX" ] || exit 1; echo 2.13.0+cpu > .venv/torch;;
  *torch==*) echo 2.13.0 > .venv/torch;;
esac
exit 0
'''


@pytest.fixture
def course_copy(tmp_path):
    """A copy of what make reads, in a folder with a space, and a function that runs make with a stand-in Python."""
    folder = tmp_path / "my course"
    (folder / "notebooks").mkdir(parents=True)
    (folder / "course_lib/classroom").mkdir(parents=True)  # the author's copy
    (folder / "notebooks/00_start_here.ipynb").touch()
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    (folder / "constraints.txt").write_text("torch==2.13.0\n")
    python = tmp_path / "python stand-in"
    python.write_text(STAND_IN)
    python.chmod(0o755)

    def make(*words, python=python, **environment):
        log = tmp_path / "log"
        log.write_text("")
        # a make that itself runs under make must not see the outer one's options
        outer = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS", "TORCH"))}
        done = run(["make", f"PYTHON={python}", *words], cwd=folder,
                   env=outer | {"STAND_IN_LOG": str(log)} | environment)
        done.calls = log.read_text().splitlines()
        done.text = done.stdout + done.stderr
        done.installs = [call for call in done.calls if " install " in call]
        return done

    make.folder = folder
    return make


def test_make_lab_installs_once_and_then_only_starts(course_copy):
    first = course_copy("lab", "LAB_ARGS=--no-browser --port 9999")
    assert first.returncode == 0, first.text
    pip, torch, rest = first.installs
    assert "--upgrade pip" in pip
    assert "--no-deps --retries 0 --timeout 5" in torch and CPU_INDEX in torch and "torch==2.13.0" in torch
    assert rest.endswith("-c constraints.txt -e .[lab,classroom,deploy]")
    assert "-m jupyterlab" in first.calls[-1] and first.calls[-1].endswith("--no-browser --port 9999")
    assert "lab/tree/notebooks/00_start_here.ipynb" in first.calls[-1]
    second = course_copy("lab")
    assert second.installs == [] and "-m jupyterlab" in second.calls[-1]
    assert not (course_copy.folder / ".venv/bin/pip").exists(), "the stand-in was not in use"


def test_make_test_adds_the_test_extra_and_is_enough_for_lab(course_copy):
    course_copy("lab")
    test = course_copy("test", "PYTEST_ARGS=-k energy")
    assert [call.split("-e ")[1] for call in test.installs] == [".[lab,classroom,deploy,cluster,test]"]
    # what is asked for comes last, so that PYTEST_ARGS="-n 0" is obeyed
    assert re.fullmatch(r"-m pytest -n logical --maxprocesses 2 --dist loadfile .*-k energy", test.calls[-1])
    assert course_copy("lab").installs == [] and course_copy("test").installs == []


def test_a_changed_list_of_versions_installs_again(course_copy):
    course_copy("lab")
    constraints = course_copy.folder / "constraints.txt"
    constraints.write_text(constraints.read_text() + "tqdm==4.70.1\n")
    assert len(course_copy("lab").installs) == 1


def test_without_the_cpu_index_torch_comes_from_the_default_one(course_copy):
    made = course_copy("torch", STAND_IN_NO_INDEX="1")
    assert made.returncode == 0 and "did not answer" in made.text
    assert made.installs[-1].endswith("-c constraints.txt torch==2.13.0")
    assert course_copy("torch").installs == []  # the default build is kept, not replaced by the CPU one


def test_torch_default_leaves_the_cpu_build_and_stays(course_copy):
    course_copy("torch")
    made = course_copy("torch", "TORCH=default")
    assert any("uninstall" in call for call in made.calls) and CPU_INDEX not in " ".join(made.installs)
    assert course_copy("torch").installs == [] and course_copy("torch", "TORCH=default").installs == []


@pytest.mark.parametrize("situation, words", [
    ({"STAND_IN_VERSION": "3.10.4"}, ["Python 3.11 or newer", "Python 3.10.4", "make lab PYTHON=", "README.md"]),
    ({"STAND_IN_NO_VENV": "1"}, ["Python 3.12.1", "venv module", "apt-get install python3-venv"]),
])
def test_a_python_that_will_not_do_is_named_with_the_way_out(course_copy, situation, words):
    made = course_copy("lab", **situation)
    assert made.returncode != 0 and not (course_copy.folder / ".venv").exists()
    assert [word for word in words if word not in made.text] == [] and "Traceback" not in made.text


def test_no_python_at_all(course_copy):
    made = course_copy("lab", python="/nowhere/python3")
    assert made.returncode != 0 and "found no Python" in made.text


def test_make_grade_hands_names_with_spaces_on(course_copy):
    assert "make grade SUBMISSIONS=" in course_copy("grade").text
    made = course_copy("grade", "SUBMISSIONS=hand in/class a.zip", "GRADES=my grades.csv", "GRADE_ARGS=--regrade")
    assert made.calls[-1] == "-m course_lib.cli grade exercises hand in/class a.zip -o my grades.csv --regrade"


def test_links_and_lab_say_what_is_missing(course_copy):
    assert "make links REPO=owner/name" in course_copy("links").text
    (course_copy.folder / "notebooks/00_start_here.ipynb").unlink()
    made = course_copy("lab")
    assert made.returncode != 0 and "make notebooks" in made.text


def test_what_belongs_to_the_author_says_so_in_a_learners_copy(course_copy):
    (course_copy.folder / "course_lib/classroom").rmdir()
    for words in (["notebooks"], ["links", "REPO=a/b"], ["grade", "SUBMISSIONS=class.zip"],
                  ["slides", "LESSON=07"]):
        made = course_copy(*words)
        assert made.returncode != 0 and made.calls == []
        assert made.stdout == ("make notebooks, make slides, make grade and make links belong to the author's copy; "
                               "this copy has no sources.\n")
    assert course_copy("lab").returncode == 0


def test_jupyterlab_does_not_ask_about_news_and_a_changed_setting_stays(course_copy):
    course_copy("lab")
    settings = course_copy.folder / ".venv/share/jupyter/lab/settings/overrides.json"
    assert json.loads(settings.read_text()) == {
        "@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}
    settings.unlink()
    course_copy("test")  # an environment made before there was this file gets it, too
    assert settings.exists()
    settings.write_text("{}")
    course_copy("lab")
    assert settings.read_text() == "{}"


def test_plain_make_explains_every_target(course_copy):
    shown = course_copy().stdout
    for target in ("lab", "test", "check", "notebooks", "grade", "bench", "links", "clean"):
        assert f"make {target}" in shown


def test_readme_names_the_two_commands():
    for command in ("make lab", "make test", "environment.yml"):
        assert command in text("README.md")


def test_ci_runs_the_command_of_the_readme():
    script = ROOT / ".ci/run"
    assert script.stat().st_mode & stat.S_IXUSR, "chmod +x .ci/run"
    assert run(["bash", "-n", str(script)]).returncode == 0
    lines = script.read_text().splitlines()
    assert "set -euo pipefail" in lines
    assert lines[-1].startswith("exec make test")  # exec: pytest's summary closes the output, its status is ours


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_skip_without_an_allowed_reason_fails_the_run(tmp_path, workers):
    for name in ("conftest.py", "budgets.py"):
        shutil.copy(ROOT / "tests" / name, tmp_path)
    (tmp_path / "test_it.py").write_text(
        "import pytest\n\ndef test_one():\n    pytest.skip('just because')\n\n"
        "@pytest.mark.xfail(reason='some day')\ndef test_two():\n    assert False\n")
    (tmp_path / "test_all.py").write_text("import pytest\npytest.importorskip('no_such_module_anywhere')\n")
    done = run([sys.executable, "-m", "pytest", "-n", workers, "--rootdir", str(tmp_path), str(tmp_path)], cwd=tmp_path)
    assert done.returncode == 1
    for reason in ("just because", "some day", "no_such_module_anywhere"):
        assert re.search(rf"(?m)^test_.*: .*{reason}", done.stdout), done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_lesson_over_its_budget_fails_the_run_and_every_cost_is_printed(tmp_path, workers):
    for folder in ("tests", "notebooks"):
        (tmp_path / folder).mkdir()
    for name in ("conftest.py", "budgets.py"):
        shutil.copy(ROOT / "tests" / name, tmp_path / "tests")
    (tmp_path / "notebooks/README.md").write_text(
        "| [01_small](01_small.ipynb) | 5 | 60 | 1000 | 2 | 900 |\n| [02_big](02_big.ipynb) | 5 | 60 | 1 | 2 | 900 |\n")
    for name, memory in (("01_small", 1000), ("02_big", 1)):
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 + 1"), nbformat.v4.new_code_cell("2 + 2")])
        book.metadata["course"] = {"minutes": 5, "cpu_seconds": 60, "memory_mb": memory}
        nbformat.write(book, tmp_path / "notebooks" / f"{name}.ipynb")
    done = run([sys.executable, "-m", "pytest", "-n", workers, "--dist", "loadfile", "--nbval-lax", "--nbval-current-env",
                "--rootdir", str(tmp_path), "tests", "notebooks"], cwd=tmp_path)
    assert done.returncode == 1
    assert re.search(r"(?m)^02_big held \d+ MB, its budget is 1$", done.stdout), done.stdout
    for line in (r"01_small: [\d.]+ CPU s \(budget 60\), peak \d+ MB \(budget 1000\)", "02_big: .*"):
        assert re.search(f"(?m)^{line}$", done.stdout), done.stdout
    assert re.search(r"4 passed, 1 error in [\d.]+s", done.stdout.splitlines()[-1])


# --- Binder -------------------------------------------------------------------------------------------------------

def test_environment_yml_agrees_with_pyproject_and_the_makefile(project):
    environment = yaml.safe_load(text("environment.yml"))
    conda = [item for item in environment["dependencies"] if isinstance(item, str)]
    pip, = [item["pip"] for item in environment["dependencies"] if isinstance(item, dict)]
    learners = [name for name in project["optional-dependencies"] if name not in NOT_FOR_LEARNERS]
    assert pip == [f"--extra-index-url {CPU_INDEX}", "-c constraints.txt", f"-e .[{','.join(learners)}]"]
    assert sorted(conda) == ["pip", "python=3.11"]  # nothing from conda that pip would have to replace
    assert f"install-lab: EXTRAS := {','.join(learners)}\n" in text("Makefile")
    assert f"CPU_INDEX := {CPU_INDEX}\n" in text("Makefile")


def test_repo2docker_reads_environment_yml():
    for name in (".binder", "binder"):
        assert not (ROOT / name).exists(), f"{name}/ would hide environment.yml from Binder"
    done = run([sys.executable, "-m", "repo2docker", "--no-build", "--debug", "."], cwd=ROOT)
    build = done.stdout + done.stderr
    assert done.returncode == 0, build
    assert "Building conda environment for python=3.11" in build
    update = re.search(r'env update .*--file "environment.yml"', build)
    assert update, "repo2docker does not use environment.yml"
    # the pip part installs the course from its own folder: that must be in the image by then
    assert build.index("COPY --chown") < build.index(" src/ ${REPO_DIR}/") < update.start()


# --- Colab --------------------------------------------------------------------------------------------------------

# Other versions than ours, as a hosted notebook service might have them; installing the course must move none.
HOSTED = {"torch": "2.6.0", "ipython": "7.34.0", "ipywidgets": "7.7.1", "numpy": "2.0.2", "pandas": "2.2.2"}


def fake_wheel(folder, name, version):
    """A wheel of that name and version which holds one line of code: the real ones are big, and not needed here."""
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{name}/__init__.py", f"__version__ = {version!r}\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


def fingerprint(packages):
    """Path and content of every file that belongs to a hosted package."""
    return {str(path.relative_to(packages)): hashlib.sha256(path.read_bytes()).hexdigest()
            for name, version in HOSTED.items()
            for folder in (packages / name, packages / f"{name}-{version}.dist-info")
            for path in folder.iterdir() if path.is_file()}


@pytest.mark.slow
def test_installing_the_course_moves_no_package_of_a_hosted_notebook(tmp_path):
    venv = tmp_path / "hosted"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(venv / "bin/python"), "install", "-q",
           "--no-compile", "--disable-pip-version-check"]
    wheels = [str(fake_wheel(tmp_path, *item)) for item in HOSTED.items()]
    subprocess.run([*pip, "--no-deps", "--no-index", *wheels], check=True)
    packages, = venv.glob("lib/python*/site-packages")
    before = fingerprint(packages)
    assert len(before) >= 4 * len(HOSTED)

    course = tmp_path / "course"  # a copy: building leaves files beside the source
    course.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, course)
    shutil.copytree(ROOT / "course_lib", course / "course_lib", ignore=shutil.ignore_patterns("__pycache__"))

    # what pip would do with every dependency resolved, as the setup cell asks it
    report = tmp_path / "report.json"
    done = run([*pip, "--dry-run", "--report", str(report), str(course)])
    assert done.returncode == 0, done.stderr
    plan = {canonicalize_name(item["metadata"]["name"]): item["metadata"]["version"]
            for item in json.loads(report.read_text())["install"]}
    assert {"frugal-ai-lab", "codecarbon", "matplotlib"} <= set(plan)  # the plan is a real one
    assert {name: plan[name] for name in HOSTED if name in plan} == {}

    # and the course itself, really installed
    subprocess.run([*pip, "--no-deps", str(course)], check=True)
    assert fingerprint(packages) == before
    shipped = {path.relative_to(ROOT) for path in (ROOT / "course_lib").rglob("*")
               if path.is_file() and path.suffix != ".pyc"}
    assert {path for path in shipped if not (packages / path).exists()} == set(), "missing from the package"
    assert (venv / "bin/course").exists()


def test_the_test_tools_are_installed():
    # so that no test of this file can pass by not running
    assert [name for name in ("repo2docker", "nbval", "playwright", "setuptools") if find_spec(name) is None] == []
