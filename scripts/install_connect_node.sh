#!/usr/bin/env bash
# Installs @connectrpc/connect-node, with code generated from proto/, into .cache/connect-node, for the tests that call
# the gateway with an unmodified Connect client. Needs node and npm; buf comes from .venv. Does nothing where both the
# wanted versions and the code of this proto/ are installed.
set -euo pipefail
cd "$(dirname "$0")/.."

target=.cache/connect-node
mkdir -p "$target"
cat > "$target/package.json" <<'JSON'
{
  "private": true,
  "type": "module",
  "dependencies": {
    "@bufbuild/protobuf": "2.17.0",
    "@bufbuild/protoc-gen-es": "2.17.0",
    "@connectrpc/connect": "2.2.0",
    "@connectrpc/connect-node": "2.2.0"
  }
}
JSON
wanted=$(cat "$target/package.json" proto/osqueue/v1/*.proto | cksum)
if [ "$wanted" = "$(cat "$target/installed" 2>/dev/null)" ]; then
    exit 0
fi
npm install --prefix "$target" --no-audit --no-fund --loglevel=error

cat > "$target/buf.gen.yaml" <<YAML
version: v2
inputs:
  - directory: proto
plugins:
  - local: ["$PWD/$target/node_modules/.bin/protoc-gen-es"]
    out: $target/generated
    opt: [target=js, import_extension=js]
YAML
PATH="$PWD/.venv/bin:$PATH" buf generate --template "$target/buf.gen.yaml"
echo "$wanted" > "$target/installed"
echo "installed connect-node"
