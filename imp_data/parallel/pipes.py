"""Send values through a pipe between two processes, the bytes of arrays without a copy."""

import mmap
import os
import pickle
from multiprocessing.connection import Connection
from typing import Any

_LARGE_BYTES = 1 << 16


def send(pipe: Connection, value: object) -> None:
    """Send a value, which `receive` returns at the other end."""
    arrays: list[pickle.PickleBuffer] = []
    message = pickle.dumps(value, 5, buffer_callback=arrays.append)
    views = [array.raw() for array in arrays]
    pipe.send_bytes(pickle.dumps((message, [len(view) for view in views])))
    for view in views:
        while view:
            view = view[os.write(pipe.fileno(), view) :]


def receive(pipe: Connection) -> Any:
    """Receive the next value. Raise EOFError if the other end closes before it is complete."""
    message, sizes = pickle.loads(pipe.recv_bytes())
    views = [_buffer(size) for size in sizes]
    for view in views:
        while view:
            count = os.readv(pipe.fileno(), [view])
            if not count:
                raise EOFError("a message ended early")
            view = view[count:]
    return pickle.loads(message, buffers=views)


def _buffer(size: int) -> memoryview:
    """Allocate a buffer; a large one returns to the system as soon as it is freed."""
    if size < _LARGE_BYTES:
        return memoryview(bytearray(size))
    return memoryview(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
