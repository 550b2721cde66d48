"""The documentation: its code runs, its commands can be given, its links lead somewhere, and the site is whole."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import zlib
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from ove_codec.cli import main, make_parser
from ove_codec.presets import COMMON, PRESETS
from support import browser, ffmpeg
from support.documentation import LANGUAGES, ROOT, Page, check_command

DOCS = ROOT / "docs"
PAGES = [Page(path) for path in sorted(DOCS.rglob("*.md"))]
GENERATED = re.compile(r"(pictures/[\w-]+\.(webp|svg)|plots/[\w-]+\.svg|reference/command-line\.md)")  # by the build
PACKAGES = ("", ".canvases", ".data", ".datasets", ".lmm", ".models", ".models.hf", ".ops", ".probes", ".training")

needs_x265 = pytest.mark.skipif(not ffmpeg.has_libx265(), reason="ffmpeg with libx265 is not installed")
needs_mkdocs = pytest.mark.skipif(
    not (find_spec("material") and find_spec("mkdocstrings")), reason="the extra 'docs' is not installed"
)


def pages_with(language: str) -> list[Page]:
    return [page for page in PAGES if any(name == language for name, _ in page.blocks)]


def test_pages() -> None:
    assert {"index.md", "quick-start.md", "performance.md", "glossary.md"} <= {page.path.name for page in PAGES}
    for page in PAGES:
        assert {language for language, _ in page.blocks} <= LANGUAGES, page
        for language, code in page.blocks:
            too_long = [line for line in code.splitlines() if len(line) > 84 and language != "text"]  # would scroll
            assert too_long == [], page


@needs_x265
@pytest.mark.usefixtures("beside_models")
@pytest.mark.parametrize("page", pages_with("python"), ids=str)
def test_python(page: Page) -> None:
    _, missing = page.run_python()
    if missing:
        pytest.skip(f"all ran but what needs {', '.join(missing)}")


@needs_x265
@pytest.mark.usefixtures("beside_a_clip")
@pytest.mark.parametrize("page", pages_with("sh"), ids=str)
def test_commands(page: Page, capsys: pytest.CaptureFixture[str]) -> None:
    for command in page.commands:
        check_command(command)
    for argv in page.about_one_clip():
        assert main(argv) == 0, capsys.readouterr().err


def test_links() -> None:
    for page in PAGES:
        for target in page.links():
            path = (page.path.parent / target).resolve()
            assert path.is_file() or GENERATED.fullmatch(str(path.relative_to(DOCS))), f"{page}: {target}"


def test_marks_of_the_benchmarks() -> None:
    """The places where commands in bench/ put their tables."""
    text = (DOCS / "measurements.md").read_text(encoding="utf-8")
    for name in ("bench", "codec-agreement", "dataset", "encoder", "motion-probe", "routes"):
        assert re.search(f"^<!-- {name} -->\n.+^<!-- /{name} -->$", text, re.DOTALL | re.MULTILINE), name


def presets_table() -> str:
    """Parameters in which presets differ, as Markdown."""
    rows = [["parameter", *(f"`{name}`" for name in PRESETS)], ["---"] * (1 + len(PRESETS))]
    for name, common in COMMON.items():
        values = [params.get(name, common) for params in PRESETS.values()]
        if any(value != values[0] for value in values):
            rows.append([f"`{name}`", *map(str, values)])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def test_presets() -> None:
    text = (DOCS / "reference" / "presets.md").read_text(encoding="utf-8")
    assert f"<!-- presets -->\n{presets_table()}<!-- /presets -->" in text


def test_pictures_have_texts() -> None:
    for page in PAGES:
        for text in re.findall(r"!\[(.*?)\]\(", page.text):
            assert len(text) > 10, f"{page}: {text!r}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly: a link or a name that leads nowhere ends the build."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class _Fetches(HTMLParser):
    """Addresses that a browser fetches by itself when it shows the page, and pictures without a text."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.silent: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        if tag == "link" and given.get("rel") not in ("canonical", "next", "prev"):
            self.addresses.append(given.get("href", ""))
        self.addresses += [given[name] for name in ("src", "srcset", "poster", "data") if name in given]
        self.addresses += re.findall(r"url\(([^)]*)\)", given.get("style", ""))
        if tag == "img" and not given.get("alt"):
            self.silent.append(given.get("src", ""))


@needs_mkdocs
@needs_x265
def test_site_fetches_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(PAGES)
    for path in pages:
        found = _Fetches()
        found.feed(path.read_text(encoding="utf-8"))
        assert [address for address in found.addresses if re.match(r"(\w+:)?//", address)] == [], path
        assert found.silent == [], path
    for path in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", path.read_text(encoding="utf-8")), path


@needs_mkdocs
@needs_x265
@pytest.mark.skipif(browser.executable() is None, reason="chromium is not installed")
@pytest.mark.parametrize("page", ["index.html", "reference/selections.html"])
def test_search_works_from_a_folder(site: Path, page: str, tmp_path: Path) -> None:
    with browser.browser(tmp_path) as opened:
        opened.open(site / page, 1280)
        opened.value(
            "(() => { const box = document.querySelector('.md-search__input'); box.focus(); box.value = 'residual';"
            "box.dispatchEvent(new Event('input', {bubbles: true}));"
            "box.dispatchEvent(new KeyboardEvent('keyup', {bubbles: true})); return true })()"
        )
        opened.until("document.querySelectorAll('.md-search-result__item').length > 3")
        assert [address for address in opened.requests if not address.startswith("file:")] == []
        assert opened.complaints == []


@needs_mkdocs
@needs_x265
def test_site_has_every_public_name(site: Path) -> None:
    names = names_of(site)
    for package in PACKAGES:
        module = f"ove_codec{package}"
        for name in exported(module):
            assert f"{module}.{name}" in names or (
                not package and name in ("canvases", "cuda", "lmm", "models", "ops")
            ), name


@needs_mkdocs
@needs_x265
def test_site_has_every_command(site: Path) -> None:
    page = (site / "reference" / "command-line.html").read_text(encoding="utf-8")
    sections = dict(re.findall(r'<h[23] id="([\w-]+)">(.*?)(?=<h[23] id=|</article>)', page, re.DOTALL))
    commands = list(commands_of(make_parser()))
    assert len(commands) > 12
    for name, parser in commands:
        assert name in sections, name
        for option in [option for action in parser._actions for option in action.option_strings]:
            assert option in ("-h", "--help") or f"<code>{option}" in sections[name], f"{name} {option}"


def commands_of(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command and every action of one, by its place on the page."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield command.prog.partition(" ")[2].replace(" ", "-"), command
                yield from commands_of(command)


def names_of(site: Path) -> set[str]:
    """Every name that the reference has."""
    inventory = (site / "objects.inv").read_bytes().split(b"\n", 4)
    return {line.split(" ")[0] for line in zlib.decompress(inventory[4]).decode().splitlines()}


def exported(module: str) -> list[str]:
    return list(import_module(module).__all__)


@needs_mkdocs
@needs_x265
def test_docstrings_name_what_there_is(site: Path) -> None:
    """Arguments and attributes that a docstring describes are those of the function or class, several a line too."""
    wrong = [
        f"{thing.path}: {name}"
        for thing in documented(site)
        for section in thing.docstring.parse("google", warnings=False)
        if section.kind.value in ("parameters", "attributes")
        for entry in section.value
        for name in re.findall(r"\w+", f"{entry.name} {entry.annotation}" if entry.name[-1] == "," else entry.name)
        if name not in _names_of(thing)
    ]
    assert wrong == []


@needs_mkdocs
@needs_x265
def test_docstrings_are_markdown(site: Path) -> None:
    """No section that Google's style does not have, and no table or role of reStructuredText."""
    for thing in documented(site):
        sections = thing.docstring.parse("google", warnings=False)
        assert [section.title for section in sections if section.kind.value == "admonition"] == [], thing.path
        for text in [section.value for section in sections if section.kind.value == "text"]:
            assert not re.search(r"^ *=+(  =+)+$|::$|:\w+:`", text, re.MULTILINE), thing.path


def documented(site: Path) -> Iterator[Any]:
    """Everything with a docstring that the reference has, as griffe reads it."""
    import griffe

    package = griffe.load("ove_codec", search_paths=[ROOT / "python"], allow_inspection=False, resolve_aliases=False)
    names = names_of(site)
    assert len(names) > 300
    waiting: list[Any] = [package]
    while waiting:
        thing = waiting.pop()
        waiting += [member for member in thing.members.values() if not member.is_alias]
        if thing.docstring and thing.path in names:
            yield thing


def _names_of(thing: Any) -> set[str]:
    if not thing.is_function and not thing.is_class:
        return set(thing.members)
    if thing.is_function:
        return {parameter.name.lstrip("*") for parameter in thing.parameters}
    made = thing.members.get("__init__")
    given = _names_of(made) if made is not None and made.is_function else set()
    bases = [thing.module.members.get(str(base)) for base in thing.bases]
    inherited = [_names_of(base) for base in bases if base is not None and not base.is_alias and base.is_class]
    assigned = set(re.findall(r"\bself\.(\w+)", thing.source))  # several at a time, which griffe does not see
    return set(thing.members) | assigned | given | set().union(*inherited)
