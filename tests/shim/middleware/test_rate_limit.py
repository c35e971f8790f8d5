from starlette.testclient import TestClient

from shim.app import create_app
from shim.settings import Settings

KEYS = {"ann": "ann-ann-ann-ann-1", "bob": "bob-bob-bob-bob-1"}


def test_each_key_has_its_own_rate(settings: Settings) -> None:
    limits = {"api_keys": KEYS, "rate_limit_per_minute": 2, "rate_limit_burst": 3}
    with TestClient(create_app(Settings.model_validate(settings.model_dump() | limits))) as shim:

        def statuses(key: str, count: int) -> list[int]:
            headers = {"authorization": f"Bearer {KEYS[key]}"}
            return [
                shim.post("/predict", json={}, headers=headers).status_code for _ in range(count)
            ]

        assert statuses("ann", 5) == [422, 422, 422, 429, 429]
        assert statuses("bob", 4) == [422, 422, 422, 429]
        refused = shim.post("/predict", json={}, headers={"authorization": f"Bearer {KEYS['ann']}"})
        assert 28 <= int(refused.headers["retry-after"]) <= 30
        assert refused.json()["error"].startswith("The rate limit of this API key is reached")
        assert 'aeolus_refusals_total{reason="rate_limit"} 4.0' in shim.get("/metrics").text
