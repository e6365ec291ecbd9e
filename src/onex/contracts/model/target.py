"""``targets:`` of a workflow: who serves its intents when no function does, and what each intent asks of them.

    targets[NAME] -> one block (how it is reached) and policies, or policies alone for a function of the user's own
    intents[..]   -> a block under the same key (what this call does)

``BLOCKS`` is the table of kinds. None of this decides a state, so none of it belongs to the code of a workflow: another address
is no other code, and a recorded history stays the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

from ...kernel.intent import EnumIntentType
from .fsm import ModelIntentDeclaration
from .part import ENGINE, Part
from .target_block import ModelCallBlock, ModelTargetBlock
from .target_cache import ModelCacheCall, ModelCacheTarget
from .target_files import ModelFilesCall, ModelFilesTarget
from .target_http import ModelHttpCall, ModelHttpTarget
from .target_notification import (
    ModelChatCall,
    ModelChatTarget,
    ModelMailCall,
    ModelMailTarget,
    ModelPagerDutyCall,
    ModelPagerDutyTarget,
    ModelWebhookCall,
    ModelWebhookTarget,
)
from .target_policy import ModelTargetPolicy
from .target_sql import ModelSqlCall, ModelSqlTarget
from .target_topic import ModelTopicCall, ModelTopicTarget

BLOCKS: Final[Mapping[str, EnumIntentType]] = {
    "http": EnumIntentType.API_CALL,
    "sql": EnumIntentType.DATABASE_WRITE,
    "files": EnumIntentType.FILE_OPERATION,
    "cache": EnumIntentType.CACHE_UPDATE,
    "topic": EnumIntentType.MESSAGE_PUBLISH,
    "webhook": EnumIntentType.NOTIFICATION,
    "chat": EnumIntentType.NOTIFICATION,
    "pagerduty": EnumIntentType.NOTIFICATION,
    "mail": EnumIntentType.NOTIFICATION,
}
"""``BLOCKS[key] -> the type of the intents that such a target serves``. The key is the same at target and intent."""


class ModelTarget(ModelTargetPolicy):
    """One target. Without a block a function of the user's serves it, and the policies hold for that."""

    http: Annotated[ModelHttpTarget | None, ENGINE] = None
    sql: Annotated[ModelSqlTarget | None, ENGINE] = None
    files: Annotated[ModelFilesTarget | None, ENGINE] = None
    cache: Annotated[ModelCacheTarget | None, ENGINE] = None
    topic: Annotated[ModelTopicTarget | None, ENGINE] = None
    webhook: Annotated[ModelWebhookTarget | None, ENGINE] = None
    chat: Annotated[ModelChatTarget | None, ENGINE] = None
    pagerduty: Annotated[ModelPagerDutyTarget | None, ENGINE] = None
    mail: Annotated[ModelMailTarget | None, ENGINE] = None

    @property
    def blocks(self) -> dict[str, ModelTargetBlock]:
        """By key; a target that loads has at most one."""
        return {key: block for key in BLOCKS if (block := getattr(self, key)) is not None}


class ModelCallBlocks(Part):
    """What a call asks of its target, in one block."""

    http: Annotated[ModelHttpCall | None, ENGINE] = None
    sql: Annotated[ModelSqlCall | None, ENGINE] = None
    files: Annotated[ModelFilesCall | None, ENGINE] = None
    cache: Annotated[ModelCacheCall | None, ENGINE] = None
    topic: Annotated[ModelTopicCall | None, ENGINE] = None
    webhook: Annotated[ModelWebhookCall | None, ENGINE] = None
    chat: Annotated[ModelChatCall | None, ENGINE] = None
    pagerduty: Annotated[ModelPagerDutyCall | None, ENGINE] = None
    mail: Annotated[ModelMailCall | None, ENGINE] = None

    @property
    def calls(self) -> dict[str, ModelCallBlock]:
        """By key; a call that loads has at most one."""
        return {key: block for key in BLOCKS if (block := getattr(self, key)) is not None}


class ModelIntentCall(ModelCallBlocks, ModelIntentDeclaration):
    """One intent a reducer may emit: who serves it, what each outcome becomes, and, in one block, what it asks of its target.

    Left out, ``outcomes`` are ``NAME.succeeded``, ``NAME.failed``, ``NAME.unknown`` where a transition has one of these, and the
    ``trigger`` of a timer is its own name where the transition has it.
    """
