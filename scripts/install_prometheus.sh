#!/usr/bin/env bash
# Installs prometheus and promtool, for the tests that evaluate alerts and dashboards against a real scrape. Needs Go;
# takes some minutes the first time. Does nothing where the wanted version is installed. Without discovery of targets
# in clouds, which the tests do not need and which would double the time.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/tools.sh

if missing prometheus "$PROMETHEUS"; then
    GOBIN="$place" CGO_ENABLED=0 go install -tags remove_all_sd \
        "github.com/prometheus/prometheus/cmd/prometheus@$PROMETHEUS" \
        "github.com/prometheus/prometheus/cmd/promtool@$PROMETHEUS"
    complete
fi
