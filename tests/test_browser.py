"""Lesson 02 in a real JupyterLab: a browser opens it, runs all, moves a slider, and sees the figure change."""

import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent
LESSON = "02_training_and_inference.ipynb"
MOVES = 20
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"]  # fmt: skip
# The notebook's model, read through JupyterLab's own objects: cells out of view are not drawn.
NOTEBOOK = "window.jupyterapp.shell.currentWidget"


def browser_path():
    found = os.environ.get("COURSE_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)
    assert found, "no Chromium was found: install Debian's chromium, or name a browser in COURSE_BROWSER"
    return found


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab server on a free port, over a copy of the course, so that saving changes nothing here."""
    course = tmp_path_factory.mktemp("course folder")  # with a space, as on many learners' machines
    shutil.copytree(ROOT / "notebooks", course / "notebooks")
    for name in (".jupytext.toml", "pyproject.toml"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, course)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = tmp_path_factory.mktemp("home")
    env = {**os.environ, "HOME": str(home), "JUPYTER_CONFIG_DIR": str(home), "IPYTHONDIR": str(home),
           "COURSE_LEDGER": str(course / "book.jsonl")}  # fmt: skip
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1",
               f"--port={port}", "--IdentityProvider.token=", "--ServerApp.password=", "--expose-app-in-browser",
               f"--ServerApp.root_dir={course}"]  # fmt: skip
    with open(course / "server.log", "w") as log:
        server = subprocess.Popen(command, cwd=course, env=env, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{url}/api", timeout=5)
                break
            except OSError:
                assert server.poll() is None, (course / "server.log").read_text()[-2000:]
                time.sleep(0.5)
        yield url, course
    finally:
        server.terminate()
        server.wait(timeout=30)


@pytest.fixture(scope="module")
def page(lab):
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=browser_path(), args=QUIET)
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(120_000)
        page.goto(f"{lab[0]}/lab/tree/notebooks/{LESSON}?reset")
        page.wait_for_selector(".jp-NotebookPanel .jp-Cell")
        yield page
        browser.close()


def run_all(page):
    if page.locator(".jp-Dialog").count():  # "Select Kernel": the one that is offered is the right one
        page.locator(".jp-Dialog .jp-mod-accept").last.click()
    page.wait_for_function(f"{NOTEBOOK}?.sessionContext?.session?.kernel?.status === 'idle'")
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }")
    page.wait_for_function(
        f"""() => {{ const cells = [...{NOTEBOOK}.content.model.cells].filter(c => c.type === 'code');
            return cells.every(c => c.executionCount > 0) && {NOTEBOOK}.sessionContext.session.kernel.status === 'idle' }}""",
        timeout=300_000,
    )


def outputs(page):
    return page.evaluate(f"() => [...{NOTEBOOK}.content.model.cells].map(c => c.type === 'code' ? c.toJSON() : null)")


def test_lesson_02_opens_without_a_warning_runs_all_and_shows_no_error(page, lab):
    run_all(page)
    cells = [c for c in outputs(page) if c]
    assert len(cells) > 20
    errors = [o for c in cells for o in c["outputs"] if o["output_type"] == "error"]
    assert errors == []
    assert page.locator(".jp-Dialog").count() == 0
    assert page.locator(".Toastify__toast--error").count() == 0


def test_moving_a_slider_changes_the_figure(page, lab, record_property, capsys):
    index = next(i for i, c in enumerate(outputs(page)) if c and "fleet_figure, alt" in "".join(c["source"]))
    page.evaluate(f"i => {{ {NOTEBOOK}.content.activeCellIndex = i; {NOTEBOOK}.content.scrollToItem(i) }}", index)
    page.wait_for_timeout(500)
    output = page.locator(f".jp-Cell[data-windowed-list-index='{index}'] .jp-OutputArea-output")
    image, handle = output.locator("img").last, output.locator(".noUi-handle").first
    image.wait_for()
    figure = output.element_handle()  # the widget puts a new <img> inside it for each figure
    changed = "([node, old]) => [...node.querySelectorAll('img')].at(-1)?.src !== old"
    first, alt = image.get_attribute("src"), image.get_attribute("alt")
    assert "share of inference" in alt
    handle.focus()
    seconds = []
    for _ in range(MOVES):
        before = image.get_attribute("src")
        start = time.perf_counter()
        page.keyboard.press("ArrowLeft")  # the slider begins near its right end
        page.wait_for_function(changed, arg=[figure, before], polling=10)
        seconds.append(time.perf_counter() - start)
    assert image.get_attribute("src") != first
    assert image.get_attribute("alt") != alt  # the words move with the picture
    median = statistics.median(seconds)
    record_property("median_seconds_slider_to_figure", round(median, 3))
    with capsys.disabled():
        print(f"\nslider to new figure in the browser: median of {MOVES} moves {median:.3f} s")
    if folder := os.environ.get("COURSE_SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / "lesson_02_explore.png"))


def test_a_prediction_can_be_made_by_hand(page, lab):
    index = next(i for i, c in enumerate(outputs(page)) if c and "02-gpt3-factor" in "".join(c["source"]))
    page.evaluate(f"i => {{ {NOTEBOOK}.content.activeCellIndex = i; {NOTEBOOK}.content.scrollToItem(i) }}", index)
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-cell')")
    output = page.locator(f".jp-Cell[data-windowed-list-index='{index}'] .jp-OutputArea-output")
    output.get_by_text("number of chips", exact=True).first.click()
    button = output.get_by_role("button", name=re.compile("This is my prediction"))
    button.click()
    output.get_by_text("Noted. Now measure.").wait_for()
    assert button.is_disabled()
