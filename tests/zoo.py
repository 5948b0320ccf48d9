"""Small models of every kind that a user may write, for the tests of explainers."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

from vidence.models.adapted import Adapted
from vidence.models.conv_recurrent import CELLS, Geometry, unrolled
from vidence.models.reconstruction import Reconstruction, ReconstructionNetwork, coloured
from vidence.models.transformer import VideoTransformer


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


class Maps(nn.Module):
    """A ConvGRU over the maps of frames, and a convolution of its last state."""

    def __init__(self):
        super().__init__()
        self.one, self.cell = nn.Conv2d(3, 4, 3, 2, 1), CELLS["gru"](Geometry(4, 5))
        self.two, self.out = nn.Conv2d(5, 4, 3, 1, 1), nn.Linear(4, 3)

    def forward(self, x):
        states, _ = unrolled(self.cell, self.one(rearrange(x, "n c t h w -> (t n) c h w")).relu(), len(x))
        return self.out(self.two(states[-len(x) :]).sigmoid().amax((2, 3)))


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


class Transformer(nn.Module):
    """Joint attention by torch's own layers: tokens of one frame and 7 x 6 pixels, no class token, mean of tokens."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv3d(3, 12, (1, 7, 6), (1, 7, 6))
        layer = nn.TransformerEncoderLayer(12, 3, 16, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(12, 3)

    def forward(self, x):
        tokens = rearrange(self.patches(x), "n d t h w -> n (t h w) d")
        places = torch.arange(12, device=x.device) * torch.arange(tokens.shape[1], device=x.device)[:, None]
        return self.out(self.encoder(tokens + (places * 0.1).sin()).mean(1))


class Divided(nn.Module):
    """Our own video transformer, attention over time and space in turn, behind a change of size."""

    def __init__(self):
        super().__init__()
        settings = VideoTransformer(size=32, patch=16, tubelet=1, width=12, depth=2, heads=3, length=5)
        self.transformer = settings.network(3)
        for parameter in self.transformer.parameters():
            nn.init.normal_(parameter, std=0.3)

    def forward(self, x):
        return self.transformer(F.interpolate(x, (x.shape[2], 32, 32)))


class Mixing(Folded):
    """The CNN frame by frame, then ReLU layers of self-attention over the frames."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(5, 1, 8, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.rnn, self.out = nn.Identity(), nn.Linear(5, 3)

    def forward(self, x):
        return self.out(self.encoder(self.features(x))[:, -1])


class Foreign(nn.Module):
    """(n, t, c, h, w) in 0..255, a keyword, and a dict for an answer."""

    def __init__(self):
        super().__init__()
        self.inner = Looped()

    def forward(self, *, frames):
        return {"logits": self.inner(rearrange(frames, "n t c h w -> n c t h w") / 255), "frames": frames.shape[1]}


def adapted():
    return Adapted(Foreign(), std=1 / 255, layout="n t c h w", keyword="frames", pick="logits")


class Autoencoder(ReconstructionNetwork):
    """Frame by frame, its code 1 x 1 as in BCAE2: no place is left there, so that maps come from the layer before."""

    def __init__(self, channels=3):
        super().__init__()
        self.channels = channels
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.LeakyReLU(), nn.Conv2d(4, 6, (7, 6)), nn.Tanh()
        )
        self.decoder = nn.Sequential(nn.ConvTranspose2d(6, 4, (7, 6)), nn.ReLU(), nn.Upsample(scale_factor=2))
        self.last = nn.Conv2d(4, channels, 3, padding=1)
        self.register_buffer("centre", torch.zeros(6))

    def embed(self, x):
        frames = rearrange(coloured(x, self.channels), "n c t h w -> (n t) c h w")
        return rearrange(self.encoder(frames), "(n t) d 1 1 -> n t d", n=len(x))

    def forward(self, x):
        code = self.embed(x)
        frames = self.last(self.decoder(rearrange(code, "n t d -> (n t) d 1 1"))).sigmoid()
        x_hat = rearrange(frames, "(n t) c h w -> n c t h w", n=len(x))
        return Reconstruction(x_hat, code=code, distance=(code - self.centre).square().sum(dim=2))


class Predictor(ReconstructionNetwork):
    """Two heads behind a GRU over frames: it reconstructs all frames in gray and predicts the last two."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Conv2d(3, 4, 3, 2, 1)
        self.rnn = nn.GRU(4 * 42, 8, batch_first=True)
        self.out = nn.Linear(8, 14 * 12)

    def embed(self, x):
        frames = self.encoder(rearrange(x, "n c t h w -> (n t) c h w")).relu()
        return rearrange(frames, "(n t) k h w -> n t (k h w)", n=len(x))

    def forward(self, x):
        code, _ = self.rnn(self.embed(x))
        x_hat = rearrange(self.out(code).sigmoid(), "n t (h w) -> n 1 t h w", h=14)
        return Reconstruction(x_hat, code, prediction=Reconstruction(x_hat[:, :, 2:4], first_frame=3))


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
    "convolutional gru": Maps,
    "conv3d": Volume,
    "functional": Functional,
    "back to front": BackToFront,
    "adapted": adapted,
    "transformer": Transformer,
    "divided attention": Divided,
}
AUTOENCODERS = {"colour": Autoencoder, "gray": lambda: Autoencoder(1), "two heads": Predictor}

# one model of each family (vidence.attribution.families), for what the family alone decides
OF_FAMILY = {
    "recurrent": Folded,
    "volume": Volume,
    "reconstruction": Autoencoder,
    "transformer": Divided,
    "frames": Functional,
}
CHANNELS = {"recurrent": 5, "volume": 5, "reconstruction": 4, "transformer": 12, "frames": 5}  # of the layer shown


def made(build):
    """A model of the zoo with random weights and used batch norms, in a mixture of modes."""
    torch.manual_seed(3)
    model = build()
    model(torch.rand(2, 3, 5, 14, 12) if build is not Cnn else torch.rand(2, 3, 1, 14, 12))  # moves the batch norms
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.eval()  # a mixture of modes must come back as it was
    return model
