"""Which part of a network learns: its head always, of its backbone the last stages that the schedule names."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from vidence.errors import SpecError


def stages(backbone: nn.Module) -> list[nn.Module]:
    """The backbone's children (those of its `features`, where it has such a sequence) that hold parameters."""
    features = getattr(backbone, "features", backbone)
    return [child for child in features.children() if any(True for _ in child.parameters())]


def trunk(network: nn.Module) -> tuple[list[nn.Module], list[nn.Module]]:
    """What may be frozen, as a whole and by stages: `network.backbone`; without one, all children that hold parameters
    but the last, which makes the logits.
    """
    backbone = getattr(network, "backbone", None)
    if backbone is not None:
        return [backbone], stages(backbone)
    parts = stages(network)[:-1]
    return parts, parts


def freeze(network: nn.Module, finetune: int | Literal["all"]) -> None:
    """Set `requires_grad`: all outside the trunk, and the trunk's last `finetune` stages (or all)."""
    network.requires_grad_(True)
    if finetune == "all":
        return
    whole, parts = trunk(network)
    if finetune > len(parts):
        raise SpecError(f"finetune must be 0..{len(parts)} stages of this backbone, or 'all'; got {finetune}.")
    for part in whole:
        part.requires_grad_(False)
    for part in parts[len(parts) - finetune :]:
        part.requires_grad_(True)


def set_mode(network: nn.Module) -> None:
    """Training mode, less the frozen stages: a frozen batch norm must not drift."""
    network.train()
    whole, parts = trunk(network)
    for part in (*whole, *parts):
        parameters = list(part.parameters())
        if parameters and not any(each.requires_grad for each in parameters):
            part.eval()


def learned(network: nn.Module) -> dict[str, Tensor]:
    """The state that a fit changes, by name: parameters that learn, and the buffers of modules in training mode."""
    modules, parameters = dict(network.named_modules()), dict(network.named_parameters())
    kept = {}
    for name, value in network.state_dict().items():
        owner = modules[name.rpartition(".")[0]]
        if parameters[name].requires_grad if name in parameters else owner.training:
            kept[name] = value
    return kept
