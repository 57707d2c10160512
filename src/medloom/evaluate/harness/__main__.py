"""lm-eval's own command line with the model `medloom` in it: `python -m medloom.evaluate.harness run --model medloom …`."""

from __future__ import annotations

from lm_eval.__main__ import cli_evaluate

from . import lm  # noqa: F401  (registers the model)

if __name__ == "__main__":
    cli_evaluate()
