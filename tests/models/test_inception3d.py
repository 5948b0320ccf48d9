"""I3D: the published names, shapes and count; a slow twin with TensorFlow's padding counted out."""

import math

import pytest
import torch
import torch.nn.functional as F

from vidence.errors import ShapeError
from vidence.models.inception3d import ORDER, InceptionI3D

# of pytorch-i3d's InceptionI3d(400)
SHAPES = {
    "Conv3d_1a_7x7.conv3d.weight": (64, 3, 7, 7, 7),
    "Conv3d_1a_7x7.bn.running_mean": (64,),
    "Conv3d_2c_3x3.conv3d.weight": (192, 64, 3, 3, 3),
    "Mixed_3b.b0.conv3d.weight": (64, 192, 1, 1, 1),
    "Mixed_3b.b1a.conv3d.weight": (96, 192, 1, 1, 1),
    "Mixed_3b.b2b.conv3d.weight": (32, 16, 3, 3, 3),
    "Mixed_4f.b3b.bn.weight": (128,),
    "Mixed_5c.b1b.conv3d.weight": (384, 192, 3, 3, 3),
    "Mixed_5c.b3b.conv3d.weight": (128, 832, 1, 1, 1),
    "logits.conv3d.weight": (400, 1024, 1, 1, 1),
    "logits.conv3d.bias": (400,),
}


def test_names_and_counts_are_the_published_ones() -> None:
    with torch.device("meta"):
        network = InceptionI3D()
    state = network.state_dict()
    assert {name: tuple(state[name].shape) for name in SHAPES} == SHAPES
    assert len(state) == 57 * 6 + 2  # convolutions with a batch norm of five
    assert sum(parameter.numel() for parameter in network.parameters()) == 12_697_264


class Twin:
    """The published forward pass, from names in a state dict."""

    def __init__(self, state: dict[str, torch.Tensor]) -> None:
        self.state = state

    def same(self, x: torch.Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> torch.Tensor:
        """As much padding as ceil(side / stride) windows need, the smaller half in front."""
        pads: list[int] = []
        for side, window, step in zip(x.shape[2:], kernel, stride, strict=True):
            need = max((math.ceil(side / step) - 1) * step + window - side, 0)
            pads = [need // 2, need - need // 2, *pads]
        return F.pad(x, pads)

    def unit(self, x: torch.Tensor, name: str, stride: int = 1) -> torch.Tensor:
        weight = self.state[f"{name}.conv3d.weight"]
        x = F.conv3d(self.same(x, tuple(weight.shape[2:]), (stride,) * 3), weight, stride=stride)
        held = [self.state[f"{name}.bn.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *held, eps=0.001).clamp(min=0)

    def pooled(self, x: torch.Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> torch.Tensor:
        return F.max_pool3d(self.same(x, kernel, stride), kernel, stride)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        x = self.unit(2 * x - 1, "Conv3d_1a_7x7", 2)
        x = self.pooled(x, (1, 3, 3), (1, 2, 2))
        x = self.unit(self.unit(x, "Conv3d_2b_1x1"), "Conv3d_2c_3x3")
        x = self.pooled(x, (1, 3, 3), (1, 2, 2))
        for name in ("3b", "3c", "4a", "4b", "4c", "4d", "4e", "4f", "5a", "5b", "5c"):
            if name in ("4a", "5a"):
                x = self.pooled(x, (3, 3, 3) if name == "4a" else (2, 2, 2), (2, 2, 2))
                continue
            branches = [self.unit(x, f"Mixed_{name}.b0")]
            branches += [self.unit(self.unit(x, f"Mixed_{name}.b{b}a"), f"Mixed_{name}.b{b}b") for b in (1, 2)]
            branches += [self.unit(self.pooled(x, (3, 3, 3), (1, 1, 1)), f"Mixed_{name}.b3b")]
            x = torch.cat(branches, dim=1)
        x = x.mean((3, 4))  # (n, c, t)
        if x.shape[2] > 1:
            x = torch.stack([x[:, :, t : t + 2].mean(2) for t in range(x.shape[2] - 1)], dim=2)
        weight, bias = self.state["logits.conv3d.weight"][:, :, 0, 0, 0], self.state["logits.conv3d.bias"]
        return torch.stack([F.linear(x[:, :, t], weight, bias) for t in range(x.shape[2])]).mean(0)


def tiny() -> InceptionI3D:
    torch.manual_seed(0)
    network = InceptionI3D(3, width=8).eval()
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("running_mean"):
                tensor.normal_(0, 0.1)
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2)
        network.get_parameter("logits.conv3d.weight").normal_()
    return network


@pytest.mark.parametrize("shape", [(24, 32, 32), (9, 37, 50), (1, 33, 32)])
def test_a_slow_twin_gives_the_same_logits(shape: tuple[int, ...]) -> None:
    network, x = tiny(), torch.rand(2, 3, *shape)
    with torch.no_grad():
        torch.testing.assert_close(network(x), Twin(network.state_dict())(x), rtol=1e-4, atol=1e-4)


def test_the_last_maps_are_those_of_the_text() -> None:
    network, seen = tiny(), []
    network.get_submodule(ORDER[-1]).register_forward_hook(lambda *args: seen.append(tuple(args[2].shape)))
    with torch.no_grad():
        network(torch.rand(1, 3, 16, 224, 224))
    assert seen == [(1, 128, 2, 7, 7)]


def test_other_inputs_are_refused() -> None:
    with pytest.raises(ShapeError, match="InceptionI3D takes float RGB"):
        tiny()(torch.rand(1, 3, 32, 32))
