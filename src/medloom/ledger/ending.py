"""Ways for work to end that are neither success nor a fault of the input."""

from __future__ import annotations

STOPPED = 75  # the exit code for it: EX_TEMPFAIL of sysexits.h, nothing is wrong, try again


class Stopped(Exception):
    """It was asked to stop and did, after saving where it stands. The message is one line; the same command goes on."""


class Broken(RuntimeError):
    """It failed in another process. The message is what that process said, its traceback included, and is all that need be shown."""
