#!/usr/bin/env bash
# Checks the dashboard's scripts: their types with tsc, which reads them from JSDoc, their form with prettier (--fix
# corrects it), and that the vendored libraries are those that were published. Needs npm. Nothing here is needed to run
# the dashboard.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/tools.sh

if missing dashboard-tools "$TYPESCRIPT-$PRETTIER-$PREACT-$HTM"; then
    npm install --silent --no-fund --no-audit --prefix "$place" \
        "typescript@$TYPESCRIPT" "prettier@$PRETTIER" "preact@$PREACT" "htm@$HTM"
    complete
fi
tools="$place"
form=--check
[ "${1:-}" = --fix ] && form=--write
"$tools/node_modules/.bin/prettier" --log-level warn --print-width 120 "$form" \
    'gateway/osqueue_gateway/dashboard/**/*.js' 'gateway/osqueue_gateway/dashboard/style/*.css' '!gateway/osqueue_gateway/dashboard/vendor/**'
"$tools/node_modules/.bin/tsc" --project gateway/osqueue_gateway/dashboard/tsconfig.json
scripts/vendor_dashboard.sh --check
echo "the dashboard's types, form and vendored libraries are right"
