"""Codecs: what becomes of payloads and results between a program and the queue.

    keys = Encryption({"2027-01": KEY}, current="2027-01")
    client = OsqueueClient(codecs=[Compression(), keys])

Jobs are encoded before they leave the process and decoded where a client with the same codecs reads them; brokers,
gateways and their store see the encoded bytes. Everything else of a job, its type, labels, errors and progress, stays
as it is.
"""

from osqueue.codecs.compression import Compression
from osqueue.codecs.encryption import Encryption
from osqueue.codecs.envelope import About, Codec, Envelope, encoding_of

__all__ = ["About", "Codec", "Compression", "Encryption", "Envelope", "encoding_of"]
