"""``onex check`` as values: every contract of some paths is read, all its keys are accounted for, and apps of ours are loaded.

A file is read alone, of whatever family it is. Where contracts of ours stand beside a ``payloads.py`` or ``reducer.py``, their
folder is an app: then code and contract are checked together, as an engine would load them. Only such code is imported, and only
from folders that the user named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ..app.folder import AppFolder
from ..app.handler_checks import handler_findings
from ..app.import_limit import ImportEndless, import_limit
from ..app.load import App, load_app
from ..app.lock import CHANGED
from ..contracts.alerts.alerts_file import load_alerts
from ..contracts.foreign.family import is_bare
from ..contracts.foreign.foreign_reader import read_contract, read_own_tree
from ..contracts.foreign.read_result import EnumFamily, ReadResult
from ..contracts.load import dotted
from ..contracts.model.key_usage import EnumKeyUsage
from ..contracts.text.yaml_tree import YamlMap, read_yaml
from ..kernel.errors import ContractError
from ..kernel.finding import EnumSeverity, Finding, errors
from ..repository.contract_files import (
    CONTRACT,
    PAYLOADS,
    ContractFile,
    ContractSearch,
    NoSuchPath,
    PassedOver,
    claims_contract,
    find_contracts,
    folders_below,
    unlisted_folder,
    workflow_folders,
)
from ..repository.reference_files import Repository, UnreadableContract, contract_text
from .parallel import spread

PASSED_OVER = "passed_over"
ALERTS = "alerts"

REDUCER = "reducer.py"


class UnusedKey(NamedTuple):
    """A key without effect. ``key`` is dotted, ``why`` is held or unknown."""

    key: str
    line: int
    column: int
    why: str


class InspectedFile(NamedTuple):
    """The result for one file. ``kind`` is one of the four, '' when it does not load; ``word`` is how the file writes it."""

    path: str
    ok: bool
    kind: str
    word: str
    name: str
    family: str
    keys: int
    honoured: int
    reported: tuple[UnusedKey, ...]
    findings: tuple[Finding, ...]


class InspectedApp(NamedTuple):
    """``app`` is None when it does not load; the findings of its files say why."""

    path: Path
    app: App | None
    files: tuple[str, ...]


class Inspection(NamedTuple):
    """``files`` in the order found. ``skipped`` are YAML files that are no contracts. ``beside`` are findings about
    no file that was read, such as folders that cannot be listed.
    """

    files: tuple[InspectedFile, ...]
    apps: tuple[InspectedApp, ...]
    skipped: tuple[Path, ...]
    beside: tuple[Finding, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Of all files, each once: two contracts may include the same broken file."""
        return tuple(dict.fromkeys((*self.beside, *(found for one in self.files for found in one.findings))))


def inspect(
    paths: Sequence[Path], progress: Callable[[int, int], None] = lambda done, of: None, *, code: bool = True
) -> Inspection:
    """Everything at or below ``paths``; without ``code`` no app is loaded, so nothing is imported whatever there is.

    Raises NoSuchPath for a path that is not there, or holds no contract.
    """
    seen = find_contracts(paths)
    beside = [*map(unlisted_folder, seen.unlisted), *map(_passed_over, _not_workflows(seen.folders))]
    files: dict[str, InspectedFile] = {}
    for one in spread(read_all, seen.candidates):
        files[one.path] = one
        progress(len(files), len(seen.candidates))
    files |= {str(one.path): _read_alerts(one.path) for one in seen.alerts}
    folders = list(_apps(seen, files))
    apps = [_load(folder, files) for folder in folders] if code else []
    for folder in () if code else folders:
        _spread(folder, files, _read_handlers(folder), keep=tuple(EnumSeverity))
    for one_file in seen.one_files:
        if code:
            apps.append(_load_one_file(one_file, files))
        else:
            message = "declares workflows in Python; without code its contract is not known"
            beside += _read_handlers(one_file.path)
            beside.append(
                Finding("not_read", EnumSeverity.INFO, str(one_file.path), 0, 0, message, "leave out --no-code")
            )
    holding = {one.within for one in (*seen.candidates, *seen.one_files, *seen.alerts)} | {app.path for app in apps}
    for folder in seen.folders:
        if folder not in holding:
            why = "no YAML file in it has node_type at its top, and no app.py declares a workflow"
            fix = "name a contract, an app, or a folder with any"
            if not holding:
                raise NoSuchPath(f"{folder} holds no contract: {why}; {fix}")
            beside.append(_passed_over(PassedOver(folder, why, fix)))
    return Inspection(tuple(files.values()), tuple(apps), seen.skipped, tuple(beside))


def _not_workflows(folders: Sequence[Path]) -> Iterator[PassedOver]:
    """What stands beside the workflows of a folder that was named, and is none."""
    for folder in folders:
        if not (folder / CONTRACT).is_file():
            yield from folders_below(folder).passed_over


def _passed_over(one: PassedOver) -> Finding:
    message = f"is passed over as a workflow: {one.why}"
    return Finding(PASSED_OVER, EnumSeverity.INFO, str(one.path), 0, 0, message, one.fix)


def inspected(reading: ReadResult) -> InspectedFile:
    """What was read, as a row of the report."""
    contract = reading.contract
    reported = tuple(
        UnusedKey(dotted(key.loc), key.leaf.place.line, key.leaf.place.column, str(key.usage))
        for key in reading.keys
        if key.usage is not EnumKeyUsage.HONOURED
    )
    return InspectedFile(
        path=reading.path,
        ok=reading.ok,
        kind=reading.node_type,
        word=reading.word,
        name="" if contract is None else contract.name,
        family="" if reading.family is None else str(reading.family),
        keys=len(reading.keys),
        honoured=len(reading.keys) - len(reported),
        reported=reported,
        findings=reading.findings,
    )


def read_all(candidates: Sequence[ContractFile]) -> list[InspectedFile]:
    repositories: dict[Path, Repository] = {}
    return [_read(candidate, repositories) for candidate in candidates]


def _read(candidate: ContractFile, repositories: dict[Path, Repository]) -> InspectedFile:
    path = candidate.path
    try:
        text = contract_text(path)
    except UnreadableContract as error:
        return InspectedFile(str(path), False, "", "", "", "", 0, 0, (), (error.finding,))
    if path.parent not in repositories:
        repositories[path.parent] = Repository.holding(path, candidate.within)
    return inspected(read_contract(text, str(path), repositories[path.parent]))


def _read_alerts(path: Path) -> InspectedFile:
    """A file of alerts. All its keys have an effect, or are errors."""
    try:
        text = contract_text(path)
    except UnreadableContract as error:
        return InspectedFile(str(path), False, "", "", "", "", 0, 0, (), (error.finding,))
    alerts, findings = load_alerts(text, str(path))
    name, keys = ("", 0) if alerts is None else (alerts.source, len(alerts.model_fields_set))
    return InspectedFile(
        str(path), alerts is not None, ALERTS, ALERTS, name, str(EnumFamily.ONEX), keys, keys, (), findings
    )


# --- apps -------------------------------------------------------------------------------------------------------------


def _apps(seen: ContractSearch, files: Mapping[str, InspectedFile]) -> Iterator[Path]:
    """The folders to load as apps: those the user named, then those found below."""
    taken: set[Path] = set()
    for folder in seen.folders:
        if seen.candidates and (folder / CONTRACT).is_file() and not claims_contract(folder):
            continue  # where it is all there is, it is read: then a contract was meant, and what it lacks is reported
        homes = list(workflow_folders(folder))
        if homes and all(_is_ours(files.get(str(home / CONTRACT)), home) for home in homes):
            taken.update(homes)
            yield folder
    below: dict[Path, list[Path]] = {}
    for candidate in seen.candidates:
        home = candidate.path.parent
        one = files[str(candidate.path)]
        has_code = any((home / name).is_file() for name in (PAYLOADS, REDUCER))
        is_app = candidate.path.name == CONTRACT and one.family == EnumFamily.ONEX and has_code
        if is_app and not candidate.named and home not in taken:
            below.setdefault(home.parent, []).append(home)
    for above, homes in below.items():
        if _is_one_app(above, homes, files):
            yield above
        else:
            yield from homes


def _is_ours(contract: InspectedFile | None, home: Path) -> bool:
    """Of a folder that the user named. One without payloads.py, or with a contract that cannot be read, is loaded too: it fails
    with that reason.
    """
    if contract is None or not contract.family:
        return contract is None or (home / PAYLOADS).is_file()
    return contract.family == EnumFamily.ONEX or _is_bare(home / CONTRACT)


def _is_bare(path: Path) -> bool:
    """Whether it reads like a workflow without a state class: then it is loaded, and fails with what is wrong in it."""
    try:
        tree = read_yaml(contract_text(path), str(path)).tree
    except UnreadableContract:
        return False
    return isinstance(tree, YamlMap) and is_bare(tree)


def _is_one_app(above: Path, homes: Sequence[Path], files: Mapping[str, InspectedFile]) -> bool:
    """Whether these workflows are one app: all workflows in ``above``, each named like its folder, and more than one."""
    if list(workflow_folders(above)) != list(homes):
        return False
    if not all(files[str(home / CONTRACT)].name == home.name for home in homes):
        return False
    return len(homes) > 1 or any((above / shared).is_file() for shared in ("effects.py", "compute.py"))


def _load(folder: Path, files: dict[str, InspectedFile]) -> InspectedApp:
    """Loads an app. Its findings replace those of reading the same contracts alone, infos aside."""
    app, found = _loaded(folder)
    homes = _spread(folder, files, (*found, *_read_handlers(folder)), keep=(EnumSeverity.INFO,))
    return InspectedApp(folder, app, tuple(homes))


def _loaded(path: Path) -> tuple[App | None, tuple[Finding, ...]]:
    """The app, or why there is none, and what is wrong with it. Code that does not end when it is imported is ended."""
    try:
        with import_limit(str(path)):
            app = load_app(path)
    except ImportEndless as error:  # between two modules, or in a class that is looked at
        return None, (_of_app("import_endless", path, f"loading was interrupted: {error}"),)
    except ContractError as error:
        found = tuple(one for one in error.findings if isinstance(one, Finding))
        return None, found or (_of_app("app", path, error.message),)
    return app, app.findings


def _of_app(code: str, path: Path, message: str) -> Finding:
    return Finding(code, EnumSeverity.ERROR, str(path), 0, 0, message, "")


def _read_handlers(path: Path) -> tuple[Finding, ...]:
    """What is wrong with the names in an app's handlers. Nothing is imported for it."""
    try:
        return handler_findings(AppFolder(path))
    except ContractError:
        return ()  # it is no app: that is reported where it is loaded


def _spread(
    folder: Path, files: dict[str, InspectedFile], found: Sequence[Finding], *, keep: Sequence[EnumSeverity]
) -> dict[str, Path]:
    """Gives the findings of an app to its contracts, which ``keep`` of their own those of a severity; ``[contract] -> folder``."""
    homes = {str(home / CONTRACT): home for home in workflow_folders(folder)}
    for path in homes:
        files.setdefault(path, InspectedFile(path, False, "", "", "", "", 0, 0, (), ()))
    shares: dict[str, list[Finding]] = {path: [] for path in homes}
    for finding in found:
        shares[_holder(finding, homes)].append(finding)
    for path, share in shares.items():
        one = files[path]
        kept = [finding for finding in one.findings if finding.severity in keep]
        files[path] = one._replace(
            ok=one.ok and not errors(tuple(share)), findings=tuple(sorted({*kept, *share}, key=_order))
        )
    return homes


def _load_one_file(one_file: ContractFile, files: dict[str, InspectedFile]) -> InspectedApp:
    """Loads an app that is one Python file. Here a lock file that holds another contract is an error."""
    path = str(one_file.path)
    app, found = _loaded(one_file.path)
    found = tuple(one._replace(severity=EnumSeverity.ERROR) if one.code == CHANGED else one for one in found)
    found = tuple(dict.fromkeys((*found, *_read_handlers(one_file.path))))
    trees = [] if app is None else [one.located.tree for one in app.written.values()]
    rows = [inspected(read_own_tree(tree, path)) for tree in trees]
    files[path] = InspectedFile(
        path,
        app is not None and not errors(found),
        rows[0].kind if rows else "",
        rows[0].word if rows else "",
        ", ".join(one.name for one in rows),
        str(EnumFamily.ONEX),
        sum(one.keys for one in rows),
        sum(one.honoured for one in rows),
        tuple(key for one in rows for key in one.reported),
        tuple(sorted(found, key=_order)),
    )
    return InspectedApp(one_file.path, None if errors(found) else app, (path,))


def _holder(finding: Finding, homes: Mapping[str, Path]) -> str:
    """The contract whose folder holds the file of the finding; the first one for a file that several share."""
    if finding.path in homes:
        return finding.path
    near = [path for path, home in homes.items() if Path(finding.path).is_relative_to(home)]
    return max(near, key=len, default=next(iter(homes)))


def _order(finding: Finding) -> tuple[object, ...]:
    return finding.path, finding.line, finding.column, finding.code
