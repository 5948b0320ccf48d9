"""What a comparison leaves on disk beside its rows: two tables, a picture of ranks, and what was compared."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vidence.aside import written_aside
from vidence.errors import DataError
from vidence.evaluate.agreement import Agreement, between_clips, between_maps, between_measures, reversals
from vidence.evaluate.comparison import Comparison, clip_seed
from vidence.evaluate.comparison_pictures import write_ranks
from vidence.evaluate.leaderboard import Standing, leaderboard, mean_places, panels, placed_by
from vidence.evaluate.measured_rows import Measured, MeasuredRows
from vidence.evaluate.pooled_maps import PooledMaps
from vidence.evaluate.quiet_mass import quiet_mass

ROWS, MAPS, EXAMPLES = "measures.csv", "maps", "examples"
OWN_CLASS = "the logit of each clip's own class"  # what is explained where no score is asked for
FACTS, LEADERBOARD, AGREEMENT, RANKS = "comparison.json", "leaderboard.csv", "agreement.csv", "ranks.svg"


def of_comparison(
    rows: MeasuredRows, asked: Comparison, targets: Mapping[tuple[str, int], str]
) -> tuple[Measured, ...]:
    """The rows of this comparison's maps and measures, of its clips and of what is explained of each (`targets`, as
    `compare` returns them), under its seed; a file may hold those of others too.
    """
    lines, weights = set(asked.explainers), asked.detector.weights_digest
    return tuple(
        row
        for row in rows
        if row.weights == weights
        and row.score == targets.get(row.window)
        and row.seed == clip_seed(asked.seed, row.clip, row.first)
        and row.measure in asked.measures
        and (row.control or row.explainer in lines)
    )


def rows_told(folder: Path) -> list[Measured]:
    """The rows of the comparison that a folder's facts tell of, and not those of other weights, seeds or scores that
    its file may hold. Raises `DataError` where no comparison was written.
    """
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} must hold what `vidence compare` wrote; {error}. Compare again.") from error
    return [
        row
        for row in MeasuredRows(folder / ROWS)
        if row.weights == facts["weights"]
        and row.seed == clip_seed(facts["seed"], row.clip, row.first)
        and facts["score"] in (OWN_CLASS, row.score)
    ]


def agreements(rows: Sequence[Measured], asked: Comparison, maps: PooledMaps) -> list[Agreement]:
    """Every kind of agreement between the explainers, without the controls, which would make any two measures agree;
    and how much each map, the controls' too, marks where nothing happens.
    """
    explainers, lines = list(asked.explainers), list(dict.fromkeys(row.explainer for row in rows))
    held = panels(rows, asked.measures)
    targets = {row.window: row for row in rows}
    drawn = [maps.of(window, lines, row.score) for window, row in targets.items()]
    sources = [window[0] for window in targets]
    own = [{line: values for line, values in each.items() if line in explainers} for each in drawn]
    found = between_maps(own, sources, seed=asked.seed)
    found += quiet_mass(drawn, [row.event for row in targets.values()], sources, seed=asked.seed)
    found += between_measures(list(held.values()), explainers, seed=asked.seed)
    found += reversals(held, asked.measures, explainers, seed=asked.seed)
    return found + [each for panel in held.values() for each in between_clips(panel, explainers, seed=asked.seed)]


def write_comparison(
    out: Path, rows: Sequence[Measured], asked: Comparison, maps: PooledMaps, facts: Mapping[str, Any]
) -> tuple[Standing, ...]:
    """Write the tables, the picture and `facts` into the folder `out`; returns the standings."""
    standings = leaderboard(rows, asked.measures, seed=asked.seed)
    controls = list(dict.fromkeys(row.explainer for row in rows if row.control))
    _write_table(out / LEADERBOARD, [_row(each, controls) for each in standings])
    names = ("kind", "first", "second", "statistic", "mean", "low", "high", "n")
    found = [{name: getattr(each, name) for name in names} for each in agreements(rows, asked, maps)]
    _write_table(out / AGREEMENT, found, names)
    places = mean_places(standings, asked.measures)
    drawn = write_ranks(out / RANKS, standings, list(places))
    with written_aside(out / FACTS) as aside:
        held = {**facts, "mean_places": places, "ranks": RANKS if drawn else None}
        aside.write_text(json.dumps(held, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return standings


def comparison_facts(rows: Sequence[Measured], asked: Comparison, **more: Any) -> dict[str, Any]:
    """What was compared, on what, in plain values without a date."""
    windows = {row.window: row for row in rows}
    return {
        "detector": asked.detector.spec,
        "weights": asked.detector.weights_digest,
        "score": OWN_CLASS if asked.score is None else asked.score[0],
        "seed": asked.seed,
        "clips": len(windows),
        "clips_with_event": sum(row.event for row in windows.values()),
        "truth": {
            known: sum(row.known == known for row in windows.values()) for known in ("pixels", "frames", "label")
        },
        "measures": {
            line: {"aspect": each.aspect, "better": each.better or "neither", **each.settings}
            for line, each in asked.measures.items()
        },
        "placed_by": placed_by(asked.measures),
        **more,
    }


def _row(each: Standing, controls: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "explainer": each.explainer,
        "control": int(each.control),
        "measure": each.measure,
        "better": each.better,
        "n": each.n,
        "sources": each.sources,
        "mean": each.mean,
        "low": each.low,
        "high": each.high,
        "mean_over_classes": each.over_classes,
        "mean_rank": each.rank,
        "seconds": each.seconds,
        "forwards": each.forwards,
        "gradients": each.gradients,
    }
    for control in controls:
        gain = (each.gains or {}).get(control)
        row |= {
            f"beats {control}": "" if gain is None else gain.beats,
            f"gain over {control}": None if gain is None else gain.mean,
            f"gain over {control} low": None if gain is None else gain.low,
            f"gain over {control} high": None if gain is None else gain.high,
        }
    return row | {"failed": int(each.failed), "refused": each.refused}


def _write_table(path: Path, rows: Sequence[Mapping[str, Any]], names: Sequence[str] = ()) -> None:
    with written_aside(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(names or list(rows[0]))
        table.writerows([_text(value) for value in row.values()] for row in rows)


def _text(value: Any) -> Any:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else value
