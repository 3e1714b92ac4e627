"""What codecs make of payloads and results, and what they say when they cannot."""

import base64
import os
import re

import pytest

from osqueue import ClaimedJob, CodecError, Compression, ConfigError, Encryption, Job, JobInput, JobType, new_job
from osqueue.codecs import About, Envelope
from osqueue.codecs.compression import LARGEST_BYTES
from osqueue.codecs.envelope import MAGIC, header
from osqueue.codecs.pipeline import NESTED_MAX, Pipeline

KEY, OTHER = b"k" * 32, b"o" * 32
ABOUT = About("payload", "mail", "once")


def claimed(spec, codecs, **other):
    """The job as a worker with these codecs is given it."""
    job = ClaimedJob("1", "w", spec.payload, type=spec.type, **other)
    return Pipeline(codecs).claimed([job])[0]


def seal(value, codecs, type="mail", **options):
    return Pipeline(codecs).spec(new_job(type, value, **options))


# --- there and back ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [{"to": "ada"}, b"\x00\xff", b"", MAGIC + b"as if", b"\x00osq", "x" * 100_000])
@pytest.mark.parametrize(
    "codecs", [[], [Compression()], [Encryption({"a": KEY})], [Compression(), Encryption({"a": KEY})]]
)
def test_what_was_encoded_is_decoded(value, codecs):
    spec = seal(value, codecs)
    assert claimed(spec, codecs).payload == new_job("mail", value).payload


def test_payloads_from_before_there_were_codecs_are_read():
    assert claimed(new_job("mail", {"to": "ada"}), [Encryption({"a": KEY})]).value() == {"to": "ada"}


def test_payloads_of_every_codec_that_the_client_has_are_read():
    spec = seal({"to": "ada"}, Encryption({"a": KEY}))
    assert claimed(spec, [Compression(), Encryption({"b": OTHER, "a": KEY}, current="b")]).value() == {"to": "ada"}


def test_results_inputs_and_jobs_on_death():
    codecs = Pipeline(Encryption({"a": KEY}))
    result = codecs.result(b'"done"', "7", "lease")
    spec = codecs.spec(new_job("mail", 1, submit_on_dead=new_job("alarm", "lost")))
    job = codecs.job(
        Job("7", "completed", spec.payload, type="mail", result=result, submit_on_dead=spec.submit_on_dead)
    )
    assert (job.value(), job.result_value(), job.submit_on_dead.payload) == (1, "done", b'"lost"')
    of = ClaimedJob("8", "w", b"1", inputs=[JobInput("n", "7", "completed", result), JobInput("m", "6", "dead")])
    assert [each.value() for each in codecs.claimed([of])[0].inputs] == ["done", None]


def test_without_codecs_nothing_is_touched():
    spec = new_job("mail", MAGIC)
    assert Pipeline().spec(spec) is spec
    assert Pipeline().result(None, "1", "") is None
    assert Pipeline(Encryption({"a": KEY})).result(None, "1", "") is None


# --- encryption -------------------------------------------------------------------------------------------------------


def test_the_plaintext_does_not_show_but_the_key_does():
    envelope = Envelope.of(seal("attack at dawn", Encryption({"2027-01": KEY})).payload)
    assert (envelope.codec, envelope.key) == ("aes256gcm", "2027-01")
    assert b"dawn" not in envelope.to_bytes()


def test_the_envelope_is_as_it_is_documented():
    data = Envelope("aes256gcm", "a", b"body").to_bytes()
    assert data == b"\x00osq\x01" + b"\x09aes256gcm" + b"\x01a" + b"body"


def test_two_submissions_of_the_same_payload_differ():
    codec = Encryption({"a": KEY})
    assert seal("same", codec).payload != seal("same", codec).payload


def test_submissions_with_the_same_idempotency_key_are_the_same():
    codec = Encryption({"a": KEY})
    once, again = (seal("same", codec, idempotency_key="k") for _ in range(2))
    assert once.payload == again.payload
    assert seal("same", codec, idempotency_key="other").payload != once.payload
    assert seal("else", codec, idempotency_key="k").payload[:28] != once.payload[:28]  # another nonce


@pytest.mark.parametrize("secret", [KEY, base64.b64encode(KEY).decode()])
def test_keys_are_bytes_or_base64(secret):
    assert claimed(seal(1, Encryption({"a": secret})), Encryption({"a": KEY})).value() == 1


@pytest.mark.parametrize(
    ("keys", "current", "complaint"),
    [
        ({}, "", "keys: is empty"),
        ({"a": KEY, "b": OTHER}, "", "current: is required with several keys; it is one of a, b"),
        ({"a": KEY}, "b", "current: there is no key 'b'"),
        ({"a": b"short"}, "", r"keys\['a'\]: has 5 bytes, must have 32"),
        ({"a": "not base64!"}, "", r"keys\['a'\]: is not base64"),
        ({"": KEY}, "", "the id '' must be text"),
        ({"a" * 65: KEY}, "", "1 to 64 printable characters"),
        ({"a\n": KEY}, "", "printable"),
    ],
)
def test_wrong_keys_are_named(keys, current, complaint):
    with pytest.raises(ConfigError, match=complaint):
        Encryption(keys, current)


def test_no_secret_shows_in_its_text():
    assert repr(Encryption({"a": KEY, "b": OTHER}, "b")) == "Encryption(keys=['a', 'b'], current='b')"


@pytest.mark.parametrize(
    ("codecs", "complaint"),
    [
        ([], "encrypted with the key 'a', and this client has no codec for it"),
        (Compression(), "this client has no such codec: it has 'zstd'"),
        (Encryption({"b": OTHER}), "encrypted with the key 'a', which this client does not have: it has 'b'"),
        (Encryption({"a": OTHER}), "is not what the key 'a' of this client encrypted"),
    ],
)
def test_who_lacks_the_key_is_told(codecs, complaint):
    job = claimed(seal({"to": "ada"}, Encryption({"a": KEY})), codecs)
    assert job.payload.startswith(MAGIC)  # as it came
    for read in (job.value, lambda: job.value(JobType("mail", dict)), lambda: job.value(JobType("mail", bytes))):
        with pytest.raises(CodecError, match=re.escape(complaint)):
            read()


@pytest.mark.parametrize("place", [5, 16, -1, -17])
def test_changed_bytes_are_noticed(place):
    data = bytearray(seal("attack at dawn", Encryption({"a": KEY})).payload)
    data[place] ^= 1
    with pytest.raises(CodecError):
        claimed(new_job("mail", bytes(data)), Encryption({"a": KEY})).value()


@pytest.mark.parametrize("length", range(5, 47))
def test_bytes_that_are_cut_short_are_noticed(length):
    data = seal("attack at dawn", Encryption({"a": KEY})).payload[:length]
    with pytest.raises(CodecError):
        claimed(new_job("mail", data), Encryption({"a": KEY})).value()


def test_a_payload_cannot_be_passed_off_as_anothers():
    codec = Encryption({"a": KEY})
    spec = seal("attack at dawn", codec, type="order")
    with pytest.raises(CodecError, match="the bytes were changed or moved here"):
        claimed(new_job("mail", spec.payload), codec).value()
    result = Pipeline(codec).result(b'"paid"', "7", "lease")
    with pytest.raises(CodecError, match="the result of job 8"):
        Pipeline(codec).job(Job("8", "completed", result=result)).result_value()


def test_a_client_may_refuse_what_came_unencrypted():
    codecs = [Compression(), Encryption({"a": KEY}, required=True)]
    for spec in (new_job("mail", 1), seal("x" * 1_000, Compression())):
        with pytest.raises(CodecError, match="did not pass the codec 'aes256gcm', which this client requires"):
            claimed(spec, codecs).value()
    assert claimed(seal(1, codecs), codecs).value() == 1


def test_what_could_not_be_decoded_is_not_encoded_again():
    job = claimed(seal(1, Encryption({"a": KEY})), Encryption({"b": OTHER}))
    with pytest.raises(CodecError, match="is encoded already and could not be decoded"):
        Pipeline(Encryption({"b": OTHER})).result(job.payload, "1", "")


# --- compression ------------------------------------------------------------------------------------------------------


def test_large_payloads_get_smaller_and_small_ones_stay():
    assert len(seal("x" * 10_000, Compression()).payload) < 100
    assert seal("x", Compression()).payload == b'"x"'
    noise = os.urandom(10_000)
    assert seal(noise, Compression()).payload == noise


def test_a_bomb_is_refused_before_it_is_unpacked():
    import zstandard

    for size in (LARGEST_BYTES + 1, -1):
        if size > 0:
            body = zstandard.ZstdCompressor().compress(bytes(size))
        else:
            body = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1_000))
        with pytest.raises(CodecError, match="at most 67108864 are read"):
            Compression().decode(Envelope("zstd", "", body), ABOUT)
    largest = zstandard.ZstdCompressor().compress(bytes(LARGEST_BYTES))
    assert len(Compression().decode(Envelope("zstd", "", largest), ABOUT)) == LARGEST_BYTES


def test_damaged_compression_is_named():
    with pytest.raises(CodecError, match="compressed, and"):
        Compression().decode(Envelope("zstd", "", b"no zstd"), ABOUT)


@pytest.mark.parametrize("level", [0, 20])
def test_levels_have_bounds(level):
    with pytest.raises(ConfigError, match="must be from 1 to 19"):
        Compression(level)


# --- codecs of one's own ----------------------------------------------------------------------------------------------


class Backwards:
    name = "backwards"
    required = False

    def encode(self, data, about):
        return Envelope(self.name, "", data[::-1])

    def decode(self, envelope, about):
        return envelope.body[::-1]


class Broken(Backwards):
    name = "broken"

    def encode(self, data, about):
        raise RuntimeError("no key service")

    decode = encode


def test_a_codec_of_ones_own():
    assert claimed(seal({"to": "ada"}, Backwards()), Backwards()).value() == {"to": "ada"}


def test_whatever_a_codec_raises_is_told_as_the_jobs():
    with pytest.raises(CodecError, match="the payload of a job of the type 'mail' could not be encoded by 'broken'"):
        seal(1, Broken())
    data = Envelope("broken", "", b"x").to_bytes()
    with pytest.raises(CodecError, match="could not be decoded by 'broken': RuntimeError: no key service"):
        claimed(new_job("mail", data), Broken()).value()


def test_envelopes_without_end_are_refused():
    data = b"1"
    for _ in range(NESTED_MAX):
        data = Envelope("backwards", "", data[::-1]).to_bytes()
    with pytest.raises(CodecError, match="more than 8 times"):
        claimed(new_job("mail", data), Backwards()).value()


def test_what_is_no_codec_is_refused():
    for codecs, complaint in (
        ([object()], "object is not a codec"),
        ([Compression(), Compression()], "'zstd' is there twice"),
    ):
        with pytest.raises(ConfigError, match=complaint):
            Pipeline(codecs)
    with pytest.raises(CodecError, match="at most 255"):
        header("x" * 256, "")
