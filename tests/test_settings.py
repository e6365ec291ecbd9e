"""The environment is read once, typed, and refused where it cannot be meant."""

from __future__ import annotations

import pytest

from onex.settings import STORE_URL, InvalidSetting, Settings, read_settings


def test_nothing_set_is_the_defaults() -> None:
    assert read_settings({}) == Settings(STORE_URL, None, False)
    assert read_settings({"ONEX_STORE": "", "ONEX_WORKERS": "", "ONEX_DEBUG": ""}) == Settings()


def test_values_are_typed() -> None:
    environ = {"ONEX_STORE": "sqlite:///shop.db", "ONEX_WORKERS": "4", "ONEX_DEBUG": "1"}
    assert read_settings(environ) == Settings("sqlite:///shop.db", 4, True)


@pytest.mark.parametrize(
    ("name", "value"),
    [("ONEX_WORKERS", "0"), ("ONEX_WORKERS", "-1"), ("ONEX_WORKERS", "2.5"), ("ONEX_WORKERS", "two"),
     ("ONEX_WORKERS", "9999"), ("ONEX_DEBUG", "maybe")],
)  # fmt: skip
def test_a_value_that_cannot_be_meant_names_itself(name: str, value: str) -> None:
    with pytest.raises(InvalidSetting, match=f"{name}='{value}'"):
        read_settings({name: value})
