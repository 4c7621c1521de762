"""Checks that the compose file is consistent: its files exist, names match, and the program has the flags."""

import json
import re
import subprocess

import yaml

from conftest import DEPLOY, ROOT, WEIR

COMPOSE = DEPLOY / "compose"
SERVICES = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]
PROMTOOL = ROOT / ".cache/prometheus/usr/bin/promtool"


def mounted(service: str) -> dict[str, str]:
    """Returns the mounts of a service: the path in the container and the file on the host."""
    mounts = (volume.removesuffix(":ro").split(":") for volume in SERVICES[service]["volumes"])
    return {inside: (COMPOSE / outside).resolve() for outside, inside in mounts}


def test_every_file_that_is_mounted_is_there():
    for service in ("prometheus", "grafana"):
        assert all(path.is_file() for path in mounted(service).values())
    build = SERVICES["weir"]["build"]
    root = (COMPOSE / build["context"]).resolve()
    assert root == ROOT and f" AS {build['target']}" in (root / build["dockerfile"]).read_text()


def test_prometheus_takes_its_configuration(tmp_path):
    files = mounted("prometheus")
    copies = {inside: tmp_path / path.name for inside, path in files.items()}
    for inside, path in files.items():
        text = path.read_text()
        for other, copy in copies.items():
            text = text.replace(other, str(copy))
        copies[inside].write_text(text)
    [flag] = [word.split("=")[1] for word in SERVICES["prometheus"]["command"] if word.startswith("--config.file=")]
    subprocess.run([PROMTOOL, "check", "config", copies[flag]], check=True)
    config = yaml.safe_load(copies[flag].read_text())
    [scraped] = config["scrape_configs"][0]["dns_sd_configs"]
    [service] = scraped["names"]
    assert SERVICES[service]["command"][-1].endswith(f":{scraped['port']}")


def test_grafana_finds_its_dashboard_and_its_source():
    files = mounted("grafana")
    provider = yaml.safe_load(files["/etc/grafana/provisioning/dashboards/weir.yaml"].read_text())["providers"][0]
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home.startswith(provider["options"]["path"]) and home in files
    source = yaml.safe_load(files["/etc/grafana/provisioning/datasources/weir.yaml"].read_text())["datasources"][0]
    assert re.fullmatch(r"http://(\w+):9090", source["url"])[1] in SERVICES
    # The dashboard selects a data source by its type, which must match.
    dashboard = json.loads(files[home].read_text())
    [variable] = [one for one in dashboard["templating"]["list"] if one["type"] == "datasource"]
    assert variable["query"] == source["type"]


def test_weir_knows_its_flags():
    help_text = subprocess.run([WEIR, "demo", "--help"], capture_output=True, text=True, check=True).stdout
    command = SERVICES["weir"]["command"]
    assert command[0] == "demo" and all(word in help_text for word in command if word.startswith("--"))
