"""Checks that systemd accepts the unit, and how exposed it rates it."""

import re

import pytest

from conftest import DEPLOY, WEIR, run

UNIT = DEPLOY / "systemd/weir.service"


@pytest.fixture
def unit(tmp_path):
    """Returns the unit, with the path of the program built here."""
    file = tmp_path / UNIT.name
    file.write_text(UNIT.read_text().replace("/usr/local/bin/weir", str(WEIR)))
    return file


def test_it_is_understood(unit):
    assert run("systemd-analyze", "verify", "--man=no", unit) == ""


def test_it_is_hardened(unit):
    """The scale goes from 0, a service that can do nothing, to 10, one that can do everything."""
    said = run("systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", unit)
    assert float(re.search(r"exposure level for \S+ ([\d.]+)", said)[1]) <= 2.0


def test_it_hears_from_weir():
    """Weir sends READY=1 itself (tests/process/service_manager.rs). A worker shows each second that it is alive, and is
    given at least 3 s."""
    text = UNIT.read_text()
    assert re.search(r"^Type=notify$", text, re.MULTILINE)
    assert int(re.search(r"WatchdogSec=(\d+)", text)[1]) >= 10
    assert "AF_UNIX" in re.search(r"RestrictAddressFamilies=(.*)", text)[1], "the notification socket"


def test_it_waits_for_longer_than_a_drain():
    assert int(re.search(r"TimeoutStopSec=(\d+)", UNIT.read_text())[1]) > 25 + 10
