"""Muon: momentum whose every matrix is replaced by the nearest orthogonal one (Jordan et al., 2024).

It learns these small matrices in about half the steps that Adam takes. Matrices of one shape are orthogonalised
together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor

NUM_ITERATIONS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalise(matrices: Tensor, precision: torch.dtype = torch.bfloat16) -> Tensor:
    """Bring all singular values near 1 (between about 0.7 and 1.2) by a quintic Newton-Schulz iteration.

    Args:
        matrices: (count, rows, columns), float32, none of them zero.
        precision: of the multiplications.

    Returns:
        The same shape.
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x: Tensor = (matrices.transpose(1, 2) if tall else matrices).to(precision)
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    for _ in range(NUM_ITERATIONS):
        gram = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, b * gram + c * gram @ gram, x, beta=a)
    return (x.transpose(1, 2) if tall else x).to(matrices.dtype)


class Muon(torch.optim.Optimizer):
    """Steps of Nesterov momentum, orthogonalised; for the weight matrices inside the layers only.

    Args:
        lr: the spectral size of a step on a square matrix.
        weight_decay: multiplied by ``lr``, as in AdamW.
        precision: of the multiplications.
    """

    def __init__(
        self,
        matrices: Iterable[Tensor],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        precision: torch.dtype = torch.bfloat16,
    ) -> None:
        self._precision = precision
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every matrix that has a gradient."""
        for group in self.param_groups:
            by_shape = defaultdict(list)
            for matrix in group["params"]:
                if matrix.grad is not None:
                    by_shape[matrix.shape].append(matrix)
            for matrices in by_shape.values():
                self._step_together(matrices, group["lr"], group["momentum"], group["weight_decay"])

    def _step_together(self, matrices: list[Tensor], lr: float, momentum: float, weight_decay: float) -> None:
        ahead = []
        for matrix in matrices:
            assert matrix.grad is not None
            state = self.state[matrix]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(matrix)
            state["momentum"].lerp_(matrix.grad, 1 - momentum)
            ahead.append(torch.lerp(matrix.grad, state["momentum"], momentum))
        rows, columns = matrices[0].shape
        scale = max(1.0, rows / columns) ** 0.5
        for matrix, update in zip(matrices, orthogonalise(torch.stack(ahead), self._precision), strict=True):
            matrix.mul_(1 - lr * weight_decay).add_(update, alpha=-lr * scale)
