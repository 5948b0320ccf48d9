"""What a head learns of the training clips before the first step: its principal directions."""

from __future__ import annotations

import torch
from torch import nn

from vidence.models.motion_energy import PrincipalDirections
from vidence.training.examples import Examples

WINDOWS_AT_ONCE = 32


def find_directions(network: nn.Module, examples: Examples) -> None:
    """Fit the head's `PrincipalDirections`, if it has them, on the plain view of the training windows."""
    head: nn.Module = network.head  # type: ignore[assignment]
    projection = head.projection
    if not isinstance(projection, PrincipalDirections):
        return
    head.eval()
    means = []
    with torch.no_grad():
        for batch in Examples(examples.entries[:1], examples.labels).batches(WINDOWS_AT_ONCE):
            features = batch.x if batch.x.ndim == 3 else network.encode(batch.x.transpose(1, 2))  # type: ignore[operator]
            means.append(head.prepared(features).mean(dim=1))  # type: ignore[operator]
    projection.fit(torch.cat(means))
