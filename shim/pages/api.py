"""The page at /docs: every route of the API description, to try out; nothing from elsewhere.

Swagger UI's files come from the package fastapi-offline; FastAPI's own page loads them from a CDN.
Addresses are relative, so the page also works below a proxy's prefix.
"""

from pathlib import Path

import fastapi_offline
from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

from shim.pages.headers import PAGE_HEADERS

ASSETS = "docs/assets"
FILES = Path(fastapi_offline.__file__).parent / "static"
# Swagger UI would send the description's address to swagger.io for a badge.
PARAMETERS = {"validatorUrl": None}

router = APIRouter()


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """Show the API description."""
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=f"{request.app.title}: API",
        swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{ASSETS}/favicon.png",
        swagger_ui_parameters=PARAMETERS,
    )
    page.headers.update(PAGE_HEADERS)
    return page


def mount_api_page(app: FastAPI) -> None:
    """Serve the page and its files."""
    app.include_router(router)
    app.mount(f"/{ASSETS}", StaticFiles(directory=FILES))
