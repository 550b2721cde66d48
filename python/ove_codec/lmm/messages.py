"""Messages of a conversation, and the images and videos that go with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

IMAGE, VIDEO = "<image>", "<video>"
_ROLES = {"human": "user", "gpt": "assistant"}

Message = Mapping[str, Any]


def listed(values: Any) -> list[Any]:
    """Images or videos as a list: of none, of one (a string is a path), of several, and of lists of them."""
    if values is None:
        return []
    if not isinstance(values, list | tuple):
        return [values]
    return [one for value in values for one in (value if isinstance(value, list | tuple) else [value])]


def named_media(message: Message) -> Iterator[tuple[str, Any]]:
    """The images and videos that the parts of a message name, in order."""
    content = message.get("content")
    for part in content if isinstance(content, list | tuple) else ():
        kind = part.get("type")
        if kind in ("image", "video"):
            source = part.get(kind, part.get("path"))
            if source is None:
                raise ValueError(f"a part of type {kind} must have a {kind}: {{'type': '{kind}', '{kind}': path}}")
            yield kind, source


def plain_message(message: Message) -> dict[str, str]:
    """{"role", "content"} with a string as content."""
    if not isinstance(message, Mapping):
        raise ValueError(f"a message must be a mapping with role and content, not {message!r}")
    if "from" in message:
        role, content = message["from"], message.get("value")
    else:
        role, content = message.get("role"), message.get("content")
    role = _ROLES.get(role, role)
    if role not in ("system", "user", "assistant"):
        raise ValueError(f"a message's role must be system, user (human) or assistant (gpt), not {role!r}")
    if isinstance(content, (list, tuple)):
        marks = {"image": IMAGE, "video": VIDEO}
        if not all(isinstance(part, Mapping) for part in content):
            raise ValueError("the parts of a message must be mappings with a type")
        content = "".join(marks.get(part.get("type", ""), str(part.get("text", ""))) for part in content)
    if not isinstance(content, str):
        raise ValueError(f"a message's text must be a string, not {type(content).__name__}")
    return {"role": role, "content": content}


def targets(
    messages: Sequence[Message], render: Callable[[Sequence[Message], bool], str], add_generation_prompt: bool
) -> Iterator[tuple[str, bool]]:
    """The text of a conversation in pieces, and whether each is a target: what the assistant says, and what ends it.

    `render` applies a chat template to messages, with or without the beginning of the assistant's next turn.
    """
    text = render(messages, add_generation_prompt)
    done = 0
    for i, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = render(messages[:i], True)
        content = message["content"].strip()
        begin, at = len(before), text.find(content, len(before))
        if not text.startswith(before) or at < 0:
            raise ValueError(
                f"the chat template changes the turns before turn {i}, so its targets cannot be found; use a "
                "template that renders earlier turns independently of later ones"
            )
        # What ends a turn is seen where it is the last one.
        alone = render(messages[: i + 1], False)
        ending = alone[alone.find(content, begin) + len(content) :].rstrip()
        stop = at + len(content)
        if text.startswith(ending, stop):
            stop += len(ending)
        yield text[done:begin], False
        yield text[begin:stop], True
        done = stop
    yield text[done:], False
