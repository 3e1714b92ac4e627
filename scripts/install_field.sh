#!/usr/bin/env bash
# Installs the job queues that `python -m benchmarks field` measures beside osqueue, into .cache/field/: BullMQ with npm;
# SAQ, Dramatiq and Celery in a virtual environment. Needs Python 3.11 with venv, Node and npm. redis-server comes from
# the system's packages (apt-get install redis-server). Does nothing where the wanted versions are installed.
set -euo pipefail

BULLMQ=6.7.0
IOREDIS=6.0.0
SAQ=0.26.4
DRAMATIQ=2.2.1
CELERY=5.7.0
HIREDIS=3.5.0

cd "$(dirname "$0")/.."
target="$PWD/.cache/field"
mkdir -p "$target"

# wanted NAME VERSIONS: whether those versions are still to be installed.
wanted() {
    [ "$(cat "$target/$1.version" 2>/dev/null)" != "$2" ]
}

installed() {
    echo "$2" >"$target/$1.version"
    echo "installed $2"
}

python="${PYTHON:-python3}"
packages="saq[redis]==$SAQ dramatiq[redis]==$DRAMATIQ celery[redis]==$CELERY hiredis==$HIREDIS"
if wanted python "$packages"; then
    "$python" -m venv --clear "$target/venv"
    # shellcheck disable=SC2086 # four packages
    "$target/venv/bin/pip" install --quiet --disable-pip-version-check $packages
    installed python "$packages"
fi

if wanted bullmq "bullmq@$BULLMQ ioredis@$IOREDIS"; then
    mkdir -p "$target/bullmq"
    npm install --silent --no-fund --no-audit --prefix "$target/bullmq" "bullmq@$BULLMQ" "ioredis@$IOREDIS"
    installed bullmq "bullmq@$BULLMQ ioredis@$IOREDIS"
fi

if ! command -v redis-server >/dev/null; then
    echo "redis-server is missing: apt-get install redis-server" >&2
    exit 1
fi
echo "the field is in $target"
