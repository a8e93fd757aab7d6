"""A model behind a real server on this machine (127.0.0.1), for a client that counts every byte (`course_lib.wire`).

    with Server(model) as server, Client(server.port) as client:    # a torch model, or "module:function"
        reply = client.ask(images)                          # as JSON; form="raw": plain bytes; compress=True: gzip
        print(reply.outputs, reply.seconds, reply.traffic)  # client.traffic: all so far, complete once it is closed

The server is Python's http.server in a process of its own. It needs no installation, and answers sooner than FastAPI
with uvicorn once three habits are changed: Nagle's algorithm is off, a reply leaves in one piece (as they come: 40 ms
more a query), and more than five clients may wait. It ends with the `with` block, and with the notebook's kernel,
however either ends; interrupting a cell reaches it only through that block."""

import gzip
import io
import json
import os
import pkgutil
import socket
import subprocess
import sys
import threading
import time
import zlib
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer

import numpy as np

from course_lib.wire import HOST, JSON, RAW, Client, NoAnswer, Reply, Traffic, checked, pack, unpack

__all__ = ["Client", "NoAnswer", "Reply", "Server", "Traffic"]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = default_request_version = "HTTP/1.1"  # keep-alive; and garbage, too, gets a status line
    wbufsize, disable_nagle_algorithm = -1, True             # a reply leaves in one piece, and at once
    timeout = 60                                             # a client that stalls is let go after a minute

    def version_string(self):
        return "course_lib"

    def log_message(self, *_):
        pass

    def send(self, status: int, body: bytes, kind: str = JSON, *headers: tuple[str, str]):
        self.send_response(status)
        for key, value in (("Content-Type", kind), ("Content-Length", str(len(body))), *headers):
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def send_error(self, code, message=None, explain=None):
        """Refuses and closes; the base class calls it too. What still comes is read, for a second at most: closing on
        unread bytes would reset the connection, and the client might not see why."""
        self.close_connection, end = True, time.monotonic() + 1
        self.send(code, json.dumps({"error": message or self.responses[code][1]}).encode(), JSON, ("Connection", "close"))
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_WR)
        while (left := end - time.monotonic()) > 0:
            self.connection.settimeout(left)
            if not self.connection.recv(1 << 16):
                return

    def do_GET(self):
        if self.path != "/health":
            return self.send_error(404, "ask GET /health, POST /predict or POST /predict?scores")
        self.close_connection |= "Content-Length" in self.headers  # a body that nobody reads
        return self.send(200, json.dumps({"status": "ok", "pid": os.getpid()}).encode())

    def do_POST(self):
        try:
            body, kind = self.predict()
        except NoAnswer as refusal:
            return self.send_error(refusal.status, str(refusal))
        if "gzip" in self.headers.get("Accept-Encoding", ""):
            return self.send(200, gzip.compress(body, mtime=0), kind, ("Content-Encoding", "gzip"))
        return self.send(200, body, kind)

    def predict(self) -> tuple[bytes, str]:
        most, sizes = self.server.max_bytes, self.headers.get_all("Content-Length", [])
        if self.path not in ("/predict", "/predict?scores"):
            raise NoAnswer("ask POST /predict, POST /predict?scores or GET /health", 404)
        if not sizes or "Transfer-Encoding" in self.headers:
            raise NoAnswer("say in Content-Length how many bytes follow", 411)
        if len(sizes) > 1 or not (sizes[0].isascii() and sizes[0].isdigit()):
            raise NoAnswer(f"Content-Length is {' and '.join(sizes)[:40]!r}; give one whole number", 400)
        if len(sizes[0]) > 12 or int(sizes[0]) > most:
            raise NoAnswer(f"{sizes[0][:13]} bytes are more than the {most} that this server takes", 413)
        if len(body := self.rfile.read(int(sizes[0]))) < int(sizes[0]):
            raise ConnectionAbortedError("the client hung up")
        if (self.headers.get_content_type() not in (JSON, RAW)
                or self.headers.get("Content-Encoding", "identity") not in ("identity", "gzip")):
            raise NoAnswer(f"send {JSON} or {RAW}, as it is or with gzip", 415)
        try:
            inputs = unpack(body, self.headers, "inputs", most)
            with self.server.one_at_a_time:
                outputs = np.asarray(self.server.model(np.atleast_2d(inputs)))
        except NoAnswer:
            raise
        except (ValueError, zlib.error) as error:
            raise NoAnswer(f"it cannot be answered: {error}", 400) from None
        except Exception as error:  # noqa: BLE001 - whatever a model may raise
            raise NoAnswer(f"the model failed: {type(error).__name__}: {error}", 500) from None
        try:
            if checked(outputs).ndim == 2 and self.path == "/predict":
                outputs = outputs.argmax(1).astype("uint8" if outputs.shape[1] <= 256 else "int64")
            return pack(outputs, self.headers.get("Accept") == RAW, "outputs")
        except ValueError as error:
            raise NoAnswer(f"the model's answer is of no use: {error}", 500) from None


class _HTTPServer(ThreadingHTTPServer):
    request_queue_size, daemon_threads = 1024, True  # as it comes five may wait, and the next lose a second
    allow_reuse_address = os.name == "posix"         # on Windows it would share a port that is in use
    one_at_a_time = threading.Lock()

    def server_bind(self):
        TCPServer.server_bind(self)  # HTTPServer would ask the network for this machine's name

    def service_actions(self):  # twice a second: a second way to see that the kernel is gone, beside the pipe on stdin
        if os.name == "posix" and os.getppid() != self.parent:
            os._exit(0)

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], OSError):  # a client that hung up is no error
            super().handle_error(request, client_address)


def _load(order: dict, saved: bytes):
    """The function that answers: array [n, d] to array [n, k] or [n]."""
    if order["function"]:
        return pkgutil.resolve_name(order["function"])
    import torch

    module = torch.load(io.BytesIO(saved), map_location="cpu", weights_only=False).eval()

    def model(x: np.ndarray) -> np.ndarray:
        scaled = x.astype("float32") * (order["scale"] if x.dtype.kind in "iu" else 1)
        with torch.inference_mode():
            return module(torch.from_numpy(scaled)).numpy()
    return model


def _child():
    """The server's process. Its stdin brings the model, and ends when the notebook's kernel does."""
    _HTTPServer.parent = os.getppid()
    order = json.loads(sys.stdin.buffer.readline())
    saved = sys.stdin.buffer.read(order["size"])
    threading.Thread(target=lambda: (os.read(0, 1), os._exit(0)), daemon=True).start()
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a model prints goes where its errors go
    step = "load this model"
    try:
        _HTTPServer.max_bytes, _HTTPServer.model = order["max_bytes"], staticmethod(_load(order, saved))
        step = f"have port {order['port']}; leave it out, and a free one is taken"
        server = _HTTPServer((HOST, order["port"]), _Handler)
        ready = {"port": server.server_address[1]}
    except Exception as error:  # noqa: BLE001 - whatever loading a model may raise
        ready = {"error": " ".join(f"the server cannot {step} ({type(error).__name__}: {error})".split())}
    with answer:
        print(json.dumps(ready), file=answer)
    if "port" in ready:
        server.serve_forever()


class Server:
    """Serves `model` from `with Server(model) as server:` on, or from `start()`, to the end of the block, or `stop()`.

    model: a torch model whose class stands in a module, or "module:function", a function of an array [n, d] that gives
    [n, k] or [n]. scale: a torch model gets whole numbers times this (1 / 16: pixels 0 to 16 may travel as bytes).
    port: 0, any that is free. max_bytes: longer queries are refused. timeout: seconds for starting. `port` and `pid`
    are those of the server that runs. Raises ValueError for a model or port that will not do, NoAnswer when it does
    not start."""
    _process = None

    def __init__(self, model, *, scale: float = 1.0, port: int = 0, max_bytes: int = 1_000_000, timeout: float = 60):
        if not isinstance(port, int) or not 0 <= port < 2**16 or not isinstance(max_bytes, int) or max_bytes < 1:
            raise ValueError(f"port={port!r} with max_bytes={max_bytes!r} will not do; leave them out, or give whole numbers, "
                             "port below 65,536 and max_bytes from 1")
        function, saved = model if isinstance(model, str) and ":" in model else None, io.BytesIO()
        if function is None:
            import torch

            if not isinstance(model, torch.nn.Module) or any(type(m).__module__ == "__main__" for m in model.modules()):
                raise ValueError(f"model is a {type(model).__name__}; give a torch model whose classes stand in modules, "
                                 'because the server cannot import from a notebook, or "module:function"')
            try:
                torch.save(model, saved)
            except Exception as error:  # noqa: BLE001 - pickle has many kinds
                raise ValueError(f"this {type(model).__name__} cannot be sent to the server's process: {error}") from None
        saved, self.port, self.pid = saved.getvalue(), port, None
        order = {"function": function, "scale": scale, "port": port, "max_bytes": max_bytes, "size": len(saved)}
        self._order, self._timeout = json.dumps(order).encode() + b"\n" + saved, timeout

    def start(self) -> "Server":
        """Starts it, and returns when GET /health has answered."""
        if self._process:
            return self
        env = os.environ | {"PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path), "OMP_NUM_THREADS": "1"}
        # a group of its own: whoever interrupts the kernel interrupts its group
        apart = {"start_new_session": True} if os.name == "posix" else {"creationflags": 0x200}
        try:
            self._process = process = subprocess.Popen(
                [sys.executable, "-P", "-c", "from course_lib.serving import _child; _child()"], env=env,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, **apart)
            guard = threading.Timer(self._timeout, process.kill)
            guard.daemon = True
            guard.start()
            with suppress(OSError):  # it has ended already
                process.stdin.write(self._order)
                process.stdin.flush()
            said = json.loads(process.stdout.readline() or "{}")
            guard.cancel()
            if "error" in said:
                raise ValueError(said["error"])
            if "port" not in said:
                raise NoAnswer(f"the server was not ready in {self._timeout:g} seconds, or ended: {process.wait()}")
            self.port, self.pid = said["port"], process.pid
            with Client(self.port) as client:
                client.exchange("GET", "/health")
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self):
        """Ends it, and returns when its process and its port are gone."""
        if self._process:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                with suppress(OSError):
                    pipe.close()
            self._process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    __del__ = stop  # one that is forgotten: `server` is another now
