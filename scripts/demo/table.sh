# shellcheck shell=bash
# The live table of the InferenceServices, and the judgement whether they are what they should be:
# both of the same look at the cluster. Sourced by ../demo.sh. Must never show anything else.

# GPU types that the operator knows unless it is told of more, in the words of its refusal.
CATALOGUE='A100, H100, L40S'
SEPARATOR=$'\037' # no field holds it; and `read` merges only separators that are blanks
# One line an InferenceService, as the cluster has it now; and what is not yet as it should be.
ROWS='' MISSING=()
# NAME GPUTYPE KIND of each sample; KIND is ready, refused or placeless.
EXPECTED=()
SHOWN='' LINES_SHOWN=0

# expect SAMPLE: what should become of it.
expect() {
  local name gpu kind=ready
  name=$(sed -n 's/^  name: *//p' "$1")
  gpu=$(sed -n 's/^  gpuType: *//p' "$1")
  if [[ ", $CATALOGUE," != *", $gpu,"* ]]; then
    kind=refused
  elif [[ $(kube get nodes -o 'jsonpath={.items[*].metadata.labels.nvidia\.com/gpu\.product}') != *"$gpu"* ]]; then
    kind=placeless
    say "no node has a GPU of type $gpu: $name cannot become Ready; expecting its Deployment and its Service"
  fi
  EXPECTED+=("$name $gpu $kind")
}

# watch_samples until_settled|for_ever
watch_samples() {
  local end=$((SECONDS + PATIENCE))
  LINES_SHOWN=0 SHOWN=''
  while :; do
    "look_after_$AS"
    if look; then
      show
      [ "$1" = for_ever ] || ! judge || return 0
    else
      say "the API server does not answer: $(tail -n 1 "$WORK/error")"
      LINES_SHOWN=0 SHOWN=''
    fi
    [ "$ONCE" = no ] || [ "$SECONDS" -lt "$end" ] || die "after $PATIENCE s still not as it should be:$(printf '\n  %s' "${MISSING[@]:-nothing could be read}")"
    sleep 0.5
  done
}

look() {
  local field path=''
  for field in metadata.namespace metadata.name spec.model spec.gpuType spec.replicas status.readyReplicas status.phase \
    metadata.generation status.observedGeneration 'status.conditions[?(@.type=="Ready")].status' \
    'status.conditions[?(@.type=="Ready")].message'; do
    path+="{.$field}{\"\\x1f\"}"
  done
  ROWS=$(kube get "$CRD" --all-namespaces --request-timeout 10s -o "jsonpath={range .items[*]}$path{\"\\n\"}{end}" 2>"$WORK/error")
}

# On a terminal the table is drawn over the one before; elsewhere it is printed when it has changed.
show() {
  local text width=0
  [ ! -t 1 ] || width=$(terminal_width)
  text=$(table "$width")
  [ "$text" != "$SHOWN" ] || return 0
  SHOWN=$text
  if [ -t 1 ]; then
    [ "$LINES_SHOWN" = 0 ] || printf '\033[%dA\033[J' "$LINES_SHOWN"
    # Wrapped here and not by the terminal, or there would be more lines than are counted.
    text=$(fold -s -w "$width" <<<"$text")
    LINES_SHOWN=$(($(grep -c '' <<<"$text") + 1))
  fi
  printf '%s\n\n' "$text"
}

terminal_width() {
  local size
  size=$(stty size </dev/tty 2>/dev/null) || true
  [[ ${size#* } -ge 20 ]] && echo "${size#* }" || echo 80
}

# table WIDTH: as kubectl prints it, and below it what those that are not Ready say of themselves.
# Where it is wider than WIDTH (0: no limit), the models are shortened.
table() {
  {
    printf "%s$SEPARATOR" NAMESPACE NAME MODEL GPU DESIRED READY PHASE '' '' '' '' && echo
    [ -z "$ROWS" ] || printf '%s\n' "$ROWS"
  } | awk -F "$SEPARATOR" -v limit="$1" '
    {
      for (i = 1; i <= 7; i++) {
        cell[NR, i] = $i == "" ? "-" : $i
        if (length(cell[NR, i]) > width[i]) width[i] = length(cell[NR, i])
      }
      if (NR > 1 && $10 != "True" && $11 != "") notes = notes "\n" $2 ": " $11
    }
    END {
      for (i = 1; i <= 7; i++) total += width[i] + (i < 7 ? 3 : 0)
      if (limit > 0 && total > limit) width[3] -= total - limit
      if (width[3] < 8) width[3] = 8
      for (row = 1; row <= NR; row++) {
        if (length(cell[row, 3]) > width[3]) cell[row, 3] = substr(cell[row, 3], 1, width[3] - 3) "..."
        line = ""
        for (i = 1; i < 7; i++) line = line sprintf("%-" width[i] "s   ", cell[row, i])
        print line cell[row, 7]
      }
      if (notes != "") print notes
    }'
}

# judge: is all as it should be? Where not, MISSING says what.
judge() {
  local expected name gpu kind namespace found _ replicas ready phase generation observed condition message
  MISSING=()
  for expected in "${EXPECTED[@]}"; do
    read -r name gpu kind <<<"$expected"
    # shellcheck disable=SC2153
    while IFS=$SEPARATOR read -r namespace found _ _ replicas ready phase generation observed condition message; do
      [[ $namespace/$found != "$NAMESPACE/$name" ]] || break
    done <<<"$ROWS"
    message=${message%"$SEPARATOR"}
    if [[ $namespace/$found != "$NAMESPACE/$name" ]]; then
      MISSING+=("$name is not there")
    elif ! "is_$kind"; then
      MISSING+=("$name is not $kind: phase ${phase:--}, ${ready:-0} of $replicas ready${message:+: $message}")
    fi
  done
  [ "${#MISSING[@]}" = 0 ]
}

what_should_be() {
  if [[ ${EXPECTED[*]} == *placeless* ]]; then echo "far as it can be without nodes for all GPU types"; else echo "it should be"; fi
}

# The three know what judge has read.
is_ready() { [[ $phase == Ready && $condition == True && $ready == "$replicas" && $observed == "$generation" ]]; }

is_refused() { [[ $phase == Failed && $condition == False && $message == "invalid GPU type: $gpu (expected: $CATALOGUE)" ]]; }

is_placeless() {
  [[ $phase != Failed && $observed == "$generation" ]] &&
    kube get -n "$NAMESPACE" "deployment/$name" "service/$name" >/dev/null 2>&1
}
