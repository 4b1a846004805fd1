"""Parts of messages."""

from __future__ import annotations

from typing import Any


def first_few(values: Any, limit: int = 5) -> str:
    """Up to `limit` values for a message, with how many more there are where the values are counted."""
    listed = ", ".join(str(v) for v in list(values[:limit]))
    return listed + (f", ... ({len(values)} in all)" if len(values) > limit else "")
