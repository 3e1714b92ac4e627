#!/usr/bin/env bash
# Installs @connectrpc/connect-node and generates its code from proto/, for the tests that call the gateway with an
# unmodified Connect client. The code goes into build/connect-node, because each clone has its own proto/. Needs node and
# npm; buf comes from .venv. Does nothing where both the wanted versions and the code of this proto/ are there.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/tools.sh

if missing connect-node "$CONNECT_NODE"; then
    npm install --prefix "$place" --no-audit --no-fund --loglevel=error \
        "@connectrpc/connect@$CONNECT_NODE" "@connectrpc/connect-node@$CONNECT_NODE" \
        "@bufbuild/protobuf@$PROTOBUF_ES" "@bufbuild/protoc-gen-es@$PROTOBUF_ES"
    complete
fi

target=build/connect-node
wanted=$(cat scripts/tools.env proto/osqueue/v1/*.proto | cksum)
if [ "$wanted" = "$(cat "$target/generated_from" 2>/dev/null)" ]; then
    exit 0
fi
rm -rf "$target"
mkdir -p "$target"
echo '{"private": true, "type": "module"}' >"$target/package.json"
ln -s "$place/node_modules" "$target/node_modules"
cat > "$target/buf.gen.yaml" <<YAML
version: v2
inputs:
  - directory: proto
plugins:
  - local: ["$place/node_modules/.bin/protoc-gen-es"]
    out: $target/generated
    opt: [target=js, import_extension=js]
YAML
PATH="$PWD/.venv/bin:$PATH" buf generate --template "$target/buf.gen.yaml"
echo "$wanted" > "$target/generated_from"
echo "generated $target"
