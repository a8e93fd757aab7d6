"""Queries to a server on this machine, and every byte they cost: the client's side of `course_lib.serving`.

Bytes are the kernel's own count for each connection (TCP_INFO, Linux 4.19 on), in packets of at most 1,500 bytes, as
on most networks. Elsewhere a socket that counts gives payload and HTTP; TCP/IP is then unknown. Not counted: what lies
under IP (Ethernet, radio), encryption, and what a network that loses packets makes the server send again."""

import gzip
import http.client
import json
import socket
import struct
import sys
import time
import zlib
from contextlib import AbstractContextManager, suppress
from dataclasses import astuple, dataclass
from multiprocessing.connection import wait

import numpy as np

from course_lib.tables import Table

HOST, JSON, RAW = "127.0.0.1", "application/json", "application/octet-stream"
TYPES = ("uint8", "int32", "int64", "float16", "float32", "float64")
KERNEL = sys.platform == "linux"  # whether the kernel counts


class NoAnswer(RuntimeError):
    """The server gave no usable answer, in one sentence; `status`: its HTTP status when it refused, else None."""

    def __init__(self, sentence: str, status: int | None = None):
        super().__init__(" ".join(sentence.split()))
        self.status = status


@dataclass(frozen=True)
class Traffic:
    """Bytes up (to the server) and down: payload; what HTTP adds (first line and headers); headers of TCP and IP, those
    of opening, acknowledging and closing included (None: unknown). `+` adds; it shows as a table."""
    payload_up: int = 0
    payload_down: int = 0
    http_up: int = 0
    http_down: int = 0
    ip_up: int | None = 0
    ip_down: int | None = 0
    queries: int = 0
    connections: int = 0

    def __add__(self, other):
        return Traffic(*(None if None in n else sum(n) for n in zip(astuple(self), astuple(other), strict=True)))

    @property
    def total(self) -> int | None:
        """All bytes of both ways; None when those of TCP and IP are unknown."""
        return None if self.ip_up is None else sum(astuple(self)[:6])

    def table(self) -> Table:
        b, kinds = astuple(self), ("payload", "HTTP", "TCP/IP")[:2 if self.ip_up is None else 3]
        rows = [(kind, b[2 * i], b[2 * i + 1], b[2 * i] + b[2 * i + 1]) for i, kind in enumerate(kinds)]
        rows.append(("together", *(sum(row[i] for row in rows) for i in (1, 2, 3))))
        by = "the kernel" if len(kinds) == 3 else "the client's socket; TCP/IP is unknown here, and comes on top"
        return Table(["bytes", "up", "down", "both"], rows, f"queries: {b[6]}, connections: {b[7]}; counted by {by}")

    def __str__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


@dataclass(frozen=True, eq=False)
class Reply:
    """`seconds`: from before connecting, where it had to connect, to the last byte of the answer."""
    outputs: np.ndarray
    seconds: float
    traffic: Traffic


def checked(array: np.ndarray) -> np.ndarray:
    """The array, when it can be sent, else a ValueError that says what can."""
    if array.dtype.name not in TYPES or array.ndim not in (1, 2) or not array.size or not np.isfinite(array).all():
        raise ValueError(f"{array.dtype} numbers of shape {list(array.shape)} cannot be sent; give a row, or rows of "
                         f"one length, of finite numbers of type {', '.join(TYPES)}")
    return array


def pack(array: np.ndarray, raw: bool, name: str) -> tuple[bytes, str]:
    """Body and Content-Type of an array: the text {name: numbers}, or its bytes, little end first."""
    if not raw:
        return json.dumps({name: checked(array).tolist()}, separators=(",", ":")).encode(), JSON
    columns = f"; columns={array.shape[1]}" if checked(array).ndim == 2 else ""
    return array.astype(array.dtype.newbyteorder("<")).tobytes(), f"{RAW}; dtype={array.dtype.name}{columns}"


def unpack(body: bytes, headers, name: str, most: int) -> np.ndarray:
    """What `pack` packed; gzip of `most` bytes at most. NoAnswer, ValueError or zlib.error for anything else."""
    if headers.get("Content-Encoding") == "gzip":
        body = (unzip := zlib.decompressobj(31)).decompress(body, most)
        if not unzip.eof:
            raise NoAnswer(f"its gzip breaks off, or unpacks to {most} bytes or more", 413 if len(body) == most else 400)
    if headers.get_content_type() != RAW:
        try:
            return checked(np.array(json.loads(body)[name]))
        except (json.JSONDecodeError, UnicodeError, LookupError, TypeError, RecursionError):
            raise ValueError(f'it is not JSON of the form {{"{name}": numbers}} but begins {body[:30]!r}') from None
    if (kind := headers.get_param("dtype")) not in TYPES:
        raise ValueError(f"its type is {headers['Content-Type']!r}; name a dtype: {', '.join(TYPES)}")
    array, columns = np.frombuffer(body, np.dtype(kind).newbyteorder("<")).astype(kind), headers.get_param("columns")
    return checked(array if columns is None else array.reshape(-1, int(columns)))


class _Socket(socket.socket):
    up = down = 0

    def sendall(self, data, *flags):
        super().sendall(data, *flags)
        self.up += len(data)

    def recv_into(self, *args):
        got = super().recv_into(*args)
        self.down += got
        return got


def _tcp_info(wire: socket.socket) -> bytes:  # struct tcp_info of Linux's tcp.h; its first byte is the state, 7: CLOSED
    return wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256) if KERNEL else b""


class _Connection(http.client.HTTPConnection):
    """http.client's connection, with counts. `wire` is its socket once more: http.client may close its own early."""
    reset = False  # whether the server broke it off

    def connect(self):
        self.sock = self.tap = _Socket(socket.AF_INET, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # Nagle's algorithm off
        if KERNEL:  # packets of 1,500 bytes with their headers; else up to 65,536 on this machine
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1460)
        self.sock.connect((self.host, self.port))
        self.wire = self.sock.dup()

    def counts(self, ended: bool = False) -> tuple[int | None, ...]:
        """So far: bytes up and down, headers of TCP and IP up and down. `ended`: the server's side was seen to end."""
        if len(info := _tcp_info(self.wire)) < 220:
            return self.tap.up, self.tap.down, None, None
        stamps, received, out, in_ = info[5] & 1, *struct.unpack_from("=QII", info, 128)
        sent, again, twice = struct.unpack_from("=QQI", info, 200)  # `twice`: packets that came twice, says the server
        header = 40 + 12 * stamps  # IPv4 and TCP, 20 each; with time stamps, as is usual, 12 more
        first = 4 + (info[5] & 4) + 2 * (info[5] & 2) * (1 - stamps)  # what the first packet of each way has besides
        received -= ended or info[0] == 8  # the kernel counts the server's end as one byte (8: CLOSE_WAIT)
        return sent - again, received, header * out + first + again, header * in_ + first + 12 * twice

    def finish(self) -> tuple[int | None, ...]:
        """Closes it, and gives the last counts once the kernel has seen the last packet, or after a second."""
        ended, last = False, time.monotonic() + 1
        with suppress(OSError):
            self.wire.shutdown(socket.SHUT_WR)
        with suppress(OSError):
            self.wire.settimeout(1)
            while self.wire.recv(1 << 16) and time.monotonic() < last:
                pass
            ended = not self.reset
        while _tcp_info(self.wire)[:1] not in (b"", b"\7") and time.monotonic() < last:
            time.sleep(0.0005)
        counts = self.counts(ended)
        self.close()
        self.wire.close()
        return counts


class Client(AbstractContextManager):
    """Asks the server at `port`, one query after the other; each thread needs its own.

    keep_alive=False: every query opens a connection and closes it. timeout: seconds to wait for an answer. `traffic`:
    all so far; a connection's opening counts with its first query, its closing with the last, or with `close()`."""

    def __init__(self, port: int, *, keep_alive: bool = True, timeout: float = 10):
        self.port, self.timeout, self.traffic, self._connection = port, timeout, Traffic(), None
        self._close = {} if keep_alive else {"Connection": "close"}

    def ask(self, x, *, form: str = "json", compress: bool = False, scores: bool = False) -> Reply:
        """The server's class for each row of `x`, numbers [n, d] or [d]; scores=True: the model's outputs [n, k].

        form: "json"; "raw": the bytes of x in its own type, and so the answer. compress: gzip, both ways. Raises
        ValueError for what cannot be sent, NoAnswer when a refusal, something unreadable, or nothing comes back."""
        if form not in ("json", "raw"):
            raise ValueError(f'form is {form!r}; choose "json" or "raw"')
        body, kind = pack(np.atleast_2d(np.asarray(x)), form == "raw", "inputs")
        headers = {"Content-Type": kind, "Accept": RAW if form == "raw" else JSON}
        if compress:
            body, headers["Accept-Encoding"], headers["Content-Encoding"] = gzip.compress(body, mtime=0), "gzip", "gzip"
        response, data, seconds, traffic = self.exchange("POST", "/predict" + "?scores" * scores, body, headers)
        try:
            return Reply(unpack(data, response.headers, "outputs", 10**8), seconds, traffic)
        except (ValueError, zlib.error) as error:
            raise NoAnswer(f"the answer from port {self.port} cannot be read: {error}") from None

    def exchange(self, method: str, path: str, body: bytes = b"", headers: dict | None = None) -> tuple:
        """One HTTP query: the response, its body, seconds, Traffic. NoAnswer unless its status is 200."""
        if self._connection and wait([self._connection.wire], 0):  # the server closed it meanwhile
            self.close()
        start, opened, data, end = time.perf_counter(), self._connection is None, b"", True
        if opened:
            self._open()
        try:
            self._connection.request(method, path, body, {**(headers or {}), **self._close})
            response = self._connection.getresponse()
            data = response.read()
            end = response.will_close or self._close
        except TimeoutError:
            raise NoAnswer(f"no answer came from port {self.port} within {self.timeout:g} seconds") from None
        except (ConnectionError, http.client.IncompleteRead) as error:
            self._connection.reset = type(error) is ConnectionResetError  # http.client has its own kind for a plain end
            raise NoAnswer(f"the server at port {self.port} ended in the middle of a query; start it again") from None
        except http.client.HTTPException:
            raise NoAnswer(f"what answers at port {self.port} does not speak HTTP") from None
        finally:
            seconds = time.perf_counter() - start
            traffic = self._settle(end, len(body), len(data), 1, opened)
        if response.status != 200:
            said = response.reason
            with suppress(ValueError, LookupError, TypeError):
                said = json.loads(data)["error"]
            raise NoAnswer(f"the server refused this query ({response.status}): {said}", response.status)
        return response, data, seconds, traffic

    def _open(self):
        connection = _Connection(HOST, self.port, timeout=self.timeout)
        try:
            connection.connect()
        except OSError:
            connection.close()
            raise NoAnswer(f"no server answers at port {self.port}; start one with Server(model)") from None
        self._connection, self._seen = connection, (0, 0, 0, 0)

    def _settle(self, end=True, payload_up=0, payload_down=0, queries=0, opened=False) -> Traffic:
        now = self._connection.finish() if end else self._connection.counts()
        up, down, *ip = (None if n is None else n - seen for n, seen in zip(now, self._seen, strict=True))
        payload_up, payload_down, self._seen = min(payload_up, up), min(payload_down, down), now  # less if broken off
        part = Traffic(payload_up, payload_down, up - payload_up, down - payload_down, *ip, queries, int(opened))
        self.traffic += part
        self._connection = None if end else self._connection
        return part

    def close(self):
        if self._connection:
            self._settle()

    def __exit__(self, *_):
        self.close()
