"""Every kind of machine gets a labelled answer: counters of each sort, models, nothing at all."""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import fakes
import pytest

from course_lib import provenance, sensors
from course_lib.energy import Meter, Provenance
from course_lib.provenance import component_of

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def probe_again(monkeypatch):
    fakes.forget()
    yield
    monkeypatch.undo()
    fakes.forget()


def window(meter, clock, seconds=1.0):
    with meter.block("w") as block:
        clock.sleep(seconds)
    return block.reading


def script(code: str, **more) -> str:
    """Runs `code` in a fresh process and returns its standard output."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests"))), **more}
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True,
                          env=env, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- the call of codecarbon ---------------------------------------------------------------------------------

def test_every_argument_is_passed():
    """A new argument of codecarbon would be filled from the learner's configuration: then this fails."""
    from codecarbon import EmissionsTracker, OfflineEmissionsTracker

    deprecated = {"save_to_file", "save_to_api", "save_to_logger", "save_to_prometheus", "save_to_logfire",
                  "co2_signal_api_token"}
    known = set()
    for cls in (EmissionsTracker.__mro__[1], OfflineEmissionsTracker):
        known |= set(inspect.signature(cls.__init__).parameters)
    assert known - {"self", "args", "kwargs"} - deprecated == set(sensors.tracker_arguments())


def test_hostile_configuration_changes_nothing(monkeypatch, tmp_path):
    fakes.bare(monkeypatch)
    for name, value in {"FORCE_CPU_POWER": "1000", "PUE": "2", "TRACKING_MODE": "machine", "GPU_IDS": "7",
                        "FORCE_RAM_POWER": "50", "SAVE_TO_FILE": "true", "OUTPUT_METHODS": "csv"}.items():
        monkeypatch.setenv(f"CODECARBON_{name}", value)
    monkeypatch.chdir(tmp_path)
    tracker = sensors.codecarbon_tracker()
    tracker.start_task()
    tracker.stop_task()
    assert (tracker._pue, tracker._tracking_mode, tracker._force_cpu_power) == (1.0, "process", None)
    assert tracker._force_ram_power == 0.0
    assert not list(tmp_path.iterdir())


def test_contract_with_private_attributes_of_codecarbon(monkeypatch):
    """The labels rest on these private names; a codecarbon without them must be looked at by a person."""
    from codecarbon.core.gpu_nvidia import NvidiaGPUDevice
    from codecarbon.external.hardware import CPU, GPU

    fakes.bare(monkeypatch)
    meter = Meter()
    (cpu,) = [h for h in meter._sensors.tracker._hardware if isinstance(h, CPU)]
    assert cpu._mode == "cpu_load"
    assert cpu._tdp > 0 and cpu._cpu_count > 0 and cpu._is_generic_tdp in (True, False)
    fakes.Nvml().install(monkeypatch)
    gpu = GPU(gpu_ids=None)
    assert isinstance(gpu.devices.devices[0], NvidiaGPUDevice)
    assert gpu.devices.devices[0]._has_counter is True
    assert gpu.devices.devices[0]._use_power_fallback is False
    assert gpu.devices.devices[0]._power_limit == 300


@pytest.mark.parametrize("lost", ["_mode", "_tdp"])
def test_missing_private_attribute_is_labelled_unknown(monkeypatch, clock, lost):
    fakes.bare(monkeypatch)
    meter = Meter()
    (cpu,) = [h for h in meter._sensors.tracker._hardware if type(h).__name__ == "CPU"]
    delattr(cpu, lost)
    component = component_of(cpu)
    assert (component.label, component.provenance) == ("unknown", Provenance.ASSUMED)
    assert "unknown" in str(meter.sources)


def test_missing_hardware_list_is_labelled_unknown():
    class Tracker:
        def start_task(self):
            pass

        def stop_task(self):
            return SimpleNamespace(cpu_energy=1e-6)

    with (meter := Meter(tracker_factory=Tracker)).block("w") as block:
        pass
    assert block.reading.label == "unknown"
    assert "3.6 J (unknown:" in str(block.reading)
    assert "unknown" in str(meter.sources)


# -- interrupts ---------------------------------------------------------------------------------------------

class Interrupted:
    """A tracker that the learner interrupts: `where` is its method, `how` what happens inside it."""

    def __init__(self):
        self.where = self.how = None
        self.whole = 0  # calls that were not cut short

    def _do(self, name):
        if self.where == name:
            self.where = None
            self.how()
        self.whole += 1

    def start_task(self):
        self._do("start_task")

    def stop_task(self):
        self._do("stop_task")
        return SimpleNamespace(cpu_energy=1e-6)


def press_ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.01)


def raise_it():
    raise KeyboardInterrupt


@pytest.mark.parametrize("how", [press_ctrl_c, raise_it])
@pytest.mark.parametrize("where", ["start_task", "stop_task"])
def test_an_interrupt_in_a_sensor_reaches_the_caller_and_the_next_window_works(where, how):
    meter = Meter(tracker_factory=Interrupted)
    tracker, handler = meter._sensors.tracker, signal.getsignal(signal.SIGINT)
    tracker.where, tracker.how, tracker.whole = where, how, 0
    with pytest.raises(KeyboardInterrupt), meter.block("cut"):
        pass
    if how is press_ctrl_c:
        assert tracker.whole == 2, "the interrupt waits until codecarbon has put its own locks back"
    assert not meter._sensors._lock.locked() and signal.getsignal(signal.SIGINT) is handler
    with meter.block("next") as block:
        pass
    assert block.reading.joules == pytest.approx(3.6)


def test_an_interrupt_inside_codecarbon_itself_leaves_no_lock(monkeypatch):
    fakes.bare(monkeypatch)
    meter = Meter()
    tracker = meter._sensors.tracker
    real, pressed = tracker._measure_power_and_energy, []

    def measure():
        if not pressed:
            pressed.append(True)
            press_ctrl_c()
        return real()

    monkeypatch.setattr(tracker, "_measure_power_and_energy", measure)
    with pytest.raises(KeyboardInterrupt), meter.block("cut"):
        pass
    assert pressed and not meter._sensors._lock.locked()
    with meter.block("next") as block:
        sum(range(1_000_000))
    assert block.reading.joules is not None and block.reading.label != "none"


def test_unbroken_is_the_plain_code_in_another_thread():
    found = []

    def other():
        with sensors.unbroken():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGINT)]


def test_gpu_without_its_private_attribute_is_unknown():
    gpu = type("GPU", (), {"devices": SimpleNamespace(devices=[SimpleNamespace()])})()
    assert component_of(gpu).label == "unknown"


@pytest.mark.parametrize(("mode", "level"), [
    ("intel_rapl", "MEASURED"), ("windows_emi", "MEASURED"), ("intel_power_gadget", "SAMPLED"),
    ("cpu_load", "MODELLED"), ("constant", "ASSUMED"), ("new_mode", "ASSUMED")])
def test_label_of_each_mode(mode, level):
    cpu = type("CPU", (), {"_mode": mode, "_tdp": 100, "_cpu_count": 4})()
    assert component_of(cpu).provenance == Provenance[level]


def test_labels_are_ordered_and_explained():
    assert [p.name for p in sorted(Provenance)] == ["NONE", "ASSUMED", "MODELLED", "SAMPLED", "MEASURED"]
    for label in Provenance:
        assert label.meaning.endswith(".") and label.accuracy.endswith(".")


# -- the powercap counter -----------------------------------------------------------------------------------

@pytest.mark.slow
def test_first_window_of_a_fresh_process_is_right():
    """Within 1 % of the true 30 W; the bare tracker, in the same conditions, is far off."""
    answers = {}
    for who in ("meter", "codecarbon"):
        done = subprocess.run([sys.executable, "tests/fakes.py", who, "cpu"], cwd=ROOT, capture_output=True,
                              text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        answers[who] = json.loads(done.stdout.splitlines()[-1])
    assert answers["meter"]["label"] == "measured"
    assert abs(answers["meter"]["bias"]) <= 0.01
    assert answers["codecarbon"]["bias"] > 0.05


def test_counter_is_measured(monkeypatch, tmp_path, clock):
    fakes.Powercap(tmp_path, clock=clock).install(monkeypatch)
    reading = window(meter := Meter(), clock)
    assert reading.joules == pytest.approx(30, rel=1e-3)
    assert (reading.provenance, reading.measured_share) == (Provenance.MEASURED, 1.0)
    assert "30 J (measured: counter difference" in str(reading)
    assert "the DRAM counter beside it is not read" in str(meter.sources)


def test_without_dram_zone_nothing_is_said_of_it(monkeypatch, tmp_path, clock):
    fakes.Powercap(tmp_path, clock=clock, dram=0).install(monkeypatch)
    assert "DRAM" not in str(Meter().sources)


def test_two_packages_add_up(monkeypatch, tmp_path, clock):
    fakes.Powercap(tmp_path, watts=(30.0, 12.0), clock=clock).install(monkeypatch)
    assert window(Meter(), clock).joules == pytest.approx(42, rel=1e-3)


def test_wrap_is_corrected(monkeypatch, tmp_path, clock):
    tree = fakes.Powercap(tmp_path, clock=clock).install(monkeypatch)
    meter = Meter()
    tree.set_counter(fakes.RANGE_UJ - 10e6)  # 10 J before it wraps
    assert window(meter, clock).joules == pytest.approx(30, rel=1e-3)


def test_reset_is_refused_with_the_reason(monkeypatch, tmp_path, clock):
    tree = fakes.Powercap(tmp_path, clock=clock).install(monkeypatch)
    meter = Meter()
    with meter.block("w") as block:
        clock.sleep(1)
        tree.set_counter(0)
    assert (block.reading.joules, block.reading.provenance) == (None, Provenance.NONE)
    assert "refused" in str(block.reading) and "the counter was reset" in str(block.reading)


def test_reset_without_a_range_is_refused_with_the_reason(monkeypatch, tmp_path, clock):
    tree = fakes.Powercap(tmp_path, clock=clock, with_range=False).install(monkeypatch)
    meter = Meter()
    assert window(meter, clock).joules == pytest.approx(30, rel=1e-3)
    with meter.block("w") as block:
        clock.sleep(1)
        tree.set_counter(0)
    assert block.reading.joules is None and "was reset" in str(block.reading)


def test_more_than_the_package_can_draw_is_refused(monkeypatch, tmp_path, clock):
    fakes.Powercap(tmp_path, watts=(65.0,), clock=clock, limit=40.0).install(monkeypatch)
    reading = window(Meter(), clock)
    assert reading.joules is None and "65 W is over the plausible 60 W" in str(reading)


def test_dummy_limit_is_not_believed(monkeypatch, tmp_path, clock):
    fakes.Powercap(tmp_path, watts=(700.0,), clock=clock, limit=4095.0).install(monkeypatch)
    assert "over the plausible 600 W" in str(window(Meter(), clock))


def test_counter_that_stands_still_is_refused(monkeypatch, tmp_path, clock):
    fakes.Powercap(tmp_path, watts=(0.0,), clock=clock).install(monkeypatch)
    reading = window(Meter(), clock)
    assert reading.joules is None and "did not move in 1 s" in str(reading) and "0 J" not in str(reading)


def test_root_only_counter_says_how_to_open_it(monkeypatch, tmp_path):
    """Root reads through mode bits, so the refusal is put where both readers ask."""
    tree = fakes.Powercap(tmp_path).install(monkeypatch)
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: "energy_uj" not in str(path) and access(path, mode))
    fakes.forget()
    meter = Meter()
    table = str(meter.sources)
    assert tree.root == provenance.POWERCAP
    assert "modelled" in table and "only root may read it" in table
    assert "sudo chmod a+r" in table and "udev" in table
    with meter.block("w") as block:
        sum(range(4_000_000))
    assert block.reading.provenance in (Provenance.MODELLED, Provenance.NONE)


# -- the GPU ------------------------------------------------------------------------------------------------

def gpu_part(reading):
    (part,) = [c for c in reading.components if c.name == "GPU"]
    return part


def test_gpu_counter_is_measured(monkeypatch, clock):
    fakes.bare(monkeypatch)
    fakes.Nvml(clock=clock).install(monkeypatch)
    meter = Meter()
    reading = window(meter, clock, 2)
    assert gpu_part(reading).joules == pytest.approx(200, rel=1e-3)
    assert gpu_part(reading).provenance == Provenance.MEASURED
    assert "whole GPU board" in str(meter.sources)


def test_gpu_without_counter_is_sampled(monkeypatch):
    fakes.bare(monkeypatch)
    fakes.Nvml(counter=False).install(monkeypatch)
    with Meter().block("w") as block:
        fakes.burn(fakes.time.perf_counter, 0.3)
    part = gpu_part(block.reading)
    assert part.provenance == Provenance.SAMPLED
    assert part.joules == pytest.approx(100 * block.reading.seconds, rel=0.5)


def test_slow_gpu_counter_refuses_a_short_window(monkeypatch, clock):
    fakes.bare(monkeypatch)
    fakes.Nvml(clock=clock, step=0.1).install(monkeypatch)
    meter = Meter()
    part = gpu_part(window(meter, clock, 0.05))
    assert part.joules is None and "did not move in 50 ms" in part.why
    assert gpu_part(window(meter, clock, 2.0)).joules == pytest.approx(200, rel=0.06)
    assert meter._window(("GPU",), None) == 2.0


def test_gpu_counter_that_goes_back_is_no_measurement(monkeypatch, clock):
    fakes.bare(monkeypatch)
    board = fakes.Nvml(clock=clock).install(monkeypatch)
    meter = Meter()
    with meter.block("w") as block:
        clock.sleep(1)
        board.back = 5e4
    assert gpu_part(block.reading).provenance < Provenance.MEASURED


# -- nothing to read ----------------------------------------------------------------------------------------

def test_no_counter_is_modelled_and_says_what_is_multiplied(monkeypatch):
    fakes.bare(monkeypatch)
    with (meter := Meter()).block("w") as block:
        fakes.burn(fakes.time.process_time, 0.3)
    reading = block.reading
    assert reading.provenance == Provenance.MODELLED and reading.measured_share == 0
    assert "(modelled: CPU time x" in str(reading) and "W per logical core from a table" in str(reading)
    watts = reading.joules / reading.cpu_seconds
    (cpu,) = [h for h in meter._sensors.tracker._hardware if type(h).__name__ == "CPU"]
    assert watts == pytest.approx(cpu._tdp / cpu._cpu_count, rel=0.25)


@pytest.mark.parametrize("fault", ["construct", "start", "stop", "none", "nan"])
def test_no_sensor_ever_raises(fault):
    class Broken:
        _hardware = (type("CPU", (), {"_mode": "intel_rapl"})(),)
        used = 0

        def __init__(self):
            if fault == "construct":
                raise OSError("no tracker")

        def start_task(self):
            Broken.used += 1
            if fault == "start" and Broken.used > 1:
                raise RuntimeError("no start")

        def stop_task(self):
            if Broken.used < 2:
                return None
            if fault == "stop":
                raise RuntimeError("no stop")
            return SimpleNamespace(cpu_energy=float("nan")) if fault == "nan" else None

    meter = Meter(tracker_factory=Broken)
    for _ in range(2):  # the lock is free again after a fault
        with meter.block("w") as block:
            pass
        assert block.reading.joules is None and block.reading.provenance == Provenance.NONE
        assert "no joules (none: codecarbon" in str(block.reading)
    assert "codecarbon" in str(meter.sources) if fault == "construct" else True


def test_codecarbon_not_importable(monkeypatch):
    monkeypatch.setitem(sys.modules, "codecarbon", None)
    meter = Meter()
    with meter.block("w") as block:
        pass
    assert "codecarbon cannot read here (ModuleNotFoundError" in str(block.reading)


@pytest.mark.slow
def test_read_only_home_and_working_directory():
    """Nothing on this machine can be written: an audit hook refuses it, for root too."""
    out = script("""
        import os, sys
        def deny(event, args):
            path = args[0] if event in ("open", "os.mkdir") else None
            writes = event == "os.mkdir" or (event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR))
            if isinstance(path, (str, bytes)) and path != os.devnull and writes:
                raise OSError(30, "Read-only file system", path)
        sys.addaudithook(deny)
        import tempfile
        try:
            tempfile.gettempdir()
        except FileNotFoundError:
            print("no temporary folder")
        import fakes, time
        from course_lib.energy import Meter
        with Meter().block("w") as block:
            fakes.burn(time.process_time, 0.3)
        print(block.reading.label, block.reading.joules)
        print(tempfile.tempdir)
    """, HOME="/nowhere", PYTHONDONTWRITEBYTECODE="1")
    lines = out.splitlines()
    assert lines[0] == "no temporary folder"
    assert lines[1].split()[0] in ("modelled", "measured", "sampled") and float(lines[1].split()[1]) > 0
    assert lines[2] == "None"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_fork_is_noticed():
    out = script("""
        import os, time, fakes
        from course_lib.energy import Meter
        meter = Meter()
        with meter.block("open across a fork") as block:
            pid = os.fork()
            if pid == 0:
                block.__exit__(None, None, None)
                with meter.block("inherited") as old:
                    pass
                with Meter().block("own") as new:
                    fakes.burn(time.process_time, 0.3)
                print(block.reading, old.reading, sep="\\n", flush=True)
                print("child", new.reading.label, new.reading.joules is not None, flush=True)
                os._exit(0)
            os.waitpid(pid, 0)
            fakes.burn(time.process_time, 0.2)
        print("parent", block.reading.joules is not None)
    """)
    assert "forked inside the window; its parent counts the energy" in out
    assert "inherited" in out and "make a new Meter() in it" in out
    assert "child modelled True" in out or "child measured True" in out
    assert "parent True" in out


def test_one_tracker_for_all_meters(monkeypatch):
    fakes.bare(monkeypatch)
    assert Meter()._sensors is Meter()._sensors


def test_nothing_escapes_to_the_screen(capfd, monkeypatch, tmp_path):
    fakes.bare(monkeypatch)
    with Meter().block("w"):
        pass
    assert capfd.readouterr() == ("", "")


# -- one tool, three conclusions ----------------------------------------------------------------------------

@pytest.mark.parametrize("threads", [0, 0.5, 1, 1.5, 2])
def test_models_equal_the_code_of_codecarbon(monkeypatch, threads):
    """codecarbon's own CPU and RAM objects, fed a synthetic load, state the same joules."""
    from codecarbon.external import hardware
    from codecarbon.external.ram import RAM

    tdp, cores, seconds, ram_watts = 8.0, 2, 10.0, 20.0
    state = SimpleNamespace(busy=0.0, now=0.0)

    class Times(tuple):
        idle = property(lambda self: self[1])

    class Process:
        pid = 1

        def children(self, recursive):
            return []

        def cpu_times(self):
            return SimpleNamespace(user=state.busy, system=0.0)

    proxy = SimpleNamespace(cpu_times=lambda: Times((state.busy, cores * state.now - state.busy)),
                            Process=lambda pid=None: Process(), NoSuchProcess=OSError, AccessDenied=OSError)
    monkeypatch.setattr(hardware, "psutil", proxy)
    monkeypatch.setattr(hardware, "count_cpus", lambda: cores)
    now = SimpleNamespace(time=lambda: state.now, perf_counter=lambda: state.now, sleep=lambda s: None)
    monkeypatch.setattr(hardware, "time", now)
    stated = {}
    for mode in ("machine", "process"):
        state.busy = state.now = 0.0
        cpu = hardware.CPU(".", "cpu_load", "any", tdp, tracking_mode=mode)
        cpu.start()
        state.now, state.busy = seconds, threads * seconds
        stated[mode] = 3.6e6 * cpu.measure_power_and_energy(seconds)[1].kWh
    ram = RAM(tracking_mode="machine", force_ram_power=ram_watts)
    stated["machine + RAM"] = stated["machine"] + 3.6e6 * ram.measure_power_and_energy(seconds)[1].kWh
    ours = sensors.codecarbon_models(tdp, cores, threads, seconds, ram_watts)
    assert set(ours) == set(stated)
    for name, component in ours.items():
        assert component.joules == pytest.approx(stated[name], rel=1e-6, abs=1e-9), name
        assert component.provenance == (Provenance.ASSUMED if "RAM" in name else Provenance.MODELLED)


def test_models_disagree_on_the_greener_program():
    """Fixed work on 2 cores: 1 thread for 3.58 s or 2 threads for 1.80 s."""
    one, two = sensors.codecarbon_models(8, 2, 1, 3.58), sensors.codecarbon_models(8, 2, 2, 1.80)
    ratio = {name: two[name].joules / one[name].joules for name in one}
    assert ratio["machine"] > 2 and ratio["machine + RAM"] < 0.7
    assert ratio["process"] == pytest.approx(1, abs=0.02)


def test_models_refuse_more_threads_than_cores():
    with pytest.raises(ValueError, match="3 busy threads on 2 cores"):
        sensors.codecarbon_models(8, 2, 3, 1)
