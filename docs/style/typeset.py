"""Formulas become MathML while the site is built; MkDocs calls this as a hook.

Every browser of today draws MathML itself. So a page needs no script and asks nobody for one, it
is the same without a network, and screen readers read it. A math font comes with the site
(`stix-two-math.woff2`), since not every system has one. KaTeX would be half a megabyte of others'
code in this repository instead.
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
    if unknown := re.search(r">(\\[a-zA-Z]*|&#x0005C;|&amp;)", made):
        raise ValueError(f"{unknown[1]} in ${latex}$ cannot be typeset")
    # MathML has room around a slash, as for a relation; a quotient in a line has none.
    made = made.replace("<mo>&#x0002F;</mo>", '<mo lspace="0" rspace="0">/</mo>')
    # A formula that is wider than a small screen is scrolled by itself, and by keys, too.
    return f'<div class="formula" tabindex="0">{made}</div>' if block else made
