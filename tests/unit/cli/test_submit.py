"""`osqueue submit`: where payloads come from, what options do, how it answers."""

import pytest

from osqueue_cli.exits import Exit


def test_the_payload_is_an_argument(osqueue, job_type):
    answer = osqueue("submit", job_type, '{"to": "ada"}')
    assert answer.exit_code == 0
    job = osqueue("job", "show", answer.out.strip(), "--json").json
    assert (job["type"], job["payload"], job["status"]) == (job_type, {"to": "ada"}, "unclaimed")


@pytest.mark.parametrize("arguments", [["--file", "-"], ["-"]])
def test_the_payload_is_standard_input(osqueue, job_type, arguments):
    job_id = osqueue("submit", job_type, *arguments, input=b"\xff\x00 any bytes").out.strip()
    assert osqueue("job", "show", job_id, "--json").json["payloadBase64"] == "/wAgYW55IGJ5dGVz"


def test_the_payload_is_a_file(osqueue, job_type, tmp_path):
    (tmp_path / "payload.json").write_text("[1, 2]")
    job_id = osqueue("submit", job_type, "--file", tmp_path / "payload.json").out.strip()
    assert osqueue("job", "show", job_id, "--json").json["payload"] == [1, 2]


def test_big_integers_and_spelling_of_numbers_survive(osqueue, job_type):
    job_id = osqueue("submit", job_type, '{"n": 123456789012345678901234567890}').out.strip()
    assert osqueue("job", "show", job_id, "--json").json["payload"]["n"] == 123456789012345678901234567890


@pytest.mark.parametrize("arguments", [[], ["{}", "--file", "-"], ["{}", "--lines", "-"]])
def test_exactly_one_source_is_wanted(osqueue, job_type, arguments):
    answer = osqueue("submit", job_type, *arguments, input="{}")
    assert answer.exit_code == Exit.USAGE
    assert "one of the three" in answer.err


def test_options_reach_the_job(osqueue, job_type):
    job_id = osqueue(
        "submit", job_type, "{}", "--priority", "7", "--max-attempts", "9", "--lease", "2m", "--attempt-limit", "1h",
        "--backoff", "5s", "--keep", "1d", "-m", "team=infra", "-m", "note=a=b",
    ).out.strip()  # fmt: skip
    job = osqueue("job", "show", job_id, "--json").json
    assert (job["priority"], job["maxAttempts"], job["leaseMs"], job["timeoutMs"]) == (7, 9, 120_000, 3_600_000)
    assert job["retryPolicy"]["initialMs"] == 5_000
    assert job["retentionMs"] == 86_400_000
    assert job["metadata"] == {"team": "infra", "note": "a=b"}


def test_a_delayed_job_is_scheduled(osqueue, job_type):
    job_id = osqueue("submit", job_type, "{}", "--delay", "1h").out.strip()
    assert osqueue("job", "show", job_id, "--json").json["status"] == "scheduled"
    explained = osqueue("job", "explain", job_id, "--json").json
    assert "DELAYED" in explained["reasons"]


def test_the_same_key_is_the_same_job(osqueue, job_type):
    first = osqueue("submit", job_type, "{}", "--key", job_type, "--json").json
    again = osqueue("submit", job_type, "{}", "--key", job_type, "--json").json
    assert first["deduplicated"] is False
    assert again == {"jobId": first["jobId"], "deduplicated": True}


def test_the_same_key_with_other_content_is_a_conflict(osqueue, job_type):
    osqueue("submit", job_type, "1", "--key", job_type)
    assert osqueue("submit", job_type, "2", "--key", job_type).exit_code == Exit.CONFLICT


def test_what_the_broker_refuses_names_the_field(osqueue):
    answer = osqueue("submit", "no spaces", "{}", "--json")
    assert answer.exit_code == Exit.USAGE
    assert '"field": "type"' in answer.err
    assert answer.out == ""


@pytest.mark.parametrize("wrong", ["5", "5 parsecs", "-1s", ""])
def test_a_duration_needs_its_unit(osqueue, wrong):
    answer = osqueue("submit", "t", "{}", "--delay", wrong)
    assert answer.exit_code == Exit.USAGE
    assert "250ms, 30s, 5m, 2h, 7d" in answer.err


def test_waiting_prints_the_result(osqueue, job_type, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "adding.py").write_text(f"handlers = {{{job_type!r}: lambda payload: sum(payload)}}\n")
    job_id = osqueue("submit", job_type, "[1, 2]").out.strip()
    assert osqueue("work", "adding:handlers", "--until-idle").exit_code == 0
    assert osqueue("job", "wait", job_id).out == "3"
    assert osqueue("job", "wait", job_id, "--json").json == {
        "jobId": job_id, "status": "completed", "attempts": 1, "result": 3
    }  # fmt: skip


def test_waiting_has_a_limit(osqueue, job_type):
    answer = osqueue("submit", job_type, "{}", "--wait", "--wait-limit", "50ms")
    assert answer.exit_code == Exit.TIMEOUT
    assert "it goes on" in answer.err


def test_waiting_for_a_cancelled_job_fails(osqueue, job_type):
    job_id = osqueue("submit", job_type, "{}").out.strip()
    osqueue("job", "cancel", job_id)
    answer = osqueue("job", "wait", job_id)
    assert answer.exit_code == Exit.FAILED
    assert "cancelled" in answer.err


def test_each_line_is_a_job(osqueue, job_type, tmp_path):
    (tmp_path / "lines").write_text('{"n": 1}\n\n{"n": 2}\r\n   \n{"n": 3}')
    answer = osqueue("submit", job_type, "--lines", tmp_path / "lines", "--ids")
    assert answer.exit_code == 0
    assert "3 jobs durable" in answer.err
    payloads = [osqueue("job", "show", job_id, "--json").json["payload"] for job_id in answer.out.split()]
    assert payloads == [{"n": 1}, {"n": 2}, {"n": 3}]


def test_more_lines_than_one_batch(osqueue, job_type):
    answer = osqueue("submit", job_type, "--lines", "-", "--json", input="".join(f"{n}\n" for n in range(2_500)))
    assert answer.json == {"submitted": 2_500, "deduplicated": 0, "refused": 0}
    listed = osqueue("jobs", "--type", job_type, "--all", "--json").json_lines
    assert [job["payload"] for job in listed] == list(range(2_500))


def test_lines_with_a_key_may_be_submitted_again(osqueue, job_type):
    osqueue("submit", job_type, "--lines", "-", "--key", job_type, input="1\n2\n")
    again = osqueue("submit", job_type, "--lines", "-", "--key", job_type, "--json", input="1\n2\n3\n")
    assert again.json == {"submitted": 1, "deduplicated": 2, "refused": 0}


def test_a_refused_line_is_named_and_the_others_are_submitted(osqueue, job_type):
    large = '"' + "x" * (1 << 20) + '"'
    answer = osqueue("submit", job_type, "--lines", "-", input=f"1\n{large}\n3\n")
    assert answer.exit_code == Exit.USAGE
    assert "line 2: " in answer.err
    assert len(osqueue("jobs", "--type", job_type, "--json").json_lines) == 2


def test_a_file_without_lines_is_a_mistake(osqueue, job_type):
    assert osqueue("submit", job_type, "--lines", "-", input="\n\n").exit_code == Exit.USAGE


def test_no_broker_is_said_plainly(anywhere):
    answer = anywhere("submit", "t", "{}", "--broker", "grpc://127.0.0.1:1", "--timeout", "0.2")
    assert answer.exit_code == Exit.UNREACHABLE
    assert "osqueue serve" in answer.err


def test_a_unique_key_says_what_came_of_it(osqueue, job_type):
    first = osqueue("submit", job_type, "1", "--unique", "k", "--json").json
    assert first["outcome"] == "created"
    again = osqueue("submit", job_type, "2", "--unique", "k", "--on-conflict", "replace")
    assert again.out.strip() == first["jobId"]
    assert "from now on what was submitted" in again.err
    refused = osqueue("submit", job_type, "3", "--unique", "k", "--on-conflict", "reject")
    assert refused.exit_code == Exit.CONFLICT
    assert first["jobId"] in refused.err
    assert "k" in osqueue("job", "show", first["jobId"]).out
    assert osqueue("jobs", "--unique-key", "k", "--type", job_type, "--json").out.count(first["jobId"]) == 1


def test_terms_of_a_unique_key_need_one(osqueue, job_type):
    answer = osqueue("submit", job_type, "1", "--if-running", "cancel")
    assert answer.exit_code == Exit.USAGE
    assert "--unique KEY" in answer.err


def test_jobs_of_a_sequence_are_found_by_it(osqueue, job_type):
    ids = [osqueue("submit", job_type, "1", "--sequence", job_type).out.strip() for _ in range(2)]
    shown = osqueue("jobs", "--sequence", job_type, "--json").out
    assert all(job_id in shown for job_id in ids)
    assert "blocked" in osqueue("job", "show", ids[1]).out
