"""Writes ``docs/reference/api``: signatures and docstrings, read from the source by griffe. Nothing is imported for it.

``api_contents`` says which name stands where. A public name that stands nowhere stops the writing, and so does one that is said to
be public and has no docstring.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import griffe

from docs.api_contents import PAGES, ApiPage, Entry, Section
from docs.markdown import MADE, anchor, table

DOCS = Path(__file__).parent
SOURCE = DOCS.parent / "src"
LINE = 110
KINDS = griffe.ParameterKind
Named = griffe.Class | griffe.Function


class Unplaced(Exception):
    """Names that are public and stand on no page, or have no docstring."""


class ApiReference:
    """The pages by name, ``api/workflow.md`` and so on; ``api/README.md`` lists what is on them."""

    def __init__(self) -> None:
        # An alias to a library that is not loaded stays unresolved; none of them is shown.
        self._onex = griffe.load("onex", search_paths=[SOURCE], resolve_aliases=True)
        self._front = [name for name in self._exports(self._onex) if not name.startswith("__")]
        self._pages = [self._with_testing(page) for page in PAGES]
        self._links = {
            self._found(entry.home).name: f"{page.file}#{anchor(_heading(self._found(entry.home)))}"
            for page in self._pages
            for section in page.sections
            for entry in section.entries
        }
        self._errors = dict(_error_anchors((DOCS / "reference" / "errors.md").read_text()))
        self._mute: list[str] = []

    def write(self) -> dict[str, str]:
        """``{file: text}``, with paths below ``docs/reference``. Raises Unplaced."""
        missing = sorted(set(self._front) - {self._found(home).name for home in self._homes()})
        if missing:
            raise Unplaced(f"on no page of docs/api_contents.py: {', '.join(missing)}")
        made = {f"api/{page.file}": self._page(page) for page in self._pages}
        if self._mute:
            raise Unplaced(f"public, and without a docstring: {', '.join(self._mute)}")
        return {"api/README.md": self._index(), **made}

    # --- what there is ------------------------------------------------------------------------------------------------

    def _homes(self) -> Iterator[str]:
        for page in self._pages:
            for section in page.sections:
                yield from (entry.home for entry in section.entries)

    def _found(self, home: str) -> Named:
        found: griffe.Object | griffe.Alias = self._onex[home]
        if isinstance(found, griffe.Alias):
            found = found.final_target
        if not isinstance(found, griffe.Class | griffe.Function):
            raise Unplaced(f"{home} is no class and no function")
        return found

    def _exports(self, module: griffe.Object | griffe.Alias) -> list[str]:
        return [str(one) for one in module.exports or ()]

    def _with_testing(self, page: ApiPage) -> ApiPage:
        """The page of ``onex.testing`` lists what is there: all that is exported, else all that is public."""
        if page.file != "testing.md":
            return page
        (first,) = page.sections
        sections = [
            Section(
                module.path, first.read, tuple(Entry(f"{module.path.removeprefix('onex.')}.{name}") for name in names)
            )
            for module, names in self._testing(self._onex["testing"])
        ]
        return page._replace(sections=sections)

    def _testing(
        self, module: griffe.Object | griffe.Alias
    ) -> Iterator[tuple[griffe.Object | griffe.Alias, list[str]]]:
        names = self._exports(module)
        if names:
            yield (
                module,
                [name for name in names if isinstance(self._target(module[name]), griffe.Class | griffe.Function)],
            )
            return
        own = [
            name
            for name, one in module.members.items()
            if isinstance(one, griffe.Class | griffe.Function) and not name.startswith("_")
        ]
        if own:
            yield module, own
        for _, inner in sorted(module.modules.items()):  # not in the order of a folder's listing
            yield from self._testing(inner)

    def _target(self, one: griffe.Object | griffe.Alias) -> griffe.Object:
        return one.final_target if isinstance(one, griffe.Alias) else one

    # --- pages --------------------------------------------------------------------------------------------------------

    def _index(self) -> str:
        made = [
            MADE,
            "# Python reference\n\n",
            "Every name a program or a test imports, with its signature and docstring. What is not here may change without\n",
            "notice.\n",
        ]
        for page in self._pages:
            listed = [self._found(entry.home) for section in page.sections for entry in section.entries]
            rows = [(f"[`{one.name}`]({self._links[one.name]})", _first(self._prose(one, one.name))) for one in listed]
            made.append(f"\n## {page.title}\n\n{page.about}\n\n{table(('name', 'what it is'), rows)}")
        return "".join(made)

    def _page(self, page: ApiPage) -> str:
        made = [MADE, f"# {page.title}\n\n{page.about} All pages: [Python reference](README.md).\n"]
        for section in page.sections:
            if len(page.sections) > 1:
                made.append(f"\n## {section.title}\n")
            for entry in section.entries:
                made.append(self._entry(entry, section))
        text = "".join(made)
        headings = [anchor(line.lstrip("# ")) for line in text.splitlines() if re.match("#+ ", line)]
        if twice := {one for one in headings if headings.count(one) > 1}:
            raise Unplaced(f"{page.file} has two headings for {', '.join(sorted(twice))}")
        return text

    def _entry(self, entry: Entry, section: Section) -> str:
        one = self._found(entry.home)
        room = f"onex.{entry.home}".rpartition(".")[0]
        imported = f"from {'onex' if one.name in self._front else room} import {one.name}"
        file = Path(one.filepath if isinstance(one.filepath, Path) else one.filepath[0]).relative_to(DOCS.parent)
        title, path = section.read
        where = f"`{imported}` · [{file}](../../../{file}) · more: [{title}](../../{path})"
        body = self._function(one) if isinstance(one, griffe.Function) else self._class(one, entry)
        return f"\n### {_heading(one)}\n\n{body}\n{where}\n"

    def _function(self, one: griffe.Function, owner: str = "") -> str:
        name = f"{owner}.{one.name}" if owner else one.name
        called = [
            str(each.value) for each in one.decorators
        ]  # how it is called, where a signature alone does not say it
        before = "".join(
            f"@{each}\n" for each in called if each.endswith(("contextmanager", "classmethod", "staticmethod"))
        )
        shapes = [before + _signature(each, name) for each in (one.overloads or [one])]
        if "property" in one.labels:
            shapes = [f"{name}: {one.annotation}"]
        return f"```python\n{''.join(f'{shape}{chr(10)}' for shape in shapes)}```\n\n{self._prose(one, name)}\n"

    def _class(self, one: griffe.Class, entry: Entry) -> str:
        members = list(_members(one, entry.members))
        fields = [field for field in members if isinstance(field, griffe.Attribute) and "property" not in field.labels]
        is_enum = any("Enum" in str(base) for base in one.bases)
        told = any(field.docstring or _default(field)[1] for field in fields) and not is_enum
        head = _constructed(one) if entry.constructed else _head(one)
        if fields and not told and not is_enum and head.startswith(_head(one)):
            head = _head(one) + "".join(f"\n    {_field_line(field)}" for field in fields)
        made = [f"```python\n{head}\n```\n\n{self._prose(one, one.name)}\n"]
        if is_enum:
            made.append(
                f"\nValues: {', '.join(f'`{_text(field.value)}`' for field in fields if not field.annotation)}.\n"
            )
        elif told:
            made.append("\n" + table(("field", "type", "default", "means"), map(self._field, fields)))
        for method in members:
            name = f"{one.name}.{method.name}"
            if isinstance(method, griffe.Function) and method.name != "__init__":
                made.append(f"\n#### {name}\n\n{self._function(method, one.name)}")
            elif isinstance(method, griffe.Attribute) and "property" in method.labels:
                shape = f"```python\n{name}: {method.annotation}\n```"
                made.append(f"\n#### {name}\n\n{shape}\n\n{self._prose(method, name)}\n")
        return "".join(made)

    def _field(self, field: griffe.Attribute) -> tuple[str, str, str, str]:
        default, means = _default(field)
        told = self._linked(field.docstring.value) if field.docstring else means
        return f"`{field.name}`", f"`{field.annotation}`", f"`{default}`" if default else "", " ".join(told.split())

    # --- docstrings ---------------------------------------------------------------------------------------------------

    def _prose(self, one: griffe.Object, name: str) -> str:
        if one.docstring is None:
            self._mute.append(name)
            return ""
        return self._linked(one.docstring.value, name.partition(".")[0])

    def _linked(self, text: str, own: str = "") -> str:
        """A docstring as Markdown: rules, errors and names that have an entry become links."""
        text = re.sub(
            r"^\.\. code-block:: \w+\n", "", text, flags=re.MULTILINE
        )  # what is indented is code in Markdown too
        parts = re.split(r"(``.+?``)", text, flags=re.DOTALL)
        return "".join(self._code(part, own) if part.startswith("``") else self._plain(part) for part in parts)

    def _code(self, part: str, own: str) -> str:
        code = part.strip("`")
        link = (
            self._links.get(code) if code[:1].isupper() else None
        )  # `intent` is more often a parameter than the function
        return f"[`{code}`]({link})" if link and code != own else f"`{code}`"

    def _plain(self, part: str) -> str:
        part = re.sub(r"promise (\d+)", r"[rule \1](../../concepts/promises.md)", part)

        def link(found: re.Match[str]) -> str:
            return f"[{found[0]}](../errors.md#{self._errors[found[0]]})" if found[0] in self._errors else found[0]

        return re.sub(r"(?<![\w.])[A-Z][a-z]+[A-Z]\w+\b", link, part)


def _heading(one: Named) -> str:
    """``class Given`` and ``given``: two anchors."""
    return f"class {one.name}" if isinstance(one, griffe.Class) else one.name


def _first(prose: str) -> str:
    """The first sentence."""
    flat = " ".join(prose.partition("\n\n")[0].split())
    found = re.match(r".+?[.:](?= [A-Z`\[]|$)", flat)
    return (found[0] if found else flat).rstrip(":")


def _text(value: object) -> str:
    """Source as this house quotes it."""
    text = str(value)
    return text if '"' in text else text.replace("'", '"')


def _signature(one: griffe.Function, name: str, *, returns: bool = True) -> str:
    parts: list[str] = []
    given = [parameter for parameter in one.parameters if parameter.name not in ("self", "cls")]
    before: griffe.ParameterKind | None = None
    for parameter in given:
        if before is KINDS.positional_only and parameter.kind is not KINDS.positional_only:
            parts.append("/")
        if parameter.kind is KINDS.keyword_only and before not in (KINDS.keyword_only, KINDS.var_positional):
            parts.append("*")
        before = parameter.kind
        stars = {KINDS.var_positional: "*", KINDS.var_keyword: "**"}.get(parameter.kind, "")
        has_default = parameter.default is not None and not stars
        parts.append(
            f"{stars}{parameter.name}"
            + (f": {parameter.annotation}" if parameter.annotation is not None else "")
            + (f" = {_text(parameter.default)}" if has_default else "")
        )
    if before is KINDS.positional_only:
        parts.append("/")
    begin = f"{'async ' if 'async' in one.labels else ''}{name}("
    end = f") -> {one.returns}" if returns and one.returns is not None else ")"
    line = f"{begin}{', '.join(parts)}{end}"
    return line if len(line) <= LINE else begin + "\n" + "".join(f"    {part},\n" for part in parts) + end


def _head(one: griffe.Class) -> str:
    bases = [str(base) for base in one.bases if not str(base).startswith("_")]
    return f"class {one.name}({', '.join(bases)})" if bases else f"class {one.name}"


def _constructed(one: griffe.Class) -> str:
    """As it is called; as it is declared, where it has no ``__init__``."""
    init = one.members.get("__init__")
    return f"class {_signature(init, one.name, returns=False)}" if isinstance(init, griffe.Function) else _head(one)


def _field_line(field: griffe.Attribute) -> str:
    default = _default(field)[0]
    return f"{field.name}: {field.annotation}" + (f" = {default}" if default else "")


def _members(one: griffe.Class, only: Sequence[str]) -> Iterator[griffe.Object]:
    """Those that are for users, its own first, then those of bases. Without ``only``: all that are public, of private bases too."""
    for name, member in one.members.items():
        if isinstance(member, griffe.Alias):
            continue
        shown = name in only if only else not name.startswith("_")
        declared = isinstance(member, griffe.Function) or _declares(member, one)
        if shown and declared and name != "model_config":
            yield member
    for base in one.resolved_bases:
        inner: griffe.Object | griffe.Alias = base
        if isinstance(inner, griffe.Alias):
            inner = inner.final_target
        if isinstance(inner, griffe.Class) and (only or inner.name.startswith("_")):
            yield from _members(inner, only)


def _declares(member: griffe.Object, owner: griffe.Class) -> bool:
    """Whether an attribute is said to be one: by an annotation, as a property, or as the member of an enum."""
    if not isinstance(member, griffe.Attribute):
        return False
    is_enum = any("Enum" in str(base) for base in owner.bases)
    return member.annotation is not None or "property" in member.labels or is_enum


def _default(field: griffe.Attribute) -> tuple[str, str]:
    """The default of a field, and what ``Field(...)`` says of it."""
    value = "" if field.value is None or "class-attribute" not in field.labels else _text(field.value)
    if not value.startswith(("Field(", "field(")):
        return value, ""
    call = ast.parse(value, mode="eval").body
    assert isinstance(call, ast.Call)
    said = {one.arg: one.value for one in call.keywords if one.arg}
    default = ast.unparse(said.pop("default")) if "default" in said else ""
    if "default_factory" in said:
        default = f"{ast.unparse(said.pop('default_factory'))}()"
    description = said.pop("description", None)
    means = str(ast.literal_eval(description)) if description is not None else ""
    rules = ", ".join(f"`{name}={ast.unparse(one)}`" for name, one in said.items() if name in ("ge", "le", "pattern"))
    return default, "; ".join(filter(None, (means, rules)))


def _error_anchors(page: str) -> Iterator[tuple[str, str]]:
    """``(class, anchor of its section)`` of the page of errors."""
    section = ""
    for line in page.splitlines():
        if line.startswith("## "):
            section = anchor(line[3:])
        elif found := re.match(r"\| `[a-z_]+` \| `(?:[\w.]+\.)?(\w+)` \|", line):
            yield found[1], section


def api_pages() -> Mapping[str, Callable[[], str]]:
    """``{file: what writes it}``; the source is read once for all of them."""
    made: dict[str, str] = {}

    def writer(file: str) -> Callable[[], str]:
        def write() -> str:
            if not made:
                made.update(ApiReference().write())
            return made[file]

        return write

    return {file: writer(file) for file in ("api/README.md", *(f"api/{page.file}" for page in PAGES))}
