"""The two sides of a comparison. Each is a process of its own, `python -m sides.NAME_ours WORK JSON` or `sides.NAME_peers`,
under its own interpreter."""
