"""Items as the store hands them out and takes them in."""

from __future__ import annotations

from typing import Any, TypeAlias

StoredItem: TypeAlias = dict[str, Any]
"""One thread item as its JSON object.

It stays a plain object so that fields a newer service wrote survive an older one.
The store checks it against ``bobbin_protocol.items.ThreadItem`` on every write.
"""
