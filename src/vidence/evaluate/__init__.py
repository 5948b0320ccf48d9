"""How good is a detector, and how good is what explains it: measures of maps are listed here."""

from vidence.evaluate.cell_correlation import FaithfulnessCorrelation, SingleCell
from vidence.evaluate.complexity import EffectiveComplexity, Entropy, Gini, TemporalGini
from vidence.evaluate.consistency import CentroidJerk, ExcessFlicker, Flicker, TopJaccard, WarpedFlicker, WarpedSpearman
from vidence.evaluate.faithfulness import ABPC, AOPC, Deletion, Insertion, InsertionGain
from vidence.evaluate.infidelity import Infidelity
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
from vidence.evaluate.sanity import CascadingRandomisation, IndependentRandomisation, InputOnly, LabelRandomisation
from vidence.evaluate.stability import AverageSensitivity, MaxSensitivity, ReRun

MEASURES: dict[str, type[Measure]] = {
    "abpc": ABPC,
    "aopc": AOPC,
    "average-sensitivity": AverageSensitivity,
    "cascading-randomisation": CascadingRandomisation,
    "centroid-jerk": CentroidJerk,
    "deletion": Deletion,
    "effective-complexity": EffectiveComplexity,
    "entropy": Entropy,
    "excess-flicker": ExcessFlicker,
    "faithfulness-correlation": FaithfulnessCorrelation,
    "flicker": Flicker,
    "gini": Gini,
    "independent-randomisation": IndependentRandomisation,
    "infidelity": Infidelity,
    "input-only": InputOnly,
    "insertion": Insertion,
    "insertion-gain": InsertionGain,
    "iou": IoU,
    "label-randomisation": LabelRandomisation,
    "mass-inside": MassInside,
    "mass-ratio": MassRatio,
    "max-sensitivity": MaxSensitivity,
    "pixel-ap": PixelAP,
    "pixel-auroc": PixelAUROC,
    "pointing": Pointing,
    "pointing-frames": PointingFrames,
    "pro": PRO,
    "rank-accuracy": RankAccuracy,
    "re-run": ReRun,
    "single-cell": SingleCell,
    "strongest-frame": StrongestFrame,
    "temporal-gini": TemporalGini,
    "top-jaccard": TopJaccard,
    "viou": VolumeIoU,
    "warped-flicker": WarpedFlicker,
    "warped-spearman": WarpedSpearman,
}
