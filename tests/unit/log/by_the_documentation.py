"""A reader of a queue's objects that was written from docs/data-format.md, and uses none of our code."""

import base64
import hashlib
import json
import zlib

import zstandard

Objects = dict[str, bytes]


def number(body: bytes, offset: int, size: int) -> int:
    return int.from_bytes(body[offset : offset + size], "big")


def read_queue(objects: Objects) -> tuple[list[bytes], list[bytes]]:
    """The chunks of the checkpoint, and the records of each segment behind it."""
    body = objects["queue.json"]
    root = json.loads(body)
    assert root["format"] == 2
    assert body[-75:-66] == b',"seal":"'
    assert hashlib.sha256(body[:-75]).hexdigest() == root["seal"]
    checkpoint = root["checkpoint"]
    chunks = read_chunks(objects, root, checkpoint)
    lane, sequence, link = checkpoint["epoch"], checkpoint["sequence"] + 1, bytes.fromhex(checkpoint["hash"])
    segments = []
    while (entry := objects.get(f"log/{lane:010d}/{sequence:016d}")) is not None:
        assert entry[:5] == b"OSQL\x02"
        assert (number(entry, 8, 8), number(entry, 24, 8)) == (lane, sequence)
        assert entry[80:112] == link
        assert hashlib.sha256(entry[:112] + entry[144:]).digest() == entry[112:144]
        assert number(entry, 44, 4) == len(entry) - 144
        if entry[5] == 2:
            assert number(entry, 16, 8) > lane
            lane = number(entry, 16, 8)
        else:
            records = entry[144:] if entry[6] == 0 else zstandard.decompress(entry[144:])
            assert number(entry, 48, 4) == len(records)
            segments.append(records)
        link, sequence = entry[112:144], sequence + 1
    return chunks, segments


def read_chunks(objects: Objects, root: dict[str, str], checkpoint: dict[str, int | str]) -> list[bytes]:
    bodies = []
    if checkpoint["form"] == "inline":
        bodies = [base64.b64decode(root["state"])]
    for part in range(int(checkpoint.get("parts", 0))):
        body = objects[f"checkpoints/{checkpoint['sequence']:016d}-{checkpoint['epoch']:010d}/{part:05d}"]
        assert body[:8] == b"OSQC\x01\0\0\0"
        assert (number(body, 8, 8), number(body, 16, 8)) == (checkpoint["sequence"], checkpoint["epoch"])
        assert number(body, 24, 4) == part
        assert body[60:92].hex() == checkpoint["hash"]
        assert zlib.crc32(body[96:] + body[:92]) == number(body, 92, 4)
        bodies.append(body[96:])
    stored = b"".join(bodies)
    assert len(stored) == checkpoint.get("size", 0)
    assert not stored or hashlib.sha256(stored).hexdigest() == checkpoint["sha256"]
    chunks = []
    while stored:
        length = number(stored, 0, 4)
        chunks.append(zstandard.decompress(stored[8 : 8 + length]))
        assert len(chunks[-1]) == number(stored, 4, 4)
        stored = stored[8 + length :]
    return chunks
