from osqueue_gateway.metrics import Metrics


def lines(metrics: Metrics) -> list[str]:
    return metrics.render().decode().splitlines()


def test_calls_are_counted_and_timed():
    metrics = Metrics()
    metrics.answered("rest", "SubmitJob", 200, 0.002)
    metrics.answered("ws", "SubmitJob", 200, 70.0)
    metrics.answered("rest", "/v1/ws", 101, None)
    shown = lines(metrics)
    assert 'osqueue_gateway_requests_total{transport="rest",call="SubmitJob",status="200"} 1' in shown
    assert 'osqueue_gateway_requests_total{transport="rest",call="/v1/ws",status="101"} 1' in shown
    assert 'osqueue_gateway_request_seconds_bucket{call="SubmitJob",le="0.001"} 0' in shown
    assert 'osqueue_gateway_request_seconds_bucket{call="SubmitJob",le="0.0025"} 1' in shown
    assert 'osqueue_gateway_request_seconds_bucket{call="SubmitJob",le="60.0"} 1' in shown
    assert 'osqueue_gateway_request_seconds_bucket{call="SubmitJob",le="+Inf"} 2' in shown
    assert 'osqueue_gateway_request_seconds_sum{call="SubmitJob"} 70.002000' in shown
    assert not [line for line in shown if "seconds" in line and "ws" in line]


def test_figures_are_read_when_asked_for():
    metrics = Metrics()
    open_now = [3]
    metrics.show("connections", "Connections open.", lambda: open_now[0])
    metrics.show("batches_total", "Batches.", lambda: 7, "counter")
    open_now[0] = 4
    shown = lines(metrics)
    assert "osqueue_gateway_connections 4" in shown
    assert "# TYPE osqueue_gateway_batches_total counter" in shown


def test_the_figures_of_a_broker_in_the_same_process_are_on_the_same_page():
    metrics = Metrics()
    metrics.beside(lambda: "osqueue_jobs 5\n")
    assert lines(metrics)[-1] == "osqueue_jobs 5"


def test_events_are_shown_before_the_first():
    metrics = Metrics()
    metrics.count("callers_gone")
    assert "osqueue_gateway_callers_gone_total 1" in lines(metrics)
    assert "osqueue_gateway_slow_readers_dropped_total 0" in lines(metrics)
