"""Older code of an app, for a replay: by path, by git revision, or each revision that the log names beside its rows.

``recorded`` means the last: the log names digests, not revisions, for its codes; revisions stand in the environment of a
row. So revisions are checked out from the newest on, and loaded, until every digest in the log is found. One that brings
nothing is removed again. What cannot be brought is a note, not an error: the replay then says "code not at hand".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from ..app import load_app
from ..app.folder import AppFolder
from ..engine.registry import Workflow
from ..kernel.errors import ContractError
from ..ports import Code, Env
from ..repository.contract_files import built_in
from ..repository.git_revision import RevisionUnreadable, checkout
from ..wiring.alert_workflows import ALERT_TYPES, ALERTS_APP
from ..wiring.rollout import CANARY, CANARY_APP

RECORDED: Final = "recorded"
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")

Digest = tuple[str, bytes]


class Older(NamedTuple):
    """``paths`` of apps as they were; ``notes``: sentences about what could not be brought."""

    paths: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@contextmanager
def brought(app: Path, specs: Sequence[str], codes: Mapping[int, Code], envs: Mapping[int, Env]) -> Iterator[Older]:
    """The older code that ``specs`` name, on disk as long as the block lasts.

    Raises ContractError (RevisionUnreadable) for a path or revision that was named and cannot be had.
    """
    with ExitStack() as stack:
        paths = [stack.enter_context(checkout(spec, app)) for spec in specs if spec != RECORDED]
        notes: list[str] = []
        if RECORDED in specs:
            known = {(one.code.workflow_type, one.code.digest) for one in code_of([app, *paths])}
            wanted = {(code.workflow_type, code.digest) for code in codes.values()} - known
            paths += _recorded(stack, app, wanted, envs, notes)
        yield Older(tuple(map(str, (*paths, *_beside(app, codes)))), tuple(notes))


def code_of(paths: Sequence[Path]) -> tuple[Workflow, ...]:
    """The workflows of the apps in these folders, the first one's first; the same files are loaded once."""
    digests: set[str] = set()
    found: list[Workflow] = []
    for path in paths:
        digest = AppFolder(path).digest
        if digest not in digests:
            digests.add(digest)
            found += [one.recorded for one in load_app(path).workflows.values()]
    return tuple(found)


def _beside(app: Path, codes: Mapping[int, Code]) -> Iterator[Path]:
    """What an engine runs beside an app (alerts, rollouts), where the log has any and they are not the app itself."""
    recorded = {code.workflow_type for code in codes.values()}
    for types, name in ((ALERT_TYPES, ALERTS_APP), ((CANARY,), CANARY_APP)):
        beside = built_in(Path(name))
        if app.resolve() != beside.resolve() and recorded & set(types):
            yield beside


def _recorded(
    stack: ExitStack, app: Path, wanted: set[Digest], envs: Mapping[int, Env], notes: list[str]
) -> Iterator[Path]:
    # the log may hold any text, for example of an imported file: only the full name of a commit is given to git
    named = [env.git_revision for _, env in sorted(envs.items(), reverse=True) if _COMMIT.fullmatch(env.git_revision)]
    missing = 0
    for revision in dict.fromkeys(named):
        if not wanted:
            return
        with ExitStack() as one:
            try:
                path = one.enter_context(checkout(revision, app))
                codes = {(each.code.workflow_type, each.code.digest) for each in code_of([path])}
            except RevisionUnreadable:
                missing += 1
                continue
            except ContractError as error:
                notes.append(f"revision {revision[:12]} does not load: {error.message}")
                continue
            if codes & wanted:
                wanted -= codes
                stack.push(one.pop_all())
                yield path
    if missing:
        which = "the revision" if missing == 1 else f"{missing} revisions"
        notes.append(
            f"{which} named in the log cannot be had here: no repository that holds {app} has it, or the app stood elsewhere "
            "then, which --with REV:PATH brings"
        )
    if wanted:
        names = sorted({name for name, _ in wanted})
        notes.append(
            f"{len(wanted)} of the codes of {', '.join(names)} are at no revision the log names: "
            "they ran before they were committed, or the log names none; --with brings them by path"
        )
