#!/usr/bin/env bash
# Installs grpcurl, for the test that drives a broker with it. Needs Go. Does nothing where the wanted version is
# installed.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/tools.sh

if missing grpcurl "$GRPCURL"; then
    GOBIN="$place" go install -ldflags "-X main.version=$GRPCURL" "github.com/fullstorydev/grpcurl/cmd/grpcurl@$GRPCURL"
    complete
fi
