"""What a trained detector's errors are on normal footage that it has not seen: the scale of its live score, the
threshold, and whether it knows more than the mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vidence import spec
from vidence.datasets.dataset import Sample, digest
from vidence.errors import DataError, SpecError
from vidence.models.device import place_of
from vidence.models.evaluating import evaluating
from vidence.models.hybrid import HybridDetector
from vidence.models.motion_attributes import MotionAttributesDetector
from vidence.models.reconstruction import ReconstructionNetwork, coloured, parts, shown
from vidence.models.reconstruction_detector import ReconstructionDetector
from vidence.scoring.run import scored_curve
from vidence.scoring.thresholds import THRESHOLDS, ThresholdRule
from vidence.scoring.timeline import Curve
from vidence.training.clips import ClipBatches, as_input

HIGH = 0.99  # the quantile of normal frames' errors that a live score of 1 stands for


def refuse_labels_and_no_samples(rule: ThresholdRule, samples: Sequence[Sample], val: Sequence[Sample]) -> None:
    """Raise `SpecError` for a rule that needs labels, `DataError` where a part of the normal footage is empty."""
    if rule.needs_labels:
        raise SpecError(
            "the threshold of a detector that learns what is normal is chosen on normal footage alone; the rule "
            f"{spec.line(rule, THRESHOLDS)!r} needs anomalies. Use quantile or false-alarm-budget."
        )
    if not samples or not val:
        raise DataError(f"a fit needs normal samples to train and to validate on; got {len(samples)} and {len(val)}.")


def calibrate(
    detector: ReconstructionDetector | MotionAttributesDetector | HybridDetector,
    val: Sequence[Sample],
    rule: ThresholdRule,
) -> None:
    """Put the live score on its scale and choose the threshold, both on normal `val`; the network stays as it is.

    Errors are smoothed as they will be live; 0 is their median, 1 their .99 quantile. Sets `facts['calibration']`,
    `threshold`, and by `measure_scales` what the parts of the score are divided by. Raises `DataError` if no frame
    gets a score.
    """
    for name in ("calibration", "scales"):
        detector.facts.pop(name, None)
    detector.measure_scales(clip for sample in val for clip in detector.windows.cut(sample.open()))
    curves = [scored_curve(detector, sample.open()) for sample in val]
    errors = np.concatenate([each.values for each in curves])
    if not len(errors):
        raise DataError(
            "a frame of the validation part must get a score; none does. Give longer videos, or a detector that needs "
            "fewer frames."
        )
    low, high = (float(np.quantile(errors, q)) for q in (0.5, HIGH))
    high = high if high > low else low + 1.0  # errors that never differ have no scale
    detector.facts["calibration"] = {"low": low, "high": high, "frames": len(errors)}
    scaled = [Curve(each.times, (each.values - low) / (high - low)) for each in curves]
    detector.threshold = rule.fit(scaled, line=spec.line(rule, THRESHOLDS)).facts(digest(val), scaled)


def pixel_errors(network: ReconstructionNetwork, clips: ClipBatches, mean: Float[Tensor, "c h w"]) -> dict[str, float]:
    """The mean squared error per value (pixels in [0, 1]) of the network, and of `mean` in the place of every frame
    that it reconstructs: a network that does not beat the mean frame has learned nothing else.
    """
    found, values, device = torch.zeros(2, dtype=torch.float64), 0, place_of(network)
    mean = mean.to(device)
    with evaluating(network):
        for batch in clips:
            x = as_input(batch).to(device)
            for part in parts(network(x)):
                truth = shown(part, x)
                usual = coloured(mean[None, :, None], truth.shape[1])
                found += torch.stack([(truth - each).double().square().sum() for each in (part.x_hat, usual)]).cpu()
                values += truth.numel()
    mse, mean_frame = (found / max(values, 1)).tolist()
    return {"mse": mse, "mean_frame_mse": mean_frame}
