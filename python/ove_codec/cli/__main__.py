"""`python -m ove_codec.cli` is `ove-codec`."""

import sys

from ove_codec.cli import main

sys.exit(main())
