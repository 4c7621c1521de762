#!/usr/bin/env python3
"""Writes weir/values.schema.json: the schema of values.yaml, and within `config` that of weir.yaml.

With --check it only reports whether the file is up to date.
"""

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FILE = HERE / "weir/values.schema.json"

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
ANY_MAP: Schema = {"type": "object"}
ANY_LIST: Schema = {"type": "array"}
TEXTS: Schema = {"type": "object", "additionalProperties": TEXT}
PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
DURATION: Schema = {"type": "string", "pattern": r"^([0-9]+(ms|s|m|h))+$"}
EITHER: Schema = {"type": ["integer", "string"]}


def whole(least: int, **more: Any) -> Schema:
    return {"type": "integer", "minimum": least, **more}


def one_of(*words: str) -> Schema:
    return {"enum": list(words)}


def section(**keys: Schema) -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": keys}


def or_null(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def partial(schema: Any) -> Any:
    """Returns the schema without required keys, because the chart may add them."""
    if isinstance(schema, list):
        return [partial(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: partial(value) for key, value in schema.items() if key not in ("required", "$schema", "title", "default")}
    # Keys inside `properties` are names of settings, not schema keywords.
    return {**kept, "properties": {k: partial(v) for k, v in schema["properties"].items()}} if "properties" in schema else kept


def values() -> Schema:
    config = json.loads((HERE.parent / "weir.schema.json").read_text())
    # The pod's probes, hooks and threads depend on these keys, which have values of their own.
    for key in ("admin", "drain", "listen", "workers"):
        del config["properties"][key]
    monitor = section(enabled=FLAG, interval=DURATION, labels=TEXTS)
    top = section(
        mode=one_of("fleet", "sidecar"),
        nameOverride=TEXT,
        fullnameOverride=TEXT,
        commonLabels=TEXTS,
        image=section(
            repository={**TEXT, "minLength": 1},
            tag=TEXT,
            digest={**TEXT, "pattern": "^(sha256:[0-9a-f]{64})?$"},
            pullPolicy=one_of("Always", "IfNotPresent", "Never"),
            pullSecrets=ANY_LIST,
        ),
        replicas=whole(0),
        config=partial(config),
        workers={"anyOf": [whole(1), one_of("auto")]},
        ports=section(http=PORT, admin=PORT),
        admin=section(hosts={"type": "array", "items": TEXT}, token={**TEXT, "pattern": "^((env|file):.+)?$"}),
        # Weir's own limits, in seconds.
        drain=section(delay=whole(0, maximum=600), limit=whole(0, maximum=86400)),
        tls=section(secretName=TEXT, clientCertificates=FLAG),
        upstreamTls=section(secretName=TEXT),
        env=ANY_LIST,
        envFrom=ANY_LIST,
        extraVolumes=ANY_LIST,
        extraVolumeMounts=ANY_LIST,
        resources=ANY_MAP,
        podLabels=TEXTS,
        podAnnotations=TEXTS,
        nodeSelector=TEXTS,
        tolerations=ANY_LIST,
        affinity=ANY_MAP,
        topologySpreadConstraints=or_null(ANY_LIST),
        priorityClassName=TEXT,
        podSecurityContext=ANY_MAP,
        securityContext=ANY_MAP,
        restartOnChange=FLAG,
        agent=section(
            port={"anyOf": [PORT, {**TEXT, "pattern": "^[a-z0-9-]{1,15}$"}]},
            container=ANY_MAP,
            preStop=one_of("drain", "sleep", "none"),
            extraContainers=ANY_LIST,
            initContainers=ANY_LIST,
            volumes=ANY_LIST,
            podSecurityContext=or_null(ANY_MAP),
        ),
        sidecar=section(native=FLAG),
        service=section(type=one_of("ClusterIP", "NodePort", "LoadBalancer"), port=PORT, annotations=TEXTS, labels=TEXTS),
        serviceAccount=section(create=FLAG, name=TEXT, annotations=TEXTS, automountToken=FLAG),
        autoscaling=section(
            enabled=FLAG, minReplicas=whole(1), maxReplicas=whole(1), streams=whole(1), scaleDownSeconds=whole(0, maximum=3600)
        ),
        podDisruptionBudget=section(enabled=FLAG, maxUnavailable=EITHER),
        networkPolicy=section(enabled=FLAG, clients=ANY_LIST, monitoring=ANY_LIST, extraIngress=ANY_LIST),
        podMonitor=monitor,
        serviceMonitor=monitor,
        prometheusRule=section(enabled=FLAG, labels=TEXTS),
        dashboard=section(enabled=FLAG, labels=TEXTS, annotations=TEXTS),
        # Used by Helm itself.
        **{"global": ANY_MAP},
    )
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of the chart", **top}


def main() -> int:
    text = json.dumps(values(), indent=1) + "\n"
    if "--check" not in sys.argv:
        FILE.write_text(text)
    elif FILE.read_text() != text:
        print(f"{FILE} is not what {__file__} writes", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
