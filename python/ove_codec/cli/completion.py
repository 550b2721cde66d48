"""`ove-codec completion`: scripts that complete commands and options in a shell."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from ove_codec.cli import common
from ove_codec.cli.parsing import commands_of, options_of

_BASH = """_ove_codec() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" words=""
  case "${{COMP_WORDS[*]:1:COMP_CWORD-1}} " in
{cases}
  esac
  if [[ "$current" == -* || -n "$commands" ]]; then
    COMPREPLY=($(compgen -W "${{commands:-$words}}" -- "$current"))
  fi
}}
complete -o default -F _ove_codec ove-codec
"""


def add_commands(commands: common.Commands[Any]) -> None:
    parser: argparse.ArgumentParser = commands.add_parser(
        "completion",
        help="print a script that completes commands in bash, zsh or fish",
        description='Prints a completion script. For bash: eval "$(ove-codec completion bash)" in ~/.bashrc; zsh: the '
        "same with zsh in ~/.zshrc; fish: ove-codec completion fish > ~/.config/fish/completions/ove-codec.fish",
    )
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))
    parser.set_defaults(run=completion)


def completion(args: argparse.Namespace) -> None:
    from ove_codec.cli import make_parser

    print({"bash": bash, "zsh": zsh, "fish": fish}[args.shell](make_parser()), end="")


def bash(parser: argparse.ArgumentParser) -> str:
    """A script for bash. Files are completed where neither a command nor an option is."""
    cases = []
    for path, command in sorted(_all(parser), key=lambda entry: -len(entry[0])):
        names = " ".join(commands_of(command))
        pattern = f'"{" ".join(path)} "*' if path else "*"
        cases.append(f'    {pattern}) commands="{names}" words="{" ".join(options_of(command))}" ;;')
    return _BASH.format(cases="\n".join(cases)).replace('words=""\n', 'words="" commands=""\n')


def zsh(parser: argparse.ArgumentParser) -> str:
    """A script for zsh, which reads bash's."""
    return "autoload -U +X bashcompinit && bashcompinit\n" + bash(parser)


def fish(parser: argparse.ArgumentParser) -> str:
    """A script for fish."""
    lines = []
    for path, command in _all(parser):
        inner = commands_of(command)
        chosen = " and ".join(f"__fish_seen_subcommand_from {name}" for name in path) or "__fish_use_subcommand"
        chosen = chosen.replace(" and ", "; and ")
        if inner:
            lines.append(f"complete -c ove-codec -f -n '{chosen}' -a '{' '.join(inner)}'")
        lines += [f"complete -c ove-codec -n '{chosen}' -l {name[2:]}" for name in options_of(command)]
    return "\n".join(lines) + "\n"


def _all(parser: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, parser
    for name, command in commands_of(parser).items():
        yield from _all(command, (*path, name))
