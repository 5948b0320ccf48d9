"""What a head makes of features before anything in it learns: computed once instead of every epoch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.models.device import place_of
from vidence.models.head import Head
from vidence.models.motion_energy import MotionEnergy, PrincipalDirections
from vidence.training.entry_store import Entry
from vidence.training.examples import Examples

WINDOWS_AT_ONCE = 32


class PreparedView(nn.Module):
    """A network that takes what its head has prepared. It shares the modules, under the same names."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = network.backbone, network.head

    def decide(self, prepared: Float[Tensor, "n s g"]) -> Float[Tensor, "n k"]:
        """Logits."""
        return self.head.judged(prepared)  # type: ignore[operator, union-attr]


def fixed_before_projection(network: nn.Module) -> bool:
    """Whether the head looks at motion energy and nothing before its projection learns."""
    head = getattr(network, "head", None)
    if not isinstance(head, Head) or not isinstance(head.differences, MotionEnergy):
        return False
    return not head.pool.state_dict() and not head.norm.state_dict()


def prepared(network: nn.Module, examples: Examples) -> Examples:
    """The same windows as the head has prepared them: (w, t, f) features become (w, s, g)."""
    rows = [
        [Entry(np.concatenate(list(_parts(network, entry))), entry.times) for entry in row] for row in examples.entries
    ]
    return Examples(rows, examples.labels)


def _parts(network: nn.Module, entry: Entry) -> Iterator[np.ndarray]:
    device = place_of(network)
    with torch.no_grad():
        for first in range(0, len(entry.x), WINDOWS_AT_ONCE):
            x = torch.from_numpy(np.array(entry.x[first : first + WINDOWS_AT_ONCE], dtype=np.float32))
            yield network.head.prepared(x.to(device)).cpu().numpy()  # type: ignore[operator, union-attr]


def find_directions(network: nn.Module, examples: Examples) -> None:
    """Fit the head's `PrincipalDirections`, if it has them, on the plain view of the training windows.

    `examples` are as `prepared` returns them.
    """
    projection = network.head.projection  # type: ignore[union-attr]
    if isinstance(projection, PrincipalDirections):
        windows = np.concatenate([entry.x for entry in examples.entries[0]])
        projection.fit(torch.from_numpy(windows).mean(dim=1).to(place_of(network)))
