"""Where a network computes: what may be asked for, and which number format is native there."""

from __future__ import annotations

import torch
from torch import nn

from vidence.errors import SpecError

DEVICES = ("auto", "cpu", "cuda")
CPU = torch.device("cpu")


def device_of(asked: str) -> torch.device:
    """`cpu`, `cuda`, or `auto`, which is a GPU if there is one. Raises `SpecError` for a GPU where there is none."""
    if asked not in DEVICES:
        raise SpecError(f"a device is one of {', '.join(DEVICES)}; got {asked!r}.")
    found = torch.cuda.is_available()
    if asked == "cuda" and not found:
        raise SpecError(
            "the device cuda must be a GPU that PyTorch can use; there is none. Ask for cpu or auto, or install the "
            "PyTorch that belongs to your GPU and driver."
        )
    return torch.device("cuda") if found and asked != "cpu" else CPU


def place_of(network: nn.Module) -> torch.device:
    """The device that a network's weights lie on; the CPU for one without any."""
    held = next(network.parameters(), next(network.buffers(), None))
    return CPU if held is None else held.device


def native_bf16(device: torch.device) -> bool:
    """Whether the processor multiplies bf16 itself: elsewhere it is emulated, which is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
