"""A process with torch imported, that forks a kernel in a few milliseconds instead of importing for seconds.

    python -I -m course_lib.classroom.grading.warm FOLDER MODULE...

It imports what grading and the exercise need, starts no thread, no event loop and no ZeroMQ context, listens on
FOLDER/socket, and forks for every request: {"do": "kernel", ...} becomes a kernel (see provisioner.py), {"do":
"grade", ...} runs nbval over one submission (see runner.py). It knows nothing else: a request is read after the
fork, so no kernel inherits another learner's answers or an expected output. It ends when its standard input closes.

Messages, both ways: one line of JSON each.
"""

import gc
import importlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

from . import sandbox

SERVES = sys.platform == "linux"  # elsewhere fork is missing (Windows) or not safe after imports (macOS)
ALWAYS = ("torch", "numpy", "ipykernel.kernelapp", "ipykernel.debugger", "IPython", "IPython.core.completerlib",
          "IPython.core.debugger", "IPython.extensions.storemagic", "tornado.platform.asyncio", "debugpy", "matplotlib.pyplot",
          "matplotlib_inline.backend_inline", "pytest", "nbval.plugin", "nbformat", "jupyter_client", "psutil",
          "course_lib.selfcheck", "course_lib.classroom.grading.runner", "course_lib.classroom.grading.paced")
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")}
SIGNALS = {b"I": signal.SIGINT, b"T": signal.SIGTERM, b"K": signal.SIGKILL}


def send(connection, message):
    """Write one message."""
    connection.sendall(json.dumps(message).encode() + b"\n")


def receive(connection):
    """Read one message; None where the other side is gone."""
    parts = []
    while not parts or not parts[-1].endswith(b"\n"):
        parts.append(connection.recv(1 << 16))
        if not parts[-1]:
            return None
    return json.loads(b"".join(parts))


def connect(path, timeout=None):
    """A connection to the server whose socket is `path`."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(timeout)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        raise
    return connection


# --- the server ----------------------------------------------------------------------------------------------------

def serve(folder, modules):
    """Import, listen, fork; returns when standard input closes."""
    sys.modules.setdefault("rfc3987_syntax", None)  # else nbformat builds 35 grammars of no use here: two seconds
    os.environ["MPLBACKEND"] = "agg"
    for name in (*ALWAYS, *modules):
        try:
            importlib.import_module(name)
        except Exception:
            if name in ALWAYS:
                raise  # else: a name inside a module, or nothing that is here; the exercise's own cell will say so
    os.environ.pop("MPLBACKEND", None)
    tasks = len(os.listdir("/proc/self/task"))
    if tasks != 1:
        sys.exit(f"warm: {tasks} threads after the imports; a process that forks must have one")
    import nbformat

    cell = nbformat.v4.new_code_cell("1", outputs=[nbformat.v4.new_output("execute_result", {"text/plain": "1"})])
    nbformat.validate(nbformat.v4.new_notebook(cells=[cell]))  # else every fork would compile the schema anew
    had = {"sandbox": sandbox.kind(), "why": sandbox.why_not()}
    gc.collect()
    gc.freeze()  # a collection in a child would otherwise copy all of this memory
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(Path(folder, "socket")))
        listener.listen(128)
        signal.signal(signal.SIGCHLD, _reap)
        print(json.dumps(had), flush=True)
        while True:
            ready, _, _ = select.select([listener, 0], [], [])
            if 0 in ready and not os.read(0, 1):
                return
            if listener in ready:
                with suppress(OSError):  # no memory or process left for a fork: this one request fails
                    connection, _ = listener.accept()
                    with connection:
                        if os.fork() == 0:
                            _child(connection, listener)


def _reap(*_):
    """Let ended children go, and keep count of what they used (a signal ignored would not)."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _child(connection, listener):
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        sandbox.die_with_parent()
        listener.close()
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nothing, number)
        request = receive(connection)
        if request is not None:
            {"kernel": _kernel, "grade": _grade}[request["do"]](request, connection)
        code = 0
    except BaseException as error:  # noqa: BLE001 - said to whoever asked, then the fork ends
        try:
            send(connection, {"error": f"{type(error).__name__}: {error}"})
        except OSError:
            pass
    finally:
        os._exit(code)


def _grade(request, connection):
    from .runner import run

    signal.alarm(int(request["job"]["limits"]["total_seconds"]) + 60)  # no reply can be worth more time
    send(connection, run(request["job"]))


def _kernel(request, connection):
    """Fork the kernel from a monitor that outlives it: passes signals on, seals its socket folder, says its end."""
    limits, kind = request["limits"], request["sandbox"]
    user = sandbox.USER + os.getpid() % sandbox.USERS
    if kind:
        sandbox.enter(sandbox.view(request["secrets"]), request["scratch"], request["shared"], user,
                      mapped=kind == "user")
    bound, say_bound = os.pipe()
    may_go, say_go = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            connection.close()
            os.close(bound)
            os.close(say_go)
            if not kind:
                os.setsid()
            sandbox.confine(limits, user if kind == "root" else None, own_namespace=bool(kind))
            _start_kernel(request, say_bound, may_go)
        finally:
            os._exit(1)
    os.close(say_bound)
    os.close(may_go)
    if os.read(bound, 1) and kind:
        sandbox.seal(request["shared"])  # its sockets are there; from now on it can fill no disk
    os.write(say_go, b"g")
    send(connection, {"pid": os.getpid(), "kernel": pid})
    ended = os.pidfd_open(pid)
    while True:
        ready, _, _ = select.select([connection, ended], [], [])
        if ended in ready:
            break
        asked = connection.recv(1)
        try:
            target = pid if kind else -pid  # without its own namespace, the whole process group
            os.kill(target, SIGNALS.get(asked, signal.SIGKILL))  # nobody there any more: end it
        except ProcessLookupError:
            pass
        if asked not in SIGNALS:
            break
    send(connection, {"exit": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])})


def _start_kernel(request, say_bound, may_go):
    keep = {say_bound, may_go}
    for number in map(int, os.listdir("/proc/self/fd")):
        if number > 2 and number not in keep:
            with suppress(OSError):
                os.close(number)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    home = Path("/tmp/home") if request["sandbox"] else Path(request["shared"])
    home.mkdir(exist_ok=True)
    os.chdir(home)
    os.environ.clear()
    os.environ.update(request["env"], HOME=str(home), IPYTHONDIR=str(home / ".ipython"), TMPDIR="/tmp",
                      MPLCONFIGDIR=str(home / ".matplotlib"), COURSE_LEDGER=str(home / "ledger.jsonl"))
    sys.argv = ["kernel"]
    sys.path[:] = [*filter(None, sys.path), str(home)]  # last: no file there can stand in for a module
    file = home / "connection.json"
    file.write_text(json.dumps(request["connection"]))
    from ipykernel.kernelapp import IPKernelApp

    app = IPKernelApp.instance()
    app.initialize(["-f", str(file), f"--IPKernelApp.outstream_class={__package__}.paced.PacedStream",
                    "--HistoryManager.enabled=False", "--InteractiveShellApp.exec_PYTHONSTARTUP=False"])
    app.shell.ask_exit = lambda: None  # exit() in a scratch cell shall not end what comes after it
    os.write(say_bound, b"b")
    os.read(may_go, 1)
    os.close(say_bound)
    os.close(may_go)
    app.start()


# --- its owner -----------------------------------------------------------------------------------------------------

def _sweep():
    """Remove what graders that were killed have left: folders of ours whose server answers no more."""
    for path in Path(tempfile.gettempdir()).glob("course_*/socket"):
        with suppress(OSError):
            if path.stat().st_uid == os.getuid():
                try:
                    connect(str(path), timeout=5).close()
                except ConnectionRefusedError:
                    shutil.rmtree(path.parent, ignore_errors=True)


class ColdError(RuntimeError):
    """The warm server could not be started; its message says what it printed."""


@contextmanager
def server(modules=()):
    """Start a server; yields {"socket", "folder", "sandbox": "root" | "user" | None, "why"}. Ends it afterwards.

    Raises ColdError where it cannot be had: on other systems than Linux, or when an import fails.
    """
    if not SERVES:
        raise ColdError(f"warm kernels need fork, which {sys.platform} lacks or does not do safely")
    _sweep()
    folder = tempfile.mkdtemp(prefix="course_")  # short: the path of a socket may have 107 bytes
    quiet = {"PYTHONDONTWRITEBYTECODE": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    env = quiet | {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH")
           if name in os.environ} | ONE_THREAD
    process = subprocess.Popen([sys.executable, "-I", "-m", __name__, folder, *modules], cwd=folder, env=env,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               start_new_session=True)
    try:
        line = process.stdout.readline()
        if not line:
            said = (process.stderr.read().strip().splitlines() or ["it said nothing"])[-1]
            raise ColdError(f"the warm server did not start: {said}")
        threading.Thread(target=process.stderr.read, daemon=True).start()  # libraries chat; a full pipe would block
        yield {"socket": str(Path(folder, "socket")), "folder": folder, "pid": process.pid, **json.loads(line)}
    finally:
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2:])
