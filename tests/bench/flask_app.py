"""Flask with one route and nothing else: what a server of Python's starts with at the least."""

from flask import Flask


def create_app() -> Flask:
    """Make the application."""
    app = Flask("plain")

    @app.get("/readyz")
    def ready() -> str:
        return ""

    return app
