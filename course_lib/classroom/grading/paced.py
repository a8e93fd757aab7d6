"""What a kernel prints, sent before much of it has gathered.

ipykernel gathers prints for 0.2 s and sends them as one message. A `print` in an endless loop gathers hundreds of
megabytes in that time: on a busy machine the kernel then dies of its memory limit before anyone has seen that it
floods. Here whoever prints waits for each megabyte to be sent.
"""

from ipykernel.iostream import OutStream

MOST = 1 << 20  # characters that may wait


class PacedStream(OutStream):
    """ipykernel's stdout and stderr, flushed after each MOST characters."""

    waiting = 0

    def write(self, string):
        written = super().write(string)
        self.waiting += written or 0
        if self.waiting > MOST:
            self.waiting = 0
            self.flush()
        return written
