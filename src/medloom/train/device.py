"""Where to compute and in which precision."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import torch

from ..ledger import Refusal


def choose_device(wanted: str) -> torch.device:
    """`auto` is a CUDA accelerator where there is one. Raises Refusal for a `cuda` that is not there."""
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise Refusal('device = "cuda", and torch sees no CUDA accelerator here; set device = "auto" or "cpu"')
    return torch.device(wanted)


def choose_precision(wanted: str, device: torch.device) -> torch.dtype:
    """`auto` is bfloat16 where the hardware multiplies it, else float32. "float8" is bfloat16 around its products. The weights and
    their averages are float32 either way."""
    if wanted == "auto":
        quick = torch.cuda.is_bf16_supported(including_emulation=False) if device.type == "cuda" else _cpu_multiplies_bf16()
        return torch.bfloat16 if quick else torch.float32
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "float8": torch.bfloat16}[wanted]


def computing(precision: torch.dtype, device: torch.device) -> AbstractContextManager[None]:
    """Matrix products and attention in `precision`, the rest in float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == torch.bfloat16)


def _cpu_multiplies_bf16() -> bool:
    path = Path("/proc/cpuinfo")
    flags = set(path.read_text(encoding="utf-8", errors="replace").split()) if path.is_file() else set()
    return bool(flags & {"avx512_bf16", "amx_bf16"})
