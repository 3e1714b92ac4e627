"""osqueue in a Flask application: an extension with a client for each process.

queue = Osqueue()
queue.init_app(app)             # OSQUEUE_BROKER_URL and OSQUEUE_TOKEN of app.config

@app.post("/reports")
def order():
    return {"id": queue.client.submit_job("report", request.get_json()).id}, 202
"""

from flask import Flask, current_app

from osqueue.contrib.per_process import PerProcess
from osqueue.errors import ConfigError
from osqueue.registry import Registry
from osqueue.sync import SyncClient

_NAME = "osqueue"


class Osqueue:
    """The extension. One object may serve several applications; `client` is that of the current one.

    `registry` holds the job types that the client knows.
    """

    def __init__(self, app: Flask | None = None, *, registry: Registry | None = None) -> None:
        self._registry = registry
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Serve this application."""
        app.config.setdefault("OSQUEUE_BROKER_URL", None)
        app.config.setdefault("OSQUEUE_TOKEN", None)
        config, registry = app.config, self._registry
        app.extensions[_NAME] = PerProcess(
            lambda: SyncClient(config["OSQUEUE_BROKER_URL"], token=config["OSQUEUE_TOKEN"], registry=registry)
        )

    @property
    def client(self) -> SyncClient:
        """The current application's client. It connects with its first call, in whichever process that is."""
        held: PerProcess | None = current_app.extensions.get(_NAME)
        if held is None:
            raise ConfigError("the application has no osqueue: call init_app(app) first")
        return held.get()
