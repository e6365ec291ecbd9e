"""Contracts for an editor, over the language server protocol: what ``onex check`` finds, completion, and hover.

The extra ``onex[lsp]`` brings what this file imports. Nothing of a workspace is run; references are read as ``onex check`` reads
them, inside the contract's repository.
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
    """Until the editor says exit, or closes standard input."""
    # of its own: it closes what it was given, and the command still flushes its standard output at the end
    with os.fdopen(os.dup(sys.stdin.fileno()), "rb") as heard, os.fdopen(os.dup(sys.stdout.fileno()), "wb") as said:
        server().start_io(heard, said)


def server() -> LanguageServer:
    made = LanguageServer("onex", version("onex"), text_document_sync_kind=types.TextDocumentSyncKind.Incremental)

    @made.feature(types.TEXT_DOCUMENT_DID_OPEN)
    def opened(asked: LanguageServer, told: types.DidOpenTextDocumentParams) -> None:
        _publish(asked, told.text_document.uri)

    @made.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    def changed(asked: LanguageServer, told: types.DidChangeTextDocumentParams) -> None:
        _publish(asked, told.text_document.uri)

    @made.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def closed(asked: LanguageServer, told: types.DidCloseTextDocumentParams) -> None:
        empty = types.PublishDiagnosticsParams(told.text_document.uri, [])
        asked.text_document_publish_diagnostics(empty)

    @made.feature(types.TEXT_DOCUMENT_HOVER)
    def hovered(asked: LanguageServer, told: types.HoverParams) -> types.Hover | None:
        document = asked.workspace.get_text_document(told.text_document.uri)
        line, column = _place(document, told.position)
        found = hover(_read(document), line, column)
        if found is None:
            return None
        text = types.MarkupContent(types.MarkupKind.Markdown, found.text)
        return types.Hover(text, _range(document, found.line, found.column, found.length))

    @made.feature(types.TEXT_DOCUMENT_COMPLETION, types.CompletionOptions(trigger_characters=[" ", "{", ","]))
    def completed(asked: LanguageServer, told: types.CompletionParams) -> list[types.CompletionItem]:
        document = asked.workspace.get_text_document(told.text_document.uri)
        found = suggestions(document.source, *_place(document, told.position))
        return [_item(n, one) for n, one in enumerate(found)]

    return made


def _publish(asked: LanguageServer, uri: str) -> None:
    """A YAML file that is no contract has nothing wrong with it."""
    document = asked.workspace.get_text_document(uri)
    found = _read(document).findings if _CONTRACT.search(document.source) else ()
    told = [_diagnostic(document, one) for one in found]
    asked.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, told, document.version))


def _read(document: TextDocument) -> ReadResult:
    path = _path(document)
    return read_contract(document.source, path, Repository.holding(Path(path)))


def _path(document: TextDocument) -> str:
    """One that was never saved has no path of its own, and no repository."""
    return to_fs_path(document.uri) or "contract.yaml"


def _diagnostic(document: TextDocument, found: Finding) -> types.Diagnostic:
    message = f"{found.message}\nfix: {found.fix}" if found.fix else found.message
    if found.path != _path(document):  # of a file that this one includes
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
        # what has no effect is faded, as editors fade code that is not reached
        tags=[types.DiagnosticTag.Unnecessary] if found.severity is EnumSeverity.INFO and found.line else None,
    )


def _item(rank: int, found: Suggestion) -> types.CompletionItem:
    return types.CompletionItem(
        label=found.text.removesuffix(":"),
        kind=_KINDS[found.kind],
        detail=found.detail,
        documentation=found.about,
        insert_text=f"{found.text} " if found.kind is EnumSuggested.KEY else found.text,
        sort_text=f"{rank:04}",  # the contract's own order, not the alphabet's
    )


# --- places: ours count letters from 1, an editor's count UTF-16 from 0 -----------------------------------------------


def _place(document: TextDocument, position: types.Position) -> tuple[int, int]:
    lines = [*document.lines, ""]  # behind the last line break one may type too
    found = document.position_codec.position_from_client_units(lines, position)
    return found.line + 1, found.character + 1


def _range(document: TextDocument, line: int, column: int, length: int) -> types.Range:
    begin, end = ServerTextPosition(line - 1, column - 1), ServerTextPosition(line - 1, column - 1 + length)
    return document.range_to_client_units(ServerTextRange(begin, end))
