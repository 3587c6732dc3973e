"""Text of others made safe for a log and a terminal: only printable characters are left, the rest is shown as escapes.

Not printable are control characters (an escape sequence moves the cursor, a line feed forges a line), characters that
change the direction of the text or take no room, line and paragraph separators, and lone surrogates.
"""

from __future__ import annotations


def safe(text: str) -> str:
    """One line of printable characters."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)


def safe_lines(text: str, indent: str = "") -> str:
    """As `safe`, keeping line feeds; a tab becomes spaces. With `indent` no line but the first starts at the margin."""
    return f"\n{indent}".join(safe(line.replace("\t", "    ")) for line in text.split("\n"))


def _escaped(char: str) -> str:
    code = ord(char)
    if char in "\n\r\t":
        return " "
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
