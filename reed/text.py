"""Makes untrusted text safe for a log or terminal: escape sequences, forged lines, bidirectional text, surrogates."""

from __future__ import annotations


def safe(text: str) -> str:
    """One line; characters that are not printable are escaped."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)


def safe_lines(text: str, indent: str = "") -> str:
    """Keeps line feeds. `indent` precedes every line except the first."""
    return f"\n{indent}".join(safe(line.replace("\t", "    ")) for line in text.split("\n"))


def _escaped(char: str) -> str:
    code = ord(char)
    if char in "\n\r\t":
        return " "
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
