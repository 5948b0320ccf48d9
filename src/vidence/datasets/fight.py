"""The Surveillance Camera Fight dataset (Akti, Tataroglu, Ekenel, IPTA 2019), as its compact re-encode lays it out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vidence.datasets.dataset import Dataset, Sample
from vidence.datasets.folder import read_folder
from vidence.errors import DataError


@dataclass(frozen=True)
class FightSurv(Dataset):
    """`fight/` and `noFight/` with a `clips.csv`; clips cut from one source video stay on one side of a split,
    because scene, resolution and frame rate alone tell the classes apart to some degree.
    """

    root: str

    def samples(self) -> list[Sample]:
        """Two classes, `fight` and `nofight`; the group is `source_video`."""
        table = Path(self.root) / "clips.csv"
        if not table.is_file():
            raise DataError(
                f"fight-surv needs a folder with clips.csv, fight/ and noFight/; {str(self.root)!r} has no clips.csv."
            )
        return read_folder(table, group="source_video")
