"""Routes whose arguments are found directly, since FastAPI's own way takes longer than many an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel


class CallRoute(APIRoute):
    """A route that asks each of its dependencies itself, and writes the answer where it was computed.

    FastAPI takes apart every dependency again for each request, checks the answer of a call by the model
    that it is one of already, and does so in a further thread. A route is called directly if all it takes
    is found from the request and the name of the gallery; others, such as those with a query, go FastAPI's
    way. The schema is FastAPI's in both cases.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Makes the function that answers a request."""
        if not self._is_direct():
            return super().get_route_handler()
        steps = [
            (each.name, each.call, "gallery" if each.path_params else None)
            for each in self.dependant.dependencies
            if each.call is not None
        ]
        endpoint, status = self.endpoint, self.status_code or 200

        def answered(values: dict[str, Any]) -> Response:
            found = endpoint(**values)
            return found if isinstance(found, Response) else written(found, status=status)

        async def handle(request: Request) -> Response:
            values: dict[str, Any] = {}
            for name, call, path in steps:
                given = {} if path is None else {path: request.path_params[path]}
                value = await call(request, **given)
                if name is not None:
                    values[name] = value
            return await asyncio.get_running_loop().run_in_executor(None, answered, values)

        return handle

    def _is_direct(self) -> bool:
        whole = self.dependant
        return (
            not asyncio.iscoroutinefunction(self.endpoint)
            and not _takes(whole)
            and whole.request_param_name is None
            and all(
                asyncio.iscoroutinefunction(each.call)
                and each.request_param_name == "request"
                and not each.dependencies
                and [field.name for field in each.path_params] in ([], ["gallery"])
                and not _takes(each, path=False)
                for each in whole.dependencies
            )
        )


def written(answer: BaseModel, *, status: int = 200) -> Response:
    """Writes an answer.

    Args:
        answer: The answer.
        status: Its status.
    """
    return Response(answer.model_dump_json(), status_code=status, media_type="application/json")


def _takes(dependant: Any, *, path: bool = True) -> bool:
    """Whether something is needed beside the request and the dependencies."""
    return bool(
        (path and dependant.path_params)
        or dependant.query_params
        or dependant.header_params
        or dependant.cookie_params
        or dependant.body_params
        or dependant.websocket_param_name
        or dependant.http_connection_param_name
        or dependant.response_param_name
        or dependant.background_tasks_param_name
        or dependant.security_scopes_param_name
    )
