"""python -m pyal"""

import sys

from pyal.cli.command_line import main

sys.exit(main())
