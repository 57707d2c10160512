"""The batch script by which a recipe is run on a Slurm cluster."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..ledger import STOPPED
from ..recipe import Recipe

NOTICE_SECONDS = 120  # before the end of its time a run is told to save: time enough for a checkpoint of 70 billion parameters

BODY = """\
set -u
# Nothing is fetched while it runs, and what it prints is not held back.
export HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1

{run} &
child=$!
told=
# Slurm tells this shell alone, and it tells medloom, which saves and ends with code {stopped}.
trap 'told=1; kill -USR1 "$child"' USR1
trap 'kill -TERM "$child"' TERM
wait "$child"
code=$?
while [ "$code" -gt 128 ] && kill -0 "$child" 2>/dev/null; do  # a signal ended the wait and not what is waited for
    wait "$child"
    code=$?
done
# Between two checkpoints of training it saves; any other step that is cut short goes on from its last finished part.
if [ "$code" = {stopped} ] || { [ -n "$told" ] && [ "$code" -gt 128 ]; }; then
    echo "medloom: out of time, back into the queue" >&2
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
"""


@dataclass(frozen=True)
class Allocation:
    """What is asked of Slurm. `processors` a node, where None takes whole nodes; `more` are further options of sbatch, KEY=VALUE or KEY."""

    nodes: int
    gpus: int
    time: str
    partition: str | None = None
    account: str | None = None
    processors: int | None = None
    more: tuple[str, ...] = ()


def batch_script(recipe: Recipe, wanted: Allocation, run: list[str], logs: Path) -> str:
    """A script for sbatch that walks a recipe's road by the words `run`, goes back into the queue when out of time, and then goes on.

    logs: an existing folder, for Slurm makes none. One task a node: it is torchrun that starts a rank for each accelerator.
    """
    directives = "".join(f"#SBATCH --{option}\n" for option in _options(recipe, wanted, logs))
    return f"#!/bin/bash\n{directives}\n" + BODY.replace("{run}", shlex.join(run)).replace("{stopped}", str(STOPPED))


def _options(recipe: Recipe, wanted: Allocation, logs: Path) -> Iterator[str]:
    yield f"job-name=medloom-{recipe.name}"
    yield f"nodes={wanted.nodes}"
    yield "ntasks-per-node=1"
    if any(stage.device != "cpu" for stage in (recipe.pretrain, recipe.finetune) if stage is not None):
        yield f"gres=gpu:{wanted.gpus}"
    yield "exclusive" if wanted.processors is None else f"cpus-per-task={wanted.processors}"
    yield f"time={wanted.time}"
    if wanted.partition is not None:
        yield f"partition={wanted.partition}"
    if wanted.account is not None:
        yield f"account={wanted.account}"
    yield f"signal=B:USR1@{NOTICE_SECONDS}"
    yield "requeue"
    yield "open-mode=append"  # a run that came back goes on in the same log
    yield f"output={logs}/%x-%j.log"
    yield from wanted.more
