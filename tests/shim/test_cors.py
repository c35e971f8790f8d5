from starlette.testclient import TestClient

from shim.app import create_app
from shim.settings import Settings

ORIGIN = "https://chat.example.org"


def test_only_pages_of_named_origins_may_call(settings: Settings) -> None:
    named = Settings.model_validate(settings.model_dump() | {"cors_origins": ORIGIN})
    with TestClient(create_app(named)) as shim:
        asked = {
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization",
        }
        allowed = shim.options("/zephyr/raw", headers={"origin": ORIGIN, **asked})
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == ORIGIN
        refused = shim.options("/zephyr/raw", headers={"origin": "https://evil.example", **asked})
        assert refused.status_code == 400
        reply = shim.post("/predict", json={}, headers={"origin": ORIGIN})
        assert "x-request-id" in reply.headers["access-control-expose-headers"]


def test_without_the_setting_no_page_may(shim: TestClient) -> None:
    reply = shim.post("/predict", json={}, headers={"origin": ORIGIN})
    assert "access-control-allow-origin" not in reply.headers
