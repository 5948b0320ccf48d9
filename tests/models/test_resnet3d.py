"""R3D-18 and R(2+1)D-18: torchvision's names, shapes and counts; a slow twin made of the state dict alone."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from vidence.errors import ShapeError
from vidence.models.resnet3d import VideoResNet

# of torchvision's r3d_18 and r2plus1d_18
SHAPES: dict[Any, dict[str, tuple[int, ...]]] = {
    "3d": {
        "stem.0.weight": (64, 3, 3, 7, 7),
        "stem.1.running_mean": (64,),
        "layer1.0.conv1.0.weight": (64, 64, 3, 3, 3),
        "layer1.0.conv1.1.weight": (64,),
        "layer2.0.downsample.0.weight": (128, 64, 1, 1, 1),
        "layer2.0.downsample.1.num_batches_tracked": (),
        "layer4.1.conv2.0.weight": (512, 512, 3, 3, 3),
        "layer4.1.conv2.1.bias": (512,),
        "fc.weight": (400, 512),
        "fc.bias": (400,),
    },
    "2+1d": {
        "stem.0.weight": (45, 3, 1, 7, 7),
        "stem.3.weight": (64, 45, 3, 1, 1),
        "stem.4.running_var": (64,),
        "layer1.0.conv1.0.0.weight": (144, 64, 1, 3, 3),
        "layer1.0.conv1.0.1.bias": (144,),
        "layer1.0.conv1.0.3.weight": (64, 144, 3, 1, 1),
        "layer2.0.conv1.0.0.weight": (230, 64, 1, 3, 3),
        "layer2.0.conv2.0.0.weight": (230, 128, 1, 3, 3),
        "layer2.0.downsample.0.weight": (128, 64, 1, 1, 1),
        "layer4.1.conv2.0.3.weight": (512, 1152, 3, 1, 1),
        "fc.weight": (400, 512),
    },
}


@pytest.mark.parametrize(("convolution", "parameters", "tensors"), [("3d", 33_371_472, 122), ("2+1d", 31_505_325, 224)])
def test_names_and_counts_are_torchvisions(convolution: Any, parameters: int, tensors: int) -> None:
    with torch.device("meta"):
        network = VideoResNet(convolution=convolution)
    state, shapes = network.state_dict(), SHAPES[convolution]
    assert {name: tuple(state[name].shape) for name in shapes} == shapes
    assert len(state) == tensors
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


def tiny(convolution: Any, **settings: Any) -> VideoResNet:
    """A narrow network whose batch norms have seen something."""
    torch.manual_seed(0)
    network = VideoResNet(3, convolution=convolution, width=8, **settings).eval()
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("running_mean"):
                tensor.normal_(0, 0.1)
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2)
        network.fc.weight.normal_()
    return network


class Twin:
    """The published forward pass, from names in a state dict."""

    def __init__(self, state: dict[str, torch.Tensor]) -> None:
        self.state = state

    def normed(self, x: torch.Tensor, name: str) -> torch.Tensor:
        parts = ("running_mean", "running_var", "weight", "bias")
        mean, var, weight, bias = (self.state[f"{name}.{part}"][:, None, None, None] for part in parts)
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    def convolved(self, x: torch.Tensor, name: str, stride: int = 1) -> torch.Tensor:
        """A block's convolution, whole or in two."""
        if f"{name}.weight" in self.state:
            return F.conv3d(x, self.state[f"{name}.weight"], stride=stride, padding=1)
        weight = self.state[f"{name}.0.weight"]
        x = F.conv3d(x, weight, stride=(1, stride, stride), padding=(0, 1, 1))
        x = self.normed(x, f"{name}.1").clamp(min=0)
        return F.conv3d(x, self.state[f"{name}.3.weight"], stride=(stride, 1, 1), padding=(1, 0, 0))

    def stem(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.state["stem.0.weight"]
        x = F.conv3d(x, weight, stride=(1, 2, 2), padding=(weight.shape[2] // 2, 3, 3))
        x = self.normed(x, "stem.1").clamp(min=0)
        if "stem.3.weight" in self.state:
            x = self.normed(F.conv3d(x, self.state["stem.3.weight"], padding=(1, 0, 0)), "stem.4").clamp(min=0)
        return x

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        mean, std = torch.tensor([0.43216, 0.394666, 0.37645]), torch.tensor([0.22803, 0.22145, 0.216989])
        x = self.stem((x - mean[:, None, None, None]) / std[:, None, None, None])
        for name in (f"layer{layer}.{block}" for layer in (1, 2, 3, 4) for block in (0, 1)):
            stride, short = 1, x
            if f"{name}.downsample.0.weight" in self.state:
                stride = 2
                short = F.conv3d(x, self.state[f"{name}.downsample.0.weight"], stride=2)
                short = self.normed(short, f"{name}.downsample.1")
            x = self.normed(self.convolved(x, f"{name}.conv1.0", stride), f"{name}.conv1.1").clamp(min=0)
            x = (self.normed(self.convolved(x, f"{name}.conv2.0"), f"{name}.conv2.1") + short).clamp(min=0)
        return F.linear(x.mean((2, 3, 4)), self.state["fc.weight"], self.state["fc.bias"])


@pytest.mark.parametrize("convolution", ["3d", "2+1d"])
@pytest.mark.parametrize("shape", [(8, 32, 32), (5, 33, 20), (1, 16, 16)])
def test_a_slow_twin_gives_the_same_logits(convolution: Any, shape: tuple[int, ...]) -> None:
    network, x = tiny(convolution), torch.rand(2, 3, *shape)
    with torch.no_grad():
        torch.testing.assert_close(network(x), Twin(network.state_dict())(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("convolution", ["3d", "2+1d"])
def test_the_last_maps_are_those_of_the_text(convolution: Any) -> None:
    network, seen = tiny(convolution, blocks=1), []
    network.get_submodule("layer4").register_forward_hook(lambda *args: seen.append(tuple(args[2].shape)))
    with torch.no_grad():
        network(torch.rand(1, 3, 16, 112, 112))
    assert seen == [(1, 64, 2, 7, 7)]


@pytest.mark.parametrize("x", [torch.rand(3, 4, 32, 32), torch.rand(1, 4, 3, 32, 32), torch.zeros(1, 3, 0, 32, 32)])
def test_other_inputs_are_refused(x: torch.Tensor) -> None:
    with pytest.raises(ShapeError, match=r"VideoResNet takes float RGB \(n, 3, t, h, w\)"):
        tiny("3d", blocks=1)(x)
