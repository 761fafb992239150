"""The command line ``diffinf``: one verb per stage."""

from diffinf_core.cli.app import main

__all__ = ["main"]
