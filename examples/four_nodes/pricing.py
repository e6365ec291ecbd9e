"""The data transformation: what each line of an order costs. Worker processes import this module by its name."""

from __future__ import annotations

from pydantic import JsonValue

from onex import EffectFailed, Payload, chunked, compute


class PriceLines(Payload):
    lines: list[dict[str, JsonValue]]


class Prices(Payload):
    prices: list[int]


@compute("price")
@chunked("lines", size=100)
def price(task: PriceLines) -> Prices:
    prices = []
    for line in task.lines:
        quantity, cents = line["quantity"], line["cents"]
        if not isinstance(quantity, int) or not isinstance(cents, int) or quantity < 1:
            raise EffectFailed(f"a quantity is at least 1, and {line['sku']} has {quantity}", code="bad_line")
        prices.append(quantity * cents)
    return Prices(prices=prices)
