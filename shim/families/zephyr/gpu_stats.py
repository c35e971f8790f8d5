"""The GPUs of this machine, pushed once a second."""

import asyncio
from typing import TypedDict

import pynvml
from fastapi import APIRouter, WebSocket, WebSocketDisconnect

PERIOD_SECONDS = 1.0
MIB = 1 << 20

router = APIRouter(tags=["zephyr"])


class GpuStats(TypedDict):
    """One GPU; the load in percent, memory in MiB, as GPUtil gives them."""

    id: int
    name: str
    driver_version: str
    load: float
    memoryUsed: float
    memoryFree: float
    memoryTotal: float


def read_gpus() -> list[GpuStats]:
    """Ask NVML; returns an empty list where there is no GPU, or no driver."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        driver_version = pynvml.nvmlSystemGetDriverVersion()
        return [_read_gpu(number, driver_version) for number in range(pynvml.nvmlDeviceGetCount())]
    finally:
        pynvml.nvmlShutdown()


@router.websocket("/zephyr/ws/gpu-stats")
async def gpu_stats(websocket: WebSocket) -> None:
    """Push `{"gpus": [...]}` until the client leaves."""
    await websocket.accept()
    departure = asyncio.create_task(_departure(websocket), name="gpu-stats client departure")
    try:
        while not departure.done():
            await websocket.send_json({"gpus": await asyncio.to_thread(read_gpus)})
            await asyncio.wait({departure}, timeout=PERIOD_SECONDS)
    except WebSocketDisconnect:
        pass
    finally:
        departure.cancel()


async def _departure(websocket: WebSocket) -> None:
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass


def _read_gpu(number: int, driver_version: str) -> GpuStats:
    device = pynvml.nvmlDeviceGetHandleByIndex(number)
    memory = pynvml.nvmlDeviceGetMemoryInfo(device)
    return GpuStats(
        id=number,
        name=pynvml.nvmlDeviceGetName(device),
        driver_version=driver_version,
        load=float(pynvml.nvmlDeviceGetUtilizationRates(device).gpu),
        memoryUsed=memory.used / MIB,
        memoryFree=memory.free / MIB,
        memoryTotal=memory.total / MIB,
    )
