"""Replaces the text of a user's file: the whole file or nothing, with its permissions; ``rewrite`` only if nobody changed it.

Theory of operation. The new text goes into a temporary file in the same folder, so that the last step is a rename within one
file system. It gets the permissions of the old file and is forced to the disk (``fsync``) before the rename: after a power
failure the name leads to the whole old text or to the whole new one. Then the old file is read again. If it no longer holds the
text that was checked, somebody saved it meanwhile, and nothing is written. At last ``os.replace`` puts the new file in its place.

What may go wrong: a change that is saved between the second reading and the rename, some microseconds, is lost. POSIX has no call
that compares and renames in one step. When any step fails, the temporary file is deleted and the old file is untouched. A link
stays a link, because the file that it leads to is the one that is replaced.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from ..kernel.errors import OnexError


class NotRewritten(OnexError):
    """A file that was to be rewritten and was left as it is."""

    code = "not_rewritten"


def rewrite(path: Path, before: str, after: str) -> None:
    """``path`` holds ``before`` and shall hold ``after``. A link stays one: the file it leads to is written.

    Raises NotRewritten when the file changed meanwhile, or cannot be written.
    """
    _replace(path, before, after, "let it be written, or use --diff")


def write_whole(path: Path, text: str) -> None:
    """Makes or replaces ``path``: afterwards it holds ``text`` or what it held before. Raises NotRewritten."""
    _replace(path, None, text, "let its folder be written")


def _replace(path: Path, before: str | None, after: str, fix: str) -> None:
    """``before`` None: whatever is there may go, and a new file may be made."""
    real = Path(os.path.realpath(path))
    scratch = ""
    try:
        mode = real.stat().st_mode & 0o7777 if before is not None or real.exists() else 0o644
        descriptor, scratch = tempfile.mkstemp(prefix=f".{real.name}.", dir=real.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(after.encode())
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        if before is not None and real.read_bytes() != before.encode():
            raise NotRewritten(f"{path} changed while it was checked, and is left as it is; check it again")
        os.replace(scratch, real)
        scratch = ""
    except OSError as error:
        raise NotRewritten(f"{path} cannot be written: {error.strerror}; {fix}") from error
    finally:
        if scratch:
            os.unlink(scratch)
