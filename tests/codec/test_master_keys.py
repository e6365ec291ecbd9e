"""Master keys by variable, file and command; what is no key is named without being shown."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from onex.adapters.codec.key_ring import unwrap, wrap
from onex.adapters.codec.master_keys import new_master_key, parse_master_keys, read_master_keys
from onex.kernel.data_key import CodecKeyMissing, CodecKeyWrong, InvalidCodecKeys

ONE = "k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
TWO = "k2:ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="


def test_the_first_is_used_and_the_others_open(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"{TWO}\n{ONE}\n")
    command = f"{sys.executable} -c \"print(open('{file}').read())\""
    for source in ("env:KEYS", f"file:{file}", f"command:{command}"):
        keys = read_master_keys(source, {"KEYS": f"{TWO},{ONE}"})
        assert keys.current == "k2"
        assert keys.key("k1") == parse_master_keys(ONE, "").key("k1")
        assert keys.key("k3") is None
        assert ONE[3:] not in repr(keys)


@pytest.mark.parametrize("text", ["", "k1", "k1:", "k1:c2hvcnQ=", "k 1:" + ONE[3:], ONE + "x", f"{ONE} k1:{TWO[3:]}"])
def test_what_is_no_key_is_named_and_not_shown(text: str) -> None:
    with pytest.raises(InvalidCodecKeys) as refused:
        read_master_keys("env:KEYS", {"KEYS": text})
    assert ONE[3:20] not in refused.value.message


@pytest.mark.parametrize(
    "source", ["", "k1", "env:", "vault:x", "file:/no/such/file", "command:/no/such/command", "command:false"]
)
def test_a_source_that_gives_nothing_is_named(source: str) -> None:
    with pytest.raises(InvalidCodecKeys):
        read_master_keys(source, {})


def test_a_data_key_opens_under_its_master_and_owner_only() -> None:
    masters, secret = parse_master_keys(ONE, "here"), bytes(range(32))
    wrapped = wrap(masters, "orders:a", secret, 3)
    assert unwrap(masters, wrapped) == secret
    assert secret not in wrapped.wrapped
    for bent in (wrapped._replace(owner="orders:b"), wrapped._replace(plain_until=9), wrapped._replace(wrapped=b"")):
        with pytest.raises(CodecKeyWrong):
            unwrap(masters, bent)
    with pytest.raises(CodecKeyMissing, match="here does not hold it"):
        unwrap(parse_master_keys(TWO, "here"), wrapped)
    with pytest.raises(CodecKeyWrong, match="another key under the same name"):
        unwrap(parse_master_keys(new_master_key("k1"), "here"), wrapped)
    with pytest.raises(InvalidCodecKeys):
        new_master_key("k 1")
