"""The files that show a decision, in a folder named by what it holds: no other decision's files take their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from vidence.attribution.own_evidence import OWN
from vidence.errors import OutputError
from vidence.frames.source import Source
from vidence.record.evidence import Evidence, Picture
from vidence.record.provenance import digest, file_digest
from vidence.render.evidence_files import CONTOURS, MAPS, MOVIE, sheet_of
from vidence.render.nearest_examples import examples_of
from vidence.render.side_by_side import beside_of
from vidence.scoring.cases import Case
from vidence.spec import parse

_LOOKED = "where the model looked, coloured and outlined"
_CAPTIONS = {
    "counterfactual-box": "the box that would have to look otherwise, coloured and outlined",
    OWN: "what is furthest from usual, coloured and outlined",
    "residual": "where the picture differs from what was expected, coloured and outlined",
}
_EXAMPLES = "the place that decided, and right of the white bar the most similar that was seen in training"
_BESIDE = "each strongest frame beside what the network expected instead, and the difference between the two"


@dataclass(frozen=True, slots=True)
class DecisionFiles:
    """What was drawn of one source: `folder` and the files in it, named relative to the store, with their SHA-256."""

    folder: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)

    def shown(self, case: Case, told: Sequence[Evidence]) -> tuple[Evidence, ...]:
        """The explanations of a case with the files that show them; what was expected instead goes with the first."""
        return tuple(self._with_files(each, case, first=not place) for place, each in enumerate(told))

    def _with_files(self, told: Evidence, case: Case, *, first: bool) -> Evidence:
        place = f"{self.folder}/{folder_of(told.explainer)}"
        captions = {
            f"{place}/{sheet_of(case)}": _CAPTIONS.get(parse(told.explainer).key, _LOOKED),
            f"{place}/{examples_of(case)}": _EXAMPLES,
        }
        captions |= {f"{self.folder}/{beside_of(case)}": _BESIDE} if first else {}
        return replace(
            told,
            map=f"{place}/{MAPS}",
            contours=f"{place}/{CONTOURS}",
            movie=f"{place}/{MOVIE}",
            pictures=tuple(Picture(file=name, caption=said) for name, said in captions.items() if name in self.digests),
        )


def folder_of(line: str) -> str:
    """The folder of one explainer's files."""
    return f"{parse(line).key}-{digest(line)[:8]}"


def kept(drawn: Path, out: Path, source: Source) -> DecisionFiles:
    """Move all files from the folder `drawn` to their place below `out`: `<source's stem>-<digest>/<files' digest>/`.

    Files of other content lie elsewhere; the same files come to lie where they were, and replace what was altered.
    Raises `OutputError` where that cannot be written.
    """
    files = sorted(path for path in drawn.rglob("*") if path.is_file())
    digests = {path.relative_to(drawn).as_posix(): file_digest(path) for path in files}
    folder = f"{Path(source.name).stem}-{source.digest[:8]}/{digest(digests)[:16]}"
    try:
        for name in digests:
            place = out / folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            (drawn / name).replace(place)
    except OSError as error:
        raise OutputError(
            f"{out / folder} must be a folder to write to; got {error.strerror}. Choose another folder with --out."
        ) from error
    return DecisionFiles(folder, {f"{folder}/{name}": held for name, held in digests.items()})
