"""Formulas become MathML while the site is built; MkDocs calls this as a hook.

Every browser of today draws MathML itself. So a page needs no script and asks nobody for one, it
is the same without a network, and screen readers read it. A math font comes with the site
(`stix-two-math.woff`, with the characters of `characters.txt`), since not every system has one.
KaTeX would be half a megabyte of others' code in this repository instead.
"""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError

WRITTEN = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.S)
"""What the extension arithmatex leaves of ``$…$`` and ``$$…$$``."""


def on_page_content(content: str, page: Any, **of_the_build: Any) -> str:
    """The page with its formulas as MathML.

    Raises:
        PluginError: something in a formula is not known.
    """

    def drawn(match: re.Match[str]) -> str:
        tag, latex = match[1], html.unescape(match[2])
        try:
            return typeset(latex.strip(), block=tag == "div")
        except ValueError as error:
            raise PluginError(f"{page.file.src_uri}: {error}") from error

    return WRITTEN.sub(drawn, content)


def typeset(latex: str, *, block: bool = False) -> str:
    """A formula as MathML, in a box of its own where it stands in a line of its own.

    Raises:
        ValueError: a command that is not known, which would be shown as it is written.
    """
    made = convert(latex, display="block" if block else "inline")
    if unknown := re.search(r">(\\[a-zA-Z]*|&#x0005C;|&(?=<))", made):
        raise ValueError(f"{unknown[1]} in ${latex}$ cannot be typeset")
    made = re.sub(r"<m[io]>([A-Za-z]{2,})</m[io]>", _function, made)
    # Capital Greek letters are upright, as in the papers; a slash in a line has no room around it.
    made = re.sub(r"<mi>(&#x003(?:9|A).;)</mi>", r'<mi mathvariant="normal">\1</mi>', made)
    made = made.replace("<mo>&#x0002F;</mo>", '<mo lspace="0" rspace="0">/</mo>')
    # A formula that is wider than a small screen is scrolled by itself, and by keys, too.
    return f'<div class="formula" tabindex="0">{made}</div>' if block else made


def _function(match: re.Match[str]) -> str:
    """The name of a function: close to a bracket, and a little apart from a letter."""
    after = match.string[match.end() :]
    bracket = re.match(r"(<m(i|n|row)>.*?</m\2></msub>)?(<mo |</)", after)
    space = "0" if bracket else "0.17em"
    return f'<mo lspace="0.1em" rspace="{space}">{match[1]}</mo>'
