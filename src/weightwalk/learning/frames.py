"""pandas, where a table is wanted as a data frame; a sentence where it is not installed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from weightwalk.errors import UsageError


def needs_pandas() -> Any:
    """The module.

    Raises:
        UsageError: It is not installed.
    """
    try:
        return import_module("pandas")
    except ImportError:
        raise UsageError('A data frame needs pandas: pip install "weightwalk[learning]".') from None
