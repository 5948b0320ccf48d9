"""Relevance sent backwards through a network: a mode that knows every operation, and rules for each kind."""
