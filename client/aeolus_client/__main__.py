"""`python -m aeolus_client`: the command `aeolus`."""

import sys

from aeolus_client.cli import main

if __name__ == "__main__":
    sys.exit(main())
