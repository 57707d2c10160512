"""Low-rank adapters: LoRA (Hu et al. 2021, arXiv 2106.09685) and DoRA (Liu et al. 2024, arXiv 2402.09353), in the form of the library peft.

A linear layer keeps its weight W [out, in], frozen and under its name, and gets beside it A [rank, in] and B [out, rank]:

    LoRA    y = (W + s B A) x                                   s = alpha / rank
    DoRA    y = m / |W + s B A| (W + s B A) x                   |.| the norm of each row, m [out] learned

B begins at zero and m at |W|, so that an adapted network begins as the one it was. As in the paper (section 4.3), no gradient goes
through the norm of DoRA.

Adapting works on the meta device, before the weights are there; `initialise_adapters` then draws A from seed and name alone, the same
under any layout. Parallelism over data and layers is applied from outside, as to any network; the weights' own axes are not split.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn import functional as F

from ..ledger import Refusal
from ..ledger.files import atomic, read_json, write_json
from ..model import Llama, carry_tokenizer, load_model, save_model, whole
from ..recipe import Lora
from .data import hashed

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # what peft puts before the names of a network's own modules
MAGNITUDE = "lora_magnitude_vector"
# Settings of peft that change what an adapter computes and have no counterpart here, with the values that mean "not used".
FOREIGN: dict[str, tuple[Any, ...]] = {
    "bias": (None, "none"), "modules_to_save": (None, []), "use_rslora": (None, False), "alpha_pattern": (None, {}),
    "fan_in_fan_out": (None, False), "lora_bias": (None, False), "use_qalora": (None, False), "trainable_token_indices": (None, []),
    "target_parameters": (None, []), "layer_replication": (None, []), "alora_invocation_tokens": (None, []), "megatron_config": (None,)}


class Adapted(nn.Linear):
    """A linear layer with an adapter beside its frozen weight."""

    lora_magnitude_vector: nn.Parameter | None

    def __init__(self, base: nn.Linear, lora: Lora) -> None:
        super().__init__(base.in_features, base.out_features, bias=False, device="meta")
        self.weight, self.bias = base.weight.requires_grad_(False), base.bias
        self.alpha, self.scale, self.dropout = lora.alpha, lora.alpha / lora.rank, lora.dropout
        new: dict[str, Any] = {"device": base.weight.device, "dtype": torch.float32}
        self.lora_A = nn.Parameter(torch.empty(lora.rank, base.in_features, **new))
        self.lora_B = nn.Parameter(torch.empty(base.out_features, lora.rank, **new))
        self.register_parameter(MAGNITUDE, nn.Parameter(torch.empty(base.out_features, **new)) if lora.dora else None)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.dropout(x, self.dropout, self.training) if self.dropout else x
        out = F.linear(x, self.weight) + self.scale * F.linear(F.linear(inner, self.lora_A), self.lora_B)
        if self.lora_magnitude_vector is None:
            return out if self.bias is None else out + self.bias
        # A norm that is computed in bfloat16 would be wrong in its third digit, and with it the whole row.
        with torch.autocast(x.device.type, enabled=False):
            ratio = self.lora_magnitude_vector / _row_norms(self._sum().detach())
        out = out * ratio.to(out.dtype)
        return out if self.bias is None else out + self.bias

    def merged(self) -> Tensor:
        """The one matrix [out, in] that does the same without dropout, in float32."""
        total = self._sum()
        return total if self.lora_magnitude_vector is None else total * (self.lora_magnitude_vector / _row_norms(total))[:, None]

    def _sum(self) -> Tensor:
        return self.weight.float() + self.scale * (self.lora_B @ self.lora_A)


def adapt(model: Llama, lora: Lora, seed: int) -> None:
    """Put adapters beside the layers that `lora` names, in place, and freeze all else.

    On the meta device the adapters have no values yet: call `initialise_adapters` with the same seed once they have storage.
    Raises Refusal where no layer has such a name.
    """
    model.requires_grad_(False)
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and name.rpartition(".")[2] in lora.targets]
    if not names:
        raise Refusal(f"lora.targets = {list(lora.targets)}: the model has no such layers")
    for name in names:
        _replace(model, name, Adapted(_linear(model, name), lora))
    if not any(parameter.is_meta for parameter in model.parameters()):
        initialise_adapters(model, seed)


@torch.no_grad()
def initialise_adapters(model: nn.Module, seed: int) -> None:
    """Give adapters their first values: A uniform as peft draws it, B zero, the magnitudes the norms of the weights' rows.

    The weights below must be there. Under sharding every rank calls this and keeps its share of the same values.
    """
    for name, module in adapters(model):
        generator = torch.Generator().manual_seed(hashed(seed, name) >> 1)
        first = torch.empty(module.lora_A.shape)
        nn.init.kaiming_uniform_(first, a=math.sqrt(5), generator=generator)
        _fill(module.lora_A, first)
        module.lora_B.zero_()
        if module.lora_magnitude_vector is not None:
            module.lora_magnitude_vector.copy_(_row_norms(module.weight.float()))


def adapters(model: nn.Module) -> Iterator[tuple[str, Adapted]]:
    """The adapted layers by the names that they have in a plain network."""
    for name, module in model.named_modules():
        if isinstance(module, Adapted):
            yield name.replace("_checkpoint_wrapped_module.", "").replace("_orig_mod.", ""), module


def save_adapter(model: nn.Module, folder: Path, base_name: str) -> None:
    """Write adapter_config.json and adapter_model.safetensors as peft reads them; the same values give the same bytes.

    base_name: what peft is to take for the model below where it is not told. Under sharding every rank calls this; the first writes.
    """
    tensors: dict[str, Tensor] = {}
    some: Adapted | None = None
    for name, some in adapters(model):
        values = {"lora_A.weight": some.lora_A, "lora_B.weight": some.lora_B, MAGNITUDE: some.lora_magnitude_vector}
        for key, value in values.items():
            if value is not None:
                tensors[f"{PREFIX}{name}.{key}"] = whole(value).detach().cpu().contiguous()
    assert some is not None, "a network without adapters"
    if torch.distributed.is_initialized() and torch.distributed.get_rank():
        return
    folder.mkdir(parents=True, exist_ok=True)
    with atomic(folder / WEIGHTS) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})
        temporary.chmod(0o644)  # safetensors leaves its files to their owner alone
    write_json(folder / CONFIG, {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base_name, "inference_mode": True,
        "r": some.lora_A.shape[0], "lora_alpha": int(some.alpha) if some.alpha.is_integer() else some.alpha, "lora_dropout": some.dropout,
        "bias": "none", "use_dora": some.lora_magnitude_vector is not None,
        "target_modules": sorted({name.rpartition(".")[2] for name, _ in adapters(model)})})


def load_adapter(model: Llama, folder: Path) -> None:
    """Put a saved adapter, ours or peft's, beside the layers that it holds values for, in place; the network below is frozen.

    Raises Refusal where it is no LoRA or DoRA adapter, does not belong to this network, or uses what has no counterpart here.
    """
    settings = read_json(folder / CONFIG)
    if settings.get("peft_type") != "LORA":
        raise Refusal(f"{folder}: not a LoRA or DoRA adapter (no {CONFIG} with peft_type LORA); name the folder that holds one")
    foreign = sorted(key for key, unused in FOREIGN.items() if settings.get(key) not in unused)
    if foreign:
        raise Refusal(f"{folder / CONFIG}: uses {', '.join(foreign)}, which this version does not know; merge it with peft")
    try:
        tensors = load_file(folder / WEIGHTS)
    except FileNotFoundError:
        raise Refusal(f"{folder / WEIGHTS}: no such file; an adapter is this file and {CONFIG}") from None
    except SafetensorError as error:
        raise Refusal(f"{folder / WEIGHTS}: not a whole safetensors file ({error}); fetch it again") from None
    model.requires_grad_(False)
    layers = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    firsts = {key.removeprefix(PREFIX).removesuffix(".lora_A.weight"): key for key in tensors if key.endswith(".lora_A.weight")}
    strange = sorted(firsts.keys() - layers.keys()) or ([] if firsts else ["no layer at all"])
    if strange:
        raise Refusal(f"{folder}: holds values for {strange[0]}, which the model has not; this adapter belongs to another model")
    for name, key in firsts.items():
        lora = Lora(rank=tensors[key].shape[0], alpha=float(settings["lora_alpha"]), dropout=float(settings.get("lora_dropout") or 0),
                    dora=bool(settings.get("use_dora")), targets=("q_proj",))
        module = Adapted(layers[name], lora)
        parameters = {"lora_A.weight": module.lora_A, "lora_B.weight": module.lora_B}
        if module.lora_magnitude_vector is not None:
            parameters[MAGNITUDE] = module.lora_magnitude_vector
        for part, parameter in parameters.items():
            value = tensors.pop(f"{PREFIX}{name}.{part}", None)
            if value is None or value.shape != parameter.shape:
                raise Refusal(f"{folder / WEIGHTS}: {name}.{part} is missing, or has another shape than the model's "
                              f"{list(parameter.shape)}; this adapter belongs to another model")
            with torch.no_grad():
                parameter.copy_(value)
        _replace(model, name, module)
    if tensors:
        raise Refusal(f"{folder / WEIGHTS}: {min(tensors)} is no part of a LoRA or DoRA adapter; merge it with peft")


@torch.no_grad()
def merge_adapter(model: Llama) -> None:
    """Make a plain network of an adapted one, in place: each adapted layer becomes the linear layer that computes the same."""
    for name, module in list(adapters(model)):
        plain = nn.Linear(module.in_features, module.out_features, bias=False, device="meta")
        plain.weight, plain.bias = nn.Parameter(module.merged().to(module.weight.dtype)), module.bias
        _replace(model, name, plain)
    model.requires_grad_(True)


def merge_folder(adapter: Path, base: Path, out: Path, dtype: str = "bfloat16") -> int:
    """Write the model folder that an adapter makes of a base model; how many layers it changed. dtype: float32, float16 or bfloat16.

    Where the adapter brings a tokenizer, whose chat template may be another than the base's, the new folder has that one. Raises
    Refusal as `load_adapter` does, and where there is something in `out`.
    """
    if out.exists() and any(out.iterdir()):
        raise Refusal(f"{out}: is not empty; name a new folder")
    if dtype not in ("float32", "float16", "bfloat16"):
        raise Refusal(f"dtype {dtype}: choose float32, float16 or bfloat16")
    model = load_model(base)
    load_adapter(model, adapter)
    changed = len(list(adapters(model)))
    merge_adapter(model)
    save_model(model, out, like=base, dtype=dtype)
    if (adapter / "tokenizer_config.json").is_file():
        carry_tokenizer(adapter, out)
    return changed


def _row_norms(weight: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(weight, dim=1)
    return norms


def _linear(model: nn.Module, name: str) -> nn.Linear:
    module = model.get_submodule(name)
    assert isinstance(module, nn.Linear)
    return module


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    owner, _, last = name.rpartition(".")
    setattr(model.get_submodule(owner), last, module)


def _fill(parameter: Tensor, value: Tensor) -> None:
    """Copy a whole tensor into a parameter, or into this rank's share of it."""
    if isinstance(parameter, DTensor):
        value = distribute_tensor(value.to(parameter.device), parameter.device_mesh, parameter.placements, src_data_rank=None)
    parameter.copy_(value)
