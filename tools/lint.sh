#!/usr/bin/env bash
# Every linter, all of them even when one fails.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
export PATH=$PWD/.venv/bin:$PATH

checkout=$PWD
failed=()
check() {
    local name=$1 started=$SECONDS
    shift
    if "$@"; then
        printf '==> %s: clean (%s s)\n' "$name" $((SECONDS - started))
    else
        printf '==> %s: FAILED\n' "$name"
        failed+=("$name")
    fi
}

# mypy reads the collection under its full name, through the link that `make setup` made.
mypy_collection() {
    (cd .ansible/collections && MYPYPATH=. mypy --config-file "$checkout/pyproject.toml" \
        --cache-dir "$checkout/.cache/mypy" -p ansible_collections.memcloud.memmachine.plugins)
}

mypy_service() {
    (cd "$1" && MYPYPATH=. mypy --config-file "$checkout/pyproject.toml" --cache-dir "$checkout/.cache/mypy" .)
}

check 'ruff' ruff check --quiet .
check 'ruff format' ruff format --quiet --check .
check 'mypy plugins' mypy_collection
for service in roles/edge/files/gate roles/demo_model/files/*/; do
    [ -d "$service" ] && check "mypy $service" mypy_service "$service"
done
check 'yamllint' yamllint --strict .
mapfile -t scripts < <(git ls-files "tools/*.sh" ".ci/*")
check "shell scripts" shellcheck --severity=warning "${scripts[@]}"
check 'roles: options and their specs' python -m pytest -q tests/lint
check 'ansible-lint' ansible-lint --offline --profile production

if [ ${#failed[@]} -gt 0 ]; then
    printf 'lint failed: %s\n' "${failed[*]}" >&2
    exit 1
fi
