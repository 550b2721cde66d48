"""Conversations in LLaVA's and ShareGPT's JSON to JSON Lines that `LlavaDataset` reads.

``python -m ove_codec.lmm.convert IN.json OUT.jsonl``. What is read, a JSON array or JSON Lines of objects:

- LLaVA: {"conversations": [{"from": "human" | "gpt", "value"}]} with "image" or "video". A missing placeholder is
  added, and <image> becomes <video> where the record has a video alone.
- ShareGPT: the same or {"messages": [{"role", "content"}]}, with "images" and "videos", a "system" text, and contents
  in parts that name their images and videos.

Records that are of neither form are left out and listed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ove_codec.lmm.messages import IMAGE, VIDEO, listed, named_media, plain_message


def convert(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> list[tuple[int, str]]:
    """Writes a file of JSON Lines; gives number (from 1) and reason of every record that was left out.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: the source is no JSON array or JSON Lines, or no record of it could be used.
    """
    skipped: list[tuple[int, str]] = []
    count = 0
    part = Path(f"{os.fspath(target)}.part")
    try:
        with part.open("w", encoding="utf-8") as out:
            for number, record in enumerate(_records(Path(source)), 1):
                try:
                    line = json.dumps(llava_record(record, str(number)), ensure_ascii=False)
                except (ValueError, TypeError, AttributeError) as error:
                    skipped.append((number, str(error)))
                else:
                    out.write(line + "\n")
                    count += 1
        if not count:
            first = f"; record {skipped[0][0]}: {skipped[0][1]}" if skipped else ""
            raise ValueError(f"{os.fspath(source)}: no record is a conversation in LLaVA's or ShareGPT's format{first}")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return skipped


def llava_record(record: Any, name: str = "") -> dict[str, Any]:
    """A record in the form that `LlavaDataset` reads; `name` is its id where it has none.

    Raises ValueError where it is no conversation, or placeholders and images or videos differ in number.
    """
    if not isinstance(record, Mapping):
        raise ValueError("it is not an object")
    given = record.get("conversations", record.get("messages"))
    if not isinstance(given, list):
        raise ValueError("it has no list named conversations or messages")
    turns = [plain_message(turn) for turn in given]
    media = {
        IMAGE: listed(record.get("image")) + listed(record.get("images")),
        VIDEO: listed(record.get("video")) + listed(record.get("videos")),
    }
    for turn in given:
        for kind, path in named_media(turn):
            media[f"<{kind}>"].append(path)
    if not all(isinstance(path, str) for paths in media.values() for path in paths):
        raise ValueError("its images and videos must be paths")
    if isinstance(record.get("system"), str) and record["system"] and turns[:1] and turns[0]["role"] != "system":
        turns.insert(0, {"role": "system", "content": record["system"]})
    talk = [turn for turn in turns if turn["role"] != "system"]
    while talk and talk[0]["role"] == "assistant":  # dumps of ShareGPT begin in the middle
        turns.remove(talk.pop(0))
    roles = [turn["role"] for turn in talk]
    if len(roles) < 2 or roles != (["user", "assistant"] * len(roles))[: len(roles)]:
        raise ValueError(f"its turns do not alternate between a person and an assistant: {', '.join(roles) or 'none'}")
    _place(talk, media)
    names = {"system": "system", "user": "human", "assistant": "gpt"}
    made: dict[str, Any] = {"id": str(record.get("id", name))}
    for mark, key in ((IMAGE, "images"), (VIDEO, "videos")):
        if media[mark]:
            made[key] = media[mark]
    made["conversations"] = [{"from": names[turn["role"]], "value": turn["content"]} for turn in turns]
    return made


def _place(talk: Sequence[dict[str, str]], media: Mapping[str, list[Any]]) -> None:
    """Puts placeholders that are missing before the first turn, and <video> where a video's is <image>."""

    def count(mark: str) -> int:
        return sum(turn["content"].count(mark) for turn in talk)

    if media[VIDEO] and not media[IMAGE] and not count(VIDEO) and count(IMAGE) == len(media[VIDEO]):
        for turn in talk:
            turn["content"] = turn["content"].replace(IMAGE, VIDEO)
    for mark, paths in media.items():
        if paths and not count(mark):
            talk[0]["content"] = f"{mark}\n" * len(paths) + talk[0]["content"]
        if count(mark) != len(paths):
            raise ValueError(f"it has {count(mark)} {mark} placeholders, but {len(paths)} {mark[1:-1]}s")


def _records(file: Path) -> Iterator[Any]:
    text = file.read_text(encoding="utf-8")
    try:
        if text.lstrip()[:1] == "[":
            yield from json.loads(text)
            return
        for line in text.splitlines():
            if line.strip():
                yield json.loads(line)
    except ValueError as error:
        raise ValueError(f"{file} is neither a JSON array nor JSON Lines: {error}") from None


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ove_codec.lmm.convert", description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("source", metavar="IN.json")
    parser.add_argument("target", metavar="OUT.jsonl")
    args = parser.parse_args(arguments)
    try:
        skipped = convert(args.source, args.target)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    for number, reason in skipped:
        print(f"record {number} is skipped: {reason}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
