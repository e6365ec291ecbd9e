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


def test_the_memory_of_instances_is_given_in_mebibytes() -> None:
    assert (Settings().cache_mib, read_settings({"ONEX_CACHE_MIB": "16"}).cache_mib) == (64, 16)
    with pytest.raises(InvalidSetting, match="ONEX_CACHE_MIB='16M'"):
        read_settings({"ONEX_CACHE_MIB": "16M"})


SEEDS = {
    "REDUCER_MAX_RETRIES": ("reducer_retries", 5),
    "REDUCER_INITIAL_BACKOFF_MS": ("reducer_initial_backoff_ms", 10),
    "REDUCER_MAX_BACKOFF_MS": ("reducer_max_backoff_ms", 250),
    "ACTION_DEDUP_TTL_HOURS": ("action_dedup_ttl_hours", 168),
    "PROJECTION_BATCH_SIZE": ("projection_batch_rows", 100),
    "PROJECTION_LAG_THRESHOLD_MS": ("projection_lag_threshold_ms", 250),
}


@pytest.mark.parametrize("name", SEEDS)
def test_the_seeds_settings_keep_their_names_and_defaults(name: str) -> None:
    field, default = SEEDS[name]
    assert getattr(Settings(), field) == getattr(read_settings({name: " "}), field) == default
    assert getattr(read_settings({name: "77"}), field) == 77


def test_never_to_try_again_can_be_meant() -> None:
    assert read_settings({"REDUCER_MAX_RETRIES": "0"}).reducer_retries == 0


def test_a_first_wait_beyond_the_longest_cannot_be_meant() -> None:
    with pytest.raises(InvalidSetting, match="REDUCER_INITIAL_BACKOFF_MS=300 is more than REDUCER_MAX_BACKOFF_MS=250"):
        read_settings({"REDUCER_INITIAL_BACKOFF_MS": "300"})


@pytest.mark.parametrize(
    ("name", "value"),
    [("ONEX_WORKERS", "0"), ("ONEX_WORKERS", "-1"), ("ONEX_WORKERS", "2.5"), ("ONEX_WORKERS", "two"),
     ("ONEX_WORKERS", "9999"), ("ONEX_WORKERS", "\u0664"), ("ONEX_WORKERS", "9" * 5000), ("ONEX_DEBUG", "maybe"),
     ("REDUCER_MAX_RETRIES", "-1"), ("REDUCER_MAX_RETRIES", "101"), ("REDUCER_INITIAL_BACKOFF_MS", "0"),
     ("REDUCER_MAX_BACKOFF_MS", "0.5"), ("ACTION_DEDUP_TTL_HOURS", "0"), ("PROJECTION_BATCH_SIZE", "0"),
     ("PROJECTION_BATCH_SIZE", "all"), ("PROJECTION_LAG_THRESHOLD_MS", "0")],
)  # fmt: skip
def test_a_value_that_cannot_be_meant_names_itself(name: str, value: str) -> None:
    with pytest.raises(InvalidSetting, match=f"{name}='{value}'"):
        read_settings({name: value})
