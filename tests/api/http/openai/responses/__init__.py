"""Responses on the toy model."""
