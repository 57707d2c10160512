#!/bin/sh
# Two hosts on one machine, for trying what runs on several: network namespaces joined by a cable, each with a name and address of
# its own. Linux, as root, with iproute2.
#
#     benchmarks/two_hosts.sh check                  says why it cannot be, if it cannot
#     benchmarks/two_hosts.sh FIRST OTHER            runs the shell command FIRST on host `one` and OTHER on host `two`
#
# The hosts share all files. Each resolves the names `one` and `two`; Gloo and NCCL are told which interface to use. It ends with FIRST's
# exit code when FIRST ends; OTHER is ended then.
set -eu

prefix=medloom-$$

fail() { echo "two_hosts.sh: $*" >&2; exit 1; }

cleanup() {
    for host in one two; do
        # Whatever still runs there.
        for number in $(ip netns pids "$prefix-$host" 2>/dev/null); do kill -9 "$number" 2>/dev/null || true; done
        ip netns del "$prefix-$host" 2>/dev/null || true
    done
    rm -f "$hosts"
}

connect() {
    [ "$(id -u)" = 0 ] || fail "start it as root"
    command -v ip >/dev/null || fail "no ip here: apt-get install iproute2"
    hosts=$(mktemp)
    trap cleanup EXIT INT TERM
    printf '127.0.0.1 localhost\n10.77.0.1 one\n10.77.0.2 two\n' >"$hosts"
    for host in one two; do
        ip netns add "$prefix-$host" 2>/dev/null || fail "this machine permits no network namespaces"
    done
    ip link add eth0 netns "$prefix-one" type veth peer name eth0 netns "$prefix-two" 2>/dev/null ||
        fail "this machine permits no virtual cable (veth)"
    number=1
    for host in one two; do
        ip -n "$prefix-$host" addr add "10.77.0.$number/24" dev eth0
        ip -n "$prefix-$host" link set eth0 up
        ip -n "$prefix-$host" link set lo up
        number=$((number + 1))
    done
}

# on HOST COMMAND
on() {
    GLOO_SOCKET_IFNAME=eth0 NCCL_SOCKET_IFNAME=eth0 nsenter --net="/var/run/netns/$prefix-$1" unshare --uts --mount \
        sh -c 'hostname "$0" && mount --bind "$1" /etc/hosts && exec sh -c "$2"' "$1" "$hosts" "$2"
}

case "$#:${1:-}" in
    1:check)
        connect
        on one 'getent hosts two >/dev/null' || fail "host one does not know host two"
        ;;
    2:*)
        connect
        on two "$2" &
        code=0
        on one "$1" || code=$?
        exit "$code"
        ;;
    *) fail "say check, or the two commands" ;;
esac
