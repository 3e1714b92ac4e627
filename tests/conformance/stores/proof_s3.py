"""The suite of test_s3.py on servers that take minutes to build: `make proof` names this file, pytest does not."""

import pytest

from tests.conformance.stores.test_s3 import S3Conformance
from tests.servers import Server


class TestS3StoreOnMinIO(S3Conformance):
    @pytest.fixture
    def server(self, minio: Server) -> Server:
        return minio


class TestS3StoreOnVersityGW(S3Conformance):
    @pytest.fixture
    def server(self, versitygw: Server) -> Server:
        return versitygw
