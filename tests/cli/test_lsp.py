"""`onex lsp` as an editor meets it: bytes over standard input and output."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from pydantic import JsonValue

from tests.cli.conftest import ONEX, Commands
from tests.contracts.test_diff import SHOP

Message = dict[str, JsonValue]


class Editor:
    """Sends and waits, as an editor does: one request after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [ONEX, "lsp"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder
        )
        self._asked = 0
        root = folder.as_uri()
        self.ability = self.ask("initialize", {"processId": None, "rootUri": root, "capabilities": {}})
        self.tell("initialized", {})

    def uri(self, name: str) -> str:
        return (self.folder / name).as_uri()

    def tell(self, method: str, parameters: JsonValue) -> None:
        self._send({"method": method, "params": parameters})

    def ask(self, method: str, parameters: JsonValue) -> JsonValue:
        self._asked += 1
        self._send({"id": self._asked, "method": method, "params": parameters})
        answer = next(message for message in self._heard() if message.get("id") == self._asked)
        assert "error" not in answer, answer
        return answer["result"]

    def diagnostics(self) -> list[Message]:
        """The next that are published."""
        found = next(one for one in self._heard() if one.get("method") == "textDocument/publishDiagnostics")
        parameters = found["params"]
        assert isinstance(parameters, dict)
        told = parameters["diagnostics"]
        assert isinstance(told, list)
        return [one for one in told if isinstance(one, dict)]

    def _send(self, message: Message) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        self.process.stdin.flush()

    def _heard(self) -> Iterator[Message]:
        assert self.process.stdout is not None
        while True:
            yield _frame(self.process.stdout)


def _frame(stream: IO[bytes]) -> Message:
    length = 0
    while line := stream.readline().strip():
        name, _, value = line.partition(b":")
        length = int(value) if name.lower() == b"content-length" else length
    assert length, "the server ended"
    message: Message = json.loads(stream.read(length))
    return message


@pytest.fixture(scope="module")
def editor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Editor]:
    """One for all tests, each of which opens files of its own; the end of it is a test too."""
    made = Editor(tmp_path_factory.mktemp("workspace"))
    yield made
    made.ask("shutdown", None)
    made.tell("exit", None)
    out, err = made.process.communicate(timeout=60)
    assert (made.process.returncode, out, err) == (0, b"", b"")


def test_a_contract_is_judged_while_it_is_typed_completed_and_explained(editor: Editor) -> None:
    uri = editor.uri("contract.yaml")
    broken = SHOP.replace("name: shop", "name: shop # 😋").replace("to_state: paid, trigger", "to_state: payd, trigger")
    editor.tell(
        "textDocument/didOpen",
        {"textDocument": {"uri": uri, "languageId": "yaml", "version": 1, "text": broken}},
    )
    (found,) = editor.diagnostics()
    assert (found["code"], found["severity"], found["source"]) == ("unknown_state", 1, "onex")
    line = broken.split("\n").index(next(one for one in broken.split("\n") if "payd" in one))
    column = broken.split("\n")[line].index("payd")
    place: Message = {"line": line, "character": column}
    assert found["range"] == {"start": place, "end": {"line": line, "character": column + 4}}
    assert "did you mean 'paid'?" in str(found["message"])

    # one letter is mended: only that change is sent
    change: Message = {
        "range": {"start": {"line": line, "character": column + 2}, "end": {"line": line, "character": column + 3}},
        "text": "i",
    }
    editor.tell("textDocument/didChange", {"textDocument": {"uri": uri, "version": 2}, "contentChanges": [change]})
    assert editor.diagnostics() == []

    items = editor.ask("textDocument/completion", {"textDocument": {"uri": uri}, "position": place})
    assert isinstance(items, list)
    assert {"open", "paying", "paid", "sent"} <= {str(one["label"]) for one in items if isinstance(one, dict)}

    told = editor.ask("textDocument/hover", {"textDocument": {"uri": uri}, "position": {"line": 0, "character": 1}})
    assert isinstance(told, dict) and isinstance(text := told["contents"], dict)
    assert str(text["value"]).startswith("**name**: text")


def test_what_nobody_acts_on_is_faded_and_other_files_are_left_alone(editor: Editor) -> None:
    note = "name: mailer\nnode_type: EFFECT_GENERIC\ncontract_version: {major: 1, minor: 0, patch: 0}\nchapters: 3\n"
    editor.tell(
        "textDocument/didOpen",
        {"textDocument": {"uri": editor.uri("a.yaml"), "languageId": "yaml", "version": 1, "text": note}},
    )
    assert [(one["code"], one["severity"], one["tags"]) for one in editor.diagnostics()] == [("unknown_key", 4, [1])]
    other: Message = {"uri": editor.uri("b.yaml"), "languageId": "yaml", "version": 1, "text": "services: [on, off]\n"}
    editor.tell("textDocument/didOpen", {"textDocument": other})
    assert editor.diagnostics() == []


def test_at_the_end_of_a_file_one_may_type_too(editor: Editor) -> None:
    uri = editor.uri("end.yaml")
    text = "name: mailer\nnode_type: EFFECT_GENERIC\n"
    editor.tell(
        "textDocument/didOpen", {"textDocument": {"uri": uri, "languageId": "yaml", "version": 1, "text": text}}
    )
    position: Message = {"line": 2, "character": 0}
    items = editor.ask("textDocument/completion", {"textDocument": {"uri": uri}, "position": position})
    assert isinstance(items, list) and isinstance(first := items[0], dict)
    assert (first["label"], first["insertText"]) == ("contract_version", "contract_version: ")


def test_without_the_extra_it_says_what_to_install(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygls.lsp.server", None)
    monkeypatch.delitem(sys.modules, "onex.cli.language_server", raising=False)
    told = commands("lsp")
    assert (told.code, told.out) == (2, "")
    assert "pip install 'PATH/TO/ONEX[lsp]'" in told.err
