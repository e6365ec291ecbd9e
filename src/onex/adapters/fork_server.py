"""The far side of WorkerPool: a process that keeps modules imported, and the workers it forks.

The law: none of these processes outlives its engine. The server watches the engine's pidfd and kills what it forked;
each worker watches engine and server, so it leaves when either is gone. The server runs nobody's code after its
imports, so a worker that holds the interpreter lock in C cannot keep it from acting.

Why not multiprocessing's: its children run the user's ``__main__`` again (a script without an ``if`` guard starts
itself), its pool leaves named semaphores behind at SIGKILL and complains of them, and one dead worker breaks the pool.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from ..kernel.errors import EffectFailed, OnexError
from ..kernel.user_code import caught, describe, flag_of, plain_text, text_of, trace_of
from ..ports import NewBlob

FunctionAddress = tuple[str, str, str, str]
EntryPoint = Callable[[FunctionAddress, bytes, Mapping[bytes, bytes]], tuple[bytes, Sequence[NewBlob]]]

READY = b"ready"
FORK = b"fork"
ORDER_BYTES = 4096
CODE_CHARACTERS = 100
_COUNT = struct.Struct("!I")
_PID = struct.Struct("!q")


# --- messages: a list of byte strings ---------------------------------------------------------------------------------


def frame(parts: Sequence[bytes]) -> list[bytes]:
    """What goes over the wire: the count, the lengths, the parts."""
    return [_COUNT.pack(len(parts)), struct.pack(f"!{len(parts)}Q", *map(len, parts)), *parts]


def lengths_size(count: bytes) -> int:
    """Bytes that the lengths take, given the four bytes before them."""
    return 8 * int(_COUNT.unpack(count)[0])


def cut(lengths: bytes, body: bytes) -> list[bytes]:
    parts, at = [], 0
    for (length,) in struct.iter_unpack("!Q", lengths):
        parts.append(body[at : at + length])
        at += length
    return parts


def body_size(lengths: bytes) -> int:
    return sum(length for (length,) in struct.iter_unpack("!Q", lengths))


def _receive(lane: socket.socket) -> list[bytes] | None:
    """The next message; None when the other side is closed."""
    count = _exactly(lane, 4)
    if count is None:
        return None
    lengths = _exactly(lane, lengths_size(count))
    if lengths is None:
        return None
    body = _exactly(lane, body_size(lengths))
    return None if body is None else cut(lengths, body)


def _exactly(lane: socket.socket, size: int) -> bytes | None:
    data = bytearray(size)
    view = memoryview(data)
    got = 0
    while got < size:
        n = lane.recv_into(view[got:])
        if n == 0:
            return None
        got += n
    return bytes(data)


def request(where: FunctionAddress, payload: bytes, blobs: Mapping[bytes, bytes]) -> list[bytes]:
    """One task: four names, the payload, then digest and bytes of each blob."""
    return [*map(os.fsencode, where), payload, *(part for blob in blobs.items() for part in blob)]


def outcome(reply: list[bytes]) -> tuple[bytes, tuple[NewBlob, ...]]:
    """What a worker's answer says. Raises EffectFailed."""
    kind, first, *rest = reply
    if kind == b"ok":
        made = zip(rest[::3], rest[1::3], rest[2::3], strict=True)
        return first, tuple(NewBlob(digest, media_type.decode(), data) for digest, media_type, data in made)
    raise EffectFailed(rest[0].decode(), retryable=bool(rest[1]), code=first.decode())


# --- what a worker does -----------------------------------------------------------------------------------------------


def resolve(entry: str) -> EntryPoint:
    """``module:name``. Raises ImportError, AttributeError, ValueError and whatever the module raises."""
    module, colon, name = entry.partition(":")
    if not colon:
        raise ValueError(f"{entry!r} is no entry; write package.module:function")
    found: EntryPoint = getattr(importlib.import_module(module), name)
    return found


def answer(entry: EntryPoint, parts: Sequence[bytes]) -> list[bytes]:
    """``ok, result[, digest, media type, data]...`` or ``failed, code, message, retry or nothing``.

    Raises only what ``caught`` lets through.
    """
    app, code, workflow, function, payload, *rest = parts
    where = (os.fsdecode(app), os.fsdecode(code), os.fsdecode(workflow), os.fsdecode(function))
    try:
        result, made = entry(where, payload, dict(zip(rest[::2], rest[1::2], strict=True)))
        blobs = [part for blob in made for part in (blob.digest, blob.media_type.encode(), blob.data)]
        return [b"ok", result, *blobs]
    except BaseException as error:
        # SystemExit too: a function that calls exit() has failed; it does not end the worker
        told = caught(error)
        kind = type(error)
        if issubclass(kind, EffectFailed):
            reason = text_of(error, "reason", EffectFailed.code)
            return _failed(reason, text_of(error, "message", told), flag_of(error, "retry", False))
        if issubclass(kind, OnexError):
            return _failed(
                text_of(error, "code", "raised"), text_of(error, "message", told), flag_of(error, "retryable", False)
            )
        return _failed("raised", f"{where[3]} raised {told} at {_place(error, where[0])}", False)


def _failed(code: str, message: str, retry: bool) -> list[bytes]:
    return [
        b"failed",
        plain_text(code, CODE_CHARACTERS).encode(),
        plain_text(message).encode(),
        b"retry" if retry else b"",
    ]


def _place(error: BaseException, app: str) -> str:
    """``file:line`` of the innermost frame in the app, relative to it; else of the innermost frame."""
    trace = trace_of(error)
    root = os.path.join(os.path.realpath(app), "")
    innermost = inside = None
    while trace is not None:
        innermost = (trace.tb_frame.f_code.co_filename, trace.tb_lineno)
        if os.path.realpath(innermost[0]).startswith(root):
            inside = innermost
        trace = trace.tb_next
    if inside is not None:
        return f"{os.path.realpath(inside[0]).removeprefix(root)}:{inside[1]}"
    return f"{os.path.basename(innermost[0])}:{innermost[1]}" if innermost else "?"


def _work(lane: socket.socket, entry: EntryPoint, engine: int, server: int) -> None:
    """Serve one task after another until the engine closes the lane."""
    threading.Thread(target=_watch, args=(lane.fileno(), engine, server), daemon=True).start()
    pid = os.getpid()
    os.register_at_fork(after_in_child=lane.close)  # else a child of the function's keeps it open when this worker dies
    while (parts := _receive(lane)) is not None:
        reply = answer(entry, parts)
        if os.getpid() != pid:
            return  # a function that forks comes back twice; one answer is enough
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(BaseException):
                stream.flush()
        try:
            lane.sendall(b"".join(frame(reply)))
        except (BrokenPipeError, ConnectionResetError):
            return


def _watch(lane: int, engine: int, server: int) -> None:
    """Kill this worker's process group when engine or server is gone, or the engine let go of the lane."""
    poll = select.poll()
    poll.register(engine, select.POLLIN)
    poll.register(server, select.POLLIN)
    poll.register(lane, 0)  # hang-up is told unasked; what there is to read is the main thread's
    poll.poll()
    os.killpg(0, signal.SIGKILL)


# --- the server -------------------------------------------------------------------------------------------------------


def main() -> NoReturn:
    """``argv``: descriptor of the control socket, the engine's pidfd, the entry."""
    control = socket.socket(fileno=int(sys.argv[2]))
    engine, entry = int(sys.argv[3]), sys.argv[4]
    # the engine decides when work ends: Ctrl-C and a service manager's TERM are addressed to it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        call = resolve(entry)
    except BaseException as error:
        control.send(f"{entry!r} cannot be loaded: {describe(error)}".encode()[:ORDER_BYTES])
        os._exit(1)
    gc.collect()
    gc.freeze()  # what is imported stays shared: a collection in a worker does not touch its pages
    children: set[int] = set()
    try:
        control.send(READY)
        _serve(control, engine, call, children)
    except (BrokenPipeError, ConnectionResetError):
        pass  # the engine is gone
    finally:
        for pid in children:
            _end(pid)
        os._exit(0)


def _serve(control: socket.socket, engine: int, call: EntryPoint, children: set[int]) -> None:
    """Orders, one at a time: ``FORK`` with a lane gives a pid; a pid ends that worker and gives its status."""
    server = os.pidfd_open(os.getpid())
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(engine, select.POLLIN)
    while all(fd != engine for fd, _ in poll.poll()):
        order, fds, _, _ = socket.recv_fds(control, ORDER_BYTES, 1)
        if not order:
            return
        if order == FORK:
            pid = os.fork()
            if pid == 0:
                _become(fds[0], control, call, engine, server)
            os.close(fds[0])
            with contextlib.suppress(OSError):
                os.setpgid(pid, pid)
            children.add(pid)
            control.send(_PID.pack(pid))
        else:
            (pid,) = _PID.unpack(order)
            control.send(_PID.pack(_end(pid) if pid in children else 0))
            children.discard(pid)


def _become(lane_fd: int, control: socket.socket, call: EntryPoint, engine: int, server: int) -> NoReturn:
    """The forked side: from here on a worker."""
    status = 70
    try:
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
        control.close()
        _work(socket.socket(fileno=lane_fd), call, engine, server)
        status = 0
    finally:
        os._exit(status)


def _end(pid: int) -> int:
    """A child's exit code, or minus the signal that ended it; one that still runs is killed with its own children."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)
