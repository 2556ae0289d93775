#!/usr/bin/env bash
# Everything that must pass. The checks that need no container run beside the setting up of the node, which builds
# the images; the scenarios follow. LOGS (default .cache/test) keeps the output of each part.
set -euo pipefail
cd "$(dirname "$0")/.."

logs=${LOGS:-$PWD/.cache/test}
mkdir -p "$logs"
started=$SECONDS
say() { printf '==> [%4d s] %s\n' $((SECONDS - started)) "$*"; }

tools/setup.sh dev
tools/test_packages.sh
export PATH=$PWD/.venv/bin:$PATH ANSIBLE_CONFIG=$PWD/ansible.cfg PYTHONDONTWRITEBYTECODE=1

checks() {
    local failed=0 check
    for check in lint unit build sanity; do
        say "$check started"
        if "tools/$check.sh" >"$logs/$check.log" 2>&1; then
            say "$check passed"
        else
            say "$check FAILED, the end of $logs/$check.log:"
            tail -n 40 "$logs/$check.log"
            failed=1
        fi
    done
    return $failed
}

# A run that was killed leaves a platform whose root key went with its clone.
take_away_what_was_left() {
    [ -d /var/lib/memcloud/ci ] && [ ! -e inventories/ci/.secrets/root_key ] || return 0
    say 'taking away the node of ci that an earlier run left'
    /usr/local/sbin/memcloud-node up
    ansible-playbook -i inventories/ci playbooks/remove_node.yml -e remove_data=true
}

set_up_node() {
    take_away_what_was_left
    ansible-playbook -i inventories/ci playbooks/init_inventory.yml playbooks/setup_node.yml
}

checks &
checks_pid=$!
say 'setting up the node (builds the images where they are missing)'
failed=0
if set_up_node >"$logs/setup_node.log" 2>&1; then
    say 'node is set up'
else
    say "setting up the node FAILED, the end of $logs/setup_node.log:"
    tail -n 40 "$logs/setup_node.log"
    failed=1
fi

wait $checks_pid || failed=1
if [ $failed = 0 ] || [ -n "${GO_ON:-}" ]; then
    say 'scenarios'
    KEEP=1 tools/molecule.sh || failed=1
    say "quickstart and the commands of the README, in a fresh clone"
    pytest -p no:cacheprovider tests/quickstart || failed=1
fi

say 'taking the node of ci away'
ansible-playbook -i inventories/ci playbooks/remove_node.yml -e remove_data=true >"$logs/remove_node.log" 2>&1 || failed=1
rm -rf inventories/ci/.secrets inventories/ci/host_vars/*.yml

if [ $failed = 0 ]; then say 'all passed'; else say 'FAILED'; fi
exit $failed
