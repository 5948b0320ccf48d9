"""``vidence review``: what waits for a person, and what a person says of it."""

from __future__ import annotations

from pathlib import Path

import click

from vidence.cli.options import key_option
from vidence.record.decision import VERDICTS, Review, Verdict
from vidence.record.entries import Entry
from vidence.record.store import Store
from vidence.review import wording
from vidence.review.page import case
from vidence.review.queue import current, waiting


@click.command("review")
@click.argument("store", type=click.Path(path_type=Path))
@click.argument("record", required=False)
@click.argument("verdict", required=False, type=click.Choice(VERDICTS))
@click.option("--by", "reviewer", metavar="NAME", help="Who judges; a pseudonym will do.")
@click.option("--reason", default="", metavar="TEXT", help="Why, in a sentence: what was seen.")
@click.option("--with", "second", metavar="NAME", help="A second person who judges the same.")
@click.option("--objection", "contest", metavar="TEXT", help="Reference of an objection that this answers.")
@key_option
def command(
    store: Path,
    record: str | None,
    verdict: Verdict | None,
    reviewer: str | None,
    reason: str,
    second: str | None,
    contest: str | None,
    key: bytes | None,
) -> None:
    """Judge RECORD (the first digits of its id suffice); without a verdict, show it; without a record, list what waits.

    Waiting are the alarms that nobody has confirmed or overridden, the strongest first. A judgement is added to the
    store as a row of its own that names the record, the person and the reason, and is never edited: a later one
    supersedes it, and `vidence report` shows both. Nothing is added to a store that `vidence verify` finds altered.

    \b
    vidence review why/records.db
    vidence review why/records.db 3fa91c
    vidence review why/records.db 3fa91c override --by anna --reason "a cyclist who was let in"
    """
    if verdict is None and (reviewer or reason or second or contest):
        raise click.UsageError(f"a judgement needs a record and a verdict after it: {', '.join(VERDICTS)}.")
    Store.open(store).verify().required()
    held = Store.open(store, key)
    if record is None:
        click.echo(_waiting(held))
        return
    entry = held.get(record)
    entry.readable()
    if verdict is not None:
        if reviewer is None:
            raise click.UsageError("a judgement is a person's: say whose it is with --by NAME.")
        held.review(
            Review(record=entry.id, reviewer=reviewer, verdict=verdict, reason=reason, second=second, contest=contest)
        )
    click.echo("\n".join(_told(held.get(entry.id))))
    if verdict is not None:
        count, head = held.head()
        click.echo(f"records   {store}: {count} rows, head {head}")


def _waiting(store: Store) -> str:
    shown = current(list(store.records()))
    found = waiting(shown)
    judged = wording.count(sum(bool(entry.reviews) for entry in shown), "record")
    if not found:
        return f"No alarm waits for a person; {judged} judged."
    said = wording.count(len(found), "alarm waits", "alarms wait")
    return "\n".join(
        [f"{said} for a person, the strongest first; {judged} judged.", *(f"  {_line(entry)}" for entry in found)]
    )


def _line(entry: Entry) -> str:
    shown = case(entry, folder=None)
    clip, limit = shown.record.detection.clip, wording.number(shown.record.detection.threshold)
    left = f"; {wording.verdict(entry.in_force)}: {entry.in_force.reason}" if entry.in_force else ""
    return f"{entry.id[:12]}  {clip.source}  {shown.when}  {shown.bar.text}, an alarm above {limit}{left}"


def _told(entry: Entry) -> list[str]:
    """The case in words, and what was said of it, the last first."""
    shown = case(entry, folder=None)
    lines = [
        f"record    {entry.id}",
        f"source    {shown.record.detection.clip.source}, {shown.when}",
        f"found     {shown.title}; the score is {shown.certainty}: {shown.bar.text}, where an alarm starts above "
        f"{wording.number(shown.record.detection.threshold)}",
    ]
    lines += [f"why       {each.sentence} ({each.explainer})" for each in shown.record.evidence]
    lines += [f"picture   {picture.file}" for each in shown.record.evidence for picture in each.pictures]
    for number, each in enumerate(reversed(entry.reviews)):
        said = f"a judgement was erased: {each.erased}"
        if each.review is not None:
            said = f"{wording.verdict(each.review)}: {each.review.reason}"
        lines.append(f"{'before' if number else 'judged':10}{wording.moment(each.made_at)}, {said} [{each.id[:12]}]")
    return lines if entry.reviews else [*lines, "judged    not yet"]
