#!/usr/bin/env bash
# Runs the molecule scenarios, all or the named ones, one after the other on the platform `ci` of this machine.
# KEEP=1 leaves the node of `ci` set up afterwards.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PWD/.venv/bin:$PATH

export ANSIBLE_CONFIG=$PWD/ansible.cfg MOLECULE_GLOB='molecule/*/molecule.yml' ANSIBLE_FORCE_COLOR=0 NO_COLOR=1
scenarios=("$@")
if [ $# -eq 0 ]; then
    scenarios=(default two_tenants drift remote_node)
fi

tools/test_packages.sh
results=()
failed=0
for scenario in "${scenarios[@]}"; do
    printf '==> molecule test --scenario-name %s\n' "$scenario"
    started=$SECONDS
    if molecule test --scenario-name "$scenario"; then
        results+=("$scenario passed ($((SECONDS - started)) s)")
    else
        results+=("$scenario FAILED ($((SECONDS - started)) s)")
        failed=1
    fi
done

if [ -z "${KEEP:-}" ]; then
    ansible-playbook -i inventories/ci playbooks/remove_node.yml -e remove_data=true || failed=1
    rm -rf inventories/ci/.secrets inventories/ci/host_vars/*.yml
fi
printf '==> %s\n' "${results[@]}"
exit $failed
