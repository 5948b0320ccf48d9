"""Blocks against kernels built by definition; fused against unfused; strengthened against the user's own network."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidence.errors import SpecError
from vidence.models.asymmetric import AsymmetricBlock, fuse, strengthen
from vidence.models.autoencoder import Cae, KsCae
from vidence.testing import assert_no_residue

CONVOLUTIONS = [(3, 2, 1), (5, 3, 2), (3, 1, 1), (3, 2, 0), (5, 2, 0), (4, 2, 1), (4, 1, 0), (3, 1, 2)]  # k, s, p
TRANSPOSED = [(3, 2, 1, 1), (5, 2, 2, 1), (3, 1, 1, 0), (4, 2, 1, 0), (3, 2, 0, 0), (5, 3, 0, 0), (6, 2, 0, 0)]


def stirred(module: nn.Module) -> nn.Module:
    """The module in float64, every parameter and statistic random."""
    torch.manual_seed(0)
    module = module.double()
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        if value.is_floating_point():
            nn.init.uniform_(value.data, 0.5 if "var" in name else -1.0, 1.5)
    return module


def scaled(y: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    return F.batch_norm(y, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)


def expected(block: AsymmetricBlock, x: Tensor, place: int) -> Tensor:
    """The definition, slowly: each branch is a full square convolution by a kernel that is 0 but for one stripe."""
    square, k = block.square, block.square.kernel_size[0]
    kernels = [square.weight, torch.zeros_like(square.weight), torch.zeros_like(square.weight)]
    for at in range(k):
        kernels[1][:, :, place, at] = block.horizontal.convolution.weight[:, :, 0, at]
        kernels[2][:, :, at, place] = block.vertical.convolution.weight[:, :, at, 0]
    outputs = []
    for kernel, branch in zip(kernels, (square, block.horizontal, block.vertical), strict=True):
        if isinstance(square, nn.ConvTranspose2d):
            y = F.conv_transpose2d(x, kernel, None, square.stride, square.padding, square.output_padding, square.groups)
        else:
            y = F.conv2d(x, kernel, None, square.stride, square.padding, 1, square.groups)
        outputs.append(y if branch.bias is None else y + branch.bias[:, None, None])
    if len(block.norms) == 3:
        return sum(scaled(y, norm) for y, norm in zip(outputs, block.norms, strict=True))
    return scaled(sum(outputs), block.norms[0]) if len(block.norms) else sum(outputs)


def check(square: nn.Module, *, variant: str, centre: bool, norm: bool) -> None:
    block = stirred(
        AsymmetricBlock(square, nn.BatchNorm2d(square.out_channels) if norm else None, variant=variant, centre=centre)
    )
    middle = centre or isinstance(square, nn.Conv2d)
    place = square.kernel_size[0] // 2 if middle else 0
    x = torch.randn(2, square.in_channels, 11, 13, dtype=torch.float64)
    with torch.no_grad():
        wanted = expected(block, x, place)
        torch.testing.assert_close(block.eval()(x), wanted, rtol=1e-10, atol=1e-10)
        fused = fuse(block)
        assert type(fused) is type(square)
        torch.testing.assert_close(fused(x), wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("variant", ["sum", "branches"])
class TestAsymmetricBlock:
    @pytest.mark.parametrize(("k", "s", "p"), CONVOLUTIONS)
    def test_a_convolution_is_the_sum_by_definition(self, variant: str, norm: bool, k: int, s: int, p: int) -> None:
        check(nn.Conv2d(4, 6, k, s, p), variant=variant, centre=True, norm=norm)

    @pytest.mark.parametrize("centre", [True, False])
    @pytest.mark.parametrize(("k", "s", "p", "op"), TRANSPOSED)
    def test_a_transposed_one_is_too(
        self, variant: str, norm: bool, centre: bool, k: int, s: int, p: int, op: int
    ) -> None:
        check(nn.ConvTranspose2d(4, 6, k, s, p, op), variant=variant, centre=centre, norm=norm)

    def test_so_are_groups_and_no_bias(self, variant: str, norm: bool) -> None:
        for kind in (nn.Conv2d, nn.ConvTranspose2d):
            check(kind(4, 6, 3, 2, 1, groups=2, bias=False), variant=variant, centre=True, norm=norm)


def test_a_corner_block_is_the_released_one() -> None:
    """Whose branches reach the square's size by output padding and dilation along the kernel's side of 1."""
    for k, s in ((3, 2), (5, 2), (5, 3)):
        block = stirred(AsymmetricBlock(nn.ConvTranspose2d(4, 6, k, s), centre=False)).eval()
        x = torch.randn(2, 4, 7, 9, dtype=torch.float64)
        wanted = block.square(x)
        for stripe, padding, dilation in (
            (block.horizontal, (k - 1, 0), (k, 1)),
            (block.vertical, (0, k - 1), (1, k)),
        ):
            weight = stripe.convolution.weight
            wanted = wanted + F.conv_transpose2d(x, weight, stripe.bias, s, 0, padding, 1, dilation)
        torch.testing.assert_close(block(x), wanted, rtol=1e-10, atol=1e-10)


def test_one_summed_kernel_has_the_gradients_of_three() -> None:
    block = stirred(AsymmetricBlock(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4)))
    x = torch.randn(2, 3, 9, 9, dtype=torch.float64)
    found = torch.autograd.grad(block(x).square().sum(), list(block.parameters()))
    apart = block.norms[0](block.horizontal(x) + block.vertical(x) + block.square(x))
    wanted = torch.autograd.grad(apart.square().sum(), list(block.parameters()))
    torch.testing.assert_close(found, wanted)


def own_autoencoder() -> nn.Module:
    """A user's network: one layer in a sequence with its norm, one shared, one called by hand, one not square."""

    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
            self.shared = nn.Conv2d(8, 8, 5, padding=2, bias=False)
            self.again = nn.Sequential(self.shared, nn.BatchNorm2d(8))
            self.flat = nn.Conv2d(8, 8, (1, 3), padding=(0, 1))
            self.up = nn.ConvTranspose2d(8, 3, 4, 2, 1)
            self.norm = nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            return torch.sigmoid(self.norm(self.up(self.flat(self.again(self.shared(self.down(x)))))))

    torch.manual_seed(0)
    return Own()


@pytest.mark.parametrize("variant", ["sum", "branches"])
class TestStrengthen:
    @pytest.mark.parametrize("training", [True, False])
    def test_it_computes_what_the_network_computed(self, variant: str, training: bool) -> None:
        network = own_autoencoder()
        x = torch.rand(4, 3, 16, 16)
        network(x)  # moves the statistics
        network.train(training)
        stronger = strengthen(network, variant=variant)
        assert sum(isinstance(each, AsymmetricBlock) for each in stronger.modules()) == 3
        torch.testing.assert_close(stronger(x), network(x), rtol=1e-5, atol=1e-5)

    def test_every_kernel_learns_and_is_fused_again(self, variant: str) -> None:
        network = own_autoencoder()
        x = torch.rand(8, 3, 16, 16)
        stronger = strengthen(network, variant=variant).train()
        before = {name: value.clone() for name, value in stronger.named_parameters()}
        optimiser = torch.optim.Adam(stronger.parameters(), 1e-2)
        for _ in range(4):
            optimiser.zero_grad()
            (stronger(x) - x).square().mean().backward()
            optimiser.step()
        assert all((value != before[name]).any() for name, value in stronger.named_parameters())
        fused = fuse(stronger)
        kinds = {name: type(each) for name, each in network.named_modules() if name and "norm" not in name}
        assert fused.shared is fused.again[0]
        assert not any(isinstance(each, AsymmetricBlock) for each in fused.modules())
        assert {name: type(each) for name, each in fused.named_modules() if name and "norm" not in name} == {
            **kinds,
            "down.1": nn.Identity,
        }
        with torch.no_grad():
            torch.testing.assert_close(fused(x), stronger.eval()(x), rtol=1e-5, atol=1e-5)

    def test_it_leaves_the_given_network_alone(self, variant: str) -> None:
        network = own_autoencoder()
        with assert_no_residue(network):
            fuse(strengthen(network, variant=variant))

    def test_a_single_convolution_is_changed_itself(self, variant: str) -> None:
        assert isinstance(strengthen(nn.Conv2d(3, 3, 3), variant=variant), AsymmetricBlock)


@pytest.mark.parametrize("variant", ["sum", "branches"])
def test_padding_given_as_a_word_is_strengthened_too(variant: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding="same"),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 4, 4, padding="same", dilation=2),  # reaches over 7 pixels
        nn.Conv2d(4, 2, 5, padding="valid"),
    )
    x = torch.rand(2, 3, 16, 16)
    stronger = strengthen(network, variant=variant)
    assert sum(isinstance(each, AsymmetricBlock) for each in stronger.modules()) == 3
    torch.testing.assert_close(stronger.eval()(x), network.eval()(x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(fuse(stronger)(x), network(x), rtol=1e-5, atol=1e-5)
    assert network[0].padding == "same"


def test_square_kernels_that_are_left_alone_are_named() -> None:
    odd = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"), nn.Conv2d(3, 3, 4, padding="same"))
    with pytest.warns(UserWarning, match=r"not so are: 0\.0, 0\.1\. They stay as they are"):
        stronger = strengthen(nn.Sequential(odd, nn.Conv2d(3, 3, 3)))
    assert isinstance(stronger[1], AsymmetricBlock)
    assert [type(each) for each in stronger[0]] == [nn.Conv2d, nn.Conv2d]
    with pytest.raises(SpecError, match=r"padded with zeros.*not so are: 0, 1\."):
        strengthen(odd)


def test_a_network_without_a_square_kernel_is_refused() -> None:
    with pytest.raises(SpecError, match=r"square kernels.*Sequential has none"):
        strengthen(nn.Sequential(nn.Linear(2, 2), nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, (1, 3))))


@pytest.mark.parametrize("settings", [KsCae(channels=1), Cae(kernel="acb", channels=1)])
def test_a_trained_autoencoder_and_its_fused_form_agree(settings: Cae) -> None:
    torch.manual_seed(0)
    network = settings.network().train()
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    x = torch.rand(2, 3, 2, 128, 128)
    for _ in range(3):
        optimiser.zero_grad()
        network(x).x_hat.square().mean().backward()
        optimiser.step()
    fused = fuse(network)
    assert sum(each.numel() for each in fused.parameters()) < sum(each.numel() for each in network.parameters())
    with torch.no_grad():
        plain, quick = network.eval()(x), fused(x)
    assert (plain.x_hat - quick.x_hat).abs().max() < 1e-5
    assert (plain.code - quick.code).abs().max() < 1e-5
