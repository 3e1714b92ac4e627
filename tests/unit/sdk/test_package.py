"""What importing the SDK costs, and what its types say."""

import ast
import builtins
import inspect
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import osqueue

ROOT = Path(__file__).resolve().parents[3]

HEAVY = ["aiohttp", "grpc", "google.protobuf", "pydantic", "osqueue_service", "osqueue_gateway", "boto3"]


def test_importing_is_light():
    code = f"import sys, osqueue; print([name for name in {HEAVY!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_everything_public_is_there():
    assert [name for name in osqueue.__all__ if not hasattr(osqueue, name)] == []
    assert osqueue.__all__ == sorted(osqueue.__all__)


USES = """
    import asyncio
    from pydantic import BaseModel
    from osqueue import JobContext, JobHandle, JobSpec, OsqueueClient, Registry, SyncClient, Worker, new_job

    class Email(BaseModel):
        to: str

    class Receipt(BaseModel):
        id: str

    registry = Registry()
    email = registry.job("email", Email, Receipt)
    resize = registry.job("resize", Email)
    client = OsqueueClient(registry=registry)
    worker = Worker(client)

    async def produce() -> None:
        reveal_type(await client.submit_job(email, Email(to="ada")))
        reveal_type(await client.submit_job(resize, Email(to="ada"), priority=3))
        reveal_type(await client.submit_job("anything", object()))
        reveal_type(await (await client.submit_job(email, Email(to="ada"))).result())
        reveal_type(await client.submit_and_wait(email, Email(to="ada")))
        reveal_type(SyncClient().submit_job(email, Email(to="ada")).result())
        reveal_type(await client.submit_jobs([new_job(email, Email(to="ada")), new_job(email, Email(to="eve"))]))
        reveal_type(await client.submit_jobs([new_job(email, Email(to="ada"))], atomic=False))
        reveal_type(await client.submit_jobs([new_job("anything", object())]))
        reveal_type(SyncClient().submit_jobs([new_job(email, Email(to="ada"))]))
        job = await client.get_job("1")
        reveal_type(job.value(email))
        reveal_type(job.result_value(email))
        reveal_type(job.value())
        spec: JobSpec = new_job(email, Email(to="ada"))
        reveal_type(spec)
        reveal_type(send)
        reveal_type(send_in_thread)
        reveal_type(stores)
        reveal_type(await database())
        asyncio.create_task(send(Email(to="ada")))
        await client.submit_job(email, "ada")  # WRONG
        await client.submit_job(email, Email(to="ada"), priority="high")  # WRONG
        await client.submit_job(email, Email(to="ada"), colour="red")  # WRONG

    @worker.handler(email)
    async def send(payload: Email) -> Receipt:
        return Receipt(id=payload.to)

    @worker.handler("email2")
    def anything(payload: object, context: JobContext) -> None: ...

    @worker.handler(email)
    def send_in_thread(payload: Email, context: JobContext) -> Receipt:
        return Receipt(id=context.job_id)

    @worker.handler(email)  # WRONG
    async def takes_another_payload(payload: int) -> Receipt: ...

    @worker.handler(email)  # WRONG
    async def returns_another_result(payload: Email) -> int: ...

    class Database: ...

    @worker.provide
    async def database() -> Database:
        return Database()

    @worker.handler(email)
    async def stores(payload: Email, context: JobContext, *, database: Database) -> Receipt:
        return Receipt(id=payload.to)

    @worker.task(email)
    async def as_task(payload: Email, context: JobContext) -> Receipt:
        return Receipt(id=context.job_id)

    @worker.task
    def bare(payload: Email) -> Receipt:
        return Receipt(id=payload.to)

    async def use_tasks(context: JobContext) -> None:
        reveal_type(await as_task.submit(Email(to="ada"), priority=1))
        reveal_type(as_task.delay(Email(to="ada")))
        reveal_type(await as_task(Email(to="ada"), context))
        reveal_type(await bare.submit(Email(to="ada")))
        reveal_type(bare(Email(to="ada")))
        await as_task.submit("ada")  # WRONG
        bare.delay(Email(to="ada"), colour="red")  # WRONG
"""

REVEALED = [
    "osqueue.handle.JobHandle[uses.Receipt]",
    "osqueue.handle.JobHandle[Any]",
    "osqueue.handle.JobHandle[Any]",
    "uses.Receipt",
    "uses.Receipt",
    "uses.Receipt",
    "list[osqueue.handle.JobHandle[uses.Receipt]]",
    "list[osqueue.handle.JobHandle[uses.Receipt] | osqueue.errors.OsqueueError]",
    "list[osqueue.handle.JobHandle[Any]]",
    "list[osqueue.sync.handle.SyncJobHandle[uses.Receipt]]",
    "uses.Email",
    "uses.Receipt",
    "Any",
    "osqueue.job.JobSpec[Any]",
    "def (uses.Email) -> typing.Coroutine[Any, Any, uses.Receipt]",
    "def (uses.Email, context: osqueue.context.JobContext) -> uses.Receipt",
    "def (uses.Email, context: osqueue.context.JobContext, *, database: uses.Database)"
    " -> typing.Coroutine[Any, Any, uses.Receipt]",
    "uses.Database",
    "osqueue.handle.JobHandle[uses.Receipt]",
    "osqueue.sync.handle.SyncJobHandle[uses.Receipt]",
    "uses.Receipt",
    "osqueue.handle.JobHandle[uses.Receipt]",
    "uses.Receipt",
]


@pytest.fixture(scope="module")
def verdict(tmp_path_factory):
    """What mypy says of the program above."""
    directory = tmp_path_factory.mktemp("typing")
    program = directory / "uses.py"
    program.write_text(textwrap.dedent(USES))
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--disable-error-code=empty-body"]
    command += [f"--cache-dir={ROOT}/.mypy_cache", str(program)]
    result = subprocess.run(command, cwd=directory, env={"MYPYPATH": str(ROOT)}, capture_output=True, text=True)
    return result.stdout.splitlines()


def test_the_types_of_payload_and_result_are_inferred(verdict):
    revealed = [line.split('"')[1] for line in verdict if "Revealed type" in line]
    assert revealed == REVEALED, verdict


def test_wrong_payloads_options_and_handlers_are_found(verdict):
    wrong = {number for number, line in enumerate(textwrap.dedent(USES).splitlines(), 1) if "# WRONG" in line}
    found = {int(line.split(":")[1]) for line in verdict if " error: " in line}
    assert found == wrong, verdict


def test_the_documentation_speaks_of_what_there_is():
    """Its programs are Python, every name of ours in it exists, every default is the one in force."""
    text = (ROOT / "docs" / "sdk.md").read_text()
    for program in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        for node in ast.walk(ast.parse(program)):
            if isinstance(node, ast.ImportFrom) and node.module == "osqueue":
                assert [alias.name for alias in node.names if not hasattr(osqueue, alias.name)] == []
    errors = re.findall(r"`(\w+Error)`", text)
    assert [name for name in errors if not hasattr(osqueue, name) and not hasattr(builtins, name)] == []
    options = re.findall(r"^\| `(\w+)` \| ([\d,]+) \|", text, re.MULTILINE)
    defaults = inspect.signature(osqueue.OsqueueClient).parameters
    assert {name: int(value.replace(",", "")) for name, value in options} == {
        name: defaults[name].default for name, _ in options
    }
    assert len(options) == 4
