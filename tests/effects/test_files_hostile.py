"""Paths that would lead out of the root, and links that are put in the way while a file is written: nothing outside changes."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from onex.effects.folder_files import FolderFiles
from onex.kernel.errors import EffectFailed
from tests.effects.calls import HandClock, intent
from tests.effects.test_files import Invoice, every, files

UPS = (
    "..",
    "../",
    "../../",
    "./..",
    "a/..",
    "a/../..",
    "a/../../..",
    "..//",
    "/..",
    "/",
    "//",
    "",
    ".",
    "./",
    "a/",
    "/a",
    "a//b",
    "a/./b",
)
ENDS = ("canary", "etc/passwd", "outside/canary", "a.txt")
ODD = (
    "..%2fcanary", "%2e%2e/canary", "..%5ccanary", "..\\canary", "\\..\\canary", "C:\\canary",
    "\\\\host\\canary", "....//canary", "..;/canary",
    "．．/canary", "..／canary", "‥/canary", "\u2024\u2024/canary", "..\u2215canary", "..\u2044canary",
    "..\u200b/canary", "..\ufeff/canary", "\u202e../canary",
    "..\x00/canary", "canary\x00.txt", "..\n/canary", "\x1b[2Jcanary", "..\t", ".. /canary", " ../canary",
    "~/canary", "~root/canary", "$HOME/canary",
    "${HOME}/canary", "`id`", "$(id)", "|id", ";id", "file:///canary", "file:../canary",
    "/proc/self/root/canary", "/proc/self/cwd/canary", "/dev/stdin",
    "link/canary", "link", "link/../canary", "deep/link/canary", "file_link", "a" * 256, "é" * 200,
    "a/" * 40 + "a", "\ud800", "con", "nul", ".onex-1/../../canary",
)  # fmt: skip
_JOINED = [f"{up}{'' if up.endswith('/') or not up else '/'}{end}" for up in UPS for end in ENDS]
_TOGETHER = [up + end for up in UPS for end in ENDS]
PATHS = tuple(dict.fromkeys([*_JOINED, *_TOGETHER, *UPS, *ODD, *(f"in/{one}" for one in (*UPS, *ODD))]))


def outside_of(root: Path) -> Path:
    """A folder beside the root, with a file; links in the root lead there."""
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "canary").write_text("as it was")
    (root / "deep").mkdir(parents=True)
    for name in ("link", "deep/link"):
        (root / name).symlink_to(outside)
    (root / "file_link").symlink_to(outside / "canary")
    return outside


def test_no_path_of_a_payload_leads_out_of_the_root(tmp_path: Path) -> None:
    assert len(PATHS) >= 200
    root = tmp_path / "root"
    outside = outside_of(root)

    def names() -> set[str]:
        return {path.name for path in tmp_path.iterdir()}

    others = names()

    async def body() -> None:
        effect = files(root)
        refused = 0
        for path in PATHS:
            for operation in ("anywhere", "write", "read", "delete", "copy", "move", "list"):
                try:
                    await effect.execute(intent(operation, Invoice(order=path, text="overwritten")))
                except EffectFailed:
                    refused += 1
            assert every(outside) == {"canary": b"as it was"}, path
            assert names() == others, path
        assert refused > len(PATHS)
        await effect.close()

    asyncio.run(body())
    assert [path.name for path in root.rglob("*") if path.is_symlink()]  # the links are still there


def test_what_is_no_plain_file_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    outside_of(root)
    os.mkfifo(root / "pipe")
    kept = FolderFiles(str(root), HandClock(), max_bytes=None, max_file_bytes=1000)
    for path in ("link", "file_link", "pipe", "deep", "link/canary"):
        for call in (
            lambda path=path: kept.read(path),
            lambda path=path: kept.write(path, b"x", replace=True),
            lambda path=path: kept.move(path, "moved", replace=True),
            lambda path=path: kept.copy(path, "copied", replace=True),
        ):
            with pytest.raises(EffectFailed) as raised:
                call()
            assert raised.value.reason == "path_refused"
    kept.close()


def race(tmp_path: Path, tries: int) -> None:
    """One thread swaps a folder and a file of the root for links to the outside, as fast as it can, while files are written."""
    root = tmp_path / "root"
    outside = outside_of(root)
    for name in ("box", "spare"):
        (root / name).mkdir()
    over = threading.Event()

    def swap() -> None:
        box, aside, link = root / "box", root / "aside", root / "swapped"
        while not over.is_set():
            with suppress(OSError):
                link.symlink_to(outside)
            with suppress(OSError):
                os.rename(box, aside)
                os.rename(link, box)
            with suppress(OSError):
                os.unlink(box)
            with suppress(OSError):
                os.rename(aside, box)
            with suppress(OSError):
                os.unlink(root / "spare" / "canary")
                os.symlink(outside / "canary", root / "spare" / "canary")

    thread = threading.Thread(target=swap)
    thread.start()
    kept = FolderFiles(str(root), HandClock(), max_bytes=None, max_file_bytes=1000)
    done = refused = 0
    try:
        for n in range(tries):
            calls = (
                lambda: kept.write("box/canary", b"inside", replace=True),
                lambda: kept.write("spare/canary", b"inside", replace=True),
                lambda: kept.read("box/canary") == b"as it was" and pytest.fail("a file outside was read"),
                lambda: kept.read("spare/canary") == b"as it was" and pytest.fail("a file outside was read"),
                lambda: kept.delete("box/canary"),
                lambda: kept.move("spare/canary", "box/canary", replace=True),
            )
            try:
                calls[n % len(calls)]()
                done += 1
            except (EffectFailed, OSError):
                refused += 1
        assert every(outside) == {"canary": b"as it was"}
    finally:
        over.set()
        thread.join()
        kept.close()
    assert done and refused


def test_no_race_of_links_leads_out_of_the_root(tmp_path: Path) -> None:
    race(tmp_path, 1_000)


@pytest.mark.long
def test_no_race_of_links_leads_out_of_the_root_in_10_000_tries(tmp_path: Path) -> None:
    race(tmp_path, 10_000)
