"""Where log lines go: one file descriptor, written by one thread, so that a reader that stopped reading never stops the event loop.

Lines wait in a buffer, at most FLUSH_S long; what finds no room is counted and thrown away. `close` writes what is left. So a process that
ends by itself loses no line that its reader takes, and one killed by SIGKILL loses at most its last FLUSH_S seconds of lines.
"""

import contextlib
import os
import select
import threading
from types import TracebackType
from typing import Final, Self

# Longest wait of a line. Short enough to watch a log live, long enough that a busy gateway writes hundreds of lines at once.
FLUSH_S: Final = 0.2
# Bytes that may wait: about 2,500 requests. There are two such buffers, one being filled and one being written. They are made once and
# reused: keeping each line as an object of its own until the next flush was measured to cost 6 µs a line in page faults.
BUFFER_BYTES: Final = 1024 * 1024
# One write. A pipe holds 64 KiB by default.
WRITE_MAX_BYTES: Final = 64 * 1024
# How long `close` waits for a reader that does not read.
CLOSE_S: Final = 2.0


class LineSink:
    """Two buffers and the thread that writes them. Use it as a context manager, or call `close`.

    Attributes:
        dropped: lines thrown away because there was no room or the descriptor refused them.
    """

    def __init__(self, fd: int, buffer_bytes: int = BUFFER_BYTES, flush_s: float = FLUSH_S) -> None:
        self.dropped = 0
        self._fd = fd
        self._flush_s = flush_s
        self._buffer_bytes = buffer_bytes
        self._half_bytes = buffer_bytes // 2
        # How far `_filling` may be filled: its size until `close`, then less than nothing: an empty line is refused too.
        self._room_bytes = buffer_bytes
        # Guards what follows: worker threads log too, and ours swaps the buffers.
        self._lock = threading.Lock()
        self._filling = bytearray(buffer_bytes)
        self._filled_bytes = 0
        self._filled_lines = 0
        self._closing = False
        self._wake = threading.Event()
        # A daemon: a blocked descriptor must not keep a finished process alive.
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Takes one line, line feed included. From any thread. Never waits for the reader, never raises."""
        with self._lock:
            begin = self._filled_bytes
            end = begin + len(line)
            if end > self._room_bytes:
                self.dropped += 1
                return
            self._filling[begin:end] = line
            self._filled_bytes = end
            self._filled_lines += 1
        if end > self._half_bytes and not self._wake.is_set():
            self._wake.set()

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Writes what is left, for at most `timeout_s`. Blocks; later lines are dropped. Calling it again does nothing."""
        with self._lock:
            self._closing = True
            self._room_bytes = -1
        self._wake.set()
        self._thread.join(timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _run(self) -> None:
        spare = bytearray(self._buffer_bytes)
        while True:
            self._wake.wait(self._flush_s)
            self._wake.clear()
            with self._lock:
                full, size, lines, closing = self._filling, self._filled_bytes, self._filled_lines, self._closing
                self._filling, self._filled_bytes, self._filled_lines = spare, 0, 0
            spare = full
            if size and not self._write_all(memoryview(full)[:size]):
                with self._lock:
                    self.dropped += lines
            if closing:
                return

    def _write_all(self, data: memoryview) -> bool:
        """Whether the descriptor took it. Blocks as long as the reader does, which is why this runs in a thread."""
        while data:
            try:
                data = data[os.write(self._fd, data[:WRITE_MAX_BYTES]) :]
            except BlockingIOError:  # somebody who shares the descriptor made it non-blocking
                with contextlib.suppress(OSError, ValueError):
                    select.select([], [self._fd], [], self._flush_s)
            except OSError:  # reader gone (EPIPE), descriptor closed, disk full: logging must not end the process
                return False
        return True
