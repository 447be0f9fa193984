"""The tables, one file each. A new one is imported and entered here."""

from __future__ import annotations

from benchmarks.table import Table
from benchmarks.tables import ms_ml100k, ncf_ml1m, recbole_ml100k, rmse_ml100k

TABLES: dict[str, Table] = {
    table.name: table for table in (ms_ml100k.TABLE, recbole_ml100k.TABLE, ncf_ml1m.TABLE, rmse_ml100k.TABLE)
}
