"""A camera that drops again and again: `python -m tests.robust.live --drops 1000`.

Each connection gives six pictures by a clock that begins anywhere, and then hangs up. Nothing waits between the tries.
"""

from __future__ import annotations

import argparse
import itertools
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from icnet_cli.video.live import LiveFrame, LiveReader
from icnet_cli.video.live_address import parse_address
from tests.video.live_servers import HANG_UP, TcpServer, transport_stream
from tests.video.video_clips import number_in

_EACH = 6  # pictures a connection


@dataclass
class Healed:
    """What a number of drops came to."""

    drops: int
    reconnects: int
    gaps: int
    frames: int
    backwards: int  # pictures whose time is not later than the one's before
    wrong: int  # pictures that are not the ones that were sent, in their order
    growth_mb: float  # of the second half

    def __str__(self) -> str:
        return (
            f"live sources heal: {self.drops} drops, {self.reconnects} reconnections, {self.gaps} gaps told, "
            f"{self.frames} pictures, {self.wrong} wrong, {self.backwards} times not later than the last; "
            f"memory grew by {self.growth_mb:.1f} MB in the second half"
        )


def heal(drops: int, folder: Path) -> Healed:
    """Read through so many drops."""
    feeds = [transport_stream(folder, _EACH, start=(7 * n % 5) * 90_000) for n in range(5)]
    server = TcpServer([(feeds[n % 5], HANG_UP) for n in range(drops + 1)])
    reader = LiveReader(parse_address(server.url), timeout_s=5.0, every_frame=True, pause=lambda _: False)
    reader.start()
    reader.ready()
    times: list[int] = []
    wrong, half = 0, 0.0
    for item in reader:
        if not isinstance(item, LiveFrame):
            continue
        wrong += number_in(item.rgb()) != len(times) % _EACH
        times.append(item.pts)
        if len(times) == (drops + 1) * _EACH // 2:
            half = _resident_mb()
        if len(times) == (drops + 1) * _EACH:
            reader.stop()
    reader.close()
    server.close()
    backwards = sum(b <= a for a, b in itertools.pairwise(times))
    growth = max(0.0, _resident_mb() - half)
    return Healed(drops, reader.reconnects, len(reader.gaps), len(times), backwards, wrong, growth)


def _resident_mb() -> float:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * 4096 / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--drops", type=int, default=1000)
    drops = parser.parse_args().drops
    with TemporaryDirectory() as folder:
        healed = heal(drops, Path(folder))
    print(healed)
    raise SystemExit(bool(healed.backwards or healed.wrong or healed.reconnects != drops))


if __name__ == "__main__":
    main()
