#!/usr/bin/env bash
# runc for machines whose root lacks CAP_SYS_RESOURCE: takes it out of what a privileged container asks for, else runc
# ends with "unable to apply caps: operation not permitted"; and no oom_score_adj is below the own. Called by the dockerd of
# engine.sh, in runc's place. Must never be used where that capability is there.
set -euo pipefail
# shellcheck disable=SC2016
FILTER='
  def less:
    if .capabilities then .capabilities |= with_entries(.value |= ((. // []) - ["CAP_SYS_RESOURCE"])) else . end
    | if (.oomScoreAdj // $own) < $own then .oomScoreAdj = $own else . end;
  if .process then .process |= less else less end'

# What runc is told: a bundle's config.json, or the process of an exec.
file='' previous=''
for argument in "$@"; do
  case $previous in
    --bundle | -b) file=$argument/config.json ;;
    --process | -p) file=$argument ;;
  esac
  previous=$argument
done
if [ -f "$file" ]; then
  changed=$(jq -c --argjson own "$(cat /proc/self/oom_score_adj)" "$FILTER" "$file")
  printf %s "$changed" >"$file"
fi
exec runc "$@"
