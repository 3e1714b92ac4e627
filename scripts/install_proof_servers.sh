#!/usr/bin/env bash
# Installs the object storage servers that only `make proof` runs the store tests against: they take minutes to build. Needs
# Go. Does nothing where the wanted versions are installed.
#
#   MinIO       a real S3 server, on disk
#   VersityGW   a real S3 server, over a POSIX file system
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/tools.sh

# from_go NAME VERSION PACKAGE
from_go() {
    if missing "$1" "$2"; then
        GOBIN="$place" go install "$3@$2"
        complete
    fi
}

from_go minio "$MINIO" github.com/minio/minio
from_go versitygw "$VERSITYGW" github.com/versity/versitygw/cmd/versitygw
echo "proof servers are in $cache"
