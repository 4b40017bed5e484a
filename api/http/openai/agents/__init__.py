"""Agents as models: ``agent/NAME``."""
