"""A sync asks the platform for the disk itself."""

import fcntl
import logging
import os
import sys
from pathlib import Path

import pytest

from osqueue_service.ids import SystemIds
from osqueue_service.storage import syncing
from osqueue_service.storage.file import FileStore


def test_where_fsync_stops_at_the_drives_cache_the_full_sync_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(syncing, "_FULL_SYNC", 51)
    monkeypatch.setattr(fcntl, "fcntl", lambda fd, command: asked.append((fd, command)))
    syncing.sync(7)
    assert asked == [(7, 51)]


@pytest.mark.skipif(sys.platform != "linux", reason="what fsync is worth differs")
def test_elsewhere_it_is_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(os, "fsync", asked.append)
    syncing.sync(7)
    assert asked == [7]


async def test_a_platform_whose_syncs_are_not_known_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "platform", "freebsd15")
    with caplog.at_level(logging.WARNING):
        store = FileStore.open(tmp_path / "queue", ids=SystemIds())
    assert "not known on freebsd15" in caplog.text
    await store.close()
