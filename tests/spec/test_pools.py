"""How files are written is checked with the job, before a file is opened."""

import pytest
from pydantic import ValidationError

from distill.spec.pools import CsvDialect, Pool


@pytest.mark.parametrize(
    ("dialect", "said"),
    [
        ({"delimiter": ";;"}, "delimiter"),
        ({"delimiter": "a"}, "delimiter"),
        ({"delimiter": "\n"}, "delimiter"),
        ({"quote": "ä"}, "quote"),
        ({"delimiter": '"'}, "three different letters"),
        ({"escape": '"'}, "three different letters"),
        ({"encoding": "base64"}, "'base64' is none that Python knows"),
        ({"encoding": "utf-99"}, "'utf-99' is none that Python knows"),
        ({"header": ("a", "a")}, "names a column twice"),
        ({"header": ()}, "header"),
        ({"escape": "\\", "nulls": ("\\N",)}, "begin with the escape"),
        ({"seperator": ";"}, "seperator"),
    ],
)
def test_a_dialect_that_no_file_can_have_is_taken(dialect, said):
    with pytest.raises(ValidationError, match=said):
        CsvDialect(**dialect)


def test_usual_ways_to_write_are_refused():
    for delimiter in ",;\t|\x01:~ ":
        CsvDialect(delimiter=delimiter, quote="'", escape="\\", nulls=("", "NA"))
    CsvDialect(quote="", nulls=("\\N",), encoding="latin-1")


def test_a_dialect_of_csv_is_said_of_another_format():
    with pytest.raises(ValidationError, match="format = 'parquet'; drop one"):
        Pool(path="pool", format="parquet", csv=CsvDialect(delimiter=";"))
