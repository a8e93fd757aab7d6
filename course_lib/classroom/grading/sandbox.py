"""Where learners' code runs: a forked process that sees almost nothing and can change nothing. Linux only.

`enter` and `confine` are called after the fork, so that what was imported before stays warm:

    monitor = fork()            enter(view): own mount, network, process, IPC and host name spaces; a root folder
                                that holds only what a kernel needs, read-only, and a private /tmp
        kernel = fork()         confine(limits): limits on memory, processes, file size and CPU; no capabilities,
                                no way to new ones, another user

As root, the kernel runs under a user id that nobody has. As an ordinary user, a user namespace gives the rights to
set this up; where the system forbids those, `kind()` is None and `why_not()` says what it answered.
"""

import ctypes
import errno
import os
import resource
import stat
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

from . import syscalls

_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = (
    0x00020000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT, _BIND, _REC, _PRIVATE = (
    1, 2, 4, 8, 32, 4096, 16384, 1 << 18)
_DETACH, _SETATTR, _AT_RECURSIVE, _AT_FDCWD = 2, 442, 0x8000, -100
_PIVOT_ROOT, _KEYCTL = {"x86_64": (155, 250), "aarch64": (41, 219)}.get(
    os.uname().machine if hasattr(os, "uname") else "", (None, None))
_PDEATHSIG, _DUMPABLE, _CAPBSET_DROP, _NO_NEW_PRIVS = 1, 4, 24, 38
USER, USERS = 60_600, 500  # the user ids that kernels run under, which people and services do not have
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/ld.so.conf",
          "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/localtime", "/etc/fonts", "/etc/mime.types")
OUTER_PROC = ".proc"  # the system's own, until `seal`
DEVICES = ("null", "zero", "full", "random", "urandom")


@cache
def _libc():
    return ctypes.CDLL(None, use_errno=True)


def _call(name, *args):
    numbers = [arg if not isinstance(arg, str) else arg.encode() for arg in args]
    numbers = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in numbers]
    if getattr(_libc(), name)(*numbers) == -1:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def _mount(source, target, kind, flags, data=""):
    _call("mount", str(source), str(target), kind, flags, data)


def view(secrets=()):
    """What a kernel may see, in the order of mounting: a list of (path, "show" or "hide").

    Shown: the system's programs, this Python with its packages, and course_lib. Hidden again, wherever it lies
    inside those: what belongs to instructors, the released exercises (they hold expected outputs), home, and
    every path of `secrets`. To be called in the warm server, whose sys.path holds no folder of the caller's.
    """
    package = Path(__file__).resolve().parents[2]
    hidden = {Path(p).resolve() for p in (*secrets, os.path.expanduser("~"))}
    if (package.parent / "pyproject.toml").exists():  # the course's folder, not the place of installed packages
        hidden.add(package.parent)
    wanted = {Path(p) for p in (*SYSTEM, sys.prefix, sys.base_prefix, sys.exec_prefix, package)}
    for entry in map(Path, filter(None, sys.path)):  # packages that lie elsewhere, such as a user's own
        real = entry.resolve()
        if not any(path == real or real in path.parents or path in real.parents for path in hidden):
            wanted.add(entry)
    hidden -= {package}
    hidden |= {package / "classroom", package / "assets" / "exercises"}
    steps = {}
    for path in sorted((p for p in wanted if p.exists()), key=lambda path: len(path.parts)):
        steps[path] = "show"
        for secret in hidden:  # by its real place, wherever links lead
            if secret.exists() and path.resolve() in secret.parents:
                steps.setdefault(path / secret.relative_to(path.resolve()), "hide")
    steps = sorted(steps.items(), key=lambda step: len(step[0].parts))
    return [(str(path), what) for i, (path, what) in enumerate(steps) if what != _above(path, steps[:i])]


def _above(path, steps):
    """What the nearest step above `path` says, if there is one."""
    near = [what for other, what in steps if other in path.parents]
    return near[-1] if near else None


def enter(paths, scratch, shared, user, size_mb=64, mapped=False):
    """Move this process into its own namespaces, with a new root that holds `paths` (see `view`), read-only.

    scratch: an empty folder, the place to build the new root on; shared: the one folder that stays writable, under
    its own name, until `seal(shared)`; user: the user id that the kernel will have, mapped in a user namespace where
    this process is not root. Children are in the new process
    namespace. Raises OSError where the system refuses.
    """
    flags = _NEWNS | _NEWPID | _NEWNET | _NEWIPC | _NEWUTS
    uid, gid = os.getuid(), os.getgid()
    _call("unshare", flags | (_NEWUSER if mapped else 0))
    if mapped:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{user} {gid} 1")
    _mount("none", "/", "", _REC | _PRIVATE)
    _mount("tmpfs", scratch, "tmpfs", _NOSUID | _NODEV, "size=1m,mode=755")
    root = Path(scratch)
    for name, size, mode in (("dev", 1, 755), ("dev/shm", size_mb, 1777), ("tmp", size_mb, 1777)):
        (root / name).mkdir(exist_ok=True)
        _mount("tmpfs", root / name, "tmpfs", _NOSUID | _NODEV, f"size={size}m,mode={mode},nr_inodes=10k")
        if name == "dev":
            for device in DEVICES:
                (root / "dev" / device).touch()
                _mount(f"/dev/{device}", root / "dev" / device, "", _BIND)
            os.symlink("/proc/self/fd", root / "dev" / "fd")
            (root / "dev/shm").mkdir()
    for path, what in paths:  # after /tmp, because the course itself may lie in a folder there
        _show(path, root) if what == "show" else _hide(path, root)
    _bind(shared, root)
    for name in ("proc", OUTER_PROC):
        (root / name).mkdir()
    _mount("/proc", root / OUTER_PROC, "", _BIND | _REC)  # a user may mount a new one only while one is in sight
    (root / "etc").mkdir(exist_ok=True)
    (root / "etc/passwd").write_text(f"learner:x:{user}:{user}::/tmp/home:/bin/sh\n")
    os.chdir(root)
    _call("syscall", _PIVOT_ROOT, b".", b".")
    _call("umount2", ".", _DETACH)
    os.chdir("/")
    _mount("none", "/", "", _REMOUNT | _RDONLY | _NOSUID | _NODEV, "size=1m,mode=755")
    _call("sethostname", "sandbox", 7)
    _mount("none", "/dev", "", _REMOUNT | _RDONLY | _NOSUID, "size=1m,mode=755")


def _place(path, root):
    """The name of `path` below `root`, made as an empty folder or file; None for a link, which is copied."""
    target = root / Path(path).relative_to("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    if os.path.islink(path):
        if not os.path.lexists(target):
            os.symlink(os.readlink(path), target)
        return None
    if not target.exists():
        target.mkdir() if os.path.isdir(path) else target.touch()
    return target


def _bind(path, root):
    target = _place(path, root)
    if target is not None:
        _mount(path, target, "", _BIND | _REC)
    return target


def _show(path, root):
    target = _bind(path, root)
    if target is not None:
        _read_only(target)


def _hide(path, root):
    target = root / Path(path).relative_to("/")
    if stat.S_ISDIR(os.stat(target).st_mode):
        _mount("tmpfs", target, "tmpfs", _RDONLY | _NOSUID | _NODEV, "size=4k,mode=755")
    else:
        _mount("/dev/null", target, "", _BIND)


def _read_only(target):
    """Make a mount and all below it read-only, without set-uid programs."""
    class Attributes(ctypes.Structure):
        _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "namespace")]

    wanted = Attributes(_RDONLY | _NOSUID, 0, 0, 0)
    try:  # since Linux 5.12; reaches the mounts below, too
        _call("syscall", _SETATTR, _AT_FDCWD, str(target), _AT_RECURSIVE, ctypes.byref(wanted), 32)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        _remount(target)


def seal(path):
    """Close what `enter` left open while the kernel started: the shared folder becomes read-only, the system's own
    process list goes out of sight. To be called before a learner's code runs."""
    _call("umount2", f"/{OUTER_PROC}", _DETACH)
    _remount(path)


def _remount(path):
    """Make one bound folder read-only for everyone in this namespace; what it already held stays."""
    keep = os.statvfs(path).f_flag & (_NOSUID | _NODEV | _NOEXEC)
    _mount("none", path, "", _REMOUNT | _BIND | _RDONLY | keep)


def confine(limits, user, own_namespace=True):
    """Limit and disarm this process for good: call it last, in the process that will run a learner's code.

    limits: {"memory_mb", "processes", "file_mb", "cpu_seconds"}; memory counts from what is in use now. user: the
    user id to take as root, or None. own_namespace: False where there is no sandbox, only limits.
    """
    if own_namespace:
        _mount("proc", "/proc", "proc", _NOSUID | _NODEV | _NOEXEC)
        with suppress(OSError):  # a keyring of its own, where the kernel has any: namespaces do not cover them
            _call("syscall", _KEYCTL, 1, None)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    for name, value in (("AS", used + (limits["memory_mb"] + 512) * 2**20), ("CORE", 0),
                        ("FSIZE", limits["file_mb"] * 2**20), ("CPU", int(limits["cpu_seconds"])),
                        ("NOFILE", 1024), ("MEMLOCK", 64 * 1024), ("MSGQUEUE", 0),
                        *((("NPROC", limits["processes"]),) if own_namespace else ())):
        which, (_, most) = getattr(resource, f"RLIMIT_{name}"), resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(which, (value, value))
    if own_namespace:
        for capability in range(64):
            if _libc().prctl(_CAPBSET_DROP, capability, 0, 0, 0):
                break
    if user is not None:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    if own_namespace:
        header, nothing = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        _call("capset", header, nothing)
    _call("prctl", _NO_NEW_PRIVS, 1, 0, 0, 0)
    _call("prctl", _DUMPABLE, 1, 0, 0, 0)
    die_with_parent()
    os.setpriority(os.PRIO_PROCESS, 0, max(10, os.getpriority(os.PRIO_PROCESS, 0)))  # the grader goes first
    if own_namespace:
        syscalls.forbid()


def die_with_parent():
    """Ask the system to kill this process when its parent ends."""
    _call("prctl", _PDEATHSIG, 9, 0, 0, 0)


@cache
def _probe():
    """("root" or "user" or None, why not)."""
    if sys.platform != "linux" or _PIVOT_ROOT is None:
        return None, f"it needs Linux on x86-64 or ARM64, and this is {sys.platform}"
    said = []
    for kind in ("root", "user") if os.geteuid() == 0 else ("user",):
        if (problem := _try(kind)) is None:
            return kind, ""
        said.append(f"as {kind}: {problem}")
    return None, "; ".join(said)


def _try(kind):
    """What goes wrong when a process enters and confines itself, or None; in a child of a child."""
    import tempfile

    with tempfile.TemporaryDirectory() as base:
        scratch, shared = Path(base, "root"), Path(base, "shared")
        scratch.mkdir()
        shared.mkdir()
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            said = "the process ended early"
            try:
                enter(view(), str(scratch), str(shared), USER, mapped=kind == "user")
                inner = os.fork()
                if inner == 0:
                    try:
                        confine({"memory_mb": 256, "processes": 64, "file_mb": 1, "cpu_seconds": 10},
                                USER if kind == "root" else None)
                        there = all(map(os.path.exists, (sys.prefix, sys.base_prefix, Path(__file__).parents[2])))
                        os._exit(0 if os.getpid() == 1 and there and not os.path.exists("/etc/shadow") else 1)
                    except BaseException as error:  # noqa: BLE001 - said by the parent
                        os.write(writer, f"{error}; ".encode())
                        os._exit(1)
                said = "" if os.waitpid(inner, 0)[1] == 0 else "the inner process could not be confined"
                seal(shared)
            except BaseException as error:  # noqa: BLE001 - said by the parent
                said = str(error)
            os.write(writer, said.encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            said = pipe.read().decode()
        os.waitpid(pid, 0)
        return said or None


def kind():
    """How a sandbox can be had here: "root", "user" (a user namespace), or None."""
    return _probe()[0]


def why_not():
    """What the system answered where `kind()` is None, in one line."""
    return _probe()[1]
