"""Code at a git revision: the files of an app or a contract, written into a temporary folder while somebody looks at them.

Theory of operation. ``checkout(spec, path)`` does this, in this order:

1. A ``spec`` that exists as a path, or is written like one (``./x``, ``/x``), is that path, and git is not asked.
2. ``git rev-parse --show-toplevel`` finds the work tree around ``path``. ``path`` may be a file, or may be gone since that
   revision, so the nearest folder that exists is asked.
3. ``git rev-parse --verify REV^{commit}`` gives the full commit. A name that begins with ``-`` is refused first: git would take
   it for an option.
4. ``git ls-tree`` lists the files. A submodule is refused, because its files are not in the commit. A path with ``..`` or
   ``.git`` in it is refused, because git itself never writes such a file. So no entry can leave the folder that it is written to.
5. ``git cat-file --batch`` gives the bytes. The ids are in a file and not in a pipe: a pipe of questions could be full while the
   pipe of answers waits to be read, and both processes would wait for ever.
6. Files are written first and links last, so that no file can be written through a link. When all links are there, each must
   lead to a place inside the folder. One link may go through another, so this is checked at the end.

A Python file is an app that may import its neighbours, so it comes with the Python files of its folder and below.

The repository is only read. The work tree, the index and HEAD stay as they are, no filter and no hook runs, and the bytes are
those that were committed. The environment variables by which a hook or an alias of git names a repository are removed, or git
would look at another one. The folder is called like the app, because an app's package is named after its folder. It is deleted
when the block ends, also when the block raises. Every failure is RevisionUnreadable, with what git said.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath, PurePosixPath
from tempfile import TemporaryDirectory, TemporaryFile
from typing import BinaryIO, NamedTuple, cast

from ..kernel.errors import ContractError

_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_LINK, _MODULE = "120000", "160000"
_OURS = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
_LOCAL = ("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_NAMESPACE", "GIT_PREFIX")
_CHUNK = 1 << 20
PYTHON = ".py"


class RevisionUnreadable(ContractError):
    """Git cannot give the code: no repository, no such revision, nothing at that path, or files that may not be written."""

    code = "revision"


class _Entry(NamedTuple):
    """One file of a commit: ``path`` from the repository's root, with slashes."""

    mode: str
    object_id: str
    path: str


def is_revision(spec: str) -> bool:
    """Whether ``checkout`` would ask git: it is no path that exists, and is not written like one (``./x``, ``/x``)."""
    return not (_like_a_path(spec) or _exists(spec))


@contextmanager
def checkout(spec: str, path: Path) -> Iterator[Path]:
    """What ``spec`` names, as a path: itself if it exists, else ``path`` as it was at the git revision ``spec``.

    ``REV:inside`` takes another path of that revision, counted from the root of the repository that holds ``path``;
    ``./x`` is always a path. What comes from git is gone when the block ends. Raises RevisionUnreadable.
    """
    if not is_revision(spec):
        if not _exists(spec):
            raise RevisionUnreadable(f"{spec} does not exist; name a folder, or a git revision without ./ before it")
        yield Path(spec)
        return
    revision, colon, inside = spec.partition(":")
    repository = _Repository.holding(path, revision)
    commit = repository.commit(revision)
    wanted = _plain(inside, spec) if colon else repository.inside(path)
    with TemporaryDirectory(prefix="onex-") as scratch:
        file = PurePosixPath(wanted).name if wanted.endswith(PYTHON) else ""
        folder = _below_root(PurePosixPath(wanted).parent) if file else wanted
        # the commit stands in the path so that a finding's place says which code it speaks of
        place = Path(scratch, commit[:12], PurePosixPath(folder).name or repository.root.name)
        place.parent.mkdir()
        repository.write(commit, folder, place, spec, suffix=PYTHON if file else "")
        if file and not (place / file).is_file():
            raise _missing(wanted, spec, commit, repository.root)
        yield place / file if file else place


class _Repository:
    """``root`` is the top of the work tree. Each question is one ``git`` process that only reads."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def holding(cls, path: Path, revision: str) -> _Repository:
        near = path.resolve()
        while not near.is_dir():  # it may be a file, or gone since that revision
            near = near.parent
        done = _git(near, "rev-parse", "--show-toplevel")
        root = os.fsdecode(done.stdout.removesuffix(b"\n"))
        if done.returncode or not root:
            raise RevisionUnreadable(
                f"{revision!r} is no path that exists, and no git revision either: {path} is in no work tree that git "
                f"can read ({_said(done)}). Name a folder"
            )
        return cls(Path(root))

    def inside(self, path: Path) -> str:
        """``path`` counted from the root, '' for the root itself."""
        return _below_root(path.resolve().relative_to(self.root.resolve()))

    def commit(self, revision: str) -> str:
        if not revision or revision.startswith("-") or not revision.isprintable():
            raise RevisionUnreadable(f"{revision!r} is no git revision; write a tag, a branch or a commit, or a path")
        done = _git(self.root, "rev-parse", "--verify", f"{revision}^{{commit}}")
        found = done.stdout.decode(errors="replace").strip()
        if done.returncode or not _COMMIT.fullmatch(found):
            raise RevisionUnreadable(
                f"{revision!r} is neither a path nor a revision of {self.root} ({_said(done)}); "
                "git tag and git log name revisions, git fetch --unshallow --tags brings those a shallow clone left out"
            )
        return found

    def write(self, commit: str, inside: str, place: Path, spec: str, suffix: str = "") -> None:
        """The folder or file ``inside`` of the commit, at ``place``; of a folder only the files that end in ``suffix``."""
        entries = [one for one in self._entries(commit, inside, suffix) if one.path.endswith(suffix)]
        if not entries:
            raise _missing(inside, spec, commit, self.root)
        links = []
        for entry, size, source in self._contents(sorted(entries, key=lambda one: one.mode == _LINK)):
            target = _made(place, entry, inside)
            if entry.mode == _LINK:
                target.symlink_to(os.fsdecode(source.read(size)))
                links.append(target)
            else:
                _copy(source, target, size)
        top = place.parent.resolve()
        for link in links:  # once all are there: one link may lead through another
            real = Path(os.path.realpath(link))
            if place.is_symlink() or not real.is_relative_to(top / place.name):
                shown = link.relative_to(place.parent)
                raise RevisionUnreadable(
                    f"{shown} is a link out of it at {spec!r}; name a revision that holds the file"
                )

    def _entries(self, commit: str, inside: str, suffix: str) -> list[_Entry]:
        # --full-tree counts from the root whatever the folder; a literal path has no wildcards
        words = ("--literal-pathspecs", "ls-tree", "-r", "-z", "--full-tree", commit)
        done = _git(self.root, *words, *(("--", inside) if inside else ()))
        if done.returncode:
            raise RevisionUnreadable(f"git cannot list commit {commit[:12]} of {self.root} ({_said(done)})")
        entries = []
        for line in done.stdout.split(b"\0")[:-1]:
            described, _, name = line.partition(b"\t")
            mode, _, object_id = described.decode().split(" ")
            entry = _Entry(mode, object_id, os.fsdecode(name))
            if mode == _MODULE and not suffix:
                raise RevisionUnreadable(
                    f"{entry.path} is a submodule, whose files are not in commit {commit[:12]}; name a folder instead"
                )
            if any(part in ("", ".", "..", ".git") for part in entry.path.split("/")):
                raise RevisionUnreadable(
                    f"commit {commit[:12]} holds {entry.path!r}, which no git writes into a folder"
                )
            entries.append(entry)
        return entries

    def _contents(self, entries: Sequence[_Entry]) -> Iterator[tuple[_Entry, int, BinaryIO]]:
        """Each entry with its size and the stream that holds just so many bytes next."""
        words = ("git", "-C", str(self.root), "cat-file", "--batch")
        with TemporaryFile() as asked:  # a file, since a pipe would fill while nobody reads the answers
            asked.write(b"".join(f"{entry.object_id}\n".encode() for entry in entries))
            asked.seek(0)
            with subprocess.Popen(
                words, stdin=asked, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_environment()
            ) as git:
                source = cast(BinaryIO, git.stdout)
                for entry in entries:
                    answer = source.readline().split()  # "<id> blob <size>", or "<id> missing"
                    if len(answer) != 3:
                        raise RevisionUnreadable(
                            f"git does not have the content of {entry.path} ({entry.object_id[:12]}); "
                            "git fsck says more"
                        )
                    yield entry, int(answer[2]), source
                    source.read(1)  # the line end behind the content


def _made(place: Path, entry: _Entry, inside: str) -> Path:
    """Where the entry is to stand, its folder made."""
    below = PurePosixPath(entry.path).relative_to(inside) if inside else PurePosixPath(entry.path)
    target = place.joinpath(*below.parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _copy(source: BinaryIO, target: Path, size: int) -> None:
    with target.open("xb") as file:
        while size > 0:
            part = source.read(min(size, _CHUNK))
            if not part:
                raise RevisionUnreadable(f"git ended before the content of {target.name} did; git fsck says more")
            file.write(part)
            size -= len(part)


def _plain(inside: str, spec: str) -> str:
    """A path as git writes it. Raises RevisionUnreadable for one that is absolute or climbs."""
    path = PurePosixPath(inside)
    if path.is_absolute() or ".." in path.parts or inside.startswith("./") or not inside.isprintable():
        raise RevisionUnreadable(f"in {spec!r} the path counts from the repository's root: REV:examples/orders")
    return "" if path == PurePosixPath() else path.as_posix()


def _like_a_path(spec: str) -> bool:
    return spec in (".", "..") or spec.startswith(("./", "../", "/"))


def _exists(spec: str) -> bool:
    try:
        return bool(spec) and os.path.lexists(spec)
    except ValueError:  # a NUL
        return False


def _missing(inside: str, spec: str, commit: str, root: Path) -> RevisionUnreadable:
    return RevisionUnreadable(
        f"{inside or '/'} does not exist at {spec!r} (commit {commit[:12]}) of {root}; REV:path names where it stood then"
    )


def _git(folder: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            ("git", "-C", str(folder), *words), stdin=subprocess.DEVNULL, capture_output=True, env=_environment(), check=False
        )  # fmt: skip
    except OSError as error:
        raise RevisionUnreadable(f"git cannot be started ({error.strerror}); install it, or name a folder") from error


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _LOCAL} | _OURS


def _below_root(path: PurePath) -> str:
    """With slashes; '' for the root itself. A folder whose name begins with a dot keeps it."""
    return path.as_posix() if path.parts else ""


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    """The first line of git's own error message."""
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return lines[0].removeprefix("fatal: ") if lines else f"git ended with {done.returncode}"
