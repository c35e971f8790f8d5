"""The page at the root: the models with a request to copy, the state of the engine, the routes."""

import json
from html import escape
from pathlib import Path
from shlex import quote
from string import Template

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from starlette.routing import WebSocketRoute

from catalog import ModelEntry
from shim.families.truss.documentation import EXAMPLE_QUESTION, predict_example
from shim.families.zephyr import gpu_stats
from shim.generation.models import ServedModel
from shim.pages.headers import PAGE_HEADERS

FOLDER = Path(__file__).parent
router = APIRouter(tags=["welcome"])
page = Template((FOLDER / "welcome.html").read_text(encoding="utf-8"))
card = Template((FOLDER / "welcome_card.html").read_text(encoding="utf-8"))


@router.get("/", response_class=HTMLResponse)
async def welcome(request: Request) -> HTMLResponse:
    """Show this page."""
    settings = request.state.settings
    has_keys = bool(settings.all_api_keys())
    has_chat = any(getattr(route, "path", None) == "/chat" for route in request.app.routes)
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
    content = page.substitute(
        chat='<a class="button" href="chat/">Open the chat</a>' if has_chat else "",
        models="\n".join(
            _card(model, str(request.base_url), has_keys) for model in request.state.models
        ),
        routes=_rows(routes),
    )
    return HTMLResponse(content, headers=PAGE_HEADERS)


def _card(model: ServedModel, url: str, has_keys: bool) -> str:
    entry = model.entry
    api = entry.predict
    defaults = api.defaults
    reply = "a JSON string" if api.reply == "string" else f'{{"{api.reply}": …}}'
    facts = {
        "request": api.input,
        "reply": f"{reply}, streamed {'by default' if api.stream else 'on request'}",
        "defaults": f"{api.length_parameter} {defaults.max_new_tokens}, temperature "
        f"{defaults.temperature:g}, top_p {defaults.top_p:g}, top_k {defaults.top_k}",
        "context": f"{api.max_length:,} tokens",
    }
    return card.substitute(
        name=escape(entry.name),
        title=escape(entry.title),
        checkpoint=escape(entry.checkpoint),
        state="ready" if model.client.is_ready else "down",
        state_text="ready" if model.client.is_ready else "not available",
        facts="".join(
            f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in facts.items()
        ),
        curl=escape(_curl(entry, url, has_keys)),
    )


def _curl(model: ModelEntry, url: str, has_keys: bool) -> str:
    """Return the request of the model's README as a command."""
    if model.zephyr is None:
        path, body = f"model_versions/{model.name}/predict", predict_example(model)
    else:
        path, body = "zephyr/python", {"user_message": EXAMPLE_QUESTION}
    lines = [f"curl -N -X POST {quote(url + path)}", "-H 'Content-Type: application/json'"]
    if has_keys:
        lines.append("-H 'Authorization: Api-Key {YOUR_API_KEY}'")
    return " \\\n  ".join([*lines, f"-d {quote(json.dumps(body))}"])


def _rows(pairs: list[tuple[str, str]]) -> str:
    return "\n".join(
        f"    <tr><td>{escape(left)}</td><td>{escape(right)}</td></tr>" for left, right in pairs
    )
