"""Every listed explainer on every way a user may write a model."""

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

from vidence.attribution import EXPLAINERS
from vidence.models.adapted import Adapted
from vidence.testing import check_explainer


class Cnn(nn.Module):
    """An image classifier on (n, c, 1, h, w): batch norm, dropout, one in-place ReLU used three times."""

    def __init__(self, inplace=True):
        super().__init__()
        self.one, self.two, self.three = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 6, 3, 1, 1), nn.Conv2d(6, 5, 3, 1, 1)
        self.norm, self.drop = nn.BatchNorm2d(6), nn.Dropout(0.5)
        self.relu = nn.ReLU(inplace=inplace)
        self.out = nn.Linear(5, 3)

    def maps(self, x):
        x = self.relu(self.one(x))
        return self.relu(self.three(self.relu(self.norm(self.two(x)))))

    def forward(self, x):
        return self.out(self.drop(self.maps(x[:, :, 0]).mean((2, 3))))


class Looped(nn.Module):
    """TimeDistributed as a Python loop; `rnn` GRU, LSTM or RNN."""

    def __init__(self, rnn=nn.GRU, bidirectional=False, batch_first=True):
        super().__init__()
        self.cnn = Cnn()
        self.rnn = rnn(5, 7, batch_first=batch_first, bidirectional=bidirectional)
        self.out = nn.Linear(14 if bidirectional else 7, 3)
        self.batch_first = batch_first

    def features(self, x):
        return torch.stack([self.cnn.maps(x[:, :, i]).mean((2, 3)) for i in range(x.shape[2])], dim=1)

    def forward(self, x):
        features = self.features(x)
        if not self.batch_first:
            return self.out(self.rnn(features.transpose(0, 1))[0][-1])
        return self.out(self.rnn(features)[0][:, -1])


class Folded(Looped):
    """TimeDistributed as a folded batch."""

    def features(self, x):
        folded = self.cnn.maps(rearrange(x, "n c t h w -> (n t) c h w"))
        return rearrange(folded.mean((2, 3)), "(n t) f -> n t f", n=len(x))


class NoGrad(Folded):
    """A frozen backbone the way many write it."""

    def __init__(self):
        super().__init__()
        self.cnn.requires_grad_(False)

    def features(self, x):
        with torch.no_grad():
            return super().features(x)


class TwoStages(Folded):
    def encode(self, x):
        return self.features(x)

    def decide(self, features):
        return self.out(self.rnn(features)[0].amax(dim=1))

    def forward(self, x):
        return self.decide(self.encode(x))


class Volume(nn.Module):
    """Conv3d that halves time."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv3d(3, 4, 3, (1, 2, 2), 1),
            nn.BatchNorm3d(4),
            nn.ReLU(inplace=True),
            nn.Conv3d(4, 5, 3, (2, 1, 1), 1),
            nn.ReLU(),
        )
        self.out = nn.Linear(5, 3)

    def forward(self, x):
        return self.out(self.net(x).mean((2, 3, 4)))


class Functional(nn.Module):
    """No modules inside: plain parameters and functions."""

    def __init__(self):
        super().__init__()
        self.w1, self.w2 = nn.Parameter(torch.randn(4, 3, 3, 3) * 0.3), nn.Parameter(torch.randn(5, 4, 3, 3) * 0.3)
        self.w3 = nn.Parameter(torch.randn(3, 5))

    def forward(self, x):
        n = len(x)
        x = F.relu(F.conv2d(rearrange(x, "n c t h w -> (n t) c h w"), self.w1, stride=2, padding=1))
        x = torch.conv2d(x, self.w2, padding=1).relu_().amax((2, 3))
        return F.linear(rearrange(x, "(n t) f -> n t f", n=n), self.w3).logsumexp(1)


class BackToFront(nn.Module):
    """Owns its convolutions in another order than it calls them."""

    def __init__(self):
        super().__init__()
        self.late, self.early, self.out = nn.Conv2d(4, 5, 3, 1, 1), nn.Conv2d(3, 4, 3, 2, 1), nn.Linear(5, 3)

    def forward(self, x):
        maps = self.late(self.early(rearrange(x, "n c t h w -> (n t) c h w")).relu()).relu()
        return self.out(rearrange(maps, "(n t) k h w -> n t h w k", n=len(x)).mean((1, 2, 3)))


class Foreign(nn.Module):
    """(n, t, c, h, w) in 0..255, a keyword, and a dict for an answer."""

    def __init__(self):
        super().__init__()
        self.inner = Looped()

    def forward(self, *, frames):
        return {"logits": self.inner(rearrange(frames, "n t c h w -> n c t h w") / 255), "frames": frames.shape[1]}


def adapted():
    return Adapted(Foreign(), std=1 / 255, layout="n t c h w", keyword="frames", pick="logits")


CLIP_MODELS = {
    "loop": Looped,
    "folded": Folded,
    "lstm": lambda: Folded(nn.LSTM),
    "rnn": lambda: Looped(nn.RNN),
    "bidirectional": lambda: Folded(nn.LSTM, bidirectional=True),
    "time-first": lambda: Looped(nn.LSTM, batch_first=False),
    "frozen parameters": lambda: Folded().requires_grad_(False),
    "no_grad": NoGrad,
    "two stages": TwoStages,
    "conv3d": Volume,
    "functional": Functional,
    "back to front": BackToFront,
    "adapted": adapted,
}
SETTINGS = {"occlusion": {"box": (2, 6, 6)}, "when-where": {"orders": 2}}


def made(build):
    torch.manual_seed(3)
    model = build()
    model(torch.rand(2, 3, 5, 14, 12) if build is not Cnn else torch.rand(2, 3, 1, 14, 12))  # moves the batch norms
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.eval()  # a mixture of modes must come back as it was
    return model


@pytest.mark.parametrize("key", EXPLAINERS)
@pytest.mark.parametrize("build", CLIP_MODELS.values(), ids=CLIP_MODELS)
def test_clips(key, build):
    model = made(build)
    check_explainer(EXPLAINERS[key](**SETTINGS.get(key, {})), model, torch.rand(2, 3, 5, 14, 12))


@pytest.mark.parametrize("key", EXPLAINERS)
@pytest.mark.parametrize("build", [Cnn, Folded, TwoStages, Volume, Functional])
def test_an_image_is_a_clip_of_one_frame(key, build):
    check_explainer(EXPLAINERS[key](), made(build), torch.rand(2, 3, 1, 14, 12))


@pytest.mark.parametrize("key", EXPLAINERS)
def test_works_without_arguments(key):
    assert EXPLAINERS[key]() == EXPLAINERS[key]()
