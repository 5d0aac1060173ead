"""`python -m fdezero COMMAND ...`: looks into files of arrays, and at this installation."""

import sys

from .commands import main

if __name__ == "__main__":
    sys.exit(main())
