"""Answers that lie in a file already, whoever wrote them: `medloom rescore` and `medloom compare`.

`rescore` scores one file of any form (`records` are its lines, `labels` how people write which option is right), `comparing` holds two
models' answers against each other (`foreign` reads ours and lm-eval's), `describe` says in lines what either found.
"""

from .comparing import compare_files
from .describe import describe_compare, describe_rescore
from .rescore import rescore

__all__ = ["compare_files", "describe_compare", "describe_rescore", "rescore"]
