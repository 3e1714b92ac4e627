"""A web application that hands its slow work to the queue: `uvicorn --factory app:create_app`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException
from jobs import Report, registry, report

from osqueue import JobNotFoundError, OsqueueClient


def create_app() -> FastAPI:
    client = OsqueueClient(registry=registry)  # connects with the first request, in the server's own loop

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with client:
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/reports", status_code=202)
    async def order(wanted: Report) -> dict[str, str]:
        """Accept a report; ordering it twice is harmless."""
        job = await client.submit_job(report, wanted, idempotency_key=f"report-{wanted.customer}-{wanted.year}")
        return {"id": job.id}

    @app.get("/reports/{job_id}")
    async def show(job_id: str) -> dict[str, object]:
        """How far it is, and what came of it."""
        try:
            job = await client.get_job(job_id)
        except JobNotFoundError as error:
            raise HTTPException(404, "no such report") from error
        progress = job.progress.fraction if job.progress else None
        return {"status": job.status, "progress": progress, "result": job.result_value()}

    return app
