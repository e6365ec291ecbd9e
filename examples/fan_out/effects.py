from __future__ import annotations

from onex import ModelIntent, effect

from .payloads import Page, Words


@effect("read")
def read(intent: ModelIntent[Page]) -> Words:
    return Words(book=intent.payload.book, words=300 + intent.payload.page % 7)


@effect("publish")
def publish(intent: ModelIntent[Words]) -> Words:
    return intent.payload
