"""What a contract names and the Python beside it lacks, as stubs: classes, handlers of triggers that carry something, and functions
that serve intents. The files are read, never run. A stub of an effect raises ``EffectFailed``: surely, nothing was done.

A class that is written has the fields that conditions name. Their type is not known, so it is any JSON value: the author says it.
"""

from __future__ import annotations

import re
from keyword import iskeyword
from pathlib import Path

from ..contracts.compile import BUILT_IN_PAYLOADS
from ..contracts.guard.guards import parse
from ..contracts.guard.three_token import Comparison
from ..contracts.load import load_contract
from ..contracts.model.contract import ModelContractWorkflow
from ..contracts.model.fsm import ModelIntentDeclaration
from ..kernel.errors import ContractError
from ..kernel.finding import EnumSeverity, Finding
from ..kernel.intent import EnumIntentType
from .module_text import ModuleText


def missing_stubs(contract_path: Path) -> list[ModuleText]:
    """The files beside the contract that lack something, each with what is added. Nothing is written.

    Raises ContractError for a contract or a file that has an error, OSError for one that cannot be read.
    """
    text = contract_path.read_bytes().decode(errors="replace")
    loaded = load_contract(text, str(contract_path))
    if loaded.contract is None:
        wrong = [one for one in loaded.findings if one.severity is EnumSeverity.ERROR]
        listed = "\n".join(map(str, wrong))
        raise ContractError(f"{contract_path} has errors; mend them first\n{listed}", loaded.findings)
    return _Stubs(loaded.contract, contract_path.parent).run()


class _Stubs:
    def __init__(self, contract: ModelContractWorkflow, home: Path) -> None:
        self.contract = contract
        self.home = home

    def run(self) -> list[ModuleText]:
        files = [self._payloads(), self._reducer(), *self._served()]
        return [one for one in files if one.added]

    def _file(self, name: str) -> ModuleText:
        return ModuleText.of(self.home / name)

    def _payloads(self) -> ModuleText:
        file = self._file("payloads.py")
        said = self.contract
        wanted: dict[str, tuple[str, str]] = {}
        if said.state_model is not None:
            wanted[said.state_model] = ("State", f"What an instance of {said.name} keeps. Each field has a default.")
        for trigger, name in said.payloads.items():
            wanted.setdefault(name, ("Payload", f"What {trigger} carries."))
        for intent in said.intents:
            if intent.payload is not None:
                wanted.setdefault(intent.payload, ("Payload", f"What the intent {intent.name} carries."))
        for name, (base, words) in wanted.items():
            if name not in BUILT_IN_PAYLOADS and not file.binds(name):
                file.need("onex", base)
                code = f'class {name}({base}):\n    """{words}"""'
                fields = self._named_in_conditions(name)
                if fields:
                    file.need("pydantic", "JsonValue")
                    code += "\n" + "".join(f"\n    {field}: JsonValue = None" for field in fields)
                file.add(f"class {name}", code)
        return file

    def _named_in_conditions(self, name: str) -> list[str]:
        """Fields of the class ``name`` that conditions read."""
        found: dict[str, None] = {}
        for line in self.contract.state_machine.transitions:
            roots = {"payload": self.contract.payloads[line.trigger], "state": self.contract.state_model}
            for condition in line.conditions:
                parsed = parse(condition.expression)
                paths = [parsed.path] if isinstance(parsed, Comparison) else [path for path, _ in parsed.paths]
                for path in paths:
                    root, *inner = path if path[0] in roots else ("payload", *path)
                    if roots[root] == name and inner and inner[0] != "status":
                        found[inner[0]] = None
        return list(found)

    def _reducer(self) -> ModuleText:
        """Handlers of the triggers that carry something. A trigger that only moves needs none."""
        file = self._file("reducer.py")
        handled = file.decorated("on")
        missing = {
            trigger: name
            for trigger, name in self.contract.payloads.items()
            if name != "Nothing" and trigger not in handled
        }
        if not missing:
            return file
        state = self.contract.state_model or "State"
        self._import(file, state)
        table = file.table()
        if table is None:
            if file.before is not None and file.before.strip():
                finding = Finding(
                    "handlers", EnumSeverity.ERROR, str(file.path), 1, 1, "no table of handlers is made in this file",
                    f"write one: orders = reducer({state}); handlers are added to it",
                )  # fmt: skip
                raise ContractError(str(finding), (finding,))
            table = "handlers"
            file.need("onex", "reducer")
            file.add("a table of handlers", f"handlers = reducer({state})")
        file.need("onex", "Action", "Step")
        for trigger, name in missing.items():
            self._import(file, name)
            function = self._function(file, trigger)
            file.add(
                f"a handler of {trigger}",
                f'@{table}.on("{trigger}")\n'
                f"def {function}(state: {state}, action: Action[{name}]) -> Step[{state}]:\n"
                "    return Step(state)",
            )
        return file

    def _served(self) -> list[ModuleText]:
        files = {mark: self._file(f"{part}.py") for mark, part in (("effect", "effects"), ("compute", "compute"))}
        for mark, file in files.items():
            known = file.decorated(mark) | ModuleText.of(self.home.parent / file.path.name).decorated(mark)
            for intent in self.contract.intents:
                is_compute = intent.type == EnumIntentType.COMPUTE_TASK
                if intent.type in (EnumIntentType.TIMER, EnumIntentType.ACTION_SEND) or is_compute != (
                    mark == "compute"
                ):
                    continue
                declared = self.contract.targets.get(intent.target or "")
                if declared is not None and declared.blocks:
                    continue
                if intent.target is not None and intent.target not in known:
                    known.add(intent.target)
                    self._serve(file, mark, intent)
        return list(files.values())

    def _serve(self, file: ModuleText, mark: str, intent: ModelIntentDeclaration) -> None:
        sent = intent.payload or "Nothing"
        gives = (
            "Nothing" if intent.outcomes is None else self.contract.payloads.get(intent.outcomes.succeeded, "Nothing")
        )
        result = "None" if gives == "Nothing" else gives
        for name in (sent, *(() if result == "None" else (gives,))):
            self._import(file, name)
        function = self._function(file, intent.name)
        if mark == "effect":
            file.need("onex", "EffectFailed", "ModelIntent", "effect")
            head = f"def {function}(intent: ModelIntent[{sent}]) -> {result}:"
            body = f'raise EffectFailed("{intent.name} is not written yet")'
        else:
            file.need("onex", "compute")
            head = f"def {function}(task: {sent}) -> {result}:"
            body = f'raise NotImplementedError("{intent.name} is not written yet")'
        file.add(f"a function that serves {intent.target}", f'@{mark}("{intent.target}")\n{head}\n    {body}')

    def _import(self, file: ModuleText, name: str) -> None:
        file.need("onex" if name in BUILT_IN_PAYLOADS or name == "State" else ".payloads", name)

    def _function(self, file: ModuleText, called: str) -> str:
        """A name for a function that nothing in the file has."""
        plain = re.sub(r"\W", "_", called)
        plain = f"{plain}_" if iskeyword(plain) else plain
        while file.binds(plain):
            plain = f"on_{plain}"
        return plain
