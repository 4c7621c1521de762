"""The control endpoints of every FastAPI backend of the suite."""

from fastapi import APIRouter

from backends.control import Runs


def router(runs: Runs) -> APIRouter:
    side = APIRouter()

    @side.post("/_open")
    async def open_gate(run: str, n: int = 1) -> dict[str, bool]:
        runs.open(run, n)
        return {"ok": True}

    @side.get("/_seen")
    async def seen() -> list[dict[str, object]]:
        return runs.seen()

    return side
