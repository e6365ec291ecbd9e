"""An exported run that somebody bent is refused by name with its line, or read; whatever it holds, nothing of ours breaks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from onex.cli.main import main
from tests.cli.conftest import ROOT

GOLDEN = ROOT / "tests" / "golden"
APP = GOLDEN / "apps" / "orders-1"
LINES = [json.loads(line) for line in (GOLDEN / "orders-1.jsonl").read_text().split("\n") if line]
INSTANCES = 3
ODD: list[JsonValue] = [
    None, True, False, -1, 0, 1, 2, 2**31, 2**53 + 1, 2**62, 2**63 - 1, -(2**63), 10**30, 1.5, "", "x", "a\nb", "\u202e\x9b",
    "\x00", [], {}, [1], ["x", "y"], {"name": 1}, {"name": None}, 253_402_300_799_999_999, 253_402_300_800_000_000, "00",
    -62_135_596_800_000_001, "ff" * 16, "ff" * 17, "[]", "[1]", "[{}]", '[{"name":1}]', '[{"name":"nowhere"}]', "{", "null",
    '{"status":1}', "x" * 300, "🫖" * 60,
]  # fmt: skip
INSIDE = ("payload", "intents", "state")  # texts that hold JSON


def some() -> list[dict[str, Any]]:
    """The head and the first instances."""
    ends = [n for n, line in enumerate(LINES) if line["line"] == "instance"]
    return LINES[: ends[INSTANCES - 1] + 1]


def spots(value: JsonValue, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield path
    if isinstance(value, dict):
        for name, part in value.items():
            yield from spots(part, (*path, name))
    elif isinstance(value, list):
        for n, part in enumerate(value[:3]):
            yield from spots(part, (*path, n))
    elif isinstance(value, str) and path and path[-1] in INSIDE:
        yield from ((*path, "json", *inner[1:]) for inner in spots(json.loads(value or "null"), ("json",)))


def bent(value: JsonValue, path: tuple[str | int, ...], how: str, odd: JsonValue) -> JsonValue:
    if not path:
        return odd
    first, *rest = path
    if first == "json" and isinstance(value, str):
        return json.dumps(bent(json.loads(value or "null"), tuple(rest), how, odd))
    if isinstance(value, dict):
        if how == "remove" and not rest:
            return {name: part for name, part in value.items() if name != first}
        if how == "add" and not rest:
            return {**value, "more": odd}
        return {**value, str(first): bent(value[str(first)], tuple(rest), how, odd)}
    assert isinstance(value, list) and isinstance(first, int)
    if how in ("remove", "add") and not rest:
        return value[:first] + value[first + 1 :] if how == "remove" else [*value, odd]
    return [*value[:first], bent(value[first], tuple(rest), how, odd), *value[first + 1 :]]


LINE_WAYS = ("again", "gone", "swapped", "cut", "garbage")


@st.composite
def bent_files(draw: st.DrawFn) -> bytes:
    lines: list[bytes] = [json.dumps(line).encode() for line in some()]
    values = some()
    for _ in range(draw(st.integers(1, 2))):
        n = draw(st.integers(0, len(values) - 1))
        if draw(st.integers(0, 4)):
            path = draw(st.sampled_from(list(spots(values[n]))))
            how = draw(st.sampled_from(["exchange", "exchange", "remove", "add"]))
            values[n] = bent(values[n], path, how, draw(st.sampled_from(ODD)))  # type: ignore[assignment]
            lines[n] = json.dumps(values[n]).encode()
            if not isinstance(values[n], dict):
                break
        else:
            way = draw(st.sampled_from(LINE_WAYS))
            match way:
                case "again":
                    lines.insert(n, lines[n])
                case "gone":
                    del lines[n]
                case "swapped":
                    lines[n], lines[n - 1] = lines[n - 1], lines[n]
                case "cut":
                    lines[n] = lines[n][: len(lines[n]) // 2]
                case _:
                    lines[n] = draw(st.binary(max_size=20))
            break
    return b"\n".join(lines) + b"\n"


def filed(lines: Sequence[JsonValue]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def judged(place: Path, raw: bytes, capsys: pytest.CaptureFixture[str], looks: Sequence[Sequence[str]]) -> None:
    file, store, again = place / "bent.onexrun", place / "bent.db", place / "again.onexrun"
    file.write_bytes(raw)
    store.unlink(missing_ok=True)
    again.unlink(missing_ok=True)
    known = {"{store}": f"sqlite:///{store}", "{file}": str(file), "{again}": str(again), "{app}": str(APP)}
    for words in looks:
        if "{file}" in words or store.exists():
            code = main([known.get(word, word) for word in words])
            err = capsys.readouterr().err
            assert code in (0, 1, 2, 3), (words, err)
            if code == 2 and "{file}" in words:
                assert "bent.onexrun" in err or "stands at" in err, (words, err)


IMPORT = ["import", "{file}", "--store", "{store}"]
REPLAY = ["replay", "{app}", "--from", "{file}", "--processes", "1"]
FEW = [REPLAY, IMPORT, ["log", "--json", "--store", "{store}"]]
ALL = [
    [*REPLAY, "--json"], *FEW, ["log", "--store", "{store}"], ["ls", "--store", "{store}"],
    ["ls", "--count", "--json", "--store", "{store}"], ["replay", "{app}", "--processes", "1", "--store", "{store}"],
    ["migrate", "--check", "{app}", "--store", "{store}"], ["export", "--out", "{again}", "--store", "{store}"],
    *(["show", ":".join(line["key"]), "--history", *more, "--store", "{store}"]
      for line in some() if line["line"] == "instance" for more in ([], ["--json"])),
]  # fmt: skip
WHATIF = [
    ["whatif", "{app}", "--against", "{app}", "--from", "{file}", "--processes", "1", *more]
    for more in ([], ["--json"])
]


@settings(
    max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
@given(raw=bent_files())
def test_a_bent_run_is_refused_or_read(raw: bytes, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    judged(place, raw, capsys, ALL)


@pytest.mark.parametrize(
    ("path", "odd", "why"),
    [
        (("row", "intents", "json", 0), {"payload": None}, "intent 0 has no name"),
        (("row", "intents", "json", 0, "name"), 7, "intent 0 has no name"),
        (("row", "intents"), "{}", "intents are no list"),
        (("row", "intents"), "[", "is no line of a history"),
        (("row", "issued_us"), 253_402_300_800_000_000, "is no time from 1970 to 9999"),
        (("row", "issued_us"), -1, "is no time from 1970 to 9999"),
        (("row", "action_id"), "00", "an id has 16"),
        (("row", "cause"), "00", "an id has 16"),
        (("version",), 0, "versions count from 1"),
        (("version",), -(2**63), "versions count from 1"),
        (("version",), 10**30, "is no number of 8 bytes"),
        (("row", "status"), None, "row.status"),
        (("key", 1), 5, "key.1"),
        (("position",), [0], "position"),
        (("more",), 1, "more"),
    ],
)  # fmt: skip
def test_what_no_engine_writes_is_refused_with_its_line(
    path: tuple[str | int, ...], odd: JsonValue, why: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines: list[JsonValue] = [*some()]
    lines[1] = bent(lines[1], path, "exchange", odd) if path != ("more",) else {**some()[1], "more": odd}
    (place / "bent.onexrun").write_bytes(filed(lines))
    for words in ([*REPLAY, "--json"], IMPORT):
        code = main([word.format(app=APP, file="bent.onexrun", store="sqlite:///bent.db") for word in words])
        told = capsys.readouterr()
        assert (code, "bent.onexrun:2" in told.err, why in told.err) == (2, True, True), told.err
    assert not (place / "bent.db").exists()


def test_the_key_of_an_instance_is_one(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for key in (["Orders", "1"], ["orders", "a\u202eb\n"], ["orders", ""], ["orders", "x" * 201]):
        lines = [line if line["line"] == "head" else {**line, "key": key} for line in some()[:1] + LINES[1:3]]
        last = {**next(line for line in LINES if line["line"] == "instance"), "key": key, "version": 2}
        (place / "bent.onexrun").write_bytes(filed([*lines, last]))
        code = main(["import", "bent.onexrun", "--store", "sqlite:///bent.db"])
        assert (code, "bent.onexrun:4" in capsys.readouterr().err) == (2, True)


def test_what_if_reads_a_bent_run_or_refuses_it(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path, odd in (
        (("row", "status"), "a\u202eb\n"), (("row", "payload"), "{"), (("row", "kind"), "nobody knows"), (("position", 1), 2**62),
        (("row", "intents"), '[{"name":"nowhere"}]'), (("row", "issued_us"), 253_402_300_799_999_999), (("state_hash",), ""),
    ):  # fmt: skip
        lines: list[JsonValue] = [*some()]
        lines[1] = bent(lines[1], path, "exchange", odd)
        judged(place, filed(lines), capsys, WHATIF)


@pytest.mark.long
def test_each_field_of_each_kind_of_line_is_judged(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not by chance: every field of a head, a row and an instance, taken away, and exchanged for what it cannot be."""
    lines = some()
    kinds = {line["line"]: n for n, line in reversed(list(enumerate(lines)))}
    for n in kinds.values():
        for path in spots(lines[n]):
            for how, odd in (("remove", None), ("exchange", None), ("exchange", 2**63 - 1), ("exchange", "\u202e")):
                values: list[JsonValue] = [*lines]
                if path or how == "exchange":
                    values[n] = bent(values[n], path, how, odd)
                judged(place, filed(values), capsys, FEW)
