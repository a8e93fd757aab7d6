"""Where learners' code runs: warm kernels, and a sandbox that shows almost nothing and lets nothing be changed."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from jupyter_client.manager import start_new_kernel

from course_lib.classroom.grading import model, provisioner, sandbox, warm
from course_lib.handin.plugin import environment

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent
LIMITS = model.Limits(memory_mb=512, processes=48, file_mb=8)


@pytest.fixture(scope="module")
def server():
    with warm.server(["math"]) as started:
        if not started["sandbox"]:
            pytest.skip(f"no sandbox can be had on this machine: {started['why']}")
        yield started


def test_a_grader_that_yields_to_everybody_has_a_sandbox_too(server):
    """`nice -n 19 course grade`: the kernels cannot ask for more of the processor than it has."""
    code = "import os; os.nice(19 - os.nice(0)); from course_lib.classroom.grading import sandbox; print(sandbox.kind())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == sandbox.kind()


class Kernel:
    """A kernel of the warm server, asked one question at a time."""

    def __init__(self, server, folder, kind, secrets=(), limits=LIMITS):
        provisioner.write_spec(folder, server | {"sandbox": kind}, limits, secrets)
        with environment(JUPYTER_PATH=str(folder), JUPYTER_RUNTIME_DIR=str(folder)):
            self.manager, self.client = start_new_kernel(kernel_name=provisioner.NAME)

    def ask(self, code):
        """What the code prints, as text; an error becomes its name."""
        said = []

        def hear(message):
            content = message["content"]
            said.append(content["text"] if message["msg_type"] == "stream" else content.get("ename", ""))

        self.client.execute_interactive(textwrap.dedent(code), output_hook=hear, timeout=60)
        return "".join(said).strip()

    def close(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture(scope="module", params=["root", "user"])
def kernel(request, server, tmp_path_factory):
    if request.param == "root" and os.geteuid() != 0:
        pytest.skip("the root kind of sandbox needs root")
    folder = tmp_path_factory.mktemp("kernel")
    outside = folder / "secret"
    outside.mkdir()
    (outside / "solution.py").write_text("42")
    made = Kernel(server, folder, request.param, secrets=[outside])
    made.kind = request.param
    yield made
    made.close()


def test_torch_is_warm_and_runs(kernel):
    assert kernel.ask("""
        import sys
        print('torch' in sys.modules)
        import torch
        torch.set_num_threads(2)
        x = torch.ones(40, 40, requires_grad=True)
        (x @ x).sum().backward()
        print(x.grad[0, 0].item())
        """) == "True\n80.0"


def test_what_a_kernel_sees_of_the_disk(kernel):
    assert json.loads(kernel.ask("import os, json; print(json.dumps([n for n in os.listdir('/') if n[0] != '.']))"))
    hidden = [ROOT / "exercises", ROOT / "tests", ROOT / ".git", ROOT / "README.md", Path.home() / ".bashrc",
              "/etc/shadow", "/var", "/home", "/mnt", "/.proc/1", "/sys"]
    seen = kernel.ask(f"import os; print([p for p in {list(map(str, hidden))} if os.path.exists(p)])")
    assert seen == "[]"
    package = ROOT / "course_lib"
    assert kernel.ask(f"import os; print(os.listdir('{package}/classroom') + os.listdir('{package}/assets/exercises'))"
                      ) == "[]"
    assert kernel.ask("from course_lib.selfcheck import rounded, pristine; print(rounded(2.0), pristine())") == "2.0 {}"


def test_nothing_outside_can_be_written(kernel):
    places = [ROOT / "course_lib", Path(sys.prefix), Path(os.__file__).parent, "/usr", "/", "/etc", "/dev"]
    assert kernel.ask(f"""
        import os
        written = []
        for place in {list(map(str, places))}:
            try:
                open(place + '/made', 'w')
                written.append(place)
            except OSError:
                pass
        sockets = [n for n, _, files in os.walk('/tmp') if 'k-1' in files]
        try:
            open(sockets[0] + '/made', 'w')
            written.append(sockets[0])
        except OSError:
            pass
        print(written, len(sockets))
        """) == "[] 1"


def test_no_network_no_other_process_no_rights(kernel):
    assert kernel.ask("""
        import os, socket
        for address in (('127.0.0.1', 22), ('1.1.1.1', 53)):
            try:
                socket.create_connection(address, 1)
                print('connected', address)
            except OSError as error:
                pass
        print(os.getpid(), [n for n in os.listdir('/proc') if n.isdigit()])
        status = dict(line.split(':\\t') for line in open('/proc/self/status').read().splitlines() if ':\\t' in line)
        print({status[name] for name in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb')}, status['NoNewPrivs'])
        for attempt in (lambda: os.setuid(0), lambda: os.chroot('/tmp'), lambda: os.kill(os.getppid() or 99999, 9)):
            try:
                attempt()
                print('allowed')
            except OSError:
                pass
        """) == "1 ['1']\n{'0000000000000000'} 1"


def test_the_graders_environment_stays_outside(server, tmp_path, monkeypatch):
    monkeypatch.setenv("CANVAS_TOKEN", "secret-token")
    made = Kernel(server, tmp_path, server["sandbox"])
    try:
        assert made.ask("import os; print('CANVAS_TOKEN' in os.environ, 'COURSE_SEED' in os.environ)") == "False False"
        assert made.ask("print('secret-token' in open('/proc/1/environ').read())") == "False"
    finally:
        made.close()


def test_limits(kernel):
    assert kernel.ask("bytearray(3 * 2**30)") == "MemoryError"
    assert kernel.ask("""
        def fill(name, n):
            try:
                with open(name, 'wb') as f:
                    for _ in range(n):
                        f.write(bytes(2**20))
            except OSError as error:
                print(error.errno)
        fill('/tmp/one', 20)        # larger than a file may be
        for i in range(30):         # more than /tmp may hold
            fill(f'/tmp/{i}', 7)
        import os
        for name in ('one', *map(str, range(30))):
            os.remove(f'/tmp/{name}')
        """).split()[:2] == ["27", "28"]
    if kernel.kind == "user" and os.geteuid() == 0:
        return  # Linux counts no processes of root's, under whatever name; the runner counts them itself
    assert int(kernel.ask("""
        import os
        made = []
        try:
            for _ in range(300):
                pid = os.fork()
                if pid == 0:
                    import time; time.sleep(30); os._exit(0)
                made.append(pid)
        except OSError:
            pass
        import signal
        for pid in made:
            os.kill(pid, signal.SIGKILL); os.waitpid(pid, 0)
        print(len(made))
        """)) < LIMITS.processes


def test_namespaces_cannot_be_made_or_left(kernel):
    assert kernel.ask("""
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        print(libc.unshare(0x00020000), libc.mount(b'none', b'/', b'', 32 | 4096, b''), libc.umount2(b'/proc', 2),
              libc.umount2(b'/tmp', 2))
        """) == "-1 -1 -1 -1"


def test_system_calls_that_go_around_the_limits_are_refused(kernel):
    assert kernel.ask("""
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        try:
            os.memfd_create('x')
        except OSError as error:
            print(error.errno)
        keyctl = {'x86_64': 250, 'aarch64': 219}[os.uname().machine]
        print(libc.shmget(0, 4096, 0o1666), libc.unshare(0x10000000), libc.prctl(1, 0, 0, 0, 0),
              libc.syscall(keyctl, 0, -3, 0))
        """) == "38\n-1 -1 -1 -1"
    assert kernel.ask("""
        import multiprocessing, subprocess, threading
        import torch
        from torch.utils.data import DataLoader
        thread = threading.Thread(target=print, args=('thread',))
        thread.start(); thread.join()
        print(subprocess.run(['echo', 'process'], capture_output=True, text=True).stdout.strip())
        with multiprocessing.Pool(2) as pool:
            print(pool.map(abs, [-1, -2]))
        print(len(list(DataLoader(list(range(8)), 4, num_workers=2))))
        """) == "thread\nprocess\n[1, 2]\n2"


def test_a_learner_finds_what_a_notebook_usually_has(kernel):
    kernel.ask("%%writefile helper.py\nvalue = 41")
    assert kernel.ask("""
        import getpass, os, subprocess, sys
        import helper
        print(helper.value, getpass.getuser(), os.path.expanduser('~') == os.getcwd())
        print(subprocess.run(['python', '-c', 'import torch; print(1)'], capture_output=True, text=True).stdout)
        """) == "41 learner True\n1"


def test_installed_packages_stay_in_sight_when_the_course_is_one_of_them(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "course_lib"
    for folder in ("classroom/grading", "assets/exercises"):
        (package / folder).mkdir(parents=True)
    monkeypatch.setattr(sandbox, "__file__", str(package / "classroom" / "grading" / "sandbox.py"))
    monkeypatch.setattr(sandbox.sys, "path", [str(tmp_path / "site-packages")])
    steps = dict(sandbox.view())
    assert steps[str(tmp_path / "site-packages")] == "show"
    assert steps[str(package / "classroom")] == steps[str(package / "assets" / "exercises")] == "hide"


def test_secrets_are_masked_wherever_they_lie(tmp_path, monkeypatch):
    inside = tmp_path / "packages"
    (inside / "private" / "public").mkdir(parents=True)
    link = tmp_path / "link"
    link.symlink_to(inside)
    monkeypatch.setattr(sandbox, "SYSTEM", (str(link), str(inside / "private" / "public")))
    steps = dict(sandbox.view([inside / "private"]))
    assert steps[str(link)] == "show"
    assert steps[str(link / "private")] == "hide"
    assert steps[str(inside / "private" / "public")] == "show"
    package = ROOT / "course_lib"
    assert steps[str(package / "classroom")] == steps[str(package / "assets" / "exercises")] == "hide"
    assert str(ROOT) not in steps


def test_folders_of_the_caller_are_not_shown(monkeypatch):
    for folder in (ROOT, ROOT / "tests", Path.home() / "notes", Path("/")):
        monkeypatch.syspath_prepend(str(folder))
    shown = [path for path, what in sandbox.view() if what == "show"]
    assert not {str(ROOT), str(ROOT / "tests"), str(Path.home() / "notes"), "/"} & set(shown)


def test_stock_nbval_runs_on_warm_kernels(server, tmp_path):
    nb = nbformat.v4.new_notebook(cells=[
        nbformat.v4.new_code_cell("import sys, os\n('torch' in sys.modules, os.getpid())", execution_count=1, outputs=[
            nbformat.v4.new_output("execute_result", {"text/plain": "(True, 1)"}, execution_count=1)]),
        nbformat.v4.new_code_cell("1 + 1", execution_count=2, outputs=[
            nbformat.v4.new_output("execute_result", {"text/plain": "3"}, execution_count=2)])])
    file = tmp_path / "stock.ipynb"
    nbformat.write(nb, file)
    provisioner.write_spec(tmp_path, server)
    done = subprocess.run([sys.executable, "-m", "pytest", "--nbval", f"--nbval-kernel-name={provisioner.NAME}",
                           "-c", os.devnull, "--noconftest", "-q", "-p", "no:cacheprovider", str(file)],
                          env=os.environ | {"JUPYTER_PATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr


def _gone(pids, seconds=20):
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids):
            return True
        time.sleep(0.1)
    return False


def test_nothing_lives_on_when_the_grader_is_killed(tmp_path):
    code = f"""
        import os, sys, time
        from course_lib.classroom.grading import provisioner, warm
        from jupyter_client.manager import start_new_kernel
        with warm.server() as server:
            provisioner.write_spec({str(tmp_path)!r}, server)
            manager, client = start_new_kernel(kernel_name=provisioner.NAME)
            client.execute("while True: pass")
            print(server["pid"], manager.provisioner.pid, manager.provisioner.kernel_pid, flush=True)
            time.sleep(60)
        """
    grader = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True,
                              env=os.environ | {"JUPYTER_PATH": str(tmp_path), "JUPYTER_RUNTIME_DIR": str(tmp_path)})
    pids = [int(pid) for pid in grader.stdout.readline().split()]
    assert len(pids) == 3
    assert all(map(psutil.pid_exists, pids))
    os.kill(grader.pid, signal.SIGKILL)
    grader.wait()
    assert _gone(pids)


def test_elsewhere_than_on_linux_one_sentence_says_why(monkeypatch):
    monkeypatch.setattr(warm, "SERVES", False)
    with pytest.raises(warm.ColdError, match="warm kernels need fork"), warm.server():
        pass


def test_a_server_that_cannot_import_says_so(monkeypatch):
    monkeypatch.setattr(warm.sys, "executable", sys.executable)
    monkeypatch.setattr(warm, "__name__", "course_lib.nosuch")
    with pytest.raises(warm.ColdError, match="did not start: .*nosuch"), warm.server():
        pass
