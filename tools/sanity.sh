#!/usr/bin/env bash
# Runs ansible-test sanity on a copy of what git knows, in the folder layout that ansible-test asks for.
# Arguments are handed on: tools/sanity.sh --test validate-modules
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PWD/.venv/bin:$PATH
checkout=$PWD

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
target=$copy/ansible_collections/memcloud/memmachine
mkdir -p "$target"
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
    [ -e "$file" ] && printf '%s\0' "$file"
done | tar --create --null --files-from=- | tar --extract --directory="$target"
cd "$target"


# ansible-test keeps its virtual environments in the home directory: give it one of its own. It hides the environment
# from pip too, so pip's settings (index, certificates) go there with it.
settings=$(python -m pip config list)
export HOME=$checkout/.cache/ansible-test
mkdir -p "$HOME/.ansible/test/cache"
mkdir -p "$HOME/.config/pip"
{
    echo '[global]'
    sed -nE "s/^(global|:env:)\.([a-z-]+)='(.*)'$/\2 = \3/p" <<<"$settings" | sort -t= -k1,1 -u
} >"$HOME/.config/pip/pip.conf"
cp "$checkout/tools/get_pip.py" "$HOME/.ansible/test/cache/get_pip_24_2.py"
export ANSIBLE_COLLECTIONS_PATH=$copy ANSIBLE_CONFIG=$copy/ansible.cfg
: >"$ANSIBLE_CONFIG"
# ansible-test compiles and imports the code with each Python that it finds. pyenv's shims are there for versions that
# do not start: show it the interpreters themselves, of the oldest Python that a node may have and of the newest.
if command -v pyenv >/dev/null; then
    versions=$(pyenv root)/versions
    PATH=$(tr ':' '\n' <<<"$PATH" | grep -v '/\.pyenv/shims' | paste -sd:)
    for directory in "$versions"/3.9.*/bin "$(printf '%s\n' "$versions"/3.*/bin | sort -V | tail -n 1)"; do
        [ ! -d "$directory" ] || PATH=$PATH:$directory
    done
fi
# Tests, scenarios and benches are held to ruff, not to the rules of code that Ansible runs.
ansible-test sanity --venv --python default --color no \
    --exclude bench/ --exclude molecule/ --exclude tests/ "$@"
