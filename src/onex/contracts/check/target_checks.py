"""Checks of ``targets:``: each intent meets a target of its type, and nothing is connected to that the contract does not allow.

They read the typed contract, because a block that is wrong in itself has a finding already. Which fields the classes of payloads
have is not known here: those checks are in ``app.target_checks``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address

from ...kernel.finding import EnumSeverity, Finding
from ...kernel.intent import EnumIntentType
from ...kernel.secret_names import SecretNames
from ..guard.problem import suggest
from ..model.contract import ModelContractWorkflow
from ..model.setting import ModelSetting
from ..model.target import BLOCKS, ModelIntentCall, ModelTarget
from ..model.target_http import ModelHttpCall, ModelHttpTarget, host_of, is_allowed
from ..model.template import TemplateProblem
from ..text.yaml_tree import Loc, YamlMap, YamlPlace, YamlScalar, node_at, place_of

DELIVERY = "add delivery: at_most_once (a crash may lose one) or at_least_once (a crash may repeat one)"
_PASSWORD = re.compile(r"://[^/@:]*:[^/@]+@")
_SAYS_WHAT = {
    "http": "{method: POST, path: /...}",
    "sql": "{operation: upsert, table: NAME}",
    "files": "{operation: write, path: NAME, content: FIELD}",
    "cache": '{operation: set, key: "NAME:{FIELD}"}',
}
"""The blocks that no intent of such a target can do without."""
_INSIDE = (EnumIntentType.TIMER, EnumIntentType.ACTION_SEND, EnumIntentType.COMPUTE_TASK)


def check_targets(contract: ModelContractWorkflow, tree: YamlMap, path: str) -> Iterator[Finding]:
    """In no particular order."""
    yield from _TargetChecks(contract, tree, path).run()


class _TargetChecks:
    def __init__(self, contract: ModelContractWorkflow, tree: YamlMap, path: str) -> None:
        self.contract, self.tree, self.path = contract, tree, path

    def run(self) -> Iterator[Finding]:
        named = {one.target for one in self.contract.intents if one.type not in _INSIDE}
        for task in self.contract.tasks:  # the children of a map call it
            named |= {task.effect, *(stage.effect for stage in task.stages or ())}
            named |= {stage.compensate.effect for stage in task.stages or () if stage.compensate is not None}
        for name, target in self.contract.targets.items():
            at: Loc = ("targets", name)
            if name not in named:
                fix = suggest(name, sorted(filter(None, named))) or "remove it, or give an intent this target"
                yield self._warning("unused_target", at, f"no intent has the target {name!r}", fix)
            if len(target.blocks) > 1:
                message = f"target {name!r} is reached in {len(target.blocks)} ways: {', '.join(target.blocks)}"
                yield self._error("two_blocks", at, message, "keep one, and give the other a target of its own")
            yield from self._secrets(at, target)
            if target.http is not None:
                yield from self._address((*at, "http", "base_url"), target.http.base_url, target.http.private)
            for key in ("webhook", "chat", "pagerduty"):
                block = getattr(target, key)
                if block is not None:
                    yield from self._address((*at, key, "url"), block.url, block.private)
        for n, intent in enumerate(self.contract.intents):
            yield from self._intent(n, intent)
            yield from self._concurrency(n, intent)

    # --- targets ----------------------------------------------------------------------------------------------------

    def _address(self, at: Loc, url: ModelSetting, private: bool) -> Iterator[Finding]:
        """An address in the contract is a URL, and not of a private network unless that is allowed."""
        if not url.is_plain:
            return
        place = host_of(url)
        if place is None:
            message = f"{str(url)!a} is no address of a server"
            yield self._error("bad_url", at, message, "write https://HOST or https://HOST/PATH, without a user in it")
        elif not private and _is_private(place[1]):
            message = f"{place[1]} is an address of a private network, where nothing is connected to"
            yield self._error("private_host", at, message, "add private: true, if it is meant")

    def _secrets(self, at: Loc, target: ModelTarget) -> Iterator[Finding]:
        """A secret that stands in the contract: by the name of its key."""
        names = SecretNames()
        for key, block in target.blocks.items():
            for field, value in block:
                settings = value.items() if isinstance(value, dict) else [("", value)]
                for inner, setting in settings:
                    name = inner or ("token" if field in ("routing_key", "signing_key") else field)
                    if not isinstance(setting, ModelSetting) or setting.text is None:
                        continue
                    if names.matching((name,)) or _PASSWORD.search(setting.text):
                        loc: Loc = (*at, key, field, inner) if inner else (*at, key, field)
                        message = f"the value of {inner or field} stands in the contract, where everybody can read it"
                        yield self._warning("secret_in_contract", loc, message, "write {env: NAME} or {file: PATH}")

    # --- intents ----------------------------------------------------------------------------------------------------

    def _intent(self, n: int, intent: ModelIntentCall) -> Iterator[Finding]:
        at: Loc = ("intents", n)
        target = self.contract.targets.get(intent.target or "")
        blocks = {} if target is None else target.blocks
        for key in intent.calls:
            if key in blocks:
                yield from self._call((*at, key), call_misfits(intent, key))
                continue
            known = [name for name, one in self.contract.targets.items() if key in one.blocks]
            fix = suggest(str(intent.target), known) or (
                f"add {key} to target {intent.target!r}" if not known else f"use one of {', '.join(known)}"
            )
            if target is None:
                message = f"intent {intent.name!r} calls {intent.target!r}, and there is no such target"
                yield self._error("unknown_target", (*at, "target"), message, fix)
            else:
                message = f"intent {intent.name!r} has {key}, and its target {intent.target!r} has not"
                yield self._error("no_target_block", (*at, key), message, fix)
        if not blocks and intent.type == EnumIntentType.NOTIFICATION and intent.delivery is None:
            message = (
                f"intent {intent.name!r} does not say its delivery, and the far side of a notification knows no "
                "idempotency key"
            )
            yield self._warning("delivery_not_chosen", (*at, "name"), message, DELIVERY)
        for key, block in blocks.items():
            if intent.type != BLOCKS[key]:
                message = f"target {intent.target!r} has {key}, which serves {BLOCKS[key]}, not {intent.type}"
                yield self._error("other_kind", (*at, "type"), message, f"write type: {BLOCKS[key]}")
                continue
            asked = intent.calls.get(key)
            if asked is None and key in _SAYS_WHAT:
                message = f"intent {intent.name!r} does not say what it does at {intent.target!r}"
                yield self._error("missing_key", at, message, f"add {key}: {_SAYS_WHAT[key]}")
            harmless = asked is not None and not asked.changes_something()
            if intent.delivery is None and not block.takes_key() and not harmless:
                message = f"intent {intent.name!r} does not say its delivery, and the far side gets no idempotency key"
                more = f", or {block.idempotency_field()} to the target" if block.idempotency_field() else ""
                yield self._warning("delivery_not_chosen", (*at, "name"), message, DELIVERY + more)
        if target is not None and target.http is not None and intent.http is not None:
            yield from self._host((*at, "http", "path"), target.http, intent.http)

    def _concurrency(self, n: int, intent: ModelIntentCall) -> Iterator[Finding]:
        """Said at the target, it holds for all its intents."""
        target = self.contract.targets.get(intent.target or "")
        said = target.concurrency if target is not None else None
        if said is not None and "concurrency" in intent.model_fields_set and intent.concurrency != said:
            at: Loc = ("intents", n, "concurrency")
            message = (
                f"intent {intent.name!r} says {intent.concurrency} at once, and its target {intent.target!r} {said}"
            )
            yield self._error(
                "two_policies", at, message, "remove it here: what the target says holds for all its intents"
            )

    def _call(self, at: Loc, misfits: Iterator[tuple[str, str, str]]) -> Iterator[Finding]:
        for key, message, fix in misfits:
            yield self._error("call_misfit", (*at, key), message, fix)

    def _host(self, at: Loc, target: ModelHttpTarget, call: ModelHttpCall) -> Iterator[Finding]:
        """A path that names a host of its own stays within the allow-list."""
        wanted, base = host_of(call.path), host_of(target.base_url)
        if wanted is None:
            return
        if not is_allowed(wanted[1:], base or ("https", "", 443), target.hosts):
            known = [*([base[1]] if base else []), *target.hosts]
            message = (
                f"the host {wanted[1]} is not allowed: the target allows {', '.join(known) or 'its base_url only'}"
            )
            yield self._error("host_not_allowed", at, message, f"add hosts: [{wanted[1]}] to the target")

    # --- findings ---------------------------------------------------------------------------------------------------

    def _error(self, code: str, loc: Loc, message: str, fix: str) -> Finding:
        return Finding(code, EnumSeverity.ERROR, *self._place(loc).spot(self.path), message, fix)

    def _warning(self, code: str, loc: Loc, message: str, fix: str) -> Finding:
        return Finding(code, EnumSeverity.WARNING, *self._place(loc).spot(self.path), message, fix)

    def _place(self, loc: Loc) -> YamlPlace:
        """A value at ``loc``; the key of a block there; else the nearest part that is written."""
        parent = node_at(self.tree, loc[:-1])
        entry = parent.entries.get(str(loc[-1])) if isinstance(parent, YamlMap) else None
        if entry is not None and not isinstance(entry.node, YamlScalar):
            return entry.key.place
        return place_of(self.tree, loc)


def call_misfits(intent: ModelIntentCall, key: str) -> Iterator[tuple[str, str, str]]:
    """What is wrong within one call, also a text whose braces cannot be read."""
    call = intent.calls[key]
    yield from call.misfits()
    for field, text in call.templates():
        try:
            list(type(call).payload_fields(call))
        except TemplateProblem as problem:
            yield field, f"{field} {text!a} cannot be read: {problem}", "write {FIELD}, and {{ or }} for a brace"
            return


def _is_private(host: str) -> bool:
    try:
        return not ip_address(host).is_global
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
