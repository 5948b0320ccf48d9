"""MobileNetV2 with its batch norms folded: a small convolutional backbone (Sandler et al., CVPR 2018)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vidence.errors import ShapeError, WeightsError

Padding = Literal["same", "torch"]

# expansion, channels out, repeats, stride of the first (table 2 of the paper)
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Conv(nn.Conv2d):
    """A convolution with bias whose padding is TensorFlow's (`same`) or torchvision's (`torch`).

    They differ at stride 2 on even sizes only: TensorFlow pads after, torchvision before.
    """

    def __init__(
        self, c_in: int, c_out: int, *, kernel: int, stride: int = 1, groups: int = 1, padding: Padding
    ) -> None:
        uneven = padding == "same" and stride > 1
        super().__init__(c_in, c_out, kernel, stride, 0 if uneven else kernel // 2, groups=groups)
        self.uneven = uneven

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k i j"]:
        """(n, c, h, w) -> (n, k, ceil(h / stride), ceil(w / stride))."""
        if self.uneven:
            kernel, stride = self.kernel_size[0], self.stride[0]
            rows, columns = (max((-size % stride) + kernel - stride, 0) for size in x.shape[-2:])
            x = F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        return super().forward(x)


def conv_relu6(
    c_in: int, c_out: int, *, kernel: int, stride: int = 1, groups: int = 1, padding: Padding
) -> nn.Sequential:
    """A convolution and ReLU6; not in place, so that what a hook saw stays what it was."""
    conv = Conv(c_in, c_out, kernel=kernel, stride=stride, groups=groups, padding=padding)
    return nn.Sequential(conv, nn.ReLU6())


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; added to its input where shapes allow."""

    def __init__(self, c_in: int, c_out: int, *, stride: int, expansion: int, padding: Padding) -> None:
        super().__init__()
        width = c_in * expansion
        self.residual = stride == 1 and c_in == c_out
        parts: list[nn.Module] = []
        if expansion != 1:
            parts.append(conv_relu6(c_in, width, kernel=1, padding=padding))
        parts.append(conv_relu6(width, width, kernel=3, stride=stride, groups=width, padding=padding))
        parts.append(Conv(width, c_out, kernel=1, padding=padding))
        self.conv = nn.Sequential(*parts)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k i j"]:
        """(n, c_in, h, w) -> (n, c_out, h / stride, w / stride)."""
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2(nn.Module):
    """Features of MobileNetV2, width 1, and (with `classes`) its classifier.

    `x` is float RGB (n, 3, h, w) in [0, 1]; `forward` returns (n, 1280, h / 32, w / 32). The state dict
    carries torchvision's names; batch norms are folded, so each convolution has a bias. `features` is a plain
    sequence of 19 modules.
    """

    mean: Float[Tensor, "3 1 1"]
    std: Float[Tensor, "3 1 1"]

    def __init__(
        self,
        classes: int | None = None,
        *,
        padding: Padding = "torch",
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        self.padding: Padding = padding
        layers: list[nn.Module] = [conv_relu6(3, 32, kernel=3, stride=2, padding=padding)]
        c_in = 32
        for expansion, c_out, repeats, first_stride in STAGES:
            for repeat in range(repeats):
                stride = first_stride if repeat == 0 else 1
                layers.append(InvertedResidual(c_in, c_out, stride=stride, expansion=expansion, padding=padding))
                c_in = c_out
        layers.append(conv_relu6(c_in, 1280, kernel=1, padding=padding))
        self.features = nn.Sequential(*layers)
        self.classifier = None if classes is None else nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, classes))
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 1280 i j"]:
        """(n, 3, h, w) in [0, 1] -> (n, 1280, h / 32, w / 32)."""
        if x.ndim != 4 or x.shape[1] != 3 or not x.is_floating_point():
            raise ShapeError(
                f"MobileNetV2 takes float RGB (n, 3, h, w) in [0, 1]; got {x.dtype} {tuple(x.shape)}. "
                "Fold frames into the batch, put channels second and divide pixels by 255."
            )
        return self.features((x - self.mean) / self.std)

    def logits(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n k"]:
        """The classifier on the mean over space: (n, 3, h, w) -> (n, k)."""
        if self.classifier is None:
            raise WeightsError(
                "logits need a classifier; this MobileNetV2 has features only. Build it with classes=1000, "
                "or load a file that holds a classifier."
            )
        return self.classifier(self(x).mean(dim=(2, 3)))


def load_mobilenet_folder(path: str | Path) -> MobileNetV2:
    """Google's 8-bit MobileNetV2 as float, in eval mode: `path` is its `.npz`, or a folder with one.

    Beside `NAME_int8.npz` lies `NAME.json`, the op list in order. Of two files in a folder the post-training
    quantised one (`ptq`, one scale per channel) is taken.
    """
    file = _find(Path(path))
    listing = file.with_name(file.name.removesuffix("_int8.npz") + ".json")
    try:
        described = json.loads(listing.read_text(encoding="utf-8"))
        formula, layers = described["input"], described["layers"]
        scale, zero = float(formula["scale"]), float(formula["zero_point"])
        with np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise WeightsError(
            f"a quantised MobileNetV2 is an .npz of arrays and a .json with 'input' and 'layers'; "
            f"{file.name} with {listing.name} cannot be read ({type(error).__name__}: {error}). "
            "Fetch both files again."
        ) from error
    convs = [op for op in layers if op.get("op") in ("CONV_2D", "DEPTHWISE_CONV_2D")]
    classes = convs[52]["shape"][0] if len(convs) == 53 else None
    mean, std = (zero / 255,) * 3, (1 / (255 * scale),) * 3
    model = MobileNetV2(classes, padding="same", mean=mean, std=std)
    _check_listing(model, layers, listing.name)
    state: dict[str, Tensor] = {}
    for (name, module), op in zip(_convolutions(model), convs, strict=True):
        weight, bias = _dequantised(arrays, op["name"], file.name)
        state[f"{name}.weight"] = weight.reshape(module.weight.shape)
        state[f"{name}.bias"] = bias
    model.load_state_dict(state)
    return model.eval()


def fold_batch_norms(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each batch norm of torchvision's state dict moved into the convolution before it.

    With t = gamma / sqrt(var + 1e-5): W' = W t, b' = beta - mu t.
    """
    folded = dict(state)
    for key in [key for key in state if key.endswith(".running_mean")]:
        norm = key.removesuffix(".running_mean")
        before, _, place = norm.rpartition(".")
        conv = f"{before}.{int(place) - 1}"
        scale = folded.pop(f"{norm}.weight") / torch.sqrt(folded.pop(f"{norm}.running_var") + 1e-5)
        folded[f"{conv}.weight"] = folded[f"{conv}.weight"] * scale.view(-1, 1, 1, 1)
        folded[f"{conv}.bias"] = folded.pop(f"{norm}.bias") - folded.pop(key) * scale
        folded.pop(f"{norm}.num_batches_tracked", None)
    return folded


def _find(path: Path) -> Path:
    """The quantised file that `path` names or holds."""
    if path.is_dir():
        found = sorted(path.glob("mobilenet_v2*_int8.npz"), key=lambda file: ("ptq" not in file.name, file.name))
        if found:
            return found[0]
    elif path.is_file() and path.name.endswith("_int8.npz"):
        return path
    raise WeightsError(
        "the backbone must be a file NAME_int8.npz with NAME.json beside it, or a folder that holds "
        f"mobilenet_v2*_int8.npz; {path} is not. Check the path."
    )


def _convolutions(model: MobileNetV2) -> Iterator[tuple[str, nn.Conv2d | nn.Linear]]:
    """Every layer with weights, in order, with its name in the state dict."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            yield name, module


def _plan(model: MobileNetV2) -> list[tuple[Any, ...]]:
    """The op list this network stands for: a row is a convolution (stride, groups, act, shape) or a sum."""
    rows: list[tuple[Any, ...]] = []
    modules = dict(model.named_modules())
    for name, module in _convolutions(model):
        if isinstance(module, nn.Linear):
            rows += [("MEAN",), ("conv", 1, 1, "NONE", (*module.weight.shape, 1, 1))]
            continue
        linear = name.count(".") == 3  # features.I.conv.J: the projection of a block, without activation
        act = "NONE" if linear else "RELU6"
        rows.append(("conv", module.stride[0], module.groups, act, tuple(module.weight.shape)))
        if linear and getattr(modules[name.rpartition(".conv.")[0]], "residual", False):
            rows.append(("ADD",))
    return rows


def _check_listing(model: MobileNetV2, layers: list[dict[str, Any]], file: str) -> None:
    """Raise unless the op list is this network's, op by op."""
    listed: list[tuple[Any, ...]] = []
    for op in layers:
        if op.get("op") in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            listed.append(("conv", op["stride"], op["groups"], op["act"], tuple(op["shape"])))
        elif op.get("op") in ("ADD", "MEAN", "AVERAGE_POOL_2D"):
            listed.append(("ADD",) if op["op"] == "ADD" else ("MEAN",))
    expected = _plan(model)
    if model.classifier is None:
        listed = [row for row in listed if row != ("MEAN",)]
    for place, (want, got) in enumerate(zip(expected, listed, strict=False)):
        if want != got:
            raise WeightsError(
                f"op {place} of {file} must be {want}, as in MobileNetV2 of width 1; got {got}. "
                "Pass a MobileNetV2 of width 1."
            )
    if len(listed) != len(expected):
        raise WeightsError(
            f"{file} must list {len(expected)} convolutions, sums and means; it lists {len(listed)}. "
            "Pass a whole MobileNetV2 of width 1."
        )


def _dequantised(arrays: Mapping[str, np.ndarray], name: str, file: str) -> tuple[Tensor, Tensor]:
    """The weight, (q - zero) * scale, one scale per output channel or one in all, and the bias."""
    missing = [part for part in ("q", "scale", "zero", "bias") if f"{name}.{part}" not in arrays]
    if missing:
        raise WeightsError(
            f"{file} must hold {name}.q, .scale, .zero and .bias; {name}.{missing[0]} is missing. Fetch the file again."
        )
    q, scale, zero, bias = (arrays[f"{name}.{part}"] for part in ("q", "scale", "zero", "bias"))
    if scale.size not in (1, len(q)) or zero.size != scale.size or bias.shape != (len(q),):
        raise WeightsError(
            f"{name} of {file} has {len(q)} output channels and needs as many scales (or one), zeros and "
            f"biases; got {scale.size}, {zero.size} and {bias.size}. Fetch the file again."
        )
    weight = (q.astype(np.float32) - zero.reshape(-1, 1, 1, 1)) * scale.reshape(-1, 1, 1, 1)
    return torch.from_numpy(weight.astype(np.float32)), torch.from_numpy(bias.astype(np.float32))
