"""build: the executor of a target, by the block that the contract gives it. The libraries of a kind are imported only here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from ..contracts.model.target import ModelIntentCall, ModelTarget
from ..contracts.model.target_notification import (
    ModelChatCall,
    ModelMailCall,
    ModelPagerDutyCall,
    ModelWebhookCall,
)
from ..nodes.given import ResultModel
from ..ports import Executor
from .context import EffectContext, not_installed


class Asked:
    """What an executor is made of. ``calls[intent name]`` are the intents of the target, each with its block."""

    def __init__(
        self,
        name: str,
        target: ModelTarget,
        calls: Mapping[str, ModelIntentCall],
        result_model: ResultModel,
        context: EffectContext,
    ) -> None:
        self.name, self.target, self.calls = name, target, calls
        self.result_model, self.context = result_model, context
        self.at_once = target.concurrency or max((one.concurrency for one in calls.values()), default=1)


def built_executor(
    target_name: str,
    target: ModelTarget,
    calls: Mapping[str, ModelIntentCall],
    result_model: ResultModel,
    context: EffectContext,
) -> Executor:
    """Raises DependencyResolutionError where the library of its kind is not installed."""
    (key,) = target.blocks
    make, extra = _KINDS[key]
    try:
        return make(Asked(target_name, target, calls, result_model, context))
    except ImportError as error:
        raise not_installed(f"the target {target_name!r}", extra, error) from error


def _http(asked: Asked) -> Executor:
    from .http_call import HttpExecutor

    assert asked.target.http is not None, "it has this block"
    calls = {name: one.http for name, one in asked.calls.items() if one.http is not None}
    return HttpExecutor(asked.name, asked.target.http, calls, asked.result_model, asked.context, at_once=asked.at_once)


def _sql(asked: Asked) -> Executor:
    from .sql import SqlEffect

    assert asked.target.sql is not None, "it has this block"
    if (asked.target.sql.url.text or "").startswith("postgres"):
        from . import sql_postgres  # noqa: F401  # a library that is missing is told now, not at the first call
    calls = {name: one.sql for name, one in asked.calls.items() if one.sql is not None}
    return SqlEffect(asked.name, asked.target.sql, calls, asked.result_model, asked.context)


def _files(asked: Asked) -> Executor:
    from .files import FilesEffect

    assert asked.target.files is not None, "it has this block"
    calls = {name: one.files for name, one in asked.calls.items() if one.files is not None}
    return FilesEffect(
        asked.name, asked.target.files, calls, asked.result_model, asked.context, threads=min(asked.at_once, 32)
    )


def _cache(asked: Asked) -> Executor:
    from .cache import CacheEffect

    assert asked.target.cache is not None, "it has this block"
    if asked.target.cache.url is not None:
        from . import cache_redis  # noqa: F401  # a library that is missing is told now, not at the first call
    calls = {name: one.cache for name, one in asked.calls.items() if one.cache is not None}
    return CacheEffect(asked.name, asked.target.cache, calls, asked.result_model, asked.context)


def _topic(asked: Asked) -> Executor:
    from .topic import TopicEffect

    assert asked.target.topic is not None, "it has this block"
    calls = {name: one.topic for name, one in asked.calls.items() if one.topic is not None}
    return TopicEffect(asked.name, asked.target.topic, calls, asked.result_model, asked.context)


def _webhook(asked: Asked) -> Executor:
    from .web_notification import WebhookExecutor

    assert asked.target.webhook is not None, "it has this block"
    calls = {name: one.webhook or ModelWebhookCall() for name, one in asked.calls.items()}
    return WebhookExecutor(asked.name, asked.target.webhook, calls, asked.context)


def _chat(asked: Asked) -> Executor:
    from .web_notification import ChatExecutor

    assert asked.target.chat is not None, "it has this block"
    calls = {name: one.chat or ModelChatCall() for name, one in asked.calls.items()}
    return ChatExecutor(asked.name, asked.target.chat, calls, asked.context)


def _pagerduty(asked: Asked) -> Executor:
    from .web_notification import PagerDutyExecutor

    assert asked.target.pagerduty is not None, "it has this block"
    calls = {name: one.pagerduty or ModelPagerDutyCall() for name, one in asked.calls.items()}
    return PagerDutyExecutor(asked.name, asked.target.pagerduty, calls, asked.context)


def _mail(asked: Asked) -> Executor:
    from .mail import MailExecutor

    assert asked.target.mail is not None, "it has this block"
    calls = {name: one.mail or ModelMailCall() for name, one in asked.calls.items()}
    return MailExecutor(asked.name, asked.target.mail, calls, asked.context)


_KINDS: Final[Mapping[str, tuple[Callable[[Asked], Executor], str]]] = {
    "http": (_http, "http"),
    "sql": (_sql, "postgres"),
    "files": (_files, ""),
    "cache": (_cache, "redis"),
    "topic": (_topic, "kafka"),
    "webhook": (_webhook, "http"),
    "chat": (_chat, "http"),
    "pagerduty": (_pagerduty, "http"),
    "mail": (_mail, "mail"),
}
"""``_KINDS[key] -> (what makes its executor, the extra that it needs)``"""
