"""A training step as data: what is trained on what, in a form that every process which takes part can read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ValidationError, model_validator

from ..ledger import Progress, Refusal, Silent
from ..ledger.files import write_text
from ..recipe import Finetuning, Hardware, Layout, Training
from ..recipe.part import Part

FILE = "job.json"
Place = Annotated[Path, AfterValidator(Path.absolute)]


class Job(Part):
    """One training step. Paths are made absolute, and are the same on every host.

    `tokens` is what pretraining reads; `examples` and, where there is replay, `replay` (a tokenised corpus) are what finetuning reads.
    `hardware` tells what utilisation is a share of; loggers keep what is watched below `watch`, as a run of `project`.
    """

    stage: Literal["pretrain", "finetune"]
    settings: Finetuning | Training
    layout: Layout = Layout()
    hardware: Hardware = Hardware()
    model: Place
    tokens: Place | None = None
    examples: Place | None = None
    replay: Place | None = None
    out: Place
    state: Place
    watch: Place | None = None
    project: str = "medloom"
    seed: int

    @model_validator(mode="after")
    def _reads_something(self) -> Job:
        needed = {"pretrain": ("tokens", Training), "finetune": ("examples", Finetuning)}
        name, kind = needed[self.stage]
        if getattr(self, name) is None or type(self.settings) is not kind:
            raise ValueError(f"{self.stage} needs {name} and the settings of [{self.stage}]")
        return self

    def write(self) -> Path:
        """Write it into its state folder; where it lies."""
        path = self.state / FILE
        write_text(path, self.model_dump_json(indent=2, exclude_unset=True) + "\n")
        return path


def find_job(path: Path) -> Path:
    """The file that is meant: `path`, or of a run's folder the job that was written last, which the run is at. Raises Refusal for none."""
    if not path.is_dir():
        return path
    found = sorted((path / "steps").glob(f"*/.state/{FILE}"), key=lambda job: job.stat().st_mtime_ns)
    if not found:
        raise Refusal(f"{path}: no step of this run is in training; start the run on its first host, or name a {FILE}")
    return found[-1]


def read_job(path: Path) -> Job:
    """Read a job from its file. Raises Refusal where there is none or it is no job."""
    try:
        return Job.model_validate_json(path.read_bytes())
    except OSError as error:
        raise Refusal(f"{path}: cannot be read: {error.strerror}") from None
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"]) or "job"
        raise Refusal(f"{path}: {where}: {fault['msg']}; write the job again with this version of medloom") from None


def run_job(job: Job, progress: Progress) -> Mapping[str, Any]:
    """Train, in this process where the layout is of one, else in as many ranks as it asks for; the figures of the step.

    Raises what training raises in one process, and for ranks what `launch.run_ranks` does.
    """
    if job.layout.processes == 1:
        return carry_out(job, progress)
    from .launch import run_ranks

    show: Literal["bars", "quiet"] = "quiet" if isinstance(progress, Silent) else "bars"
    return run_ranks(["medloom.train", str(job.write())], job.layout.processes, job.state, show)


def carry_out(job: Job, progress: Progress) -> Mapping[str, Any]:
    """Train as one rank of the job, the only one or one of those that torchrun has started."""
    from .stages import finetune, pretrain
    from .watch import Watching

    watching = None
    if job.watch is not None:
        watching = Watching(job.watch, job.project, job.out.name, job.hardware.peak_tflops * job.hardware.count)
    if isinstance(job.settings, Finetuning):
        assert job.examples is not None
        return finetune(job.settings, model=job.model, examples=job.examples, replay=job.replay, out=job.out, state=job.state,
                        seed=job.seed, progress=progress, layout=job.layout, watching=watching)
    assert job.tokens is not None
    return pretrain(job.settings, model=job.model, tokens=job.tokens, out=job.out, state=job.state, seed=job.seed, progress=progress,
                    layout=job.layout, watching=watching)
