"""Files of a demo: the store ``NAME.db``, and in ``NAME/`` the list of effects, the engine's log and the proof.

Workers share a store of a server. Then there is only a folder, and the store must be one that does not exist yet.
"""

from __future__ import annotations

import asyncio
import fcntl
import shutil
from pathlib import Path
from secrets import token_hex
from typing import Self

from ...kernel.errors import DatabaseConnectionError, OwnershipLost, ValidationError
from ...wiring import InvalidStoreUrl, StoreUrl, owner_pid
from ...wiring.store_access import StoreNotShared, shown_url, store_exists

STORE_URL = "sqlite:///.onex/demo.db"
SHARED_FOLDER = Path(".onex/demo-workers")
_MARK = "made-by-onex-demo"
_BESIDE = ("-wal", "-shm", "-owner")


class NotADemoStore(ValidationError):
    """The demo starts with an empty store, and something exists there that no demo made."""

    code = "store_taken"


class DemoFiles:
    """The files of one demo. Entering it takes a lock and removes what an earlier demo left, and nothing else."""

    store: Path | None

    def __init__(self, store_url: str | None, *, shared: bool = False) -> None:
        """``shared``: by workers. Raises InvalidStoreUrl, StoreNotShared for a store that is none."""
        if shared:
            self.store_url, self.store, self.folder = _of_workers(store_url), None, SHARED_FOLDER
            return
        self.store_url = store_url or STORE_URL
        path = StoreUrl.parse(self.store_url).path
        if path is None:
            raise InvalidStoreUrl(f"{self.store_url!r} is lost when the engine is killed; name a file: {STORE_URL}")
        self.store = path
        self.folder = path.with_suffix("") if path.suffix else path.with_name(f"{path.name}-demo")

    @property
    def proof(self) -> Path:
        """The page of the proof."""
        return self.folder / "proof.html"

    def __enter__(self) -> Self:
        """Raises StoreTaken; OwnershipLost when another demo or an engine works here; DatabaseConnectionError."""
        mark = self.folder / _MARK
        try:
            kept = self.store is not None and self.store.exists()
            if not mark.exists() and (kept or self.folder.exists()):
                there = self.store if kept else self.folder
                raise NotADemoStore(
                    f"{there} exists and was not made by a demo; name a new store: onex demo --store URL"
                )
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = mark.open("a")
            try:
                self._take()
            except BaseException:
                self._lock.close()
                raise
        except BlockingIOError as error:
            raise OwnershipLost(f"another demo runs in {self.folder}; wait for it, or name another --store") from error
        except OSError as error:
            raise DatabaseConnectionError(f"{self.folder} cannot be used: {error}; name another --store") from error
        return self

    def __exit__(self, *error: object) -> None:
        self._lock.close()

    def _take(self) -> None:
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if self.store is None:
            if asyncio.run(store_exists(self.store_url)):
                raise NotADemoStore(
                    f"there is a store already at {shown_url(self.store_url)}; name a new schema: ?schema=NAME"
                )
        else:
            owner = owner_pid(self.store_url)
            if owner is not None:
                raise OwnershipLost(f"process {owner} runs on {self.store}; stop it, or name another --store")
        self._clear()

    def _clear(self) -> None:
        if self.store is not None:
            for path in (self.store, *(self.store.with_name(f"{self.store.name}{end}") for end in _BESIDE)):
                path.unlink(missing_ok=True)
        for path in self.folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != _MARK:
                path.unlink()

    def tidy(self) -> None:
        """Removes the files that are needed only after a failure."""
        for name in ("ledger.jsonl", "engine.log"):
            (self.folder / name).unlink(missing_ok=True)


def _of_workers(store_url: str | None) -> str:
    """With a schema of its own where none is named."""
    address = None if store_url is None else StoreUrl.parse(store_url).address
    if store_url is None or address is None:
        raise StoreNotShared(
            "workers share a PostgreSQL store: onex demo --workers 3 --store postgres://HOST/DATABASE. "
            "In a clone of ONEX, make demo ARGS='--workers 3' starts a server for it"
        )
    if "schema=" in store_url:
        return store_url
    return f"{store_url}{'&' if '?' in store_url else '?'}schema=onex_demo_{token_hex(4)}"
