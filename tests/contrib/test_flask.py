"""The Flask extension."""

import pytest

flask = pytest.importorskip("flask", reason="Flask is not installed: pip install flask")

from osqueue import ConfigError  # noqa: E402
from osqueue.contrib.flask import Osqueue  # noqa: E402
from osqueue_service.testing.in_process import BrokerThread  # noqa: E402


def test_a_view_submits_a_job(broker: BrokerThread) -> None:
    app = flask.Flask("shop")
    app.config["OSQUEUE_BROKER_URL"] = f"grpc://{broker.address}"
    queue = Osqueue(app)

    @app.post("/orders")
    def order() -> tuple[dict[str, str], int]:
        return {"id": queue.client.submit_job("order", flask.request.get_json()).id}, 202

    answer = app.test_client().post("/orders", json={"customer": 7})
    assert answer.status_code == 202
    with app.app_context():
        assert queue.client.get_job(answer.get_json()["id"]).value() == {"customer": 7}
        queue.client.close()


def test_an_application_without_it_is_told_so() -> None:
    with flask.Flask("shop").app_context(), pytest.raises(ConfigError, match="init_app"):
        _ = Osqueue().client
