"""VGG19's sixteen convolutions: the paper's per-frame backbone (Simonyan and Zisserman, ICLR 2015)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidence.errors import ShapeError

# channels of each convolution; None is a 2 x 2 max pooling (configuration E of the paper)
LAYERS = (64, 64, None, 128, 128, None, *(256,) * 4, None, *(512,) * 4, None, *(512,) * 4, None)


class VGG19(nn.Module):
    """The convolutional trunk, without the classifier: 20 024 384 parameters.

    `x` is float RGB (n, 3, h, w) in [0, 1], normalised inside with ImageNet's mean and deviation; `forward` returns
    (n, 512, h // 32, w // 32), so sides must be 32 pixels or more. The state dict carries torchvision's names
    (`features.0.weight` .. `features.34.bias`).
    """

    mean: Float[Tensor, "3 1 1"]
    std: Float[Tensor, "3 1 1"]

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        c_in = 3
        for c_out in LAYERS:
            if c_out is None:
                layers.append(nn.MaxPool2d(2))
                continue
            layers += [nn.Conv2d(c_in, c_out, 3, padding=1), nn.ReLU()]  # not in place: hooks keep what they saw
            c_in = c_out
        self.features = nn.Sequential(*layers)
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        self.register_buffer("mean", torch.tensor((0.485, 0.456, 0.406)).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor((0.229, 0.224, 0.225)).view(3, 1, 1), persistent=False)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 512 i j"]:
        """(n, 3, h, w) in [0, 1] -> (n, 512, h // 32, w // 32)."""
        if x.ndim != 4 or x.shape[1] != 3 or min(x.shape[2:]) < 32 or not x.is_floating_point():
            raise ShapeError(
                f"VGG19 takes float RGB (n, 3, h, w) in [0, 1] with sides of 32 pixels or more; got {x.dtype} "
                f"{tuple(x.shape)}. Fold frames into the batch, put channels second and divide pixels by 255."
            )
        return self.features((x - self.mean) / self.std)
