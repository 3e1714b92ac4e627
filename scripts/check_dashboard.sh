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
# The libraries' types lie with the tools, outside this tree, so tsc is told where from a configuration of its own.
dashboard="$PWD/gateway/osqueue_gateway/dashboard"
mkdir -p build/dashboard
cat >build/dashboard/tsconfig.json <<EOF
{
  "extends": "$dashboard/tsconfig.json",
  "compilerOptions": {
    "paths": {
      "preact": ["$tools/node_modules/preact"],
      "preact/hooks": ["$tools/node_modules/preact/hooks"],
      "htm": ["$tools/node_modules/htm"]
    }
  },
  "include": ["$dashboard/**/*.js"],
  "exclude": ["$dashboard/vendor"]
}
EOF
"$tools/node_modules/.bin/tsc" --project build/dashboard/tsconfig.json
scripts/vendor_dashboard.sh --check
echo "the dashboard's types, form and vendored libraries are right"
