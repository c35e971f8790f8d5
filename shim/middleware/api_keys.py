"""Who calls: API keys, as Baseten and OpenAI clients send them."""

import hashlib
import hmac

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from shim.errors.family import error_reply
from shim.observation.context import current

SCHEMES = ("api-key", "bearer")
OPEN_METHODS = ("GET", "HEAD", "OPTIONS")
OPEN_PATH = "/chat/"
"""The chat page generates nothing itself: it calls the other routes, with its user's key."""
POLICY_VIOLATION = 1008


class ApiKeys:
    """The keys of a deployment; it keeps only their digests."""

    def __init__(self, keys: dict[str, str]):
        """Take the keys by the names of their holders."""
        self._digests = {name: _digest(key) for name, key in keys.items()}

    def __bool__(self) -> bool:
        return bool(self._digests)

    def holder(self, authorization: str) -> str | None:
        """Return whose key an Authorization header has, in the same time for every key."""
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() not in SCHEMES:
            return None
        given = _digest(key.strip())
        found = None
        for name, digest in self._digests.items():
            if hmac.compare_digest(digest, given):
                found = name
        return found


class Authentication:
    """Lets only the holders of keys generate; pages, health and metrics are open to all."""

    def __init__(self, app: ASGIApp, keys: ApiKeys):
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it with 401."""
        if not self._keys or not _needs_key(scope):
            await self._app(scope, receive, send)
            return
        authorization = Headers(scope=scope).get("authorization", "")
        holder = self._keys.holder(authorization)
        if holder is not None:
            current().key_holder = holder
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
        else:
            text = "Invalid API key." if authorization else "An API key is needed."
            reply = error_reply(
                Request(scope),
                401,
                f"{text} Send the header 'Authorization: Api-Key <key>' or 'Bearer <key>'.",
                {"www-authenticate": "Bearer"},
            )
            current().refusal = "unauthorized"
            await reply(scope, receive, send)


def _needs_key(scope: Scope) -> bool:
    kind = scope["type"]
    if scope.get("path", "").startswith(OPEN_PATH):
        return False
    return kind == "websocket" or (kind == "http" and scope["method"] not in OPEN_METHODS)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
