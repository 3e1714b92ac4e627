"""The FastAPI lifespan and dependency."""

from typing import Annotated

import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient

from osqueue import ConfigError, OsqueueClient
from osqueue.contrib.fastapi import Queue
from osqueue_service.testing.in_process import BrokerThread


def shop(queue: Queue, lifespan: bool = True) -> FastAPI:
    app = FastAPI(lifespan=queue.lifespan if lifespan else None)

    @app.post("/orders", status_code=202)
    async def order(customer: int, client: Annotated[OsqueueClient, Depends(queue)]) -> dict[str, str]:
        return {"id": (await client.submit_job("order", {"customer": customer})).id}

    @app.get("/orders/{job_id}")
    async def show(job_id: str, client: Annotated[OsqueueClient, Depends(queue)]) -> dict[str, str]:
        return {"status": (await client.get_job(job_id)).status}

    return app


def test_a_route_submits_a_job(broker: BrokerThread) -> None:
    with TestClient(shop(Queue(f"grpc://{broker.address}"))) as caller:
        answer = caller.post("/orders?customer=7")
        assert answer.status_code == 202
        assert caller.get(f"/orders/{answer.json()['id']}").json() == {"status": "unclaimed"}


def test_an_application_without_the_lifespan_is_told_so(broker: BrokerThread) -> None:
    with (
        TestClient(shop(Queue(f"grpc://{broker.address}"), lifespan=False)) as caller,
        pytest.raises(ConfigError, match=r"lifespan=queue\.lifespan"),
    ):
        caller.post("/orders?customer=7")
