"""The machine table on trees we make up: containers, sensors, old versions; and seeds."""

import getpass
import os
import platform
import random
import socket

import numpy as np
import pytest
import torch

from course_lib import setup

CPUINFO = "processor\t: 0\nmodel name\t: Imaginary CPU 9000\nflags\t\t: fpu sse {}\n"


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A bare Linux tree: write files by path; no service in the environment."""
    monkeypatch.setattr(setup, "_ROOT", tmp_path)
    for key in setup._SERVICES:
        monkeypatch.delenv(key, raising=False)

    def put(path, text):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
        return tmp_path / path
    return put


def row(name):
    return next(r for r in setup.check().rows if r[0] == name)


def test_check_has_a_word_and_a_finding_everywhere_and_shows_nobody():
    table = setup.check()
    assert len(table.rows) == 11 and all(r[1] and r[2] for r in table.rows)
    text = str(table) + str(setup.machine())
    assert platform.python_version() in text and torch.__version__ in text
    assert os.path.expanduser("~") not in text and os.getcwd() not in text
    for private in (socket.gethostname(), getpass.getuser()):
        if len(private) > 4:  # a short name such as "vm" or "root" may be part of an honest word
            assert private not in text


def test_check_never_raises(monkeypatch):
    def broken(*_args, **_kwargs):
        raise RuntimeError("driver")
    for name in ("_read", "_cpu", "_gpu", "_packages", "where", "usable_cores", "_version"):
        monkeypatch.setattr(setup, name, broken)
    monkeypatch.setattr(platform, "freedesktop_os_release", broken, raising=False)
    monkeypatch.setattr(platform, "platform", broken)
    fine = {r[0] for r in setup.check().rows if r[2] != "unknown"}
    assert fine == {"GPU", "sensors"}  # no answer from a GPU driver reads as no GPU
    assert setup.machine()["cpu"] is None


@pytest.mark.parametrize("found, status", [
    ("3.10.14", "too old"), ("3.11.0rc1", "ok"), ("3.14.2", "ok"), ("2.7", "too old"), ("4.0", "ok")])
def test_versions(found, status):
    _, word, advice = setup._version("Python", found, (3, 11))
    assert word == status
    assert (f"Python {found} is too old: install 3.11" in advice) == (status == "too old")


def test_old_torch_gets_its_version_and_the_way_out(monkeypatch):
    monkeypatch.setattr(setup.metadata, "version", lambda name: "1.13.1+cu117")
    assert row("PyTorch")[2] == "too old" and "1.13.1+cu117" in row("PyTorch")[3]


def test_missing_package():
    found, status, advice = setup._packages("numpy", "surely-not-installed")
    assert status == "missing" and "pip install" in advice
    assert "numpy" in found and "surely-not-installed missing" in found


@pytest.mark.parametrize("files, cores", [
    ({}, 4), ({"sys/fs/cgroup/cpu.max": "max 100000"}, 4), ({"sys/fs/cgroup/cpu.max": "150000 100000"}, 1.5),
    ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "200000 100000",
      "sys/fs/cgroup/a/b/cpu.max": "max 100000"}, 2),
    ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "50000"}, 4),
    ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "50000"}, 3)])
def test_cores_obey_affinity_and_quota(tree, monkeypatch, files, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1, 2, 3}, raising=False)
    for path, text in files.items():
        tree(path, text)
    assert setup.usable_cores() == cores


def test_crowded_threads_are_named(tree, monkeypatch):
    tree("sys/fs/cgroup/cpu.max", "100000 100000")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert row("cores")[2:] == ("crowded", "seed_everything(threads=1)")


def test_memory_obeys_the_container(tree):
    total = setup.usable_memory_gb()
    tree("sys/fs/cgroup/memory.max", "max")
    assert setup.usable_memory_gb() == total
    tree("sys/fs/cgroup/memory.max", "1000000000")
    assert setup.usable_memory_gb() == 1
    assert row("memory")[2] == "low" and setup.machine()["memory_gb"] == 1
    tree("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712")  # version 1 for "no limit"
    assert setup.usable_memory_gb() == 1


def test_where(tree, monkeypatch):
    assert setup.where() == "local"
    tree("proc/cpuinfo", CPUINFO.format("avx"))
    assert setup.where() == "local"
    tree("proc/cpuinfo", CPUINFO.format("hypervisor avx"))
    tree(".dockerenv", "")
    assert setup.where() == "local, container, virtual machine"
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release-colab")
    assert setup.where().startswith("Colab")


@pytest.mark.skipif(platform.system() == "Darwin", reason="macOS is asked with sysctl, not /proc")
def test_cpu_name(tree):
    tree("proc/cpuinfo", CPUINFO.format(""))
    assert setup.machine()["cpu"] == "Imaginary CPU 9000"


@pytest.mark.slow
def test_sensors_readable_locked_or_absent(tree, monkeypatch):
    assert row("sensors")[2] == "modelled"
    tree("sys/class/powercap/intel-rapl:0/energy_uj", "12")
    assert row("sensors")[2] == "ok"
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert row("sensors")[2] == "root only"


def test_seed_everything_repeats_all_three_and_prints_nothing(capsys):
    threads = torch.get_num_threads()
    draws = []
    for _ in range(2):
        assert setup.seed_everything(7) is None
        draws.append((random.random(), np.random.rand(), torch.rand(1).item()))
    assert draws[0] == draws[1]
    try:
        setup.seed_everything(8, threads=1)
        assert torch.get_num_threads() == 1 and torch.rand(1).item() != draws[0][2]
    finally:
        torch.set_num_threads(threads)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("kwargs, words", [({"seed": -1}, "seed is -1"), ({"seed": 1.5}, "seed is 1.5"),
                                           ({"threads": 0}, "threads is 0")])
def test_bad_seed(kwargs, words):
    with pytest.raises(ValueError, match=words):
        setup.seed_everything(**kwargs)
