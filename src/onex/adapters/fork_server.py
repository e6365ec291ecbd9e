"""The other side of WorkerPool: the fork server, a process that keeps the app imported, and the workers that it forks.

The rule: none of these processes outlives its engine.

Theory of operation. ``main`` imports the entry, moves all objects out of the garbage collector's reach (so that forked
workers go on sharing their pages), sends ``READY`` and serves orders one at a time:

- ``FORK`` with a socket: fork a worker that uses this socket, and answer its process id.
- A process id: kill that worker with its own children, and answer how it ended.

A worker reads a task, calls the entry and writes the answer, until the engine closes its socket.

What may go wrong:

- The engine dies, with or without a signal: the server polls the engine's pidfd, kills all workers and ends. Each worker has a
  thread that polls engine, server and its socket, and kills the worker's process group when one of them is gone.
- A worker holds the interpreter lock in C for ever: its thread cannot act, but the server can. After its imports the server
  runs no code of the app, so nothing keeps it from acting.
- User code forks: the child must not answer as well (``_serve_tasks`` compares process ids), and must not keep the socket
  open (``register_at_fork``), or the pool would not notice the worker's death.
- User code prints, exits or raises anything: ``answer`` catches it, and the worker goes on.
- Ctrl-C and SIGTERM go to the whole group: both are ignored here, because the engine decides when work ends.

Why not ``multiprocessing``: its children run the user's ``__main__`` again, so a script without an ``if`` guard starts itself.
Its pool leaves named semaphores behind at SIGKILL, and one dead worker breaks the whole pool.
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
from ..kernel.user_trace import trace_text
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
    """A message as it is sent: the number of parts, their lengths, the parts."""
    return [_COUNT.pack(len(parts)), struct.pack(f"!{len(parts)}Q", *map(len, parts)), *parts]


def lengths_size(count: bytes) -> int:
    """How many bytes the lengths take; ``count`` is the four bytes before them."""
    return 8 * int(_COUNT.unpack(count)[0])


def split_parts(lengths: bytes, body: bytes) -> list[bytes]:
    parts, at = [], 0
    for (length,) in struct.iter_unpack("!Q", lengths):
        parts.append(body[at : at + length])
        at += length
    return parts


def body_size(lengths: bytes) -> int:
    return sum(length for (length,) in struct.iter_unpack("!Q", lengths))


def _receive(task_socket: socket.socket) -> list[bytes] | None:
    """The next message. None: the other side was closed."""
    count = _exactly(task_socket, 4)
    if count is None:
        return None
    lengths = _exactly(task_socket, lengths_size(count))
    if lengths is None:
        return None
    body = _exactly(task_socket, body_size(lengths))
    return None if body is None else split_parts(lengths, body)


def _exactly(task_socket: socket.socket, size: int) -> bytes | None:
    data = bytearray(size)
    view = memoryview(data)
    got = 0
    while got < size:
        n = task_socket.recv_into(view[got:])
        if n == 0:
            return None
        got += n
    return bytes(data)


def request(where: FunctionAddress, payload: bytes, blobs: Mapping[bytes, bytes]) -> list[bytes]:
    """One task as a message: four names, the payload, then digest and bytes of each blob."""
    return [*map(os.fsencode, where), payload, *(part for blob in blobs.items() for part in blob)]


def outcome(reply: list[bytes]) -> tuple[bytes, tuple[NewBlob, ...]]:
    """The result and the new blobs in a worker's answer. Raises EffectFailed when it reports a failure."""
    kind, first, *rest = reply
    if kind == b"ok":
        made = zip(rest[::3], rest[1::3], rest[2::3], strict=True)
        return first, tuple(NewBlob(digest, media_type.decode(), data) for digest, media_type, data in made)
    failed = EffectFailed(rest[0].decode(), retryable=bool(rest[1]), code=first.decode())
    failed.trace = rest[2].decode()
    raise failed


# --- what a worker does -----------------------------------------------------------------------------------------------


def resolve(entry: str) -> EntryPoint:
    """The function named ``module:name``. Raises ImportError, AttributeError, ValueError and whatever the module raises."""
    module, colon, name = entry.partition(":")
    if not colon:
        raise ValueError(f"{entry!r} names no function; write package.module:function")
    found: EntryPoint = getattr(importlib.import_module(module), name)
    return found


def answer(entry: EntryPoint, parts: Sequence[bytes]) -> list[bytes]:
    """Run one task. Returns ``ok, result[, digest, media type, data]...`` or ``failed, code, message, retry or nothing, trace``.

    Raises only what ``caught`` raises again.
    """
    app, code, workflow, function, payload, *rest = parts
    where = (os.fsdecode(app), os.fsdecode(code), os.fsdecode(workflow), os.fsdecode(function))
    try:
        result, made = entry(where, payload, dict(zip(rest[::2], rest[1::2], strict=True)))
        blobs = [part for blob in made for part in (blob.digest, blob.media_type.encode(), blob.data)]
        return [b"ok", result, *blobs]
    except BaseException as error:
        # SystemExit too: a function that calls exit() has failed; it does not end the worker
        text, trace = caught(error), trace_text(error)
        kind = type(error)
        if issubclass(kind, EffectFailed):
            reason = text_of(error, "reason", EffectFailed.code)
            return _failed(reason, text_of(error, "message", text), trace, retry=flag_of(error, "retry", False))
        if issubclass(kind, OnexError):
            reason, retry = text_of(error, "code", "raised"), flag_of(error, "retryable", False)
            return _failed(reason, text_of(error, "message", text), trace, retry=retry)
        return _failed("raised", f"{where[3]} raised {text} at {_code_place(error, where[0])}", trace, retry=False)


def _failed(code: str, message: str, trace: str, *, retry: bool) -> list[bytes]:
    return [
        b"failed",
        plain_text(code, CODE_CHARACTERS).encode(),
        plain_text(message).encode(),
        b"retry" if retry else b"",
        trace.encode(),
    ]


def _code_place(error: BaseException, app: str) -> str:
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


def _serve_tasks(task_socket: socket.socket, entry: EntryPoint, engine: int, server: int) -> None:
    """Run one task after another until the engine closes the socket."""
    threading.Thread(target=_watch, args=(task_socket.fileno(), engine, server), daemon=True).start()
    pid = os.getpid()
    # else a child that user code forks keeps the socket open when this worker dies
    os.register_at_fork(after_in_child=task_socket.close)
    while (parts := _receive(task_socket)) is not None:
        reply = answer(entry, parts)
        if os.getpid() != pid:
            return  # user code forked, and this is its child: the parent answers
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(BaseException):
                stream.flush()
        try:
            task_socket.sendall(b"".join(frame(reply)))
        except (BrokenPipeError, ConnectionResetError):
            return


def _watch(task_socket: int, engine: int, server: int) -> None:
    """Kill this worker's process group when engine or server is gone, or when the engine has closed the socket."""
    poll = select.poll()
    poll.register(engine, select.POLLIN)
    poll.register(server, select.POLLIN)
    poll.register(task_socket, 0)  # a hang-up is reported without asking; what there is to read is for the main thread
    poll.poll()
    os.killpg(0, signal.SIGKILL)


# --- the server -------------------------------------------------------------------------------------------------------


def main() -> NoReturn:
    """``argv``: descriptor of the control socket, the engine's pidfd, the entry."""
    control = socket.socket(fileno=int(sys.argv[2]))
    engine, entry = int(sys.argv[3]), sys.argv[4]
    # The engine decides when work ends. Ctrl-C and SIGTERM of a service manager are meant for it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        call = resolve(entry)
    except BaseException as error:
        control.send(f"{entry!r} cannot be loaded: {describe(error)}".encode()[:ORDER_BYTES])
        os._exit(1)
    gc.collect()
    gc.freeze()  # memory of imported modules stays shared: a collection in a worker does not write to its pages
    children: set[int] = set()
    try:
        control.send(READY)
        _serve_orders(control, engine, call, children)
    except (BrokenPipeError, ConnectionResetError):
        pass  # the engine has ended
    finally:
        for pid in children:
            _end_worker(pid)
        os._exit(0)


def _serve_orders(control: socket.socket, engine: int, call: EntryPoint, children: set[int]) -> None:
    """Carry out orders, one at a time: ``FORK`` with a socket answers a pid; a pid ends that worker and answers its status."""
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
                _run_worker(fds[0], control, call, engine, server)
            os.close(fds[0])
            with contextlib.suppress(OSError):
                os.setpgid(pid, pid)
            children.add(pid)
            control.send(_PID.pack(pid))
        else:
            (pid,) = _PID.unpack(order)
            control.send(_PID.pack(_end_worker(pid) if pid in children else 0))
            children.discard(pid)


def _run_worker(task_fd: int, control: socket.socket, call: EntryPoint, engine: int, server: int) -> NoReturn:
    """The forked child: from here on it is a worker, and never returns."""
    status = 70
    try:
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
        control.close()
        _serve_tasks(socket.socket(fileno=task_fd), call, engine, server)
        status = 0
    finally:
        os._exit(status)


def _end_worker(pid: int) -> int:
    """A worker's exit code, or minus the signal that ended it. One that still runs is killed, with its own children."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)
