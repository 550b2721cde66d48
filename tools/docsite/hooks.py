"""Hooks of MkDocs: pages and pictures that the build makes, and what pages ask for.

A page asks by comments and by plain Markdown, so it reads well outside the site too:

- ``<!-- figures: NAME -->`` becomes a table of measured figures (`figures.table`);
- ``<!-- members: PACKAGE -->`` becomes the reference of every name in the package's ``__all__``;
- an image whose file is a drawing (``../pictures/NAME.svg``) is put in place, its text beside it, so that it takes the
  colours of the page.
"""

from __future__ import annotations

import ast
import hashlib
import re
import shutil
import sys
from html import escape
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PACKAGE = ROOT / "python" / "ove_codec"

_DRAWING = re.compile(r"!\[([^\]]+)\]\((?:\.\./)*pictures/([\w-]+)\.svg\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Makes the modules beside this one and `demo` importable; MkDocs does so only while it loads this one."""
    sys.path[:0] = [path for path in map(str, (HERE, HERE.parent)) if path not in sys.path]
    # Not for longer: bench/cuda.py would be taken for the package that PyTorch looks for.
    sys.path.append(str(ROOT / "bench"))
    try:
        import figures  # noqa: F401
    finally:
        sys.path.remove(str(ROOT / "bench"))
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pictures, the plots of the benchmarks, and the reference of the command line."""
    import commands

    from ove_codec.cli import make_parser

    generated = {f"pictures/{path.name}": path for path in sorted(drawn().glob("*.webp"))}
    generated |= {f"plots/{path.name}": path for path in sorted((ROOT / "bench" / "results").glob("*.svg"))}
    for name, path in generated.items():
        files.append(File.generated(config, name, abs_src_path=str(path)))
    page = commands.reference(make_parser())
    files.append(File.generated(config, "reference/command-line.md", content=page))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Puts tables, references and drawings where the page asks for them."""
    import figures

    markdown = re.sub(r"<!-- figures: (\S+) -->", lambda found: figures.table(found[1]), markdown)
    markdown = markdown.replace("](../bench/results/", "](plots/")  # of measurements.md
    markdown = re.sub(r"<!-- members: (\S+) -->", lambda found: members(found[1]), markdown)
    return _DRAWING.sub(lambda found: drawing(found[2], found[1]), markdown)


def on_post_build(config: MkDocsConfig) -> None:
    """Writes the search index as a script too, which pages opened from a folder can load."""
    folder = Path(config.site_dir, "search")
    index = (folder / "search_index.json").read_text(encoding="utf-8")
    (folder / "search_index.js").write_text(f"var __index = {index}\n", encoding="utf-8")


def drawn() -> Path:
    """The folder of the pictures, drawn anew where the library or what draws has changed."""
    sources = [*sorted(HERE.glob("*.py")), HERE.parent / "demo.py", *sorted(PACKAGE.rglob("*.py"))]
    key = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    made = ROOT / "build" / "docs-pictures"
    folder = made / key
    if not folder.is_dir():
        import diagrams
        import pictures

        shutil.rmtree(made, ignore_errors=True)
        part = made / "part"
        part.mkdir(parents=True)
        pictures.draw(part)
        diagrams.draw(part)
        part.rename(folder)
    return folder


def members(package: str) -> str:
    """A directive for every name in ``__all__`` of a package, and of its submodules not."""
    path = ROOT / "python" / Path(*package.split("."))
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return "\n\n".join(f"::: {package}.{name}" for name in exported(source))


def exported(source: Path) -> list[str]:
    """What a module's ``__all__`` lists."""
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            names: list[str] = ast.literal_eval(node.value)
            return names
    raise ValueError(f"{source} has no __all__")


def drawing(name: str, text: str) -> str:
    """A drawing with the text that stands for it where it cannot be seen."""
    svg = (drawn() / f"{name}.svg").read_text(encoding="utf-8")
    svg = svg.replace('role="img"', f'role="img" aria-label="{escape(text)}"', 1)
    return f'<div class="drawing-box">\n{svg}</div>\n'
