from __future__ import annotations

from onex import Payload


class Book(Payload):
    title: str
    pages: int


class Page(Payload):
    book: str
    page: int


class Words(Payload):
    book: str = ""
    words: int = 0


def add(total: Words, one: Words) -> Words:
    return Words(book=one.book, words=total.words + one.words)
