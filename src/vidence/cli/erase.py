"""``vidence erase``: take a record's or a judgement's content out of a store, so that the chain still holds."""

from __future__ import annotations

from pathlib import Path

import click

from vidence.cli.options import key_option


@click.command("erase")
@click.argument("store", type=click.Path(path_type=Path))
@click.argument("which", metavar="ID")
@click.option("--reason", required=True, metavar="TEXT", help="Why; it stays in the store, so name nobody in it.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@key_option
def command(store: Path, which: str, reason: str, yes: bool, key: bytes | None) -> None:
    """Erase the record or judgement ID (its first digits suffice): its content, and the files that only it lists.

    Its digest stays, with a row that says why, so that `vidence verify` finds the store intact. It cannot be undone. A
    report written before still shows it, and so does scores.csv: write the report again. Judgements of an erased record
    stay, and are erased one by one. Nothing is added to a store that `vidence verify` finds altered.

    \b
    vidence erase why/records.db 3fa91c --reason "asked by the person shown"
    """
    from vidence.record.store import Store

    Store.open(store).verify().required()
    held = Store.open(store, key)
    found = held.named(which)
    if not yes:
        click.confirm(f"Erase {found} from {store}? It cannot be undone.", abort=True)
    for name in held.erase(found, reason):
        click.echo(_delete(store.parent, name))
    stay = [each.id for entry in held.records() if entry.id == found for each in entry.reviews if each.review]
    click.echo("".join(f"stays     judgement {each}\n" for each in stay), nl=False)
    count, head = held.head()
    click.echo(f"erased    {found}\nrecords   {store}: {count} rows, head {head}")


def _delete(folder: Path, name: str) -> str:
    """Remove one file, and its folder if nothing else is in it."""
    path = folder / name
    if not path.parent.resolve().is_relative_to(folder.resolve()):
        return f"left      {name}: it lies outside the store's folder"
    if not path.is_file():
        return f"missing   {name}"
    path.unlink()
    for above in path.parents:
        if above == folder or any(above.iterdir()):
            break
        above.rmdir()
    return f"deleted   {name}"
