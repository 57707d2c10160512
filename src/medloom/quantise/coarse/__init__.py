"""Fewer bits: which type each tensor gets, how much its columns matter, and the quantisers themselves."""
