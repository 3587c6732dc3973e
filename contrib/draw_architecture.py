"""Draws contrib/docs/architecture.svg: python contrib/draw_architecture.py > contrib/docs/architecture.svg

programs ── core.sock ── core (event loop, content.db) ── a Unix socket each ── plugins ══ FIFOs between them
"""

from __future__ import annotations

import sys
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 820, 400
INK, GREY, FILL, CORE, PLUGIN = "#1b1f24", "#6a737d", "#ffffff", "#e8f1fb", "#f2f7ec"
CORE_BOX = (280, 50, 270, 140)  # left, top, width, height
CLIENTS = (("reed", "the command"), ("your program", "reed.client"), ("a shell, cron, CI", "JSON lines"))
PLUGINS = (("simple-seo", "Lua"), ("form-validator", "Lua"), ("analytics", "Rust"), ("yours", "C, Go, Python"))


def text(x: float, y: float, words: str, *, size: int = 14, colour: str = INK, bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{colour}"{weight}>{escape(words)}</text>'


def box(left: float, top: float, width: float, height: float, fill: str, *, dashed: bool = False) -> str:
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    place = f'x="{left:g}" y="{top:g}" width="{width:g}" height="{height:g}"'
    return f'<rect {place} rx="8" fill="{fill}" stroke="{INK}"{dash}/>'


def line(x1: float, y1: float, x2: float, y2: float) -> str:
    ends = 'marker-start="url(#end)" marker-end="url(#end)"'
    return f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{INK}" {ends}/>'


def clients() -> list[str]:
    left, top = CORE_BOX[:2]
    drawn = []
    for number, (name, what) in enumerate(CLIENTS):
        y = 40 + number * 62
        drawn += [box(30, y, 160, 46, FILL), text(110, y + 20, name, bold=True)]
        drawn += [text(110, y + 37, what, size=12, colour=GREY), line(194, y + 23, left - 4, top + 25 + number * 40)]
    return [*drawn, text(236, top - 2, "core.sock", size=12, colour=GREY)]


def core() -> list[str]:
    left, top, width, height = CORE_BOX
    middle = left + width / 2
    return [
        box(left, top, width, height, CORE),
        text(middle, top + 28, "core", size=18, bold=True),
        text(middle, top + 52, "one thread, one event loop"),
        text(middle, top + 74, "supervisor, permissions, quotas"),
        text(middle, top + 96, "snippets, types, bonds, search"),
        text(middle, top + 117, "about 25 MB", size=12, colour=GREY),
        box(630, 90, 150, 70, FILL),
        text(705, 120, "content.db", bold=True),
        text(705, 141, "SQLite, on the disk", size=12, colour=GREY),
        line(left + width + 4, 125, 626, 125),
    ]


def plugins() -> list[str]:
    left, top, width, height = CORE_BOX
    drawn = []
    for number, (name, language) in enumerate(PLUGINS):
        x = 40 + number * 195
        drawn += [box(x, 280, 150, 70, PLUGIN, dashed=True), text(x + 75, 308, name, bold=True)]
        drawn += [text(x + 75, 328, language, size=12, colour=GREY)]
        drawn += [line(x + 75, 276, left + 30 + number * (width - 60) / 3, top + height + 4)]
        if number:
            drawn += [line(x - 41, 315, x - 4, 315), text(x - 22, 305, "FIFO", size=11, colour=GREY)]
    socket = text(WIDTH / 2, 240, "a Unix socket and a process for each", size=12, colour=GREY)
    caption = "dashed: a sandbox (rlimits, no_new_privs, Landlock, seccomp); a crash there costs one call"
    return [*drawn, socket, text(WIDTH / 2, 384, caption, size=12, colour=GREY)]


def draw() -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" text-anchor="middle"'
        ' font-family="system-ui, sans-serif" role="img"><title>Programs, core, plugins and their sockets</title>'
    )
    marker = (
        '<defs><marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"'
        f' orient="auto-start-reverse"><path d="M0 0 8 4 0 8z" fill="{INK}"/></marker></defs>'
    )
    ground = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{FILL}"/>'
    return "\n".join([head, marker, ground, *clients(), *core(), *plugins(), "</svg>"]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(draw())
