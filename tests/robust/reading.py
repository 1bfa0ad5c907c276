"""The worker of `mutants`: reads each file named on stdin to its end, and says on stdout how that went."""

from __future__ import annotations

import json
import logging
import resource
import sys
import time
from pathlib import Path

from icnet_cli.errors import IcnetError
from icnet_cli.video import open_video


def read(path: str) -> tuple[int, str]:
    """(exit code, words): 1 for an error that is none of ours."""
    try:
        with open_video(path) as reader:
            for frame in reader:
                frame.rgb()
                frame.yuv420()
        return (3 if reader.shortfall or reader.frames_lost or reader.frames_damaged else 0), ""
    except IcnetError as error:
        return int(error.code), str(error)
    except Exception as error:
        return 1, repr(error)


def peak_mb() -> float:
    """The most memory this process has held.

    Not `ru_maxrss` where there is another way: Linux carries that over from the process that started this one, so
    beside a large test it would be the test's.
    """
    status = Path("/proc/self/status")
    if status.exists():
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(peak.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def serve() -> None:
    logging.getLogger("libav").disabled = True
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        start = time.process_time()
        code, words = read(line.rstrip("\n"))
        seconds = time.process_time() - start
        rss_mb = peak_mb()
        document = {"code": code, "seconds": seconds, "rss_mb": rss_mb, "words": words}
        sys.stdout.write(json.dumps(document) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
