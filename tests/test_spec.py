"""Spec lines: what is read, what is refused, and that a written line reads back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidence.errors import SpecError
from vidence.spec import Spec, build, line, parse


@dataclass(frozen=True)
class Leaf:
    n: int = 1
    name: str | None = None
    class_: str | int | None = None
    levels: tuple[float, ...] = ()


@dataclass(frozen=True)
class Wrap:
    inner: Any = Leaf()
    n: int = 8


TABLE: dict[str, type] = {"leaf": Leaf, "grad-cam++": Wrap, "3d": Leaf}


def test_a_line_reads_as_key_arguments_and_nested_specs() -> None:
    assert parse("grad-cam++(leaf(n=-2), n=1e3)") == Spec(
        "grad-cam++", (Spec("leaf", (), (("n", -2),)),), (("n", 1e3),)
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("leaf", Leaf()),
        ("leaf()", Leaf()),
        ("3d", Leaf()),
        (" leaf ( n = 3 ) ", Leaf(n=3)),
        ("leaf(class='no fight', levels=[.3, 0.5])", Leaf(class_="no fight", levels=(0.3, 0.5))),
        ("leaf(name='it\\'s')", Leaf(name="it's")),
        ("leaf(levels=(1,))", Leaf(levels=(1,))),
        ("grad-cam++(inner=leaf(n=2))", Wrap(Leaf(2))),
        ("leaf(name=None)", Leaf()),
    ],
)
def test_lines_build_objects(text: str, value: object) -> None:
    assert build(text, TABLE) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "ends too early"),
        ("leaf(", "ends too early"),
        ("leaf(n=1", "ends too early"),
        ("leaf)", "unexpected"),
        ("leaf(n=1, n=2)", "twice"),
        ("leaf(n=1, 2)", "without a name"),
        ("Leaf", "not a key"),
        ("leaf(name=Hello)", "neither a literal nor a key"),
        ("leaf(n=__import__('os'))", "neither a literal nor a key"),
        ("leaf(n=1+1)", "neither|expected"),
        ("leaf; leaf", "cannot read"),
        ("leaf(nn=1)", "no setting 'nn'"),
        ("leef", r"unknown key 'leef'; known are: [^']*\.$"),
        ("leaf(name=ks)", "unknown key 'ks'.* goes in quotes: 'ks'"),
        ("leaf(1, 'b', 3, [], 5)", "cannot be built"),
        ("leaf(n=2.5)", "n must be a whole number; got 2.5"),
        ("leaf(n=True)", "must be a whole number; got True"),
        ("leaf(1, 2)", "name must be text or None; got 2"),
        ("leaf(class=[1])", "class must be text or a whole number or None"),
        ("leaf(levels=2)", "must be a sequence, each a number; got 2"),
        ("leaf(levels=[1, 'b'])", "must be a sequence, each a number"),
        ("grad-cam++(grad-cam++(grad-cam++(grad-cam++(leaf))))", "deeper"),
    ],
)
def test_bad_lines_are_refused_with_the_part_that_is_wrong(text: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        build(text, TABLE)


@given(
    st.builds(
        Wrap,
        st.builds(
            Leaf,
            st.integers(-999, 999),
            st.none() | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])),
            st.none() | st.integers(0, 9) | st.sampled_from(["no fight", 'a"b', "it's"]),
            st.lists(st.floats(-1, 1), max_size=3).map(tuple),
        ),
    )
)
def test_a_written_line_reads_back(value: Wrap) -> None:
    assert build(line(value, TABLE), TABLE) == value


def test_only_what_differs_from_the_defaults_is_written() -> None:
    assert line(Wrap(Leaf(n=2)), TABLE) == "grad-cam++(inner=leaf(n=2))"


def test_arrays_never_go_into_a_line() -> None:
    with pytest.raises(SpecError, match="a setting must be"):
        line(Leaf(n=[1]), TABLE)  # type: ignore[arg-type]
