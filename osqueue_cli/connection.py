"""What every command that talks to a broker has in common: where it is, how patient to be, and JSON."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from osqueue_cli.failing import JSON_KEY

if TYPE_CHECKING:
    from osqueue import OsqueueClient

T = TypeVar("T")
Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT_TIMEOUT_S = 10.0
"""How long a command tries to reach a broker before it gives up."""


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach the queue, as the command's options say it."""

    broker: str | None
    token: str | None
    timeout_s: float
    queue: str = ""
    """"": the default queue."""

    def client(self, **options: Any) -> "OsqueueClient":
        """A client that tries for `timeout_s`, and then says what is wrong."""
        from osqueue import OsqueueClient

        timeout_ms = max(1, round(self.timeout_s * 1_000))
        options.setdefault("timeout_ms", min(5_000, timeout_ms))
        options.setdefault("retry_deadline_ms", timeout_ms)
        return OsqueueClient(self.broker, token=self.token, queue=self.queue, **options)

    def run(self, work: "Callable[[OsqueueClient], Awaitable[T]]") -> T:
        """Do the work with a client, in an event loop of its own."""

        async def session() -> T:
            async with self.client() as client:
                return await work(client)

        return asyncio.run(session())


def json_option(command: Command) -> Command:
    """--json: the parameter `as_json`, also known to whoever shows an error."""

    def remember(ctx: click.Context, _: click.Parameter, value: bool) -> bool:
        ctx.meta[JSON_KEY] = value
        return value

    return click.option(
        "--json", "as_json", is_flag=True, is_eager=True, callback=remember, help="Answer in JSON, errors too."
    )(command)


def connection_options(command: Command) -> Command:
    """--queue and what `process_options` are."""
    told = click.option(
        "-q", "--queue", default="", metavar="NAME", help="Name of a queue; without it, the default one."
    )
    return told(process_options(command))


def process_options(command: Command) -> Command:
    """--broker, --token, --timeout and --json: the parameters `connection` and `as_json`."""

    @click.option(
        "-b",
        "--broker",
        envvar="BROKER_URL",
        show_envvar=True,
        metavar="URL",
        help="grpc://host:port of a broker; http:// or ws://host:port of a gateway.  [default: grpc://localhost:8081]",
    )
    @click.option(
        "--token",
        envvar="OSQUEUE_TOKEN",
        show_envvar=True,
        help="What the broker asks for; the variable keeps it out of process lists.",
    )
    @click.option(
        "--timeout", "timeout_s", type=click.FloatRange(0.001, 86_400), default=DEFAULT_TIMEOUT_S, show_default=True,
        metavar="SECONDS", help="How long to try to reach a broker.",
    )  # fmt: skip
    @json_option
    @functools.wraps(command)
    def with_connection(
        broker: str | None, token: str | None, timeout_s: float, queue: str = "", **arguments: Any
    ) -> Any:
        return command(connection=Connection(broker or None, token, timeout_s, queue), **arguments)

    return with_connection  # type: ignore[return-value]
