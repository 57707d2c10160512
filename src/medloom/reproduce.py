"""A recorded lineage run again in a new folder, and held against its record: what came out alike, and why not where it did not."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .alike import HOW, Answers, Figure, Tolerance, hold_answers, hold_figures, worst
from .ledger import Done, Ledger, Progress, Refusal
from .ledger.files import sha256_json, write_json
from .recipe import Recipe, read_recipe
from .road import Road
from .run import Tell, walk

REPORT = "reproduction.json"
ANSWERS = "answers.jsonl"
NOTHING = sha256_json({})


def recorded(run: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a run that was kept."""
    if not (run / "recipe.json").is_file():
        raise Refusal(f"{run}: holds no recipe.json; name the folder where a run is kept")
    return read_recipe(run / "recipe.json", overrides)


def reproduce(run: Path, recipe: Recipe, root: Path, tolerance: Tolerance, progress: Progress, tell: Tell) -> dict[str, Any]:
    """Walk the road that a run walked last again, in `root`, and leave reproduction.json there, which is what it returns.

    A second walk that was stopped goes on. Refused where the record itself does not hold, or `root` is the run's own folder.
    """
    started = time.monotonic()
    if root.resolve() == run.resolve():
        raise Refusal(f"{root}: is the recorded run itself; choose another folder with --out")
    ledger = Ledger(run)
    faults = ledger.verify()
    if faults:
        raise Refusal(f"{faults[0]}, so nothing can be held against this run; run its recipe anew")
    then = {done.record["name"]: done for done in ledger.road()}
    road = Road(recipe)
    targets = [road.steps[name] for name in then if name in road.steps]
    if not targets:
        raise Refusal(f"{run}: none of its steps is one of this version's; they were {', '.join(then)}")
    with _threads(max((done.record["hardware"].get("threads", 0) for done in then.values()), default=0)):
        again = walk(road, targets, root, progress, tell, started)
    report = {"run": str(run), "again": str(root), "fresh": again.fresh, "seconds": round(time.monotonic() - started, 2),
              **hold(then, again.done, tolerance)}
    write_json(root / REPORT, report)
    return report


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let torch compute with so many threads, here and in children: sums are taken in another order by more of them. 0 changes nothing."""
    if not count:
        yield
        return
    import torch

    before, said = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    torch.set_num_threads(count)
    os.environ["OMP_NUM_THREADS"] = str(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        os.environ.pop("OMP_NUM_THREADS")
        os.environ |= {} if said is None else {"OMP_NUM_THREADS": said}


def hold(then: Mapping[str, Done], now: Mapping[str, Done], tolerance: Tolerance) -> dict[str, Any]:
    """Two runs of the same steps: {"verdict", "tolerance", "steps", "answers", "figures", "machines"}.

    Each step says whether its output is the same ("times" where all that it wrote states times, so that its figures alone are compared),
    how many of its figures are alike, and, where something is not, why. "figures" holds those that are not identical. The verdict is
    identical only where all outputs are, too, and else the worst of the figures and at least equivalent.
    """
    answers = [hold_answers(then[name].folder / ANSWERS, now[name].folder / ANSWERS, *_whose(name, then[name].record), tolerance)
               for name in then if name in now and all((each[name].folder / ANSWERS).is_file() for each in (then, now))]
    steps: list[dict[str, Any]] = []
    figures: list[Figure] = []
    for name in {**then, **now}:
        if name not in then or name not in now:
            steps.append({"step": name, "output": "different", "identical": 0, "equivalent": 0, "different": 0,
                          "why": [f"only in the {'first' if name in then else 'second'} run"]})
            continue
        before, after = then[name].record, now[name].record
        found = list(hold_figures(name, before["figures"], after["figures"], _behind(before, answers), tolerance))
        verdicts = [figure.verdict for figure in found]
        output = "times" if before["output_digest"] == NOTHING and before["outputs"] else \
            "same" if before["output_digest"] == after["output_digest"] else "different"
        alike = output != "different" and worst(verdicts) == "identical"
        steps.append({"step": name, "output": output, **{each: verdicts.count(each) for each in ("identical", "equivalent", "different")},
                      "why": [] if alike else _causes(before, after)})
        figures += found
    verdict = worst([figure.verdict for figure in figures]) if set(then) == set(now) else "different"
    if verdict == "identical" and any(step["output"] == "different" for step in steps):
        verdict = "equivalent"
    return {"verdict": verdict, "tolerance": asdict(tolerance), "steps": steps, "answers": [asdict(each) for each in answers],
            "figures": [figure.figures() for figure in figures if figure.verdict != "identical"],
            "machines": _machines(list(then.values()), list(now.values()))}


def _whose(name: str, record: Mapping[str, Any]) -> tuple[str, str]:
    """The model and the benchmark of a step that asks."""
    benchmark = str(record["params"]["benchmark"]["name"])
    return name.removeprefix("evaluate-").removesuffix(f"-{benchmark}"), benchmark


def _behind(record: Mapping[str, Any], answers: Sequence[Answers]) -> list[Answers]:
    """The answers that a step's figures follow from: its own, or those that it was given."""
    steps = {record["name"], *(source["step"].rpartition("-")[0] for source in record["inputs"].values() if "step" in source)}
    return [each for each in answers if f"evaluate-{each.model}-{each.benchmark}" in steps]


def _causes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What the two records of a step do not have in common, in words."""
    causes = [] if then["code"] == now["code"] else [f"other code in {', '.join(now['rooms'])}"]
    causes += _told(_flat(then["params"]), _flat(now["params"]))
    causes += _told(*({key: record["figures"][key] for key in HOW if key in record["figures"]} for record in (then, now)))
    for name in {**then["inputs"], **now["inputs"]}:
        before, after = then["inputs"].get(name, {}), now["inputs"].get(name, {})
        if before.get("digest") != after.get("digest"):
            causes.append(f"input {name} differs" + (f" ({after['path']})" if "path" in after else ""))
    for part in ("environment", "hardware"):
        causes += _told(then[part], now[part])
    return causes or ["nothing on record differs, so that the work itself does not come out the same twice"]


def _told(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [f"{name}: {before} then, {after} now" for name, (before, after) in _changes(then, now).items()]


def _flat(value: Mapping[str, Any], lead: str = "") -> dict[str, Any]:
    """Values by their path, `a.b`."""
    flat: dict[str, Any] = {}
    for key, each in value.items():
        flat |= _flat(each, f"{lead}{key}.") if isinstance(each, Mapping) else {f"{lead}{key}": each}
    return flat


def _changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {name: (then.get(name), now.get(name)) for name in {**then, **now} if then.get(name) != now.get(name)}


def _machines(then: Sequence[Done], now: Sequence[Done]) -> dict[str, dict[str, Any]]:
    """Versions and hardware that any step of the one run had and the other had not, as [then, now]."""
    def all_of(runs: Sequence[Done], part: str) -> dict[str, Any]:
        return {name: value for done in runs for name, value in done.record[part].items()}

    return {part: {name: list(pair) for name, pair in _changes(all_of(then, part), all_of(now, part)).items()}
            for part in ("environment", "hardware")}
