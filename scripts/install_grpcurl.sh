#!/usr/bin/env bash
# Installs grpcurl into .cache/bin/, for the test that drives a broker with it. Needs Go.
# Does nothing where the wanted version is installed.
set -euo pipefail

GRPCURL=v1.9.3

cd "$(dirname "$0")/.."
target="$PWD/.cache/bin"

if [ -x "$target/grpcurl" ] && "$target/grpcurl" -version 2>&1 | grep -q "$GRPCURL\$"; then
    exit 0
fi
mkdir -p "$target"
GOBIN="$target" go install -ldflags "-X main.version=$GRPCURL" "github.com/fullstorydev/grpcurl/cmd/grpcurl@$GRPCURL"
echo "installed grpcurl $GRPCURL"
