"""How good is a detector, and how good is what explains it: measures of maps are listed here."""

from vidence.evaluate.localisation import (
    PRO,
    IoU,
    MassInside,
    MassRatio,
    PixelAP,
    PixelAUROC,
    Pointing,
    PointingFrames,
    RankAccuracy,
    StrongestFrame,
    VolumeIoU,
)
from vidence.evaluate.measure import Measure

MEASURES: dict[str, type[Measure]] = {
    "iou": IoU,
    "mass-inside": MassInside,
    "mass-ratio": MassRatio,
    "pixel-ap": PixelAP,
    "pixel-auroc": PixelAUROC,
    "pointing": Pointing,
    "pointing-frames": PointingFrames,
    "pro": PRO,
    "rank-accuracy": RankAccuracy,
    "strongest-frame": StrongestFrame,
    "viou": VolumeIoU,
}
