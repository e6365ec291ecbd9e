from __future__ import annotations

from onex import Payload


class Begin(Payload):
    customer: str
