#!/bin/sh
# A real Slurm of one node, for trying what runs on Slurm: no systemd, no cgroups, no accounting. Debian or Ubuntu, as root.
#
#     apt-get install --no-install-recommends slurm-wlm munge
#     eval "$(benchmarks/slurm.sh start [DIR])"     prints `export SLURM_CONF=...`, by which sbatch and submitit find it
#     benchmarks/slurm.sh status
#     benchmarks/slurm.sh stop
#
# Key, configuration, logs and spool lie in DIR (a new temporary folder where none is given); /etc is not touched. `start` on a
# Slurm that runs changes nothing. SLURM_CONF names the one that `status` and `stop` mean; without it, the one started last.
# There is no slurmdbd, so `sacct` answers nothing: submitit tells the end of a job by its result file, and of a job that
# died without writing one only by `squeue` and the logs.
set -eu

here=$(dirname "$0")
last=${TMPDIR:-/tmp}/medloom-slurm.$(id -u)

fail() { echo "slurm.sh: $*" >&2; exit 1; }

folder() {
    if [ -n "${SLURM_CONF:-}" ]; then dirname "$SLURM_CONF"; elif [ -r "$last" ]; then cat "$last"; fi
}

lives() { [ -r "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }

running() { [ -n "$1" ] && lives "$1/slurmctld.pid" && lives "$1/slurmd.pid" && lives "$1/munged.pid"; }

write_configuration() {
    host=$(hostname -s)
    processors=$(env -u OMP_NUM_THREADS nproc)  # which nproc would take for how many there are
    # All but an eighth of the memory: slurmd refuses a node that announces more than it has.
    memory=$(awk '/^MemTotal/ {print int($2 / 1024 * 7 / 8)}' /proc/meminfo)
    cat >"$1/slurm.conf" <<CONF
ClusterName=medloom
$(cat "$here/slurm_alone.conf")
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=${SLURM_SH_PORT:-16817}
SlurmdPort=$((${SLURM_SH_PORT:-16817} + 1))
# Also how long a job that went back into the queue waits: two minutes unless said.
AuthInfo=socket=$1/munge.socket,cred_expire=10
StateSaveLocation=$1/state
SlurmdSpoolDir=$1/spool
SlurmctldPidFile=$1/slurmctld.pid
SlurmdPidFile=$1/slurmd.pid
SlurmctldLogFile=$1/slurmctld.log
SlurmdLogFile=$1/slurmd.log
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=$((memory / processors))
MaxArraySize=100000
MaxJobCount=100000
NodeName=$host NodeAddr=127.0.0.1 CPUs=$processors RealMemory=$memory State=UNKNOWN
PartitionName=local Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
    # slurmd looks for the machine's cgroups even where nothing asks for them; releases that know the word are told not to.
    if slurmd -V | awk '{split($2, v, "."); exit !(v[1] >= 24)}'; then echo "CgroupPlugin=disabled" >"$1/cgroup.conf"; fi
}

start() {
    dir=$(folder)
    if running "$dir"; then echo "export SLURM_CONF=$dir/slurm.conf"; return; fi
    [ "$(id -u)" = 0 ] || fail "start it as root"
    for program in munged slurmctld slurmd sbatch; do
        command -v "$program" >/dev/null || fail "no $program here: apt-get install --no-install-recommends slurm-wlm munge"
    done
    dir=${1:-$(mktemp -d "${TMPDIR:-/tmp}/medloom-slurm.XXXXXX")}
    mkdir -p "$dir/state" "$dir/spool"
    dir=$(cd "$dir" && pwd)
    chmod 755 "$dir"  # munged wants its socket within everyone's reach
    [ -s "$dir/munge.key" ] || (umask 077 && dd if=/dev/urandom of="$dir/munge.key" bs=1024 count=1 2>/dev/null)
    write_configuration "$dir"
    lives "$dir/munged.pid" || munged --force --key-file="$dir/munge.key" --socket="$dir/munge.socket" --pid-file="$dir/munged.pid" \
        --log-file="$dir/munged.log" --seed-file="$dir/munge.seed" >&2
    export SLURM_CONF="$dir/slurm.conf"
    echo "$dir" >"$last"
    lives "$dir/slurmctld.pid" || slurmctld -c >&2
    lives "$dir/slurmd.pid" || slurmd >&2
    for _ in $(seq 60); do
        if [ "$(sinfo -h -o %t 2>/dev/null)" = idle ]; then echo "export SLURM_CONF=$SLURM_CONF"; return; fi
        sleep 0.5
    done
    tail -n 5 "$dir"/*.log >&2
    fail "the node did not come up in 30 seconds; the ends of the logs are above, the whole in $dir"
}

stop() {
    dir=$(folder)
    [ -n "$dir" ] || { echo "slurm.sh: none was started" >&2; return; }
    export SLURM_CONF="$dir/slurm.conf"
    if lives "$dir/slurmctld.pid"; then scancel -u root 2>/dev/null || true; fi
    for name in slurmd slurmctld munged; do
        if lives "$dir/$name.pid"; then
            number=$(cat "$dir/$name.pid")
            kill "$number"
            for _ in $(seq 40); do kill -0 "$number" 2>/dev/null || break; sleep 0.25; done
            kill -9 "$number" 2>/dev/null || true
        fi
        rm -f "$dir/$name.pid"
    done
    rm -f "$last"
}

status() {
    dir=$(folder)
    running "$dir" || fail "not running"
    export SLURM_CONF="$dir/slurm.conf"
    echo "export SLURM_CONF=$dir/slurm.conf"
    sinfo
    squeue
}

case "${1:-}" in
    start) start "${2:-}" ;;
    stop) stop ;;
    status) status ;;
    *) fail "say start [DIR], status or stop" ;;
esac
