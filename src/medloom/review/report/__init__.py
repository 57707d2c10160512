"""What the votes show, as a page with plots and as Markdown.

`shares`, `bradley_terry` and `agreement` are statistics on plain numbers; `gather` puts a study's votes to them; `tables`, `plots` and
`page` draw what comes out.
"""

from __future__ import annotations

from .write import draw_report

__all__ = ["draw_report"]
