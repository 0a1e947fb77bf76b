"""The command `distill`, also as `python -m distill`: how its process begins and ends.

Nothing is imported before Ctrl-C is silent, since a person may press it in the first second.
"""

from __future__ import annotations

import gc
import signal


def main() -> None:
    """Run the command that the arguments name, and end the process."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # until the process edge handles it: without a traceback
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # until the process edge: imports make no garbage, and looking for it is 7% of a short command
    gc.disable()
    from distill.cli.ending import end_process, run_to_end
    from distill.cli.terminal import write_anywhere

    write_anywhere()
    from distill.cli.commands import app

    end_process(run_to_end(app))


if __name__ == "__main__":
    main()
