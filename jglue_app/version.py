"""The version of this application."""

__version__ = "0.1.0"
