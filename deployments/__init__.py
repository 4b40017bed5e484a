"""Composition root: Serve deployments, application builder, configuration and command line."""
