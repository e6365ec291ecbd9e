"""Notes of a person. Each note is filed as a blob, a reminder waits, and a note may be sent: by a slow way and by post."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from onex import Action, Blob, EffectIO, ModelIntent, Nothing, Payload, State, Step, workflow


class Vault(State):
    status: Literal["new", "kept", "filed"] = "new"
    notes: tuple[str, ...] = ()
    paper: Blob | None = None
    receipt: str = ""


class Put(Payload):
    note: str


class Filed(Payload):
    paper: Blob
    receipt: str


class File(Payload):
    note: str


class Send(Payload):
    note: str


class Post(Payload):
    note: str


vault = workflow("vault", Vault)


@vault.effect()
def file(intent: ModelIntent[File], io: EffectIO) -> Filed:
    note = intent.payload.note
    return Filed(paper=io.blob(f"paper of {note}".encode(), "text/plain"), receipt=f"receipt of {note}")


@vault.effect(kind="notification", delivery="at_least_once")
def slow(intent: ModelIntent[Send]) -> None:
    """Served by the test."""


@vault.effect(kind="notification", delivery="at_least_once", retry=100)
def post(intent: ModelIntent[Post]) -> None:
    """Served by the test."""


@vault.on("new -> kept", "kept -> kept", "filed -> kept")
def put(now: Vault, action: Action[Put]) -> Step[Vault]:
    note = action.payload.note
    return Step(now.evolve(notes=(*now.notes, note)), File(note=note), nag.at(action.issued_at + timedelta(days=30)))


@vault.on(file.succeeded, "kept -> filed")
def filed(now: Vault, action: Action[Filed]) -> Step[Vault]:
    return Step(now.evolve(paper=action.payload.paper, receipt=action.payload.receipt))


@vault.timer("kept -> kept", "filed -> filed")
def nag(now: Vault, action: Action[Nothing]) -> Step[Vault]:
    return Step(now)


@vault.on("kept -> kept", "filed -> filed")
def send(now: Vault, action: Action[Nothing]) -> Step[Vault]:
    return Step(now, Send(note=now.notes[-1]), Post(note=now.notes[-1]))


vault.move(file.failed, "kept -> kept")
vault.move(file.unknown, "kept -> kept")
