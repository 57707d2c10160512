"""The account of a corpus: books kept per shard, added up, and drawn for people."""

from __future__ import annotations

from .account import Account
from .page import html_page
from .tables import markdown
from .write import write_pages, write_report

__all__ = ["Account", "html_page", "markdown", "write_pages", "write_report"]
