"""The command ``weightwalk``: one thin module per command. Nothing heavy is imported before a command runs."""

from weightwalk.cli.app import main

__all__ = ["main"]
