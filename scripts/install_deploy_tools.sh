#!/usr/bin/env bash
# Installs what the tests of deploy/ and of `osqueue deploy` need beside the emulator of AWS, which is one of the test
# servers. Needs Python 3.11 with venv, and Go: helm takes two minutes to build. Does nothing where the wanted versions are
# installed.
#
#   cfn-lint             checks the template of CloudFormation against AWS's schemas
#   helm                 lints and renders the chart
#   kubernetes-validate  checks what was rendered against Kubernetes' schemas
#   systemd-analyze      checks the units; Debian's, with apt-get, as root, where there is none
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/tools.sh

python="${PYTHON:-python3}"

# from_pypi NAME VERSION
from_pypi() {
    if missing "$1" "$2"; then
        "$python" -m venv "$place"
        "$place/bin/pip" install --quiet --disable-pip-version-check "$1==$2"
        complete
    fi
}

from_pypi cfn-lint "$CFN_LINT"
from_pypi kubernetes-validate "$KUBERNETES_VALIDATE"
if missing helm "$HELM"; then
    GOBIN="$place" go install "helm.sh/helm/v3/cmd/helm@$HELM"
    complete
fi
if ! command -v systemd-analyze >/dev/null && command -v apt-get >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends systemd >/dev/null
fi
echo "deploy tools are in $cache"
