"""From a recipe to a labeler on a device. What a form needs is imported where it is built."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from distill.labelers.answers import DeclaredLabeler, Tell, say_nothing
from distill.labelers.base import Labeler
from distill.labelers.calibration import CalibratedLabeler
from distill.labelers.ensemble import EnsembleLabeler
from distill.labelers.eszsl.labeler import EszslLabeler
from distill.labelers.kind import LabelerKind
from distill.labelers.merge import MergeLabeler
from distill.labelers.pooled import PooledLabeler
from distill.labelers.recipe import Recipe
from distill.labelers.runtime import Runtime
from distill.labelers.structure.labeler import StructureLabeler


def build_labeler(recipe: Recipe, device: str = "cpu", *, tell: Tell = say_nothing) -> Labeler:
    """Build the labeler, calibrated and ready on `device`; `tell` takes what a person should know
    of its first answer. Raises what its constructor raises."""
    if recipe.form == "ensemble":
        labeler = _build_ensemble(recipe, device, tell)
        return _calibrated(labeler, recipe)
    bare = _bare_labeler(recipe, device)
    return _declared(bare, recipe, tell)


def build_together(
    recipe: Recipe, companions: Sequence[Recipe], device: str, *, tell: Tell
) -> list[Labeler]:
    """Build a labeler, and others of the same model that find its pass made where they are given
    what it prepared. Raises what their constructors raise."""
    if not companions:
        return [build_labeler(recipe, device, tell=tell)]
    first = _bare_labeler(recipe, device)
    labelers = [_declared(first, recipe, tell)]
    for each in companions:
        assert each.ready is not None
        other = each.ready.build_companion(first, _runtime(each, device))
        labelers.append(_declared(other, each, tell))
    return labelers


def _declared(labeler: Labeler, recipe: Recipe, tell: Tell) -> Labeler:
    if recipe.outputs is not None:
        labeler = DeclaredLabeler(labeler, recipe.outputs, recipe.answers, tell=tell)
    return _calibrated(labeler, recipe)


def _calibrated(labeler: Labeler, recipe: Recipe) -> Labeler:
    if recipe.temperature == 1:
        return labeler
    return CalibratedLabeler(labeler, recipe.temperature)


def _bare_labeler(recipe: Recipe, device: str) -> Labeler:
    if recipe.ready is not None:
        return _build_kind(recipe.ready, recipe, device)
    if recipe.form == "custom":
        assert recipe.source is not None
        labeler_class = recipe.source.load(recipe.name)
        labeler: Labeler = labeler_class()
        return labeler
    if recipe.form in _LOADED:
        form = recipe.form
        return _LOADED[form](recipe)
    if recipe.form == "teachers":
        from distill.labelers.teachers import TeachersLabeler

        return TeachersLabeler.load(recipe, device)
    assert recipe.record is not None
    if recipe.form == "eszsl":
        return EszslLabeler.load(recipe.folder, recipe.record)
    # imported here, since the other forms need no torch
    from distill.labelers.network import NetworkLabeler

    return NetworkLabeler.load(
        recipe.folder,
        recipe.record,
        code=recipe.code,
        device=device,
        precision=recipe.precision,
        head=recipe.head,
    )


def _build_ensemble(recipe: Recipe, device: str, tell: Tell) -> Labeler:
    assert recipe.outputs is not None
    labelers = []
    for number, member in enumerate(recipe.members):
        tell_of_member = partial(_tell_of_member, tell, f"member {number} ({member.name})")
        labeler = build_labeler(member.recipe, device, tell=tell_of_member)
        labelers.append(labeler)
    return EnsembleLabeler(recipe.members, labelers, recipe.outputs, recipe.width)


def _tell_of_member(tell: Tell, member: str, note: str) -> None:
    tell(f"{member}: {note}")


def _build_kind(kind: LabelerKind, recipe: Recipe, device: str) -> Labeler:
    kind.require_libraries()
    if kind.uses_torch:
        import torch

        # what is computed while it is built must not depend on compute.cpus
        torch.set_num_threads(1)
    runtime = _runtime(recipe, device)
    return kind.build(runtime)


def _runtime(recipe: Recipe, device: str) -> Runtime:
    return Runtime(
        device, recipe.precision, recipe.files, recipe.source, recipe.columns, recipe.outputs
    )


# labelers without torch that a recipe alone describes, by its form
_LOADED: dict[str, Callable[[Recipe], Labeler]] = {
    "merge": MergeLabeler.load,
    "pooled": PooledLabeler.load,
    "structure": StructureLabeler.load,
}


def on_one_thread() -> None:
    """Set torch to one thread, where it is loaded: other numbers may change the last bits."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def require_libraries_of(recipe: Recipe) -> None:
    """Refuse a recipe where a library of one of its labelers is not installed. Raises
    MissingExtraError with the line that installs it."""
    for kind in _kinds(recipe):
        kind.require_libraries()


def libraries_of(recipe: Recipe) -> list[str]:
    """Return the installed libraries that decide its outputs, beside torch and numpy."""
    libraries: dict[str, None] = {}
    for kind in _kinds(recipe):
        names = kind.libraries.values()
        libraries |= dict.fromkeys(names)  # once each, in order: they are stored with the labels
    return list(libraries)


def _kinds(recipe: Recipe) -> Iterator[LabelerKind]:
    for part in recipe.parts():
        if part.ready is not None:
            yield part.ready
