"""`python -m reed` is the command `reed`."""

import sys

from reed.cli import main

sys.exit(main())
