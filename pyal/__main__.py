"""python -m pyal"""

import sys

from pyal.cli import main

sys.exit(main())
