"""MailExecutor: sends one letter of plain text to a mail server, by SMTP.

A mail server knows no idempotency key, so a contract chooses its ``delivery``. The ``Message-ID`` is made from the key: it is
the same at every try, and many programs that read mail show such a letter once.

A letter is sent in steps, so that it is known what was done when one fails. Until the letter itself goes out (connection, log-in,
sender, receivers), nothing is sent: EffectFailed. If one receiver is refused, nobody gets the letter. While the letter is sent and
until the server has taken it, a lost connection is EffectUnknown. A server that answers with a refusal has not taken it.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.errors import MessageError
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime, getaddresses, parseaddr
from uuid import NAMESPACE_URL, uuid5

from aiosmtplib import SMTP, SMTPException, SMTPResponseException
from pydantic import BaseModel

from ..contracts.model.target_notification import ModelMailCall, ModelMailTarget
from ..kernel.errors import EffectFailed, EffectUnknown
from ..kernel.intent import ModelIntent
from ..kernel.user_code import describe
from ..ports import Result
from .context import EffectContext, trusted
from .web_notification import written

CONNECT_S = 10.0
ANSWER_S = 60.0
RECEIVERS_MOST = 100


class MailExecutor:
    """Serves the intents of one mail server; a connection per letter."""

    def __init__(
        self, name: str, target: ModelMailTarget, calls: Mapping[str, ModelMailCall], context: EffectContext
    ) -> None:
        self._name, self._target, self._calls, self._context = name, target, calls, context
        self._trust: ssl.SSLContext | None = None  # made once: it reads all certificates of the machine

    async def execute(self, intent: ModelIntent[BaseModel]) -> Result:
        """Raises EffectFailed, EffectUnknown."""
        settings, target = self._context.settings, self._target
        host = await settings.text(target.host, what=f"host of {self._name!r}")
        sender = await settings.text(target.sender, what=f"sender of {self._name!r}")
        username = await settings.optional(target.username, what=f"username of {self._name!r}")
        password = await settings.optional(target.password, what=f"password of {self._name!r}")
        ca_file = await settings.optional(target.ca_file, what=f"ca_file of {self._name!r}")
        if self._trust is None and target.security != "none":
            self._trust = trusted(ca_file)
        letter, receivers = self._letter(intent, self._calls[intent.name], sender)
        client = SMTP(
            hostname=host,
            port=target.port,
            username=username,
            password=password,
            timeout=CONNECT_S,
            use_tls=target.security == "tls",
            start_tls=target.security == "starttls",
            tls_context=self._trust,
        )
        shown = f"SMTP {settings.masked(host)}:{target.port}"
        with self._context.audit.call(intent, shown) as call:
            begun = False
            try:
                await client.connect()
                client.timeout = ANSWER_S
                await client.mail(parseaddr(sender)[1])
                for receiver in receivers:
                    await client.rcpt(receiver)
                begun = True
                answer = await client.data(letter.as_bytes())
                call.result = str(answer.code)
            except (SMTPException, OSError, ValueError) as error:
                raise self._failed(intent, shown, error, begun=begun) from error
            finally:
                with suppress(SMTPException, OSError):
                    await client.quit()
                client.close()
        return Result(None)

    def _letter(
        self, intent: ModelIntent[BaseModel], call: ModelMailCall, sender: str
    ) -> tuple[EmailMessage, list[str]]:
        """The letter and who gets it. Raises EffectFailed."""
        fields = intent.serialize_payload()
        to = written(call.to, fields)
        receivers = [address for _, address in getaddresses([to])]
        if not receivers or len(receivers) > RECEIVERS_MOST or not all("@" in one for one in receivers):
            raise EffectFailed(
                f"to: is no list of 1 to {RECEIVERS_MOST} addresses; write name@host, with commas between",
                code="bad_receiver",
            )
        letter = EmailMessage(policy=SMTP_POLICY)
        try:
            letter["From"], letter["To"] = sender, to
            letter["Subject"] = written(call.subject, fields)
            letter["Date"] = format_datetime(datetime.fromtimestamp(self._context.clock.now_us() / 1e6, UTC))
            key = uuid5(NAMESPACE_URL, f"onex:{intent.idempotency_key}")
            letter["Message-ID"] = f"<{key}@{parseaddr(sender)[1].rpartition('@')[2] or 'onex'}>"
        except (ValueError, MessageError, IndexError) as error:
            message = "an address or the subject cannot stand in the head of a letter: no line feeds, please"
            raise EffectFailed(message, code="bad_letter") from error
        letter.set_content(written(call.text, fields))
        return letter, receivers

    def _failed(
        self, intent: ModelIntent[BaseModel], shown: str, error: Exception, *, begun: bool
    ) -> EffectFailed | EffectUnknown:
        said = self._context.settings.masked(f"{shown}: {describe(error)}", intent.payload)
        if isinstance(error, SMTPResponseException):
            return EffectFailed(said, retryable=400 <= error.code < 500, code=f"smtp_{error.code}")
        if begun:
            return EffectUnknown(said, code="connection_lost")
        return EffectFailed(said, retryable=isinstance(error, SMTPException | OSError), code="not_connected")
