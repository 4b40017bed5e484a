"""The ``greenroom`` command, one noun or verb per module."""
