"""The tables, one file each. A new one is imported and entered here."""

from __future__ import annotations

from benchmarks.table import Table
from benchmarks.tables import autorec, ms_ml100k, ncf_ml1m, prog_eval, recbole_ml100k, rmse_ml100k

TABLES: dict[str, Table] = {
    module.TABLE.name: module.TABLE
    for module in (ms_ml100k, recbole_ml100k, ncf_ml1m, prog_eval, rmse_ml100k, autorec)
}
