#!/usr/bin/env bash
# Fetches the dashboard's two libraries into gateway/osqueue_gateway/dashboard/vendor/, as their authors published them but for two
# things: the names they import each other by, since browsers know no packages, and the links to their source maps.
# With --check it changes nothing and fails when what is there differs from what would be fetched. Needs npm.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/tools.env

vendor=gateway/osqueue_gateway/dashboard/vendor
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
mkdir "$work/vendor"

# fetch NAME VERSION: the published package, unpacked in $work/NAME.
fetch() {
    npm pack --silent --pack-destination "$work" "$1@$2" >/dev/null
    mkdir "$work/$1"
    tar -xzf "$work/$1-$2.tgz" -C "$work/$1" --strip-components 1
}

# module FROM TO: one file, as the browser loads it.
module() {
    sed -e 's#from"preact"#from"./preact.js"#' -e '/^\/\/# sourceMappingURL=/d' "$work/$1" >"$work/vendor/$2"
}

fetch preact "$PREACT"
fetch htm "$HTM"
module preact/dist/preact.mjs preact.js
module preact/hooks/dist/hooks.mjs hooks.js
module htm/dist/htm.mjs htm.js
cp "$work/preact/LICENSE" "$work/vendor/LICENSE-preact"
cp "$work/htm/LICENSE" "$work/vendor/LICENSE-htm"
# For tsc only: the types come from the packages themselves.
echo 'export * from "preact";' >"$work/vendor/preact.d.ts"
echo 'export * from "preact/hooks";' >"$work/vendor/hooks.d.ts"
echo 'export { default } from "htm";' >"$work/vendor/htm.d.ts"
cat >"$work/vendor/README.md" <<TEXT
Libraries of others, fetched by scripts/vendor_dashboard.sh and not edited.

| file | package | version | licence |
|---|---|---|---|
| preact.js, hooks.js | preact | $PREACT | MIT |
| htm.js | htm | $HTM | Apache-2.0 |
TEXT

if [ "${1:-}" = --check ]; then
    diff -r "$work/vendor" "$vendor" || { echo "$vendor differs: run scripts/vendor_dashboard.sh" >&2; exit 1; }
else
    mkdir -p "$vendor"
    cp "$work"/vendor/* "$vendor/"
    echo "vendored preact $PREACT and htm $HTM into $vendor"
fi
