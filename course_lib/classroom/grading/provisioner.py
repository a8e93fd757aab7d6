"""Lets any Jupyter client, stock nbval included, take its kernels from a warm server (see warm.py).

A kernel specification names it (`write_spec`), so `pytest --nbval --nbval-kernel-name=course-warm` needs no more
than JUPYTER_PATH. The kernel is reached through sockets in one folder: it needs, and in the sandbox has, no network.
"""

import asyncio
import json
import os
import select
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from jupyter_client.provisioning import KernelProvisionerBase
from traitlets import Dict, Unicode

from . import warm
from .model import Limits

NAME = "course-warm"
ENV = {"PATH": f"{os.path.dirname(sys.executable)}:/usr/local/bin:/usr/bin:/bin", "USER": "learner", "LOGNAME": "learner",
       "LANG": "C.UTF-8", "COURSE_GRADING": "1", "COURSE_QUIET": "1",
       "PYTHONDONTWRITEBYTECODE": "1", "PIP_NO_INDEX": "1", "PIP_RETRIES": "0", **warm.ONE_THREAD}


def write_spec(folder, server, limits=None, secrets=(), sandboxed=True):
    """Write the kernel specification into `folder`/kernels/course-warm; JUPYTER_PATH=folder makes it known.

    server: what warm.server() yields; limits: model.Limits; secrets: paths that no kernel may
    see; sandboxed=False asks for no sandbox.
    """
    limits = limits or Limits()
    config = {"socket": server["socket"], "sandbox": (server["sandbox"] if sandboxed else "") or "",
              "secrets": {"paths": list(map(str, secrets))},
              "limits": {"memory_mb": limits.memory_mb, "processes": limits.processes, "file_mb": limits.file_mb,
                         "cpu_seconds": 2 * limits.total_seconds}}
    path = Path(folder, "kernels", NAME)
    path.mkdir(parents=True, exist_ok=True)
    spec = {"argv": ["warm"], "display_name": "Python, warm", "language": "python",
            "metadata": {"kernel_provisioner": {"provisioner_name": NAME, "config": config}}}
    (path / "kernel.json").write_text(json.dumps(spec))


class WarmProvisioner(KernelProvisionerBase):
    """Starts kernels by asking a warm server for a fork, and ends them through the same connection."""

    socket = Unicode(help="path of the warm server's socket", config=True)
    sandbox = Unicode(help='"root", "user" or "" for none', config=True)
    secrets = Dict(help='{"paths": what no kernel may see}', config=True)
    limits = Dict(help="memory_mb, processes, file_mb, cpu_seconds", config=True)
    connection = None
    pid = kernel_pid = None
    ended = None
    base = None

    @property
    def has_process(self):
        return self.connection is not None

    async def pre_launch(self, **kwargs):
        self.base = Path(tempfile.mkdtemp(prefix="k", dir=Path(self.socket).parent))
        for name in ("root", "s"):
            (self.base / name).mkdir()
        (self.base / "s").chmod(0o777)  # its parents are closed to others
        self.base.chmod(0o711)
        manager = self.parent
        manager.transport, manager.ip = "ipc", str(self.base / "s" / "k")
        manager.connection_file = str(self.base / "connection.json")
        manager.shell_port, manager.iopub_port, manager.stdin_port, manager.hb_port, manager.control_port = range(1, 6)
        manager.write_connection_file()
        self.connection_info = manager.get_connection_info()
        return await super().pre_launch(cmd=["warm"], **kwargs)

    async def launch_kernel(self, cmd, **kwargs):
        info = dict(self.connection_info, key=self.connection_info["key"].decode())
        self.connection = warm.connect(self.socket, timeout=60)
        warm.send(self.connection, {
            "do": "kernel", "connection": info, "env": ENV, "limits": self.limits, "sandbox": self.sandbox,
            "secrets": self.secrets.get("paths", []), "shared": str(self.base / "s"), "scratch": str(self.base / "root")})
        said = warm.receive(self.connection) or {"error": "the warm server is gone"}
        if "error" in said:
            raise RuntimeError(f"no kernel: {said['error']}")
        self.pid, self.kernel_pid, self.ended = said["pid"], said["kernel"], None
        return self.connection_info

    async def poll(self):
        if self.connection is not None and self.ended is None and select.select([self.connection], [], [], 0)[0]:
            try:
                said = warm.receive(self.connection) or {}
            except OSError:
                said = {}
            self.ended = said.get("exit", -signal.SIGKILL)
        return self.ended if self.connection is not None else 0

    async def wait(self):
        while await self.poll() is None:
            await asyncio.sleep(0.01)
        self._close()
        return self.ended

    async def send_signal(self, signum):
        letter = {number: letter for letter, number in warm.SIGNALS.items()}.get(signum)
        if self.connection is not None and self.ended is None and letter:
            try:
                self.connection.sendall(letter)
            except OSError:
                pass

    async def kill(self, restart=False):
        await self.send_signal(signal.SIGKILL)

    async def terminate(self, restart=False):
        await self.send_signal(signal.SIGTERM)

    async def cleanup(self, restart=False):
        self._close()
        if self.base is not None:
            shutil.rmtree(self.base, ignore_errors=True)

    def _close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None
