"""Run by lm-eval's own environment: evaluates tasks with one of its models or ours, and reads files with its own readers.

Takes a JSON file {out, include, runs: [{name, model, model_args, tasks}], files: [results, samples]}; what comes out stands in `out`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

asked = json.loads(Path(sys.argv[1]).read_text())
sys.path[:0] = [asked["source"]]
sys.path.append(asked["site"])  # last: lm-eval's environment has its own torch, and lacks some small packages

from lm_eval import simple_evaluate  # noqa: E402
from lm_eval.loggers import EvaluationTracker  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402
from lm_eval.utils import get_file_task_name, handle_non_serializable, make_table  # noqa: E402

import medloom.evaluate.harness.lm  # noqa: E402, F401

found = {}
manager = TaskManager(include_path=asked["include"], include_defaults=False)
for run in asked["runs"]:
    tracker = EvaluationTracker(output_path=str(Path(asked["out"]).parent / "lm-eval"))
    tracker.general_config_tracker.log_experiment_args(model_source="hf", model_args=run["name"], system_instruction="", chat_template="",
                                                       fewshot_as_multiturn=False)
    results = simple_evaluate(model=run["model"], model_args=run["model_args"], tasks=run["tasks"], task_manager=manager, device="cpu",
                              batch_size=run.get("batch", 4), bootstrap_iters=2)
    found[run["name"]] = json.loads(json.dumps({key: results[key] for key in ("results", "samples", "n-shot", "higher_is_better",
                                                                            "group_subtasks", "versions", "n-samples")},
                                               default=handle_non_serializable))
    tracker.save_results_aggregated(results=results, samples=results["samples"])
    for task in results["samples"]:
        tracker.save_results_samples(task_name=task, samples=results["samples"][task])
    found[run["name"]]["table"] = make_table(results)
found["read"] = {}
for results_file, samples_file in asked["files"]:
    results = json.loads(Path(results_file).read_text())
    found["read"][get_file_task_name(Path(samples_file).name)] = make_table(results)
Path(asked["out"]).write_text(json.dumps(found))
