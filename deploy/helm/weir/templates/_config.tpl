{{/* weir.yaml: the settings of the chart, overridden by `config`. */}}
{{- define "weir.config" -}}
{{- $listen := dict "address" (printf "0.0.0.0:%v" .Values.ports.http) -}}
{{- if .Values.tls.secretName -}}
{{- $tls := dict "cert" "/etc/weir-tls/tls.crt" "key" "/etc/weir-tls/tls.key" -}}
{{- if .Values.tls.clientCertificates -}}
{{- $_ := set $tls "client_ca" "/etc/weir-tls/ca.crt" -}}
{{- end -}}
{{- $_ := set $listen "tls" $tls -}}
{{- end -}}
{{- $admin := dict "listen" (printf "0.0.0.0:%v" .Values.ports.admin) "hosts" (include "weir.adminHosts" . | fromYamlArray) -}}
{{- with .Values.admin.token -}}
{{- $_ := set $admin "token" . -}}
{{- end -}}
{{- $config := dict
  "listen" (list $listen)
  "admin" $admin
  "workers" .Values.workers
  "drain" (dict "delay" (printf "%vs" .Values.drain.delay) "limit" (printf "%vs" .Values.drain.limit))
-}}
{{- if eq .Values.mode "sidecar" -}}
{{- /* Waits for an agent that is still starting. */ -}}
{{- $agent := dict "endpoints" (list (printf "http://127.0.0.1:%s" (include "weir.agentPort" .))) "connect_budget" "30s" -}}
{{- $_ := set $config "upstreams" (dict "agent" $agent) -}}
{{- $_ := set $config "routes" (list (dict "name" "agent" "upstream" "agent")) -}}
{{- else if not .Values.config.upstreams -}}
{{- fail "config.upstreams: expected where the agents are, for instance --set-json 'config.upstreams={\"agent\":{\"endpoints\":[\"http://agent:8000\"]}}'" -}}
{{- else if not .Values.config.routes -}}
{{- if gt (len .Values.config.upstreams) 1 -}}
{{- fail "config.routes: expected which of the upstreams gets which requests" -}}
{{- end -}}
{{- $_ := set $config "routes" (list (dict "name" "default" "upstream" (keys .Values.config.upstreams | first))) -}}
{{- end -}}
{{- mustMergeOverwrite $config (deepCopy .Values.config) | toYaml -}}
{{- end }}
{{/* The number of the agent's port, which may be given as the name of one of its container's ports. */}}
{{- define "weir.agentPort" -}}
{{- $port := .Values.agent.port -}}
{{- if kindIs "string" $port -}}
{{- $number := "" -}}
{{- range .Values.agent.container.ports -}}
{{- if eq (toString .name) $port -}}
{{- $number = .containerPort -}}
{{- end -}}
{{- end -}}
{{- if not $number -}}
{{- fail (printf "agent.port: expected a number, or the name of one of agent.container.ports; none of them is called %s" $port) -}}
{{- end -}}
{{- $port = $number -}}
{{- end -}}
{{- printf "%v" $port -}}
{{- end }}
{{/* The names of the chart's Services, and those that are given. Weir refuses admin requests by other names. */}}
{{- define "weir.adminHosts" -}}
{{- $name := include "weir.fullname" . -}}
{{- $hosts := list -}}
{{- range $service := list $name (include "weir.metricsName" .) -}}
{{- $hosts = concat $hosts (list $service (printf "%s.%s" $service $.Release.Namespace) (printf "%s.%s.svc" $service $.Release.Namespace) (printf "%s.%s.svc.cluster.local" $service $.Release.Namespace)) -}}
{{- end -}}
{{- concat $hosts .Values.admin.hosts | uniq | toYaml -}}
{{- end }}
