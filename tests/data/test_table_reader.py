"""Finding the columns of a table by their usual names."""

import pandas as pd
import pytest

from trine.data.frames import Frame
from trine.errors import DataError


def test_columns_are_found_by_their_usual_names_in_the_order_of_these():
    table = Frame({"Target": [1], "size": [2], "label": [3]})
    assert table.known_as(("label", "target")) == ["label", "Target"]
    assert table.column(None, ("target",)) == "Target"
    assert table.column("size") == "size"
    assert str(table) == "the mapping of columns"


def test_columns_that_are_missing_are_named():
    table = Frame({"size": [2]})
    with pytest.raises(
        DataError, match=r"the mapping of columns has no column 'sise': did you mean 'size'\?"
    ):
        table.column("sise")
    with pytest.raises(DataError, match=r"has no column named a or b: name it; its columns are size$"):
        table.column(None, ("a", "b"), "name it")
    with pytest.raises(DataError, match=r"has two columns named 'size': rename one"):
        Frame(pd.DataFrame([[1, 2]], columns=["size", "size"]))
