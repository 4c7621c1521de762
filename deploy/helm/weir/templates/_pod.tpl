{{/* How long a hook waits: until the last stream has ended, but not longer than shortly after drain.limit. */}}
{{- define "weir.wait" -}}
{{- printf "%ds" (add .Values.drain.limit 2) -}}
{{- end }}

{{/* The drain request of the kubelet. The header shows that it does not come from a web page. */}}
{{- define "weir.drain" -}}
path: {{ printf "/drain?wait=%s" (include "weir.wait" .) }}
httpHeaders: [{ name: Weir-Hook, value: "1" }]
{{- end }}

{{/* Weir's container, without the parts that only a sidecar has. */}}
{{- define "weir.container" -}}
name: weir
image: {{ include "weir.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args: ["--config", "/etc/weir/weir.yaml"]
{{- with .Values.env }}
env: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.envFrom }}
envFrom: {{- toYaml . | nindent 2 }}
{{- end }}
ports:
  - { name: weir, containerPort: {{ .Values.ports.http }} }
  - { name: weir-admin, containerPort: {{ .Values.ports.admin }} }
# No probe asks the agent: restarting Weir would not help an agent that fails.
startupProbe:
  httpGet: { path: /healthz, port: weir-admin }
  periodSeconds: 1
  failureThreshold: 30
livenessProbe:
  httpGet: { path: /healthz, port: weir-admin }
  periodSeconds: 10
  timeoutSeconds: 3
readinessProbe:
  httpGet: { path: /readyz, port: weir-admin }
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 2
lifecycle:
  preStop:
    # All hooks of a pod run at once, before any container gets SIGTERM. A sidecar gets it last.
    {{- with .Values.admin.token }}
    # The kubelet's own requests cannot take the token from a Secret.
    exec: { command: ["/usr/bin/weir", "drain", "--admin", ":{{ $.Values.ports.admin }}", "--wait", {{ include "weir.wait" $ | quote }}, "--token", {{ . | quote }}] }
    {{- else }}
    httpGet:
      port: weir-admin
      {{- include "weir.drain" . | nindent 6 }}
    {{- end }}
resources: {{- toYaml .Values.resources | nindent 2 }}
securityContext: {{- toYaml .Values.securityContext | nindent 2 }}
volumeMounts:
  # Mounts the directory, because a file that is mounted by itself is never updated.
  - { name: weir-config, mountPath: /etc/weir, readOnly: true }
  {{- if .Values.tls.secretName }}
  - { name: weir-tls, mountPath: /etc/weir-tls, readOnly: true }
  {{- end }}
  {{- if .Values.upstreamTls.secretName }}
  - { name: weir-upstream-tls, mountPath: /etc/weir-upstream-tls, readOnly: true }
  {{- end }}
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "weir.volumes" -}}
- name: weir-config
  configMap: { name: {{ include "weir.configName" . }} }
{{- with .Values.tls.secretName }}
- name: weir-tls
  secret: { secretName: {{ . }}, defaultMode: 0440 }
{{- end }}
{{- with .Values.upstreamTls.secretName }}
- name: weir-upstream-tls
  secret: { secretName: {{ . }}, defaultMode: 0440 }
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The agent's container as given, with a hook that keeps it alive while Weir drains. */}}
{{- define "weir.agent" -}}
{{- $agent := deepCopy .Values.agent.container -}}
{{- $hook := dict "httpGet" (merge (dict "port" .Values.ports.admin) (include "weir.drain" . | fromYaml)) -}}
{{- if eq .Values.agent.preStop "sleep" -}}
{{- $hook = dict "sleep" (dict "seconds" (add .Values.drain.limit 3)) -}}
{{- end -}}
{{- if ne .Values.agent.preStop "none" -}}
{{- $agent = merge $agent (dict "lifecycle" (dict "preStop" $hook)) -}}
{{- end -}}
{{- toYaml $agent -}}
{{- end }}
