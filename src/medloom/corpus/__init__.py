"""The corpus room: from files to documents, from documents to a corpus, from a corpus to tokens. Training happens elsewhere."""

from __future__ import annotations

from .build import build_corpus
from .inspect import document_of_token, draw_report
from .mixture import forecast
from .read import read_source
from .tokenise import tokenise_corpus

__all__ = ["build_corpus", "document_of_token", "draw_report", "forecast", "read_source", "tokenise_corpus"]
