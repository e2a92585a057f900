"""`python -m trine` is the command line."""

import sys

from trine.cli import main

sys.exit(main())
