"""`torchrun … -m medloom.train JOB`: one rank of a job. JOB is a job.json, or the folder of a run, whose present job is meant then."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..ledger import Refusal
from .job import carry_out, find_job, read_job
from .worker import REFUSED, take_part


def main() -> None:
    """Take part."""
    parser = argparse.ArgumentParser(prog="python -m medloom.train", description="One rank of a training job, started by torchrun.")
    parser.add_argument("job", type=Path, help="a job.json, or the folder of a run")
    parser.add_argument("--launched", choices=("bars", "quiet"), help="set by medloom itself")
    given = parser.parse_args()
    try:
        path = find_job(given.job)
    except Refusal as error:
        sys.stderr.write(f"medloom: {error}\n")
        sys.exit(REFUSED)
    take_part(lambda progress: carry_out(read_job(path), progress), path.parent, given.launched)


if __name__ == "__main__":
    main()
