"""What is checked at the door: the clip before it is explained, and the model's own answers while it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from traceback import walk_tb
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode_stack

from vidence.attribution.hooks import in_16_bit, module_at, on_device, watched
from vidence.attribution.layer_names import LayerName, convolution_named
from vidence.attribution.outputs import FOREIGN, rows_of
from vidence.attribution.recurrent_calls import RecurrentCalls
from vidence.attribution.two_stage import TwoStage
from vidence.errors import ExplainError, ShapeError, VidenceError
from vidence.scoring.scores import ScoreFunction, reads

ZERO = "the map is zero"
STRAY = 1e-3  # how far values may lie outside [0, 1], as resizing leaves them
SHARE, SHARE_SHORT = 1e-4, 2e-2  # of an output's size: how far two passes may differ by rounding, and in 16 bit
CUT = (
    f"no gradient reaches what the map is made of, so {ZERO}: the model detaches on the way, leaves torch, or runs "
    "in inference_mode; take occlusion or rise"
)
LIKELY = (
    "the output looks like probabilities, at least 0 and 1 in sum: their logit and contrast saturate, and probability "
    "and anomaly take the softmax once more; return logits, or ask for probability(of='probabilities')"
)
REENTRANT = (
    "a gradient into the clip does not pass torch.utils.checkpoint(use_reentrant=True), which the model calls. Build "
    "it with use_reentrant=False, or take occlusion or rise"
)


def admitted(model: nn.Module, x: Any) -> Float[Tensor, "n c t h w"]:
    """Clips on the model's device and in its precision. Raises `ShapeError` for what is no clip, or not finite."""
    if not isinstance(x, Tensor):
        raise no_clip(x)
    if x.ndim != 5 or 0 in x.shape or not x.is_floating_point():
        raise ShapeError(
            f"x must be float (n, c, t, h, w) with at least one clip; got {x.dtype} {tuple(x.shape)}. {_remedy(x)}"
        )
    wrong = int((~x.isfinite()).sum())
    if wrong:
        raise ShapeError(
            f"x must be finite; {wrong} of {x.numel()} values are NaN or infinite. Look at how the clip was made."
        )
    return on_device(model, x).detach().contiguous()  # torch.median misreads an expanded axis: a still clip


def _remedy(x: Tensor) -> str:
    """What makes a clip of a tensor that is none."""
    if x.dtype == torch.uint8:
        return f"Of numbers 0..255: x{'[None]' if x.ndim == 4 else ''}.float() / 255."
    if x.ndim == 4:
        return "Of one clip (c, t, h, w): x[None]; of images (n, c, h, w): x[:, :, None]."
    return "An image is a clip of one frame."


def no_clip(given: Any) -> ShapeError:
    """The error for what is neither a tensor nor a `Clip`."""
    if isinstance(given, tuple | list) and given and all(isinstance(part, Tensor) for part in given):
        return ShapeError(
            f"a clip must be one tensor (n, c, t, h, w) or a Clip; got {len(given)} tensors. Of a model with several "
            "inputs (RGB and flow): write a module that makes them from one clip and calls it. Of clips: torch.cat."
        )
    return ShapeError(
        f"a clip must be a tensor (n, c, t, h, w) or a Clip; got {type(given).__name__}. Of frames (t, h, w, 3) uint8 "
        "in NumPy: torch.from_numpy(frames).permute(3, 0, 1, 2)[None].float() / 255."
    )


def range_flags(x: Float[Tensor, "n c t h w"]) -> tuple[str, ...]:
    """What is to be said of clips that leave [0, 1]: fills and noise are made for it."""
    least, most = (float(value) for value in x.aminmax())
    if least >= -STRAY and most <= 1 + STRAY:
        return ()
    return (
        f"the clip's values reach from {least:.3g} to {most:.3g}; vidence's clips are in [0, 1]: pass raw frames and "
        "let Adapted(mean=, std=) normalise",
    )


class Answers:
    """The passes of the model itself while one clip x (1, c, t, h, w) is explained, seen from outside.

    Passes through `encode` and `decide` of a two-stage model are not seen.
    """

    def __init__(self, model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> None:
        self.model, self.x, self.reads = model, x, reads(score)
        # the first pass has not come back; Keras refuses a clip before it calls, two stages may never call as a whole
        self.waiting = not isinstance(model, TwoStage)
        self.explained = False  # what follows is no longer under the explainer's hand
        self._passes = 0
        self._probabilities = False
        self._carried: set[bool] = set()  # whether passes that were to build a graph did
        self._first: list[Tensor] | None = None  # what the clip as it is gave
        self._again: list[Tensor] | None = None  # and once more, after the explanation

    def asked(self) -> None:
        """A pass begins."""
        self.waiting = self._passes == 0

    def heard(self, args: tuple[Any, ...], output: Any) -> None:
        """A pass ends. Raises `ExplainError` where it shows that no score can be had from the output."""
        self.waiting = False
        multiplied = _multiplied()  # before function modes are silenced
        if multiplied is not None and rows_of(output) != multiplied:
            return  # no answer for each variant: the explainer asks again without
        rows = multiplied if multiplied is not None else _rows(args)
        with torch._C.DisableTorchFunction():
            values = _floating(output)
            if isinstance(output, Tensor):
                self._check_rows(output, rows)
                if self._passes == 0:
                    self._check(output)
            self._passes += 1
            if torch.is_grad_enabled():
                self._carried.add(any(value.requires_grad for value in values))
            if self._wanted and args and _same(args[0], self.x):
                kept = [value.detach() for value in values]
                self._first, self._again = (self._first, kept) if self.explained else (kept, None)

    @property
    def _wanted(self) -> bool:
        return self._again is None if self.explained else self._first is None

    def once_more(self) -> None:
        """Ask for the clip as it is again, where that was seen once only."""
        if self._first is not None and self._again is None:
            with torch.no_grad():
                self.model(self.x)

    def flags(self, held: tuple[str, ...], values: Tensor) -> tuple[str, ...]:
        """What the passes say besides; a map of zeros has another reason where the model let no gradient through."""
        found = list(held)
        if self._carried == {False} and not values.any():
            found = [CUT, *(flag for flag in found if ZERO not in flag)]
        if self._probabilities:
            found.append(LIKELY)
        apart = self._apart()
        if apart:
            found.append(apart)
        return tuple(found)

    def _apart(self) -> str | None:
        """How far two passes of the same clip differ."""
        short = in_16_bit(self.model) or any(parameter.itemsize == 2 for parameter in self.model.parameters())
        share = SHARE_SHORT if short else SHARE
        for one, other in zip(self._first or (), self._again or (), strict=False):
            if not one.numel() or one.ndim != other.ndim or one.shape[1:] != other.shape[1:]:
                continue
            apart = (one - other).abs() if one.shape == other.shape else (one - other[:1]).abs()
            # where a recurrent layer was made to see variants, the clip as it is comes first
            distance = float(apart.max() if one.shape == other.shape else apart[0].max())
            size = float(one.abs().max())
            if distance > share * size:
                return (
                    f"two passes of the same clip differ by up to {distance:.2g} in outputs of up to {size:.2g}: the "
                    "model draws at random or keeps a state from call to call; the map holds for its own passes only"
                )
        return None

    def _check_rows(self, output: Tensor, rows: int | None) -> None:
        if rows is not None and self.reads is not None and (output.ndim == 0 or len(output) != rows):
            raise ExplainError(_of_rows(output, rows))

    def _check(self, output: Tensor) -> None:
        if output.is_floating_point():
            wrong = int((output.isnan() | output.isposinf()).sum())  # a class that is ruled out may be -inf
            if wrong:
                raise ExplainError(
                    f"the model's output must be finite; of a clip {tuple(self.x.shape)} it returned {wrong} of "
                    f"{output.numel()} values NaN or infinite. See its weights, its precision (float16 overflows) and "
                    "the value range that it expects: Adapted(model, mean=, std=)."
                )
        if output.ndim == 2 and output.shape[1] > 1 and self.reads == "logits" and output.is_floating_point():
            sums = output.detach().float().sum(dim=1)
            self._probabilities = bool((output >= 0).all()) and bool(((sums - 1).abs() < 1e-2).all())


@contextmanager
def answering(model: nn.Module, x: Float[Tensor, "1 c t h w"], score: ScoreFunction) -> Iterator[Answers]:
    """Watch the model's passes; an error of its own first one is told in words, most others pass as they are.

    Raises `ExplainError` from a first pass that the model refuses, and where checkpoints of it stop a gradient.
    """
    answers = Answers(model, x, score)
    try:
        with watched(model, answers.asked, answers.heard):
            yield answers
    except FOREIGN as error:
        if isinstance(error, VidenceError | torch.OutOfMemoryError):
            raise
        if "use_reentrant=True" in str(error):
            raise ExplainError(f"{REENTRANT}.") from error
        if not answers.waiting or not _by_model(error):
            raise
        said = next(iter(str(error).strip().splitlines()), "").rstrip(".") or type(error).__name__
        raise ExplainError(
            f"the model refused a clip {tuple(x.shape)}: {said}. If it takes another axis order, value range or "
            "keyword, wrap it: Adapted(model, layout='n t c h w', mean=, std=, keyword=). If it takes several inputs, "
            "write a module that makes them from one clip."
        ) from error


def _by_model(error: BaseException) -> bool:
    """Whether a module raised, or torch that it called, and not what an explainer does in between."""
    for frame, _ in reversed(list(walk_tb(error.__traceback__))):
        given = frame.f_locals.get("args")  # of a decorator, which may have dropped the frames below it
        first = given[0] if isinstance(given, tuple) and given else None
        if isinstance(frame.f_locals.get("self", first), nn.Module):
            return True
        ours = str(frame.f_globals.get("__name__")).startswith("vidence.attribution.")
        if ours and frame.f_code.co_name not in (
            "__torch_function__",
            "at_its_call",
        ):  # what lies around a model's call
            return False
    return True


def check_layers(settings: Any, model: nn.Module) -> None:
    """Raise `ExplainError` where an explainer, or one that it is made of, names a layer that the model has not."""
    for field in fields(settings):
        held = getattr(settings, field.name)
        for each in held if isinstance(held, tuple) else (held,):
            if field.name in ("layer", "layers") and isinstance(each, str):
                if convolution_named(model, each) is None:
                    module_at(model, LayerName.parsed(each).path)
            elif is_dataclass(each) and not isinstance(each, type):
                check_layers(each, model)


def _multiplied() -> int | None:
    """How many variants of the clip a recurrent layer was made to see; None: it was not."""
    modes = _get_current_function_mode_stack()  # type: ignore[no-untyped-call]
    return next((mode.multiplied for mode in modes if isinstance(mode, RecurrentCalls) and mode.multiplied), None)


def _rows(args: tuple[Any, ...]) -> int | None:
    """How many clips a pass answers for; None: unknown."""
    return len(args[0]) if args and isinstance(args[0], Tensor) and args[0].ndim else None


def _of_rows(output: Tensor, rows: int) -> str:
    said = f"a model must return a row a clip, ({rows}, k); of {rows} clips it returned {tuple(output.shape)}. "
    if output.ndim < 2 and rows == 1:
        return f"{said}If it drops the axis of clips, put it back: Adapted(model, pick=lambda output: output[None])."
    if output.ndim == 0 or len(output) < rows:
        return f"{said}Let it take several clips at a time, or show it one by one where an explainer has chunk=1."
    return (
        f"{said}If it answers frame by frame, take one answer a clip: "
        f"Adapted(model, pick=lambda output: output.unflatten(0, (-1, {len(output) // rows}"
        ")).mean(dim=1))."
    )


def _floating(output: Any) -> list[Tensor]:
    """Every floating tensor of an output of any nesting."""
    if isinstance(output, Tensor):
        return [output] if output.is_floating_point() else []
    if isinstance(output, Mapping):
        parts = list(output.values())
    elif isinstance(output, tuple | list):
        parts = list(output)
    elif is_dataclass(output) and not isinstance(output, type):
        parts = [getattr(output, field.name) for field in fields(output)]
    else:
        return []
    return [value for part in parts for value in _floating(part)]


def _same(given: Any, x: Tensor) -> bool:
    return isinstance(given, Tensor) and given.shape == x.shape and bool((given == x).all())
