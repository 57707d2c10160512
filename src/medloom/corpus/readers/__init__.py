"""Readers: the formats in which medical text lies on disk, each from bytes to documents."""
