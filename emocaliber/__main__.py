"""`python -m emocaliber`: the command line where the console script is not on the path, as under torchrun."""

import sys

from emocaliber.cli.main import main

sys.exit(main())
