"""Adaptive occlusion against linear scores, still clips, single tracks hidden by hand, and a moving square."""

import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

from vidence.attribution.perturb.adaptive_occlusion import AdaptiveOcclusion, _joined
from vidence.errors import SpecError
from vidence.models.reconstruction import Reconstruction, ReconstructionNetwork
from vidence.motion.flow import Tracks
from vidence.scoring.scores import Logit, SquaredError
from vidence.testing import counted_passes


class Linear(nn.Module):
    def __init__(self, t=5, h=24, w=20):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, t, h, w))

    def forward(self, x):
        return (self.weight * x).sum((1, 2, 3, 4))[:, None] + 2


class Bent(nn.Module):
    """One pixel decides almost everything, and not linearly."""

    def forward(self, x):
        return (x.mean((1, 2, 3, 4)) + 4 * (x[:, 0, 1, 12, 10] - 0.3) ** 3)[:, None]


def square(t=5, size=(24, 20), side=8):
    """(1, 3, t, h, w): a textured square moves by (1, 2) a frame from (4, 2) over an even ground."""
    generator = torch.Generator().manual_seed(0)
    texture = interpolate(torch.rand(1, 3, 4, 4, generator=generator), size=(side, side), mode="bicubic")[0].clamp(0, 1)
    x = torch.full((1, 3, t, *size), 0.4)
    for i in range(t):
        x[0, :, i, 4 + i : 4 + i + side, 2 + 2 * i : 2 + 2 * i + side] = texture
    return x


def hidden_by(tracks, number, side, shape):
    """A track's boxes, frame by frame."""
    mask = torch.zeros(shape)
    for i in range(shape[0]):
        if tracks.alive[number, i]:
            row, column = (int(place) - side // 2 for place in tracks.places[number, i])
            mask[i, max(row, 0) : row + side, max(column, 0) : column + side] = 1
    return mask


def test_values_are_the_mean_loss_over_the_tracks_of_a_place():
    torch.manual_seed(0)
    model, x = Linear(), square()
    found = AdaptiveOcclusion(side=6, stride=5, fill=0.25).attribute(model, x, Logit(0))
    tracks, (t, h, w) = found.extra["tracks"], x.shape[2:]
    total, count = torch.zeros(2, t, h, w)
    for number, loss in enumerate(found.extra["losses"]):
        mask = hidden_by(tracks, number, 6, (t, h, w))
        expected = model(x) - model(torch.where(mask.bool(), torch.tensor(0.25), x))
        assert loss == pytest.approx(expected.item(), abs=1e-3)
        total, count = total + loss * mask, count + mask
    torch.testing.assert_close(found.values[0], total / count.clamp(min=1), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("starts", ["first", "every"])
def test_first_order_is_exact_on_a_linear_score(starts):
    """A.21."""
    torch.manual_seed(0)
    model, x = Linear(), square()
    full = AdaptiveOcclusion(starts=starts)(model, x, Logit(0))
    torch.testing.assert_close(
        AdaptiveOcclusion("first-order", starts=starts)(model, x, Logit(0)), full, rtol=1e-3, atol=1e-3
    )


def test_an_outlier_is_predicted_anew_where_it_is():
    torch.manual_seed(0)
    model, x = Bent(), torch.rand(1, 3, 5, 24, 20) * 0.2
    x[0, 0, 1, 12, 10] = 0.9
    full = AdaptiveOcclusion(starts="first", fill=0.0).attribute(model, x, Logit(0)).extra["losses"]
    with counted_passes(model) as passes:
        found = AdaptiveOcclusion("first-order", starts="first", fill=0.0).attribute(model, x, Logit(0), certify=False)
    losses = found.extra["losses"]
    extreme = max(range(len(full)), key=full.__getitem__)
    assert losses[extreme] == pytest.approx(full[extreme], rel=1e-4)
    slope = 4 * 3 * (0.9 - 0.3) ** 2 * 0.9  # what the first gradient alone would have said
    assert abs(full[extreme] - slope) > 1
    price = AdaptiveOcclusion("first-order").price(5, 24, 20)
    assert price.at_most
    assert (passes.forwards, passes.gradients) == (price.forwards, price.gradients)  # noise: outliers on both sides


def test_boxes_follow_the_square():
    """The score looks at the square alone, wherever it is: only tracks that go with it hide it throughout."""

    class Watching(nn.Module):
        def forward(self, x):
            seen = [x[:, :, i, 4 + i : 12 + i, 2 + 2 * i : 10 + 2 * i] - 0.4 for i in range(5)]
            return torch.stack(seen).square().sum((0, 2, 3, 4))[:, None]

    x = square()
    found = AdaptiveOcclusion(side=6, stride=3, starts="first", fill=0.4).attribute(Watching(), x, Logit(0))
    tracks, losses = found.extra["tracks"], torch.tensor(found.extra["losses"])
    best = tracks.places[losses.argmax()]
    moved = best[-1] - best[0]
    assert 2 <= float(moved[0]) <= 6
    assert 6 <= float(moved[1]) <= 10
    inside = torch.stack([found.values[0, i, 5 + i : 11 + i, 3 + 2 * i : 9 + 2 * i].mean() for i in range(5)])
    assert float(inside.min()) > 3 * float(found.values[0, :, 18:, :4].mean())


def test_later_tracks_start_where_none_is_under_way():
    still = torch.full((1, 3, 6, 24, 20), 0.5)
    found = AdaptiveOcclusion().attribute(Linear(6), still, Logit(0)).extra["tracks"]
    first = AdaptiveOcclusion(starts="first").attribute(Linear(6), still, Logit(0)).extra["tracks"]
    assert found.places.shape == first.places.shape  # nothing moves: every place is under way
    moving = AdaptiveOcclusion(side=4, stride=4).attribute(Linear(), square(), Logit(0)).extra["tracks"]
    late = ~moving.alive[:, 0]
    assert bool(late.any())
    for number in late.nonzero()[:, 0].tolist():
        begin = int(moving.alive[number].nonzero()[0])
        assert begin % 2 == 0
        others = moving.alive[:, begin] & (torch.arange(len(late)) < number)
        before = others & moving.alive[:, max(begin - 1, 0)]
        distance = (moving.places[before, begin] - moving.places[number, begin]).norm(dim=1)
        assert float(distance.min()) > 2


def test_tracks_that_move_alike_are_joined():
    places = torch.zeros(4, 3, 2)
    places[0, :, 1], places[1, :, 1] = torch.tensor([0.0, 2, 4]), torch.tensor([5.0, 7, 9])
    places[2, :, 1] = torch.tensor([9.0, 8, 7])
    tracks = Tracks(places, torch.ones(4, 3, dtype=torch.bool))
    assert _joined(tracks, 1).tolist() == [[0], [1], [2], [3]]
    assert _joined(tracks, 2).tolist() == [[0, 1], [1, 0], [2, -1], [3, -1]]
    torch.manual_seed(0)
    model, x = Linear(), square()
    alone = AdaptiveOcclusion(starts="first", fill=0.0).attribute(model, x, Logit(0))
    joined = AdaptiveOcclusion(starts="first", fill=0.0, joined=3).attribute(model, x, Logit(0))
    together = _joined(joined.extra["tracks"], 3)
    number = int((together >= 0).sum(dim=1).argmax())
    masks = [hidden_by(joined.extra["tracks"], int(each), 3, x.shape[2:]) for each in together[number] if each >= 0]
    mask = torch.stack(masks).amax(dim=0)
    assert joined.extra["losses"][number] == pytest.approx((model(x) - model(x * (1 - mask))).item(), abs=1e-3)
    assert len(alone.extra["losses"]) == len(joined.extra["losses"])


@pytest.mark.parametrize("explainer", [AdaptiveOcclusion(), AdaptiveOcclusion(starts="first", joined=2)])
def test_price_and_chunks(explainer):
    torch.manual_seed(0)
    model, x = Linear(), square()
    with counted_passes(model) as passes:
        values = explainer(model, x, Logit(0))
    price = explainer.price(5, 24, 20)
    assert passes.gradients == price.gradients == 0
    assert passes.forwards <= price.forwards if price.at_most else passes.forwards == price.forwards
    small = AdaptiveOcclusion(starts=explainer.starts, joined=explainer.joined, chunk=1)
    torch.testing.assert_close(small(model, x, Logit(0)), values, rtol=1e-4, atol=1e-4)


def test_an_anomaly_is_positive_evidence():
    class Clean(ReconstructionNetwork):
        def forward(self, x):
            return Reconstruction(torch.full_like(x, 0.4))

    for mode in ("full", "first-order"):
        values = AdaptiveOcclusion(mode)(Clean(), square(), SquaredError())
        assert float(values[0, 0, 6:10, 4:8].min()) > 0
        assert float(values.min()) >= 0


@pytest.mark.parametrize(
    "build",
    [
        lambda: AdaptiveOcclusion("half"),
        lambda: AdaptiveOcclusion(starts="last"),
        lambda: AdaptiveOcclusion(joined=0),
        lambda: AdaptiveOcclusion(side=4, stride=5),
        lambda: AdaptiveOcclusion(fill="x"),
    ],
)
def test_settings_without_meaning_are_refused(build):
    with pytest.raises(SpecError):
        build()
