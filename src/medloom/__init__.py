"""Medloom adapts an open language model to medicine and proves what it learned."""
