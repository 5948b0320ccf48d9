"""HAM10000 (Tschandl, Rosendahl, Kittler, Scientific Data 2018) as published: dermatoscopic pictures and a table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vidence.datasets.dataset import Sample
from vidence.datasets.folder import read_rows
from vidence.datasets.publication import Published


@dataclass(frozen=True)
class HAM10000(Published):
    """Skin lesions; moles (nv) are normal, the diagnoses akiec, bcc, bkl, df, mel and vasc are not.

    Many lesions were photographed more than once: the pictures of a lesion stay together. There is no official split.
    """

    origin = "https://doi.org/10.7910/DVN/DBW86T"
    layout = "HAM10000_metadata.csv (or .tab) and the folders with ISIC_*.jpg"
    calm = ("nv",)

    def samples(self) -> list[Sample]:
        """All pictures of the table, labelled with their diagnosis."""
        table = self.place(*(f"HAM10000_metadata{suffix}" for suffix in (".csv", ".tab", "")))
        rows = read_rows(table, ["image_id", "dx", "lesion_id"])
        pictures = {path.stem: path for path in sorted(Path(self.root).rglob("*.jpg"))}
        if absent := [row["image_id"] for row in rows if row["image_id"] not in pictures]:
            raise self.absent(f"{absent[0]}.jpg ({len(absent)} of {len(rows)} pictures of the table)")
        return [Sample(str(pictures[row["image_id"]]), row["dx"], row["lesion_id"]) for row in rows]
