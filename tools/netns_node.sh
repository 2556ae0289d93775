#!/usr/bin/env bash
# A second machine on this one, to test against: a Debian of its own in namespaces of its own (mount, network, process,
# host name), with nothing but SSH and Python. What is installed and started in it (a Docker Engine too) is its own.
#
# Usage: tools/netns_node.sh create NAME [SUITE]   prints the connection variables of the node as YAML
#        tools/netns_node.sh copy NAME FROM        the same for a copy of a node whose engine has been stopped
#        tools/netns_node.sh destroy NAME
#        tools/netns_node.sh reboot NAME           stops every process of the node and starts its SSH server again
#        tools/netns_node.sh run NAME COMMAND…     runs a command in the node
# NODE_LINK is the first three numbers of the /24 between this machine and the node (default 10.201.0).
set -euo pipefail

action=${1:?create, copy, destroy, reboot or run}
name=${2:?name of the node}
home=${NODE_HOME:-/var/tmp/memcloud-node}/$name
link=${NODE_LINK:-$(cat "$home/link" 2>/dev/null || echo 10.201.0)}
root=$home/root
here=$(cd "$(dirname "$0")/.." && pwd)

say() { printf '==> node %s: %s\n' "$name" "$*" >&2; }

init_pid() { cat "$home/pid" 2>/dev/null; }

alive() {
    local pid
    pid=$(init_pid) && [ -n "$pid" ] && [ "/proc/$pid/root/etc/hosts" -ef "$root/etc/hosts" ]
}

in_node() {
    nsenter --target "$(init_pid)" --mount --net --uts --ipc --pid --root \
        env -i --chdir=/root HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

name_it() {
    printf '127.0.0.1 localhost %s\n::1 localhost\n' "$name" >"$root/etc/hosts"
}

# Images are carried to a machine and copied to the next: its disk is in memory where there is enough of it.
make_disk() {
    local gigabytes
    gigabytes=$(awk '/^MemAvailable/ { print int($2 / 1024 / 1024) }' /proc/meminfo)
    mkdir -p "$home"
    [ "$gigabytes" -lt 12 ] || mountpoint -q "$home" || mount -t tmpfs -o mode=755,size=12g tmpfs "$home"
}

give_key() {
    install -d -m 0700 "$home" "$root/root/.ssh"
    [ -e "$home/id" ] || ssh-keygen -q -t ed25519 -N '' -C "$name" -f "$home/id"
    install -m 0600 "$home/id.pub" "$root/root/.ssh/authorized_keys"
}

# As machines are made from an image: the same files, another name, other keys, another engine.
copy_root() {
    local from=$1
    mkdir -p "$root/dev"
    tar --create --xattrs --xattrs-include='*' --directory="$from" --exclude=./dev \
        --exclude=./var/lib/docker/containers . | tar --extract --xattrs --xattrs-include='*' --directory="$root"
    rm -f "$root"/etc/ssh/ssh_host_*_key* "$root/etc/machine-id" "$root/etc/docker/key.json" \
        "$root/var/lib/docker/engine-id" "$root/var/run/docker.pid"
    ssh-keygen -A -f "$root" >/dev/null
    name_it
    give_key
}

make_root() {
    local suite=$1
    local base=$here/.cache/node-$suite.tar
    if ! [ -e "$base" ]; then
        say "building Debian $suite"
        mkdir -p "$here/.cache"
        mmdebstrap --quiet --format=tar --variant=minbase --include=openssh-server,python3,ca-certificates "$suite" "$base.part"
        mv "$base.part" "$base"
    fi
    mkdir -p "$root"
    tar --extract --file="$base" --directory="$root" --exclude=./dev
    mkdir -p "$root/dev"
    # As its owner would have set it up: name servers, certificates and package settings of this network.
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    cp -r /usr/local/share/ca-certificates/. "$root/usr/local/share/ca-certificates/"
    chroot "$root" update-ca-certificates >/dev/null 2>&1
    cp /etc/pip.conf "$root/etc/pip.conf" 2>/dev/null || true # only where this machine has one
    name_it
    give_key
    cat >"$root/usr/local/sbin/first-process" <<'EOF'
#!/usr/bin/python3
# Collects the orphans, as an init system does, and starts nothing but the SSH server.
import os
import subprocess

subprocess.Popen(["/usr/sbin/sshd", "-D", "-e"], stdin=subprocess.DEVNULL)
while True:
    os.wait()
EOF
    chmod 0755 "$root/usr/local/sbin/first-process"
    printf 'PermitRootLogin prohibit-password\nPasswordAuthentication no\nUsePAM no\n' \
        >"$root/etc/ssh/sshd_config.d/test.conf"
}

link_up() {
    echo "$link" >"$home/link"
    ip netns list | grep -qw "mcn-$name" && return
    ip netns add "mcn-$name"
    ip link add "mcn-$name" type veth peer name eth0 netns "mcn-$name"
    ip address add "$link.1/24" dev "mcn-$name"
    ip link set "mcn-$name" up
    ip -n "mcn-$name" address add "$link.2/24" dev eth0
    ip -n "mcn-$name" link set lo up
    ip -n "mcn-$name" link set eth0 up
    ip -n "mcn-$name" route add default via "$link.1"
    sysctl --quiet --write net.ipv4.ip_forward=1
    iptables -t nat -A POSTROUTING -s "$link.0/24" ! -d "$link.0/24" -j MASQUERADE
    iptables -I FORWARD -i "mcn-$name" -j ACCEPT
    iptables -I FORWARD -o "mcn-$name" -j ACCEPT
}

link_down() {
    iptables -t nat -D POSTROUTING -s "$link.0/24" ! -d "$link.0/24" -j MASQUERADE 2>/dev/null || true
    iptables -D FORWARD -i "mcn-$name" -j ACCEPT 2>/dev/null || true
    iptables -D FORWARD -o "mcn-$name" -j ACCEPT 2>/dev/null || true
    ip link delete "mcn-$name" 2>/dev/null || true
    ip netns delete "mcn-$name" 2>/dev/null || true
}

# Runs in the namespaces of the node before its first process: the mounts that a machine has.
# shellcheck disable=SC2016 # expanded by the shell that runs it
mounts='
    mount --make-rprivate /
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount -t sysfs sysfs "$root/sys"
    mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"
    mount -t tmpfs -o mode=755 tmpfs "$root/dev"
    for device in null zero full random urandom tty; do
        touch "$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"
    done
    for device in net/tun fuse; do
        [ -e "/dev/$device" ] || continue
        mkdir -p "$(dirname "$root/dev/$device")"; touch "$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"
    done
    ln -s /proc/self/fd "$root/dev/fd"
    ln -s /proc/self/fd/0 "$root/dev/stdin"; ln -s /proc/self/fd/1 "$root/dev/stdout"; ln -s /proc/self/fd/2 "$root/dev/stderr"
    mkdir "$root/dev/pts" "$root/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"; ln -s pts/ptmx "$root/dev/ptmx"
    mount -t tmpfs tmpfs "$root/dev/shm"
    mount -t tmpfs -o mode=755 tmpfs "$root/run"
    hostname "$name"
    mkdir -p "$root/run/sshd"
    # Not chroot: what is executed in a container would start at the root of this machine.
    mkdir -p "$root/.machine"
    cd "$root"
    pivot_root . .machine
    umount --lazy /.machine
    exec /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        /usr/local/sbin/first-process
'
start() {
    # Own session and closed descriptors: the node outlives the shell that made it.
    export root name
    setsid nsenter --net="/var/run/netns/mcn-$name" \
        unshare --mount --uts --ipc --pid --fork --kill-child bash -euc "$mounts" \
        >"$home/console.log" 2>&1 </dev/null &
    local outer=$! tries
    for tries in $(seq 100); do
        pgrep -P "$outer" >"$home/pid" 2>/dev/null || true
        if alive && (exec 3<>"/dev/tcp/$link.2/22") 2>/dev/null; then
            return
        fi
        kill -0 "$outer" 2>/dev/null || break
        sleep 0.1
    done
    cat "$home/console.log" >&2
    printf 'node %s: no SSH server after %s tries\n' "$name" "$tries" >&2
    return 1
}

stop() {
    if alive; then
        kill -KILL "$(init_pid)" # the kernel ends every process of its process namespace with it
        while alive; do sleep 0.1; done
    fi
    rm -f "$home/pid"
}

case $action in
create | copy)
    alive || {
        make_disk
        case $action in
        create) make_root "${3:-trixie}" ;;
        copy) copy_root "${home%/*}/${3:?node to copy}/root" ;;
        esac
        link_up
        start
    }
    say "answers at $link.2"
    ssh-keyscan -t ed25519 "$link.2" 2>/dev/null >"$home/known_hosts"
    printf 'ansible_host: %s\nansible_user: root\nansible_ssh_private_key_file: %s\n' "$link.2" "$home/id"
    printf 'ansible_ssh_common_args: -o UserKnownHostsFile=%s\n' "$home/known_hosts"
    ;;
reboot)
    stop
    start
    ;;
run)
    shift 2
    in_node "$@"
    ;;
destroy)
    stop
    link_down
    ! mountpoint -q "$home" || umount --lazy "$home"
    rm -rf --one-file-system "$home"
    ;;
*)
    printf 'unknown action %s\n' "$action" >&2
    exit 2
    ;;
esac
