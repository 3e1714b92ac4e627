"""Whatever producers and workers write is shown as text, in reasonable time."""

import json
from base64 import b64encode

import pytest

from tests.browser.chromium import Page, expect
from tests.browser.queue_processes import Queue

MARKUP = "<script>window.owned = 1</script><img src=x onerror='window.owned = 2'><b id=owned>bold</b>"
CONTROLS = "a\x00b\x1b[31mred\x7f\x9b \u202egnp.exe \u200bhidden \ufeff \ud7ff"


def assert_harmless(page: Page) -> None:
    assert page.evaluate("window.owned") is None
    expect(page.locator("#owned")).to_have_count(0)
    expect(page.locator("img[src=x]")).to_have_count(0)


@pytest.fixture
def marked(queue: Queue) -> str:
    """The id of a dead letter that carries markup wherever text can be put."""
    job_id = queue.submit({MARKUP: MARKUP}, type="hostile.markup", metadata={"k": MARKUP}, idempotencyKey=MARKUP)
    worker = f"w{MARKUP}"[:128]
    claimed = queue.claim(worker, types=["hostile.markup"], workerVersion=MARKUP[:128])
    queue.settle(claimed, "heartbeat", worker, progress={"fraction": 0.5, "message": MARKUP})
    queue.settle(claimed, "fail", worker, error={"type": MARKUP, "message": MARKUP}, retryable=False)
    return job_id


def test_markup_is_text_on_every_page(page: Page, queue: Queue, marked: str) -> None:
    page.goto(f"/jobs/{marked}")
    expect(page.locator(".payload pre").first).to_contain_text("<script>window.owned = 1</script>")
    expect(page.locator(".attempt-error")).to_contain_text(MARKUP)
    expect(page.locator("aside").get_by_text(MARKUP).first).to_be_visible()
    assert_harmless(page)
    page.locator("aside a[href*='label=']").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    assert_harmless(page)
    for path in ("/", "/dead", "/types", "/workers", "/jobs?status=dead"):
        page.goto(path)
        expect(page.locator(".connection")).to_have_text("Live")
        assert_harmless(page)


def test_markup_in_the_address(page: Page) -> None:
    page.goto(f"/jobs?type={MARKUP}&label=a={MARKUP}&error={MARKUP}&status={MARKUP}&from=x&after={MARKUP}")
    expect(page.locator(".wrong")).to_contain_text("page_token")
    assert_harmless(page)
    page.goto(f"/dead?type={MARKUP}")
    expect(page.get_by_text("No dead letters of this type")).to_be_visible()
    assert_harmless(page)


def test_control_characters_are_spelled_out(page: Page, queue: Queue) -> None:
    body = json.dumps({"type": "hostile.controls", "payloadBase64": b64encode(CONTROLS.encode()).decode()})
    job_id = queue.post("/v1/jobs", body.encode())["jobId"]
    page.goto(f"/jobs/{job_id}")
    shown = page.locator(".payload pre").first
    expect(shown).to_have_text("a␀b␛[31mred␡⟨U+009B⟩ ⟨U+202E⟩gnp.exe ⟨U+200B⟩hidden ⟨U+FEFF⟩ \ud7ff")


def test_bytes_that_are_no_text(page: Page, queue: Queue) -> None:
    data = bytes(range(256)) * 40
    body = json.dumps({"type": "hostile.bytes", "payloadBase64": b64encode(data).decode()})
    job_id = queue.post("/v1/jobs", body.encode())["jobId"]
    page.goto(f"/jobs/{job_id}")
    shown = page.locator(".payload pre").first
    expect(shown).to_contain_text("000010  10 11 12 13 14 15 16 17")
    with page.expect_download() as download:
        page.locator(".payload").first.get_by_role("button", name="Download").click()
    assert download.value.path().read_bytes() == data
    page.get_by_role("button", name="Show all").click()
    expect(shown).to_contain_text("0027f0  f0 f1")


def test_what_a_codec_made_says_how(page: Page, queue: Queue) -> None:
    for key, said in ((b"2027-01", "with the key 2027-01, 26 B"), (b"\x07", "with the key ␇, 20 B")):
        made = b"\x00osq\x01\x09aes256gcm" + bytes([len(key)]) + key + bytes(3)
        body = json.dumps({"type": "hostile.encoded", "payloadBase64": b64encode(made).decode()})
        page.goto(f"/jobs/{queue.post('/v1/jobs', body.encode())['jobId']}")
        expect(page.locator(".payload", has_text="Payload").get_by_text(f"encrypted {said}")).to_be_visible()


@pytest.mark.parametrize("text", ["x" * 1_000_000, "</pre><script>window.owned=1</script>" * 27_000, "\\" * 500_000])
def test_a_payload_of_a_megabyte(page: Page, queue: Queue, text: str) -> None:
    job_id = queue.submit({"big": text, "n": 10**30}, type="hostile.big")
    page.goto(f"/jobs/{job_id}")
    expect(page.locator(".payload pre").first).to_contain_text(json.dumps(text)[:200])
    blocked = page.evaluate(
        """() => new Promise((done) => {
          new PerformanceObserver((list) => done(Math.max(...list.getEntries().map((entry) => entry.duration))))
            .observe({ type: "longtask", buffered: true });
          setTimeout(() => done(0), 300);
        })"""
    )
    assert blocked < 1_500
    page.get_by_role("button", name="Show all").click()
    expect(page.locator(".payload pre").first).to_contain_text(str(10**30))
    page.locator(".payload").first.get_by_role("button", name="Copy").click()
    assert json.loads(page.evaluate("navigator.clipboard.readText()"))["big"] == text
    page.goto("/jobs?type=hostile.big")
    expect(page.locator(f"a[href='/jobs/{job_id}']")).to_be_visible()
    assert_harmless(page)


def test_json_is_shown_as_it_was_sent(page: Page, queue: Queue) -> None:
    payload = '{"z":1,"a":100000000000000000000000000001,"e":1e400,"s":"\\u0041\\"","deep":[[[]],{}]}'
    job_id = queue.post("/v1/jobs", b'{"type":"hostile.json","payload":' + payload.encode() + b"}")["jobId"]
    page.goto(f"/jobs/{job_id}")
    shown = page.locator(".payload pre").first.text_content() or ""
    assert "".join(shown.split()) == payload


def test_error_messages_of_any_length(page: Page, queue: Queue) -> None:
    job_id = queue.submit(type="hostile.error")
    error = {"type": "E" * 256, "message": "very long " * 800}
    queue.settle(queue.claim(types=["hostile.error"]), "fail", error=error, retryable=False)
    page.set_viewport_size({"width": 360, "height": 780})
    for path in ("/dead", f"/jobs/{job_id}", "/jobs?status=dead&type=hostile.error"):
        page.goto(path)
        expect(page.get_by_text("EEEEEEEE").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
