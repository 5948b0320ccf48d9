"""What `vidence compare` and `vidence recommend` share: draw clips, draw maps, measure them, and keep what is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vidence import spec
from vidence.attribution.explainer import Explainer
from vidence.attribution.families import family_of
from vidence.attribution.progress import heard_by
from vidence.cli.evaluate import tested
from vidence.cli.sources import Bars
from vidence.datasets.dataset import Dataset
from vidence.datasets.opened import open_dataset
from vidence.errors import DataError
from vidence.evaluate import MEASURES
from vidence.evaluate.comparison import Comparison, compare, not_refused
from vidence.evaluate.comparison_defaults import EXPLAINERS_COMPARED
from vidence.evaluate.comparison_files import EXAMPLES, MAPS, ROWS, of_comparison
from vidence.evaluate.comparison_pictures import Examples, chosen
from vidence.evaluate.explained_clips import Place, known_clips, sampled
from vidence.evaluate.measured_rows import Measured, MeasuredRows
from vidence.evaluate.pooled_maps import PooledMaps
from vidence.models.detector import Detector, load_deployed
from vidence.pipeline import default_score, explainer_of, score_of
from vidence.scoring.score import ScoreFunction
from vidence.training.account import split_seed
from vidence.training.allocator import blocks_kept


@dataclass(frozen=True, eq=False)
class Trial:
    """A comparison on the clips of its sample, whose results lie in the folder `out`; `left_out` are explainers of the
    default set that refuse this detector, with the reason.
    """

    asked: Comparison
    dataset: Dataset
    places: tuple[Place, ...]
    out: Path
    left_out: Mapping[str, str]

    @property
    def maps(self) -> PooledMaps:
        """The maps on the common grid."""
        return PooledMaps(self.out / MAPS, self.asked.detector.weights_digest, self.asked.seed)

    @property
    def groups(self) -> dict[str, str]:
        """What sources belong together, by their digests."""
        samples = dict.fromkeys(place.sample for place in self.places)
        return {sample.open().digest: sample.group for sample in samples}

    def run(self) -> tuple[Measured, ...]:
        """Measure what the folder does not hold yet; Ctrl-C keeps what is done. Returns the rows of this trial."""
        detector, rows = self.asked.detector, MeasuredRows(self.out / ROWS)
        examples = Examples(self.out / EXAMPLES, chosen(self.places), detector.fit)
        clips, bars = known_clips(detector, self.dataset, self.places), Bars()
        targets: dict[tuple[str, int], str] = {}
        with bars.progress:
            bar = bars.add("comparing", len(self.places), "clips")
            with blocks_kept(), heard_by(bars.steps(bar, "comparing")):
                try:
                    for known in clips:
                        targets |= compare(self.asked, [known], rows, self.maps, on_map=examples.keep)
                        bars.progress.advance(bar)
                except KeyboardInterrupt:
                    raise KeyboardInterrupt(
                        f"{len(targets)} of {len(self.places)} clips are compared; the same command goes on there."
                    ) from None
        return of_comparison(rows, self.asked, targets)


def trial(
    folder: Path,
    data: str,
    *,
    measures: Sequence[str],
    out: Path,
    lines: Sequence[str],
    score: str | None,
    root: Path | None,
    group: str | None,
    normal: Sequence[str] | None,
    fps: float | None,
    clips: int,
    seed: int,
    whole: bool,
    device: str,
) -> Trial:
    """A trial from what was typed. Wrong lines are refused before any work; explainers that were asked for stay, also
    where they refuse, those of the default set do not. Raises `DataError` where nothing is left to compare.
    """
    detector = load_deployed(folder, device=device)
    built = {line: spec.build(line, MEASURES) for line in measures}
    asked = Comparison(detector, _explainers(lines), built, None, seed)
    usual = EXPLAINERS_COMPARED[family_of(asked.network)]
    asked = replace(asked, score=_score(detector, score), explainers=asked.explainers or _explainers(usual))
    dataset = open_dataset(data, root=root, group=group, normal=normal, fps=fps)
    samples = dataset.samples() if whole else tested(detector, dataset, split_seed(detector.facts))
    places = sampled(detector, dataset, samples, clips, seed=seed)
    left_out: dict[str, str] = {}
    if not lines:
        kept, left_out = not_refused(asked, next(known_clips(detector, dataset, places[:1])))
        asked = replace(asked, explainers=kept)
    if not asked.explainers:
        raise DataError(
            "nothing is left to compare: every explainer refuses this detector. Name some with --explainer."
        )
    return Trial(asked, dataset, places, out, left_out)


def _explainers(lines: Sequence[str]) -> dict[str, Explainer]:
    return {line: explainer_of(line) for line in lines}


def _score(detector: Detector, line: str | None) -> tuple[str, ScoreFunction] | None:
    """None: each clip's own class."""
    if line is None and detector.classes:
        return None
    line = line or default_score(detector)
    return line, score_of(line, detector)
