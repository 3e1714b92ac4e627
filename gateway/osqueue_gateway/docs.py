"""/docs: the OpenAPI document as one HTML page that needs nothing else: no script, no font, no other host."""

from base64 import b64encode
from hashlib import sha256
from html import escape
from typing import Any

STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881;--post:#2a7a3c;--get:#2459a8}
body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem}
h1{margin-bottom:0}h2{margin-top:2.5rem;border-bottom:1px solid var(--line)}
code,.path{font-family:ui-monospace,monospace;font-size:.92em}
details{border:1px solid var(--line);border-radius:6px;margin:.5rem 0;padding:.4rem .8rem}
summary{cursor:pointer}summary small{opacity:.75}
.get,.post{display:inline-block;min-width:3.2rem;font-weight:700}.get{color:var(--get)}.post{color:var(--post)}
table{border-collapse:collapse;width:100%;margin:.5rem 0}
td,th{border-top:1px solid var(--line);padding:.25rem .5rem;text-align:left;vertical-align:top}
td:first-child{white-space:nowrap}th{background:var(--soft)}
pre{background:var(--soft);padding:.6rem;border-radius:6px;overflow-x:auto}
@media(prefers-color-scheme:dark){:root{--post:#6cc384;--get:#7fb0f5}}
"""

CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

EXAMPLES = """curl -d '{"payload": {"to": "ada"}, "type": "email"}' -H 'content-type: application/json' $GATEWAY/v1/jobs
curl -d '{"workerId": "w1", "waitMs": 10000}' -H 'content-type: application/json' $GATEWAY/v1/jobs/claim
curl -d '{"workerId": "w1", "leaseToken": "…"}' -H 'content-type: application/json' $GATEWAY/v1/jobs/ID/complete
curl $GATEWAY/v1/stats"""


def render(document: dict[str, Any]) -> bytes:
    """The page."""
    info = document["info"]
    tags: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            tags.setdefault(operation["tags"][0], []).append(_operation(path, method, operation))
    sections = "".join(f"<h2>{escape(tag)}</h2>{''.join(items)}" for tag, items in tags.items())
    schemas = "".join(_schema(name, schema) for name, schema in document["components"]["schemas"].items())
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>osqueue API</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>'
        f'<h1>osqueue</h1><p>Version {escape(info["version"])} · <a href="/openapi.json">openapi.json</a></p>'
        f"<p>{_text(info['description'])}</p><pre>{escape(EXAMPLES)}</pre>{sections}<h2>Schemas</h2>{schemas}</body></html>"
    ).encode()


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    parts = [f"<p>{_text(operation.get('description', operation['summary']))}</p>"]
    parameters = operation.get("parameters", [])
    if parameters:
        rows = ((p["name"], f"{p['in']}, {_type(p['schema'])}", p["description"]) for p in parameters)
        parts.append(_table(("Parameter", "Type", ""), rows))
    body = operation.get("requestBody")
    if body:
        parts.append(f"<p>Body: {_type(body['content']['application/json']['schema'])}</p>")
    answers = ((status, _content(answer), answer["description"]) for status, answer in operation["responses"].items())
    parts.append(_table(("Status", "Answer", ""), answers))
    return (
        f'<details id="{escape(operation["operationId"])}"><summary><span class="{method}">{method.upper()}</span> '
        f'<span class="path">{escape(path)}</span> <small>{_text(operation["summary"])}</small></summary>'
        f"{''.join(parts)}</details>"
    )


def _schema(name: str, schema: dict[str, Any]) -> str:
    required = schema.get("required", ())
    rows = (
        (key + ("" if key in required else "?"), _type(value), value.get("description", ""))
        for key, value in schema.get("properties", {}).items()
    )
    about = _text(schema.get("description", ""))
    return (
        f'<details id="schema-{escape(name)}"><summary><code>{escape(name)}</code> <small>{about}</small></summary>'
        f"{_table(('Key', 'Type', ''), rows)}</details>"
    )


def _table(heads: tuple[str, ...], rows: Any) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    lines = (
        f"<tr><td><code>{escape(name)}</code></td><td>{kind}</td><td>{_text(about)}</td></tr>"
        for name, kind, about in rows
    )
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


def _content(answer: dict[str, Any]) -> str:
    return ", ".join(f"{escape(media)} {_type(of['schema'])}" for media, of in answer.get("content", {}).items())


def _type(schema: dict[str, Any]) -> str:
    """A schema in a word, as HTML."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#schema-{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(f"<code>{escape(value)}</code>" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"{_type(schema['items'])}[]"
    return escape(schema.get("format") or schema.get("type") or "any JSON")


def _text(text: str) -> str:
    """Plain text with `code` in backticks."""
    pieces = escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if index % 2 else piece for index, piece in enumerate(pieces))
