"""Names of icons that chatkit.js draws (reference: ``icons.py``)."""

from typing import Annotated, Final, TypeAlias

from msgspec import Meta

ICON_NAMES: Final = frozenset(
    [
        "agent",
        "analytics",
        "atom",
        "batch",
        "bolt",
        "book-open",
        "book-closed",
        "book-clock",
        "bug",
        "calendar",
        "chart",
        "check",
        "check-circle",
        "check-circle-filled",
        "chevron-left",
        "chevron-right",
        "circle-question",
        "clock",
        "compass",
        "confetti",
        "cube",
        "desktop",
        "document",
        "dot",
        "dots-horizontal",
        "dots-vertical",
        "empty-circle",
        "external-link",
        "globe",
        "keys",
        "lab",
        "images",
        "info",
        "lifesaver",
        "lightbulb",
        "mail",
        "map-pin",
        "maps",
        "mobile",
        "name",
        "notebook",
        "notebook-pencil",
        "page-blank",
        "phone",
        "play",
        "plus",
        "profile",
        "profile-card",
        "reload",
        "star",
        "star-filled",
        "search",
        "sparkle",
        "sparkle-double",
        "square-code",
        "square-image",
        "square-text",
        "suitcase",
        "settings-slider",
        "user",
        "wreath",
        "write",
        "write-alt",
        "write-alt2",
    ]
)
"""The built-in icons."""

IconName: TypeAlias = Annotated[
    str, Meta(pattern=rf"^(?:(?:{'|'.join(sorted(ICON_NAMES))})\Z|vendor:|lucide:)")
]
"""One of ``ICON_NAMES``, or any name that starts with ``vendor:`` or ``lucide:``."""
