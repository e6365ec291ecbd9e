"""The fields of a state or payload class, and the statuses it lists, read from its text. None where reading cannot be sure.

Sure are classes that derive from ``State`` or ``Payload`` of onex, by bases that are written here, without decorators, keywords,
``model_config`` or aliases. Anything else may take names that are not written as its fields.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from .classes import ClassTable
from .symbols import ClassSymbol, ExternalSymbol

_STATES = frozenset(("onex.State", "onex.kernel.step.State"))
_PAYLOADS = frozenset(("onex.Payload", "onex.kernel.action.Payload"))
_PLAIN = frozenset(("typing.Generic", "typing.Protocol", "abc.ABC", "object"))
_BASES_MAX = 20


def is_state(classes: ClassTable, of: ClassSymbol) -> bool:
    return any(isinstance(one, ExternalSymbol) and one.name in _STATES for one in classes.line(of))


def fields_of(classes: ClassTable, of: ClassSymbol) -> frozenset[str] | None:
    """The names that its constructor and ``evolve`` take; None when they cannot be known."""
    found: set[str] = set()
    line = classes.line(of)
    outside = {one.name for one in line if isinstance(one, ExternalSymbol)}
    if not outside & (_STATES | _PAYLOADS) or outside - (_STATES | _PAYLOADS | _PLAIN) or len(line) > _BASES_MAX:
        return None
    for one in line:
        if isinstance(one, ExternalSymbol):
            found |= {"status"} if one.name in _STATES else set()
            continue
        if one.node.decorator_list or one.node.keywords or not _are_known(classes, one) or _takes_more(one.node):
            return None
        for name, written in _written(one.node):
            if name == "model_config" or _has_alias(written):
                return None
            found.add(name)
    return frozenset(found)


def listed_statuses(classes: ClassTable, of: ClassSymbol) -> frozenset[str] | None:
    """Those of ``status: Literal["new", "done"]``; None when the class does not list them."""
    for one in classes.line(of):
        for name, written in _written(one.node) if isinstance(one, ClassSymbol) else ():
            kind = written.annotation if isinstance(written, ast.AnnAssign) else None
            if name == "status" and isinstance(kind, ast.Subscript):
                words = kind.slice.elts if isinstance(kind.slice, ast.Tuple) else [kind.slice]
                texts = [word.value for word in words if isinstance(word, ast.Constant) and isinstance(word.value, str)]
                return frozenset(texts) if len(texts) == len(words) else None
    return None


def _are_known(classes: ClassTable, of: ClassSymbol) -> bool:
    symbols = (classes.symbol_of(base, of.module) for base in of.node.bases)
    return all(isinstance(one, ClassSymbol | ExternalSymbol) for one in symbols)


def _written(node: ast.ClassDef) -> Iterator[tuple[str, ast.stmt]]:
    """Annotated names of the body, and ``model_config``."""
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            yield statement.target.id, statement
        elif isinstance(statement, ast.Assign):
            for target in statement.targets:
                if isinstance(target, ast.Name) and target.id == "model_config":
                    yield target.id, statement


def _takes_more(node: ast.ClassDef) -> bool:
    """Whether functions of the class may accept or change names before its fields are judged."""
    functions = [one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
    if any(one.name in ("__init__", "__new__", "evolve") for one in functions):
        return True
    decorators = (ast.walk(decorator) for one in functions for decorator in one.decorator_list)
    return any(
        "model_validator" in (getattr(part, "id", ""), getattr(part, "attr", ""))
        for all_of in decorators
        for part in all_of
    )


def _has_alias(statement: ast.stmt) -> bool:
    return any(isinstance(node, ast.keyword) and "alias" in (node.arg or "") for node in ast.walk(statement))
