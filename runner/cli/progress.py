"""Live progress of a run on a terminal: phase, elapsed, last action, tokens. On stderr, as it is not data."""

from __future__ import annotations

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from runner.cli.render import going
from runner.state.manifest import Manifest
from runner.state.store import RunDir
from runner.usecases import control


class _View:
    """Drawn a few times a second from the newest manifest."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self._spinner = Spinner("dots")

    def __rich__(self) -> Spinner:
        m = self.manifest
        elapsed, tokens, last = going(m)
        text = Text.assemble((f"{m.status} ", "cyan"), elapsed)
        if tokens:
            text.append(f"  {tokens}", "dim")
        if last:
            text.append(f"  {last}")
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
        console.show_cursor()  # a signal, or Ctrl-Z, would leave the terminal without one
        return control.wait([run], tick=tick)[0]
