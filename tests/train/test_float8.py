"""Products in float8: by torchao, emulated here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from medloom.ledger import Refusal
from medloom.model import load_model
from medloom.recipe import Layout
from medloom.train.float8 import check_float8, to_float8
from medloom.train.learner import Learner


def test_it_is_refused_where_the_hardware_has_none() -> None:
    with pytest.raises(Refusal, match="float8 tensor cores"):
        check_float8(torch.device("cpu"), Layout())


def test_the_layers_multiply_in_float8_and_keep_their_names(model: Path) -> None:
    pytest.importorskip("torchao.float8", reason="torchao is not installed")
    exact, rough = load_model(model), load_model(model)
    to_float8(rough, emulated=True)
    assert [name for name, _ in rough.named_parameters()] == [name for name, _ in exact.named_parameters()]
    tokens = torch.arange(4 * 33).reshape(4, 33) * 7 % 320
    losses, gradients = [], []
    for network in (exact, rough):
        positions = torch.arange(32).expand(4, 32)
        counted = torch.ones(4, 32, dtype=torch.bool)
        loss = Learner(network)(tokens[:, :-1], positions=positions, targets=tokens[:, 1:], counted=counted).sum()
        loss.backward()
        losses.append(float(loss) / 128)
        weight = network.model.layers["0"].mlp.up_proj.weight
        gradients.append(weight.grad)
        assert weight.dtype == torch.float32
    assert losses[0] != losses[1] and losses[0] == pytest.approx(losses[1], abs=0.05)
    assert 0 < (gradients[1] - gradients[0]).norm() < 0.2 * gradients[0].norm()
