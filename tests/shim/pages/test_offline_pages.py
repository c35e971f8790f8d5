"""Whoever has no internet sees every page whole."""

import re
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import pytest
from starlette.testclient import TestClient

BASE = "http://testserver"
LOADING = {"src", "href", "action", "data", "poster", "srcset"}
IN_STYLE = re.compile(r"url\(\s*['\"]?([^'\")]*)|@import\s+['\"]([^'\"]*)")


class Addresses(HTMLParser):
    """Collects the addresses in a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self.found += [value or "" for name, value in attributes if name in LOADING]


def addresses(text: str, kind: str) -> list[str]:
    in_style = [first or second for first, second in IN_STYLE.findall(text)]
    if kind != "text/html":
        return in_style
    page = Addresses()
    page.feed(text)
    return page.found + in_style


def reached_from_the_welcome_page(shim: TestClient) -> dict[str, str]:
    """Follow every address in pages and style sheets; returns their kinds by path."""
    kinds: dict[str, str] = {}
    waiting = ["/"]
    while waiting:
        path = waiting.pop()
        if path in kinds:
            continue
        reply = shim.get(path)
        assert reply.status_code == 200, path
        kinds[path] = reply.headers["content-type"].partition(";")[0]
        if kinds[path] not in ("text/html", "text/css"):
            continue
        for address in addresses(reply.text, kinds[path]):
            if address.startswith("data:"):
                continue
            target = urlsplit(urljoin(BASE + path, address))
            assert f"{target.scheme}://{target.netloc}" == BASE, f"{path} has {address}"
            waiting.append(target.path)
    return kinds


def test_no_page_has_an_address_outside_the_service(shim: TestClient) -> None:
    kinds = reached_from_the_welcome_page(shim)
    for path, kind in {
        "/": "text/html",
        "/docs": "text/html",
        "/docs/assets/swagger-ui-bundle.js": "text/javascript",
        "/docs/assets/swagger-ui.css": "text/css",
        "/docs/assets/favicon.png": "image/png",
    }.items():
        assert kinds[path] == kind


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_browser_is_told_to_load_nothing_from_elsewhere(shim: TestClient, path: str) -> None:
    policy = shim.get(path).headers["content-security-policy"]
    assert policy.startswith("default-src 'self'; ")
    assert "http" not in policy
    assert "*" not in policy


def test_the_api_page_reads_our_description_and_asks_nobody_about_it(shim: TestClient) -> None:
    page = shim.get("/docs").text
    assert "url: 'openapi.json'" in page
    assert '"validatorUrl": null' in page
    assert "http" not in page


@pytest.mark.parametrize("path", ["/redoc", "/docs/oauth2-redirect", "/docs/assets/../x"])
def test_there_are_no_other_pages(shim: TestClient, path: str) -> None:
    assert shim.get(path).status_code == 404
