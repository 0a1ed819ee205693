"""Links between the pages lead somewhere, and so does every link into the repository.

MkDocs checks those between the pages of docs/; README and CONTRIBUTING it never sees.
"""

from __future__ import annotations

import pathlib
import re

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
PAGES = [*sorted(REPOSITORY.glob("*.md")), *sorted((REPOSITORY / "docs").glob("*.md"))]
FENCED = re.compile(r"^(```|~~~).*?^\1$", re.M | re.S)
LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)|\b(?:href|src)=\"([^\"]+)\"")
ELSEWHERE = re.compile(r"https://|mailto:")


def prose(text: str) -> str:
    """A page without its code."""
    return re.sub(r"`[^`\n]+`", "", FENCED.sub("", text))


def links(text: str) -> list[str]:
    """What the links and pictures of a page point at."""
    return [inline or tag for inline, tag in LINK.findall(prose(text))]


def anchors(text: str) -> set[str]:
    """What GitHub calls the headings of a page; a heading that comes again is counted."""
    names: list[str] = []
    for heading in re.findall(r"^#{1,6} +(.*?) *#*$", FENCED.sub("", text), re.M):
        heading_text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        names.append(re.sub(r"[^\w\- ]", "", heading_text.lower()).replace(" ", "-"))
    counted = {
        f"{name}-{names[:i].count(name)}" for i, name in enumerate(names) if name in names[:i]
    }
    return {*names, *counted, *re.findall(r"\bid=\"([^\"]+)\"", text)}


def broken(page: pathlib.Path, text: str) -> list[str]:
    """Links of a page, with this text, to a file or heading that is not there."""
    wrong = []
    for link in links(text):
        if ELSEWHERE.match(link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        inside = target.is_relative_to(REPOSITORY) and target.exists()
        if not inside:
            wrong.append(link)
        elif anchor:
            there = text if target == page else target.read_text(encoding="utf-8")
            wrong += [link] * (anchor not in anchors(there))
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: pathlib.Path) -> None:
    assert broken(page, page.read_text(encoding="utf-8")) == []


def test_links_are_seen_and_those_to_nowhere_are_told() -> None:
    text = """# A page
## `run` and *why*: η
## Twice
## Twice
[good](docs/index.md) ![picture](docs/figures/drift.png "Drift") [here](#run-and-why-η)
[again](#twice-1) [out](https://example.org/nowhere#x) <a href="LICENSE">licence</a>
[gone](docs/gone.md) [no heading](docs/index.md#gone) [no such](#twice-2) <img src="gone.png">
[plain](http://example.org) [outside](../elsewhere.md)
`[code](gone.md)`
```
[code](gone.md)
```
"""
    page = REPOSITORY / "README.md"
    assert len(links(text)) == 12
    assert broken(page, text) == [
        *("docs/gone.md", "docs/index.md#gone", "#twice-2", "gone.png"),
        *("http://example.org", "../elsewhere.md"),
    ]
