"""The checks every explainer must pass, public so that plug-in authors can run them. Each raises `AssertionError`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidence.attribution.explainer import Explainer
from vidence.attribution.outputs import mapped
from vidence.scoring.scores import Logit, ScoreFunction

__all__ = ["Passes", "assert_no_residue", "check_explainer", "counted_passes"]


@dataclass(slots=True)
class Passes:
    """Clip rows that went forward through a model, and rows whose backward pass was run from its output."""

    forwards: int = 0
    gradients: int = 0


@contextmanager
def counted_passes(model: nn.Module) -> Iterator[Passes]:
    """Count the rows of every call of `model` inside the block and of every backward pass from what it returned.

    A call of `encode` or `decide` is no call of the model. Of an output of several tensors the busiest one counts.
    """
    passes = Passes()

    def count(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        rows = len(next(part for part in (*args, *kwargs.values()) if isinstance(part, Tensor)))
        passes.forwards += rows
        runs: dict[int, int] = {}  # tensor of the output -> backward passes seen at it

        def watched(part: Tensor) -> Tensor:
            if not part.requires_grad:
                return part
            place = len(runs)
            runs[place] = 0

            def ran(gradient: Tensor) -> None:
                before = max(runs.values())
                runs[place] += 1
                passes.gradients += rows * (max(runs.values()) - before)

            seen = part.view_as(part)  # a hook of our own, on no tensor of the user's
            seen.register_hook(ran)  # type: ignore[no-untyped-call]
            return seen

        return mapped(output, watched)

    handle = model.register_forward_hook(count, with_kwargs=True)
    try:
        yield passes
    finally:
        handle.remove()


@contextmanager
def assert_no_residue(model: nn.Module) -> Iterator[None]:
    """Raise unless the model leaves the block as it entered it, also when the block raises.

    Compared are state dict, attributes of every module, training and requires_grad flags, gradients and hooks.
    """
    before = _state(model)
    try:
        yield
    finally:
        after = _state(model)
        changed = [key for key in {**before, **after} if not _same(before.get(key), after.get(key))]
        if changed:
            raise AssertionError(f"the model must be left as it was; changed are: {', '.join(changed[:8])}.")


def check_explainer(
    explainer: Explainer,
    model: nn.Module,
    x: Tensor,
    scores: Sequence[ScoreFunction] = (Logit(0), Logit(1)),
    *,
    class_specific: bool = True,
    tolerance: float = 1e-4,
) -> None:
    """Run an explainer on clips (n, c, t, h, w), n of at least 2, under two scores that suit the model.

    Maps are finite, float32, a frame each; a batch gives what its last clip gives alone, also the tensors in `extra`;
    twice gives the same; another score gives another map of the first clip (`class_specific`); nothing is left on the
    model, after a success and after an error.
    """
    first, second = scores
    with assert_no_residue(model):
        found = explainer.attribute(model, x, first)
    values = found.values
    _require(
        values.dtype == torch.float32 and values.ndim == 4, f"values must be float32 (n, t, h, w); got {values.dtype}"
    )
    _require(values.shape[:2] == (x.shape[0], x.shape[2]), f"one map a frame is needed; got {tuple(values.shape)}")
    _require(not values.requires_grad, "values must not hold a graph")
    _require(bool(values.isfinite().all()), "values must be finite")
    _require(bool(values.abs().max() > 0), "the map of an untrained model must not be zero")
    scale = float(values.abs().max())
    called = explainer(model, x, first)  # without a certificate, whose deletions must not be what decides
    _require(
        called.shape == (x.shape[0], *x.shape[2:]), f"a call must return a map of x's size; got {tuple(called.shape)}"
    )
    again = values if values.shape == called.shape else F.interpolate(values, size=called.shape[2:], mode="bilinear")
    _require(torch.equal(called, again), "the same call must give the same map")
    single = explainer.attribute(model, x[-1:], first, certify=False)
    difference = float((single.values - values[-1:]).abs().max())
    _require(
        difference <= tolerance * scale, f"a batch must give what its clips give alone; they differ by {difference:g}"
    )
    for name, value in single.extra.items():
        if isinstance(value, Tensor):
            _check_extra(name, value, found.extra[name], len(x), tolerance)
    if class_specific:
        other = explainer.attribute(model, x[:1], second, certify=False).values
        _require(float((other - values[:1]).abs().max()) > 1e-3 * scale, "another score must give another map")
    _check_errors(explainer, model, x, first, asked=class_specific)


def _check_extra(name: str, single: Tensor, together: Tensor, n: int, tolerance: float) -> None:
    """A tensor in `extra` has a row a clip, and of a batch the rows of its clips, at the end perhaps filled up."""
    _require(len(single) == 1, f"extra[{name!r}] must have one row a clip; of one clip it is {tuple(single.shape)}")
    _require(len(together) == n, f"extra[{name!r}] must have one row a clip, {n}; it is {tuple(together.shape)}")
    last = together[(slice(-1, None), *(slice(size) for size in single.shape[1:]))]
    scale = float(together.nan_to_num().abs().max()) if together.numel() else 0.0
    same = last.shape == single.shape and torch.allclose(
        last.double(), single.double(), rtol=tolerance, atol=tolerance * scale, equal_nan=True
    )
    _require(same, f"extra[{name!r}] of a batch must be what its clips give alone")


def _check_errors(explainer: Explainer, model: nn.Module, x: Tensor, score: ScoreFunction, *, asked: bool) -> None:
    """Errors raised by the score, if it is asked, and inside the model reach the caller and leave nothing behind."""
    places = [module for module in model.modules() if not list(module.children()) and module is not model]
    with assert_no_residue(model):
        _expect_stop(explainer, model, x, _Failing(), needed=asked)
    for module in {places[0], places[-1]} if places else ():
        handle = module.register_forward_hook(_stop)
        try:
            with assert_no_residue(model):
                _expect_stop(explainer, model, x, score, needed=False)
        finally:
            handle.remove()


class _Stop(Exception):
    """Raised on purpose."""


def _stop(*_: Any) -> None:
    raise _Stop


class _Failing:
    """A score that cannot be had, neither as a number nor as a density over pixels."""

    def __call__(self, output: Any, x: Tensor) -> Tensor:
        raise _Stop

    def density(self, output: Any, x: Tensor) -> Tensor:
        """Fail."""
        raise _Stop


def _expect_stop(
    explainer: Explainer, model: nn.Module, x: Tensor, score: ScoreFunction, *, needed: bool = True
) -> None:
    try:
        explainer.attribute(model, x, score)
    except _Stop:
        return
    _require(not needed, "an error of the score must reach the caller")


def _state(model: nn.Module) -> dict[str, Any]:
    state: dict[str, Any] = {f"state {key}": value.detach().clone() for key, value in model.state_dict().items()}
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            state[f"{name or 'model'}.{key}"] = dict(value) if isinstance(value, dict) else value
    for name, parameter in model.named_parameters():
        state[f"requires_grad of {name}"] = parameter.requires_grad
        state[f"grad of {name}"] = parameter.grad
    return state


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one is other or (one.shape == other.shape and torch.equal(one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if one is other:
        return True
    try:
        return bool(one == other)
    except (RuntimeError, ValueError, TypeError):  # what cannot be compared is another object
        return False


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)
