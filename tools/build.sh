#!/usr/bin/env bash
# Builds the collection, installs the archive elsewhere, and reads its documentation there.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PWD/.venv/bin:$PATH

elsewhere=$(mktemp -d)
trap 'rm -rf "$elsewhere"' EXIT
: >"$elsewhere/ansible.cfg"
export ANSIBLE_CONFIG=$elsewhere/ansible.cfg ANSIBLE_COLLECTIONS_PATH=$elsewhere/installed

# A copy of what git knows: nothing of a working copy (keys, inventories of the quickstart) can get into the archive.
mkdir "$elsewhere/source"
git ls-files -z | while IFS= read -r -d '' file; do
    [ -e "$file" ] && printf '%s\0' "$file"
done | tar --create --null --files-from=- | tar --extract --directory="$elsewhere/source"

ansible-galaxy collection build --output-path "$elsewhere" "$elsewhere/source"
ansible-galaxy collection install --offline --no-deps "$elsewhere"/memcloud-memmachine-*.tar.gz

cd "$elsewhere"
read_documentation() {
    local type=$1 directory=$2 name path
    for path in installed/ansible_collections/memcloud/memmachine/"$directory"/*; do
        name=$(basename "${path%.py}")
        [[ $name == _* ]] && continue
        printf '%s\n' "memcloud.memmachine.$name"
    done | xargs --no-run-if-empty ansible-doc --type "$type" --json >"documented-$type.json"
    printf '==> ansible-doc --type %s: %s documented\n' "$type" \
        "$(python -c 'import json, sys; print(len(json.load(open(sys.argv[1]))))' "documented-$type.json")"
}
read_documentation module plugins/modules
read_documentation inventory plugins/inventory
read_documentation role roles

printf '==> what an image of the controller needs for it\n'
ansible-builder introspect --write-pip python.txt --write-bindep system.txt installed >/dev/null
grep --quiet ruamel.yaml python.txt
grep --quiet restic system.txt

printf '==> playbooks by their full names, and their second names\n'
for playbook in installed/ansible_collections/memcloud/memmachine/playbooks/*.yml; do
    # No collection's playbook can have a dash in its full name: second names are files.
    name=memcloud.memmachine.$(basename "$playbook" .yml)
    [[ $playbook == *-* ]] && name=$playbook
    ansible-playbook --syntax-check --inventory localhost, --extra-vars tenant=acme "$name" >/dev/null
done
