"""How nbval listens to a kernel, repaired: dead kernels, one deadline a cell, output that is too much.

Stock nbval 0.11 reads outputs only after the reply has come, waits its whole timeout for a dead kernel, and
begins that timeout anew with each message. These functions take the place of methods: nbval_fixes.install().
"""

import contextlib
import time
from collections import deque
from dataclasses import dataclass, field
from queue import Empty

import zmq
from nbval.kernel import KernelManager, RunningKernel

POLL, DRAIN = 0.2, 10.0  # seconds: between two looks at the process; for outputs to follow a reply
ENVELOPE = 800  # bytes of each message that are no output, and not counted; but 100 always are
TOLD = {"status", "execute_input", "display_data", "execute_result", "stream", "error"}  # nbval knows no more
limits = {"output_bytes": 4 << 20, "cell_seconds": None}
_init, _send = RunningKernel.__init__, RunningKernel.execute_cell_input


class CellFault(Exception):
    """A cell was not run to its end; the text says why, without naming the cell."""


class KernelDied(CellFault):
    """The kernel's process ended while the cell ran."""


class KernelGone(KernelDied):
    """The kernel's process had ended, or was stopped, before the cell."""


class CellTimeout(CellFault):
    """The cell did not end in time. The kernel lives on if an interrupt helped."""


class TooMuchOutput(CellFault):
    """The cell wrote more than `output_bytes`; the kernel was stopped."""


@dataclass
class Running:
    """What is known of the cell that runs: `kernel.running`. `reply` is the content of its execute_reply."""

    msg_id: str = ""
    reply: dict = field(default_factory=dict)
    seconds: float = float("inf")  # its limit
    overdue: bool = False
    until: float = float("inf")  # when the last output must have come
    size: int = 0
    inbox: dict = field(default_factory=lambda: {"shell": deque(), "iopub": deque()})


class Manager(KernelManager):
    """Starts kernels whose client never takes in a message far over the limit: zmq hangs up on it."""

    def client(self, **options):
        client = super().client(**options)
        client.context.setsockopt(zmq.MAXMSGSIZE, limits["output_bytes"] + (1 << 20))
        return client


def init(self, *args, **options):
    self.running = Running()
    try:
        _init(self, *args, **options)
    except BaseException:
        if hasattr(self, "km"):  # or else a kernel that never answered would live on
            self.stop()
        raise


def execute_cell_input(self, *args, **options):
    own = getattr(self, "cell_seconds", None)
    self.running = Running(seconds=min(limits["cell_seconds"] or float("inf"), own or float("inf")))
    self.running.msg_id = _send(self, *args, **options)
    return self.running.msg_id


def await_reply(self, msg_id, timeout=None):
    running = self.running
    seconds = float("inf") if timeout is None else timeout
    if running.msg_id == msg_id:
        seconds = running.seconds = min(seconds, running.seconds)
    ends = time.monotonic() + seconds
    try:
        while True:  # whatever else comes, the deadline stays
            msg = self.get_message("shell", timeout=ends - time.monotonic())
            if msg["parent_header"].get("msg_id") == msg_id and msg["msg_type"].endswith("_reply"):
                break
    except Empty:
        running.overdue = True
        raise
    finally:
        running.until = time.monotonic() + DRAIN
    if msg["content"].get("status") == "aborted":
        raise RuntimeError("the kernel took no more cells")
    running.reply = msg["content"]


def get_message(self, stream, timeout=None):
    running, ends = self.running, float("inf") if timeout is None else time.monotonic() + timeout
    box = running.inbox[stream]
    while True:
        while box:
            with contextlib.suppress(Exception):  # garbage is no message
                msg = self.kc.session.deserialize(self.kc.session.feed_identities(box.popleft())[1])
                if stream == "shell" or msg["msg_type"] in TOLD:
                    return msg
        left = min(ends, running.until if stream == "iopub" else ends) - time.monotonic()
        if left <= 0:
            running.overdue |= stream == "iopub"
            raise Empty
        if _take(self, min(left, POLL)) or self.is_alive():  # to ask for life costs more than to take a message
            continue
        _take(self, 0)  # what it still sent
        if not box:
            _stop(self, KernelDied, "the kernel died")


def _take(self, seconds):
    """Wait up to `seconds` for messages, and move them from the sockets into the inbox, undecoded.

    True where some came.
    """
    channels = {"shell": self.kc.shell_channel.socket, "iopub": self.kc.iopub_channel.socket}
    poller, running, limit = zmq.Poller(), self.running, limits["output_bytes"]
    for socket in channels.values():
        poller.register(socket, zmq.POLLIN)
        poller.register(socket.get_monitor_socket(zmq.EVENT_DISCONNECTED), zmq.POLLIN)
    ready, flood, before = dict(poller.poll(seconds * 1000)), False, running.size
    for name, socket in channels.items():
        for _ in range(1000 if ready.pop(socket, 0) else 0):  # a flood must not hold us past the deadline
            try:
                frames = socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            running.inbox[name].append(frames)
            running.size += max(sum(map(len, frames)) - ENVELOPE, 100)
            if running.size > limit:
                flood = True
                break
    ends = time.monotonic() + 1
    while ready and not flood and self.is_alive():  # hung up: the kernel ends, or one message was too big
        time.sleep(0.02)
        flood = time.monotonic() > ends
    if flood:
        _stop(self, TooMuchOutput, f"more than {limit / 2**20:g} MB of output: the kernel was stopped")
    return running.size > before


def _stop(self, fault, text):
    self.stop()
    raise fault(text)
