{{/* Rejects values that Helm accepts but that fail on the cluster or later. Each message names the value at fault. */}}
{{- define "weir.checks" -}}
{{- $values := .Values -}}
{{- $agent := $values.agent.container -}}
{{- $sidecar := eq $values.mode "sidecar" -}}
{{- $kubernetes := .Capabilities.KubeVersion.Version -}}
{{- if and $values.tls.clientCertificates (not $values.tls.secretName) -}}
{{- fail "tls.clientCertificates: expected tls.secretName as well; without it there is no TLS" -}}
{{- end -}}
{{- if lt (int $values.drain.limit) (int $values.drain.delay) -}}
{{- fail "drain.limit: expected at least drain.delay" -}}
{{- end -}}
{{- if eq (int $values.ports.http) (int $values.ports.admin) -}}
{{- fail "ports.admin: expected another port than ports.http" -}}
{{- end -}}
{{- if and $values.autoscaling.enabled (gt (int $values.autoscaling.minReplicas) (int $values.autoscaling.maxReplicas)) -}}
{{- fail "autoscaling.minReplicas: expected at most autoscaling.maxReplicas" -}}
{{- end -}}
{{- if $sidecar -}}
{{- if not (and $agent.name $agent.image) -}}
{{- fail "agent.container: expected name and image of the agent's container (mode: sidecar)" -}}
{{- end -}}
{{- if eq $agent.name "weir" -}}
{{- fail "agent.container.name: expected another name than weir, which is the sidecar's" -}}
{{- end -}}
{{- if has (include "weir.agentPort" . | int) (list (int $values.ports.http) (int $values.ports.admin)) -}}
{{- fail "agent.port: expected another port than ports.http and ports.admin, which are Weir's" -}}
{{- end -}}
{{- if and $values.sidecar.native (semverCompare "<1.29.0-0" $kubernetes) -}}
{{- fail (printf "sidecar.native: expected false on Kubernetes %s; native sidecars came with 1.29" $kubernetes) -}}
{{- end -}}
{{- if and (eq $values.agent.preStop "sleep") (semverCompare "<1.30.0-0" $kubernetes) -}}
{{- fail (printf "agent.preStop: expected drain or none on Kubernetes %s; sleep came with 1.30" $kubernetes) -}}
{{- end -}}
{{- if and ($agent.lifecycle).preStop (ne $values.agent.preStop "none") -}}
{{- fail "agent.preStop: expected none, because agent.container has a preStop hook of its own" -}}
{{- end -}}
{{- if and (eq $values.agent.preStop "drain") $values.admin.token -}}
{{- fail "agent.preStop: expected sleep or none beside admin.token; the hook of the agent's container cannot take the token from a Secret" -}}
{{- end -}}
{{- if and (eq $values.agent.preStop "drain") (or $agent.livenessProbe $agent.startupProbe) -}}
{{- fail "agent.preStop: expected sleep or none beside a liveness or startup probe of agent.container; the hook runs when such a probe fails, too, and drain would end Weir with it" -}}
{{- end -}}
{{- end -}}
{{- end }}
