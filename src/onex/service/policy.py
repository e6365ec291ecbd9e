"""The policy table: which role may call which route. A route that is not listed cannot be made.

Rule 1: the table is by method and path template, compared whole. Nothing is decided by how a path ends.
Rule 2: a route asks for its role when it is made, and checks it before it reads anything of the request.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute

from .access import EnumRole, NotAllowed, NotAuthenticated, Principal

ANYONE, VIEWER, OPERATOR, ADMIN = EnumRole

POLICIES: Final[Mapping[tuple[str, str], EnumRole]] = {
    ("GET", "/health"): ANYONE,
    ("GET", "/health/live"): ANYONE,
    ("GET", "/health/ready"): ANYONE,
    ("GET", "/metrics"): VIEWER,
    ("GET", "/openapi.json"): ANYONE,
    ("GET", "/"): ANYONE,
    ("GET", "/page/{path:path}"): ANYONE,
    ("GET", "/api/session"): VIEWER,
    ("GET", "/api/summary"): VIEWER,
    ("GET", "/api/summary/live"): VIEWER,
    ("GET", "/api/system"): VIEWER,
    ("GET", "/api/nodes"): VIEWER,
    ("GET", "/api/waiting"): VIEWER,
    ("GET", "/api/workflows"): VIEWER,
    ("GET", "/api/workflow"): VIEWER,
    ("GET", "/api/instances"): VIEWER,
    ("GET", "/api/instance"): VIEWER,
    ("GET", "/api/instance/log"): VIEWER,
    ("GET", "/api/instance/outline"): VIEWER,
    ("GET", "/api/instance/live"): VIEWER,
    ("GET", "/api/instance/intents"): VIEWER,
    ("GET", "/api/instance/causes"): VIEWER,
    ("GET", "/api/instance/proof"): VIEWER,
    ("GET", "/api/instance/wait"): VIEWER,
    ("GET", "/api/instance/export"): VIEWER,
    ("POST", "/api/instance/fork"): VIEWER,
    ("GET", "/api/rejections"): VIEWER,
    ("GET", "/api/stopped"): VIEWER,
    ("GET", "/api/held"): VIEWER,
    ("POST", "/api/submit"): OPERATOR,
    ("POST", "/api/signal"): OPERATOR,
    ("POST", "/api/cancel"): OPERATOR,
    ("POST", "/api/approve"): OPERATOR,
    ("POST", "/api/release"): OPERATOR,
    ("POST", "/api/redrive"): OPERATOR,
    ("GET", "/api/whatif"): VIEWER,
    ("GET", "/api/whatif/{number}"): VIEWER,
    ("GET", "/api/whatif/{number}/branch"): VIEWER,
    ("POST", "/api/whatif"): ADMIN,
    ("DELETE", "/api/whatif/{number}"): ADMIN,
    ("GET", "/api/demo"): VIEWER,
    ("POST", "/api/demo/kill"): ADMIN,
}


class PolicyMissing(Exception):
    """A route was made that the table does not have. It is a defect of ours, found when the service starts."""


class GuardedRoute(APIRoute):
    """A route that checks its role first."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        self._needs: Mapping[str, EnumRole] = {}
        for method in options.get("methods") or ("GET",):
            if (method, path) not in POLICIES:
                raise PolicyMissing(f"{method} {path} has no policy: add it to POLICIES")
            self._needs = {**self._needs, method: POLICIES[method, path]}
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        needs = self._needs

        async def guarded(request: Request) -> Response:
            allow(request.scope["onex.principal"], needs[request.method])
            return await handle(request)

        return guarded


def allow(principal: Principal, needs: EnumRole) -> None:
    """Raises NotAuthenticated for nobody, NotAllowed for a role that is not enough."""
    if principal.role.includes(needs):
        return
    if principal.role is ANYONE:
        raise NotAuthenticated("this needs a token")
    raise NotAllowed(f"{principal.name} is {principal.role}; this needs {needs}")
