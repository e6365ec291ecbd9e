"""Language server for contracts: the findings of ``onex check``, completion, and hover.

This file needs the extra ``lsp``. No code of a workspace is run. References are read as ``onex check`` reads them, inside
the repository of the contract.
"""

from __future__ import annotations

import os
import re
import sys
from importlib.metadata import version
from pathlib import Path

from lsprotocol import types
from pygls.lsp.server import LanguageServer
from pygls.uris import to_fs_path
from pygls.workspace import ServerTextPosition, ServerTextRange, TextDocument

from ..contracts.edit.completion import EnumSuggested, Suggestion, hover, suggestions
from ..contracts.foreign.foreign_reader import read_contract
from ..contracts.foreign.read_result import ReadResult
from ..kernel.finding import EnumSeverity, Finding
from ..repository.reference_files import Repository

_SEVERITIES = {
    EnumSeverity.ERROR: types.DiagnosticSeverity.Error,
    EnumSeverity.WARNING: types.DiagnosticSeverity.Warning,
    EnumSeverity.INFO: types.DiagnosticSeverity.Hint,
}
_KINDS = {EnumSuggested.KEY: types.CompletionItemKind.Property, EnumSuggested.VALUE: types.CompletionItemKind.Value}
_CONTRACT = re.compile(r"""^["']?node_type["']?[ \t]*:""", re.MULTILINE)
_WORD = re.compile(r"[\w*.-]+")


def serve() -> None:
    """Serves until the editor sends ``exit`` or closes standard input."""
    # duplicates, since the server closes its streams and the command flushes stdout at the end
    with os.fdopen(os.dup(sys.stdin.fileno()), "rb") as source, os.fdopen(os.dup(sys.stdout.fileno()), "wb") as sink:
        server().start_io(source, sink)


def server() -> LanguageServer:
    made = LanguageServer("onex", version("onex"), text_document_sync_kind=types.TextDocumentSyncKind.Incremental)

    @made.feature(types.TEXT_DOCUMENT_DID_OPEN)
    def opened(ls: LanguageServer, params: types.DidOpenTextDocumentParams) -> None:
        _publish(ls, params.text_document.uri)

    @made.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    def changed(ls: LanguageServer, params: types.DidChangeTextDocumentParams) -> None:
        _publish(ls, params.text_document.uri)

    @made.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def closed(ls: LanguageServer, params: types.DidCloseTextDocumentParams) -> None:
        empty = types.PublishDiagnosticsParams(params.text_document.uri, [])
        ls.text_document_publish_diagnostics(empty)

    @made.feature(types.TEXT_DOCUMENT_HOVER)
    def hovered(ls: LanguageServer, params: types.HoverParams) -> types.Hover | None:
        document = ls.workspace.get_text_document(params.text_document.uri)
        line, column = _place(document, params.position)
        found = hover(_read(document), line, column)
        if found is None:
            return None
        text = types.MarkupContent(types.MarkupKind.Markdown, found.text)
        return types.Hover(text, _range(document, found.line, found.column, found.length))

    @made.feature(types.TEXT_DOCUMENT_COMPLETION, types.CompletionOptions(trigger_characters=[" ", "{", ","]))
    def completed(ls: LanguageServer, params: types.CompletionParams) -> list[types.CompletionItem]:
        document = ls.workspace.get_text_document(params.text_document.uri)
        found = suggestions(document.source, *_place(document, params.position))
        return [_item(n, one) for n, one in enumerate(found)]

    return made


def _publish(ls: LanguageServer, uri: str) -> None:
    """A YAML file that is not a contract has no findings."""
    document = ls.workspace.get_text_document(uri)
    found = _read(document).findings if _CONTRACT.search(document.source) else ()
    diagnostics = [_diagnostic(document, one) for one in found]
    ls.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, diagnostics, document.version))


def _read(document: TextDocument) -> ReadResult:
    path = _path(document)
    return read_contract(document.source, path, Repository.holding(Path(path)))


def _path(document: TextDocument) -> str:
    """A document that was never saved has no path and no repository."""
    return to_fs_path(document.uri) or "contract.yaml"


def _diagnostic(document: TextDocument, found: Finding) -> types.Diagnostic:
    message = f"{found.message}\nfix: {found.fix}" if found.fix else found.message
    if found.path != _path(document):  # in a file that this one includes
        message, found = f"{found.path}:{found.line}: {message}", found._replace(line=0)
    line, column = max(found.line, 1), max(found.column, 1)
    text = document.source.split("\n")[line - 1 :][:1]
    word = _WORD.match(text[0], column - 1) if text else None
    return types.Diagnostic(
        _range(document, line, column, len(word.group()) if word else 1),
        message,
        _SEVERITIES[found.severity],
        found.code,
        source="onex",
        # a key without effect is shown faded, as editors show unreachable code
        tags=[types.DiagnosticTag.Unnecessary] if found.severity is EnumSeverity.INFO and found.line else None,
    )


def _item(rank: int, found: Suggestion) -> types.CompletionItem:
    return types.CompletionItem(
        label=found.text.removesuffix(":"),
        kind=_KINDS[found.kind],
        detail=found.detail,
        documentation=found.about,
        insert_text=f"{found.text} " if found.kind is EnumSuggested.KEY else found.text,
        sort_text=f"{rank:04}",  # the order of the contract's keys, not alphabetical
    )


# --- positions: ours count characters from 1, an editor's count UTF-16 units from 0 -----------------------------------------------


def _place(document: TextDocument, position: types.Position) -> tuple[int, int]:
    lines = [*document.lines, ""]  # text may be typed behind the last line break too
    found = document.position_codec.position_from_client_units(lines, position)
    return found.line + 1, found.character + 1


def _range(document: TextDocument, line: int, column: int, length: int) -> types.Range:
    begin, end = ServerTextPosition(line - 1, column - 1), ServerTextPosition(line - 1, column - 1 + length)
    return document.range_to_client_units(ServerTextRange(begin, end))
