"""Class feature pyramids: a net with a single path, groups, the class's row, and where a trace must end."""

import pytest
import torch
from torch import nn

from vidence.attribution import ClassFeaturePyramids
from vidence.errors import ExplainError, SpecError
from vidence.scoring.scores import Logit, SquaredError
from zoo import Autoencoder, Folded, Volume, made


def clip(t=4):
    return torch.rand(1, 3, t, 14, 12, generator=torch.Generator().manual_seed(1))


class Chain(nn.Module):
    """Three convolutions of positive weights, pooling and a linear layer."""

    def __init__(self, groups=1):
        super().__init__()
        self.one, self.two = nn.Conv3d(3, 4, 1, bias=False), nn.Conv3d(4, 6, 1, bias=False, groups=groups)
        self.three, self.out = nn.Conv3d(6, 5, 1, bias=False), nn.Linear(5, 3)
        for part in (self.one, self.two, self.three):
            nn.init.zeros_(part.weight)
        nn.init.zeros_(self.out.weight)

    def forward(self, x):
        return self.out(self.three(self.two(self.one(x).relu()).relu()).relu().mean((2, 3, 4)))


def path(groups=1):
    """Class 2 <- channel 3 of `three` <- channel 5 of `two` <- channel 2 (of 4) of `one`."""
    model = Chain(groups)
    model.one.weight.data[:] = 0.1
    model.two.weight.data[5, 0 if groups == 2 else 2] = 1.0
    model.three.weight.data[3, 5] = 1.0
    model.out.weight.data[2, 3] = 1.0
    return model.eval()


@pytest.mark.parametrize("groups", [1, 2])  # of two groups, channel 2 is the first of the second
def test_the_only_path_is_found(groups):
    model, x = path(groups), clip()
    found = ClassFeaturePyramids().attribute(model, x, Logit(2))
    assert found.extra["graph"] == {"three": {3: (5,)}, "two": {5: (2,)}, "one": {2: ()}}
    red = 0.1 * x[0].sum(0)
    torch.testing.assert_close(found.values[0], red * red.numel() / red.numel())
    for layer in ("three", "two", "one"):
        torch.testing.assert_close(found.extra["tubes"][layer], red)
    assert found.certificate.flags == ()
    short = ClassFeaturePyramids(depth=1).attribute(model, x, Logit(2))
    assert short.extra["graph"] == {"three": {3: ()}}


def test_shares_are_mean_weights_times_mean_activations_from_0_to_1():
    torch.manual_seed(0)
    model, x = Chain(), clip()
    for part in model.parameters():
        nn.init.uniform_(part, -0.5, 1)
    model.eval()
    found = ClassFeaturePyramids(threshold=0.6, depth=2).attribute(model, x, Logit(1)).extra["graph"]
    row, matrix = model.out.weight[1], model.out.weight
    kept = ((row - matrix.min()) / (matrix.max() - matrix.min()) >= 0.6).nonzero()[:, 0].tolist()
    assert sorted(found["three"]) == kept
    before = model.two(model.one(x).relu()).relu().mean((0, 2, 3, 4))
    for channel, parents in found["three"].items():
        share = model.three.weight[channel].mean((1, 2, 3)) * before
        share = (share - share.min()) / (share.max() - share.min())
        assert list(parents) == (share >= 0.6).nonzero()[:, 0].tolist()
    assert set(found["two"]) == {parent for parents in found["three"].values() for parent in parents}


def test_the_strongest_few_can_be_asked_for():
    torch.manual_seed(0)
    model = made(Volume)
    graph = ClassFeaturePyramids(top=2).attribute(model, clip(), Logit(0)).extra["graph"]
    assert len(graph["net.3"]) == 2
    assert all(len(parents) == 2 for parents in graph["net.3"].values())
    none = ClassFeaturePyramids(threshold=1.0).attribute(model, clip(), Logit(0)).extra["graph"]
    assert len(none["net.3"]) == 1  # at least the strongest


def test_the_map_is_the_kept_channels_with_the_classs_signed_weights():
    model, x = made(Volume).eval(), clip()
    found = ClassFeaturePyramids(top=2).attribute(model, x, Logit(1))
    kept = model.out.weight[1].topk(2).indices
    maps = model.net(x)[0].detach()
    expected = torch.einsum("k,kshw->shw", model.out.weight[1, kept].detach(), maps[kept])
    torch.testing.assert_close(found.raw[0].sum(1), expected)


def test_a_recurrent_head_starts_from_the_size_of_the_mean_gradient():
    model, x = made(Folded).eval(), clip()
    maps = model.cnn.maps(x[0].transpose(0, 1)).detach().requires_grad_()
    output = model.out(model.rnn(maps.mean((2, 3))[None])[0][:, -1])
    weight = torch.autograd.grad(output[0, 1], maps)[0].sum((0, 2, 3))
    found = ClassFeaturePyramids(top=3).attribute(model, x, Logit(1))
    assert sorted(found.extra["graph"]["cnn.three"]) == sorted(weight.abs().topk(3).indices.tolist())
    assert list(found.extra["graph"]) == ["cnn.three", "cnn.two", "cnn.one"]


def test_a_residual_sum_counts_as_its_main_branch_and_a_concatenation_ends_the_trace():
    class Branched(Chain):
        def __init__(self, joined):
            super().__init__()
            self.joined, self.side = joined, nn.Conv3d(3, 6, 1)
            for part in self.parameters():
                nn.init.uniform_(part, 0, 1)
            self.three = nn.Conv3d(12 if joined else 6, 5, 1)

        def forward(self, x):
            side, main = self.side(x), self.two(self.one(x).relu())
            both = torch.cat([main, side], 1) if self.joined else main + side
            return self.out(self.three(both.relu()).mean((2, 3, 4)))

    graph = ClassFeaturePyramids().attribute(Branched(False).eval(), clip(), Logit(0)).extra["graph"]
    assert list(graph) == ["three", "two", "one"]
    ended = ClassFeaturePyramids().attribute(Branched(True).eval(), clip(), Logit(0))
    assert list(ended.extra["graph"]) == ["three"]
    assert "ends at three" in ended.certificate.flags[0]


def test_refusals():
    with pytest.raises(ExplainError, match="autoencoder has no class"):
        ClassFeaturePyramids()(made(Autoencoder), clip(), SquaredError())
    for settings in ({"depth": 0}, {"top": 0}, {"threshold": 1.5}):
        with pytest.raises(SpecError, match="must"):
            ClassFeaturePyramids(**settings)
