"""A study over several networks: what their comparisons say together, as the tables of a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vidence import spec
from vidence.aside import written_aside
from vidence.errors import DataError
from vidence.evaluate import MEASURES
from vidence.evaluate.agreement import reversal
from vidence.evaluate.comparison_files import rows_told
from vidence.evaluate.leaderboard import Panel, Standing, gain, leaderboard, panels
from vidence.evaluate.measure import Measure
from vidence.evaluate.measured_rows import Measured

BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"
GATE = 0.95  # accuracy on unseen synthetic clips below which a classifier's maps are shown, but count for no finding


@dataclass(frozen=True, slots=True)
class Trained:
    """A detector of one `seed`: a classifier's `accuracy` on clips it has not seen, and its comparison's folder."""

    seed: int
    accuracy: float | None
    comparison: str

    @property
    def able(self) -> bool:
        """Whether it is no classifier, or one that is not below the gate."""
        return self.accuracy is None or self.accuracy >= GATE


@dataclass(frozen=True)
class Compared:
    """A network of the study with its trained detectors; `explainers` and `measures` are the lines that were asked."""

    key: str
    title: str
    data: str
    detector: str
    explainers: tuple[str, ...]
    measures: tuple[str, ...]
    detectors: tuple[Trained, ...]

    @property
    def built(self) -> dict[str, Measure]:
        """The measures by their lines."""
        return {line: spec.build(line, MEASURES) for line in self.measures}

    def rows(self, *, counting: bool = False) -> list[Measured]:
        """Every row of every seed; the same clip counts once for each detector that it was shown to.

        `counting`: only those of detectors that count for findings, which on real data is every one.
        """
        found = []
        for trained in self.detectors:
            if counting and self.data == "synthetic" and not trained.able:
                continue
            found += [row for row in rows_told(Path(trained.comparison)) if self._asked(row)]
        return found

    def _asked(self, row: Measured) -> bool:
        return row.measure in self.measures and (row.control or row.explainer in self.explainers)


def write_study(page: Path, networks: Sequence[Compared]) -> None:
    """Put the tables between the two marks of a page. Raises `DataError` where it has none."""
    text = page.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise DataError(f"the page must have the lines {BEGIN!r} and {END!r}, between which tables go; {page} has not.")
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    with written_aside(page) as aside:
        aside.write_text(f"{before}{BEGIN}\n\n{study_tables(networks)}\n{END}{after}", encoding="utf-8")


def study_tables(networks: Sequence[Compared]) -> str:
    """All tables as Markdown: the networks, the reversal, what beats what, and a leaderboard of each network."""
    held = [(network, network.rows()) for network in networks]
    parts = ["## The networks\n", _table(_networks(held))]
    counted = [(network, network.rows(counting=True)) for network in networks]
    parts += ["\n## Do faithfulness and localisation rank explainers in opposite order?\n", _table(_reversals(counted))]
    parts += ["\n## What beats the controls\n", _table(_winners(counted))]
    for network, rows in held:
        standings = leaderboard(rows, network.built)
        parts += [f"\n## {network.title} ({network.data})\n", _table(_standings(network, standings))]
        refused = dict.fromkeys((each.explainer, each.refused) for each in standings if each.refused)
        parts += [f"\nNot measured: `{line}`: {reason}" for line, reason in refused]
    return "\n".join(parts) + "\n"


def _networks(held: Sequence[tuple[Compared, Sequence[Measured]]]) -> Iterator[Sequence[str]]:
    yield "network", "data", "detector", "accuracy on unseen clips, by seed", "clips explained", "with an event"
    for network, rows in held:
        told = [(each.accuracy, "" if each.able else " (below)") for each in network.detectors]
        shown = ", ".join("" if accuracy is None else f"{accuracy:.3f}{below}" for accuracy, below in told)
        windows = {row.shown: row.event for row in rows}
        yield (
            *(network.title, network.data, f"`{network.detector}`", shown or "no classifier"),
            *(str(len(windows)), str(sum(windows.values()))),
        )


def _reversals(held: Sequence[tuple[Compared, Sequence[Measured]]]) -> Iterator[Sequence[str]]:
    yield "network", "faithfulness", "localisation", "Spearman of the explainers' mean places [95 %]", "clips"
    for network, rows in held:
        made, built = panels(rows, network.built), network.built
        for one in (line for line, each in built.items() if each.aspect == "faithfulness"):
            for other in (line for line, each in built.items() if each.aspect == "localisation"):
                found = reversal(made[one], made[other], network.explainers)
                if found is not None:
                    figure = f"{found.mean:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"
                    yield network.title, _short(one), _short(other), figure, str(found.n)


def _winners(held: Sequence[tuple[Compared, Sequence[Measured]]]) -> Iterator[Sequence[str]]:
    yield "network", "measure", "best control", "maps better than it (95 % of the paired difference above 0)"
    for network, rows in held:
        for line, panel in panels(rows, network.built).items():
            if not panel.sign or panel.measure.startswith("cascading"):
                continue
            control = _best_control(panel, rows)
            if control is not None:
                names = [name for name in network.explainers if name in panel.maps and _beats(panel, name, control)]
                yield network.title, _short(line), f"`{control}`", ", ".join(f"`{name}`" for name in names) or "none"


def _best_control(panel: Panel, rows: Sequence[Measured]) -> str | None:
    names = {row.explainer for row in rows if row.control}
    places = [place for place in panel.measured if panel.maps[place] in names]
    clips = panel.complete(places)
    if not places or not clips:
        return None
    means = panel.sign * panel.values[clips][:, places].mean(axis=0)
    return panel.maps[places[int(means.argmax())]]


def _beats(panel: Panel, name: str, control: str) -> bool:
    found = gain(panel, panel.maps.index(name), panel.maps.index(control))
    return found is not None and found.beats == "yes"


def _standings(network: Compared, standings: Sequence[Standing]) -> Iterator[Sequence[str]]:
    by_map: dict[str, dict[str, Standing]] = {}
    for each in standings:
        by_map.setdefault(each.explainer, {})[each.measure] = each
    signs = {"higher": "↑", "lower": "↓"}
    yield (
        "map",
        *(f"{_short(line)} {signs.get(each.better or '', '')}" for line, each in network.built.items()),
        "s/map",
    )
    first = next(iter(network.measures))
    for name, found in sorted(by_map.items(), key=lambda each: _rank(each[1], first)):
        seconds = next((each.seconds for each in found.values() if each.seconds is not None), None)
        control = next(iter(found.values())).control
        yield (
            f"*{name}*" if control else f"`{name}`",
            *(_figure(found[line]) for line in network.measures),
            "" if seconds is None else f"{seconds:.2f}",
        )


def _rank(found: Mapping[str, Standing], measure: str) -> float:
    rank = found[measure].rank
    return float("inf") if rank is None else rank


def _figure(each: Standing) -> str:
    return "" if each.mean is None else f"{each.mean:.2f} [{each.low:.2f}, {each.high:.2f}]"


def _short(line: str) -> str:
    return spec.parse(line).key


def _table(rows: Iterator[Sequence[str]]) -> str:
    head, *body = [list(row) for row in rows]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in body)])
