"""How good is a detector, and how good is what explains it: measures of maps are listed here."""

from vidence.evaluate.measure import Measure

MEASURES: dict[str, type[Measure]] = {}
