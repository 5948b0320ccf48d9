"""The front door: `explain`, for any model, and what its words mean. Read this file first.

The commands go the whole way, source -> clips -> score -> why -> picture -> record: a source is judged
(`scoring.run.judge`), its windows are explained through this door, drawn and written down (`explained_source`), each
case a record (`scoring.cases`): every alarm, or what there is without one.
"""

from __future__ import annotations

from numbers import Integral
from typing import Any, cast

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from vidence import spec
from vidence.attribution import COMBINE, EXPLAINERS, default_for
from vidence.attribution.entrance import no_clip
from vidence.attribution.explainer import Attributions, Explainer
from vidence.attribution.hooks import uncompiled
from vidence.attribution.own_evidence import OWN, check_own, explains_itself
from vidence.errors import ExplainError, SpecError
from vidence.frames.clip import Clip
from vidence.models.detector import Detector, recommended_line
from vidence.models.reconstruction import ReconstructionNetwork
from vidence.scoring.scores import SCORES, Logit, ScoreFunction


def explain(
    model: nn.Module | Detector,
    clip: Clip | Float[Tensor, "n c t h w"],
    *,
    explainer: Explainer | str | None = None,
    score: ScoreFunction | str | int | None = None,
    certify: bool = True,
) -> Attributions:
    """Explain what a model says of a clip.

    `model` is any video model of yours (wrap it in `Adapted` if it speaks another axis order or value range) or a
    detector; `clip` a `Clip`, or x (n, c, t, h, w) in [0, 1]. `explainer` and `score` are objects or spec lines; a
    score that is a class's index means its logit. By default it is what `vidence recommend` found for the detector,
    else `when-where` for recurrent models, `grad-cam` for others, of the predicted class's logit; `residual` of the
    squared error (a detector's own score) where the network reconstructs. `certify` hides every frame once, to measure
    how the map agrees with that. Of a detector, an explainer is told what only that knows, such as its threshold.
    Raises `ExplainError` where the model has nothing to look into, or the pair makes no sense.
    """
    if not isinstance(clip, Tensor | Clip):
        raise no_clip(clip)
    if isinstance(model, nn.Module):
        model = uncompiled(model)
    if isinstance(clip, Clip) and explains_itself(model):
        check_own(model, explainer, score)
        return cast(Any, model).evidence(clip)
    network = network_of(model)
    x = clip if isinstance(clip, Tensor) else _input(model, clip)
    asked = score_of(score, model)
    chosen = explainer_of(explainer if explainer is not None else _default(model, asked, given=score))
    if isinstance(model, nn.Module):
        return chosen.attribute(network, x, asked, certify=certify)
    chosen = chosen.informed(model, asked)
    with model.arithmetic(x):
        return chosen.attribute(network, x, asked, certify=certify)


def default_line(detector: Detector, score: str | None = None) -> str:
    """The spec line of the explainer that a detector gets when none is asked for, of `score` or of its own."""
    if explains_itself(detector):
        return OWN
    chosen = _default(detector, score_of(score, detector), given=score)
    return chosen if isinstance(chosen, str) else spec.line(chosen, EXPLAINERS)


def _default(
    model: nn.Module | Detector, score: ScoreFunction, *, given: ScoreFunction | str | int | None
) -> Explainer | str:
    """The detector's recommended explainer where it was found for this score, else that of the network's kind."""
    line = None
    if not isinstance(model, nn.Module) and (given is None or isinstance(given, str)):
        line = recommended_line(model, given)
    return line or default_for(network_of(model), score)


def default_score(model: nn.Module | Detector) -> str:
    """The line of what is explained when nothing is asked for: what a detector says its alarms are made of, the squared
    error of a network that reconstructs, a classifier's logit of the predicted class.
    """
    network = model if isinstance(model, nn.Module) else getattr(model, "network", None)
    reconstructs = isinstance(network, ReconstructionNetwork)
    return getattr(model, "score_line", "squared-error" if reconstructs else "logit")


def network_of(model: nn.Module | Detector) -> nn.Module:
    """A model itself, or a detector's network. Raises `ExplainError` where there is none."""
    network = model if isinstance(model, nn.Module) else getattr(model, "network", None)
    if network is None:
        raise ExplainError(
            f"explain looks into a torch.nn.Module, or a detector's network; {type(model).__name__} has none. Call "
            "a function in the forward of a module, open a folder with load_detector, or use a detector's own evidence."
        )
    return network


def _input(model: nn.Module | Detector, clip: Clip) -> Float[Tensor, "1 c t h w"]:
    if isinstance(model, nn.Module):
        return rearrange(torch.from_numpy(clip.pixels), "t h w c -> 1 c t h w").float() / 255
    return model.prepare(clip)


def explainer_of(given: Explainer | str) -> Explainer:
    """An explainer from its line, or itself. Raises `SpecError` for anything else."""
    if isinstance(given, str):
        given = spec.build(given, {**EXPLAINERS, **COMBINE})
    if not isinstance(given, Explainer):
        said = f"the class {given.__name__}; write {given.__name__}()" if isinstance(given, type) else repr(given)
        raise SpecError(f"an explainer is an object with its settings, or a line such as 'grad-cam'; got {said}.")
    return given


def score_of(given: ScoreFunction | str | int | None, model: Any) -> ScoreFunction:
    """A score from its line (class names are the model's) or of a class's index, by default the model's own."""
    asked = default_score(model) if given is None else _of_index(given)
    score = scaled(spec.build(asked, SCORES) if isinstance(asked, str) else asked, model)
    classes = getattr(model, "classes", None)
    named = getattr(score, "named", None)
    return named(classes) if classes and named else score


def _of_index(given: Any) -> Any:
    """The logit of a class's index, also of NumPy's and torch's `logits.argmax()`; anything else as it is."""
    if isinstance(given, Tensor) and given.ndim == 0 and not given.is_floating_point():
        given = given.item()
    if isinstance(given, Integral) and not isinstance(given, bool):
        given = int(given)
    return Logit(given) if isinstance(given, int) else given


def scaled(score: ScoreFunction, model: Any) -> ScoreFunction:
    """A score on the detector's own scale, where it has to have one."""
    calibrated = getattr(score, "calibrated", None)
    return calibrated(getattr(model, "facts", {}).get("calibration")) if calibrated else score
