"""Every form of a student that reads tokens, and in words which there are and why another is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from distill.models.encoder_module import EncoderModule
from distill.models.static_module import StaticModule
from distill.stages.export.forms import Form, Refused, TextStudent
from distill.stages.export.model2vec_folder import model2vec_form
from distill.stages.export.sentence_folder import sentence_form
from distill.stages.export.transformers_folder import transformers_form

# by the name of the folder
_MAKERS: Mapping[str, Callable[[TextStudent, str, str], Form | Refused]] = {
    "transformers": transformers_form,
    "sentence_transformers": sentence_form,
    "model2vec": model2vec_form,
}
_CUT = (
    "These libraries cut the end of a longer text off, of which this student reads head and tail;"
    ' taught with `long_texts = "head"`, it reads what they do.'
)


def forms_of(student: TextStudent) -> tuple[list[Form], list[Refused]]:
    """Return the forms of a student, and those that it cannot have; none of both where it reads no
    tokens. Of several heads each has folders of its own."""
    if not isinstance(student.network.trunk, EncoderModule | StaticModule):
        return [], []
    forms = []
    refused: dict[Refused, None] = {}
    heads = list(student.heads)
    for head in heads:
        for name, make in _MAKERS.items():
            folder = name if len(heads) == 1 else f"{name}_{head}"
            made = make(student, head, folder)
            if isinstance(made, Form):
                forms.append(made)
            else:
                refused[made] = None
    return forms, list(refused)


def describe_forms(
    forms: Sequence[Form], refused: Sequence[Refused], *, cuts_middle: bool = False
) -> str:
    """Return what the card says of them; nothing where there is none to speak of. `cuts_middle`
    says that the student reads a long text's head and tail."""
    if not forms and not refused:
        return ""
    lines = ["", "## Elsewhere", ""]
    lines += [f"- `{form.folder}/`, head {form.head}: {form.library} loads it." for form in forms]
    lines += [f"- Not for {each.library}: {each.why}." for each in refused]
    if forms and cuts_middle:
        lines += ["", _CUT]
    text = "\n".join(lines)
    return text + "\n"
