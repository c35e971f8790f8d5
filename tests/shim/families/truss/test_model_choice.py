import asyncio

import pytest
from fastapi import HTTPException
from opentelemetry.trace import NoOpTracer

from shim.generation.models import ServedModels
from shim.observation.metrics import Metrics
from shim.settings import Settings


@pytest.fixture
def models() -> ServedModels:
    settings = Settings(
        triton_addresses=["127.0.0.1:1"],
        models={"mistral-7b": "mistral", "llama-2-70b": "llama", "zephyr-7b-beta": "mistral"},
        default_model="mistral-7b",
    )

    async def connect() -> ServedModels:
        served = ServedModels(settings, Metrics(), NoOpTracer())
        await served.close()
        return served

    return asyncio.run(connect())


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("", "mistral-7b"),
        ("localhost:8000", "mistral-7b"),
        ("models.example.org", "mistral-7b"),
        ("model-llama-2-70b.localhost:8000", "llama-2-70b"),
        ("model-llama-2-70b", "llama-2-70b"),
        ("MODEL-Llama-2-70B.api.example.org", "llama-2-70b"),
    ],
)
def test_a_host_label_chooses_the_model(models: ServedModels, host: str, name: str) -> None:
    assert models.of_host(host).entry.name == name


def test_a_label_of_a_model_that_is_not_served_is_not_found(models: ServedModels) -> None:
    with pytest.raises(HTTPException) as raised:
        models.of_host("model-llama-3-8b-instruct.localhost")
    assert raised.value.status_code == 404
    assert raised.value.detail == (
        "Model 'llama-3-8b-instruct' is not served here; "
        "served: mistral-7b, llama-2-70b, zephyr-7b-beta"
    )
