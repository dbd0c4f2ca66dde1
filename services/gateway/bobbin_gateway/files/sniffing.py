"""What a file is, by its own bytes: what its sender says of it is a claim that they must bear out.

Only images, PDF, text and the containers of office documents have a look that can be told; the signatures
are those of the WHATWG's MIME Sniffing Standard. Any other type is believed, unless the bytes are clearly
one of these.
"""

from __future__ import annotations

import codecs
import mimetypes
import re
from fnmatch import fnmatchcase
from typing import Final

SAFE_IMAGES: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
"""What may be shown as an image: pixels only. SVG is a document that can hold scripts."""

HEAD_BYTES: Final = 16
"""How many bytes show a signature."""

_ZIP: Final = "application/zip"
_OLE: Final = "application/x-ole-storage"
_SIGNATURES: Final = (
    ("image/png", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("image/jpeg", re.compile(rb"\xff\xd8\xff")),
    ("image/gif", re.compile(rb"GIF8[79]a")),
    ("image/webp", re.compile(rb"RIFF[\s\S]{4}WEBPVP")),
    ("application/pdf", re.compile(rb"%PDF-")),
    (_ZIP, re.compile(rb"PK\x03\x04")),
    (_OLE, re.compile(rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")),
)
_BINARY: Final = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
"""Bytes that no text has ("binary data bytes"), whatever its encoding, UTF-16 apart."""
_UTF_16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

_OFFICE: Final = {
    ".doc": "application/msword",
    ".xls": "application/vnd.ms-excel",
    ".ppt": "application/vnd.ms-powerpoint",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".odp": "application/vnd.oasis.opendocument.presentation",
}
_TEXT: Final = {".md": "text/markdown", ".yaml": "text/yaml", ".yml": "text/yaml", ".log": "text/plain"}
_OLE_TYPES: Final = frozenset({_OFFICE[".doc"], _OFFICE[".xls"], _OFFICE[".ppt"]})
_ZIP_PREFIXES: Final = (
    "application/vnd.openxmlformats-officedocument.",
    "application/vnd.oasis.opendocument.",
)
_TEXT_TYPES: Final = frozenset(
    {
        "application/json",
        "application/xml",
        "application/javascript",
        "application/yaml",
        "application/toml",
        "application/sql",
        "application/x-ndjson",
    }
)
_ALIASES: Final = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "application/x-pdf": "application/pdf",
    "application/x-zip-compressed": _ZIP,
}
_UNKNOWN: Final = frozenset({"", "application/octet-stream"})
_BY_NAME: Final = mimetypes.MimeTypes()
for _extension, _type in (_OFFICE | _TEXT | {".webp": "image/webp"}).items():
    _BY_NAME.add_type(_type, _extension)


class WrongType(Exception):
    """The bytes are not what they were said to be. The text is fit for the sender."""


def media_type_of(claimed: str, name: str) -> str:
    """The type that a file's sender claims, without parameters; its name tells where that is missing."""
    essence = claimed.partition(";")[0].strip().lower()
    if essence in _UNKNOWN:
        guessed, encoding = _BY_NAME.guess_type(f"x{_extension_of(name)}")
        essence = guessed if guessed and not encoding else "application/octet-stream"
    if essence == _OFFICE[".xls"] and _extension_of(name) == ".csv":
        return "text/csv"  # what browsers say of it where Excel is installed
    return _ALIASES.get(essence, essence)


def is_allowed(media_type: str, patterns: list[str]) -> bool:
    """Whether one of the patterns (`image/*`) covers the type."""
    return any(fnmatchcase(media_type, pattern.lower()) for pattern in patterns)


def looks_like(head: bytes) -> str | None:
    """The type whose signature a file begins with; zip and OLE storage are containers of many."""
    return next((kind for kind, signature in _SIGNATURES if signature.match(head)), None)


class Sniffer:
    """Looks at a file while it passes."""

    def __init__(self, media_type: str) -> None:
        self._media_type = media_type
        self._begun = False
        self._text = _is_text(media_type)
        self._utf_16: codecs.IncrementalDecoder | None = None

    def take(self, chunk: bytes) -> None:
        """Look at the next piece; the first one has `HEAD_BYTES` unless the file is shorter.

        Raises:
            WrongType: It is none of such a file.
        """
        if not self._begun:
            self._begun = True
            self._check_head(chunk)
        if self._text:
            self._check_text(chunk)

    def _check_head(self, head: bytes) -> None:
        found, expected = looks_like(head), _signature_of(self._media_type)
        if expected is not None and found != expected:
            raise WrongType(f"The file is not what it is said to be, {self._media_type}")
        belongs = found == expected or (found in {_ZIP, _OLE} and not self._text)
        if found is not None and not belongs:
            raise WrongType(f"The file is said to be {self._media_type}, but looks like {found}")
        if self._text and head.startswith(_UTF_16):
            self._utf_16 = codecs.getincrementaldecoder("utf-16")("strict")

    def _check_text(self, chunk: bytes) -> None:
        if self._utf_16 is not None:
            try:
                self._utf_16.decode(chunk)
            except UnicodeDecodeError as error:
                raise WrongType(f"The file is said to be {self._media_type}, but is no text") from error
        elif _BINARY.search(chunk):
            raise WrongType(f"The file is said to be {self._media_type}, but is no text")


def _is_text(media_type: str) -> bool:
    return (
        media_type.startswith("text/") or media_type in _TEXT_TYPES or media_type.endswith(("+json", "+xml"))
    )


def _signature_of(media_type: str) -> str | None:
    """The signature that files of this type must have; None if they need none."""
    if media_type in SAFE_IMAGES or media_type in {"application/pdf", _ZIP}:
        return media_type
    if media_type in _OLE_TYPES:
        return _OLE
    return _ZIP if media_type.startswith(_ZIP_PREFIXES) else None


def _extension_of(name: str) -> str:
    return "." + name.rpartition(".")[2].lower() if "." in name else ""


def extension_for(media_type: str) -> str:
    """The ending of a file's name, with its dot; empty if the type has none."""
    return _BY_NAME.guess_extension(media_type) or ""
