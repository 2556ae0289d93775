#!/usr/bin/env bash
# Makes the virtual environment from the lock files and makes the checkout importable as a collection.
# Usage: tools/setup.sh [dev]     ("dev" brings the tools of lint and tests too)
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv
say() { printf '==> %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

apt_install() {
    if ! command -v apt-get >/dev/null; then
        die "$* is missing, and there is no apt-get to install it with: install it, then run this again"
    fi
    [ "$(id -u)" = 0 ] || die "$* is missing: run 'sudo apt-get install $*', then run this again"
    say "installing $*"
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends "$@" >/dev/null
}

python=$(find_python) || die "no Python 3.11 or newer was found (python3 is $(python3 --version 2>&1 || echo missing)). \
Install one and name it: make setup PYTHON=/path/to/python3.12"

# Made anew where a killed run left half of it, where its Python is gone, and where the checkout has another path now.
made=$venv/.made
if [ "$(cat "$made" 2>/dev/null)" != "$PWD" ] || ! "$venv/bin/python" -c '' 2>/dev/null; then
    "$python" -c 'import ensurepip' 2>/dev/null || apt_install python3-venv
    say "making $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv"
    printf '%s' "$PWD" >"$made"
fi

# uv is much quicker than pip, and comes from the same lock.
install_lock() {
    local lock=$1 stamp
    stamp=$venv/.installed-$(sha256sum "$lock" | cut -c1-16)
    [ -e "$stamp" ] && return
    say "installing $lock ($(grep -c '==' "$lock") packages)"
    if ! [ -x "$venv/bin/uv" ]; then
        awk '/^uv==/ {found = 1} found {print} found && !/\\$/ {exit}' requirements.txt >"$venv/uv.txt"
        "$venv/bin/python" -m pip --quiet --disable-pip-version-check install --require-hashes -r "$venv/uv.txt"
    fi
    # shellcheck source=tools/package_index.sh
    . tools/package_index.sh "$venv/bin/python"
    VIRTUAL_ENV=$venv "$venv/bin/uv" --quiet pip install --require-hashes -r "$lock"
    touch "$stamp"
}

install_lock requirements.txt
if [ "${1:-}" = dev ]; then
    install_lock requirements-dev.txt
fi

collection=.ansible/collections/ansible_collections/memcloud/memmachine
if [ "$(readlink -f "$collection")" != "$PWD" ]; then
    mkdir -p "$(dirname "$collection")"
    ln -sfn ../../../.. "$collection"
fi
say "ready: $("$venv/bin/ansible" --version | sed -n 1p) in $venv"
