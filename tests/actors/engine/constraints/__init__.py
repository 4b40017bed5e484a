"""Tests of constraints without an engine."""
