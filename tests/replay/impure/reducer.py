"""One impurity per trigger. ``honest`` has none; every other one is a defect, planted to be found."""

from __future__ import annotations

import os
import random
import time
import uuid

from onex import Action, Step, reducer

from .payloads import Seen, Words

impure = reducer(Seen)
CALLS: list[str] = []


def said(seen: Seen, *words: object) -> Step[Seen]:
    return Step(seen.evolve(words=tuple(map(str, words))))


@impure.on("honest")
def honest(seen: Seen, action: Action[Words]) -> Step[Seen]:
    return said(seen, *sorted(action.payload.words), action.mint("word"), action.issued_at)


@impure.on("uuid4")
def uuid4(seen: Seen, action: Action[Words]) -> Step[Seen]:
    return said(seen, uuid.uuid4())


@impure.on("clock")
def clock(seen: Seen, action: Action[Words]) -> Step[Seen]:
    return said(seen, time.time_ns())


@impure.on("chance")
def chance(seen: Seen, action: Action[Words]) -> Step[Seen]:
    return said(seen, random.random())


@impure.on("memory")
def memory(seen: Seen, action: Action[Words]) -> Step[Seen]:
    CALLS.append(action.kind)
    return said(seen, len(CALLS))


@impure.on("set_order")
def set_order(seen: Seen, action: Action[Words]) -> Step[Seen]:
    return said(seen, *set(action.payload.words))


@impure.on("hash_of_text")
def hash_of_text(seen: Seen, action: Action[Words]) -> Step[Seen]:
    return said(seen, hash(action.payload.words[0]))


@impure.on("local_time")
def local_time(seen: Seen, action: Action[Words]) -> Step[Seen]:
    return said(seen, action.issued_at.astimezone())


@impure.on("folder")
def folder(seen: Seen, action: Action[Words]) -> Step[Seen]:
    return said(seen, os.getcwd())
