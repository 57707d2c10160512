"""The other side of evaluation: lm-eval's own model class over transformers, on the same questions, and transformers alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sides.clock import run


def _model(model: str, device: str, batch: int) -> Any:
    import torch
    from lm_eval.models.huggingface import HFLM

    if device == "cpu":
        torch.set_num_threads(1)
    return HFLM(pretrained=model, dtype="float32", device=device, batch_size=batch, add_bos_token=True)


def score(model: str, tasks: str, name: str, count: int, device: str = "cpu", batch: int = 1) -> Callable[[], Any]:
    """lm-eval's evaluation of a task's first `count` questions; the options' log-probabilities in order."""
    from lm_eval import evaluator
    from lm_eval.tasks import TaskManager

    lm = _model(model, device, batch)
    manager = TaskManager(include_path=tasks, include_defaults=False)

    def work() -> dict[str, Any]:
        found = evaluator.simple_evaluate(model=lm, tasks=[name], task_manager=manager, limit=count, bootstrap_iters=0, log_samples=True)
        samples = sorted(found["samples"][name], key=lambda sample: sample["doc_id"])
        return {"logprobs": {sample["doc"]["id"]: [float(pair[0]) for pair in sample["filtered_resps"]] for sample in samples}}

    return work


def write(model: str, prompts: list[str], branches: int, tokens: int, temperature: float, device: str = "cpu", batch: int = 10
          ) -> Callable[[], Any]:
    """lm-eval's generate_until, each prompt asked `branches` times, as its `repeats` does."""
    from lm_eval.api.instance import Instance

    lm = _model(model, device, batch)
    lm.model.generation_config.eos_token_id = None

    def work() -> dict[str, Any]:
        settings = {"until": [], "max_gen_toks": tokens, "do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0,
                    "min_new_tokens": tokens}
        asked = [Instance("generate_until", {}, (prompt, dict(settings)), number * branches + branch)
                 for number, prompt in enumerate(prompts) for branch in range(branches)]
        return {"texts": len(lm.generate_until(asked, disable_tqdm=True))}

    return work


def greedy(model: str, prompts: list[str], tokens: int) -> Callable[[], Any]:
    """What transformers writes greedily after each prompt, as ids."""
    import torch

    lm = _model(model, "cpu", 1)

    def work() -> dict[str, Any]:
        found = []
        for prompt in prompts:
            ids = torch.tensor([lm.tok_encode(prompt)])
            out = lm.model.generate(ids, max_new_tokens=tokens, do_sample=False, pad_token_id=0)
            found.append(out[0, ids.shape[1]:].tolist())
        return {"ids": found}

    return work


if __name__ == "__main__":
    run({"score": score, "write": write, "greedy": greedy})
