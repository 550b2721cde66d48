"""The reference of the command line, as Markdown, from the parser itself."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from html import escape

from ove_codec.cli.parsing import show_all


def reference(parser: argparse.ArgumentParser) -> str:
    """A section for every command, and for every action of a command that has some."""
    show_all(parser)
    lines = [f"# {parser.prog}", "", _plain(parser.description), ""]
    for command in _commands(parser):
        lines += _section(command, 2)
    return "\n".join([*lines, _plain(parser.epilog), ""])


def _commands(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    return [
        command
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for command in action.choices.values()
    ]


def _section(parser: argparse.ArgumentParser, level: int) -> Iterator[str]:
    yield from ("#" * level + f" {parser.prog.partition(' ')[2]}", "", _plain(parser.description), "")
    parser.color = False  # type: ignore[attr-defined]  # of Python 3.14, on terminals
    usage = [word for word in parser.format_usage().partition(":")[2].split() if word != "[-h]"]
    options = sum(1 for word in usage if word.startswith("[-"))
    if options > 12:  # the list below tells them all
        words = " ".join(usage)
        usage = (re.sub(r" \[-[^\[\]]*(\[[^\]]*\][^\[\]]*)?\]", "", words) + " [OPTIONS]").split()
    yield from ("```text", *_wrapped(usage), "```", "")
    inner = _commands(parser)
    for group in parser._action_groups:
        rows = [
            (_names(action), _help(parser, action))
            for action in group._group_actions
            if not isinstance(action, argparse._SubParsersAction | argparse._HelpAction)
        ]
        if rows:
            title = "arguments" if group.title == "positional arguments" else group.title or "options"
            yield from (f"**{title.capitalize()}**", "")
            if group.description:
                yield from (_plain(group.description), "")
            yield from (f"- {names}: {text}" if text else f"- {names}" for names, text in rows)
            yield ""
    for command in inner:
        yield from _section(command, level + 1)


def _names(action: argparse.Action) -> str:
    value = ""
    if action.nargs != 0:
        name = action.metavar or (
            "{" + ",".join(map(str, action.choices)) + "}" if action.choices is not None else action.dest.upper()
        )
        value = " ".join(name) if isinstance(name, tuple) else str(name)
    if not action.option_strings:
        return f"`{value}`"
    return ", ".join(f"`{option} {value}`".replace(" `", "`") for option in action.option_strings)


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    return _plain(parser._get_formatter()._expand_help(action)) if action.help else ""


def _plain(text: str | None) -> str:
    """Text in which Markdown finds nothing of its own."""
    return re.sub(r"([*_`\[\]|])", r"\\\1", escape(" ".join((text or "").split()), quote=False))


def _wrapped(words: list[str], width: int = 78) -> list[str]:
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("   ")
        lines[-1] += f" {word}" if lines[-1] else word
    return lines
