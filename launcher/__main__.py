"""`python -m launcher`: serve, see `launcher.serve`."""

import sys

from launcher.serve import main

if __name__ == "__main__":
    sys.exit(main())
