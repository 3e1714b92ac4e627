#!/usr/bin/env bash
# Installs @connectrpc/connect-node with code generated from proto/ into .cache/connect-node, for the tests that call the
# gateway with an unmodified Connect client. Needs node and npm; buf comes from the virtual environment.
set -euo pipefail
cd "$(dirname "$0")/.."

target=.cache/connect-node
bin="$PWD/.venv/bin"
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
PATH="$bin:$PATH" buf generate --template "$target/buf.gen.yaml"
echo "installed into $target"
