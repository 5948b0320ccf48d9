"""`vidence review`, `erase` and `--key`: a person's word is added, nothing is edited, and all of it may be signed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from vidence.record.entries import Entry
from vidence.record.store import Store

Call = Callable[..., Result]
JUDGE = ("--by", "anna", "--reason", "a cyclist <who> was let in")


def entries(folder: Path) -> list[Entry]:
    return list(Store.open(folder / "records.db").records())


def strongest(folder: Path) -> Entry:
    return max(entries(folder), key=lambda entry: entry.readable().detection.value)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    (tmp_path / "signing.key").write_bytes(b"k" * 32)
    return tmp_path / "signing.key"


def test_what_waits_is_listed_until_it_is_judged(call: Call, why: Path) -> None:
    store, first = why / "records.db", strongest(why)
    done = call("review", store)
    assert done.output.startswith("2 alarms wait for a person, the strongest first; 0 records judged.")
    assert done.output.splitlines()[1].split()[0] == first.id[:12]
    assert call("review", store, first.id[:8], "unclear", "--by", "anna", "--reason", "too dark").exit_code == 0
    assert "Left open by anna: too dark" in call("review", store).output
    for entry in entries(why):
        assert call("review", store, entry.id[:8], "confirm", "--by", "ben", "--reason", "seen").exit_code == 0
    assert call("review", store).output == "No alarm waits for a person; 2 records judged.\n"


def test_a_judgement_is_a_row_of_its_own_and_shown(call: Call, why: Path) -> None:
    store, first = why / "records.db", strongest(why)
    done = call("review", store, first.id[:12], "override", *JUDGE, "--with", "ben", "--objection", "letter 4")
    assert done.exit_code == 0, done.output
    assert f"record    {first.id}" in done.output
    assert "Overruled by anna with ben: a cyclist <who> was let in" in done.output
    assert call("review", store, first.id[:12], "confirm", "--by", "carl", "--reason", "seen").exit_code == 0
    shown = call("review", store, first.id[:12]).output
    assert re.search(r"judged .* Confirmed by carl: seen .*\n(why|before) .* Overruled by anna with ben", shown)
    assert call("verify", store).exit_code == 0
    assert Store.open(store).head()[0] == 4
    assert Store.open(store).get(first.id).readable() == first.readable()
    assert call("report", store, "--out", why / "report.html").exit_code == 0
    page = (why / "report.html").read_text()
    assert "a cyclist &lt;who&gt; was let in (objection letter 4)" in page
    assert re.search(r"Confirmed by carl</strong>, \d{4}-\d\d-\d\d, \d\d:\d\d UTC: seen", page)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("0000", "confirm", *JUDGE), 1, "exactly one record id must start with 0000; found: none"),
        (("xyz", "confirm", *JUDGE), 1, "at least four digits"),
        (("{id}", "override", "--by", "anna"), 1, "must give its reason; got none"),
        (("{id}", "override", "--by", "anna", "--reason", "  "), 1, "must give its reason; got none"),
        (("{id}", "override", "--by", " ", "--reason", "seen"), 1, "must name its reviewer"),
        (("{id}", "override", "--reason", "seen"), 2, "--by NAME"),
        (("{id}", "deny", *JUDGE), 2, "'deny' is not one of"),
        (("{id}", *JUDGE), 2, "a record and a verdict"),
        (JUDGE, 2, "a record and a verdict"),
    ],
)
def test_a_judgement_that_says_too_little_is_refused(
    call: Call, explained: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    before = Store.open(explained / "records.db").head()
    done = call("review", explained / "records.db", *(each.format(id=strongest(explained).id[:12]) for each in words))
    assert done.exit_code == code
    assert said in done.stderr
    assert Store.open(explained / "records.db").head() == before


@pytest.mark.parametrize("words", [("review", "{id}", "confirm", *JUDGE), ("erase", "{id}", "--reason", "x", "--yes")])
def test_nothing_is_added_to_a_broken_chain(
    call: Call, why: Path, damage: Callable[..., None], words: tuple[str, ...]
) -> None:
    last = entries(why)[-1].id
    damage(why, "update chain set made_at = 'x' where position = 1")
    command, *rest = (each.format(id=last) for each in words)
    done = call(command, why / "records.db", *rest)
    assert done.exit_code == 1
    assert "a store must hold together before anything is added; " in done.stderr
    assert len(entries(why)[-1].reviews) == 0


def test_an_erased_record_leaves_its_digest_and_no_file_that_is_its_own(call: Call, why: Path) -> None:
    store = why / "records.db"
    first, second = entries(why)
    listed = [set(each.readable().files) for each in (first, second)]
    assert call("review", store, first.id, "confirm", *JUDGE).exit_code == 0
    refused = call("erase", store, first.id[:12], "--reason", "asked")  # nobody says yes
    assert refused.exit_code == 1
    assert entries(why)[0].erased is None
    done = call("erase", store, first.id[:12], "--reason", "asked", "--yes")
    assert done.exit_code == 0, done.output
    said = re.findall(r"stays     judgement ([0-9a-f]{64})", done.output)
    assert said == [first_review.id for first_review in entries(why)[0].reviews]
    assert all((why / name).is_file() for name in listed[1])
    assert call("erase", store, said[0], "--reason", "asked", "--yes").exit_code == 0
    assert call("erase", store, second.id, "--reason", "asked", "--yes").exit_code == 0
    assert not any((why / name).exists() for name in listed[0] | listed[1])
    assert [path.name for path in why.iterdir() if path.is_dir()] == []
    assert call("verify", store).exit_code == 0
    assert b"cyclist" not in store.read_bytes()
    assert "was erased" in call("erase", store, first.id, "--reason", "asked", "--yes").stderr
    assert "erased (asked)" in call("review", store, first.id, "confirm", *JUDGE).stderr


def test_a_file_outside_the_folder_is_not_deleted(call: Call, why: Path, tmp_path: Path) -> None:
    first = entries(why)[0]
    name = next(name for name in first.readable().files if name.endswith("maps.npz"))
    folder = (why / name).parent
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    for entry in entries(why):
        done = call("erase", why / "records.db", entry.id, "--reason", "asked", "--yes")
    assert f"left      {name}: it lies outside the store's folder" in done.output
    assert (tmp_path / "elsewhere" / "maps.npz").is_file()


def test_what_the_commands_sign_verifies_with_the_key_only(
    call: Call, quiet_film: Path, detector_folder: Path, tmp_path: Path, key: Path
) -> None:
    out = tmp_path / "signed"
    detector = ("--detector", detector_folder, "--out", out, "--key", key)
    assert call("score", quiet_film, *detector, "--explain", "off").exit_code == 0
    assert call("explain", quiet_film, *detector, "--to", "0.1", "--explainer", "gradient").exit_code == 0
    store, first = out / "records.db", strongest(out)
    assert "signed" in call("review", store, first.id, "confirm", *JUDGE).stderr
    assert call("review", store, first.id, "confirm", *JUDGE, "--key", key).exit_code == 0
    assert call("erase", store, entries(out)[-1].id, "--reason", "asked", "--yes", "--key", key).exit_code == 0
    done = call("verify", store, "--key", key)
    assert done.exit_code == 0, done.output
    assert "PROBLEM" not in done.output
    report = call("report", store, "--key", key, "--out", out / "report.html")
    assert report.exit_code == 0
    assert "Who holds the key can rewrite the chain" in (out / "report.html").read_text()
    (tmp_path / "other.key").write_bytes(b"o" * 32)
    other = call("verify", store, "--key", tmp_path / "other.key")
    assert other.exit_code == 1
    assert "its signature is not by this key" in other.output
    refused = call("review", store, first.id, "override", *JUDGE, "--key", tmp_path / "other.key")
    assert "signed with another key" in refused.stderr


@pytest.mark.parametrize("content", [b"", b"short"])
def test_a_key_that_can_be_guessed_is_refused(call: Call, explained: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "weak.key").write_bytes(content)
    done = call("review", explained / "records.db", "--key", tmp_path / "weak.key")
    assert done.exit_code == 1
    assert "at least 16 bytes" in done.stderr
