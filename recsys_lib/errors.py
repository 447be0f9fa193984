"""The errors this library raises on purpose. Each message names the value and the way out."""

from __future__ import annotations


class RecsysError(Exception):
    """Base class of every error that is raised on purpose here."""


class DataError(RecsysError, ValueError):
    """The data handed in cannot be used as it is: empty, duplicated, not finite, of mixed types, ..."""


class UnknownIdError(RecsysError, LookupError):
    """A user or item id that the model or the data set has never seen."""


class NotFittedError(RecsysError, RuntimeError):
    """The model was asked for something that it can only do after ``fit``."""


class NotSupportedError(RecsysError, TypeError):
    """This kind of model cannot do what was asked, for a reason that the message gives."""


class FileFormatError(RecsysError, ValueError):
    """A file is damaged, or was not written by this library."""


class ParquetUnavailableError(RecsysError, ImportError):
    """DuckDB, which reads Parquet files, is not installed."""
