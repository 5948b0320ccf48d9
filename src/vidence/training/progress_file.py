"""Where a fit stands after an epoch: one file, from which it goes on to the same end as an unbroken one."""

from __future__ import annotations

import math
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidence.aside import written_aside
from vidence.errors import WeightsError

FORMAT = 1


@dataclass
class Progress:
    """`epoch` epochs are done; `network`, `optimizer` and `plateau` are states after the last of them.

    `best` holds the network's state after `best_epoch`, the epoch with the lowest validation loss so far.
    """

    identity: str
    epoch: int = 0
    rows: list[dict[str, float]] = field(default_factory=list)
    network: dict[str, Tensor] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    plateau: dict[str, Any] = field(default_factory=dict)
    best: dict[str, Tensor] = field(default_factory=dict)
    best_epoch: int = 0
    best_loss: float = math.inf
    stopped: bool = False


def write_progress(path: Path, progress: Progress) -> None:
    """Write the file aside and rename it."""
    with written_aside(path) as aside:
        try:
            torch.save({"format": FORMAT, **vars(progress)}, aside)
        except RuntimeError as error:  # torch's writer turns a failed write into a RuntimeError of its own
            raise OSError(None, f"a failed write ({str(error).splitlines()[0]})") from error


def read_progress(path: Path, *, identity: str) -> Progress | None:
    """The progress of this very fit; None where none was written. Tensors and plain values only are read.

    Raises `WeightsError` for a damaged file, and for one of another fit.
    """
    if not path.exists():
        return None
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, LookupError, pickle.UnpicklingError) as error:
        raise WeightsError(
            f"{path} must be a fit's progress file; it cannot be read. Start anew without resume."
        ) from error
    if not isinstance(held, dict) or held.pop("format", None) != FORMAT or "identity" not in held:
        raise WeightsError(
            f"{path} must be a fit's progress file of format {FORMAT}; it is not. Start anew without resume."
        )
    if held["identity"] != identity:
        raise WeightsError(
            f"{path} belongs to a fit with other settings, data, parts of it, seed or arithmetic (or, of one cycle, "
            "other epochs), so it cannot be resumed. Give the same again, start anew without resume, or choose another "
            "folder."
        )
    return Progress(**held)
