"""A value of a target that may be secret, or that differs from place to place: an address, a token, a password.

    base_url: https://bank.example               plain text
    base_url: {env: BANK_URL}                    a variable of the environment
    password: {file: /run/secrets/smtp}          a file, without a line feed at its end
    Authorization: {secret: bank, prefix: "Bearer "}   what the program's own ``Secrets`` gives

A contract holds only where the value is. The value is read inside the effect, at each call.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, JsonValue, PlainSerializer, model_validator

from .part import ENGINE, Part, Word

TEXT_MAX = 8 * 1024


class ModelSetting(Part):
    """Where a value comes from: one of ``env``, ``file`` and ``secret``. Plain text is written without any of these keys."""

    text: Annotated[str | None, Field(max_length=TEXT_MAX, description="the value itself"), ENGINE] = None
    env: Annotated[Word | None, Field(description="a variable of the environment"), ENGINE] = None
    file: Annotated[Word | None, Field(description="a file that holds the value alone"), ENGINE] = None
    secret: Annotated[Word | None, Field(description="a name for the `Secrets` of the program"), ENGINE] = None
    prefix: Annotated[
        str, Field(max_length=200, description="text before the value, for example 'Bearer '"), ENGINE
    ] = ""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        named = [name for name in ("text", "env", "file", "secret") if getattr(self, name) is not None]
        if len(named) != 1:
            raise ValueError(
                "it names no place or several; name one of env, file and secret, or write the value as text"
            )
        return self

    @property
    def is_plain(self) -> bool:
        """It stands in the contract, so it is not secret."""
        return self.text is not None

    def __str__(self) -> str:
        """Where it comes from; never the value, unless that stands in the contract."""
        if self.text is not None:
            return self.text
        name = next(name for name in ("env", "file", "secret") if getattr(self, name) is not None)
        return f"{name} {getattr(self, name)}"


def _from_text(value: object) -> object:
    return {"text": value} if isinstance(value, str) else value


def _as_written(value: ModelSetting) -> JsonValue:
    return value.text if value.text is not None and not value.prefix else value.model_dump(exclude_defaults=True)


def _or_text(schema: dict[str, JsonValue]) -> None:
    """The schema of a setting: text is allowed in its place."""
    reference = dict(schema)
    schema.clear()
    schema["anyOf"] = [{"type": "string"}, reference]


Setting = Annotated[
    ModelSetting,
    BeforeValidator(_from_text),
    PlainSerializer(_as_written),
    Field(json_schema_extra=_or_text),
]
"""The type of a field that is a setting: text, or a ``ModelSetting``."""
