"""How far a run is: a bar on a terminal, a plain line now and then anywhere else. And how it is stopped."""

import signal
import sys
import threading
import time
from contextlib import contextmanager


class Progress:
    """Counts to `total` on `stream` (standard error), with the rate and the time that is left.

    Where no terminal listens: a line every ten seconds, or at every tenth of the way if that comes later.
    """

    def __init__(self, total, stream=None, seconds=10.0):
        self.total, self.done, self.seconds = total, 0, seconds
        self.stream = stream or sys.stderr
        self.started = self.said = time.monotonic()
        self.share, self.bar = 0, None
        if total and self.stream.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=total, file=self.stream, smoothing=0.1, dynamic_ncols=True, bar_format=(
                "{l_bar}{bar}| {n_fmt} of {total_fmt} [{elapsed}, {remaining} left{postfix}]"))

    def step(self):
        """One more is done."""
        self.done += 1
        now, share = time.monotonic(), 10 * self.done // self.total
        if self.bar is not None:
            self.bar.set_postfix_str(self._pace(now - self.started), refresh=False)
            self.bar.update()
            return
        if self.done == self.total or (now - self.said >= self.seconds and share > self.share) or (
                now - self.said >= 6 * self.seconds):
            self.said, self.share = now, share
            print(self._line(now - self.started), file=self.stream, flush=True)

    def _line(self, passed):
        left = (self.total - self.done) * passed / self.done
        when = f", about {_clock(left)} left" if self.done < self.total else f", in {_clock(passed)}"
        return f"graded {self.done} of {self.total} ({100 * self.done // self.total} %), {self._pace(passed)}{when}"

    def _pace(self, passed):
        rate = 60 * self.done / max(passed, 1e-3)  # one unit from the first line to the last
        return f"{rate:.{0 if rate >= 10 else 1}f} a minute"

    def close(self):
        """Leave the terminal in order."""
        if self.bar is not None:
            self.bar.close()


def _clock(seconds):
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"


@contextmanager
def stopped_like_ctrl_c():
    """A batch system ends a job with SIGTERM first: what is graded by then is written."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
