"""The parser of the command line: help within a screen, suggestions for typos, errors that can be told as JSON."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

_FULL = "full_help"  # attribute of an action: what `--help-all` says of it


class UsageError(SystemExit):
    """Wrong usage of a command; the exit status is 2."""

    def __init__(self, parser: argparse.ArgumentParser, message: str) -> None:
        super().__init__(2)
        self.parser = parser
        self.message = message


class Formatter(argparse.HelpFormatter):
    """Help in at most 100 columns."""

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, max_help_position=26, **options)
        self._width = min(self._width, 100)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are exceptions, and suggest what may be meant."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", Formatter)
        super().__init__(**options)

    def error(self, message: str) -> NoReturn:
        """Raises a UsageError."""
        raise UsageError(self, _with_suggestion(message, self))

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """The parsed arguments; an unknown option is an error of the command that it was given to."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            getattr(parsed, "parser", self).error(f"unrecognized arguments: {' '.join(unknown)}")
        return parsed


class _HelpAll(argparse.Action):
    """Prints the help with all options and their full texts."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        show_all(parser)
        parser.print_help()
        parser.exit()


def add_brief(group: Any, brief: str | None, *names: str, **options: Any) -> None:
    """Adds an option with a short text for `--help`, or with None one that only `--help-all` shows."""
    action = group.add_argument(*names, **options)
    setattr(action, _FULL, action.help)
    action.help = argparse.SUPPRESS if brief is None else brief


def keep_for_help_all(parser: argparse.ArgumentParser, *names: str) -> None:
    """Options that a screen of `--help` has no room for."""
    for action in parser._actions:
        if set(names) & set(action.option_strings):
            setattr(action, _FULL, action.help)
            action.help = argparse.SUPPRESS


def add_help_all(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--help-all", action=_HelpAll, nargs=0, help="show every option and exit")


def show_all(parser: argparse.ArgumentParser) -> None:
    """Gives all options their full texts, here and in all commands below."""
    for action in parser._actions:
        if hasattr(action, _FULL):
            action.help = getattr(action, _FULL)
    for command in commands_of(parser).values():
        show_all(command)


def commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The commands of a parser by their names."""
    return {
        name: command
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for name, command in action.choices.items()
    }


def leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers below that have no commands of their own."""
    inner = commands_of(parser)
    for command in inner.values():
        yield from leaves(command)
    if not inner:
        yield parser


def options_of(parser: argparse.ArgumentParser) -> list[str]:
    """The long options of a parser."""
    return [name for action in parser._actions for name in action.option_strings if name.startswith("--")]


def find(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of the command that the words name. Raises UsageError where there is none."""
    for word in words:
        commands = commands_of(parser)
        if word not in commands:
            choices = ", ".join(map(repr, commands))
            raise UsageError(parser, _with_suggestion(f"invalid choice: {word!r} (choose from {choices})", parser))
        parser = commands[word]
    return parser


def _with_suggestion(message: str, parser: argparse.ArgumentParser) -> str:
    if wrong := re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)$", message):
        near = difflib.get_close_matches(wrong[1], [name.strip(" '") for name in wrong[2].split(",")], 1)
    elif wrong := re.match(r"unrecognized arguments: (-[\w-]+)", message):
        near = difflib.get_close_matches(wrong[1], options_of(parser), 1)
    else:
        near = []
    return f"{message}; did you mean {near[0]}?" if near else message
