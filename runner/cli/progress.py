"""Live progress of a run on a terminal: phase, elapsed, last action, tokens. On stderr, as it is not data."""

from __future__ import annotations

import time

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from runner.state.manifest import Manifest, parse_timestamp
from runner.state.store import RunDir
from runner.text.words import one_line
from runner.usecases import control


class _View:
    """Drawn a few times a second from the newest manifest."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self._spinner = Spinner("dots")

    def __rich__(self) -> Spinner:
        m = self.manifest
        since = parse_timestamp(m.started_at or m.created_at)
        minutes, seconds = divmod(int(max(0.0, time.time() - since)), 60)
        text = Text.assemble((f"{m.status} ", "cyan"), f"{minutes}:{seconds:02d}")
        if m.usage.output_tokens is not None:
            text.append(f"  {m.usage.input_tokens or 0:,} in {m.usage.output_tokens:,} out", "dim")
        if m.last_activity:
            text.append(f"  {one_line(m.last_activity)}")
        text.truncate(max(20, Console(stderr=True).width - 4), overflow="ellipsis")
        self._spinner.update(text=text)
        return self._spinner


def watch(run: RunDir, manifest: Manifest) -> Manifest:
    """Waits for the run's end and shows it going; the terminal is left clean."""
    view = _View(manifest)

    def tick(_: RunDir, latest: Manifest) -> None:
        view.manifest = latest

    console = Console(stderr=True)
    with Live(view, console=console, transient=True, refresh_per_second=8):
        return control.wait([run], tick=tick)[0]
