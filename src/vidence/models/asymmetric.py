"""Asymmetric convolution blocks: kernels that are strengthened while training and fused into one for use."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from itertools import zip_longest
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from vidence.errors import SpecError
from vidence.models.plans import Variant

Convolution = nn.Conv2d | nn.ConvTranspose2d
PLAIN = (nn.Conv2d, nn.ConvTranspose2d)  # not their subclasses: those may compute something else
# the module that takes a convolution's place, and whether the batch norm behind it went into it
Change = Callable[[nn.Module, nn.BatchNorm2d | None], tuple[nn.Module, bool]]


def strengthen(module: nn.Module, *, variant: Variant = "sum", centre: bool = True) -> nn.Module:
    """A copy in which each square kernel (k > 1) of a `Conv2d` or `ConvTranspose2d` becomes an `AsymmetricBlock`.

    The copy computes what the module computes, in training and in evaluation: for `sum` the square kernel gives up
    what the other two start with, for `branches` their batch norms start with a weight of 0. A `BatchNorm2d` goes into
    the block of the convolution that it directly follows in an `nn.Sequential` (an `nn.Identity` keeps its place).
    Elsewhere it stays behind the block, which then has none, in either variant. Modules shared between places stay
    shared. Padding given as a word becomes numbers. Square kernels that are left as they are, because their
    convolution is of a subclass, or is padded by another mode than zeros or by more on one side ('same' of an even
    kernel), are named in a warning. Raises `SpecError` where nothing is left to strengthen.
    """
    copy, made, left = deepcopy(module), [], []
    names = {each: name or type(each).__name__ for name, each in copy.named_modules()}

    def change(found: Any, norm: nn.BatchNorm2d | None) -> tuple[nn.Module, bool]:
        if isinstance(found, AsymmetricBlock) or not found.kernel_size[0] == found.kernel_size[1] > 1:
            return found, False
        padding = _padding(found)
        if padding is None:
            left.append(names[found])
            return found, False
        found.padding = padding
        block = AsymmetricBlock(found, norm, variant=variant, centre=centre)
        block.start_unchanged()
        made.append(block)
        return block.train(found.training), norm is not None

    changed = _changed(copy, change)
    told = f"not so are: {', '.join(left)}" if left else f"{type(module).__name__} has none"
    needs = (
        "strengthen takes square kernels larger than 1 of a Conv2d or ConvTranspose2d itself, padded with zeros by as "
        f"much on either side; {told}."
    )
    if not made:
        raise SpecError(f"{needs} Train the network as it is, or change a layer.")
    if left:
        warnings.warn(f"{needs} They stay as they are.", stacklevel=2)
    return changed


def fuse(module: nn.Module) -> nn.Module:
    """A copy for evaluation in which each asymmetric block, and each convolution with the batch norm that directly
    follows it in an `nn.Sequential`, is one convolution. It computes the same up to rounding.
    """

    def change(found: nn.Module, norm: nn.BatchNorm2d | None) -> tuple[nn.Module, bool]:
        if isinstance(found, AsymmetricBlock):
            return found.fused(), False
        if norm is None or type(found) not in PLAIN:
            return found, False
        kernel, bias = _scaled(found.weight, found.bias, norm, found)  # type: ignore[arg-type]
        return _with(found, kernel, bias), True  # type: ignore[arg-type]

    return _changed(deepcopy(module).eval(), change).eval()


class AsymmetricBlock(nn.Module):
    """A convolution by a square kernel, a horizontal and a vertical one, summed; also transposed ("ADB").

    Takes over `square` and `norm`. `variant`: one batch norm of the sum (thesis eq. 3.4), or one for each of the
    `branches` (Ding et al., ACNet, ICCV 2019). `centre`: a transposed block's stripes lie on the square's middle row
    and column; False: on the first ones, as in the released code. `sum` runs one convolution by the sum of the three
    kernels: the same function with the same gradients.
    """

    def __init__(
        self, square: Convolution, norm: nn.BatchNorm2d | None = None, *, variant: Variant = "sum", centre: bool = True
    ) -> None:
        super().__init__()
        middle = centre or isinstance(square, nn.Conv2d)
        self.square = square
        self.horizontal, self.vertical = (Stripe(square, flat=flat, middle=middle) for flat in (0, 1))
        norms = [] if norm is None else [norm]
        if norm is not None and variant == "branches":
            norms += [nn.BatchNorm2d(square.out_channels, norm.eps, norm.momentum).to(square.weight) for _ in range(2)]
        self.norms = nn.ModuleList(norms)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k i j"]:
        """The sum of the three, normalised. The square kernel is called last: explainers take the last call."""
        if len(self.norms) == 3:
            square, horizontal, vertical = self.norms
            return horizontal(self.horizontal(x)) + vertical(self.vertical(x)) + square(self.square(x))
        total = _convolved(x, self.square, *self._summed())
        return self.norms[0](total) if len(self.norms) else total

    @torch.no_grad()
    def start_unchanged(self) -> None:
        """Make the block compute what square kernel and batch norm computed alone."""
        if len(self.norms) == 3:
            for norm in list(self.norms)[1:]:
                nn.init.zeros_(norm.weight)  # type: ignore[arg-type]
        else:
            self.square.weight -= self.horizontal.widened() + self.vertical.widened()

    @torch.no_grad()
    def fused(self) -> Convolution:
        """One convolution that computes what the block computes in evaluation."""
        if len(self.norms) < 3:
            kernel, bias = self._summed()
            if len(self.norms):
                kernel, bias = _scaled(kernel, bias, self.norms[0], self.square)
            return _with(self.square, kernel, bias)
        kernels = (self.square.weight, self.horizontal.widened(), self.vertical.widened())
        parts = zip(kernels, self._branches(), self.norms, strict=True)
        folded = [_scaled(kernel, branch.bias, norm, self.square) for kernel, branch, norm in parts]
        return _with(self.square, *(torch.stack(each).sum(dim=0) for each in zip(*folded, strict=True)))

    def _summed(self) -> tuple[Tensor, Tensor | None]:
        kernel = self.square.weight + self.horizontal.widened() + self.vertical.widened()
        biases = [each.bias for each in self._branches() if each.bias is not None]
        return kernel, sum(biases[1:], biases[0]) if biases else None

    def _branches(self) -> tuple[Convolution, Stripe, Stripe]:
        return self.square, self.horizontal, self.vertical


class Stripe(nn.Module):
    """A convolution by one row (`flat` = 0) or one column (1) of a square kernel: the middle one, or the first.

    Its output has the square convolution's size. The thesis calls for strides, padding and dilation that make the
    sizes meet; here the input (the output, where transposed) is shifted by padding or cropping, which also serves
    kernels of even size and any padding.
    """

    bias: nn.Parameter | None

    def __init__(self, square: Convolution, *, flat: int, middle: bool) -> None:
        super().__init__()
        of: Any = square  # padding could be a word; `strengthen` makes numbers of it
        k, p, d = of.kernel_size[flat], of.padding[flat], of.dilation[flat]
        self.flat, self.room = flat, k
        self.at = k // 2 if middle else 0
        self.transposed = isinstance(square, nn.ConvTranspose2d)

        def along(sizes: tuple[int, ...], across: int) -> tuple[int, int]:
            return (across, sizes[1]) if flat == 0 else (sizes[0], across)

        shape: dict[str, Any] = {
            "kernel_size": along(of.kernel_size, 1),
            "stride": of.stride,
            "padding": along(of.padding, 0),
            "dilation": along(of.dilation, 1),
        }
        low, high = p - self.at * d, p - (k - 1 - self.at) * d
        if self.transposed:
            shape["output_padding"] = along(of.output_padding, 0)
            low, high = -low, of.output_padding[flat] - high
        self.shift = self._edges(low, high)
        made = type(square)(square.in_channels, square.out_channels, groups=square.groups, bias=False, **shape)
        self.convolution: Convolution = made.to(square.weight)
        self.bias = None if square.bias is None else nn.Parameter(torch.zeros_like(square.bias))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k i j"]:
        """Convolve, at the place that the stripe has in the square."""
        if self.transposed:
            y = _shifted(self.convolution(x), self.shift)
        else:
            y = self.convolution(_shifted(x, self.shift))
        return y if self.bias is None else y + self.bias[:, None, None]

    def widened(self) -> Float[Tensor, "a b k k"]:
        """The kernel as a square one, 0 outside the stripe."""
        return F.pad(self.convolution.weight, self._edges(self.at, self.room - 1 - self.at))

    def _edges(self, low: int, high: int) -> tuple[int, int, int, int]:
        return (0, 0, low, high) if self.flat == 0 else (low, high, 0, 0)


def _shifted(x: Tensor, edges: tuple[int, int, int, int]) -> Tensor:
    return F.pad(x, edges) if any(edges) else x


def _padding(found: Any) -> tuple[int, int] | None:
    """The zeros on either side of what a convolution reads, in numbers; None where a block cannot do as it does."""
    if type(found) not in PLAIN or found.padding_mode != "zeros":
        return None
    if found.padding == "valid":
        return 0, 0
    if found.padding != "same":
        return found.padding
    wider = [dilation * (side - 1) for side, dilation in zip(found.kernel_size, found.dilation, strict=True)]
    return None if any(each % 2 for each in wider) else (wider[0] // 2, wider[1] // 2)


def _convolved(x: Tensor, like: Any, kernel: Tensor, bias: Tensor | None) -> Tensor:
    transposed = isinstance(like, nn.ConvTranspose2d)
    if transposed:
        return F.conv_transpose2d(
            x, kernel, bias, like.stride, like.padding, like.output_padding, like.groups, like.dilation
        )
    return F.conv2d(x, kernel, bias, like.stride, like.padding, like.dilation, like.groups)


def _scaled(kernel: Tensor, bias: Tensor | None, norm: Any, like: Convolution) -> tuple[Tensor, Tensor]:
    """Kernel and bias with the running statistics of a batch norm folded in, in float64."""
    mean, variance = norm.running_mean.double(), norm.running_var.double()
    scale = (variance + norm.eps).rsqrt() * (1.0 if norm.weight is None else norm.weight.double())
    offset = (0.0 if bias is None else bias.double()) - mean
    shift = offset * scale + (0.0 if norm.bias is None else norm.bias.double())
    if isinstance(like, nn.Conv2d):
        return kernel.double() * scale[:, None, None, None], shift
    groups = like.groups  # (in, out / groups, k, k): which outputs a row feeds depends on its group
    parted = rearrange(kernel.double(), "(g i) o h w -> g i o h w", g=groups)
    scaled = parted * rearrange(scale, "(g o) -> g 1 o 1 1", g=groups)
    return rearrange(scaled, "g i o h w -> (g i) o h w"), shift


@torch.no_grad()
def _with(like: Convolution, kernel: Tensor, bias: Tensor | None) -> Convolution:
    """The convolution with another kernel and bias; the kernel keeps its layout in memory."""
    made = deepcopy(like)
    made.weight.copy_(kernel)
    if bias is not None:
        made.bias = nn.Parameter(bias.to(made.weight.dtype, copy=True))
    return made


def _changed(root: nn.Module, change: Change) -> nn.Module:
    """`root` with every convolution and asymmetric block in it changed, in place; another one if it is one itself."""
    uses: Counter[nn.Module | None] = Counter(each for _, each in root.named_modules(remove_duplicate=False))
    done: dict[nn.Module, nn.Module] = {}

    def visit(module: nn.Module, norm: nn.BatchNorm2d | None) -> tuple[nn.Module, bool]:
        if module in done:
            return done[module], False
        if isinstance(module, AsymmetricBlock | nn.Conv2d | nn.ConvTranspose2d):
            done[module], absorbed = change(module, norm)
            return done[module], absorbed
        done[module] = module
        names = list(module._modules)
        for name, after in zip_longest(names, names[1:], fillvalue=""):
            child, follower = module._modules[name], module._modules.get(after)
            if child is None:
                continue
            fits = type(module) is nn.Sequential and uses[child] == uses[follower] == 1 and _folds(follower)
            module._modules[name], absorbed = visit(child, follower if fits else None)  # type: ignore[arg-type]
            if absorbed:
                module._modules[after] = nn.Identity()
        return module, False

    return visit(root, None)[0]


def _folds(found: nn.Module | None) -> bool:
    return type(found) is nn.BatchNorm2d and found.running_var is not None
