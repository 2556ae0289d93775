#!/usr/bin/env bash
# Resolves each requirements*.in again into the lock file beside it: of the controller, of the virtual environment on
# nodes, and of the images. (Those of the MemMachine image: tools/lock_memmachine.py.)
# Usage: tools/lock.sh [--keep]     (takes the newest versions that fit, with --keep those that are locked already)
set -euo pipefail
cd "$(dirname "$0")/.."

upgrade=(--upgrade)
[ "${1:-}" = --keep ] && upgrade=()

# shellcheck source=tools/package_index.sh
. tools/package_index.sh .venv/bin/python
uv=$PWD/.venv/bin/uv

# Names of a requirements file without .in and of the oldest Python that it is for, then options of uv.
lock() {
    local directory name python=$2
    directory=$(dirname "$1") name=$(basename "$1")
    printf '==> %s.txt\n' "$1"
    (cd "$directory" && "$uv" pip compile --quiet "${upgrade[@]}" --generate-hashes --python-version "$python" \
        "${@:3}" -o "$name.txt" "$name.in")
}

lock requirements 3.11 --universal --no-annotate --custom-compile-command 'make lock'
lock requirements-dev 3.11 --universal --no-annotate --custom-compile-command 'make lock'
# Nodes have Python 3.9 or newer, the images that of Debian 13.
lock roles/docker_node/files/requirements 3.9 --universal --no-header
for image in edge/files/gate edge/files/traefik demo_model/files/demo_model; do
    lock "roles/$image/requirements" 3.13 --no-header
done
