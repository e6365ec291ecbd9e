"""Every layout of a repository gets the same verdicts: what imports name is followed, wherever an ``__init__.py`` stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from onex.doctor.purity_claims import EnumClaimVerdict
from tests.doctor.planted import examined

CONTRACT = """
name: {name}
contract_version: {{major: 1, minor: 0, patch: 0}}
node_type: compute
purity: pure
handler_routing:
  handlers:
    - handler: {{module: {top}.nodes.{name}, name: Handler}}
"""
HANDLER = "class Handler:\n    def handle(self, x):\n        return {call}\n"

# how the handler in shop/nodes/NAME.py comes to shop/util/clock.py; {top} is the package's name in imports
IMPORTS = {
    "by_name": ("from {top}.util.clock import now\n", "now()"),
    "by_module": ("import {top}.util.clock\n", "{top}.util.clock.now()"),
    "by_module_as": ("import {top}.util.clock as c\n", "c.now()"),
    "by_submodule": ("from {top}.util import clock\n", "clock.now()"),
    "by_alias": ("from {top}.util.clock import now as later\n", "later()"),
    "relative": ("from ..util.clock import now\n", "now()"),
    "relative_module": ("from ..util import clock as c\n", "c.now()"),
    "relative_package": ("from .. import util\nfrom ..util import clock\n", "util.clock.now()"),
    "through_another": ("from {top}.util.again import later\n", "later()"),
    "through_a_star": ("from {top}.util.star import now\n", "now()"),
    "in_the_function": ("", "__import__('importlib').import_module('{top}.util.clock').now()"),
    "through_a_class": ("from {top}.util.ticker import Ticker\n", "Ticker().tick()"),
    "through_a_base": ("from {top}.util.ticker import Ticker\n\nclass Base(Ticker): ...\n\n", "Base().tick()"),
}
PURE = {
    "adds": ("from {top}.util.sums import add\n", "add(1)"),
    "adds_relative": ("from ..util.sums import add\n", "add(1)"),
}
UTIL = {
    "clock.py": "import time\n\ndef now():\n    return time.time()\n",
    "again.py": "from .clock import now as later\n",
    "star.py": "from {top}.util.clock import *\n",
    "ticker.py": "from {top}.util import clock\n\nclass Ticker:\n    def tick(self):\n        return clock.now()\n",
    "sums.py": "def add(x):\n    return x + 1\n",
}

# folder of the package, its name in imports, folders that have an __init__.py
LAYOUTS = {
    "src": ("src/shop", "shop", ["src/shop", "src/shop/nodes", "src/shop/util"]),
    "src_is_a_package_too": ("src/shop", "shop", ["src", "src/shop", "src/shop/nodes", "src/shop/util"]),
    "src_and_root_are_packages": ("src/shop", "shop", ["", "src", "src/shop", "src/shop/nodes", "src/shop/util"]),
    "flat": ("shop", "shop", ["shop", "shop/nodes", "shop/util"]),
    "flat_and_root_is_a_package": ("shop", "shop", ["", "shop", "shop/nodes", "shop/util"]),
    "flat_without_any": ("shop", "shop", []),
    "src_without_any": ("src/shop", "shop", []),
    "src_alone_has_one": ("src/shop", "shop", ["src"]),
    "half_of_them": ("src/shop", "shop", ["src", "src/shop/util"]),
    "backend": ("backend/shop", "shop", ["backend/shop", "backend/shop/nodes", "backend/shop/util"]),
    "backend_is_a_package_too": (
        "backend/shop",
        "shop",
        ["backend", "backend/shop", "backend/shop/nodes", "backend/shop/util"],
    ),
    "backend_without_any": ("backend/shop", "shop", []),
    "several_roots": (
        "services/pay/src/shop",
        "shop",
        ["services", "services/pay/src", "services/pay/src/shop", "services/pay/src/shop/util"],
    ),
    "namespace": ("src/acme/shop", "acme.shop", ["src/acme/shop", "src/acme/shop/nodes", "src/acme/shop/util"]),
    "namespace_in_a_package": (
        "src/acme/shop",
        "acme.shop",
        ["src", "src/acme/shop", "src/acme/shop/nodes", "src/acme/shop/util"],
    ),
    "namespace_below_apps": ("apps/one/acme/shop", "acme.shop", ["apps/one/acme/shop"]),
    "named_with_src": ("src/shop", "src.shop", ["src", "src/shop", "src/shop/nodes", "src/shop/util"]),
    "named_with_src_and_no_file": ("src/shop", "src.shop", []),
}
BESIDE = {
    "alone": {},
    "tests": {"tests/test_shop.py": "from {top}.util import clock\n"},
    "a_mirror_in_tests": {
        "tests/{leaf}/__init__.py": "",
        "tests/{leaf}/util/__init__.py": "",
        "tests/{leaf}/nodes/__init__.py": "",
        "tests/{leaf}/util/clock.py": "def now():\n    return 0\n",
        "tests/{leaf}/util/ticker.py": "class Ticker:\n    def tick(self): return 0\n",
    },
    "a_namesake_within": {"{folder}/vendor/shop/util/clock.py": "def now():\n    return 0\n"},
}


def repository(layout: str, beside: str, contracts: str) -> dict[str, str]:
    folder, top, packages = LAYOUTS[layout]
    leaf = top.partition(".")[0]
    files = {f"{one}/__init__.py".lstrip("/"): "" for one in packages}
    files |= {f"{folder}/util/{name}": text.format(top=top) for name, text in UTIL.items()}
    for name, (imports, call) in {**IMPORTS, **PURE}.items():
        files[f"{folder}/nodes/{name}.py"] = (imports + "\n" + HANDLER.format(call=call)).format(top=top)
        place = {"within": f"{folder}/nodes/{name}_node", "apart": f"contracts/{name}"}[contracts]
        files[f"{place}/contract.yaml"] = CONTRACT.format(name=name, top=top)
    files |= {
        place.format(leaf=leaf, folder=folder): text.format(top=top) if "{" in text else text
        for place, text in BESIDE[beside].items()
    }
    return files


@pytest.mark.parametrize("contracts", ["within", "apart"])
@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_claim_is_followed_through_every_import_in_every_layout(
    layout: str, beside: str, contracts: str, tmp_path: Path
) -> None:
    if beside == "a_mirror_in_tests" and LAYOUTS[layout][1].startswith("src."):
        pytest.skip("a folder tests/src is no mirror of src.shop")
    found = examined(tmp_path, repository(layout, beside, contracts))
    verdicts = {one.node: one.verdict for one in found.claims}
    assert {
        name: verdict for name, verdict in verdicts.items() if verdict is not EnumClaimVerdict.BROKEN
    } == dict.fromkeys(PURE, EnumClaimVerdict.HOLDS)
    assert not found.outside
    assert [one.finding.message for one in found.findings if "missing" in one.finding.code] == []


def test_a_name_of_another_package_is_not_found_in_a_folder_of_ours(tmp_path: Path) -> None:
    """``import redis`` is that of the world, though a module of ours is called so."""
    files = {
        "src/__init__.py": "",
        "shop/__init__.py": "",
        "shop/clients/__init__.py": "",
        "shop/clients/redis.py": "import time\n\nclass Redis:\n    def get(self): return time.time()\n",
        "shop/nodes/one.py": "import redis\nfrom redis import Redis\n\n" + HANDLER.format(call="Redis().get()"),
        "shop/json.py": "import time\ndef dumps(x): return time.time()\n",
        "shop/nodes/contract.yaml": CONTRACT.format(name="one", top="shop"),
    }
    (claim,) = examined(tmp_path, files).claims
    assert claim.outside == ("redis",) or "redis" in str(claim.encounters)
    assert "shop/clients" not in str(claim.encounters)


def test_a_module_that_is_not_there_is_missing_in_every_layout(tmp_path: Path) -> None:
    for n, (folder, top, packages) in enumerate(LAYOUTS.values()):
        files = {f"{one}/__init__.py".lstrip("/"): "" for one in packages}
        files[f"{folder}/util/clock.py"] = ""
        files[f"{folder}/main.py"] = f"from {top}.util import clock\n"
        files[f"{folder}/nodes/contract.yaml"] = CONTRACT.format(name="gone", top=top)
        found = examined(tmp_path / str(n), files)
        assert ("module_missing", not found.outside) in {(one.finding.code, True) for one in found.findings}, folder
