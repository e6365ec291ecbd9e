"""Versions: which code an instance runs on, where several versions of a workflow are at hand (promise 48).

``chosen`` decides, from three values only: the key, the code that the instance stands on, and the rollout. In this order:

1. An instance that begins: under the new version if its key's bucket is below the share of the rollout, else under the base.
2. One whose contract says ``version_policy: pinned``: under the code that it stands on. If that is not at hand, CodeNotAtHand:
   it waits. The log names a code by its digest, so two apps with the same code for a workflow are one version of it.
3. One that stands on the new version, while the rollout runs: stays there (sticky).
4. One that stands on the new version, when it was taken back: under the base if that reads its state, else it stays.
5. Any other: under the base. Its state is migrated, and its next commit begins a new segment (promise 30).

The base is the version that most instances run on: the app's own, or the one that a rollout names.

What may go wrong, and why the end is still right: an instance changes its version between two batches, when a rollout goes on
or is taken back. Its state is then decoded anew from the bytes that its last fold left, and an action that was read by the
other version is read again (``mailbox.Pending.read_as``). Both happen before the fold, so a fold sees one version only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from hashlib import blake2b
from typing import Final, NamedTuple

from ..kernel.action import WorkflowKey
from ..kernel.errors import Refused
from .registry import ReducerRegistry, Workflow

SHARES: Final = 10_000
"""A share of instances is told in ten-thousandths: 500 are 5 %."""
_PERSON: Final = b"onex rollout"


class CodeNotAtHand(Refused):
    """The instance keeps the version it began under (``version_policy: pinned``), and this process does not have that code.

    It waits. Bring the code: onex run APP --also PATH_OR_REVISION."""

    code = "code_not_at_hand"
    retryable = True


class Rollout(NamedTuple):
    """How one workflow goes from the code ``base`` to ``new``, both digests. ``share`` of SHARES instances begin under ``new``.

    ``ended``: it was taken back, or is over; instances that stand on ``new`` then go to the base where it reads their state.
    """

    base: bytes
    new: bytes
    share: int = 0
    ended: bool = False


def bucket(key: WorkflowKey) -> int:
    """0 to SHARES - 1, the same for a key in every process: blake2b of ``type:id``, with a person of its own, so that the
    instances of one shard are spread too."""
    return int.from_bytes(blake2b(str(key).encode(), digest_size=8, person=_PERSON).digest()) % SHARES


class Versions(ReducerRegistry):
    """A registry that knows more than one version of a workflow. ``registry[type]`` is the base."""

    def __init__(self, workflows: Iterable[Workflow] = (), others: Iterable[Workflow] = ()) -> None:
        self._own: dict[str, Workflow] = {}
        self._at_hand: dict[tuple[str, bytes], Workflow] = {}
        self._of_code: dict[int, Workflow] = {}
        self.rollouts: Mapping[str, Rollout] = {}
        super().__init__(tuple(workflows))
        for one in others:
            self.bring(one)

    def register(self, workflow: Workflow) -> None:
        super().register(workflow)
        self._own[workflow.code.workflow_type] = workflow
        self._at_hand[workflow.code.workflow_type, workflow.code.digest] = workflow
        self.several = self.several or workflow.pinned

    def bring(self, workflow: Workflow) -> Workflow | None:
        """One more version of a workflow; None where its code, or no workflow of its type, is known here."""
        name, digest = workflow.code.workflow_type, workflow.code.digest
        if name not in self._own or (name, digest) in self._at_hand:
            return None
        self.several = True
        brought = replace(workflow, variant=f"{name}@{digest.hex()[:16]}")
        self._at_hand[name, digest] = brought
        return brought

    def roll(self, rollouts: Mapping[str, Rollout]) -> None:
        """From now on these hold, by workflow type. One that names code that is not at hand changes nothing of its type."""
        self.rollouts = {name: one for name, one in rollouts.items() if (name, one.base) in self._at_hand}
        for name, own in self._own.items():
            rollout = self.rollouts.get(name)
            self._by_type[name] = own if rollout is None else self._at_hand[name, rollout.base]
        self._find_internal()

    def at_hand(self, workflow_type: str) -> tuple[Workflow, ...]:
        """Every version of this type, the base first."""
        base = self[workflow_type]
        return (base, *(one for (name, _), one in self._at_hand.items() if name == workflow_type and one is not base))

    def has(self, workflow_type: str, digest: bytes) -> bool:
        return (workflow_type, digest) in self._at_hand

    @property
    def every(self) -> tuple[Workflow, ...]:
        """Every version of every type."""
        return tuple(self._at_hand.values())

    def number(self, code_id: int, workflow: Workflow) -> None:
        """``code_id`` is the store's number for its code."""
        self._of_code[code_id] = workflow

    def chosen(self, key: WorkflowKey, code_id: int) -> Workflow:
        """What judges this instance, which stands on ``code_id``; 0: it begins now. Raises UnknownWorkflow, CodeNotAtHand."""
        name = key.workflow_type
        base, rollout = self[name], self.rollouts.get(name)
        if not code_id:
            if rollout is None or rollout.ended or bucket(key) >= rollout.share:
                return base
            return self._at_hand.get((name, rollout.new), base)
        standing = self._of_code.get(code_id)
        if standing is None or standing is base:
            if standing is None and base.pinned:
                raise CodeNotAtHand(
                    f"{key} keeps the version it began under, and that code is not at hand here; bring it: "
                    "onex run APP --also PATH_OR_REVISION. onex versions says which",
                    code_id=code_id,
                )
            return base
        if standing.pinned:
            return standing
        if rollout is None or standing.code.digest != rollout.new:
            return base
        stays = not rollout.ended or standing.code.state_schema > base.code.state_schema
        return standing if stays else base
