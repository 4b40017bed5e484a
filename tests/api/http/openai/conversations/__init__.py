"""Conversations on the toy model."""
