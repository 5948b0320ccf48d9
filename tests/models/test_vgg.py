"""VGG19's trunk: torchvision's names, shapes and count, and the normalisation inside."""

import pytest
import torch
import torch.nn.functional as F

from vidence.errors import ShapeError
from vidence.models.vgg import VGG19

# torchvision's vgg19: place of each convolution in `features` -> (channels out, channels in)
PUBLISHED = {0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128), 10: (256, 128), 19: (512, 256)}
PUBLISHED |= dict.fromkeys((12, 14, 16), (256, 256)) | dict.fromkeys((21, 23, 25, 28, 30, 32, 34), (512, 512))


@pytest.fixture(scope="module")
def vgg() -> VGG19:
    torch.manual_seed(0)
    return VGG19().eval()


def test_names_and_shapes_are_torchvisions(vgg: VGG19) -> None:
    expected = {f"features.{place}.weight": (*shape, 3, 3) for place, shape in PUBLISHED.items()}
    expected |= {f"features.{place}.bias": (shape[0],) for place, shape in PUBLISHED.items()}
    assert {name: tuple(tensor.shape) for name, tensor in vgg.state_dict().items()} == expected
    assert sum(parameter.numel() for parameter in vgg.parameters()) == 20_024_384


def test_a_slow_twin_gives_the_same_maps(vgg: VGG19) -> None:
    x = torch.rand(2, 3, 40, 64)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    maps = (x - mean[:, None, None]) / std[:, None, None]
    state = vgg.state_dict()
    for block in ((0, 2), (5, 7), (10, 12, 14, 16), (19, 21, 23, 25), (28, 30, 32, 34)):
        for place in block:
            weight, bias = state[f"features.{place}.weight"], state[f"features.{place}.bias"]
            maps = F.conv2d(maps, weight, bias, padding=1).clamp(min=0)
        maps = maps.unfold(2, 2, 2).unfold(3, 2, 2).amax(dim=(4, 5))
    with torch.no_grad():
        output = vgg(x)
    assert output.shape == (2, 512, 1, 2)
    torch.testing.assert_close(output, maps, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "x", [torch.rand(3, 32, 32), torch.rand(1, 1, 32, 32), torch.rand(1, 3, 31, 64), torch.ones(1, 3, 32, 32).byte()]
)
def test_other_inputs_are_refused(vgg: VGG19, x: torch.Tensor) -> None:
    with pytest.raises(ShapeError, match="VGG19 takes float RGB"):
        vgg(x)
