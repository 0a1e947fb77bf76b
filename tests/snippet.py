"""Runs Python code as `python -c CODE ARGUMENTS` does, in a process that may be forked.

python -m tests.snippet CODE ARGUMENTS
"""

import sys

if __name__ == "__main__":
    sys.argv[0] = "-c"
    exec(compile(sys.argv.pop(1), "<string>", "exec"), {"__name__": "__main__"})
