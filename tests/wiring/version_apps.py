"""Two versions of one app, in folders of their own: a parcel that is weighed by an effect, and then paid."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import JsonValue

from onex.engine.payload_reading import PayloadInput
from onex.kernel.action import WorkflowKey

Act = tuple[WorkflowKey | str, str, PayloadInput]

APP = """
from typing import Literal

from onex import Action, Failure, ModelIntent, Nothing, Payload, State, Step, workflow


class Parcel(State):
    status: Literal["new", "weighing", "weighed", "paid", "lost"] = "new"
    grams: int = 0
    by: str = ""
{state}

class Send(Payload):
    grams: int
{send}

class Weigh(Payload):
    grams: int


class Weight(Payload):
    grams: int
    scale: str


class Note(Payload):
    text: str = ""


parcels = workflow("parcel", Parcel, version="{version}", version_policy="{policy}", state_schema={schema})


@parcels.effect(retry=3)
def weigh(intent: ModelIntent[Weigh]) -> Weight:
    return Weight(grams=intent.payload.grams, scale="scale {version}")


@parcels.on("new -> weighing")
def sent(parcel: Parcel, action: Action[Send]) -> Step[Parcel]:
    return Step(parcel.evolve(grams=action.payload.grams, by="{version}"), weigh.intent(Weigh(grams=action.payload.grams)))


@parcels.on(weigh.succeeded, "weighing -> weighed")
def weighed(parcel: Parcel, action: Action[Weight]) -> Step[Parcel]:
    return Step(parcel.evolve(grams=action.payload.grams, by=f"{{parcel.by}}, {{action.payload.scale}}"))


@parcels.on(weigh.failed, weigh.unknown, "weighing -> lost")
def lost(parcel: Parcel, action: Action[Failure]) -> Step[Parcel]:
    return Step(parcel)


@parcels.on("weighed -> weighed")
def note(parcel: Parcel, action: Action[Note]) -> Step[Parcel]:
    return Step(parcel.evolve(by=f"{{parcel.by}}, note {version}"))


@parcels.on("weighed -> paid")
def pay(parcel: Parcel, action: Action[Nothing]) -> Step[Parcel]:
    return Step(parcel.evolve(by=f"{{parcel.by}}, paid {version}"))
{more}"""


def parcel_app(
    folder: Path,
    version: str,
    policy: str = "follow",
    *,
    state: str = "",
    send: str = "",
    schema: int = 1,
    more: str = "",
) -> Path:
    """An app called ``parcels``. ``state`` and ``send`` are fields more of the state and of the first payload."""
    home = folder / version / "parcels"
    home.mkdir(parents=True)
    fields = {"state": f"    {state}\n" if state else "", "send": f"    {send}\n" if send else ""}
    text = APP.format(version=version, policy=policy, schema=schema, more=more, **fields)
    (home / "app.py").write_text(text)
    return home


def acts(keys: Iterable[str], trigger: str, payload: dict[str, JsonValue] | None = None) -> list[Act]:
    """The same action for each of these."""
    return [(key, trigger, payload) for key in keys]
