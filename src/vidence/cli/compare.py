"""``vidence compare``: which explainer's maps can be trusted, of one detector on one labelled set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vidence.cli.options import comparing_options, out_option


@click.command("compare")
@click.argument("detector", type=click.Path(path_type=Path))
@click.argument("data", metavar="DATASET")
@out_option
@click.option(
    "--measure", "measures", multiple=True, metavar="SPEC", help="May be repeated [default: those that cost little]."
)
@comparing_options
def command(detector: Path, data: str, out: Path, measures: tuple[str, ...], **asked: Any) -> None:
    """Compare explainers of the detector in the folder DETECTOR on clips of the test part of DATASET.

    DATASET is as in `vidence evaluate`. Every map is measured beside maps that look at nothing inside the network:
    noise, a centred spot, the frame difference and, of autoencoders, the residual. Explained is, of a classifier, the
    logit of each clip's own class. Clips are drawn by the seed, a quarter of them without an event.

    Writes measures.csv (a row per clip, map and measure), leaderboard.csv, agreement.csv and comparison.html. The same
    command goes on where a stopped one was; with more explainers or measures it adds those.

    \b
    vidence compare detector clips.csv --group source_video --out compared
    vidence compare detector ucsd-ped2 --root ped2 --explainer gradient --explainer lrp --clips 100 --out compared
    """
    from vidence.cli.comparing import trial
    from vidence.evaluate.comparison_defaults import MEASURES_COMPARED
    from vidence.evaluate.comparison_files import comparison_facts, write_comparison
    from vidence.evaluate.comparison_pictures import chosen, example_name
    from vidence.review.comparison_page import write_comparison_page

    work = trial(detector, data, measures=measures or MEASURES_COMPARED, out=out, **asked)
    for line, reason in work.left_out.items():
        click.echo(f"note: {line} is left out: {reason}", err=True)
    rows = work.run()
    facts = comparison_facts(
        rows,
        work.asked,
        data=Path(data).name,
        asked_clips=asked["clips"],
        not_compared=dict(work.left_out),
        examples=[example_name(place) for place in chosen(work.places)],
    )
    standings = write_comparison(out, rows, work.asked, work.maps, facts)
    page = write_comparison_page(out)
    click.echo(_told(standings))
    for line, said in dict.fromkeys((each.explainer, each.refused) for each in standings if each.failed):
        click.echo(f"warning: {line} failed, which is no finding about it: {said}", err=True)
    click.echo(f"\nwritten  {page}")


def _told(standings: Any) -> str:
    """Of each measure the maps from the best mean place down; controls are in brackets."""
    lines = []
    for measure in dict.fromkeys(each.measure for each in standings):
        held = [each for each in standings if each.measure == measure]
        lines.append(f"{measure} ({held[0].better} is better)" if held[0].better != "neither" else measure)
        for each in held:
            name = f"({each.explainer})" if each.control else each.explainer
            if each.mean is None:
                lines.append(f"  {name:44} {each.refused or 'says nothing of these clips'}")
                continue
            place = "" if each.rank is None else f"place {each.rank:4.1f}"
            figures = f"{each.mean:9.3g}  [{each.low:.3g}, {each.high:.3g}]  {place}  {each.n} clips of {each.sources}"
            lines.append(f"  {name:44} {figures}{f' (none of {each.refused})' if each.refused else ''}")
    return "\n".join(lines)
