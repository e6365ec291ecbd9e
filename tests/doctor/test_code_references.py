"""Modules, handlers and models that contracts name: found, missing with what was meant, or somebody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from onex.doctor.examination import Examination
from tests.doctor.planted import examined, reported


def node(*lines: str) -> str:
    return "\n".join(
        ["name: pay", "node_type: EFFECT_GENERIC", "contract_version: {major: 1, minor: 0, patch: 0}", *lines, ""]
    )


def handled(module: str, name: str) -> str:
    return node(
        "handler_routing:",
        "  routing_strategy: operation_match",
        "  handlers:",
        f"    - {{operation: pay, handler: {{name: {name}, module: {module}}}}}",
    )


SHOP = {
    "src/shop/__init__.py": "",
    "src/shop/nodes/__init__.py": "",
    "src/shop/nodes/pay/__init__.py": "from .handlers import HandlerPay\n",
    "src/shop/nodes/pay/handlers.py": "class HandlerPay:\n    def handle(self, x: int) -> int:\n        return x\n",
}
CONTRACT = "src/shop/nodes/pay/contract.yaml"


def of(tmp_path: Path, contract: str, **more: str) -> tuple[Examination, list[str]]:
    files = {**SHOP, CONTRACT: contract, **{name.replace("__", "/") + ".py": text for name, text in more.items()}}
    diagnosis = examined(tmp_path, files)
    return diagnosis, [one.replace(f"{CONTRACT}:", "") for one in reported(diagnosis, tmp_path)]


@pytest.mark.parametrize(
    "contract",
    [
        handled("shop.nodes.pay.handlers", "HandlerPay"),
        handled("shop.nodes.pay", "HandlerPay"),
        node("handler_routing:", "  default_handler: handlers:HandlerPay"),
        node("handler: {module: shop.nodes.pay.handlers, class: HandlerPay}"),
        node("input_model: shop.nodes.pay.handlers.HandlerPay"),
    ],
)
def test_a_name_that_is_there_is_found(contract: str, tmp_path: Path) -> None:
    diagnosis, found = of(tmp_path, contract)
    assert found == []
    assert diagnosis.references == 1


MISSING = {
    "a module": (
        handled("shop.nodes.pay.handler", "Other"),
        "module_missing 7",
        "did you mean shop.nodes.pay.handlers?",
    ),
    "a module, its class elsewhere": (
        handled("shop.nodes.till.handlers", "HandlerPay"),
        "module_missing 7",
        "HandlerPay is in shop.nodes.pay.handlers",
    ),
    "a handler": (handled("shop.nodes.pay.handlers", "HandlerPai"), "handler_missing 7", "did you mean HandlerPay?"),
    "a model": (
        node("input_model: {name: ModelPay, module: shop.nodes.pay.handlers}"),
        "model_missing 4",
        "write the name that it has there",
    ),
}


@pytest.mark.parametrize(("contract", "expected", "fix"), MISSING.values(), ids=MISSING)
def test_a_name_that_is_not_there_is_reported_with_what_may_have_been_meant(
    contract: str, expected: str, fix: str, tmp_path: Path
) -> None:
    diagnosis, found = of(tmp_path, contract)
    assert found == [expected]
    assert diagnosis.findings[0].finding.fix == fix


def test_a_name_on_several_lines_is_missing_once(tmp_path: Path) -> None:
    contract = (
        handled("shop.nodes.pay.handlers", "Gone")
        + "    - {operation: back, handler: {name: Gone, module: shop.nodes.pay.handlers}}\n"
    )
    diagnosis, found = of(tmp_path, contract)
    assert found == ["handler_missing 7"]
    assert diagnosis.findings[0].finding.message.endswith("(also named on line 8)")


def test_packages_of_others_are_counted_and_not_complained_of(tmp_path: Path) -> None:
    diagnosis, found = of(tmp_path, handled("omnibase_core.nodes.pay", "HandlerPay"))
    assert found == []
    assert diagnosis.outside == {"omnibase_core": 1}


def test_the_standard_library_does_not_count_as_outside(tmp_path: Path) -> None:
    diagnosis, found = of(tmp_path, node("output_model: {name: dict, module: builtins}"))
    assert found == []
    assert diagnosis.outside == {}


def test_a_module_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    _, found = of(tmp_path, handled("shop.bad", "HandlerPay"), src__shop__bad="def (\n")
    assert found == ["code_unreadable 7"]


def test_code_beside_the_contract_that_cannot_be_read_is_no_absence(tmp_path: Path) -> None:
    files = {"pay/contract.yaml": node(), "pay/node.py": "\ndef (\n", "pay/handler.py": "(\n"}
    diagnosis = examined(tmp_path, files)
    found = [finding.finding for finding in diagnosis.findings]
    assert [(one.code, Path(one.path).name) for one in found] == [
        ("code_unreadable", "node.py"),
        ("code_unreadable", "handler.py"),
    ]
    assert found[0].message == "node.py beside the contract cannot be read: line 2: invalid syntax"


def test_a_file_that_code_imports_and_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    files = {
        "pay/contract.yaml": node().replace("EFFECT", "COMPUTE"),
        "pay/handler.py": "from .rates import rate\n\n\ndef handle(x):\n    return rate(x)\n",
        "pay/rates.py": "def rate(:\n",
        "pay/old.py": "print 'nobody asks for this one'\n",
    }
    diagnosis = examined(tmp_path, files)
    assert reported(diagnosis, tmp_path) == ["code_unreadable pay/rates.py:1"]
    assert [str(one.verdict) for one in diagnosis.claims] == ["unproven"]


def test_a_module_that_makes_its_names_when_asked_is_believed(tmp_path: Path) -> None:
    lazy = "def __getattr__(name: str) -> object:\n    return name\n"
    assert of(tmp_path, handled("shop.lazy", "HandlerPay"), src__shop__lazy=lazy)[1] == []


def test_contracts_without_code_are_reported_once_for_each_package(tmp_path: Path) -> None:
    files = {f"{n}/contract.yaml": handled("shop.nodes.pay.handlers", "HandlerPay") for n in "abc"}
    diagnosis = examined(tmp_path, files)
    assert reported(diagnosis, tmp_path) == []
    assert diagnosis.outside == {"shop": 3}


def test_a_workspace_of_several_packages_is_one_repository(tmp_path: Path) -> None:
    files = {
        "packages/till/src/till/__init__.py": "",
        "packages/till/src/till/open.py": "class HandlerOpen:\n    pass\n",
        "packages/till/contract.yaml": handled("till.open", "HandlerOpen"),
        "packages/shop/src/shop/deep/open.py": "class HandlerOpen:\n    pass\n",
        "packages/shop/contract.yaml": handled("shop.deep.open", "HandlerOpen"),
    }
    diagnosis = examined(tmp_path, files)
    assert reported(diagnosis, tmp_path) == []
    assert diagnosis.references == 2
