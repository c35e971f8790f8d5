"""The page at the root: what is served here and under which routes."""

from html import escape
from pathlib import Path
from string import Template

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from starlette.routing import WebSocketRoute

from shim.families.zephyr import gpu_stats
from shim.pages.headers import PAGE_HEADERS

router = APIRouter(tags=["welcome"])
page = Template((Path(__file__).parent / "welcome.html").read_text(encoding="utf-8"))


@router.get("/", response_class=HTMLResponse)
async def welcome(request: Request) -> HTMLResponse:
    """Show this page."""
    models = [
        (model.entry.name, f"{model.entry.title}, takes {model.entry.predict.input}")
        for model in request.state.models
    ]
    routes = [
        (f"{method.upper()} {path}", operation["description"])
        for path, operations in request.app.openapi()["paths"].items()
        for method, operation in operations.items()
    ]
    routes += [
        (f"WS {route.path}", (route.endpoint.__doc__ or "").strip())
        for route in gpu_stats.router.routes
        if isinstance(route, WebSocketRoute)
    ]
    content = page.substitute(models=_rows(models), routes=_rows(routes))
    return HTMLResponse(content, headers=PAGE_HEADERS)


def _rows(pairs: list[tuple[str, str]]) -> str:
    return "\n".join(
        f"    <tr><td>{escape(left)}</td><td>{escape(right)}</td></tr>" for left, right in pairs
    )
