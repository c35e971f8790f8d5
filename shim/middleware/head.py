"""HEAD where there is GET, as HTTP requires of a server (RFC 9110, section 9.1)."""

from starlette.types import ASGIApp, Receive, Scope, Send


class Head:
    """Lets the routes answer HEAD as GET; uvicorn sends no body of it."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        as_get = {**scope, "method": "GET"}
        try:
            await self._app(as_get, receive, send)
        finally:
            scope["route"] = as_get.get("route")
