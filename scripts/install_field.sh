#!/usr/bin/env bash
# Installs the job queues that `python -m benchmarks field` measures beside osqueue: BullMQ with npm; SAQ, Dramatiq and
# Celery in a virtual environment. Needs Python 3.11 with venv, Node and npm. redis-server comes from the system's
# packages (apt-get install redis-server). Does nothing where the wanted versions are installed.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/tools.sh

if missing celery "$CELERY"; then
    "${PYTHON:-python3}" -m venv "$place"
    "$place/bin/pip" install --quiet --disable-pip-version-check \
        "saq[redis]==$SAQ" "dramatiq[redis]==$DRAMATIQ" "celery[redis]==$CELERY" "hiredis==$HIREDIS"
    complete
fi
if missing bullmq "$BULLMQ"; then
    npm install --silent --no-fund --no-audit --prefix "$place" "bullmq@$BULLMQ" "ioredis@$IOREDIS"
    complete
fi
if ! command -v redis-server >/dev/null; then
    echo "redis-server is missing: apt-get install redis-server" >&2
    exit 1
fi
echo "the field is in $cache"
