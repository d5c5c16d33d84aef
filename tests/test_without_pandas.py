"""Arrow as worker processes use it."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import ROOT

USED = """
import sys
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
{first}
table = pa.table({{"a": [1, 2, None], "b": ["x", None, "y"], "c": np.arange(3.0)}})
few = table.filter(pc.greater(table["a"], 1)).sort_by("a")
assert few["c"].to_numpy().tolist() == [1.0]
assert pa.scalar(1).as_py() == 1
assert np.asarray(table["c"].combine_chunks()).tolist() == [0.0, 1.0, 2.0]
sink = pa.BufferOutputStream()
pq.write_table(table, sink)
assert pq.ParquetFile(pa.BufferReader(sink.getvalue())).read().equals(table)
print("pandas" in sys.modules)
assert table.to_pandas()["b"].isna().tolist() == [False, True, False]
import pandas
assert pa.array(pandas.Series([1, 2])).to_pylist() == [1, 2]
assert pa.Table.from_pandas(table.to_pandas()).num_rows == 3
"""


def said(first: str) -> str:
    code = USED.format(first=first)
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def test_arrow_works_without_importing_pandas_and_with_it_where_it_is_asked_for() -> None:
    assert said("from fer_batch.without_pandas import arrow_without_pandas; arrow_without_pandas()") == "False\n"
    assert said("") == "True\n"  # else there is nothing to avoid


def test_where_pandas_is_there_already_it_stays() -> None:
    call = "import pandas; from fer_batch.without_pandas import arrow_without_pandas; arrow_without_pandas()"
    assert said(call) == "True\n"
