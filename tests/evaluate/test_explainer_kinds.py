"""Each explainer is of one family; a set of one family gets an explainer of another."""

import pytest

from vidence.attribution import EXPLAINERS, GradCAM, Mean, Occlusion, Residual, Smooth
from vidence.evaluate.explainer_kinds import HIDING, differ, kind_of, with_another_kind


def test_what_lies_in_the_folder_of_perturbation_hides() -> None:
    perturbing = {made for made in EXPLAINERS.values() if ".perturb." in made.__module__}
    assert perturbing < set(HIDING)
    assert {made.__name__ for made in set(HIDING) - perturbing} == {"CounterfactualBox", "TemporalInfluence"}


def test_families() -> None:
    assert kind_of(GradCAM()) == "looks inside"
    assert kind_of(Occlusion()) == "hides and looks again"
    assert kind_of(Residual()) == "compares with what was expected"
    assert kind_of(Smooth(Occlusion())) == "hides and looks again"
    assert kind_of(Mean((Occlusion(), Occlusion(fill="blur")))) == "hides and looks again"
    assert kind_of(Mean((Occlusion(), GradCAM()))) is None


def test_what_is_of_several_families_agrees_with_none() -> None:
    assert differ(GradCAM(), Occlusion())
    assert not differ(GradCAM(), Smooth(GradCAM()))
    assert not differ(Mean((Occlusion(), GradCAM())), Occlusion())


@pytest.mark.parametrize(
    ("lines", "own", "asked"),
    [
        (("when-where",), "when-where", ("when-where", "occlusion")),
        (("residual",), "residual", ("residual", "occlusion")),
        (("occlusion",), "occlusion", ("occlusion", "gradient")),
        (("rise(n=8)", "lime"), "grad-cam", ("rise(n=8)", "lime", "grad-cam")),
        (("grad-cam", "rise(n=8)"), "when-where", ("grad-cam", "rise(n=8)")),
    ],
)
def test_another_family_is_added_only_where_there_is_one(
    lines: tuple[str, ...], own: str, asked: tuple[str, ...]
) -> None:
    assert with_another_kind(lines, own) == asked
