#!/usr/bin/env bash
# Installs what the browser tests need: Debian's chromium (with apt-get, as root) and Playwright for Python, which drives
# it, into .venv. Does nothing where they are installed.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/tools.sh

if ! command -v chromium >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null
fi
python="${VENV:-.venv}/bin/python"
if ! "$python" -c "import importlib.metadata as m, sys; sys.exit(m.version('playwright') != '$PLAYWRIGHT')" 2>/dev/null; then
    "$python" -m pip --version >/dev/null 2>&1 || "$python" -m ensurepip --upgrade >/dev/null
    "$python" -m pip install --quiet --disable-pip-version-check "playwright==$PLAYWRIGHT"
fi
chromium --version
