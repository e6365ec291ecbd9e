"""A file of the user's gets another text: whole or not at all, with its permissions, and only if nobody changed it since."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from ..kernel.errors import OnexError


class NotRewritten(OnexError):
    """A file that was to be mended and was left as it is."""

    code = "not_rewritten"


def rewrite(path: Path, before: str, after: str) -> None:
    """``path`` holds ``before`` and shall hold ``after``. A link stays one: the file it leads to is written.

    Raises NotRewritten when the file changed meanwhile, or cannot be written.
    """
    real = Path(os.path.realpath(path))
    scratch = ""
    try:
        mode = real.stat().st_mode
        descriptor, scratch = tempfile.mkstemp(prefix=f".{real.name}.", dir=real.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(after.encode())
            file.flush()
            os.fchmod(file.fileno(), mode & 0o7777)
            os.fsync(file.fileno())
        if real.read_bytes() != before.encode():
            raise NotRewritten(f"{path} changed while it was checked, and is left as it is; check it again")
        os.replace(scratch, real)
        scratch = ""
    except OSError as error:
        raise NotRewritten(f"{path} cannot be written: {error.strerror}; let it be written, or use --diff") from error
    finally:
        if scratch:
            os.unlink(scratch)
