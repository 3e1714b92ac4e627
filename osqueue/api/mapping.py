"""Messages to the SDK's types and back, by descriptor and annotation.

One reader and one writer is generated for each pair that is used, as `dataclasses` generates `__init__`: hand-written
field by field they would be as fast, and would forget the next field. What a field becomes follows from both sides:

- `X | None` is None when the field is absent, or empty when the field cannot be absent; any other annotation takes the
  type's default for an absent field.
- A message is the type that `pairs` gives, a list of messages a list of them; a map is a dict, an enum a word.
- A property of the SDK's type with a field's name is written and never read: it is computed from other attributes.
"""

import dataclasses
import linecache
from collections.abc import Callable
from functools import cache
from types import NoneType
from typing import Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from osqueue.api.descriptors import RPCS, is_map, is_repeated, message_class, part_of, short_names
from osqueue.api.item_errors import fill_item_error, from_item_error
from osqueue.api.pairs import OUTCOMES, PAIRS, WORDS, Pair, Words

T = TypeVar("T")

Read = Callable[..., Any]
Write = Callable[[Any, Any], None]

_BY_TYPES = {(pair.sdk, pair.message.DESCRIPTOR.full_name): pair for pair in PAIRS}

_ERROR = "osqueue.v1.ItemError"


def reader(sdk: type[T], message: type[Any]) -> Callable[..., T]:
    """Reads the message as the SDK's type; it also takes, by name, what the pair says is `given`."""
    return _reader(_pair(sdk, message.DESCRIPTOR))


def writer(sdk: type[Any], message: type[Any]) -> Write:
    """Writes a value of the SDK's type into an empty message."""
    return _writer(_pair(sdk, message.DESCRIPTOR))


def to_message(value: Any, message: type[T]) -> T:
    """The value as a new message."""
    into = message()
    writer(type(value), message)(value, into)
    return into


def message_of(sdk: type[Any]) -> type[Any] | None:
    """The one message that a type carries; None for a type that carries none, or parts of several."""
    found = [pair.message for pair in PAIRS if pair.sdk is sdk]
    return found[0] if len(found) == 1 else None


class Asked(NamedTuple):
    """How a question travels."""

    rpc: str
    request: Callable[[Any], Any]
    """The question as the RPC's request."""
    read: Callable[[Any], Any]
    """The RPC's response as the answer."""


@cache
def asked_by(question: Any) -> Asked:
    """How a question of this type is asked: its RPC's answer has a type of its own, too."""
    message = message_of(question)
    rpc = next((rpc for rpc in RPCS.values() if rpc.request is message), None)
    answer = next((pair.sdk for pair in PAIRS if rpc is not None and pair.message is rpc.response), None)
    if rpc is None or answer is None:
        raise LookupError(f"{question.__name__} and its answer are not the request and response of an RPC")
    request = rpc.request
    return Asked(rpc.name, lambda value: to_message(value, request), reader(answer, rpc.response))


@cache
def outcome_reader(result: type[Any]) -> Callable[[Any], Any]:
    """Reads one result of a batch: its value (None when there is nothing to tell), or the error as an exception."""
    descriptor: Descriptor = result.DESCRIPTOR
    success = next(field for field in descriptor.oneofs_by_name["outcome"].fields if field.name != "error")
    method = part_of(success).name.removesuffix("Response")
    sdk, name = OUTCOMES[result], success.name
    if sdk is None:
        return lambda message: None if message.HasField(name) else from_item_error(message.error, method)
    read = reader(sdk, message_class(part_of(success)))

    def outcome(message: Any) -> Any:
        return read(getattr(message, name)) if message.HasField(name) else from_item_error(message.error, method)

    return outcome


def _pair(sdk: type[Any], descriptor: Descriptor) -> Pair:
    pair = _BY_TYPES.get((sdk, descriptor.full_name))
    if pair is None:
        raise LookupError(f"{sdk.__name__} carries no {descriptor.full_name}: osqueue.api.pairs has no such pair")
    return pair


# --- attributes ------------------------------------------------------------------------------------------------------


class Attribute(NamedTuple):
    """An attribute of the SDK's type, and the field that it carries."""

    name: str
    kind: Any
    """The annotation, without `| None`."""
    optional: bool
    """None is one of its values."""
    path: str
    """The field, from the message on."""
    field: FieldDescriptor


def attributes(pair: Pair) -> list[Attribute]:
    """What is carried, in the order of the type's attributes; properties come last."""
    hints = get_type_hints(pair.sdk)
    names = [name for name in constructed(pair.sdk) if name not in pair.own and name not in pair.given]
    found = [_attribute(pair, name, hints[name]) for name in names]
    for field in pair.message.DESCRIPTOR.fields:
        known = getattr(pair.sdk, field.name, None)
        if isinstance(known, property) and known.fget is not None:
            found.append(_attribute(pair, field.name, get_type_hints(known.fget)["return"]))
    return found


class _Factory(NamedTuple):
    """A default that is made anew for each value."""

    make: Callable[[], Any]


def constructed(sdk: type[Any]) -> dict[str, Any]:
    """The arguments of the type's constructor, in order, with their defaults."""
    if not dataclasses.is_dataclass(sdk):
        return {name: sdk._field_defaults.get(name) for name in sdk._fields}
    defaults = {}
    for field in dataclasses.fields(sdk):
        factory = field.default_factory
        made = None if field.default is dataclasses.MISSING else field.default
        defaults[field.name] = made if factory is dataclasses.MISSING else _Factory(factory)
    return defaults


def _attribute(pair: Pair, name: str, hint: Any) -> Attribute:
    path = pair.paths.get(name, name)
    descriptor: Descriptor = pair.message.DESCRIPTOR
    *parents, last = path.split(".")
    try:
        for parent in parents:
            descriptor = part_of(descriptor.fields_by_name[parent])
        field = descriptor.fields_by_name[last]
    except KeyError:
        raise LookupError(
            f"{pair.sdk.__name__}.{name}: {pair.message.DESCRIPTOR.full_name} has no field {path}; add it to the "
            "proto, or say in osqueue.api.pairs that the attribute is the SDK's own"
        ) from None
    optional = NoneType in get_args(hint)
    kinds = [kind for kind in get_args(hint) if kind is not NoneType] if optional else [hint]
    return Attribute(name, kinds[0], optional, path, field)


def part_pair(attribute: Attribute) -> Pair | None:
    """The pair that carries the attribute's message, or the messages of its list; None when it holds none of ours."""
    field = attribute.field
    if field.message_type is None or is_map(field) or field.message_type.full_name == _ERROR:
        return None
    return _pair(get_args(attribute.kind)[0] if is_repeated(field) else attribute.kind, field.message_type)


# --- enums -----------------------------------------------------------------------------------------------------------


def word(enum: EnumDescriptor, number: int) -> str:
    """The enum's value as the SDK says it."""
    return _to_words(enum)(number)


def number(enum: EnumDescriptor, word: str) -> int:
    """The enum's value that the SDK calls so."""
    return _to_numbers(enum)(word)


@cache
def _to_words(enum: EnumDescriptor) -> Callable[[int], str]:
    own = WORDS.get(enum.full_name, Words())
    words = {number: name.lower() for number, name in short_names(enum).items()} | {0: own.unspecified}
    unknown = own.unknown
    return lambda number: words[number] if number in words else str(number) if unknown is None else unknown


@cache
def _to_numbers(enum: EnumDescriptor) -> Callable[[str], int]:
    numbers = {_to_words(enum)(number): number for number in enum.values_by_number}
    return lambda word: numbers[word] if word in numbers else int(word)


# --- reading ---------------------------------------------------------------------------------------------------------


class _Scope:
    """The names that a generated function knows beside its arguments."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {}

    def name(self, value: Any) -> str:
        """A new name for the value."""
        name = f"_{len(self.names)}"
        self.names[name] = value
        return name


@cache
def _reader(pair: Pair) -> Read:
    scope = _Scope()
    carried = {attribute.name: attribute for attribute in attributes(pair)}
    arguments = []
    for name, default in constructed(pair.sdk).items():
        if name in pair.given:
            arguments.append(name)
        elif name in carried:
            arguments.append(_read_expression(carried[name], scope, default, pair.given))
        else:
            arguments.append(_default_expression(default, scope))
    source = f"def read(m{''.join(f', {name}' for name in pair.given)}):\n    return {scope.name(pair.sdk)}("
    source += "".join(f"\n        {argument}," for argument in arguments) + "\n    )\n"
    read: Read = _compiled(source, "read", scope, pair)
    return read


def _read_expression(attribute: Attribute, scope: _Scope, default: Any, given: tuple[str, ...]) -> str:
    field, path = attribute.field, f"m.{attribute.path}"
    owner, _, last = path.rpartition(".")
    has = f"{owner}.HasField({last!r})"
    if is_map(field):
        return f"dict({path}) if {path} else {{}}"
    if field.message_type is not None:
        call = _read_message(attribute, scope, given)
        if is_repeated(field):
            return f"[{call.format('i')} for i in {path}]"
        return f"{call.format(path)} if {has} else None" if attribute.optional else call.format(path)
    convert = "{}" if field.enum_type is None else scope.name(_to_words(field.enum_type)) + "({})"
    if is_repeated(field):
        kind = "tuple" if get_origin(attribute.kind) is tuple else "list"
        return f"{kind}({path})" if convert == "{}" else f"{kind}([{convert.format('i')} for i in {path}])"
    value = convert.format(path)
    if field.has_presence and "." not in attribute.path:
        return f"{value} if {has} else {'None' if attribute.optional else _default_expression(default, scope)}"
    return f"{value} or None" if attribute.optional else value


def _read_message(attribute: Attribute, scope: _Scope, given: tuple[str, ...]) -> str:
    """The call that reads one message, with {} for its argument."""
    pair = part_pair(attribute)
    if pair is None:
        return scope.name(from_item_error) + "({})"
    if not set(pair.given) <= set(given):
        raise LookupError(f"{pair.sdk.__name__} is given {pair.given}, which whatever holds it must be given, too")
    return f"{scope.name(_reader(pair))}({', '.join(('{}', *pair.given))})"


def _default_expression(default: Any, scope: _Scope) -> str:
    if isinstance(default, _Factory):
        return scope.name(default.make) + "()"
    return scope.name(default)


# --- writing ---------------------------------------------------------------------------------------------------------


@cache
def _writer(pair: Pair) -> Write:
    scope = _Scope()
    statements = [_write_statement(attribute, scope) for attribute in attributes(pair)]
    source = "def write(v, m):\n" + ("".join(statements) or "    pass\n")
    write: Write = _compiled(source, "write", scope, pair)
    return write


def _write_statement(attribute: Attribute, scope: _Scope) -> str:
    field, path = attribute.field, f"m.{attribute.path}"
    head = f"    x = v.{attribute.name}\n"
    if is_map(field):
        return head + f"    if x: {path}.update(x)\n"
    if field.message_type is not None:
        return head + _write_message(attribute, scope, path)
    convert = "{}" if field.enum_type is None else scope.name(_to_numbers(field.enum_type)) + "({})"
    if is_repeated(field):
        items = "x" if convert == "{}" else f"[{convert.format('i')} for i in x]"
        return head + f"    if x: {path}.extend({items})\n"
    if field.has_presence:
        guard = "    if x is not None: " if attribute.optional else "    "
    else:
        guard = "    if x: "
    return head + f"{guard}{path} = {convert.format('x')}\n"


def _write_message(attribute: Attribute, scope: _Scope, path: str) -> str:
    pair = part_pair(attribute)
    fill = scope.name(fill_item_error if pair is None else _writer(pair)) + "({}, {})"
    if is_repeated(attribute.field):
        return f"    for i in x: {fill.format('i', f'{path}.add()')}\n"
    guard = "if x is not None: " if attribute.optional else ""
    # An empty part is a part all the same, which setting none of its fields would not show.
    return f"    {guard}{path}.SetInParent(); {fill.format('x', path)}\n"


def _compiled(source: str, name: str, scope: _Scope, pair: Pair) -> Any:
    """The function of that name in the source, which a traceback shows."""
    file = f"<osqueue.api.mapping {name} {pair.sdk.__name__} {pair.message.DESCRIPTOR.name}>"
    linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
    names = dict(scope.names)
    exec(compile(source, file, "exec"), names)
    return names[name]
