"""Muon for the matrices, AdamW for the rest."""

import torch

from model import Model

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def orthogonal(matrices: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """[n, rows, columns] -> the nearest matrices with singular values near 1, in BF16."""
    a, b, c = NEWTON_SCHULZ
    tall = matrices.shape[1] > matrices.shape[2]
    x = (matrices.mT if tall else matrices).bfloat16()
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = torch.bmm(x, x.mT)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised; a step's root mean square is 0.2 times the rate, near AdamW's.

    A parameter is one matrix or a stack of them; `columns` of a parameter group, when set, cuts
    each matrix into independent ones of that many columns.
    """

    def __init__(
        self, groups: list[dict], lr: float, momentum: float = 0.95, weight_decay: float = 0.01
    ):
        super().__init__(
            groups, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "columns": None}
        )

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                gradient, state = parameter.grad, self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                momentum = state["momentum"].lerp_(gradient, 1 - group["momentum"])
                update = gradient.lerp(momentum, group["momentum"])
                parts = update.view(-1, *update.shape[-2:]).split(
                    group["columns"] or update.shape[-1], -1
                )
                scale = 0.2 * max(parts[0].shape[1:]) ** 0.5
                update = torch.cat([orthogonal(part) for part in parts], -1).view_as(parameter)
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(update, alpha=-group["lr"] * scale)


def optimizers(model: Model, muon_rate: float, adam_rate: float) -> list[torch.optim.Optimizer]:
    gated, matrices, rest = [], [], []
    for name, parameter in model.named_parameters():
        if name.endswith("gate_up"):
            gated.append(parameter)
        elif (
            parameter.ndim < 2
            or name.startswith(("embed", "head"))
            or name.endswith("mlp.gate.weight")
        ):
            rest.append(parameter)
        else:
            matrices.append(parameter)
    groups = [{"params": matrices}, {"params": gated, "columns": gated[0].shape[-1] // 2}]
    adam = torch.optim.AdamW(rest, lr=adam_rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    return [Muon(groups, lr=muon_rate), adam]
