"""``vidence recommend``: which explainer a detector should use when nothing is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vidence.cli.options import comparing_options

if TYPE_CHECKING:
    from vidence.evaluate.recommendation import Placed, Recommendation


@click.command("recommend")
@click.argument("detector", type=click.Path(path_type=Path))
@click.argument("data", metavar="DATASET")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for what is measured, in which a stopped one goes on [default: DETECTOR/recommendation].",
)
@comparing_options
def command(detector: Path, data: str, out: Path | None, **asked: Any) -> None:
    """Choose the default explainer of the detector in the folder DETECTOR on clips of the test part of DATASET.

    Among explainers whose map changes when the network's weights are random, the one that beats most other maps by
    insertion, by the strongest frame (where the time is known) and by the mass inside the mask (where there is one),
    by the lower end of its interval; near ties go to the cheaper. It is chosen on half of the clips. Only if it beats
    every control on the other half too, its line and figures are written into the detector's JSON, and `vidence
    explain` uses it from then on. The weights stay as they are.

    \b
    vidence recommend detector clips.csv --group source_video
    vidence recommend detector ucsd-ped2 --root ped2 --clips 100 --explainer gradient --explainer lrp
    """
    from vidence.cli.comparing import trial
    from vidence.evaluate.leaderboard import FEWEST
    from vidence.evaluate.recommendation import CRITERIA, RANDOMISED, recommend, recommendation_facts
    from vidence.models.detector import RECOMMENDED
    from vidence.models.detector_folder import add_fact
    from vidence.pipeline import default_score

    place = detector / "recommendation" if out is None else out
    work = trial(detector, data, measures=(*CRITERIA, RANDOMISED), out=place, **asked)
    if len(work.places) < 2 * FEWEST:
        click.echo(
            f"note: {len(work.places)} clips recommend nothing: each half needs {FEWEST}. See --clips.", err=True
        )
    for line, reason in work.left_out.items():
        click.echo(f"note: {line} is left out: {reason}", err=True)
    rows = work.run()
    found = recommend(rows, work.asked.measures, groups=work.groups, seed=work.asked.seed)
    click.echo(_table("chosen on", found.clips[0], found.tried))
    click.echo(_table("told by", found.clips[1], found.told))
    click.echo(_verdict(found))
    if found.line is None:
        return
    model = work.asked.detector
    facts = recommendation_facts(
        found,
        rows,
        score=asked["score"] or default_score(model),
        explained="the logit of each clip's own class" if work.asked.score is None else work.asked.score[0],
        weights=model.weights_digest,
        seed=work.asked.seed,
    )
    add_fact(detector, RECOMMENDED, {**facts, "data": Path(data).name})
    click.echo(f"written into {detector / 'detector.json'}: `vidence explain` uses it when no --explainer is given.")


def _table(title: str, clips: int, held: tuple[Placed, ...]) -> str:
    lines = [f"{title} {clips} clips", f"  {'map':44} {'maps beaten':20} {'without weights':16} passes"]
    for each in held:
        name = f"({each.explainer})" if each.control else each.explainer
        share = f"{each.beaten:.2f} [{each.low:.2f}, {each.high:.2f}]"
        alike = "" if each.alike is None else f"alike {each.alike:.2f}" + ("" if each.passed else ", out")
        lines.append(f"  {name:44} {share:20} {alike:16} {each.passes or '-'}")
    return "\n".join(lines)


def _verdict(found: Recommendation) -> str:
    by = ", ".join(found.criteria)
    if found.chosen is None:
        return f"\nNothing is recommended: no explainer has a map that depends on the weights, measured by {by}."
    if found.line is None:
        return (
            f"\nNothing is recommended, and nothing was written: {found.chosen} was the best by {by}, but on the other "
            f"clips it was not shown to beat {', '.join(found.unbeaten)}. More clips may tell."
        )
    return f"\n{found.line} is recommended: it beats every control on clips that had no part in the choice ({by})."
