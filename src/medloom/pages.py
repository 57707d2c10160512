"""A report as one HTML page: style and plots are in it, it runs no script and asks no network for anything."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from importlib.resources import files

from .notice import NOTICE_SHORT


def html_page(title: str, opening: str, titles: Mapping[str, str], bodies: Mapping[str, str], closing: str,
              package: str | None = None, plots: bool = False) -> str:
    """The page. `opening` stands above the links to the sections, `closing` in the foot; of `bodies`, HTML by a section's key, those
    without anything in them are left out. `package` has the report's own style, page.css; `plots` adds that of the
    plots of medloom.plots and of the tables beside them.

    `titles` (by the same keys) and all else is HTML: who calls has escaped what comes from outside. `title` is text.
    """
    shown = {key: body for key, body in bodies.items() if body}
    links = "".join(f'<li><a href="#{key}">{titles[key]}</a></li>' for key in shown)
    sections = "".join(f'<section id="{key}" aria-labelledby="{key}-h"><h2 id="{key}-h">{titles[key]}</h2>{body}</section>'
                       for key, body in shown.items())
    sheets = [(__package__, "pages.css"), *([(__package__, "plots.css")] if plots else []), *([(package, "page.css")] if package else [])]
    style = "".join(files(where).joinpath(name).read_text(encoding="utf-8") for where, name in sheets)
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"/><meta name="viewport" content="width=device-width, initial-scale=1"/>'
        '<meta name="color-scheme" content="light dark"/>'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; style-src \'unsafe-inline\'"/>'
        f"<title>{escape(title)}</title><style>{style}</style></head><body>"
        f'<header>{opening}<nav aria-label="Sections"><ul>{links}</ul></nav></header><main>{sections}</main>'
        f"<footer>{closing}<p>Written by Medloom. {escape(NOTICE_SHORT)}</p></footer></body></html>\n"
    )
