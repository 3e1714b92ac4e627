"""`osqueue limits`: how many jobs of a key run at a time, and how fast they start."""

from typing import TYPE_CHECKING, Any

import click

from osqueue_cli import output
from osqueue_cli.connection import Connection, connection_options
from osqueue_cli.params import DURATION, FUTURE, LABEL, duration_ms, labels
from osqueue_cli.shapes import to_json

if TYPE_CHECKING:
    from osqueue import LimitInfo, LimitKeyInfo, OsqueueClient, Rate

HEAD = ["LIMIT", "MAX", "RATE", "KEYED", "RUNNING", "WAITING", "KEYS", "FULL"]
KEY_HEAD = ["KEY", "RUNNING", "MAX", "WAITING", "TOKENS", "NEXT START", ""]


class RateValue(click.ParamType["Rate"]):
    """LIMIT/PERIOD, or LIMIT/PERIOD+BURST."""

    name = "rate"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> "Rate":
        from osqueue import Rate

        if isinstance(value, Rate):
            return value
        limit, slash, rest = str(value).partition("/")
        period, plus, burst = rest.partition("+")
        period_ms = duration_ms(period if period[:1].isdigit() else f"1{period}")
        if not slash or period_ms is None or not limit.isdigit() or (plus and not burst.isdigit()):
            self.fail(f"{value!r} is not a rate; write 100/m, 5/10s, or with a burst 100/m+20", param, ctx)
        return Rate(int(limit), period_ms, int(burst or 0))


RATE = RateValue()
MAX = click.IntRange(min=0)


@click.group(no_args_is_help=True)
def limits() -> None:
    """Limits: how many of a key run, and how fast they start.

    \b
    Examples:
      osqueue limits put openai --max 3 --per-key
      osqueue limits list
      osqueue limits keys openai --full
    """


@limits.command(no_args_is_help=True)
@click.argument("name")
@click.option("--max", "max_running", type=MAX, help="Cost of the jobs of a key that may run; 0 holds them.")
@click.option("--rate", type=RATE, help="Cost that may start in a period: 100/m, 5/10s, 100/m+20 with a burst of 20.")
@click.option("--per-key", is_flag=True, help="Each key has all of it for itself. It cannot be changed.")
@click.option("--cancel-newest", is_flag=True, help="Cancel a new job without room, instead of letting it wait.")
@click.option("--max-waiting", "max_waiting_per_key", type=MAX, default=0, help="Refuse more waiting jobs of a key.")
@click.option(
    "--type",
    "types",
    type=LABEL,
    multiple=True,
    metavar="TYPE=FIELD",
    help="Jobs of this type are under it, the metadata field is their key; TYPE= without keys. Repeatable.",
)
@click.option("--max-debt", "max_debt_ms", type=DURATION, default=0, help="How far ahead use is corrected.  [10m]")
@connection_options
def put(
    connection: Connection, as_json: bool, name: str, cancel_newest: bool, types: tuple[tuple[str, str], ...],
    **settings: Any,
) -> None:  # fmt: skip
    """Make a limit, or change all of it.

    \b
    Examples:
      osqueue limits put openai --max 3 --per-key
      osqueue limits put tokens --rate 90000/m --per-key --type summarise=customer
    """
    at_limit: Any = "cancel_newest" if cancel_newest else ""
    created = connection.run(lambda client: client.limits.put(name, at_limit=at_limit, types=labels(types), **settings))
    if as_json:
        output.print_json({"created": created})
    else:
        output.say(f"{name} is {'made' if created else 'changed'}")


@limits.command(name="list")
@connection_options
def list_limits(connection: Connection, as_json: bool) -> None:
    """List all limits with their use."""
    found = connection.run(lambda client: client.limits.all())
    if as_json:
        for each in found:
            output.print_json_line(to_json(each))
    elif found:
        output.print_table(HEAD, [_row(each) for each in found])
    else:
        output.note("there are no limits")


@limits.command(no_args_is_help=True)
@click.argument("name")
@connection_options
def show(connection: Connection, as_json: bool, name: str) -> None:
    """Show one limit with its use."""
    found = connection.run(lambda client: client.limits.get(name))
    if as_json:
        output.print_json(to_json(found))
    else:
        output.print_table(HEAD, [_row(found)])


@limits.command(no_args_is_help=True)
@click.argument("name")
@click.option("--detach", is_flag=True, help="Live jobs that name it run without it.")
@connection_options
def delete(connection: Connection, as_json: bool, name: str, detach: bool) -> None:
    """Delete a limit. Refused while live jobs name it, unless --detach is given."""
    deleted = connection.run(lambda client: client.limits.delete(name, detach=detach))
    if as_json:
        output.print_json({"deleted": deleted})
    else:
        output.say(f"{name} is deleted" if deleted else f"there was no limit {name}")


@limits.command(no_args_is_help=True)
@click.argument("name")
@click.argument("key")
@click.option("--max", "max_running", type=MAX, help="Cost of the key's jobs that may run.")
@click.option("--rate", type=RATE, help="Cost that may start in a period, e.g. 100/m.")
@click.option("--until", "expires_at", type=FUTURE, default=0, help="It ends by itself: 2h, 2030-01-31T09:00.")
@click.option("--clear", is_flag=True, help="The limit's own numbers again.")
@connection_options
def override(connection: Connection, as_json: bool, name: str, key: str, clear: bool, **numbers: Any) -> None:
    """Give one key other numbers.

    \b
    Examples:
      osqueue limits override openai acme --max 10 --until 2h
      osqueue limits override openai acme --clear
    """
    if clear == any(value is not None for value in (numbers["max_running"], numbers["rate"])):
        raise click.UsageError("give --max or --rate, or --clear")
    if clear:
        connection.run(lambda client: client.limits.clear_override(name, key))
    else:
        connection.run(lambda client: client.limits.override(name, key, **numbers))
    if as_json:
        output.print_json({"name": name, "key": key})
    else:
        output.say(f"{name} {'has its own numbers again' if clear else 'has other numbers'} for {key!r}")


@limits.command(no_args_is_help=True)
@click.argument("name")
@click.option("--full", "at_limit", is_flag=True, help="Only keys without room.")
@connection_options
def keys(connection: Connection, as_json: bool, name: str, at_limit: bool) -> None:
    """List the keys of a limit that are in use."""
    found = connection.run(lambda client: _keys(client, name, at_limit))
    if as_json:
        for each in found:
            output.print_json_line(to_json(each))
    elif found:
        output.print_table(KEY_HEAD, [_key_row(each) for each in found])
    else:
        output.note(f"no key of {name} is in use")


@limits.command(no_args_is_help=True)
@click.argument("name")
@click.argument("key", default="")
@connection_options
def reset(connection: Connection, as_json: bool, name: str, key: str) -> None:
    """Forget what was started of a key, and that it was to be held. What runs still counts."""
    connection.run(lambda client: client.limits.reset(name, key))
    if as_json:
        output.print_json({"name": name, "key": key})
    else:
        output.say(f"{name} begins anew for {key!r}")


async def _keys(client: "OsqueueClient", name: str, at_limit: bool) -> "list[LimitKeyInfo]":
    return [key async for key in client.limits.keys(name, at_limit=at_limit)]


def _row(info: "LimitInfo") -> list[str]:
    limit = info.limit
    return [
        limit.name, _number(limit.max_running), _pace(limit.rate), "yes" if limit.per_key else "no",
        f"{info.running:,}", f"{info.waiting:,}", f"{info.keys:,}", f"{info.keys_at_limit:,}",
    ]  # fmt: skip


def _key_row(info: "LimitKeyInfo") -> list[str]:
    return [
        info.key or "''", f"{info.running:,}", _number(info.max_running), f"{info.waiting:,}", _number(info.tokens, ""),
        output.timestamp(info.next_start_at) if info.next_start_at else "", "own numbers" if info.override else "",
    ]  # fmt: skip


def _number(value: int | None, none: str = "any") -> str:
    return none if value is None else f"{value:,}"


def _pace(rate: "Rate | None") -> str:
    if rate is None:
        return "any"
    period = next(
        (f"{rate.period_ms // ms}{unit}" for unit, ms in (("h", 3_600_000), ("m", 60_000), ("s", 1_000))
         if rate.period_ms % ms == 0), f"{rate.period_ms}ms",
    )  # fmt: skip
    burst = f"+{rate.burst:,}" if rate.burst not in (0, rate.limit) else ""
    return f"{rate.limit:,}/{period}{burst}"
