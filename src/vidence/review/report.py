"""One self-contained HTML file that a person can read: what was found, when, how sure, where the model looked, and why.

No script, nothing loaded from anywhere: pictures and style lie in the file, and the page forbids itself the rest.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from vidence.aside import written_aside
from vidence.record.store import Store
from vidence.review import short_check, wording
from vidence.review.page import Page, page

MOST = 40  # alarms shown in full: each carries pictures
TEMPLATES = Path(__file__).parent / "templates"


def write_report(
    store: Store | str | Path,
    out: str | Path,
    *,
    records: Sequence[str] = (),
    pictures: str | Path | None = None,
    head: str | None = None,
    most: int = MOST,
) -> Path:
    """Write the store's records (or those named by ids or unique prefixes) to the HTML file `out`, and return it.

    Pictures are read from the folder `pictures`, by default the store's, and checked against their digests. `head` is a
    digest noted earlier that the chain must still hold. At most `most` alarms, the strongest, are shown in full.
    """
    held = store if isinstance(store, Store) else Store.open(store)
    entries = [held.get(each) for each in records] if records else list(held.records())
    folder = held.path.parent if pictures is None else Path(pictures)
    text = html(page(entries, held.verify(head), folder=folder, most=most))
    with written_aside(out) as aside:
        aside.write_text(text, encoding="utf-8")
    return Path(out)


def html(shown: Page) -> str:
    """The page as text."""
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    allowed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return environment().get_template("report.html").render(page=shown, style=style, style_hash=allowed)


@cache
def environment() -> Environment:
    """What fills the templates: text is escaped, a name that is missing is an error."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["words"] = wording
    made.globals["claim"] = short_check.CLAIM
    return made
