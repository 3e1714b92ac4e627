"""The exposition: what a scraper reads."""

from osqueue_service.metrics import Calls, Durations, Family, Registry, counter, gauge


def rendered(*families: Family) -> list[str]:
    registry = Registry()
    registry.add(lambda: families)
    return registry.render().splitlines()


def test_a_family_has_help_type_and_samples():
    assert rendered(counter("x_total", "How many.").add(3, kind="a").add(0, kind="b")) == [
        "# HELP x_total How many.",
        "# TYPE x_total counter",
        'x_total{kind="a"} 3',
        'x_total{kind="b"} 0',
    ]


def test_values_keep_their_precision():
    assert rendered(gauge("x", "h").add(2**53), gauge("y", "h").add(0.25))[2::3] == ["x 9007199254740992", "y 0.25"]


def test_labels_are_escaped():
    assert rendered(gauge("x", 'a "b"\n').add(1, label='a"b\\c\nd'))[0::2] == [
        '# HELP x a \\"b\\"\\n',
        'x{label="a\\"b\\\\c\\nd"} 1',
    ]


def test_durations_are_cumulative():
    durations = Durations()
    for seconds in (0.0005, 0.001, 0.3, 100):
        durations.observe(seconds)
    samples = {f"{suffix}{labels.get('le', '')}": value for suffix, labels, value in durations.samples()}
    assert samples["_bucket0.001"] == 2
    assert samples["_bucket0.25"] == 2
    assert samples["_bucket0.5"] == 3
    assert samples["_bucket60"] == 3
    assert samples["_bucket+Inf"] == samples["_count"] == 4
    assert samples["_sum"] == 100.3015


def test_calls_are_counted_by_method_and_outcome():
    calls = Calls()
    calls.ended("SubmitJob", "OK", 5)
    calls.ended("SubmitJob", "OK", 5)
    calls.ended("SubmitJob", "QUEUE_FULL", 5)
    assert (calls.count("SubmitJob", "OK"), calls.count("SubmitJob", "QUEUE_FULL")) == (2, 1)
    text = "\n".join(rendered(*calls.families()))
    assert 'osqueue_rpc_calls_total{method="SubmitJob",outcome="QUEUE_FULL"} 1' in text
    assert 'osqueue_rpc_duration_seconds_count{method="SubmitJob"} 3' in text
