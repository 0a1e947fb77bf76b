"""From a recipe to a labeler. Each kind is imported only where it is built."""

from __future__ import annotations

from distill.labelers.base import Labeler, Recipe


def build_labeler(recipe: Recipe, device: str = "cpu") -> Labeler:
    """The labeler, ready on `device`. Raises what its constructor raises."""
    if recipe.form == "custom":
        assert recipe.source is not None
        made: Labeler = recipe.source.load(recipe.name)()
        return made
    assert recipe.record is not None
    if recipe.form == "eszsl":
        from distill.labelers.eszsl import EszslLabeler

        return EszslLabeler.load(recipe.folder, recipe.record)
    from distill.labelers.network import NetworkLabeler

    return NetworkLabeler.load(recipe.folder, recipe.record, device=device, precision=recipe.precision)
