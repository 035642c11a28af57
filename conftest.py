"""For every test and every notebook that pytest runs, whichever folder is asked for."""

import os

os.environ["MINIMM_PROGRESS"] = "off"  # the file in which the reader's progress is kept is theirs
