"""``python -m diffinf_core.cli``."""

from diffinf_core.cli.app import main

main()
