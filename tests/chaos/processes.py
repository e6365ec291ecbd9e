"""The processes of a run: an engine that is started again and again, clients, and the disk that they share."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.chaos.engine import OFFSET, TOLD
from tests.chaos.outside_check import Acknowledged, Refused

HERE = Path(__file__).parent
APP = HERE / "app"
ROOT = HERE.parents[1]
TOKEN = "CHAOS_RUN"  # in the environment of every process of a run, and of nobody else's
DISK_MIB = 192
DEFECT = 70


class RunFailed(Exception):
    """The run cannot go on, and that is a finding: its words say what was seen."""


class Engine:
    """``onex run``, of which one at a time is meant to live. What it says on stderr goes to a file."""

    def __init__(self, url: str, folder: Path, environ: dict[str, str], words: Sequence[str | Path] = ()) -> None:
        self.url, self.folder, self.environ, self.words = url, folder, environ, words
        self.clock = folder / "clock"
        self.talk = folder / "told-inside.jsonl"
        self.set_clock(0)
        self.starts = 0
        self.ended: Counter[str] = Counter()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None, "an engine was started"
        return self.process.pid

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def set_clock(self, offset_us: int) -> None:
        with open(self.clock, "r+b" if self.clock.exists() else "w+b") as file:
            file.write(OFFSET.pack(offset_us))

    def command(self, *words: str, url: str | None = None) -> list[str | Path]:
        entry: list[str | Path] = [sys.executable, HERE / "engine.py", self.clock]
        return [*self.words, *entry, "run", APP, "--store", url or self.url, "--workers", "2", *words]

    def start(self) -> None:
        """Returns when it says that it runs. Raises RunFailed when it ends instead."""
        self.starts += 1
        log = self.log(self.starts)
        with log.open("wb") as errors:
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env={**self.environ, TOLD: str(self.talk)},
                cwd=ROOT,
            )

    def wait_until_it_runs(self, patience_s: float = 120) -> bool:
        """False when it ended instead."""
        until = time.monotonic() + patience_s
        while b"running " not in self.log(self.starts).read_bytes():
            if not self.runs:
                return False
            if time.monotonic() > until:
                raise RunFailed(f"start {self.starts} of the engine neither runs nor ends within {patience_s} s")
            time.sleep(0.02)
        return True

    def answers_inside(self) -> tuple[list[Acknowledged], list[Refused]]:
        """What the engine's own program was told, in all its starts."""
        told: list[Acknowledged] = []
        refused: list[Refused] = []
        for n, line in enumerate(self.talk.read_text().splitlines()):
            one = json.loads(line)
            if "refused" in one:
                refused.append(Refused(one["key"], one["action_id"], one["refused"]))
            else:  # each waits for the one before
                told.append(
                    Acknowledged(one["key"], one["action_id"], one["version"], one["status"], "inside", n, False)
                )
        return told, refused

    def log(self, start: int) -> Path:
        return self.folder / f"engine-{start}.log"

    def said(self) -> str:
        """The last line of this start."""
        lines = self.log(self.starts).read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def end(self, patience_s: float = 60) -> None:
        """In order. Raises RunFailed when it does not end, or not well."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            raise RunFailed(
                f"start {self.starts} of the engine does not end within {patience_s} s of SIGTERM"
            ) from None
        if code:
            raise RunFailed(f"start {self.starts} of the engine ended with {code} after SIGTERM: {self.said()}")

    def restart_if_ended(self) -> None:
        """One that ended by itself is started again, and counted. Raises RunFailed when it did not say why, or not well."""
        for _ in range(5):
            if self.runs:
                return
            assert self.process is not None
            code = self.process.returncode
            why = f"exit {code}: {self.said()}"
            self.ended[why[:160]] += 1
            if code < 0 or code in (0, DEFECT) or not self.said():
                raise RunFailed(f"start {self.starts} of the engine ended by itself, {why}")
            time.sleep(0.3)
            self.start()
            self.wait_until_it_runs()
        raise RunFailed(f"the engine ends again and again: {self.said()}")

    def drain(self, patience_s: float = 300) -> None:
        """Runs until nothing is due, with its clock a day ahead, so that every timer is. Raises RunFailed."""
        self.set_clock(24 * 3600 * 1_000_000)
        for turn in (1, 2):  # what the first left due, if anything, the second would meet
            try:
                done = subprocess.run(
                    self.command("--until-idle"), capture_output=True, env=self.environ, cwd=ROOT, timeout=patience_s
                )
            except subprocess.TimeoutExpired:
                raise RunFailed(f"run --until-idle ({turn}) does not become idle within {patience_s} s") from None
            if done.returncode:
                raise RunFailed(
                    f"run --until-idle ({turn}) ended with {done.returncode}: {done.stderr.decode()[-1000:]}"
                )

    def helpers(self) -> list[int]:
        """Its fork server and workers."""
        return list(_descendants(self.pid))


class Clients:
    """Sender processes; what they were told is collected as it comes."""

    def __init__(self, url: str, environ: dict[str, str], folder: Path) -> None:
        self.url, self.environ, self.folder = url, environ, folder
        self.told: list[Acknowledged] = []
        self.refused: list[Refused] = []
        self.troubles: Counter[str] = Counter()
        self._living: dict[str, subprocess.Popen[str]] = {}
        self._threads: list[threading.Thread] = []
        self._started = 0

    def start(self, seed: int) -> None:
        self._started += 1
        name = f"c{self._started}"
        errors = (self.folder / f"client-{name}.log").open("wb")
        with errors:
            client = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.sender", self.url, name, str(seed)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=self.environ,
                cwd=ROOT,
            )
        self._living[name] = client
        thread = threading.Thread(target=self._listen, args=(name, client), name=f"listen-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _listen(self, name: str, client: subprocess.Popen[str]) -> None:
        assert client.stdout is not None
        with client.stdout as lines, (self.folder / "told.jsonl").open("a", buffering=1) as kept:
            for line in lines:
                if not line.endswith("\n"):
                    return  # it was killed in the middle of a word
                kept.write(line)
                told = json.loads(line)
                if "trouble" in told:
                    self.troubles[str(told["trouble"])] += 1
                elif "refused" in told:
                    self.refused.append(Refused(told["key"], told["action_id"], told["refused"]))
                else:
                    which = (told["key"], told["action_id"], told["version"], told["status"])
                    times = (told["begun_s"], told["told_s"])
                    self.told.append(Acknowledged(*which, name, told["ticket"], told["again"], *times))

    @property
    def answers(self) -> int:
        return len(self.told) + len(self.refused)

    def any_pid(self) -> int:
        return next(iter(self._living.values())).pid

    def kill_one(self, seed: int) -> None:
        """One of them dies with all it had not heard yet; another takes its place."""
        name, client = next(iter(self._living.items()))
        del self._living[name]
        client.kill()
        client.wait()
        self.start(seed)

    def crashed(self) -> str | None:
        for name, client in self._living.items():
            if client.poll() is not None:
                return f"client {name} ended by itself ({client.returncode}): {self._said(name)}"
        return None

    def finish(self, patience_s: float = 180) -> None:
        """They send nothing new, and hear what is under way. Raises RunFailed for one that never does."""
        for client in self._living.values():
            assert client.stdin is not None
            client.stdin.close()
        for name, client in self._living.items():
            try:
                code = client.wait(patience_s)
            except subprocess.TimeoutExpired:
                raise RunFailed(f"client {name} was not answered within {patience_s} s of peace") from None
            if code:
                raise RunFailed(f"client {name} ended with {code}: {self._said(name)}")
        self._living.clear()
        for thread in self._threads:
            thread.join()

    def _said(self, name: str) -> str:
        return (self.folder / f"client-{name}.log").read_text(errors="replace")[-1500:]


class Disk:
    """Where the store is: a small file system of its own where we may mount one, so that it can really be full."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "chaos", place], capture_output=True)
        self.mounted = done.returncode == 0
        self._ballast = place / "ballast"

    @property
    def how(self) -> str:
        return f"a tmpfs of {DISK_MIB} MiB" if self.mounted else "RLIMIT_FSIZE (no tmpfs can be mounted here)"

    def fill(self, engine: int) -> None:
        """ENOSPC for everybody; where no disk is ours to fill, EFBIG for the engine, whose files may grow no more."""
        if not self.mounted:
            largest = max(path.stat().st_size for path in self.place.iterdir())
            _limit(engine, resource.RLIMIT_FSIZE, largest)
            return
        with self._ballast.open("wb") as file:
            size = 1 << 24
            while size:
                try:
                    os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), size)
                except OSError:
                    size = size // 2 if size > 4096 else 0

    def free(self, engine: int) -> None:
        if not self.mounted:
            _limit(engine, resource.RLIMIT_FSIZE, None)
        self._ballast.unlink(missing_ok=True)

    def close(self) -> None:
        if self.mounted:
            subprocess.run(["umount", "-l", self.place], check=True)

    def keep(self, where: Path) -> None:
        """A copy that outlives the file system."""
        shutil.copytree(self.place, where, ignore=shutil.ignore_patterns("ballast"))


def without_descriptors(pid: int) -> None:
    """It keeps those it has, and gets no more."""
    highest = max(int(name) for name in os.listdir(f"/proc/{pid}/fd"))
    _limit(pid, resource.RLIMIT_NOFILE, highest + 1)


def with_descriptors(pid: int) -> None:
    _limit(pid, resource.RLIMIT_NOFILE, None)


def _limit(pid: int, what: int, soft: int | None) -> None:
    """None: as much as the hard limit says, or what this process itself has."""
    _, hard = resource.prlimit(pid, what)
    mine, _ = resource.getrlimit(what)
    resource.prlimit(pid, what, (mine if soft is None else soft, hard))


def of_this_run(token: str) -> list[str]:
    """Processes that belong to the run and live, as ``pid: command``."""
    found: list[str] = []
    mark = f"{TOKEN}={token}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found.append(f"{entry.name}: {words[:120]}")
        except OSError:
            continue  # it ended just now, or is another user's
    return found


def _descendants(pid: int) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(words[1]), []).append(int(entry.name))
    waiting = list(children.get(pid, ()))
    while waiting:
        one = waiting.pop()
        yield one
        waiting += children.get(one, ())
