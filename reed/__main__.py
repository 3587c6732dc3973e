import sys

from reed.cli import main

sys.exit(main())
