"""Attention against slow twins, pixel by pixel, and against the printed equations."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidence.models.soft_attention import FLOOR, AugmentedConv, InputAttention, SoftmaxAttention, SqueezeExcitation


def stirred(module: nn.Module) -> nn.Module:
    """The module in evaluation, its batch norm with random statistics."""
    torch.manual_seed(0)
    for each in module.modules():
        if isinstance(each, nn.BatchNorm2d):
            nn.init.uniform_(each.running_mean, -0.5, 0.5)
            nn.init.uniform_(each.running_var, 0.1, 0.3)
            nn.init.uniform_(each.weight, 0.5, 1.5)
            nn.init.uniform_(each.bias, -0.5, 0.5)
    return module.eval()


def looked(module: InputAttention | SoftmaxAttention, x: Tensor) -> Tensor:
    """BatchNorm(conv5(conv3(x))) from the weights."""
    near = F.conv2d(x, module.local.weight, module.local.bias, padding=1)
    wide = F.conv2d(near, module.wide.weight, module.wide.bias, padding=2)
    return normed(module.norm, wide)


def normed(norm: nn.BatchNorm2d, y: Tensor) -> Tensor:
    mean, variance, weight, bias = (
        each[:, None, None] for each in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    return (y - mean) / (variance + norm.eps).sqrt() * weight + bias


def test_squeeze_and_excitation_scales_each_channel_by_what_their_means_say() -> None:
    block = SqueezeExcitation(32)
    x = torch.randn(2, 32, 3, 5)
    with torch.no_grad():
        y = block(x)
        for m in range(2):
            means = [float(x[m, c].sum()) / 15 for c in range(32)]
            inner = [
                max(0.0, sum(float(w) * z for w, z in zip(row, means, strict=True))) for row in block.squeeze.weight
            ]
            for c in range(32):
                logit = sum(float(w) * z for w, z in zip(block.excite.weight[c], inner, strict=True))
                torch.testing.assert_close(y[m, c], x[m, c] / (1 + math.exp(-logit)))
    assert sum(each.numel() for each in block.parameters()) == 2 * 32 * 2


class TestInputAttention:
    def test_the_mask_is_the_sigmoid_of_equation_3_11(self) -> None:
        block = stirred(InputAttention(3))
        x = torch.rand(2, 3, 9, 7)
        with torch.no_grad():
            seen, mask = block(x)
            wanted = 1 / (1 + torch.exp(-looked(block, x)))
        torch.testing.assert_close(mask, wanted)
        torch.testing.assert_close(seen, x * wanted)

    def test_the_released_one_is_the_sigmoid_of_the_weighed_input(self) -> None:
        block = stirred(InputAttention(3, released=True))
        x = torch.rand(2, 3, 9, 7)
        with torch.no_grad():
            seen, mask = block(x)
            weights = F.conv2d(
                F.conv2d(x, block.local.weight, block.local.bias, padding=1),
                block.wide.weight,
                block.wide.bias,
                padding=2,
            )
            torch.testing.assert_close(seen, torch.sigmoid(normed(block.norm, x * weights)))
        assert mask is seen


class TestSoftmaxAttention:
    def test_the_mask_is_the_product_of_equation_3_12(self) -> None:
        block = stirred(SoftmaxAttention(3))
        x = torch.rand(2, 3, 6, 8)
        with torch.no_grad():
            seen, mask = block(x)
            y = looked(block, x)
            for m in range(2):
                for c in range(3):
                    columns = [math.exp(sum(float(y[m, c, i, j]) for i in range(6))) for j in range(8)]
                    rows = [math.exp(sum(float(y[m, c, i, j]) for j in range(8))) for i in range(6)]
                    wanted = torch.tensor([[r / sum(rows) * q / sum(columns) for q in columns] for r in rows])
                    torch.testing.assert_close(mask[m, c], wanted, rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(mask.sum(dim=(2, 3)), torch.ones(2, 3))
        torch.testing.assert_close(seen, x * mask)

    def test_scaled_each_softmax_of_means_reaches_from_the_floor_to_one(self) -> None:
        block = stirred(SoftmaxAttention(2, scaled=True))
        x = torch.rand(2, 2, 6, 8)
        with torch.no_grad():
            seen, mask = block(x)
            y = looked(block, x)
            for m in range(2):
                for c in range(2):
                    columns = [math.exp(sum(float(y[m, c, i, j]) for i in range(6)) / 6) for j in range(8)]
                    rows = [math.exp(sum(float(y[m, c, i, j]) for j in range(8)) / 8) for i in range(6)]
                    flat = [
                        [0.3 + 0.7 * (each - min(values)) / (max(values) - min(values)) for each in values]
                        for values in (rows, columns)
                    ]
                    wanted = torch.tensor([[r * q for q in flat[1]] for r in flat[0]])
                    torch.testing.assert_close(mask[m, c], wanted, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(seen, x * mask)

    def test_a_flat_scaled_mask_is_no_division_by_zero(self) -> None:
        block = stirred(SoftmaxAttention(1, scaled=True))
        nn.init.zeros_(block.norm.weight)
        seen, mask = block(torch.rand(1, 1, 4, 4, requires_grad=True))
        assert seen.isfinite().all()
        torch.testing.assert_close(mask, torch.full_like(mask, FLOOR**2))

    def test_as_printed_it_is_lost_to_one_pixel_of_a_picture_and_scaled_it_is_not(self) -> None:
        """Why there is a choice: at 128 x 128 the sums saturate, the mask passes no gradient."""
        x = torch.rand(2, 1, 16, 16).repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
        for scaled, lost in ((False, True), (True, False)):
            torch.manual_seed(0)
            block = SoftmaxAttention(1, scaled=scaled)
            seen, mask = block(x)
            (gradient,) = torch.autograd.grad(seen.square().sum(), block.local.weight)
            assert (mask.detach().flatten(1).sort().values[:, -2] < 0.1).all() == lost
            assert (gradient.abs().max() < 1e-6) == lost


class TestAugmentedConv:
    def test_its_last_channel_is_attention_over_all_places(self) -> None:
        torch.manual_seed(0)
        layer = AugmentedConv(3, 16, 3, 2, 1)
        x = torch.randn(2, 3, 8, 10)
        with torch.no_grad():
            y = layer(x)
            asking = F.conv2d(x, layer.asking.weight, layer.asking.bias, 2, 1)
            convolved = F.conv2d(x, layer.convolution.weight, layer.convolution.bias, 2, 1)
            places = [(i, j) for i in range(4) for j in range(5)]
            for m in range(2):
                for i, j in places:
                    query = asking[m, :2, i, j] / math.sqrt(2)
                    weights = torch.stack([query @ asking[m, 2:4, a, b] for a, b in places]).softmax(dim=0)
                    found = sum(w * asking[m, 4, a, b] for w, (a, b) in zip(weights, places, strict=True))
                    wanted = layer.answer.weight.squeeze() * found + layer.answer.bias.squeeze()
                    torch.testing.assert_close(y[m, 15, i, j], wanted, rtol=1e-4, atol=1e-6)
        assert y.shape == (2, 16, 4, 5)
        torch.testing.assert_close(y[:, :15], convolved)
