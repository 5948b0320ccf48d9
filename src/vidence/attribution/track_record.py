"""What an explainer reached where the truth is known, so that reports can warn of those that did no better than chance.

The figures are those that ``benchmarks/localise.py`` wrote into ``measured/localisation.csv``; none is typed in.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files

BLIND = ("random-map", "centre-map")  # maps that do not look at the model
ASPECTS = {"mass-ratio": "where", "strongest-frame": "when"}


@cache
def _figures() -> dict[tuple[str, str, str], tuple[float, float]]:
    """(event, map, measure) -> 95 % interval."""
    text = (files("vidence.attribution") / "measured" / "localisation.csv").read_text(encoding="utf-8")
    rows = [row for row in csv.DictReader(text.splitlines()) if row["low"]]
    return {(row["event"], row["map"], row["measure"]): (float(row["low"]), float(row["high"])) for row in rows}


def cautions(key: str) -> tuple[str, ...]:
    """Warnings in plain words for the explainer `key`; none if better than blind maps, one if not measured.

    An explainer counts as no better where its interval reaches into that of a blind map for any kind of event.
    Events that fill the clip say nothing about time.
    """
    figures, said = _figures(), []
    if key not in {name for _, name, _ in figures}:
        return (f"How well {key} finds synthetic events of known place and time was not measured.",)
    for measure, aspect in ASPECTS.items():
        events = dict.fromkeys(event for event, name, each in figures if (name, each) == (key, measure))
        short = [event for event in events if aspect == "where" or event != "all frames"]
        failed = [event for event in short if _reached(figures, event, key, measure)]
        if failed:
            said.append(
                f"On synthetic events of known place and time, {key} said {aspect} no better than a map that does not "
                f"look at the model ({', '.join(failed)})."
            )
    return tuple(said)


def _reached(figures: dict[tuple[str, str, str], tuple[float, float]], event: str, key: str, measure: str) -> bool:
    """Whether the explainer's interval starts below the end of a blind map's."""
    return figures[event, key, measure][0] <= max(figures[event, blind, measure][1] for blind in BLIND)
