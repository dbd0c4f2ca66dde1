"""Sources: what an annotation or a task points to (reference: ``types.py``, "SOURCE TYPES")."""

from typing import Any, Literal, TypeAlias

from bobbin_protocol.icons import IconName
from bobbin_protocol.wire import Wire, always


class SourceBase(Wire):
    title: str
    description: str | None = None
    timestamp: str | None = None
    """Free text, shown as it is."""
    group: str | None = None


class FileSource(SourceBase, tag="file"):
    filename: str


class URLSource(SourceBase, tag="url"):
    url: str
    attribution: str | None = None


class EntitySource(SourceBase, tag="entity"):
    """Something of the host application, drawn and opened by its callbacks."""

    id: str
    icon: IconName | None = None
    label: str | None = None
    """Shown beside the icon in the hover header, when the host draws no preview."""
    inline_label: str | None = None
    """Shown in the text instead of the icon."""
    interactive: bool = always(default=False)
    """Whether clicks reach the host."""
    data: dict[str, Any] = always(dict)
    """Given to the host's callbacks."""
    preview: Literal["lazy"] | None = None
    """Deprecated by the reference and ignored by clients."""


Source: TypeAlias = URLSource | FileSource | EntitySource
