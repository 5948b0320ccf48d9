"""Copies of a network whose weights mean nothing any more, from its output down or one module at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from copy import deepcopy
from math import ceil
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.attribution.hooks import frozen, on_device, replaced


def cascaded(model: nn.Module, x: Float[Tensor, "1 c t h w"], *, stages: int, seed: int) -> Iterator[nn.Module]:
    """A copy with ever more modules initialised anew, the output's first; the last stage keeps none as it was.

    It is one copy that changes between the stages; nothing comes of a model without parameters. An autoencoder's
    decoder thus goes before its encoder. `model` is left as it was.
    """
    copy, done = deepcopy(model), 0
    order = from_output(copy, x)
    for count in spread(len(order), stages):
        renew(copy, order[done:count], seed=seed + done)
        done = count
        yield copy


def singled(model: nn.Module, x: Float[Tensor, "1 c t h w"], *, stages: int, seed: int) -> Iterator[nn.Module]:
    """Copies each of which has one module initialised anew, spread over the network and the output's first."""
    order = from_output(deepcopy(model), x)
    for count in spread(len(order), stages):  # the last of each share: the input's module is always one
        copy = deepcopy(model)
        renew(copy, order[count - 1 : count], seed=seed + count)
        yield copy


def spread(count: int, stages: int) -> list[int]:
    """`stages` numbers up to `count`, evenly spread and each once, `count` itself the last."""
    return sorted({ceil(count * (stage + 1) / stages) for stage in range(stages)}) if count else []


def from_output(model: nn.Module, x: Float[Tensor, "1 c t h w"]) -> list[str]:
    """Paths of the modules that own parameters, in the order of their last call, turned around.

    One that is not called as a module (its weight is read) goes with the module before it in the order of definition.
    """
    called: list[str] = []

    def note(path: str) -> Callable[[Any], Any]:
        def noted(output: Any) -> Any:
            called.append(path)
            return output

        return noted

    paths = [path for path, _ in model.named_modules()]
    with ExitStack() as watching:
        watching.enter_context(frozen(model))
        for path in paths:
            watching.enter_context(replaced(model, path, note(path)))
        with torch.no_grad():
            model(on_device(model, x))
    last = {path: place for place, path in enumerate(called)}
    places, place = {}, -1
    for i, path in enumerate(paths):
        place = last.get(path, place)
        places[path] = place, i
    owners = [path for path in paths if any(True for _ in model.get_submodule(path).parameters(recurse=False))]
    return sorted(owners, key=places.__getitem__, reverse=True)


def renew(model: nn.Module, paths: Sequence[str], *, seed: int) -> None:
    """Initialise these modules of `model` anew, in place; the state of torch's generators stays as it was.

    Parameters of a module that cannot initialise itself keep their values, but in random order.
    """
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        for path in paths:
            module = model.get_submodule(path)
            reset = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
            if callable(reset):
                reset()
                continue
            for parameter in module.parameters(recurse=False):
                order = torch.randperm(parameter.numel(), device=parameter.device)
                parameter.copy_(parameter.flatten()[order].view_as(parameter))
