# Sourced by the scripts that install tools: where each lies, and whether it is there.
# shellcheck shell=bash disable=SC1091,SC2034

source "$(dirname "${BASH_SOURCE[0]}")/tools.env"
cache="${TOOLS_CACHE:-$HOME/.cache/osqueue-tools}"
mkdir -p "$cache"

# Two clones may want the same tool at the same time.
exec 8>"$cache/.lock"
if command -v flock >/dev/null; then
    flock 8
fi

# missing NAME VERSION: sets $place to the tool's folder; true, and the folder empty, when it is not installed there.
missing() {
    place="$cache/$1-$2"
    if [ -e "$place/.complete" ]; then
        return 1
    fi
    rm -rf "$place"
    mkdir -p "$place"
}

# complete: what was put into $place is all of it.
complete() {
    touch "$place/.complete"
    echo "installed ${place##*/}"
}
