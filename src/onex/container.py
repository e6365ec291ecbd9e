"""ONEXContainer: a type, a Protocol, or the name of either -> the one service that stands for it.

What a service needs is read from annotations, so a missing or circular need is reported by name before anything starts. The
container imports no adapter: a program registers those it uses.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import NamedTuple, Protocol, Self, TypeVar, get_type_hints, overload

from .kernel.errors import DependencyResolutionError
from .kernel.user_code import a_type

T = TypeVar("T")
Key = str | Callable[..., object]
"""A class (a Protocol is one), or a name."""


class ServiceHealth(NamedTuple):
    """``reason`` says why it is not healthy, as a sentence; '' when it is."""

    is_healthy: bool
    reason: str = ""


class _Recipe(NamedTuple):
    make: Callable[..., object]
    needs: Mapping[str, str]


class ONEXContainer:
    """Services are singletons. Those that the container makes it also starts, and stops in reverse order. Those that it is given
    it neither starts nor stops. A class and its name are the same key.
    """

    def __init__(self) -> None:
        self._classes: dict[str, type] = {}
        self._recipes: dict[str, _Recipe] = {}
        self._made: dict[str, object] = {}
        self._given: dict[str, object] = {}
        self._started: list[str] = []

    # --- filling ------------------------------------------------------------------------------------------------------

    def register(self, key: Key, make: Callable[..., object], needs: Mapping[str, Key] | None = None) -> None:
        """``make(**needs)`` gives the service, when it is first asked for; an async one needs ``start``, and starts it itself.

        ``needs[parameter] -> key``; by default each parameter without a default, by its annotation. Raises
        DependencyResolutionError for a key that is taken, or annotations that cannot be read.
        """
        name = self._free(key)
        wanted = _annotated_needs(name, make) if needs is None else needs
        self._recipes[name] = _Recipe(make, {parameter: _name(need) for parameter, need in wanted.items()})

    def register_value(self, key: Key, service: object) -> None:
        """A service that exists already; whoever made it stops it. Raises DependencyResolutionError for a key that is taken,
        or a service that lacks a member of its key."""
        name = self._free(key)
        self._given[name] = self._checked(name, service)

    @contextmanager
    def override(self, key: Key, service: object) -> Iterator[None]:
        """For a test: another service under a key. Services that need it are made anew, and are as before afterwards."""
        name = self._known(key)
        given, made = dict(self._given), dict(self._made)
        stale = {other for other in self._recipes if name in self._all_needs(other)} | {name}
        self._given[name] = service
        self._made = {other: one for other, one in made.items() if other not in stale}
        try:
            yield
        finally:
            self._given, self._made = given, made

    # --- asking -------------------------------------------------------------------------------------------------------

    @overload
    def get_service(self, key: str) -> object: ...
    @overload
    def get_service(self, key: Callable[..., T]) -> T: ...
    def get_service(self, key: Key) -> object:
        """Raises DependencyResolutionError: no such service, a circle of needs, or one that only ``start`` can make."""
        wanted = self._known(key)
        for name in self._order([wanted]):
            if not self._is_there(name):
                recipe = self._recipes[name]
                if inspect.iscoroutinefunction(recipe.make):
                    raise DependencyResolutionError(f"{name} is made by an async function: await start() first")
                self._made[name] = self._checked(name, recipe.make(**self._arguments(recipe)))
        return self._service(wanted)

    @property
    def names(self) -> tuple[str, ...]:
        """Of all services: those with a recipe in the order in which they were registered, then those that were given."""
        return tuple(dict.fromkeys((*self._recipes, *self._given)))

    async def check_service_health(self, name: str) -> ServiceHealth:
        """By the service's own ``async ping()``, which raises when it is not healthy. Without one, a service that exists is."""
        try:
            ping = getattr(self._service(name), "ping", None) if self._is_there(name) else None
            if not self._is_there(name):
                return ServiceHealth(False, f"{name} is not started" if name in self._recipes else f"no {name}")
            if ping is not None:
                await ping()
        except Exception as error:
            return ServiceHealth(False, f"{name}: {str(error) or type(error).__name__}")
        return ServiceHealth(True)

    async def health(self) -> dict[str, ServiceHealth]:
        """Of every service, in the order they were registered."""
        return {name: await self.check_service_health(name) for name in self.names}

    # --- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> Self:
        """Make every service, needs first, and await the ``start()`` of those that have one and were not awaited.

        If one fails, those before it are stopped in reverse and its error is raised.
        """
        try:
            for name in self._order(list(self._recipes)):
                if name in self._given or name in self._started:
                    continue
                recipe = self._recipes[name]
                awaited = inspect.iscoroutinefunction(recipe.make)
                if name not in self._made:
                    made = recipe.make(**self._arguments(recipe))
                    self._made[name] = self._checked(name, await made if inspect.isawaitable(made) else made)
                self._started.append(name)
                if not awaited:
                    await _call(self._made[name], "start")
        except BaseException as error:
            try:
                await self.stop()
            except Exception as also:
                error.add_note(f"stopping what had started failed too: {also}")
            raise
        return self

    async def stop(self) -> None:
        """Await ``stop()``, else ``close()``, of what the container made, last started first. Idempotent.

        One that fails does not keep the others from it: all errors are raised together, as an ExceptionGroup.
        """
        errors: list[Exception] = []
        while self._started:
            service = self._made.pop(self._started.pop(), None)
            try:
                await _call(service, "stop", "close")
            except Exception as error:
                errors.append(error)
        self._made.clear()
        if errors:
            raise ExceptionGroup("services that did not stop", errors)

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # --- inside -------------------------------------------------------------------------------------------------------

    def _free(self, key: Key) -> str:
        name = _name(key)
        if name in self.names:
            raise DependencyResolutionError(f"{name} is registered already; a test replaces it with override()")
        if isinstance(key, type):
            self._classes[name] = key
        return name

    def _known(self, key: Key) -> str:
        name = _name(key)
        if name not in self.names:
            raise self._missing(name, ())
        if isinstance(key, type) and self._classes.get(name, key) is not key:
            raise DependencyResolutionError(
                f"{key.__module__}.{name} is not registered; {self._classes[name].__module__}.{name} is"
            )
        return name

    def _checked(self, name: str, service: object) -> object:
        promised = self._classes.get(name, object)
        if getattr(promised, "_is_protocol", False):
            lacks = [member for member in _members(promised) if not hasattr(service, member)]
        else:
            lacks = [] if isinstance(service, promised) else [f"its class, {name},"]
        if lacks:
            raise DependencyResolutionError(f"{name} is given {a_type(service)} that lacks {', '.join(lacks)}")
        return service

    def _is_there(self, name: str) -> bool:
        return name in self._given or name in self._made

    def _service(self, name: str) -> object:
        return self._given[name] if name in self._given else self._made[name]

    def _arguments(self, recipe: _Recipe) -> dict[str, object]:
        return {parameter: self._service(need) for parameter, need in recipe.needs.items()}

    def _order(self, wanted: list[str]) -> list[str]:
        """``wanted`` and all that they need, needs first. Raises DependencyResolutionError."""
        order: dict[str, None] = {}

        def visit(name: str, path: tuple[str, ...]) -> None:
            if name in order:
                return
            if name in path:
                circle = (*path[path.index(name) :], name)
                raise DependencyResolutionError(f"services wait for each other: {' -> '.join(circle)}")
            if name not in self._given:
                recipe = self._recipes.get(name)
                if recipe is None:
                    raise self._missing(name, path)
                for need in recipe.needs.values():
                    visit(need, (*path, name))
            order[name] = None

        for name in wanted:
            visit(name, ())
        return list(order)

    def _all_needs(self, name: str) -> set[str]:
        found: set[str] = set()
        waiting = [name]
        while waiting:
            recipe = self._recipes.get(waiting.pop())
            fresh = set(recipe.needs.values()) - found if recipe is not None else set()
            found |= fresh
            waiting.extend(fresh)
        return found

    def _missing(self, name: str, path: tuple[str, ...]) -> DependencyResolutionError:
        near = difflib.get_close_matches(name, self.names, n=3)
        by = f", needed by {' <- '.join(reversed(path))}," if path else ""
        hint = f"did you mean {' or '.join(near)}?" if near else f"there is {', '.join(self.names) or 'none at all'}"
        return DependencyResolutionError(f"no service {name}{by} is registered; {hint}")


def _name(key: Key) -> str:
    return key if isinstance(key, str) else getattr(key, "__name__", repr(key))


def _members(protocol: type) -> list[str]:
    """What a Protocol asks for: methods, properties and annotated attributes, of its bases too."""
    bases = [base for base in protocol.__mro__ if getattr(base, "_is_protocol", False) and base is not Protocol]
    names = [name for base in bases for name in (*vars(base), *inspect.get_annotations(base))]
    return sorted({name for name in names if not name.startswith("_")})


def _annotated_needs(name: str, make: Callable[..., object]) -> dict[str, Key]:
    try:
        parameters = inspect.signature(make).parameters.values()
        hints = get_type_hints(make.__init__ if inspect.isclass(make) else make)
    except Exception as error:
        raise DependencyResolutionError(
            f"what {name} needs cannot be read from {make!r}: {error}; say needs={{...}}"
        ) from error
    open_kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needs: dict[str, Key] = {}
    for parameter in parameters:
        if parameter.default is not inspect.Parameter.empty or parameter.kind in open_kinds:
            continue
        if not inspect.isclass(hints.get(parameter.name)):
            raise DependencyResolutionError(
                f"{name} needs {parameter.name!r}, which is annotated with no class; say needs={{...}}"
            )
        needs[parameter.name] = hints[parameter.name]
    return needs


async def _call(service: object, *names: str) -> None:
    """The first of these methods that the service has."""
    for name in names:
        method = getattr(service, name, None)
        if callable(method):
            answer: Awaitable[object] | object = method()
            if inspect.isawaitable(answer):
                await answer
            return
