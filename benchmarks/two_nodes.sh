#!/bin/sh
# A real Slurm of two nodes on one machine, each a host of its own (see two_hosts.sh), for trying what srun starts on several. As root.
#
#     apt-get install --no-install-recommends slurm-wlm munge iproute2
#     benchmarks/two_nodes.sh COMMAND     runs the shell command on node `one`, with sbatch and srun at hand; its exit code
#
# The nodes are `one` and `two`. All of it is ended, and its files are gone, when COMMAND ends.
set -eu

fail() { echo "two_nodes.sh: $*" >&2; exit 1; }

here=$(dirname "$0")
[ $# = 1 ] || fail "say the command"
for program in munged slurmctld slurmd sbatch; do
    command -v "$program" >/dev/null || fail "no $program here: apt-get install --no-install-recommends slurm-wlm munge"
done
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
chmod 755 "$dir"  # munged wants its socket within everyone's reach
mkdir "$dir/state" "$dir/spool-one" "$dir/spool-two"
(umask 077 && dd if=/dev/urandom of="$dir/munge.key" bs=1024 count=1 2>/dev/null)
cat >"$dir/slurm.conf" <<CONF
ClusterName=medloom
$(cat "$here/slurm_alone.conf")
SlurmctldHost=one(10.77.0.1)
SlurmctldPort=16917
SlurmdPort=16918
AuthInfo=socket=$dir/munge.socket
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool-%n
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd-%n.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd-%n.log
SelectTypeParameters=CR_CPU
NodeName=one NodeAddr=10.77.0.1 CPUs=$(nproc) State=UNKNOWN
NodeName=two NodeAddr=10.77.0.2 CPUs=$(nproc) State=UNKNOWN
PartitionName=local Nodes=one,two Default=YES MaxTime=INFINITE State=UP
CONF
if slurmd -V | awk '{split($2, v, "."); exit !(v[1] >= 24)}'; then echo "CgroupPlugin=disabled" >"$dir/cgroup.conf"; fi
cat >"$dir/first" <<FIRST
munged --force --key-file=$dir/munge.key --socket=$dir/munge.socket --pid-file=$dir/munged.pid --log-file=$dir/munged.log \
    --seed-file=$dir/munge.seed
slurmctld -c
slurmd
for _ in \$(seq 60); do
    [ "\$(sinfo -h -o '%D %t' 2>/dev/null)" = "2 idle" ] && break
    sleep 0.5
done
[ "\$(sinfo -h -o '%D %t')" = "2 idle" ] || { tail -n 5 $dir/*.log; exit 1; }
FIRST
export SLURM_CONF="$dir/slurm.conf"
"$here/two_hosts.sh" ". $dir/first >&2; $1" "until [ -S $dir/munge.socket ]; do sleep 0.2; done; slurmd -D >&2"
