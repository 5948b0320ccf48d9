"""Whatever order a model visits frames in, its layers' maps lie at the frames they are of."""

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

from vidence.attribution import EigenCAM, GradCAM, HiResCAM, ScoreCAM, WhenWhere, activation_maps
from vidence.attribution.calls import FrameCalls
from vidence.attribution.frame_numbers import FrameNumbers
from vidence.attribution.frame_order import FrameOrder, at_frames, traced
from vidence.errors import ExplainError
from vidence.scoring.scores import Logit
from vidence.testing import assert_no_residue

T = 6


class InOrder(nn.Module):
    """A frame network and a GRU; the others visit its frames in another order and give the same answer."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.cnn = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(True), nn.Conv2d(4, 5, 3, padding=1), nn.ReLU(True))
        self.rnn, self.out = nn.GRU(5, 6, batch_first=True), nn.Linear(6, 2)

    def features(self, x):
        return torch.stack([self.cnn(x[:, :, i]).mean((2, 3)) for i in range(x.shape[2])], dim=1)

    def forward(self, x):
        return self.out(self.rnn(self.features(x))[0][:, -1])


class Reversed(InOrder):
    def features(self, x):
        found = [self.cnn(frame).mean((2, 3)) for frame in reversed(x.unbind(2))]
        return torch.stack(found[::-1], dim=1)


class TimeMajor(InOrder):
    def features(self, x):
        maps = self.cnn(rearrange((x - 0.5) / 0.2 * 0.2 + 0.5, "n c t h w -> (t n) c h w"))
        return rearrange(maps.mean((2, 3)), "(t n) f -> n t f", n=len(x))


class Shuffled(InOrder):
    def features(self, x):
        order = torch.tensor([2, 0, 5, 1, 4, 3])
        frames = x.permute(2, 0, 1, 3, 4).contiguous()[order].view(-1, *x.shape[1:2], *x.shape[3:])
        found = self.cnn(frames).flatten(2).mean(2).unflatten(0, (-1, len(x)))
        return found[order.argsort()].transpose(0, 1)


class Written(InOrder):
    """Features are written into a buffer, the last frame first."""

    def features(self, x):
        found = x.new_zeros(len(x), x.shape[2], 5)
        for i in reversed(range(x.shape[2])):
            found[:, i] = self.cnn(x[:, :, i]).mean((2, 3))
        return found


class Alternate(InOrder):
    """Sees every other frame."""

    def features(self, x):
        return super().features(x[:, :, ::2])


class TwoStreams(InOrder):
    """The same network sees the frame and its difference to the one before; `folded` all frames at once."""

    def __init__(self, folded):
        super().__init__()
        self.folded = folded

    def features(self, x):
        changes = x - torch.cat([x[:, :, :1], x[:, :, :-1]], dim=2)
        if not self.folded:
            both = [self.cnn(part[:, :, i]).mean((2, 3)) for i in range(x.shape[2]) for part in (x, changes)]
            return torch.stack(both[::2], 1) + torch.stack(both[1::2], 1)
        found = [self.cnn(rearrange(part, "n c t h w -> (n t) c h w")).mean((2, 3)) for part in (x, changes)]
        return (found[0] + found[1])[None]


def clip():
    return torch.rand(1, 3, T, 12, 10, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("explainer", [GradCAM(), EigenCAM(), ScoreCAM(channels=2), WhenWhere(detail=1)])
@pytest.mark.parametrize("other", [Reversed, TimeMajor, Shuffled, Written])
def test_the_order_of_visits_changes_nothing(other, explainer):
    x = clip()
    expected = explainer.attribute(InOrder(), x, Logit(1), certify=False)
    model = other()
    with assert_no_residue(model):
        found = explainer.attribute(model, x, Logit(1), certify=False)
    torch.testing.assert_close(found.values, expected.values, rtol=1e-4, atol=1e-6)
    assert found.certificate.flags == expected.certificate.flags


@pytest.mark.parametrize("explainer", [GradCAM(), EigenCAM(), ScoreCAM(channels=2), WhenWhere(detail=1)])
def test_frames_that_were_never_seen_show_nothing(explainer):
    found = explainer.attribute(Alternate(), clip(), Logit(1), certify=False)
    assert found.values.shape[1] == T
    assert not found.values[:, 1::2].any()
    alone = explainer.attribute(InOrder(), clip()[:, :, ::2], Logit(1), certify=False)
    torch.testing.assert_close(found.values[:, ::2].abs().sum((2, 3)) > 0, alone.values.abs().sum((2, 3)) > 0)
    assert any(f"saw 3 of the clip's {T} frames" in flag for flag in found.certificate.flags)


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("explainer", [GradCAM, HiResCAM, EigenCAM, WhenWhere])
def test_a_layer_called_twice_a_frame_must_be_named(folded, explainer):
    model, x = TwoStreams(folded), clip()
    with pytest.raises(ExplainError, match=r"called 2 times for each frame.*cnn\.2\+#1"):
        explainer().attribute(model, x, Logit(1), certify=False)
    one, two = (explainer(layer=f"cnn.2+#{k}").attribute(model, x, Logit(1), certify=False) for k in (1, 2))
    assert one.values.shape[1] == two.values.shape[1] == T
    assert not torch.equal(one.values, two.values)
    with pytest.raises(ExplainError, match="#1 to #2"):
        explainer(layer="cnn.2#3").attribute(model, x, Logit(1), certify=False)


def test_each_of_two_streams_is_the_one_it_says():
    model, x = TwoStreams(True), clip()
    changes = x - torch.cat([x[:, :, :1], x[:, :, :-1]], dim=2)
    for name, part in (("cnn.2+#1", x), ("cnn.2+#2", changes)):
        expected = model.cnn(rearrange(part, "1 c t h w -> t c h w"))
        torch.testing.assert_close(activation_maps(model, x, layer=name), expected.detach())


class Reused(nn.Module):
    """One in-place activation behind three convolutions and a sum."""

    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = kind(3, 4, 3, padding=1), kind(4, 4, 3, padding=1)
        self.relu, self.out = nn.ReLU(inplace=True), nn.Linear(4, 2)

    def forward(self, x):
        first = self.relu(self.a(x))
        last = self.relu(self.b(first) + first)
        return self.out(last.flatten(2).mean(2))


class Frames(Reused):
    def __init__(self):
        super().__init__(nn.Conv2d)

    def forward(self, x):
        return super().forward(rearrange(x, "1 c t h w -> t c h w")).mean(0, keepdim=True)


@pytest.mark.parametrize("build", [Frames, lambda: Reused(nn.Conv3d)], ids=["frames", "volume"])
@pytest.mark.parametrize("explainer", [GradCAM, HiResCAM, EigenCAM])
def test_of_a_layer_used_again_the_last_call_is_shown_or_the_one_asked_for(build, explainer):
    model, x = build(), clip()
    with assert_no_residue(model):
        last = explainer(layer="relu").attribute(model, x, Logit(1), certify=False).values
        second = explainer(layer="relu#2").attribute(model, x, Logit(1), certify=False).values
        first = explainer(layer="relu#1").attribute(model, x, Logit(1), certify=False).values
    assert torch.equal(last, second)
    assert not torch.equal(first, last)
    torch.testing.assert_close(explainer().attribute(model, x, Logit(1), certify=False).values, last)


def test_what_the_certificate_calls_the_layer_gives_the_same_map():
    for model in (Frames(), Reused(nn.Conv3d), InOrder()):
        found = GradCAM().attribute(model, clip(), Logit(1), certify=False)
        assert found.layer == found.certificate.layer
        assert found.layer.endswith("+")  # more than the convolution's own output
        again = GradCAM(layer=found.layer).attribute(model, clip(), Logit(1), certify=False)
        assert torch.equal(again.values, found.values)


class Mirrored(nn.Module):
    """A 3-D network that sees the clip backwards."""

    def __init__(self, flip):
        super().__init__()
        torch.manual_seed(0)
        self.flip, self.out = flip, nn.Linear(4, 2)
        self.net = nn.Sequential(nn.Conv3d(3, 4, 3, 1, 1), nn.ReLU(), nn.Conv3d(4, 4, (2, 3, 3), (2, 1, 1), (0, 1, 1)))

    def forward(self, x):
        return self.out(self.net(x.flip(2) if self.flip else x).square().mean((2, 3, 4)))


def test_a_volume_is_shown_the_way_the_clip_runs():
    x = clip()
    forwards = EigenCAM().attribute(Mirrored(False), x, Logit(1), certify=False).values
    backwards = EigenCAM().attribute(Mirrored(True), x.flip(2), Logit(1), certify=False).values
    assert float((forwards - forwards.flip(1)).abs().max()) > 0.1
    torch.testing.assert_close(backwards.flip(1), forwards)


class Unfollowed(InOrder):
    def features(self, x):
        weights = torch.eye(x.shape[2]).flip(0)
        mixed = torch.einsum("nctyx,ts->ncsyx", x, weights)
        return super().features(mixed).flip(1)


def test_where_the_trace_is_lost_the_certificate_says_so():
    found = GradCAM().attribute(Unfollowed(), clip(), Logit(1), certify=False)
    assert any("could not be told" in flag for flag in found.certificate.flags)


def followed(x, function, t=T):
    """The numbers of what a function makes of a clip, by the package and by differentiation."""
    numbers = FrameNumbers(t)
    with FrameCalls(numbers):
        out = function(x)
    return numbers, out


@pytest.mark.parametrize(
    ("function", "axis"),
    [
        (lambda x: x.transpose(1, 2).flatten(0, 1), 0),
        (lambda x: F.max_pool2d(F.pad(x[0].transpose(0, 1), (1, 1)), 2), 0),
        (lambda x: torch.cat([x[:, :, 3:], x[:, :, :3]], dim=2), 2),
        (lambda x: x.roll(2, dims=2).mul(2).add_(1), 2),
        (lambda x: torch.stack(x.unbind(2)[::-1], dim=1), 1),
        (lambda x: torch.stack([part.squeeze(2).amax((2, 3)) for part in x.split(1, dim=2)], 1), 1),
        (lambda x: x.permute(0, 2, 3, 4, 1).reshape(T, -1) @ torch.rand(360, 4), 0),
        (lambda x: x - x.mean(dim=2, keepdim=True), 2),
        (lambda x: x.expand(2, -1, -1, -1, -1)[1:, :, [4, 1, 0]], 2),
    ],
)
def test_numbers_are_those_of_the_frames_that_values_depend_on(function, axis):
    x = clip().requires_grad_()
    numbers, out = followed(x, function)
    found = numbers.along(out, axis)
    assert found is not None
    assert len(found) == out.shape[axis]
    for place, number in enumerate(found):
        size = (
            torch.autograd.grad(out.select(axis, place).square().sum(), x, retain_graph=True)[0].abs().sum((0, 1, 3, 4))
        )
        assert int(size.argmax()) == number


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.mean(dim=2, keepdim=True),
        lambda x: rearrange(x, "n c (s f) h w -> (n s) (f c) h w", f=2),
        lambda x: x.cumsum(2),
        lambda x: F.softmax(x, dim=2),
    ],
)
def test_what_several_frames_went_into_has_no_number(function):
    numbers, out = followed(clip(), function)
    assert numbers.along(out, 0) is None
    assert numbers.along(out, min(2, out.ndim - 1)) is None


def test_rows_between_frames_are_placed_in_between():
    order = FrameOrder(((0, 0), (0, 1)), 5, (1.0, 3.0), (0, 1, 2, 3))
    placed = order.placed(torch.tensor([2.0, 4.0]).view(1, 2, 1, 1)).flatten()
    torch.testing.assert_close(placed, torch.tensor([2.0, 2, 3, 4, 0]))


def test_a_code_that_stands_for_all_frames_has_no_order():
    assert traced([(3.0,) * 4], [set()], None, t=4, layer="a", occurrence=None) is None


def test_weights_go_to_the_frames_of_their_features():
    weights = torch.tensor([1.0, 2, 3])
    torch.testing.assert_close(at_frames(weights, (4.0, 2.0, 0.0), 5), torch.tensor([3.0, 0, 2, 0, 1]))
    torch.testing.assert_close(at_frames(weights, None, 6), torch.tensor([0.5, 0.5, 1, 1, 1.5, 1.5]))
    torch.testing.assert_close(at_frames(weights, (4.5, 2.5, 0.5), 6), torch.tensor([1.5, 1.5, 1, 1, 0.5, 0.5]))
