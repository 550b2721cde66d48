"""Text for the page: whatever is in a name or a reason comes out as text, on one line and in its own direction."""

from __future__ import annotations

import html
import math
import re

# Control characters, and those that turn the direction of what follows or hide: shown as escapes.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]")


def plain(value: object, most: int = 600) -> str:
    """`value` as text of at most so many characters, with escapes for what is no visible character."""
    text = str(value).encode("utf-8", "backslashreplace").decode()
    if len(text) > most:
        text = f"{text[: most - 1]}…"
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def escape(value: object, most: int = 600) -> str:
    """``plain`` for HTML, in text and in attributes."""
    return html.escape(plain(value, most))


def number(value: float) -> str:
    """Three or four significant digits, with k, M, G for large ones."""
    if not math.isfinite(value):
        return "-"
    size = abs(value)
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size >= limit:
            return f"{value / (1e3 if suffix == 'k' else limit):.3g}{suffix}"
    if size >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
