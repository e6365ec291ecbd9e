"""Any text at all is read into a contract or into findings: no exception, nothing imported, and work that is bounded.

Time is measured by `onex bench check`; here work is counted, in calls, which is the same on every machine.
"""

from __future__ import annotations

import ast
import gzip
import json
import re
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from onex.bench.check import contract
from onex.bench.hostile import hostile
from onex.contracts.edit.fixes import fix_text
from onex.contracts.foreign.foreign_reader import read_contract
from onex.contracts.foreign.read_result import ReadResult
from onex.contracts.guard.guards import parse
from onex.contracts.guard.problem import GuardProblem
from onex.contracts.model.contract import ModelContractBase
from onex.contracts.model.key_usage import keys_written
from onex.contracts.text.include import IncludedFile, IncludeMissing, IncludeReader, IncludeRefused
from onex.contracts.text.yaml_tree import BYTES_MAX, FINDINGS_MAX, NODES_MAX
from onex.kernel.finding import EnumSeverity, Finding, errors
from tests.laws.tree import sources

HOSTILE = dict(hostile())
SENTENCE_MAX = 2000
CALLS_MAX = 600_000


def judged(text: str, fetch: IncludeReader | None = None) -> ReadResult:
    """What every reading holds to, whatever the text."""
    reading = read_contract(text, "x.yaml", fetch)
    assert reading.ok == (not errors(reading.findings))
    assert isinstance(reading.contract, ModelContractBase | None)
    assert len(reading.findings) <= FINDINGS_MAX + 1
    lines = text.count("\n") + text.count("\r") + 2
    for found in reading.findings:
        assert type(found) is Finding and type(found.severity) is EnumSeverity
        assert found.code.isidentifier() and found.path
        assert 0 < len(found.message) <= SENTENCE_MAX and len(found.fix) <= SENTENCE_MAX
        assert found.path != "x.yaml" or (0 <= found.line <= lines and found.column >= 0)
        found.message.encode()
    keys = [] if reading.tree is None else list(keys_written(reading.tree))
    assert [key.loc for key in reading.keys] == [loc for loc, _ in keys]
    assert reading.honoured + reading.reported == len(keys) <= NODES_MAX
    return reading


# --- the traps that are known -----------------------------------------------------------------------------------------

HEAD = "name: x\nnode_type: compute\n"
BOMB = "a: &a [x, x]\n" + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(6))
TRAPS = {
    "JSON a hundred thousand deep": ("[" * 100_000, {"yaml_too_deep"}),
    "NaN": (HEAD + "x: .nan", {"yaml_not_finite"}),
    "1e400": (HEAD + "x: 1e400", {"yaml_number"}),
    "five thousand digits": (HEAD + f"x: {'7' * 5000}", {"yaml_number"}),
    "2^70": (HEAD + f"x: {2**70}", {"yaml_number"}),
    "half a character": (HEAD + 'x: "\\ud800"', {"yaml_syntax"}),
    "half a character, bare": (HEAD + "x: \ud800", {"yaml_control_character"}),
    "NUL": (HEAD + 'x: "\\0"', {"yaml_control_character"}),
    "a key twice": (HEAD + "x: 1\nx: 2", {"yaml_duplicate_key"}),
    "an alias bomb": (HEAD + BOMB, {"yaml_anchor", "yaml_alias"}),
    "five thousand levels": (HEAD + "x: " + "- " * 5000, {"yaml_syntax", "yaml_too_deep"}),
    "a megabyte": (HEAD + "x: " + "a" * 1_000_000, {"yaml_too_large"}),
    "a boolean of YAML 1.1": (HEAD + "x: yes", {"yaml_boolean"}),
    "a date": (HEAD + "x: 2026-01-31", {"yaml_date"}),
    "an octal": (HEAD + "x: 0644", {"yaml_ambiguous_number"}),
    "a merge key": (HEAD + "x: {<<: {a: 1}}", {"yaml_merge_key"}),
    "code in a tag": (HEAD + "x: !!python/object/apply:os.system ['id']", {"yaml_tag"}),
    "a second document": (HEAD + "---\nname: y", {"yaml_documents"}),
    "compressed": (gzip.compress(b"x" * 10_000, mtime=0).decode("latin-1"), {"yaml_control_character"}),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_a_trap_is_refused_by_name_at_its_place(trap: str) -> None:
    text, codes = TRAPS[trap]
    reading = judged(text)
    assert not reading.ok
    found = {one.code for one in errors(reading.findings)}
    assert found & codes and found <= codes | {"missing_key"}, found
    assert all(one.fix or one.code == "yaml_syntax" for one in errors(reading.findings))


@pytest.mark.parametrize(
    "guard",
    [
        "((((" * 16 + "true" + "))))" * 16, "[" * 61 + "]" * 61, "a.map(x, a.map(y, a.map(z, a.map(w, w)))).size() > 0",
        "x" * 1001, "__import__('os').system('id') == 1", "payload.__class__ == 1", "open('/etc/passwd') == ''",
        "eval('1')", "payload.a matches (", "amount >> 3", "amount", "node_id is_absent", "payload.a..b",
    ],
    ids=lambda guard: ascii(guard[:24]),
)  # fmt: skip
def test_a_hostile_guard_is_refused_at_its_text(guard: str) -> None:
    row = json.dumps([{"from_state": "a", "to_state": "a", "trigger": "t", "conditions": [{"expression": guard}]}])
    text = f"name: x\nnode_type: reducer\nstate_machine:\n  initial_state: a\n  transitions: {row}\n"
    found = [one for one in judged(text).findings if one.severity is not EnumSeverity.INFO]
    assert found, guard
    assert {one.line for one in found if one.code.startswith(("guard", "bad_", "left_out"))} == {5}


# --- nothing is imported or run ---------------------------------------------------------------------------------------

NAMES = (
    "os:system", "builtins:eval", "os.system", "../../evil:f", "sitecustomize", "subprocess:Popen", "__main__:x", "antigravity",
    "this:s", "importlib:import_module", "a..b:c", "/tmp/evil.py:f",
)  # fmt: skip
_watched: list[str] = []
_watching = False


def _hook(event: str, words: tuple[object, ...]) -> None:
    if _watching and event in ("import", "exec", "open", "subprocess.Popen", "os.system", "socket.connect"):
        _watched.append(f"{event} {words[:1]}")


sys.addaudithook(_hook)


@contextmanager
def watched() -> Iterator[list[str]]:
    """Events of the interpreter from here on: what was imported, opened, compiled and started."""
    global _watching  # noqa: PLW0603 -- an audit hook cannot be taken away, only made to ignore events
    _watched.clear()
    _watching = True
    try:
        yield _watched
    finally:
        _watching = False


@pytest.mark.parametrize("name", NAMES)
def test_a_contract_that_names_code_imports_nothing(name: str) -> None:
    def text(said: str) -> str:
        module, _, function = said.partition(":")
        return (
            "contract_version: {major: 1, minor: 0, patch: 0}\nname: x\nnode_type: EFFECT_GENERIC\n"
            f"input_model: {{name: {function or 'X'}, module: {module}}}\noutput_model: '{said}'\n"
            f"handler: {{module: {module}, class: {function or 'X'}}}\n"
            f"handler_routing: {{default_handler: '{said}', handlers: [{{handler: {{name: X, module: {module}}}}}]}}\n"
            f"dependencies: [{{name: {module}, module: {module}, class_name: {function or 'X'}}}]\n"
        )

    judged(text("first.module:Class"))  # whatever is imported when it is first needed, is so now
    with watched() as events:
        reading = read_contract(text(name), "x.yaml")
    assert events == []
    assert reading.keys


def test_the_watch_sees_an_import() -> None:
    sys.modules.pop("this_is_not_there", None)
    with watched() as events, pytest.raises(ImportError):
        __import__("this_is_not_there")
    assert events


def test_yaml_is_read_in_one_place_and_nothing_of_a_contract_is_evaluated() -> None:
    readers, evaluators = [], []
    for file in sources():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                taken = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
                readers += [file.name for name in taken if name.split(".")[0] == "yaml"]
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and "contracts" in file.parts:
                evaluators += [file.name] if node.func.id in ("eval", "exec", "compile", "__import__") else []
    # contract_text writes YAML; it loads none
    assert (sorted(set(readers)), evaluators) == (["contract_text.py", "yaml_tree.py"], [])
    writer = next(file for file in sources() if file.name == "contract_text.py").read_text()
    assert not re.search(r"yaml\.(?!safe_dump\b)\w+\(", writer)


# --- any text ---------------------------------------------------------------------------------------------------------

WORDS = st.sampled_from(
    ["name", "node_type", "contract_version", "version", "state_machine", "fsm", "state_transitions", "states", "transitions",
     "from_state", "to", "source", "trigger", "event", "guard", "conditions", "expression", "initial_state", "terminal_states",
     "event_bus", "subscribe_topics", "publish", "topic", "handler_routing", "handlers", "handler", "module", "class",
     "dependencies", "io_operations", "operation", "effect_operations", "operations", "io_config", "workflow_coordination",
     "workflow_definition", "execution_graph", "nodes", "depends_on", "workflow_steps", "aggregation", "streaming", "windowing",
     "state_management", "subcontracts", "intent_publisher", "input_model", "output_model", "input_state", "properties",
     "type", "descriptor", "purity", "algorithm", "factors", "weight", "$ref", "metadata", "definitions", "intents",
     "state_model", "retry_policy", "timeout_ms", "description", "descriptoin", "x"]
)  # fmt: skip
VALUES = (
    st.none() | st.booleans() | st.integers(-5, 10**6) | st.floats(allow_nan=False, allow_infinity=False) | WORDS
    | st.sampled_from(["effect", "REDUCER_GENERIC", "workflow", "service", "1.0.0", "v1_0_0", "*", "a.b.C", "m:C", "x == 1",
                       "payload.x > 1", "state.y in [1, 2]", "onex.evt.a.b.v1", "${ENV}", "./x.yaml", "", " ", "ü🙂"])
    | st.text(max_size=20)
)  # fmt: skip
TREES = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(WORDS | st.text(max_size=5), inner, max_size=6),
    max_leaves=40,
)
FRAGMENTS = st.sampled_from(
    ["yes", "007", "1e999", "&a ", "*a", "!!x ", "!include x.yaml", "<<: {}", "? ", "|", ">-", "'", '"', "[", "{", "}", ", ",
     ": ", "\t", "\r", "\x00", "\ud800", "\u2028", "---\n", "%YAML 1.1\n", "#", "\n", "  ", "- ", "$ref: x.yaml\n", "null",
     "fsm: {", "state_machine: yes\n", "9" * 400, "é", "🙂", "node_type: []\n", "name: {}\n", "guard: ((((((\n"]
)  # fmt: skip
BASES = [contract(n) for n in range(5)]


@st.composite
def mutants(draw: st.DrawFn) -> str:
    """A contract of some family with a few lines gone, doubled, moved, cut, or with something awkward put in."""
    lines = draw(st.sampled_from(BASES)).split("\n")
    for _ in range(draw(st.integers(1, 8))):
        at = draw(st.integers(0, len(lines) - 1))
        way = draw(st.integers(0, 6))
        if way == 0:
            del lines[at]
            lines = lines or [""]
        elif way == 1:
            lines.insert(at, lines[draw(st.integers(0, len(lines) - 1))])
        elif way == 2:
            lines[at] = f"{draw(st.sampled_from(['', ' ', '  ', '      ']))}{lines[at].lstrip()}"
        elif way == 3:
            cut = draw(st.integers(0, len(lines[at])))
            lines[at] = lines[at][:cut] + draw(FRAGMENTS) + lines[at][cut:]
        elif way == 4:
            lines[at] = lines[at][: draw(st.integers(0, len(lines[at])))]
        elif way == 5:
            name, colon, _ = lines[at].partition(":")
            lines[at] = f"{name}{colon} {json.dumps(draw(TREES))}"
        else:
            name, colon, rest = lines[at].partition(":")
            lines[at] = f"{name[: len(name) - len(name.lstrip())]}{draw(WORDS)}{colon}{rest}"
    return "\n".join(lines)


@given(mutants())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_a_contract_with_something_wrong_is_a_contract_or_findings(text: str) -> None:
    judged(text)


@given(st.dictionaries(WORDS, TREES, max_size=12), st.sampled_from(["effect", "compute", "reducer", "orchestrator"]))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_tree_under_known_names_is_a_contract_or_findings(tree: dict[str, JsonValue], kind: str) -> None:
    judged(json.dumps({**tree, "name": "x", "node_type": kind}, ensure_ascii=True).replace("\\ud", "ud"))


@given(st.text() | st.lists(FRAGMENTS | WORDS, max_size=60).map("".join))
def test_any_text_is_a_contract_or_findings(text: str) -> None:
    judged(text)


@given(mutants(), st.lists(st.text(max_size=30) | FRAGMENTS, max_size=4), st.integers(0, 3))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_whatever_a_reference_leads_to(text: str, files: list[str], way: int) -> None:
    def fetch(including: str, reference: str) -> IncludedFile | IncludeRefused | IncludeMissing:
        if way == 0:
            return IncludeMissing(reference)
        if way == 1:
            return IncludeRefused("reference_refused", "no", "none")
        return IncludedFile("".join(files), f"y{len(reference) % 3}.yaml")

    judged(f"{text}\nsubcontracts: {{$ref: x.yaml}}\nstreaming: !include y.yaml\n", fetch)


@given(mutants())
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
def test_fixing_leaves_no_more_wrong_than_there_was(text: str) -> None:
    before = read_contract(text, "x.yaml").findings
    done = fix_text(text, "x.yaml", lambda changed: read_contract(changed, "x.yaml").findings)
    if all(one.code != "yaml_syntax" for one in before):
        assert len(errors(done.findings)) <= len(errors(before))


GUARDS = st.lists(
    st.sampled_from(["payload", "state", ".", "a", "_b", "==", "!=", ">", "in", "not_in", "matches", "exists", " ", "(", ")", "[",
                     "]", "{", "}", ",", "'", '"', "1", "1.5", "true", "null", "&&", "||", "!", "?", ":", "+", "*", "size",
                     "\\", "\n", "é", "\x00", "__class__", "//", "matches('(a+)+$')", "all(x,"]),
    max_size=30,
).map("".join)  # fmt: skip


@given(GUARDS | st.text(max_size=40))
def test_any_guard_is_a_condition_or_a_sentence(text: str) -> None:
    try:
        parsed = parse(text)
    except GuardProblem as problem:
        assert problem.code.startswith("guard_") and problem.message and problem.offset >= 0
    else:
        assert {path[0] for path, _ in getattr(parsed, "paths", ())} <= {"payload", "state"}


# --- bounded work -----------------------------------------------------------------------------------------------------


def calls(text: str) -> int:
    """Calls that reading ``text`` makes, of Python functions and of those below."""
    count = 0

    def counted(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        read_contract(text, "x.yaml")
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("name", HOSTILE)
def test_the_most_hostile_text_is_read(name: str) -> None:
    assert len(HOSTILE[name].encode()) <= 2 * BYTES_MAX
    judged(HOSTILE[name])


@pytest.mark.long
@pytest.mark.parametrize("name", HOSTILE)
def test_the_most_hostile_text_costs_bounded_work(name: str) -> None:
    read_contract(HOSTILE[name], "x.yaml")
    assert calls(HOSTILE[name]) <= CALLS_MAX


@pytest.mark.long
@pytest.mark.parametrize("name", HOSTILE)
def test_the_most_hostile_text_costs_bounded_memory(name: str) -> None:
    read_contract(HOSTILE[name], "x.yaml")
    tracemalloc.start()
    try:
        read_contract(HOSTILE[name], "x.yaml")
        assert tracemalloc.get_traced_memory()[1] <= 64 * 2**20
    finally:
        tracemalloc.stop()
