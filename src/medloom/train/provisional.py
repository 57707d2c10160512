from dataclasses import dataclass
import torch
@dataclass(frozen=True)
class TB:
    inputs: torch.Tensor
    segments: torch.Tensor
    targets: torch.Tensor
    counted: torch.Tensor
    positions: torch.Tensor
def to_torch(b, ranks):
    n = len(b.inputs) // ranks.layout.data
    part = slice(ranks.data * n, (ranks.data + 1) * n)
    t = {k: torch.from_numpy(getattr(b, k)[part].copy()).to(ranks.device) for k in ("inputs", "segments", "targets", "counted")}
    t["positions"] = torch.arange(b.inputs.shape[1]).expand(n, -1).contiguous().to(ranks.device)
    return TB(**t)
