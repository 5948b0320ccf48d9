"""ResNet-50's trunk: torchvision's names, shapes and count, and the normalisation inside."""

import pytest
import torch
import torch.nn.functional as F

from vidence.errors import ShapeError
from vidence.models.resnet import Bottleneck, ResNet50

# of torchvision's resnet50
SHAPES = {
    "conv1.weight": (64, 3, 7, 7),
    "bn1.running_var": (64,),
    "layer1.0.conv1.weight": (64, 64, 1, 1),
    "layer1.0.downsample.0.weight": (256, 64, 1, 1),
    "layer1.2.conv3.weight": (256, 64, 1, 1),
    "layer2.0.conv2.weight": (128, 128, 3, 3),
    "layer3.5.bn3.bias": (1024,),
    "layer4.0.downsample.1.num_batches_tracked": (),
    "layer4.2.conv3.weight": (2048, 512, 1, 1),
}


@pytest.fixture(scope="module")
def resnet() -> ResNet50:
    torch.manual_seed(0)
    return ResNet50().eval()


def test_names_and_counts_are_torchvisions(resnet: ResNet50) -> None:
    state = resnet.state_dict()
    assert {name: tuple(state[name].shape) for name in SHAPES} == SHAPES
    assert len(state) == 318  # 53 convolutions, 53 batch norms of five
    assert sum(parameter.numel() for parameter in resnet.parameters()) == 25_557_032 - 2_049_000  # less the classifier


def test_a_bottleneck_is_the_sum_of_its_two_ways() -> None:
    torch.manual_seed(1)
    block, x = Bottleneck(8, 4, stride=2).eval(), torch.rand(2, 8, 7, 6)
    for norm in (block.bn1, block.bn2, block.bn3, block.downsample[1]):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    state = block.state_dict()

    def normed(x: torch.Tensor, name: str) -> torch.Tensor:
        mean, var, weight, bias = (
            state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return ((x - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt()) * weight[:, None, None] + bias[
            :, None, None
        ]

    made = normed(F.conv2d(x, state["conv1.weight"]), "bn1").clamp(min=0)
    made = normed(F.conv2d(made, state["conv2.weight"], stride=2, padding=1), "bn2").clamp(min=0)
    made = normed(F.conv2d(made, state["conv3.weight"]), "bn3")
    short = normed(F.conv2d(x, state["downsample.0.weight"])[:, :, ::2, ::2], "downsample.1")
    with torch.no_grad():
        torch.testing.assert_close(block(x), (made + short).clamp(min=0))


def test_maps_are_a_thirty_second_and_normalised_inside(resnet: ResNet50) -> None:
    first: list[torch.Tensor] = []
    hook = resnet.conv1.register_forward_pre_hook(lambda module, args: first.append(args[0]))
    x = torch.rand(1, 3, 33, 64)
    with torch.no_grad():
        assert resnet(x).shape == (1, 2048, 2, 2)
    hook.remove()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(first[0], (x - mean[:, None, None]) / std[:, None, None])


@pytest.mark.parametrize("x", [torch.rand(3, 32, 32), torch.rand(1, 1, 32, 32), torch.ones(1, 3, 32, 32).byte()])
def test_other_inputs_are_refused(resnet: ResNet50, x: torch.Tensor) -> None:
    with pytest.raises(ShapeError, match="ResNet50 takes float RGB"):
        resnet(x)
