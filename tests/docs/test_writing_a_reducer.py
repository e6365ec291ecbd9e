"""The reducer of the guide does what its page says, step by step: a page that only loads could still lie."""

from __future__ import annotations

from typing import Any

from onex.kernel.action import Nothing
from onex.kernel.intent import EnumIntentType, Failure, IntentSpec
from onex.kernel.intent_fields import EnumIntentPriority
from onex.kernel.machine import Handlers, Machine, MachineReducer, Transition
from onex.testing.harness import action
from tests.docs.transcript import blocks, section
from tests.laws.tree import ROOT

PAGE = ROOT / "docs" / "guides" / "writing-a-reducer.md"


def test_the_priority_of_the_guide_is_the_priority_of_its_intent() -> None:
    names: dict[str, Any] = {"__name__": "guide"}
    for block in blocks(section(PAGE.read_text(), "## Handlers")):
        if block.language == "python":
            exec(compile(block.text, str(PAGE), "exec", dont_inherit=True), names)
    table: Handlers[Any] = names["jobs"]
    triggers = {"begin": names["Fetch"], "hurry": Nothing, "failed": Failure}
    machine = Machine("new", tuple(Transition("new", "new", trigger) for trigger in triggers))
    spec = IntentSpec("fetch", EnumIntentType.API_CALL, "web", names["Fetch"])
    jobs: MachineReducer[Any] = MachineReducer("job", table, machine, triggers, {"fetch": spec})
    begun = jobs.delta(jobs.initial(), action("begin", names["Fetch"](url="https://example.org")))
    hurried = jobs.delta(begun.state, action("hurry", Nothing()))
    assert [one.priority for one in begun.intents] == [EnumIntentPriority.NORMAL]
    assert [one.priority for one in hurried.intents] == [EnumIntentPriority.CRITICAL]
    assert hurried.intents[0].payload == names["Fetch"](url="https://example.org")
