"""`python -m ove_codec` is `ove-codec`."""

import sys

from ove_codec.cli import main

if __name__ == "__main__":
    sys.exit(main())
