"""The application, for any WSGI server: `app:app`."""

import sys

from ebill.errors import Refusal
from ebill.web import create_app

try:
    app = create_app()
except Refusal as refusal:
    sys.stderr.write(f"{refusal}\n")
    raise SystemExit(2) from None
