"""How the process writes its log: one line per event on stderr, for people or for machines."""

import json
import logging
import sys
from datetime import UTC, datetime

_TEXT = "%(asctime)s %(levelname)-8s %(name)s: %(message)s"


class JsonLines(logging.Formatter):
    """One JSON object per event."""

    def format(self, record: logging.LogRecord) -> str:
        event = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        return _escaped(json.dumps(event, ensure_ascii=False))


class TextLines(logging.Formatter):
    """One line per event, and the lines of its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(_escaped(line) for line in super().format(record).split("\n"))


def _escaped(text: str) -> str:
    """What callers sent must not steer the terminal that shows the log; \\u escapes are JSON's, too."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{high:02x}{low:02x}" for high, low in zip(units[::2], units[1::2], strict=True))


def write_logs(level: str, format: str) -> None:
    """Write the log of this process to stderr: "text" or "json", from this level on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if format == "json" else TextLines(_TEXT))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
