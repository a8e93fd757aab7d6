"""The server and the client: every byte is the one an independent count finds, bad input meets a sentence, and nothing is
left behind, however a run ends."""

import contextlib
import gzip
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import psutil
import pytest

from course_lib import serving, wire
from course_lib.data import digits
from course_lib.models import DigitsMLP
from course_lib.serving import Client, NoAnswer, Server, Traffic

ROOT = Path(__file__).parents[1]
IMAGE = (digits().test.x[:1] * 16).numpy().astype("uint8")  # [1, 64], 0 to 16
WAYS = [(form, zipped) for form in ("json", "raw") for zipped in (False, True)]
linux = pytest.mark.skipif(not wire.KERNEL, reason="the kernel's counts are Linux's")


@pytest.fixture(scope="module")
def server():
    with Server("served:double") as running:
        yield running


def soon(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def ended(pid):
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE  # ended; nobody has asked how
    return True


def closed(port):
    with socket.socket() as probe:
        return probe.connect_ex((wire.HOST, port)) != 0


def sentence(error):
    text = str(error.value)
    assert "\n" not in text and 20 < len(text) < 300 and "Traceback" not in text
    return text


# ---- an independent count: a proxy that stands between, and the other end of the kernel


class Proxy:
    """Passes on what it gets, and keeps it. `ends`: for each connection the kernel's counts at the proxy's own end."""

    def __init__(self, port):
        self.target, self.up, self.down, self.ends, self.threads = port, [], [], [], []
        self.listener = socket.create_server((wire.HOST, 0))
        self.port = self.listener.getsockname()[1]

    def __enter__(self):
        self.start(self.accept)
        return self

    def start(self, work, *args):
        self.threads.append(threading.Thread(target=work, args=args, daemon=True))
        self.threads[-1].start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                number = len(self.up)
                self.up.append(bytearray())
                self.down.append(bytearray())
                self.ends.append(None)
                self.start(self.serve, client, number)

    def serve(self, client, number):
        upstream = socket.create_connection((wire.HOST, self.target))
        up = threading.Thread(target=self.pump, args=(client, upstream, self.up[number]), daemon=True)
        up.start()
        self.pump(upstream, client, self.down[number])
        up.join(5)
        if wire.KERNEL:
            soon(lambda: client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == b"\7", 2)
            info = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
            self.ends[number] = struct.unpack_from("=QII", info, 128) + struct.unpack_from("=Q", info, 200)
        client.close()
        upstream.close()

    @staticmethod
    def pump(source, sink, kept):
        with contextlib.suppress(OSError):
            while block := source.recv(1 << 16):
                kept += block
                sink.sendall(block)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join(5)
            assert not thread.is_alive()


def payload(stream):
    """Bytes of bodies in a stream of HTTP messages, by their own Content-Length."""
    total, rest = 0, bytes(stream)
    while rest:
        head, _, rest = rest.partition(b"\r\n\r\n")
        size = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length"))
        total, rest = total + size, rest[size:]
    return total


@pytest.mark.parametrize("keep_alive", [True, False])
@pytest.mark.parametrize(("form", "zipped"), WAYS)
def test_bytes_are_those_that_a_proxy_counts(server, form, zipped, keep_alive):
    with Proxy(server.port) as proxy:
        with Client(proxy.port, keep_alive=keep_alive) as client:
            replies = [client.ask(np.repeat(IMAGE, n, axis=0), form=form, compress=zipped) for n in (1, 2, 300)]
            assert [len(reply.outputs) for reply in replies] == [1, 2, 300]
        all_of_it = client.traffic
    assert all_of_it.payload_up == sum(map(payload, proxy.up))
    assert all_of_it.payload_down == sum(map(payload, proxy.down))
    assert all_of_it.payload_up + all_of_it.http_up == sum(map(len, proxy.up)) > 0
    assert all_of_it.payload_down + all_of_it.http_down == sum(map(len, proxy.down)) > 0
    assert (all_of_it.queries, all_of_it.connections) == (3, 1 if keep_alive else 3) == (3, len(proxy.up))
    assert [reply.traffic.connections for reply in replies] == ([1, 0, 0] if keep_alive else [1, 1, 1])
    if not keep_alive:  # the closing is in each reply
        assert sum((reply.traffic for reply in replies), Traffic()) == all_of_it
    if form == "json" and not zipped:
        assert b'{"inputs":[[0,0,' in proxy.up[0] and b'{"outputs":[' in proxy.down[0]
    elif form == "raw" and not zipped:
        assert all_of_it.payload_up == IMAGE.size * 303 and all_of_it.payload_down == 303


@linux
@pytest.mark.parametrize("keep_alive", [True, False])
def test_packets_are_those_that_the_other_end_counts(server, keep_alive, monkeypatch):
    infos, ask_kernel = {}, wire._tcp_info
    monkeypatch.setattr(wire, "_tcp_info", lambda at: infos.setdefault(at, []).append(ask_kernel(at)) or infos[at][-1])
    with Proxy(server.port) as proxy:
        with Client(proxy.port, keep_alive=keep_alive) as client:
            for n in (1, 400):
                client.ask(np.repeat(IMAGE, n, axis=0))
        t = client.traffic
    received, out, in_, sent = (sum(column) for column in zip(*proxy.ends, strict=True))
    n = t.connections
    assert received - n == t.payload_up + t.http_up  # the kernel counts the end of each connection as one byte
    assert sent == t.payload_down + t.http_down
    assert in_ > t.payload_up / 1448  # no packet is larger than on an Ethernet
    # what the kernel took for lost on a busy machine, and sent again; the other end says so, in 12 bytes
    again, twice = (sum(c) for c in zip(*(struct.unpack_from("=QI", last[-1], 208) for last in infos.values()), strict=True))
    # 52 bytes a packet, 60 the first of each way; the other end does not count the first packet that it sends
    assert t.ip_up == 52 * in_ + 8 * n + again and t.ip_down == 52 * (out + n) + 8 * n + 12 * twice


LO = """
import ctypes, fcntl, json, socket, struct, time
import numpy as np
from course_lib import wire
from course_lib.serving import Client, Server

def lo():
    line, = (line for line in open("/proc/net/dev") if line.split(":")[0].strip() == "lo")
    return int(line.split(":")[1].split()[0])

def sent_again():  # packets, by both ends
    names, values = (line.split() for line in open("/proc/net/snmp") if line.startswith("Tcp:"))
    return int(values[names.index("RetransSegs")])

infos, ask_kernel = {}, wire._tcp_info
wire._tcp_info = lambda at: infos.setdefault(at, []).append(ask_kernel(at)) or infos[at][-1]

def measure(n, form, keep_alive):
    infos.clear()
    before, again = lo(), sent_again()
    with Client(server.port, keep_alive=keep_alive) as client:
        for _ in range(3):
            client.ask(np.full((n, 64), 7, "uint8"), form=form)
    time.sleep(0.02)
    by_client = sum(struct.unpack_from("=I", info[-1], 100)[0] for info in infos.values())
    return lo() - before, client.traffic.total, sent_again() - again - by_client

control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
fcntl.ioctl(control, 0x8914, struct.pack("16sH14x", b"lo", 0x49))   # up
for switch in (0x1F, 0x24, 0x2C):                                   # no packets above the agreed size: TSO, GSO, GRO off
    value = ctypes.create_string_buffer(struct.pack("II", switch, 0))
    fcntl.ioctl(control, 0x8946, struct.pack("16sP16x", b"lo", ctypes.addressof(value)))
with Server("served:double") as server:
    for options in ((1, 1, 1), (0, 1, 1), (0, 0, 1), (1, 0, 0), (0, 1, 0), (0, 0, 0)):
        for name, on in zip(("timestamps", "sack", "window_scaling"), options):
            with open("/proc/sys/net/ipv4/tcp_" + name, "w") as file:
                file.write(str(on))
        for way in ((n, form, k) for n in (1, 5, 400) for form in ("json", "raw") for k in (True, False)):
            for _ in range(5):  # again when the server sent something twice, on a busy machine: that is not counted
                device, ours, by_server = measure(*way)
                if by_server == 0:
                    break
            print(json.dumps([[*options, *way], device, ours]))
"""


@linux
def test_all_bytes_are_those_of_a_network_of_its_own():
    """The counters of a loopback device on which nothing else goes: an exact count of every byte of every packet."""
    if not shutil.which("unshare") or subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no sandbox can be had on this machine")
    done = subprocess.run(["unshare", "-rn", sys.executable, "-c", LO], env=child_env(), capture_output=True, text=True,
                          timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    counts = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(counts) == 72
    assert [(way, device) for way, device, _ in counts] == [(way, ours) for way, _, ours in counts]


def test_what_was_sent_again_is_no_payload(monkeypatch):
    """As on a busy machine: of 1,600 bytes sent 100 were sent again, and the server said so, in 12 bytes of a header."""
    info = bytearray(256)
    info[0], info[5] = 1, 7  # established; time stamps, selective acknowledgements, window scaling
    struct.pack_into("=QII", info, 128, 500, 10, 9)
    struct.pack_into("=QQI", info, 200, 1600, 100, 1)
    monkeypatch.setattr(wire, "_tcp_info", lambda _: bytes(info))
    connection = wire._Connection(wire.HOST, 1)
    connection.wire = None
    assert connection.counts() == (1500, 500, 10 * 52 + 8 + 100, 9 * 52 + 8 + 12)


@linux
def test_elsewhere_a_counting_socket_gives_the_same_without_tcp_and_ip(server, monkeypatch):
    def traffic():
        with Client(server.port) as client:
            client.ask(IMAGE)
            client.ask(IMAGE, form="raw", compress=True)
        return client.traffic

    kernel = traffic()
    monkeypatch.setattr(wire, "KERNEL", False)
    counted = traffic()
    assert (counted.ip_up, counted.ip_down, counted.total) == (None, None, None)
    assert [getattr(counted, f.name) for f in fields(Traffic) if "ip" not in f.name] == \
        [getattr(kernel, f.name) for f in fields(Traffic) if "ip" not in f.name]
    assert kernel.total == sum([kernel.payload_up, kernel.payload_down, kernel.http_up, kernel.http_down,
                                kernel.ip_up, kernel.ip_down])
    assert "unknown" in str(counted) and "TCP/IP" in str(kernel).splitlines()[-2] and "unknown" not in str(kernel)
    assert (kernel + counted).total is None and "<table" in counted._repr_html_()


# ---- what is answered


def post(body=b"", *headers, kind="application/json", size=None, path="/predict"):
    lines = [f"POST {path} HTTP/1.1", f"Content-Type: {kind}", f"Content-Length: {len(body) if size is None else size}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


FINE = b'{"inputs":[[1,2]]}'


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_a_torch_model_answers_as_it_does_here():
    model, x = DigitsMLP((32,)), digits().test.x
    with Server(model, scale=1 / 16) as server, Client(server.port) as client:
        here = model(x).detach()
        pixels = (x * 16).numpy().astype("uint8")
        for form in ("json", "raw"):
            assert client.ask(x, form=form).outputs.tolist() == here.argmax(1).tolist()
            assert client.ask(pixels, form=form, compress=True).outputs.tolist() == here.argmax(1).tolist()
            scores = client.ask(pixels[:9], form=form, scores=True).outputs
            assert np.allclose(scores, here[:9].numpy(), atol=1e-5)
        with pytest.raises(NoAnswer) as refused:
            client.ask(np.zeros((2, 63)))
        assert refused.value.status == 400 and "63" in sentence(refused)
        assert client.ask(x[0]).outputs.shape == (1,)  # one image is one row; and a refusal ends nothing


def test_numbers_arrive_in_the_type_in_which_they_were_sent(server):
    with Client(server.port) as client:
        for kind in wire.TYPES:
            x = np.array([[0, 1, 2.5], [3, 40, 5]]).astype(kind)
            assert client.ask(x, form="raw", scores=True).outputs.dtype == kind
            for form in ("json", "raw"):
                assert client.ask(x, form=form, scores=True).outputs.tolist() == (2 * x).tolist()


@contextlib.contextmanager
def here(monkeypatch, handler, model=np.negative):
    """The server in a thread of the test, with another handler; its port."""
    for name, value in {"parent": os.getppid(), "max_bytes": 1000, "model": staticmethod(model)}.items():
        monkeypatch.setattr(serving._HTTPServer, name, value, raising=False)
    with serving._HTTPServer((wire.HOST, 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield running.server_address[1]
        finally:
            running.shutdown()
            thread.join(10)


def test_nagle_is_off_at_both_ends_and_a_reply_is_one_packet(monkeypatch):
    seen = []

    class Watched(serving._Handler):
        def do_POST(self):
            seen.append(self.connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            super().do_POST()

    with here(monkeypatch, Watched) as port, Client(port) as client:
        client.ask([[1, 2]])
        own = client._connection.sock
        assert seen == [1] and own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        if wire.KERNEL:  # tcpi_data_segs_in
            assert struct.unpack_from("=I", wire._tcp_info(own), 152) == (1,)


def test_a_client_that_stalls_is_let_go(monkeypatch):
    class Impatient(serving._Handler):
        timeout = 0.1

    assert serving._Handler.timeout == 60
    with here(monkeypatch, Impatient) as port:
        for said in (b"", b"POST /predict HTTP/1.1\r\n", post(FINE)[:-3]):
            with socket.create_connection((wire.HOST, port), timeout=10) as slow:
                slow.sendall(said)
                assert slow.recv(1000) == b""


def test_a_body_that_ends_early_is_no_query(server):
    for end, answer in ((FINE, b""), (FINE + b" " * 9, b"200 OK")):
        with socket.create_connection((wire.HOST, server.port), timeout=10) as client:
            client.sendall(post(end, size=len(FINE) + 9))
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1000)[9:15] == answer


def test_a_body_that_nobody_reads_is_not_the_next_query(server):
    with socket.create_connection((wire.HOST, server.port), timeout=10) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nContent-Length: 24\r\n\r\nGET /health HTTP/1.1\r\n\r\n")
        reply = b""
        with contextlib.suppress(ConnectionResetError):
            while block := client.recv(1 << 16):
                reply += block
    assert reply.count(b"200 OK") == 1


def test_one_row_need_not_be_a_table(server):
    with Client(server.port) as client:
        response, data, *_ = client.exchange("POST", "/predict", b'{"inputs":[1,7,2]}', {"Content-Type": wire.JSON})
    assert response.status == 200 and json.loads(data) == {"outputs": [1]}


def test_a_model_works_on_one_query_at_a_time():
    with Server("served:alone") as server:
        threads, most = [], []
        for _ in range(8):
            threads.append(threading.Thread(target=lambda: most.extend(Client(server.port).ask([[1]]).outputs)))
            threads[-1].start()
        for thread in threads:
            thread.join(20)
    assert most == [1] * 8


def test_two_hundred_at_once(server):
    together, answers = threading.Barrier(200), {}

    def one(number):
        with Client(server.port, timeout=30) as client:
            together.wait(30)
            answers[number] = client.ask([[number, 1]], scores=True).outputs.tolist()

    threads = [threading.Thread(target=one, args=(n,)) for n in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)
    assert answers == {n: [[2 * n, 2]] for n in range(200)}
    assert not ended(server.pid)


def test_a_client_that_hangs_up_is_not_missed():
    whole = b"POST /predict HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n" + b'{"inputs":[[0.05]]} '
    with Server("served:slow") as server:
        for n in (0, 1, 10, 60, len(whole) - 3, len(whole)):
            for broken_off in (False, True):
                with socket.create_connection((wire.HOST, server.port)) as hasty:
                    hasty.sendall(whole[:n])
                    if broken_off:  # a reset in place of an orderly end
                        hasty.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with Client(server.port) as client:
            assert client.ask([[0.01]], scores=True).outputs.tolist() == [[0.01]]
        assert soon(lambda: psutil.Process(server.pid).num_threads() <= 2), "threads of clients that left are still there"


# ---- what is refused


REFUSED = {
    "garbage": (b"GARBAGE\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\r\n", 400),
    "another version": (b"GET / HTTP/9.9\r\n\r\n", 505),
    "long line": (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
    "many headers": (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", 431),
    "unknown method": (b"PUT /predict HTTP/1.1\r\n\r\n", 501),
    "unknown page": (b"GET /nothing HTTP/1.1\r\n\r\n", 404),
    "unknown query": (post(FINE, path="/train"), 404),
    "no length": (b"POST /predict HTTP/1.1\r\nContent-Type: application/json\r\n\r\n", 411),
    "chunks": (post(FINE, "Transfer-Encoding: chunked"), 411),
    "negative length": (post(FINE, size=-1), 400),
    "length in words": (post(FINE, size="many"), 400),
    "two lengths": (post(FINE, "Content-Length: 3"), 400),
    "over the limit": (post(b"x" * 1_000_001), 413),
    "far over": (post(FINE, size=10**11), 413),
    "an endless number": (post(FINE, size="9" * 5000), 413),
    "another type": (post(FINE, kind="text/plain"), 415),
    "another packing": (post(FINE, "Content-Encoding: br"), 415),
    "not gzip": (post(FINE, "Content-Encoding: gzip"), 400),
    "half a gzip": (post(gzip.compress(FINE)[:-9], "Content-Encoding: gzip"), 400),
    "a gzip that swells": (post(gzip.compress(bytes(2_000_000)), "Content-Encoding: gzip"), 413),
    "nothing": (post(b""), 400),
    "half a JSON": (post(FINE[:-3]), 400),
    "no text": (post(b"\xff\xfe\xfa"), 400),
    "no inputs": (post(b'{"input":[[1]]}'), 400),
    "a list": (post(b"[[1]]"), 400),
    "a number": (post(b"7"), 400),
    "words": (post(b'{"inputs":[["1"]]}'), 400),
    "ragged rows": (post(b'{"inputs":[[1,2],[3]]}'), 400),
    "no rows": (post(b'{"inputs":[]}'), 400),
    "deep": (post(b'{"inputs":' + b"[" * 9_000 + b"]" * 9_000 + b"}"), 400),
    "not finite": (post(b'{"inputs":[[NaN,1e999]]}'), 400),
    "huge": (post(b'{"inputs":[[%s]]}' % (b"9" * 400)), 400),
    "truth": (post(b'{"inputs":[[true]]}'), 400),
    "no dtype": (post(b"12", kind=wire.RAW), 400),
    "objects": (post(b"12345678", kind=f"{wire.RAW}; dtype=object"), 400),
    "half a number": (post(b"123", kind=f"{wire.RAW}; dtype=float32"), 400),
    "half a row": (post(b"123", kind=f"{wire.RAW}; dtype=uint8; columns=2"), 400),
    "columns in words": (post(b"123", kind=f"{wire.RAW}; dtype=uint8; columns=two"), 400),
    "no columns": (post(b"123", kind=f"{wire.RAW}; dtype=uint8; columns=0"), 400),
    "raw not finite": (post(struct.pack("<f", float("nan")), kind=f"{wire.RAW}; dtype=float32"), 400),
}


@pytest.mark.parametrize(("request_", "status"), REFUSED.values(), ids=REFUSED)
def test_what_is_malformed_or_too_large_is_refused_with_a_reason(server, request_, status):
    with socket.create_connection((wire.HOST, server.port), timeout=10) as client:
        client.sendall(request_)
        reply = b""
        while block := client.recv(1 << 16):
            reply += block
    head, _, body = reply.partition(b"\r\n\r\n")
    assert head.split()[:2] == [b"HTTP/1.1", str(status).encode()] and b"Connection: close" in head
    said = json.loads(body)["error"]
    assert 10 < len(said) < 300 and "\n" not in said
    with Client(server.port) as client:
        assert json.loads(client.exchange("GET", "/health")[1]) == {"status": "ok", "pid": server.pid}


def test_the_client_says_why_it_was_refused(server):
    with Client(server.port) as client:
        for x in (np.zeros((100_000, 64), "uint8"), np.zeros((2000, 64), "float64")):  # 6.4 MB, and just over
            with pytest.raises(NoAnswer) as refused:
                client.ask(x, form="raw")
            assert refused.value.status == 413 and str(x.nbytes) in sentence(refused)
        assert client.ask([[2]], scores=True).outputs.tolist() == [[4]]


@pytest.mark.parametrize("x", [[], [[1, 2], [3, float("nan")]], [["a"]], [[[1]]], [[True]], [[1 + 2j]]], ids=str)
def test_what_cannot_be_sent_is_told_before_it_is_sent(server, x):
    with Client(server.port) as client:
        for form in ("json", "raw"):
            with pytest.raises(ValueError, match="cannot be sent; give a row") as error:
                client.ask(x, form=form)
            sentence(error)
    assert client.traffic == Traffic()


def test_a_form_that_is_none_is_told(server):
    with pytest.raises(ValueError, match="form is 'xml'; choose"):
        Client(server.port).ask([[1]], form="xml")


# ---- what goes wrong, in one sentence; the lesson goes on


def test_a_port_in_use():
    with socket.create_server((wire.HOST, 0)) as other:
        port = other.getsockname()[1]
        taken = Server("served:double", port=port)
        with pytest.raises(ValueError, match=f"port {port}; leave it out") as error:
            taken.start()
        assert "in use" in sentence(error) and taken._process is None
    with taken:  # now it is free
        assert taken.port == port and Client(port).ask([[1]], scores=True).outputs.tolist() == [[2]]


@pytest.mark.parametrize("options", [{"port": -1}, {"port": 70_000}, {"port": "80"}, {"max_bytes": 0}], ids=str)
def test_a_port_or_a_limit_that_is_none(options):
    with pytest.raises(ValueError, match="leave them out") as error:
        Server("served:double", **options)
    sentence(error)


def test_a_model_that_cannot_be_loaded(monkeypatch):
    for name, why in (("served:missing", "missing"), ("nowhere_at_all:f", "nowhere_at_all")):
        gone = Server(name)
        with pytest.raises(ValueError, match="cannot load this model") as error:
            gone.start()
        assert why in sentence(error) and gone._process is None
    with pytest.raises(ValueError, match="model is a function; give a torch model"):
        Server(lambda x: x)
    own = DigitsMLP()
    own.hook = lambda x: x
    with pytest.raises(ValueError, match="cannot be sent to the server's process"):
        Server(own)
    monkeypatch.setattr(DigitsMLP, "__module__", "__main__")
    with pytest.raises(ValueError, match="cannot import from a notebook"):
        Server(DigitsMLP())


def test_a_model_that_fails():
    with Server("served:useless") as server, Client(server.port) as client:
        for number, why in ((0, "nan|finite"), (1, "RuntimeError: two lines")):
            with pytest.raises(NoAnswer, match=why) as refused:
                client.ask([[number]])
            assert refused.value.status == 500 and sentence(refused)
        with pytest.raises(NoAnswer, match=f"the server at port {server.port} ended in the middle of a query") as error:
            client.ask([[2]])
        assert error.value.status is None and sentence(error)
        assert soon(lambda: closed(server.port))  # until it is, a process that ends may still take a connection
        with pytest.raises(NoAnswer, match=f"no server answers at port {server.port}") as error:
            client.ask([[0]])
        sentence(error)
    assert closed(server.port)


def test_a_model_that_prints_does_not_disturb():
    with Server("served:talkative") as server, Client(server.port) as client:
        for n in range(3):
            assert client.ask([[n]], scores=True).outputs.tolist() == [[n]]


def test_a_server_killed_in_the_middle_of_a_query():
    with Server("served:slow") as server, Proxy(server.port) as proxy, Client(proxy.port, timeout=30) as client:
        client.ask([[0.0]])
        killer = threading.Thread(target=lambda: (soon(lambda: b"30.5" in proxy.up[0]), os.kill(server.pid, signal.SIGKILL)))
        killer.start()
        with pytest.raises(NoAnswer, match="ended in the middle of a query; start it again") as error:
            client.ask([[30.5]])
        sentence(error)
        killer.join(10)
        t = client.traffic
        assert t.payload_up + t.http_up == len(proxy.up[0]) and t.payload_down + t.http_down == len(proxy.down[0])
        assert (t.queries, t.connections) == (2, 1)


def test_a_server_that_is_too_slow():
    with Server("served:slow") as server, Client(server.port, timeout=0.2) as client:
        with pytest.raises(NoAnswer, match="no answer came from port .* within 0.2 seconds") as error:
            client.ask([[5]])
        sentence(error)


def test_the_same_client_goes_on_with_the_next_server():
    with Server("served:double") as first, Client(first.port) as client:
        client.ask([[1]])
        first.stop()
        with Server("served:double", port=first.port):
            assert client.ask([[3]], scores=True).outputs.tolist() == [[6]]
    assert client.traffic.connections == 2


@contextlib.contextmanager
def impostor(reply, reset=""):
    """Answers one query with these bytes, then closes, or breaks off. `.got`: what it read."""
    with socket.create_server((wire.HOST, 0)) as listener:
        def answer():
            client, _ = listener.accept()
            with client:
                while b"[[1]]}" not in answer.got:
                    answer.got += client.recv(1000)
                client.sendall(reply)
                if "closes" in reset:
                    client.shutdown(socket.SHUT_WR)
                if "breaks" in reset:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        answer.got = b""
        thread = threading.Thread(target=answer)
        thread.start()
        yield listener.getsockname()[1], answer
        thread.join(10)


HTTP = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s"
STRANGE = {
    "a web page": (HTTP % (b"text/html", 6, b"<html>"), "not JSON .* begins b'<html>'"),
    "other JSON": (HTTP % (b"application/json", 2, b"{}"), "not JSON of the form"),
    "no gzip": (HTTP.replace(b"OK\r\n", b"OK\r\nContent-Encoding: gzip\r\n") % (b"application/json", 2, b"{}"), "cannot be read"),
    "half an answer": (HTTP % (b"application/json", 20, b'{"outputs":'), "ended in the middle"),
    "another protocol": (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP"),
    "nothing": (b"", "ended in the middle"),
    "moved": (b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", r"refused this query \(302\): Found"),
}


@pytest.mark.parametrize("reset", ["", "breaks off", "closes, then breaks off"])
@pytest.mark.parametrize(("reply", "why"), STRANGE.values(), ids=STRANGE)
def test_an_answer_that_is_none(reply, why, reset):
    with impostor(reply, reset) as (port, other):
        client = Client(port, keep_alive=False)
        with pytest.raises(NoAnswer, match=f"{why}|ended in the middle" if reset else why) as error:
            client.ask([[1]])
        sentence(error)
    t = client.traffic
    assert t.payload_up + t.http_up == len(other.got)
    assert t.payload_down + t.http_down == len(reply)


# ---- nothing is left behind


def child_env():
    return {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}


@contextlib.contextmanager
def parent(body, **env):
    """A process that starts a server, says its process and port, and goes on with `body`."""
    code = (f"import os, sys, time\nfrom course_lib.serving import Server\nwith Server('served:double') as server:\n"
            f"    print(server.pid, server.port, flush=True)\n    {body}\n")
    run = subprocess.Popen([sys.executable, "-c", code], env=child_env() | env, stdout=subprocess.PIPE, text=True,
                           stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        yield run
    finally:
        run.kill()
        run.wait()
        run.stdout.close()


@pytest.mark.parametrize("body", ["pass", "raise RuntimeError", "sys.exit(3)"])
def test_a_block_that_ends_leaves_no_process_and_no_port(body):
    with parent(body) as run:
        pid, port = map(int, run.stdout.readline().split())
        run.wait(20)
        assert ended(pid) and closed(port)


HOW = ["SIGINT", "SIGINT to the group", "SIGTERM", "SIGKILL", "SIGKILL to the group"]


@pytest.mark.parametrize("how", HOW)
def test_a_parent_that_is_ended_leaves_no_process_and_no_port(how):
    with parent("time.sleep(60)") as run:
        pid, port = map(int, run.stdout.readline().split())
        assert not ended(pid) and not closed(port)
        (os.killpg if "group" in how else os.kill)(run.pid, getattr(signal, how.split()[0]))
        run.wait(20)
        if "INT" in how:  # at once, by the `with` block
            assert ended(pid) and closed(port)
        assert soon(lambda: ended(pid) and closed(port)), "the server outlived its parent"


def test_a_pipe_that_another_process_keeps_open_keeps_no_server():
    with parent("brother = os.fork(); print(brother, flush=True) if brother else None; time.sleep(60)") as run:
        pid, port = map(int, run.stdout.readline().split())
        brother = int(run.stdout.readline())
        try:
            os.kill(run.pid, signal.SIGKILL)
            assert soon(lambda: ended(pid) and closed(port)), "the server outlived its parent"
            assert not ended(brother)  # it still holds the pipe
        finally:
            os.kill(brother, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_start_that_is_interrupted_leaves_no_process(tmp_path, number):
    with parent("pass", SERVED_SLOW_IMPORT=str(tmp_path / "pid")) as run:
        assert soon((tmp_path / "pid").exists, 30)
        pid = int((tmp_path / "pid").read_text())
        assert not ended(pid)
        os.kill(run.pid, number)
        run.wait(20)
        assert soon(lambda: ended(pid))


def test_a_start_that_takes_too_long_leaves_no_process(tmp_path, monkeypatch):
    made, popen = [], subprocess.Popen
    monkeypatch.setenv("SERVED_SLOW_IMPORT", str(tmp_path / "pid"))
    monkeypatch.setattr(serving.subprocess, "Popen", lambda *a, **k: made.append(popen(*a, **k)) or made[-1])
    with pytest.raises(NoAnswer, match=r"not ready in 0\.5 seconds") as error:
        Server("served:double", timeout=0.5).start()
    sentence(error)
    assert len(made) == 1 and made[0].returncode == -signal.SIGKILL and ended(made[0].pid)


def test_a_server_that_is_forgotten_ends():
    server = Server("served:double").start()
    pid, port = server.pid, server.port
    assert server.start() is server and server.pid == pid  # one is enough
    del server
    assert ended(pid) and closed(port)
    never = Server("served:double")
    never.stop()  # nothing to do


@pytest.mark.slow
def test_an_interrupted_cell_and_a_killed_kernel_leave_nothing_behind():
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="python3", env=child_env())
    try:
        client.execute("import time\nfrom course_lib.serving import Client, Server\nwith Server('served:double') as server:\n"
                       "    print(server.pid, server.port, flush=True)\n    time.sleep(60)", stop_on_error=False)
        pid, port = map(int, printed(client).split())
        assert not ended(pid) and not closed(port)
        manager.interrupt_kernel()
        while "ename" not in (content := client.get_shell_msg(timeout=20)["content"]):
            pass
        assert content["ename"] == "KeyboardInterrupt"
        assert ended(pid) and closed(port)
        client.execute("server = Server('served:double').start()\n"
                       "print(server.pid, server.port, Client(server.port).ask([[2]], scores=True).outputs)")
        pid, port, answer = printed(client).split(maxsplit=2)
        assert answer.strip() == "[[4]]" and not ended(int(pid))
        client.execute("print('sleeps', flush=True)\ntime.sleep(60)", stop_on_error=False)
        assert printed(client) == "sleeps\n"
        manager.interrupt_kernel()
        client.execute("print(Client(server.port).ask([[3]], scores=True).outputs)")
        assert printed(client) == "[[6]]\n"  # an interrupt reaches it only through its `with` block
        manager.signal_kernel(signal.SIGKILL)
        assert soon(lambda: ended(int(pid)) and closed(int(port))), "the server outlived the kernel"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def printed(client):
    while True:
        message = client.get_iopub_msg(timeout=20)
        if message["msg_type"] == "stream" and message["content"]["name"] == "stdout":
            return message["content"]["text"]
