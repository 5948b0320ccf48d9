"""The batch multiplied at a model's recurrent call: what follows it answers for many variants of a clip in one pass.

That says what the score would have been only where the frames reach the output through this one call. What else a model
computes from the clip is followed function by function, and a pass that it would falsify is given up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from vidence.attribution.calls import RECURRENT
from vidence.attribution.frame_numbers import tensors_among
from vidence.attribution.outputs import FOREIGN, rows_of
from vidence.errors import ExplainError

# functions, by name, of whose arguments no value goes into what they return, or of the first one alone
EMPTY = {
    "zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like", "randint_like", "new_zeros",
    "new_ones", "new_full", "new_empty",
}  # fmt: skip
FIRST = {"to", "type_as", "expand_as", "view_as", "reshape_as"}
ABREAST = "frames reach its recurrent layers in more calls than one, side by side or step by step"
PAST = "the clip reaches the score past the recurrent layer, too"
LATER = "the layer does not come before the recurrent one"
SINGLY = "what follows the recurrent layer does not answer for many variants of a clip at once"


class NotAlone(ExplainError):
    """What follows a recurrent call cannot be run for variants of its features; says why, as part of a sentence."""


class RecurrentCalls(TorchFunctionMode):
    """Multiplies the batch where `nn.GRU`, `nn.LSTM` or `nn.RNN` gets features of the clip x (1, c, t, h, w).

    `vary((1, t, f)) -> (v, t, f)` gives the variants; one row leaves the pass as it is. `features` and `variants` are
    both tensors of the first such call. Raises `NotAlone` from a pass with variants that the clip itself reaches, too:
    through another recurrent call, an initial state, a sum or a product.
    """

    def __init__(self, x: Tensor, vary: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.vary = vary
        self.features: Tensor | None = None
        self.variants: Tensor | None = None
        self._shape = x.shape
        self._varied: Any = WeakIdKeyDictionary()  # tensor that comes from the clip -> whether from the variants

    @property
    def multiplied(self) -> int:
        """How many variants there are, where there are several; 0: the pass is left as it is."""
        return 0 if self.variants is None or len(self.variants) == 1 else len(self.variants)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        sources = self._sources(func, args, kwargs)
        if self.multiplied and func in RECURRENT and sources != {True}:
            raise NotAlone(ABREAST)
        if self.multiplied and len(sources) > 1:
            raise NotAlone(PAST)
        given = args
        # a packed sequence has its weights where others say whether they have biases
        if func in RECURRENT and self.variants is None and isinstance(args[3], bool):
            given = self._multiplied(args)
            sources = {self.multiplied > 0}
        out = func(*given, **kwargs)
        if sources:
            self._note(args[0] if func is Tensor.__setitem__ else out, True in sources)
        return out

    def _sources(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> set[bool]:
        """Whether the values of a call's arguments come from the variants (True), from the clip (False), or neither."""
        name = func.__name__
        if name in EMPTY:
            return set()
        among = tensors_among(args[:1], {}) if name in FIRST else tensors_among(args, kwargs)
        with torch._C.DisableTorchFunction():
            return {self._varied.get(part, False) for part in among if part in self._varied or self._is_clip(part)}

    def _note(self, written: Any, varied: bool) -> None:
        """Remember where the values of what a call returned or wrote come from, and those of what it is a view of."""
        with torch._C.DisableTorchFunction():
            for part in tensors_among((written,), {}):
                for each in (part, part._base):
                    if each is not None:
                        self._varied[each] = varied

    def _is_clip(self, part: Tensor) -> bool:
        """Whether a tensor is the clip, or a copy that a function which cannot be seen made of it."""
        return part.shape == self._shape and part.is_floating_point()

    def _multiplied(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments of a recurrent call with the variants for its features, where those are of one clip."""
        batch_first = bool(args[8])
        x = args[0] if batch_first else args[0].transpose(0, 1)
        if len(x) != 1:
            return args
        self.features, self.variants = x, self.vary(x)
        states = tensors_among((args[1],), {})
        if self.multiplied and any(part in self._varied for part in states):
            raise NotAlone(PAST)
        rows = len(self.variants)
        states = [part.expand(-1, rows, -1).contiguous() for part in states]
        head = self.variants if batch_first else self.variants.transpose(0, 1)
        return head, tuple(states) if len(states) > 1 else states[0], *args[2:]


def with_variants(
    model: nn.Module, x: Float[Tensor, "1 c t h w"], vary: Callable[[Tensor], Tensor]
) -> tuple[Any, Tensor | None]:
    """The model's output for the variants of one clip's features at its recurrent call, and these (None: no such call).

    Raises `NotAlone` where it answers for the clip but not for the variants, or the clip reaches the output besides.
    """
    calls = RecurrentCalls(x, vary)
    try:
        with calls:
            output = model(x)
    except FOREIGN as error:
        if not calls.multiplied or isinstance(error, NotAlone | torch.OutOfMemoryError):
            raise
        raise NotAlone(SINGLY) from error
    if calls.multiplied and rows_of(output) != calls.multiplied:
        raise NotAlone(SINGLY)
    return output, calls.variants
