"""``python -m hub`` is ``vigil``."""

from hub.cli import run_app

run_app()
