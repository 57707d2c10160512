"""The one kind of error that is the user's to mend."""

from __future__ import annotations


class Refusal(ValueError):
    """Input that cannot be used. The message is one line: the file or key, the cause, the cure. Exit code 2."""
