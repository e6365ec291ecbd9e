"""What the blocks of all kinds of target have in common: how a target is reached, and what one intent asks of it.

A target has one block, which says how it is reached: ``http: {base_url: ...}``. Each intent that it serves has a block under the
same key, which says what this call does: ``http: {method: POST, path: /charges}``.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import TypeAlias

from pydantic import BaseModel

from .part import Part
from .template import fields_named

Misfits: TypeAlias = Iterator[tuple[str, str, str]]
"""``(key, message, fix)`` each."""


class ModelTargetBlock(Part):
    """How a target is reached. A subclass per kind."""

    def idempotency_field(self) -> str:
        """The key to add so that the far side gets an idempotency key; '' where it gets one, or where no key would help."""
        return ""

    def takes_key(self) -> bool:
        """Whether the far side gets an idempotency key, so that a second try does no harm."""
        return True


class ModelCallBlock(Part):
    """What one intent asks of its target. A subclass per kind."""

    def templates(self) -> Iterator[tuple[str, str]]:
        """``(key, text)`` of each text that has fields of the payload in it."""
        yield from ()

    def payload_fields(self) -> Iterator[tuple[str, str]]:
        """``(key, field)``: the fields of the payload that this call names, a dotted path each. Raises TemplateProblem."""
        for key, text in self.templates():
            yield from ((key, name) for name in fields_named(text))

    def changes_something(self) -> bool:
        """Whether a call made twice may do harm. A read may not."""
        return True

    def misfits(self) -> Iterator[tuple[str, str, str]]:
        """``(key, message, fix)`` of what cannot be in one call."""
        yield from ()

    def class_misfits(
        self, target: ModelTargetBlock, payload: type[BaseModel], answer: type[BaseModel] | None
    ) -> Misfits:
        """The same with the target's block, and the classes of the request and of what the success carries (None: nothing)."""
        yield from ()


def unknown_fields(key: str, answer: type[BaseModel] | None, known: Set[str], what: str) -> Misfits:
    """A class of an answer that wants more than ``what`` can give."""
    if answer is not None and (unknown := sorted(set(answer.model_fields) - known)):
        message = f"{what} answers with {', '.join(sorted(known))}, and {answer.__name__} has {', '.join(unknown)}"
        yield (
            key,
            message,
            f"remove it from {answer.__name__}, or name another payload at the transitions of the success",
        )
