"""docs/configuration.md says what the code knows of stores and settings."""

from pathlib import Path

from osqueue_service.config import known_settings
from osqueue_service.storage.backends import BACKENDS
from scripts.generate_configuration import TARGET, render

PAGE = TARGET.read_text()


def test_its_tables_are_fresh() -> None:
    assert render(PAGE) == PAGE, f"{Path(TARGET).name} is stale; run `make configuration`"


def test_every_store_and_every_setting_is_there_once() -> None:
    for name in BACKENDS:
        assert PAGE.count(f"\n| `{name}` |") == 1
    for setting in known_settings().values():
        assert PAGE.count(f"\n| `{setting.name}` | `--{setting.flag}` |") == 1
