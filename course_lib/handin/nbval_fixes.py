"""Repairs of nbval 0.11, for the learner's check and for grading: `install()`, and `uninstall()` again.

A dead kernel, a cell without end and a flood of output are told at once, by exceptions of their own. An error
that the cell's own code hid is an error. After a cell that took too long, the others are judged as ever. What
is known of a cell after its run is in `item.parent.kernel.running` (of Running).
"""

import nbformat
import nbval.kernel
from nbval.kernel import RunningKernel
from nbval.plugin import IPyNbCell, NbCellError

from . import kernel_fixes as fixed
from .kernel_fixes import CellFault, CellTimeout, KernelDied, KernelGone, Running, TooMuchOutput

__all__ = ["CellFault", "CellTimeout", "KernelDied", "KernelGone", "Running", "TooMuchOutput", "anew",
           "install", "only_value", "shown", "uninstall"]
_run, _repr_failure = IPyNbCell.runtest, IPyNbCell.repr_failure
_stock = []  # of (owner, name, what was there, or None), while installed


def install(*, output_bytes=4 << 20, cell_seconds=None):
    """Repair nbval in this process. A second call only sets the limits.

    A cell whose messages hold more than `output_bytes` raises TooMuchOutput. A cell's time is the shortest of
    nbval's --nbval-cell-timeout, `cell_seconds`, and the attribute `cell_seconds` of its file's collector;
    the last two may be None.
    """
    fixed.limits.update(output_bytes=output_bytes, cell_seconds=cell_seconds)
    if _stock:
        return
    for owner, name, new in (
            (nbval.kernel, "KernelManager", fixed.Manager), (RunningKernel, "__init__", fixed.init),
            (RunningKernel, "execute_cell_input", fixed.execute_cell_input),
            (RunningKernel, "await_reply", fixed.await_reply),
            (RunningKernel, "get_message", fixed.get_message),
            (IPyNbCell, "runtest", runtest), (IPyNbCell, "repr_failure", repr_failure),
            (IPyNbCell, "setup", lambda self: None),  # stock: what follows a timeout is expected to fail
            (IPyNbCell, "stop", lambda self: self.parent.kernel.stop())):  # stock: called, but not there
        _stock.append((owner, name, vars(owner).get(name)))
        setattr(owner, name, new)


def uninstall():
    """Put the stock nbval back."""
    while _stock:
        owner, name, was = _stock.pop()
        if was is None:
            delattr(owner, name)
        else:
            setattr(owner, name, was)
    fixed.limits.update(output_bytes=4 << 20, cell_seconds=None)


def runtest(self):
    kernel = self.parent.kernel
    if not self.options["skip"] and not kernel.is_alive():
        raise KernelGone("the kernel had ended before this cell")
    kernel.running = Running()  # a skipped cell has none
    kernel.cell_seconds = getattr(self.parent, "cell_seconds", None)
    try:
        _run(self)
    except (NbCellError, CellFault, RuntimeError):
        if not kernel.running.overdue:
            raise
    if kernel.running.overdue:  # even if it ended well after the interrupt
        raise CellTimeout("its output did not come to an end" if kernel.running.reply else
                          f"it did not end within {kernel.running.seconds:g} seconds")
    reply = kernel.running.reply
    if reply.get("status") == "error" and not self.options["check_exception"]:
        self.raise_cell_error(f"the cell raised {reply.get('ename')}: {reply.get('evalue')}, and hid it")


def repr_failure(self, excinfo, *args, **options):
    if isinstance(excinfo.value, CellFault):
        return f"{self.name}: {excinfo.value}"
    return _repr_failure(self, excinfo, *args, **options)


def shown(outputs):
    """The text that a cell's last execute_result shows, or None: all that is compared of a check."""
    found = [out["data"] for out in outputs if out["output_type"] == "execute_result"]
    text = found[-1].get("text/plain") if found and isinstance(found[-1], dict) else None
    return "".join(map(str, text)) if isinstance(text, (str, list)) else None


def only_value(item):
    """Make an item compare its `shown` text alone: prints, warnings and pictures cost nothing."""
    compare = item.compare_outputs

    def value(outputs):
        text = shown(outputs)
        return [] if text is None else [nbformat.v4.new_output("execute_result", {"text/plain": text})]

    item.compare_outputs = lambda test, reference, *rest: compare(value(test), value(reference), *rest)
    item.reportinfo = lambda: (item.path, 0, item.name)
    return item


def anew(item, name, cell=None, check=False):
    """The item under another name, and with another cell if one is given.

    Whatever tags and marks the cell bears, it is run. A `check` is compared, by its value alone; any other
    cell is only run, and may raise.
    """
    options = item.options | {"check": check, "skip": False, "check_exception": not check}
    return only_value(type(item).from_parent(item.parent, name=name, cell_num=item.cell_num,
                                             cell=cell or item.cell, options=options))
