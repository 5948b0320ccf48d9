"""Two convolutional LSTMs, one that reads frames and one that forecasts those that follow: `convlstm-predict`."""

from __future__ import annotations

from dataclasses import dataclass

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from vidence.errors import SpecError
from vidence.models.conv_recurrent import ConvLSTM, Geometry, Recurrent, Stack
from vidence.models.halving import check_size, doublings, halvings
from vidence.models.predicting import PredictorSettings, check_context
from vidence.models.reconstruction import Reconstruction, ReconstructionNetwork, coloured

WIDTHS = (32, 64)
LAYERS = 2


@dataclass(frozen=True, kw_only=True)
class ConvLSTMPredict(PredictorSettings):
    """A ConvLSTM encoder-forecaster (Shi et al., NeurIPS 2015), which Medel and Savakis (2016) made a detector.

    A window's last `horizon` frames are forecast from those before. `size` is a multiple of 4.
    """

    horizon: int = 4

    @property
    def context(self) -> int:
        """The frames that are read."""
        return self.length - self.horizon

    def __post_init__(self) -> None:
        """Refuse windows of which nothing is read or forecast, and sizes that cannot be halved."""
        if not (isinstance(self.length, int) and isinstance(self.horizon, int) and 1 <= self.horizon < self.length):
            raise SpecError(
                "convlstm-predict: horizon must be a whole number from 1 to length - 1, so that there are frames to "
                f"read and to forecast; got horizon={self.horizon!r}, length={self.length!r}."
            )
        super().__post_init__()
        check_size("convlstm-predict", self.size, multiple=2 ** len(WIDTHS))

    def network(self) -> ConvLSTMPredictNetwork:
        """The untrained network."""
        side = self.size // 2 ** len(WIDTHS)
        return ConvLSTMPredictNetwork(self.channels or 3, context=self.context, side=side)


class ConvLSTMPredictNetwork(ReconstructionNetwork):
    """Frames are shrunk to a quarter of their side and read by two layers of ConvLSTM with peepholes. The forecaster's
    two layers begin with their states and are shown the last frame's maps at every step (the paper's see nothing);
    their maps are grown to frames.
    """

    def __init__(self, channels: int, *, context: int, side: int) -> None:
        super().__init__()
        self.channels, self.first_frame, self.predicts_from = channels, context, context
        self.shrink = nn.Sequential(*halvings((channels, *WIDTHS)))
        self.reader, self.forecaster = (
            Stack(
                Recurrent(ConvLSTM(Geometry(WIDTHS[-1], WIDTHS[-1], kernel=1), bias=True, peephole=side))
                for _ in range(LAYERS)
            )
            for _ in range(2)
        )
        self.grow = nn.Sequential(*doublings((*WIDTHS[::-1], channels)))

    def forward(self, x: Float[Tensor, "n c t h w"]) -> Reconstruction:
        """Forecast all frames after the first `context`. Raises `ShapeError` where there are none."""
        check_context(x, self.first_frame)
        n, horizon = len(x), x.shape[2] - self.first_frame
        seen = rearrange(coloured(x, self.channels)[:, :, : self.first_frame], "n c t h w -> (t n) c h w")
        maps = self.shrink(seen)
        _, states = self.reader(maps, n)
        forecast, _ = self.forecaster(maps[-n:].repeat(horizon, 1, 1, 1), n, states=states)
        x_hat = rearrange(self.grow(forecast), "(t n) c h w -> n c t h w", n=n)
        return Reconstruction(x_hat, first_frame=self.first_frame)
