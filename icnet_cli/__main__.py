"""`icnet` and `python -m icnet_cli`."""

from __future__ import annotations

import sys


def main() -> None:
    """The command line's entry: settings of the process, then the command."""
    try:
        sys.exit(_main())
    except KeyboardInterrupt:  # while modules load, before the command can answer for itself
        sys.stderr.write("icnet: interrupted\n")
        sys.exit(130)


def _main() -> int:
    from icnet_cli.cli import streams

    streams.fill_closed()
    streams.escape_unwritable()
    from icnet_cli.cli.app import run
    from icnet_cli.inference import allocator, cores

    # Before torch loads and allocates; never by importing the package, which is a guest in its process.
    allocator.keep_freed_memory()
    cores.limit_threads()
    return run()


if __name__ == "__main__":
    main()
