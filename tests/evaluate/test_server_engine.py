"""A server as an engine: the network's own numbers, whatever the server tells and takes; and errors that name their cure.

Two servers of others (llama.cpp's, and our gateway before it), and one of the tests' own that computes with the network and, as
vLLM, SGLang and OpenAI differ, tells few log-probabilities, before or after a bias, or echoes a prompt's.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from medloom.evaluate import TorchEngine
from medloom.evaluate.engine import Sampling
from medloom.evaluate.server_client import Client, Said
from medloom.evaluate.server_engine import ServerEngine
from medloom.ledger import Refusal
from medloom.model import Llama, load_model, load_tokenizer

BEGINNING = [1, *(300 + i % 30 for i in range(40))]
PROMPTS = [BEGINNING + [260 + (7 * row + 3 * i) % 60 for i in range(5 + 11 * row)] for row in range(5)]
CANDIDATES = [[270, 280, 290 + row] for row in range(5)]
TEXTS = [[[270, 271], [270, 272, 273 + row], [299]] for row in range(5)]
KEY = secrets.token_hex(8)


@pytest.fixture(scope="module")
def letters(folder: Path) -> list[list[float]]:
    with TorchEngine(folder, "cpu") as engine:
        return engine.next_token_logprobs(PROMPTS, CANDIDATES)


@pytest.fixture(scope="module")
def texts(folder: Path) -> list[list[float]]:
    with TorchEngine(folder, "cpu") as engine:
        return engine.text_logprobs(PROMPTS, TEXTS)


def furthest(found: list[list[float]], expected: list[list[float]]) -> float:
    return float(torch.tensor(found, dtype=torch.float64).sub(torch.tensor(expected, dtype=torch.float64)).abs().max())


@pytest.fixture(scope="module")
def llamacpp(gguf: Path) -> Iterator[str]:
    """The address of llama.cpp's own server on the model in float32."""
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path = str(gguf)
    settings.n_ctx, settings.n_parallel = 1024, 2
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
    settings.cache_type_k = settings.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    settings.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    settings.warmup, settings.verbosity = False, -1
    settings.hostnames, settings.port, settings.api_keys = ["127.0.0.1"], 0, [KEY]
    server: Any = xllamacpp.Server(settings)
    yield server.listening_address
    del server


def test_llama_cpp_gives_the_networks_numbers(llamacpp: str, folder: Path, letters: list[list[float]], texts: list[list[float]]) -> None:
    with ServerEngine(llamacpp, key=KEY, batch=2) as engine, TorchEngine(folder, "cpu") as ours:
        assert engine.context == 512
        assert furthest(engine.next_token_logprobs(PROMPTS, CANDIDATES, len(BEGINNING)), letters) < 1e-4
        assert furthest(engine.text_logprobs(PROMPTS, TEXTS), texts) < 1e-4
        words = ["The patient has a fever.", "Question: what?\n\nOptions:\nA. 10 µg\n\nThe answer is: A", "<s> is text here"]
        assert engine.encode(words) == ours.encode(words)
