#!/usr/bin/env bash
# Installs the Debian packages that tests use and a bare machine may not have. Those of the product itself are
# installed by its roles.
set -euo pipefail

declare -A package_of=(
    [curl]=curl [ip]=iproute2 [iptables]=iptables [mmdebstrap]=mmdebstrap [nft]=nftables [pebble]=pebble
    [pgrep]=procps [restic]=restic [shellcheck]=shellcheck [ssh]=openssh-client [sysctl]=procps
    [systemd-analyze]=systemd [unshare]=util-linux
)
missing=()
for command in "${!package_of[@]}"; do
    command -v "$command" >/dev/null || missing+=("${package_of[$command]}")
done
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    printf 'missing: %s. Install them, then run this again.\n' "${missing[*]}" >&2
    exit 1
fi
printf '==> installing %s\n' "${missing[*]}"
apt-get -qq update
DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends "${missing[@]}" >/dev/null
