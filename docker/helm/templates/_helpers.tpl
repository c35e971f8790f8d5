{{/* Name of an object: the release, and what it is. Argument: list of root and suffix. */}}
{{- define "aeolus.name" -}}
{{- printf "%s-%s" (index . 0).Release.Name (index . 1) | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels that select pods. Argument: list of root, component, model or "". */}}
{{- define "aeolus.selector" -}}
app.kubernetes.io/name: aeolus
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- with index . 2 }}
aeolus/model: {{ . }}
{{- end }}
{{- end -}}

{{/* Labels of an object. Argument as of aeolus.selector. */}}
{{- define "aeolus.labels" -}}
{{ include "aeolus.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: aeolus-{{ (index . 0).Chart.Version }}
{{- end -}}

{{/* A model as YAML: the catalog's first plan with the GPU and quantization of its values, if they
     say any, and the values over it. Argument: list of root, name, values. */}}
{{- define "aeolus.model" -}}
{{- $root := index . 0 -}}{{- $name := index . 1 -}}{{- $values := index . 2 | default dict -}}
{{- $entry := index ($root.Files.Get "catalog.yaml" | fromYaml) $name -}}
{{- $known := list -}}{{- $plan := dict -}}
{{- range $each := reverse $entry.plans -}}
{{- $known = prepend $known (printf "%s %s" $each.gpu $each.quantization) -}}
{{- if and (eq $each.gpu ($values.gpu | default $each.gpu)) (eq $each.quantization ($values.quantization | default $each.quantization)) -}}
{{- $plan = $each -}}
{{- end -}}
{{- end -}}
{{- if not $plan -}}
{{- fail (printf "models.%s: the catalog has no such plan; it has %s" $name (join ", " $known)) -}}
{{- end -}}
{{- $facts := dict "gated" $entry.gated "checkpoint" (printf "/models/%s" $entry.checkpoint) "engine" (printf "/models/%s" $plan.engine) -}}
{{- merge $facts $values $plan | toYaml -}}
{{- end -}}

{{/* The engine options of `aeolus`, as YAML list items. Argument: a model. */}}
{{- define "aeolus.engineOptions" -}}
- --gpu={{ .gpu }}
- --tp={{ .tensorParallelSize }}
- --quantization={{ .quantization }}
{{- end -}}

{{/* Security of a pod whose files belong to the group of the volume's. */}}
{{- define "aeolus.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "aeolus.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* Where pods of a GPU kind run. Argument: list of root, model. */}}
{{- define "aeolus.placement" -}}
{{- $gpu := index (index . 0).Values.gpus (index . 1).gpu -}}
nodeSelector:
  {{- toYaml $gpu.nodeSelector | nindent 2 }}
tolerations:
  {{- toYaml ($gpu.tolerations | default (index . 0).Values.gpuTolerations) | nindent 2 }}
{{- end -}}

{{- define "aeolus.pullSecrets" -}}
{{- with .Values.pullSecrets -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "aeolus.claim" -}}
{{- .Values.storage.existingClaim | default (include "aeolus.name" (list . "models")) -}}
{{- end -}}
