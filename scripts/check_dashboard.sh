#!/usr/bin/env bash
# Checks the dashboard's scripts: their types with tsc, which reads them from JSDoc, their form with prettier (--fix
# corrects it), and that the vendored libraries are those that were published. Needs npm; the tools go into
# .cache/dashboard-tools/. Nothing here is needed to run the dashboard.
set -euo pipefail

TYPESCRIPT=7.0.2
PRETTIER=3.10.1
PREACT=11.2.0
HTM=3.1.1

cd "$(dirname "$0")/.."
tools=.cache/dashboard-tools
wanted="typescript@$TYPESCRIPT prettier@$PRETTIER preact@$PREACT htm@$HTM"
if [ "$(cat "$tools/versions" 2>/dev/null)" != "$wanted" ]; then
    mkdir -p "$tools"
    # shellcheck disable=SC2086 # several packages
    npm install --silent --no-fund --no-audit --prefix "$tools" $wanted
    echo "$wanted" >"$tools/versions"
fi
form=--check
[ "${1:-}" = --fix ] && form=--write
"$tools/node_modules/.bin/prettier" --log-level warn --print-width 120 "$form" \
    'gateway/osqueue_gateway/dashboard/**/*.js' 'gateway/osqueue_gateway/dashboard/style/*.css' '!gateway/osqueue_gateway/dashboard/vendor/**'
"$tools/node_modules/.bin/tsc" --project gateway/osqueue_gateway/dashboard/tsconfig.json
scripts/vendor_dashboard.sh --check
echo "the dashboard's types, form and vendored libraries are right"
