"""What `support.sshd.SshHost` promises the tests of executors."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from support.sshd import SshHost
from support.waiting import wait_until


def test_ssh_runs_a_command_on_a_machine_of_its_own(ssh_host: SshHost) -> None:
    done = ssh_host.run("hostname; pwd; cat /proc/sys/kernel/random/boot_id; exit 7")
    assert done.returncode == 7, done.stderr
    assert done.stdout.split() == [ssh_host.name, str(ssh_host.home), ssh_host.boot_id]
    assert ssh_host.name != os.uname().nodename
    assert ssh_host.boot_id != Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_an_unplugged_host_answers_nothing_and_what_runs_there_runs_on(ssh_host: SshHost) -> None:
    ssh_host.run("setsid -f sleep 600 > /dev/null 2>&1 < /dev/null")
    ssh_host.unplug()
    tried = subprocess.run(
        ["ssh", "-F", str(ssh_host.config), "-o", "ConnectTimeout=1", ssh_host.name, "true"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert tried.returncode == 255
    assert "timed out" in tried.stderr
    ssh_host.plug()
    assert ssh_host.run("pgrep sleep").returncode == 0


def test_a_rebooted_host_has_lost_what_ran_and_has_another_boot_id(ssh_host: SshHost) -> None:
    before = ssh_host.boot_id
    ssh_host.run("setsid -f sleep 600 > /dev/null 2>&1 < /dev/null")
    ssh_host.reboot()
    assert ssh_host.run("pgrep sleep").returncode == 1
    assert ssh_host.run("cat /proc/sys/kernel/random/boot_id").stdout.strip() == ssh_host.boot_id != before


def test_nothing_is_left_of_a_host_that_was_stopped(ssh_host: SshHost) -> None:
    session = subprocess.Popen(ssh_host.command("setsid -f sleep 600 && sleep 600"))
    wait_until(lambda: [one.words[0] for one in ssh_host.processes()].count("sleep") == 2, what="the session")
    seen = ssh_host.processes()
    ssh_host.stop()
    assert session.wait(30) == 255
    assert not [one for one in seen if one.is_still_there()]


def test_what_is_written_into_a_hidden_folder_stays_on_the_host(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "here").touch()
    host = SshHost(tmp_path / "host", hidden=[hidden])
    host.start()
    try:
        assert host.run(f"touch {hidden}/there; ls {hidden}").stdout.split() == ["there"]
        assert [path.name for path in hidden.iterdir()] == ["here"]
    finally:
        host.stop()
