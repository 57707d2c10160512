"""A config.json that no network can be built from is refused, and the message names the fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from medloom.demo import SEEDLING
from medloom.ledger import Refusal
from medloom.model import ModelConfig

GOOD = json.loads((SEEDLING / "config.json").read_text())


@pytest.mark.parametrize(("content", "says"), [
    ([], "not of the kind"),
    ({**GOOD, "rope_parameters": "x"}, "not of the kind"),
    ({**GOOD, "hidden_size": "x"}, "must be whole numbers above 0"),
    ({**GOOD, "num_key_value_heads": -1}, "must be whole numbers above 0"),
    ({**GOOD, "num_attention_heads": 0}, "must be whole numbers above 0"),
    ({**GOOD, "eos_token_id": 10**9}, "eos_token_id = 1000000000 is not an id of the 1536 tokens"),
    ({**GOOD, "architectures": ["GPT2LMHeadModel"]}, "architecture GPT2LMHeadModel is not supported"),
])
def test_impossible_configurations(content: Any, says: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(Refusal, match=says):
        ModelConfig.from_folder(tmp_path)
